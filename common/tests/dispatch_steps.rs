//! The table of a dispatch's transitions, row by row: what the fold asks of each, who may bring it about, and what
//! stands whatever comes later. With `GATEHOUSE_ROWS` each row's documents are kept for the fold in JavaScript.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

mod kept;
mod sides;

use gatehouse_common::{
    decision::Mode,
    dispatch::{DispatchState, DispatchView, HoldReason, Says, TransitAction, document_id},
    document::{Entry, EntryKey},
    id::OrderId,
    reading::ProofLine,
    time::{Hlc, UtcMs},
};
use sides::*;

/// The writers of one dispatch, one after the other: each knows all that was said before.
struct Dock {
    depot: Side,
    hub: Side,
    vehicle: Side,
}

impl Dock {
    fn planned() -> Self {
        let (depot, hub) = both_know_the_plan();
        let mut vehicle = Side::new("vehicle/D1/box-1/1");
        vehicle.hears(&depot);
        Self { depot, hub, vehicle }
    }

    /// One says something, and the others hear of it.
    fn says(&mut self, who: fn(&mut Self) -> &mut Side, says: Says) -> EntryKey {
        let side = who(self);
        let key = side.says(says);
        let said = side.clone();
        for other in [&mut self.depot, &mut self.hub, &mut self.vehicle] {
            other.hears(&said);
            other.clock = other.clock.max(said.clock);
        }
        key
    }

    fn depot(&mut self, says: Says) -> EntryKey {
        self.says(|dock| &mut dock.depot, says)
    }

    fn hub(&mut self, says: Says) -> EntryKey {
        self.says(|dock| &mut dock.hub, says)
    }

    fn vehicle(&mut self, says: Says) -> EntryKey {
        self.says(|dock| &mut dock.vehicle, says)
    }

    fn view(&self) -> DispatchView {
        assert_eq!(self.hub.document.heads(), self.depot.document.heads());
        self.depot.view()
    }

    fn state(&self) -> DispatchState {
        self.view().state
    }

    /// Whether nothing of what was said is void, and where it stands.
    fn whole(&self) -> DispatchState {
        let view = self.view();
        assert_eq!(view.void, [], "everything was said by those who may");
        view.state
    }
}

fn delivered() -> Says {
    Says::Delivered { load: load(10), evidence: evidence(8_000) }
}

fn aborted() -> Says {
    Says::Aborted { evidence: evidence(9_000) }
}

fn proved(whole: u32, refused: u32) -> Says {
    let lines = vec![ProofLine { line: 1, delivered: whole, refused, damaged: 0 }];
    Says::Proved { lines, load: load(whole), signed_by: None, photo: None, evidence: evidence(8_500) }
}

#[test]
fn step_1_planned_is_ready_by_the_word_of_depot_or_hub() {
    let mut dock = Dock::planned();
    dock.vehicle(Says::Ready);
    assert_eq!((dock.state(), dock.view().void.len()), (DispatchState::Planned, 1), "not by a vehicle's");
    dock.depot(Says::Ready);
    assert_eq!(dock.state(), DispatchState::Ready);
    let mut dock = Dock::planned();
    dock.hub(Says::Ready);
    assert_eq!(dock.whole(), DispatchState::Ready);
}

#[test]
fn step_2_planned_or_ready_is_held_and_says_what_for() {
    let mut dock = Dock::planned();
    dock.depot(held(HoldReason::Gate));
    assert_eq!(dock.whole(), DispatchState::Held);
    let mut dock = Dock::planned();
    dock.depot(Says::Ready);
    let hold = dock.hub(held(HoldReason::Customer));
    let view = dock.view();
    assert_eq!((view.state, &view.holds[0].key, view.holds[0].why.as_str()), (DispatchState::Held, &hold, "because"));
    dock.vehicle(held(HoldReason::Person));
    assert_eq!((dock.view().holds.len(), dock.view().void.len()), (1, 1), "a vehicle holds nothing");
}

#[test]
fn step_3_held_is_ready_once_its_gates_are_met_and_the_hub_has_lifted_every_other_hold() {
    let mut dock = Dock::planned();
    dock.depot(held(HoldReason::Gate));
    let credit = dock.depot(held(HoldReason::Credit));
    dock.depot(Says::Ready);
    let view = dock.view();
    assert_eq!((view.state, view.holds.len(), &view.holds[0].key), (DispatchState::Held, 1, &credit));
    dock.depot(lifted(&credit));
    assert_eq!(dock.state(), DispatchState::Held, "a depot lifts nothing");
    dock.hub(lifted(&credit));
    assert_eq!(dock.state(), DispatchState::Ready);
}

