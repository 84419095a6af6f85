//! What a replay can begin with: now and then, everything that the core remembers.
//!
//! In: the tables of the store between two commits. Out: a [`Beginning`], packed into one row. A new one is written
//! once a day, or sooner when much came in; those before which nothing is kept any more go, with the inputs before
//! them. Documents are not in it: a replay makes them from their chunks.

use gatehouse_common::{
    fact::Fact,
    id::{Hash32, LeaseId},
    order::Order,
    seal::Sealed,
    sync,
    time::UtcMs,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    checksum, cursors, inputs, journal,
    ledger::{from_json, int, json, uint},
    readings,
    room::Gone,
};
use crate::core::{ground::Configured, start::StoredLease};

/// A new one is due after this long, in milliseconds.
const EVERY_MS: i64 = 86_400_000;
/// A new one is due after this many inputs.
const EVERY_INPUTS: u64 = 50_000;
/// Inputs that go in one step.
const INPUTS_A_STEP: u64 = 512;
/// Bytes of content in one frame of a body.
const FRAME_BYTES: usize = 2 << 20;
/// Name of the number up to which inputs are to go.
const GO_THROUGH: &str = "inputs_go_through";

/// One piece of a body. Stores are for ever: a variant may be added at the end, never changed.
#[derive(Debug, Serialize, Deserialize)]
enum Piece {
    Rule(String, String),
    Fact(String),
    Order(String),
    /// Id, text, signature, received, used.
    Lease([String; 5]),
    /// Number of the device's life.
    Epoch(u32),
    /// Hash of the rules in force, if any were.
    Bundle(Hash32),
    /// What the configuration said at the last start, as JSON.
    Configured(String),
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Self::Rule(key, body) => key.len() + body.len(),
            Self::Fact(text) | Self::Order(text) | Self::Configured(text) => text.len(),
            Self::Lease(texts) => texts.iter().map(String::len).sum(),
            Self::Epoch(_) | Self::Bundle(_) => 32,
        }
    }
}

/// What a replay begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beginning {
    /// Number of the last input before it.
    pub input: u64,
    /// Position of the last reading before it.
    pub readings: u64,
    /// Position of the last chunk before it.
    pub chunk: u64,
    /// When it was written; before everything if it is the store's own beginning.
    pub at: Option<UtcMs>,
    /// State of rules: key and JSON.
    pub rules: Vec<(String, String)>,
    /// Facts.
    pub facts: Vec<Fact>,
    /// Orders.
    pub orders: Vec<Order>,
    /// Leases that were not closed.
    pub leases: Vec<StoredLease>,
    /// Which life of the device wrote; from 1.
    pub epoch: u32,
    /// Hash of the rules in force, if any were.
    pub bundle: Option<Hash32>,
    /// What the configuration said at the last start.
    pub configured: Option<Configured>,
}

/// For a store that held something before inputs were kept: a replay can begin now.
pub fn begin(conn: &Connection) -> Result<()> {
    let held: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM rules) OR EXISTS (SELECT 1 FROM orders) OR EXISTS (SELECT 1 FROM chunks)",
        [],
        |row| row.get(0),
    )?;
    if held { write(conn, UtcMs(0)) } else { Ok(()) }
}

