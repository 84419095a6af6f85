//! Who wins when depot and hub acted apart: every row of the table of concurrent pairs that a dispatch tells, each as a
//! sentence, each folded on both sides and in both orders of arrival. With `GATEHOUSE_ROWS` each row's documents are
//! kept for the fold in JavaScript.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

mod kept;
mod sides;

use gatehouse_common::{
    decision::Mode,
    dispatch::{Changed, DispatchState, HoldReason, Says, TransitAction},
    document::EntryKey,
    time::UtcMs,
};
use sides::*;

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
    assert!(depot.view().recall_seen);
}

#[test]
fn row_2_on_board_and_cancelled_must_not_leave_and_ends_aborted_once_unloaded() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(loading());
        },
        |h| {
            h.says(cancelled());
        },
    );
    assert_eq!((view.state, view.stop_departure), (DispatchState::Loading, true));
    depot.says(Says::Aborted { evidence: evidence(9_000) });
    let view = depot.view();
    assert_eq!((view.state, view.stop_departure), (DispatchState::Aborted, false));
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
            d.says(loading());
        },
        |h| {
            h.says(cancelled());
        },
    );
    assert!(view.stop_departure);
    depot.says(Says::Departed { load: load(10), evidence: evidence(9_000) });
    let view = depot.view();
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
    assert_eq!(depot.view().state, DispatchState::Held, "the depot cannot lift a credit hold");
    central.says(Says::Lifted { holds: vec![view.holds[0].key.clone()], why: "paid".into() });
    depot.hears(&central);
    assert_eq!(depot.view().state, DispatchState::Released);
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
    assert_eq!(depot.view().state, DispatchState::Ready);
    depot.says(released(2, 2, 8));
    let view = depot.view();
    assert_eq!((view.state, view.release.unwrap().load[0].quantity), (DispatchState::Released, 8));
}

#[test]
fn row_7_on_board_with_ten_must_not_leave_when_the_order_shrinks_to_eight() {
    let (view, mut depot, _) = apart(
        |d| {
            d.says(released(1, 1, 10));
            d.says(loading());
        },
        |h| {
            h.says(terms(8));
        },
    );
    assert!(view.stop_departure);
    depot.says(released(2, 2, 8));
    assert!(!depot.view().stop_departure);
}

#[test]
fn row_8_departed_with_ten_stays_ten_though_only_eight_are_ordered_now() {
    let (view, ..) = apart(departs, |h| _ = h.says(terms(8)));
    assert_eq!((view.state, view.departed.unwrap().load), (DispatchState::Departed, load(10)));
    assert_eq!((view.load, view.left_under_stop, view.stop_was_known), (load(8), true, false));
}

#[test]
fn row_9_departed_with_ten_stays_ten_though_twelve_are_ordered_now() {
    let (view, ..) = apart(departs, |h| _ = h.says(terms(12)));
    assert_eq!((view.state, view.departed.unwrap().load), (DispatchState::Departed, load(10)));
    assert_eq!(view.load, load(12));
}

#[test]
fn row_10_departed_with_nine_of_ten_is_nine_on_both_sides() {
    let short = |depot: &mut Side| {
        depot.says(released(1, 1, 10));
        depot.says(loading());
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
        assert!(!depot.view().weigh_again);

        let (view, _, mut central) = apart(departs, |h| {
            h.says(changed(what));
        });
        assert_eq!((view.weigh_again, view.divert), (false, divert), "{what:?}");
        let both = if what == Changed::Date { vec![UtcMs(90_000), UtcMs(120_000)] } else { vec![] };
        assert_eq!(view.promises, both, "both promises are kept");
        central.says(Says::InTransit { action: TransitAction::Divert, why: "to the new address".into() });
        let view = central.view();
        assert_eq!((view.divert, view.in_transit.len(), view.state), (false, 1, DispatchState::Departed));
    }
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
            d.says(loading());
        },
        |h| {
            h.says(reassigned());
        },
    );
    assert_eq!((view.state, view.stop_departure, view.reassigned_to), (DispatchState::Loading, false, None));
    assert_eq!(view.superseded[0].1, "the goods were on board before it was known");
}

#[test]
fn row_14_the_carrier_that_has_loaded_stands_over_the_one_that_was_tendered_meanwhile() {
    let (view, ..) = apart(
        |d| {
            d.says(carried_by("X"));
            d.says(released(1, 1, 10));
            d.says(loading());
        },
        |h| _ = h.says(carried_by("Y")),
    );
    assert_eq!((view.carrier.as_str(), view.carrier_refused.unwrap().as_str()), ("X", "Y"));
    assert_eq!(view.superseded[0].1, "the goods were in another carrier's vehicle");
}

#[test]
fn row_15_a_carrier_that_has_not_come_gives_way_to_the_hubs_whoever_spoke_later() {
    for hub_is_later in [true, false] {
        let (view, ..) = apart(
            |d| {
                d.clock += if hub_is_later { 0 } else { 60_000 };
                d.says(carried_by("X"));
            },
            |h| {
                h.clock += if hub_is_later { 60_000 } else { 0 };
                h.says(carried_by("Y"));
            },
        );
        assert_eq!((view.carrier.as_str(), view.carrier_refused), ("Y", None));
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
fn row_17_an_override_stands_against_the_hold_it_names() {
    let nothing_known = || Says::Lifted { holds: vec![], why: "nothing known of it here".into() };
    let (view, ..) = apart(
        |d| {
            let hold = d.says(held(HoldReason::Gate));
            d.says(overriding(&hold));
        },
        |h| _ = h.says(nothing_known()),
    );
    assert_eq!((view.state, view.release.unwrap().mode), (DispatchState::Released, Mode::Override));
}

#[test]
fn row_17_an_override_of_a_hold_that_was_lifted_meanwhile_counts_as_normal() {
    let view = overridden(HoldReason::Gate, |h, hold| _ = h.says(lifted(hold)), false);
    let release = view.release.unwrap();
    assert_eq!((view.state, release.mode, release.override_unneeded), (DispatchState::Released, Mode::Normal, true));
}

#[test]
fn row_18_an_override_of_a_hold_that_was_confirmed_meanwhile_falls_and_stays_visible_once_it_left() {
    let confirm = |h: &mut Side, hold: &EntryKey| {
        h.says(Says::Confirmed { holds: vec![hold.clone()], why: "still blocked".into() });
    };
    let view = overridden(HoldReason::Gate, confirm, false);
    assert_eq!((view.state, view.holds.len()), (DispatchState::Held, 1));
    let view = overridden(HoldReason::Gate, confirm, true);
    assert_eq!((view.state, view.left_under_stop), (DispatchState::Departed, true));
    assert!(view.superseded.iter().any(|(_, why)| why == "a hold that it overrode stands"));
}

#[test]
fn row_18_an_override_falls_to_a_hold_that_it_had_not_seen() {
    let (view, ..) = apart(
        |d| {
            let hold = d.says(held(HoldReason::Gate));
            d.says(overriding(&hold));
        },
        |h| _ = h.says(held(HoldReason::Quality)),
    );
    assert_eq!((view.state, view.holds.len()), (DispatchState::Held, 1));
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
        assert_eq!(asked.absent_at, proven.then_some(UtcMs(1_500)));
        central.says(Says::CancelDeclined { asked: vec![asked.key], why: "another truck comes".into() });
        depot.hears(&central);
        assert_eq!(depot.view().cancel_asked, None);
        depot.says(cancelled());
        assert_eq!(depot.view().cancelled, None, "a depot cancels nothing");
    }
}
