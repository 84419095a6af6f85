//! Cases and dispatches: chunks as ground, documents and gates as derived from them.

use gatehouse_common::{
    case::CaseState,
    dispatch::DispatchState,
    document::{Chunk, gate::change_hash},
    gate::GateResult,
    id::{DocumentId, DocumentKind, Hash32},
    sync::repair::Heads,
};
use rusqlite::{Connection, OptionalExtension, Result, params, types::ValueRef};
use serde::Deserialize;

use super::{
    Store, StoreError, checksum, damage,
    ledger::{from_json, int, json, uint},
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
    write_chunk(conn, document, kind, chunk, own)?;
    write_folded(conn, document, kind, after)
}

/// Writes every change of a document that was not known, and the document.
pub fn write_whole(
    conn: &Connection,
    document: DocumentId,
    kind: DocumentKind,
    chunks: &[Chunk],
    after: &Folded,
) -> Result<()> {
    chunks.iter().try_for_each(|chunk| write_chunk(conn, document, kind, chunk, false))?;
    write_folded(conn, document, kind, after)
}

/// Marks changes that are no longer part of their document, and writes the document without them.
pub fn set_aside(
    conn: &Connection,
    document: DocumentId,
    kind: DocumentKind,
    chunks: &[Chunk],
    after: &Folded,
) -> Result<()> {
    for chunk in chunks {
        conn.prepare_cached("UPDATE chunks SET aside = 1 WHERE document = ?1 AND hash = ?2")?
            .execute(params![document.to_string(), chunk.hash.to_string()])?;
    }
    write_folded(conn, document, kind, after)
}

fn write_chunk(conn: &Connection, document: DocumentId, kind: DocumentKind, chunk: &Chunk, own: bool) -> Result<()> {
    let (id, hash) = (document.to_string(), chunk.hash.to_string());
    // Behind one that was put aside as well: a document that was written whole has everything up to its place.
    conn.prepare_cached(
        "INSERT INTO chunks (position, document, kind, hash, own, bytes, checksum)
         VALUES (1 + max((SELECT coalesce(max(position), 0) FROM chunks),
                         (SELECT coalesce(max(place), 0) FROM damaged WHERE of_table = 'chunks')),
                 ?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (document, hash) DO NOTHING",
    )?
    .execute(params![id, kind.as_str(), hash, own, chunk.bytes, sum_of(&id, &chunk.bytes)])?;
    damage::came(conn, &id, &hash)
}

/// The checksum of a change under the document that it is filed under.
pub fn sum_of(document: &str, bytes: &[u8]) -> Vec<u8> {
    checksum::of(&[document.as_bytes(), bytes])
}

/// Whether a change is filed under its own hash, and as a case or a dispatch.
pub fn is_filed(bytes: &[u8], hash: &[u8], kind: &[u8]) -> bool {
    let is_kind = std::str::from_utf8(kind).ok().and_then(kind_of).is_some();
    is_kind && change_hash(bytes).is_ok_and(|own| own.to_string().as_bytes() == hash)
}

/// Has a document made of its changes alone until it is written whole again.
pub fn make_of_changes(conn: &Connection, document: DocumentId) -> Result<()> {
    conn.prepare_cached("UPDATE documents SET snapshot = x'', through = 0 WHERE document = ?1")?
        .execute([document.to_string()])
        .map(|_| ())
}

/// Writes what is derived of a document.
pub fn write_folded(conn: &Connection, document: DocumentId, kind: DocumentKind, after: &Folded) -> Result<()> {
    let id = document.to_string();
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

/// Writes what is new of a document that is not folded: a change, if one came, and its heads.
pub fn write_unfolded(
    conn: &Connection,
    document: DocumentId,
    kind: DocumentKind,
    chunk: Option<&Chunk>,
    heads: &[Hash32],
) -> Result<()> {
    if let Some(chunk) = chunk {
        write_chunk(conn, document, kind, chunk, false)?;
    }
    conn.prepare_cached("UPDATE documents SET heads = ?2 WHERE document = ?1")?
        .execute(params![document.to_string(), json(&heads)?])
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
        .prepare_cached("SELECT DISTINCT document, kind FROM chunks WHERE aside = 0 ORDER BY document")?
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
        "SELECT position, hash, bytes, checksum FROM chunks WHERE document = ?1 AND aside = 0 AND position > ?2
         ORDER BY position",
    )?
    .query_map(params![id, int(through)], |row| {
        let (position, hash, bytes): (u64, String, Vec<u8>) = (uint(row, 0)?, row.get(1)?, row.get(2)?);
        checksum::check(format!("chunk {position}"), &[id.as_bytes(), &bytes], &row.get::<_, Vec<u8>>(3)?)?;
        let hash = hash.parse().map_err(|_| checksum::mismatch(format!("chunk {position}")))?;
        Ok((position, Chunk { hash, bytes }))
    })?
    .collect()
}

/// Documents behind `after` with their heads, by rising id, at most `limit`.
pub fn heads(conn: &Connection, after: Option<DocumentId>, limit: usize) -> Result<Vec<Heads>> {
    let after = after.map_or_else(String::new, |id| id.to_string());
    conn.prepare_cached("SELECT document, heads FROM documents WHERE document > ?1 ORDER BY document LIMIT ?2")?
        .query_map(params![after, int(limit as u64)], |row| {
            let (id, heads): (String, String) = (row.get(0)?, row.get(1)?);
            let id = id.parse().map_err(|_| checksum::mismatch(format!("document {id}")))?;
            Ok((id, from_json(&heads)?))
        })?
        .collect()
}

/// Documents that somebody still works on, with their heads, by rising id.
pub fn open_heads(conn: &Connection) -> Result<Vec<Heads>> {
    let mut query = conn.prepare_cached("SELECT document, kind, heads, view FROM documents ORDER BY document")?;
    let mut rows = query.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, kind, view): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let is_over = match kind_of(&kind) {
            Some(DocumentKind::Dispatch) => {
                from_json::<Option<State<DispatchState>>>(&view)?.is_some_and(|v| v.state.is_over_at_depot())
            }
            _ => from_json::<Option<State<CaseState>>>(&view)?.is_some_and(|v| v.state.is_over()),
        };
        if !is_over {
            let id = id.parse().map_err(|_| checksum::mismatch(format!("document {id}")))?;
            open.push((id, from_json(&row.get::<_, String>(2)?)?));
        }
    }
    Ok(open)
}

