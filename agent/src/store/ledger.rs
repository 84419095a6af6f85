//! Ground rows: leases; and the way from a [`Record`] to its table.

use std::path::Path;

use gatehouse_common::{
    document::Chunk,
    geo::Point,
    id::LeaseId,
    lease::LeaseUse,
    reading::ReadingValue,
    seal::Sealed,
    sync::{Upward, message::DeviceStatus, repair::LEASES_MAX, version::FRAME_MAX_BYTES},
    time::{Moment, UtcMs},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Result, Row, params};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Store, StoreError, chain, checksum, cursors, damage, documents, drills, facts, forgotten, outbox, pages,
    quarantine, readings, rules,
};
use crate::core::{
    decision::Record,
    drills::{KEPT_LEASES, sealed_in},
    start::StoredLease,
};

/// Most bytes of closed leases that are told: all leases travel in one frame.
const TOLD_CLOSED_BYTES: usize = FRAME_MAX_BYTES / 2;

/// Says what the caller can do about what SQLite said.
pub fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => {
            StoreError::Damaged { path, what: error.to_string() }
        }
        Some(_) => StoreError::Unusable { path, what: error.to_string() },
    }
}

/// A count as SQLite keeps it.
pub fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count as SQLite kept it.
pub fn uint(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A value as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// A value from JSON of our own.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e)))
}

/// Raises a counter.
pub fn count(conn: &Connection, name: &str, by: i64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
    )?
    .execute(params![name, by])
    .map(|_| ())
}

/// Writes one record.
pub fn write(conn: &Connection, record: &Record) -> Result<()> {
    match record {
        // Written by the store itself: readings before everything else of the transaction, other inputs with how many
        // readings came before them, and what changes often in one row after all.
        Record::Reading { .. } | Record::Input { .. } | Record::Fact(_) | Record::FactGone(_) => Ok(()),
        Record::Duplicate => count(conn, "duplicates_dropped", 1),
        Record::Counted { name, by } => count(conn, name, int(*by)),
        Record::Quarantine { topic, reason, payload_hash, size, head, at, conflict } => {
            if *conflict {
                count(conn, "conflicts", 1)?;
            }
            quarantine::write(conn, topic, reason, payload_hash, *size, head, *at)
        }
        Record::Order(order) => facts::put_order(conn, order),
        Record::Chunk { document, kind, chunk, own, after } => {
            documents::write(conn, *document, *kind, chunk, *own, after)?;
            if *own {
                outbox::put(conn, &Upward::Chunk { document: *document, kind: *kind, bytes: chunk.bytes.clone() })?;
            }
            Ok(())
        }
        Record::Forgotten { documents, order, at } => forgotten::write(conn, documents, order.as_ref(), *at),
        Record::Decision { position, epoch, id, sealed } => chain::write_decision(conn, *position, *epoch, id, sealed),
        Record::LeaseReceived { id, sealed, received } => write_lease(conn, id, sealed, received),
        Record::LeaseUsed { id, used, closed } => use_lease(conn, id, used, *closed),
        Record::Rule { key, body } => facts::put_rule(conn, key, body),
        Record::RuleGone { key } => facts::forget_rule(conn, key),
        Record::Gates { dispatch, gates } => documents::write_gates(conn, *dispatch, gates),
        Record::Bundle { text, version, at, by, how } => rules::put(conn, text, *version, *at, by, how),
        Record::Drill { source, turn, at, by, reason } => drills::write(conn, source, *turn, *at, by, reason),
        Record::Cursor(cursor) => cursors::set_cursor(conn, cursor),
        Record::Anchor { head, sealed, received } => chain::write_anchor(conn, head, sealed, received),
        Record::Epoch { epoch } => chain::begin_epoch(conn, *epoch),
        Record::OutboxTaken { through, rejected, kept_through } => {
            outbox::taken(conn, *through, rejected, *kept_through)
        }
        Record::Stands => outbox::stands(conn),
        Record::OutboxAgain { whole: true } => outbox::again(conn),
        Record::OutboxAgain { whole: false } => outbox::again_where_damaged(conn),
        Record::Page { digest, sealed, marks } => pages::write(conn, digest, sealed, marks),
        Record::PagesOutlive { cursor } => pages::outlive(conn, cursor),
        Record::Whole { document, kind, chunks, after } => {
            documents::write_whole(conn, *document, *kind, chunks, after)
        }
        Record::SetAside { document, kind, chunks, reason, after } => {
            documents::set_aside(conn, *document, *kind, chunks, after)?;
            let as_told =
                |chunk: &Chunk| Upward::Chunk { document: *document, kind: *kind, bytes: chunk.bytes.clone() };
            chunks.iter().try_for_each(|chunk| outbox::set_aside(conn, *document, &as_told(chunk), reason))
        }
        Record::PutAside { row, is_held, at } => damage::put_aside(conn, row, *is_held, *at),
        Record::ChangeAgain { place, document, kind, chunk } => {
            damage::write_again(conn, *place, *document, *kind, chunk)
        }
        Record::Refolded { document, kind, after } => documents::write_folded(conn, *document, *kind, after),
        Record::Unfolded { document, kind, chunk, heads } => {
            documents::write_unfolded(conn, *document, *kind, chunk.as_ref(), heads)
        }
        Record::Actor { epoch } => cursors::set(conn, "actor_epoch", &epoch.to_string()),
        Record::Status { at, position } => {
            outbox::drop_waiting_status(conn)?;
            outbox::put(conn, &Upward::Status(json(&status(conn, *at, *position)?)?))
        }
        Record::Tracks { at, position, tracks } => {
            let mut status = status(conn, *at, *position)?;
            status.tracks.clone_from(tracks);
            let dropped = tracks.iter().map(|track| i64::from(track.dropped())).sum();
            count(conn, "fixes_thinned", dropped)?;
            outbox::put_tracks(conn, &Upward::Status(json(&status)?))
        }
    }
}

