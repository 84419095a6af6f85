//! The rows of the table of concurrent pairs beside cancellations, credit and quantities.

use super::*;

impl Desk {
    /// The cases beside the items: type, last part of the leg, least severity.
    fn beside(
        &self,
        others: &[&DispatchView],
        is_billed: bool,
        was_too_warm: bool,
    ) -> Vec<(CaseType, String, Option<Severity>)> {
        let views: Vec<&DispatchView> = std::iter::once(&self.view).chain(others.iter().copied()).collect();
        let cases = beside(&self.order, &views, is_billed, was_too_warm);
        cases.into_iter().map(|c| (c.case_type, c.leg.rsplit('/').next().unwrap().to_owned(), c.at_least)).collect()
    }

    /// What the dispatch of the same order at D2 looks like.
    fn at_d2(&self) -> DispatchView {
        DispatchView { site: SiteId::new("D2").unwrap(), order_version: self.order.version, ..self.view.clone() }
    }
}

#[test]
fn row_4_delivered_and_cancelled_is_issued_and_grave_and_billed_only_once_the_customer_keeps_it() {
    let mut desk = Desk::left(10);
    desk.is_delivered();
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!((desk.posted(), desk.ended()), (vec!["goods_issue 10".to_owned()], (Some(4), None)));
    assert_eq!(desk.opened[0].at_least, Some(Severity::S1));
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert!(desk.posted().contains(&"invoice 10".to_owned()));
    assert_eq!(desk.ended(), (Some(4), Some("accepted_variance")));
}

#[test]
fn row_3_stays_row_3_when_the_delivery_is_learned_after_the_choice() {
    let mut desk = Desk::left(10);
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened[0].at_least), ((Some(3), None), None));
    desk.chooses(Choice::Return);
    desk.is_delivered();
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(3), Some("compensated")));
}

#[test]
fn row_3_a_departure_against_a_stop_that_was_known_there_is_grave() {
    let mut desk = Desk::left(10);
    desk.view.stop_was_known = true;
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!(desk.opened[0].at_least, Some(Severity::S1));
}

#[test]
fn row_11_an_address_that_changed_on_the_way_becomes_a_task_to_divert() {
    let mut desk = Desk::left(10);
    assert_eq!(desk.beside(&[], false, false), []);
    desk.view.divert = true;
    assert_eq!(desk.beside(&[], false, false), [(CaseType::ReconDiscrepancy, "address".to_owned(), None)]);
}

#[test]
fn row_12_released_only_the_other_depot_has_it_and_the_release_is_voided() {
    let mut desk = Desk::after_a_release_of_10();
    desk.order.site = SiteId::new("D2").unwrap();
    desk.order.version += 1;
    desk.erp_answers();
    assert_eq!((desk.view.state, desk.ended()), (DispatchState::Cancelled, (Some(12), None)));
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!((desk.posted(), desk.ended()), (vec!["void_release".to_owned()], (Some(12), Some("compensated"))));
}

#[test]
fn row_12_loading_it_stays_and_the_other_depot_is_told_to_let_go() {
    let mut desk = Desk::after_a_release_of_10();
    desk.view.state = DispatchState::Loading;
    desk.order.site = SiteId::new("D2").unwrap();
    desk.order.version += 1;
    let other = desk.at_d2();
    assert_eq!(yields(&desk.order, &other, &[&desk.view]), None, "the depot was not told yet");
    desk.erp_answers();
    assert_eq!((desk.view.state, desk.view.reassigned_to.clone()), (DispatchState::Loading, None));
    let other = DispatchView { state: DispatchState::Released, ..other };
    assert!(matches!(yields(&desk.order, &other, &[&desk.view]), Some(Says::Cancelled { .. })));
    let loading = DispatchView { state: DispatchState::Loading, ..other };
    assert_eq!(yields(&desk.order, &loading, &[&desk.view]), None, "both have it: both stand");
    assert_eq!(yields(&desk.order, &desk.view, &[&loading]), None);
}

