//! Real feeds with their real faults, through the core: what they say wrongly opens no case of S1 or S2.
//!
//! City buses play the vehicles (`tests/data/buses` says whose data they are): a terminus plays the yard, a trip that
//! begins there an order, its planned departure the timetable's. The whole feed lies beside the checkout and is asked
//! for by a test that says SKIPPED without it; a trimmed day of it is in the project.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use gatehouse_agent::{
    core::{
        Core, Profile,
        decision::{Decision, Record},
        input::{Input, Line},
    },
    store::{Identity, Store},
};
use gatehouse_common::{
    bundle::{Bundle, Rules},
    fact::{FactKey, FactValue, Report, Source},
    gate::{AgeLimits, GateKind},
    geo::{Geofence, Point},
    id::{DocumentKind, Hash32, ReadingId},
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    reading::{Reading, ReadingValue},
    seal::PrivateKey,
    sync::{Cursor, Downward, FeedItem, Lane},
    time::{BootId, Moment, UtcMs},
};

const MINUTE_MS: i64 = 60_000;

/// A position as the feed tells it.
#[derive(Debug, Clone)]
struct Fix {
    vehicle: String,
    at: UtcMs,
    point: Point,
    trip: String,
}

/// A bus that should leave the terminus.
#[derive(Debug, Clone)]
struct Pickup {
    trip: String,
    vehicle: String,
    planned: UtcMs,
}

// ---- the core, without a store behind it

struct Gateway {
    core: Core,
    wall: UtcMs,
    began: UtcMs,
    readings: u64,
    cases: BTreeMap<String, serde_json::Value>,
}

impl Gateway {
    fn at(yard: Geofence, began: UtcMs, rules: Rules) -> Self {
        let key = PrivateKey::from_seed([7; 32]);
        let profile = Profile {
            device: "gw-1".parse().unwrap(),
            site: "D1".parse().unwrap(),
            vehicle: None,
            yard: Some(yard),
            hub_key: None,
            bundle: Bundle { hash: Hash32::of(b""), rules },
            key: key.clone(),
        };
        let (device, site) = (profile.device.clone(), profile.site.clone());
        let store = Store::in_memory(&Identity { device, site, public_key: key.public() }).unwrap();
        let core = Core::load(profile, store.snapshot().unwrap());
        let mut gateway = Self { core, wall: began, began, readings: 0, cases: BTreeMap::new() };
        gateway.give(Input::Line(Line::Starting));
        gateway.give(Input::Line(Line::Up { recalls_known: true }));
        gateway
    }

    fn now(&self) -> Moment {
        let boottime_ms = u64::try_from(self.wall.since(self.began)).unwrap() + 1_000_000;
        Moment { wall: self.wall, uncertainty_ms: 100, boot: BootId("boot".into()), boottime_ms, trusted: true }
    }

    fn give(&mut self, input: Input) {
        let Decision { records, .. } = self.core.handle(&self.now(), input);
        for record in records {
            if let Record::Chunk { document, kind: DocumentKind::Case, after, .. } = record {
                self.cases.insert(document.to_string(), serde_json::from_str(&after.view).unwrap());
            }
        }
    }

    /// Lets time pass as the driver does: until `to`, woken when the core asked for it.
    fn until(&mut self, to: UtcMs) {
        while self.wall < to {
            let wake = i64::try_from(self.core.next_wake(&self.now()).unwrap()).unwrap();
            // Half a minute is the driver's longest sleep; a whole one here halves the time that a day takes.
            self.wall = to.min(self.wall.plus(wake.max(MINUTE_MS)));
            self.give(Input::Tick);
        }
    }