/// How this device is, by its counters.
fn status(conn: &Connection, at: UtcMs, position: Option<Point>) -> Result<DeviceStatus> {
    Ok(DeviceStatus {
        at,
        readings: readings::newest_position(conn)?,
        duplicates: counter(conn, "duplicates_dropped")?,
        quarantined: counter(conn, "quarantined")?,
        outbox: outbox::count(conn)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position,
        tracks: Vec::new(),
    })
}

/// The value of a counter; 0 if it never moved.
pub fn counter(conn: &Connection, name: &str) -> Result<u64> {
    let value: Option<i64> = conn
        .prepare_cached("SELECT value FROM counters WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0))
}

/// The word for a kind of reading in the store and in metrics.
#[must_use]
pub fn kind_of(value: &ReadingValue) -> &'static str {
    match value {
        ReadingValue::Door { .. } => "door",
        ReadingValue::Occupancy { .. } => "occupancy",
        ReadingValue::Scan { .. } => "scan",
        ReadingValue::Seal { .. } => "seal",
        ReadingValue::Temperature { .. } => "temperature",
        ReadingValue::Documents { .. } => "documents",
        ReadingValue::Position { .. } => "position",
        ReadingValue::Weight { .. } => "weight",
        ReadingValue::DoorFault { .. } => "door_fault",
        ReadingValue::CargoDoor { .. } => "cargo_door",
        ReadingValue::Alarm { .. } => "alarm",
        ReadingValue::Ignition { .. } => "ignition",
        ReadingValue::Presence { .. } => "presence",
        ReadingValue::Crossing { .. } => "crossing",
        ReadingValue::Proof { .. } => "proof",
    }
}

fn write_lease(conn: &Connection, id: &LeaseId, sealed: &Sealed, received: &Moment) -> Result<()> {
    let received = json(received)?;
    let sum = checksum::of(&[sealed.body.as_bytes(), sealed.signature.as_bytes(), received.as_bytes()]);
    conn.prepare_cached(
        "INSERT INTO leases (id, body, signature, received, used, state, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6)
         ON CONFLICT (id) DO UPDATE SET body = ?2, signature = ?3, received = ?4, checksum = ?6",
    )?
    .execute(params![id.as_str(), sealed.body, sealed.signature, received, json(&LeaseUse::default())?, sum])
    .map(|_| ())
}

