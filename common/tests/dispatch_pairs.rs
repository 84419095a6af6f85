//! Who wins when depot and hub acted apart: every row of the table of concurrent pairs that a dispatch tells, each as a
//! sentence, each folded on both sides and in both orders of arrival; and what its table of transitions forbids.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

use gatehouse_common::{
    decision::Mode,
    dispatch::{Changed, DispatchState, DispatchView, Evidence, HoldReason, Says, TransitAction, document_id, fold},
    document::{Actor, Document, Entry, EntryKey, History, gate::inspect, with_fold},
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
        let says = with_fold(&entries, vec![says]);
        let mut after = History::new(entries).heads();
        for says in says {
            let hlc = Hlc { ms: self.clock, n: 0 };
            let entry = Entry { after, at: UtcMs(self.clock), hlc, by: "test".into(), says };
            after = self.document.append(&self.actor, &[entry]).unwrap().0;
        }
        after.into_iter().next().unwrap()
    }

    fn hears(&mut self, other: &Self) {
        for chunk in other.document.chunks() {
            let inspected = inspect(&chunk.bytes).unwrap();
            self.document.admit(&inspected).unwrap();
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
fn row_3_who_lets_it_leave_against_a_stop_that_is_known_there_is_told_apart() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(Says::Loading { evidence: evidence(2_500) });
        },
        |h| {
            h.says(cancelled());
        },
    );
    assert!(view.stop_departure);
    depot.says(Says::Departed { load: load(10), evidence: evidence(9_000) });
    let view = fold(&depot.document).unwrap();
    assert_eq!((view.state, view.left_under_stop, view.stop_was_known), (DispatchState::Departed, true, true));
    let (view, ..) = apart(departs, |h| {
        h.says(cancelled());
    });
    assert_eq!((view.left_under_stop, view.stop_was_known), (true, false));
}

#[test]
fn row_4_delivered_stays_delivered_though_the_order_was_cancelled() {
    let (view, ..) = apart(
        |d| departs(d),
        |h| {
            h.says(cancelled());
            // The vehicle's word comes by the hub here.
            h.says(Says::Delivered { load: load(10), evidence: evidence(8_000) });
        },
    );
    assert_eq!(view.state, DispatchState::Delivered);
    assert!(view.cancelled.is_some() && view.left_under_stop && !view.stop_was_known);
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
    assert_eq!(fold(&depot.document).unwrap().state, DispatchState::Ready);
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
fn row_10_departed_with_nine_of_ten_is_nine_on_both_sides() {
    let short = |depot: &mut Side| {
        depot.says(released(1, 1, 10));
        depot.says(Says::Loading { evidence: evidence(2_500) });
        depot.says(Says::Departed { load: load(9), evidence: evidence(3_000) });
    };
    let (view, ..) = apart(short, |h| {
        h.says(Says::Terms { order_version: 1, load: load(10), why: "unchanged".into() });
    });
    assert_eq!((view.departed.unwrap().load, view.load), (load(9), load(10)));
    assert!(!view.left_under_stop);
}

fn changed(what: Changed) -> Says {
    let (promised, promises) = (UtcMs(90_000), UtcMs(120_000));
    Says::Changed { order_version: 2, what: vec![what], promised, promises, why: "customer asked".into() }
}

#[test]
fn row_11_a_new_address_or_date_is_weighed_before_departure_and_diverts_after_it() {
    for (what, again, divert) in
        [(Changed::Price, false, false), (Changed::Address, true, true), (Changed::Date, true, false)]
    {
        let (view, mut depot, _) = apart(
            |d| {
                d.says(released(1, 1, 10));
            },
            |h| {
                h.says(changed(what));
            },
        );
        assert_eq!((view.state, view.order_version), (DispatchState::Released, 2));
        assert_eq!((view.weigh_again, view.divert), (again, false), "{what:?}");
        depot.says(released(2, 2, 10));
        assert!(!fold(&depot.document).unwrap().weigh_again);

        let (view, _, mut central) = apart(departs, |h| {
            h.says(changed(what));
        });
        assert_eq!((view.weigh_again, view.divert), (false, divert), "{what:?}");
        let both = if what == Changed::Date { vec![UtcMs(90_000), UtcMs(120_000)] } else { vec![] };
        assert_eq!(view.promises, both, "both promises are kept");
        central.says(Says::InTransit { action: TransitAction::Divert, why: "to the new address".into() });
        let view = fold(&central.document).unwrap();
        assert_eq!((view.divert, view.in_transit.len(), view.state), (false, 1, DispatchState::Departed));
    }
}

fn reassigned() -> Says {
    Says::Reassigned { to: "D2".parse().unwrap(), order_version: 2, why: "D2 has it in stock".into() }
}

#[test]
fn row_12_released_only_it_goes_to_the_other_depot_and_loading_it_stays() {
    let (view, ..) = apart(
        |d| {
            d.says(released(1, 1, 10));
        },
        |h| {
            h.says(reassigned());
        },
    );
    assert_eq!((view.state, view.reassigned_to), (DispatchState::Cancelled, Some("D2".parse().unwrap())));
    assert_eq!(view.superseded[0].1, "the order leaves from another depot");
    let (view, ..) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(Says::Loading { evidence: evidence(2_500) });
        },
        |h| {
            h.says(reassigned());
        },
    );
    assert_eq!((view.state, view.stop_departure, view.reassigned_to), (DispatchState::Loading, false, None));
    assert_eq!(view.superseded[0].1, "the goods were on board before it was known");
}

