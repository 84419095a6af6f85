//! A wall clock that is set neither ends nor prolongs a wait.

use gatehouse_common::{sync::Upward, time::BootId};

use super::{Depot, both};
use crate::core::state::{CaseSlot, LineSeen, VehicleState};

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
