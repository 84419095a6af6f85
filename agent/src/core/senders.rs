//! What a sender's numbers and clock show: messages that were lost on the way, and how far its clock is off.
//!
//! In: what messages show beside their readings. Out: state by source. Decides on no reading: one that comes late or
//! from a wrong clock is taken like any other, by its own time.

use gatehouse_common::{
    id::{DoorId, VehicleId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{
    Core,
    decision::Record,
    input::{Sequence, Shown},
    signals::clocks::ClockState,
};

/// A number so far behind the newest was not delayed: its sender began to count anew.
const BEHIND_MAX: u64 = 1_000;

/// What one sender's messages have shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderState {
    /// Its newest number.
    sequence: Option<u64>,
    /// How often numbers were passed over.
    pub gaps: u64,
    /// How many numbers were passed over in all. One that came late is among them.
    pub missing: u64,
    /// When it was last heard, as far as its numbers or its clock are followed.
    #[serde(default)]
    pub heard: UtcMs,
    /// How far its clock is off.
    #[serde(default, skip_serializing_if = "ClockState::is_empty")]
    pub times: ClockState,
}

impl SenderState {
    /// Whether nothing is known of its numbers and its clock.
    pub(super) fn says_nothing(&self) -> bool {
        *self == Self { heard: self.heard, ..Self::default() }
    }

    fn numbered(&mut self, next: Sequence) {
        let held = self.sequence.filter(|_| !next.begins);
        let Some(held) = held else {
            self.sequence = Some(next.number);
            return;
        };
        let ahead = match next.modulus {
            Some(modulus) if modulus > 0 => {
                // Around the circle: more than half of it ahead is behind, so late or sent again.
                let ahead = (next.number % modulus + modulus - held % modulus) % modulus;
                if ahead > modulus / 2 { 0 } else { ahead }
            }
            _ if held.saturating_sub(next.number) > BEHIND_MAX || (next.number <= 1 && held > 1) => {
                self.sequence = Some(next.number);
                return;
            }
            _ => next.number.saturating_sub(held),
        };
        if ahead > 0 {
            self.sequence = Some(next.number);
        }
        if ahead > 1 {
            self.gaps += 1;
            self.missing = self.missing.saturating_add(ahead - 1);
        }
    }
}

impl Core {
    pub(super) fn take_shown(&mut self, now: &Moment, shown: Shown) {
        for mark in shown.marks {
            if let Some(sequence) = mark.sequence.filter(|_| self.has_room_for_sender(&mark.source)) {
                self.senders.edit(&mark.source, |sender| {
                    sender.numbered(sequence);
                    sender.heard = shown.received;
                });
            }
            // What the broker kept or sent again says nothing of a clock.
            if let (true, Some(sent)) = (shown.live, mark.sent) {
                self.compare_clocks(now, &mark.source, shown.received, sent);
            }
        }
        self.out.records.extend(shown.learned.map(|learned| Record::Rule { key: learned.key, body: learned.body }));
    }

    /// Counts a reading that is out of order: a newer one of the same door, seal or position is held.
    pub(super) fn count_if_late(&mut self, reading: &Reading) {
        let at = reading.at;
        let door = |door: &DoorId| self.doors.get(door.as_str());
        let vehicle = |vehicle: &VehicleId| self.vehicles.get(vehicle.as_str());
        let late = match &reading.value {
            ReadingValue::Door { door: id, .. } => door(id).is_some_and(|d| d.open.is_some() && at < d.door_at),
            ReadingValue::Occupancy { door: id, .. } => {
                door(id).is_some_and(|d| d.occupied.is_some() && at < d.occupancy_at)
            }
            ReadingValue::Seal { vehicle: id, .. } => {
                vehicle(id).and_then(|v| v.seal).is_some_and(|(_, held)| at < held)
            }
            ReadingValue::Position { vehicle: id, .. } => {
                vehicle(id).and_then(|v| v.fix).is_some_and(|(held, _)| at < held)
            }
            _ => false,
        };
        if late {
            self.out.records.push(Record::Counted { name: "readings_late", by: 1 });
        }
    }

    /// What the messages of `source` have shown of its numbers and its clock.
    #[must_use]
    pub fn sender(&self, source: &str) -> Option<&SenderState> {
        self.senders.get(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u64], modulus: Option<u64>) -> SenderState {
        let mut sender = SenderState::default();
        for number in numbers {
            sender.numbered(Sequence { number: *number, modulus, begins: false });
        }
        sender
    }

    #[test]
    fn numbers_passed_over_are_counted_and_late_or_repeated_ones_are_no_gap() {
        for (numbers, modulus, gaps, missing) in [
            (&[1, 2, 3, 3, 4][..], None, 0, 0),
            (&[1, 2, 6, 4, 7], None, 1, 3),
            (&[10, 11, 12, 10, 11, 12, 13], None, 0, 0),
            (&[5_000, 1, 2, 3], None, 0, 0),
            (&[254, 255, 0, 1], Some(256), 0, 0),
            (&[254, 255, 2, 3], Some(256), 1, 2),
            (&[10, 11, 12, 10, 11, 12, 13], Some(256), 0, 0),
        ] {
            let sender = after(numbers, modulus);
            assert_eq!((sender.gaps, sender.missing), (gaps, missing), "{numbers:?}");
        }
    }

    #[test]
    fn a_sender_that_says_it_begins_anew_leaves_no_gap() {
        let mut sender = after(&[7, 8], Some(256));
        sender.numbered(Sequence { number: 0, modulus: Some(256), begins: true });
        sender.numbered(Sequence { number: 1, modulus: Some(256), begins: false });
        assert_eq!(sender.gaps, 0);
    }
}
