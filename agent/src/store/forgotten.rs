//! What the core has forgotten goes: at once what is derived and what a start reads, its chunks in the background.
//!
//! In: documents that are over, of which the hub has everything. Out: a few rows gone at a time. A replay makes documents
//! of their chunks, so these stay until every replay begins behind the input that had them forgotten. What goes to the
//! hub again, if it loses its newest, stands in the outbox with bytes of its own. Decisions are never touched.

use gatehouse_common::{
    id::{DocumentId, OrderId},
    time::UtcMs,
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{damage, inputs, ledger::int, room::Gone};

/// Chunks that go in one step.
const CHUNKS_A_STEP: usize = 128;

/// Takes documents, and the order that they are about, out of what a start reads. The input that asks for it is written
/// before.
pub fn write(conn: &Connection, documents: &[DocumentId], order: Option<&OrderId>, at: UtcMs) -> Result<()> {
    let input = int(inputs::newest(conn)?);
    for document in documents {
        let id = document.to_string();
        conn.prepare_cached(
            "INSERT INTO forgotten (document, kind, at_ms, input)
             SELECT document, kind, ?2, ?3 FROM chunks WHERE document = ?1 LIMIT 1",
        )?
        .execute(params![id, at.0, input])?;
        conn.prepare_cached("DELETE FROM documents WHERE document = ?1")?.execute([&id])?;
        conn.prepare_cached("DELETE FROM gates WHERE document = ?1")?.execute([&id])?;
    }
    match order {
        Some(order) => {
            conn.prepare_cached("DELETE FROM orders WHERE order_id = ?1")?.execute([order.as_str()]).map(|_| ())
        }
        None => Ok(()),
    }
}

/// Deletes chunks of documents that no replay needs any more, a few rows; says whether there may be more, and which
/// documents went whole.
pub fn let_go(conn: &Connection) -> Result<(bool, Gone)> {
    let mut gone = Gone::default();
    let mut room = CHUNKS_A_STEP;
    while room > 0 {
        // The oldest that a replay can begin with is a checkpoint, or the store's own beginning while all inputs since
        // are there.
        let next: Option<(i64, String, String, i64)> = conn
            .prepare_cached(
                "SELECT n, document, kind, at_ms FROM forgotten
                 WHERE input <= (SELECT coalesce(min(input), 0) FROM checkpoints)
                   AND input < (SELECT coalesce(min(n), 9223372036854775807) FROM inputs) ORDER BY n LIMIT 1",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((n, document, kind, at_ms)) = next else { return Ok((false, gone)) };
        let deleted = conn
            .prepare_cached(
                "DELETE FROM chunks WHERE position IN (SELECT position FROM chunks WHERE document = ?1 LIMIT ?2)",
            )?
            .execute(params![document, int(room as u64)])?;
        if deleted < room {
            conn.prepare_cached("DELETE FROM forgotten WHERE n = ?1")?.execute([n])?;
            damage::forget(conn, &document)?;
            gone.add(&kind, UtcMs(at_ms));
        }
        room = room.saturating_sub(deleted.max(1));
    }
    Ok((true, gone))
}