#[test]
fn step_4_a_release_counts_where_no_hold_stands_whether_or_not_it_was_said_to_be_ready() {
    for is_ready in [true, false] {
        let mut dock = Dock::planned();
        if is_ready {
            dock.depot(Says::Ready);
        }
        dock.depot(released(1, 1, 10));
        assert_eq!((dock.whole(), dock.view().release.unwrap().mode), (DispatchState::Released, Mode::Offline));
    }
    let mut dock = Dock::planned();
    dock.depot(held(HoldReason::Gate));
    dock.depot(released(1, 1, 10));
    let view = dock.view();
    assert_eq!((view.state, view.superseded[0].1.as_str()), (DispatchState::Held, "a hold stands"));
}

#[test]
fn step_5_an_override_names_the_holds_it_goes_over_and_none_goes_over_quality_or_customs() {
    for (reason, state) in [
        (HoldReason::Gate, DispatchState::Released),
        (HoldReason::Person, DispatchState::Released),
        (HoldReason::Credit, DispatchState::Released),
        (HoldReason::Customer, DispatchState::Released),
        (HoldReason::Quality, DispatchState::Held),
        (HoldReason::Customs, DispatchState::Held),
    ] {
        assert_eq!(overridden(reason, |_, _| {}, false).state, state, "{reason:?}");
    }
    let mut dock = Dock::planned();
    let hold = dock.depot(held(HoldReason::Person));
    dock.depot(held(HoldReason::Gate));
    dock.depot(overriding(&hold));
    assert_eq!((dock.state(), dock.view().holds.len()), (DispatchState::Held, 1), "one of two was named");
}

#[test]
fn step_6_loading_is_the_depots_word_alone_and_stands_over_whatever_was_intended() {
    let mut dock = Dock::planned();
    dock.hub(loading());
    dock.vehicle(loading());
    assert_eq!((dock.state(), dock.view().void.len()), (DispatchState::Planned, 2));
    dock.depot(loading());
    assert_eq!(dock.state(), DispatchState::Loading, "nobody released it");
    let mut dock = Dock::planned();
    dock.depot(released(1, 1, 10));
    dock.depot(loading());
    assert_eq!((dock.whole(), dock.view().loading_at), (DispatchState::Loading, Some(UtcMs(2_500))));
}

#[test]
fn step_7_loaded_is_the_depots_word_alone_and_needs_no_loading_before_it() {
    let mut dock = Dock::planned();
    dock.hub(loaded());
    dock.vehicle(loaded());
    assert_eq!((dock.state(), dock.view().void.len()), (DispatchState::Planned, 2));
    dock.depot(loaded());
    assert_eq!(dock.state(), DispatchState::Loaded);
    dock.depot(loading());
    assert_eq!(dock.state(), DispatchState::Loaded, "what is learned later takes nothing back");
}

#[test]
fn step_8_departed_is_the_word_of_depot_or_vehicle_and_the_hubs_only_while_there_is_no_other() {
    for says in [Dock::depot, Dock::vehicle, Dock::hub] {
        let mut dock = Dock::planned();
        says(&mut dock, departed());
        assert_eq!(dock.whole(), DispatchState::Departed, "nobody saw it being loaded");
    }
    let mut dock = Dock::planned();
    let carriers = dock.hub(Says::Departed { load: load(10), evidence: evidence(2_000) });
    assert_eq!(dock.view().departed.unwrap().key, carriers);
    let seen = dock.vehicle(departed());
    let view = dock.view();
    assert_eq!((view.departed.unwrap().key, &view.superseded[0].0), (seen, &carriers), "both are kept");
}

#[test]
fn step_9_delivered_is_the_word_of_vehicle_or_hub_and_needs_no_departure_before_it() {
    for says in [Dock::vehicle, Dock::hub] {
        let mut dock = Dock::planned();
        says(&mut dock, delivered());
        assert_eq!(dock.whole(), DispatchState::Delivered, "nobody saw it leave");
    }
    let mut dock = Dock::planned();
    departs(&mut dock.depot);
    dock.depot(delivered());
    assert_eq!((dock.state(), dock.view().void.len()), (DispatchState::Departed, 1), "a depot delivers nothing");
}

