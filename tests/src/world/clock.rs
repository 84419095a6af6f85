//! Time in the pretend world: one true time, and what each machine's clock makes of it.

use gatehouse_common::time::{BootId, Moment, UtcMs};

/// One second, minute and hour, in milliseconds.
pub const SECOND: i64 = 1_000;
/// See [`SECOND`].
pub const MINUTE: i64 = 60 * SECOND;
/// See [`SECOND`].
pub const HOUR: i64 = 60 * MINUTE;

/// The clock of one machine.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    boots: u32,
    booted: UtcMs,
    ahead_ms: i64,
    trusted: bool,
}

impl Machine {
    /// A machine that was started an hour before `now` and whose clock is `ahead_ms` ahead of true time.
    #[must_use]
    pub fn new(name: &str, now: UtcMs, ahead_ms: i64) -> Self {
        Self { name: name.to_owned(), boots: 1, booted: now.plus(-HOUR), ahead_ms, trusted: true }
    }

    /// What it shows at `now`, which is true time.
    #[must_use]
    pub fn at(&self, now: UtcMs) -> Moment {
        Moment {
            wall: now.plus(self.ahead_ms),
            uncertainty_ms: if self.trusted { 100 } else { 5_000 },
            boot: BootId(format!("{}-{}", self.name, self.boots)),
            boottime_ms: u64::try_from(now.since(self.booted)).unwrap_or(0),
            trusted: self.trusted,
        }
    }

    /// The power went and came back: another boot, and nothing has confirmed the clock.
    pub fn boots_again(&mut self, now: UtcMs) {
        self.boots += 1;
        self.booted = now.plus(-20 * SECOND);
        self.trusted = false;
    }

    /// The hub's answers confirm the clock.
    pub fn confirmed(&mut self) {
        self.trusted = true;
    }
}
