//! What the hub has to be told, in the order in which it happened.

use gatehouse_common::{
    document::gate::change_hash,
    id::DocumentId,
    sync::{Rejection, Upward},
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{
    checksum,
    ledger::{int, uint},
};
use crate::core::input::RefusedChange;

/// One record that waits to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub n: u64,
    /// What it says.
    pub says: Upward,
}

/// Puts a record at the end.
pub fn put(conn: &Connection, says: &Upward) -> Result<()> {
    let (kind, document): (&str, Option<DocumentId>) = match says {
        Upward::Chunk { document, .. } => ("chunk", Some(*document)),
        Upward::Decision(_) => ("decision", None),
        Upward::Fact(_) => ("fact", None),
        Upward::Status(_) => ("status", None),
    };
    put_as(conn, kind, document, says)
}

/// Puts tracks of a vehicle at the end: no newer status takes their place.
pub fn put_tracks(conn: &Connection, says: &Upward) -> Result<()> {
    put_as(conn, "tracks", None, says)
}

fn put_as(conn: &Connection, kind: &str, document: Option<DocumentId>, says: &Upward) -> Result<()> {
    let body = postcard::to_stdvec(says).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    let sum = checksum::of(&[kind.as_bytes(), &body]);
    conn.prepare_cached("INSERT INTO outbox (kind, document, body, checksum) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![kind, document.map(|d| d.to_string()), body, sum])
        .map(|_| ())
}

/// Forgets status messages that were not pushed: the newest replaces them.
pub fn drop_waiting_status(conn: &Connection) -> Result<()> {
    conn.prepare_cached("DELETE FROM outbox WHERE kind = 'status' AND taken = 0")?.execute([]).map(|_| ())
}

/// Marks everything through `through` as taken and forgets what the hub has backed up.
pub fn taken(conn: &Connection, through: u64, rejected: &[Rejection], kept_through: u64) -> Result<()> {
    conn.prepare_cached("UPDATE outbox SET taken = 1 WHERE taken = 0 AND n <= ?1")?.execute([int(through)])?;
    for rejection in rejected {
        conn.prepare_cached("UPDATE outbox SET rejected = ?2 WHERE n = ?1")?
            .execute(params![int(rejection.number), rejection.reason])?;
    }
    // A rejected record is kept for ever: a person must look at it.
    conn.prepare_cached("DELETE FROM outbox WHERE taken = 1 AND rejected IS NULL AND n <= ?1")?
        .execute([int(kept_through)])
        .map(|_| ())
}

/// A record is not told any more: what it says is said anew in another. It is kept with the reason.
pub fn set_aside(conn: &Connection, document: DocumentId, says: &Upward, reason: &str) -> Result<()> {
    let body = postcard::to_stdvec(says).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    conn.prepare_cached(
        "UPDATE outbox SET taken = 1, rejected = coalesce(rejected, ?3) WHERE document = ?1 AND body = ?2",
    )?
    .execute(params![document.to_string(), body, reason])
    .map(|_| ())
}

/// The changes of documents among rejected records, in the order of their numbers.
pub fn changes_among(conn: &Connection, rejected: &[Rejection]) -> Result<Vec<RefusedChange>> {
    let mut changes = Vec::new();
    for rejection in rejected {
        let body: Option<Vec<u8>> = conn
            .prepare_cached("SELECT body FROM outbox WHERE n = ?1 AND kind = 'chunk' AND rejected IS NULL")?
            .query_row([int(rejection.number)], |row| row.get(0))
            .optional()?;
        let says = body.and_then(|body| postcard::from_bytes::<Upward>(&body).ok());
        if let Some(Upward::Chunk { document, kind, bytes }) = says
            && let Ok(change) = change_hash(&bytes)
        {
            changes.push(RefusedChange { document, kind, change, reason: rejection.reason.clone() });
        }
    }
    Ok(changes)
}

/// Most records that may wait where [`is_told`] looks through them.
const LOOKED_THROUGH_MAX: u64 = 2_000;

/// Whether nothing of these documents waits or was rejected.
pub fn is_told(conn: &Connection, documents: &[DocumentId]) -> Result<bool> {
    let waits: u64 = conn
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM outbox WHERE taken = 0 LIMIT ?1)")?
        .query_row([int(LOOKED_THROUGH_MAX)], |row| uint(row, 0))?;
    if waits == LOOKED_THROUGH_MAX {
        return Ok(false);
    }
    let mut open = conn.prepare_cached(
        "SELECT document FROM outbox WHERE taken = 0 AND document IS NOT NULL
         UNION SELECT document FROM outbox WHERE rejected IS NOT NULL AND document IS NOT NULL",
    )?;
    let mut rows = open.query([])?;
    while let Some(row) = rows.next()? {
        let document: String = row.get(0)?;
        if documents.iter().any(|asked| asked.to_string() == document) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes everything that is kept wait again: the hub began another life.
pub fn again(conn: &Connection) -> Result<()> {
    conn.prepare_cached("UPDATE outbox SET taken = 0 WHERE taken = 1 AND rejected IS NULL")?.execute([]).map(|_| ())
}

/// The oldest that wait. In order: the hub applies one depot's changes as they happened.
pub fn waiting(conn: &Connection, limit: u32) -> Result<Vec<Waiting>> {
    conn.prepare_cached("SELECT n, body, kind, checksum FROM outbox WHERE taken = 0 ORDER BY n LIMIT ?1")?
        .query_map([limit], |row| {
            let (body, kind): (Vec<u8>, String) = (row.get(1)?, row.get(2)?);
            if let Some(sum) = row.get::<_, Option<Vec<u8>>>(3)? {
                let what = format!("record {} of the outbox", row.get::<_, i64>(0)?);
                checksum::check(what, &[kind.as_bytes(), &body], &sum)?;
            }
            let says = postcard::from_bytes(&body)
                .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, Box::new(e)))?;
            Ok(Waiting { n: uint(row, 0)?, says })
        })?
        .collect()
}

/// How many wait.
pub fn count(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM outbox WHERE taken = 0")?.query_row([], |row| uint(row, 0))
}

/// The last number that is kept and was taken; 0 if none was. What was rejected or set aside does not count.
pub fn taken_last(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(n), 0) FROM outbox WHERE taken = 1 AND rejected IS NULL")?
        .query_row([], |row| uint(row, 0))
}

/// The last number ever given; 0 before the first.
pub fn last(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'")?
        .query_row([], |row| uint(row, 0))
}
