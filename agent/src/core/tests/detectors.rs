//! What detectors see, and what they must not see.

use gatehouse_common::reading::{Reading, ReadingValue};

use super::{Depot, both, depot::time};
use crate::core::{
    decision::Effect,
    input::{Input, Receipt, Unreadable},
};
use gatehouse_common::id::Hash32;

#[test]
fn a_door_left_open_opens_one_case_however_often_it_is_read() {
    both(|depot| {
        depot.door("3", true);
        for _ in 0..11 {
            depot.wait_minutes(1).door("3", true);
        }
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
        assert_eq!(depot.case_views()[0].summary, "door 3 stands open since 2015-03-10T08:00:00Z");
        assert_eq!(depot.case_views()[0].triggers, 1);
        depot.wait_minutes(30).door("3", false).wait_minutes(1).door("3", true).wait_minutes(1);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"], "a short closing is no end");
        depot.door("3", false).wait_minutes(3);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
        depot.wait_minutes(10).door("3", true).wait_minutes(11);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 reopened"]);
    });
}

#[test]
fn a_vehicle_that_waits_for_its_planned_departure_does_not_block_the_door() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).until("10:09");
        assert!(!depot.cases().iter().any(|c| c.starts_with("DOCK_BLOCKED")));
        depot.until("10:12");
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    });
}

#[test]
fn a_dispatch_not_gone_a_quarter_of_an_hour_after_plan_is_late_until_it_leaves() {
    both(|depot| {
        depot.released("O1", 10).until("10:14");
        assert!(depot.cases().is_empty());
        depot.until("10:15");
        assert_eq!(depot.cases(), ["DEPARTURE_DELAY O1 open", "MISSED_PICKUP O1 open"]);
        depot.drives_off_with("O1", 10).wait_minutes(5);
        assert_eq!(
            (depot.state("O1").as_str(), depot.cases().as_slice()),
            ("departed", ["DEPARTURE_DELAY O1 resolved".to_owned(), "MISSED_PICKUP O1 resolved".to_owned()].as_slice())
        );
    });
}

#[test]
fn positions_that_come_late_and_out_of_order_depart_nothing_a_second_time_and_correct_nothing() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10);
        let left = depot.dispatch("O1").departed;
        for minute in ["08:02", "08:01", "08:05", "08:03"] {
            depot.fix_at(time(minute), "V1", 0.0);
        }
        assert_eq!(depot.dispatch("O1").departed, left);
        let snapshot = depot.store.snapshot().unwrap();
        let vehicle = snapshot.rules.iter().find(|(key, _)| key == "vehicle/V1").unwrap();
        assert!(vehicle.1.contains("\"inside\":false"), "{}", vehicle.1);
        assert_eq!(depot.look().readings(100).unwrap().iter().filter(|r| r.value["kind"] == "position").count(), 8);
    });
}

#[test]
fn positions_buffered_on_the_way_out_count_by_their_own_time() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0);
        depot.at_door("3", Some("V1")).scan(gatehouse_common::reading::ScanStep::Loaded, "O1", 10).seal("V1", true);
        depot.wait_minutes(2).at_door("3", None).until("09:00");
        depot.fix_at(time("08:10"), "V1", 800.0).fix_at(time("08:11"), "V1", 1_500.0);
        assert_eq!(depot.dispatch("O1").departed.unwrap().at, time("08:10"));
    });
}

#[test]
fn a_seal_broken_on_the_way_is_of_the_worst_severity_and_one_opened_at_the_dock_is_not() {
    both(|depot| {
        depot.released("O1", 10).seal("V1", false).drives_off_with("O1", 10);
        assert!(depot.cases().is_empty());
        depot.wait_minutes(5).seal("V1", false).seal("V1", false);
        assert_eq!(depot.cases(), ["SEAL_BROKEN V1 open"]);
        assert_eq!(format!("{:?}", depot.case_views()[0].severity), "S1");
    });
}

#[test]
fn a_repeat_is_counted_and_acknowledged_and_changes_nothing_and_another_payload_is_a_conflict() {
    let mut depot = Depot::new(true, None);
    let reading = |open: bool, hash: u8| Reading {
        source: "door-3".into(),
        id: "m1".parse().unwrap(),
        at: time("08:00"),
        payload_hash: Hash32([hash; 32]),
        value: ReadingValue::Door { door: "3".parse().unwrap(), open },
    };
    for (n, sent) in [reading(true, 1), reading(true, 1), reading(false, 2)].into_iter().enumerate() {
        depot.give(Input::Reading { reading: sent, receipt: Some(Receipt(n as u64)) });
        assert!(depot.last.effects.contains(&Effect::Acknowledge(vec![Receipt(n as u64)])));
    }
    let counters = depot.look().status().unwrap().counters;
    let count = |name: &str| counters[name];
    assert_eq!((count("readings_stored"), count("duplicates_dropped")), (1, 1));
    assert_eq!((count("conflicts"), count("quarantined")), (1, 1));
    assert!(depot.look().quarantine(1).unwrap()[0].reason.contains("another payload"));
}

#[test]
fn repeats_inside_one_batch_are_seen_too() {
    let mut depot = Depot::new(false, None);
    let reading = Reading {
        source: "s".into(),
        id: "m1".parse().unwrap(),
        at: time("08:00"),
        payload_hash: Hash32([1; 32]),
        value: ReadingValue::Temperature { celsius: 4.0, vehicle: None },
    };
    let input = Input::Reading { reading, receipt: None };
    let now = gatehouse_common::time::Moment {
        wall: time("08:00"),
        uncertainty_ms: 0,
        boot: gatehouse_common::time::BootId("boot".into()),
        boottime_ms: 0,
        trusted: true,
    };
    crate::driver::step(&mut depot.core, &mut depot.store, &now, &[input.clone(), input]).unwrap();
    let counters = depot.look().status().unwrap().counters;
    assert_eq!((counters["readings_stored"], counters["duplicates_dropped"]), (1, 1));
}

#[test]
fn what_cannot_be_read_is_kept_by_hash_and_head_and_acknowledged() {
    let mut depot = Depot::new(false, None);
    let message = Unreadable {
        topic: "dock/3".into(),
        reason: "not JSON".into(),
        payload_hash: Hash32::of(b"garbage"),
        size: 7,
        head: b"garbage".to_vec(),
        receipt: Some(Receipt(5)),
    };
    depot.give(Input::Unreadable(message)).door("3", true);
    let row = depot.look().quarantine(10).unwrap().remove(0);
    assert_eq!((row.topic.as_str(), row.reason.as_str(), row.head.as_str()), ("dock/3", "not JSON", "garbage"));
    assert_eq!(depot.look().readings(10).unwrap().len(), 1);
}
