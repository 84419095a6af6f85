//! What holds for every detector: timers, late readings, re-alerts, restarts. Played at a door.

use gatehouse_common::{case::CaseState, time::BootId};

use super::{Depot, both, depot::time};
use crate::core::input::Line;

#[test]
fn a_condition_that_comes_true_by_time_alone_wakes_the_driver_to_the_second() {
    both(|depot| {
        depot.door("3", true).wait_seconds(585);
        assert_eq!(depot.next_wake_ms(), 15_001, "it does not wait for the next look at everything");
        depot.wait_seconds(15);
        assert!(depot.cases().is_empty());
        depot.wait_seconds(1);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
        depot.door("3", false).wait_seconds(105);
        assert_eq!((depot.next_wake_ms(), depot.cases().remove(0).as_str()), (15_000, "DOCK_BLOCKED D1/3 open"));
        depot.wait_seconds(15);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
    });
}

#[test]
fn a_buffer_that_empties_tells_the_past_and_opens_nothing() {
    both(|depot| {
        depot.until("11:00");
        depot.door_at("08:00", "3", true).door_at("08:20", "3", false);
        depot.door_at("08:30", "3", true).door_at("08:59", "3", false).wait_minutes(30);
        assert!(depot.cases().is_empty(), "{:?}", depot.cases());
    });
}

#[test]
fn what_a_buffer_said_last_counts_once_nothing_more_has_come_for_a_while() {
    both(|depot| {
        depot.until("11:00").door_at("08:00", "3", true).wait_seconds(119);
        assert!(depot.cases().is_empty());
        depot.wait_seconds(1);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
        assert_eq!(depot.case_views()[0].summary, "door 3 stands open since 2015-03-10T08:00:00Z");
    });
}

#[test]
fn a_device_whose_clock_is_slow_is_believed_though_each_of_its_readings_comes_late() {
    both(|depot| {
        depot.until("11:00");
        for minute in 0..12 {
            depot.door_at(&format!("10:{:02}", 30 + minute), "3", true).wait_minutes(1);
        }
        assert_eq!(depot.cases(), ["CLOCK_SKEW sensor open", "DOCK_BLOCKED D1/3 open"]);
    });
}

#[test]
fn a_reading_older_than_the_last_one_opens_and_clears_nothing() {
    both(|depot| {
        depot.door("3", false).until("09:00").door("3", false).door_at("08:10", "3", true).wait_minutes(30);
        assert!(depot.cases().is_empty());
        depot.door("3", true).wait_minutes(11);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
        depot.door_at("09:20", "3", false).wait_minutes(10);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    });
}

#[test]
fn a_case_that_goes_on_is_triggered_again_after_two_hours_and_is_never_a_second_one() {
    both(|depot| {
        depot.door("3", true).until("12:10");
        assert_eq!(depot.case_views()[0].triggers, 2);
        depot.until("12:11");
        assert_eq!((depot.cases().len(), depot.case_views()[0].triggers), (1, 3));
        depot.moves(depot.case("DOCK_BLOCKED"), CaseState::Resolved).until("16:30");
        assert_eq!(depot.case_views()[0].triggers, 3, "put to rest, it is not told again");
    });
}

#[test]
fn a_period_of_one_type_is_its_own() {
    let mut depot = Depot::new(true, None);
    depot.rules(|rules| {
        let periods = rules.detectors.types.entry(gatehouse_common::case::CaseType::DockBlocked).or_default();
        (periods.clear_after_ms, periods.realert_after_ms) = (Some(600_000), Some(1_800_000));
    });
    depot.door("3", true).until("08:41");
    assert_eq!(depot.case_views()[0].triggers, 2);
    depot.door("3", false).until("08:50");
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    depot.until("08:51");
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
}

#[test]
fn after_a_restart_of_the_machine_waits_begin_anew_and_still_end() {
    let mut depot = Depot::new(false, None);
    depot.door("3", true).wait_minutes(11).door("3", false).wait_minutes(1);
    depot.reboot(BootId("second".into()));
    depot.line(Line::Starting).wait_minutes(1);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    depot.wait_minutes(2);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
}

#[test]
fn a_start_looks_at_everything_that_came_true_while_nothing_ran() {
    let mut depot = Depot::new(false, None);
    depot.door("3", true);
    depot.passes_unseen(60);
    depot.restart();
    depot.line(Line::Starting);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    assert_eq!(depot.case_views()[0].opened_at, time("09:00"));
}
