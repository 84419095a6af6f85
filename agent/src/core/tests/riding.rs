//! A vehicle unit: it says that it left and that it arrived, and decides nothing.

use gatehouse_common::{
    id::DocumentKind,
    order::Order,
    reading::ScanStep,
    sync::{Downward, Upward},
};

use super::{Depot, depot::time};

/// A vehicle unit at the depot, with order O1 on board as `change` makes it.
pub fn loaded_with(reload: bool, change: impl Fn(&mut Order)) -> Depot {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10).seal("V1", true);
    assert_eq!(depot.state("O1"), "loaded");
    let document = depot.hub_document("O1");
    let mut vehicle = Depot::new(reload, Some("V1"));
    vehicle.online().changes("O1", change);
    for chunk in document.chunks() {
        let (document, kind) = (Depot::id("O1"), DocumentKind::Dispatch);
        vehicle.tell(Downward::Chunk { document, kind, bytes: chunk.bytes });
    }
    vehicle
}

fn loaded_vehicle() -> Depot {
    loaded_with(true, |_| {})
}

#[test]
fn a_loaded_vehicle_that_leaves_the_yard_has_departed_with_what_was_counted_in() {
    let mut vehicle = loaded_vehicle();
    vehicle.fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).drives_off();
    let view = vehicle.dispatch("O1");
    assert_eq!((view.state.as_str(), view.departed.unwrap().load), ("departed", Depot::load(10)));
    assert!(view.void.is_empty());
    assert!(vehicle.decisions().is_empty());
}

#[test]
fn at_the_destination_it_has_delivered_by_the_time_of_the_first_fix_there() {
    let mut vehicle = loaded_vehicle();
    vehicle.fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).drives_off();
    let there = 0.5 * 111_195.0;
    vehicle.until("09:00").fix("V1", there - 200.0).wait_minutes(1).fix("V1", there);
    let view = vehicle.dispatch("O1");
    assert_eq!((view.state.as_str(), view.delivered.unwrap().at), ("delivered", time("09:00")));
    let chunks = vehicle.look().outbox(100).unwrap().into_iter();
    let of_dispatch = |says: &Upward| matches!(says, Upward::Chunk { kind: DocumentKind::Dispatch, .. });
    assert_eq!(chunks.filter(|w| of_dispatch(&w.says)).count(), 2);
}

#[test]
fn a_vehicle_that_is_not_loaded_departs_nothing_and_never_plans_an_order() {
    let mut vehicle = Depot::new(false, Some("V1"));
    vehicle.online().order("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).drives_off();
    assert!(!vehicle.has_dispatch("O1", 1));
}
