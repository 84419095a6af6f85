//! Sensors that are wrong for a moment, and are heard again.

use gatehouse_common::reading::{ReadingValue, ScanStep};

use super::{Depot, both, depot::time};

fn inside(depot: &Depot) -> String {
    let rules = depot.store.snapshot().unwrap().rules;
    let vehicle = rules.into_iter().find(|(key, _)| key == "vehicle/V1").unwrap().1;
    let yard = vehicle.split("\"inside\":").nth(1).unwrap().split(',').next().unwrap();
    yard.to_owned()
}

#[test]
fn a_reading_from_the_future_is_kept_and_those_after_it_count() {
    both(|depot| {
        let door = |open| ReadingValue::Door { door: "3".parse().unwrap(), open };
        depot.reads_at(time("23:00"), door(true)).door("3", false);
        depot.reads_at(
            time("23:00"),
            ReadingValue::Seal { vehicle: "V1".parse().unwrap(), intact: false, number: None },
        );
        depot.fix_at(time("23:00"), "V1", 0.0).fix("V1", 500.0).wait_minutes(1).fix("V1", 500.0);
        assert_eq!(depot.look().readings(100).unwrap().len(), 6);
        assert_eq!(inside(depot), "false");
        depot.wait_minutes(30);
        assert!(depot.cases().is_empty(), "the door stands closed: {:?}", depot.cases());
        depot.reads_at(time("08:32"), door(true)).wait_minutes(12);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"], "a minute ahead is a clock like another");
    });
}

#[test]
fn three_fixes_in_a_row_at_an_impossible_place_are_believed_and_two_are_not() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0);
        depot.at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10).seal("V1", true).at_door("3", None);
        depot.wait_minutes(1).fix("V1", 40_000.0).wait_minutes(1).fix("V1", 40_100.0);
        assert_eq!(depot.state("O1"), "loaded");
        depot.wait_minutes(1).fix("V1", 0.0).wait_minutes(1).fix("V1", 40_000.0).wait_minutes(1).fix("V1", 40_100.0);
        assert_eq!(depot.state("O1"), "loaded", "a true fix in between ends the doubt");
        depot.wait_minutes(1).fix("V1", 40_200.0);
        assert_eq!(depot.state("O1"), "departed");
        assert_eq!(depot.dispatch("O1").departed.unwrap().at, time("08:05"));
    });
}

#[test]
fn wild_fixes_that_agree_with_nothing_are_never_believed() {
    both(|depot| {
        depot.fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0);
        for kilometres in [400.0, 900.0, 200.0, 700.0, 300.0, 800.0] {
            depot.wait_minutes(1).fix("V1", kilometres * 1_000.0);
        }
        assert_eq!(inside(depot), "true");
    });
}
