//! Dispatches: where each stands, what its depot decided on which gates, and lifting holds.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use gatehouse_common::{
    case::Severity,
    decision::{DecisionKind, DecisionRecord, Mode},
    dispatch::{DispatchState, HoldReason, Says, view::Hold},
    fact::{FactKey, FactValue, Source},
    gate::GateResult,
    id::{DecisionId, DocumentId, OrderId, SiteId},
    order::{Customer, LineQuantity, OrderStatus},
    sync::Lane,
    time::{Moment, UtcMs},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api, Done,
    problem::Problem,
    request::{Body, Page, Paging, Person, Place, Query, Reading, must_match, tagged, untold},
};
use crate::{
    auth::{Principal, Role, roles::Act},
    store::{DispatchFilter, DocumentRow, DocumentSays, Reader, StoreError},
};

/// A dispatch.
#[derive(Debug, Serialize, ToSchema)]
pub struct DispatchItem {
    /// Its document.
    #[schema(value_type = String)]
    id: DocumentId,
    /// Where it stands: state, mode, load, holds, stop and recall flags.
    #[schema(value_type = Object)]
    view: Value,
    /// The newest decision its depot told of, with every gate as it was weighed then.
    last_decision: Option<DecisionShort>,
    /// What the ERP says of its order now; none if the order is not known here.
    order: Option<OrderShort>,
    /// What the hub knows of its order now, for gates that no decision has weighed yet.
    facts: Vec<FactShort>,
}

/// What the ERP says of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderShort {
    /// Counts the versions that the hub has seen, from 1.
    version: u64,
    /// `released` or `cancelled`.
    #[schema(value_type = String)]
    status: OrderStatus,
    /// Who ordered: number, name, tier.
    #[schema(value_type = Object)]
    customer: Customer,
    /// What is ordered now.
    #[schema(value_type = Vec<Object>)]
    quantities: Vec<LineQuantity>,
}

/// What is held to be so, and how old that is.
#[derive(Debug, Serialize, ToSchema)]
pub struct FactShort {
    /// What it is about.
    #[schema(value_type = Object)]
    key: FactKey,
    /// What is held to be so.
    #[schema(value_type = Object)]
    value: FactValue,
    /// Who says so: `erp`, `wms`, `tms`, `depot`, `vehicle` or `hub`.
    #[schema(value_type = String)]
    source: Source,
    /// When it was so, by the source's clock.
    #[schema(value_type = i64)]
    at: UtcMs,
    /// How old it is now, in milliseconds; none if that cannot be known.
    age_ms: Option<u64>,
}

/// What a depot decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecisionShort {
    #[schema(value_type = String)]
    id: DecisionId,
    /// `release`, `hold`, `override`, `recall`, `lease_closed` or `epoch_begun`.
    #[schema(value_type = String)]
    kind: DecisionKind,
    /// `normal`, `degraded`, `offline` or `override`, for releases.
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    /// When, in UTC milliseconds.
    #[schema(value_type = i64)]
    at: UtcMs,
    /// Why, for people.
    reason: String,
    /// Every gate with its facts, where they came from and how old they were.
    #[schema(value_type = Vec<Object>)]
    gates: Vec<GateResult>,
}

impl From<DecisionRecord> for DecisionShort {
    fn from(record: DecisionRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind,
            mode: record.mode,
            at: record.at.wall,
            reason: record.reason,
            gates: record.gates,
        }
    }
}

/// A dispatch with all its decisions.
#[derive(Debug, Serialize, ToSchema)]
pub struct DispatchDetail {
    #[schema(value_type = String)]
    id: DocumentId,
    /// Where it stands.
    #[schema(value_type = Object)]
    view: Value,
    /// What its depot decided, oldest first.
    decisions: Vec<DecisionShort>,
    /// Since when changes wait for a past that has not come in, in UTC milliseconds; none if none does.
    #[schema(value_type = Option<i64>)]
    waits_since: Option<UtcMs>,
    /// Everything said in the document, by entry key, also what lost or had no authority.
    #[schema(value_type = Object)]
    entries: BTreeMap<String, Value>,
}

