//! What people do: each tap names its person, and is answered after it is on disk.

use axum::{
    Json,
    extract::{FromRequest, Path, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use gatehouse_common::{
    case::{CaseState, WaitsFor},
    id::Hash32,
    reading::ProofLine,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{App, Problem, board::document_id};
use crate::core::{
    decision::TapDone,
    drills::SYSTEMS,
    input::{Act, Tap},
};

/// A JSON body; what is wrong with one is told as a problem.
///
/// That it must be JSON also keeps other sites out: a browser asks before it sends JSON to a
/// foreign page, and this page never agrees.
pub struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body as application/json"))
            }
            Err(other) => Err(Problem::new(other.status(), other.body_text())),
        }
    }
}

/// Why, for the record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    reason: String,
}

/// Where a case goes, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    to: CaseState,
    reason: String,
    waits_for: Option<WaitsFor>,
    code: Option<String>,
}

/// Recognises the person, then makes the act and hands it over. Who asks comes first: a stranger
/// learns nothing about what is here or how to ask for it.
async fn tap(
    app: &App,
    headers: &HeaderMap,
    act: impl FnOnce() -> Result<Act, Problem>,
) -> Result<Json<TapDone>, Problem> {
    let person = app.doorman.recognise(headers).await?;
    let tap = Tap { who: person.name, role: person.role, act: act()? };
    Ok(Json(app.page.driver.submit_tap(tap).await?))
}

/// `POST /api/dispatches/{id}/override`
pub async fn let_leave(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Body<Reason>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let (dispatch, Body(Reason { reason })) = (document_id(&id)?, body?);
        Ok(Act::Override { dispatch, reason })
    })
    .await
}

/// `POST /api/dispatches/{id}/confirm`; takes no body.
pub async fn confirm(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || Ok(Act::Confirm { dispatch: document_id(&id)? })).await
}

/// A bundle.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesText {
    text: String,
}

/// `POST /api/rules/activate`
pub async fn activate_rules(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Body<RulesText>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let Body(RulesText { text }) = body?;
        Ok(Act::ActivateRules { text })
    })
    .await
}

/// `POST /api/rules/rollback`; takes no body.
pub async fn roll_back_rules(State(app): State<App>, headers: HeaderMap) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || Ok(Act::RollBackRules)).await
}

/// A drill: which source counts as gone, for how long, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    source: String,
    minutes: u64,
    reason: String,
}

/// `POST /api/drills/start`
pub async fn start_drill(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Body<NewDrill>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    let known = app.look(|store| store.sources()).await?;
    tap(&app, &headers, || {
        let Body(NewDrill { source, minutes, reason }) = body?;
        if !SYSTEMS.contains(&source.as_str()) && !known.iter().any(|known| known.source == source) {
            let systems = SYSTEMS.join(", ");
            return Err(Problem::not_found(format!(
                "no source {source} is known here; name one of the page's, or {systems}"
            )));
        }
        Ok(Act::StartDrill { source, lasts_ms: minutes.saturating_mul(60_000), reason })
    })
    .await
}

/// A source that shall count again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndDrill {
    source: String,
}

/// `POST /api/drills/stop`
pub async fn stop_drill(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Body<EndDrill>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let Body(EndDrill { source }) = body?;
        Ok(Act::StopDrill { source })
    })
    .await
}

/// `POST /api/dispatches/{id}/hold`
pub async fn hold(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Body<Reason>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let (dispatch, Body(Reason { reason })) = (document_id(&id)?, body?);
        Ok(Act::Hold { dispatch, reason })
    })
    .await
}

/// `POST /api/dispatches/{id}/cancel`
pub async fn ask_to_cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Body<Reason>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let (dispatch, Body(Reason { reason })) = (document_id(&id)?, body?);
        Ok(Act::AskToCancel { dispatch, reason })
    })
    .await
}

/// `POST /api/dispatches/{id}/recall-seen`; takes no body.
pub async fn recall_seen(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || Ok(Act::RecallSeen { dispatch: document_id(&id)? })).await
}

/// What became of the goods at their destination.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    lines: Vec<ProofLine>,
    signed_by: Option<String>,
    photo: Option<Hash32>,
}

/// `POST /api/dispatches/{id}/proof`; at the page of the vehicle's own unit.
pub async fn prove(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Body<Proof>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let (dispatch, Body(Proof { lines, signed_by, photo })) = (document_id(&id)?, body?);
        Ok(Act::Prove { dispatch, lines, signed_by, photo })
    })
    .await
}

/// `POST /api/cases/{id}/move`
pub async fn move_case(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Body<Move>, Problem>,
) -> Result<Json<TapDone>, Problem> {
    tap(&app, &headers, || {
        let (case, Body(Move { to, reason, waits_for, code })) = (document_id(&id)?, body?);
        Ok(Act::MoveCase { case, to, reason, waits_for, code })
    })
    .await
}
