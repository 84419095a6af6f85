//! Cases and dispatches: chunks as ground, documents and gates as derived from them.

use gatehouse_common::{
    document::Chunk,
    gate::GateResult,
    id::{DocumentId, DocumentKind},
};
use rusqlite::{Connection, Result, params};

use super::{
    Store, StoreError, checksum,
    ledger::{int, json, uint},
};
use crate::core::{decision::Folded, start::StoredDocument};

/// Writes a change and the document after it.
pub fn write(
    conn: &Connection,
    document: DocumentId,
    kind: DocumentKind,
    chunk: &Chunk,
    own: bool,
    after: &Folded,
) -> Result<()> {
    let (id, hash) = (document.to_string(), chunk.hash.to_string());
    conn.prepare_cached(
        "INSERT INTO chunks (document, kind, hash, own, bytes, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (document, hash) DO NOTHING",
    )?
    .execute(params![id, kind.as_str(), hash, own, chunk.bytes, checksum::of(&[id.as_bytes(), &chunk.bytes])])?;
    let heads = json(&after.heads)?;
    match &after.snapshot {
        Some(snapshot) => conn
            .prepare_cached(
                "INSERT INTO documents (document, kind, heads, view, snapshot, through)
                 VALUES (?1, ?2, ?3, ?4, ?5, (SELECT max(position) FROM chunks WHERE document = ?1))
                 ON CONFLICT (document) DO UPDATE
                 SET heads = excluded.heads, view = excluded.view, snapshot = excluded.snapshot, through = excluded.through",
            )?
            .execute(params![id, kind.as_str(), heads, after.view, snapshot]),
        None => conn
            .prepare_cached(
                "INSERT INTO documents (document, kind, heads, view, snapshot) VALUES (?1, ?2, ?3, ?4, x'')
                 ON CONFLICT (document) DO UPDATE SET heads = excluded.heads, view = excluded.view",
            )?
            .execute(params![id, kind.as_str(), heads, after.view]),
    }
    .map(|_| ())
}

/// Writes the gates of a dispatch as last weighed.
pub fn write_gates(conn: &Connection, dispatch: DocumentId, gates: &[GateResult]) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO gates (document, body) VALUES (?1, ?2) ON CONFLICT (document) DO UPDATE SET body = ?2",
    )?
    .execute(params![dispatch.to_string(), json(&gates)?])
    .map(|_| ())
}

/// The kind under its word.
pub fn kind_of(word: &str) -> Option<DocumentKind> {
    [DocumentKind::Case, DocumentKind::Dispatch].into_iter().find(|kind| kind.as_str() == word)
}

/// Every document that has a chunk, and its kind.
pub fn with_chunks(conn: &Connection) -> Result<Vec<(DocumentId, DocumentKind)>> {
    let rows: Vec<(String, String)> = conn
        .prepare_cached("SELECT DISTINCT document, kind FROM chunks ORDER BY document")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    Ok(rows.iter().filter_map(|(id, kind)| Some((id.parse().ok()?, kind_of(kind)?))).collect())
}

/// The chunks of a document in the order in which they were written, each with its position.
pub fn chunks_of(conn: &Connection, document: DocumentId) -> Result<Vec<(u64, Chunk)>> {
    chunks_behind(conn, document, 0)
}

/// Those chunks of a document that were written behind this position.
fn chunks_behind(conn: &Connection, document: DocumentId, through: u64) -> Result<Vec<(u64, Chunk)>> {
    let id = document.to_string();
    conn.prepare_cached(
        "SELECT position, hash, bytes, checksum FROM chunks WHERE document = ?1 AND position > ?2 ORDER BY position",
    )?
    .query_map(params![id, int(through)], |row| {
        let (position, hash, bytes): (u64, String, Vec<u8>) = (uint(row, 0)?, row.get(1)?, row.get(2)?);
        checksum::check(format!("chunk {position}"), &[id.as_bytes(), &bytes], &row.get::<_, Vec<u8>>(3)?)?;
        let hash = hash.parse().map_err(|_| checksum::mismatch(format!("chunk {position}")))?;
        Ok((position, Chunk { hash, bytes }))
    })?
    .collect()
}

/// Every document: as it was last written whole, and the chunks since.
pub fn all(store: &Store) -> Result<Vec<StoredDocument>, StoreError> {
    let rows: Vec<(String, String, Vec<u8>, u64)> = store
        .conn()
        .prepare_cached("SELECT document, kind, snapshot, through FROM documents ORDER BY document")
        .and_then(|mut query| {
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, uint(row, 3)?)))?.collect()
        })
        .map_err(|e| store.explain(&e))?;
    rows.into_iter()
        .map(|(id, kind, snapshot, through)| match (id.parse(), kind_of(&kind)) {
            (Ok(document), Some(kind)) => {
                let behind = chunks_behind(store.conn(), document, through).map_err(|e| store.explain(&e))?;
                let chunks = behind.into_iter().map(|(_, chunk)| chunk.bytes).collect();
                Ok(StoredDocument { document, kind, snapshot, chunks })
            }
            _ => Err(store.damaged(format!("document {id} of kind {kind} has no such id or kind"))),
        })
        .collect()
}
