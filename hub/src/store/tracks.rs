//! Where vehicles were: stretches as their units told them, with what was left out of each.

use gatehouse_common::{id::DeviceId, telemetry::Track, time::UtcMs};
use serde::Serialize;

use super::{
    Reader, StoreError, Tx, row,
    sql::{Row, params},
};

/// How much of where a vehicle was is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrackCount {
    /// Stretches.
    pub tracks: u64,
    /// Fixes that the unit had.
    pub seen: u64,
    /// Fixes that came here.
    pub kept: u64,
}

impl Tx<'_> {
    /// Keeps a stretch of where a vehicle was. One that comes again changes nothing.
    pub(crate) fn put_track(&mut self, device: &DeviceId, track: &Track, now: UtcMs) -> Result<(), StoreError> {
        let body = serde_json::to_string(track)?;
        let kept = i64::try_from(track.fixes.len()).unwrap_or(i64::MAX);
        // A unit whose store was restored may tell a stretch once more: the first word stays.
        self.sql.execute(
            "INSERT INTO tracks (device, from_ms, to_ms, seen, kept, body, taken_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            params![device.as_str(), track.from.0, track.to.0, track.seen, kept, body, now.0],
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    /// How much of where a device's vehicle was is known.
    /// # Errors
    /// The store's own.
    pub fn track_count(&self, device: &DeviceId) -> Result<TrackCount, StoreError> {
        let count = |r: &Row<'_>, name: &str| Ok::<_, StoreError>(row::from_sql(r.get(name)?));
        self.sql.one(
            "SELECT count(*) AS tracks, CAST(coalesce(sum(seen), 0) AS BIGINT) AS seen,
                    CAST(coalesce(sum(kept), 0) AS BIGINT) AS kept
             FROM tracks WHERE device = ?1",
            params![device.as_str()],
            |r| Ok(TrackCount { tracks: count(r, "tracks")?, seen: count(r, "seen")?, kept: count(r, "kept")? }),
        )
    }

    /// The stretches of a device that begin between `from` and `to`, oldest first, at most `limit`.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn tracks(&self, device: &DeviceId, from: UtcMs, to: UtcMs, limit: u32) -> Result<Vec<Track>, StoreError> {
        self.sql.query(
            "SELECT body FROM tracks WHERE device = ?1 AND from_ms BETWEEN ?2 AND ?3 ORDER BY from_ms, to_ms LIMIT ?4",
            params![device.as_str(), from.0, to.0, limit],
            |r| row::json("tracks", device.as_str(), &r.get::<String>("body")?),
        )
    }
}
