//! Enrolment and renewal over HTTP.
//!
//! In: a sealed question as JSON. Out: who the device is from now on, or a problem that says what to do. What is
//! refused is counted and told to the audit.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use gatehouse_common::{
    seal::Sealed,
    sync::enrolment::{ENROL_PATH, RENEW_PATH},
};
use tracing::error;

use super::{Authority, Denied, Terms, enrol, renew};
use crate::{
    api::Problem,
    clock::Clock,
    listen::{From, caller},
    store::{Store, StoreError},
    sync::Refusals,
};

/// Most bytes of a question.
const ASK_MAX_BYTES: usize = 16 * 1024;

/// What enrolment needs. Copies share it.
#[derive(Clone)]
pub struct Enrolment {
    /// Where it is written down.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// For how long, and where devices go then.
    pub terms: Arc<Terms>,
    /// Where it is told what was refused.
    pub refusals: Refusals,
}

/// The two routes.
pub fn router(enrolment: Enrolment) -> Router {
    Router::new()
        .route(ENROL_PATH, post(enrol_route))
        .route(RENEW_PATH, post(renew_route))
        .layer(DefaultBodyLimit::max(ASK_MAX_BYTES))
        .with_state(enrolment)
}

async fn enrol_route(State(at): State<Enrolment>, from: From, body: Bytes) -> Response {
    let Ok(sealed) = serde_json::from_slice::<Sealed>(&body) else { return unreadable() };
    let (now, authority, terms) = (at.clock.wall(), at.authority.clone(), at.terms.clone());
    let outcome = at.store.write(move |tx| enrol(tx, &authority, &terms, &sealed, now)).await;
    answer(&at, &from, outcome).await
}

async fn renew_route(State(at): State<Enrolment>, from: From, body: Bytes) -> Response {
    let Ok(sealed) = serde_json::from_slice::<Sealed>(&body) else { return unreadable() };
    let (now, authority, terms) = (at.clock.wall(), at.authority.clone(), at.terms.clone());
    let peer = caller(&from).and_then(|caller| caller.peer.clone());
    let outcome = at.store.write(move |tx| renew(tx, &authority, &terms, &sealed, peer.as_deref(), now)).await;
    answer(&at, &from, outcome).await
}

fn unreadable() -> Response {
    Problem::field("", "is not a sealed question").into_response()
}

async fn answer<T: serde::Serialize>(
    at: &Enrolment,
    from: &From,
    outcome: Result<Result<T, Denied>, StoreError>,
) -> Response {
    let denied = match outcome {
        Ok(Ok(enrolled)) => return Json(enrolled).into_response(),
        Ok(Err(denied)) => denied,
        Err(StoreError::Refused(why)) => Denied { status: 409, what: "refused", why, who: None },
        Err(e) => {
            error!(error = %e, "an enrolment was not done: {e}");
            return Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not done; ask again",
                "the hub's store is unavailable",
            )
            .into_response();
        }
    };
    let who = denied.who.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    let address = caller(from).map_or_else(String::new, |caller| format!(" (from {})", caller.address.ip()));
    at.refusals.told(&who, denied.what, &format!("{}{address}", denied.why)).await;
    let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::FORBIDDEN);
    Problem::new(status, "not-enrolled", "No certificate", denied.why).into_response()
}
