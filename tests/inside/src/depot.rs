//! The depot that is measured, what its hub tells it, and what its devices send.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use gatehouse_agent::{
    core::{Core, Profile, input::Input},
    store::{Identity, Store},
};
use gatehouse_common::{
    bundle::Bundle,
    geo::{Geofence, Point},
    id::{Hash32, OrderId, ReadingId},
    lease::Lease,
    order::{Order, OrderStatus},
    reading::{Reading, ReadingValue, ScanStep},
    seal::PrivateKey,
    sync::Downward,
    time::UtcMs,
};
use gatehouse_power::hub::{self, Hub, hub_key};

const YARD: Point = Point { lat: 30.2672, lon: -97.7431 };
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
    of_device(&format!("device-{device:03}"), n, now, value)
}

fn of_device(source: &str, n: u64, at: UtcMs, value: ReadingValue) -> anyhow::Result<Reading> {
    let id: ReadingId = format!("{n:012}").parse()?;
    Ok(Reading { source: source.to_owned(), id, at, payload_hash: Hash32::of(&n.to_be_bytes()), value })
}

/// The hub, and the depot's scanner.
#[derive(Debug, Default)]
pub struct Depot {
    hub: Hub,
    scans: u64,
}

impl Depot {
    /// A lease that covers all that is measured.
    pub fn lease(&mut self, now: UtcMs) -> anyhow::Result<Input> {
        let lease = Lease {
            value_ceiling_minor: 10_000_000_000,
            credit_minor: BTreeMap::from([("C1".parse()?, 5_000_000_000)]),
            stock: BTreeMap::from([("P1".parse()?, 10_000_000)]),
            ..hub::lease("L1", Bundle::usual().hash, now)
        };
        Ok(self.hub.page(vec![hub::signed(&lease).context("the lease cannot be signed")?]))
    }

    /// The `n`th order and all that it waits for but its papers: the hub's page, and the scan of its goods.
    pub fn order(&mut self, n: u32, now: UtcMs) -> anyhow::Result<[Input; 2]> {
        let id = order_id(n)?;
        let (vehicle, door) = (format!("T{n}").parse()?, format!("d{n}").parse()?);
        let order = Order { vehicle, door, ..hub::order(&id, 1, OrderStatus::Released, now) };
        let mut says = vec![Downward::Order(serde_json::to_string(&order)?)];
        says.extend(hub::facts(&id, 1_000_000_000, now));
        let scan = ReadingValue::Scan { step: ScanStep::Staged, order: id, line: 1, quantity: 2 };
        Ok([self.hub.page(says), self.scanned(now, scan)?])
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
