//! Readings as ground: blocks of them, the names of their senders, and which came already.
//!
//! In: readings in order of arrival, several per commit. Out: whether one came before, the newest, all in
//! order. A reading's position counts from 1 and never comes back.
//!
//! *What a row costs.* The newest block grows with each commit until it fills a page, so a commit writes one
//! page of readings however few there are. A reading takes about 35 to 50 bytes of its block, and
//! about 18 in `seen`. What is counted per sender is written when the keys in memory become a run; a
//! [`Reader`](super::Reader) adds what came since.
//!
//! *Thinning.* While room is short, some readings of a block are left out, see [`thin`]; the others keep their places.
//!
//! *Letting go of old ones.* A whole block may be deleted once its last reading lies at or before
//! [`sealed_through`]: the blocks behind that are read at a start to know their keys again. [`let_go`] does it.
//! Nothing else has to change: `seen` keeps the key of what was deleted, so it still counts once; only
//! whether it came again with another payload is then told by 4 bytes of the payload's hash. Runs of `seen`
//! may be deleted only for a time before which no sender repeats anything; nothing here does so.

mod block;
mod bytes;
pub mod old_rows;
mod seen;
pub mod thin;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use self::{
    block::{Block, Kept, Walk},
    seen::{Key, Limits, Seen, SeenKeys},
};
use super::{
    checksum::{self, damaged},
    ledger::int,
    room::Gone,
};

/// What is counted of one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// When it was last heard, by this device's clock.
    pub at: UtcMs,
    /// Readings it sent.
    pub readings: u64,
}

/// A reading as it is kept, with the name of its sender.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptReading {
    /// Its place in order of arrival.
    pub position: u64,
    /// Who sent it.
    pub source: String,
    /// The sender's own id.
    pub id: ReadingId,
    /// When it was measured.
    pub at: UtcMs,
    /// When it came in.
    pub received: Moment,
    /// What it says.
    pub value: ReadingValue,
}

/// What a reading was before, if its source and id came already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The same payload: a repeat.
    Repeat,
    /// Another payload: a conflict.
    Conflict,
}

/// The writing half. What it holds is what is on disk: [`Readings::write`] changes nothing before
/// [`Readings::taken`].
#[derive(Debug)]
pub struct Readings {
    block: Block,
    sources: HashMap<String, u32>,
    heard: HashMap<u32, Heard>,
    keys: SeenKeys,
}

/// What a transaction does to [`Readings`].
#[derive(Debug)]
pub struct Written {
    block: Block,
    named: Vec<(String, u32)>,
    heard: Vec<(u32, UtcMs)>,
    keys: seen::Step,
}

impl Readings {
    /// What the store holds; every row read is checked.
    pub fn open(conn: &Connection) -> Result<Self> {
        Self::open_with(conn, Limits::FULL)
    }

    fn open_with(conn: &Connection, limits: Limits) -> Result<Self> {
        let sources = names(conn)?.into_iter().map(|(number, name)| (name, number)).collect();
        let mut readings =
            Self { block: Block::new(1), sources, heard: HashMap::new(), keys: SeenKeys::open(conn, limits)? };
        let by_number = names(conn)?;
        let sealed = readings.keys.sealed_through();
        let mut blocks = conn.prepare("SELECT first, count, body, checksum FROM blocks ORDER BY first DESC")?;
        let mut rows = blocks.query([])?;
        let mut newest = None;
        while let Some(row) = rows.next()? {
            let (first, count, body) = block_of(row)?;
            if newest.is_none() {
                let reopened = Block::reopen(first, count, body.clone());
                newest = Some(reopened.ok_or_else(|| damaged(format!("block {first} of readings cannot be read")))?);
            }
            if first + count <= sealed + 1 {
                break;
            }
            each(first, &body, |position, kept| {
                if position <= sealed {
                    return Ok(());
                }
                let name = by_number.get(&kept.source).ok_or_else(|| unnamed(kept.source))?;
                let seen = Seen { position, payload: start_of(&kept.payload) };
                readings.keys.add(Key::of(name, kept.id.as_str()), seen);
                hear(&mut readings.heard, kept.source, kept.received.wall);
                Ok(())
            })?;
        }
        if let Some(newest) = newest {
            readings.block = newest;
        }
        Ok(readings)
    }