fn carried_by(carrier: &str) -> Says {
    Says::Carrier { carrier: carrier.parse().unwrap(), why: "agreed".into() }
}

#[test]
fn row_14_the_carrier_that_has_loaded_stands_and_row_15_one_that_has_not_gives_way_to_the_hubs() {
    let (view, ..) = apart(
        |d| {
            d.says(carried_by("X"));
            d.says(released(1, 1, 10));
            d.says(Says::Loading { evidence: evidence(2_500) });
        },
        |h| {
            h.says(carried_by("Y"));
        },
    );
    assert_eq!((view.carrier.as_str(), view.carrier_refused.unwrap().as_str()), ("X", "Y"));
    let (view, ..) = apart(
        |d| {
            d.says(carried_by("X"));
        },
        |h| {
            h.says(carried_by("Y"));
        },
    );
    assert_eq!((view.carrier.as_str(), view.carrier_refused), ("Y", None));
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
    assert_eq!(lifted.release.unwrap().mode, Mode::Override);
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

/// A gate's hold that both know; the depot overrides it while the hub says something else of it.
fn overridden(reason: HoldReason, hub: impl FnOnce(&mut Side, EntryKey), leaves: bool) -> DispatchView {
    let hold = std::cell::RefCell::new(None);
    let (_, mut depot, mut central) = apart(
        |d| *hold.borrow_mut() = Some(d.says(held(reason))),
        |h| {
            h.says(Says::RecallSeen);
        },
    );
    let hold = hold.into_inner().unwrap();
    let Says::Released { decision, order_version, load: released_load, .. } = released(1, 1, 10) else { panic!() };
    let overrides = vec![hold.clone()];
    depot.says(Says::Released { mode: Mode::Override, decision, order_version, load: released_load, overrides });
    if leaves {
        depot.says(Says::Departed { load: load(10), evidence: evidence(9_000) });
    }
    hub(&mut central, hold);
    depot.hears(&central);
    central.hears(&depot);
    let view = fold(&depot.document).unwrap();
    assert_eq!(view, fold(&central.document).unwrap());
    view
}

#[test]
fn row_17_an_override_of_a_hold_that_was_lifted_meanwhile_counts_as_normal() {
    let lift = |h: &mut Side, hold: EntryKey| _ = h.says(Says::Lifted { holds: vec![hold], why: "paid".into() });
    let view = overridden(HoldReason::Gate, lift, false);
    let release = view.release.unwrap();
    assert_eq!((view.state, release.mode, release.override_unneeded), (DispatchState::Released, Mode::Normal, true));
}

#[test]
fn row_18_an_override_of_a_hold_that_was_confirmed_meanwhile_falls_and_stays_visible_once_it_left() {
    let confirm = |h: &mut Side, hold: EntryKey| {
        h.says(Says::Confirmed { holds: vec![hold], why: "still blocked".into() });
    };
    let view = overridden(HoldReason::Gate, confirm, false);
    assert_eq!((view.state, view.holds.len()), (DispatchState::Held, 1));
    let view = overridden(HoldReason::Gate, confirm, true);
    assert_eq!((view.state, view.left_under_stop), (DispatchState::Departed, true));
    assert!(view.superseded.iter().any(|(_, why)| why == "a hold that it overrode stands"));
}

#[test]
fn nobody_at_a_depot_overrides_a_hold_for_quality_or_customs() {
    for reason in [HoldReason::Quality, HoldReason::Customs] {
        assert_eq!(overridden(reason, |_, _| {}, false).state, DispatchState::Held, "{reason:?}");
    }
    assert_eq!(overridden(HoldReason::Person, |_, _| {}, false).state, DispatchState::Released);
}

#[test]
fn row_21_the_docks_own_word_on_a_departure_stands_over_a_carriers_earlier_or_later() {
    for (carrier_ms, disputed) in [(3_000 + 18 * 60_000, Some(18 * 60_000)), (2_000, None)] {
        let (view, ..) = apart(departs, |h| {
            h.says(Says::Departed { load: load(10), evidence: evidence(carrier_ms) });
        });
        assert_eq!((view.departed.unwrap().at, view.departure_disputed_ms), (UtcMs(3_000), disputed));
        assert_eq!(view.superseded.len(), 1, "both are kept");
    }
}

#[test]
fn row_32_a_depot_only_asks_for_a_cancellation_and_says_whether_absence_is_proven() {
    for proven in [false, true] {
        let asking = Says::CancelAsked { why: "empty truck".into(), absence: proven.then(|| evidence(1_500)) };
        let (view, mut depot, mut central) = apart(
            |d| {
                d.says(asking);
            },
            |h| {
                h.says(terms(9));
            },
        );
        let asked = view.cancel_asked.unwrap();
        assert_eq!((view.state, asked.is_proven), (DispatchState::Planned, proven));
        central.says(Says::CancelDeclined { asked: vec![asked.key], why: "another truck comes".into() });
        depot.hears(&central);
        assert_eq!(fold(&depot.document).unwrap().cancel_asked, None);
        depot.says(cancelled());
        assert_eq!(fold(&depot.document).unwrap().cancelled, None, "a depot cancels nothing");
    }
}

#[test]
fn a_dispatch_is_settled_only_once_it_is_delivered() {
    let (view, _, mut central) = apart(departs, |h| {
        h.says(Says::Settled { documents: vec![] });
    });
    assert_eq!(view.state, DispatchState::Departed);
    central.says(Says::Delivered { load: load(10), evidence: evidence(9_000) });
    assert_eq!(fold(&central.document).unwrap().state, DispatchState::Settled);
}

#[test]
fn a_document_of_version_1_goes_on_by_it_and_one_of_an_unknown_version_waits() {
    let (_, mut depot, mut central) = apart(
        |d| {
            d.says(Says::Ready);
        },
        |h| {
            h.says(terms(10));
        },
    );
    assert_eq!(fold(&depot.document).unwrap().fold, 2);
    central.says(Says::Fold { version: 3 });
    depot.hears(&central);
    assert!(fold(&depot.document).unwrap().waits_for_upgrade);

    // As a program writes that knows only version 1.
    let mut old = Side::new("site/D1/gw-1/1");
    let (entries, _) = depot.document.entries::<Says>();
    let plan = entries.into_values().find(|e| matches!(e.says, Says::Planned { .. })).unwrap();
    old.document.append(&old.actor, &[Entry { after: vec![], ..plan }]).unwrap();
    let quality = old
        .document
        .append(
            &old.actor,
            &[Entry {
                after: vec![],
                at: UtcMs(5),
                hlc: Hlc::default(),
                by: "x".into(),
                says: held(HoldReason::Quality),
            }],
        )
        .unwrap()
        .0;
    let Says::Released { mode, decision, order_version, load, .. } = released(1, 1, 10) else { panic!() };
    old.says(Says::Released { mode, decision, order_version, load, overrides: quality });
    let view = fold(&old.document).unwrap();
    assert_eq!((view.fold, view.state), (1, DispatchState::Released));
    old.says(carried_by("X"));
    let view = fold(&old.document).unwrap();
    assert_eq!((view.fold, view.state, view.carrier.as_str()), (2, DispatchState::Held, "X"), "raised with the entry");
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
