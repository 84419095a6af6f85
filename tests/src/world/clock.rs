//! Time in the pretend world: one true time, and what each machine's clock makes of it.

use gatehouse_common::time::{BootId, Moment, UtcMs};

/// One second, minute and hour, in milliseconds.
pub const SECOND: i64 = 1_000;
/// See [`SECOND`].
pub const MINUTE: i64 = 60 * SECOND;
/// See [`SECOND`].
pub const HOUR: i64 = 60 * MINUTE;
/// See [`SECOND`].
pub const DAY: i64 = 24 * HOUR;

/// The hub's time confirms a clock that is no further off, in milliseconds: as in the line of the real agent.
const CONFIRMS_MS: i64 = 5_000;

/// The clock of one machine.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    boots: u32,
    booted: UtcMs,
    ahead_ms: i64,
    trusted: bool,
    counts_slowly: bool,
    /// How it was, and from when on by true time; oldest first.
    was: Vec<(UtcMs, Was)>,
}

/// How a machine's clock was at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Was {
    /// In which boot.
    pub boot: u32,
    /// How far ahead of true time, in milliseconds.
    pub ahead_ms: i64,
}

impl Machine {
    /// A machine that was started an hour before `now` and whose clock is `ahead_ms` ahead of true time.
    #[must_use]
    pub fn new(name: &str, now: UtcMs, ahead_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            boots: 1,
            booted: now.plus(-HOUR),
            ahead_ms,
            trusted: true,
            counts_slowly: false,
            was: vec![(UtcMs(i64::MIN), Was { boot: 1, ahead_ms })],
        }
    }

    /// What it shows at `now`, which is true time.
    #[must_use]
    pub fn at(&self, now: UtcMs) -> Moment {
        let counted_ms = now.since(self.booted) / if self.counts_slowly { 2 } else { 1 };
        Moment {
            wall: now.plus(self.ahead_ms),
            uncertainty_ms: if self.trusted { 100 } else { 5_000 },
            boot: BootId(format!("{}-{}", self.name, self.boots)),
            boottime_ms: u64::try_from(counted_ms).unwrap_or(0),
            trusted: self.trusted,
        }
    }

    /// The power went and came back: another boot, and nothing has confirmed the clock.
    pub fn boots_again(&mut self, now: UtcMs) {
        self.boots += 1;
        self.booted = now.plus(-20 * SECOND);
        self.trusted = false;
        self.notes(now);
    }

    /// Somebody or something sets the clock. Whether it is trusted stays as it was.
    pub fn is_set(&mut self, now: UtcMs, ahead_ms: i64) {
        self.ahead_ms = ahead_ms;
        self.notes(now);
    }

    /// What can be trusted confirms the clock.
    pub fn confirmed(&mut self) {
        self.trusted = true;
    }

    /// The hub's answer tells its time, which confirms a clock that is near it.
    pub fn hears_hub_time(&mut self, now: UtcMs, hub: UtcMs) {
        if self.at(now).wall.since(hub).abs() <= CONFIRMS_MS {
            self.confirmed();
        }
    }

    /// From now on it counts half of the time since its start.
    pub fn counts_slowly(&mut self) {
        self.counts_slowly = true;
    }

    /// How far ahead of true time it is now, in milliseconds.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// How far ahead it is while nobody has set it wrong, in milliseconds.
    #[must_use]
    pub fn usual_ms(&self) -> i64 {
        self.was.first().map_or(0, |(_, first)| first.ahead_ms)
    }

    /// How it was at `at`, by true time.
    #[must_use]
    pub fn was(&self, at: UtcMs) -> Was {
        let from = self.was.iter().rfind(|(from, _)| *from <= at);
        from.map_or(Was { boot: self.boots, ahead_ms: self.ahead_ms }, |(_, was)| *was)
    }

    /// Whether anybody ever set it wrong.
    #[must_use]
    pub fn was_ever_wrong(&self) -> bool {
        self.was.iter().any(|(_, was)| was.ahead_ms != self.usual_ms())
    }

    fn notes(&mut self, now: UtcMs) {
        self.was.push((now, Was { boot: self.boots, ahead_ms: self.ahead_ms }));
    }
}
