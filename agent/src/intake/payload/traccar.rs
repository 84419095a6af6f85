//! What a Traccar server forwards (`forward.type=mqtt`, `event.forward.type=mqtt`): one JSON object per position or
//! event. `fixTime` is the time of the fix, `deviceTime` that of sending; `speed` is in knots.

use gatehouse_common::{
    geo::Point,
    id::VehicleId,
    reading::{AlarmKind, ReadingValue},
};
use serde_json::Value;

use super::{
    Says, Unreadable,
    message::{Message, at, if_there, number_of, position, wrong},
};
use crate::config::{SpeedUnit, TimeUnit, Unit};

/// What the message says. Nothing for events of no concern, such as deviceMoving.
pub(super) fn read(message: &Message<'_>, lock_is_seal: bool) -> Result<Says, Unreadable> {
    // An event brings the position along that caused it; that one is forwarded on its own too.
    if message.json.get("event").is_some_and(|event| !event.is_null()) {
        return event(message);
    }
    if message.json.get("position").is_some_and(|position| !position.is_null()) {
        return forwarded_position(message, lock_is_seal);
    }
    Err(Unreadable::Missing { what: "position or event", place: "\"/position\"".to_owned() })
}

/// A server forwards all devices on one topic, so the device is the source.
pub(super) fn source(json: &Value) -> Option<String> {
    let unique = json.pointer("/device/uniqueId").and_then(Value::as_str).map(str::to_owned);
    let number = || {
        let id = json.pointer("/position/deviceId").or_else(|| json.pointer("/event/deviceId"))?;
        id.as_u64().map(|id| id.to_string())
    };
    unique.or_else(number).map(|id| format!("traccar/{id}"))
}

fn forwarded_position(message: &Message<'_>, lock_is_seal: bool) -> Result<Says, Unreadable> {
    let vehicle = message.vehicle()?;
    let fix_time = message.time("fix time", &at("/position/fixTime"), TimeUnit::Rfc3339)?;
    let sent = if_there(message.time("device time", &at("/position/deviceTime"), TimeUnit::Rfc3339))?;
    let mut says = Says { sent, ..Says::default() };
    let flag = |pointer: &str| message.json.pointer(pointer).and_then(Value::as_bool);
    // Without a fix of its own a message repeats the last place; what its sensors say is new all the same.
    if flag("/position/valid") != Some(false) && flag("/position/outdated") != Some(true) {
        let number = |what, key: &str| message.number(what, &at(&format!("/position/{key}")));
        let point = Point { lat: number("latitude", "latitude")?, lon: number("longitude", "longitude")? };
        // 0 is what it forwards for an accuracy that the device does not give.
        let accuracy_m = if_there(number("accuracy", "accuracy"))?.filter(|metres| *metres > 0.0);
        let speed = if_there(number("speed", "speed"))?.map(|speed| (speed, SpeedUnit::Knots));
        says.values.push((position(vehicle.clone(), point, accuracy_m, speed, "/position/latitude")?, fix_time));
    }
    let at_device = sent.unwrap_or(fix_time);
    if let Some(Value::Object(attributes)) = message.json.pointer("/position/attributes") {
        for (key, value) in attributes {
            match attribute(&vehicle, key, value, lock_is_seal) {
                Ok(values) => says.values.extend(values.into_iter().map(|value| (value, at_device))),
                // One silly probe must not hide where the vehicle is.
                Err(reason) => says.refused.push(reason),
            }
        }
    }
    Ok(says)
}

fn attribute(
    vehicle: &VehicleId,
    key: &str,
    value: &Value,
    lock_is_seal: bool,
) -> Result<Vec<ReadingValue>, Unreadable> {
    let place = || format!("\"/position/attributes/{key}\"");
    let vehicle = vehicle.clone();
    let yes = || value.as_bool().ok_or_else(|| wrong("attribute", place(), value, "true or false"));
    Ok(match key {
        "ignition" => vec![ReadingValue::Ignition { vehicle, on: yes()? }],
        "door" => vec![ReadingValue::CargoDoor { vehicle, open: yes()? }],
        "lock" if lock_is_seal => vec![ReadingValue::Seal { vehicle, intact: yes()?, number: None }],
        "alarm" => value.as_str().map(|words| alarms(&vehicle, words)).unwrap_or_default(),
        key if key.strip_prefix("temp").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) => {
            let celsius = number_of(value).and_then(|degrees| Unit::C.to_celsius(degrees));
            let celsius = celsius.ok_or_else(|| wrong("temperature", place(), value, "degrees Celsius"))?;
            vec![ReadingValue::Temperature { celsius, vehicle: Some(vehicle) }]
        }
        _ => Vec::new(),
    })
}

/// The alarms of a list such as `powerCut,sos` that are of concern.
fn alarms(vehicle: &VehicleId, words: &str) -> Vec<ReadingValue> {
    let kinds = words.split(',').filter_map(|word| match word.trim() {
        "jamming" | "gpsAntennaCut" => Some(AlarmKind::Jamming),
        "tampering" => Some(AlarmKind::Tampering),
        "powerCut" => Some(AlarmKind::PowerCut),
        "tow" => Some(AlarmKind::Tow),
        "sos" => Some(AlarmKind::Panic),
        "accident" => Some(AlarmKind::Accident),
        _ => None,
    });
    kinds.map(|alarm| ReadingValue::Alarm { vehicle: vehicle.clone(), alarm, on: true }).collect()
}

fn event(message: &Message<'_>) -> Result<Says, Unreadable> {
    let kind = message.text("event type", &at("/event/type"))?;
    let values = match kind.as_str() {
        "deviceOnline" => vec![ReadingValue::Presence { online: true }],
        "deviceOffline" => vec![ReadingValue::Presence { online: false }],
        "geofenceEnter" | "geofenceExit" => {
            let place = message.text("geofence", &at("/geofence/name"))?.chars().take(500).collect();
            vec![ReadingValue::Crossing { vehicle: message.vehicle()?, place, inside: kind == "geofenceEnter" }]
        }
        "ignitionOn" | "ignitionOff" => {
            vec![ReadingValue::Ignition { vehicle: message.vehicle()?, on: kind == "ignitionOn" }]
        }
        "alarm" => alarms(&message.vehicle()?, &message.text("alarm", &at("/event/attributes/alarm"))?),
        _ => Vec::new(),
    };
    let at = message.time("event time", &at("/event/eventTime"), TimeUnit::Rfc3339)?;
    Ok(Says { values: values.into_iter().map(|value| (value, at)).collect(), ..Says::default() })
}
