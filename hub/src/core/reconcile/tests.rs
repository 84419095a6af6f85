//! At least one test per row of the table of concurrent pairs, before and after departure; here what holds for all rows.

mod after;
mod before;

mod delivered;
mod desk;
mod people;
mod rows;
mod terms;

use std::collections::BTreeMap;

use gatehouse_common::{
    case::{CaseType, Severity},
    decision::DecisionKind,
    dispatch::{
        DispatchState, DispatchView, HoldReason, Says, TransitAction,
        view::{CancelAsked, Hold, Physical},
    },
    id::{ActorName, CarrierId, DecisionId, DocumentId, SiteId},
    order::OrderStatus,
    time::UtcMs,
};

use super::*;
use desk::{Desk, carries, key};

#[test]
fn when_both_sides_agree_release_issue_and_invoice_are_posted_in_this_order_and_it_is_matched() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_answers();
    assert_eq!((desk.posted(), desk.ended()), (vec!["release".to_owned()], (None, None)));
    desk.departs_with(10);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.ended(), (None, Some("matched")));
    assert!(desk.item.issued_at.is_some() && desk.opened.is_empty());
    desk.view.state = DispatchState::Delivered;
    desk.run();
    assert_eq!(desk.view.state, DispatchState::Settled);
}

#[test]
fn nothing_is_posted_before_the_erp_was_read_after_the_news() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.run();
    assert!(desk.posted().is_empty());
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10"]);
}

/// Three days.
const AHEAD: i64 = 3 * 24 * 3_600_000;

#[test]
fn what_was_noted_while_the_clock_was_ahead_is_posted_after_the_next_read_by_the_right_one() {
    let mut desk = Desk::after_a_release_of_10();
    let right = desk.now;
    desk.departs_with(10);
    desk.now = right.plus(AHEAD);
    desk.run();
    assert!(desk.item.edge.known_at >= right.plus(AHEAD));
    desk.now = right;
    desk.run();
    assert!(desk.item.edge.known_at <= desk.now && desk.posted().is_empty());
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.ended(), (None, Some("matched")));
}

#[test]
fn nothing_is_posted_on_a_read_that_was_dated_by_a_clock_that_was_ahead() {
    let mut desk = Desk::after_a_release_of_10();
    desk.read_at = desk.now.plus(AHEAD);
    desk.departs_with(10);
    desk.run();
    assert!(desk.posted().is_empty());
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10"]);
}

#[test]
fn a_release_superseded_by_another_is_voided_and_the_departure_is_not_posted_under_it() {
    let mut desk = Desk::after_a_release_of_10();
    desk.erp_answers();
    desk.view.release.as_mut().unwrap().decision = DecisionId::new("gw-1-1-9").unwrap();
    desk.departs_with(10);
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "void_release"]);
    assert_eq!(desk.ended(), (None, Some("compensated")));
}

#[test]
fn a_posting_that_the_erp_refuses_becomes_a_case_and_the_item_stays_open() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.now = UtcMs(2_000);
    desk.read_at = UtcMs(3_000);
    desk.run();
    desk.queue[1].state = PostingState::Dead;
    desk.erp_answers();
    assert_eq!(desk.ended(), (None, None));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::ReconDiscrepancy, true)]));
}

#[test]
fn a_hold_a_recall_and_a_closed_lease_are_matched_at_once_and_post_nothing() {
    for kind in [DecisionKind::Hold, DecisionKind::Recall, DecisionKind::LeaseClosed] {
        let mut desk = Desk::after_a_release_of_10();
        desk.record.kind = kind;
        desk.erp_answers();
        assert_eq!((desk.posted(), desk.ended()), (Vec::new(), (None, Some("matched"))));
    }
}

#[test]
fn the_case_of_an_item_has_one_document_whoever_opens_it() {
    let mut desk = Desk::after_a_release_of_10();
    desk.departs_with(10);
    desk.erp_cancels();
    desk.erp_answers();
    let expected: DocumentId = gatehouse_common::case::document_id("RECON_DISCREPANCY|SO-1|gw-1-1-7", 1);
    assert_eq!(desk.item.case, Some(expected));
}
