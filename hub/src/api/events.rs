//! Events that WMS and TMS send.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, header, request::Parts},
};
use gatehouse_common::{
    id::{ActorName, DeviceId},
    time::UtcMs,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    problem::{FieldProblem, Problem},
    request::bytes,
};
use crate::{
    auth::Principal,
    config::TokenScope,
    partners::events::{self, Event, EventError, System, Taken},
    store::StoreError,
};

/// Most bytes of one event.
const EVENT_MAX_BYTES: usize = 64 * 1024;

/// A program that may send events of one system or more.
pub(super) struct Partner {
    name: ActorName,
    scopes: BTreeSet<TokenScope>,
}

impl FromRequestParts<Api> for Partner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match api.keeper.identify(&parts.headers).await.map_err(Problem::unauthorized)? {
            Principal::Operator { .. } => {
                Err(Problem::forbidden("events come from programs: send the token of one, not name and PIN"))
            }
            Principal::Program { name, scopes } => Ok(Self { name, scopes }),
        }
    }
}

impl Partner {
    fn must_speak_for(&self, scope: TokenScope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        let word = match scope {
            TokenScope::EventsWms => "events:wms",
            TokenScope::EventsTms => "events:tms",
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

/// Take a fact that WMS or TMS tells. It is on disk when this is answered; send it again after any other answer
/// than 2xx and 4xx. The token needs the scope of the event's type: `events:wms` or `events:tms`.
#[utoipa::path(post, path = "/v1/events", tag = "events", security(("token" = [])),
    request_body(content = EventBody, content_type = "application/cloudevents+json"),
    responses((status = 202, body = EventTaken), (status = 401, body = Problem, description = "No token, or a wrong one"),
        (status = 403, body = Problem), (status = 409, body = Problem, description = "The id said something else before"),
        (status = 415, body = Problem), (status = 422, body = Problem, description = "The type is not known")))]
pub(super) async fn take(
    State(api): State<Api>,
    partner: Partner,
    request: Request,
) -> Result<(StatusCode, Json<EventTaken>), Problem> {
    must_be_structured(&request)?;
    let body = bytes(request, &api, EVENT_MAX_BYTES).await?;
    let now = api.clock.now();
    let origin = partner.origin()?;
    let event = match Event::parse(&body, now.wall) {
        Ok(event) => event,
        Err(e) => {
            keep_refused(&api, origin, e.to_string(), body, now.wall).await?;
            return Err(refusal(e));
        }
    };
    partner.must_speak_for(match event.system {
        System::Wms => TokenScope::EventsWms,
        System::Tms => TokenScope::EventsTms,
    })?;
    let (id, source) = (event.id.clone(), event.source.clone());
    let outcome = match api.store.write(move |tx| event.take(tx, &origin, &body, &now)).await? {
        Taken::New => "new",
        Taken::Late => "late",
        Taken::Again => "again",
        Taken::Conflict => {
            let detail =
                format!("id {id:?} of source {source:?} said something else before; give what is new an id of its own");
            return Err(Problem::conflict(detail));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(EventTaken { outcome })))
}

fn must_be_structured(request: &Request) -> Result<(), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/cloudevents+json")) {
        return Ok(());
    }
    let detail = format!(
        "content-type is {kind:?}; send one event in structured form, application/cloudevents+json, neither a batch nor \
         its attributes in headers"
    );
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Send a structured CloudEvent", detail))
}

async fn keep_refused(
    api: &Api,
    origin: DeviceId,
    reason: String,
    body: axum::body::Bytes,
    now: UtcMs,
) -> Result<(), Problem> {
    api.store.write(move |tx| events::refuse(tx, &origin, &reason, &body, now)).await?;
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
