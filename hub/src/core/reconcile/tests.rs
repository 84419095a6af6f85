//! One test per row of the table of concurrent pairs, before and after departure.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch::{
        Changed, DispatchState, DispatchView, HoldReason, Says,
        view::{Hold, Physical, Release},
    },
    document::EntryKey,
    id::{
        ActorName, CarrierId, CustomerId, DecisionId, DeviceId, DocumentId, DoorId, Hash32, OrderId, ProductId, SiteId,
        VehicleId,
    },
    order::{Customer, LineQuantity, Order, OrderLine, OrderStatus, Tier},
    time::{Moment, UtcMs},
};

use super::*;

mod rows;

fn carries(units: u32) -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: ProductId::new("PALLET").unwrap(), quantity: units }]
}

fn key(text: &str) -> EntryKey {
    text.parse().unwrap()
}

/// A hub with one order of 10, released once at D1; the test plays depot, ERP and people.
struct Desk {
    item: ReconItem,
    record: DecisionRecord,
    view: DispatchView,
    order: Order,
    on_hold: Option<bool>,
    within_lease: bool,
    lease_expired: bool,
    policy_lagged: bool,
    recalled: bool,
    earlier: Vec<LineQuantity>,
    elsewhere: Vec<LineQuantity>,
    is_planned_elsewhere: bool,
    seen: Order,
    confirmed: Vec<(u16, u32)>,
    tendered: Option<CarrierId>,
    was_too_warm: bool,
    queue: Vec<QueuedPosting>,
    read_at: UtcMs,
    now: UtcMs,
    cases: BTreeMap<CaseType, bool>,
    opened: Vec<NewCase>,
}

