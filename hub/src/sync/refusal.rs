//! Why a request gets no frame, and how it is told.

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use gatehouse_common::sync::enrolment::RENEW_FIRST;
use serde_json::json;
use tracing::error;

use crate::store::StoreError;

/// Why a request gets no frame.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody known sent it. The answer is not signed.
    Unknown(String),
    /// It was sent before. The answer is not signed.
    Repeated(String),
    /// Its sender may not.
    Forbidden(String),
    /// Another speaks under the same name.
    Conflict(String),
    /// Its sender must renew its certificate first.
    Renew(String),
    /// Its sender has asked too much; seconds until it may ask again.
    Busy(u64),
    /// Too many bring a lot at once; seconds until its sender may ask again.
    Crowded(u64),
    /// Another push of its sender is in hand; seconds until it may ask again.
    InHand(u64),
    /// Its body did not come whole: it is too long, came too slowly, or broke off. The answer is not signed.
    Unread(StatusCode, String),
    /// It cannot be read.
    BadFrame(String),
    /// The store did not do it; the same request may be sent again.
    Later(StoreError),
}

impl Refusal {
    /// What the store's error means for who asked: what it refuses it will refuse again, and it says why.
    pub(super) fn of(error: StoreError) -> Self {
        match error {
            StoreError::Refused(why) => Self::Forbidden(why),
            other => Self::Later(other),
        }
    }

    /// Whether the claimed device itself is known to have sent it.
    pub(super) fn is_proved(&self) -> bool {
        matches!(self, Self::Repeated(_) | Self::Conflict(_) | Self::Busy(_) | Self::Renew(_))
    }

    /// Why, for people.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Unknown(why)
            | Self::Repeated(why)
            | Self::Forbidden(why)
            | Self::Conflict(why)
            | Self::Renew(why)
            | Self::Unread(_, why)
            | Self::BadFrame(why) => why.clone(),
            Self::Busy(seconds) => format!("this device has used up its minute; come back in {seconds} s"),
            Self::Crowded(seconds) => format!("many devices bring a lot at once; come back in {seconds} s"),
            Self::InHand(seconds) => format!("another push of this device is in hand; come back in {seconds} s"),
            Self::Later(_) => "the hub's store is unavailable".to_owned(),
        }
    }

    /// Seconds until the sender may ask again; none where that is not what is wrong.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Busy(seconds) | Self::Crowded(seconds) | Self::InHand(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// The answer's status and title.
    pub(super) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unknown(_) | Self::Repeated(_) => (StatusCode::UNAUTHORIZED, "not signed by a known device"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "this device may not"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "two copies of this device"),
            Self::Renew(_) => (StatusCode::FORBIDDEN, "renew the certificate first"),
            Self::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "too much in one minute"),
            Self::Crowded(_) | Self::InHand(_) => (StatusCode::TOO_MANY_REQUESTS, "too many at once"),
            Self::Unread(status, _) => (*status, "body did not come whole"),
            Self::BadFrame(_) => (StatusCode::BAD_REQUEST, "frame cannot be used"),
            Self::Later(_) => (StatusCode::SERVICE_UNAVAILABLE, "store did not do it; try again"),
        }
    }

    /// The answer as a problem of RFC 9457.
    pub(super) fn body(&self) -> serde_json::Value {
        let (status, title) = self.status();
        let kind = if matches!(self, Self::Renew(_)) { RENEW_FIRST } else { "about:blank" };
        json!({ "type": kind, "title": title, "status": status.as_u16(), "detail": self.why() })
    }
}

/// An answer that is not signed.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Later(e) = &self {
            error!(error = %e, "a device could not be looked up: {e}");
        }
        let mut response = (self.status().0, Json(self.body())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Whoever may not speak keeps no connection, and on one with half a body nothing more can be asked. A device that
        // has to renew, or to come back later, keeps its own: a handshake costs both sides more than the answer.
        if matches!(self, Self::Unknown(_) | Self::Forbidden(_) | Self::Unread(..)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_speak_keeps_no_connection_and_who_has_to_renew_or_to_wait_does() {
        let ends = |refusal: Refusal| refusal.into_response().headers().get(CONNECTION).is_some_and(|v| v == "close");
        let why = || "because".to_owned();
        assert!(ends(Refusal::Unknown(why())) && ends(Refusal::Forbidden(why())));
        assert!(ends(Refusal::Unread(StatusCode::REQUEST_TIMEOUT, why())));
        assert!(!ends(Refusal::Renew(why())) && !ends(Refusal::Busy(1)) && !ends(Refusal::Conflict(why())));
    }
}
