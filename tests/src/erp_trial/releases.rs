//! Releases of a depot that was cut off: each an order, a dispatch document and a signed decision.

use anyhow::{Context, bail};
use gatehouse_agent::core::decision::{Folded, Record};
use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch::{self, Says},
    document::{Actor, Chunk, Document, Entry, History},
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

/// Writes `count` orders of one unit, each of the next of `sites` in turn, and their customers, into the ERP's books.
/// # Errors
/// If the books do not take one.
pub fn order(erp: &Erp, count: usize, sites: &[&str]) -> anyhow::Result<()> {
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
                site: sites[n % sites.len()].into(),
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

/// A depot that was cut off, and what it released meanwhile.
pub struct Depot {
    /// As the hub lists it.
    pub device: Device,
    /// Its key, as 32 bytes.
    pub seed: [u8; 32],
    key: PrivateKey,
    actor: Actor,
    position: u64,
    previous: Hash32,
}

/// One release, as its depot has written it down.
pub struct Release {
    /// Its name.
    pub decision: DecisionId,
    position: u64,
    sealed: Sealed,
    dispatch: DocumentId,
    document: Document,
    chunks: Vec<Chunk>,
}

impl Release {
    /// What the depot sends of it, in order.
    fn upward(self) -> Vec<Upward> {
        let (document, kind) = (self.dispatch, DocumentKind::Dispatch);
        let told = self.chunks.into_iter().map(|chunk| Upward::Chunk { document, kind, bytes: chunk.bytes });
        told.chain([Upward::Decision(self.sealed)]).collect()
    }

    /// What an agent commits of it, to be told to the hub once it can be.
    /// # Errors
    /// If its document cannot be folded.
    pub fn records(self) -> anyhow::Result<Vec<Record>> {
        let view = dispatch::fold(&self.document).context("a dispatch that nobody planned")?;
        let view = serde_json::to_string(&view)?;
        let after = Folded { heads: self.document.heads(), view, snapshot: Some(self.document.save()) };
        let (document, kind) = (self.dispatch, DocumentKind::Dispatch);
        let own = |chunk| Record::Chunk { document, kind, chunk, own: true, after: after.clone() };
        let decided = Record::Decision { position: self.position, epoch: 1, id: self.decision, sealed: self.sealed };
        Ok(self.chunks.into_iter().map(own).chain([decided]).collect())
    }
}

impl Depot {
    /// The gateway `device` of the depot `site`, which has decided nothing yet.
    /// # Errors
    /// If these are no names.
    pub fn new(device: &str, site: &str) -> anyhow::Result<Self> {
        let seed: [u8; 32] = rand::random();
        let key = PrivateKey::from_seed(seed);
        let actor = format!("site/{site}/{device}/1").parse::<Actor>().context("an actor")?;
        let device = Device {
            device: device.parse()?,
            kind: DeviceKind::Gateway,
            public_key: key.public(),
            sites: vec![site.parse()?],
            vehicles: Vec::new(),
        };
        Ok(Self { device, seed, key, actor, position: 0, previous: Hash32::ZERO })
    }

    /// Releases the `n`-th order.
    /// # Errors
    /// If it cannot be written down.
    pub fn releases(&mut self, n: usize, now: &Moment) -> anyhow::Result<Release> {
        let (order, site) = (OrderId::new(order_name(n))?, self.device.sites[0].clone());
        self.position += 1;
        let decision = DecisionId::of(&self.device.device, 1, self.position);
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
            decision: decision.clone(),
            order_version: 1,
            load: load.clone(),
            overrides: Vec::new(),
        };
        let mut chunks = Vec::new();
        for says in [planned, released] {
            chunks.push(self.says(&mut document, says, now.wall)?);
        }
        let record = DecisionRecord {
            v: 1,
            id: decision.clone(),
            device: self.device.device.clone(),
            site,
            epoch: 1,
            position: self.position,
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
        Ok(Release { decision, position: self.position, sealed, dispatch, document, chunks })
    }

    fn says(&self, document: &mut Document, says: Says, at: UtcMs) -> anyhow::Result<Chunk> {
        let after = History::new(document.entries::<Says>().0).heads();
        let entry = Entry { after, at, hlc: Hlc { ms: at.0, n: 0 }, by: "rule".into(), says };
        Ok(document.append(&self.actor, &[entry])?.1)
    }
}

/// Now, as a depot takes it down whose clock is trusted.
#[must_use]
pub fn moment() -> Moment {
    let wall = UtcMs(Timestamp::now().as_millisecond());
    let boot = BootId("trial".into());
    Moment { wall, uncertainty_ms: 0, boot, boottime_ms: wall.0.unsigned_abs(), trusted: true }
}

/// Tells the hub's store of `count` releases, as a depot would that comes back. Returns the decisions.
/// # Errors
/// If the store does not take one.
pub fn tell(store: &Store, hub: &PrivateKey, count: usize) -> anyhow::Result<Vec<DecisionId>> {
    let now = moment();
    let mut depot = Depot::new("gw-1", "D1")?;
    let (device, wall) = (depot.device.clone(), now.wall);
    store.write_now(move |tx| tx.put_device(&device, wall))?;
    let (mut decisions, mut number) = (Vec::new(), 0);
    for first in (0..count).step_by(BATCH) {
        let mut records = Vec::new();
        for n in first..count.min(first + BATCH) {
            let release = depot.releases(n, &now)?;
            decisions.push(release.decision.clone());
            for record in release.upward() {
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
