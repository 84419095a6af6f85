//! Sums over the store for the metrics. Reads only; each sum costs little however much is stored.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, Result};

use super::{Reader, StoreError, facts, journal, ledger::uint, outbox};
use crate::core::bounds::BOUNDS;

/// How many decisions there were by mode, counted up to a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Releases {
    /// The last row that was counted.
    through: i64,
    /// Releases and overrides by the word for their mode.
    pub by_mode: BTreeMap<String, u64>,
}

/// Sums over the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Open cases by severity, `S1` to `S4`.
    pub open_cases: BTreeMap<String, u64>,
    /// Releases by mode.
    pub releases: Releases,
    /// Records that wait to be told to the hub.
    pub outbox: u64,
    /// The number of the oldest of them.
    pub outbox_oldest: Option<u64>,
    /// How many rows there are of each thing that devices name and that is bounded, by the word for it.
    pub remembered: Vec<(&'static str, u64)>,
    /// Bytes of the store's file.
    pub store_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
}

impl Reader {
    /// Sums over the store. `counted` is what an earlier call gave: decisions up to there are not read again.
    /// # Errors
    /// [`StoreError`].
    pub fn totals(&self, counted: Releases) -> std::result::Result<Totals, StoreError> {
        let read = || -> Result<Totals> {
            let conn = self.conn();
            Ok(Totals {
                open_cases: open_cases(conn)?,
                releases: releases(conn, counted)?,
                outbox: outbox::count(conn)?,
                outbox_oldest: outbox::oldest(conn)?,
                remembered: remembered(conn)?,
                store_bytes: bytes_of(self.path(), ""),
                wal_bytes: bytes_of(self.path(), "-wal"),
            })
        };
        read().map_err(|error| super::ledger::explain(self.path(), &error))
    }
}

fn remembered(conn: &Connection) -> Result<Vec<(&'static str, u64)>> {
    let held = facts::rules_of(conn, &BOUNDS.map(|(_, kind, _)| kind))?;
    let count = |kind: &str| held.keys().filter(|key| journal::kind_of(key) == kind).count() as u64;
    Ok(BOUNDS.iter().map(|(word, kind, _)| (*word, count(kind))).collect())
}

fn open_cases(conn: &Connection) -> Result<BTreeMap<String, u64>> {
    conn.prepare_cached(
        "SELECT json_extract(view, '$.severity'), count(*) FROM documents
         WHERE kind = 'case' AND view <> 'null' AND json_extract(view, '$.state') NOT IN ('resolved', 'closed', 'cancelled')
         GROUP BY 1",
    )?
    .query_map([], |row| Ok((row.get(0)?, uint(row, 1)?)))?
    .collect()
}

/// In the order of their rows: a decision is never changed, so each is counted once.
fn releases(conn: &Connection, mut counted: Releases) -> Result<Releases> {
    let mut query = conn
        .prepare_cached("SELECT rowid, json_extract(body, '$.mode') FROM decisions WHERE rowid > ?1 ORDER BY rowid")?;
    let mut rows = query.query([counted.through])?;
    while let Some(row) = rows.next()? {
        counted.through = row.get(0)?;
        if let Some(mode) = row.get::<_, Option<String>>(1)? {
            *counted.by_mode.entry(mode).or_default() += 1;
        }
    }
    Ok(counted)
}

fn bytes_of(path: &Path, ending: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    std::fs::metadata(name).map_or(0, |file| file.len())
}
