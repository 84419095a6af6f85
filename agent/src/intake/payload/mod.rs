//! Reads payloads.
//!
//! In: topic, payload, the rule of the topic map. Out: [`Decoded`]: readings and what else the message shows, or the
//! exact reason why there are none. Never panics, whatever the bytes. Only Sparkplug needs a memory ([`Births`]); all
//! else is read by the message alone.

mod cloudevents;
mod json;
mod message;
mod nmea;
mod osmand;
mod owntracks;
pub mod sparkplug;
mod thin_edge;
mod traccar;

#[cfg(test)]
mod tests;

use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::UtcMs,
};
use serde_json::Value;

use crate::{
    config::{Decoder, TopicConfig},
    core::input::{Learned, Mark, Sequence},
};
use message::{Message, optional};

pub use sparkplug::Births;

/// A payload as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// What it says, in the order in which it says it. Empty for a message of no concern, such as an OwnTracks card.
    pub readings: Vec<Reading>,
    /// What shows gaps and wrong clocks.
    pub marks: Vec<Mark>,
    /// What later messages need to be read.
    pub learned: Option<Learned>,
    /// Counters to raise by one each.
    pub noticed: Vec<&'static str>,
}

impl Decoded {
    /// Adds what one device says. Ids are the message's own, with a number from the second reading on: the same message
    /// gives the same ids however often it comes.
    /// # Errors
    /// The first reason, where nothing of it makes sense; what else makes no sense is counted.
    fn add(&mut self, id: &str, source: &str, payload_hash: Hash32, says: Says) -> Result<(), Unreadable> {
        let mut refused = says.refused.into_iter();
        if says.values.is_empty()
            && let Some(reason) = refused.next()
        {
            return Err(reason);
        }
        self.noticed.extend(refused.map(|_| "values_refused"));
        for (n, (value, at)) in says.values.into_iter().enumerate() {
            let id = if n == 0 { id.to_owned() } else { format!("{id}.{n}") };
            let id = ReadingId::new(id).map_err(|error| Unreadable::Wrong {
                what: "id",
                place: "the message".to_owned(),
                found: "no name".to_owned(),
                expected: error.to_string(),
            })?;
            self.readings.push(Reading { source: source.to_owned(), id, at, payload_hash, value });
        }
        Ok(())
    }
}

/// What one device says in one message.
#[derive(Debug, Default)]
struct Says {
    /// Each value with its time.
    values: Vec<(ReadingValue, UtcMs)>,
    /// When the message was sent, by the device's clock.
    sent: Option<UtcMs>,
    /// Why parts of it are no values.
    refused: Vec<Unreadable>,
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
    /// Not text.
    #[error("not text: {0}")]
    NotText(String),
    /// Not a Sparkplug payload.
    #[error("not a Sparkplug payload: {0}")]
    NotSparkplug(&'static str),
    /// Data that refer to a birth that was not seen.
    #[error("{who} was not born here; let its node send a rebirth (NCMD Node Control/Rebirth)")]
    Unborn {
        /// Which node or device.
        who: String,
    },
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
    /// Its sender is one too many.
    #[error("{limit} senders were heard within a week, and no more find a place; see what sends under ever new names")]
    TooManySenders {
        /// How many there may be.
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
            Self::NotText(_) => "not_text",
            Self::NotSparkplug(_) => "not_sparkplug",
            Self::Unborn { .. } => "unborn",
            Self::Missing { .. } => "missing",
            Self::Wrong { .. } => "wrong",
            Self::TooLong { .. } => "too_long",
            Self::TooManySenders { .. } => "too_many_senders",
        }
    }
}

/// Reads `payload`, which came on `topic` at `received`. What a Sparkplug birth declares is kept in `births`.
/// # Errors
/// [`Unreadable`] names the place and what was found there.
pub fn decode(
    births: &mut Births,
    rule: &TopicConfig,
    topic: &str,
    payload: &[u8],
    received: UtcMs,
) -> Result<Decoded, Unreadable> {
    let json: Value = match rule.decoder {
        Decoder::Sparkplug => return sparkplug::read(births, rule, topic, payload, received),
        Decoder::Nmea => Value::Null,
        Decoder::Osmand => osmand::as_json(payload)?,
        _ => serde_json::from_slice(payload).map_err(|error| Unreadable::NotJson(error.to_string()))?,
    };
    let message = Message { map: &rule.map, topic, json: &json };
    let (says, sequence) = match rule.decoder {
        Decoder::Cloudevents => return cloudevents::read(rule, topic, &json, received),
        // Returned above.
        Decoder::Sparkplug => return Ok(Decoded::default()),
        Decoder::Json => plain(rule, &message, received)?,
        Decoder::Owntracks => (owntracks::read(&message, received)?, None),
        Decoder::Traccar => (traccar::read(&message, rule.lock_is_seal)?, None),
        Decoder::Osmand => {
            let values = osmand::read(&message, received)?.into_iter().collect();
            (Says { values, ..Says::default() }, None)
        }
        Decoder::Nmea => (nmea::read(&message, payload, received)?, None),
        Decoder::ThinEdge => (thin_edge::read(rule, topic, &json, received)?, None),
    };
    let source = source(rule, &message)?;
    let mut decoded = Decoded { marks: marks(&source, sequence, says.sent), ..Decoded::default() };
    decoded.add(&id(rule, &message, payload)?, &source, Hash32::of(payload), says)?;
    Ok(decoded)
}

fn plain(rule: &TopicConfig, message: &Message<'_>, received: UtcMs) -> Result<(Says, Option<u64>), Unreadable> {
    let value = json::value(message)?;
    let at = match &rule.time {
        Some(place) => message.time("time", place, rule.time_unit)?,
        None => received,
    };
    let sent = optional(rule.sent.as_ref(), |place| message.time("sent", place, rule.time_unit))?;
    let sequence = optional(rule.sequence.as_ref(), |place| message.whole("sequence", place, "a whole number"))?;
    Ok((Says { values: vec![(value, at)], sent, ..Says::default() }, sequence))
}

/// What a message shows of its sender, if it shows anything.
fn marks(source: &str, sequence: Option<u64>, sent: Option<UtcMs>) -> Vec<Mark> {
    if sequence.is_none() && sent.is_none() {
        return Vec::new();
    }
    let sequence = sequence.map(|number| Sequence { number, modulus: None, begins: false });
    vec![Mark { source: source.to_owned(), sequence, sent }]
}

/// Who sent it: as the rule says, else as the form does, else the topic.
fn source(rule: &TopicConfig, message: &Message<'_>) -> Result<String, Unreadable> {
    if let Some(place) = &rule.source {
        return message.text("source", place);
    }
    let by_form = match rule.decoder {
        Decoder::Owntracks => Some(owntracks::source(message.topic)),
        Decoder::Traccar => traccar::source(message.json),
        Decoder::Osmand => osmand::source(message.json),
        Decoder::ThinEdge => Some(thin_edge::source(message.topic)),
        _ => None,
    };
    Ok(by_form.unwrap_or_else(|| message.topic.to_owned()))
}

/// The sender's own id, else a hash of topic and payload.
fn id(rule: &TopicConfig, message: &Message<'_>, payload: &[u8]) -> Result<String, Unreadable> {
    if let Some(place) = &rule.id {
        return message.name("id", place, ReadingId::new).map(|id| id.to_string());
    }
    let mut named = message.topic.as_bytes().to_vec();
    named.push(0);
    named.extend_from_slice(payload);
    Ok(Hash32::of(&named).to_string())
}