    fn order(&mut self, pickup: &Pickup) {
        let order = Order {
            id: pickup.trip.parse().unwrap(),
            version: 1,
            site: "D1".parse().unwrap(),
            customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::C },
            lines: vec![OrderLine {
                line: 1,
                product: "P1".parse().unwrap(),
                quantity: 1,
                unit_price_minor: 1,
                unit_weight_grams: None,
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: pickup.vehicle.parse().unwrap(),
            carrier: "CARR".parse().unwrap(),
            // Nothing looks at doors here; each has its own, so that no two want one.
            door: pickup.trip.parse().unwrap(),
            planned_departure: pickup.planned,
            window_end: pickup.planned.plus(600 * MINUTE_MS),
            destination: None,
            route: None,
            status: OrderStatus::Released,
            cut_off: None,
            dangerous_goods: false,
        };
        let order_id = order.id.clone();
        self.told(Downward::Order(serde_json::to_string(&order).unwrap()));
        // Everything but the vehicle is as it should be, as far as the hub tells of it.
        self.fact(FactKey::Inventory { order: order_id.clone(), line: 1 }, FactValue::Inventory { confirmed: 1 });
        self.fact(
            FactKey::Capacity { order: order_id.clone() },
            FactValue::Capacity { sufficient: true, vehicle: None },
        );
        let carrier = FactValue::Carrier { accepted: true, carrier: "CARR".parse().unwrap() };
        self.fact(FactKey::Carrier { order: order_id }, carrier);
        let credit = FactValue::Credit { on_hold: false, headroom_minor: 1_000_000 };
        self.fact(FactKey::Credit { customer: "C1".parse().unwrap() }, credit);
    }

    fn fact(&mut self, key: FactKey, value: FactValue) {
        let report = Report { key, value, source: Source::Tms, at: self.wall, evidence: "told".into() };
        self.told(Downward::Fact(serde_json::to_string(&report).unwrap()));
    }

    fn told(&mut self, says: Downward) {
        let items = vec![FeedItem { lane: Lane::Rest, position: 1, says }];
        self.give(Input::Feed { items, cursor: Cursor::default(), more: false });
    }

    fn reads(&mut self, source: &str, at: UtcMs, value: ReadingValue) {
        self.readings += 1;
        let id = ReadingId::new(format!("r{}", self.readings)).unwrap();
        let payload_hash = Hash32::of(&self.readings.to_be_bytes());
        let reading = Reading { source: source.to_owned(), id, at, payload_hash, value };
        self.give(Input::Reading { reading, receipt: None });
    }

    /// Cases of severity S1 and S2: code, subject, and when they opened.
    fn grave(&self) -> Vec<(String, String, UtcMs)> {
        let text = |case: &serde_json::Value, key: &str| case[key].as_str().unwrap().to_owned();
        let grave = self.cases.values().filter(|c| ["S1", "S2"].contains(&c["severity"].as_str().unwrap()));
        let mut found: Vec<_> = grave
            .map(|c| (text(c, "case_type"), text(c, "subject"), UtcMs(c["opened_at"].as_i64().unwrap())))
            .collect();
        found.sort();
        found
    }

    fn count(&self, code: &str) -> usize {
        self.cases.values().filter(|c| c["case_type"] == code).count()
    }
}

/// Plays pickups and fixes, each fix with the time at which it really came.
fn play(yard: Geofence, pickups: &[Pickup], fixes: &[(UtcMs, Fix)]) -> Gateway {
    let began = fixes.first().unwrap().0.min(pickups.iter().map(|p| p.planned).min().unwrap()).plus(-60 * MINUTE_MS);
    let mut rules = Rules::default();
    let days = AgeLimits { normal_ms: 3 * 86_400_000, under_lease_ms: 3 * 86_400_000 };
    let class = rules.classes.entry("standard".into()).or_default();
    for gate in [GateKind::Inventory, GateKind::Capacity, GateKind::Carrier, GateKind::Credit] {
        class.age_limits.insert(gate, days);
    }
    let mut gateway = Gateway::at(yard, began, rules);
    for pickup in pickups {
        gateway.order(pickup);
    }
    for (received, fix) in fixes {
        gateway.until(*received);
        let vehicle = fix.vehicle.parse().unwrap();
        let value = ReadingValue::Position { vehicle, point: fix.point, accuracy_m: None, speed_kmh: None };
        gateway.reads(&format!("bus-{}", fix.vehicle), fix.at, value);
    }
    gateway.until(fixes.last().unwrap().0.plus(30 * MINUTE_MS));
    gateway
}

fn in_yard(yard: &Geofence, fix: &Fix) -> bool {
    yard.centre.distance_m(&fix.point) <= yard.radius_m
}

/// Pickups of which a bus was seen in the yard about the planned time, by the times in `fixes`.
fn came(yard: &Geofence, pickups: &[Pickup], fixes: &[(UtcMs, Fix)]) -> BTreeSet<String> {
    let seen = |p: &Pickup| {
        let (from, to) = (p.planned.plus(-30 * MINUTE_MS), p.planned.plus(15 * MINUTE_MS));
        fixes.iter().any(|(at, fix)| fix.vehicle == p.vehicle && *at >= from && *at <= to && in_yard(yard, fix))
    };
    pickups.iter().filter(|p| seen(p)).map(|p| p.trip.clone()).collect()
}

/// The same rule with nothing around it: a fix counts, by its own time, wherever and whenever that is.
fn naive_missed(yard: &Geofence, pickups: &[Pickup], fixes: &[(UtcMs, Fix)]) -> BTreeSet<String> {
    let by_own_time: Vec<(UtcMs, Fix)> = fixes.iter().map(|(_, fix)| (fix.at, fix.clone())).collect();
    let came = came(yard, pickups, &by_own_time);
    pickups.iter().map(|p| p.trip.clone()).filter(|trip| !came.contains(trip)).collect()
}

/// What one day came to.
struct Outcome {
    pickups: usize,
    fixes: usize,
    /// Cases of S1 and S2 about buses that had come.
    false_grave: Vec<(String, String, UtcMs)>,
    grave: usize,
    /// What the naive rule would have opened about buses that had come.
    naive_false: usize,
    clocks: usize,
}

fn judge(yard: Geofence, pickups: &[Pickup], fixes: &[(UtcMs, Fix)]) -> Outcome {
    let gateway = play(yard, pickups, fixes);
    let came = came(&yard, pickups, fixes);
    let grave = gateway.grave();
    let is_false = |(code, subject, _): &(String, String, UtcMs)| code != "MISSED_PICKUP" || came.contains(subject);
    Outcome {
        pickups: pickups.len(),
        fixes: fixes.len(),
        grave: grave.len(),
        false_grave: grave.into_iter().filter(is_false).collect(),
        naive_false: naive_missed(&yard, pickups, fixes).intersection(&came).count(),
        clocks: gateway.count("CLOCK_SKEW"),
    }
}

// ---- files

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut text = String::new();
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    // Names of stops may hold commas; nothing after them is read.
    lines.map(|l| head.iter().zip(l.split(',')).map(|(k, v)| ((*k).to_owned(), v.to_owned())).collect()).collect()
}

