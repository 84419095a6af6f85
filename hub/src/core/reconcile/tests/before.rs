//! Rows of the table of concurrent pairs while nothing has left.

use std::collections::BTreeMap;

use gatehouse_common::geo::Point;

use super::*;

#[test]
fn row_1_released_and_cancelled_is_recalled_and_voided_once_the_depot_has_obeyed() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(1), None));
    assert_eq!(desk.view.state, DispatchState::Cancelled);
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["void_release"]);
    assert_eq!(desk.ended(), (Some(1), Some("compensated")));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::ReconDiscrepancy, false)]));
}

#[test]
fn row_2_loaded_and_cancelled_waits_until_it_is_unloaded() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_answers();
    desk.view.state = DispatchState::Loaded;
    desk.view.loaded_at = Some(UtcMs(800));
    desk.erp_cancels();
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.view.stop_departure), ((Some(2), None), true));
    desk.view.state = DispatchState::Aborted;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "void_release"]);
    assert_eq!(desk.ended(), (Some(2), Some("compensated")));
}

#[test]
fn row_5_released_on_credit_hold_is_held_once_and_voided_when_the_depot_has_obeyed() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_answers();
    desk.on_hold = Some(true);
    desk.erp_answers();
    assert_eq!(desk.view.holds.len(), 1);
    assert_eq!(desk.view.holds[0].reason, HoldReason::Credit);
    let case = &desk.opened[0];
    assert_eq!((case.leg.as_str(), case.occurrence), (desk.view.leg().as_str(), 1), "the depot's case is the same");
    assert_eq!(desk.ended(), (Some(5), None));
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "void_release"]);
    assert_eq!(desk.ended(), (Some(5), Some("compensated")));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::CreditHold, true)]));
    desk.on_hold = Some(false);
    desk.erp_answers();
    assert!(desk.view.holds.is_empty());
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::CreditHold, false)]));
}

#[test]
fn row_5_a_hold_that_finance_lifted_is_not_written_again() {
    let mut desk = Desk::after_a_release_of_10();
    desk.on_hold = Some(true);
    desk.erp_answers();
    desk.write(Says::Lifted { holds: Vec::new(), why: String::new() });
    desk.erp_answers();
    assert!(desk.view.holds.is_empty());
}

#[test]
fn row_7_released_and_reduced_gets_new_terms_and_the_old_release_is_voided() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_answers();
    desk.erp_orders(8);
    desk.erp_answers();
    assert_eq!(desk.view.load, carries(8));
    assert_eq!(desk.ended(), (Some(7), None));
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "void_release"]);
    assert_eq!(desk.ended(), (Some(7), Some("compensated")));
}

#[test]
fn a_credit_hold_that_the_erp_lifts_and_sets_again_is_written_again_and_one_that_finance_lifted_is_not() {
    let mut desk = Desk::after_a_release_of_10();
    desk.on_hold = Some(true);
    desk.run();
    assert_eq!(desk.view.holds.len(), 1);
    desk.view.holds.clear();
    desk.run();
    assert_eq!(desk.view.holds.len(), 0, "finance lifted it");
    desk.on_hold = Some(false);
    desk.run();
    desk.on_hold = Some(true);
    desk.run();
    assert_eq!((desk.view.holds.len(), desk.opened.len()), (1, 2));
}

#[test]
fn row_11_a_release_under_another_promise_is_posted_once_its_depot_has_weighed_its_gates_again() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_changes(|order| order.window_end = UtcMs(8_000_000));
    let told = told_of_change(&desk.order, Some(&desk.seen), &desk.view).unwrap();
    desk.write(told);
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended(), desk.posted().len()), (Family::Date, (Some(11), None), 0));
    desk.view.weigh_again = false;
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Agreement, (None, None)));
    assert_eq!(desk.posted(), ["release"], "its gates are met");
}

#[test]
fn row_11_a_release_that_its_depot_takes_back_under_another_promise_is_voided() {
    for is_seen_to_wait in [true, false] {
        let mut desk = Desk::after_a_release_of_10();
        desk.erp_answers();
        desk.erp_changes(|order| order.destination = Some(Point { lat: 1.0, lon: 2.0 }));
        if is_seen_to_wait {
            desk.erp_answers();
            assert_eq!((desk.item.family, desk.ended()), (Family::Address, (Some(11), None)));
        }
        desk.run();
        (desk.view.weigh_again, desk.recalled, desk.view.state) = (false, true, DispatchState::Held);
        desk.erp_answers();
        assert_eq!(desk.posted(), ["release", "void_release"]);
        assert_eq!((desk.item.family, desk.ended()), (Family::Address, (Some(11), Some("compensated"))));
    }
}
