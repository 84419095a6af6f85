//! What the hub has to be told, in the order in which it happened.

mod row;

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord},
    document::{Chunk, gate::change_hash},
    id::{DocumentId, DocumentKind, Hash32, LeaseId},
    sync::{Rejection, Upward},
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use self::row::{COLUMNS, Row, Says, sum_of};
use super::{
    cursors,
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

/// What waits to be pushed, as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbox {
    /// The oldest records, in order.
    pub waiting: Vec<Waiting>,
    /// Which of them are damaged in the outbox, and are told as they were: their checksum or the ground says how.
    pub mended: Vec<u64>,
    /// Numbers of damaged records among them that are held nowhere else: they are passed over.
    pub lost: Vec<u64>,
    /// The damaged decision behind which nothing is told, since it is held nowhere else.
    pub stopped_at: Option<u64>,
}

/// The word for tracks of a vehicle in the store; to the hub they are a status.
const TRACKS: &str = "tracks";

/// The word for any other record in the store.
fn word_of(says: &Upward) -> &'static str {
    match says {
        Upward::Chunk { .. } => "chunk",
        Upward::Decision(_) => "decision",
        Upward::Fact(_) => "fact",
        Upward::Status(_) => "status",
    }
}

/// Puts a record at the end.
pub fn put(conn: &Connection, says: &Upward) -> Result<()> {
    let document = match says {
        Upward::Chunk { document, .. } => Some(*document),
        _ => None,
    };
    put_as(conn, word_of(says), document, says)
}

/// Puts tracks of a vehicle at the end: no newer status takes their place.
pub fn put_tracks(conn: &Connection, says: &Upward) -> Result<()> {
    put_as(conn, TRACKS, None, says)
}

fn put_as(conn: &Connection, kind: &str, document: Option<DocumentId>, says: &Upward) -> Result<()> {
    let body = postcard::to_stdvec(says).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    let sum = sum_of(kind, &body);
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
    // A rejected record is kept for ever, and so is one that is lost: a person must look at it.
    conn.prepare_cached("DELETE FROM outbox WHERE taken = 1 AND rejected IS NULL AND n <= ?1")?
        .execute([int(kept_through)])
        .map(|_| ())
}

/// A record is not told any more: what it says is said anew in another. It is kept with the reason.
pub fn set_aside(conn: &Connection, document: DocumentId, says: &Upward, reason: &str) -> Result<()> {
    let mut query = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE document = ?1"))?;
    // Also a row that rotted, or ground would tell what it said.
    let rows: Vec<Row> = query.query_map([document.to_string()], Row::read)?.collect::<Result<_>>()?;
    for row in rows.iter().filter(|row| row.was_written_of(says)) {
        conn.prepare_cached("UPDATE outbox SET taken = 1, rejected = coalesce(rejected, ?2) WHERE n = ?1")?
            .execute(params![int(row.n), reason])?;
    }
    Ok(())
}

/// The changes of documents among rejected records, in the order of their numbers: as they were told, which for a damaged
/// row is not what stands in it.
pub fn changes_among(conn: &Connection, rejected: &[Rejection]) -> Result<Vec<RefusedChange>> {
    let mut changes = Vec::new();
    for rejection in rejected {
        let row = conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE n = ?1 AND rejected IS NULL"))?
            .query_row([int(rejection.number)], Row::read)
            .optional()?;
        let Some(row) = row else { continue };
        if let Some(Upward::Chunk { document, kind, bytes }) = row.says(conn)?.known()
            && let Ok(change) = change_hash(&bytes)
        {
            changes.push(RefusedChange { document, kind, change, reason: rejection.reason.clone() });
        }
    }
    Ok(changes)
}

