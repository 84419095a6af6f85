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
    core::reconcile::{Choice, Chosen, QueuedPosting, ReconItem, ReconPolicy, Took},
    reconciler::{self, Word},
    store::{FamilyFigures, Reader, ReconFilter, StoreError},
};

/// Items settled no longer ago than this count for how long it takes, in milliseconds.
pub(super) const FIGURES_MS: i64 = 7 * 24 * 3_600_000;

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
    /// Whether a choice about it needs a second person.
    two_people: bool,
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
    let policy = api.policy;
    let found = api.store.read(move |r| detail(r, &id, &policy)).await?;
    let detail = found.filter(|d| who.sees(&d.item.site)).ok_or_else(none)?;
    tagged(&headers, &detail)
}

fn detail(r: &Reader<'_>, id: &DecisionId, policy: &ReconPolicy) -> Result<Option<ReconDetail>, StoreError> {
    let Some(item) = r.recon_item(id)? else { return Ok(None) };
    let decision = r.decision(id)?.map(|stored| stored.record.into());
    let two_people = item.outcome.is_none() && reconciler::two_needed(r, &item, policy)?;
    Ok(Some(ReconDetail { item, postings: r.postings_of(id)?, decision, two_people }))
}

/// What a choice needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct ChoiceBody {
    /// One of the item's `choices`. `accept`: what happened stands. `return`: the goods, or the surplus, come back.
    /// `divert`: they go to another place. `credit`: a credit note is proposed. `escalate`: it is left to the case.
    #[schema(example = "accept")]
    choice: String,
    /// Why, in 8 to 2000 characters.
    reason: String,
}

/// Choose how a difference is settled; each family has its roles. A choice about much, or whose case is of severity S1, is
/// only proposed: a second person confirms it.
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
    let words = Choice::ALL.map(|choice| (choice.as_str(), choice));
    let (choice, reason) = (body.one_of("choice", &words), body.reason());
    body.finish()?;
    let (choice, reason) = choice.zip(reason).ok_or_else(untold)?;
    on_item(api, person, decision, headers, Word::Choose(choice), reason).await
}

/// What an answer to a proposal needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct AnswerBody {
    /// Why, in 8 to 2000 characters.
    reason: String,
}

/// Confirm what another person proposed. It is chosen then, in both names.
#[utoipa::path(post, path = "/v1/recon/{decision}/confirm", tag = "recon",
    params(("decision" = String, Path, description = "The decision it compares"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the item still has this tag")),
    request_body = AnswerBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn confirm(
    State(api): State<Api>,
    person: Person,
    Place(decision): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    on_item(api, person, decision, headers, Word::Confirm, body.only_reason()?).await
}

/// Refuse what was proposed, or take one's own proposal back. It can be chosen anew then.
#[utoipa::path(post, path = "/v1/recon/{decision}/refuse", tag = "recon",
    params(("decision" = String, Path, description = "The decision it compares"),
        ("If-Match" = Option<String>, Header, description = "Refuse unless the item still has this tag")),
    request_body = AnswerBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn refuse(
    State(api): State<Api>,
    person: Person,
    Place(decision): Place,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    on_item(api, person, decision, headers, Word::Refuse, body.only_reason()?).await
}

async fn on_item(
    api: Api,
    person: Person,
    decision: String,
    headers: HeaderMap,
    word: Word,
    reason: String,
) -> Result<Json<Done>, Problem> {
    let what = format!("recon item {decision}");
    let id = DecisionId::new(decision).map_err(|_| Problem::not_found(format!("there is no {what}")))?;
    let (now, policy) = (api.clock.wall(), api.policy);
    let done = api
        .store
        .write(move |tx| {
            let Some(found) = detail(tx, &id, &policy)? else {
                return Ok(Err(Problem::not_found(format!("there is no {what}"))));
            };
            let checked = person
                .must_see(&found.item.site, &what)
                .and_then(|()| person.must_be_allowed(Act::Choose(found.item.family)))
                .and_then(|()| must_match(&headers, &found));
            if let Err(problem) = checked {
                return Ok(Err(problem));
            }
            // Whoever settles is woken by this and does what follows from the choice.
            let (item, took) = match reconciler::say(tx, &id, &word, &person.name, &reason, &policy, now)? {
                Ok(taken) => taken,
                Err(why) => return Ok(Err(Problem::conflict(why.to_string()))),
            };
            let chosen = |chosen: Option<Chosen>| chosen.map_or("", |chosen| chosen.choice.as_str());
            let name = &person.name;
            let (action, done) = match (took, &word) {
                (Took::Chosen, Word::Confirm) => {
                    let choice = chosen(item.chosen);
                    (format!("confirmed {choice}"), format!("{what}: {name} confirmed {choice}"))
                }
                (Took::Chosen, _) => {
                    let choice = chosen(item.chosen);
                    (format!("chose {choice}"), format!("{what}: {name} chose {choice}"))
                }
                (Took::Proposed, _) => {
                    let choice = chosen(item.proposed);
                    let done = format!("{what}: {name} proposed {choice}; a second person must confirm it");
                    (format!("proposed {choice}"), done)
                }
                (Took::Refused, _) => {
                    let choice = chosen(found.item.proposed);
                    (format!("refused {choice}"), format!("{what}: {name} refused {choice}; it can be chosen anew"))
                }
            };
            tx.audit(&super::entry(now, name, &action, &what, &reason))?;
            Ok(Ok(Done { done }))
        })
        .await??;
    Ok(Json(done))
}

/// How much is open and how long it took to settle, by family.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconFiguresBody {
    /// From when on settled items are counted for the times, in UTC milliseconds.
    since_ms: i64,
    /// One row per family that has any item.
    #[schema(value_type = Vec<Object>)]
    items: Vec<FamilyFigures>,
}

/// How much is open at the ERP's prices, and how long items took from decision to settlement, by family. The times are of
/// items settled in the last seven days, the newest 10,000 of them.
#[utoipa::path(get, path = "/v1/recon/figures", tag = "recon", responses((status = 200, body = ReconFiguresBody)))]
pub(super) async fn figures(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<ReconFiguresBody>, Problem> {
    query.finish()?;
    if !who.sees_all() {
        return Err(Problem::forbidden("these figures are of all depots; you see some of them"));
    }
    let since = api.clock.wall().plus(-FIGURES_MS);
    let items = api.store.read(move |r| r.recon_figures(since)).await?;
    Ok(Json(ReconFiguresBody { since_ms: since.0, items }))
}
