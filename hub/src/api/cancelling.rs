//! A depot asks that a dispatch be cancelled, and a person at the hub answers it.
//!
//! What its depot has proven itself follows without anyone (row 32, `core/reconcile/obey.rs`); here is the rest.

use axum::{Json, extract::State, http::HeaderMap};
use gatehouse_common::{
    dispatch::{DispatchView, Says},
    document::EntryKey,
    id::DocumentId,
    sync::Lane,
};
use utoipa::ToSchema;

use super::{
    Api, Done,
    dispatches::{read_id, to_change},
    problem::Problem,
    request::{Body, Person, Place},
};
use crate::{
    auth::roles::Act,
    store::{DocumentSays, Reader, StoreError},
};

/// What an answer to a cancellation that a depot asks for needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct CancellationBody {
    /// Why, in 8 to 2000 characters. It is kept in the audit and in the dispatch.
    reason: String,
}

/// Cancel a dispatch as its depot asks. Nothing more leaves for it; the order is the ERP's, and a next version of it is
/// planned anew. Refused once goods are on board: they must be unloaded first.
#[utoipa::path(post, path = "/v1/dispatches/{id}/cancellation/accept", tag = "dispatches",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the dispatch still has this tag")),
    request_body = CancellationBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn accept(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    answer(api, person, id, headers, body, Answer::Accept).await
}

/// Do not cancel a dispatch although its depot asks for it. The depot reads why.
#[utoipa::path(post, path = "/v1/dispatches/{id}/cancellation/decline", tag = "dispatches",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the dispatch still has this tag")),
    request_body = CancellationBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn decline(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    answer(api, person, id, headers, body, Answer::Decline).await
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Accept,
    Decline,
}

async fn answer(
    api: Api,
    person: Person,
    id: String,
    headers: HeaderMap,
    body: Body,
    answer: Answer,
) -> Result<Json<Done>, Problem> {
    person.must_be_allowed(Act::Cancel)?;
    let reason = body.only_reason()?;
    let id = read_id(&id, "dispatch")?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let what = format!("dispatch {id}");
            let found = to_change(tx, &id, &what, &person, &headers)?;
            let view = match found.and_then(|view| may_be_answered(&view, answer).map(|()| view)) {
                Ok(view) => view,
                Err(problem) => return Ok(Err(problem)),
            };
            let order = &view.order;
            let (says, action, done) = match answer {
                Answer::Accept => {
                    let order_version = tx.order(order)?.map_or(view.order_version, |known| known.version);
                    let says = Says::Cancelled { order_version, why: reason.clone() };
                    (says, "cancellation accepted", format!("the dispatch of {order} is cancelled"))
                }
                Answer::Decline => {
                    let says = Says::CancelDeclined { asked: asked(tx, &id)?, why: reason.clone() };
                    (says, "cancellation declined", format!("the dispatch of {order} goes on"))
                }
            };
            tx.write_entries(&id, DocumentSays::Dispatch(vec![says]), person.name.as_str(), Lane::Documents, now)?;
            tx.audit(&super::entry(now, &person.name, action, &what, &reason))?;
            Ok(Ok(Done { done }))
        })
        .await??;
    Ok(Json(done))
}

fn may_be_answered(view: &DispatchView, answer: Answer) -> Result<(), Problem> {
    if view.waits_for_upgrade {
        return Err(Problem::conflict("it was written by a newer program; upgrade this hub first"));
    }
    if view.cancel_asked.is_none() || view.cancelled.is_some() {
        return Err(Problem::conflict("nobody asks for a cancellation that has no answer"));
    }
    if view.state.is_over_at_depot() {
        return Err(Problem::conflict(format!("it is {}; nothing is left to answer", view.state.as_str())));
    }
    if matches!(answer, Answer::Accept) && view.state.is_on_board() {
        return Err(Problem::conflict("goods are on board; they must be unloaded before it can be cancelled"));
    }
    Ok(())
}

/// Every time that its depot asked: an answer is to all of them, or an earlier one would stand again.
fn asked(r: &Reader<'_>, id: &DocumentId) -> Result<Vec<EntryKey>, StoreError> {
    let Some((_, document)) = r.document(id)? else { return Ok(Vec::new()) };
    let (entries, _) = document.entries::<Says>();
    let asked = entries.into_iter().filter(|(_, entry)| matches!(entry.says, Says::CancelAsked { .. }));
    Ok(asked.map(|(key, _)| key).collect())
}
