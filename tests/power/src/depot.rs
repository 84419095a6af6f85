//! What a depot lives through: orders, facts, leases and recalls of the hub, readings, taps, and time.
//!
//! In: dice. Out: steps, each a moment and the inputs that the driver has gathered by then. One seed, one life.

use std::collections::BTreeMap;

use gatehouse_agent::core::{
    Profile,
    input::{Act, Input, Line, Receipt, Tap, Unreadable},
};
use gatehouse_common::{
    bundle::{Bundle, Rules},
    dispatch::document_id,
    geo::{Geofence, Point},
    id::{Hash32, OrderId, ReadingId},
    order::{Order, OrderStatus},
    reading::{Reading, ReadingValue, ScanStep},
    seal::PrivateKey,
    sync::{Downward, LedgerEpoch},
    time::{BootId, Moment, UtcMs},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::hub::{self, Hub, hub_key};

const YARD: Point = Point { lat: 30.0, lon: -97.0 };
/// 2015-03-10 08:00 UTC.
const MORNING: UtcMs = UtcMs(1_425_974_400_000);

/// What the driver has gathered at one moment.
#[derive(Debug, Clone)]
pub struct Step {
    /// When.
    pub now: Moment,
    /// What came in.
    pub inputs: Vec<Input>,
    /// What the driver does for its store, in place of a commit of inputs.
    pub upkeep: Option<Upkeep>,
}

/// What the driver does between commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Lets go of what is beyond the limits.
    Tidy,
    /// Forgets what is over.
    Forget,
}

/// What the depot is.
/// # Panics
/// Never: its names are names.
#[must_use]
pub fn profile() -> Profile {
    Profile {
        device: name("gw-1"),
        site: name("D1"),
        vehicle: None,
        yard: Some(Geofence { centre: YARD, radius_m: 200.0 }),
        hub_key: Some(hub_key().public()),
        bundle: Bundle { hash: Hash32::of(b""), rules: Rules::default() },
        key: PrivateKey::from_seed([7; 32]),
    }
}

/// A depot's life, drawn from dice.
#[derive(Debug)]
pub struct Life {
    dice: StdRng,
    now: Moment,
    sent: Vec<Reading>,
    receipts: u64,
    hub: Hub,
    orders: u64,
    versions: BTreeMap<OrderId, u64>,
    taken: u64,
    leases: u64,
}

