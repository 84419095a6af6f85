use gatehouse_common::{
    geo::Point,
    id::{DoorId, VehicleId},
    time::BootId,
};

use super::*;
use crate::store::{Identity, Reader, Store, StoreError};

const SMALL: Limits = Limits { recent_max: 400, parts_per_commit: 7 };

fn reading(n: u64) -> Reading {
    Reading {
        source: format!("depot/D1/door/{}", n % 9),
        id: ReadingId::new(format!("d-{n}")).unwrap(),
        at: UtcMs(1_764_000_000_000 + int(n) * 40),
        payload_hash: Hash32::of(&n.to_be_bytes()),
        value: ReadingValue::Door { door: DoorId::new((n % 9).to_string()).unwrap(), open: n.is_multiple_of(2) },
    }
}

fn moment(n: u64) -> Moment {
    let wall = UtcMs(1_764_000_001_000 + int(n) * 50);
    Moment { wall, uncertainty_ms: 100, boot: BootId("b1".to_owned()), boottime_ms: n * 50, trusted: true }
}

fn store(path: &std::path::Path) -> Result<Store, StoreError> {
    let key = gatehouse_common::seal::PrivateKey::from_seed([7; 32]).public();
    Store::open(path, &Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key: key })
}

/// Tables as a new store has them.
fn tables() -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    crate::store::migrations::run(&mut conn, std::path::Path::new(":memory:")).unwrap();
    conn
}

fn put_all(readings: &mut Readings, conn: &mut Connection, numbers: impl Iterator<Item = u64>, at_once: usize) {
    let all: Vec<(Reading, Moment)> = numbers.map(|n| (reading(n), moment(n))).collect();
    for some in all.chunks(at_once) {
        let tx = conn.transaction().unwrap();
        let borrowed: Vec<_> = some.iter().map(|(reading, moment)| (reading, moment)).collect();
        let written = readings.write(&tx, &borrowed).unwrap();
        tx.commit().unwrap();
        readings.taken(written);
    }
}

fn before(readings: &Readings, conn: &Connection, reading: &Reading) -> Option<Before> {
    readings.before(conn, &reading.source, &reading.id, &reading.payload_hash).unwrap()
}

#[test]
fn every_reading_counts_once_however_long_ago_it_came_and_another_payload_is_a_conflict() {
    let mut conn = tables();
    let mut readings = Readings::open_with(&conn, SMALL).unwrap();
    let mut upto = 0;
    // Runs, a merge on its way when it is opened again, merges that ended: everything happens in between.
    for more in [90, 400, 3000, 17, 5000, 12_000] {
        put_all(&mut readings, &mut conn, upto..upto + more, 31);
        upto += more;
        for opened_again in [false, true] {
            if opened_again {
                readings = Readings::open_with(&conn, SMALL).unwrap();
            }
            for n in (0..upto).step_by(13).chain(upto.saturating_sub(50)..upto) {
                let mut again = reading(n);
                assert_eq!(before(&readings, &conn, &again), Some(Before::Repeat), "{n} of {upto}");
                again.payload_hash = Hash32::of(b"other");
                assert_eq!(before(&readings, &conn, &again), Some(Before::Conflict), "{n} of {upto}");
                again.source = "depot/D1/door/99".to_owned();
                assert_eq!(before(&readings, &conn, &again), None, "{n} of {upto}");
            }
            assert_eq!(before(&readings, &conn, &reading(upto)), None);
        }
    }
    let runs: Vec<u32> = conn
        .prepare("SELECT level FROM seen_runs WHERE whole = 1")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    assert!(runs.contains(&1) && runs.iter().filter(|level| **level == 0).count() < 9, "{runs:?}");
    let entries: i64 = conn.query_row("SELECT sum(length(entries)) / 16 FROM seen", [], |row| row.get(0)).unwrap();
    assert!(entries.cast_unsigned() + 400 >= upto, "{entries} of {upto}");
}