    /// The position of the newest reading; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.block.first + self.block.count - 1
    }

    /// What `reading` was before, if its source and id came already.
    pub fn before(&self, conn: &Connection, source: &str, id: &ReadingId, payload: &Hash32) -> Result<Option<Before>> {
        for seen in self.keys.find(conn, Key::of(source, id.as_str()))? {
            let same = match kept_at(conn, seen.position)? {
                Some(kept) => {
                    // Two readings may have one key, if hardly ever.
                    if kept.id != *id || self.sources.get(source) != Some(&kept.source) {
                        continue;
                    }
                    kept.payload == payload.0[..block::HASH_BYTES]
                }
                // The reading itself was let go of.
                None => seen.payload == start_of(&payload.0),
            };
            return Ok(Some(if same { Before::Repeat } else { Before::Conflict }));
        }
        Ok(None)
    }

    /// Writes readings behind all others, inside the caller's transaction.
    pub fn write(&self, conn: &Connection, readings: &[(&Reading, &Moment)]) -> Result<Written> {
        let mut block = self.block.clone();
        let mut named: Vec<(String, u32)> = Vec::new();
        let mut heard = Vec::with_capacity(readings.len());
        let mut added = Vec::with_capacity(readings.len());
        for (reading, received) in readings {
            let source = match self.number_of(&named, &reading.source) {
                Some(number) => number,
                None => {
                    let number = self.name(conn, named.len(), &reading.source)?;
                    named.push((reading.source.clone(), number));
                    number
                }
            };
            if !block.take(source, reading, received) {
                put(conn, &mut block)?;
                block = Block::new(block.first + block.count);
                block.take(source, reading, received);
            }
            let position = block.first + block.count - 1;
            let seen = Seen { position, payload: start_of(&reading.payload_hash.0) };
            added.push((Key::of(&reading.source, reading.id.as_str()), seen));
            heard.push((source, received.wall));
        }
        put(conn, &mut block)?;
        let keys = self.keys.write(conn, added)?;
        if keys.has_sealed() {
            let mut all = self.heard.clone();
            heard.drain(..).for_each(|(source, at)| hear(&mut all, source, at));
            settle(conn, all)?;
        }
        Ok(Written { block, named, heard, keys })
    }

    /// The transaction of `written` is on disk.
    pub fn taken(&mut self, written: Written) {
        self.block = written.block;
        self.sources.extend(written.named);
        if written.keys.has_sealed() {
            self.heard = HashMap::new();
        }
        written.heard.into_iter().for_each(|(source, at)| hear(&mut self.heard, source, at));
        self.keys.taken(written.keys);
    }

    fn number_of(&self, named: &[(String, u32)], source: &str) -> Option<u32> {
        self.sources.get(source).copied().or_else(|| named.iter().find(|(name, _)| name == source).map(|(_, n)| *n))
    }

    fn name(&self, conn: &Connection, named: usize, source: &str) -> Result<u32> {
        let number = u32::try_from(self.sources.len() + named + 1).unwrap_or(u32::MAX);
        conn.prepare_cached(
            "INSERT INTO sources (number, source, heard_ms, readings, checksum) VALUES (?1, ?2, 0, 0, ?3)",
        )?
        .execute(params![number, source, name_sum(number, source)])?;
        Ok(number)
    }
}

/// The last position whose key is in a run: blocks that end here or before are not needed at a start.
pub fn sealed_through(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(last), 0) FROM seen_runs WHERE whole = 1")?
        .query_row([], |row| super::ledger::uint(row, 0))
}

