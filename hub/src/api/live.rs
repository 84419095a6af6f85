//! Server-sent events: what has changed, so that a page reads only that again.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Api,
    problem::Problem,
    request::{Query, Reading},
};
use crate::store::StoreChange;

/// How long changes are gathered before one event tells them, in real time.
const GATHER: Duration = Duration::from_millis(150);
/// Most listeners at one time; each holds a socket.
pub(super) const LISTENERS_MAX: usize = 64;

/// What has changed, as server-sent events of the name `changed`: `{"what": ["dispatches", "cases", ...]}`.
/// Some may be missed by a slow reader; then `what` names everything.
#[utoipa::path(get, path = "/v1/live", tag = "status",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn live(State(api): State<Api>, Reading(_): Reading, query: Query) -> Result<Response, Problem> {
    query.finish()?;
    let permit = api.listeners.clone().try_acquire_owned().map_err(|_| Problem {
        retry_after: Some(10),
        ..Problem::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "too-many-listeners",
            "Too many listeners",
            format!("{LISTENERS_MAX} pages listen already; close one, or try again"),
        )
    })?;
    let events = events(api.store.changes(), api.stop.clone(), permit);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

fn events(
    changes: Receiver<StoreChange>,
    stop: crate::tasks::Stop,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((changes, stop, permit), |(mut changes, mut stop, permit)| async move {
        let what = tokio::select! {
            // An open page must not hold up the hub's stop.
            () = stop.stopped() => return None,
            what = gather(&mut changes) => what?,
        };
        let event = Event::default().event("changed").data(json!({ "what": what }).to_string());
        Some((Ok(event), (changes, stop, permit)))
    })
}

async fn gather(changes: &mut Receiver<StoreChange>) -> Option<BTreeSet<&'static str>> {
    let mut what = BTreeSet::new();
    note(&mut what, changes.recv().await)?;
    let end = tokio::time::Instant::now() + GATHER;
    while let Ok(change) = tokio::time::timeout_at(end, changes.recv()).await {
        note(&mut what, change)?;
    }
    Some(what)
}

fn note(what: &mut BTreeSet<&'static str>, change: Result<StoreChange, RecvError>) -> Option<()> {
    match change {
        Ok(change) => what.extend(touched(&change)),
        Err(RecvError::Lagged(_)) => what.extend(ALL),
        Err(RecvError::Closed) => return None,
    }
    Some(())
}

const ALL: [&str; 7] = ["dispatches", "cases", "recon", "queue", "devices", "leases", "sources"];

fn touched(change: &StoreChange) -> &'static [&'static str] {
    match change {
        StoreChange::Dispatch(_) | StoreChange::Decision(_) => &["dispatches"],
        StoreChange::Case(_) => &["cases"],
        StoreChange::Folded => &["dispatches", "cases"],
        StoreChange::Recon(_) => &["recon"],
        StoreChange::Posting(_) => &["queue", "recon"],
        StoreChange::Lease(_) => &["leases"],
        StoreChange::Device(_) => &["devices"],
        StoreChange::Source => &["sources"],
        StoreChange::Quarantine => &["queue"],
        StoreChange::Order(_) | StoreChange::Fact(_) => &["dispatches"],
        StoreChange::Everything => &ALL,
        StoreChange::Feed(_) | StoreChange::Partner => &[],
    }
}
