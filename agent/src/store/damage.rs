//! Rows of ground that are not what was written: put aside as they were found, and made whole again.
//!
//! In: where such a row lies, and later what it said. Out: the row as it was found, in the table `damaged` and out of
//! the way of whoever reads; and what it said in its own table again. Where its other columns or the outbox say that,
//! it comes from there, else from the core, or as a change that the hub sends. The hash of a change says which bytes
//! are right, whoever gives them.

use gatehouse_common::{
    document::{Chunk, gate::change_hash},
    id::{DocumentId, DocumentKind, Hash32},
    time::UtcMs,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, Row, params, types::ValueRef};

use super::{Store, StoreError, documents, ledger, outbox, scrub};
use crate::core::{
    damage::{DamagedRow, Of},
    start::Snapshot,
};

/// Rows that are kept as they were found once what they said is in the store again.
const MENDED_MAX: i64 = 1_000;

impl Store {
    /// As [`Store::snapshot`], also where changes of documents are damaged: those are put aside first, and what is left
    /// of the documents comes without them.
    /// # Errors
    /// [`StoreError::Damaged`] names a row of which nobody else knows what it said.
    pub fn snapshot_over_damage(&mut self, at: UtcMs) -> Result<Snapshot, StoreError> {
        let read = self.snapshot();
        if matches!(read, Err(StoreError::Damaged { .. })) && self.put_changes_aside(at)? > 0 {
            return self.snapshot();
        }
        read
    }

    /// Has documents made of their changes from now on: as they were last written whole they cannot be read.
    /// # Errors
    /// [`StoreError`]; nothing was written.
    pub fn make_of_changes(&mut self, unread: &[(DocumentId, DocumentKind)]) -> Result<(), StoreError> {
        let path = &self.path;
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        let tx = self.reader.conn_mut().transaction().map_err(fail)?;
        for (document, _) in unread {
            documents::make_of_changes(&tx, *document).map_err(fail)?;
        }
        tx.commit().map_err(fail)
    }

    fn put_changes_aside(&mut self, at: UtcMs) -> Result<usize, StoreError> {
        let path = &self.path;
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        let tx = self.reader.conn_mut().transaction().map_err(fail)?;
        let damaged = scrub::damaged_changes(&tx).map_err(fail)?;
        for row in &damaged {
            put_aside(&tx, row, false, at).map_err(fail)?;
        }
        tx.commit().map_err(fail)?;
        for DamagedRow { place, .. } in &damaged {
            tracing::error!("the store is damaged: row {place} of chunks was put aside; look after the disk");
        }
        Ok(damaged.len())
    }
}

/// Puts a row aside. Where `is_held`, what it said is written behind this in the same commit.
pub fn put_aside(conn: &Connection, row: &DamagedRow, is_held: bool, at: UtcMs) -> Result<()> {
    // It may have been written anew since it was found, or be gone.
    if scrub::is_sound(conn, row)? != Some(false) {
        return Ok(());
    }
    let columns = "of_table, place, document, name, mended, found_ms, kind, own, aside, body, checksum";
    let (as_found, table) = match row.of {
        Of::Change { .. } => {
            ("'chunks', position, document, hash, ?2, ?3, kind, own, aside, bytes, checksum", "chunks")
        }
        Of::Order => ("'orders', rowid, '', order_id, ?2, ?3, '', 0, 0, body, checksum", "orders"),
        Of::Fact => ("'facts', rowid, '', key, ?2, ?3, '', 0, 0, body, checksum", "facts"),
    };
    // Within SQLite: a text of which a bit flipped may be none that can be read.
    conn.execute(
        &format!("INSERT INTO damaged ({columns}) SELECT {as_found} FROM {table} WHERE rowid = ?1"),
        params![row.place, is_held, at.0],
    )?;
    delete(conn, table, row.place)?;
    ledger::count(conn, "rows_put_aside", 1)?;
    if let (Of::Change { .. }, false) = (&row.of, is_held)
        && let Some((document, kind, chunk)) = what_it_said(conn, row.place)?
    {
        write_again(conn, row.place, document, kind, &chunk)?;
    }
    conn.execute("DELETE FROM damaged WHERE mended = 1 AND n <= (SELECT max(n) FROM damaged) - ?1", [MENDED_MAX])
        .map(|_| ())
}

fn delete(conn: &Connection, table: &str, place: i64) -> Result<()> {
    let sql = format!("DELETE FROM {table} WHERE rowid = ?1");
    match conn.execute(&sql, [place]) {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {}
        done => return done.map(|_| ()),
    }
    // Where the bit flipped in what is indexed, the index still says what the row said before. SQLite then takes its
    // file for damaged, which it is, unless it is told that somebody mends it.
    conn.pragma_update(None, "writable_schema", true)?;
    let deleted = conn.execute(&sql, [place]);
    conn.pragma_update(None, "writable_schema", false)?;
    deleted?;
    conn.execute_batch(&format!("REINDEX {table}"))
}