fn fix(row: &BTreeMap<String, String>) -> Fix {
    Fix {
        vehicle: row["vehicle"].clone(),
        at: row["time_utc"].parse().unwrap(),
        point: Point { lat: row["lat"].parse().unwrap(), lon: row["lon"].parse().unwrap() },
        trip: row["trip_id"].clone(),
    }
}

fn trimmed_day() -> (Geofence, Vec<Pickup>, Vec<Fix>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/buses");
    let departures = rows(&folder.join("departures.csv"));
    let pickups: Vec<Pickup> = departures
        .iter()
        .filter(|row| row["depot"] == "D1")
        .map(|row| Pickup {
            trip: row["trip_id"].clone(),
            vehicle: row["vehicle"].clone(),
            planned: UtcMs(row["departed_unix"].parse::<i64>().unwrap() * 1_000),
        })
        .collect();
    let buses: BTreeSet<&str> = pickups.iter().map(|p| p.vehicle.as_str()).collect();
    let fixes =
        rows(&folder.join("positions.csv.gz")).iter().map(fix).filter(|f| buses.contains(f.vehicle.as_str())).collect();
    (Geofence { centre: Point { lat: 30.4184, lon: -97.6686 }, radius_m: 300.0 }, pickups, fixes)
}

/// How long a fix takes: 5 to 60 s, scattered, the same in each run.
fn lag_ms(n: usize) -> i64 {
    5_000 + i64::try_from(n * 7_919 % 56).unwrap() * 1_000
}

