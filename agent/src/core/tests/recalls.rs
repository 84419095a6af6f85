//! The hub's word ends a release; what physically happened stands.

use gatehouse_common::{
    decision::DecidedBy,
    dispatch::{HoldReason, Says},
    order::OrderStatus,
    reading::ScanStep,
    sync::Downward,
};

use super::{Depot, both};
use crate::core::input::Act;

fn cancelled() -> Says {
    Says::Cancelled { order_version: 2, why: "customer withdrew".into() }
}

fn credit_hold() -> Says {
    Says::Held { reason: HoldReason::Credit, why: "credit hold".into(), cases: vec![], decision: None }
}

fn terms(quantity: u32) -> Says {
    Says::Terms { order_version: 2, load: Depot::load(quantity), why: "quantity changed".into() }
}

#[test]
fn a_cancellation_before_loading_recalls_the_release_and_alarms_until_someone_has_seen_it() {
    both(|depot| {
        depot.released("O1", 10).hub_says("O1", cancelled());
        assert_eq!(depot.state("O1"), "cancelled");
        let recall = depot.decisions().pop().unwrap();
        assert_eq!(recall.by, DecidedBy::Hub { entry: "hub/HQ/hub-1/1-1".into() });
        assert_eq!(depot.look().board().unwrap()[0].alarm.as_ref().unwrap().why, "customer withdrew");
        depot.tap("dispatch", Act::RecallSeen { dispatch: Depot::id("O1") }).unwrap();
        assert!(depot.look().board().unwrap()[0].alarm.is_none());
        assert!(depot.dispatch("O1").recall_seen);
    });
}

#[test]
fn a_cancelled_order_is_not_planned_again_from_a_version_that_is_older_than_the_cancellation() {
    both(|depot| {
        depot.released("O1", 10).hub_says("O1", cancelled()).wait_minutes(5);
        assert_eq!(depot.look().board().unwrap().len(), 1);
        assert_eq!(depot.decided(), ["release normal", "recall -"]);
    });
}

#[test]
fn a_cancellation_while_loading_stops_the_departure_until_everything_is_unloaded() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        depot.hub_says("O1", cancelled());
        let view = depot.dispatch("O1");
        assert!(view.stop_departure && view.state.as_str() == "loading");
        depot.scan(ScanStep::Unloaded, "O1", 4);
        assert_eq!(depot.state("O1"), "loading");
        depot.scan(ScanStep::Unloaded, "O1", 6);
        assert_eq!(depot.state("O1"), "aborted");
    });
}

#[test]
fn a_vehicle_that_leaves_against_a_stop_has_left_and_opens_a_policy_case() {
    both(|depot| {
        depot.released("O1", 10).fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0);
        depot.at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10).hub_says("O1", cancelled());
        depot.at_door("3", None).drives_off();
        let view = depot.dispatch("O1");
        assert!(view.left_under_stop && view.departed.is_some());
        assert_eq!(depot.cases(), ["POLICY_VIOLATION O1 open"]);
    });
}

#[test]
fn a_cancellation_after_departure_undoes_nothing() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).hub_says("O1", cancelled());
        assert_eq!(depot.state("O1"), "departed");
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn a_credit_hold_recalls_and_once_lifted_the_gates_are_weighed_again_on_a_new_decision() {
    both(|depot| {
        depot.released("O1", 10).credit(true).hub_says("O1", credit_hold()).wait_minutes(5);
        assert_eq!(depot.state("O1"), "held");
        let holds = depot.dispatch("O1").holds.into_iter().filter(|h| h.reason == HoldReason::Credit);
        let keys = holds.map(|h| h.key).collect();
        depot.hub_says("O1", Says::Lifted { holds: keys, why: "paid".into() });
        assert_eq!(depot.state("O1"), "held", "credit is still refused by the last fact");
        depot.credit(false).wait_minutes(4);
        assert_eq!(depot.state("O1"), "released");
        let decided = depot.decided();
        assert_eq!((decided[0].as_str(), decided[1].as_str()), ("release normal", "recall -"));
        assert_eq!(decided.last().unwrap(), "release normal");
        let used = depot.look().status().unwrap().lease.unwrap().used;
        assert_eq!(used.value_minor, 10_000, "one load uses the lease once");
    });
}

#[test]
fn a_smaller_quantity_before_loading_recalls_and_releases_the_new_load() {
    both(|depot| {
        depot.released("O1", 10);
        let order = depot.order_of("O1", 8, OrderStatus::Released);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).hub_says("O1", terms(8));
        depot.wait_minutes(3);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.release.unwrap().load), ("released", Depot::load(8)));
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
    });
}

#[test]
fn an_alarm_stays_through_the_new_release_until_someone_has_seen_it() {
    both(|depot| {
        depot.released("O1", 10);
        let order = depot.order_of("O1", 8, OrderStatus::Released);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).hub_says("O1", terms(8)).wait_minutes(3);
        assert_eq!(depot.state("O1"), "released");
        assert_eq!(depot.look().board().unwrap()[0].alarm.as_ref().unwrap().why, "quantity changed");
        depot.tap("dispatch", Act::RecallSeen { dispatch: Depot::id("O1") }).unwrap();
        assert!(depot.look().board().unwrap()[0].alarm.is_none());
    });
}

#[test]
fn new_terms_that_come_before_their_order_release_nothing_until_the_order_is_there_and_then_once() {
    both(|depot| {
        depot.released("O1", 10).hub_says("O1", terms(8)).wait_minutes(3);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.decided(), ["release normal", "recall -"]);
        let act = Act::Override { dispatch: Depot::id("O1"), reason: "the customer waits".into() };
        let refused = depot.tap("supervisor", act).unwrap_err().to_string();
        assert!(refused.contains("new version is on its way"), "{refused}");
        let order = depot.order_of("O1", 8, OrderStatus::Released);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).wait_minutes(3);
        assert_eq!(depot.state("O1"), "released");
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
        let charged: Vec<_> =
            depot.decisions().into_iter().filter_map(|d| d.lease).map(|l| l.used.value_minor).collect();
        assert_eq!(charged, [10_000, 0], "the lease was charged for the larger load already");
    });
}

#[test]
fn a_smaller_quantity_while_loading_stops_until_the_surplus_is_out_by_count() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        let order = depot.order_of("O1", 8, OrderStatus::Released);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).hub_says("O1", terms(8));
        depot.wait_minutes(3);
        assert!(depot.dispatch("O1").stop_departure);
        depot.scan(ScanStep::Unloaded, "O1", 2).wait_minutes(3).seal("V1", true);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.stop_departure), ("loaded", false));
        assert_eq!(view.release.unwrap().load, Depot::load(8));
    });
}

#[test]
fn a_chunk_that_is_not_one_goes_to_quarantine_and_the_next_item_counts() {
    let mut depot = Depot::new(false, None);
    depot.online();
    let kind = gatehouse_common::id::DocumentKind::Dispatch;
    depot.tell(Downward::Chunk { document: Depot::id("O1"), kind, bytes: b"not a chunk".to_vec() });
    assert_eq!(depot.look().quarantine(1).unwrap()[0].reason, "not an Automerge chunk");
    depot.tell(Downward::Order("{}".into())).order("O2", 5);
    assert_eq!(depot.state("O2"), "planned");
}
