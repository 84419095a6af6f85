//! The one helper that touches the API: a depot with its store, its clock and a hub's pen.

use std::collections::BTreeMap;

use gatehouse_common::{
    bundle::{Bundle, Rules},
    case::{CaseState, CaseView, How, Says as CaseSays, lifecycle::way_to},
    decision::DecisionRecord,
    dispatch::{DispatchView, Says, document_id},
    document::{Document, gate::inspect},
    fact::{FactKey, FactValue, Report, Source},
    gate::{GateKind, GateState},
    geo::{Geofence, Point},
    id::{DocumentId, DocumentKind, Hash32, ReadingId},
    lease::Lease,
    order::{Customer, LineQuantity, Order, OrderLine, OrderStatus, Tier},
    reading::{Reading, ReadingValue, ScanStep},
    seal::{PrivateKey, Sealed},
    sync::{Cursor, Downward, FeedItem, Lane, LedgerEpoch, Upward},
    time::{BootId, Hlc, Moment, UtcMs},
};

use crate::{
    core::{
        Core, Profile,
        decision::{Record, TapDone, TapRefused},
        dispatches::append,
        elapsed::Stamps,
        input::{Act, Input, Line, Receipt, Tap},
    },
    driver::{Outcome, step},
    store::{Identity, Reader, Store, StoreError},
};

pub const YARD: Point = Point { lat: 30.0, lon: -97.0 };
const DAY: &str = "2015-03-10";

pub struct Depot {
    pub core: Core,
    pub store: Store,
    now: Moment,
    readings: u64,
    feed: u64,
    reload: bool,
    pub hub: BTreeMap<DocumentId, (DocumentKind, Document)>,
    hub_hlc: Hlc,
    pub versions: BTreeMap<String, u64>,
    pub last: Outcome,
    loses_charges: bool,
}

/// Plays a scene with a core that lives on and with one that is loaded anew after every step.
pub fn both(scene: impl Fn(&mut Depot)) {
    both_from(|reload| Depot::new(reload, None), scene);
}

/// As [`both`], from another beginning.
pub fn both_from(begin: impl Fn(bool) -> Depot, scene: impl Fn(&mut Depot)) {
    let mut written = Vec::new();
    for reload in [false, true] {
        let mut depot = begin(reload);
        scene(&mut depot);
        written.push(depot.everything_written());
    }
    let lines = written[0].iter().zip(&written[1]);
    for (lived_on, loaded_anew) in lines {
        assert_eq!(lived_on, loaded_anew, "a restart changed what was written");
    }
    assert_eq!(written[0].len(), written[1].len(), "a restart changed how much was written");
}

/// A place so far from the yard.
pub fn yard_plus(north_m: f64, east_m: f64) -> Point {
    Point { lat: YARD.lat + north_m / 111_195.0, lon: YARD.lon + east_m / 96_298.0 }
}

pub fn time(clock: &str) -> UtcMs {
    format!("{DAY}T{clock}:00Z").parse().unwrap()
}

impl Depot {
    pub fn new(reload: bool, vehicle: Option<&str>) -> Self {
        let key = PrivateKey::from_seed([7; 32]);
        let profile = Profile {
            device: "gw-1".parse().unwrap(),
            site: "D1".parse().unwrap(),
            vehicle: vehicle.map(|v| v.parse().unwrap()),
            yard: Some(Geofence { centre: YARD, radius_m: 200.0 }),
            hub_key: Some(PrivateKey::from_seed([9; 32]).public()),
            bundle: Bundle::usual(),
            key: key.clone(),
        };
        let identity =
            Identity { device: profile.device.clone(), site: profile.site.clone(), public_key: key.public() };
        let mut store = Store::in_memory(&identity).unwrap();
        store.rules_at_start(Bundle::usual(), "", time("08:00")).unwrap();
        let core = Core::load(profile, store.snapshot().unwrap());
        let now = Moment {
            wall: time("08:00"),
            uncertainty_ms: 100,
            boot: BootId("boot".into()),
            boottime_ms: 1_000_000,
            trusted: true,
        };
        Self {
            core,
            store,
            now,
            readings: 0,
            feed: 0,
            reload,
            hub: BTreeMap::new(),
            hub_hlc: Hlc::default(),
            versions: BTreeMap::new(),
            last: Outcome::default(),
            loses_charges: false,
        }
    }

