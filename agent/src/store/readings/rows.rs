//! The rows behind readings: blocks, and the names behind the numbers in them. Each is checked where it is read.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::block::{Block, Kept, Walk};
use crate::store::{
    checksum::{self, damaged},
    ledger::int,
};

/// Writes a block in place of what stands under its first position.
pub fn put(conn: &Connection, block: &mut Block) -> Result<()> {
    let (first, count) = (int(block.first), int(block.count));
    let body = block.body();
    let sum = block_sum(first, count, body);
    conn.prepare_cached("INSERT OR REPLACE INTO blocks (first, count, body, checksum) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![first, count, body, sum])
        .map(|_| ())
}

/// Whether a block matches its checksum.
pub fn block_matches(first: i64, count: i64, body: &[u8], sum: &[u8]) -> bool {
    block_sum(first, count, body) == sum
}

/// Whether a sender's name matches its checksum.
pub fn name_matches(number: i64, source: &[u8], sum: &[u8]) -> bool {
    match (u32::try_from(number), std::str::from_utf8(source)) {
        (Ok(number), Ok(source)) => name_sum(number, source) == sum,
        _ => false,
    }
}

/// First position, count and bytes of a block, checked.
pub fn block_of(row: &Row<'_>) -> Result<(u64, u64, Vec<u8>)> {
    let (first, count): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (body, sum): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
    if sum != block_sum(first, count, &body) {
        return Err(damaged(format!("block {first} of readings does not match its checksum")));
    }
    Ok((first.cast_unsigned(), count.cast_unsigned(), body))
}

fn block_sum(first: i64, count: i64, body: &[u8]) -> Vec<u8> {
    checksum::of(&[&first.to_be_bytes(), &count.to_be_bytes(), body])
}

/// Hands every reading of the blocks that reach behind `position` to `take`.
pub fn blocks_behind(conn: &Connection, position: u64, mut take: impl FnMut(u64, Kept) -> Result<()>) -> Result<()> {
    // The block that holds the position may have begun before it.
    let mut blocks = conn.prepare_cached(
        "SELECT first, count, body, checksum FROM blocks
         WHERE first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?1), 0) ORDER BY first",
    )?;
    let mut rows = blocks.query([int(position)])?;
    while let Some(row) = rows.next()? {
        let (first, _, body) = block_of(row)?;
        each(first, &body, &mut take)?;
    }
    Ok(())
}

/// Hands every reading of a block to `take`, each with its position.
pub fn each(first: u64, body: &[u8], mut take: impl FnMut(u64, Kept) -> Result<()>) -> Result<()> {
    let mut walk = Walk::over(body);
    while !walk.is_over() {
        let kept = walk.next().ok_or_else(|| damaged(format!("a reading of block {first} cannot be read")))?;
        take(first + walk.place(), kept)?;
    }
    Ok(())
}

/// The reading at `position`; none where it was let go of.
pub fn kept_at(conn: &Connection, position: u64) -> Result<Option<Kept>> {
    let block = conn
        .prepare_cached(
            "SELECT first, count, body, checksum FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )?
        .query_row([int(position)], block_of)
        .optional()?;
    let Some((first, _, body)) = block.filter(|(first, count, _)| position < first + count) else {
        return Ok(None);
    };
    let mut found = None;
    each(first, &body, |at, kept| {
        if at == position {
            found = Some(kept);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Every sender's name by its number, checked.
pub fn names(conn: &Connection) -> Result<HashMap<u32, String>> {
    let mut all = conn.prepare_cached("SELECT number, source, checksum FROM sources")?;
    let rows = all.query_map([], |row| {
        let (number, name, sum): (u32, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if sum == name_sum(number, &name) {
            Ok((number, name))
        } else {
            Err(damaged(format!("source {number} does not match its checksum")))
        }
    })?;
    rows.collect()
}

/// The checksum of a sender's name.
pub fn name_sum(number: u32, name: &str) -> Vec<u8> {
    checksum::of(&[&number.to_be_bytes(), name.as_bytes()])
}

/// What is wrong where a number has no name.
pub fn unnamed(number: u32) -> rusqlite::Error {
    damaged(format!("source {number} has no name"))
}
