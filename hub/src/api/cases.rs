//! Cases: what people work on.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use gatehouse_common::{
    case::{CaseState, CaseType, CaseView, How, Says, WaitsFor, lifecycle::REOPEN_WITHIN_DAYS},
    id::{DocumentId, OrderId, SiteId},
    sync::Lane,
    time::UtcMs,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api, Done,
    dispatches::{entries, lost, number, read_id, sees},
    problem::Problem,
    request::{Body, Page, Paging, Person, Place, Query, Reading, must_match, tagged, untold},
};
use crate::{
    auth::roles::Act,
    core::closing::may_reopen,
    reconciler::open_items,
    store::{CaseFilter, DocumentRow, DocumentSays, Reader, StoreError},
};

/// A case.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseItem {
    /// Its document.
    #[schema(value_type = String)]
    id: DocumentId,
    /// What is wrong, how bad, whose, what to do and by when.
    #[schema(value_type = Object)]
    view: Value,
    /// Since when changes wait for a past that has not come in, in UTC milliseconds; none if none does.
    #[schema(value_type = Option<i64>)]
    waits_since: Option<UtcMs>,
    /// What the entries say that the view names as superseded or void, by entry key.
    #[schema(value_type = Object)]
    lost: BTreeMap<String, Value>,
}

/// A case with everything said of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseDetail {
    #[schema(value_type = String)]
    id: DocumentId,
    /// What is wrong, how bad, whose, what to do and by when.
    #[schema(value_type = Object)]
    view: Value,
    /// Where it may be moved to from here.
    #[schema(value_type = Vec<String>)]
    moves: Vec<CaseState>,
    /// Since when changes wait for a past that has not come in, in UTC milliseconds; none if none does.
    #[schema(value_type = Option<i64>)]
    waits_since: Option<UtcMs>,
    /// Everything said in the document, by entry key.
    #[schema(value_type = Object)]
    entries: BTreeMap<String, Value>,
}

/// Where a case may be moved to by a person at the hub.
fn moves(r: &Reader<'_>, view: &CaseView, now: UtcMs) -> Result<Vec<CaseState>, StoreError> {
    let mut moves = Vec::new();
    for to in steps(view.state) {
        if hinders(r, view, *to, now)?.is_none() {
            moves.push(*to);
        }
    }
    Ok(moves)
}

/// Where a case in this state could be moved to.
fn steps(from: CaseState) -> &'static [CaseState] {
    use CaseState::{Acknowledged, Cancelled, Closed, InProgress, Open, Reopened, Resolved, Waiting};
    match from {
        Open => &[Acknowledged, Cancelled],
        Acknowledged | Reopened => &[InProgress, Cancelled],
        InProgress => &[Waiting, Resolved, Cancelled],
        Waiting => &[InProgress, Resolved, Cancelled],
        Resolved => &[Closed, Reopened],
        Closed => &[Reopened],
        Cancelled => &[],
    }
}

const STATES: [(&str, CaseState); 7] = [
    ("acknowledged", CaseState::Acknowledged),
    ("in_progress", CaseState::InProgress),
    ("waiting", CaseState::Waiting),
    ("resolved", CaseState::Resolved),
    ("reopened", CaseState::Reopened),
    ("closed", CaseState::Closed),
    ("cancelled", CaseState::Cancelled),
];

const WAITS: [(&str, WaitsFor); 6] = [
    ("carrier", WaitsFor::Carrier),
    ("customer", WaitsFor::Customer),
    ("erp", WaitsFor::Erp),
    ("approval", WaitsFor::Approval),
    ("parts", WaitsFor::Parts),
    ("connectivity", WaitsFor::Connectivity),
];

/// Cases, by when they should be resolved.
#[utoipa::path(get, path = "/v1/cases", tag = "cases", params(
    ("site" = Option<String>, Query, description = "Only of this depot"),
    ("order" = Option<String>, Query, description = "Only about this order"),
    ("type" = Option<String>, Query, description = "Only of this type, such as `CREDIT_HOLD`"),
    ("over" = Option<bool>, Query, description = "Only those that are over, or only those that someone works on"),
    Paging,
), responses((status = 200, body = Page<CaseItem>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Reading(who): Reading,
    mut query: Query,
) -> Result<Json<Page<CaseItem>>, Problem> {
    let case_type: Option<String> = query.take("type", "a type")?;
    let case_type = case_type
        .map(|code| {
            let known = CaseType::ALL.into_iter().find(|t| t.code() == code);
            known.ok_or_else(|| Problem::field("type", format!("{code:?} is not a type of case")))
        })
        .transpose()?;
    let filter = CaseFilter {
        site: query.take::<SiteId>("site", "a depot's name")?,
        order: query.take::<OrderId>("order", "an order's number")?,
        case_type,
        over: query.take("over", "true or false")?,
        limit: None,
    };
    let paging = query.paging()?;
    let page = api
        .store
        .read(move |r| {
            let mut rows = r.cases(&filter)?;
            rows.retain(|row| sees(&who, &row.view));
            let cut = paging.cut(rows, |row| (number(&row.view, "resolve_by"), row.document.to_string()));
            let page = match cut {
                Ok(page) => page,
                Err(problem) => return Ok(Err(problem)),
            };
            let items: Result<Vec<CaseItem>, StoreError> = page.items.into_iter().map(|row| item(r, row)).collect();
            Ok(Ok(Page { items: items?, next: page.next }))
        })
        .await??;
    Ok(Json(page))
}

fn item(r: &Reader<'_>, row: DocumentRow) -> Result<CaseItem, StoreError> {
    let lost = lost(r, &row)?;
    Ok(CaseItem { id: row.document, view: row.view, waits_since: row.waits_since, lost })
}

/// One case with everything said of it.
#[utoipa::path(get, path = "/v1/cases/{id}", tag = "cases",
    params(("id" = String, Path, description = "Its document, 32 hexadecimal digits")),
    responses((status = 200, body = CaseDetail), (status = 404, body = Problem)))]
