//! What was counted belongs to one dispatch of its order, and a departure needs a second witness.

use gatehouse_common::{order::OrderStatus, reading::ScanStep, sync::Downward};

use super::{Depot, both, depot::time};

/// The ERP cancels an order and then wants it after all.
fn wanted_again<'a>(depot: &'a mut Depot, order: &str) -> &'a mut Depot {
    use gatehouse_common::dispatch::Says;
    depot.hub_says(order, Says::Cancelled { order_version: 2, why: "customer withdrew".into() });
    let order = depot.order_of(order, 10, OrderStatus::Cancelled);
    depot.tell(Downward::Order(serde_json::to_string(&order).unwrap()))
}

#[test]
fn when_the_reinstated_dispatch_leaves_the_cancelled_one_has_not_left() {
    // Which of the two is looked at first follows from the hashes that name them.
    for order in ["O1", "O2", "O3", "O4", "O5", "O6"] {
        both(|depot| {
            wanted_again(depot.released(order, 10), order).order(order, 10);
            assert_eq!(depot.dispatch_n(order, 2).state.as_str(), "released");
            depot.drives_off_with(order, 10).wait_minutes(3);
            let (first, second) = (depot.dispatch(order), depot.dispatch_n(order, 2));
            assert_eq!((first.state.as_str(), second.state.as_str()), ("cancelled", "departed"));
            assert_eq!((first.departed, second.departed.unwrap().load), (None, Depot::load(10)));
            assert!(depot.cases().is_empty(), "{:?}", depot.cases());
        });
    }
}

#[test]
fn goods_put_in_after_a_cancellation_leave_as_the_cancelled_dispatch() {
    both(|depot| {
        wanted_again(depot.released("O1", 10), "O1").drives_off_with("O1", 10);
        assert_eq!(depot.dispatch("O1").departed.unwrap().load, Depot::load(10));
        assert_eq!(depot.cases(), ["POLICY_VIOLATION O1 open"]);
    });
}

#[test]
fn after_an_abort_the_next_dispatch_is_not_loading_before_something_is_put_in() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        wanted_again(depot, "O1").scan(ScanStep::Unloaded, "O1", 10).at_door("3", None);
        assert_eq!(depot.state("O1"), "aborted");
        depot.order("O1", 10).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.dispatch_n("O1", 2).state.as_str(), "released");
        depot.wait_minutes(1).scan(ScanStep::Loaded, "O1", 4);
        assert_eq!(depot.dispatch_n("O1", 2).loading_at, Some(time("08:01")));
    });
}

#[test]
fn a_scan_that_comes_after_its_dispatch_has_left_is_not_in_the_next_vehicle() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).order("O1", 15);
        let value = gatehouse_common::reading::ReadingValue::Scan {
            step: ScanStep::Loaded,
            order: "O1".parse().unwrap(),
            line: 1,
            quantity: 5,
        };
        depot.reads_at(time("08:06"), value);
        depot.inventory("O1", 5).scan(ScanStep::Staged, "O1", 5).wait_minutes(3);
        assert_eq!(depot.dispatch_n("O1", 2).state.as_str(), "released");
    });
}

#[test]
fn a_door_that_was_free_before_loading_began_is_no_witness_of_a_departure() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0);
        depot.scan(ScanStep::Loaded, "O1", 10).drives_off();
        assert_eq!(depot.state("O1"), "loading", "its position is the only witness");
        depot.seal("V1", true);
        assert_eq!(depot.state("O1"), "departed");
    });
}

#[test]
fn a_door_taken_by_who_knows_whom_is_no_witness_of_a_departure_and_one_taken_by_another_is() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0);
        depot.scan(ScanStep::Loaded, "O1", 10).wait_minutes(1);
        let door = "3".parse().unwrap();
        depot.reads(gatehouse_common::reading::ReadingValue::Occupancy { door, occupied: true, vehicle: None });
        depot.drives_off();
        assert_eq!(depot.state("O1"), "loading");
        depot.at_door("3", Some("V2"));
        assert_eq!(depot.state("O1"), "departed");
    });
}
