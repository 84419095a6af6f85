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
mod look;
pub mod old_rows;
mod rows;
mod seen;
pub mod thin;
mod value;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use self::{
    block::Block,
    rows::{block_of, each, kept_at, name_sum, names, put, unnamed},
    seen::{Key, Limits, Seen, SeenKeys},
};
pub use self::{
    look::{heard, newest, newest_position, page_behind, sealed_through, since},
    rows::{block_matches, name_matches},
};
use super::{checksum::damaged, ledger::int, room::Gone};

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

fn start_of(hash: &[u8]) -> [u8; 4] {
    hash.first_chunk().copied().unwrap_or_default()
}
