//! The three ways in which CloudEvents travel over HTTP (CloudEvents 1.0, HTTP protocol binding): structured, batched, and
//! with the attributes in headers.
//!
//! In: headers and a body. Out: single events in structured JSON, each of which [`super::events`] reads. Nothing is checked
//! here but what that needs.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

/// Most bytes of one event, which every hop must carry by the standard.
pub const EVENT_MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a batch.
pub const BATCH_MAX_BYTES: usize = 1024 * 1024;
/// Most events of a batch.
pub const BATCH_MAX: usize = 500;
/// Most attributes that are read from headers.
const ATTRIBUTES_MAX: usize = 64;

/// In which way a request carries events.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// `application/cloudevents+json`: the body is one event.
    Structured,
    /// `application/cloudevents-batch+json`: the body is a list of events.
    Batch,
    /// `ce-` headers: these are the attributes, the body is the data.
    Binary(Map<String, Value>),
}

/// Why a request carries no events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// Neither the type of the content nor a header says so. Send it in one of the three ways.
    #[error(
        "content-type is {0:?} and there is no ce-specversion; send application/cloudevents+json, \
         application/cloudevents-batch+json, or application/json with ce- headers"
    )]
    NoEvent(String),
    /// A header cannot be read. The text names it and what is wrong.
    #[error("{0}")]
    Header(String),
}

impl Mode {
    /// How these headers say that events come.
    /// # Errors
    /// [`ModeError`] says what to send.
    pub fn of(headers: &HeaderMap) -> Result<Self, ModeError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "application/cloudevents+json" => return Ok(Self::Structured),
            "application/cloudevents-batch+json" => return Ok(Self::Batch),
            _ if !headers.contains_key("ce-specversion") => return Err(ModeError::NoEvent(kind.to_owned())),
            _ => {}
        }
        let mut attributes = Map::new();
        for (name, value) in headers {
            let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
            let told = || ModeError::Header(format!("header {name} is not percent-encoded UTF-8"));
            let text = decoded(value.as_bytes()).ok_or_else(told)?;
            if attributes.insert(attribute.to_owned(), Value::String(text)).is_some() {
                return Err(ModeError::Header(format!("header {name} is there twice")));
            }
            if attributes.len() > ATTRIBUTES_MAX {
                return Err(ModeError::Header(format!("there are more than {ATTRIBUTES_MAX} ce- headers")));
            }
        }
        if !kind.is_empty() {
            attributes.insert("datacontenttype".to_owned(), Value::String(kind.to_owned()));
        }
        Ok(Self::Binary(attributes))
    }

    /// Most bytes of a body that comes in this way.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        match self {
            Self::Batch => BATCH_MAX_BYTES,
            Self::Structured | Self::Binary(_) => EVENT_MAX_BYTES,
        }
    }
}

/// An event of attributes and data, in structured form.
/// # Errors
/// What is wrong with the data, which must be JSON.
pub fn assembled(mut attributes: Map<String, Value>, data: &[u8]) -> Result<Vec<u8>, String> {
    let data: Value = serde_json::from_slice(data).map_err(|e| format!("the body is not JSON: {e}"))?;
    attributes.insert("data".to_owned(), data);
    Ok(Value::Object(attributes).to_string().into_bytes())
}

/// The events of a batch, each in structured form.
/// # Errors
/// What is wrong with the whole; what is wrong with one event is found when it is read.
pub fn batched(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let Value::Array(events) = serde_json::from_slice(body).map_err(|e| format!("is not JSON: {e}"))? else {
        return Err("is not a list; send a JSON array of events".to_owned());
    };
    if events.len() > BATCH_MAX {
        return Err(format!("has {} events; send at most {BATCH_MAX} at a time", events.len()));
    }
    Ok(events.into_iter().map(|event| event.to_string().into_bytes()).collect())
}

/// A header's value: percent-encoded, and in quotes perhaps.
fn decoded(value: &[u8]) -> Option<String> {
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let mut digit = || char::from(*rest.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
        bytes.push(digit()?.checked_mul(16)?.checked_add(digit()?)?);
    }
    String::from_utf8(bytes).ok()
}

