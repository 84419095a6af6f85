//! Dispatches: where each stands, and what its depot decided on which gates.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord, Mode},
    dispatch::{DispatchState, DispatchView},
    document::named_as_lost,
    fact::{FactKey, FactValue, Source},
    gate::GateResult,
    id::{DecisionId, DocumentId, OrderId, SiteId},
    order::{Customer, LineQuantity, OrderStatus},
    time::{Moment, UtcMs},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api,
    problem::Problem,
    request::{Page, Paging, Person, Place, Query, Reading, must_match, tagged},
};
use crate::{
    auth::Principal,
    core::lifting::LiftProposal,
    store::{DispatchFilter, DocumentRow, Reader, StoreError, if_readable},
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
    /// Holds that somebody wants lifted and a second person must confirm; none if nothing waits.
    #[schema(value_type = Option<Object>)]
    lift_proposed: Option<LiftProposal>,
    /// Since when changes wait for a past that has not come in, in UTC milliseconds; none if none does.
    #[schema(value_type = Option<i64>)]
    waits_since: Option<UtcMs>,
    /// What the entries say that the view names as superseded or void, by entry key.
    #[schema(value_type = Object)]
    lost: BTreeMap<String, Value>,
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
    /// Holds that somebody wants lifted and a second person must confirm; none if nothing waits.
    #[schema(value_type = Option<Object>)]
    lift_proposed: Option<LiftProposal>,
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
    let (lift_proposed, facts, lost) = (proposed(r, &row.document)?, facts.collect(), lost(r, &row)?);
    let (id, waits_since) = (row.document, row.waits_since);
    Ok(DispatchItem { id, view: row.view, last_decision, order, facts, lift_proposed, waits_since, lost })
}

/// The entries that a view names as superseded or void, as they were written. Most documents have none.
pub(super) fn lost(r: &Reader<'_>, row: &DocumentRow) -> Result<BTreeMap<String, Value>, StoreError> {
    let keys = named_as_lost(&row.view);
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    // One document that rotted must not keep the others from being shown.
    let Some(mut all) = if_readable(entries(r, &row.document))? else { return Ok(BTreeMap::new()) };
    all.retain(|key, _| keys.contains(key.as_str()));
    Ok(all)
}

/// What was proposed for a dispatch, as long as a hold that it is about stands.
fn proposed(r: &Reader<'_>, id: &DocumentId) -> Result<Option<LiftProposal>, StoreError> {
    let Some(proposal) = r.lift_proposal(id)? else { return Ok(None) };
    let view = r.dispatch_view(id)?;
    Ok(view.filter(|view| !proposal.standing(&view.holds).is_empty()).map(|_| proposal))
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
    let (view, waits_since, lift_proposed) = (serde_json::to_value(view)?, r.waits_since(id)?, proposed(r, id)?);
    Ok(Some(DispatchDetail { id: *id, view, decisions, waits_since, lift_proposed, entries: entries(r, id)? }))
}

/// The dispatch that somebody wants to change: one that is there, of a depot that they see, and that has not changed since
/// they looked. `what` names it for them.
pub(super) fn to_change(
    r: &Reader<'_>,
    id: &DocumentId,
    what: &str,
    person: &Person,
    headers: &HeaderMap,
) -> Result<Result<DispatchView, Problem>, StoreError> {
    let Some(view) = r.dispatch_view(id)? else {
        return Ok(Err(Problem::not_found(format!("there is no {what}"))));
    };
    let found = detail(r, id)?;
    let checked =
        person.must_see(&view.site, what).and_then(|()| found.map_or(Ok(()), |found| must_match(headers, &found)));
    Ok(checked.map(|()| view))
}

/// Every entry of a document as it was written.
pub(super) fn entries(r: &Reader<'_>, id: &DocumentId) -> Result<BTreeMap<String, Value>, StoreError> {
    let Some((_, document)) = r.document(id)? else { return Ok(BTreeMap::new()) };
    let (entries, _) = document.entries::<Value>();
    entries.into_iter().map(|(key, entry)| Ok((key.to_string(), serde_json::to_value(entry)?))).collect()
}
