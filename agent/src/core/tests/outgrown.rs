//! A newer version of an order ends a release that it does not fit.

use gatehouse_common::{decision::DecidedBy, dispatch::Says, reading::ScanStep};

use super::{Depot, both, depot::time};
use crate::core::input::Act;

#[test]
fn an_order_that_moved_to_another_depot_is_not_released_by_the_first() {
    both(|depot| {
        depot.online().lease("L1", 1_000).prepared("O1", 10).changes("O1", |o| o.site = "D2".parse().unwrap());
        depot.scan(ScanStep::Staged, "O1", 10).until("10:30").online();
        assert_eq!((depot.state("O1").as_str(), depot.decided().len()), ("planned", 0));
        let act = Act::Override { dispatch: Depot::id("O1"), reason: "it stands here".into() };
        let refused = depot.tap("supervisor", act).unwrap_err().to_string();
        assert!(refused.contains("another depot"), "{refused}");
        assert!(depot.cases().is_empty(), "{:?}", depot.cases());
    });
}

#[test]
fn a_release_of_an_order_that_moved_to_another_depot_is_recalled_with_an_alarm_and_comes_back_with_the_order() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.site = "D2".parse().unwrap()).wait_minutes(3);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.decided(), ["release normal", "recall -"]);
        let recall = depot.decisions().pop().unwrap();
        assert_eq!(recall.by, DecidedBy::Rule { rule: "order changed".into() });
        assert_eq!(recall.reason, "the order leaves from D2 now");
        assert_eq!(depot.look().board().unwrap()[0].alarm.as_ref().unwrap().why, recall.reason);
        depot.order("O1", 10).wait_minutes(1);
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
    });
}

fn moves_away(version: u64) -> Says {
    Says::Reassigned { to: "D2".parse().unwrap(), order_version: version, why: "D2 has it in stock".into() }
}

#[test]
fn the_hubs_word_that_an_order_moved_away_recalls_a_release_and_is_not_planned_anew_before_the_order_is_here() {
    both(|depot| {
        depot.released("O1", 10).hub_says("O1", moves_away(2)).wait_minutes(3);
        assert_eq!(
            (depot.state("O1").as_str(), depot.decided()),
            ("cancelled", vec!["release normal".into(), "recall -".into()])
        );
        assert_eq!(depot.look().board().unwrap()[0].alarm.as_ref().unwrap().why, "D2 has it in stock");
        depot.changes("O1", |o| o.site = "D2".parse().unwrap()).wait_minutes(3);
        assert_eq!(depot.decided().len(), 2);
        depot.order("O1", 10).wait_minutes(1);
        assert_eq!(depot.dispatch_n("O1", 2).state.as_str(), "released", "it came back");
    });
}

#[test]
fn goods_that_were_on_board_before_the_order_moved_away_leave_from_here() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        depot.changes("O1", |o| o.site = "D2".parse().unwrap()).hub_says("O1", moves_away(2));
        let view = depot.dispatch("O1");
        assert!(!view.stop_departure && view.state.is_on_board() && view.reassigned_to.is_none());
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn a_release_for_a_vehicle_that_the_order_no_longer_names_is_recalled_and_decided_anew() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.vehicle = "V2".parse().unwrap());
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
        assert_eq!(depot.decisions()[1].reason, "the order names vehicle V2, not V1 now");
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.vehicle.as_str(), view.order_version), ("released", "V2", 2));
        assert!(depot.look().board().unwrap()[0].alarm.is_some());
        depot.wait_minutes(5);
        assert_eq!(depot.decided().len(), 3);
    });
}

#[test]
fn a_release_at_a_door_that_the_order_no_longer_names_waits_for_the_new_door() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.door = "4".parse().unwrap()).wait_minutes(5);
        assert_eq!((depot.state("O1").as_str(), depot.dispatch("O1").door.as_str()), ("held", "4"));
        depot.at_door("4", None).wait_minutes(3);
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
    });
}

#[test]
fn a_new_carrier_is_asked_before_anything_leaves_with_it() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.carrier = "OTHER".parse().unwrap()).wait_minutes(5);
        assert_eq!((depot.state("O1").as_str(), depot.dispatch("O1").carrier.as_str()), ("held", "OTHER"));
    });
}

#[test]
fn goods_in_a_vehicle_that_the_order_no_longer_names_are_unloaded_before_the_other_is_released() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        depot.changes("O1", |o| o.vehicle = "V2".parse().unwrap()).wait_minutes(3);
        let view = depot.dispatch("O1");
        assert!((view.stop_departure, view.vehicle.as_str()) == (true, "V1"), "the goods are in V1");
        let act = Act::Override { dispatch: Depot::id("O1"), reason: "it may go with V1".into() };
        let refused = depot.tap("supervisor", act).unwrap_err().to_string();
        assert!(refused.contains("must be unloaded first"), "{refused}");
        depot.scan(ScanStep::Unloaded, "O1", 10).at_door("3", None).scan(ScanStep::Staged, "O1", 10).wait_minutes(3);
        let view = depot.dispatch("O1");
        assert!((view.stop_departure, view.vehicle.as_str()) == (false, "V2"));
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
    });
}

#[test]
fn a_vehicle_that_leaves_though_the_order_no_longer_names_it_has_left_and_opens_a_policy_case() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0).at_door("3", Some("V1"));
        depot.scan(ScanStep::Loaded, "O1", 10).changes("O1", |o| o.vehicle = "V2".parse().unwrap());
        depot.wait_minutes(1).at_door("3", None).drives_off();
        assert_eq!(depot.state("O1"), "departed");
        assert_eq!(depot.cases(), ["POLICY_VIOLATION O1 open"]);
    });
}

#[test]
fn a_new_time_is_followed_without_taking_the_release_back() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.planned_departure = time("11:00")).wait_minutes(1);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.planned_departure), ("released", time("11:00")));
        assert_eq!(depot.decided(), ["release normal"]);
        let act = Act::Override { dispatch: Depot::id("O1"), reason: "once more please".into() };
        let refused = depot.tap("supervisor", act).unwrap_err().to_string();
        assert_eq!(refused, "it is released; there is nothing to override");
    });
}

#[test]
fn a_new_vehicle_that_comes_with_new_terms_is_planned_whichever_is_heard_first() {
    both(|depot| {
        let terms = || Says::Terms { order_version: 2, load: Depot::load(8), why: "quantity changed".into() };
        let changed = |depot: &mut Depot, id: &str| {
            depot.changes(id, |o| {
                o.vehicle = "V2".parse().unwrap();
                o.lines[0].quantity = 8;
            });
        };
        depot.released("O1", 10).hub_says("O1", terms());
        changed(depot, "O1");
        depot.prepared("O2", 10).scan(ScanStep::Staged, "O2", 10);
        changed(depot, "O2");
        depot.hub_says("O2", terms()).wait_minutes(3);
        for order in ["O1", "O2"] {
            let view = depot.dispatch(order);
            assert_eq!((view.state.as_str(), view.vehicle.as_str()), ("released", "V2"), "{order}");
            assert_eq!(view.release.unwrap().load, Depot::load(8), "{order}");
        }
    });
}
