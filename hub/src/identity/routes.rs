//! Enrolment and renewal over HTTP.
//!
//! In: a sealed question as JSON. Out: who the device is from now on, or a problem that says what to do. Anybody may
//! ask: so each has a budget, a turn to write is taken only for whom gets something, and what is refused is counted and
//! told to the audit, under a name only where that is proved.

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
    id::DeviceId,
    seal::Sealed,
    sync::enrolment::{ENROL_PATH, Enrolled, RENEW_PATH},
    time::UtcMs,
};
use tracing::error;

use super::{Authority, Denied, Peer, Terms, budget::Budgets, enrol, may_enrol, may_renew, renew};
use crate::{
    api::Problem,
    clock::Clock,
    listen::{From, caller},
    store::{Reader, Store, StoreError, Tx},
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
    let desk = Desk { at: enrolment, budgets: Arc::default() };
    Router::new()
        .route(ENROL_PATH, post(enrol_route))
        .route(RENEW_PATH, post(renew_route))
        .layer(DefaultBodyLimit::max(ASK_MAX_BYTES))
        .with_state(desk)
}

async fn enrol_route(State(desk): State<Desk>, from: From, body: Bytes) -> Response {
    let outcome = desk.decide(
        &from,
        &body,
        |r, asked| may_enrol(r, &asked.terms, &asked.sealed, asked.now),
        |tx, asked| enrol(tx, &asked.authority, &asked.terms, &asked.sealed, asked.now),
    );
    desk.answer(&from, outcome.await).await
}

async fn renew_route(State(desk): State<Desk>, from: From, body: Bytes) -> Response {
    let outcome = desk.decide(
        &from,
        &body,
        |r, asked| may_renew(r, &asked.terms, &asked.sealed, asked.peer.as_deref(), asked.now),
        |tx, asked| renew(tx, &asked.authority, &asked.terms, &asked.sealed, asked.peer.as_deref(), asked.now),
    );
    desk.answer(&from, outcome.await).await
}

/// What came of a question.
type Outcome = Result<Result<Enrolled, Denied>, StoreError>;

/// A question, and what is needed to answer it.
struct Question {
    sealed: Sealed,
    peer: Option<Arc<Peer>>,
    authority: Arc<Authority>,
    terms: Arc<Terms>,
    now: UtcMs,
}

/// Where the questions come in.
#[derive(Clone)]
struct Desk {
    at: Enrolment,
    budgets: Arc<Budgets>,
}

impl Desk {
    /// Reads a question, if who asks has not asked too much.
    fn question(&self, from: &From, body: &[u8]) -> Result<Question, Denied> {
        let who = caller(from);
        self.budgets.take(who, self.at.clock.now().boottime_ms).map_err(|seconds| {
            let why = format!("too many questions about certificates came from here; come back in {seconds} s");
            Denied { retry_after_s: Some(seconds), ..Denied::nobody(429, "too many questions", why) }
        })?;
        let unreadable = |_| Denied::nobody(400, "unreadable", "the body is not a sealed question");
        Ok(Question {
            sealed: serde_json::from_slice(body).map_err(unreadable)?,
            peer: who.and_then(|caller| caller.peer.clone()),
            authority: self.at.authority.clone(),
            terms: self.at.terms.clone(),
            now: self.at.clock.wall(),
        })
    }

    /// Looks, and writes only if that may give something: what it is, is decided once more there.
    async fn decide(
        &self,
        from: &From,
        body: &[u8],
        look: fn(&Reader<'_>, &Question) -> Result<Result<(), Denied>, StoreError>,
        write: fn(&mut Tx<'_>, &Question) -> Outcome,
    ) -> Outcome {
        let asked = match self.question(from, body) {
            Ok(asked) => Arc::new(asked),
            Err(denied) => return Ok(Err(denied)),
        };
        let looked = asked.clone();
        if let Err(denied) = self.at.store.read(move |r| look(r, &looked)).await? {
            return Ok(Err(denied));
        }
        self.at.store.write(move |tx| write(tx, &asked)).await
    }

    async fn answer(&self, from: &From, outcome: Outcome) -> Response {
        match outcome {
            Ok(Ok(enrolled)) => Json(enrolled).into_response(),
            Ok(Err(denied)) => self.refuse(from, denied).await,
            Err(StoreError::Refused(why)) => self.refuse(from, Denied::nobody(409, "refused", why)).await,
            Err(e) => {
                error!(error = %e, "an enrolment was not done: {e}");
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "Not done; ask again",
                    "the hub's store is unavailable",
                )
                .into_response()
            }
        }
    }

    async fn refuse(&self, from: &From, denied: Denied) -> Response {
        let caller = caller(from);
        let proved = denied.who.as_ref().filter(|_| denied.is_proved);
        let shown = caller.and_then(|caller| caller.peer.as_deref()).map(|peer| &peer.device.device);
        // What is merely claimed makes nothing somebody's: else anyone could fill the audit, under names without end.
        let who = proved.or(shown).map_or("somebody", DeviceId::as_str);
        let claim = denied.who.as_ref().map_or_else(String::new, |who| format!("claims to be {who}: "));
        let address = caller.map_or_else(String::new, |caller| format!(" (from {})", caller.address.ip()));
        self.at.refusals.told(who, denied.what, &format!("{claim}{}{address}", denied.why)).await;
        let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::FORBIDDEN);
        let problem = Problem::new(status, "not-enrolled", "No certificate", denied.why);
        Problem { retry_after: denied.retry_after_s, ..problem }.into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use gatehouse_common::{
        seal::PrivateKey,
        sync::enrolment::{Ask, Purpose},
    };
    use tower_service::Service;

    use super::*;

    #[tokio::test]
    async fn who_is_refused_takes_no_turn_from_those_who_write() {
        let directory = tempfile::tempdir().unwrap();
        let name: DeviceId = "hub".parse().unwrap();
        let (clock, key) = (Clock::system(), PrivateKey::from_seed([7; 32]));
        let store = Store::open(&directory.path().join("hub.db"), &name).unwrap();
        let authority = Authority::load_or_make(&directory.path().join("ca.pem"), &name, clock.wall()).unwrap();
        let mut routes = router(Enrolment {
            refusals: Refusals::new(store.clone(), clock.clone()),
            store: store.clone(),
            clock,
            authority: Arc::new(authority),
            terms: Arc::new(Terms { url: String::new(), hub: key.public(), lasts_ms: 1, grace_ms: 1 }),
        });
        let question = |purpose: Purpose, path: &str, n: usize| {
            let device: DeviceId = format!("gw-{n}").parse().unwrap();
            let ask = Ask { purpose, device, public_key: key.public(), request: String::new(), secret: None };
            let body = serde_json::to_vec(&Sealed::new(&ask, &key).unwrap()).unwrap();
            Request::post(path).body(Body::from(body)).unwrap()
        };
        let mut commits = Vec::new();
        for n in 0..5 {
            for (purpose, path) in [(Purpose::Enrol, ENROL_PATH), (Purpose::Renew, RENEW_PATH)] {
                let answer = routes.call(question(purpose, path, n)).await.unwrap();
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            }
            commits.push(store.commits());
        }
        // The first is told to the audit; the others are counted, which is written down some seconds later.
        assert!(commits.iter().all(|count| *count == commits[0]), "{commits:?}");
    }
}
