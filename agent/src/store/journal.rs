//! Facts and rule state that change with nearly every reading: one row for each commit, folded into their tables now
//! and then.
//!
//! In: what changed of them in a commit. Out: what changed since the tables were last written, for a start. In a
//! table, each subject costs a page of its own per commit; in a row of the journal, all subjects of a commit share a
//! page. A key has one way for ever, so that a row of a table is never newer than the journal. Who looks up one key
//! alone looks in the tables: only what is looked up all together, as [`facts::rules_of`] does, goes this way.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result, params};
use serde::{Deserialize, Serialize};

use super::{checksum, facts, ledger};
use crate::core::decision::Record;

/// Bytes of the journal beyond which it is folded: a start reads them all.
const BYTES_MAX: u64 = 1 << 20;
/// Longest that a row may be once it is decompressed, in bytes. A commit holds some hundreds of states of some
/// hundreds of bytes each; a row that claims more is damaged.
const ROW_MAX: u32 = 64 << 20;
/// Level of zstd: each row is written once and seldom read.
const LEVEL: i32 = 1;
/// Rule state that is kept here, by the first word of its key.
const OFTEN: [&str; 11] =
    ["case", "door", "vehicle", "counts", "unknown_order", "watch", "motion", "probe", "sender", "clock", "stamp"];

/// What stands under one key after a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// State of a rule; nothing if it was forgotten.
    Rule(String, Option<String>),
    /// A fact by its key as JSON; nothing if no fact stands there any more.
    Fact(String, Option<String>),
}

/// Has `held` say what stands under `key` from now on.
pub fn apply(held: &mut BTreeMap<String, String>, key: String, body: Option<String>) {
    match body {
        Some(body) => held.insert(key, body),
        None => held.remove(&key),
    };
}

/// The writing half: how much there is to fold.
pub struct Journal {
    bytes: u64,
    /// Kept, as making one anew for each commit costs more than to compress a row.
    compressor: zstd::bulk::Compressor<'static>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Journal {
    /// As the store holds it.
    pub fn open(conn: &Connection) -> Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL).map_err(|e| unfit(Box::new(e)))?;
        Ok(Self { bytes: bytes(conn)?, compressor })
    }

    /// Writes what changed in one commit; gives the bytes that it took, for [`Journal::grew`] once they are on disk.
    pub fn write(&mut self, conn: &Connection, changes: &[Change]) -> Result<u64> {
        if changes.is_empty() {
            return Ok(0);
        }
        let plain = postcard::to_stdvec(changes).map_err(|e| unfit(Box::new(e)))?;
        let mut body = u32::try_from(plain.len()).map_err(|e| unfit(Box::new(e)))?.to_le_bytes().to_vec();
        body.extend(self.compressor.compress(&plain).map_err(|e| unfit(Box::new(e)))?);
        let sum = checksum::of(&[&body]);
        conn.prepare_cached("INSERT INTO journal (body, checksum) VALUES (?1, ?2)")?.execute(params![body, sum])?;
        Ok(body.len() as u64)
    }

    /// Whether it has grown enough to be folded.
    pub fn is_long(&self) -> bool {
        self.bytes > BYTES_MAX
    }

    /// A row of this many bytes is on disk.
    pub fn grew(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// So many bytes are left of it on disk: it has been folded.
    pub fn shrank_to(&mut self, bytes: u64) {
        self.bytes = bytes;
    }
}

/// The first word of the key of a rule's state.
pub fn kind_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(kind, _)| kind)
}

/// Whether rule state of this kind is kept here.
pub fn is_often(kind: &str) -> bool {
    OFTEN.contains(&kind)
}

/// What of `record` is kept here; nothing for a record that has a place of its own.
pub fn change(record: &Record) -> Result<Option<Change>> {
    let often = |key: &str| is_often(kind_of(key));
    Ok(match record {
        Record::Rule { key, body } if often(key) => Some(Change::Rule(key.clone(), Some(body.clone()))),
        Record::RuleGone { key } if often(key) => Some(Change::Rule(key.clone(), None)),
        Record::Fact(fact) => Some(Change::Fact(ledger::json(&fact.report.key)?, Some(ledger::json(fact)?))),
        Record::FactGone(key) => Some(Change::Fact(ledger::json(key)?, None)),
        _ => None,
    })
}

/// Bytes of all rows.
pub fn bytes(conn: &Connection) -> Result<u64> {
    conn.query_row("SELECT coalesce(sum(length(body)), 0) FROM journal", [], |row| ledger::uint(row, 0))
}

fn unfit(e: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(e)
}

/// Hands every change to `take`, oldest first; every row read is checked.
pub fn each(conn: &Connection, mut take: impl FnMut(Change)) -> Result<()> {
    let mut all = conn.prepare_cached("SELECT n, body, checksum FROM journal ORDER BY n")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (n, body, sum): (i64, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        checksum::check(format_args!("row {n} of the journal"), &[&body], &sum)?;
        let changes =
            unpack(&body).ok_or_else(|| checksum::damaged(format!("row {n} of the journal cannot be read")))?;
        changes.into_iter().for_each(&mut take);
    }
    Ok(())
}

/// The changes of a row: the length of their bytes, then these, compressed.
fn unpack(body: &[u8]) -> Option<Vec<Change>> {
    let (length, packed) = body.split_first_chunk()?;
    let length = u32::from_le_bytes(*length).min(ROW_MAX);
    postcard::from_bytes(&zstd::bulk::decompress(packed, length as usize).ok()?).ok()
}

/// Writes what stands under each key of the journal into its table, and empties the journal.
pub fn fold(conn: &Connection) -> Result<()> {
    let (mut rules, mut held) = (BTreeMap::new(), BTreeMap::new());
    each(conn, |change| match change {
        Change::Rule(key, body) => drop(rules.insert(key, body)),
        Change::Fact(key, body) => drop(held.insert(key, body)),
    })?;
    // In the order of their keys: neighbours share a page.
    for (key, body) in &rules {
        match body {
            Some(body) => facts::put_rule(conn, key, body)?,
            None => facts::forget_rule(conn, key)?,
        }
    }
    for (key, body) in &held {
        match body {
            Some(body) => facts::put_fact(conn, key, body)?,
            None => facts::forget_fact(conn, key)?,
        }
    }
    conn.prepare_cached("DELETE FROM journal")?.execute([]).map(|_| ())
}
