//! What goes of old readings while room is short, by class.
//!
//! In: blocks that no start needs, oldest first. Out: the same blocks with fewer readings in them, several made one, and
//! what went. First positions that the way between others tells as well, by the policy of
//! [`gatehouse_common::telemetry`] and its usual numbers; then all that is measured over and over, positions and
//! temperatures. What happened, a scan, a seal, an alarm, a door, stays, and so does every position near one of these
//! of its vehicle. What came keeps its place and still counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gatehouse_common::{
    bundle::Tracks,
    id::{Hash32, VehicleId},
    reading::{Reading, ReadingValue},
    telemetry::{Event, Fix, Track},
    time::UtcMs,
};
use rusqlite::{Connection, Result, params};

use super::{
    block::{Block, HASH_BYTES, Kept},
    newest_position,
    rows::{block_of, each, names, put},
    sealed_through,
};
use crate::store::{ledger::int, room::Gone};

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Positions that others tell as well.
    Positions,
    /// Everything that is measured over and over.
    Telemetry,
}

/// Goes through the next blocks behind position `behind`, `blocks_max` at most; gives the position that it got to and
/// what went, or nothing if no block is left to go through.
pub fn thin(conn: &Connection, class: Class, behind: u64, blocks_max: usize) -> Result<Option<(u64, Gone)>> {
    let (sealed, newest) = (sealed_through(conn)?, newest_position(conn)?);
    let mut readings: Vec<(u64, Kept)> = Vec::new();
    let mut blocks = Vec::new();
    let mut through = behind;
    let mut next = conn.prepare_cached(
        "SELECT first, count, body, checksum FROM blocks WHERE first > ?1 AND first + count - 1 <= ?2
         ORDER BY first LIMIT ?3",
    )?;
    let mut rows =
        next.query(params![int(behind), int(sealed.min(newest.saturating_sub(1))), int(blocks_max as u64)])?;
    while let Some(row) = rows.next()? {
        let (first, count, body) = block_of(row)?;
        // The newest block is still filled.
        if first + count > newest {
            break;
        }
        each(first, &body, |position, kept| {
            readings.push((position, kept));
            Ok(())
        })?;
        blocks.push(first);
        through = first + count - 1;
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let goes = match class {
        Class::Positions => told_by_others(&readings),
        Class::Telemetry => measured(&readings),
    };
    let gone = write_without(conn, &blocks, readings, &goes)?;
    Ok(Some((through, gone)))
}

/// Positions of readings that the way between others of the same sender and vehicle tells as well.
fn told_by_others(readings: &[(u64, Kept)]) -> BTreeSet<u64> {
    let mut tracks: BTreeMap<(u32, &VehicleId), (Track, Vec<(u64, UtcMs)>)> = BTreeMap::new();
    for (position, kept) in readings {
        if let ReadingValue::Position { vehicle, point, speed_kmh, .. } = &kept.value {
            let (track, places) = tracks.entry((kept.source, vehicle)).or_default();
            // One that came late says something else than its neighbours: it stays.
            if track.fixes.last().is_none_or(|last| last.at < kept.at) {
                track.push(Fix::new(kept.at, point, *speed_kmh));
                places.push((*position, kept.at));
            }
        }
    }
    for (_, kept) in readings {
        let Some(of) = event_of(&kept.value) else { continue };
        for ((_, vehicle), (track, _)) in &mut tracks {
            if *vehicle == of {
                track.tell(Event { at: kept.at, what: String::new() });
            }
        }
    }
    let policy = Tracks::default();
    let mut goes = BTreeSet::new();
    for (mut track, places) in tracks.into_values() {
        track.thin(&policy, policy.error_m);
        let stays: BTreeSet<UtcMs> = track.fixes.iter().map(|fix| fix.at).collect();
        goes.extend(places.into_iter().filter(|(_, at)| !stays.contains(at)).map(|(position, _)| position));
    }
    goes
}

/// The vehicle to which something happened.
fn event_of(value: &ReadingValue) -> Option<&VehicleId> {
    match value {
        ReadingValue::Seal { vehicle, .. }
        | ReadingValue::CargoDoor { vehicle, .. }
        | ReadingValue::Alarm { vehicle, .. } => Some(vehicle),
        _ => None,
    }
}

fn measured(readings: &[(u64, Kept)]) -> BTreeSet<u64> {
    let is_measured =
        |kept: &Kept| matches!(kept.value, ReadingValue::Position { .. } | ReadingValue::Temperature { .. });
    readings.iter().filter(|(_, kept)| is_measured(kept)).map(|(position, _)| *position).collect()
}

/// Writes these blocks anew without the readings that go.
fn write_without(conn: &Connection, blocks: &[u64], readings: Vec<(u64, Kept)>, goes: &BTreeSet<u64>) -> Result<Gone> {
    let mut gone = Gone::default();
    if goes.is_empty() {
        return Ok(gone);
    }
    let names: HashMap<u32, String> = names(conn)?;
    for first in blocks {
        conn.prepare_cached("DELETE FROM blocks WHERE first = ?1")?.execute([int(*first)])?;
    }
    let mut block: Option<Block> = None;
    for (position, kept) in readings {
        if goes.contains(&position) {
            gone.add(names.get(&kept.source).map_or("", String::as_str), kept.received.wall);
            continue;
        }
        let (source, received) = (kept.source, kept.received.clone());
        let reading = reading_of(kept);
        let mut filled = block.take().unwrap_or_else(|| Block::new(position));
        filled.leave_out(position - filled.first - filled.count);
        if !filled.take(source, &reading, &received) {
            put(conn, &mut filled)?;
            filled = Block::new(position);
            filled.take(source, &reading, &received);
        }
        block = Some(filled);
    }
    if let Some(mut last) = block {
        put(conn, &mut last)?;
    }
    Ok(gone)
}

/// The reading as a block takes it: of its payload's hash, a block keeps what it has.
fn reading_of(kept: Kept) -> Reading {
    let mut hash = [0; 32];
    hash[..HASH_BYTES].copy_from_slice(&kept.payload);
    Reading { source: String::new(), id: kept.id, at: kept.at, payload_hash: Hash32(hash), value: kept.value }
}
