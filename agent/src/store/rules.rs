//! Which rules are and were in force: one row for each time they changed, the newest is in force.

use gatehouse_common::{id::Hash32, time::UtcMs};
use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::Serialize;

use super::{Store, StoreError, checksum, cursors, ledger::uint};
use crate::core::rules::Texts;

/// Most rows that are kept, the newest first; each may hold a whole bundle.
const KEPT_MAX: i64 = 20;
/// Name under which the hash of the configured bundle file is kept.
const FILE: &str = "bundle_file";

/// One time that rules were put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleRow {
    /// Counts the changes.
    pub n: u64,
    /// SHA-256 of the text, in hexadecimal.
    pub hash: String,
    /// The number that its writer gave it.
    pub version: u64,
    /// From when.
    pub at: UtcMs,
    /// Who put it in force.
    pub by: String,
    /// How: start, activate or rollback.
    pub how: String,
    /// The bundle.
    #[serde(skip)]
    pub text: String,
}

/// Writes that other rules are in force.
pub fn put(conn: &Connection, text: &str, version: u64, at: UtcMs, by: &str, how: &str) -> Result<()> {
    let hash = Hash32::of(text.as_bytes()).to_string();
    conn.prepare_cached(
        "INSERT INTO bundles (hash, version, text, at_ms, by, how, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![hash, super::ledger::int(version), text, at.0, by, how, sum(&hash, text, by, how)])?;
    conn.prepare_cached("DELETE FROM bundles WHERE n <= (SELECT max(n) FROM bundles) - ?1")?
        .execute([KEPT_MAX])
        .map(|_| ())
}

fn sum(hash: &str, text: &str, by: &str, how: &str) -> Vec<u8> {
    checksum::of(&[hash.as_bytes(), text.as_bytes(), by.as_bytes(), how.as_bytes()])
}

/// Every row that is kept, the newest first, with its checksum.
pub fn rows(conn: &Connection) -> Result<Vec<(BundleRow, Vec<u8>)>> {
    conn.prepare_cached("SELECT n, hash, version, text, at_ms, by, how, checksum FROM bundles ORDER BY n DESC")?
        .query_map([], |row| {
            let bundle = BundleRow {
                n: uint(row, 0)?,
                hash: row.get(1)?,
                version: uint(row, 2)?,
                text: row.get(3)?,
                at: UtcMs(row.get(4)?),
                by: row.get(5)?,
                how: row.get(6)?,
            };
            Ok((bundle, row.get(7)?))
        })?
        .collect()
}

/// The rules in force and those before, after checking their checksums.
pub fn texts(store: &Store) -> Result<Texts, StoreError> {
    let mut found = Vec::new();
    for (row, stored) in rows(store.conn()).map_err(|e| store.explain(&e))?.into_iter().take(2) {
        if stored != sum(&row.hash, &row.text, &row.by, &row.how) {
            return Err(store.damaged(format!("bundle {} does not match its checksum", row.n)));
        }
        found.push(row.text);
    }
    let mut found = found.into_iter();
    Ok(Texts { active: found.next().unwrap_or_default(), previous: found.next() })
}

/// The hash of the bundle file as it was when it was last looked at.
pub fn file_seen(conn: &Connection) -> Result<Option<String>> {
    cursors::get(conn, FILE)
}

/// Remembers the bundle file.
pub fn see_file(conn: &Connection, hash: &Hash32) -> Result<()> {
    cursors::set(conn, FILE, &hash.to_string())
}

/// Whether any rules were ever put in force.
pub fn any(conn: &Connection) -> Result<bool> {
    let found: Option<i64> =
        conn.prepare_cached("SELECT 1 FROM bundles LIMIT 1")?.query_row([], |row| row.get(0)).optional()?;
    Ok(found.is_some())
}