    pub fn give(&mut self, input: Input) -> &mut Self {
        if self.loses_charges {
            let mut decision = self.core.handle(&self.now, input);
            decision.records.retain(|record| !matches!(record, Record::LeaseUsed { .. }));
            self.store.commit(&decision.records).unwrap();
            return self;
        }
        self.last = step(&mut self.core, &mut self.store, &self.now, &[input]).unwrap();
        if self.reload {
            self.restart();
        }
        self
    }

    /// Other rules come into force, by a restart.
    pub fn rules(&mut self, change: impl FnOnce(&mut Rules)) -> &mut Self {
        let mut profile = self.core.profile().clone();
        change(&mut profile.bundle.rules);
        self.core = Core::load(profile, self.store.snapshot().unwrap());
        self
    }

    /// Minutes pass while no program runs.
    pub fn passes_unseen(&mut self, minutes: u64) {
        self.now.wall = self.now.wall.plus(i64::try_from(minutes * 60_000).unwrap());
        self.now.boottime_ms += minutes * 60_000;
    }

    /// As [`Depot::give`], where the store may refuse.
    pub fn try_to_give(&mut self, input: Input) -> Result<(), StoreError> {
        self.last = step(&mut self.core, &mut self.store, &self.now, &[input])?;
        Ok(())
    }

    pub fn now(&self) -> UtcMs {
        self.now.wall
    }

    pub fn trip(&self, order: &str) -> crate::core::trips::Trip {
        self.core.trips.get(&Self::id(order).to_string()).cloned().unwrap()
    }

    /// Tracks that the hub has not been told of.
    pub fn kept_tracks(&self) -> Vec<gatehouse_common::telemetry::Track> {
        self.core.tracks.iter().map(|(_, track)| track.clone()).collect()
    }

    /// The program is killed and started again within the same boot.
    pub fn restart(&mut self) {
        self.core = Core::load(self.core.profile().clone(), self.store.snapshot().unwrap());
    }

    /// Time passes, minute by minute, as the driver's timer lets it.
    pub fn wait_minutes(&mut self, minutes: u64) -> &mut Self {
        for _ in 0..minutes {
            self.now.wall = self.now.wall.plus(60_000);
            self.now.boottime_ms += 60_000;
            self.give(Input::Tick);
        }
        self
    }

    /// Seconds pass and the driver's timer rings when the core asked for it, not before.
    pub fn wait_seconds(&mut self, seconds: u64) -> &mut Self {
        let mut left_ms = seconds * 1_000;
        while left_ms > 0 {
            let wait = self.core.next_wake(&self.now).unwrap().min(left_ms);
            left_ms -= wait;
            self.now.wall = self.now.wall.plus(i64::try_from(wait).unwrap());
            self.now.boottime_ms += wait;
            self.give(Input::Tick);
        }
        self
    }

    pub fn next_wake_ms(&self) -> u64 {
        self.core.next_wake(&self.now).unwrap()
    }

    pub fn door_at(&mut self, clock: &str, door: &str, open: bool) -> &mut Self {
        self.door_reads(time(clock), door, open)
    }

    pub fn door_reads(&mut self, at: UtcMs, door: &str, open: bool) -> &mut Self {
        self.reads_at(at, ReadingValue::Door { door: door.parse().unwrap(), open })
    }

    pub fn until(&mut self, clock: &str) -> &mut Self {
        let minutes = time(clock).since(self.now.wall) / 60_000;
        self.wait_minutes(u64::try_from(minutes).unwrap())
    }

    pub fn look(&self) -> &Reader {
        self.store.look()
    }

    // ---- what devices send

