//! Who wins when depot and hub acted apart: the rows of the table of concurrent pairs that this
//! version settles, each as a sentence, each folded on both sides and in both orders of arrival.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

use gatehouse_common::{
    decision::Mode,
    dispatch::{DispatchState, DispatchView, Evidence, HoldReason, Says, document_id, fold},
    document::{Actor, Document, Entry, EntryKey, gate::inspect},
    id::{DecisionId, DeviceId, OrderId},
    order::LineQuantity,
    time::{Hlc, UtcMs},
};

struct Side {
    actor: Actor,
    document: Document,
    clock: i64,
}

impl Side {
    fn new(actor: &str) -> Self {
        Self { actor: actor.parse().unwrap(), document: Document::new().unwrap(), clock: 1_000 }
    }

    fn says(&mut self, says: Says) -> EntryKey {
        self.clock += 1_000;
        let (entries, _) = self.document.entries::<Says>();
        let after = gatehouse_common::document::History::new(entries).heads();
        let entry = Entry { after, at: UtcMs(self.clock), hlc: Hlc { ms: self.clock, n: 0 }, by: "test".into(), says };
        let (keys, _) = self.document.append(&self.actor, &[entry]).unwrap();
        keys.into_iter().next().unwrap()
    }

    fn hears(&mut self, other: &Self) {
        for chunk in other.document.chunks() {
            let inspected = inspect(&chunk.bytes).unwrap();
            self.document.admit(&chunk.bytes, &inspected).unwrap();
        }
    }
}

fn load(quantity: u32) -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: "P1".parse().unwrap(), quantity }]
}

fn evidence(at: i64) -> Evidence {
    Evidence { at: UtcMs(at), readings: vec!["seen".into()] }
}

fn released(position: u64, order_version: u64, quantity: u32) -> Says {
    let device: DeviceId = "gw-1".parse().unwrap();
    Says::Released {
        mode: Mode::Offline,
        decision: DecisionId::of(&device, 1, position),
        order_version,
        load: load(quantity),
        overrides: vec![],
    }
}

fn held(reason: HoldReason) -> Says {
    Says::Held { reason, why: "because".into(), cases: vec![], decision: None }
}

fn cancelled() -> Says {
    Says::Cancelled { order_version: 2, why: "customer cancelled".into() }
}

fn terms(quantity: u32) -> Says {
    Says::Terms { order_version: 2, load: load(quantity), why: "quantity changed".into() }
}

/// Plans a dispatch of ten units that both sides know, then lets them act apart, then brings them together.
fn apart(edge: impl FnOnce(&mut Side), hub: impl FnOnce(&mut Side)) -> (DispatchView, Side, Side) {
    let mut depot = Side::new("site/D1/gw-1/1");
    let mut central = Side::new("hub/H/H/1");
    depot.says(Says::Planned {
        order: "SO-1".parse().unwrap(),
        order_version: 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: "V1".parse().unwrap(),
        carrier: "C1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: load(10),
        planned_departure: UtcMs(100_000),
    });
    central.hears(&depot);
    edge(&mut depot);
    hub(&mut central);
    let (before_depot, before_hub) = (depot.document.clone(), central.document.clone());
    depot.hears(&central);
    central.hears(&Side { actor: depot.actor.clone(), document: before_depot, clock: 0 });
    assert_ne!(before_hub.heads(), central.document.heads());
    assert_eq!(depot.document.heads(), central.document.heads());
    let view = fold(&depot.document).unwrap();
    assert_eq!(view, fold(&central.document).unwrap());
    (view, depot, central)
}

#[test]
fn row_1_released_and_not_loading_is_cancelled_by_the_erp() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
        },
        |h| {
            h.says(cancelled());
        },
    );
    assert_eq!(view.state, DispatchState::Cancelled);
    assert_eq!(view.superseded.len(), 1, "the release stays visible");
    assert!(!view.recall_seen);
    depot.says(Says::RecallSeen);
    assert!(fold(&depot.document).unwrap().recall_seen);
}

#[test]
fn row_2_on_board_and_cancelled_must_not_leave_and_ends_aborted_once_unloaded() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(Says::Loading { evidence: evidence(2_500) });
        },
        |h| {
            h.says(cancelled());
        },
    );
    assert_eq!((view.state, view.stop_departure), (DispatchState::Loading, true));
    depot.says(Says::Aborted { evidence: evidence(9_000) });
    let view = fold(&depot.document).unwrap();
    assert_eq!((view.state, view.stop_departure), (DispatchState::Aborted, false));
}

fn departs(depot: &mut Side) {
    depot.says(released(1, 1, 10));
    depot.says(Says::Loading { evidence: evidence(2_500) });
    depot.says(Says::Loaded { load: load(10), evidence: evidence(2_800) });
    depot.says(Says::Departed { load: load(10), evidence: evidence(3_000) });
}