/// Writes a change that was put aside into its place again.
pub fn write_again(
    conn: &Connection,
    place: i64,
    document: DocumentId,
    kind: DocumentKind,
    chunk: &Chunk,
) -> Result<()> {
    let (id, hash) = (document.to_string(), chunk.hash.to_string());
    conn.prepare_cached(
        "INSERT INTO chunks (position, document, kind, hash, own, aside, bytes, checksum)
         SELECT place, ?2, ?3, ?4, own, aside, ?5, ?6 FROM damaged
          WHERE of_table = 'chunks' AND place = ?1 ORDER BY n DESC LIMIT 1
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![place, id, kind.as_str(), hash, chunk.bytes, documents::sum_of(&id, &chunk.bytes)])?;
    conn.prepare_cached("UPDATE damaged SET mended = 1 WHERE of_table = 'chunks' AND place = ?1")?
        .execute([place])
        .map(|_| ())
}

/// A change was written: if it had been put aside, it is whole again.
pub fn came(conn: &Connection, document: &str, hash: &str) -> Result<()> {
    let mended = conn
        .prepare_cached(
            "UPDATE damaged SET mended = 1 WHERE document = ?1 AND name = ?2 AND of_table = 'chunks' AND mended = 0",
        )?
        .execute(params![document, hash])?;
    if mended > 0 {
        // One of this device's own may be the hub's word of it, and is its own all the same.
        conn.execute(
            "UPDATE chunks SET own = 1 WHERE document = ?1 AND hash = ?2 AND EXISTS
             (SELECT 1 FROM damaged WHERE document = ?1 AND name = ?2 AND of_table = 'chunks' AND own = 1)",
            params![document, hash],
        )?;
    }
    Ok(())
}

/// Of a document that is gone nothing is asked for any more.
pub fn forget(conn: &Connection, document: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM damaged WHERE document = ?1")?.execute([document]).map(|_| ())
}

/// The rows that are put aside and not whole again, as people name them, oldest first.
pub fn names(conn: &Connection, limit: u32) -> Result<Vec<String>> {
    conn.prepare_cached("SELECT of_table, place FROM damaged WHERE mended = 0 ORDER BY n LIMIT ?1")?
        .query_map([limit], |row| Ok(scrub::name(&row.get::<_, String>(0)?, row.get(1)?)))?
        .collect()
}

/// The changes among them.
pub fn changes(conn: &Connection) -> Result<Vec<DamagedRow>> {
    conn.prepare_cached(
        "SELECT place, document, name FROM damaged WHERE of_table = 'chunks' AND mended = 0 ORDER BY n",
    )?
    .query_map([], |row| {
        let (document, hash) = (text(row, 1)?.parse().ok(), text(row, 2)?.parse().ok());
        Ok(DamagedRow { place: row.get(0)?, of: Of::Change { document, hash } })
    })?
    .collect()
}

/// A change as it was found.
struct Found {
    document: String,
    hash: String,
    kind: String,
    bytes: Vec<u8>,
    checksum: Vec<u8>,
}

/// What a change that was put aside said, by its own columns or by the outbox.
fn what_it_said(conn: &Connection, place: i64) -> Result<Option<(DocumentId, DocumentKind, Chunk)>> {
    let found = conn
        .prepare_cached(
            "SELECT document, name, kind, body, checksum FROM damaged
              WHERE of_table = 'chunks' AND place = ?1 ORDER BY n DESC LIMIT 1",
        )?
        .query_row([place], |row| {
            Ok(Found {
                document: text(row, 0)?,
                hash: text(row, 1)?,
                kind: text(row, 2)?,
                bytes: bytes(row, 3)?,
                checksum: bytes(row, 4)?,
            })
        })
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    if let Ok(hash) = change_hash(&found.bytes) {
        let whose = whose(conn, &found, &hash)?;
        return Ok(whose.map(|(document, kind)| (document, kind, Chunk { hash, bytes: found.bytes })));
    }
    let (Ok(document), Ok(hash)) = (found.document.parse(), found.hash.parse()) else { return Ok(None) };
    let told = outbox::change_of(conn, document, &hash)?;
    Ok(told.map(|(kind, chunk)| (document, kind, chunk)))
}

/// Of which document a change is whose bytes are sound. Its checksum or its hash is then damaged, or what it is filed
/// under.
fn whose(conn: &Connection, found: &Found, hash: &Hash32) -> Result<Option<(DocumentId, DocumentKind)>> {
    let is_of = |document: &str| documents::sum_of(document, &found.bytes) == found.checksum;
    let mut known = None;
    let mut query = conn.prepare_cached("SELECT document, kind FROM documents")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (document, kind) = (text(row, 0)?, text(row, 1)?);
        // Where only the checksum is damaged, the document is known by its name.
        if is_of(&document) || (found.hash == hash.to_string() && document == found.document) {
            known = Some((document, kind));
            break;
        }
    }
    let filed = is_of(&found.document).then(|| (found.document.clone(), found.kind.clone()));
    let of = known.or(filed);
    Ok(of.and_then(|(document, kind)| Some((document.parse().ok()?, documents::kind_of(&kind)?))))
}

/// A text, as far as it is one.
fn text(row: &Row<'_>, column: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(row, column)?).into_owned())
}

fn bytes(row: &Row<'_>, column: usize) -> Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
    })
}
