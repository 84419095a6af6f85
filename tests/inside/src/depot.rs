//! The depot that is measured, what its hub tells it, and what its devices send.

use std::{collections::BTreeMap, path::Path};

use gatehouse_agent::{
    core::{Core, Profile, input::Input},
    store::{Identity, Store},
};
use gatehouse_common::{
    bundle::Bundle,
    fact::{FactKey, FactValue, Report, Source},
    gate::GateKind,
    geo::{Geofence, Point},
    id::{Hash32, OrderId, ReadingId},
    lease::Lease,
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    reading::{Reading, ReadingValue, ScanStep},
    seal::{PrivateKey, Sealed},
    sync::{Cursor, Downward, FeedItem, Lane},
    time::UtcMs,
};

const YARD: Point = Point { lat: 30.2672, lon: -97.7431 };
const HOUR_MS: i64 = 3_600_000;
/// Devices that send positions and doors.
const DEVICES: u64 = 200;

/// What the depot is.
fn profile() -> anyhow::Result<Profile> {
    Ok(Profile {
        device: "D1-gateway".parse()?,
        site: "D1".parse()?,
        vehicle: None,
        yard: Some(Geofence { centre: YARD, radius_m: 300.0 }),
        hub_key: Some(hub_key().public()),
        bundle: Bundle::usual(),
        key: PrivateKey::from_seed([7; 32]),
    })
}

fn hub_key() -> PrivateKey {
    PrivateKey::from_seed([9; 32])
}

/// Its store at `path` and its core, as a start opens them.
pub fn open(path: &Path) -> anyhow::Result<(Core, Store)> {
    let profile = profile()?;
    let identity =
        Identity { device: profile.device.clone(), site: profile.site.clone(), public_key: profile.key.public() };
    let store = Store::open(path, &identity)?;
    let core = Core::load(profile, store.snapshot()?);
    Ok((core, store))
}

/// The `n`th reading of the load: half of them doors, half positions.
pub fn reading(n: u64, now: UtcMs) -> anyhow::Result<Reading> {
    let device = n % DEVICES;
    let value = if device < DEVICES / 2 {
        let door = format!("c{device:03}-{}", n / DEVICES % 10);
        ReadingValue::Door { door: door.parse()?, open: n / DEVICES % 20 < 10 }
    } else {
        let lat = 29.0 + (n / DEVICES % 10_000) as f64 * 0.000_1;
        let point = Point { lat, lon: YARD.lon + device as f64 * 0.001 };
        let vehicle = format!("v{device:03}").parse()?;
        ReadingValue::Position { vehicle, point, accuracy_m: Some(8.0), speed_kmh: Some(40.0) }
    };
    Ok(of_device(&format!("device-{device:03}"), n, now, value)?)
}

fn of_device(source: &str, n: u64, at: UtcMs, value: ReadingValue) -> anyhow::Result<Reading> {
    let id: ReadingId = format!("{n:012}").parse()?;
    Ok(Reading { source: source.to_owned(), id, at, payload_hash: Hash32::of(&n.to_be_bytes()), value })
}

/// What the hub tells, page by page.
#[derive(Debug, Default)]
pub struct Hub {
    fed: u64,
    scans: u64,
}

impl Hub {
    fn page(&mut self, says: Vec<Downward>) -> Input {
        let mut items = Vec::new();
        for says in says {
            self.fed += 1;
            items.push(FeedItem { lane: says.usual_lane(), position: self.fed, says });
        }
        let mut cursor = Cursor::default();
        cursor.pass(Lane::Rest, self.fed);
        Input::Feed { items, cursor, more: false }
    }