impl Life {
    /// The life of this seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let now = Moment {
            wall: MORNING,
            uncertainty_ms: 100,
            boot: BootId("boot".into()),
            boottime_ms: 1_000_000,
            trusted: true,
        };
        Self {
            dice: StdRng::seed_from_u64(seed),
            now,
            sent: Vec::new(),
            receipts: 0,
            hub: Hub::default(),
            orders: 0,
            versions: BTreeMap::new(),
            taken: 0,
            leases: 0,
        }
    }

    /// The step that a started program takes before all others.
    #[must_use]
    pub fn start(&mut self) -> Step {
        self.step(vec![Input::Line(Line::Starting)])
    }

    /// A day's beginning: a lease, an order with everything it waits for, and the line to the hub.
    #[must_use]
    pub fn morning(&mut self) -> Vec<Step> {
        let lease = self.lease();
        let mut inputs = vec![lease, Input::Line(Line::Up { recalls_known: true })];
        inputs.extend(self.order());
        vec![self.step(inputs)]
    }

    /// What happens next.
    #[must_use]
    pub fn next_step(&mut self) -> Step {
        let passed_ms = self.dice_in(1, 90_000);
        self.pass(passed_ms);
        let dice = self.dice.random_range(0..23_u8);
        if dice >= 20 {
            // A quiet hour: what is over must have been for a while.
            self.pass(3_600_000);
            let upkeep = Some(if dice == 20 { Upkeep::Tidy } else { Upkeep::Forget });
            return Step { now: self.now.clone(), inputs: Vec::new(), upkeep };
        }
        let inputs = match dice {
            0 => self.order(),
            1 => vec![self.lease()],
            2 => vec![Input::Line(Line::Lost)],
            3 => vec![Input::Line(Line::Up { recalls_known: true })],
            4 => vec![self.tap()],
            5 => {
                self.pass(15 * 60_000);
                Vec::new()
            }
            6 => vec![self.pushed()],
            7 => vec![self.unreadable()],
            8 => self.recall(),
            _ => (0..self.dice.random_range(1..8_u8)).map(|_| self.reading()).collect(),
        };
        self.step(inputs)
    }

    fn step(&mut self, mut inputs: Vec<Input>) -> Step {
        inputs.push(Input::Tick);
        Step { now: self.now.clone(), inputs, upkeep: None }
    }

    fn pass(&mut self, ms: u64) {
        self.now.wall = self.now.wall.plus(i64::try_from(ms).unwrap_or(0));
        self.now.boottime_ms += ms;
    }

    fn dice_in(&mut self, from: u64, to: u64) -> u64 {
        self.dice.random_range(from..to)
    }

    fn receipt(&mut self) -> Option<Receipt> {
        self.receipts += 1;
        Some(Receipt(self.receipts))
    }

    fn some_order(&mut self) -> OrderId {
        let n = self.dice_in(0, self.orders.max(1)) + 1;
        name(&format!("SO-{n}"))
    }

    fn reading(&mut self) -> Input {
        let receipt = self.receipt();
        // Now and then one comes again, or another under its id.
        if !self.sent.is_empty() && self.dice.random_range(0..8_u8) == 0 {
            let n = self.dice.random_range(0..self.sent.len());
            let mut reading = self.sent[n].clone();
            if self.dice.random_range(0..4_u8) == 0 {
                reading.payload_hash = Hash32::of(b"another");
            }
            return Input::Reading { reading, receipt };
        }
        let n = self.sent.len();
        let reading = Reading {
            source: format!("sensor-{}", self.dice.random_range(0..6_u8)),
            id: name(&format!("r{n}")),
            at: self.now.wall.plus(-self.dice.random_range(0..5_000_i64)),
            payload_hash: Hash32::of(&(n as u64).to_be_bytes()),
            value: self.value(),
        };
        self.sent.push(reading.clone());
        Input::Reading { reading, receipt }
    }

    fn value(&mut self) -> ReadingValue {
        let order = self.some_order();
        match self.dice.random_range(0..12_u8) {
            0 => ReadingValue::Door { door: name("3"), open: self.dice.random() },
            1 => ReadingValue::Occupancy { door: name("3"), occupied: true, vehicle: Some(name("V1")) },
            2 => ReadingValue::Occupancy { door: name("3"), occupied: false, vehicle: None },
            3 => ReadingValue::Scan { step: ScanStep::Staged, order, line: 1, quantity: 2 },
            4 => ReadingValue::Scan { step: ScanStep::Loaded, order, line: 1, quantity: 2 },
            5 => ReadingValue::Seal { vehicle: name("V1"), intact: true, number: Some("S 1".into()) },
            6 => ReadingValue::Documents { order, complete: true },
            7 => ReadingValue::Temperature {
                celsius: f64::from(self.dice.random_range(0..100_u8)) / 10.0,
                vehicle: None,
            },
            _ => ReadingValue::Position {
                vehicle: name("V1"),
                point: Point { lat: YARD.lat + self.dice.random_range(0.0..0.01), lon: YARD.lon },
                accuracy_m: Some(5.0),
                speed_kmh: None,
            },
        }
    }

    fn version(&mut self, id: &OrderId, status: OrderStatus) -> Input {
        let version = self.versions.entry(id.clone()).or_default();
        *version += 1;
        let destination = Some(Point { lat: YARD.lat + 0.5, lon: YARD.lon });
        let order = Order { destination, ..hub::order(id, *version, status, self.now.wall) };
        self.hub.page(vec![Downward::Order(text(&order))])
    }

    /// A new order with everything that it waits for.
    fn order(&mut self) -> Vec<Input> {
        self.orders += 1;
        let id: OrderId = name(&format!("SO-{}", self.orders));
        let mut inputs = vec![self.version(&id, OrderStatus::Released)];
        for fact in hub::facts(&id, 1_000_000, self.now.wall) {
            inputs.push(self.hub.page(vec![fact]));
        }
        let values = [
            ReadingValue::Scan { step: ScanStep::Staged, order: id.clone(), line: 1, quantity: 2 },
            ReadingValue::Documents { order: id, complete: true },
        ];
        for value in values {
            let n = self.sent.len();
            let reading = Reading {
                source: "scanner".into(),
                id: name(&format!("r{n}")),
                at: self.now.wall,
                payload_hash: Hash32::of(&(n as u64).to_be_bytes()),
                value,
            };
            self.sent.push(reading.clone());
            inputs.push(Input::Reading { reading, receipt: self.receipt() });
        }
        inputs
    }

    /// The ERP takes an order back.
    fn recall(&mut self) -> Vec<Input> {
        let id = self.some_order();
        if self.versions.contains_key(&id) { vec![self.version(&id, OrderStatus::Cancelled)] } else { Vec::new() }
    }

    fn lease(&mut self) -> Input {
        self.leases += 1;
        let lease = hub::lease(&format!("L{}", self.leases), Hash32::of(b""), self.now.wall);
        hub::signed(&lease).map_or(Input::Tick, |lease| self.hub.page(vec![lease]))
    }

    fn tap(&mut self) -> Input {
        let order = self.some_order();
        let dispatch = document_id(&order, &name("D1"), 1);
        let reason = "the customer waits for it".to_owned();
        let act = if self.dice.random() { Act::Override { dispatch, reason } } else { Act::Hold { dispatch, reason } };
        Input::Tap(Tap { who: name("ana"), role: "supervisor".into(), act })
    }

    fn pushed(&mut self) -> Input {
        self.taken += self.dice_in(0, 40);
        let kept_through = self.taken.saturating_sub(3);
        Input::Pushed {
            ledger: LedgerEpoch::default(),
            through: self.taken,
            rejected: Vec::new(),
            changes: Vec::new(),
            kept_through,
        }
    }

    fn unreadable(&mut self) -> Input {
        let n = self.receipts.to_be_bytes();
        Input::Unreadable(Unreadable {
            topic: "docks/3".into(),
            reason: "not JSON".into(),
            payload_hash: Hash32::of(&n),
            size: 8,
            head: n.to_vec(),
            receipt: self.receipt(),
        })
    }
}

/// What was acknowledged, as a reader of the store finds it: source, id, payload hash.
#[must_use]
pub fn readings_of(step: &Step) -> Vec<(String, ReadingId, Hash32)> {
    let of = |input: &Input| match input {
        Input::Reading { reading, .. } => Some((reading.source.clone(), reading.id.clone(), reading.payload_hash)),
        _ => None,
    };
    step.inputs.iter().filter_map(of).collect()
}

/// A value as the hub sends it.
pub(crate) fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A name out of a literal.
#[allow(clippy::panic)]
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no name"))
}
