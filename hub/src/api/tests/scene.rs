//! One order with everything about it that people act on.

use gatehouse_common::{
    case,
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch,
    document::{Document, Entry, History},
    gate::{GateInput, GateKind, GateResult, GateState},
    id::{DecisionId, DocumentId, DocumentKind, Hash32},
    order::{LineQuantity, Order, Tier},
    seal::Sealed,
    sync::{Lane, Push, Upward},
    time::Hlc,
};

use super::*;
use crate::{
    core::reconcile::{Choice, Family, Posting, PostingKind, ReconItem},
    fixture,
    store::{Device, DeviceKind, DocumentSays},
};

/// What a test may ask for by name.
pub(super) struct Scene {
    pub(super) dispatch: DocumentId,
    pub(super) case: DocumentId,
    pub(super) decision: DecisionId,
    pub(super) posting: String,
}

fn load(quantity: u32) -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: "PALLET".parse().unwrap(), quantity }]
}

fn order(now: UtcMs) -> Order {
    let mut order = fixture::order(now);
    order.customer.name = "Ada's <b>Shop</b>".into();
    order.customer.tier = Tier::A;
    order.lines[0].product = "PALLET".parse().unwrap();
    order.planned_departure = now.plus(600_000);
    order
}

fn decision(device: &DeviceId, dispatch: DocumentId, order: &Order, clock: &Clock) -> DecisionRecord {
    let input = GateInput {
        key: FactKey::Inventory { order: order.id.clone(), line: 1 },
        value: FactValue::Inventory { confirmed: 10 },
        source: Source::Wms,
        at: clock.wall().plus(-90_000),
        age_ms: Some(60_000),
    };
    DecisionRecord {
        v: 1,
        id: DecisionId::of(device, 1, 1),
        device: device.clone(),
        site: order.site.clone(),
        epoch: 1,
        position: 1,
        previous: Hash32::ZERO,
        kind: DecisionKind::Release,
        mode: Some(Mode::Offline),
        dispatch: Some(dispatch),
        order: Some((order.id.clone(), 1)),
        load: load(10),
        gates: vec![
            GateResult {
                gate: GateKind::Inventory,
                state: GateState::Pass,
                limit_ms: 900_000,
                inputs: vec![input],
                rule: None,
                fallback: None,
            },
            GateResult {
                gate: GateKind::Carrier,
                state: GateState::Unknown { why: gatehouse_common::gate::UnknownWhy::Missing },
                limit_ms: 900_000,
                inputs: Vec::new(),
                rule: None,
                fallback: None,
            },
        ],
        bundle: Hash32::ZERO,
        lease: None,
        by: DecidedBy::Rule { rule: "auto".into() },
        reason: "all gates met under the lease".into(),
        at: clock.now(),
        begins: None,
        drills: Vec::new(),
    }
}

fn case_says(dispatch: DocumentId, now: UtcMs) -> Vec<case::Says> {
    let opened = case::Says::Opened {
        case_type: case::CaseType::CreditHold,
        subject: "C-1".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: now,
        summary: "customer C-1 is on credit hold".into(),
        order: Some("SO-1".parse().unwrap()),
        blocks: Some(dispatch),
        follows: None,
    };
    let classified = case::Says::Classified {
        severity: case::Severity::S2,
        axes: Default::default(),
        owner: case::Team::Finance,
        actions: vec!["call the customer".into(), "lift the hold".into()],
        acknowledge_by: now.plus(900_000),
        resolve_by: now.plus(14_400_000),
        bundle: Hash32::ZERO,
    };
    vec![opened, classified]
}

impl Desk {
    /// An order that its depot released while it was cut off; a credit hold on its dispatch, a case, a difference
    /// with the ERP about which a person must choose, and a posting that the ERP did not take.
    pub(super) fn play(&self) -> Scene {
        let (clock, now) = (Clock::system(), Clock::system().wall());
        let order = order(now);
        let gateway = PrivateKey::from_seed([7; 32]);
        let device = Device {
            device: "gw-1".parse().unwrap(),
            kind: DeviceKind::Gateway,
            public_key: gateway.public(),
            sites: vec![order.site.clone()],
            vehicles: Vec::new(),
        };
        let name = device.device.clone();
        crate::sync::devices::add(&self.store, device, "test", now).unwrap();

        let id = dispatch::document_id(&order.id, &order.site, 1);
        let mut document = Document::new().unwrap();
        let after = History::new(document.entries::<dispatch::Says>().0).heads();
        let entry =
            Entry { after, at: now, hlc: Hlc { ms: now.0, n: 0 }, by: "rule".into(), says: fixture::planned(&order) };
        let (_, chunk) = document.append(&"site/D1/gw-1/1".parse().unwrap(), &[entry]).unwrap();
        let record = decision(&name, id, &order, &clock);
        let sealed = Sealed::new(&record, &gateway).unwrap();
        let records = vec![
            (1, Upward::Chunk { document: id, kind: DocumentKind::Dispatch, bytes: chunk.bytes }),
            (2, Upward::Decision(sealed)),
        ];
        let push = Push { outbox_epoch: 1, records };

        let case = case::document_id(&case::dedup_key(case::CaseType::CreditHold, "C-1", "-"), 1);
        let decision = record.id.clone();
        let posting = format!("{decision}/goods_issue/1");
        let key = posting.clone();
        let moment = clock.now();
        self.store
            .write_now(move |tx| {
                tx.put_order(&order, now)?;
                let reply = crate::sync::handle_push(tx, &PrivateKey::from_seed([1; 32]), &name, &push, &moment)?;
                assert_eq!((reply.taken_through, reply.rejected), (2, Vec::new()));
                let held = dispatch::Says::Held {
                    reason: dispatch::HoldReason::Credit,
                    why: "customer C-1 is on credit hold".into(),
                    cases: vec![case],
                    decision: None,
                };
                tx.write_entries(&id, DocumentSays::Dispatch(vec![held]), "rule", Lane::Recalls, now)?;
                tx.write_entries(&case, DocumentSays::Case(case_says(id, now)), "rule", Lane::Documents, now)?;
                let mut item = ReconItem::open(&record, Some(&order), now);
                (item.family, item.row, item.case) = (Family::Quantity, Some(8), Some(case));
                (item.surplus, item.choices) = (load(2), vec![Choice::Accept, Choice::Return]);
                tx.put_recon_item(&item)?;
                let issue = Posting {
                    key: key.clone(),
                    decision: record.id.clone(),
                    order: order.id.clone(),
                    line: Some(1),
                    kind: PostingKind::GoodsIssue,
                    quantity: Some(10),
                    total: Vec::new(),
                    status: None,
                    amount_minor: None,
                    text: "left D1".into(),
                    at: now,
                };
                tx.enqueue(&issue, now)?;
                tx.bury(&key, "the ERP knows no warehouse D1")
            })
            .unwrap();
        self.store.fold_now().unwrap();
        Scene { dispatch: id, case, decision, posting }
    }
}