    pub fn reads_at(&mut self, at: UtcMs, value: ReadingValue) -> &mut Self {
        self.readings += 1;
        let reading = Reading {
            source: "sensor".into(),
            id: ReadingId::new(format!("r{}", self.readings)).unwrap(),
            at,
            payload_hash: Hash32::of(&self.readings.to_be_bytes()),
            value,
        };
        let receipt = Some(Receipt(self.readings));
        self.give(Input::Reading { reading, receipt })
    }

    pub fn reads(&mut self, value: ReadingValue) -> &mut Self {
        self.reads_at(self.now.wall, value)
    }

    pub fn door(&mut self, door: &str, open: bool) -> &mut Self {
        self.reads(ReadingValue::Door { door: door.parse().unwrap(), open })
    }

    pub fn at_door(&mut self, door: &str, vehicle: Option<&str>) -> &mut Self {
        let vehicle = vehicle.map(|v| v.parse().unwrap());
        self.reads(ReadingValue::Occupancy { door: door.parse().unwrap(), occupied: vehicle.is_some(), vehicle })
    }

    pub fn scan(&mut self, step: ScanStep, order: &str, quantity: u32) -> &mut Self {
        self.reads(ReadingValue::Scan { step, order: order.parse().unwrap(), line: 1, quantity })
    }

    pub fn papers(&mut self, order: &str) -> &mut Self {
        self.reads(ReadingValue::Documents { order: order.parse().unwrap(), complete: true })
    }

    pub fn seal(&mut self, vehicle: &str, intact: bool) -> &mut Self {
        self.reads(ReadingValue::Seal { vehicle: vehicle.parse().unwrap(), intact, number: None })
    }

    pub fn fix_at(&mut self, at: UtcMs, vehicle: &str, metres_north: f64) -> &mut Self {
        let point = Point { lat: YARD.lat + metres_north / 111_195.0, lon: YARD.lon };
        let vehicle = vehicle.parse().unwrap();
        self.reads_at(at, ReadingValue::Position { vehicle, point, accuracy_m: Some(5.0), speed_kmh: None })
    }

    /// The vehicle V1 is so far north and east of the yard, at this speed.
    pub fn rides_at(&mut self, at: UtcMs, north_m: f64, east_m: f64, speed_kmh: f64) -> &mut Self {
        let point = yard_plus(north_m, east_m);
        let vehicle = "V1".parse().unwrap();
        let (accuracy_m, speed_kmh) = (Some(5.0), Some(speed_kmh));
        self.reads_at(at, ReadingValue::Position { vehicle, point, accuracy_m, speed_kmh })
    }

    pub fn rides(&mut self, north_m: f64, east_m: f64, speed_kmh: f64) -> &mut Self {
        self.rides_at(self.now.wall, north_m, east_m, speed_kmh)
    }

    pub fn fix(&mut self, vehicle: &str, metres_north: f64) -> &mut Self {
        self.fix_at(self.now.wall, vehicle, metres_north)
    }

    // ---- what the hub tells

    pub fn line(&mut self, line: Line) -> &mut Self {
        self.give(Input::Line(line))
    }

    pub fn online(&mut self) -> &mut Self {
        self.line(Line::Up { recalls_known: true })
    }

    /// The line is lost and the hub's silence has lasted long enough.
    pub fn cut_off(&mut self) -> &mut Self {
        self.line(Line::Lost).wait_minutes(2)
    }

    pub fn tell(&mut self, says: Downward) -> &mut Self {
        self.feed += 1;
        let lane = says.usual_lane();
        let items = vec![FeedItem { lane, position: self.feed, says }];
        let mut cursor = Cursor::default();
        cursor.pass(Lane::Rest, self.feed);
        self.give(Input::Feed { items, cursor, more: false })
    }

