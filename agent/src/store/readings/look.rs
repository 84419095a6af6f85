//! What a reader looks up of readings.

use std::collections::{BTreeMap, HashMap};

use gatehouse_common::time::UtcMs;
use rusqlite::{Connection, OptionalExtension, Result};

use super::{
    Heard, KeptReading,
    block::Kept,
    rows::{block_of, blocks_behind, each, names, unnamed},
};
use crate::store::ledger::{int, uint};

/// The last position whose key is in a run: blocks that end here or before are not needed at a start.
pub fn sealed_through(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(last), 0) FROM seen_runs WHERE whole = 1")?
        .query_row([], |row| uint(row, 0))
}

/// How many readings ever came.
pub fn newest_position(conn: &Connection) -> Result<u64> {
    let newest: Option<u64> = conn
        .prepare_cached("SELECT first + count - 1 FROM blocks ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| uint(row, 0))
        .optional()?;
    Ok(newest.unwrap_or(0))
}

/// Every sender with what is counted of it, by name.
pub fn heard(conn: &Connection) -> Result<BTreeMap<String, Heard>> {
    let mut all: HashMap<u32, (String, Heard)> = HashMap::new();
    let mut settled = conn.prepare_cached("SELECT number, source, heard_ms, readings FROM sources")?;
    let mut rows = settled.query([])?;
    while let Some(row) = rows.next()? {
        let heard = Heard { at: UtcMs(row.get(2)?), readings: uint(row, 3)? };
        all.insert(row.get(0)?, (row.get(1)?, heard));
    }
    let sealed = sealed_through(conn)?;
    blocks_behind(conn, sealed, |position, kept| {
        if position > sealed
            && let Some((_, heard)) = all.get_mut(&kept.source)
        {
            heard.at = heard.at.max(kept.received.wall);
            heard.readings += 1;
        }
        Ok(())
    })?;
    Ok(all.into_values().filter(|(_, heard)| heard.readings > 0).collect())
}

/// The newest `limit` readings, newest first.
pub fn newest(conn: &Connection, limit: usize) -> Result<Vec<KeptReading>> {
    let names = names(conn)?;
    let mut blocks = conn.prepare_cached("SELECT first, count, body, checksum FROM blocks ORDER BY first DESC")?;
    let mut rows = blocks.query([])?;
    let mut newest = Vec::new();
    while newest.len() < limit
        && let Some(row) = rows.next()?
    {
        let (first, _, body) = block_of(row)?;
        let mut these = Vec::new();
        each(first, &body, |position, kept| {
            these.push(named(&names, position, kept)?);
            Ok(())
        })?;
        newest.extend(these.into_iter().rev());
    }
    newest.truncate(limit);
    Ok(newest)
}

/// Hands every reading behind `position` to `take`, in order of arrival.
pub fn since(conn: &Connection, position: u64, mut take: impl FnMut(KeptReading)) -> Result<()> {
    let names = names(conn)?;
    blocks_behind(conn, position, |at, kept| {
        if at > position {
            take(named(&names, at, kept)?);
        }
        Ok(())
    })
}

/// The first readings behind `position` in order of arrival: those of one block; none at the end.
pub fn page_behind(conn: &Connection, position: u64) -> Result<Vec<KeptReading>> {
    let names = names(conn)?;
    // The block with the next reading may have begun before it.
    let block = conn
        .prepare_cached(
            "SELECT first, count, body, checksum FROM blocks
             WHERE first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?1 + 1), 0) AND first + count > ?1 + 1
             ORDER BY first LIMIT 1",
        )?
        .query_row([int(position)], block_of)
        .optional()?;
    let mut page = Vec::new();
    if let Some((first, _, body)) = block {
        each(first, &body, |at, kept| {
            if at > position {
                page.push(named(&names, at, kept)?);
            }
            Ok(())
        })?;
    }
    Ok(page)
}

fn named(names: &HashMap<u32, String>, position: u64, kept: Kept) -> Result<KeptReading> {
    let source = names.get(&kept.source).cloned().ok_or_else(|| unnamed(kept.source))?;
    let Kept { id, at, received, value, .. } = kept;
    Ok(KeptReading { position, source, id, at, received, value })
}
