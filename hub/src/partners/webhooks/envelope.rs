//! An event in the form that a subscriber reads: Standard Webhooks, or CloudEvents 1.0 with its attributes in headers or all
//! in the body; decided without I/O.
//!
//! In: an event as it is kept. Out: headers and a body, the same at every try.

use gatehouse_common::time::UtcMs;
use serde_json::{Map, Value, json};

use crate::store::webhooks::HookEvent;

/// The media type of an event that is whole in the body.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// What a request to a subscriber looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Envelope {
    /// `standard-webhooks`: `type`, `timestamp` and `data` in the body.
    #[default]
    Standard,
    /// `cloudevents-structured`: the event is the body.
    Structured,
    /// `cloudevents-binary`: the attributes are `ce-` headers, the body is the data.
    Binary,
}

impl Envelope {
    /// The words of the configuration.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Structured, Self::Binary];

    /// Its word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard-webhooks",
            Self::Structured => "cloudevents-structured",
            Self::Binary => "cloudevents-binary",
        }
    }

    /// Headers beside those of the signature, and the body.
    /// # Errors
    /// If what is kept is no event.
    pub fn wrap(self, event: &HookEvent) -> Result<(Vec<(String, String)>, String), serde_json::Error> {
        let of_type = |media: &str| ("content-type".to_owned(), media.to_owned());
        match self {
            Self::Standard => Ok((vec![of_type("application/json")], event.body.clone())),
            Self::Structured => Ok((vec![of_type(STRUCTURED)], Value::Object(cloud_event(event)?).to_string())),
            Self::Binary => {
                let mut attributes = cloud_event(event)?;
                let data = attributes.remove("data").unwrap_or_default();
                // The type of the content is that of the data; a second header of it could only contradict.
                attributes.remove("datacontenttype");
                let headers = attributes.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
                let headers = headers.map(|(name, value)| (format!("ce-{name}"), encoded(value)));
                Ok((headers.chain([of_type("application/json")]).collect(), data.to_string()))
            }
        }
    }
}

/// An event as CloudEvents 1.0 has it. Its `time` is when it was so, where the evidence says; `recordedtime` is when the
/// hub noted it.
/// # Errors
/// If what is kept is no event.
pub fn cloud_event(event: &HookEvent) -> Result<Map<String, Value>, serde_json::Error> {
    let kept: Value = serde_json::from_str(&event.body)?;
    let data = &kept["data"];
    let subject = ["dispatch", "case"].iter().find_map(|kind| {
        let is_of_kind = event.kind.starts_with(&format!("{kind}."));
        Some(format!("{kind}/{}", data[kind].as_str().filter(|_| is_of_kind)?))
    });
    let when = match event.kind.as_str() {
        "dispatch.departed" => "departed_at_ms",
        "dispatch.delivered" | "dispatch.exception_delivered" => "delivered_at_ms",
        "case.open" => "opened_at_ms",
        _ => "",
    };
    let when = data[when].as_i64().map_or(event.at, UtcMs);
    let mut attributes = Map::new();
    let mut put = |name: &str, value: Value| drop(attributes.insert(name.to_owned(), value));
    put("specversion", json!("1.0"));
    put("id", json!(event.id));
    put("source", json!(format!("/depots/{}", in_path(event.site.as_str()))));
    put("type", json!(format!("io.gatehouse.{}.v1", event.kind)));
    put("time", json!(when.to_string()));
    put("recordedtime", json!(event.at.to_string()));
    put("datacontenttype", json!("application/json"));
    put("data", data.clone());
    if let Some(subject) = subject {
        put("subject", json!(subject));
    }
    Ok(attributes)
}

/// A value as a header has it: what is not visible ASCII, and what would end or begin something, percent-encoded.
#[must_use]
pub fn encoded(value: &str) -> String {
    percent(value, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'))
}

/// A name as one step of a URI's path, which `source` must be.
fn in_path(name: &str) -> String {
    percent(name, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

fn percent(value: &str, is_plain: impl Fn(u8) -> bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::*;
    use crate::partners::cloudevents::{Mode, assembled};

    fn departed() -> HookEvent {
        let at: UtcMs = "2030-05-01T08:00:00Z".parse().unwrap();
        let data = json!({ "dispatch": "d-1", "order": "SO-1 \u{e4}%", "departed_at_ms": at.0 - 60_000 });
        HookEvent {
            id: "evt_1".to_owned(),
            kind: "dispatch.departed".to_owned(),
            site: "D1".parse().unwrap(),
            body: json!({ "type": "dispatch.departed", "timestamp": at.to_string(), "data": data }).to_string(),
            at,
            expires: at,
        }
    }

    #[test]
    fn when_it_was_so_and_when_it_was_noted_are_two_attributes() {
        let event = cloud_event(&departed()).unwrap();
        assert_eq!(event["time"], "2030-05-01T07:59:00Z");
        assert_eq!(event["recordedtime"], "2030-05-01T08:00:00Z");
        let said = ["id", "source", "type", "subject"].map(|name| event[name].as_str().unwrap());
        assert_eq!(said, ["evt_1", "/depots/D1", "io.gatehouse.dispatch.departed.v1", "dispatch/d-1"]);
    }

    #[test]
    fn headers_and_body_hold_the_same_event_as_the_body_alone() {
        let (headers, body) = Envelope::Binary.wrap(&departed()).unwrap();
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let Ok(Mode::Binary(attributes)) = Mode::of(&headers) else { panic!("not binary") };
        let binary: Value = serde_json::from_slice(&assembled(attributes, body.as_bytes()).unwrap()).unwrap();
        let (_, whole) = Envelope::Structured.wrap(&departed()).unwrap();
        assert_eq!(binary, serde_json::from_str::<Value>(&whole).unwrap());
    }

    #[test]
    fn what_a_header_cannot_carry_is_percent_encoded() {
        assert_eq!(encoded("a b\"c%d\u{e4}\r\n"), "a%20b%22c%25d%C3%A4%0D%0A");
        assert_eq!(in_path("D 1/2"), "D%201%2F2");
    }
}
