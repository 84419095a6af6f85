//! What waits for a person: postings that the queue gave up on, and what was not let in.

use axum::{Json, extract::State};
use gatehouse_common::id::SiteId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, Done,
    problem::Problem,
    request::{Body, Page, Paging, Person, Place, Query, Reading, untold},
};
use crate::{
    auth::roles::Act,
    core::reconcile::QueuedPosting,
    store::{Quarantined, Reader, StoreError},
};

/// One part of the list of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterPage {
    /// Postings that are parked, each with the reason in `last_error`; `posting.key` is its id.
    #[schema(value_type = Vec<Object>)]
    items: Vec<QueuedPosting>,
    /// Give this as `after` for the next part; none at the end.
    next: Option<String>,
}

/// Postings that are parked for a person, oldest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "queue", params(Paging),
    responses((status = 200, body = DeadLetterPage)))]
pub(super) async fn dead_letters(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<DeadLetterPage>, Problem> {
    let paging = query.paging()?;
    let letters = api.store.read(move |r| {
        let mut seen = Vec::new();
        for letter in r.dead_letters()? {
            if site_of(r, &letter)?.map_or(who.sees_all(), |site| who.sees(&site)) {
                seen.push(letter);
            }
        }
        Ok(seen)
    });
    let letters = letters.await?;
    let Page { items, next } = paging.cut(letters, |letter| (letter.posting.at.0, letter.posting.key.clone()))?;
    Ok(Json(DeadLetterPage { items, next }))
}

/// The depot whose decision a posting follows from.
fn site_of(r: &Reader<'_>, letter: &QueuedPosting) -> Result<Option<SiteId>, StoreError> {
    Ok(r.recon_item(&letter.posting.decision)?.map(|item| item.site))
}

/// What a replay needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct ReplayBody {
    /// What was put right, in 8 to 2000 characters.
    reason: String,
}

/// Try a parked posting again. The ERP is asked whether it has it before it is sent.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/replay", tag = "queue",
    params(("id" = String, Path, description = "The posting's key; write its slashes as %2F")),
    request_body = ReplayBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(super) async fn replay(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let reason = body.reason();
    body.finish()?;
    let reason = reason.ok_or_else(untold)?;
    person.must_be_allowed(Act::Replay)?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let what = format!("posting {id}");
            let Some(letter) = tx.posting(&id)? else {
                return Ok(Err(Problem::not_found(format!("there is no {what}"))));
            };
            if let Some(site) = site_of(tx, &letter)?
                && let Err(problem) = person.must_see(&site, &what)
            {
                return Ok(Err(problem));
            }
            tx.replay(&id, now)?;
            tx.audit(&super::entry(now, &person.name, "dead letter replayed", &what, &reason))?;
            Ok(Ok(Done { done: format!("{what} is tried again") }))
        })
        .await??;
    Ok(Json(done))
}

/// One part of the quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuarantinePage {
    /// What was not let in, newest first.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Quarantined>,
}

/// What devices and programs sent and the hub did not let in, newest first; the latest 200.
#[utoipa::path(get, path = "/v1/quarantine", tag = "queue", responses((status = 200, body = QuarantinePage)))]
pub(super) async fn quarantine(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<QuarantinePage>, Problem> {
    query.finish()?;
    let (mut items, devices) = api.store.read(|r| Ok((r.quarantine(200)?, r.devices()?))).await?;
    // What a WMS or a device that is gone sent may be about any depot.
    items.retain(|item| {
        let sender = devices.iter().find(|d| d.device.device.as_str() == item.origin);
        sender.map_or(who.sees_all(), |d| d.device.sites.iter().any(|site| who.sees(site)))
    });
    Ok(Json(QuarantinePage { items }))
}
