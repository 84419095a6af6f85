//! Vehicles that do not come, stand too long or stand elsewhere; doors that two want; loads that are not as planned.

use gatehouse_common::reading::{ReadingValue, ScanStep};

use super::{Depot, both, depot::time};
use crate::core::input::Line;

fn only(depot: &Depot, code: &str) -> Vec<String> {
    depot.cases().into_iter().filter(|c| c.starts_with(code)).collect()
}

#[test]
fn a_pickup_is_missed_a_quarter_of_an_hour_after_plan_once_and_until_the_vehicle_comes() {
    both(|depot| {
        depot.released("O1", 10).until("10:14");
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
        depot.until("10:30");
        assert_eq!(only(depot, "MISSED_PICKUP"), ["MISSED_PICKUP O1 open"]);
        depot.until("12:20");
        assert_eq!(depot.case_views().iter().find(|c| c.case_type.code() == "MISSED_PICKUP").unwrap().triggers, 2);
        depot.at_door("3", Some("V1")).wait_minutes(3);
        assert_eq!(only(depot, "MISSED_PICKUP"), ["MISSED_PICKUP O1 resolved"]);
    });
}

#[test]
fn a_vehicle_in_the_yard_for_two_minutes_has_come_and_one_that_drives_past_has_not() {
    both(|depot| {
        depot.released("O1", 10).until("10:10").fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).wait_minutes(20);
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
    });
    both(|depot| {
        depot.released("O1", 10).until("09:50").fix("V1", -900.0).wait_seconds(50).fix("V1", 0.0);
        depot.wait_seconds(20).fix("V1", 5.0).wait_seconds(30).fix("V1", 900.0);
        depot.wait_minutes(1).fix("V1", 1_800.0).until("10:16");
        assert_eq!(only(depot, "MISSED_PICKUP"), ["MISSED_PICKUP O1 open"]);
    });
    both(|depot| {
        // Nobody knows how long before the first fix it came.
        depot.released("O1", 10).until("09:45").fix("V1", -900.0).until("09:50").fix("V1", 0.0);
        depot.wait_minutes(1).fix("V1", 5.0).wait_seconds(30).fix("V1", 900.0);
        depot.wait_minutes(1).fix("V1", 1_800.0).until("10:30");
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
    });
}

#[test]
fn where_nothing_looks_nothing_is_missed() {
    both(|depot| {
        // Nobody has told of the door and the vehicle tells no position.
        depot.online().order("O1", 10).until("11:00");
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
    });
    both(|depot| {
        // Something stands at the door, and the sensor cannot tell what.
        depot.released("O1", 10);
        let door = "3".parse().unwrap();
        depot.reads(ReadingValue::Occupancy { door, occupied: true, vehicle: None }).until("11:00");
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
    });
    both(|depot| {
        // Its positions come from the future: its clock is wrong, and where it is cannot be known.
        depot.released("O1", 10).fix("V1", 9_000.0);
        for _ in 0..70 {
            depot.wait_minutes(2);
            depot.fix_at(depot.now().plus(3_600_000), "V1", 0.0);
        }
        assert_eq!(only(depot, "MISSED_PICKUP"), [""; 0]);
        assert_eq!(only(depot, "CLOCK_SKEW"), ["CLOCK_SKEW sensor open"]);
    });
}

#[test]
fn after_a_start_silence_proves_nothing_until_what_waited_has_come_in() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10);
    depot.passes_unseen(180);
    depot.restart();
    depot.line(Line::Starting).wait_seconds(60);
    assert!(depot.cases().is_empty(), "{:?}", depot.cases());
    // The broker kept these while nothing ran.
    depot.fix_at(time("09:20"), "V1", 0.0).fix_at(time("09:22"), "V1", 5.0).wait_minutes(10);
    assert_eq!(only(&depot, "MISSED_PICKUP"), [""; 0]);
    assert_eq!(only(&depot, "DEPARTURE_DELAY"), ["DEPARTURE_DELAY O1 open"]);
}

#[test]
fn a_vehicle_in_the_yard_is_warned_of_after_ninety_minutes_and_told_again_when_its_free_time_is_over() {
    both(|depot| {
        depot.order("O1", 10).fix("V1", 0.0).wait_minutes(1);
        for _ in 0..88 {
            depot.fix("V1", 3.0).wait_minutes(1);
        }
        assert_eq!(only(depot, "DETENTION"), [""; 0]);
        depot.fix("V1", 3.0).wait_minutes(1);
        assert_eq!(only(depot, "DETENTION"), ["DETENTION V1 open"]);
        assert_eq!(depot.case_views()[0].triggers, 1);
        for _ in 0..35 {
            depot.fix("V1", 3.0).wait_minutes(1);
        }
        assert_eq!(depot.case_views().iter().find(|c| c.case_type.code() == "DETENTION").unwrap().triggers, 2);
        depot.fix("V1", 600.0).wait_minutes(1).fix("V1", 1_500.0).wait_minutes(3);
        assert_eq!(only(depot, "DETENTION"), ["DETENTION V1 resolved"]);
    });
}

