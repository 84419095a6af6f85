//! CloudEvents 1.0 in JSON: one event, or a batch (a list of them). The value map counts from `data`; the event's own
//! `id` and `source` are the reading's, its `time` is when it was measured.

use base64::Engine;
use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::Reading,
    time::UtcMs,
};
use serde_json::Value;

use super::{
    Decoded, Unreadable, json, marks,
    message::{Message, at, clipped, if_there, optional},
};
use crate::config::{TimeUnit, TopicConfig};

/// The longest source that is taken.
const SOURCE_MAX: usize = 1024;

/// Every event of the payload that is of concern. One bad event makes a whole batch unreadable: its sender cannot be
/// told which of them it was, and what is in quarantine is looked at as a whole.
pub(super) fn read(rule: &TopicConfig, topic: &str, events: &Value, received: UtcMs) -> Result<Decoded, Unreadable> {
    let mut decoded = Decoded::default();
    match events {
        Value::Array(batch) => {
            for event in batch {
                one(rule, topic, event, received, &mut decoded)?;
            }
        }
        single => one(rule, topic, single, received, &mut decoded)?,
    }
    Ok(decoded)
}

fn one(
    rule: &TopicConfig,
    topic: &str,
    event: &Value,
    received: UtcMs,
    decoded: &mut Decoded,
) -> Result<(), Unreadable> {
    let attributes = Message { map: &rule.map, topic, json: event };
    let version = attributes.text("specversion", &at("/specversion"))?;
    if version != "1.0" {
        let (what, place) = ("specversion", "\"/specversion\"".to_owned());
        return Err(Unreadable::Wrong { what, place, found: clipped(&version), expected: "1.0".to_owned() });
    }
    let id = attributes.name("id", &at("/id"), ReadingId::new)?;
    let source = attributes.text("source", &at("/source"))?;
    if source.is_empty() || source.len() > SOURCE_MAX {
        let (what, place) = ("source", "\"/source\"".to_owned());
        let expected = format!("1 to {SOURCE_MAX} bytes");
        return Err(Unreadable::Wrong { what, place, found: clipped(&source), expected });
    }
    let kind = attributes.text("type", &at("/type"))?;
    if rule.event_type.as_ref().is_some_and(|wanted| *wanted != kind) {
        return Ok(());
    }
    let time = if_there(attributes.time("time", &at("/time"), TimeUnit::Rfc3339))?.unwrap_or(received);
    let data = data(event)?;
    let message = Message { map: &rule.map, topic, json: &data };
    // The same event alone and in a batch is one event, so it is the event that is hashed and not the payload.
    let payload_hash = Hash32::of(event.to_string().as_bytes());
    let value = json::value(&message)?;
    let sent = optional(rule.sent.as_ref(), |place| message.time("sent", place, rule.time_unit))?;
    let sequence = optional(rule.sequence.as_ref(), |place| message.whole("sequence", place, "a whole number"))?;
    decoded.marks.extend(marks(&source, sequence, sent));
    decoded.readings.push(Reading { source, id, at: time, payload_hash, value });
    Ok(())
}

fn data(event: &Value) -> Result<Value, Unreadable> {
    match (event.get("data"), event.get("data_base64")) {
        (Some(data), _) => Ok(data.clone()),
        (None, Some(Value::String(text))) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| Unreadable::NotJson(format!("data_base64 is not base64: {error}")))?;
            serde_json::from_slice(&bytes).map_err(|error| Unreadable::NotJson(format!("data_base64: {error}")))
        }
        _ => Ok(Value::Null),
    }
}
