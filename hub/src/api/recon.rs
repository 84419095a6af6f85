//! Recon items: what a depot decided beside what the ERP wants, and the choice where one is due.

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use gatehouse_common::id::{DecisionId, OrderId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, Done,
    dispatches::DecisionShort,
    problem::Problem,
    request::{Body, Page, Paging, Person, Place, Query, Reading, must_match, tagged, untold},
};
use crate::{
    auth::roles::Act,
    core::reconcile::{Choice, Chosen, QueuedPosting, ReconItem},
    store::{Reader, ReconFilter, StoreError},
};

/// A recon item with its postings and its decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconDetail {
    /// Both sides, the difference, the choices and the outcome.
    #[schema(value_type = Object)]
    item: ReconItem,
    /// What was written to the ERP because of it, or waits to be.
    #[schema(value_type = Vec<Object>)]
    postings: Vec<QueuedPosting>,
    /// The decision with its gates.
    decision: Option<DecisionShort>,
}

/// One part of the list of recon items.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconPage {
    /// Items, oldest first.
    #[schema(value_type = Vec<Object>)]
    items: Vec<ReconItem>,
    /// Give this as `after` for the next part; none at the end.
    next: Option<String>,
}

/// The words for how an item can end.
const OUTCOMES: [&str; 4] = ["matched", "compensated", "accepted_variance", "escalated"];

/// Recon items, oldest first.
#[utoipa::path(get, path = "/v1/recon", tag = "recon", params(
    ("open" = Option<bool>, Query, description = "Only those without an outcome, or only those that are settled"),
    ("outcome" = Option<String>, Query, description = "`matched`, `compensated`, `accepted_variance` or `escalated`"),
    ("order" = Option<String>, Query, description = "Only of this order"),
    Paging,
), responses((status = 200, body = ReconPage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Reading(who): Reading,
    mut query: Query,
) -> Result<Json<ReconPage>, Problem> {
    let open: Option<bool> = query.take("open", "true or false")?;
    let outcome: Option<String> = query.take("outcome", "an outcome")?;
    if let Some(outcome) = outcome.as_deref()
        && !OUTCOMES.contains(&outcome)
    {
        return Err(Problem::field("outcome", format!("{outcome:?} is not one of {}", OUTCOMES.join(", "))));
    }
    let order = query.take::<OrderId>("order", "an order's number")?;
    let filter = ReconFilter { open: open == Some(true), order, outcome, limit: None };
    let paging = query.paging()?;
    let mut items = api.store.read(move |r| r.recon_items(&filter)).await?;
    items.retain(|item| who.sees(&item.site) && open.is_none_or(|open| item.outcome.is_none() == open));
    let Page { items, next } = paging.cut(items, |item| (item.opened.0, item.decision.to_string()))?;
    Ok(Json(ReconPage { items, next }))
}

/// One recon item with both sides, its postings and its decision.
#[utoipa::path(get, path = "/v1/recon/{decision}", tag = "recon",
    params(("decision" = String, Path, description = "The decision it compares")),
    responses((status = 200, body = ReconDetail), (status = 404, body = Problem)))]
pub(super) async fn one(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(decision): Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let none = || Problem::not_found(format!("there is no recon item {decision}"));
    let id = DecisionId::new(&*decision).map_err(|_| none())?;
    let found = api.store.read(move |r| detail(r, &id)).await?;
    let detail = found.filter(|d| who.sees(&d.item.site)).ok_or_else(none)?;
    tagged(&headers, &detail)
}

fn detail(r: &Reader<'_>, id: &DecisionId) -> Result<Option<ReconDetail>, StoreError> {
    let Some(item) = r.recon_item(id)? else { return Ok(None) };
    let decision = r.decision(id)?.map(|stored| stored.record.into());
    Ok(Some(ReconDetail { item, postings: r.postings_of(id)?, decision }))
}

/// What a choice needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct ChoiceBody {
    /// `accept`: the customer keeps the goods. `return`: the goods, or the surplus, come back.
    #[schema(example = "accept")]
    choice: String,
    /// Why, in 8 to 2000 characters.
    reason: String,
}

/// Choose how a difference is settled. Finance and supervisors may; for cancelled orders customer service too.
#[utoipa::path(post, path = "/v1/recon/{decision}/choice", tag = "recon",
    params(("decision" = String, Path, description = "The decision it compares"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the item still has this tag")),
    request_body = ChoiceBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn choose(
    State(api): State<Api>,
    person: Person,
    Place(decision): Place,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let words = [Choice::Accept, Choice::Return].map(|choice| (choice.as_str(), choice));
    let (choice, reason) = (body.one_of("choice", &words), body.reason());
    body.finish()?;
    let (choice, reason) = choice.zip(reason).ok_or_else(untold)?;
    let what = format!("recon item {decision}");
    let id = DecisionId::new(decision).map_err(|_| Problem::not_found(format!("there is no {what}")))?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let Some(found) = detail(tx, &id)? else {
                return Ok(Err(Problem::not_found(format!("there is no {what}"))));
            };
            let checked = person
                .must_see(&found.item.site, &what)
                .and_then(|()| person.must_be_allowed(Act::Choose(found.item.family)))
                .and_then(|()| must_match(&headers, &found))
                .and_then(|()| is_open_for(&found.item, choice));
            if let Err(problem) = checked {
                return Ok(Err(problem));
            }
            let chosen =
                Chosen { choice, row: found.item.row, by: person.name.clone(), reason: reason.clone(), at: now };
            let item = ReconItem { chosen: Some(chosen), choices: Vec::new(), ..found.item };
            // Whoever settles is woken by this and does what follows from the choice.
            tx.put_recon_item(&item)?;
            let action = format!("chose {}", choice.as_str());
            tx.audit(&super::entry(now, &person.name, &action, &what, &reason))?;
            Ok(Ok(Done { done: format!("{what}: {} chose {}", person.name, choice.as_str()) }))
        })
        .await??;
    Ok(Json(done))
}

fn is_open_for(item: &ReconItem, choice: Choice) -> Result<(), Problem> {
    if let Some(outcome) = &item.outcome {
        return Err(Problem::conflict(format!("it is settled already: {}", outcome.as_str())));
    }
    if let Some(chosen) = &item.chosen {
        let made = format!("{} chose {} at {}", chosen.by, chosen.choice.as_str(), chosen.at);
        return Err(Problem::conflict(format!("the choice was made already: {made}")));
    }
    if item.choices.contains(&choice) {
        return Ok(());
    }
    let open: Vec<_> = item.choices.iter().map(|choice| choice.as_str()).collect();
    let open = if open.is_empty() { "nothing".to_owned() } else { open.join(", ") };
    Err(Problem::conflict(format!("{} cannot be chosen now; what can be: {open}", choice.as_str())))
}
