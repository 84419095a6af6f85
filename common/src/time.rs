//! Times and ages.
//!
//! Wall time is a claim with an uncertainty. Elapsed time is counted by the boot clock inside one
//! boot; across boots it is the wall difference, and only while a trusted source has confirmed the
//! clock. What cannot be known is `None`, never a guess.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UtcMs(pub i64);

impl UtcMs {
    /// This time moved by `ms` milliseconds, later if positive; saturates at the ends of time.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this; negative if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UtcMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.0}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl FromStr for UtcMs {
    type Err = jiff::Error;
    /// Reads RFC 3339, such as `2015-03-10T08:00:00Z`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond()))
    }
}

/// The kernel's id of one boot; empty where the platform has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct BootId(pub String);

/// One instant as a device saw it: what its wall clock claimed and what its boot clock counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// What the wall clock said.
    pub wall: UtcMs,
    /// How far the wall clock may be off, in milliseconds.
    pub uncertainty_ms: u32,
    /// Which boot `boottime_ms` counts in.
    pub boot: BootId,
    /// Milliseconds since that boot, suspended time included.
    pub boottime_ms: u64,
    /// Whether hub, GPS fix or synchronised NTP has confirmed the wall clock since boot.
    pub trusted: bool,
}

impl Moment {
    /// Milliseconds that passed from `earlier` to this moment.
    ///
    /// `None` when it cannot be known: the machine was restarted in between and either wall clock
    /// is unconfirmed or the clock was set back. Time is never given back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        if self.boot == earlier.boot {
            return Some(self.boottime_ms.saturating_sub(earlier.boottime_ms));
        }
        if !self.trusted || !earlier.trusted {
            return None;
        }
        u64::try_from(self.wall.since(earlier.wall)).ok()
    }

    /// How far ahead of the receiver's clock the time of something may lie, in milliseconds, before it is not believed.
    pub const AHEAD_MAX_MS: i64 = 60_000;

    /// Whether `at` lies so far ahead of this moment's clock that it is not believed.
    #[must_use]
    pub fn is_before(&self, at: UtcMs) -> bool {
        at.since(self.wall) > Self::AHEAD_MAX_MS
    }

    /// Age of something that happened at `at` and was received at `received`.
    ///
    /// A time of `at` ahead of the receiver's clock by no more than 60 s counts as zero; further
    /// ahead the age is unknown.
    #[must_use]
    pub fn age_of(&self, at: UtcMs, received: &Self) -> Option<u64> {
        if received.is_before(at) {
            return None;
        }
        let before_receipt = u64::try_from(received.wall.since(at)).unwrap_or(0);
        self.since(received).map(|elapsed| elapsed.saturating_add(before_receipt))
    }
}

/// A hybrid logical clock's reading. It breaks ties between concurrent entries and orders nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Hlc {
    /// The largest wall time seen or read, in milliseconds.
    pub ms: i64,
    /// Counts events within one millisecond.
    pub n: u32,
}

impl Hlc {
    /// How far ahead of the own wall clock a foreign reading may lie and still be adopted, in ms.
    pub const ADOPT_MAX_MS: i64 = 60_000;

    /// The reading for the next local event at `wall`.
    #[must_use]
    pub fn tick(self, wall: UtcMs) -> Self {
        if wall.0 > self.ms { Self { ms: wall.0, n: 0 } } else { Self { ms: self.ms, n: self.n.saturating_add(1) } }
    }

    /// Takes a foreign reading into account. Returns the new own reading and whether the foreign
    /// one was adopted; one more than 60 s ahead of `wall` is not, and the caller marks it.
    #[must_use]
    pub fn observe(self, foreign: Self, wall: UtcMs) -> (Self, bool) {
        if foreign.ms > wall.0.saturating_add(Self::ADOPT_MAX_MS) {
            return (self, false);
        }
        (self.max(foreign), true)
    }
}

/// How a pretend clock runs: it showed `start` when the real clock showed `real_start_ms`, and runs
/// `speed` times as fast. Exists only in builds for demo and tests.
#[cfg(feature = "scaled-clock")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What the pretend clock showed at the start.
    pub start: UtcMs,
    /// What the real clock showed then, in UTC milliseconds.
    pub real_start_ms: i64,
    /// Pretend milliseconds per real millisecond, above 0.
    pub speed: f64,
}

#[cfg(feature = "scaled-clock")]
impl Scale {
    /// What the pretend clock shows when the real one shows `real_ms`.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "milliseconds of a replayed day fit"
    )]
    pub fn pretend(&self, real_ms: i64) -> UtcMs {
        UtcMs(self.start.0 + ((real_ms - self.real_start_ms) as f64 * self.speed) as i64)
    }

    /// How long `pretend_ms` last in real milliseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a replayed day fit")]
    pub fn real_ms(&self, pretend_ms: u64) -> f64 {
        pretend_ms as f64 / self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, boot: &str, boottime_ms: u64, trusted: bool) -> Moment {
        Moment { wall: UtcMs(wall), uncertainty_ms: 0, boot: BootId(boot.into()), boottime_ms, trusted }
    }

    #[test]
    fn a_clock_set_back_gives_no_time_back() {
        let earlier = moment(1_000_000, "a", 5_000, true);
        assert_eq!(moment(10, "a", 9_000, true).since(&earlier), Some(4_000));
        assert_eq!(moment(10, "b", 1, true).since(&earlier), None);
    }

    #[test]
    fn across_boots_an_age_is_unknown_until_a_trusted_source_confirms_the_clock() {
        let earlier = moment(1_000, "a", 5_000, true);
        assert_eq!(moment(61_000, "b", 100, false).since(&earlier), None);
        assert_eq!(moment(61_000, "b", 100, true).since(&earlier), Some(60_000));
    }

    #[test]
    fn a_fact_from_the_far_future_has_no_age() {
        let received = moment(1_000_000, "a", 0, true);
        let now = moment(1_030_000, "a", 30_000, true);
        assert_eq!(now.age_of(UtcMs(990_000), &received), Some(40_000));
        assert_eq!(now.age_of(UtcMs(1_030_000), &received), Some(30_000));
        assert_eq!(now.age_of(UtcMs(2_000_000), &received), None);
    }

    #[test]
    fn a_foreign_clock_far_ahead_is_not_adopted() {
        let own = Hlc { ms: 1_000, n: 3 };
        assert_eq!(own.observe(Hlc { ms: 70_000, n: 0 }, UtcMs(2_000)), (own, false));
        assert_eq!(own.observe(Hlc { ms: 61_000, n: 0 }, UtcMs(2_000)), (Hlc { ms: 61_000, n: 0 }, true));
        assert_eq!(own.tick(UtcMs(500)), Hlc { ms: 1_000, n: 4 });
    }
}
