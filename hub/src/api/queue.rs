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
    store::{Quarantined, Reader, StoreError, Tx},
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
    body: Body,
) -> Result<Json<Done>, Problem> {
    let reason = body.only_reason()?;
    person.must_be_allowed(Act::Replay)?;
    let now = api.clock.wall();
    let act = move |tx: &mut Tx<'_>, letter: QueuedPosting| {
        tx.replay(&letter.posting.key, now)?;
        Ok("is tried again".to_owned())
    };
    on_letter(&api, person, id, "dead letter replayed", reason, act).await
}

/// Does something to a parked posting that a person sees, and audits it.
async fn on_letter(
    api: &Api,
    person: Person,
    id: String,
    action: &'static str,
    reason: String,
    act: impl FnOnce(&mut Tx<'_>, QueuedPosting) -> Result<String, StoreError> + Send + 'static,
) -> Result<Json<Done>, Problem> {
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
            let done = act(tx, letter)?;
            tx.audit(&super::entry(now, &person.name, action, &what, &reason))?;
            Ok(Ok(Done { done: format!("{what} {done}") }))
        })
        .await??;
    Ok(Json(done))
}

/// What a posting that was booked by hand needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct BookedBody {
    /// The ERP's name of the document, in 1 to 100 characters.
    document: String,
    /// Who asked for it, or why it could not be posted, in 8 to 2000 characters.
    reason: String,
}

/// A parked posting was booked at the ERP by hand. It is never sent, and postings behind it go on.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/booked", tag = "queue",
    params(("id" = String, Path, description = "The posting's key; write its slashes as %2F")),
    request_body = BookedBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(super) async fn booked(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let (document, reason) = (body.text("document"), body.reason());
    body.finish()?;
    let (document, reason) = document.zip(reason).ok_or_else(untold)?;
    if document.trim().is_empty() || document.chars().count() > 100 {
        return Err(Problem::field("/document", "has no characters, or more than 100"));
    }
    person.must_be_allowed(Act::Replay)?;
    let now = api.clock.wall();
    let act = move |tx: &mut Tx<'_>, letter: QueuedPosting| {
        tx.book_by_hand(&letter.posting.key, document.trim(), now)?;
        Ok(format!("counts as booked by {}", document.trim()))
    };
    on_letter(&api, person, id, "dead letter booked by hand", reason, act).await
}

/// What a correction needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct CorrectionBody {
    /// Units, where the posting is about a line. Left out: as they were.
    quantity: Option<u32>,
    /// Words for people at the ERP. Left out: as they were.
    text: Option<String>,
    /// Why, in 8 to 2000 characters.
    reason: String,
}

/// Correct a parked posting. It stays parked; replay it then.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/correct", tag = "queue",
    params(("id" = String, Path, description = "The posting's key; write its slashes as %2F")),
    request_body = CorrectionBody,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(super) async fn correct(
    State(api): State<Api>,
    person: Person,
    Place(id): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let (quantity, text, reason) = (body.number_if_given("quantity"), body.text_if_given("text"), body.reason());
    body.finish()?;
    let reason = reason.ok_or_else(untold)?;
    if quantity.is_none() && text.is_none() {
        return Err(Problem::field("", "has neither quantity nor text: there is nothing to correct"));
    }
    person.must_be_allowed(Act::Replay)?;
    let act = move |tx: &mut Tx<'_>, letter: QueuedPosting| {
        let mut posting = letter.posting;
        if let Some(units) = quantity {
            let Some(line) = posting.line else {
                return Err(StoreError::Refused(format!(
                    "posting {} is about no line and has no quantity",
                    posting.key
                )));
            };
            let before = posting.quantity.replace(units);
            // An ERP that books documents rather than lines goes by the sum.
            for q in posting.total.iter_mut().filter(|q| q.line == line) {
                q.quantity = q.quantity.saturating_sub(before.unwrap_or(0)).saturating_add(units);
            }
        }
        posting.text = text.unwrap_or(posting.text);
        tx.correct(&posting)?;
        Ok("is corrected and stays parked".to_owned())
    };
    on_letter(&api, person, id, "dead letter corrected", reason, act).await
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
