//! What changed of an order beside its quantities, and what other systems said, while the depot decided alone.

use gatehouse_common::geo::Point;

use super::*;

fn elsewhere() -> Option<Point> {
    Some(Point { lat: 30.5, lon: -97.5 })
}

#[test]
fn row_11_an_address_that_changed_on_the_way_is_billed_and_diverted_by_a_person() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.destination = elsewhere());
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Address, (Some(11), None)));
    assert!(desk.view.divert, "the depot is told");
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    assert_eq!(desk.item.choices, [Choice::Divert, Choice::Accept]);
    desk.chooses(Choice::Divert);
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.told()), ((Some(11), Some("compensated")), vec![TransitAction::Divert]));
    assert_eq!(desk.cases, BTreeMap::from([(CaseType::ReconDiscrepancy, false)]));
    assert!(!desk.view.divert);
}

#[test]
fn row_11_goods_that_were_delivered_to_the_first_address_come_back_against_a_credit_note() {
    let mut desk = Desk::left(10);
    desk.is_delivered();
    desk.erp_changes(|order| order.destination = elsewhere());
    desk.erp_answers();
    assert_eq!(desk.item.choices, [Choice::Accept, Choice::Return]);
    desk.chooses(Choice::Return);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10", "return 10", "credit_note 10"]);
    assert_eq!(desk.queue[4].posting.amount_minor, Some(5_000));
    assert_eq!(desk.ended(), (Some(11), Some("compensated")));
}

#[test]
fn row_11_an_address_that_the_depot_knew_when_it_decided_is_no_difference() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.destination = elsewhere());
    desk.seen = desk.order.clone();
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened.len()), ((None, Some("matched")), 0));
}

#[test]
fn row_11_a_later_window_keeps_both_promises_and_an_earlier_one_asks_a_person() {
    let mut desk = Desk::left(10);
    let promised = desk.order.window_end;
    desk.erp_changes(|order| order.window_end = promised.plus(3_600_000));
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Date, (Some(11), Some("accepted_variance"))));
    assert_eq!((desk.view.promises.clone(), desk.opened.len()), (vec![promised, promised.plus(3_600_000)], 0));

    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.window_end = promised.plus(-3_600_000));
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Date, (Some(11), None)));
    desk.chooses(Choice::Accept);
    desk.erp_answers();
    assert_eq!(desk.item.outcome.as_ref().and_then(Outcome::approver), Some("fiona"));
}

#[test]
fn row_11_a_price_that_fell_or_rose_a_little_stands_and_one_that_rose_much_asks_a_person() {
    // Two percent of 5,000 are tolerated.
    for (price, outcome) in [(450, Some("accepted_variance")), (510, Some("accepted_variance")), (511, None)] {
        let mut desk = Desk::left(10);
        desk.erp_changes(|order| order.lines[0].unit_price_minor = price);
        desk.erp_answers();
        assert_eq!((desk.item.family, desk.ended()), (Family::Price, (Some(11), outcome)), "{price}");
        assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"], "the ERP bills at its price");
        assert_eq!(desk.opened.len(), usize::from(outcome.is_none()));
        assert!(desk.view.promises.is_empty(), "a price is not the depot's matter");
    }
}

#[test]
fn row_11_the_rise_of_a_price_is_credited_when_a_person_chooses_so() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.lines[0].unit_price_minor = 700);
    desk.erp_answers();
    desk.chooses(Choice::Credit);
    desk.erp_answers();
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10", "credit_note 10"]);
    assert_eq!((desk.queue[3].posting.amount_minor, desk.ended()), (Some(2_000), (Some(11), Some("compensated"))));
}

#[test]
fn row_12_what_had_left_when_the_order_went_to_another_depot_stands_once_that_lets_go() {
    let mut desk = Desk::left(10);
    desk.is_planned_elsewhere = true;
    desk.erp_changes(|order| order.site = SiteId::new("D2").unwrap());
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Depot, (Some(12), None)));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
    desk.is_planned_elsewhere = false;
    desk.erp_answers();
    assert_eq!((desk.ended(), desk.opened.len()), ((Some(12), Some("compensated")), 0));
}

#[test]
fn row_12_a_depot_lets_go_of_what_left_another_and_keeps_what_is_left_of_the_order() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.site = SiteId::new("D2").unwrap());
    let version = desk.order.version;
    let planned = DispatchView {
        site: SiteId::new("D2").unwrap(),
        state: DispatchState::Planned,
        order_version: version,
        departed: None,
        release: None,
        ..desk.view.clone()
    };
    assert!(matches!(yields(&desk.order, &planned, &[&desk.view]), Some(Says::Cancelled { .. })));
    let mut part = DispatchView { ..desk.view.clone() };
    part.departed = Some(Physical { load: carries(4), ..part.departed.unwrap() });
    match yields(&desk.order, &planned, &[&part]) {
        Some(Says::Terms { order_version, load, .. }) => assert_eq!((order_version, load), (version, carries(6))),
        other => panic!("{other:?}"),
    }
    let told = DispatchView { load: carries(6), ..planned };
    assert_eq!(yields(&desk.order, &told, &[&part]), None, "once is enough");
}

