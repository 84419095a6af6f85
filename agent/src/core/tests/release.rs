//! An order from the first word to the road.

use gatehouse_common::{
    decision::{ChainHead, Mode},
    fact::{FactKey, FactValue},
    gate::{GateKind, GateState},
    reading::{ReadingValue, ScanStep},
    sync::Upward,
};

use super::{Depot, both, depot::time};
use crate::core::input::{Act, Line};

#[test]
fn an_order_waits_for_its_gates_is_released_loaded_and_departs_with_what_was_counted() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10);
        assert_eq!(depot.state("O1"), "planned");
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "released");
        assert_eq!(depot.decided(), ["release normal"]);
        depot.fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0).at_door("3", Some("V1"));
        assert_eq!(depot.state("O1"), "loading");
        depot.scan(ScanStep::Loaded, "O1", 6).scan(ScanStep::Loaded, "O1", 4);
        assert_eq!(depot.state("O1"), "loading");
        depot.wait_minutes(1).seal("V1", true);
        assert_eq!(depot.state("O1"), "loaded");
        depot.at_door("3", None).wait_minutes(1).fix("V1", 500.0);
        assert_eq!(depot.state("O1"), "loaded", "one fix outside is no departure");
        depot.wait_minutes(1).fix("V1", 900.0);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.departed.clone().unwrap().load), ("departed", Depot::load(10)));
        assert_eq!(view.departed.unwrap().at, time("08:03"), "the first fix outside is when it left");
        assert!(depot.cases().is_empty());
    });
}

#[test]
fn every_gate_and_its_facts_stand_in_the_signed_decision_and_the_lease_is_charged() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10);
    let decision = depot.decisions().remove(0);
    assert_eq!(decision.gates.len(), GateKind::USUAL.len());
    assert!(decision.gates.iter().all(|g| g.state == GateState::Pass));
    let charge = decision.lease.unwrap();
    assert_eq!((charge.lease.as_str(), charge.used.value_minor), ("L1", 10_000));
    let status = depot.look().status().unwrap();
    assert_eq!(status.lease.unwrap().used, charge.used);
    let mut head = ChainHead::start("gw-1".parse().unwrap(), 1);
    let key = depot.core.profile().key.public();
    for says in depot.hub_hears() {
        if let Upward::Decision(sealed) = says {
            head.follow(&sealed, &key).unwrap();
        }
    }
    assert_eq!(head.position, 1);
}

#[test]
fn a_shortfall_holds_with_one_case_and_clears_itself_before_the_release() {
    both(|depot| {
        depot.released("O1", 10).online();
        depot.prepared("O2", 20).inventory("O2", 12).wait_minutes(3).inventory("O2", 13);
        assert_eq!(depot.state("O2"), "held");
        assert_eq!(depot.cases(), ["INV_SHORTFALL O2 open"]);
        depot.scan(ScanStep::Staged, "O2", 20).inventory("O2", 20);
        assert_eq!(depot.state("O2"), "held", "gates that flap release nothing");
        depot.wait_minutes(3);
        assert_eq!(
            (depot.state("O2").as_str(), depot.cases().as_slice()),
            ("released", ["INV_SHORTFALL O2 resolved".to_owned()].as_slice())
        );
        let case = depot.case_views().remove(0);
        assert_eq!(case.actions.first().map(String::as_str), Some("split and back-order"));
        assert_eq!(depot.decided(), ["release normal", "hold -", "release normal"]);
    });
}

#[test]
fn what_nobody_has_said_waits_until_the_deadline_and_then_holds_with_a_case_for_each() {
    both(|depot| {
        depot.online().lease("L1", 100).order("O1", 10).credit(false).at_door("3", None).papers("O1");
        depot.scan(ScanStep::Staged, "O1", 10).until("09:29").online();
        assert_eq!((depot.state("O1").as_str(), depot.cases().len()), ("planned", 0));
        depot.credit(false).wait_minutes(1);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.cases(), ["CAPACITY_SHORT O1 open", "CARRIER_NO_RESPONSE O1 open", "INV_UNCONFIRMED O1 open"]);
    });
}

