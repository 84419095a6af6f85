//! Files of partners: left here, looked at, and answers to tenders.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, Done,
    problem::Problem,
    request::{Body, Person, Place, Query, Reading, asker, bytes, untold},
};
use crate::{
    auth::{Principal, roles::Act},
    config::{PartnerConfig, TokenScope},
    partners::{
        desk::{send, take},
        edi::{
            FILE_MAX_BYTES, when,
            x12::response::{Action, Response},
        },
    },
    store::{EdiFile, EdiWord},
};

/// What became of a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct EdiTaken {
    /// Interchanges that are new.
    taken: u32,
    /// Interchanges that were taken before; they changed nothing.
    again: u32,
    /// Messages that were acted on.
    messages: u32,
    /// What was not taken, with segment and element.
    refused: Vec<String>,
    /// The files that answer it (997 or CONTRL), as they are.
    answers: Vec<String>,
}

/// Leave a file: one X12 or EDIFACT interchange or more. It is on disk when this is answered; the same again changes nothing.
/// The token has the partner's name and the scope `edi`.
#[utoipa::path(post, path = "/v1/edi", tag = "edi", security(("token" = [])),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 202, body = EdiTaken), (status = 403, body = Problem),
        (status = 422, body = Problem, description = "Nothing of it could be taken; it is kept with the reason")))]
pub(super) async fn leave(State(api): State<Api>, request: Request) -> Result<(StatusCode, Json<EdiTaken>), Problem> {
    let principal = asker(&api, request.headers(), request.extensions()).await?;
    let partner = match &principal {
        Principal::Program { name, scopes } if scopes.contains(&TokenScope::Edi) => partner_of(&api, name.as_str())?,
        _ => return Err(Problem::forbidden("files come with a partner's token that has the scope \"edi\"")),
    };
    api.quotas.take(&partner.name, 1, api.keeper.per_minute(&partner.name))?;
    let body = bytes(request, &api, FILE_MAX_BYTES).await?;
    let now = api.clock.now();
    let (taken, answers) = api
        .store
        .write(move |tx| {
            let taken = take::take(tx, &partner, "by HTTP", &body, &now)?;
            let mut answers = Vec::new();
            for (file, body) in tx.edi_waiting(partner.name.as_str())? {
                // With a folder it is fetched there; else this is where the partner gets it.
                if taken.answers.contains(&file.name) {
                    answers.push(String::from_utf8_lossy(&body).into_owned());
                    if partner.folder_out.is_none() {
                        tx.edi_written(file.n)?;
                    }
                }
            }
            Ok((taken, answers))
        })
        .await?;
    if taken.is_refused() {
        let detail = taken.refused.join("\n");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "edi", "Nothing of it could be taken", detail));
    }
    let take::Taken { taken, again, messages, refused, .. } = taken;
    Ok((StatusCode::ACCEPTED, Json(EdiTaken { taken, again, messages, refused, answers })))
}

fn partner_of(api: &Api, name: &str) -> Result<PartnerConfig, Problem> {
    let found = api.partners.iter().find(|p| p.name.as_str() == name).cloned();
    found.ok_or_else(|| Problem::not_found(format!("no partner {name} is configured")))
}

/// The latest interchanges and what in them needs a look.
#[derive(Debug, Serialize, ToSchema)]
pub struct EdiPage {
    /// Newest first, the latest 500.
    #[schema(value_type = Vec<Object>)]
    files: Vec<EdiFile>,
    /// Words with a code that is not known here or an order that is not, newest first, the latest 500.
    #[schema(value_type = Vec<Object>)]
    unclear: Vec<EdiWord>,
}

/// Interchanges, in and out, with what was refused and why.
#[utoipa::path(get, path = "/v1/edi", tag = "edi", responses((status = 200, body = EdiPage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<EdiPage>, Problem> {
    query.finish()?;
    let (files, mut unclear) = api.store.read(|r| Ok((r.edi_files()?, r.edi_words_unclear()?))).await?;
    unclear.retain(|word| word.site.as_ref().map_or(who.sees_all(), |site| who.sees(site)));
    // An interchange may be about any depot.
    let files = if who.sees_all() { files } else { Vec::new() };
    Ok(Json(EdiPage { files, unclear }))
}

/// What partners said of one shipment.
#[derive(Debug, Serialize, ToSchema)]
pub struct EdiWords {
    /// In the order in which the hub learned of it.
    #[schema(value_type = Vec<Object>)]
    items: Vec<EdiWord>,
}

/// What partners said of an order or shipment, code by code as it came.
#[utoipa::path(get, path = "/v1/edi/{shipment}", tag = "edi", params(("shipment" = String, Path)),
    responses((status = 200, body = EdiWords)))]
pub(super) async fn of_shipment(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(shipment): Place,
    query: Query,
) -> Result<Json<EdiWords>, Problem> {
    query.finish()?;
    let mut items = api.store.read(move |r| r.edi_words_of(&shipment)).await?;
    items.retain(|word| word.site.as_ref().map_or(who.sees_all(), |site| who.sees(site)));
    Ok(Json(EdiWords { items }))
}

/// What is answered to a tender.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct TenderAnswer {
    /// Whose tender.
    partner: String,
    /// `accept` or `decline`.
    answer: String,
    /// Why, in 8 to 2000 characters; it stays here.
    reason: String,
}

/// Answer a tender that a partner sent (204), with a 990.
#[utoipa::path(post, path = "/v1/edi/{shipment}/answer", tag = "edi", params(("shipment" = String, Path)),
    request_body = TenderAnswer,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It was answered before")))]
pub(super) async fn answer(
    State(api): State<Api>,
    person: Person,
    Place(shipment): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let partner: Option<String> = body.text("partner");
    let action = body.one_of("answer", &[("accept", true), ("decline", false)]);
    let reason = body.reason();
    body.finish()?;
    let (Some(partner), Some(accepts), Some(reason)) = (partner, action, reason) else { return Err(untold()) };
    person.must_be_allowed(Act::MoveCase(gatehouse_common::case::Team::CarrierManagement))?;
    let partner = partner_of(&api, &partner)?;
    let now = api.clock.wall();
    let done = api
        .store
        .write(move |tx| {
            let tendered = tx.edi_words_of(&shipment)?.iter().any(|word| word.kind == "204");
            if !tendered {
                return Ok(Err(Problem::not_found(format!("no tender {shipment} came in"))));
            }
            let (day, _) = when::written(now);
            let response = Response {
                carrier: partner.carrier_code(),
                shipment: shipment.clone(),
                day,
                action: if accepts { Action::Accepted } else { Action::Declined },
                reason: String::new(),
                own_number: String::new(),
            };
            let cause = format!("990/{shipment}");
            let Some(file) = send::message(tx, &partner, &cause, response.body(), now)? else {
                return Ok(Err(Problem::conflict(format!("tender {shipment} was answered before"))));
            };
            let what = format!("tender {shipment} of {}", partner.name);
            tx.audit(&super::entry(now, &person.name, "tender answered", &what, &reason))?;
            Ok(Ok(Done { done: format!("{what} is answered by {file}") }))
        })
        .await??;
    Ok(Json(done))
}