/// The JSON Schema of the data of a type of event; none for a type that is not known.
#[must_use]
pub fn schema(kind: &str) -> Option<Value> {
    let order = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
    let at = json!({ "type": "string", "format": "date-time", "description": "when this was so; goes before `time`" });
    let of = |properties: Value, required: Value| {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind, "type": "object",
            "additionalProperties": false, "properties": properties, "required": required,
        })
    };
    let whole = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    Some(match kind {
        "io.gatehouse.wms.inventory.v1" => of(
            json!({ "order": order, "line": whole(1, u16::MAX.into()), "confirmed": whole(0, u32::MAX.into()), "at": at }),
            json!(["order", "line", "confirmed"]),
        ),
        "io.gatehouse.tms.capacity.v1" => of(
            json!({ "order": order, "sufficient": { "type": "boolean" },
                    "vehicle": { "type": ["string", "null"], "minLength": 1, "maxLength": 128 }, "at": at }),
            json!(["order", "sufficient"]),
        ),
        "io.gatehouse.tms.carrier.v1" => of(
            json!({ "order": order, "accepted": { "type": "boolean" },
                    "carrier": { "type": "string", "minLength": 1, "maxLength": 128 }, "at": at }),
            json!(["order", "accepted", "carrier"]),
        ),
        "io.gatehouse.wms.labour.v1" => of(
            json!({ "site": { "type": "string", "minLength": 1, "maxLength": 128 },
                    "slot_start": { "type": "string", "format": "date-time" },
                    "slot_end": { "type": "string", "format": "date-time" },
                    "required_minutes": whole(0, u32::MAX.into()), "rostered_minutes": whole(0, u32::MAX.into()),
                    "at": at }),
            json!(["site", "slot_start", "slot_end", "required_minutes", "rostered_minutes"]),
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partners::events::{Event, known_types};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_same_event_is_read_in_each_of_the_three_ways() {
        let now = "2030-05-01T08:00:00Z".parse().unwrap();
        let data = json!({ "order": "SO-1", "line": 1, "confirmed": 40 });
        let event = json!({
            "specversion": "1.0", "id": "i 1", "source": "/wms/ä", "type": "io.gatehouse.wms.inventory.v1",
            "time": "2030-05-01T07:59:00Z", "datacontenttype": "application/json", "data": data,
        });
        let structured = Event::parse(event.to_string().as_bytes(), now).unwrap();
        let Ok(Mode::Binary(attributes)) = Mode::of(&headers(&[
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "\"i%201\""),
            ("ce-source", "/wms/%C3%A4"),
            ("ce-type", "io.gatehouse.wms.inventory.v1"),
            ("ce-time", "2030-05-01T07:59:00Z"),
        ])) else {
            panic!("not binary")
        };
        let binary = assembled(attributes, data.to_string().as_bytes()).unwrap();
        assert_eq!(Event::parse(&binary, now).unwrap(), structured);
        let batch = batched(json!([event, event]).to_string().as_bytes()).unwrap();
        assert_eq!(batch.len(), 2);
        assert_eq!(Event::parse(&batch[1], now).unwrap(), structured);
    }

    #[test]
    fn what_carries_no_event_is_told_how_to() {
        let of = |pairs: &[(&'static str, &'static str)]| Mode::of(&headers(pairs));
        assert!(matches!(of(&[("content-type", "application/json")]), Err(ModeError::NoEvent(_))));
        assert!(matches!(of(&[("ce-specversion", "1.0"), ("ce-id", "%C3")]), Err(ModeError::Header(_))));
        assert!(matches!(of(&[("ce-specversion", "1.0"), ("ce-id", "%G0")]), Err(ModeError::Header(_))));
        assert_eq!(of(&[("content-type", "application/cloudevents-batch+json; charset=UTF-8")]), Ok(Mode::Batch));
        assert!(batched(b"{}").is_err());
        assert!(batched(format!("[{}1]", "1,".repeat(BATCH_MAX)).as_bytes()).is_err());
        assert!(assembled(Map::new(), b"<xml>").is_err());
    }

    #[test]
    fn every_type_has_a_schema_that_asks_for_what_the_reader_asks_for() {
        let now = "2030-05-01T08:00:00Z".parse().unwrap();
        for kind in known_types().split(", ") {
            let schema = schema(kind).unwrap();
            let properties = schema["properties"].as_object().unwrap();
            // An event without data is told every field that must be there; the schema must require just those.
            let empty = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": kind,
                                "time": "2030-05-01T07:59:00Z", "data": {} });
            let told = Event::parse(empty.to_string().as_bytes(), now).unwrap_err().to_string();
            for (name, _) in properties {
                let is_required = schema["required"].as_array().unwrap().contains(&json!(name));
                assert_eq!(told.contains(&format!("/data/{name}: is missing")), is_required, "{kind} {name}: {told}");
            }
        }
        assert_eq!(schema("com.example.thing"), None);
    }
}