    pub fn order_of(&mut self, id: &str, quantity: u32, status: OrderStatus) -> Order {
        let version = self.versions.entry(id.to_owned()).or_default();
        *version += 1;
        Order {
            id: id.parse().unwrap(),
            version: *version,
            site: "D1".parse().unwrap(),
            customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::B },
            lines: vec![OrderLine {
                line: 1,
                product: "P1".parse().unwrap(),
                quantity,
                unit_price_minor: 1_000,
                unit_weight_grams: Some(10_000),
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: "V1".parse().unwrap(),
            carrier: "CARR".parse().unwrap(),
            door: "3".parse().unwrap(),
            planned_departure: time("10:00"),
            window_end: time("12:00"),
            destination: Some(Point { lat: YARD.lat + 0.5, lon: YARD.lon }),
            route: None,
            status,
            cut_off: None,
            dangerous_goods: false,
        }
    }

    pub fn order(&mut self, id: &str, quantity: u32) -> &mut Self {
        let order = self.order_of(id, quantity, OrderStatus::Released);
        self.tell(Downward::Order(serde_json::to_string(&order).unwrap()))
    }

    /// A newer version of an order of 10 units, changed by `change`.
    pub fn changes(&mut self, id: &str, change: impl Fn(&mut Order)) -> &mut Self {
        let mut order = self.order_of(id, 10, OrderStatus::Released);
        change(&mut order);
        self.tell(Downward::Order(serde_json::to_string(&order).unwrap()))
    }

    pub fn fact(&mut self, key: FactKey, value: FactValue) -> &mut Self {
        let report = Report { key, value, source: Source::Wms, at: self.now.wall, evidence: "told".into() };
        self.tell(Downward::Fact(serde_json::to_string(&report).unwrap()))
    }

    pub fn inventory(&mut self, order: &str, confirmed: u32) -> &mut Self {
        let key = FactKey::Inventory { order: order.parse().unwrap(), line: 1 };
        self.fact(key, FactValue::Inventory { confirmed })
    }

    pub fn carrier(&mut self, order: &str, accepted: bool) -> &mut Self {
        let key = FactKey::Carrier { order: order.parse().unwrap() };
        self.fact(key, FactValue::Carrier { accepted, carrier: "CARR".parse().unwrap() })
    }

    pub fn capacity(&mut self, order: &str) -> &mut Self {
        let key = FactKey::Capacity { order: order.parse().unwrap() };
        self.fact(key, FactValue::Capacity { sufficient: true, vehicle: None })
    }

    pub fn credit(&mut self, on_hold: bool) -> &mut Self {
        let key = FactKey::Credit { customer: "C1".parse().unwrap() };
        self.fact(key, FactValue::Credit { on_hold, headroom_minor: 1_000_000 })
    }

    pub fn lease(&mut self, id: &str, stock: u32) -> &mut Self {
        self.lease_for(id, stock, 8 * 3_600_000)
    }

    pub fn lease_for(&mut self, id: &str, stock: u32, lasts_ms: u64) -> &mut Self {
        self.lease_with(id, stock, lasts_ms, |_| {})
    }

    pub fn lease_with(&mut self, id: &str, stock: u32, lasts_ms: u64, change: impl Fn(&mut Lease)) -> &mut Self {
        let hours = |h: u64| h * 3_600_000;
        let mut lease = Lease {
            id: id.parse().unwrap(),
            site: "D1".parse().unwrap(),
            device: None,
            granted_at: self.now.wall,
            lasts_ms,
            expires_at: self.now.wall.plus(i64::try_from(lasts_ms).unwrap()),
            value_ceiling_minor: 10_000_000,
            credit_minor: BTreeMap::from([("C1".parse().unwrap(), 5_000_000)]),
            stock: BTreeMap::from([("P1".parse().unwrap(), stock)]),
            age_limit_ms: BTreeMap::from([(GateKind::Inventory, hours(6)), (GateKind::Credit, hours(6))]),
            bundle: Hash32::of(b""),
            erp_read_at: self.now.wall,
        };
        change(&mut lease);
        self.tell(Downward::Lease(Sealed::new(&lease, &PrivateKey::from_seed([9; 32])).unwrap()))
    }

    /// A lease that was told before, as the hub's feed would bring it again.
    pub fn told_lease(&self, id: &str) -> Downward {
        let leases = self.store.snapshot().unwrap().leases;
        Downward::Lease(leases.into_iter().find(|l| l.id.as_str() == id).unwrap().sealed)
    }

    /// The leases that a hub which was put back is told of.
    pub fn leases_to_tell(&self) -> Vec<String> {
        let leases = self.look().sealed_leases().unwrap();
        leases.iter().map(|sealed| sealed.peek::<Lease>().unwrap().id.as_str().to_owned()).collect()
    }

    pub fn wall(&self) -> UtcMs {
        self.now.wall
    }

    /// The hub hears everything that waits in the outbox, then writes into the dispatch and tells the depot.
    pub fn hub_says(&mut self, order: &str, says: Says) -> &mut Self {
        self.hub_hears();
        let id = document_id(&order.parse().unwrap(), &"D1".parse().unwrap(), 1);
        let document = &mut self.hub.get_mut(&id).unwrap().1;
        let actor = "hub/HQ/hub-1/1".parse().unwrap();
        let chunk = append(document, &actor, &mut self.hub_hlc, &self.now, "hub", vec![says]).unwrap();
        self.tell(Downward::Chunk { document: id, kind: DocumentKind::Dispatch, bytes: chunk.bytes })
    }

    /// The hub hears everything that waits in the outbox, then moves the case and tells the depot.
    pub fn hub_moves(&mut self, id: DocumentId, to: CaseState) -> &mut Self {
        self.hub_hears();
        let document = &mut self.hub.get_mut(&id).unwrap().1;
        let actor = "hub/HQ/hub-1/1".parse().unwrap();
        let from = gatehouse_common::case::fold(document).unwrap().state;
        let says = |to| CaseSays::Moved {
            to,
            since: self.now.wall,
            reason: "done".into(),
            auto_cleared: false,
            how: How::of_move(to, "done", None, None, None).unwrap(),
        };
        let says = way_to(from, to).unwrap().into_iter().map(says).collect();
        let chunk = append(document, &actor, &mut self.hub_hlc, &self.now, "hub", says).unwrap();
        self.tell(Downward::Chunk { document: id, kind: DocumentKind::Case, bytes: chunk.bytes })
    }

    /// The hub says of a case what a person or rule there would, and tells the depot.
    fn hub_says_of(&mut self, id: DocumentId, says: Vec<CaseSays>) -> &mut Self {
        self.hub_hears();
        let document = &mut self.hub.get_mut(&id).unwrap().1;
        let actor = "hub/HQ/hub-1/1".parse().unwrap();
        let chunk = append(document, &actor, &mut self.hub_hlc, &self.now, "hub", says).unwrap();
        self.tell(Downward::Chunk { document: id, kind: DocumentKind::Case, bytes: chunk.bytes })
    }

    /// The hub makes one case part of another.
    pub fn hub_joins(&mut self, id: DocumentId, to: DocumentId) -> &mut Self {
        let (reason, how) = ("joined".into(), Some(How::DuplicateOf(to)));
        let since = self.now.wall;
        self.hub_says_of(
            id,
            vec![CaseSays::Moved { to: CaseState::Cancelled, since, reason, auto_cleared: false, how }],
        )
    }

    /// People at the hub do something about a case so many times.
    pub fn hub_acts(&mut self, id: DocumentId, times: usize) -> &mut Self {
        let acted = || CaseSays::Acted { action: "called".into(), outcome: "no answer".into() };
        self.hub_says_of(id, (0..times).map(|_| acted()).collect())
    }

    /// The one case of this type.
    pub fn case(&self, code: &str) -> DocumentId {
        let rows = self.look().cases().unwrap();
        let mut found = rows.into_iter().filter(|row| row.view["case_type"] == code).map(|row| row.document);
        let case = found.next().unwrap_or_else(|| panic!("no case {code}"));
        assert_eq!(found.next(), None, "more than one case {code}");
        case
    }

    pub fn moves(&mut self, case: DocumentId, to: CaseState) -> &mut Self {
        self.tap("warehouse", Self::case_to(case, to, "seen to it")).unwrap();
        self
    }

    pub fn case_to(case: DocumentId, to: CaseState, reason: &str) -> Act {
        Act::MoveCase { case, to, reason: reason.into(), waits_for: None, code: None }
    }

    /// Takes the outbox as the hub would; returns what was told.
    pub fn hub_hears(&mut self) -> Vec<Upward> {
        let waiting = self.look().outbox(10_000).unwrap();
        let through = waiting.last().map_or(0, |w| w.n);
        for record in &waiting {
            if let Upward::Chunk { document, kind, bytes } = &record.says {
                let held = self.hub.entry(*document).or_insert_with(|| (*kind, Document::new().unwrap()));
                held.1.admit(&inspect(bytes).unwrap()).unwrap();
            }
        }
        self.give(Input::Pushed {
            ledger: LedgerEpoch::default(),
            through,
            rejected: vec![],
            changes: vec![],
            kept_through: 0,
        });
        waiting.into_iter().map(|w| w.says).collect()
    }

    pub fn hub_document(&mut self, order: &str) -> Document {
        self.hub_hears();
        self.hub[&document_id(&order.parse().unwrap(), &"D1".parse().unwrap(), 1)].1.clone()
    }

    // ---- what people do

    pub fn tap(&mut self, role: &str, act: Act) -> Result<TapDone, TapRefused> {
        self.tap_as("ann", role, act)
    }

    pub fn tap_as(&mut self, who: &str, role: &str, act: Act) -> Result<TapDone, TapRefused> {
        self.give(Input::Tap(Tap { who: who.parse().unwrap(), role: role.into(), act }));
        self.last.answers.remove(0).1
    }

    /// Puts a bundle in force.
    pub fn under(&mut self, text: &str) -> &mut Self {
        self.tap("supervisor", Act::ActivateRules { text: text.to_owned() }).unwrap();
        self
    }

    // ---- short cuts

    /// Everything but the goods on the lane is as it should be.
    pub fn prepared(&mut self, order: &str, quantity: u32) -> &mut Self {
        self.order(order, quantity).inventory(order, quantity).capacity(order).carrier(order, true).credit(false);
        self.at_door("3", None).papers(order)
    }

    pub fn released(&mut self, order: &str, quantity: u32) -> &mut Self {
        self.online().lease("L1", 1_000).prepared(order, quantity).scan(ScanStep::Staged, order, quantity)
    }

    /// Loads everything, closes up and drives off.
    pub fn drives_off_with(&mut self, order: &str, quantity: u32) -> &mut Self {
        self.fix("V1", 0.0).wait_minutes(1).fix("V1", 5.0);
        self.at_door("3", Some("V1")).wait_minutes(5).scan(ScanStep::Loaded, order, quantity);
        self.seal("V1", true).wait_minutes(4).at_door("3", None);
        self.drives_off()
    }

    pub fn drives_off(&mut self) -> &mut Self {
        self.wait_minutes(1).fix("V1", 500.0).wait_minutes(1).fix("V1", 1_500.0)
    }

    // ---- what can be seen

    pub fn dispatch(&self, order: &str) -> DispatchView {
        self.dispatch_n(order, 1)
    }

    pub fn id(order: &str) -> DocumentId {
        document_id(&order.parse().unwrap(), &"D1".parse().unwrap(), 1)
    }

    pub fn dispatch_n(&self, order: &str, occurrence: u32) -> DispatchView {
        let id = document_id(&order.parse().unwrap(), &"D1".parse().unwrap(), occurrence);
        self.core.view(id).cloned().unwrap_or_else(|| panic!("no dispatch {occurrence} of {order}"))
    }

    pub fn has_dispatch(&self, order: &str, occurrence: u32) -> bool {
        self.core.view(document_id(&order.parse().unwrap(), &"D1".parse().unwrap(), occurrence)).is_some()
    }

    pub fn state(&self, order: &str) -> String {
        self.dispatch(order).state.as_str().to_owned()
    }

    pub fn case_views(&self) -> Vec<CaseView> {
        self.core.cases.values().filter_map(|c| c.view.clone()).collect()
    }

    /// `TYPE subject state` of each case, sorted.
    pub fn cases(&self) -> Vec<String> {
        let line = |c: CaseView| format!("{} {} {}", c.case_type.code(), c.subject, c.state.as_str());
        let mut cases: Vec<String> = self.case_views().into_iter().map(line).collect();
        cases.sort();
        cases
    }

    pub fn decisions(&self) -> Vec<DecisionRecord> {
        let mut rows = self.look().decisions(1_000).unwrap();
        rows.reverse();
        rows.into_iter().map(|row| row.sealed.peek().unwrap()).collect()
    }

    /// `kind mode` of each decision.
    pub fn decided(&self) -> Vec<String> {
        let mode = |d: &DecisionRecord| d.mode.map_or("-", |m| m.as_str());
        self.decisions().iter().map(|d| format!("{:?} {}", d.kind, mode(d)).to_lowercase()).collect()
    }

    pub fn load(quantity: u32) -> Vec<LineQuantity> {
        vec![LineQuantity { line: 1, product: "P1".parse().unwrap(), quantity }]
    }

    /// The store's content, for comparing two stores.
    fn everything_written(&self) -> Vec<String> {
        let snapshot = self.store.snapshot().unwrap();
        let mut written: Vec<String> = snapshot.rules.into_iter().map(|(key, body)| format!("{key} {body}")).collect();
        written.extend(snapshot.facts.iter().map(|f| format!("{f:?}")));
        let document = |d: &crate::core::start::StoredDocument| {
            format!("{} {} {:?}", d.document, Hash32::of(&d.snapshot), d.chunks)
        };
        written.extend(snapshot.documents.iter().map(document));
        written.extend(self.look().decisions(1_000).unwrap().iter().map(|d| d.sealed.body.clone()));
        written.extend(self.look().outbox(10_000).unwrap().iter().map(|w| format!("{w:?}")));
        written
    }
}

impl Depot {
    /// The machine starts again and nothing has confirmed its clock yet.
    pub fn reboot(&mut self, boot: BootId) {
        self.now.boot = boot;
        self.now.boottime_ms = 1_000;
        self.now.trusted = false;
        self.restart();
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn clock_set(&mut self, minutes: i64) -> &mut Self {
        self.now.wall = self.now.wall.plus(minutes * 60_000);
        self.give(Input::Tick)
    }

    /// Time passes as the driver's timer lets it, without the look every half minute: only what is due wakes it.
    /// Returns how often it did.
    pub fn run_for(&mut self, ms: u64) -> u32 {
        let end = self.now.boottime_ms + ms;
        let mut woken = 0;
        loop {
            let left = end - self.now.boottime_ms;
            let wait = self.core.next_due(&self.now).unwrap_or(u64::MAX).min(left);
            self.now.wall = self.now.wall.plus(i64::try_from(wait).unwrap());
            self.now.boottime_ms += wait;
            self.give(Input::Tick);
            woken += 1;
            if self.now.boottime_ms == end {
                return woken;
            }
        }
    }

    /// The state of a gate of the order's dispatch as last weighed, with its limit.
    pub fn gate(&self, order: &str, gate: GateKind) -> (GateState, u64) {
        let rows = self.look().board().unwrap();
        let row = rows.into_iter().find(|row| row.view["order"] == order).unwrap();
        let weighed = row.gates.into_iter().find(|g| g.gate == gate).unwrap();
        (weighed.state, weighed.limit_ms)
    }

    /// What the last commit said of time.
    pub fn stamps(&self) -> Stamps {
        let rules = self.store.snapshot().unwrap().rules;
        serde_json::from_str(&rules.into_iter().find(|(key, _)| key == "stamp").unwrap().1).unwrap()
    }

    /// Milliseconds left of each lease as of the last commit.
    pub fn lease_left_ms(&self) -> Vec<Option<u64>> {
        self.stamps().last.unwrap().lease_left_ms.into_values().collect()
    }

    pub fn moment(&self) -> Moment {
        self.now.clone()
    }

    /// Commits what `scene` decides without the records that charge a lease, as if a crash had come between.
    pub fn without_the_charge(&mut self, scene: impl FnOnce(&mut Self)) {
        self.loses_charges = true;
        scene(self);
        self.loses_charges = false;
    }

    pub fn clock_in_doubt(&mut self) {
        self.now.trusted = false;
    }

    pub fn clock_confirmed(&mut self) {
        self.now.trusted = true;
    }
}
