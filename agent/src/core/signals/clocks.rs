//! Clocks of devices: how far each is off, by the times that its messages bear and the times at which they come.
//!
//! In: when something came and which time of its device it bears. Out: how far that clock is off, as far as it can be
//! told. A message comes later than it was sent, never sooner: of all that came lately, the one that waited least says
//! most. What a feed that is polled or a buffer that empties adds differs from one to the next; what a wrong clock adds
//! does not.

use gatehouse_common::{bundle::ClockSkew, time::UtcMs};
use serde::{Deserialize, Serialize};

use crate::core::ms;

/// Most goes that are remembered.
const KEPT_MAX: usize = 20;
/// What comes within this time of each other waited together and is one go, in milliseconds.
const GO_MS: i64 = 3_000;
/// Least time over which a slow clock must show, in milliseconds.
const SPREAD_MIN_MS: i64 = 60_000;
/// After this a go says nothing of now, in milliseconds.
const LATELY_MS: i64 = 86_400_000;
/// Few that agree may do so by chance: over so many goes a delay that is drawn anew each time, as by polling, shows how
/// much it differs. Of fewer, what they differ by counts for more, by the square.
const ENOUGH: i64 = 40;

/// What came lately of a device whose clock may be wrong: for each go when it came, and the least of how much later that
/// was than the time it bears. Empty for a clock that looks right, so that nothing is written for those.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClockState(Vec<(UtcMs, i64)>);

/// What is known of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockWord {
    /// It is off: by so many milliseconds slow, below zero fast, since then.
    Off {
        /// How far.
        behind_ms: i64,
        /// Since when.
        since: UtcMs,
    },
    /// It looks right, or by nothing that can be told from the way of its messages.
    Right,
    /// Messages waited on their way, or too few have come.
    Unknown,
}

impl ClockState {
    /// Takes note that something came at `received` that bears the time `at` of the device.
    pub fn came(&mut self, rules: &ClockSkew, received: UtcMs, at: UtcMs) {
        let behind_ms = received.since(at);
        if self.0.is_empty() && behind_ms.abs() <= ms(rules.max_ms) {
            return;
        }
        self.0.retain(|(came, _)| received.since(*came).abs() <= LATELY_MS);
        match self.0.last_mut().filter(|(came, _)| (0..GO_MS).contains(&received.since(*came))) {
            Some((_, least_ms)) => *least_ms = behind_ms.min(*least_ms),
            None => {
                if self.0.len() == KEPT_MAX {
                    self.0.remove(0);
                }
                self.0.push((received, behind_ms));
            }
        }
        if self.word(rules) == ClockWord::Right {
            self.0.clear();
        }
    }

    /// What is known of it.
    pub fn word(&self, rules: &ClockSkew) -> ClockWord {
        let Some((first, last)) = self.0.first().zip(self.0.last()) else { return ClockWord::Right };
        let needed = usize::try_from(rules.readings).unwrap_or(KEPT_MAX).clamp(1, KEPT_MAX);
        if self.0.len() < needed {
            return ClockWord::Unknown;
        }
        let max = ms(rules.max_ms);
        let newest = &self.0[self.0.len() - needed..];
        let least_newest = newest.iter().map(|(_, behind)| *behind).min().unwrap_or_default();
        if least_newest.abs() <= max / 2 {
            return ClockWord::Right;
        }
        // What comes from the future can only come from a fast clock; once alone it may be a slip of one message.
        let fast: Vec<&(UtcMs, i64)> =
            self.0.iter().rev().take(needed * 2).filter(|(_, behind)| *behind < -max).collect();
        if let Some((since, _)) = fast.last().filter(|_| fast.len() >= needed && least_newest < -max) {
            return ClockWord::Off { behind_ms: fast.iter().map(|(_, b)| *b).min().unwrap_or_default(), since: *since };
        }
        let (least, scatter) = self.least_and_scatter();
        let goes = i64::try_from(self.0.len()).unwrap_or(ENOUGH);
        let surely = least.saturating_sub(scatter.saturating_mul(ENOUGH * ENOUGH) / (goes * goes));
        if surely > max && last.0.since(first.0) >= SPREAD_MIN_MS {
            return ClockWord::Off { behind_ms: least, since: first.0 };
        }
        if self.0.len() == KEPT_MAX { ClockWord::Right } else { ClockWord::Unknown }
    }

    /// How far it is behind ours, in milliseconds, the way of its messages included; below zero if it is ahead. `None`
    /// for a clock that looks right, and until it has been seen for a minute.
    #[must_use]
    pub fn behind_ms(&self) -> Option<i64> {
        let (first, last) = self.0.first().zip(self.0.last())?;
        (last.0.since(first.0) >= SPREAD_MIN_MS).then(|| self.least_and_scatter().0)
    }

