//! Lifting holds: by one person, or proposed by one and confirmed by another.

use axum::{Json, extract::State, http::HeaderMap};
use gatehouse_common::{
    case::Severity,
    dispatch::{DispatchView, HoldReason, Says, view::Hold},
    document::EntryKey,
    id::DocumentId,
    sync::Lane,
    time::UtcMs,
};
use utoipa::ToSchema;

use super::{
    Api, Done,
    dispatches::{read_id, to_change},
    problem::Problem,
    request::{Body, Person, Place},
};
use crate::{
    auth::{Role, roles::Act},
    core::lifting::{self, LiftError, LiftProposal},
    store::{DocumentSays, Reader, StoreError, Tx},
};

/// What a lift, or an answer to a proposed one, needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct LiftBody {
    /// Why, in 8 to 2000 characters. It is kept in the audit and in the dispatch.
    reason: String,
}

/// Lift the holds on a dispatch that the asker's role may lift: finance those of credit, a supervisor those that a customer
/// or a person asked for. Holds for gates lift by themselves. Those for quality, safety or customs, and those that rest on a
/// case of severity S1, are only proposed to be lifted: a second person confirms it.
#[utoipa::path(post, path = "/v1/dispatches/{id}/lift", tag = "dispatches",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the dispatch still has this tag")),
    request_body = LiftBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn lift(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    on_dispatch(api, person, id, headers, body, Word::Lift).await
}

/// Confirm the lift that another person proposed. Those of its holds that still stand are lifted then, in both names; a hold
/// that was placed since stays.
#[utoipa::path(post, path = "/v1/dispatches/{id}/lift/confirm", tag = "dispatches",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the dispatch still has this tag")),
    request_body = LiftBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn confirm(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    on_dispatch(api, person, id, headers, body, Word::Confirm).await
}

/// Refuse the lift that was proposed, or take one's own proposal back. The holds stand.
#[utoipa::path(post, path = "/v1/dispatches/{id}/lift/refuse", tag = "dispatches",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the dispatch still has this tag")),
    request_body = LiftBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn refuse(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    on_dispatch(api, person, id, headers, body, Word::Refuse).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Lift,
    Confirm,
    Refuse,
}

async fn on_dispatch(
    api: Api,
    person: Person,
    id: String,
    headers: HeaderMap,
    body: Body,
    word: Word,
) -> Result<Json<Done>, Problem> {
    let reason = body.only_reason()?;
    let id = read_id(&id, "dispatch")?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let what = format!("dispatch {id}");
            let view = match to_change(tx, &id, &what, &person, &headers)? {
                Ok(view) => view,
                Err(problem) => return Ok(Err(problem)),
            };
            let said = match say(tx, &id, &view, &person, word, &reason, now)? {
                Ok(said) => said,
                Err(why) => return Ok(Err(problem(person.role, &why))),
            };
            tx.audit(&super::entry(now, &person.name, said.action, &what, &reason))?;
            Ok(Ok(Done { done: said.done }))
        })
        .await??;
    Ok(Json(done))
}

/// What a person's word came to: for the audit, and for them.
struct Said {
    action: &'static str,
    done: String,
}

fn say(
    tx: &mut Tx<'_>,
    id: &DocumentId,
    view: &DispatchView,
    person: &Person,
    word: Word,
    reason: &str,
    now: UtcMs,
) -> Result<Result<Said, LiftError>, StoreError> {
    let may = |reason| person.role.may(Act::Lift(reason));
    let (order, name) = (&view.order, &person.name);
    let before = tx.lift_proposal(id)?;
    match word {
        Word::Lift => {
            let grave = grave(tx, &view.holds)?;
            let is_grave = |hold: &Hold| grave.contains(&hold.key);
            let lifting = match lifting::ask(&view.holds, may, is_grave, before.as_ref()) {
                Ok(lifting) => lifting,
                Err(why) => return Ok(Err(why)),
            };
            let mut done = Vec::new();
            if !lifting.at_once.is_empty() {
                write(tx, id, lifting.at_once, reason.to_owned(), person, now)?;
                done.push(format!("the holds on {order} that you may lift are lifted"));
            }
            let action = if done.is_empty() { "holds proposed to be lifted" } else { "holds lifted" };
            if !lifting.by_two.is_empty() {
                let (holds, reason) = (lifting.by_two, reason.to_owned());
                tx.put_lift_proposal(&LiftProposal { dispatch: *id, holds, by: name.clone(), reason, at: now })?;
                done.push(format!("{name} proposed to lift the hold on {order}; a second person must confirm it"));
            }
            Ok(Ok(Said { action, done: done.join("; ") }))
        }
        Word::Confirm => {
            let holds = match lifting::confirm(before.as_ref(), &view.holds, name, may) {
                Ok(holds) => holds,
                Err(why) => return Ok(Err(why)),
            };
            let first =
                before.map_or_else(String::new, |first| format!("{}, proposed by {}: ", first.reason, first.by));
            write(tx, id, holds, format!("{first}confirmed by {name}: {reason}"), person, now)?;
            tx.drop_lift_proposal(id)?;
            Ok(Ok(Said {
                action: "holds lifted by two",
                done: format!("{name} confirmed: the hold on {order} is lifted"),
            }))
        }
        Word::Refuse => {
            if let Err(why) = lifting::refuse(before.as_ref(), &view.holds, may) {
                return Ok(Err(why));
            }
            tx.drop_lift_proposal(id)?;
            Ok(Ok(Said { action: "lift refused", done: format!("{name} refused it: the hold on {order} stands") }))
        }
    }
}

fn write(
    tx: &mut Tx<'_>,
    id: &DocumentId,
    holds: Vec<EntryKey>,
    why: String,
    person: &Person,
    now: UtcMs,
) -> Result<(), StoreError> {
    let says = DocumentSays::Dispatch(vec![Says::Lifted { holds, why }]);
    tx.write_entries(id, says, person.name.as_str(), Lane::Documents, now)?;
    Ok(())
}

/// The holds that rest on an open case of severity S1.
fn grave(r: &Reader<'_>, holds: &[Hold]) -> Result<Vec<EntryKey>, StoreError> {
    let mut found = Vec::new();
    for hold in holds {
        for case in &hold.cases {
            if r.case_view(case)?.is_some_and(|c| c.severity == Severity::S1 && !c.state.is_over()) {
                found.push(hold.key.clone());
            }
        }
    }
    Ok(found)
}

fn problem(role: Role, why: &LiftError) -> Problem {
    let of = |reason: HoldReason| {
        let who = Role::who_may(Act::Lift(reason));
        Problem::forbidden(format!("role {} may not lift this hold; these may: {who}", role.as_str()))
    };
    match why {
        LiftError::NotAllowed(reason) => of(*reason),
        LiftError::Waits { .. } | LiftError::SamePerson(_) => Problem::two_people(why.to_string()),
        _ => Problem::conflict(why.to_string()),
    }
}
