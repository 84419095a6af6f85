//! What is kept of signed exchanges: nonces, runs of devices, and how often whom was refused what.
//!
//! It is here and not in memory, since the next exchange may reach another replica. Each of it is bounded: nonces by
//! their age, runs by their number.

use gatehouse_common::{id::DeviceId, sync::exchange::SKEW_MAX_MS, time::UtcMs};
use serde::Serialize;

use super::{Reader, StoreError, Tx, row, sql::params};

/// A nonce is kept for as long as its exchange could be repeated: it may have been ahead and may come late.
const NONCE_KEPT_MS: i64 = 2 * SKEW_MAX_MS;

/// Most runs of one device that are remembered.
const RUNS_MAX: usize = 8;

/// How often something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedCount {
    /// What, such as `quota`.
    pub what: String,
    /// How often, as far as it was written down.
    pub times: u64,
    /// When last.
    pub last: UtcMs,
}

/// A run of a device, from one start of it to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The text that it drew at its start.
    pub run: String,
    /// The time that its first exchange bore.
    pub began: UtcMs,
}

impl Reader<'_> {
    /// Runs of a device, in the order in which they were first heard; the last few.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn runs_of(&self, device: &DeviceId) -> Result<Vec<Run>, StoreError> {
        self.sql.query("SELECT run, began_ms FROM runs WHERE device = ?1 ORDER BY n", params![device.as_str()], |r| {
            Ok(Run { run: r.get("run")?, began: UtcMs(r.get("began_ms")?) })
        })
    }

    /// How often this device was refused what.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn refusals_of(&self, who: &str) -> Result<Vec<RefusedCount>, StoreError> {
        self.sql.query("SELECT what, times, last_ms FROM refusals WHERE who = ?1 ORDER BY what", params![who], |r| {
            Ok(RefusedCount {
                what: r.get("what")?,
                times: row::from_sql(r.get("times")?),
                last: UtcMs(r.get("last_ms")?),
            })
        })
    }
}

impl Tx<'_> {
    /// Remembers a nonce of a signed exchange, and forgets those that are of no use any more. False if the device
    /// used it before.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn take_nonce(&mut self, device: &DeviceId, nonce: &str, now: UtcMs) -> Result<bool, StoreError> {
        self.sql.execute("DELETE FROM nonces WHERE at_ms < ?1", params![now.0.saturating_sub(NONCE_KEPT_MS)])?;
        let taken = self.sql.execute(
            "INSERT INTO nonces (device, nonce, at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![device.as_str(), nonce, now.0],
        )?;
        Ok(taken > 0)
    }

    /// Remembers a run of a device that was not heard before; a known one changes nothing.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn note_run(&mut self, device: &DeviceId, run: &Run) -> Result<(), StoreError> {
        let known = self.runs_of(device)?;
        if known.iter().any(|known| known.run == run.run) {
            return Ok(());
        }
        self.sql.execute(
            "INSERT INTO runs (device, run, n, began_ms)
             SELECT ?1, ?2, coalesce(max(n), 0) + 1, ?3 FROM runs WHERE device = ?1",
            params![device.as_str(), run.run, run.began.0],
        )?;
        if let Some(oldest) = known.first().filter(|_| known.len() >= RUNS_MAX) {
            self.sql
                .execute("DELETE FROM runs WHERE device = ?1 AND run = ?2", params![device.as_str(), oldest.run])?;
        }
        Ok(())
    }

    /// Adds `times` to what `who` was refused.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn count_refusal(&mut self, who: &str, what: &str, times: u64, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO refusals (who, what, times, last_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (who, what) DO UPDATE SET times = refusals.times + ?3, last_ms = ?4",
            params![who, what, row::to_sql(times), now.0],
        )?;
        Ok(())
    }
}
