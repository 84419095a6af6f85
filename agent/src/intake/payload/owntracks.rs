//! OwnTracks location messages (JSON): `tst` in seconds is the fix time, `vel` is in km/h, `acc` in metres.

use gatehouse_common::{geo::Point, id::VehicleId, reading::ReadingValue, time::UtcMs};
use serde_json::Value;

use super::{Message, Unreadable, to_time, wrong};
use crate::config::TimeUnit;

/// Position and fix time; `None` for a message that is no location (last will, transition, card, ...).
pub(super) fn value(message: &Message<'_>) -> Result<Option<(ReadingValue, UtcMs)>, Unreadable> {
    match message.json.get("_type") {
        Some(Value::String(kind)) if kind == "location" => {}
        Some(Value::String(_)) => return Ok(None),
        Some(other) => return Err(wrong("message type", place("_type"), other, "text")),
        None => return Err(Unreadable::Missing { what: "message type", place: place("_type") }),
    }
    let point = Point { lat: number(message, "latitude", "lat")?, lon: number(message, "longitude", "lon")? };
    if !point.is_valid() {
        return Err(Unreadable::Wrong {
            what: "position",
            place: place("lat"),
            found: format!("{}, {}", point.lat, point.lon),
            expected: "latitude -90 to 90 and longitude -180 to 180".to_owned(),
        });
    }
    let tst = required(message, "fix time", "tst")?;
    let at = to_time(tst, TimeUnit::S).ok_or_else(|| wrong("fix time", place("tst"), tst, "seconds since 1970"))?;
    let vehicle = message.name("vehicle", &message.rule.subject, VehicleId::new)?;
    let accuracy_m = optional(message, "accuracy", "acc")?;
    let speed_kmh = optional(message, "speed", "vel")?;
    Ok(Some((ReadingValue::Position { vehicle, point, accuracy_m, speed_kmh }, at)))
}

fn place(key: &str) -> String {
    format!("\"/{key}\"")
}

fn required<'a>(message: &Message<'a>, what: &'static str, key: &str) -> Result<&'a Value, Unreadable> {
    message.json.get(key).ok_or_else(|| Unreadable::Missing { what, place: place(key) })
}

fn number(message: &Message<'_>, what: &'static str, key: &str) -> Result<f64, Unreadable> {
    let value = required(message, what, key)?;
    value.as_f64().ok_or_else(|| wrong(what, place(key), value, "a number"))
}

/// A number that may be left out; one below zero is what some apps send for "not known".
fn optional(message: &Message<'_>, what: &'static str, key: &str) -> Result<Option<f64>, Unreadable> {
    match message.json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => number(message, what, key).map(|n| (n >= 0.0).then_some(n)),
    }
}