#[test]
fn step_10_delivered_with_another_load_or_a_refusal_is_an_exception() {
    for (says, state) in [
        (proved(10, 0), DispatchState::Delivered),
        (proved(9, 0), DispatchState::ExceptionDelivered),
        (proved(10, 1), DispatchState::ExceptionDelivered),
    ] {
        let mut dock = Dock::planned();
        dock.depot(departed());
        dock.vehicle(delivered());
        dock.vehicle(says.clone());
        assert_eq!(dock.whole(), state, "{says:?}");
    }
}

#[test]
fn step_11_settled_is_the_hubs_word_alone_and_only_once_it_is_delivered() {
    let settled = || Says::Settled { documents: vec!["DN-1".into()] };
    let mut dock = Dock::planned();
    dock.depot(departed());
    dock.hub(settled());
    assert_eq!(dock.whole(), DispatchState::Departed);
    dock.vehicle(delivered());
    assert_eq!(dock.whole(), DispatchState::Settled);
    let mut dock = Dock::planned();
    dock.vehicle(delivered());
    dock.depot(settled());
    assert_eq!((dock.state(), dock.view().void.len()), (DispatchState::Delivered, 1));
}

#[test]
fn step_12_the_hub_cancels_what_is_not_on_board_and_nothing_said_later_undoes_it() {
    let none: fn(&mut Dock) = |_| {};
    let ready: fn(&mut Dock) = |dock| _ = dock.depot(Says::Ready);
    let holds: fn(&mut Dock) = |dock| _ = dock.depot(held(HoldReason::Gate));
    let releases: fn(&mut Dock) = |dock| _ = dock.depot(released(1, 1, 10));
    for before in [none, ready, holds, releases] {
        let mut dock = Dock::planned();
        before(&mut dock);
        let stood = dock.state();
        dock.depot(cancelled());
        assert_eq!((dock.state(), dock.view().void.len()), (stood, 1), "a depot cancels nothing");
        dock.depot(Says::CancelAsked { why: "empty truck".into(), absence: None });
        assert_eq!((dock.state(), dock.view().cancel_asked.is_some()), (stood, true), "it asks");
        dock.hub(cancelled());
        assert_eq!((dock.state(), dock.view().cancel_asked), (DispatchState::Cancelled, None));
        dock.depot(Says::Ready);
        let again = dock.depot(released(2, 2, 10));
        let view = dock.view();
        assert_eq!(view.state, DispatchState::Cancelled);
        assert!(view.superseded.contains(&(again, "the order was cancelled".into())));
    }
}

#[test]
fn step_13_released_is_held_by_a_hold_and_released_again_once_it_is_lifted() {
    let mut dock = Dock::planned();
    let release = dock.depot(released(1, 1, 10));
    let hold = dock.hub(held(HoldReason::Credit));
    let view = dock.view();
    assert_eq!((view.state, view.superseded), (DispatchState::Held, vec![(release, "a hold stands".into())]));
    dock.hub(lifted(&hold));
    assert_eq!((dock.whole(), dock.view().superseded), (DispatchState::Released, vec![]));
}

#[test]
fn step_13b_on_board_and_stopped_it_must_not_leave_and_a_gate_out_is_recorded_all_the_same() {
    let stops: [fn(&mut Dock); 3] = [
        |dock| _ = dock.hub(held(HoldReason::Credit)),
        |dock| _ = dock.hub(cancelled()),
        |dock| _ = dock.hub(terms(8)),
    ];
    for (stop, aboard) in stops.into_iter().zip([loading(), loaded(), loading()]) {
        let mut dock = Dock::planned();
        dock.depot(released(1, 1, 10));
        dock.depot(aboard);
        let stood = dock.state();
        assert!(!dock.view().stop_departure);
        stop(&mut dock);
        assert_eq!((dock.state(), dock.view().stop_departure), (stood, true));
        dock.depot(Says::Departed { load: load(10), evidence: evidence(9_000) });
        let view = dock.view();
        assert_eq!((view.state, view.stop_departure), (DispatchState::Departed, false));
        assert!(view.left_under_stop && view.stop_was_known);
    }
}