#[test]
fn row_13_what_left_two_depots_is_a_grave_case_and_billed_once() {
    let mut desk = Desk::left(10);
    let mut first = desk.at_d2();
    first.departed = Some(Physical { key: key("site/D2/gw-2/1-5"), load: carries(10), at: UtcMs(800) });
    assert_eq!(desk.beside(&[&first], false, false), [(CaseType::DupDispatch, "twice".to_owned(), Some(Severity::S1))]);
    desk.earlier = carries(10);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10"], "the second is not billed");
    assert_eq!(desk.ended(), (Some(8), None), "as long as it is not told that it was another depot");
    let mut desk = Desk::left(10);
    (desk.earlier, desk.elsewhere) = (carries(10), carries(10));
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Duplicate, (Some(13), None)));
    assert_eq!(desk.opened.iter().map(|c| c.leg.as_str()).collect::<Vec<_>>(), ["D1/1/twice"]);
    assert_eq!(desk.item.choices, [Choice::Accept, Choice::Return, Choice::Divert]);
    desk.chooses(Choice::Divert);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "return 10"]);
    assert_eq!((desk.ended(), desk.told()), ((Some(13), Some("compensated")), vec![TransitAction::Divert]));
    // Two depots that share an order between them are none.
    first.departed = Some(Physical { key: key("site/D2/gw-2/1-5"), load: carries(4), at: UtcMs(800) });
    desk.departs_with(6);
    assert_eq!(desk.beside(&[&first], false, false), []);
}

#[test]
fn row_14_a_tender_that_came_too_late_is_to_be_cancelled() {
    let mut desk = Desk::left(10);
    desk.view.carrier_refused = Some(CarrierId::new("Y").unwrap());
    assert_eq!(desk.beside(&[], false, false), [(CaseType::ReconDiscrepancy, "carrier".to_owned(), None)]);
}

#[test]
fn row_17_an_override_that_was_not_needed_asks_nothing_of_anyone() {
    let mut desk = Desk::left(10);
    desk.record.kind = DecisionKind::Override;
    desk.view.release.as_mut().unwrap().override_unneeded = true;
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened.len()), ((Some(17), Some("matched")), 0));
    assert_eq!(desk.item.family, Family::Override, "it is counted as one that was not needed");
    assert_eq!(desk.beside(&[], true, false), []);
}

#[test]
fn row_18_goods_that_left_against_a_confirmed_hold_are_reviewed() {
    let mut desk = Desk::left(10);
    let hold = Hold { key: key("hub/hub/hub/1-2"), reason: HoldReason::Gate, why: "no stock".into(), cases: vec![] };
    (desk.view.holds, desk.view.left_under_stop) = (vec![hold], true);
    assert_eq!(desk.beside(&[], false, false), [(CaseType::PolicyViolation, "hold".to_owned(), Some(Severity::S1))]);
    desk.record.kind = DecisionKind::Override;
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Override, (Some(18), Some("escalated"))));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"], "what left is billed all the same");
    assert_eq!(desk.opened.len(), 1, "the item's case is the one that is opened without an item");
    assert_eq!(desk.opened[0].leg, format!("{}/hold", desk.view.leg()));
}

#[test]
fn row_21_the_goods_issue_bears_the_time_that_the_dock_saw() {
    let mut desk = Desk::left(10);
    desk.view.departure_disputed_ms = Some(18 * 60_000);
    desk.erp_answers();
    let issue = desk.queue.iter().find(|q| q.posting.kind == PostingKind::GoodsIssue).unwrap();
    assert_eq!((issue.posting.at, desk.ended()), (UtcMs(900), (None, Some("matched"))));
}

impl Desk {
    /// The depot asks that it be cancelled; it may have seen that the vehicle was not there.
    fn asks_to_cancel(&mut self, absent_at: Option<UtcMs>) {
        self.view.cancel_asked = Some(CancelAsked {
            key: key("site/D1/gw-1/1-4"),
            why: "empty truck".into(),
            is_proven: absent_at.is_some(),
            absent_at,
        });
    }

    /// Whether the hub cancels it, now that it is `now`.
    fn is_cancelled_at(&mut self, now: UtcMs) -> bool {
        self.now = now;
        self.run();
        self.view.cancelled.is_some()
    }
}

