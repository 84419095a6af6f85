//! However many names a broker brings, what is remembered has a bound, and who was there before is served as before.

use gatehouse_common::{
    id::{Hash32, ReadingId},
    reading::{AlarmKind, Reading, ReadingValue, ScanStep},
    time::UtcMs,
};

use super::Depot;
use crate::core::{
    bounds::BOUNDS,
    decision::Record,
    input::{Input, Mark, Sequence, Shown},
};

/// Readings of the `n`th stranger, of each kind that names something.
fn of_stranger(n: u64, at: UtcMs) -> Vec<Input> {
    let order = format!("O-{n}").parse().unwrap();
    let vehicle = || format!("V-{n}").parse().unwrap();
    let door = format!("door-{n}").parse().unwrap();
    let values = [
        ReadingValue::Door { door, open: true },
        ReadingValue::Position {
            vehicle: vehicle(),
            point: super::depot::yard_plus(0.0, 0.0),
            accuracy_m: None,
            speed_kmh: None,
        },
        ReadingValue::Alarm { vehicle: vehicle(), alarm: AlarmKind::Panic, on: true },
        ReadingValue::Scan { step: ScanStep::Staged, order, line: 1, quantity: 1 },
    ];
    let source = format!("stranger {n}");
    let marks = vec![Mark {
        source: source.clone(),
        sequence: Some(Sequence { number: n, modulus: None, begins: false }),
        // A clock that looks wrong is remembered.
        sent: Some(at.plus(-3_600_000)),
    }];
    let shown = Input::Shown(Shown { marks, received: at, live: true, ..Shown::default() });
    let readings = values.into_iter().enumerate().map(|(k, value)| {
        let id = ReadingId::new(format!("{n}-{k}")).unwrap();
        Input::Reading {
            reading: Reading { source: source.clone(), id, at, payload_hash: Hash32::of(b""), value },
            receipt: None,
        }
    });
    std::iter::once(shown).chain(readings).collect()
}

/// Rows of what strangers can name, facts and cases.
fn remembered(depot: &Depot) -> usize {
    let core = &depot.core;
    let tables =
        [core.doors.len(), core.vehicles.len(), core.unknown_orders.len(), core.senders.len(), core.probes.len()];
    for ((word, _, max), held) in BOUNDS.iter().zip(tables) {
        assert!(held <= *max, "{held} {word}");
    }
    tables.iter().sum::<usize>() + core.counts.len() + core.watches.len() + core.facts.iter().count() + core.cases.len()
}

#[test]
fn a_broker_that_sends_under_ever_new_names_grows_nothing_without_bound() {
    let mut depot = Depot::new(false, None);
    depot.door("1", false);
    let (now, strangers) = (depot.moment(), std::env::var("GATEHOUSE_STRANGERS").ok());
    let strangers: u64 = strangers.map_or(20_000, |n| n.parse().unwrap());
    let mut beyond = 0;
    let mut half = 0;
    for n in 0..strangers {
        if n == strangers / 2 {
            half = remembered(&depot);
        }
        for input in of_stranger(n, now.wall) {
            let decision = depot.core.handle(&now, input);
            beyond += decision.records.iter().filter(|r| matches!(r, Record::Counted { .. })).count();
        }
    }
    let all = remembered(&depot);
    assert_eq!(half, all, "it grew on");
    assert!(all < 10_000, "{all}");
    assert!(beyond as u64 > strangers, "what is not taken is counted, {beyond}");
    println!("{strangers} strangers: {all} rows, {beyond} readings and numbers counted as beyond the bounds");
}

#[test]
fn among_strangers_those_that_were_there_and_those_that_orders_name_are_served() {
    // Played once: with a start after each of a thousand readings it takes minutes.
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).door("1", false);
    for n in 0..250 {
        for input in of_stranger(n, depot.now()) {
            depot.give(input);
        }
    }
    depot.restart();
    let counted = |depot: &Depot, name: &str| depot.look().status().unwrap().counters.get(name).copied();
    assert_eq!(counted(&depot, "readings_beyond_bounds"), Some(2 + 50 + 50), "doors and unknown orders");
    let cases = depot.cases().len();
    depot.wait_minutes(1).door("1", true).wait_minutes(11);
    assert!(depot.cases().contains(&"DOCK_BLOCKED D1/1 open".to_owned()));
    assert!(depot.cases().len() > cases);
    // A door that only an order names.
    depot.changes("O2", |order| order.door = "77".parse().unwrap()).wait_minutes(1).at_door("77", Some("V9"));
    assert!(depot.core.doors.get("77").is_some());
    // The day after, the strangers make room.
    assert!(depot.core.doors.get("78").is_none());
    depot.passes_unseen(25 * 60);
    depot.wait_minutes(1).door("1", false).door("78", true);
    assert!(depot.core.doors.get("78").is_some() && depot.core.doors.len() < 10, "{}", depot.core.doors.len());
    depot.scan(ScanStep::Staged, "O-500", 1);
    assert_eq!(depot.core.unknown_orders.len(), 1);
    let of_strangers = depot.core.facts.iter().filter(|f| format!("{:?}", f.report.key).contains("O-1")).count();
    assert_eq!(of_strangers, 0, "facts about orders that nobody ever told of");
}
