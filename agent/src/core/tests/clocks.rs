//! A wall clock that is set neither ends nor prolongs a wait.

use gatehouse_common::{reading::ScanStep, sync::Upward, time::BootId};

use super::{Depot, both};
use crate::core::{
    decision::Effect,
    input::{Act, Line},
    state::{CaseSlot, LineSeen, VehicleState},
};

fn blocked_and_closed(depot: &mut Depot) {
    depot.door("3", true).wait_minutes(11).door("3", false);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
}

#[test]
fn a_clock_set_forward_clears_no_case_and_one_set_back_keeps_none_open() {
    both(|depot| {
        blocked_and_closed(depot);
        depot.clock_set(120).wait_minutes(1);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
        depot.clock_set(-240).wait_minutes(1);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
    });
}

#[test]
fn after_a_reboot_with_an_unconfirmed_clock_the_wait_of_a_case_begins_anew_and_ends() {
    let mut depot = Depot::new(false, None);
    blocked_and_closed(&mut depot);
    depot.wait_minutes(1).reboot(BootId("second".into()));
    depot.wait_minutes(2);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    depot.wait_minutes(1);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 resolved"]);
}

#[test]
fn the_hub_is_told_how_the_device_is_also_after_its_clock_was_set_back() {
    both(|depot| {
        let told =
            |depot: &mut Depot| depot.hub_hears().iter().filter(|says| matches!(says, Upward::Status(_))).count();
        depot.online().wait_minutes(1);
        assert_eq!(told(depot), 1);
        depot.clock_set(-240).wait_minutes(4);
        assert_eq!(told(depot), 0);
        depot.wait_minutes(1);
        assert_eq!(told(depot), 1);
    });
}

#[test]
fn state_that_an_older_program_wrote_is_read() {
    let slot: CaseSlot = serde_json::from_str(r#"{"occurrence":2,"on":true,"cleared_since":1425974400000}"#).unwrap();
    assert_eq!((slot.occurrence, slot.on, slot.gone_since), (2, true, None));
    let line: LineSeen =
        serde_json::from_str(r#"{"up":true,"recalls_known":true,"heard":null,"cut_off":false}"#).unwrap();
    assert!(line.up && !line.starting);
    let yard = r#"{"inside":true,"changed_at":5,"candidate":null}"#;
    let vehicle: VehicleState =
        serde_json::from_str(&format!(r#"{{"fix":null,"yard":{yard},"seal":[true,5]}}"#)).unwrap();
    assert!(vehicle.doubted.is_empty() && vehicle.yard.inside == Some(true));
}

#[test]
fn every_commit_says_its_time_by_both_clocks_and_what_is_left_of_the_lease() {
    both(|depot| {
        depot.online().lease_for("L1", 100, 3_600_000).wait_minutes(10).prepared("O1", 10);
        let stamp = depot.stamps().last.unwrap();
        assert_eq!((stamp.at.boot.0.as_str(), stamp.at.wall), ("boot", depot.wall()));
        assert_eq!(stamp.lease_left_ms.into_iter().collect::<Vec<_>>(), [("L1".parse().unwrap(), Some(3_000_000))]);
    });
}

#[test]
fn after_a_reboot_the_lease_is_suspended_and_only_a_person_releases_until_the_clock_is_confirmed() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).prepared("O2", 5).cut_off();
        depot.reboot(BootId("second".into()));
        depot.credit(false).line(Line::Lost).scan(ScanStep::Staged, "O1", 10).wait_minutes(1);
        assert_ne!(depot.state("O1"), "released");
        let dispatch = Depot::id("O1");
        let act = Act::Override { dispatch, reason: "the customer waits at the door".into() };
        depot.tap("supervisor", act).unwrap();
        assert_eq!(depot.decided().last().unwrap(), "override override");
        depot.clock_confirmed();
        depot.scan(ScanStep::Staged, "O2", 5).wait_minutes(4);
        assert_eq!(depot.state("O2"), "released");
    });
}

