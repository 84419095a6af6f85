//! From one message to inputs for the driver.
//!
//! In: a topic, a payload, and whether the broker kept it or sends it again. Out: inputs, the last of which brings the
//! receipt, and what is to be counted. A message without inputs has nothing to commit. Reads no clock, no socket.

use std::collections::{BTreeSet, HashMap};

use gatehouse_common::{
    id::{DoorId, Hash32},
    reading::ReadingValue,
    time::UtcMs,
};

use super::{
    payload::{Births, Decoded, Unreadable, decode},
    topics::rule_for,
};
use crate::{
    config::TopicConfig,
    core::input::{Input, Receipt, Shown, Unreadable as UnreadableInput},
};

/// Bytes of a message that quarantine keeps.
const HEAD_BYTES: usize = 256;
/// Senders whose readings are taken. Those of further ones go to quarantine, so that names without end fill neither
/// memory nor the store.
const SENDERS_MAX: usize = 10_000;
/// One that was silent for so long makes room for another, in milliseconds.
const SILENT_MS: i64 = 7 * 86_400_000;
/// Least time between two looks for such, in milliseconds.
const LOOK_EVERY_MS: i64 = 60_000;

/// A message as it came.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether the broker kept it from before we asked (retained).
    pub retained: bool,
    /// Whether the broker sends it again (DUP).
    pub again: bool,
    /// When it came in.
    pub received: UtcMs,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Became {
    /// For the driver, in order. The last one brings the receipt.
    pub inputs: Vec<Input>,
    /// Counters to raise by one each.
    pub counted: Vec<&'static str>,
    /// Why it goes to quarantine, if it does.
    pub unreadable: Option<Unreadable>,
}

/// Reads messages by the topic map.
#[derive(Debug, Default)]
pub struct MessageReader {
    topics: Vec<TopicConfig>,
    doors: BTreeSet<DoorId>,
    payload_max_bytes: usize,
    births: Births,
    senders: Senders,
}

/// Who sends, and when each was last heard.
#[derive(Debug, Default)]
struct Senders {
    heard: HashMap<String, UtcMs>,
    looked: UtcMs,
}

impl Senders {
    /// Whether there is a place for one that was heard at `received`.
    fn admit(&mut self, source: &str, received: UtcMs) -> bool {
        if let Some(heard) = self.heard.get_mut(source) {
            *heard = received;
            return true;
        }
        if self.heard.len() >= SENDERS_MAX && received.since(self.looked).abs() >= LOOK_EVERY_MS {
            self.looked = received;
            self.heard.retain(|_, heard| received.since(*heard) < SILENT_MS);
        }
        let has_room = self.heard.len() < SENDERS_MAX;
        if has_room {
            self.heard.insert(source.to_owned(), received);
        }
        has_room
    }
}

impl MessageReader {
    /// `births` are those that were stored. `doors` are the depot's; without any, every door is one of it.
    #[must_use]
    pub fn new(topics: Vec<TopicConfig>, doors: BTreeSet<DoorId>, payload_max_bytes: usize, births: Births) -> Self {
        Self { topics, doors, payload_max_bytes, births, senders: Senders::default() }
    }

    /// Gives a place to those that were heard before.
    #[must_use]
    pub fn knowing(mut self, senders: impl IntoIterator<Item = (String, UtcMs)>) -> Self {
        for (source, heard) in senders {
            self.senders.admit(&source, heard);
        }
        self
    }

    /// Reads one message.
    pub fn read(&mut self, message: &Arrived<'_>, receipt: Receipt) -> Became {
        let mut became = Became::default();
        if message.retained {
            became.counted.push("messages_retained");
        }
        if message.again {
            became.counted.push("messages_again");
        }
        // What clears a retained message; no device says anything by it.
        if message.payload.is_empty() {
            became.counted.push("messages_empty");
            return became;
        }
        match self.decoded(message) {
            Ok(decoded) => self.taken(decoded, message, receipt, &mut became),
            Err(reason) => {
                became.counted.push(match reason {
                    Unreadable::TooLong { .. } => "messages_oversized",
                    _ => "messages_unreadable",
                });
                became.inputs.push(Input::Unreadable(UnreadableInput {
                    topic: message.topic.to_owned(),
                    reason: reason.to_string(),
                    payload_hash: Hash32::of(message.payload),
                    size: message.payload.len() as u64,
                    head: message.payload[..message.payload.len().min(HEAD_BYTES)].to_vec(),
                    receipt: Some(receipt),
                }));
                became.unreadable = Some(reason);
            }
        }
        became
    }

    fn taken(&self, decoded: Decoded, message: &Arrived<'_>, receipt: Receipt, became: &mut Became) {
        became.counted.extend(decoded.noticed);
        if decoded.readings.is_empty() {
            became.counted.push("messages_of_no_concern");
        }
        if decoded.learned.is_some() || !decoded.marks.is_empty() {
            became.inputs.push(Input::Shown(Shown {
                marks: decoded.marks,
                learned: decoded.learned,
                received: message.received,
                live: !message.retained && !message.again,
                receipt: decoded.readings.is_empty().then_some(receipt),
            }));
        }
        let last = decoded.readings.len().saturating_sub(1);
        // Inputs are committed in order: when the last reading is on disk, all of them are.
        became.inputs.extend(
            decoded
                .readings
                .into_iter()
                .enumerate()
                .map(|(n, reading)| Input::Reading { reading, receipt: (n == last).then_some(receipt) }),
        );
    }