/// Writes one if it is time; lets go of inputs that need not be kept any more. Says whether there may be more to let go.
pub fn tidy(conn: &Connection, now: UtcMs, keep_ms: i64, budget_bytes: u64) -> Result<(bool, Gone)> {
    let newest_input = inputs::newest(conn)?;
    let last: Option<(i64, u64)> = conn
        .prepare_cached("SELECT at_ms, input FROM checkpoints ORDER BY n DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, uint(row, 1)?)))
        .optional()?;
    let (at_ms, input) = match last {
        Some(last) => last,
        None => (first_at(conn)?.unwrap_or(now.0), 0),
    };
    let many = newest_input.saturating_sub(input) >= EVERY_INPUTS;
    // A clock that was set back must not keep it from being written for ever.
    if many || (newest_input > input && now.since(UtcMs(at_ms)).abs() >= EVERY_MS) {
        write(conn, now)?;
        cursors::set(conn, GO_THROUGH, &go_through(conn, now, keep_ms, budget_bytes)?.to_string())?;
    }
    let through = cursors::get(conn, GO_THROUGH)?.and_then(|text| text.parse().ok()).unwrap_or(0);
    let_go(conn, through)
}

fn first_at(conn: &Connection) -> Result<Option<i64>> {
    conn.prepare_cached("SELECT at_ms FROM inputs ORDER BY n LIMIT 1")?.query_row([], |row| row.get(0)).optional()
}

/// Up to which input everything may go: that of the newest checkpoint that is older than what is to be kept, or as many
/// more as the budget asks for. One checkpoint always stays.
fn go_through(conn: &Connection, now: UtcMs, keep_ms: i64, budget_bytes: u64) -> Result<u64> {
    let before = now.plus(-keep_ms);
    let points: Vec<(u64, i64)> = conn
        .prepare("SELECT input, at_ms FROM checkpoints ORDER BY n")?
        .query_map([], |row| Ok((uint(row, 0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let old = points.iter().rposition(|(_, at_ms)| *at_ms < before.0);
    let mut held = conn.prepare(
        "SELECT (SELECT coalesce(sum(length(at) + length(body) + 40), 0) FROM inputs WHERE n > ?1)
              + (SELECT coalesce(sum(length(body) + 40), 0) FROM checkpoints WHERE input >= ?1)",
    )?;
    let mut through = old.map_or(0, |place| points[place].0);
    for (input, _) in &points[old.map_or(0, |place| place + 1)..] {
        if held.query_row([int(through)], |row| uint(row, 0))? <= budget_bytes {
            break;
        }
        through = *input;
    }
    Ok(through)
}

fn let_go(conn: &Connection, through: u64) -> Result<(bool, Gone)> {
    let mut gone = Gone::default();
    let mut last = 0;
    let mut oldest = conn.prepare_cached("SELECT n, at_ms FROM inputs WHERE n <= ?1 ORDER BY n LIMIT ?2")?;
    let mut rows = oldest.query(params![int(through), int(INPUTS_A_STEP)])?;
    while let Some(row) = rows.next()? {
        last = uint(row, 0)?;
        gone.add("inputs", UtcMs(row.get(1)?));
    }
    if gone.count > 0 {
        // First those that need what goes now.
        conn.prepare_cached("DELETE FROM checkpoints WHERE input < ?1")?.execute([int(through)])?;
        conn.prepare_cached("DELETE FROM inputs WHERE n <= ?1")?.execute([int(last)])?;
    }
    Ok((gone.count == INPUTS_A_STEP, gone))
}

fn write(conn: &Connection, at: UtcMs) -> Result<()> {
    // What commits changed of facts and rules is to be in their tables.
    journal::fold(conn)?;
    let (input, readings) = (inputs::newest(conn)?, readings::newest_position(conn)?);
    let chunk: u64 =
        conn.prepare_cached("SELECT coalesce(max(position), 0) FROM chunks")?.query_row([], |row| uint(row, 0))?;
    let body = pack(&pieces(conn, input)?)?;
    let sum = sum_of([int(input), int(readings), int(chunk), at.0], &body);
    conn.prepare_cached(
        "INSERT INTO checkpoints (input, readings, chunk, at_ms, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![int(input), int(readings), int(chunk), at.0, body, sum])
    .map(|_| ())
}

fn sum_of(numbers: [i64; 4], body: &[u8]) -> Vec<u8> {
    let numbers = numbers.map(|n| n.to_string());
    let [input, readings, chunk, at] = numbers.each_ref().map(String::as_bytes);
    checksum::of(&[input, readings, chunk, at, body])
}

fn pieces(conn: &Connection, input: u64) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut take = |sql: &str, of: fn(&Row<'_>) -> Result<Piece>| -> Result<()> {
        for piece in conn.prepare(sql)?.query_map([], of)? {
            pieces.push(piece?);
        }
        Ok(())
    };
    take("SELECT key, body FROM rules ORDER BY key", |row| Ok(Piece::Rule(row.get(0)?, row.get(1)?)))?;
    take("SELECT body FROM facts ORDER BY key", |row| Ok(Piece::Fact(row.get(0)?)))?;
    take("SELECT body FROM orders ORDER BY order_id", |row| Ok(Piece::Order(row.get(0)?)))?;
    take("SELECT id, body, signature, received, used FROM leases WHERE state = 'open' ORDER BY rowid", |row| {
        Ok(Piece::Lease([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]))
    })?;
    let epoch = cursors::get(conn, "actor_epoch")?.and_then(|text| text.parse().ok()).unwrap_or(1);
    pieces.push(Piece::Epoch(epoch));
    let bundle: Option<String> =
        conn.query_row("SELECT hash FROM bundles ORDER BY n DESC LIMIT 1", [], |row| row.get(0)).optional()?;
    pieces.extend(bundle.and_then(|hash| hash.parse().ok()).map(Piece::Bundle));
    // The input of the last start may be gone; then the checkpoint before holds it.
    let configured = match inputs::last_configured(conn, input)? {
        Some(configured) => Some(configured),
        None => newest_before(conn, None)?.and_then(|before| before.configured),
    };
    if let Some(configured) = configured {
        pieces.push(Piece::Configured(json(&configured)?));
    }
    Ok(pieces)
}

/// Frames, each behind its length: a frame may hold only so much.
fn pack(pieces: &[Piece]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut rest = pieces;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |piece: &&Piece| {
            bytes += piece.bytes();
            bytes <= FRAME_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        let frame = sync::encode(&now).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        body.extend((frame.len() as u64).to_be_bytes());
        body.extend(frame);
        rest = later;
    }
    Ok(body)
}

fn unpack(mut body: &[u8]) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk() {
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (frame, rest) = rest.split_at_checked(length).ok_or_else(|| checksum::mismatch("a checkpoint"))?;
        let more: Vec<Piece> = sync::decode(frame)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e)))?;
        pieces.extend(more);
        body = rest;
    }
    Ok(pieces)
}

/// The newest checkpoint that was written at `at` or before; the oldest of all if none was. None: a replay begins with
/// an empty store.
pub fn newest_before(conn: &Connection, at: Option<UtcMs>) -> Result<Option<Beginning>> {
    let columns = "SELECT input, readings, chunk, at_ms, body, checksum FROM checkpoints";
    let at = at.map_or(i64::MAX, |at| at.0);
    let found = conn
        .prepare(&format!("{columns} WHERE at_ms <= ?1 ORDER BY n DESC LIMIT 1"))?
        .query_row([at], read)
        .optional()?;
    if found.is_some() {
        return Ok(found);
    }
    let from_the_first = inputs::first(conn)? <= 1;
    if from_the_first {
        return Ok(None);
    }
    conn.prepare(&format!("{columns} ORDER BY n LIMIT 1"))?.query_row([], read).optional()
}

fn read(row: &Row<'_>) -> Result<Beginning> {
    let numbers: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
    let (body, sum): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
    if sum != sum_of(numbers, &body) {
        return Err(checksum::mismatch(format!("the checkpoint behind input {}", numbers[0])));
    }
    let [input, readings, chunk, at] = numbers;
    let number = |n: i64| n.cast_unsigned();
    let (input, readings, chunk) = (number(input), number(readings), number(chunk));
    let mut beginning = Beginning { input, readings, chunk, at: Some(UtcMs(at)), epoch: 1, ..Beginning::default() };
    for piece in unpack(&body)? {
        match piece {
            Piece::Rule(key, body) => beginning.rules.push((key, body)),
            Piece::Fact(body) => beginning.facts.push(from_json(&body)?),
            Piece::Order(body) => beginning.orders.push(from_json(&body)?),
            Piece::Lease([id, body, signature, received, used]) => beginning.leases.push(StoredLease {
                id: LeaseId::new(id.as_str()).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?,
                sealed: Sealed { body, signature },
                received: from_json(&received)?,
                used: from_json(&used)?,
            }),
            Piece::Epoch(epoch) => beginning.epoch = epoch,
            Piece::Bundle(hash) => beginning.bundle = Some(hash),
            Piece::Configured(text) => beginning.configured = Some(from_json(&text)?),
        }
    }
    Ok(beginning)
}
