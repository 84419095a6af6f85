//! Days without the hub at 20 messages a second, straight through core and store, on a real disk.
//!
//! `GATEHOUSE_WEEK_HOURS` says how many hours of it (2; a week is 168).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use gatehouse_agent::{
    core::{
        Core,
        decision::{Change, Effect},
        input::{Input, Receipt},
    },
    driver::step,
    store::{Limits, Store},
};
use gatehouse_common::{
    geo::Point,
    id::{Hash32, ReadingId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use gatehouse_power::{
    depot::{Life, Step, profile},
    machine::identity,
};

const PER_SECOND: i64 = 20;
/// Readings in one commit: as many as the driver gathers at most.
const BATCH: i64 = 512;
/// What a store may take for a week of it.
const WEEK_BYTES: u64 = 1 << 30;
const WEEK_HOURS: u64 = 168;
const HOUR_MS: i64 = 3_600_000;

/// The `n`th fix of the fleet, 50 ms after the one before.
fn fix(n: i64, wall: UtcMs) -> Input {
    let tracker = n % 40;
    let metres = (n / 40 % 2_000) as f64;
    let reading = Reading {
        source: format!("tracker-{tracker}"),
        id: ReadingId::new(format!("t{tracker}-{}", n / 40)).unwrap(),
        at: wall,
        payload_hash: Hash32::of(&n.to_be_bytes()),
        value: ReadingValue::Position {
            vehicle: format!("V{}", tracker + 100).parse().unwrap(),
            point: Point { lat: 30.0 + metres / 111_195.0, lon: -97.5 },
            accuracy_m: Some(5.0),
            speed_kmh: Some(40.0),
        },
    };
    Input::Reading { reading, receipt: Some(Receipt(n.unsigned_abs())) }
}

/// Everything that comes between two moments, in batches.
fn fleet(from: &Moment, to: &Moment, sent: &mut i64) -> Vec<Step> {
    let due = to.wall.since(from.wall) * PER_SECOND / 1_000;
    let mut steps = Vec::new();
    let mut done = 0;
    while done < due {
        let these = BATCH.min(due - done);
        let passed_ms = (done + these) * 1_000 / PER_SECOND;
        let mut now = from.clone();
        now.wall = now.wall.plus(passed_ms);
        now.boottime_ms += passed_ms.unsigned_abs();
        let mut inputs: Vec<Input> = (0..these).map(|k| fix(*sent + k, now.wall)).collect();
        inputs.push(Input::Tick);
        *sent += these;
        done += these;
        steps.push(Step { now, inputs, upkeep: None });
    }
    steps
}

#[test]
fn days_offline_fit_the_store_and_every_case_and_decision_is_there_afterwards() {
    let hours: u64 = std::env::var("GATEHOUSE_WEEK_HOURS").map_or(2, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    let mut store = Store::open(&path, &identity()).unwrap();
    store.keep_within(Limits::default()).unwrap();
    let mut core = Core::load(profile(), store.snapshot().unwrap());
    let mut life = Life::of(11);
    let first = life.start();
    let begun = first.now.clone();
    let mut steps = vec![first];
    steps.extend(life.morning());
    let (mut sent, mut readings, mut cases, mut decisions) = (0, 0_u64, BTreeSet::new(), BTreeSet::new());
    let started = Instant::now();
    let mut now = begun.clone();
    while now.wall.since(begun.wall) < i64::try_from(hours).unwrap() * HOUR_MS {
        if steps.is_empty() {
            let next = life.next_step();
            steps = fleet(&now, &next.now, &mut sent);
            steps.push(next);
        }
        let next = steps.remove(0);
        readings += next.inputs.iter().filter(|input| matches!(input, Input::Reading { .. })).count() as u64;
        let outcome = step(&mut core, &mut store, &next.now, &next.inputs).unwrap();
        for effect in outcome.effects {
            if let Effect::Changed(Change::Case { document }) = effect {
                cases.insert(document);
            }
        }
        decisions.extend(outcome.answers.into_iter().filter_map(|(_, answer)| answer.ok()?.decision));
        store.tidy(next.now.wall).unwrap();
        now = next.now;
    }
    let took = started.elapsed();
    let made = store.look().status().unwrap().decisions;
    drop(store);
    let bytes = std::fs::metadata(&path).unwrap().len();

    let started = Instant::now();
    let store = Store::open(&path, &identity()).unwrap();
    let mut read = 0_u64;
    store.look().readings_since(0, |_| read += 1).unwrap();
    let back = started.elapsed();
    let held: BTreeSet<_> = store.look().cases().unwrap().into_iter().map(|case| case.document).collect();
    let chain: BTreeSet<String> =
        store.look().decisions(u32::MAX).unwrap().into_iter().map(|decision| decision.id).collect();
    println!(
        "{hours} h at {PER_SECOND}/s: {readings} readings taken in {:.0} s, {} MB ({:.0} bytes a reading, {:.0} MB a \
         week), {} cases, {made} decisions; {read} read back in {:.1} s, {:.0}/s",
        took.as_secs_f64(),
        bytes / 1_000_000,
        bytes as f64 / readings as f64,
        bytes as f64 * WEEK_HOURS as f64 / hours as f64 / 1e6,
        held.len(),
        back.as_secs_f64(),
        read as f64 / back.as_secs_f64()
    );
    assert!(bytes * WEEK_HOURS <= WEEK_BYTES * hours.max(2), "{bytes} bytes for {hours} h");
    assert!(!cases.is_empty() && cases.is_subset(&held), "cases are missing");
    assert_eq!(chain.len() as u64, made, "decisions are missing");
    assert!(made > 0 && decisions.iter().all(|id| chain.contains(id.as_str())), "decisions are missing");
    assert!(read > readings * 9 / 10, "{read} of {readings} are there");
    let_the_first_half_go(store, &path, now.wall.plus(-now.wall.since(begun.wall) / 2), now.wall, read);
}

/// What is older than its limit goes, a little at a time, and the record says how much of whom.
fn let_the_first_half_go(mut store: Store, path: &std::path::Path, before: UtcMs, now: UtcMs, read: u64) {
    store.keep_within(Limits { keep_readings_ms: now.since(before), ..Limits::default() }).unwrap();
    let (mut longest, started) = (Duration::ZERO, Instant::now());
    loop {
        let one = Instant::now();
        let more = store.tidy(now).unwrap();
        longest = longest.max(one.elapsed());
        if !more {
            break;
        }
    }
    let mut left = 0;
    store.look().readings_since(0, |_| left += 1).unwrap();
    let gone = read - left;
    let conn = rusqlite::Connection::open(path).unwrap();
    let sums = "SELECT sum(count), sum(each), max(to_ms) FROM let_go,
                (SELECT n AS of, sum(value) AS each FROM let_go, json_each(sources) GROUP BY n) ON of = n
                WHERE what = 'readings'";
    let (counted, by_source, newest): (i64, i64, i64) =
        conn.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    println!(
        "{gone} readings let go of in {:.1} s, {} ms at most at a time",
        started.elapsed().as_secs_f64(),
        longest.as_millis()
    );
    assert!(gone > read / 10, "{gone} of {read} went");
    assert_eq!((counted.unsigned_abs(), by_source.unsigned_abs()), (gone, gone), "the record differs");
    assert!(newest < before.0, "something newer than the limit went");
}