#[test]
fn row_32_a_cancellation_that_a_depot_asks_for_follows_once_absence_is_proven_and_the_slot_is_over() {
    let slot_ends = Desk::after_a_release_of_10().order.planned_departure;
    let mut desk = Desk::after_a_release_of_10();
    desk.asks_to_cancel(None);
    assert!(!desk.is_cancelled_at(slot_ends.plus(60_000)), "without proof it is a proposal");
    desk.asks_to_cancel(Some(slot_ends.plus(-1)));
    assert!(!desk.is_cancelled_at(slot_ends.plus(60_000)), "it may still have come");
    desk.asks_to_cancel(Some(slot_ends));
    assert!(desk.is_cancelled_at(slot_ends.plus(60_000)));
    assert_eq!(desk.view.state, DispatchState::Cancelled);
}

#[test]
fn row_32_a_slot_that_the_erp_moved_meanwhile_is_another_one() {
    let mut desk = Desk::after_a_release_of_10();
    let (slot_ends, later) = (desk.order.planned_departure, desk.order.planned_departure.plus(3_600_000));
    desk.asks_to_cancel(Some(slot_ends));
    desk.erp_changes(|order| order.planned_departure = later);
    assert!(!desk.is_cancelled_at(later.plus(1)), "nobody was asked to be there then");
    desk.view.planned_departure = later;
    assert!(!desk.is_cancelled_at(later.plus(2)), "the depot heard of it");
    desk.asks_to_cancel(Some(later));
    assert!(desk.is_cancelled_at(later.plus(3)));
}

#[test]
fn row_32_a_depot_whose_clock_is_ahead_waits_until_the_slot_is_over_for_the_hub() {
    let mut desk = Desk::after_a_release_of_10();
    let slot_ends = desk.order.planned_departure;
    let again = |desk: &Desk, now| looks_again_at(&desk.order, &desk.view, now);
    assert_eq!(again(&desk, slot_ends.plus(-1)), None, "nobody asked");
    desk.asks_to_cancel(Some(slot_ends.plus(5_000)));
    // `run` looks a millisecond later than it is told, and once more after each step.
    assert!(!desk.is_cancelled_at(slot_ends.plus(-1_000)));
    assert_eq!(again(&desk, slot_ends.plus(-1)), Some(slot_ends));
    assert_eq!(again(&desk, slot_ends), None, "it is looked at then, not again");
    assert!(desk.is_cancelled_at(slot_ends));
}

#[test]
fn row_32_goods_on_board_have_a_vehicle_whatever_was_proven() {
    let mut desk = Desk::after_a_release_of_10();
    desk.view.state = DispatchState::Loading;
    let slot_ends = desk.order.planned_departure;
    desk.asks_to_cancel(Some(slot_ends));
    assert!(!desk.is_cancelled_at(slot_ends.plus(60_000)));
}

#[test]
fn row_33_a_decision_by_the_rules_of_its_lease_is_an_accepted_variance() {
    let mut desk = Desk::left(10);
    desk.policy_lagged = true;
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened.len()), ((Some(33), Some("accepted_variance")), 0));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
}

#[test]
fn row_34_what_left_under_an_expired_lease_stands_and_what_has_not_is_held_until_a_person_says_so() {
    let mut desk = Desk::left(10);
    desk.lease_expired = true;
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened[0].case_type), ((Some(34), Some("escalated")), CaseType::PolicyViolation));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);

    let mut desk = Desk::after_a_release_of_10();
    desk.lease_expired = true;
    desk.erp_answers();
    assert_eq!((desk.view.state, desk.posted().len(), desk.opened.len()), (DispatchState::Held, 0, 1));
    desk.view.holds.clear();
    desk.view.state = DispatchState::Released;
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release"], "approved");
    assert!(desk.view.holds.is_empty());
}

#[test]
fn row_34_what_the_depot_takes_back_under_an_expired_lease_is_no_news_to_the_erp() {
    let mut desk = Desk::after_a_release_of_10();
    desk.lease_expired = true;
    desk.erp_answers();
    desk.recalled = true;
    desk.erp_answers();
    assert_eq!((desk.posted(), desk.ended()), (vec![], (Some(34), Some("compensated"))));
}

#[test]
fn row_35_goods_that_were_too_warm_and_are_billed_get_a_credit_note_proposed() {
    let mut desk = Desk::left(10);
    desk.is_delivered();
    assert_eq!(desk.beside(&[], false, true), []);
    assert_eq!(desk.beside(&[], true, true), [(CaseType::ReconDiscrepancy, "temperature".to_owned(), None)]);
}
