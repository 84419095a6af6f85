//! The chain of decisions and the hub's receipts for it: ground, append-only.

use gatehouse_common::{
    decision::ChainHead,
    id::{DecisionId, DeviceId, Hash32},
    seal::Sealed,
    sync::Upward,
    time::Moment,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::Serialize;

use super::{
    Store, StoreError, checksum, cursors,
    ledger::{int, json, uint},
    outbox,
};
use crate::core::start::ChainTail;

/// One decision as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionRow {
    /// Its place in the chain.
    pub position: u64,
    /// Epoch of the chain.
    pub epoch: u32,
    /// Its name.
    pub id: String,
    /// SHA-256 of its text, in hexadecimal.
    pub hash: String,
    /// Its text and signature.
    pub sealed: Sealed,
}

/// One receipt of the hub as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnchorRow {
    /// Epoch of the chain.
    pub epoch: u32,
    /// Place of the record that it receipts.
    pub position: u64,
    /// That record's hash, in hexadecimal.
    pub hash: String,
    /// Its text and the hub's signature.
    pub sealed: Sealed,
    /// Whether the row matches its own checksum.
    #[serde(skip)]
    pub checksum_holds: bool,
}

/// The checksum of a decision or a receipt.
fn sum_of(hash: &str, sealed: &Sealed) -> Vec<u8> {
    checksum::of(&[hash.as_bytes(), sealed.body.as_bytes(), sealed.signature.as_bytes()])
}

/// Appends a decision, and tells the hub.
pub fn write_decision(conn: &Connection, position: u64, epoch: u32, id: &DecisionId, sealed: &Sealed) -> Result<()> {
    let (id, hash) = (id.to_string(), sealed.hash().to_string());
    let row = DecisionRow { position, epoch, id, hash, sealed: sealed.clone() };
    conn.prepare_cached(
        "INSERT INTO decisions (epoch, position, id, hash, body, signature, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        epoch,
        int(position),
        row.id,
        row.hash,
        sealed.body,
        sealed.signature,
        sum_of(&row.hash, sealed)
    ])?;
    outbox::put(conn, &Upward::Decision(sealed.clone()))
}

/// Appends a receipt; the same again changes nothing.
pub fn write_anchor(conn: &Connection, head: &ChainHead, sealed: &Sealed, received: &Moment) -> Result<()> {
    let (hash, received) = (head.hash.to_string(), json(received)?);
    let sum = sum_of(&hash, sealed);
    conn.prepare_cached(
        "INSERT INTO anchors (epoch, position, hash, body, signature, received, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (epoch, position, hash) DO NOTHING",
    )?
    .execute(params![head.epoch, int(head.position), hash, sealed.body, sealed.signature, received, sum])
    .map(|_| ())
}

/// Begins a new life of chain, changes and outbox.
pub fn begin_epoch(conn: &Connection, epoch: u32) -> Result<()> {
    let epoch = epoch.to_string();
    cursors::set(conn, "actor_epoch", &epoch)?;
    cursors::set(conn, "outbox_epoch", &epoch)
}

/// The running epoch of the chain: it begins with a life of the device, and not with each actor that begins within one.
fn running(conn: &Connection) -> Result<u32> {
    let number =
        |name: &str| -> Result<u32> { Ok(cursors::get(conn, name)?.and_then(|epoch| epoch.parse().ok()).unwrap_or(1)) };
    let (life, actor) = (number("outbox_epoch")?, number("actor_epoch")?);
    // Older programs began one with each actor that they were started under: where they did, it goes on.
    let newest: Option<u32> = conn
        .prepare_cached("SELECT max(epoch) FROM decisions WHERE epoch BETWEEN ?1 AND ?2 AND (epoch - ?1) % 65536 = 0")?
        .query_row([life, actor], |row| row.get(0))?;
    Ok(newest.unwrap_or(life))
}

/// The newest `limit` decisions of the running epoch, newest first.
pub fn newest(conn: &Connection, limit: u32) -> Result<Vec<DecisionRow>> {
    let epoch = running(conn)?;
    conn.prepare_cached(
        "SELECT position, epoch, id, hash, body, signature, checksum FROM decisions
         WHERE epoch = ?1 ORDER BY position DESC LIMIT ?2",
    )?
    .query_map(params![epoch, limit], |row| {
        let (row, holds) = read(row)?;
        if holds { Ok(row) } else { Err(checksum::mismatch(format!("decision {}", row.id))) }
    })?
    .collect()
}

