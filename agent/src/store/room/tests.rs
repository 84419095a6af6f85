use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    geo::Point,
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue, ScanStep},
    time::{BootId, Moment},
};

use super::*;
use crate::{
    core::decision::Record,
    store::{Before, Identity, KeptReading, Store},
};

const COUNT: u64 = 60_000;
const BEGAN: i64 = 1_764_000_000_000;

fn store(path: &std::path::Path) -> Store {
    let key = gatehouse_common::seal::PrivateKey::from_seed([7; 32]).public();
    Store::open(path, &Identity { device: "gw".parse().unwrap(), site: "D1".parse().unwrap(), public_key: key })
        .unwrap()
}

/// Twenty vehicles on straight roads, a probe in each, and now and then something that happens.
fn reading(n: u64) -> Reading {
    let (at, vehicle) = (UtcMs(BEGAN + ledger::int(n) * 500), n % 20);
    let name = || format!("V{vehicle}").parse().unwrap();
    let value = match n % 97 {
        0 => ReadingValue::Scan { step: ScanStep::Staged, order: "O1".parse().unwrap(), line: 1, quantity: 1 },
        1 => ReadingValue::Seal { vehicle: name(), intact: n % 2 == 0, number: None },
        2 => ReadingValue::Door { door: "3".parse().unwrap(), open: n % 2 == 0 },
        3..15 => ReadingValue::Temperature { celsius: 4.0 + (n % 7) as f64, vehicle: Some(name()) },
        _ => {
            let point = Point { lat: 30.0 + n as f64 * 1e-6, lon: -97.0 + vehicle as f64 };
            ReadingValue::Position { vehicle: name(), point, accuracy_m: None, speed_kmh: Some(40.0) }
        }
    };
    let (source, id) = (format!("unit {vehicle}"), ReadingId::new(format!("r{n}")).unwrap());
    Reading { source, id, at, payload_hash: Hash32::of(&n.to_be_bytes()), value }
}

fn moment(n: u64) -> Moment {
    let wall = UtcMs(BEGAN + ledger::int(n) * 500 + 100);
    Moment { wall, uncertainty_ms: 100, boot: BootId("b1".to_owned()), boottime_ms: n * 500, trusted: true }
}

fn filled(path: &std::path::Path) -> Store {
    let mut store = store(path);
    for n in 0..COUNT / 500 {
        let some = (n * 500..(n + 1) * 500).map(|n| Record::Reading { reading: reading(n), received: moment(n) });
        store.commit(&some.collect::<Vec<_>>()).unwrap();
    }
    store
}

fn kept(store: &Store) -> Vec<KeptReading> {
    let mut all = Vec::new();
    store.look().readings_since(0, |kept| all.push(kept)).unwrap();
    all
}

fn class_of(value: &ReadingValue) -> &'static str {
    match value {
        ReadingValue::Position { .. } => "position",
        ReadingValue::Temperature { .. } => "temperature",
        _ => "event",
    }
}

fn by_class(kept: &[KeptReading]) -> BTreeMap<&'static str, usize> {
    let mut classes = BTreeMap::new();
    kept.iter().for_each(|kept| *classes.entry(class_of(&kept.value)).or_default() += 1);
    classes
}

/// A store that is used to so many thousandths of its budget, tidied until there is nothing more to do.
fn tidied(store: &mut Store, permille: u64) {
    let used = store.look().status().unwrap().room.used_bytes;
    let limits = Limits { budget_bytes: used * 1_000 / permille, ..Limits::default() };
    store.keep_within(limits).unwrap();
    let mut steps = 0;
    while store.tidy(moment(COUNT).wall).unwrap() {
        steps += 1;
        assert!(steps < 1_000, "it does not end");
    }
}