/// Each fix with the time at which it came: up to a minute after it was taken by a right clock, as in a feed that is
/// polled. Where the feed's clock runs fast, that is before the time it tells.
fn received(fixes: &[Fix], fast_ms: i64) -> Vec<(UtcMs, Fix)> {
    let mut received: Vec<(UtcMs, Fix)> =
        fixes.iter().enumerate().map(|(n, f)| (f.at.plus(lag_ms(n) - fast_ms), f.clone())).collect();
    received.sort_by(|a, b| (a.0, &a.1.vehicle).cmp(&(b.0, &b.1.vehicle)));
    received
}

#[test]
fn a_day_of_buses_opens_no_false_case_of_s1_or_s2_and_neither_does_its_clock_an_hour_fast() {
    let (yard, pickups, fixes) = trimmed_day();
    let right = judge(yard, &pickups, &received(&fixes, 0));
    assert!(right.pickups > 50 && right.fixes > 4_000, "{} {}", right.pickups, right.fixes);
    assert_eq!(right.false_grave, vec![]);
    assert_eq!(right.clocks, 0, "a feed that is polled comes up to a minute late, and that is no slow clock");
    // What the whole feed did the next day, when summer time began.
    let shifted: Vec<Fix> = fixes.iter().map(|f| Fix { at: f.at.plus(60 * MINUTE_MS), ..f.clone() }).collect();
    let fast = judge(yard, &pickups, &received(&shifted, 60 * MINUTE_MS));
    assert_eq!(fast.false_grave, vec![]);
    assert!(fast.naive_false > 20, "the control: by their own times they are not there, {}", fast.naive_false);
    assert!(fast.clocks > 10, "the clocks are told instead, {}", fast.clocks);
}

/// Every seventh fix lies elsewhere by so many degrees, 0.36 are 40 km, as when a unit loses its satellites; every ninth
/// comes an hour late.
fn jumping(fixes: Vec<(UtcMs, Fix)>, degrees: f64) -> Vec<(UtcMs, Fix)> {
    let mut faulty = Vec::new();
    for (n, (at, fix)) in fixes.into_iter().enumerate() {
        let point = if n % 7 == 3 { Point { lat: fix.point.lat + degrees, ..fix.point } } else { fix.point };
        let at = if n % 9 == 4 { at.plus(60 * MINUTE_MS) } else { at };
        faulty.push((at, Fix { point, ..fix }));
    }
    faulty.sort_by(|a, b| (a.0, &a.1.vehicle, a.1.at).cmp(&(b.0, &b.1.vehicle, b.1.at)));
    faulty
}

#[test]
fn buses_that_really_do_not_come_are_told() {
    let (yard, pickups, fixes) = trimmed_day();
    let late: Vec<Pickup> = pickups.iter().take(20).map(|p| Pickup { vehicle: "2099".into(), ..p.clone() }).collect();
    let mut elsewhere = received(&fixes, 0);
    let ghost = elsewhere.iter().filter(|(_, f)| f.vehicle == pickups[0].vehicle && !in_yard(&yard, f)).cloned();
    let ghost: Vec<_> = ghost.map(|(at, f)| (at, Fix { vehicle: "2099".into(), ..f })).collect();
    elsewhere.extend(ghost);
    elsewhere.sort_by_key(|(at, _)| *at);
    let found = judge(yard, &late, &elsewhere);
    assert!(found.grave >= 10 && found.false_grave.is_empty(), "{} {:?}", found.grave, found.false_grave);
    // Also where their positions jump and come late: what may hide a visit must not excuse those that stay away.
    let jumpy = judge(yard, &late, &jumping(elsewhere, 0.36));
    assert!(jumpy.grave * 10 >= found.grave * 9, "{} of {}", jumpy.grave, found.grave);
}

#[test]
fn a_bus_that_jumps_away_and_back_and_one_whose_buffer_empties_have_neither_come_nor_gone_by_that() {
    let (yard, pickups, fixes) = trimmed_day();
    let gateway = play(yard, &pickups, &jumping(received(&fixes, 0), 0.36));
    let truth = came(&yard, &pickups, &received(&fixes, 0));
    let wrong: Vec<_> = gateway.grave().into_iter().filter(|(_, trip, _)| truth.contains(trip)).collect();
    assert_eq!(wrong, vec![]);
}

