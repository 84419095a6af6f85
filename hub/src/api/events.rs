//! Events that WMS and TMS send.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use gatehouse_common::{
    id::{ActorName, DeviceId},
    time::UtcMs,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, Done,
    problem::{FieldProblem, Problem},
    request::{Body, Person, Place, Query, Reading, asker, bytes},
};
use crate::{
    auth::{Principal, roles::Act},
    config::TokenScope,
    partners::{
        cloudevents::{self, Mode, ModeError},
        events::{self, Event, EventError, System, Taken},
    },
    store::{StoreError, letters::Letter},
};

/// Someone with a login or a token, whatever it is good for.
pub(super) struct AnyProgram;

impl FromRequestParts<Api> for AnyProgram {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        asker(api, &parts.headers, &parts.extensions).await?;
        Ok(Self)
    }
}

/// A program that may send events of one system or more.
pub(super) struct Partner {
    pub(super) name: ActorName,
    scopes: BTreeSet<TokenScope>,
}

impl FromRequestParts<Api> for Partner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match asker(api, &parts.headers, &parts.extensions).await? {
            Principal::Operator { .. } => {
                Err(Problem::forbidden("events come from programs: send the token of one, not name and PIN"))
            }
            Principal::Program { name, scopes } => Ok(Self { name, scopes }),
        }
    }
}

impl Partner {
    pub(super) fn must_speak_for(&self, scope: TokenScope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        let word = match scope {
            TokenScope::EventsWms => "events:wms",
            TokenScope::EventsTms => "events:tms",
            TokenScope::Positions => "positions",
            TokenScope::Edi => "edi",
            TokenScope::Read => "read",
        };
        let detail = format!(
            "the token of {} may not send this event; give it the scope {word:?} in the configuration",
            self.name
        );
        Err(Problem::forbidden(detail))
    }

    /// How the quarantine calls it.
    fn origin(&self) -> Result<DeviceId, Problem> {
        let origin = DeviceId::new(self.name.as_str()).or_else(|_| DeviceId::new("partner"));
        origin.map_err(|e| StoreError::Refused(e.to_string()).into())
    }
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventTaken {
    /// `new`: it is what holds now. `late`: something newer was known. `again`: it was taken before.
    outcome: &'static str,
}

/// A CloudEvent 1.0 in structured JSON. Other attributes may be there and are not read.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct EventBody {
    /// `1.0`.
    #[schema(example = "1.0")]
    specversion: String,
    /// Unique at its source; the same again changes nothing.
    id: String,
    /// Who says so.
    #[schema(example = "/wms/north")]
    source: String,
    /// `io.gatehouse.wms.inventory.v1`, `io.gatehouse.tms.capacity.v1` or `io.gatehouse.tms.carrier.v1`.
    #[schema(rename = "type", example = "io.gatehouse.wms.inventory.v1")]
    kind: String,
    /// When this was so, in RFC 3339; `data.at` goes before it.
    time: Option<String>,
    /// `order` in each; `line`, `confirmed` for inventory; `sufficient`, `vehicle` for capacity; `accepted`, `carrier`
    /// for a carrier; `at`, in RFC 3339, where it differs from `time`.
    #[schema(value_type = Object, example = json!({"order": "SO-1", "line": 1, "confirmed": 40}))]
    data: serde_json::Value,
}

/// What became of each event of a batch, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchTaken {
    /// One for each event.
    items: Vec<OneOfBatch>,
}

/// What became of one event of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneOfBatch {
    /// The status that it would have had alone: 202 if it was taken.
    status: u16,
    /// As for one event; none if it was not taken.
    outcome: Option<&'static str>,
    /// Why it was not taken. It waits under `/v1/events/dead` if it could not be read.
    problem: Option<Problem>,
}

