//! The pretend clock of the demo's own parts. The programs get the same start and speed on their command lines.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatehouse_common::time::UtcMs;

/// How pretend time runs.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// What the pretend clock shows at the start.
    pub start: UtcMs,
    /// What the real clock shows then, in UTC milliseconds.
    pub real_start_ms: i64,
    /// Pretend milliseconds per real one.
    pub speed: f64,
}

/// What the real clock shows, in UTC milliseconds.
#[must_use]
pub fn real_now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Pace {
    /// What the pretend clock shows now.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "one day in milliseconds fits")]
    pub fn now(&self) -> UtcMs {
        self.start.plus(((real_now_ms() - self.real_start_ms) as f64 * self.speed) as i64)
    }

    /// Waits until the pretend clock shows `at`.
    #[expect(clippy::cast_precision_loss, reason = "one day in milliseconds fits")]
    pub async fn until(&self, at: UtcMs) {
        let left_ms = at.since(self.now());
        if left_ms > 0 {
            tokio::time::sleep(Duration::from_secs_f64(left_ms as f64 / self.speed / 1000.0)).await;
        }
    }

    /// Waits for `pretend_ms` of pretend time.
    pub async fn pause(&self, pretend_ms: i64) {
        self.until(self.now().plus(pretend_ms)).await;
    }

    /// Pretend time as people read it: hours and minutes of the day in UTC.
    #[must_use]
    pub fn clock_face(at: UtcMs) -> String {
        let minutes = at.0.div_euclid(60_000).rem_euclid(24 * 60);
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }
}
