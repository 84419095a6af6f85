//! Reads payloads.
//!
//! In: topic, payload, the rule of the topic map. Out: a [`Reading`], or the exact reason why there
//! is none. Never panics, whatever the bytes.

mod json;
mod owntracks;

#[cfg(test)]
mod tests;

use gatehouse_common::{
    id::{Hash32, IdError, ReadingId},
    reading::{Reading, ReadingValue},
    time::UtcMs,
};
use serde_json::Value;

use crate::config::{Decoder, Place, TimeUnit, TopicConfig};

/// A payload as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// It says something.
    Reading(Reading),
    /// It is well formed and of no concern, such as an OwnTracks message that is no location.
    Ignored,
}

/// Why a payload cannot be read. The text goes to quarantine as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No rule covers the topic.
    #[error("no filter of the configuration matches the topic; add [[topics]] for it")]
    NoRule,
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A value that must be there is not.
    #[error("{what} is missing at {place}")]
    Missing {
        /// Which value.
        what: &'static str,
        /// Where it was looked for.
        place: String,
    },
    /// A value is there and makes no sense.
    #[error("{what} at {place} is {found}, expected {expected}")]
    Wrong {
        /// Which value.
        what: &'static str,
        /// Where it stands.
        place: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// The payload is longer than allowed.
    #[error("payload has {size} bytes, at most {limit} are read (mqtt.payload_max_bytes)")]
    TooLong {
        /// Its bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

impl Unreadable {
    /// The kind of reason, for counting: one of a short list.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::NotJson(_) => "not_json",
            Self::Missing { .. } => "missing",
            Self::Wrong { .. } => "wrong",
            Self::TooLong { .. } => "too_long",
        }
    }
}

/// Reads `payload`, which came on `topic` at `received`.
/// # Errors
/// [`Unreadable`] names the pointer and what was found there.
pub fn decode(rule: &TopicConfig, topic: &str, payload: &[u8], received: UtcMs) -> Result<Decoded, Unreadable> {
    let json: Value = serde_json::from_slice(payload).map_err(|error| Unreadable::NotJson(error.to_string()))?;
    let message = Message { rule, topic, json: &json };
    let (value, at) = match rule.decoder {
        Decoder::Json => (json::value(&message)?, message.time(received)?),
        Decoder::Owntracks => match owntracks::value(&message)? {
            None => return Ok(Decoded::Ignored),
            Some(position) => position,
        },
    };
    message.reading(payload, value, at).map(Decoded::Reading)
}

/// One message while it is read.
struct Message<'a> {
    rule: &'a TopicConfig,
    topic: &'a str,
    json: &'a Value,
}

impl Message<'_> {
    fn reading(&self, payload: &[u8], value: ReadingValue, at: UtcMs) -> Result<Reading, Unreadable> {
        let id = match &self.rule.id {
            Some(place) => self.name("id", place, ReadingId::new)?,
            None => {
                let mut named = self.topic.as_bytes().to_vec();
                named.push(0);
                named.extend_from_slice(payload);
                ReadingId::new(Hash32::of(&named).to_string()).map_err(|error| self.odd("id", "topic", &error))?
            }
        };
        let source = match &self.rule.source {
            Some(place) => self.text("source", place)?,
            None => self.topic.to_owned(),
        };
        Ok(Reading { source, id, at, payload_hash: Hash32::of(payload), value })
    }

    fn odd(&self, what: &'static str, place: &str, error: &IdError) -> Unreadable {
        Unreadable::Wrong { what, place: place.to_owned(), found: "no name".to_owned(), expected: error.to_string() }
    }

    /// The text or number at `place`, as text.
    fn text(&self, what: &'static str, place: &Place) -> Result<String, Unreadable> {
        let shown = shown(place);
        match place {
            Place::Fixed(text) => Ok(text.clone()),
            Place::Segment(n) => match self.topic.split('/').nth(n - 1) {
                Some(level) if !level.is_empty() => Ok(level.to_owned()),
                _ => Err(Unreadable::Missing { what, place: shown }),
            },
            Place::Pointer(pointer) => match self.json.pointer(pointer) {
                None | Some(Value::Null) => Err(Unreadable::Missing { what, place: shown }),
                Some(Value::String(text)) => Ok(text.clone()),
                Some(Value::Number(number)) => Ok(number.to_string()),
                Some(other) => Err(wrong(what, shown, other, "text or a number")),
            },
        }
    }

    /// The value at `place`, made a name by `make`.
    fn name<T>(
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

    /// [`Self::name`] where the rule has a place and the message a value.
    fn optional_name<T>(
        &self,
        what: &'static str,
        place: Option<&Place>,
        make: impl Fn(String) -> Result<T, IdError>,
    ) -> Result<Option<T>, Unreadable> {
        let Some(place) = place else { return Ok(None) };
        match self.name(what, place, make) {
            Ok(name) => Ok(Some(name)),
            Err(Unreadable::Missing { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The JSON value at `place`; a level of the topic counts as text.
    fn value(&self, what: &'static str, place: &Place) -> Result<Value, Unreadable> {
        match place {
            Place::Pointer(pointer) => match self.json.pointer(pointer) {
                None | Some(Value::Null) => Err(Unreadable::Missing { what, place: shown(place) }),
                Some(value) => Ok(value.clone()),
            },
            _ => self.text(what, place).map(Value::String),
        }
    }

    /// A whole number at `place`, as a number or as text.
    fn whole<T: TryFrom<u64>>(&self, what: &'static str, place: &Place, expected: &str) -> Result<T, Unreadable> {
        let value = self.value(what, place)?;
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| wrong(what, shown(place), &value, expected))
    }

    /// When it was measured; `received` where the rule names no time.
    fn time(&self, received: UtcMs) -> Result<UtcMs, Unreadable> {
        let Some(place) = &self.rule.time else { return Ok(received) };
        let value = self.value("time", place)?;
        let expected = match self.rule.time_unit {
            TimeUnit::Ms => "milliseconds since 1970",
            TimeUnit::S => "seconds since 1970",
            TimeUnit::Rfc3339 => "a time such as 2015-03-10T08:00:00Z",
        };
        to_time(&value, self.rule.time_unit).ok_or_else(|| wrong("time", shown(place), &value, expected))
    }
}

/// The time that `value` stands for, if it stands for one between the years 1 and 9999.
fn to_time(value: &Value, unit: TimeUnit) -> Option<UtcMs> {
    let number = || match value {
        Value::String(text) => text.parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let at = match unit {
        TimeUnit::Rfc3339 => value.as_str()?.parse().ok()?,
        TimeUnit::Ms => UtcMs(to_i64(number()?)?),
        TimeUnit::S => UtcMs(to_i64(number()? * 1000.0)?),
    };
    jiff::Timestamp::from_millisecond(at.0).ok().map(|_| at)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn to_i64(number: f64) -> Option<i64> {
    (number.is_finite() && number.abs() < 9.0e15).then(|| number.round() as i64)
}

fn shown(place: &Place) -> String {
    match place {
        Place::Pointer(pointer) => format!("{pointer:?}"),
        Place::Segment(n) => format!("level {n} of the topic"),
        Place::Fixed(_) => "the configuration".to_owned(),
    }
}

fn wrong(what: &'static str, place: String, found: &Value, expected: impl Into<String>) -> Unreadable {
    Unreadable::Wrong { what, place, found: clipped(&found.to_string()), expected: expected.into() }
}

/// At most 80 characters, so that a reason stays a line.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