// ---- the whole feed, beside the checkout

fn shared(what: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found =
        [root.join("shared/data"), root.join("../shared/data")].into_iter().map(|f| f.join(what)).find(|f| f.is_dir());
    if found.is_none() {
        gatehouse_skipped::skipped(format!("../shared/data/{what} is not beside the checkout"));
    }
    found
}

/// The day, its timetable, the hour of UTC at which its service day begins, and by how much the feed's clock is fast.
const DAYS: [(&str, &str, i64, i64); 4] = [
    ("2015-03-07", "20140824_20150606", 6, 0),
    ("2015-03-08", "20140824_20150606", 5, 60 * MINUTE_MS),
    ("2015-06-07", "20150607_20150822", 5, 0),
    ("2016-11-24", "20160821_20170121", 6, 0),
];

struct Feed {
    positions: Vec<BTreeMap<String, String>>,
    /// By period and trip: the first stop and when it is planned, in seconds of the service day.
    plan: BTreeMap<(String, String), (String, i64)>,
    /// By period and stop.
    stops: BTreeMap<(String, String), Point>,
}

impl Feed {
    fn read(folder: &Path) -> Self {
        let mut plan = BTreeMap::new();
        for row in rows(&folder.join("plan.csv.gz")) {
            if row["seq"] == "0" {
                let first = (row["stop_id"].clone(), row["planned_s"].parse().unwrap());
                plan.insert((row["period"].clone(), row["trip_id"].clone()), first);
            }
        }
        let mut stops = BTreeMap::new();
        for row in rows(&folder.join("stops.csv.gz")) {
            // The name stands before the place and may hold commas.
            if let (Ok(lat), Ok(lon)) = (row["stop_lat"].parse(), row["stop_lon"].parse()) {
                stops.insert((row["period"].clone(), row["stop_id"].clone()), Point { lat, lon });
            }
        }
        Self { positions: rows(&folder.join("positions.csv.gz")), plan, stops }
    }

    /// The terminus from which most trips of a day begin, those trips, and every fix of their buses.
    fn day(&self, day: &str, period: &str, begins_h: i64, fast_ms: i64) -> (Geofence, Vec<Pickup>, Vec<Fix>) {
        let fixes: Vec<Fix> = self.positions.iter().filter(|row| row["file_day"] == day).map(fix).collect();
        let midnight: UtcMs = format!("{day}T{begins_h:02}:00:00Z").parse().unwrap();
        let mut first: BTreeMap<&str, &Fix> = BTreeMap::new();
        for fix in &fixes {
            first.entry(&fix.trip).or_insert(fix);
        }
        let begins = |trip: &str| {
            let (stop, planned_s) = self.plan.get(&(period.to_owned(), trip.to_owned()))?;
            Some((stop.clone(), self.stops.get(&(period.to_owned(), stop.clone()))?, midnight.plus(planned_s * 1_000)))
        };
        let mut by_stop: BTreeMap<String, usize> = BTreeMap::new();
        for (stop, ..) in first.keys().filter_map(|trip| begins(trip)) {
            *by_stop.entry(stop).or_default() += 1;
        }
        let terminus = by_stop.into_iter().max_by_key(|(_, n)| *n).unwrap().0;
        let centre = self.stops[&(period.to_owned(), terminus)];
        let yard = Geofence { centre, radius_m: 300.0 };
        let pickups: Vec<Pickup> = first
            .iter()
            .filter_map(|(trip, fix)| Some((*trip, *fix, begins(trip)?)))
            // The bus told of the trip about when it was planned: else it is the trip of another day.
            .filter(|(_, fix, (.., planned))| fix.at.plus(-fast_ms).since(*planned).abs() < 40 * MINUTE_MS)
            .filter(|(.., (_, stop, _))| yard.centre.distance_m(stop) < 250.0)
            .map(|(trip, fix, (.., planned))| Pickup { trip: trip.to_owned(), vehicle: fix.vehicle.clone(), planned })
            .collect();
        let buses: BTreeSet<&str> = pickups.iter().map(|p| p.vehicle.as_str()).collect();
        let fixes = fixes.iter().filter(|f| buses.contains(f.vehicle.as_str())).cloned().collect();
        (yard, pickups, fixes)
    }
}

