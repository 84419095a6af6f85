//! Plain JSON, read by the places of a value map.

use gatehouse_common::{
    geo::Point,
    id::{DoorId, Hash32, OrderId, VehicleId},
    reading::{AlarmKind, ProofLine, ReadingValue},
};
use serde_json::Value;

use super::{
    Unreadable,
    message::{Message, clipped, number_of, optional, position, shown, wrong},
};
use crate::config::{Place, ReadingKind, Unit, scan_step};

/// The longest text of a person or a sensor that is kept.
const TEXT_MAX: usize = 500;

/// What the message says, as the kind of its map.
pub(super) fn value(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let map = message.map;
    let subject = &map.subject;
    let door = || message.name("door", subject, DoorId::new);
    let order = || message.name("order", subject, OrderId::new);
    let by_vehicle = || optional(map.vehicle.as_ref(), |place| message.name("vehicle", place, VehicleId::new));
    Ok(match map.kind {
        ReadingKind::Door => ReadingValue::Door { door: door()?, open: yes_or_no(message)? },
        ReadingKind::Occupancy => {
            ReadingValue::Occupancy { door: door()?, occupied: yes_or_no(message)?, vehicle: by_vehicle()? }
        }
        ReadingKind::Seal => ReadingValue::Seal {
            vehicle: message.vehicle()?,
            intact: yes_or_no(message)?,
            number: optional(map.number.as_ref(), |place| message.text("seal number", place))?,
        },
        ReadingKind::Documents => ReadingValue::Documents { order: order()?, complete: yes_or_no(message)? },
        ReadingKind::Temperature => ReadingValue::Temperature { celsius: celsius(message)?, vehicle: by_vehicle()? },
        ReadingKind::Scan => scan(message)?,
        ReadingKind::Position => fix(message)?,
        ReadingKind::Weight => ReadingValue::Weight { order: order()?, grams: grams(message)? },
        ReadingKind::DoorFault => ReadingValue::DoorFault { door: door()?, fault: fault(message)? },
        ReadingKind::CargoDoor => ReadingValue::CargoDoor { vehicle: message.vehicle()?, open: yes_or_no(message)? },
        ReadingKind::Alarm => alarm(message)?,
        ReadingKind::Ignition => ReadingValue::Ignition { vehicle: message.vehicle()?, on: yes_or_no(message)? },
        ReadingKind::Presence => ReadingValue::Presence { online: yes_or_no(message)? },
        ReadingKind::Crossing => ReadingValue::Crossing {
            vehicle: message.vehicle()?,
            place: clipped_to(&message.text("place", needed("place", map.place.as_ref())?)?),
            inside: yes_or_no(message)?,
        },
        ReadingKind::Proof => proof(message, order()?)?,
    })
}

/// The configuration is refused without it, before any message is read.
fn needed<'a>(what: &'static str, place: Option<&'a Place>) -> Result<&'a Place, Unreadable> {
    place.ok_or(Unreadable::Missing { what, place: "the configuration".to_owned() })
}