/// Take facts that WMS or TMS tell: one event (structured, or with `ce-` headers), or a batch. What is answered is on disk;
/// send again what was answered with other than 2xx and 4xx. The token needs the scope of the event's type: `events:wms` or
/// `events:tms`. A batch is answered with 200 and an item for each of its events.
#[utoipa::path(post, path = "/v1/events", tag = "events", security(("token" = [])),
    request_body(content = EventBody, content_type = "application/cloudevents+json"),
    responses((status = 202, body = EventTaken), (status = 200, body = BatchTaken, description = "A batch"),
        (status = 401, body = Problem, description = "No token, or a wrong one"),
        (status = 403, body = Problem), (status = 409, body = Problem, description = "The id said something else before"),
        (status = 415, body = Problem), (status = 422, body = Problem, description = "The type is not known"),
        (status = 429, body = Problem, description = "Too many in a minute")))]
pub(super) async fn take(State(api): State<Api>, partner: Partner, request: Request) -> Result<Response, Problem> {
    let mode = Mode::of(request.headers()).map_err(|e| match e {
        ModeError::NoEvent(_) => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Send a CloudEvent", e.to_string())
        }
        ModeError::Header(detail) => Problem::field("headers", detail),
    })?;
    let body = bytes(request, &api, mode.max_bytes()).await?;
    let per_minute = api.keeper.per_minute(&partner.name);
    let event = match mode {
        Mode::Batch => {
            let events = cloudevents::batched(&body).map_err(|why| Problem::field("", why))?;
            let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
            api.quotas.take(&partner.name, count, per_minute)?;
            let mut items = Vec::new();
            for event in events {
                items.push(match one(&api, &partner, event).await {
                    Ok(outcome) => OneOfBatch { status: 202, outcome: Some(outcome), problem: None },
                    // A store that cannot write refuses the rest too: the whole batch is sent again, and known by its ids.
                    Err(problem) if problem.status >= 500 => return Err(problem),
                    Err(problem) => OneOfBatch { status: problem.status, outcome: None, problem: Some(problem) },
                });
            }
            return Ok(Json(BatchTaken { items }).into_response());
        }
        Mode::Structured => body.to_vec(),
        Mode::Binary(attributes) => match cloudevents::assembled(attributes, &body) {
            Ok(event) => event,
            Err(why) => {
                keep_refused(&api, &partner, why.clone(), body.to_vec(), api.clock.wall()).await?;
                return Err(Problem::field("", why));
            }
        },
    };
    api.quotas.take(&partner.name, 1, per_minute)?;
    let outcome = one(&api, &partner, event).await?;
    Ok((StatusCode::ACCEPTED, Json(EventTaken { outcome })).into_response())
}

/// Takes one event in structured form.
async fn one(api: &Api, partner: &Partner, body: Vec<u8>) -> Result<&'static str, Problem> {
    let now = api.clock.now();
    let origin = partner.origin()?;
    if body.len() > cloudevents::EVENT_MAX_BYTES {
        let detail = format!("the event is larger than {} bytes", cloudevents::EVENT_MAX_BYTES);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail));
    }
    let event = match Event::parse(&body, now.wall) {
        Ok(event) => event,
        Err(e) => {
            keep_refused(api, partner, e.to_string(), body, now.wall).await?;
            return Err(refusal(e));
        }
    };
    partner.must_speak_for(scope_of(event.system))?;
    let (id, source) = (event.id.clone(), event.source.clone());
    match api.store.write(move |tx| event.take(tx, &origin, &body, &now)).await? {
        Taken::New => Ok("new"),
        Taken::Late => Ok("late"),
        Taken::Again => Ok("again"),
        Taken::Conflict => {
            let detail =
                format!("id {id:?} of source {source:?} said something else before; give what is new an id of its own");
            Err(Problem::conflict(detail))
        }
    }
}

fn scope_of(system: System) -> TokenScope {
    match system {
        System::Wms => TokenScope::EventsWms,
        System::Tms => TokenScope::EventsTms,
    }
}

/// Types of events that have a schema.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schemas {
    /// Their names; `/v1/events/schemas/{type}` is the schema of the data.
    types: Vec<String>,
}