#[test]
fn row_3_departed_stays_departed_though_the_order_was_cancelled() {
    let (view, ..) = apart(departs, |h| {
        h.says(cancelled());
    });
    assert_eq!(view.state, DispatchState::Departed);
    assert!(view.left_under_stop && view.cancelled.is_some());
    assert_eq!(view.superseded[0].1, "the goods had left");
}

#[test]
fn row_5_released_is_held_by_a_credit_hold_until_finance_lifts_it() {
    let (view, mut depot, mut central) = apart(
        |d| {
            d.says(released(1, 1, 10));
        },
        |h| {
            h.says(held(HoldReason::Credit));
        },
    );
    assert_eq!(view.state, DispatchState::Held);
    depot.says(Says::Ready);
    assert_eq!(fold(&depot.document).unwrap().state, DispatchState::Held, "the depot cannot lift a credit hold");
    central.says(Says::Lifted { holds: vec![view.holds[0].key.clone()], why: "paid".into() });
    depot.hears(&central);
    assert_eq!(fold(&depot.document).unwrap().state, DispatchState::Released);
}

#[test]
fn row_6_departed_stays_departed_though_the_customer_went_on_credit_hold() {
    let (view, ..) = apart(departs, |h| {
        h.says(held(HoldReason::Credit));
    });
    assert_eq!(view.state, DispatchState::Departed);
    assert_eq!(view.holds.len(), 1, "the hold stays visible");
}

#[test]
fn row_7_released_with_ten_is_held_when_the_order_shrinks_to_eight_and_leaves_with_eight() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
        },
        |h| {
            h.says(terms(8));
        },
    );
    assert_eq!((view.state, view.load[0].quantity), (DispatchState::Held, 8));
    depot.says(Says::Ready);
    depot.says(released(2, 2, 8));
    let view = fold(&depot.document).unwrap();
    assert_eq!((view.state, view.release.unwrap().load[0].quantity), (DispatchState::Released, 8));
}

#[test]
fn row_7_on_board_with_ten_must_not_leave_when_the_order_shrinks_to_eight() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(Says::Loading { evidence: evidence(2_500) });
        },
        |h| {
            h.says(terms(8));
        },
    );
    assert!(view.stop_departure);
    depot.says(released(2, 2, 8));
    assert!(!fold(&depot.document).unwrap().stop_departure);
}

#[test]
fn rows_8_and_9_departed_with_ten_stays_ten_whatever_the_order_says_now() {
    for quantity in [8, 12] {
        let (view, ..) = apart(departs, |h| {
            h.says(terms(quantity));
        });
        assert_eq!(view.state, DispatchState::Departed);
        assert_eq!(view.departed.unwrap().load, load(10));
        assert_eq!(view.load, load(quantity));
    }
}

#[test]
fn row_16_a_hold_beats_an_automatic_release_that_had_not_seen_it() {
    let (view, ..) = apart(
        |d| {
            d.says(held(HoldReason::Quality));
        },
        |h| {
            h.says(released(1, 1, 10));
        },
    );
    assert_eq!(view.state, DispatchState::Held);
}

#[test]
fn row_17_and_18_an_override_stands_against_the_hold_it_names_and_falls_to_one_it_had_not_seen() {
    let override_of = |hold: &EntryKey| match released(1, 1, 10) {
        Says::Released { decision, order_version, load, .. } => {
            Says::Released { mode: Mode::Override, decision, order_version, load, overrides: vec![hold.clone()] }
        }
        other => other,
    };
    let (lifted, ..) = apart(
        |d| {
            let hold = d.says(held(HoldReason::Gate));
            d.says(override_of(&hold));
        },
        |h| {
            h.says(Says::Lifted { holds: vec![], why: "nothing known of it here".into() });
        },
    );
    assert_eq!(lifted.state, DispatchState::Released);
    let (confirmed, ..) = apart(
        |d| {
            let hold = d.says(held(HoldReason::Gate));
            d.says(override_of(&hold));
        },
        |h| {
            h.says(held(HoldReason::Quality));
        },
    );
    assert_eq!(confirmed.state, DispatchState::Held);
}

#[test]
fn a_vehicle_or_another_depot_cannot_release_or_cancel() {
    for foreign in ["vehicle/D1/box-1/1", "site/D2/gw-2/1"] {
        let (_, depot, _) = apart(
            |d| {
                d.says(Says::Ready);
            },
            |h| {
                h.says(terms(10));
            },
        );
        let mut intruder = Side::new(foreign);
        intruder.hears(&depot);
        let before = fold(&intruder.document).unwrap().state;
        intruder.says(released(9, 2, 10));
        intruder.says(cancelled());
        let view = fold(&intruder.document).unwrap();
        assert_eq!((view.state, view.void.len()), (before, 2), "{foreign}");
    }
}

#[test]
fn one_order_of_one_depot_has_one_first_dispatch() {
    let order: OrderId = "SO-1".parse().unwrap();
    let site = "D1".parse().unwrap();
    assert_eq!(document_id(&order, &site, 1), document_id(&order, &site, 1));
    assert_ne!(document_id(&order, &site, 1), document_id(&order, &site, 2));
}
