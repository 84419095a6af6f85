//! Drills that were started and ended: ground, append-only.

use gatehouse_common::time::UtcMs;
use rusqlite::{Connection, Result, params};
use serde::Serialize;

use super::checksum;
use crate::core::drills::DrillTurn;

/// One turn of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrillRow {
    /// Which source was pretended to be gone.
    pub source: String,
    /// What became of it: started, stopped or ended.
    pub turn: String,
    /// When.
    pub at: UtcMs,
    /// Who.
    pub by: String,
    /// Why, for those that were started.
    pub reason: String,
}

/// Appends a turn.
pub fn write(conn: &Connection, source: &str, turn: DrillTurn, at: UtcMs, by: &str, reason: &str) -> Result<()> {
    let (turn, time) = (turn.as_str(), at.0.to_string());
    let sum = checksum::of(&[source, turn, &time, by, reason].map(str::as_bytes));
    conn.prepare_cached(
        "INSERT INTO drills (source, turn, at_ms, by, reason, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![source, turn, at.0, by, reason, sum])
    .map(|_| ())
}

/// The newest `limit` turns, newest first.
pub fn newest(conn: &Connection, limit: u32) -> Result<Vec<DrillRow>> {
    conn.prepare_cached("SELECT source, turn, at_ms, by, reason FROM drills ORDER BY n DESC LIMIT ?1")?
        .query_map([limit], |row| {
            let at = UtcMs(row.get(2)?);
            Ok(DrillRow { source: row.get(0)?, turn: row.get(1)?, at, by: row.get(3)?, reason: row.get(4)? })
        })?
        .collect()
}
