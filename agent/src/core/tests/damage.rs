//! Bits that flip while nobody looks: found, or without effect, never served.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rusqlite::{Connection, types::Value};

use super::depot::Depot;
use crate::{
    core::{
        decision::Record,
        input::{Act, Input, Line, Unreadable},
    },
    store::{ScrubPlace, StoreError},
};
use gatehouse_common::{dispatch::document_id, id::Hash32, reading::ScanStep, sync::Upward, time::UtcMs};

/// Every table of ground with what of its rows is ever served.
const GROUND: [(&str, &[&str]); 11] = [
    ("blocks", &["body", "count", "checksum"]),
    ("sources", &["source", "checksum"]),
    ("quarantine", &["topic", "reason", "payload_hash", "size", "head", "at_ms", "checksum"]),
    ("decisions", &["hash", "body", "signature", "checksum"]),
    ("chunks", &["document", "bytes", "checksum"]),
    ("leases", &["id", "body", "signature", "received", "used", "state", "checksum"]),
    ("orders", &["order_id", "body", "checksum"]),
    ("facts", &["key", "body", "checksum"]),
    ("rules", &["key", "body", "checksum"]),
    ("journal", &["body", "checksum"]),
    ("outbox", &["kind", "body", "checksum"]),
];

fn lived() -> Depot {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).order("SO-1", 10).order("SO-2", 10);
    for order in ["SO-1", "SO-2"] {
        depot.inventory(order, 10).carrier(order, true).capacity(order).papers(order);
        depot.scan(ScanStep::Staged, order, 10);
    }
    depot.store.fold().unwrap();
    depot.credit(false).at_door("3", Some("V1")).door("3", true).wait_minutes(3);
    let reason = "the customer waits for it".to_owned();
    let dispatch = document_id(&"SO-2".parse().unwrap(), &"D1".parse().unwrap(), 1);
    let _ = depot.tap("supervisor", Act::Hold { dispatch, reason });
    for n in 0..5_u8 {
        let (topic, reason) = (format!("docks/{n}"), "not JSON".to_owned());
        let message =
            Unreadable { topic, reason, payload_hash: Hash32::of(&[n]), size: 1, head: vec![n], receipt: None };
        depot.give(Input::Unreadable(message));
    }
    depot.line(Line::Lost).wait_minutes(200);
    depot
}

/// Everything that the store tells anyone, or that it refuses to.
fn served(depot: &Depot) -> Result<String, StoreError> {
    let look = depot.look();
    let mut readings = Vec::new();
    look.readings_since(0, |reading| readings.push(format!("{reading:?}")))?;
    Ok(format!(
        "{:?} {:?} {:?} {:?} {readings:?}",
        depot.store.snapshot()?,
        look.quarantine(1_000)?,
        look.decisions(1_000)?,
        look.outbox(1_000)?
    ))
}

fn scrub_finds(depot: &Depot) -> bool {
    let mut place = Some(ScrubPlace::default());
    while let Some(at) = place {
        let Ok(scrubbed) = depot.look().scrub(at, 7) else { return true };
        if !scrubbed.damaged.is_empty() {
            return true;
        }
        place = scrubbed.next;
    }
    false
}

