//! A source is pretended to be gone.

use gatehouse_common::{decision::DecisionKind, dispatch::Says, reading::ScanStep, sync::Downward, time::BootId};

use super::depot::{Depot, both, time};
use crate::core::{
    decision::{Record, TapRefused},
    input::{Act, Line},
};

impl Depot {
    fn drill(&mut self, source: &str, minutes: u64) -> &mut Self {
        self.tap("supervisor", drill(source, minutes)).unwrap();
        self
    }

    fn ends_drill(&mut self, source: &str) {
        self.tap("supervisor", Act::StopDrill { source: source.into() }).unwrap();
    }

    fn held_lease(&self) -> String {
        self.look().status().unwrap().lease.unwrap().lease.id.as_str().to_owned()
    }

    /// The leases that were closed, and whether anything was used of each.
    fn closed_leases(&self) -> Vec<(String, bool)> {
        let closed = self.decisions().into_iter().filter(|record| record.kind == DecisionKind::LeaseClosed);
        let charges = closed.map(|record| record.lease.unwrap());
        charges.map(|charge| (charge.lease.as_str().to_owned(), !charge.used.is_nothing())).collect()
    }

    fn turns(&self) -> Vec<String> {
        let turns = self.look().drill_turns(10).unwrap();
        turns
            .into_iter()
            .rev()
            .map(|t| format!("{} {} {} {}", t.source, t.turn, t.by, t.reason).trim().to_owned())
            .collect()
    }
}

fn drill(source: &str, minutes: u64) -> Act {
    Act::StartDrill { source: source.into(), lasts_ms: minutes * 60_000, reason: "we learn to do without".into() }
}

#[test]
fn facts_of_a_source_that_is_pretended_gone_age_and_its_news_counts_when_the_drill_ends() {
    both(|depot| {
        depot
            .under("[classes.standard]\ndegrade = []\n")
            .online()
            .lease("L1", 100)
            .prepared("O1", 10)
            .drill("wms", 100);
        depot.wait_minutes(65).credit(false).inventory("O1", 10).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(
            depot.state("O1"),
            "planned",
            "the word of the WMS is kept back, and what it said before is too old"
        );
        depot.wait_minutes(34);
        assert_eq!(depot.state("O1"), "held");
        assert!(depot.case_views().iter().all(|case| case.summary.starts_with("DRILL without wms: ")));
        assert_eq!(depot.decisions().pop().unwrap().drills, ["wms"]);
        depot.wait_minutes(5);
        assert_eq!(depot.state("O1"), "released", "it ended by itself and the news of 09:05 counts");
        assert!(depot.decisions().pop().unwrap().drills.is_empty());
        assert_eq!(depot.turns(), ["wms started ann we learn to do without", "wms ended rule drill"]);
        assert!(depot.look().status().unwrap().drills.is_empty());
    });
    let mut without = Depot::new(false, None);
    without.under("[classes.standard]\ndegrade = []\n").online().lease("L1", 100).prepared("O1", 10);
    without.wait_minutes(65).credit(false).inventory("O1", 10).scan(ScanStep::Staged, "O1", 10);
    assert_eq!(without.state("O1"), "released", "without a drill it leaves");
}

#[test]
fn a_depot_without_its_hub_releases_under_the_lease_and_obeys_every_hold_and_recall() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).prepared("O2", 5).drill("hub", 60);
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.decided().pop().unwrap(), "release offline");
        let decision = depot.decisions().pop().unwrap();
        assert_eq!(decision.drills, ["hub"]);
        let cancelled = Says::Cancelled { order_version: 2, why: "customer withdrew".into() };
        depot.hub_says("O1", cancelled);
        assert_eq!((depot.state("O1").as_str(), depot.decided().pop().unwrap().as_str()), ("cancelled", "recall -"));
        let order = depot.order_of("O2", 5, gatehouse_common::order::OrderStatus::Cancelled);
        depot.tell(Downward::Order(serde_json::to_string(&order).unwrap())).scan(ScanStep::Staged, "O2", 5);
        assert_ne!(depot.state("O2"), "released");
        // A lease that comes meanwhile counts from when it came.
        depot.lease("L2", 100).wait_minutes(10);
        let held = |depot: &Depot| depot.look().status().unwrap().lease.unwrap();
        assert_eq!(held(depot).lease.id.as_str(), "L1");
        let came = depot.now().plus(-600_000);
        depot.tap("supervisor", Act::StopDrill { source: "hub".into() }).unwrap();
        assert_eq!((held(depot).lease.id.as_str(), held(depot).received.wall), ("L2", came));
        assert_eq!(depot.turns()[1], "hub stopped ann");
    });
}

#[test]
fn of_the_leases_that_came_in_a_drill_the_last_is_held_and_those_passed_over_are_closed_unused() {
    both(|depot| {
        depot.released("O1", 10).drill("hub", 60);
        for lease in ["L2", "L3", "L4"] {
            depot.wait_minutes(1).lease(lease, 100);
        }
        assert_eq!((depot.held_lease().as_str(), depot.closed_leases()), ("L1", vec![]));
        assert_eq!(depot.leases_to_tell(), ["L1", "L2", "L3", "L4"], "a hub that forgot them has to know");
        depot.ends_drill("hub");
        let closed = [("L1", true), ("L2", false), ("L3", false)].map(|(lease, used)| (lease.to_owned(), used));
        assert_eq!((depot.held_lease().as_str(), depot.closed_leases()), ("L4", closed.to_vec()));
    });
}

