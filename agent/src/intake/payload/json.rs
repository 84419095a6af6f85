//! Plain JSON, read by the pointers of the topic map.

use gatehouse_common::{
    id::{DoorId, OrderId, VehicleId},
    reading::ReadingValue,
};
use serde_json::Value;

use super::{Message, Unreadable, shown, wrong};
use crate::config::{ReadingKind, scan_step};

/// What the message says, as the kind of its rule.
pub(super) fn value(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let rule = message.rule;
    let subject = &rule.subject;
    Ok(match rule.kind {
        ReadingKind::Door => {
            ReadingValue::Door { door: message.name("door", subject, DoorId::new)?, open: yes_or_no(message)? }
        }
        ReadingKind::Occupancy => ReadingValue::Occupancy {
            door: message.name("door", subject, DoorId::new)?,
            occupied: yes_or_no(message)?,
            vehicle: message.optional_name("vehicle", rule.vehicle.as_ref(), VehicleId::new)?,
        },
        ReadingKind::Seal => ReadingValue::Seal {
            vehicle: message.name("vehicle", subject, VehicleId::new)?,
            intact: yes_or_no(message)?,
            number: match &rule.number {
                None => None,
                Some(place) => match message.text("seal number", place) {
                    Ok(number) => Some(number),
                    Err(Unreadable::Missing { .. }) => None,
                    Err(other) => return Err(other),
                },
            },
        },
        ReadingKind::Documents => ReadingValue::Documents {
            order: message.name("order", subject, OrderId::new)?,
            complete: yes_or_no(message)?,
        },
        ReadingKind::Temperature => ReadingValue::Temperature {
            celsius: celsius(message)?,
            vehicle: message.optional_name("vehicle", rule.vehicle.as_ref(), VehicleId::new)?,
        },
        ReadingKind::Scan => scan(message)?,
        // The configuration refuses this pair before any message is read.
        ReadingKind::Position => return Err(Unreadable::NoRule),
    })
}

fn scan(message: &Message<'_>) -> Result<ReadingValue, Unreadable> {
    let rule = message.rule;
    let absent = |what| Unreadable::Missing { what, place: "the configuration".to_owned() };
    let step_place = rule.step.as_ref().ok_or_else(|| absent("step"))?;
    let step = message.text("step", step_place)?;
    let Some(step) = scan_step(&step) else {
        return Err(wrong("step", shown(step_place), &Value::String(step), "staged, loaded or unloaded"));
    };
    let line_place = rule.line.as_ref().ok_or_else(|| absent("line"))?;
    let line: u16 = message.whole("line", line_place, "a line number from 1")?;
    if line == 0 {
        return Err(wrong("line", shown(line_place), &Value::from(0), "a line number from 1"));
    }
    let quantity = match &rule.quantity {
        Some(place) => message.whole("quantity", place, "a whole number of units")?,
        None => 1,
    };
    Ok(ReadingValue::Scan { step, order: message.name("order", &rule.subject, OrderId::new)?, line, quantity })
}

fn the_value(message: &Message<'_>) -> Result<(Value, String), Unreadable> {
    let place = message.rule.value.as_ref();
    let place = place.ok_or(Unreadable::Missing { what: "value", place: "the configuration".to_owned() })?;
    Ok((message.value("value", place)?, shown(place)))
}

fn yes_or_no(message: &Message<'_>) -> Result<bool, Unreadable> {
    let (value, place) = the_value(message)?;
    let rule = message.rule;
    if rule.true_values.contains(&value) {
        return Ok(true);
    }
    if rule.false_values.contains(&value) {
        return Ok(false);
    }
    let words: Vec<String> = rule.true_values.iter().chain(&rule.false_values).map(Value::to_string).collect();
    Err(wrong("value", place, &value, format!("one of {}", words.join(", "))))
}

fn celsius(message: &Message<'_>) -> Result<f64, Unreadable> {
    let (value, place) = the_value(message)?;
    let number = match &value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    match number {
        Some(celsius) if (-273.15..=1000.0).contains(&celsius) => Ok(celsius),
        _ => Err(wrong("value", place, &value, "degrees Celsius from -273.15 to 1000")),
    }
}
