//! thin-edge.io: `te/<device of four levels>/m/<type>` holds measurements, numbers by name, perhaps in groups
//! (`group/name`); `te/<device>/e/<type>` holds events. What the topic map names is read, the rest is of no concern.

use gatehouse_common::time::UtcMs;
use serde_json::{Map, Value, json};

use super::{
    Says, Unreadable, json as plain,
    message::{Message, at, if_there, to_time, wrong},
};
use crate::config::{TimeUnit, TopicConfig};

/// Where the channel (`m`, `e`, ...) stands in the topic, from 0.
const CHANNEL: usize = 5;

/// The device's own topic.
pub(super) fn source(topic: &str) -> String {
    topic.split('/').take(CHANNEL).collect::<Vec<_>>().join("/")
}

/// What is named of a measurement or an event.
pub(super) fn read(rule: &TopicConfig, topic: &str, json: &Value, received: UtcMs) -> Result<Says, Unreadable> {
    let levels: Vec<&str> = topic.split('/').collect();
    let (channel, kind) = (levels.get(CHANNEL).copied(), levels.get(CHANNEL + 1).copied().unwrap_or(""));
    if !matches!(channel, Some("m" | "e")) {
        return Ok(Says::default());
    }
    let Value::Object(fields) = json else { return Err(wrong("payload", "\"\"".to_owned(), json, "an object")) };
    let message = Message { map: &rule.map, topic, json };
    let time = if_there(time(&message))?;
    let mut says = Says { sent: time, ..Says::default() };
    let at = time.unwrap_or(received);
    if channel == Some("m") {
        measurements(rule, topic, "", fields, at, &mut says);
    } else if let Some(event) = rule.metrics.iter().find(|metric| metric.name == kind) {
        says.values.push((plain::value(&Message { map: &event.map, topic, json })?, at));
    }
    Ok(says)
}

fn time(message: &Message<'_>) -> Result<UtcMs, Unreadable> {
    let value = message.value("time", &at("/time"))?;
    let unit = if value.is_number() { TimeUnit::S } else { TimeUnit::Rfc3339 };
    to_time(&value, unit).ok_or_else(|| wrong("time", "\"/time\"".to_owned(), &value, "RFC 3339 or seconds since 1970"))
}

fn measurements(rule: &TopicConfig, topic: &str, group: &str, fields: &Map<String, Value>, at: UtcMs, says: &mut Says) {
    for (key, value) in fields {
        let name = if group.is_empty() { key.clone() } else { format!("{group}/{key}") };
        match value {
            // Groups do not nest.
            Value::Object(inner) if group.is_empty() => measurements(rule, topic, &name, inner, at, says),
            value => {
                let Some(metric) = rule.metrics.iter().find(|metric| metric.name == name) else { continue };
                let json = json!({ "value": value });
                match plain::value(&Message { map: &metric.map, topic, json: &json }) {
                    Ok(value) => says.values.push((value, at)),
                    Err(reason) => says.refused.push(reason),
                }
            }
        }
    }
}