/// How many readings ever came.
pub fn newest_position(conn: &Connection) -> Result<u64> {
    let newest: Option<u64> = conn
        .prepare_cached("SELECT first + count - 1 FROM blocks ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| super::ledger::uint(row, 0))
        .optional()?;
    Ok(newest.unwrap_or(0))
}

/// Every sender with what is counted of it, by name.
pub fn heard(conn: &Connection) -> Result<BTreeMap<String, Heard>> {
    let mut all: HashMap<u32, (String, Heard)> = HashMap::new();
    let mut settled = conn.prepare_cached("SELECT number, source, heard_ms, readings FROM sources")?;
    let mut rows = settled.query([])?;
    while let Some(row) = rows.next()? {
        let heard = Heard { at: UtcMs(row.get(2)?), readings: super::ledger::uint(row, 3)? };
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

/// Deletes whole blocks whose readings all came in before `before`, oldest first, `blocks_max` at most; gives what
/// that was. Those that a start needs stay.
pub fn let_go(conn: &Connection, before: UtcMs, blocks_max: usize) -> Result<Gone> {
    let names = names(conn)?;
    let sealed = sealed_through(conn)?;
    let newest = newest_position(conn)?;
    let mut gone = Gone::default();
    for _ in 0..blocks_max {
        let mut oldest =
            conn.prepare_cached("SELECT first, count, body, checksum FROM blocks ORDER BY first LIMIT 1")?;
        let Some((first, count, body)) = oldest.query_row([], block_of).optional()? else { break };
        let last = first + count - 1;
        let mut is_old = last <= sealed && last < newest;
        let mut these = Vec::new();
        each(first, &body, |_, kept| {
            is_old &= kept.received.wall < before;
            these.push((kept.source, kept.received.wall));
            Ok(())
        })?;
        if !is_old {
            break;
        }
        conn.prepare_cached("DELETE FROM blocks WHERE first = ?1")?.execute([int(first)])?;
        for (source, at) in these {
            gone.add(names.get(&source).map_or("", String::as_str), at);
        }
    }
    Ok(gone)
}

/// Counts what came since the last run among what is counted of each sender.
fn settle(conn: &Connection, heard: HashMap<u32, Heard>) -> Result<()> {
    let mut all: Vec<(u32, Heard)> = heard.into_iter().collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    for (number, heard) in all {
        conn.prepare_cached(
            "UPDATE sources SET heard_ms = max(heard_ms, ?2), readings = readings + ?3 WHERE number = ?1",
        )?
        .execute(params![number, heard.at.0, int(heard.readings)])?;
    }
    Ok(())
}

fn hear(heard: &mut HashMap<u32, Heard>, source: u32, at: UtcMs) {
    let heard = heard.entry(source).or_default();
    heard.at = heard.at.max(at);
    heard.readings += 1;
}

fn put(conn: &Connection, block: &mut Block) -> Result<()> {
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

fn block_sum(first: i64, count: i64, body: &[u8]) -> Vec<u8> {
    checksum::of(&[&first.to_be_bytes(), &count.to_be_bytes(), body])
}

/// First position, count and bytes of a block, checked.
fn block_of(row: &Row<'_>) -> Result<(u64, u64, Vec<u8>)> {
    let (first, count): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (body, sum): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
    if sum != block_sum(first, count, &body) {
        return Err(damaged(format!("block {first} of readings does not match its checksum")));
    }
    Ok((first.cast_unsigned(), count.cast_unsigned(), body))
}

/// Hands every reading of the blocks that reach behind `position` to `take`.
fn blocks_behind(conn: &Connection, position: u64, mut take: impl FnMut(u64, Kept) -> Result<()>) -> Result<()> {
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

fn each(first: u64, body: &[u8], mut take: impl FnMut(u64, Kept) -> Result<()>) -> Result<()> {
    let mut walk = Walk::over(body);
    while !walk.is_over() {
        let kept = walk.next().ok_or_else(|| damaged(format!("a reading of block {first} cannot be read")))?;
        take(first + walk.place(), kept)?;
    }
    Ok(())
}

fn kept_at(conn: &Connection, position: u64) -> Result<Option<Kept>> {
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
fn names(conn: &Connection) -> Result<HashMap<u32, String>> {
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

fn name_sum(number: u32, name: &str) -> Vec<u8> {
    checksum::of(&[&number.to_be_bytes(), name.as_bytes()])
}

fn unnamed(number: u32) -> rusqlite::Error {
    damaged(format!("source {number} has no name"))
}

fn named(names: &HashMap<u32, String>, position: u64, kept: Kept) -> Result<KeptReading> {
    let source = names.get(&kept.source).cloned().ok_or_else(|| unnamed(kept.source))?;
    let Kept { id, at, received, value, .. } = kept;
    Ok(KeptReading { position, source, id, at, received, value })
}

fn start_of(hash: &[u8]) -> [u8; 4] {
    hash.first_chunk().copied().unwrap_or_default()
}