#[test]
fn more_time_that_came_in_a_drill_closes_nothing_and_is_there_after_a_reboot() {
    const MINUTE: u64 = 60_000;
    both(|depot| {
        let first = depot.wall();
        depot.online().lease_for("L1", 100, 30 * MINUTE).drill("hub", 60).wait_minutes(10);
        depot.lease_with("L1", 100, 60 * MINUTE, |lease| lease.granted_at = first).wait_minutes(5);
        depot.reboot(BootId("second".into()));
        depot.clock_confirmed();
        depot.wait_minutes(1);
        assert_eq!((depot.lease_left_ms(), depot.closed_leases()), (vec![Some(54 * MINUTE)], vec![]));
    });
}

#[test]
fn a_drill_ends_before_it_keeps_more_leases_than_it_may() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).drill("hub", 60);
    for n in 2..=32 {
        depot.wait_minutes(1).lease(&format!("L{n}"), 100);
    }
    depot.wait_minutes(1);
    assert_eq!((depot.held_lease().as_str(), depot.closed_leases().len()), ("L1", 0));
    depot.lease("L33", 100).wait_minutes(1);
    assert_eq!((depot.held_lease().as_str(), depot.closed_leases().len()), ("L33", 32));
    assert_eq!(depot.turns()[1], "hub ended rule drill");
}

#[test]
fn a_lease_that_an_older_program_kept_for_the_end_of_a_drill_is_taken() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).drill("hub", 60).wait_minutes(1).lease("L2", 100);
    let rules = depot.store.snapshot().unwrap().rules;
    let (key, kept) = rules.into_iter().find(|(key, _)| key == "kept_lease").unwrap();
    // It kept one alone, not a list of them.
    let body = kept.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap().to_owned();
    depot.store.commit(&[Record::Rule { key, body }]).unwrap();
    depot.restart();
    assert_eq!(depot.leases_to_tell(), ["L1", "L2"]);
    depot.ends_drill("hub");
    assert_eq!((depot.held_lease().as_str(), depot.closed_leases()), ("L2", vec![("L1".to_owned(), false)]));
    depot.restart();
    assert_eq!(depot.leases_to_tell(), ["L2", "L1"], "it waits for nothing any more");
}

#[test]
fn readings_of_a_sensor_that_is_pretended_gone_are_kept_and_taken_and_broken_seals_count_at_once() {
    both(|depot| {
        depot.online().drill("sensor", 30).door("3", true).wait_minutes(2).at_door("4", Some("V9"));
        assert!(depot.core.doors.get("3").is_none() && depot.look().readings(9).unwrap().len() == 2);
        depot.seal("V1", false);
        assert_eq!(depot.core.vehicles.get("V1").and_then(|v| v.seal).map(|(whole, _)| whole), Some(false));
        depot.wait_minutes(29);
        let door = depot.core.doors.get("3").cloned().unwrap();
        assert_eq!((door.open, door.open_since), (Some(true), Some(time("08:00"))));
        assert_eq!(depot.core.doors.get("4").and_then(|d| d.occupied), Some(true));
    });
}

#[test]
fn a_drill_ends_at_a_restart_of_the_machine_and_goes_on_over_one_of_the_program() {
    let mut depot = Depot::new(false, None);
    depot.online().drill("wms", 30).restart();
    depot.line(Line::Starting);
    assert_eq!(depot.look().status().unwrap().drills[0].source, "wms");
    depot.reboot(gatehouse_common::time::BootId("another".into()));
    depot.line(Line::Starting);
    assert!(depot.look().status().unwrap().drills.is_empty());
    assert_eq!(depot.turns()[1], "wms ended rule drill");
}

#[test]
fn a_drill_is_refused_without_right_reason_or_end() {
    let mut depot = Depot::new(false, None);
    assert!(matches!(depot.tap("dispatch", drill("wms", 30)), Err(TapRefused::Role { .. })));
    let no_reason = Act::StartDrill { source: "wms".into(), lasts_ms: 60_000, reason: " ".into() };
    assert!(matches!(depot.tap("supervisor", no_reason), Err(TapRefused::Reason { .. })));
    for minutes in [0, 481] {
        let refused = depot.tap("supervisor", drill("wms", minutes)).unwrap_err();
        assert_eq!(refused.to_string(), "a drill lasts between a minute and 8 hours");
    }
    depot.drill("wms", 30);
    let twice = depot.tap("supervisor", drill("wms", 30)).unwrap_err();
    assert_eq!(twice.to_string(), "a drill without wms is on already");
    let none = depot.tap("supervisor", Act::StopDrill { source: "erp".into() }).unwrap_err();
    assert_eq!(none.to_string(), "no drill without erp is on");
}
