//! What requests have in common: who asks, pages of lists, small JSON bodies, entity tags.

use axum::{
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_common::id::{ActorName, Hash32, SiteId};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    problem::{FieldProblem, Problem},
};
use crate::{
    auth::{Principal, Role, roles::Act},
    config::TokenScope,
    listen::Caller,
};

/// Most bytes of a body that a person's choice may have.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// Fewest characters of a reason.
pub const REASON_MIN_CHARS: usize = 8;
const REASON_MAX_CHARS: usize = 2000;

/// Who sent a request with these headers; what the listener knows of them is in its extensions.
/// # Errors
/// 401, or 429 with when to come back.
pub async fn asker(api: &Api, headers: &HeaderMap, extensions: &Extensions) -> Result<Principal, Problem> {
    let from = extensions.get::<ConnectInfo<Caller>>().map(|from| from.0.address.ip());
    api.keeper.identify(from, headers).await.map_err(Problem::unauthorized)
}

/// Someone who may read.
pub struct Reading(pub Principal);

impl FromRequestParts<Api> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match asker(api, &parts.headers, &parts.extensions).await? {
            Principal::Program { scopes, .. } if !scopes.contains(&TokenScope::Read) => {
                Err(Problem::forbidden("this token may not read; give it the scope \"read\" in the configuration"))
            }
            principal => Ok(Self(principal)),
        }
    }
}

/// A person who wants to change something.
pub struct Person {
    /// Their login.
    pub name: ActorName,
    /// What they are.
    pub role: Role,
    who: Principal,
}

impl FromRequestParts<Api> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let who = asker(api, &parts.headers, &parts.extensions).await?;
        match &who {
            Principal::Operator { name, role, .. } => Ok(Self { name: name.clone(), role: *role, who }),
            Principal::Program { .. } => {
                Err(Problem::forbidden("this needs a person: sign in with name and PIN, not with a token"))
            }
        }
    }
}

impl Person {
    /// # Errors
    /// 404 as for something that is not there: who may not see a depot does not learn what it has.
    pub fn must_see(&self, site: &SiteId, what: &str) -> Result<(), Problem> {
        if self.who.sees(site) { Ok(()) } else { Err(Problem::not_found(format!("there is no {what}"))) }
    }

    /// # Errors
    /// 403 that says who may.
    pub fn must_be_allowed(&self, act: Act) -> Result<(), Problem> {
        if self.role.may(act) {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "role {} may not do this; these may: {}",
            self.role.as_str(),
            Role::who_may(act)
        )))
    }
}

/// The part of a path that names something.
pub struct Place(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|e| Problem::not_found(e.body_text()))
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most items of an answer, 1 to 1000. Default 100.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<usize>,
    /// `next` of the answer before; the list goes on after it.
    pub after: Option<String>,
}

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `after` for the next part; none at the end.
    pub next: Option<String>,
}

/// Query parameters, each taken once; what is left over is refused.
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map(|query| Self(query.0))
            .map_err(|e| Problem::field("query", e.body_text()))
    }
}

impl Query {
    /// Takes a parameter.
    /// # Errors
    /// 400 if it cannot be read as what it should be.
    pub fn take<T: std::str::FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(index) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, text) = self.0.remove(index);
        text.parse().map(Some).map_err(|_| Problem::field(name, format!("{text:?} is not {expected}")))
    }

    /// Takes `limit` and `after` and refuses what is left.
    /// # Errors
    /// 400 names what is wrong.
    pub fn paging(mut self) -> Result<Paging, Problem> {
        let limit: Option<usize> = self.take("limit", "a number from 1 to 1000")?;
        if limit.is_some_and(|limit| !(1..=1000).contains(&limit)) {
            return Err(Problem::field("limit", "is not a number from 1 to 1000"));
        }
        let after = self.take("after", "text")?;
        self.finish()?;
        Ok(Paging { limit, after })
    }

    /// Refuses what is left.
    /// # Errors
    /// 400 names it.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((name, _)) => Err(Problem::field(name, "is not a parameter of this request, or is given twice")),
            None => Ok(()),
        }
    }
}

impl Paging {
    /// The part of `items` that was asked for, by a key that orders them and is unique.
    /// A cursor stays good when items come and go, since it names a key and not a place.
    /// # Errors
    /// 400 if `after` is not a cursor of ours.
    pub fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> (i64, String)) -> Result<Page<T>, Problem> {
        items.sort_by_cached_key(&key);
        if let Some(after) = &self.after {
            let after =
                decode(after).ok_or_else(|| Problem::field("after", "is not a cursor; give `next` as it came"))?;
            items.retain(|item| key(item) > after);
        }
        let limit = self.limit.unwrap_or(100);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| encode(&key(item))) } else { None };
        Ok(Page { items, next })
    }
}

fn encode((number, text): &(i64, String)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{number}\n{text}"))
}

fn decode(cursor: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (number, text) = text.split_once('\n')?;
    Some((number.parse().ok()?, text.to_owned()))
}