/// The types of events that are taken.
#[utoipa::path(get, path = "/v1/events/schemas", tag = "events", responses((status = 200, body = Schemas)))]
pub(super) async fn schemas(_: AnyProgram) -> Json<Schemas> {
    Json(Schemas { types: events::known_types().split(", ").map(str::to_owned).collect() })
}

/// The JSON Schema of the data of a type of event.
#[utoipa::path(get, path = "/v1/events/schemas/{type}", tag = "events", params(("type" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(super) async fn schema(_: AnyProgram, Place(kind): Place) -> Result<Json<serde_json::Value>, Problem> {
    let none = || Problem::not_found(format!("there is no type {kind:?}; these are: {}", events::known_types()));
    cloudevents::schema(&kind).map(Json).ok_or_else(none)
}

/// Events that wait for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterPage {
    /// The latest 500, each with its text and the reason.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Letter>,
}

/// Events that could not be taken, whole, with the reason.
#[utoipa::path(get, path = "/v1/events/dead", tag = "events", responses((status = 200, body = LetterPage)))]
pub(super) async fn dead(
    State(api): State<Api>,
    Reading(who): Reading,
    query: Query,
) -> Result<Json<LetterPage>, Problem> {
    query.finish()?;
    // What cannot be read may be about any depot.
    let items = if who.sees_all() { api.store.read(|r| r.event_letters()).await? } else { Vec::new() };
    Ok(Json(LetterPage { items }))
}

/// What a replay of an event needs.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document")]
pub struct LetterReplay {
    /// The event as it should have been; left out, it is tried as it came.
    event: Option<String>,
    /// What was put right, in 8 to 2000 characters.
    reason: String,
}

/// Try an event again that could not be taken, as it came or put right.
#[utoipa::path(post, path = "/v1/events/dead/{n}/replay", tag = "events", params(("n" = u64, Path)),
    request_body = LetterReplay,
    responses((status = 200, body = Done), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub(super) async fn replay(
    State(api): State<Api>,
    person: Person,
    Place(n): Place,
    mut body: Body,
) -> Result<Json<Done>, Problem> {
    let edited = body.text_if_given("event");
    let reason = body.only_reason()?;
    person.must_be_allowed(Act::Replay)?;
    let none = || Problem::not_found(format!("no event {n} waits"));
    let n: u64 = n.parse().map_err(|_| none())?;
    let (origin, kept) = api.store.read(move |r| r.event_letter(n)).await?.ok_or_else(none)?;
    let bytes = edited.map_or(kept, String::into_bytes);
    let now = api.clock.now();
    let event = Event::parse(&bytes, now.wall).map_err(refusal)?;
    let origin = DeviceId::new(origin).map_err(|e| Problem::conflict(e.to_string()))?;
    let done = api.store.write(move |tx| {
        if event.take(tx, &origin, &bytes, &now)? == Taken::Conflict {
            return Ok(Err(Problem::conflict("its id said something else before; give it another")));
        }
        tx.close_event_letter(n)?;
        tx.audit(&super::entry(now.wall, &person.name, "event replayed", &format!("event {n}"), &reason))?;
        Ok(Ok(Done { done: format!("event {n} of {origin} was taken") }))
    });
    Ok(Json(done.await??))
}

async fn keep_refused(api: &Api, partner: &Partner, reason: String, body: Vec<u8>, now: UtcMs) -> Result<(), Problem> {
    let (origin, name) = (partner.origin()?, partner.name.clone());
    api.store
        .write(move |tx| {
            events::refuse(tx, &origin, &reason, &body, now)?;
            tx.keep_event_letter(&name, &reason, &body, now)
        })
        .await?;
    Ok(())
}

fn refusal(e: EventError) -> Problem {
    match e {
        EventError::Faults(faults) => Problem::fields(
            faults.into_iter().map(|fault| FieldProblem { field: fault.pointer, detail: fault.detail }).collect(),
        ),
        EventError::UnknownType { .. } => Problem {
            errors: vec![FieldProblem { field: "/type".to_owned(), detail: e.to_string() }],
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-type", "Not a known type of event", e.to_string())
        },
    }
}
