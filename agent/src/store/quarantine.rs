//! What could not be used, with the reason.

use rusqlite::{Connection, Result, Row, params};
use serde::Serialize;

use super::{checksum, ledger};
use gatehouse_common::{id::Hash32, time::UtcMs};

/// One message or item that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuarantineRow {
    /// Counts from 1.
    pub position: u64,
    /// Where it came from.
    pub topic: String,
    /// Why it could not be used.
    pub reason: String,
    /// SHA-256 of the whole payload, in hexadecimal.
    pub payload_hash: String,
    /// Bytes of the whole payload.
    pub size: u64,
    /// Its first bytes, as text where they are text.
    pub head: String,
    /// When it came in.
    pub at: UtcMs,
}

/// Writes one.
pub fn write(
    conn: &Connection,
    topic: &str,
    reason: &str,
    payload_hash: &Hash32,
    size: u64,
    head: &[u8],
    at: UtcMs,
) -> Result<()> {
    let hash = payload_hash.to_string();
    let (size, numbers) = (ledger::int(size), [ledger::int(size), at.0].map(|n| n.to_string()));
    let sum = checksum::of(&[
        topic.as_bytes(),
        reason.as_bytes(),
        hash.as_bytes(),
        head,
        numbers[0].as_bytes(),
        numbers[1].as_bytes(),
    ]);
    conn.prepare_cached(
        "INSERT INTO quarantine (topic, reason, payload_hash, size, head, at_ms, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![topic, reason, hash, size, head, at.0, sum])?;
    ledger::count(conn, "quarantined", 1)
}

/// The newest `limit`, newest first.
pub fn newest(conn: &Connection, limit: u32) -> Result<Vec<QuarantineRow>> {
    conn.prepare_cached(
        "SELECT position, topic, reason, payload_hash, size, head, at_ms, checksum FROM quarantine
         ORDER BY position DESC LIMIT ?1",
    )?
    .query_map([limit], |row| {
        check(row)?;
        Ok(QuarantineRow {
            position: ledger::uint(row, 0)?,
            topic: row.get(1)?,
            reason: row.get(2)?,
            payload_hash: row.get(3)?,
            size: ledger::uint(row, 4)?,
            head: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(5)?).into_owned(),
            at: UtcMs(row.get(6)?),
        })
    })?
    .collect()
}

/// Rows of older programs are summed without size and time.
fn check(row: &Row<'_>) -> Result<()> {
    let (topic, reason, hash): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let (size, head, at, sum): (i64, Vec<u8>, i64, Vec<u8>) = (row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
    let (size, at) = (size.to_string(), at.to_string());
    let parts = [topic.as_bytes(), reason.as_bytes(), hash.as_bytes(), &head, size.as_bytes(), at.as_bytes()];
    if checksum::of(&parts[..4]) == sum {
        return Ok(());
    }
    checksum::check(format!("row {} of quarantine", row.get::<_, i64>(0)?), &parts, &sum)
}