/// A row, and whether it matches its checksum. Text that is none any more is read as far as it goes.
fn read(row: &Row<'_>) -> Result<(DecisionRow, bool)> {
    let sealed = Sealed { body: text(row, 4)?, signature: text(row, 5)? };
    let decision =
        DecisionRow { position: uint(row, 0)?, epoch: row.get(1)?, id: text(row, 2)?, hash: text(row, 3)?, sealed };
    let holds = row.get::<_, Vec<u8>>(6)? == sum_of(&decision.hash, &decision.sealed);
    Ok((decision, holds))
}

fn text(row: &Row<'_>, column: usize) -> Result<String> {
    let value = row.get_ref(column)?;
    Ok(match value {
        rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::new(),
    })
}

/// Hands every decision to `each`, in order of epoch and place, with whether it matches its checksum.
pub fn each(conn: &Connection, mut each: impl FnMut(DecisionRow, bool)) -> Result<()> {
    let mut query = conn.prepare(
        "SELECT position, epoch, id, hash, body, signature, checksum FROM decisions ORDER BY epoch, position",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (row, holds) = read(row)?;
        each(row, holds);
    }
    Ok(())
}

/// Every receipt, in the order in which they came.
pub fn anchors(conn: &Connection) -> Result<Vec<AnchorRow>> {
    conn.prepare("SELECT epoch, position, hash, body, signature, checksum FROM anchors ORDER BY n")?
        .query_map([], |row| {
            let sealed = Sealed { body: text(row, 3)?, signature: text(row, 4)? };
            let hash = text(row, 2)?;
            let checksum_holds = row.get::<_, Vec<u8>>(5)? == sum_of(&hash, &sealed);
            Ok(AnchorRow { epoch: row.get(0)?, position: uint(row, 1)?, hash, sealed, checksum_holds })
        })?
        .collect()
}

/// The hash of the record at a place, if there is one.
pub fn hash_at(conn: &Connection, epoch: u32, position: u64) -> Result<Option<Hash32>> {
    let hash: Option<String> = conn
        .prepare_cached("SELECT hash FROM decisions WHERE epoch = ?1 AND position = ?2")?
        .query_row(params![epoch, int(position)], |row| row.get(0))
        .optional()?;
    Ok(hash.and_then(|text| text.parse().ok()))
}

/// Where the chain has got to and how far it is anchored, after checking the checksum of its last row.
pub fn tail(store: &Store, device: DeviceId) -> Result<ChainTail, StoreError> {
    let explain = |e: rusqlite::Error| store.explain(&e);
    let epoch = running(store.conn()).map_err(explain)?;
    let last = store
        .conn()
        .prepare_cached(
            "SELECT position, epoch, id, hash, body, signature, checksum FROM decisions
             WHERE epoch = ?1 ORDER BY position DESC LIMIT 1",
        )
        .and_then(|mut query| query.query_row([epoch], read).optional())
        .map_err(explain)?;
    let Some((row, holds)) = last else {
        return Ok(ChainTail { head: ChainHead::start(device, epoch), anchored: None, unanchored: Vec::new() });
    };
    let head = match row.hash.parse() {
        Ok(hash) if holds && row.sealed.hash() == hash => {
            ChainHead { device: device.clone(), epoch, position: row.position, hash }
        }
        _ => return Err(store.damaged(format!("decision {} does not match its checksum", row.id))),
    };
    let (anchored, unanchored) = anchored(store.conn(), &device, epoch).map_err(explain)?;
    Ok(ChainTail { head, anchored, unanchored })
}

/// The newest receipt of an epoch, and the hashes of the records after it.
fn anchored(conn: &Connection, device: &DeviceId, epoch: u32) -> Result<(Option<ChainHead>, Vec<(u64, Hash32)>)> {
    let newest: Option<(u64, String)> = conn
        .prepare_cached("SELECT position, hash FROM anchors WHERE epoch = ?1 ORDER BY position DESC LIMIT 1")?
        .query_row([epoch], |row| Ok((uint(row, 0)?, row.get(1)?)))
        .optional()?;
    let anchored = newest.and_then(|(position, hash)| {
        Some(ChainHead { device: device.clone(), epoch, position, hash: hash.parse().ok()? })
    });
    let after = anchored.as_ref().map_or(0, |head| head.position);
    let hashes = conn
        .prepare_cached("SELECT position, hash FROM decisions WHERE epoch = ?1 AND position > ?2 ORDER BY position")?
        .query_map(params![epoch, int(after)], |row| Ok((uint(row, 0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>>>()?;
    Ok((anchored, hashes.into_iter().filter_map(|(n, hash)| Some((n, hash.parse().ok()?))).collect()))
}
