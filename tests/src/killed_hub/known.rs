//! Which changes of documents and which decisions a store holds, and what of it two stores do not share.
//!
//! In: files of SQLite, which may be in use. Out: sets of names. Reads tables as they are and shares no code with the
//! programs whose work it judges. It opens them for reading alone: whoever opens a log for more may bring it in.

use std::{collections::BTreeSet, path::Path, time::Duration};

use gatehouse_common::{document::gate::change_hash, sync::Upward};
use rusqlite::{Connection, OpenFlags, Result};

/// `DOCUMENT HASH` of each change, and `decision HASH` of each decision.
pub type Known = BTreeSet<String>;

/// Looks into a store.
/// # Errors
/// What SQLite says.
pub fn look<T>(file: &Path, look: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let store = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    store.busy_timeout(Duration::from_secs(5))?;
    look(&store)
}

/// The first column of what a store answers to `sql`.
/// # Errors
/// What SQLite says.
pub fn texts<T: FromIterator<String>>(file: &Path, sql: &str) -> Result<T> {
    look(file, |store| store.prepare(sql)?.query_map([], |row| row.get::<_, String>(0))?.collect())
}

/// One number that a store answers to `sql`.
/// # Errors
/// What SQLite says.
pub fn number(file: &Path, sql: &str) -> Result<u64> {
    look(file, |store| store.query_row(sql, [], |row| row.get::<_, i64>(0))).map(i64::unsigned_abs)
}

/// What a hub's store holds.
/// # Errors
/// What SQLite says.
pub fn by_hub(file: &Path) -> Result<Known> {
    texts(
        file,
        "SELECT document || ' ' || hash FROM ledger WHERE kind = 'chunk'
         UNION ALL SELECT 'decision ' || hash FROM decisions",
    )
}

/// What a depot's store holds, but for what is no part of its document any more.
/// # Errors
/// What SQLite says.
pub fn by_depot(file: &Path) -> Result<Known> {
    texts(
        file,
        "SELECT document || ' ' || hash FROM chunks WHERE aside = 0
         UNION ALL SELECT 'decision ' || hash FROM decisions",
    )
}

/// What of a depot's outbox the hub has acknowledged.
/// # Errors
/// If it cannot be read.
pub fn acknowledged(file: &Path) -> anyhow::Result<Known> {
    let sql = "SELECT body FROM outbox WHERE taken = 1 AND rejected IS NULL AND kind IN ('chunk', 'decision')";
    let bodies: Vec<Vec<u8>> =
        look(file, |store| store.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>())?;
    let name = |body: Vec<u8>| {
        Ok(match postcard::from_bytes::<Upward>(&body)? {
            Upward::Chunk { document, bytes, .. } => format!("{document} {}", change_hash(&bytes)?),
            Upward::Decision(sealed) => format!("decision {}", sealed.hash()),
            Upward::Fact(_) | Upward::Status(_) => anyhow::bail!("a record of the outbox is not of its kind"),
        })
    };
    bodies.into_iter().map(name).collect()
}

/// How many changes and decisions of a depot's outbox are still to be told.
/// # Errors
/// What SQLite says.
pub fn waiting(file: &Path) -> Result<u64> {
    number(file, "SELECT count(*) FROM outbox WHERE taken = 0 AND kind IN ('chunk', 'decision')")
}

/// Why the hub did not let in what a depot told.
/// # Errors
/// What SQLite says.
pub fn refused(file: &Path) -> Result<Vec<String>> {
    texts(file, "SELECT kind || ': ' || rejected FROM outbox WHERE rejected IS NOT NULL")
}

/// What of `these` is not among `those`.
#[must_use]
pub fn lacking(these: &Known, those: &Known) -> Vec<String> {
    these.difference(those).cloned().collect()
}
