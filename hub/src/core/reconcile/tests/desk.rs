//! A hub with one order, whose depot, ERP and people the test plays.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch::{
        Changed, DispatchState, DispatchView, Says, TransitAction,
        view::{Hold, Physical, Release},
    },
    document::EntryKey,
    id::{
        ActorName, CarrierId, CustomerId, DecisionId, DeviceId, DoorId, Hash32, OrderId, ProductId, SiteId, VehicleId,
    },
    order::{Customer, LineQuantity, Order, OrderLine, OrderStatus, Tier},
    time::{Moment, UtcMs},
};

use super::super::*;

pub(super) fn carries(units: u32) -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: ProductId::new("PALLET").unwrap(), quantity: units }]
}

pub(super) fn key(text: &str) -> EntryKey {
    text.parse().unwrap()
}

/// A hub with one order of 10, released once at D1; the test plays depot, ERP and people.
pub(super) struct Desk {
    pub(super) item: ReconItem,
    pub(super) record: DecisionRecord,
    pub(super) view: DispatchView,
    pub(super) order: Order,
    pub(super) on_hold: Option<bool>,
    pub(super) within_lease: bool,
    pub(super) is_set_aside: bool,
    pub(super) lease_expired: bool,
    pub(super) policy_lagged: bool,
    pub(super) recalled: bool,
    pub(super) earlier: Vec<LineQuantity>,
    pub(super) elsewhere: Vec<LineQuantity>,
    pub(super) is_planned_elsewhere: bool,
    pub(super) seen: Order,
    pub(super) confirmed: Vec<(u16, u32)>,
    pub(super) tendered: Option<CarrierId>,
    pub(super) was_too_warm: bool,
    pub(super) queue: Vec<QueuedPosting>,
    pub(super) read_at: UtcMs,
    pub(super) now: UtcMs,
    pub(super) cases: BTreeMap<CaseType, bool>,
    pub(super) opened: Vec<NewCase>,
}

impl Desk {
    pub(super) fn after_a_release_of_10() -> Self {
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
            is_set_aside: true,
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

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = obey(&self.order, &self.view, &self.earlier, self.on_hold, self.now);
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
            is_set_aside: self.is_set_aside,
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
    pub(super) fn run(&mut self) {
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

    pub(super) fn take(&mut self, step: Step) {
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

    pub(super) fn write(&mut self, says: Says) {
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
                self.view.weigh_again = !self.view.state.has_left();
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
    pub(super) fn erp_answers(&mut self) {
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

    pub(super) fn departs_with(&mut self, units: u32) {
        self.view.state = DispatchState::Departed;
        self.view.departed = Some(Physical { key: key("site/D1/gw-1/1-5"), load: carries(units), at: UtcMs(900) });
    }

    pub(super) fn erp_orders(&mut self, units: u32) {
        self.order.version += 1;
        self.order.lines[0].quantity = units;
    }

    pub(super) fn erp_cancels(&mut self) {
        self.order.version += 1;
        self.order.status = OrderStatus::Cancelled;
    }

    pub(super) fn chooses(&mut self, choice: Choice) {
        assert!(self.item.choices.contains(&choice), "{choice:?} is not offered");
        let by = ActorName::new("fiona").unwrap();
        let reason = "asked the customer".to_owned();
        let policy = ReconPolicy { two_people_above_minor: i64::MAX, ..ReconPolicy::default() };
        let took = choosing::choose(&mut self.item, choice, by, reason, None, &policy, self.now);
        assert_eq!(took, Ok(Took::Chosen));
    }

    pub(super) fn posted(&self) -> Vec<String> {
        self.queue
            .iter()
            .map(|q| match q.posting.quantity {
                Some(units) => format!("{} {units}", q.posting.kind.as_str()),
                None => q.posting.kind.as_str().to_owned(),
            })
            .collect()
    }

    pub(super) fn ended(&self) -> (Option<u8>, Option<&'static str>) {
        (self.item.row, self.item.outcome.as_ref().map(Outcome::as_str))
    }
}

impl Desk {
    pub(super) fn left(units: u32) -> Self {
        let mut desk = Self::after_a_release_of_10();
        desk.departs_with(units);
        desk
    }

    pub(super) fn is_delivered(&mut self) {
        self.view.state = DispatchState::Delivered;
        self.view.delivered = self.view.departed.clone();
    }

    /// The ERP changes something of the order that is not its quantities.
    pub(super) fn erp_changes(&mut self, change: impl FnOnce(&mut Order)) {
        change(&mut self.order);
        self.order.version += 1;
    }

    /// What the vehicle was told of goods on their way.
    pub(super) fn told(&self) -> Vec<TransitAction> {
        self.view.in_transit.iter().map(|(_, action)| *action).collect()
    }
}
