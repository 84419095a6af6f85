//! Where vehicles without an agent are, as their trackers post it.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    Api,
    problem::Problem,
    request::{asker, bytes},
};
use crate::{
    auth::Principal,
    config::TokenScope,
    partners::positions::{self, Heard, MESSAGE_MAX_BYTES, PositionError},
};

/// Take a position that Traccar forwards: `forward.type` and `event.forward.type` are `json`, `forward.header` is
/// `Authorization: Bearer TOKEN`. The token needs the scope `positions`; the vehicle is the device's unique id.
#[utoipa::path(post, path = "/v1/positions/traccar", tag = "positions", security(("token" = [])),
    request_body = Object, responses((status = 200, body = Vec<Object>), (status = 403, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn traccar(State(api): State<Api>, request: Request) -> Result<Json<Vec<Value>>, Problem> {
    take(api, request, positions::traccar).await
}

/// Take a message that OwnTracks posts (mode HTTP). It cannot send a bearer token, so its password may be the token, under
/// any user name. The vehicle is the last part of the topic, else the tracker id.
#[utoipa::path(post, path = "/v1/positions/owntracks", tag = "positions", security(("token" = [])),
    request_body = Object, responses((status = 200, body = Vec<Object>), (status = 403, body = Problem),
        (status = 429, body = Problem)))]
pub(super) async fn owntracks(State(api): State<Api>, request: Request) -> Result<Json<Vec<Value>>, Problem> {
    take(api, request, positions::owntracks).await
}

type Reads = fn(&[u8], gatehouse_common::time::UtcMs) -> Result<Heard, PositionError>;

async fn take(api: Api, mut request: Request, reads: Reads) -> Result<Json<Vec<Value>>, Problem> {
    password_as_token(&mut request);
    let who = asker(&api, request.headers(), request.extensions()).await?;
    let name = match who {
        Principal::Program { name, scopes } if scopes.contains(&TokenScope::Positions) => name,
        _ => return Err(Problem::forbidden("positions come with a token that has the scope \"positions\"")),
    };
    api.quotas.take(&name, 1, api.keeper.per_minute(&name))?;
    let body = bytes(request, &api, MESSAGE_MAX_BYTES).await?;
    let now = api.clock.wall();
    match reads(&body, now) {
        Err(PositionError { field, detail }) => return Err(Problem::field(field, detail)),
        // A tracker would send again what is refused, for ever.
        Ok(Heard::Nothing(_)) => {}
        Ok(Heard::Position { vehicle, track }) => {
            api.store.write(move |tx| tx.put_track(&vehicle, &track, now)).await?;
        }
    }
    Ok(Json(Vec::new()))
}

/// Turns name and password into a bearer token, which is the password.
fn password_as_token(request: &mut Request) {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some((scheme, credentials)) = value.split_once(' ') else { return };
    if !scheme.eq_ignore_ascii_case("basic") {
        return;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let token = decoded.as_deref().and_then(|text| text.split_once(':')).map(|(_, password)| password);
    if let Some(bearer) = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok()) {
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
}