    fn decoded(&mut self, message: &Arrived<'_>) -> Result<Decoded, Unreadable> {
        let (size, limit) = (message.payload.len(), self.payload_max_bytes);
        if size > limit {
            return Err(Unreadable::TooLong { size, limit });
        }
        let rule = rule_for(&self.topics, message.topic).ok_or(Unreadable::NoRule)?;
        let decoded = decode(&mut self.births, rule, message.topic, message.payload, message.received)?;
        let foreign = decoded.readings.iter().find_map(|reading| match &reading.value {
            ReadingValue::Door { door, .. }
            | ReadingValue::Occupancy { door, .. }
            | ReadingValue::DoorFault { door, .. } => (!self.is_ours(door)).then_some(door),
            _ => None,
        });
        match foreign {
            None => {
                let stranger = decoded.readings.iter().find(|r| !self.senders.admit(&r.source, message.received));
                stranger.is_none().then_some(()).ok_or(Unreadable::TooManySenders { limit: SENDERS_MAX })?;
                Ok(decoded)
            }
            Some(door) => Err(Unreadable::Wrong {
                what: "door",
                place: "the subject".to_owned(),
                found: door.to_string(),
                expected: "one of site.doors".to_owned(),
            }),
        }
    }

    fn is_ours(&self, door: &DoorId) -> bool {
        self.doors.is_empty() || self.doors.contains(door)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> MessageReader {
        let text = include_str!("../../../firmware-config/gateway/agent.toml");
        let config = crate::config::parse(text, std::path::Path::new("/tmp")).unwrap();
        MessageReader::new(config.topics, config.site.doors, 1_000, Births::default())
    }

    fn arrived<'a>(topic: &'a str, payload: &'a str) -> Arrived<'a> {
        Arrived { topic, payload: payload.as_bytes(), retained: false, again: false, received: UtcMs(9) }
    }

    #[test]
    fn a_message_of_several_readings_is_acknowledged_with_the_last_of_them() {
        let payload = r#"{"_type":"location","lat":30.2,"lon":-97.7,"tst":9,"created_at":9,"ign":true,"temp_c-1":4}"#;
        let became = reader().read(&arrived("owntracks/cap/7", payload), Receipt(5));
        let receipts: Vec<Option<Receipt>> = became
            .inputs
            .iter()
            .map(|input| match input {
                Input::Reading { receipt, .. } => *receipt,
                Input::Shown(shown) => shown.receipt,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(receipts, [None, None, None, Some(Receipt(5))]);
        let ids: BTreeSet<String> = became
            .inputs
            .iter()
            .filter_map(|input| match input {
                Input::Reading { reading, .. } => Some(reading.id.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(ids.len(), 3, "{ids:?}");
    }

    #[test]
    fn senders_without_end_find_no_place_and_take_none_from_those_that_are_there() {
        let (mut senders, day) = (Senders::default(), 86_400_000);
        assert!(senders.admit("gateway", UtcMs(0)));
        let admitted = (0..1_000_000).filter(|n| senders.admit(&format!("stranger {n}"), UtcMs(*n))).count();
        assert_eq!((admitted, senders.heard.len()), (SENDERS_MAX - 1, SENDERS_MAX));
        assert!(senders.admit("gateway", UtcMs(5 * day)));
        assert!(!senders.admit("newcomer", UtcMs(6 * day)));
        assert!(senders.admit("newcomer", UtcMs(8 * day)), "the strangers were silent for a week");
        assert_eq!(senders.heard.len(), 2);
    }

    #[test]
    fn empty_oversized_foreign_and_repeated_messages_are_each_counted_by_their_name() {
        let mut reader = reader();
        let mut counted = |topic: &str, payload: &str, retained, again| {
            reader.read(&Arrived { retained, again, ..arrived(topic, payload) }, Receipt(0)).counted
        };
        let door = r#"{"id":"a","time":1,"open":true}"#;
        assert_eq!(counted("depot/D1/door/1", "", false, false), ["messages_empty"]);
        assert_eq!(counted("depot/D1/door/1", &"x".repeat(1_001), false, false), ["messages_oversized"]);
        assert_eq!(counted("depot/D1/door/9", door, false, false), ["messages_unreadable"]);
        assert_eq!(counted("elsewhere", door, false, false), ["messages_unreadable"]);
        assert_eq!(counted("depot/D1/door/1", door, true, true), ["messages_retained", "messages_again"]);
        assert_eq!(counted("owntracks/a/b", r#"{"_type":"card"}"#, false, false), ["messages_of_no_concern"]);
        assert!(counted("depot/D1/door/1", door, false, false).is_empty());
    }
}