impl Desk {
    fn after_a_release_of_10() -> Self {
        let site = SiteId::new("D1").unwrap();
        let device = DeviceId::new("gw-1").unwrap();
        let order = Order {
            id: OrderId::new("SO-1").unwrap(),
            version: 1,
            site: site.clone(),
            customer: Customer { id: CustomerId::new("C1").unwrap(), name: "Acme".into(), tier: Tier::B },
            lines: vec![OrderLine {
                line: 1,
                product: ProductId::new("PALLET").unwrap(),
                quantity: 10,
                unit_price_minor: 500,
                unit_weight_grams: None,
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: VehicleId::new("V1").unwrap(),
            carrier: CarrierId::new("own").unwrap(),
            door: DoorId::new("3").unwrap(),
            planned_departure: UtcMs(1_000_000),
            window_end: UtcMs(9_000_000),
            destination: None,
            route: None,
            status: OrderStatus::Released,
            cut_off: None,
            dangerous_goods: false,
        };
        let dispatch = gatehouse_common::dispatch::document_id(&order.id, &site, 1);
        let id = DecisionId::of(&device, 1, 7);
        let record = DecisionRecord {
            v: 1,
            id: id.clone(),
            device,
            site: site.clone(),
            epoch: 1,
            position: 7,
            previous: Hash32::ZERO,
            kind: DecisionKind::Release,
            mode: Some(Mode::Offline),
            dispatch: Some(dispatch),
            order: Some((order.id.clone(), 1)),
            load: carries(10),
            gates: Vec::new(),
            bundle: Hash32::ZERO,
            lease: None,
            by: DecidedBy::Rule { rule: "auto".into() },
            reason: "all gates met".into(),
            at: Moment { wall: UtcMs(500), uncertainty_ms: 0, boot: Default::default(), boottime_ms: 0, trusted: true },
            begins: None,
            drills: Vec::new(),
        };
        let view = DispatchView {
            state: DispatchState::Released,
            stop_departure: false,
            left_under_stop: false,
            stop_was_known: false,
            carrier_refused: None,
            reassigned_to: None,
            cancel_asked: None,
            weigh_again: false,
            divert: false,
            promises: Vec::new(),
            in_transit: Vec::new(),
            departure_disputed_ms: None,
            fold: 2,
            order: order.id.clone(),
            order_version: 1,
            site,
            occurrence: 1,
            vehicle: order.vehicle.clone(),
            carrier: order.carrier.clone(),
            door: order.door.clone(),
            planned_departure: order.planned_departure,
            load: carries(10),
            release: Some(Release {
                key: key("site/D1/gw-1/1-2"),
                mode: Mode::Offline,
                override_unneeded: false,
                decision: id,
                order_version: 1,
                load: carries(10),
                at: UtcMs(500),
            }),
            holds: Vec::new(),
            cancelled: None,
            recall_seen: false,
            departed: None,
            delivered: None,
            proof: None,
            arrived_at: None,
            went_on_at: None,
            loading_at: None,
            loaded_at: None,
            superseded: Vec::new(),
            void: Vec::new(),
            unread: Vec::new(),
            waits_for_upgrade: false,
        };
        let item = ReconItem::open(&record, Some(&order), UtcMs(1_000));
        Self {
            item,
            record,
            view,
            seen: order.clone(),
            order,
            on_hold: Some(false),
            within_lease: true,
            lease_expired: false,
            policy_lagged: false,
            recalled: false,
            earlier: Vec::new(),
            elsewhere: Vec::new(),
            is_planned_elsewhere: false,
            confirmed: Vec::new(),
            tendered: None,
            was_too_warm: false,
            queue: Vec::new(),
            read_at: UtcMs(0),
            now: UtcMs(1_000),
            cases: BTreeMap::new(),
            opened: Vec::new(),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = obey(&self.order, &self.view, &self.earlier, self.on_hold);
        steps.extend(told_of_change(&self.order, Some(&self.seen), &self.view).map(Step::WriteDispatch));
        steps.extend(settle(&Situation {
            item: &self.item,
            decision: &self.record,
            dispatch: Some(&self.view),
            earlier: &self.earlier,
            elsewhere: &self.elsewhere,
            is_planned_elsewhere: self.is_planned_elsewhere,
            order: Some(&self.order),
            seen: Some(&self.seen),
            confirmed: &self.confirmed,
            tendered: self.tendered.as_ref(),
            was_too_warm: self.was_too_warm,
            policy: ReconPolicy::default(),
            on_hold: self.on_hold,
            within_lease: self.within_lease,
            lease_expired: self.lease_expired,
            policy_lagged: self.policy_lagged,
            recalled: self.recalled,
            credit_case: 1,
            postings: &self.queue,
            erp_read_at: Some(self.read_at),
            now: self.now,
        }));
        steps
    }

    /// Takes steps as the reconciler would, without the ERP, until there are none.
    fn run(&mut self) {
        for _ in 0..10 {
            self.now = self.now.plus(1);
            let steps = self.steps();
            if steps.is_empty() {
                return;
            }
            for step in steps {
                self.take(step);
            }
        }
        panic!("steps never end: {:#?}", self.steps());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Keep(item) => self.item = *item,
            Step::Post(posting) => {
                assert!(self.queue.iter().all(|q| q.posting.key != posting.key), "{} twice", posting.key);
                self.queue.push(QueuedPosting {
                    posting,
                    state: PostingState::Queued,
                    is_wanted: true,
                    attempts: 0,
                    next_try: UtcMs(0),
                    sent_at: None,
                    last_error: None,
                    applied_at: None,
                    document: None,
                });
            }
            Step::Withdraw { key } => {
                let found = self.queue.iter_mut().find(|q| q.posting.key == key).unwrap();
                (found.state, found.is_wanted) = (PostingState::Withdrawn, false);
            }
            Step::WriteDispatch(says) => self.write(says),
            Step::OpenCase(case) => {
                self.cases.insert(case.case_type, true);
                self.opened.push(case);
            }
            Step::ResolveCase { case, .. } => {
                let resolved = self.opened.iter().find(|c| c.id == case).unwrap().case_type;
                self.cases.insert(resolved, false);
            }
        }
    }

    fn write(&mut self, says: Says) {
        match says {
            Says::Cancelled { order_version, .. } => {
                self.view.cancelled = Some(key("hub/hub/hub/1-1"));
                self.view.order_version = order_version;
                self.view.stop_departure = self.view.state.is_on_board();
                if self.view.state == DispatchState::Released {
                    self.view.state = DispatchState::Cancelled;
                }
            }
            Says::Terms { order_version, load, .. } => {
                (self.view.order_version, self.view.load) = (order_version, load);
                self.view.state = DispatchState::Held;
            }
            Says::Held { reason, why, cases, .. } => {
                self.view.holds.push(Hold { key: key("hub/hub/hub/1-2"), reason, why, cases });
                self.view.state = DispatchState::Held;
            }
            Says::Lifted { .. } => self.view.holds.clear(),
            Says::Reassigned { to, order_version, .. } => {
                self.view.order_version = order_version;
                if self.view.state == DispatchState::Released {
                    (self.view.state, self.view.reassigned_to) = (DispatchState::Cancelled, Some(to));
                }
            }
            Says::Settled { .. } => self.view.state = DispatchState::Settled,
            Says::Changed { order_version, what, promised, promises, .. } => {
                self.view.order_version = order_version;
                self.view.divert = self.view.state.has_left() && what.contains(&Changed::Address);
                self.view.promises = vec![promised, promises];
            }
            Says::InTransit { action, .. } => {
                self.view.in_transit.push((key("hub/hub/hub/1-9"), action));
                self.view.divert = false;
            }
            other => panic!("the hub may not say {other:?}"),
        }
    }

    /// The ERP is read and takes everything that waits, again and again.
    fn erp_answers(&mut self) {
        for _ in 0..5 {
            self.now = self.now.plus(10);
            self.read_at = self.now;
            self.run();
            let now = self.now;
            for queued in self.queue.iter_mut().filter(|q| q.state == PostingState::Queued) {
                queued.state = PostingState::Applied;
                queued.applied_at = Some(now);
            }
            self.run();
        }
        assert_eq!(self.steps(), [], "a second run found something new to do");
    }

    fn departs_with(&mut self, units: u32) {
        self.view.state = DispatchState::Departed;
        self.view.departed = Some(Physical { key: key("site/D1/gw-1/1-5"), load: carries(units), at: UtcMs(900) });
    }

    fn erp_orders(&mut self, units: u32) {
        self.order.version += 1;
        self.order.lines[0].quantity = units;
    }

    fn erp_cancels(&mut self) {
        self.order.version += 1;
        self.order.status = OrderStatus::Cancelled;
    }

    fn chooses(&mut self, choice: Choice) {
        assert!(self.item.choices.contains(&choice), "{choice:?} is not offered");
        let by = ActorName::new("fiona").unwrap();
        let reason = "asked the customer".to_owned();
        let policy = ReconPolicy { two_people_above_minor: i64::MAX, ..ReconPolicy::default() };
        let took = choosing::choose(&mut self.item, choice, by, reason, None, &policy, self.now);
        assert_eq!(took, Ok(Took::Chosen));
    }

    fn posted(&self) -> Vec<String> {
        self.queue
            .iter()
            .map(|q| match q.posting.quantity {
                Some(units) => format!("{} {units}", q.posting.kind.as_str()),
                None => q.posting.kind.as_str().to_owned(),
            })
            .collect()
    }

    fn ended(&self) -> (Option<u8>, Option<&'static str>) {
        (self.item.row, self.item.outcome.as_ref().map(Outcome::as_str))
    }
}

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