fn clipped_to(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

fn scan(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let map = message.map;
    let step_place = needed("step", map.step.as_ref())?;
    let step = message.text("step", step_place)?;
    let Some(step) = scan_step(&step) else {
        return Err(wrong("step", shown(step_place), &Value::String(step), "staged, loaded or unloaded"));
    };
    let line_place = needed("line", map.line.as_ref())?;
    let line: u16 = message.whole("line", line_place, "a line number from 1")?;
    if line == 0 {
        return Err(wrong("line", shown(line_place), &Value::from(0), "a line number from 1"));
    }
    let quantity = match &map.quantity {
        Some(place) => message.whole("quantity", place, "a whole number of units")?,
        None => 1,
    };
    Ok(ReadingValue::Scan { step, order: message.name("order", &map.subject, OrderId::new)?, line, quantity })
}

fn fix(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let map = message.map;
    let latitude = needed("latitude", map.latitude.as_ref())?;
    let point = Point {
        lat: message.number("latitude", latitude)?,
        lon: message.number("longitude", needed("longitude", map.longitude.as_ref())?)?,
    };
    let accuracy_m = optional(map.accuracy.as_ref(), |place| message.number("accuracy", place))?;
    let speed = optional(map.speed.as_ref(), |place| message.number("speed", place))?;
    let speed = speed.map(|speed| (speed, map.speed_unit));
    let place = if let Place::Pointer(pointer) = latitude { pointer } else { "latitude" };
    position(message.vehicle()?, point, accuracy_m, speed, place)
}

fn the_value(message: &Message<'_>) -> Result<(Value, String), Unreadable> {
    let place = needed("value", message.map.value.as_ref())?;
    Ok((message.value("value", place)?, shown(place)))
}

fn yes_or_no(message: &Message<'_>) -> Result<bool, Unreadable> {
    let (value, place) = the_value(message)?;
    let map = message.map;
    if map.true_values.contains(&value) {
        return Ok(true);
    }
    if map.false_values.contains(&value) {
        return Ok(false);
    }
    let words: Vec<String> = map.true_values.iter().chain(&map.false_values).map(Value::to_string).collect();
    Err(wrong("value", place, &value, format!("one of {}", words.join(", "))))
}

/// The number of the value, as the sender's scale makes it.
fn scaled(message: &Message<'_>) -> Result<(f64, Value, String), Unreadable> {
    let (value, place) = the_value(message)?;
    let Some(number) = number_of(&value) else { return Err(wrong("value", place, &value, "a number")) };
    Ok((number * message.map.scale + message.map.offset, value, place))
}

fn celsius(message: &Message<'_>) -> Result<f64, Unreadable> {
    let (degrees, value, place) = scaled(message)?;
    let unit = message.map.unit.unwrap_or(Unit::C);
    unit.to_celsius(degrees)
        .ok_or_else(|| wrong("value", place, &value, "a temperature from -273.15 to 1000 degrees Celsius"))
}

fn grams(message: &Message<'_>) -> Result<u64, Unreadable> {
    let (weight, value, place) = scaled(message)?;
    let unit = message.map.unit.unwrap_or(Unit::G);
    unit.to_grams(weight).ok_or_else(|| wrong("value", place, &value, "a weight from 0 to 1000 tonnes"))
}

/// What is wrong with a door: the sender's word, unless that says that nothing is.
fn fault(message: &Message<'_>) -> Result<Option<String>, Unreadable> {
    let (value, place) = match the_value(message) {
        Ok(found) => found,
        // A fault that is null is none.
        Err(Unreadable::Missing { place, .. }) => (Value::Null, place),
        Err(other) => return Err(other),
    };
    let map = message.map;
    match &value {
        value if map.false_values.contains(value) => Ok(None),
        value if map.true_values.contains(value) => Ok(Some(value.as_str().unwrap_or("fault").to_owned())),
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(clipped_to(text))),
        Value::Number(code) => Ok(Some(format!("code {code}"))),
        other => Err(wrong("value", place, other, "a fault as text or number, or null")),
    }
}

fn alarm(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let map = message.map;
    let place = needed("alarm", map.alarm.as_ref())?;
    let word = message.text("alarm", place)?;
    let known = map.alarm_words.get(&word).copied().or_else(|| own_word(&word));
    let Some(alarm) = known else {
        let mut words: Vec<&str> = vec!["jamming, tampering, power_cut, tow, panic, accident"];
        words.extend(map.alarm_words.keys().map(String::as_str));
        return Err(wrong("alarm", shown(place), &Value::String(word), format!("one of {}", words.join(", "))));
    };
    // Without a value the message itself is the alarm.
    let on = if map.value.is_some() { yes_or_no(message)? } else { true };
    Ok(ReadingValue::Alarm { vehicle: message.vehicle()?, alarm, on })
}

fn own_word(word: &str) -> Option<AlarmKind> {
    serde_json::from_value(Value::String(word.to_owned())).ok()
}

fn proof(message: &Message<'_>, order: OrderId) -> Result<ReadingValue, Unreadable> {
    let map = message.map;
    let place = needed("lines", map.lines.as_ref())?;
    let found = message.value("lines", place)?;
    let refuse = |expected: String| Err(wrong("lines", shown(place), &found, expected));
    let lines: Vec<ProofLine> = match serde_json::from_value(found.clone()) {
        Ok(lines) => lines,
        Err(error) => return refuse(format!("a list of line, delivered, refused, damaged ({error})")),
    };
    let distinct: std::collections::BTreeSet<u16> = lines.iter().map(|line| line.line).collect();
    if distinct.len() != lines.len() || distinct.contains(&0) {
        return refuse("each line of the order once, from 1".to_owned());
    }
    let signed_by = optional(map.signed_by.as_ref(), |place| message.text("signature", place))?;
    let photo = optional(map.photo.as_ref(), |place| {
        let text = message.text("photo", place)?;
        let wrong = || wrong("photo", shown(place), &Value::String(clipped(&text)), "64 hexadecimal digits");
        text.parse::<Hash32>().map_err(|_| wrong())
    })?;
    Ok(ReadingValue::Proof { order, lines, signed_by: signed_by.map(|name| clipped_to(&name)), photo })
}