#[test]
fn the_real_faults_of_the_whole_bus_feed_open_no_false_case_of_s1_or_s2_and_a_naive_rule_opens_some() {
    let Some(folder) = shared("capmetro-planned") else { return };
    let feed = Feed::read(&folder);
    let (mut naive, mut played) = (0, 0);
    for (day, period, begins_h, fast_ms) in DAYS {
        let (yard, pickups, fixes) = feed.day(day, period, begins_h, fast_ms);
        let found = judge(yard, &pickups, &received(&fixes, fast_ms));
        println!(
            "{day}: {} pickups, {} fixes of buses, {} cases of S1 or S2, {} of them false; naive: {} false; {} clocks",
            found.pickups,
            found.fixes,
            found.grave,
            found.false_grave.len(),
            found.naive_false,
            found.clocks
        );
        assert_eq!(found.false_grave, vec![], "{day}");
        naive += found.naive_false;
        played += found.pickups;
    }
    assert!(played > 150, "{played}");
    assert!(naive > 0, "the control found nothing to be wrong about");
}

#[test]
fn real_temperatures_open_a_case_only_where_they_leave_their_band_and_only_one_at_a_time() {
    let Some(folder) = shared("nab-temperature") else { return };
    for file in ["machine_temperature_system_failure.csv.gz", "ambient_temperature_system_failure.csv.gz"] {
        let rows = rows(&folder.join(file));
        let told: Vec<(UtcMs, f64)> = rows
            .iter()
            .map(|row| {
                (format!("{}Z", row["timestamp"].replace(' ', "T")).parse().unwrap(), row["value"].parse().unwrap())
            })
            .collect();
        let mut sorted: Vec<f64> = told.iter().map(|(_, value)| *value).collect();
        sorted.sort_by(f64::total_cmp);
        // The band of this series: all but its lowest and highest twentieth, as no fixed degrees fit a machine.
        let (min_c, max_c) = (sorted[sorted.len() / 20], sorted[sorted.len() * 19 / 20]);
        let mut rules = Rules::default();
        let band = gatehouse_common::bundle::Band { min_c, max_c, critical_min_c: None, critical_max_c: None };
        rules.detectors.temp_excursion.bands.insert("series".into(), band);
        rules.detectors.temp_excursion.probes.insert("probe".into(), "series".into());
        let yard = Geofence { centre: Point { lat: 0.0, lon: 0.0 }, radius_m: 1.0 };
        let mut gateway = Gateway::at(yard, told[0].0.plus(-MINUTE_MS), rules);
        let (mut outside, mut runs, mut opened) = (0_u32, 0_u32, 0_u32);
        for (at, celsius) in &told {
            if *at < gateway.wall {
                continue; // Summer time ends in one of them: its clock is set back by an hour.
            }
            gateway.until(*at);
            gateway.reads("probe", *at, ReadingValue::Temperature { celsius: *celsius, vehicle: None });
            outside = if band.outside_c(*celsius) > 0.0 { outside + 1 } else { 0 };
            runs += u32::from(outside == 2);
            let running = |c: &&serde_json::Value| ["open", "reopened"].contains(&c["state"].as_str().unwrap());
            assert!(gateway.cases.values().filter(running).count() <= 1);
        }
        let triggers: u64 = gateway.cases.values().map(|c| c["triggers"].as_u64().unwrap()).sum();
        // One that grew too long goes on in a successor, which says whom it follows and is not a second matter.
        opened += u32::try_from(gateway.cases.values().filter(|c| c["follows"].is_null()).count()).unwrap();
        println!("{file}: {} readings, {runs} runs outside, {opened} case, triggered {triggers} times", told.len());
        assert!(opened == 1 && runs > 5, "{file}: {opened} {runs}");
        assert_eq!(gateway.count("TEMP_EXCURSION"), gateway.cases.len(), "no other case comes of temperatures");
    }
}