pub(super) async fn one(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(id): Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = read_id(&id, "case")?;
    let now = api.clock.wall();
    let found = api.store.read(move |r| detail(r, &id, now)).await?;
    let detail =
        found.filter(|c| sees(&who, &c.view)).ok_or_else(|| Problem::not_found(format!("there is no case {id}")))?;
    tagged(&headers, &detail)
}

fn detail(r: &Reader<'_>, id: &DocumentId, now: UtcMs) -> Result<Option<CaseDetail>, StoreError> {
    let Some(view) = r.case_view(id)? else { return Ok(None) };
    let moves = moves(r, &view, now)?;
    let (view, waits_since) = (serde_json::to_value(view)?, r.waits_since(id)?);
    Ok(Some(CaseDetail { id: *id, view, moves, waits_since, entries: entries(r, id)? }))
}

/// What moving a case needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct MoveBody {
    /// Where to: `acknowledged`, `in_progress`, `waiting`, `resolved`, `reopened`, `closed` or `cancelled`.
    #[schema(example = "resolved")]
    to: String,
    /// Cause or reason, in 8 to 2000 characters.
    reason: String,
    /// Whom it waits for, where it is to wait: `carrier`, `customer`, `erp`, `approval`, `parts` or `connectivity`.
    waits_for: Option<String>,
    /// How it was resolved, such as one of the recommended actions.
    code: Option<String>,
    /// The case that it is a duplicate of, where it is cancelled for that; else it was a false alarm.
    duplicate_of: Option<String>,
}

/// Move a case. Its owner's team and supervisors may.
#[utoipa::path(post, path = "/v1/cases/{id}/move", tag = "cases",
    params(("id" = String, Path, description = "Its document"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the case still has this tag")),
    request_body = MoveBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn move_to(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let (to, reason) = (body.one_of("to", &STATES), body.reason());
    let waits_for = body.one_of_if_given("waits_for", &WAITS);
    let (code, duplicate_of) = (body.text_if_given("code"), body.text_if_given("duplicate_of"));
    body.finish()?;
    let duplicate_of = duplicate_of.map(|id| read_id(&id, "case")).transpose()?;
    let (to, reason) = to.zip(reason).ok_or_else(untold)?;
    let how = How::of_move(to, &reason, waits_for, code, duplicate_of);
    let how = how.map_err(|why| Problem::field("waits_for", why))?;
    let id = read_id(&id, "case")?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let what = format!("case {id}");
            let (Some(view), Some(found)) = (tx.case_view(&id)?, detail(tx, &id, now)?) else {
                return Ok(Err(Problem::not_found(format!("there is no {what}"))));
            };
            let hinders = hinders(tx, &view, to, now)?;
            let checked = person
                .must_see(&view.site, &what)
                .and_then(|()| person.must_be_allowed(Act::MoveCase(view.owner)))
                .and_then(|()| must_match(&headers, &found))
                .and_then(|()| hinders.map_or(Ok(()), |why| Err(Problem::conflict(why))))
                .and_then(|()| may_follow(&found.moves, view.state, to));
            if let Err(problem) = checked {
                return Ok(Err(problem));
            }
            if view.waits_for_upgrade {
                return Ok(Err(Problem::conflict(format!(
                    "{what} was written by a newer program; upgrade the hub first"
                ))));
            }
            let says = Says::Moved { to, since: now, reason: reason.clone(), auto_cleared: false, how };
            tx.write_entries(&id, DocumentSays::Case(vec![says]), person.name.as_str(), Lane::Documents, now)?;
            let action = format!("case {}", to.as_str());
            tx.audit(&super::entry(now, &person.name, &action, &what, &reason))?;
            Ok(Ok(Done { done: format!("{}: {}", view.summary, to.as_str()) }))
        })
        .await??;
    Ok(Json(done))
}

/// What keeps a case from a move that its state would allow, for people.
fn hinders(r: &Reader<'_>, view: &CaseView, to: CaseState, now: UtcMs) -> Result<Option<String>, StoreError> {
    let why = match (view.state, to) {
        (CaseState::Resolved, CaseState::Closed) => {
            let open: Vec<String> = open_items(r, view)?.iter().map(ToString::to_string).collect();
            (!open.is_empty()).then(|| {
                format!("reconciliation has something open of it: settle {} first, at /v1/recon", open.join(", "))
            })
        }
        (CaseState::Closed, CaseState::Reopened) if !may_reopen(view, now) => Some(match view.continued_in {
            Some(next) => format!("it grew too long and goes on in case {next}: say it there"),
            None => format!("it was closed {REOPEN_WITHIN_DAYS} days ago or longer; what comes now is a new case"),
        }),
        _ => None,
    };
    Ok(why)
}

fn may_follow(moves: &[CaseState], from: CaseState, to: CaseState) -> Result<(), Problem> {
    if moves.contains(&to) {
        return Ok(());
    }
    let possible: Vec<_> = moves.iter().map(|state| state.as_str()).collect();
    let possible = if possible.is_empty() { "nothing".to_owned() } else { possible.join(", ") };
    Err(Problem::conflict(format!("the case is {}; from there it can become: {possible}", from.as_str())))
}