fn use_lease(conn: &Connection, id: &LeaseId, used: &LeaseUse, closed: bool) -> Result<()> {
    let state = if closed { "closed" } else { "open" };
    let used = json(used)?;
    let sum = checksum::of(&[id.as_str().as_bytes(), used.as_bytes(), state.as_bytes()]);
    conn.prepare_cached("UPDATE leases SET used = ?2, state = ?3, used_checksum = ?4 WHERE id = ?1")?
        .execute(params![id.as_str(), used, state, sum])
        .map(|_| ())
}

/// The leases that must weigh at the hub should it have forgotten them, as it signed them: those that are not closed,
/// oldest first, those that wait for the end of a drill, and of those whose closing waits to be told the newest, as
/// many as the hub takes at once.
pub fn sealed_leases(conn: &Connection) -> Result<Vec<Sealed>> {
    let mut leases: Vec<Sealed> = conn
        .prepare_cached("SELECT body, signature FROM leases WHERE state = 'open' ORDER BY rowid")?
        .query_map([], sealed_of)?
        .collect::<Result<_>>()?;
    leases.extend(waiting_leases(conn)?);
    let mut closed = conn.prepare_cached("SELECT body, signature FROM leases WHERE id = ?1 AND state = 'closed'")?;
    let mut bytes = 0;
    for id in outbox::closings(conn)? {
        let Some(lease) = closed.query_row([id.as_str()], sealed_of).optional()? else { continue };
        bytes += lease.body.len() + lease.signature.len();
        if leases.len() >= LEASES_MAX || bytes > TOLD_CLOSED_BYTES {
            break;
        }
        leases.push(lease);
    }
    Ok(leases)
}

fn sealed_of(row: &Row<'_>) -> Result<Sealed> {
    Ok(Sealed { body: row.get(0)?, signature: row.get(1)? })
}

/// The leases that wait for the end of a drill, in the order in which they came.
fn waiting_leases(conn: &Connection) -> Result<Vec<Sealed>> {
    let kept: Option<String> = conn
        .prepare_cached("SELECT body FROM rules WHERE key = ?1")?
        .query_row([KEPT_LEASES], |row| row.get(0))
        .optional()?;
    Ok(kept.map_or_else(Vec::new, |body| sealed_in(&body)))
}

/// The leases that are not closed, oldest first.
pub fn open_leases(store: &Store) -> Result<Vec<StoredLease>, StoreError> {
    let rows: Vec<(String, Sealed, String, String, Vec<u8>)> = store
        .conn()
        .prepare_cached(
            "SELECT id, body, signature, received, used, checksum FROM leases WHERE state = 'open' ORDER BY rowid",
        )
        .and_then(|mut query| {
            query
                .query_map([], |row| {
                    let sealed = Sealed { body: row.get(1)?, signature: row.get(2)? };
                    Ok((row.get(0)?, sealed, row.get(3)?, row.get(4)?, row.get(5)?))
                })?
                .collect()
        })
        .map_err(|e| store.explain(&e))?;
    rows.into_iter()
        .map(|(id, sealed, received, used, sum)| {
            let expected = checksum::of(&[sealed.body.as_bytes(), sealed.signature.as_bytes(), received.as_bytes()]);
            if sum != expected {
                return Err(store.damaged(format!("lease {id} does not match its checksum")));
            }
            let read = || -> Result<StoredLease> {
                Ok(StoredLease {
                    id: LeaseId::new(id.as_str()).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?,
                    received: from_json(&received)?,
                    used: from_json(&used)?,
                    sealed: sealed.clone(),
                })
            };
            read().map_err(|e| store.damaged(format!("lease {id}: {e}")))
        })
        .collect()
}