/// Of a view, where it stands.
#[derive(Deserialize)]
struct State<S> {
    state: S,
}

/// A document, if it is there.
pub fn one(conn: &Connection, document: DocumentId) -> Result<Option<StoredDocument>> {
    let row = conn
        .prepare_cached("SELECT document, kind, snapshot, through, heads FROM documents WHERE document = ?1")?
        .query_row([document.to_string()], row)
        .optional()?;
    row.map_or(Ok(None), |row| stored(conn, row))
}

/// Every document: as it was last written whole, and the chunks since.
pub fn all(store: &Store) -> Result<Vec<StoredDocument>, StoreError> {
    let conn = store.conn();
    let rows: Vec<Row> = conn
        .prepare_cached("SELECT document, kind, snapshot, through, heads FROM documents ORDER BY document")
        .and_then(|mut query| query.query_map([], row)?.collect())
        .map_err(|e| store.explain(&e))?;
    rows.into_iter()
        .map(|row| {
            let what = format!("document {} of kind {} has no such id or kind", row.0, row.1);
            stored(conn, row).map_err(|e| store.explain(&e))?.ok_or_else(|| store.damaged(what))
        })
        .collect()
}

/// Id, kind, the whole, the position of the last change in it, and its heads.
type Row = (String, String, Vec<u8>, u64, Vec<Hash32>);

fn row(row: &rusqlite::Row<'_>) -> Result<Row> {
    let heads = match row.get_ref(4)? {
        // They are derived. Where they cannot be read, the document is not what they say, and they are written anew.
        ValueRef::Text(text) | ValueRef::Blob(text) => serde_json::from_slice(text).unwrap_or_default(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
    };
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, uint(row, 3)?, heads))
}

/// With the changes since it was written whole; none where this is no id or kind.
fn stored(conn: &Connection, (id, kind, snapshot, through, heads): Row) -> Result<Option<StoredDocument>> {
    let (Ok(document), Some(kind)) = (id.parse(), kind_of(&kind)) else { return Ok(None) };
    let chunks = chunks_behind(conn, document, through)?.into_iter().map(|(_, chunk)| chunk.bytes).collect();
    Ok(Some(StoredDocument { document, kind, snapshot, chunks, heads: Some(heads) }))
}