#[test]
fn a_carrier_that_declines_holds_at_once_and_its_acceptance_leads_to_a_release() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).scan(ScanStep::Staged, "O1", 5).carrier("O1", false);
        assert_eq!(depot.cases(), ["CARRIER_REJECT O1 open"]);
        depot.scan(ScanStep::Staged, "O1", 5).carrier("O1", true).wait_minutes(4);
        assert_eq!(depot.state("O1"), "released");
    });
}

#[test]
fn only_stale_sources_that_the_class_lets_be_bridged_give_a_degraded_release() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).until("09:20").online();
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "released");
        let decision = depot.decisions().remove(0);
        assert_eq!(decision.mode, Some(Mode::Degraded));
        let inventory = decision.gates.iter().find(|g| g.gate == GateKind::Inventory).unwrap();
        assert_eq!((inventory.limit_ms, inventory.inputs[0].age_ms), (6 * 3_600_000, Some(80 * 60_000)));
    });
}

#[test]
fn no_release_leaves_while_recalls_may_have_been_missed() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).line(Line::Up { recalls_known: false });
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "planned");
        depot.online();
        assert_eq!(depot.state("O1"), "released");
    });
}

#[test]
fn what_an_order_asks_more_after_departure_becomes_its_next_dispatch() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10);
        assert_eq!(depot.state("O1"), "departed");
        assert!(!depot.has_dispatch("O1", 2));
        depot.order("O1", 12);
        let next = depot.dispatch_n("O1", 2);
        assert_eq!((next.state.as_str(), next.load), ("planned", Depot::load(2)));
        depot.inventory("O1", 2).scan(ScanStep::Staged, "O1", 2);
        assert_eq!(depot.dispatch_n("O1", 2).state.as_str(), "released");
    });
}

#[test]
fn a_plan_that_changes_before_any_release_is_followed_without_asking() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).order("O1", 8).scan(ScanStep::Staged, "O1", 8);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.load, view.order_version), ("released", Depot::load(8), 2));
        depot.order("O1", 8);
        assert_eq!(depot.decided().len(), 1);
    });
}

#[test]
fn the_same_feed_twice_changes_nothing() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10);
    let (decisions, cases) = (depot.decided(), depot.cases());
    let waiting = depot.look().outbox(1_000).unwrap().len();
    depot.versions.clear();
    depot.order("O1", 10).lease("L1", 1_000);
    assert_eq!((depot.decided(), depot.cases()), (decisions, cases));
    assert_eq!(depot.look().outbox(1_000).unwrap().len(), waiting);
}

#[test]
fn a_hold_by_a_person_stands_though_every_gate_is_met() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10);
        depot.tap("dispatch", Act::Hold { dispatch: Depot::id("O1"), reason: "customer called".into() }).unwrap();
        depot.scan(ScanStep::Staged, "O1", 10).wait_minutes(5);
        assert_eq!(depot.state("O1"), "held");
    });
}

#[test]
fn a_door_that_opens_and_closes_makes_the_word_on_what_stands_there_no_newer() {
    both(|depot| {
        depot.online().lease("L1", 100).at_door("3", None).until("08:30").door("3", true).door("3", false);
        depot.order("O1", 10).credit(false);
        let door = |depot: &Depot| {
            let facts = depot.store.snapshot().unwrap().facts;
            let fact = facts.into_iter().find(|f| matches!(f.report.key, FactKey::Dock { .. })).unwrap();
            (fact.report.at, fact.report.value)
        };
        let said = |occupied, open| FactValue::Dock { occupied, open, vehicle: None };
        assert_eq!(door(depot), (time("08:00"), said(Some(false), Some(false))));
    });
}

#[test]
fn a_first_word_on_occupancy_counts_though_it_is_older_than_the_last_on_the_door() {
    both(|depot| {
        depot.online().lease("L1", 100).order("O1", 10).inventory("O1", 10).capacity("O1").carrier("O1", true);
        depot.credit(false).papers("O1").door("3", false).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "planned", "nobody has said whether the door is taken");
        let door = "3".parse().unwrap();
        depot.reads_at(time("07:59"), ReadingValue::Occupancy { door, occupied: false, vehicle: None });
        assert_eq!(depot.state("O1"), "released");
    });
}
