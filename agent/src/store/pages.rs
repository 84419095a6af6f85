//! What the hub signed of its pages, kept until its backups hold what was in them.

use gatehouse_common::{
    id::Hash32,
    seal::Sealed,
    sync::{Attested, Cursor, PageDigest},
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::ledger::int;

/// Keeps a page, and forgets those that the hub's backups hold. The newest is kept always: it tells in which run of
/// the hub it was sent.
pub fn write(conn: &Connection, digest: &PageDigest, sealed: &Sealed, marks: &[Hash32]) -> Result<()> {
    let bytes: Vec<u8> = marks.iter().flat_map(|mark| mark.0).collect();
    let ledger = digest.ledger.to_string();
    conn.prepare_cached("INSERT INTO pages (ledger, head, body, signature, marks) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![ledger, int(digest.head), sealed.body, sealed.signature, bytes])?;
    let page = conn.last_insert_rowid();
    for mark in marks {
        conn.prepare_cached("INSERT INTO page_marks (mark, page) VALUES (?1, ?2) ON CONFLICT (mark) DO NOTHING")?
            .execute(params![mark.0, page])?;
    }
    let gone = "n < ?1 AND (marks = x'' OR (ledger = ?2 AND head <= ?3))";
    conn.prepare_cached(&format!("DELETE FROM page_marks WHERE page IN (SELECT n FROM pages WHERE {gone})"))?
        .execute(params![page, ledger, int(digest.backed_up)])?;
    conn.prepare_cached(&format!("DELETE FROM pages WHERE {gone}"))?
        .execute(params![page, ledger, int(digest.backed_up)])
        .map(|_| ())
}

/// What is kept of earlier lives of the hub's ledger is in the present one up to `cursor`, and counts as that from now
/// on.
pub fn outlive(conn: &Connection, cursor: &Cursor) -> Result<()> {
    let head = cursor.positions.iter().copied().max().unwrap_or(0);
    conn.prepare_cached("UPDATE pages SET ledger = ?1, head = ?2 WHERE ledger <> ?1")?
        .execute(params![cursor.epoch.to_string(), int(head)])
        .map(|_| ())
}

/// The page in which a change with this mark came.
pub fn of_mark(conn: &Connection, mark: &Hash32) -> Result<Option<Attested>> {
    conn.prepare_cached(
        "SELECT p.body, p.signature, p.marks FROM page_marks m JOIN pages p ON p.n = m.page WHERE m.mark = ?1",
    )?
    .query_row(params![mark.0], |row| {
        let marks: Vec<u8> = row.get(2)?;
        let marks = marks.chunks_exact(32).filter_map(|mark| Some(Hash32(mark.try_into().ok()?))).collect();
        Ok(Attested { digest: Sealed { body: row.get(0)?, signature: row.get(1)? }, marks })
    })
    .optional()
}

/// What the hub signed of the newest page.
pub fn newest(conn: &Connection) -> Result<Option<Sealed>> {
    conn.prepare_cached("SELECT body, signature FROM pages ORDER BY n DESC LIMIT 1")?
        .query_row([], |row| Ok(Sealed { body: row.get(0)?, signature: row.get(1)? }))
        .optional()
}

/// How many pages are kept.
pub fn count(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM pages")?.query_row([], |row| super::ledger::uint(row, 0))
}
