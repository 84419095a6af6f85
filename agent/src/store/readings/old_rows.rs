//! Moves the readings of the first form of the store, a row each, into blocks.

use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, Result, Row};

use super::Readings;
use crate::store::checksum::{self, damaged};

/// Readings that are moved at once.
const AT_ONCE: usize = 512;

/// Moves all rows, each checked, in order; then the old tables are gone. Inside the caller's transaction.
pub fn move_into_blocks(conn: &Connection) -> Result<()> {
    let mut readings = Readings::open(conn)?;
    let mut old = conn.prepare(
        "SELECT position, source, reading_id, at_ms, payload_hash, body, received, checksum FROM readings_0001
         ORDER BY position",
    )?;
    let mut rows = old.query([])?;
    let mut some: Vec<(Reading, Moment)> = Vec::with_capacity(AT_ONCE);
    loop {
        let row = rows.next()?;
        let is_last = row.is_none();
        if let Some(row) = row {
            some.push(reading(row)?);
        }
        if some.len() == AT_ONCE || (is_last && !some.is_empty()) {
            let borrowed: Vec<(&Reading, &Moment)> =
                some.iter().map(|(reading, received)| (reading, received)).collect();
            let written = readings.write(conn, &borrowed)?;
            readings.taken(written);
            some.clear();
        }
        if is_last {
            break;
        }
    }
    drop(rows);
    drop(old);
    conn.execute_batch("DROP TABLE readings_0001; DROP TABLE sources_0001;")
}

fn reading(row: &Row<'_>) -> Result<(Reading, Moment)> {
    let (position, at): (i64, i64) = (row.get(0)?, row.get(3)?);
    let text = |column| row.get::<_, String>(column);
    let (source, id, hash, body, received) = (text(1)?, text(2)?, text(4)?, text(5)?, text(6)?);
    let at_text = at.to_string();
    let parts = [source.as_str(), &id, &at_text, &hash, &body].map(str::as_bytes);
    let value = serde_json::from_str::<ReadingValue>(&body);
    let received = serde_json::from_str::<Moment>(&received);
    match (ReadingId::new(id.as_str()), hash.parse::<Hash32>(), value, received) {
        (Ok(id), Ok(payload_hash), Ok(value), Ok(received)) if row.get::<_, Vec<u8>>(7)? == checksum::of(&parts) => {
            Ok((Reading { source, id, at: UtcMs(at), payload_hash, value }, received))
        }
        _ => Err(damaged(format!("reading {position} does not match its checksum"))),
    }
}