fn item(r: &Reader<'_>, row: DocumentRow, now: &Moment) -> Result<DispatchItem, StoreError> {
    let last_decision = r.decisions_of_dispatch(&row.document)?.pop().map(|stored| stored.record.into());
    let id = row.view.get("order").and_then(Value::as_str).and_then(|order| OrderId::new(order).ok());
    let (mut order, mut facts) = (None, Vec::new());
    if let Some(id) = id {
        facts = r.facts_of_order(&id)?;
        if let Some(known) = r.order(&id)? {
            facts.extend(r.fact(&FactKey::Credit { customer: known.customer.id.clone() })?);
            let quantities = known.quantities();
            order =
                Some(OrderShort { version: known.version, status: known.status, customer: known.customer, quantities });
        }
    }
    let facts = facts.into_iter().map(|fact| {
        let (age_ms, report) = (fact.age_ms(now), fact.report);
        FactShort { key: report.key, value: report.value, source: report.source, at: report.at, age_ms }
    });
    Ok(DispatchItem { id: row.document, view: row.view, last_decision, order, facts: facts.collect() })
}

/// Whether `principal` may see a document with this view.
pub(super) fn sees(principal: &Principal, view: &Value) -> bool {
    let site = view.get("site").and_then(Value::as_str).and_then(|site| SiteId::new(site).ok());
    site.is_some_and(|site| principal.sees(&site))
}

pub(super) fn number(view: &Value, name: &str) -> i64 {
    view.get(name).and_then(Value::as_i64).unwrap_or(i64::MAX)
}

/// Dispatches, by planned departure.
#[utoipa::path(get, path = "/v1/dispatches", tag = "dispatches", params(
    ("site" = Option<String>, Query, description = "Only of this depot"),
    ("order" = Option<String>, Query, description = "Only of this order"),
    ("state" = Option<String>, Query, description = "Only in this state, such as `released`"),
    ("over" = Option<bool>, Query, description = "Only those that are over at the depot, or only those that are not"),
    Paging,
), responses((status = 200, body = Page<DispatchItem>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Reading(who): Reading,
    mut query: Query,
) -> Result<Json<Page<DispatchItem>>, Problem> {
    let state: Option<String> = query.take("state", "a state")?;
    let state = state
        .map(|text| {
            serde_json::from_value::<DispatchState>(Value::String(text))
                .map_err(|e| Problem::field("state", e.to_string()))
        })
        .transpose()?;
    let filter = DispatchFilter {
        site: query.take::<SiteId>("site", "a depot's name")?,
        order: query.take::<OrderId>("order", "an order's number")?,
        state,
        over: query.take("over", "true or false")?,
        ..DispatchFilter::default()
    };
    let paging = query.paging()?;
    let now = api.clock.now();
    let page = api
        .store
        .read(move |r| {
            let mut rows = r.dispatches(&filter)?;
            rows.retain(|row| sees(&who, &row.view));
            let cut = paging.cut(rows, |row| (number(&row.view, "planned_departure"), row.document.to_string()));
            let page = match cut {
                Ok(page) => page,
                Err(problem) => return Ok(Err(problem)),
            };
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                items.push(item(r, row, &now)?);
            }
            Ok(Ok(Page { items, next: page.next }))
        })
        .await??;
    Ok(Json(page))
}

/// One dispatch with its decisions, gates and entries.
#[utoipa::path(get, path = "/v1/dispatches/{id}", tag = "dispatches",
    params(("id" = String, Path, description = "Its document, 32 hexadecimal digits")),
    responses((status = 200, body = DispatchDetail), (status = 404, body = Problem)))]
pub(super) async fn one(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(id): Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = read_id(&id, "dispatch")?;
    let found = api.store.read(move |r| detail(r, &id)).await?;
    let detail = found
        .filter(|d| sees(&who, &d.view))
        .ok_or_else(|| Problem::not_found(format!("there is no dispatch {id}")))?;
    tagged(&headers, &detail)
}

