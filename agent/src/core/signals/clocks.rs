//! Clocks of devices: how far they are off, by the times of their readings and the times at which those come.

use gatehouse_common::{bundle::ClockSkew, time::UtcMs};
use serde::{Deserialize, Serialize};

use crate::core::ms;

/// Most readings that are remembered.
const KEPT_MAX: usize = 20;
/// Least time over which readings must come to show a slow clock, in milliseconds: what comes in one go waited together.
const SPREAD_MIN_MS: i64 = 60_000;

/// The newest readings of a device whose clock looks wrong: when each came, and how much later than its own time.
/// Empty for a clock that looks right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClockState(Vec<(UtcMs, i64)>);

/// What the readings of a device say of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockWord {
    /// It is off: by so many milliseconds slow, below zero fast, since then.
    Off {
        /// How far.
        behind_ms: i64,
        /// Since when.
        since: UtcMs,
    },
    /// It looks right.
    Right,
    /// Readings waited on their way, or too few have come.
    Unknown,
}

impl ClockState {
    /// Takes note of a reading for `at` that came at `received`.
    pub fn reads(&mut self, rules: &ClockSkew, received: UtcMs, at: UtcMs) {
        let behind_ms = received.since(at);
        if self.0.is_empty() && behind_ms.abs() <= ms(rules.max_ms) {
            return;
        }
        let kept = kept(rules);
        if self.0.len() >= kept {
            self.0.drain(..=self.0.len() - kept);
        }
        self.0.push((received, behind_ms));
        if self.word(rules) == ClockWord::Right {
            self.0.clear();
        }
    }

    /// What they say.
    ///
    /// A reading from the future can only come from a fast clock. One that comes late may have waited: a clock is slow
    /// only if readings keep coming late by the same.
    pub fn word(&self, rules: &ClockSkew) -> ClockWord {
        let Some((least, most)) = self.0.iter().map(|(_, b)| *b).min().zip(self.0.iter().map(|(_, b)| *b).max()) else {
            return ClockWord::Right;
        };
        let max = ms(rules.max_ms);
        if self.0.len() < kept(rules) {
            return ClockWord::Unknown;
        }
        let (first, last) = (self.0[0].0, self.0[self.0.len() - 1].0);
        if least.abs().max(most.abs()) <= max / 2 {
            ClockWord::Right
        } else if most < -max {
            ClockWord::Off { behind_ms: most, since: first }
        } else if least > max && most - least <= max && last.since(first) >= SPREAD_MIN_MS {
            ClockWord::Off { behind_ms: least, since: first }
        } else {
            ClockWord::Unknown
        }
    }
}

fn kept(rules: &ClockSkew) -> usize {
    usize::try_from(rules.readings).unwrap_or(KEPT_MAX).clamp(1, KEPT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings that come each half minute, so much later than their own time.
    fn told(behind_s: &[i64]) -> ClockWord {
        let (rules, mut clock) = (ClockSkew::default(), ClockState::default());
        for (n, behind) in behind_s.iter().enumerate() {
            let received = UtcMs(i64::try_from(n).unwrap() * 30_000);
            clock.reads(&rules, received, received.plus(-behind * 1_000));
        }
        clock.word(&rules)
    }

    #[test]
    fn a_fast_clock_and_a_slow_one_are_known_after_five_readings_and_a_buffer_is_neither() {
        assert_eq!(told(&[-9, -8, -10, -9]), ClockWord::Unknown);
        assert_eq!(told(&[-9, -8, -10, -9, -7]), ClockWord::Off { behind_ms: -7_000, since: UtcMs(0) });
        assert_eq!(
            told(&[3_600, 3_601, 3_602, 3_600, 3_601]),
            ClockWord::Off { behind_ms: 3_600_000, since: UtcMs(0) }
        );
        assert_eq!(told(&[600, 500, 400, 300, 200, 100]), ClockWord::Unknown);
        assert_eq!(told(&[40, 12, 55, 31, 20, 44]), ClockWord::Unknown, "a feed that is polled");
        assert_eq!(told(&[1, 2, 0, 4, 1]), ClockWord::Right);
    }

    #[test]
    fn a_clock_set_right_is_right_after_as_many_readings() {
        assert_eq!(told(&[9, 9, 9, 9, 9, 1, 1, 1, 1]), ClockWord::Unknown);
        assert_eq!(told(&[9, 9, 9, 9, 9, 1, 1, 1, 1, 1]), ClockWord::Right);
    }
}