#[test]
fn a_lease_goes_on_from_the_last_commit_of_the_boot_before_though_its_clock_was_confirmed_only_later() {
    both(|depot| {
        depot.clock_in_doubt();
        depot.online().lease_for("L1", 100, 3_600_000).wait_minutes(10);
        depot.clock_confirmed();
        depot.wait_minutes(5).order("O1", 10).reboot(BootId("second".into()));
        depot.wait_minutes(20);
        depot.clock_confirmed();
        depot.order("O2", 10);
        let left = depot.stamps().last.unwrap().lease_left_ms;
        assert_eq!(left.into_values().collect::<Vec<_>>(), [Some(25 * 60_000)]);
    });
}

#[test]
fn a_lease_that_got_more_time_after_a_reboot_has_it_and_its_stamp_counts_after_the_next() {
    const MINUTE: u64 = 60_000;
    both(|depot| {
        let first = depot.wall();
        depot.online().lease_for("L1", 100, 30 * MINUTE).wait_minutes(20).reboot(BootId("second".into()));
        depot.clock_confirmed();
        depot.online().wait_minutes(1).order("O1", 10);
        assert_eq!(depot.lease_left_ms(), [Some(9 * MINUTE)]);
        depot.lease_with("L1", 100, 60 * MINUTE, |lease| lease.granted_at = first).wait_minutes(30).order("O2", 10);
        assert_eq!(depot.lease_left_ms(), [Some(30 * MINUTE)], "what was left before the reboot was left of less");
        // By the wall clock alone 45 minutes would be left.
        depot.clock_set(-20).order("O3", 10).reboot(BootId("third".into()));
        depot.clock_confirmed();
        depot.wait_minutes(5).order("O4", 10);
        assert_eq!(depot.lease_left_ms(), [Some(25 * MINUTE)]);
    });
}

#[test]
fn a_lease_that_is_held_over_two_reboots_goes_on_from_the_last_commit_before_the_second() {
    both(|depot| {
        // What was left can be known by stamps alone.
        depot.clock_in_doubt();
        depot.online().lease_for("L1", 100, 3_600_000).wait_minutes(10);
        depot.clock_confirmed();
        depot.wait_minutes(5).order("O1", 10).reboot(BootId("second".into()));
        depot.clock_confirmed();
        depot.wait_minutes(20).order("O2", 10).reboot(BootId("third".into()));
        depot.clock_confirmed();
        depot.wait_minutes(5).order("O3", 10);
        assert_eq!(depot.lease_left_ms(), [Some(20 * 60_000)]);
    });
}

#[test]
fn a_clock_that_was_set_back_over_a_reboot_gives_no_time_back_though_somebody_confirms_it() {
    both(|depot| {
        depot.online().lease_for("L1", 100, 3_600_000).prepared("O1", 10).wait_minutes(50).order("O2", 10);
        depot.reboot(BootId("second".into()));
        // Later than the lease came, and earlier than what was committed since.
        depot.clock_set(-40);
        depot.clock_confirmed();
        depot.order("O3", 10);
        assert_eq!(depot.stamps().last.unwrap().lease_left_ms.into_values().collect::<Vec<_>>(), [None]);
        let fact = &depot.store.snapshot().unwrap().facts[0];
        assert!(depot.core.believed(&depot.moment()).age_of(fact.report.at, &fact.received).is_none());
    });
}

#[test]
fn in_one_boot_a_clock_set_back_prolongs_no_lease() {
    both(|depot| {
        depot.online().lease_for("L1", 100, 3_600_000).wait_minutes(30).clock_set(-240);
        depot.wait_minutes(29);
        assert!(depot.look().status().unwrap().lease.is_some());
        depot.wait_minutes(1);
        assert!(depot.look().status().unwrap().lease.is_none());
    });
}

#[test]
fn a_fix_of_the_own_vehicle_confirms_the_clock_and_no_other_does() {
    let mut depot = Depot::new(false, Some("V1"));
    depot.clock_in_doubt();
    let confirms = |depot: &Depot| depot.last.effects.contains(&Effect::ClockConfirmed);
    depot.fix("V2", 0.0);
    assert!(!confirms(&depot), "another vehicle's");
    depot.fix_at(depot.wall().plus(-60_000), "V1", 0.0);
    assert!(!confirms(&depot), "one that was on its way for a minute says nothing of now");
    depot.fix("V1", 0.0);
    assert!(confirms(&depot));
    let mut gateway = Depot::new(false, None);
    gateway.clock_in_doubt();
    gateway.fix("V1", 0.0);
    assert!(!confirms(&gateway), "a gateway rides in no vehicle");
}
