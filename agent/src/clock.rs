//! The one clock of the agent.
//!
//! Everything of the domain reads time here and sleeps here. Real I/O keeps real time-outs.
//! Builds for demo and tests (feature `scaled-clock`) have a second maker whose clock runs faster.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[cfg(feature = "scaled-clock")]
use gatehouse_common::time::Scale;
use gatehouse_common::time::{BootId, Moment, UtcMs};

/// How far the wall clock may be off once something trusted has confirmed it, in milliseconds.
const UNCERTAINTY_TRUSTED_MS: u32 = 100;
/// How far it may be off before that, in milliseconds.
const UNCERTAINTY_MS: u32 = 5_000;

/// What systemd-timesyncd makes once it has set the clock since boot.
pub const TIME_SERVICE_MARKER: &str = "/run/systemd/timesync/synchronized";
/// How often it is looked for until it is there, in real time.
pub const TIME_SERVICE_LOOK: Duration = Duration::from_secs(10);

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
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self {
            shared: Arc::new(Shared {
                boot: boot_id(),
                boottime_at_start_ms: uptime_ms().unwrap_or(0),
                started: Instant::now(),
                trusted: AtomicBool::new(false),
                #[cfg(feature = "scaled-clock")]
                scale: None,
            }),
        }
    }

    /// A pretend clock. Exists only in builds for demo and tests.
    #[cfg(feature = "scaled-clock")]
    #[must_use]
    pub fn scaled(scale: Scale) -> Self {
        Self {
            shared: Arc::new(Shared {
                boot: boot_id(),
                boottime_at_start_ms: uptime_ms().unwrap_or(0),
                started: Instant::now(),
                trusted: AtomicBool::new(false),
                scale: Some(scale),
            }),
        }
    }

    /// Now, with what is known of its certainty.
    #[must_use]
    pub fn now(&self) -> Moment {
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

    /// Trusts the clock once `marker` is there: the operating system's time service makes it when it has set the
    /// clock from the network, and it is gone after a restart of the machine. Says whether the clock is trusted now.
    pub fn heed_time_service(&self, marker: &Path) -> bool {
        if !self.shared.trusted.load(Ordering::Relaxed) && marker.exists() {
            self.trust();
        }
        self.shared.trusted.load(Ordering::Relaxed)
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

    fn boottime_ms(&self) -> u64 {
        #[cfg(feature = "scaled-clock")]
        if let Some(scale) = &self.shared.scale {
            // Counted from the pretend start, which every process of one demo shares: a restarted agent goes on counting.
            return u64::try_from(scale.pretend(real_ms()).since(scale.start)).unwrap_or(0);
        }
        let elapsed = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The kernel's count includes time asleep; the monotonic clock alone would miss it.
        uptime_ms().unwrap_or_else(|| self.shared.boottime_at_start_ms.saturating_add(elapsed))
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

    #[test]
    fn a_time_service_that_has_set_the_clock_confirms_it_and_one_that_has_not_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("synchronized");
        let clock = Clock::system();
        assert!(!clock.heed_time_service(&marker) && !clock.now().trusted);
        std::fs::write(&marker, "").unwrap();
        assert!(clock.heed_time_service(&marker) && clock.now().trusted);
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
