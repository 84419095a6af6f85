//! What OsmAnd and the Traccar client send: a query (`id=..&lat=..&lon=..&timestamp=..`), its speed in knots, or JSON,
//! its speed in metres per second.

use std::collections::BTreeMap;

use gatehouse_common::{geo::Point, reading::ReadingValue, time::UtcMs};
use serde_json::{Map, Value};

use super::{
    Unreadable,
    message::{Message, at, if_there, number_of, position, to_time, wrong},
};
use crate::config::{SpeedUnit, TimeUnit};

/// A query's timestamp above this many seconds is in milliseconds.
const SECONDS_MAX: f64 = 1e11;

/// The payload as JSON: as it is, or made of a query, under the names that the JSON form has.
pub(super) fn as_json(payload: &[u8]) -> Result<Value, Unreadable> {
    let text = std::str::from_utf8(payload).map_err(|error| Unreadable::NotText(error.to_string()))?.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| Unreadable::NotJson(error.to_string()));
    }
    let query = text.rsplit_once('?').map_or(text, |(_, query)| query);
    let fields: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut flat: Map<String, Value> = Map::new();
    for (key, value) in fields {
        let key = if key == "id" || key == "deviceid" { "device_id".to_owned() } else { key };
        flat.insert(key, Value::String(value));
    }
    if !flat.contains_key("lat") && !flat.contains_key("device_id") {
        return Err(Unreadable::Missing { what: "lat", place: "the query".to_owned() });
    }
    Ok(Value::Object(flat))
}

/// Many devices may share a topic, so the device is the source.
pub(super) fn source(json: &Value) -> Option<String> {
    match json.get("device_id")? {
        Value::String(id) => Some(format!("osmand/{id}")),
        Value::Number(id) => Some(format!("osmand/{id}")),
        _ => None,
    }
}

/// Where it was, and when; `None` if the message says itself that it has no fix.
pub(super) fn read(message: &Message<'_>, received: UtcMs) -> Result<Option<(ReadingValue, UtcMs)>, Unreadable> {
    if message.json.get("location").is_some() { nested(message) } else { query(message, received) }
}

fn nested(message: &Message<'_>) -> Result<Option<(ReadingValue, UtcMs)>, Unreadable> {
    if message.json.pointer("/location/mock") == Some(&Value::Bool(true)) {
        let place = "\"/location/mock\"".to_owned();
        return Err(wrong("position", place, &Value::Bool(true), "a position that no other app made up"));
    }
    let number = |what, key: &str| message.number(what, &at(&format!("/location/coords/{key}")));
    let point = Point { lat: number("latitude", "latitude")?, lon: number("longitude", "longitude")? };
    let accuracy_m = if_there(number("accuracy", "accuracy"))?;
    let speed = if_there(number("speed", "speed"))?.map(|speed| (speed, SpeedUnit::Ms));
    let fix_time = message.time("fix time", &at("/location/timestamp"), TimeUnit::Rfc3339)?;
    let vehicle = message.vehicle()?;
    Ok(Some((position(vehicle, point, accuracy_m, speed, "/location/coords/latitude")?, fix_time)))
}

fn query(message: &Message<'_>, received: UtcMs) -> Result<Option<(ReadingValue, UtcMs)>, Unreadable> {
    if message.json.get("valid").and_then(Value::as_str).is_some_and(|word| matches!(word, "false" | "0")) {
        return Ok(None);
    }
    let number = |what, key: &str| message.number(what, &at(&format!("/{key}")));
    let point = Point { lat: number("latitude", "lat")?, lon: number("longitude", "lon")? };
    let accuracy_m = if_there(number("accuracy", "accuracy"))?;
    let speed = if_there(number("speed", "speed"))?.map(|speed| (speed, SpeedUnit::Knots));
    let fix_time = match message.json.get("timestamp") {
        None => received,
        Some(value) => query_time(value).ok_or_else(|| {
            wrong("fix time", "\"/timestamp\"".to_owned(), value, "seconds since 1970 or 2015-03-10T08:00:00Z")
        })?,
    };
    let vehicle = message.vehicle()?;
    Ok(Some((position(vehicle, point, accuracy_m, speed, "/lat")?, fix_time)))
}

fn query_time(value: &Value) -> Option<UtcMs> {
    match number_of(value) {
        Some(number) if number.abs() > SECONDS_MAX => to_time(value, TimeUnit::Ms),
        Some(_) => to_time(value, TimeUnit::S),
        None => {
            // Some write `2015-03-10 08:00:00`, which is UTC.
            let text = value.as_str()?;
            let zoned = if text.contains('T') { text.to_owned() } else { format!("{}Z", text.replacen(' ', "T", 1)) };
            to_time(&Value::String(zoned), TimeUnit::Rfc3339)
        }
    }
}
