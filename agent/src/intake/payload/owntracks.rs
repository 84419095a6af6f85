//! What OwnTracks apps and greenwich trackers publish (JSON): `tst` in seconds is the time of the fix, `created_at`
//! that of sending, `vel` is in km/h, `acc` in metres.

use gatehouse_common::{geo::Point, reading::ReadingValue, time::UtcMs};
use serde_json::Value;

use super::{
    Says, Unreadable,
    message::{Message, at, if_there, number_of, position, wrong},
};
use crate::config::{SpeedUnit, TimeUnit, Unit};

/// Nothing for a message of no concern (waypoint, card, steps, ...).
pub(super) fn read(message: &Message<'_>, received: UtcMs) -> Result<Says, Unreadable> {
    let kind = message.text("message type", &at("/_type"))?;
    let mut says = Says::default();
    match kind.as_str() {
        "location" => location(message, &mut says)?,
        "transition" => {
            let fix_time = fix_time(message)?;
            says.values.push((crossing(message)?, fix_time));
        }
        // `tst` of a last will is when the connection began; it was broken when the broker says so.
        "lwt" => says.values.push((ReadingValue::Presence { online: false }, received)),
        _ => {}
    }
    Ok(says)
}

/// The device's own topic: transitions come on a topic below it.
pub(super) fn source(topic: &str) -> String {
    topic.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn fix_time(message: &Message<'_>) -> Result<UtcMs, Unreadable> {
    message.time("fix time", &at("/tst"), TimeUnit::S)
}

fn location(message: &Message<'_>, says: &mut Says) -> Result<(), Unreadable> {
    let point = Point { lat: message.number("latitude", &at("/lat"))?, lon: message.number("longitude", &at("/lon"))? };
    let fix_time = fix_time(message)?;
    let vehicle = message.vehicle()?;
    let accuracy_m = if_there(message.number("accuracy", &at("/acc")))?;
    let speed = if_there(message.number("speed", &at("/vel")))?.map(|speed| (speed, SpeedUnit::Kmh));
    says.values.push((position(vehicle.clone(), point, accuracy_m, speed, "/lat")?, fix_time));
    says.sent = if_there(message.time("time of sending", &at("/created_at"), TimeUnit::S))?;
    match message.json.get("ign") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(on)) => {
            says.values.push((ReadingValue::Ignition { vehicle: vehicle.clone(), on: *on }, fix_time));
        }
        Some(other) => says.refused.push(wrong("ignition", "\"/ign\"".to_owned(), other, "true or false")),
    }
    let probes = message.json.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("temp_c-"));
    for (key, value) in probes {
        match number_of(value).and_then(|degrees| Unit::C.to_celsius(degrees)) {
            Some(celsius) => {
                says.values.push((ReadingValue::Temperature { celsius, vehicle: Some(vehicle.clone()) }, fix_time));
            }
            None => says.refused.push(wrong("temperature", format!("\"/{key}\""), value, "degrees Celsius")),
        }
    }
    Ok(())
}

fn crossing(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let event = message.text("event", &at("/event"))?;
    let inside = match event.as_str() {
        "enter" => true,
        "leave" => false,
        _ => return Err(wrong("event", "\"/event\"".to_owned(), &Value::String(event), "enter or leave")),
    };
    let place = message.text("place", &at("/desc"))?.chars().take(500).collect();
    Ok(ReadingValue::Crossing { vehicle: message.vehicle()?, place, inside })
}
