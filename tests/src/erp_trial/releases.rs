//! Releases of a depot that was cut off: each an order, a dispatch document and a signed decision.

use anyhow::{Context, bail};
use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch::{self, Says},
    document::{Actor, Document, Entry, History},
    id::{DecisionId, DocumentId, DocumentKind, Hash32, OrderId},
    order::LineQuantity,
    seal::{PrivateKey, Sealed},
    sync::{Push, Upward},
    time::{BootId, Hlc, Moment, UtcMs},
};
use gatehouse_hub::{
    store::{Device, DeviceKind, Store},
    sync::handle_push,
};
use jiff::Timestamp;

use crate::standin::{
    books::{Buyer, Change, Credit, Customer, Line, Order, Status, Tier},
    erp::Erp,
};

/// Releases told to the hub in one transaction.
const BATCH: usize = 100;
const ORDERS_OF_A_CUSTOMER: usize = 20;
const DEPARTURE: &str = "2030-01-31T08:00:00Z";

/// The order of the `n`-th release.
#[must_use]
pub fn order_name(n: usize) -> String {
    format!("SO-{n:06}")
}

/// Writes `count` orders of one unit, and their customers, into the ERP's books.
/// # Errors
/// If the books do not take one.
pub fn order(erp: &Erp, count: usize) -> anyhow::Result<()> {
    let put = |change| erp.put(change).map_err(|problem| anyhow::anyhow!(problem.detail));
    let tier = Tier::B;
    let buyer = |n: usize| {
        let customer = n / ORDERS_OF_A_CUSTOMER;
        Buyer { id: format!("C{customer}"), name: format!("Customer {customer}"), tier }
    };
    for n in (0..count).step_by(ORDERS_OF_A_CUSTOMER) {
        let Buyer { id, name, tier } = buyer(n);
        let credit = Credit { on_hold: false, limit_minor: i64::MAX / 2, exposure_minor: 0, currency: "EUR".into() };
        put(Change::PutCustomer { customer: Customer { id, name, tier, revision: 0, credit } })?;
    }
    let departure: Timestamp = DEPARTURE.parse()?;
    for n in 0..count {
        put(Change::PutOrder {
            order: Order {
                id: order_name(n),
                revision: 0,
                site: "D1".into(),
                customer: buyer(n),
                lines: vec![Line { line: 1, product: "P1".into(), quantity: 1, unit_price_minor: 1_250 }],
                currency: "EUR".into(),
                class: "standard".into(),
                vehicle: "V1".into(),
                carrier: "ACME".into(),
                door: "1".into(),
                planned_departure: departure,
                window_end: departure,
                destination: None,
                status: Status::Released,
            },
        })?;
    }
    Ok(())
}

/// A depot that tells the hub what it released.
struct Depot {
    device: Device,
    key: PrivateKey,
    actor: Actor,
    previous: Hash32,
}

impl Depot {
    fn new() -> anyhow::Result<Self> {
        let key = PrivateKey::from_seed(rand::random());
        let device = Device {
            device: "gw-1".parse()?,
            kind: DeviceKind::Gateway,
            public_key: key.public(),
            sites: vec!["D1".parse()?],
            vehicles: Vec::new(),
        };
        Ok(Self { device, key, actor: "site/D1/gw-1/1".parse().context("an actor")?, previous: Hash32::ZERO })
    }

    /// What it sends of its `n`-th release, and the decision's name.
    fn releases(&mut self, n: usize, now: &Moment) -> anyhow::Result<(DecisionId, Vec<Upward>)> {
        let (order, site) = (OrderId::new(order_name(n))?, self.device.sites[0].clone());
        let id = DecisionId::of(&self.device.device, 1, n as u64 + 1);
        let load = vec![LineQuantity { line: 1, product: "P1".parse()?, quantity: 1 }];
        let dispatch = dispatch::document_id(&order, &site, 1);
        let mut document = Document::new()?;
        let planned = Says::Planned {
            order: order.clone(),
            order_version: 1,
            site: site.clone(),
            occurrence: 1,
            vehicle: "V1".parse()?,
            carrier: "ACME".parse()?,
            door: "1".parse()?,
            load: load.clone(),
            planned_departure: now.wall,
        };
        let released = Says::Released {
            mode: Mode::Offline,
            decision: id.clone(),
            order_version: 1,
            load: load.clone(),
            overrides: Vec::new(),
        };
        let mut records = Vec::new();
        for says in [planned, released] {
            records.push(self.says(&mut document, dispatch, says, now.wall)?);
        }
        let record = DecisionRecord {
            v: 1,
            id: id.clone(),
            device: self.device.device.clone(),
            site,
            epoch: 1,
            position: n as u64 + 1,
            previous: self.previous,
            kind: DecisionKind::Release,
            mode: Some(Mode::Offline),
            dispatch: Some(dispatch),
            order: Some((order, 1)),
            load,
            gates: Vec::new(),
            bundle: Hash32::ZERO,
            lease: None,
            by: DecidedBy::Rule { rule: "offline".into() },
            reason: "all gates pass".into(),
            at: now.clone(),
            begins: None,
            drills: Vec::new(),
        };
        let sealed = Sealed::new(&record, &self.key)?;
        self.previous = sealed.hash();
        records.push(Upward::Decision(sealed));
        Ok((id, records))
    }

    fn says(&self, document: &mut Document, id: DocumentId, says: Says, at: UtcMs) -> anyhow::Result<Upward> {
        let after = History::new(document.entries::<Says>().0).heads();
        let entry = Entry { after, at, hlc: Hlc { ms: at.0, n: 0 }, by: "rule".into(), says };
        let (_, chunk) = document.append(&self.actor, &[entry])?;
        Ok(Upward::Chunk { document: id, kind: DocumentKind::Dispatch, bytes: chunk.bytes })
    }
}

/// Tells the hub's store of `count` releases, as a depot would that comes back. Returns the decisions.
/// # Errors
/// If the store does not take one.
pub fn tell(store: &Store, hub: &PrivateKey, count: usize) -> anyhow::Result<Vec<DecisionId>> {
    let wall = UtcMs(Timestamp::now().as_millisecond());
    let boot = BootId("trial".into());
    let now = Moment { wall, uncertainty_ms: 0, boot, boottime_ms: wall.0.unsigned_abs(), trusted: true };
    let mut depot = Depot::new()?;
    let device = depot.device.clone();
    store.write_now(move |tx| tx.put_device(&device, wall))?;
    let (mut decisions, mut number) = (Vec::new(), 0);
    for first in (0..count).step_by(BATCH) {
        let mut records = Vec::new();
        for n in first..count.min(first + BATCH) {
            let (decision, said) = depot.releases(n, &now)?;
            decisions.push(decision);
            for record in said {
                number += 1;
                records.push((number, record));
            }
        }
        let (key, device, at) = (hub.clone(), depot.device.device.clone(), now.clone());
        let push = Push { outbox_epoch: 1, records };
        let reply = store.write_now(move |tx| handle_push(tx, &key, &device, &push, &at))?;
        if let Some(refused) = reply.rejected.first() {
            bail!("the hub did not let in what it should: {}", refused.reason);
        }
    }
    Ok(decisions)
}