/// A JSON object whose fields are taken one by one, so that everything wrong is told at once.
pub struct Body {
    fields: Map<String, Value>,
    errors: Vec<FieldProblem>,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        // A form of another site cannot send this type, so nobody's browser is made to choose in their name.
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            let detail = format!("content-type is {kind:?}; send application/json");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Send JSON", detail));
        }
        let bytes = bytes(request, state, BODY_MAX_BYTES).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, errors: Vec::new() }),
            Ok(_) => Err(Problem::field("", "is not a JSON object")),
            Err(e) => Err(Problem::field("", format!("is not JSON: {e}"))),
        }
    }
}

/// The body's bytes.
/// # Errors
/// 413 if there are more than `max`.
pub async fn bytes<S: Send + Sync>(request: Request, state: &S, max: usize) -> Result<axum::body::Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    };
    let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|e| match e {
        BytesRejection::FailedToBufferBody(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        e => Problem::field("", e.body_text()),
    })?;
    if bytes.len() > max { Err(too_large()) } else { Ok(bytes) }
}

impl Body {
    fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldProblem { field: format!("/{name}"), detail: detail.into() });
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.wrong(name, "is not text"),
            None => self.wrong(name, "is missing"),
        }
        None
    }

    /// Takes the reason that every change needs.
    pub fn reason(&mut self) -> Option<String> {
        let reason = self.text("reason")?.trim().to_owned();
        if (REASON_MIN_CHARS..=REASON_MAX_CHARS).contains(&reason.chars().count()) {
            return Some(reason);
        }
        self.wrong("reason", format!("has fewer than {REASON_MIN_CHARS} or more than {REASON_MAX_CHARS} characters"));
        None
    }

    /// The reason, from a request that says nothing else.
    /// # Errors
    /// 400 with each field that is wrong or not asked for.
    pub fn only_reason(mut self) -> Result<String, Problem> {
        let reason = self.reason();
        self.finish()?;
        reason.ok_or_else(untold)
    }

    /// Takes one of several words.
    pub fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("{text:?} is not one of {}", all.join(", ")));
        }
        found
    }

    /// [`Self::text`] of a field that may be left out.
    pub fn text_if_given(&mut self, name: &str) -> Option<String> {
        if self.fields.contains_key(name) { self.text(name) } else { None }
    }

    /// Takes a whole number from 0 up, of a field that may be left out.
    pub fn number_if_given(&mut self, name: &str) -> Option<u32> {
        let value = self.fields.remove(name)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            self.wrong(name, format!("is {value}, a whole number from 0 to {} is expected", u32::MAX));
        }
        number
    }

    /// [`Self::one_of`] for a field that may be left out.
    pub fn one_of_if_given<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        if self.fields.contains_key(name) { self.one_of(name, words) } else { None }
    }

    /// Refuses what is left, and tells everything that was wrong.
    /// # Errors
    /// 400 with each field.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.fields).keys() {
            self.wrong(name, "is not a field of this request");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

/// A field that was told as wrong by [`Body::finish`] already.
#[must_use]
pub fn untold() -> Problem {
    Problem::field("", "cannot be read")
}

/// The tag of a value: it changes whenever the value does.
/// # Errors
/// 500 if the value cannot be written as JSON.
pub fn tag<T: Serialize>(value: &T) -> Result<String, Problem> {
    let json = serde_json::to_vec(value).map_err(crate::store::StoreError::from)?;
    let hash = Hash32::of(&json).to_string();
    Ok(format!("\"{}\"", &hash[..32]))
}

/// Answers with a value and its tag, or with nothing new.
/// # Errors
/// 500 if the value cannot be written as JSON.
pub fn tagged<T: Serialize>(headers: &HeaderMap, value: &T) -> Result<Response, Problem> {
    let tag = tag(value)?;
    let known = lists(headers, &header::IF_NONE_MATCH, &tag) == Some(true);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { axum::Json(value).into_response() };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Whether the asker decided on what is there now.
/// # Errors
/// 412 if `If-Match` names something else.
pub fn must_match<T: Serialize>(headers: &HeaderMap, value: &T) -> Result<(), Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    match lists(headers, &header::IF_MATCH, &tag(value)?) {
        Some(true) => Ok(()),
        _ => Err(Problem::changed()),
    }
}

fn lists(headers: &HeaderMap, name: &header::HeaderName, tag: &str) -> Option<bool> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_read_in_parts_is_whole_though_items_vanish_in_between() {
        let key = |n: &i64| (*n, n.to_string());
        let paging = |after| Paging { limit: Some(2), after };
        let first = paging(None).cut(vec![5, 1, 3, 2], key).unwrap();
        assert_eq!(first.items, [1, 2]);
        // 2, where the first part ended, is gone meanwhile.
        let second = paging(first.next).cut(vec![5, 1, 3], key).unwrap();
        assert_eq!((second.items, second.next), (vec![3, 5], None));
        assert_eq!(paging(Some("?".into())).cut(vec![1], key).unwrap_err().errors[0].field, "after");
    }

    #[test]
    fn everything_wrong_with_a_body_is_told_at_once() {
        let Value::Object(fields) = serde_json::json!({ "to": 3, "reason": "so", "x": 1 }) else { unreachable!() };
        let mut body = Body { fields, errors: Vec::new() };
        assert_eq!((body.one_of("to", &[("closed", 1)]), body.reason()), (None, None));
        let told: Vec<_> = body.finish().unwrap_err().errors.into_iter().map(|e| e.field).collect();
        assert_eq!(told, ["/to", "/reason", "/x"]);
    }
}