    /// The least delay, and by how much most of them differ from it. A quarter may have waited anywhere.
    fn least_and_scatter(&self) -> (i64, i64) {
        let mut sorted: Vec<i64> = self.0.iter().map(|(_, behind)| *behind).collect();
        sorted.sort_unstable();
        let least = sorted.first().copied().unwrap_or_default();
        let most = sorted.get((sorted.len() * 3).div_ceil(4).saturating_sub(1)).copied().unwrap_or(least);
        (least, most.saturating_sub(least))
    }

    /// Whether nothing is remembered of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that come each half minute, so much later than their own time.
    fn seen(behind_s: impl IntoIterator<Item = i64>) -> ClockState {
        let (rules, mut clock) = (ClockSkew::default(), ClockState::default());
        for (n, behind) in behind_s.into_iter().enumerate() {
            let received = UtcMs(i64::try_from(n).unwrap() * 30_000);
            clock.came(&rules, received, received.plus(-behind * 1_000));
        }
        clock
    }

    fn told(behind_s: &[i64]) -> ClockWord {
        seen(behind_s.iter().copied()).word(&ClockSkew::default())
    }

    fn off(behind_s: i64) -> ClockWord {
        ClockWord::Off { behind_ms: behind_s * 1_000, since: UtcMs(0) }
    }

    #[test]
    fn a_fast_clock_and_a_slow_one_are_known_after_five_readings_and_a_buffer_is_neither() {
        assert_eq!(told(&[-9, -8, -10, -9]), ClockWord::Unknown);
        assert_eq!(told(&[-9, -8, -10, -9, -7]), off(-10));
        assert_eq!(told(&[3_600, 3_601, 3_602, 3_600, 3_601]), off(3_600));
        assert_eq!(told(&[600, 500, 400, 300, 200, 100]), ClockWord::Unknown);
        assert_eq!(told(&[1, 2, 0, 4, 1]), ClockWord::Right);
    }

    #[test]
    fn of_messages_that_wait_now_and_then_those_that_did_not_tell_the_clock() {
        assert_eq!(told(&[-9, 300, -8, 900, -10, -9, -7]), off(-10));
        assert_eq!(told(&[3_600, 3_601, 9_000, 3_602, 3_600]), off(3_600));
        // A slow clock whose messages wait as if it were polled is told once it is slow by more than they wait.
        let late = [20, 5, 40, 33, 12, 48, 27, 9, 55, 31];
        let slow = seen(late.iter().chain(&late).map(|s| 600 + s));
        assert_eq!(slow.word(&ClockSkew::default()), off(605));
        assert_eq!(slow.behind_ms(), Some(605_000));
    }

    #[test]
    fn a_feed_that_is_polled_is_no_slow_clock_whichever_of_its_readings_are_looked_at() {
        // Up to a minute late, by a draw of its own each time.
        let mut drawn: u64 = 1;
        let lates = (0..200_000).map(|_| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((drawn >> 33) % 56).unwrap() + 5
        });
        let (rules, mut clock) = (ClockSkew::default(), ClockState::default());
        let told = lates.enumerate().filter(|(n, late)| {
            let received = UtcMs(i64::try_from(*n).unwrap() * 90_000);
            clock.came(&rules, received, received.plus(-late * 1_000));
            matches!(clock.word(&rules), ClockWord::Off { .. })
        });
        assert_eq!(told.count(), 0);
    }

    #[test]
    fn what_comes_in_one_go_waited_together_and_counts_once() {
        let (rules, mut clock) = (ClockSkew::default(), ClockState::default());
        for n in 0..100 {
            clock.came(&rules, UtcMs(n * 20), UtcMs(-3_600_000));
        }
        assert_eq!(clock.0.len(), 1);
        assert_eq!(clock.word(&rules), ClockWord::Unknown);
    }

    #[test]
    fn one_message_from_the_future_is_a_slip() {
        assert_eq!(told(&[-4_000, 0, 1, 0, 1, 0]), ClockWord::Right);
        assert_eq!(told(&[40, 31, -4_000, 22, 50, 18, 33]), ClockWord::Unknown);
    }

    #[test]
    fn a_slow_clock_set_right_is_right_with_the_first_message_in_time_and_a_fast_one_after_five() {
        assert_eq!(told(&[9, 9, 9, 9, 9, 1]), ClockWord::Right);
        assert_eq!(told(&[-9, -9, -9, -9, -9, 1, 1, 1, 1]), off(-9));
        assert_eq!(told(&[-9, -9, -9, -9, -9, 1, 1, 1, 1, 1]), ClockWord::Right);
    }

    #[test]
    fn a_clock_of_which_nothing_can_be_told_for_long_is_remembered_no_longer() {
        let late = [20, 5, 40, 33, 12, 48, 27, 9, 55, 31];
        assert!(seen(late.iter().chain(&late).copied()).is_empty());
        assert!(!seen(late).is_empty());
    }
}
