//! What came in beside readings, in order: ground, from which a replay is made.
//!
//! In: an input and how many readings had come before it. Out: rows in order. The oldest are let go of beyond a
//! budget, but never those behind the newest checkpoint, see [`super::checkpoints`].

use gatehouse_common::{sync, time::Moment};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{
    checksum,
    ledger::{from_json, int, json, uint},
};
use crate::core::ground::{Configured, GroundInput};

/// A body longer than this is packed.
const PACKED_FROM_BYTES: usize = 512;

/// One input as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptInput {
    /// Its place among inputs.
    pub n: u64,
    /// How many readings had come before it.
    pub readings: u64,
    /// When it came in.
    pub at: Moment,
    /// What it was.
    pub input: GroundInput,
}

/// Appends an input behind the reading of this number.
pub fn write(conn: &Connection, readings: u64, at: &Moment, input: &GroundInput) -> Result<()> {
    let (moment, body) = (json(at)?, pack(json(input)?)?);
    let sum = sum_of(int(readings), &moment, &body);
    conn.prepare_cached(
        "INSERT INTO inputs (readings, at_ms, at, start, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![int(readings), at.wall.0, moment, matches!(input, GroundInput::Started { .. }), body, sum])
    .map(|_| ())
}

/// The checksum of a row.
pub fn sum_of(readings: i64, at: &str, body: &[u8]) -> Vec<u8> {
    checksum::of(&[readings.to_string().as_bytes(), at.as_bytes(), body])
}

/// A body as it is stored: as it is, or as a frame, whose first byte is no character of JSON.
pub fn pack(text: String) -> Result<Vec<u8>> {
    if text.len() < PACKED_FROM_BYTES {
        return Ok(text.into_bytes());
    }
    sync::version::encode(&text).or_else(|_| Ok(text.into_bytes()))
}

/// What [`pack`] was given.
pub fn unpack(body: &[u8]) -> Result<String> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, e)
    };
    match body.first() {
        Some(&sync::version::PROTOCOL) => sync::version::decode(body).map_err(|e| unreadable(Box::new(e))),
        _ => String::from_utf8(body.to_vec()).map_err(|e| unreadable(Box::new(e))),
    }
}

/// Up to `limit` inputs behind number `n`, in order.
pub fn since(conn: &Connection, n: u64, limit: u32) -> Result<Vec<KeptInput>> {
    conn.prepare_cached("SELECT n, readings, at, body, checksum FROM inputs WHERE n > ?1 ORDER BY n LIMIT ?2")?
        .query_map(params![int(n), limit], read)?
        .collect()
}

/// What the configuration said at the last start that is kept, at number `n` or before.
pub fn last_configured(conn: &Connection, n: u64) -> Result<Option<Configured>> {
    let mut rows = conn.prepare_cached(
        "SELECT n, readings, at, body, checksum FROM inputs WHERE n <= ?1 AND start = 1 ORDER BY n DESC LIMIT 1",
    )?;
    let kept = rows.query_row([int(n)], read).optional()?;
    Ok(kept.and_then(|kept| match kept.input {
        GroundInput::Started { as_configured, .. } => Some(as_configured),
        _ => None,
    }))
}

/// The first number that is kept; 0 while none is.
pub fn first(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(min(n), 0) FROM inputs")?.query_row([], |row| uint(row, 0))
}

/// The last number given; 0 before the first.
pub fn newest(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(n), 0) FROM inputs")?.query_row([], |row| uint(row, 0))
}

fn read(row: &Row<'_>) -> Result<KeptInput> {
    let (n, readings) = (uint(row, 0)?, uint(row, 1)?);
    let (at, body, sum): (String, Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?, row.get(4)?);
    if sum != sum_of(int(readings), &at, &body) {
        return Err(checksum::mismatch(format!("input {n}")));
    }
    Ok(KeptInput { n, readings, at: from_json(&at)?, input: from_json(&unpack(&body)?)? })
}