#[test]
fn a_vehicle_that_has_gone_silent_in_the_yard_or_has_nothing_to_fetch_is_not_detained() {
    both(|depot| {
        depot.order("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 3.0).wait_minutes(150);
        assert_eq!(only(depot, "DETENTION"), [""; 0]);
    });
    both(|depot| {
        for _ in 0..150 {
            depot.fix("V2", 0.0).wait_minutes(1);
        }
        assert_eq!(only(depot, "DETENTION"), [""; 0]);
    });
}

#[test]
fn two_vehicles_planned_at_one_door_within_half_an_hour_are_a_conflict_of_the_later_one() {
    both(|depot| {
        depot.order("O1", 10).changes("O2", |o| {
            o.vehicle = "V2".parse().unwrap();
            o.planned_departure = time("10:20");
        });
        depot.wait_minutes(1);
        assert_eq!(only(depot, "DOCK_CONFLICT"), ["DOCK_CONFLICT O2 open"]);
        depot.changes("O2", |o| {
            o.vehicle = "V2".parse().unwrap();
            o.planned_departure = time("10:30");
        });
        depot.wait_minutes(3);
        assert_eq!(only(depot, "DOCK_CONFLICT"), ["DOCK_CONFLICT O2 resolved"]);
    });
}

#[test]
fn one_vehicle_for_two_orders_and_a_slot_far_ahead_are_no_conflict() {
    both(|depot| {
        depot.order("O1", 10).order("O2", 10).wait_minutes(5);
        assert_eq!(only(depot, "DOCK_CONFLICT"), [""; 0]);
    });
    both(|depot| {
        for (order, vehicle) in [("O1", "V1"), ("O2", "V2")] {
            depot.changes(order, |o| {
                o.vehicle = vehicle.parse().unwrap();
                o.planned_departure = time("16:00");
            });
        }
        depot.until("11:29");
        assert_eq!(only(depot, "DOCK_CONFLICT"), [""; 0]);
        depot.until("11:31");
        assert_eq!(only(depot, "DOCK_CONFLICT").len(), 1, "its slot is four hours ahead");
    });
}

#[test]
fn a_unit_too_many_or_too_few_at_the_seal_is_a_mismatch_until_it_is_put_right() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 11).wait_seconds(115);
        assert_eq!(only(depot, "INV_MISMATCH"), [""; 0], "a scan too many is mostly taken back at once");
        depot.wait_seconds(5);
        assert_eq!(only(depot, "INV_MISMATCH"), ["INV_MISMATCH O1 open"]);
        depot.scan(ScanStep::Unloaded, "O1", 1).wait_minutes(3);
        assert_eq!(only(depot, "INV_MISMATCH"), ["INV_MISMATCH O1 resolved"]);
    });
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 9).wait_minutes(5);
        assert_eq!(only(depot, "INV_MISMATCH"), [""; 0], "the tenth may be on its way");
        depot.seal("V1", true).wait_minutes(2);
        assert_eq!(only(depot, "INV_MISMATCH"), ["INV_MISMATCH O1 open"]);
    });
}

#[test]
fn a_weight_is_compared_only_once_all_is_in_and_by_the_larger_of_two_permille_and_twenty_kilograms() {
    // 10 units of 10 kg: 20 kg are allowed.
    for (grams, cases) in [(79_000, 1), (80_000, 0), (120_000, 0), (121_000, 1)] {
        both(|depot| {
            depot.released("O1", 10).at_door("3", Some("V1")).wait_minutes(1);
            depot.reads(ReadingValue::Weight { order: "O1".parse().unwrap(), grams }).wait_minutes(1);
            depot.scan(ScanStep::Loaded, "O1", 10).wait_minutes(1);
            assert_eq!(only(depot, "INV_MISMATCH").len(), 0, "weighed before the goods were in");
            depot.reads(ReadingValue::Weight { order: "O1".parse().unwrap(), grams });
            assert_eq!(only(depot, "INV_MISMATCH").len(), cases, "{grams}");
        });
    }
}