    /// A lease that covers all that is measured, with the customer's credit.
    pub fn lease(&mut self, now: UtcMs) -> anyhow::Result<Input> {
        let lasts_ms = 8 * HOUR_MS;
        let lease = Lease {
            id: "L1".parse()?,
            site: "D1".parse()?,
            granted_at: now,
            lasts_ms: lasts_ms.unsigned_abs(),
            expires_at: now.plus(lasts_ms),
            value_ceiling_minor: 10_000_000_000,
            credit_minor: BTreeMap::from([("C1".parse()?, 5_000_000_000)]),
            stock: BTreeMap::from([("P1".parse()?, 10_000_000)]),
            age_limit_ms: BTreeMap::from([(GateKind::Inventory, 21_600_000), (GateKind::Credit, 21_600_000)]),
            bundle: Bundle::usual().hash,
            erp_read_at: now,
        };
        let credit = FactValue::Credit { on_hold: false, headroom_minor: 1_000_000_000 };
        let credit = fact(FactKey::Credit { customer: "C1".parse()? }, credit, now)?;
        Ok(self.page(vec![Downward::Lease(Sealed::new(&lease, &hub_key())?), credit]))
    }

    /// The `n`th order and all that it waits for but its papers: the hub's page, and the scan of its goods.
    pub fn order(&mut self, n: u32, now: UtcMs) -> anyhow::Result<[Input; 2]> {
        let id = order_id(n)?;
        let order = Order {
            id: id.clone(),
            version: 1,
            site: "D1".parse()?,
            customer: Customer { id: "C1".parse()?, name: "Customer One".into(), tier: Tier::B },
            lines: vec![OrderLine {
                line: 1,
                product: "P1".parse()?,
                quantity: 2,
                unit_price_minor: 1_000,
                unit_weight_grams: None,
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: format!("T{n}").parse()?,
            carrier: "CARR".parse()?,
            door: format!("d{n}").parse()?,
            planned_departure: now.plus(HOUR_MS),
            window_end: now.plus(3 * HOUR_MS),
            destination: None,
            status: OrderStatus::Released,
            route: None,
            cut_off: None,
            dangerous_goods: false,
        };
        let says = vec![
            Downward::Order(serde_json::to_string(&order)?),
            fact(FactKey::Inventory { order: id.clone(), line: 1 }, FactValue::Inventory { confirmed: 2 }, now)?,
            fact(
                FactKey::Carrier { order: id.clone() },
                FactValue::Carrier { accepted: true, carrier: "CARR".parse()? },
                now,
            )?,
            fact(
                FactKey::Capacity { order: id.clone() },
                FactValue::Capacity { sufficient: true, vehicle: None },
                now,
            )?,
        ];
        let scan = ReadingValue::Scan { step: ScanStep::Staged, order: id, line: 1, quantity: 2 };
        Ok([self.page(says), self.scanned(now, scan)?])
    }

    /// What stands at the door of the `n`th order, as its sensor says.
    pub fn at_door(&mut self, n: u32, now: UtcMs) -> anyhow::Result<Input> {
        let (door, vehicle) = (format!("d{n}").parse()?, Some(format!("T{n}").parse()?));
        self.scanned(now, ReadingValue::Occupancy { door, occupied: true, vehicle })
    }

    /// The papers of the `n`th order are complete: the last that it waits for.
    pub fn papers(&mut self, n: u32, now: UtcMs) -> anyhow::Result<Input> {
        self.scanned(now, ReadingValue::Documents { order: order_id(n)?, complete: true })
    }

    fn scanned(&mut self, now: UtcMs, value: ReadingValue) -> anyhow::Result<Input> {
        self.scans += 1;
        Ok(Input::Reading { reading: of_device("scanner", self.scans, now, value)?, receipt: None })
    }
}

/// The name of the `n`th order.
pub fn order_id(n: u32) -> anyhow::Result<OrderId> {
    Ok(format!("SO-{n}").parse()?)
}

fn fact(key: FactKey, value: FactValue, at: UtcMs) -> anyhow::Result<Downward> {
    let report = Report { key, value, source: Source::Wms, at, evidence: "told".into() };
    Ok(Downward::Fact(serde_json::to_string(&report)?))
}
