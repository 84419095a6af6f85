//! The one clock of the hub.
//!
//! Everything of the domain reads time here and sleeps here. Real I/O keeps real time-outs.
//! Builds for the demo (feature `scaled-clock`) have a second maker whose clock runs faster, and the
//! pretend world (feature `standing-clock`) a third whose clock stands until it is set.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[cfg(feature = "scaled-clock")]
use gatehouse_common::time::Scale;
use gatehouse_common::time::{BootId, Moment, UtcMs};
#[cfg(feature = "standing-clock")]
use std::sync::{Mutex, PoisonError};

/// How far the wall clock may be off once something trusted has confirmed it, in milliseconds.
const UNCERTAINTY_TRUSTED_MS: u32 = 100;
/// How far it may be off before that, in milliseconds.
const UNCERTAINTY_MS: u32 = 5_000;

/// Tells the time and sleeps. Copies share one clock.
#[derive(Debug, Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    boot: BootId,
    /// Boot time when this clock was made, for platforms that cannot be asked again.
    boottime_at_start_ms: u64,
    started: Instant,
    trusted: AtomicBool,
    #[cfg(feature = "scaled-clock")]
    scale: Option<Scale>,
    #[cfg(feature = "standing-clock")]
    set: Option<Mutex<Moment>>,
}

impl Shared {
    /// What the machine's clock shares.
    fn of_machine() -> Self {
        Self {
            boot: boot_id(),
            boottime_at_start_ms: uptime_ms().unwrap_or(0),
            started: Instant::now(),
            trusted: AtomicBool::new(false),
            #[cfg(feature = "scaled-clock")]
            scale: None,
            #[cfg(feature = "standing-clock")]
            set: None,
        }
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { shared: Arc::new(Shared::of_machine()) }
    }

    /// A pretend clock. Exists only in builds for demo and tests.
    #[cfg(feature = "scaled-clock")]
    #[must_use]
    pub fn scaled(scale: Scale) -> Self {
        Self { shared: Arc::new(Shared { scale: Some(scale), ..Shared::of_machine() }) }
    }

    /// A clock that shows `at` until it is [`Clock::set`]. Exists only in builds for the pretend world.
    #[cfg(feature = "standing-clock")]
    #[must_use]
    pub fn standing(at: Moment) -> Self {
        Self { shared: Arc::new(Shared { set: Some(Mutex::new(at)), ..Shared::of_machine() }) }
    }

    /// Sets a standing clock and all its copies; any other clock goes on as it is.
    #[cfg(feature = "standing-clock")]
    pub fn set(&self, at: Moment) {
        if let Some(set) = &self.shared.set {
            *set.lock().unwrap_or_else(PoisonError::into_inner) = at;
        }
    }

    /// Now, with what is known of its certainty.
    #[must_use]
    pub fn now(&self) -> Moment {
        #[cfg(feature = "standing-clock")]
        if let Some(set) = &self.shared.set {
            return set.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let trusted = self.shared.trusted.load(Ordering::Relaxed);
        Moment {
            wall: self.wall(),
            uncertainty_ms: if trusted { UNCERTAINTY_TRUSTED_MS } else { UNCERTAINTY_MS },
            boot: self.shared.boot.clone(),
            boottime_ms: self.boottime_ms(),
            trusted,
        }
    }

    /// The wall time alone.
    #[must_use]
    pub fn wall(&self) -> UtcMs {
        #[cfg(feature = "standing-clock")]
        if let Some(set) = &self.shared.set {
            return set.lock().unwrap_or_else(PoisonError::into_inner).wall;
        }
        let real = real_ms();
        #[cfg(feature = "scaled-clock")]
        if let Some(scale) = &self.shared.scale {
            return scale.pretend(real);
        }
        UtcMs(real)
    }

    /// Waits `ms` milliseconds of this clock.
    pub async fn sleep(&self, ms: u64) {
        tokio::time::sleep(self.real(ms)).await;
    }

    /// How long `ms` milliseconds of this clock last for real.
    #[must_use]
    pub fn real(&self, ms: u64) -> Duration {
        #[cfg(feature = "scaled-clock")]
        if let Some(scale) = &self.shared.scale {
            return Duration::from_secs_f64((scale.real_ms(ms) / 1000.0).max(0.001));
        }
        Duration::from_millis(ms)
    }

    /// Something trusted has confirmed the wall clock since boot.
    pub fn trust(&self) {
        self.shared.trusted.store(true, Ordering::Relaxed);
    }

    /// What a pretend clock says of itself for pages: where it started and how fast it runs.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        #[cfg(feature = "scaled-clock")]
        if let Some(scale) = &self.shared.scale {
            return Some(format!("started at {}, runs {} times as fast", scale.start, scale.speed));
        }
        None
    }

    #[cfg_attr(
        feature = "scaled-clock",
        expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "milliseconds since boot times a speed fit"
        )
    )]
    fn boottime_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The kernel's count includes time asleep; the monotonic clock alone would miss it.
        let real = uptime_ms().unwrap_or_else(|| self.shared.boottime_at_start_ms.saturating_add(elapsed));
        #[cfg(feature = "scaled-clock")]
        if let Some(scale) = &self.shared.scale {
            return (real as f64 * scale.speed) as u64;
        }
        real
    }
}

fn real_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

fn boot_id() -> BootId {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootId(id.trim().to_owned())
}

fn uptime_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, _) = text.split_once(' ')?;
    let (whole, hundredths) = seconds.split_once('.')?;
    let ms = hundredths.parse::<u64>().ok()?.saturating_mul(10);
    Some(whole.parse::<u64>().ok()?.saturating_mul(1000).saturating_add(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_trust_is_shared_by_its_copies() {
        let clock = Clock::system();
        let copy = clock.clone();
        let before = clock.now();
        assert!(!before.trusted);
        clock.trust();
        let after = copy.now();
        assert!(after.trusted && after.uncertainty_ms < before.uncertainty_ms);
        assert!(after.since(&before).is_some());
    }

    #[cfg(feature = "scaled-clock")]
    #[test]
    fn a_scaled_clock_shows_its_start_and_runs_at_its_speed() {
        let start = UtcMs(1_000_000);
        let clock = Clock::scaled(Scale { start, real_start_ms: real_ms(), speed: 100.0 });
        assert!(clock.wall().since(start) < 60_000);
        assert_eq!(clock.real(1_000), Duration::from_millis(10));
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.wall().since(start) >= 2_000);
    }
}
