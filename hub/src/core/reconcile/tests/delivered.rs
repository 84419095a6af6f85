//! What became of goods after their item had been settled.

use gatehouse_common::{dispatch::view::Proof, reading::ProofLine};

use super::*;

impl Desk {
    /// The consignee signs: so many whole, refused and damaged.
    fn signs(&mut self, delivered: u32, refused: u32, damaged: u32) {
        self.is_delivered();
        let lines = vec![ProofLine { line: 1, delivered, refused, damaged }];
        let (key, load) = (key("vehicle/D1/v-1/1-3"), carries(delivered));
        self.view.state = DispatchState::ExceptionDelivered;
        self.view.proof = Some(Proof { key, lines, load, signed_by: None, photo: None, at: UtcMs(5_000) });
    }
}

#[test]
fn goods_that_did_not_arrive_whole_open_the_item_again_and_its_first_end_is_kept() {
    let mut desk = Desk::left(10);
    desk.erp_answers();
    assert_eq!(desk.ended(), (None, Some("matched")));
    desk.signs(7, 2, 0);
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Pod, (Some(36), None)));
    assert_eq!((desk.item.surplus.clone(), desk.item.value_minor), (carries(3), 1_500));
    assert_eq!(desk.item.before.iter().map(|s| s.outcome.as_str()).collect::<Vec<_>>(), ["matched"]);
    assert_eq!(desk.opened.iter().map(|c| c.leg.as_str()).collect::<Vec<_>>(), ["D1/1/proof"]);
    desk.chooses(Choice::Credit);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10", "return 2", "credit_note 3"]);
    assert_eq!(desk.queue[4].posting.amount_minor, Some(1_500));
    assert_eq!((desk.ended(), desk.cases[&CaseType::ReconDiscrepancy]), ((Some(36), Some("compensated")), false));
    assert_eq!(desk.view.state, DispatchState::Settled);
}

#[test]
fn a_shortfall_that_the_customer_pays_for_is_an_accepted_variance_and_asked_once() {
    let mut desk = Desk::left(10);
    desk.signs(9, 0, 1);
    desk.erp_answers();
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(36), Some("accepted_variance")));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
}

#[test]
fn goods_that_arrived_whole_and_goods_that_were_never_billed_open_nothing_again() {
    let mut desk = Desk::left(10);
    desk.signs(10, 0, 0);
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.item.before.len()), ((None, Some("matched")), 0));

    let mut desk = Desk::left(10);
    desk.erp_cancels();
    desk.erp_answers();
    desk.chooses(Choice::Return);
    desk.signs(0, 10, 0);
    desk.erp_answers();
    assert_eq!((desk.ended().1, desk.item.before.len()), (Some("compensated"), 0));
    assert_eq!(desk.posted(), ["goods_issue 10", "return 10"]);
}

#[test]
fn row_35_goods_that_were_too_warm_and_are_billed_are_credited_when_a_person_chooses_so() {
    let mut desk = Desk::left(10);
    desk.was_too_warm = true;
    desk.erp_answers();
    assert_eq!(desk.ended(), (None, Some("matched")), "nobody knows yet whether the customer takes them");
    desk.is_delivered();
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Quality, (Some(35), None)));
    desk.chooses(Choice::Credit);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10", "credit_note 10"]);
    assert_eq!(desk.ended(), (Some(35), Some("compensated")));
    let legs: Vec<&str> = desk.opened.iter().map(|c| c.leg.as_str()).collect();
    assert_eq!(legs, ["D1/1/temperature"], "the case that is opened beside the item is the item's");
}

#[test]
fn a_credit_note_that_the_erp_cannot_take_is_parked_and_settled_once_it_is_booked_by_hand() {
    let mut desk = Desk::left(10);
    desk.signs(8, 0, 0);
    desk.erp_answers();
    desk.chooses(Choice::Credit);
    desk.run();
    desk.queue[3].state = PostingState::Dead;
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(36), None));
    desk.queue[3].state = PostingState::Applied;
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(36), Some("compensated")));
}

#[test]
fn row_37_what_was_signed_for_beyond_what_left_is_ordered_issued_and_billed_when_the_customer_keeps_it() {
    let mut desk = Desk::left(10);
    desk.erp_answers();
    assert_eq!(desk.ended(), (None, Some("matched")));
    desk.signs(12, 0, 0);
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Pod, (Some(37), None)));
    assert_eq!((desk.item.surplus.clone(), desk.item.value_minor), (carries(2), 1_000));
    assert_eq!(desk.item.choices, [Choice::Accept, Choice::Return, Choice::Escalate]);
    assert_eq!(desk.opened.iter().map(|c| c.leg.as_str()).collect::<Vec<_>>(), ["D1/1/surplus"]);
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"], "nothing more before a person says so");
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    let more = ["order_change 12", "goods_issue 2", "invoice 2"];
    assert_eq!(desk.posted()[3..], more);
    assert_eq!(desk.ended(), (Some(37), Some("accepted_variance")));
    assert_eq!(desk.item.before.iter().map(|s| s.outcome.as_str()).collect::<Vec<_>>(), ["matched"]);
    desk.erp_orders(12);
    desk.erp_answers();
    assert_eq!(desk.posted().len(), 6);
}

#[test]
fn row_37_a_surplus_that_comes_back_was_never_issued_and_nothing_is_posted_for_it() {
    let mut desk = Desk::left(10);
    desk.signs(12, 0, 0);
    desk.erp_answers();
    desk.chooses(Choice::Return);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!((desk.ended(), desk.told()), ((Some(37), Some("compensated")), vec![TransitAction::Return]));
    // A surplus that was refused on the spot is none.
    let mut desk = Desk::left(10);
    desk.signs(10, 2, 0);
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.item.before.len()), ((None, Some("matched")), 0));
}

#[test]
fn row_37_follows_row_36_where_one_line_is_short_and_another_is_over() {
    let mut desk = Desk::left(10);
    let mut second = desk.order.lines[0].clone();
    second.line = 2;
    desk.order.lines.push(second);
    desk.seen = desk.order.clone();
    let line = |line, quantity| LineQuantity { line, quantity, ..carries(0).remove(0) };
    desk.view.departed.as_mut().unwrap().load.push(line(2, 10));
    desk.view.load.push(line(2, 10));
    desk.erp_answers();
    desk.signs(9, 0, 0);
    let proof = desk.view.proof.as_mut().unwrap();
    proof.lines.push(ProofLine { line: 2, delivered: 11, refused: 0, damaged: 0 });
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.item.surplus.clone()), ((Some(36), None), vec![line(1, 1)]));
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.item.surplus.clone()), ((Some(37), None), vec![line(2, 1)]));
    desk.chooses(Choice::Escalate);
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.item.before.len()), ((Some(37), Some("escalated")), 2));
}