#[test]
fn readings_come_back_in_order_and_senders_are_counted_whatever_is_in_runs_already() {
    let mut conn = tables();
    let mut readings = Readings::open_with(&conn, SMALL).unwrap();
    put_all(&mut readings, &mut conn, 0..1000, 7);
    let mut all = Vec::new();
    since(&conn, 0, |kept| all.push(kept)).unwrap();
    assert_eq!(all.len(), 1000);
    for (n, kept) in (0..).zip(&all) {
        let sent = reading(n);
        assert_eq!((kept.position, &kept.source, &kept.id), (n + 1, &sent.source, &sent.id));
        assert_eq!((kept.at, &kept.value), (sent.at, &sent.value));
    }
    let newest = newest(&conn, 150).unwrap();
    assert_eq!(newest, all.iter().rev().take(150).cloned().collect::<Vec<_>>());
    let mut behind = Vec::new();
    since(&conn, 995, |kept| behind.push(kept.position)).unwrap();
    assert_eq!(behind, [996, 997, 998, 999, 1000]);
    let heard = heard(&conn).unwrap();
    assert_eq!(heard.values().map(|heard| heard.readings).sum::<u64>(), 1000);
    assert_eq!(heard["depot/D1/door/0"], Heard { at: all[999].received.wall, readings: 112 });
    assert_eq!(newest_position(&conn).unwrap(), 1000);
}

#[test]
fn a_reading_takes_less_than_eighty_bytes_with_everything_around_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = store(&path).unwrap();
    let empty: u64 = std::fs::metadata(&path).unwrap().len();
    let count = 60_000;
    for n in 0..count / 50 {
        let some = (n * 50..(n + 1) * 50).map(|n| {
            let mut reading = reading(n);
            if n % 2 == 0 {
                let point = Point { lat: 30.25 + n as f64 / 1e6, lon: -97.743_112 };
                let vehicle = VehicleId::new(format!("v{:03}", n % 100)).unwrap();
                reading.value = ReadingValue::Position { vehicle, point, accuracy_m: Some(8.0), speed_kmh: Some(40.0) };
            }
            crate::core::decision::Record::Reading { reading, received: moment(n) }
        });
        store.commit(&some.collect::<Vec<_>>()).unwrap();
    }
    drop(store);
    let bytes = std::fs::metadata(&path).unwrap().len() - empty;
    // 52,000 of them are in runs; the keys of the others will be.
    let each = bytes / count + 18 * (count - 52_000) / count;
    assert!(each < 80, "{each} bytes a reading");
}

#[test]
fn a_flipped_bit_in_a_block_or_in_a_run_is_found_and_never_served() {
    let mut conn = tables();
    let mut readings = Readings::open_with(&conn, SMALL).unwrap();
    put_all(&mut readings, &mut conn, 0..900, 50);
    let flip = |sql: &str| {
        let mut copy = Connection::open_in_memory().unwrap();
        let backup = rusqlite::backup::Backup::new(&conn, &mut copy).unwrap();
        backup.run_to_completion(1000, std::time::Duration::ZERO, None).unwrap();
        drop(backup);
        assert_eq!(copy.execute(sql, []).unwrap(), 1);
        copy
    };
    let body = "UPDATE blocks SET body = cast(substr(body, 1, 9) || x'5a' || substr(body, 11) AS BLOB) WHERE first = 1";
    let copy = flip(body);
    assert!(since(&copy, 0, |_| {}).is_err());
    assert!(readings.before(&copy, &reading(3).source, &reading(3).id, &reading(3).payload_hash).is_err());
    let copy = flip("UPDATE blocks SET count = count + 1 WHERE first = 1");
    assert!(since(&copy, 0, |_| {}).is_err());
    let copy = flip("UPDATE sources SET source = 'depot/D1/door/x' WHERE number = 3");
    assert!(newest(&copy, 1000).is_err() && Readings::open(&copy).is_err());
    let copy = flip("UPDATE seen SET checksum = checksum + 1 WHERE place = (SELECT min(place) FROM seen)");
    let errors = (0..900).filter(|n| {
        let r = reading(*n);
        readings.before(&copy, &r.source, &r.id, &r.payload_hash).is_err()
    });
    assert!(errors.count() > 0);
}