#[test]
fn step_14_unloaded_goods_are_aborted_and_never_cancelled_and_a_departure_stands_over_it() {
    let mut dock = Dock::planned();
    dock.depot(aborted());
    assert_eq!(dock.whole(), DispatchState::Planned, "nothing was loaded");
    for aboard in [loading(), loaded()] {
        let mut dock = Dock::planned();
        dock.depot(aboard.clone());
        let stood = dock.state();
        dock.hub(cancelled());
        assert_eq!(dock.state(), stood, "what is on board is not cancelled");
        dock.hub(aborted());
        dock.vehicle(aborted());
        assert_eq!((dock.state(), dock.view().void.len()), (stood, 2), "whoever unloads it says so");
        dock.depot(aborted());
        assert_eq!(dock.state(), DispatchState::Aborted);
        dock.depot(aboard);
        assert_eq!(dock.state(), DispatchState::Aborted, "loaded again it is another dispatch");
        dock.vehicle(departed());
        assert_eq!(dock.state(), DispatchState::Departed);
    }
}

#[test]
fn step_15_nothing_takes_a_departure_back_and_only_the_hub_sends_goods_elsewhere() {
    let gone = || {
        let mut dock = Dock::planned();
        dock.depot(released(1, 1, 10));
        dock.depot(departed());
        dock
    };
    for (says, loses) in [
        (cancelled(), true),
        (held(HoldReason::Quality), true),
        (reassigned(), true),
        (terms(8), false),
        (planned(), false),
        (Says::Ready, false),
    ] {
        let mut dock = gone();
        let key = dock.hub(says.clone());
        let view = dock.view();
        assert_eq!(view.state, DispatchState::Departed, "{says:?}");
        assert_eq!(view.superseded.iter().any(|(lost, _)| *lost == key), loses, "{says:?}");
    }
    for says in [loading(), loaded(), aborted()] {
        let mut dock = gone();
        dock.depot(says.clone());
        assert_eq!(dock.whole(), DispatchState::Departed, "{says:?}");
    }
    let mut dock = gone();
    let turn = || Says::InTransit { action: TransitAction::Recall, why: "wrong goods".into() };
    dock.depot(turn());
    assert_eq!((dock.view().in_transit, dock.view().void.len()), (vec![], 1));
    let key = dock.hub(turn());
    assert_eq!((dock.state(), dock.view().in_transit), (DispatchState::Departed, vec![(key, TransitAction::Recall)]));
}

#[test]
fn step_15_a_release_after_the_departure_changes_nothing_of_where_it_stands_and_is_the_one_that_is_shown() {
    let mut dock = Dock::planned();
    dock.depot(released(1, 1, 10));
    dock.depot(departed());
    let later = dock.depot(released(2, 1, 10));
    let view = dock.view();
    assert_eq!((view.state, view.release.unwrap().key), (DispatchState::Departed, later));
    assert_eq!((view.superseded, view.void), (vec![], vec![]));
}

#[test]
fn a_document_of_version_1_goes_on_by_it_and_one_of_an_unknown_version_waits() {
    let (_, mut depot, mut central) = apart(|d| _ = d.says(Says::Ready), |h| _ = h.says(terms(10)));
    assert_eq!(depot.view().fold, 2);
    central.says(Says::Fold { version: 3 });
    depot.hears(&central);
    assert!(depot.view().waits_for_upgrade);

    // As a program writes that knows only version 1.
    let mut old = Side::new("site/D1/gw-1/1");
    let at = |ms| Entry { after: vec![], at: UtcMs(ms), hlc: Hlc::default(), by: "x".into(), says: planned() };
    let quality = Entry { says: held(HoldReason::Quality), ..at(5) };
    let keys = old.document.append(&old.actor, &[at(4), quality]).unwrap().0;
    let hold = keys.last().unwrap();
    old.says(overriding(hold));
    let view = old.view();
    assert_eq!((view.fold, view.state), (1, DispatchState::Released));
    old.says(carried_by("X"));
    let view = old.view();
    assert_eq!((view.fold, view.state, view.carrier.as_str()), (2, DispatchState::Held, "X"), "raised with the entry");
}

#[test]
fn a_vehicle_or_another_depot_cannot_release_or_cancel() {
    for foreign in ["vehicle/D1/box-1/1", "site/D2/gw-2/1"] {
        let (_, depot, _) = apart(|d| _ = d.says(Says::Ready), |h| _ = h.says(terms(10)));
        let mut intruder = Side::new(foreign);
        intruder.hears(&depot);
        let before = intruder.view().state;
        intruder.says(released(9, 2, 10));
        intruder.says(cancelled());
        let view = intruder.view();
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