pub(super) fn read_id(text: &str, what: &str) -> Result<DocumentId, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found(format!("there is no {what} {text:?}; an id has 32 hexadecimal digits")))
}

fn detail(r: &Reader<'_>, id: &DocumentId) -> Result<Option<DispatchDetail>, StoreError> {
    let Some(view) = r.dispatch_view(id)? else { return Ok(None) };
    let decisions = r.decisions_of_dispatch(id)?.into_iter().map(|stored| stored.record.into()).collect();
    let (view, waits_since) = (serde_json::to_value(view)?, r.waits_since(id)?);
    Ok(Some(DispatchDetail { id: *id, view, decisions, waits_since, entries: entries(r, id)? }))
}

/// Every entry of a document as it was written.
pub(super) fn entries(r: &Reader<'_>, id: &DocumentId) -> Result<BTreeMap<String, Value>, StoreError> {
    let Some((_, document)) = r.document(id)? else { return Ok(BTreeMap::new()) };
    let (entries, _) = document.entries::<Value>();
    entries.into_iter().map(|(key, entry)| Ok((key.to_string(), serde_json::to_value(entry)?))).collect()
}

/// What a lift needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct LiftBody {
    /// Why, in 8 to 2000 characters. It is kept in the audit and in the dispatch.
    reason: String,
}

/// Lift the holds on a dispatch that the asker's role may lift: finance those of credit, a supervisor those that a
/// customer or a person asked for. Holds for gates lift by themselves; those for quality or safety need two people.
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
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let reason = body.reason();
    body.finish()?;
    let reason = reason.ok_or_else(untold)?;
    let id = read_id(&id, "dispatch")?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let what = format!("dispatch {id}");
            let Some(view) = tx.dispatch_view(&id)? else {
                return Ok(Err(Problem::not_found(format!("there is no {what}"))));
            };
            let found = detail(tx, &id)?;
            let checked = person
                .must_see(&view.site, &what)
                .and_then(|()| found.map_or(Ok(()), |found| must_match(&headers, &found)))
                .and_then(|()| choose_holds(person.role, &view.holds));
            let holds = match checked {
                Ok(holds) => holds,
                Err(problem) => return Ok(Err(problem)),
            };
            for hold in holds.iter().filter(|hold| hold.reason != HoldReason::Credit) {
                for case in &hold.cases {
                    if tx.case_view(case)?.is_some_and(|c| c.severity == Severity::S1 && !c.state.is_over()) {
                        return Ok(Err(Problem::two_people("lifting a hold that rests on a case of severity S1")));
                    }
                }
            }
            let keys = holds.iter().map(|hold| hold.key.clone()).collect();
            let says = DocumentSays::Dispatch(vec![Says::Lifted { holds: keys, why: reason.clone() }]);
            tx.write_entries(&id, says, person.name.as_str(), Lane::Documents, now)?;
            tx.audit(&super::entry(now, &person.name, "holds lifted", &what, &reason))?;
            Ok(Ok(Done { done: format!("the holds on {} that you may lift are lifted", view.order) }))
        })
        .await??;
    Ok(Json(done))
}

/// The holds that `role` may lift.
fn choose_holds(role: Role, holds: &[Hold]) -> Result<Vec<Hold>, Problem> {
    let chosen: Vec<Hold> = holds
        .iter()
        .filter(|hold| matches!(hold.reason, HoldReason::Credit | HoldReason::Customer | HoldReason::Person))
        .filter(|hold| role.may(Act::Lift(hold.reason)))
        .cloned()
        .collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    match holds.first().map(|hold| hold.reason) {
        None => Err(Problem::conflict("no hold stands on this dispatch")),
        Some(HoldReason::Gate) => Err(Problem::conflict(
            "this hold is for gates: it lifts by itself when they are met, or the depot overrides it",
        )),
        Some(HoldReason::Quality) => Err(Problem::two_people("lifting a hold for quality or safety")),
        Some(reason) => Err(Problem::forbidden(format!(
            "role {} may not lift this hold; these may: {}",
            role.as_str(),
            Role::who_may(Act::Lift(reason))
        ))),
    }
}