#[test]
fn blocks_that_were_let_go_of_leave_nothing_that_could_count_twice() {
    let mut conn = tables();
    let mut readings = Readings::open_with(&conn, SMALL).unwrap();
    put_all(&mut readings, &mut conn, 0..2000, 20);
    let gone = let_go(&conn, moment(1500).wall, usize::MAX).unwrap().count;
    assert!((1200..1500).contains(&gone), "{gone}");
    readings = Readings::open_with(&conn, SMALL).unwrap();
    for n in 0..2000 {
        let mut again = reading(n);
        assert_eq!(before(&readings, &conn, &again), Some(Before::Repeat), "{n}");
        again.payload_hash = Hash32::of(b"other");
        assert_eq!(before(&readings, &conn, &again), Some(Before::Conflict), "{n}");
    }
    // What a start needs stays, however old it is.
    let_go(&conn, UtcMs(i64::MAX), usize::MAX).unwrap();
    let kept = newest(&conn, 10_000).unwrap().len();
    assert!((1..400).contains(&kept), "{kept}");
    readings = Readings::open_with(&conn, SMALL).unwrap();
    put_all(&mut readings, &mut conn, 2000..2001, 1);
    assert_eq!(newest_position(&conn).unwrap(), 2001);
    assert_eq!(heard(&conn).unwrap().values().map(|heard| heard.readings).sum::<u64>(), 2001);
}

#[test]
fn a_store_of_the_first_form_is_moved_over_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../fixtures/store_0001.sql")).unwrap();
    old.execute("DELETE FROM identity", []).unwrap();
    type Row = (u64, String, String, i64, String);
    let expected: Vec<Row> = old
        .prepare("SELECT position, source, reading_id, at_ms, body FROM readings ORDER BY position DESC")
        .unwrap()
        .query_map([], |row| {
            Ok((super::super::ledger::uint(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    drop(old);
    let store = store(&path).unwrap();
    let moved: Vec<Row> = Reader::open(&path)
        .unwrap()
        .readings(100)
        .unwrap()
        .into_iter()
        .map(|r| {
            let value: ReadingValue = serde_json::from_value(r.value).unwrap();
            (r.position, r.source, r.reading_id, r.at.0, serde_json::to_string(&value).unwrap())
        })
        .collect();
    assert_eq!(moved.len(), 13);
    assert_eq!(moved, expected);
    let mut first = None;
    store.look().readings_since(0, |kept| first = first.take().or(Some(kept))).unwrap();
    assert!(first.unwrap().received.boottime_ms > 0);
    let status = store.look().status().unwrap();
    assert_eq!((status.counters["readings_stored"], status.counters["conflicts"]), (13, 1));
    let heard: Vec<u64> = status.sources.iter().filter_map(|source| source.readings).collect();
    assert_eq!(heard, [5, 5, 3]);
    let mut again = Reading {
        source: "depot/D1/door/3".to_owned(),
        id: ReadingId::new("d3-1").unwrap(),
        payload_hash: Hash32::of(br#"{"id":"d3-1","time":1764000001000,"open":true}"#),
        ..reading(0)
    };
    assert_eq!(store.before(&again.source, &again.id, &again.payload_hash).unwrap(), Some(Before::Repeat));
    again.payload_hash = Hash32::of(b"other");
    assert_eq!(store.before(&again.source, &again.id, &again.payload_hash).unwrap(), Some(Before::Conflict));
    assert_eq!(store.snapshot().unwrap().documents.len(), 1);
}

#[test]
fn a_store_of_the_first_form_with_a_flipped_bit_is_not_moved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../fixtures/store_0001.sql")).unwrap();
    old.execute("UPDATE readings SET at_ms = at_ms + 1 WHERE position = 7", []).unwrap();
    drop(old);
    assert!(matches!(store(&path), Err(StoreError::Damaged { what, .. }) if what.contains("reading 7")));
}
