//! A clock that was behind and is set right: what it took for yet to come is followed after all.
//!
//! In: readings that lay too far ahead of the clock when they came, and looks at a clock that is trusted. Out: those of
//! them that would not have, by the clock as it is now, followed in the order in which they came. How long ago that
//! was, the boot clock says. So a reading of a device that is itself ahead is not followed, however long it waits; nor
//! is what came before the machine was started again, as nobody knows then by how much the clock was wrong. Positions
//! and temperatures do not wait: the next ones say how things are.

use gatehouse_common::{reading::Reading, time::Moment};
use serde::{Deserialize, Serialize};

use super::{Core, decision::Record, ms};

/// The prefix of the rows of readings that wait for the clock.
pub(super) const KEPT_AHEAD: &str = "kept_ahead";
/// Most readings that wait for the clock; then the oldest are not followed any more.
pub(super) const KEPT_AHEAD_MAX: usize = 1_000;
/// For how long a reading waits, in milliseconds.
const WAITS_MS: u64 = 86_400_000;

/// A reading that was yet to come by the clock when it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptAhead {
    reading: Reading,
    received: Moment,
}

impl KeptAhead {
    /// Whether it would have been followed at once, by the clock as it is now. None if it waits no longer, or if that
    /// cannot be known any more.
    fn is_due(&self, now: &Moment) -> Option<bool> {
        let passed_ms = now.since(&self.received).filter(|passed_ms| *passed_ms < WAITS_MS)?;
        let came = now.wall.plus(-ms(passed_ms));
        Some(self.reading.at.since(came) <= Moment::AHEAD_MAX_MS)
    }
}

impl Core {
    /// Keeps a reading that is yet to come, for the case that it is the clock that is wrong.
    pub(super) fn keep_ahead(&mut self, now: &Moment, reading: &Reading) {
        // They are measured over and over, and would push out what happened once.
        if reading.value.goes_on() {
            return;
        }
        let last = self.kept_ahead.iter().next_back().and_then(|(key, _)| key.parse::<u64>().ok());
        // Digits to the full length: their order is that of the numbers.
        let key = format!("{:020}", last.unwrap_or(0) + 1);
        let kept = KeptAhead { reading: reading.clone(), received: now.clone() };
        self.kept_ahead.edit(&key, |held| *held = Some(kept));
        if self.kept_ahead.len() <= KEPT_AHEAD_MAX {
            return;
        }
        let oldest = self.kept_ahead.iter().next().map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.kept_ahead.forget(&oldest);
            self.out.records.push(Record::Counted { name: "readings_ahead_let_go", by: 1 });
        }
    }

    /// Follows what the clock, now that it is set right, does not take for yet to come; says whether there was any.
    pub(super) fn follow_kept_ahead(&mut self, now: &Moment) -> bool {
        if !now.trusted {
            return false;
        }
        let (mut due, mut over) = (Vec::new(), Vec::new());
        for (key, kept) in self.kept_ahead.iter() {
            match kept.as_ref().and_then(|kept| Some((kept.is_due(now)?, &kept.reading))) {
                Some((true, reading)) => due.push((key.clone(), reading.clone())),
                Some((false, _)) => {}
                None => over.push(key.clone()),
            }
        }
        over.iter().for_each(|key| self.kept_ahead.forget(key));
        let count = due.len();
        for (key, reading) in due {
            self.kept_ahead.forget(&key);
            // A drill may have begun since it came.
            if !self.withhold_reading(&reading) {
                self.follow_reading(now, &reading);
            }
        }
        if count > 0 {
            tracing::warn!(count, "the clock was set right: {count} readings that were yet to come by it count now");
        }
        count > 0
    }
}