/// A change of a document as it was told, where that is kept.
pub fn change_of(conn: &Connection, document: DocumentId, hash: &Hash32) -> Result<Option<(DocumentKind, Chunk)>> {
    let mut query = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE document = ?1"))?;
    let rows: Vec<Row> = query.query_map([document.to_string()], Row::read)?.collect::<Result<_>>()?;
    for row in rows {
        if let Some(Upward::Chunk { kind, bytes, .. }) = row.says(conn)?.known()
            && change_hash(&bytes).is_ok_and(|told| told == *hash)
        {
            return Ok(Some((kind, Chunk { hash: *hash, bytes })));
        }
    }
    Ok(None)
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

/// Makes wait again what a hub that goes on in the same life may be asking for, since it is damaged there and no comparison
/// of documents gives it: decisions, and changes of documents that are forgotten here. All else it has.
pub fn again_where_damaged(conn: &Connection) -> Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET taken = 0
         WHERE taken = 1 AND rejected IS NULL
           AND (kind = 'decision' OR (kind = 'chunk' AND document NOT IN (SELECT document FROM documents)))",
    )?
    .execute([])
    .map(|_| ())
}

/// The oldest that wait, `limit` of them beside those that are lost: a damaged row must not keep back the others.
/// In order: the hub applies one depot's changes as they happened.
pub fn waiting(conn: &Connection, limit: u32) -> Result<Outbox> {
    let mut query = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE taken = 0 ORDER BY n"))?;
    let mut rows = query.query([])?;
    let mut outbox = Outbox::default();
    while outbox.waiting.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        let row = Row::read(row)?;
        let says = match row.says(conn)? {
            Says::Whole(says) => says,
            Says::Mended(says) => {
                outbox.mended.push(row.n);
                says
            }
            // What follows on a decision that is not told would never be believed: its chain is broken.
            Says::Lost if row.is_decision() => {
                outbox.stopped_at = Some(row.n);
                break;
            }
            Says::Lost => {
                outbox.lost.push(row.n);
                continue;
            }
        };
        outbox.waiting.push(Waiting { n: row.n, says });
    }
    Ok(outbox)
}

/// The number of the oldest that waits, damaged or not.
pub fn oldest(conn: &Connection) -> Result<Option<u64>> {
    conn.prepare_cached("SELECT n FROM outbox WHERE taken = 0 ORDER BY n LIMIT 1")?
        .query_row([], |row| uint(row, 0))
        .optional()
}

/// Leases whose closing waits to be told, newest first.
pub fn closings(conn: &Connection) -> Result<Vec<LeaseId>> {
    let mut query = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE taken = 0 AND kind = 'decision' ORDER BY n DESC"
    ))?;
    let mut rows = query.query([])?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(Upward::Decision(sealed)) = Row::read(row)?.says(conn)?.known()
            && let Ok(DecisionRecord { kind: DecisionKind::LeaseClosed, lease, .. }) = sealed.peek()
        {
            leases.extend(lease.map(|charge| charge.lease));
        }
    }
    Ok(leases)
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

/// The name under which it is kept how far the outbox had got at the first start of which the hub has not been asked.
const UNASKED: &str = "outbox_unasked";

/// The program starts: until it has asked the hub how it stands, nothing is told of what it writes from here on.
pub fn starts(conn: &Connection) -> Result<()> {
    // A start before that never asked: what was told is older still.
    if cursors::get(conn, UNASKED)?.is_some() {
        return Ok(());
    }
    cursors::set(conn, UNASKED, &last(conn)?.to_string())
}

/// The hub was asked: what is written may be told.
pub fn stands(conn: &Connection) -> Result<()> {
    conn.prepare_cached("DELETE FROM identity WHERE name = ?1")?.execute([UNASKED]).map(|_| ())
}

/// Whether the program has started and the hub has not been asked yet.
pub fn waits_to_ask(conn: &Connection) -> Result<bool> {
    Ok(cursors::get(conn, UNASKED)?.is_some())
}

/// The last number that can have been told by this store or a copy that it goes on from. One that the hub has taken
/// beyond it was told by a newer state of this store.
pub fn told_at_most(conn: &Connection) -> Result<u64> {
    let unasked = cursors::get(conn, UNASKED)?.and_then(|text| text.parse().ok());
    unasked.map_or_else(|| last(conn), Ok)
}

/// The last number ever given; 0 before the first.
pub fn last(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'")?
        .query_row([], |row| uint(row, 0))
}