#[test]
fn row_14_the_carrier_that_has_the_goods_stands_and_a_person_says_what_of_the_other() {
    let other = CarrierId::new("Y").unwrap();
    let by_order: fn(&mut Desk) = |desk| desk.erp_changes(|order| order.carrier = CarrierId::new("Y").unwrap());
    let by_word: fn(&mut Desk) = |desk| desk.view.carrier_refused = Some(CarrierId::new("Y").unwrap());
    let by_tms: fn(&mut Desk) = |desk| desk.tendered = Some(CarrierId::new("Y").unwrap());
    for how in [by_order, by_word, by_tms] {
        let mut desk = Desk::left(10);
        how(&mut desk);
        desk.erp_answers();
        assert_eq!((desk.item.family, desk.ended()), (Family::Carrier, (Some(14), None)));
        assert!(desk.opened[0].summary.contains(other.as_str()), "{}", desk.opened[0].summary);
        assert_eq!(
            (desk.opened[0].owner, desk.opened[0].leg.as_str()),
            (Some(Team::CarrierManagement), "D1/1/carrier")
        );
        desk.chooses(Choice::Accept);
        desk.erp_answers();
        assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
        assert_eq!(desk.ended(), (Some(14), Some("accepted_variance")));
    }
}

#[test]
fn row_15_a_carrier_that_had_not_come_gave_way_to_the_hubs_and_nothing_differs() {
    for gave_way in [true, false] {
        let mut desk = Desk::left(10);
        desk.erp_changes(|order| order.carrier = CarrierId::new("Y").unwrap());
        if gave_way {
            desk.view.carrier = CarrierId::new("Y").unwrap();
        }
        desk.erp_answers();
        let expected = if gave_way { (None, Some("matched")) } else { (Some(14), None) };
        assert_eq!((desk.ended(), desk.opened.len()), (expected, usize::from(!gave_way)));
    }
}

#[test]
fn row_16_a_hold_that_was_placed_meanwhile_does_not_undo_what_left_and_is_reviewed() {
    let mut desk = Desk::left(10);
    let hold = Hold { key: key("hub/hub/hub/1-2"), reason: HoldReason::Person, why: "ask me".into(), cases: vec![] };
    (desk.view.holds, desk.view.left_under_stop) = (vec![hold], true);
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Override, (Some(16), Some("escalated"))));
    assert_eq!(desk.posted(), ["release", "goods_issue 10", "invoice 10"]);
}

impl Desk {
    /// Its lease was charged with all 10; the warehouse says meanwhile that it has 7.
    fn charged_with_10_of_7() -> Self {
        let stock = [(carries(1)[0].product.clone(), 10)].into();
        let used = gatehouse_common::lease::LeaseUse { stock, ..Default::default() };
        let lease = gatehouse_common::id::LeaseId::new("l-1").unwrap();
        let mut desk = Self::left(10);
        desk.confirmed = vec![(1, 7)];
        desk.record.lease = Some(gatehouse_common::decision::LeaseCharge { lease, used });
        desk
    }
}

#[test]
fn row_20_units_from_the_escrow_of_a_lease_are_the_depots_whatever_the_warehouse_says() {
    let mut desk = Desk::charged_with_10_of_7();
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Stock, (Some(20), Some("accepted_variance"))));
    assert_eq!(desk.item.outcome.as_ref().and_then(Outcome::approver), Some("rule: stock set aside by its lease"));
    assert_eq!((desk.item.surplus.clone(), desk.opened.len()), (carries(3), 0));
}

#[test]
fn row_20_what_a_person_let_leave_beyond_the_escrow_was_set_aside_for_nobody() {
    let mut desk = Desk::charged_with_10_of_7();
    desk.is_set_aside = false;
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Stock, (Some(20), None)));
    assert_eq!((desk.item.choices.clone(), desk.opened.len()), (vec![Choice::Accept, Choice::Escalate], 1));
}

#[test]
fn row_20_units_that_nobody_had_set_aside_are_counted_again_or_left_to_the_warehouse() {
    for (choice, outcome) in [(Choice::Accept, "accepted_variance"), (Choice::Escalate, "escalated")] {
        let mut desk = Desk::left(10);
        desk.confirmed = vec![(1, 7)];
        desk.erp_answers();
        assert_eq!((desk.item.family, desk.ended()), (Family::Stock, (Some(20), None)));
        assert_eq!((desk.item.value_minor, desk.opened[0].owner), (1_500, Some(Team::Warehouse)));
        desk.chooses(choice);
        desk.erp_answers();
        assert_eq!(desk.ended(), (Some(20), Some(outcome)));
        assert_eq!(desk.cases[&CaseType::ReconDiscrepancy], choice == Choice::Escalate, "who counts keeps the case");
    }
}

#[test]
fn of_two_differences_the_graver_one_settles_the_item_and_the_other_has_its_case() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.destination = elsewhere());
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Cancel, (Some(3), None)));
    let beside: Vec<(Family, bool)> = desk.item.also.iter().map(|m| (m.family, m.case.is_some())).collect();
    assert_eq!(beside, [(Family::Address, true)]);
    let legs: Vec<&str> = desk.opened.iter().map(|c| c.leg.as_str()).collect();
    assert_eq!(legs, ["D1/1/address", "gw-1-1-7"]);
}

#[test]
fn what_was_chosen_stands_though_something_that_a_rule_settles_comes_beside_it() {
    let mut desk = Desk::left(10);
    desk.erp_changes(|order| order.destination = elsewhere());
    desk.erp_answers();
    desk.chooses(Choice::Divert);
    desk.within_lease = false;
    desk.on_hold = Some(true);
    desk.erp_answers();
    assert_eq!((desk.item.family, desk.ended()), (Family::Address, (Some(11), Some("compensated"))));
    assert_eq!(desk.item.also.iter().map(|m| m.family).collect::<Vec<_>>(), [Family::Credit]);
}