/// Flips one bit of one value; gives where, or nothing where there is no value.
fn flip(conn: &Connection, dice: &mut StdRng) -> Option<String> {
    let (table, columns) = GROUND[dice.random_range(0..GROUND.len())];
    let column = columns[dice.random_range(0..columns.len())];
    let rows: i64 = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    let nth = dice.random_range(0..rows);
    let sql = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?1");
    let (rowid, value): (i64, Value) = conn.query_row(&sql, [nth], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut flip = |mut bytes: Vec<u8>| {
        let bit = dice.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let update = |value: &str| format!("UPDATE {table} SET {column} = {value} WHERE rowid = ?2");
    match value {
        Value::Null => return None,
        Value::Integer(n) => conn.execute(&update("?1"), (n ^ (1 << dice.random_range(0..40)), rowid)),
        Value::Real(_) => return None,
        Value::Text(text) => conn.execute(&update("CAST(?1 AS TEXT)"), (flip(text.into_bytes()), rowid)),
        Value::Blob(bytes) => conn.execute(&update("?1"), (flip(bytes), rowid)),
    }
    // A key that another row has already: no flip of this kind can stay in a file that SQLite reads.
    .ok()
    .map(|_| format!("{table}.{column}, row {rowid}"))
}

#[test]
fn a_flipped_bit_in_ground_is_found_or_without_effect_and_sqlite_alone_misses_most() {
    let depot = lived();
    let whole = served(&depot).unwrap();
    assert!(!scrub_finds(&depot));
    for (table, _) in GROUND {
        let rows: i64 =
            depot.store.raw().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert!(rows > 0, "nothing in {table} to flip");
    }
    let mut dice = StdRng::seed_from_u64(1);
    let (mut flips, mut found, mut missed, mut sqlite_missed) = (0, 0, Vec::new(), 0);
    while flips < 400 {
        depot.store.raw().execute_batch("BEGIN").unwrap();
        if let Some(place) = flip(depot.store.raw(), &mut dice) {
            flips += 1;
            match (scrub_finds(&depot), served(&depot)) {
                (true, _) | (_, Err(_)) => found += 1,
                (false, Ok(now)) if now == whole => {}
                (false, Ok(_)) => missed.push(place),
            }
            let sqlite: String = depot.store.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            sqlite_missed += u32::from(sqlite == "ok");
        }
        depot.store.raw().execute_batch("ROLLBACK").unwrap();
    }
    println!("{flips} flips: {found} found, {} served, SQLite alone misses {sqlite_missed}", missed.len());
    assert_eq!(missed, Vec::<String>::new());
    assert!(sqlite_missed > 300, "the control found {} of {flips}", flips - sqlite_missed);
}

/// Flips a bit in a row of the outbox.
fn rots(depot: &Depot, n: u64, column: &str) {
    let (conn, n) = (depot.store.raw(), i64::try_from(n).unwrap());
    let read = format!("SELECT {column} FROM outbox WHERE n = ?1");
    let mut bytes: Vec<u8> = conn.query_row(&read, [n], |row| row.get(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    conn.execute(&format!("UPDATE outbox SET {column} = ?1 WHERE n = ?2"), (bytes, n)).unwrap();
}

#[test]
fn a_damaged_record_of_the_outbox_is_told_as_ground_holds_it_or_left_out_and_keeps_nothing_back() {
    let depot = lived();
    let whole = depot.look().outbox(1_000).unwrap();
    let is_in_ground = |says: &Upward| matches!(says, Upward::Chunk { .. } | Upward::Decision(_));
    let has = |what: fn(&Upward) -> bool| whole.iter().any(|record| what(&record.says));
    assert!(has(|says| matches!(says, Upward::Chunk { .. })) && has(|says| matches!(says, Upward::Decision(_))));
    assert!(has(|says| matches!(says, Upward::Status(_))), "and one that is in no other place");
    for record in &whole {
        for column in ["body", "checksum"] {
            depot.store.raw().execute_batch("BEGIN").unwrap();
            rots(&depot, record.n, column);
            let read = depot.look().outbox_as_read(1_000).unwrap();
            if is_in_ground(&record.says) {
                assert_eq!((&read.waiting, read.mended, read.lost), (&whole, vec![record.n], vec![]), "{column}");
            } else {
                let others: Vec<_> = whole.iter().filter(|other| other.n != record.n).cloned().collect();
                assert_eq!((read.waiting, read.mended, read.lost), (others, vec![], vec![record.n]), "{column}");
            }
            assert_eq!(depot.look().outbox_oldest().unwrap(), Some(whole[0].n));
            depot.store.raw().execute_batch("ROLLBACK").unwrap();
        }
    }
}

#[test]
fn a_record_of_the_outbox_of_which_only_the_kind_rotted_is_told_as_it_is() {
    let mut depot = lived();
    depot.store.commit(&[Record::Tracks { at: UtcMs(1), position: None, tracks: Vec::new() }]).unwrap();
    let whole = depot.look().outbox(1_000).unwrap();
    for record in &whole {
        depot.store.raw().execute_batch("BEGIN").unwrap();
        let rots = "UPDATE outbox SET kind = 'x' || substr(kind, 2) WHERE n = ?1";
        assert_eq!(depot.store.raw().execute(rots, [i64::try_from(record.n).unwrap()]).unwrap(), 1);
        let read = depot.look().outbox_as_read(1_000).unwrap();
        assert_eq!((&read.waiting, read.mended, read.lost), (&whole, vec![record.n], vec![]));
        depot.store.raw().execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn behind_a_decision_that_is_damaged_in_every_place_nothing_is_told() {
    let depot = lived();
    let whole = depot.look().outbox(1_000).unwrap();
    let lost = whole.iter().find(|record| matches!(record.says, Upward::Decision(_))).unwrap().n;
    rots(&depot, lost, "body");
    depot.store.raw().execute("UPDATE decisions SET body = body || ' '", []).unwrap();
    let read = depot.look().outbox_as_read(1_000).unwrap();
    let before: Vec<_> = whole.iter().filter(|record| record.n < lost).cloned().collect();
    assert_eq!((read.waiting, read.lost, read.stopped_at), (before, vec![], Some(lost)));
}
