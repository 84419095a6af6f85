//! Rows of the table of concurrent pairs about cancellations, credit and quantities once goods have left.

use std::collections::BTreeMap;

use super::*;

#[test]
fn row_3_departed_and_cancelled_is_issued_and_not_billed_until_the_customer_accepts() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10"]);
    assert_eq!(desk.ended(), (Some(3), None));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::ReconDiscrepancy, true)]));
    desk.chooses(Choice::Accept);
    desk.run();
    // The change that we ask for comes back from the ERP as a new version, and changes nothing.
    desk.order.version += 1;
    desk.order.status = OrderStatus::Released;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10", "order_change", "invoice 10"]);
    assert_eq!(desk.ended(), (Some(3), Some("accepted_variance")));
    assert_eq!(desk.item.outcome.as_ref().and_then(Outcome::approver), Some("fiona"));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::ReconDiscrepancy, false)]));
}

#[test]
fn row_3_departed_and_cancelled_comes_back_when_a_person_chooses_so() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_cancels();
    desk.erp_answers();
    desk.chooses(Choice::Return);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10", "return 10"]);
    assert_eq!(desk.ended(), (Some(3), Some("compensated")));
}

#[test]
fn row_6_departed_on_credit_hold_inside_its_lease_is_billed_and_accepted_by_rule() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.on_hold = Some(true);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.ended(), (Some(6), Some("accepted_variance")));
    assert_eq!(desk.item.outcome.as_ref().and_then(Outcome::approver), Some("rule: within lease"));
    assert!(desk.view.holds.is_empty());
}

#[test]
fn row_6_departed_on_credit_hold_outside_its_lease_is_billed_and_escalated() {
    let mut desk = Desk::after_a_release_of_10();
    desk.within_lease = false;
    desk.departs_with(10);
    desk.on_hold = Some(true);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.ended(), (Some(6), Some("escalated")));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::PolicyViolation, true)]));
}

#[test]
fn row_8_departed_with_10_of_8_bills_8_until_the_customer_accepts_the_rest() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_orders(8);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 8"]);
    assert_eq!(desk.ended(), (Some(8), None));
    desk.chooses(Choice::Accept);
    desk.run();
    desk.erp_orders(10);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 8", "order_change 10", "invoice 2"]);
    assert_eq!(desk.queue[4].posting.key, "gw-1-1-7/invoice/1/2");
    assert_eq!(desk.ended(), (Some(8), Some("accepted_variance")));
}

#[test]
fn row_8_departed_with_10_of_8_brings_2_back_when_a_person_chooses_so() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_orders(8);
    desk.erp_answers();
    desk.chooses(Choice::Return);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 8", "return 2"]);
    assert_eq!(desk.ended(), (Some(8), Some("compensated")));
}

#[test]
fn an_order_reduced_and_raised_again_is_billed_in_full_once() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_orders(8);
    desk.erp_answers();
    desk.erp_orders(10);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 8", "invoice 2"]);
    assert_eq!(desk.ended(), (None, Some("matched")));
}

#[test]
fn an_order_reduced_after_it_was_billed_is_never_billed_twice() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.read_at = UtcMs(5_000);
    desk.now = UtcMs(5_000);
    desk.item.edge.known_at = UtcMs(4_000);
    desk.item.edge.state = DispatchState::Departed;
    desk.run();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    desk.erp_orders(8);
    desk.erp_answers();
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10", "order_change 10"]);
    assert_eq!(desk.ended(), (Some(8), Some("accepted_variance")));
}

#[test]
fn row_9_departed_with_10_of_12_is_billed_and_split() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_orders(12);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.ended(), (Some(9), Some("compensated")));
    assert_eq!(desk.item.outcome, Some(Outcome::Compensated { document: "split".into() }));
}

#[test]
fn row_9_the_second_dispatch_for_the_rest_is_matched() {
    let mut desk = Desk::after_a_release_of_10();
    desk.record.load = carries(2);
    desk.record.order.as_mut().unwrap().1 = 2;
    desk.view.occurrence = 2;
    desk.view.load = carries(2);
    desk.view.order_version = 2;
    desk.erp_orders(12);
    desk.earlier = carries(10);
    desk.departs_with(2);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 2", "invoice 2"]);
    assert_eq!(desk.ended(), (None, Some("matched")));
}

#[test]
fn row_10_departed_with_9_of_10_is_issued_and_billed_with_9_and_the_rest_is_back_ordered() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(9);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 9", "invoice 9"]);
    assert_eq!((desk.item.family, desk.ended()), (Family::Quantity, (Some(10), Some("compensated"))));
    assert_eq!(desk.item.outcome, Some(Outcome::Compensated { document: "back-order".into() }));
    assert!(desk.opened.is_empty(), "it asks nothing of anyone");
}

#[test]
fn a_departure_learned_after_the_release_was_voided_is_posted_all_the_same() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_cancels();
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(1), Some("compensated")));
    desk.departs_with(10);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["void_release", "goods_issue 10"]);
    assert_eq!(desk.ended(), (Some(3), None));
}

#[test]
fn a_release_that_the_erp_refuses_since_it_cancelled_keeps_nothing_that_left_from_being_posted() {
    let mut desk = Desk::after_a_release_of_10();
    desk.read_at = desk.now.plus(1);
    desk.run();
    desk.queue[0].state = PostingState::Dead;
    desk.queue[0].last_error = Some("the ERP refuses: order SO-1 is cancelled".into());
    desk.run();
    desk.erp_cancels();
    desk.departs_with(10);
    desk.erp_answers();
    assert_eq!(desk.queue[0].state, PostingState::Withdrawn);
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "order_change", "invoice 10"]);
    assert_eq!(desk.ended(), (Some(3), Some("accepted_variance")));
}

#[test]
fn a_choice_for_one_row_settles_no_other() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_orders(6);
    desk.erp_answers();
    assert_eq!(desk.item.row, Some(8));
    desk.chooses(Choice::Accept);
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(3), None));
    let offered = [Choice::Accept, Choice::Return, Choice::Divert];
    assert_eq!(desk.item.choices, offered, "a cancellation is another question");
    desk.chooses(Choice::Return);
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(3), Some("compensated")));
}