fn let_go(store: &Store, what: &str) -> (usize, usize) {
    let sql = "SELECT coalesce(sum(count), 0), coalesce(sum(each), 0) FROM let_go,
               (SELECT n AS of, sum(value) AS each FROM let_go, json_each(sources) GROUP BY n) ON of = n WHERE what = ?1";
    let (gone, each): (i64, i64) = store.raw().query_row(sql, [what], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    (usize::try_from(gone).unwrap(), usize::try_from(each).unwrap())
}

#[test]
fn room_is_made_by_class_and_what_happened_stays_whatever_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = filled(&directory.path().join("store.db"));
    let all = kept(&store);
    let before = by_class(&all);

    tidied(&mut store, 790);
    assert_eq!(kept(&store).len(), all.len(), "there is room enough");

    let used = store.look().status().unwrap().room.used_bytes;
    tidied(&mut store, 850);
    let thinned = by_class(&kept(&store));
    let gone = before["position"] - thinned["position"];
    assert_eq!((thinned["event"], thinned["temperature"]), (before["event"], before["temperature"]));
    assert!(gone > before["position"] / 20, "{gone} of {}", before["position"]);
    assert_eq!(let_go(&store, "positions"), (gone, gone), "the record differs");
    assert_eq!(let_go(&store, "telemetry"), (0, 0));
    let now = store.look().status().unwrap().room.used_bytes;
    assert!(now < used, "{now} of {used}");

    // Positions first: only when none of the old ones is told by others is more let go of.
    let mut tries = 0;
    while let_go(&store, "telemetry").0 == 0 {
        tidied(&mut store, 990);
        tries += 1;
        assert!(tries < 10, "telemetry never goes");
    }
    let least = by_class(&kept(&store));
    assert_eq!(least["event"], before["event"]);
    assert!(least["temperature"] < before["temperature"], "{least:?}");
    let (positions, telemetry) = (let_go(&store, "positions"), let_go(&store, "telemetry"));
    assert_eq!(positions.0 + telemetry.0, all.len() - kept(&store).len(), "the record differs");
    assert_eq!(telemetry.0, telemetry.1);
    // The newest stay: a start needs them.
    assert_eq!(kept(&store).last().unwrap().position, COUNT);
}

#[test]
fn what_is_thinned_out_keeps_its_place_its_neighbours_and_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = filled(&path);
    tidied(&mut store, 850);
    let left = kept(&store);
    for kept in &left {
        let sent = reading(kept.position - 1);
        assert_eq!((&kept.source, &kept.id, kept.at, &kept.value), (&sent.source, &sent.id, sent.at, &sent.value));
        assert_eq!(kept.received, moment(kept.position - 1));
    }
    let places: BTreeSet<u64> = left.iter().map(|kept| kept.position).collect();
    let gone: Vec<u64> = (1..=COUNT).filter(|place| !places.contains(place)).collect();
    assert!(gone.len() > 1_000);
    // A position within a minute of a seal of its vehicle stays, however straight the road.
    let near_a_seal = |place: u64| {
        let (from, to) = (place.saturating_sub(120), place + 120);
        (from.max(1)..=to).any(|other| {
            let seal = reading(other - 1);
            matches!(seal.value, ReadingValue::Seal { .. }) && seal.source == reading(place - 1).source
        })
    };
    let mut store = {
        drop(store);
        self::store(&path)
    };
    for place in gone.iter().step_by(7) {
        let sent = reading(place - 1);
        let asked = |hash: &Hash32| store.before(&sent.source, &sent.id, hash).unwrap();
        assert_eq!(asked(&sent.payload_hash), Some(Before::Repeat));
        assert_eq!(asked(&Hash32::of(b"other")), Some(Before::Conflict));
    }
    let thinned_near = gone.iter().filter(|place| near_a_seal(**place)).count();
    // A seal at the edge of the stretch that is thinned at one time is not seen from the next.
    assert!(thinned_near * 50 < gone.len(), "{thinned_near} of {}", gone.len());
    assert_eq!(left, kept(&store), "a start reads the same");
    let next = Record::Reading { reading: reading(COUNT), received: moment(COUNT) };
    store.commit(&[next]).unwrap();
    assert_eq!(kept(&store).last().unwrap().position, COUNT + 1);
}

#[test]
fn room_that_was_made_goes_back_to_the_file_system_a_little_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = filled(&path);
    let sync =
        |store: &Store| super::super::start::run_to_its_end(store.raw(), "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let length = || std::fs::metadata(&path).unwrap().len();
    sync(&store);
    let before = length();
    store.keep_within(Limits { keep_readings_ms: 1, ..Limits::default() }).unwrap();
    let now = moment(COUNT).wall.plus(60_000);
    while store.tidy(now).unwrap() {}
    sync(&store);
    let free: u64 = store.raw().pragma_query_value(None, "freelist_count", |row| ledger::uint(row, 0)).unwrap();
    assert!(free < PAGES_KEPT_FREE + 2 * PAGES_A_STEP, "{free} pages are free");
    assert!(length() + (1 << 20) < before, "{} of {before}", length());
}
