//! What follows from time alone follows at its moment: the half-minute look never runs in these scenes.

use gatehouse_common::{
    decision::DecisionKind,
    dispatch::Says,
    gate::{GateKind, GateState, UnknownWhy},
    reading::ScanStep,
};

use super::{Depot, both};
use crate::core::input::Line;

const STALE: GateState = GateState::Unknown { why: UnknownWhy::Stale };

#[test]
fn a_gate_is_weighed_again_at_the_millisecond_at_which_its_fact_passes_its_limit() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 10);
        let (state, limit_ms) = depot.gate("O1", GateKind::Inventory);
        assert_eq!(state, GateState::Pass);
        let woken = depot.run_for(limit_ms);
        assert_eq!(depot.gate("O1", GateKind::Inventory).0, GateState::Pass, "exactly as old as allowed");
        depot.run_for(1);
        assert_eq!(depot.gate("O1", GateKind::Inventory).0, STALE);
        assert!(u64::from(woken) < limit_ms / 30_000, "{woken} looks in {limit_ms} ms");
    });
}

#[test]
fn a_lease_is_closed_at_the_moment_at_which_it_ends() {
    both(|depot| {
        depot.online().lease_for("L1", 100, 600_000);
        let granted = depot.wall();
        depot.run_for(599_999);
        assert!(depot.look().status().unwrap().lease.is_some());
        depot.run_for(1);
        let closed = depot.decisions();
        assert_eq!(
            closed.iter().map(|d| (d.kind, d.at.wall)).collect::<Vec<_>>(),
            [(DecisionKind::LeaseClosed, granted.plus(600_000))]
        );
    });
}

#[test]
fn the_hubs_silence_becomes_a_cut_at_its_moment() {
    both(|depot| {
        let silence = depot.core.profile().bundle.rules.hub_silence_max_ms;
        depot.online().line(Line::Lost).run_for(silence);
        assert!(!depot.look().status().unwrap().line.cut_off);
        depot.run_for(1);
        assert!(depot.look().status().unwrap().line.cut_off);
    });
}

#[test]
fn a_hold_of_the_hub_is_obeyed_in_the_commit_that_brings_it() {
    both(|depot| {
        depot.released("O1", 10);
        assert_eq!(depot.state("O1"), "released");
        let before = depot.decided().len();
        depot.hub_says("O1", Says::Cancelled { order_version: 1, why: "the customer called".into() });
        // Each step is one commit: the entry, what follows from it and the decision are in one.
        assert_eq!(depot.decided().len(), before + 1);
        assert_eq!(depot.decided().last().unwrap(), "recall -");
    });
}

/// What the decisions say that each lease was used for, and what the lease itself says.
fn is_accounted(depot: &Depot) -> bool {
    let leases = depot.store.snapshot().unwrap().leases;
    leases.iter().all(|lease| {
        let mut sum = gatehouse_common::lease::LeaseUse::default();
        for decision in depot.decisions() {
            if let Some(charge) = decision.lease.filter(|charge| charge.lease == lease.id) {
                sum.add(&charge.used);
            }
        }
        sum == lease.used
    })
}

#[test]
fn after_every_commit_the_lease_has_lost_exactly_what_the_decisions_used() {
    both(|depot| {
        depot.online().lease("L1", 1_000);
        for (order, quantity) in [("O1", 10), ("O2", 7), ("O3", 4)] {
            depot.prepared(order, quantity);
            assert!(is_accounted(depot));
            depot.scan(ScanStep::Staged, order, quantity);
            assert_eq!(depot.state(order), "released");
            // A crash here, after the commit and before anything else, loses nothing of either.
            depot.restart();
            assert!(is_accounted(depot));
        }
    });
    // The control: a release whose charge is in another transaction that a crash prevents.
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 1_000).prepared("O1", 10);
    depot.without_the_charge(|depot| {
        depot.scan(ScanStep::Staged, "O1", 10);
    });
    assert!(!is_accounted(&depot));
}
