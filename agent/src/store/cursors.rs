//! Small named values: whose store it is, how far the hub's feed is taken.

use gatehouse_common::sync::Cursor;
use rusqlite::{Connection, OptionalExtension, Result, params};

/// Name under which the cursor is kept.
const CURSOR: &str = "cursor";

/// Writes a named value.
pub fn set(conn: &Connection, name: &str, value: &str) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO identity (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
    )?
    .execute(params![name, value])
    .map(|_| ())
}

/// Reads a named value.
pub fn get(conn: &Connection, name: &str) -> Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM identity WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Writes how far the hub's feed is taken.
pub fn set_cursor(conn: &Connection, cursor: &Cursor) -> Result<()> {
    set(conn, CURSOR, &super::ledger::json(cursor)?)
}

/// How far the hub's feed is taken; the start if nothing was.
pub fn cursor(conn: &Connection) -> Result<Cursor> {
    let text = get(conn, CURSOR)?;
    // A cursor that cannot be read begins again: the feed's items are idempotent.
    Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default())
}
