//! Errors as `application/problem+json` (RFC 9457): what is wrong, where, and what to do.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::{auth::AuthError, store::StoreError};

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem: `urn:gatehouse:problem:` and a word that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:gatehouse:problem:invalid")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong this time, and what to do.
    pub detail: String,
    /// Each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Seconds after which to try again; travels as `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after: Option<u64>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Which field, as a JSON pointer into the body, or the name of a parameter.
    #[schema(example = "/reason")]
    pub field: String,
    /// What is wrong with it and what is expected.
    pub detail: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:gatehouse:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 400: these fields are wrong.
    #[must_use]
    pub fn fields(errors: Vec<FieldProblem>) -> Self {
        let told = |e: &FieldProblem| match e.field.as_str() {
            "" => format!("the body {}", e.detail),
            field => format!("{field}: {}", e.detail),
        };
        let detail = errors.iter().map(told).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "invalid", "The request has wrong fields", detail) }
    }

    /// 400: this field is wrong.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldProblem { field: field.into(), detail: detail.into() }])
    }

    /// 401: who asks? Or 429: they, or others at their network, were wrong too often.
    #[must_use]
    pub fn unauthorized(why: AuthError) -> Self {
        let detail = why.to_string();
        match why {
            AuthError::Wait(seconds) => Self {
                retry_after: Some(seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "Too many wrong PINs", detail)
            },
            AuthError::Network(seconds) => Self {
                retry_after: Some(seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "Too many wrong sign-ins", detail)
            },
            _ => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Sign in", detail),
        }
    }

    /// 403: they may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 404: there is none.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is none", detail)
    }

    /// 409: not as things stand.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Not as things stand", detail)
    }

    /// 409: it takes two people.
    pub fn two_people(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "two-people", "Needs two people", detail)
    }

    /// 412: it has changed meanwhile.
    #[must_use]
    pub fn changed() -> Self {
        let detail = "it changed since it was read; read it again, then decide";
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed meanwhile", detail)
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Refused(why) => Self::conflict(why),
            StoreError::NotWritten(_) | StoreError::Stopped => {
                let detail = "the store cannot write now; nothing was changed; try again";
                Self {
                    retry_after: Some(1),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-busy", "Try again", detail)
                }
            }
            e => {
                // Logged here: the asker gets no inner detail.
                error!(error = %e, "a request could not be answered: {e}");
                let detail = "the hub could not answer; its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The hub could not answer", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            // Not a Basic challenge: a browser would open a dialog of its own over the page's form, and then
            // send the login along with requests that other sites cause.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gatehouse\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
