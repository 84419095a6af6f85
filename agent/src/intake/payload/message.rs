//! One message while it is read: where values stand, and the words for those that are missing or wrong.

use gatehouse_common::{
    geo::Point,
    id::{IdError, VehicleId},
    reading::ReadingValue,
    time::UtcMs,
};
use serde_json::Value;

use super::Unreadable;
use crate::config::{Place, SpeedUnit, TimeUnit, ValueMap};

/// One message, or one metric of it.
pub(super) struct Message<'a> {
    pub map: &'a ValueMap,
    pub topic: &'a str,
    pub json: &'a Value,
}

impl Message<'_> {
    /// The JSON value at `place`; a level of the topic counts as text.
    pub fn value(&self, what: &'static str, place: &Place) -> Result<Value, Unreadable> {
        let level = |level: Option<&str>| match level {
            Some(level) if !level.is_empty() => Ok(Value::String(level.to_owned())),
            _ => Err(Unreadable::Missing { what, place: shown(place) }),
        };
        match place {
            Place::Fixed(value) => Ok(value.clone()),
            Place::Segment(n) => level(self.topic.split('/').nth(n.saturating_sub(1))),
            Place::FromEnd(n) => level(self.topic.rsplit('/').nth(n.saturating_sub(1))),
            Place::Pointer(pointer) => match self.json.pointer(pointer) {
                None | Some(Value::Null) => Err(Unreadable::Missing { what, place: shown(place) }),
                Some(value) => Ok(value.clone()),
            },
        }
    }

    /// The text or number at `place`, as text.
    pub fn text(&self, what: &'static str, place: &Place) -> Result<String, Unreadable> {
        match self.value(what, place)? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(wrong(what, shown(place), &other, "text or a number")),
        }
    }

    /// The value at `place`, made a name by `make`.
    pub fn name<T>(
        &self,
        what: &'static str,
        place: &Place,
        make: impl Fn(String) -> Result<T, IdError>,
    ) -> Result<T, Unreadable> {
        let text = self.text(what, place)?;
        make(text.clone()).map_err(|error| Unreadable::Wrong {
            what,
            place: shown(place),
            found: clipped(&format!("{text:?}")),
            expected: format!("a name ({error})"),
        })
    }

    /// Which vehicle it is about.
    pub fn vehicle(&self) -> Result<VehicleId, Unreadable> {
        self.name("vehicle", &self.map.subject, VehicleId::new)
    }

    /// A number at `place`, also one written as text.
    pub fn number(&self, what: &'static str, place: &Place) -> Result<f64, Unreadable> {
        let value = self.value(what, place)?;
        number_of(&value).ok_or_else(|| wrong(what, shown(place), &value, "a number"))
    }

    /// A whole number at `place`, as a number or as text.
    pub fn whole<T: TryFrom<u64>>(&self, what: &'static str, place: &Place, expected: &str) -> Result<T, Unreadable> {
        let value = self.value(what, place)?;
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| wrong(what, shown(place), &value, expected))
    }

    /// The time at `place`, written as `unit`.
    pub fn time(&self, what: &'static str, place: &Place, unit: TimeUnit) -> Result<UtcMs, Unreadable> {
        let value = self.value(what, place)?;
        let expected = match unit {
            TimeUnit::Ms => "milliseconds since 1970",
            TimeUnit::S => "seconds since 1970",
            TimeUnit::Rfc3339 => "a time such as 2015-03-10T08:00:00Z",
        };
        to_time(&value, unit).ok_or_else(|| wrong(what, shown(place), &value, expected))
    }
}

/// Nothing where nothing stands; what is there must still make sense.
pub(super) fn if_there<T>(read: Result<T, Unreadable>) -> Result<Option<T>, Unreadable> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Unreadable::Missing { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// [`if_there`] for a place that the configuration may leave out.
pub(super) fn optional<T>(
    place: Option<&Place>,
    read: impl FnOnce(&Place) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    place.map_or(Ok(None), |place| if_there(read(place)))
}

/// Where the value under `key` stands.
pub(super) fn at(pointer: &str) -> Place {
    Place::Pointer(pointer.to_owned())
}

/// A number, also one written as text; never infinite and never no number.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite())
}

/// A position, once everything about it makes sense.
pub(super) fn position(
    vehicle: VehicleId,
    point: Point,
    accuracy_m: Option<f64>,
    speed: Option<(f64, SpeedUnit)>,
    place: &str,
) -> Result<ReadingValue, Unreadable> {
    let odd = |expected: &str| {
        let (found, expected) = (format!("{}, {}", point.lat, point.lon), expected.to_owned());
        Err(Unreadable::Wrong { what: "position", place: format!("{place:?}"), found, expected })
    };
    if !point.is_valid() {
        return odd("latitude -90 to 90 and longitude -180 to 180");
    }
    // In the sea off Africa: what trackers send that have no fix.
    if point.lat == 0.0 && point.lon == 0.0 {
        return odd("a fix");
    }
    let accuracy_m = accuracy_m.filter(|metres| metres.is_finite() && *metres >= 0.0);
    let speed_kmh = speed.and_then(|(speed, unit)| unit.to_kmh(speed));
    Ok(ReadingValue::Position { vehicle, point, accuracy_m, speed_kmh })
}

/// The time that `value` stands for, if it stands for one between the years 1 and 9999.
pub(super) fn to_time(value: &Value, unit: TimeUnit) -> Option<UtcMs> {
    let at = match unit {
        TimeUnit::Rfc3339 => value.as_str()?.parse().ok()?,
        TimeUnit::Ms => UtcMs(to_i64(number_of(value)?)?),
        TimeUnit::S => UtcMs(to_i64(number_of(value)? * 1000.0)?),
    };
    jiff::Timestamp::from_millisecond(at.0).ok().map(|_| at)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn to_i64(number: f64) -> Option<i64> {
    (number.is_finite() && number.abs() < 9.0e15).then(|| number.round() as i64)
}

pub(super) fn shown(place: &Place) -> String {
    match place {
        Place::Pointer(pointer) => format!("{pointer:?}"),
        Place::Segment(n) => format!("level {n} of the topic"),
        Place::FromEnd(n) => format!("level {n} of the topic from its end"),
        Place::Fixed(_) => "the configuration".to_owned(),
    }
}

pub(super) fn wrong(what: &'static str, place: String, found: &Value, expected: impl Into<String>) -> Unreadable {
    Unreadable::Wrong { what, place, found: clipped(&found.to_string()), expected: expected.into() }
}

/// At most 80 characters, so that a reason stays a line.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
