//! What shall happen in one run, written down before it begins.
//!
//! In: the day of the buses, a seed and the options. Out: orders with what the business systems say of them, when
//! their goods are staged, and for each aimed order the change at the ERP with the row of `DOMAIN.md` 4.3 and the
//! outcome that it must reach. The same seed gives the same plan. The checker reads it; the product never does.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use gatehouse_common::{geo::Point, time::UtcMs};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;

use super::{
    aims::{self, Aim},
    buses::{Day, Departure},
};

/// One minute in milliseconds.
pub const MINUTE: i64 = 60_000;
/// Doors of each depot.
const DOORS: usize = 12;
/// Shortest stay of a bus that is long enough to load it.
const STAY_MIN: i64 = 6 * MINUTE;
/// How long before planned departure goods are on the staging lane, at least: the default bundle opens a case
/// for a gate that is still unknown 30 minutes before.
const LEAD_MIN: i64 = 33 * MINUTE;
/// And at most.
const LEAD_MAX: i64 = 75 * MINUTE;

/// What a run is made from.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Draws everything that is drawn.
    pub seed: u64,
    /// Pretend time per real time.
    pub speed: f64,
    /// How long the line is cut, in pretend minutes.
    pub outage_minutes: i64,
    /// Whether scripted people make the choices that need a person.
    pub people: bool,
}

/// When the great things of the run happen.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moments {
    /// The pretend clock begins.
    pub start: UtcMs,
    /// What the WMS confirmed last before it falls silent.
    pub wms_confirmed: UtcMs,
    /// What the TMS confirmed last before the start.
    pub tms_confirmed: UtcMs,
    /// The WMS speaks again.
    pub wms_speaks: UtcMs,
    /// The line between depots and hub is cut.
    pub cut: UtcMs,
    /// The ERP is cut off as well.
    pub erp_down: UtcMs,
    /// The ERP answers again.
    pub erp_up: UtcMs,
    /// The line returns.
    pub back: UtcMs,
    /// WMS and TMS confirm everything once more.
    pub reconfirm: UtcMs,
    /// The last bus has left and the feed ends.
    pub end: UtcMs,
}

/// How an order is meant to leave, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Meant {
    /// With every source fresh.
    Normal,
    /// While the WMS is silent.
    Degraded,
    /// While the line is cut.
    Offline,
    /// The carrier declined; a supervisor overrides.
    Override,
    /// The carrier declined, and it stays at that.
    HeldCarrier,
    /// The WMS has too little.
    HeldInventory,
    /// The vehicle is too small.
    HeldCapacity,
    /// The papers are never complete.
    HeldDocuments,
}

impl Meant {
    /// Whether it shall stay at the depot.
    #[must_use]
    pub fn is_held(self) -> bool {
        matches!(self, Self::HeldCarrier | Self::HeldInventory | Self::HeldCapacity | Self::HeldDocuments)
    }
}

/// One line of a planned order.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedLine {
    /// Its number, from 1.
    pub line: u16,
    /// What.
    pub product: String,
    /// Units.
    pub quantity: u32,
    /// Price of a unit in cents.
    pub unit_price_minor: i64,
}

/// One order of the run.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedOrder {
    /// Its number at the ERP.
    pub order: String,
    /// The depot.
    pub site: String,
    /// The door.
    pub door: String,
    /// The bus.
    pub vehicle: String,
    /// Its trip.
    pub trip: String,
    /// Who ordered.
    pub customer: String,
    /// The carrier.
    pub carrier: String,
    /// What.
    pub lines: Vec<PlannedLine>,
    /// When it should leave: what the timetable says.
    pub planned_departure: UtcMs,
    /// Goods and papers are complete on the staging lane.
    pub staged_by: UtcMs,
    /// The bus comes.
    pub arrives: UtcMs,
    /// The bus leaves, loaded or not.
    pub leaves: UtcMs,
    /// The trip's last stop.
    pub destination: Point,
    /// How it is meant to leave.
    pub meant: Meant,
    /// The change at the ERP that is aimed at it.
    pub aim: Option<Aim>,
}

/// A customer of the run.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedCustomer {
    /// Number at the ERP.
    pub customer: String,
    /// Name for people.
    pub name: String,
    /// Service level, as the ERP writes it.
    pub tier: &'static str,
    /// Credit limit in cents.
    pub limit_minor: i64,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// What it was drawn with.
    pub seed: u64,
    /// Pretend time per real time.
    pub speed: f64,
    /// How long the line is cut, in pretend minutes.
    pub outage_minutes: i64,
    /// Whether scripted people act.
    pub people: bool,
    /// When the great things happen.
    pub moments: Moments,
    /// The bus that carries a unit of its own.
    pub unit_vehicle: String,
    /// Customers.
    pub customers: Vec<PlannedCustomer>,
    /// Products.
    pub products: Vec<String>,
    /// Orders by departure.
    pub orders: Vec<PlannedOrder>,
    /// Depots with their doors.
    pub doors: BTreeMap<String, Vec<String>>,
}

/// Draws the plan of one run.
/// # Errors
/// If no stretch of the day has enough departures for the wish; the message says what to ask for instead.
pub fn draw(day: &Day, wish: Wish) -> anyhow::Result<Plan> {
    if !(90..=210).contains(&wish.outage_minutes) {
        bail!(
            "--outage-minutes {}: the day has buses enough for 90 to 210 minutes; give one of these",
            wish.outage_minutes
        );
    }
    let mut random = StdRng::seed_from_u64(wish.seed);
    let first: UtcMs = "2015-03-07T11:40:00Z".parse().context("first start")?;
    let mut starts: Vec<UtcMs> = (0..84).map(|i| first.plus(i * 5 * MINUTE)).collect();
    starts.shuffle(&mut random);
    let mut reason = String::new();
    for start in starts {
        match Drawing::new(day, wish, start, &mut random).and_then(Drawing::plan) {
            Ok(plan) => return Ok(plan),
            Err(why) => reason = why.to_string(),
        }
    }
    bail!("no stretch of the day suits an outage of {} minutes (last reason: {reason})", wish.outage_minutes)
}

struct Drawing<'a> {
    day: &'a Day,
    wish: Wish,
    moments: Moments,
    random: &'a mut StdRng,
    orders: Vec<PlannedOrder>,
}

impl<'a> Drawing<'a> {
    fn new(day: &'a Day, wish: Wish, start: UtcMs, random: &'a mut StdRng) -> anyhow::Result<Self> {
        let minute = |m: i64| start.plus(m * MINUTE);
        let (cut, back) = (85, 85 + wish.outage_minutes);
        let moments = Moments {
            start,
            wms_confirmed: minute(-15),
            tms_confirmed: minute(-20),
            wms_speaks: minute(79),
            cut: minute(cut),
            erp_down: minute(cut + 12),
            erp_up: minute(back - 14),
            back: minute(back),
            reconfirm: minute(back + 2),
            end: minute(back + 74),
        };
        if day.fixes.last().is_none_or(|fix| fix.at < moments.end.plus(10 * MINUTE)) {
            bail!("the record ends too early");
        }
        Ok(Self { day, wish, moments, random, orders: Vec::new() })
    }

    fn plan(mut self) -> anyhow::Result<Plan> {
        self.choose_departures();
        aims::choose(&mut self.orders, &self.moments, self.random)?;
        let unit_vehicle = self.choose_unit()?;
        self.choose_holds()?;
        self.choose_lines();
        let doors = self.choose_doors()?;
        let (customers, products) = self.choose_customers();
        for (meant, least) in [(Meant::Normal, 4), (Meant::Degraded, 4), (Meant::Offline, 4)] {
            let found = self.orders.iter().filter(|o| o.meant == meant && o.aim.is_none()).count();
            if found < least {
                bail!("only {found} orders are left to leave {meant:?}");
            }
        }
        Ok(Plan {
            seed: self.wish.seed,
            speed: self.wish.speed,
            outage_minutes: self.wish.outage_minutes,
            people: self.wish.people,
            moments: self.moments,
            unit_vehicle,
            customers,
            products,
            orders: self.orders,
            doors,
        })
    }

    /// Takes each departure whose goods can be staged in one of the phases.
    fn choose_departures(&mut self) {
        let m = self.moments;
        let phases = [
            (Meant::Normal, m.start.plus(5 * MINUTE), m.wms_confirmed.plus(55 * MINUTE)),
            (Meant::Degraded, m.wms_confirmed.plus(64 * MINUTE), m.wms_speaks.plus(-3 * MINUTE)),
            (Meant::Offline, m.cut.plus(4 * MINUTE), m.back.plus(-36 * MINUTE)),
            (Meant::Normal, m.back.plus(6 * MINUTE), m.back.plus(38 * MINUTE)),
        ];
        let mut last_left: BTreeMap<(String, String), UtcMs> = BTreeMap::new();
        let departures: Vec<&Departure> = self.day.departures.iter().collect();
        for departure in departures {
            let Some(arrives) = departure.arrived else { continue };
            if departure.departed.since(arrives) < STAY_MIN || !self.is_seen_well(departure, arrives) {
                continue;
            }
            let leaves = departure.departed;
            if arrives < m.start.plus(10 * MINUTE) || leaves > m.end.plus(-8 * MINUTE) {
                continue;
            }
            // A bus that is at the door when the line returns is left out: people at the dock would not know whether
            // to load it. Those that are aimed at are chosen for just that, and stay long enough.
            let straddles = arrives < m.back.plus(4 * MINUTE) && leaves > m.back.plus(-3 * MINUTE);
            let stays = arrives < m.back.plus(-4 * MINUTE) && leaves > m.back.plus(9 * MINUTE);
            if straddles && !stays {
                continue;
            }
            let key = (departure.depot.clone(), departure.vehicle.clone());
            let free_from = last_left.get(&key).map_or(m.start, |left| left.plus(5 * MINUTE));
            let latest = departure.planned.plus(-LEAD_MIN).min(arrives.plus(-6 * MINUTE));
            let earliest = departure.planned.plus(-LEAD_MAX).max(free_from);
            let slot = phases.iter().rev().find_map(|(meant, from, to)| {
                let (from, to) = ((*from).max(earliest), (*to).min(latest));
                (from < to).then(|| (*meant, self.random.random_range(from.0..to.0)))
            });
            let Some((meant, staged_by)) = slot else { continue };
            last_left.insert(key, leaves);
            self.orders.push(PlannedOrder {
                order: format!("SO-{}", 1001 + self.orders.len()),
                site: departure.depot.clone(),
                door: String::new(),
                vehicle: departure.vehicle.clone(),
                trip: departure.trip.clone(),
                customer: String::new(),
                carrier: ["METRO", "LONESTAR", "HILLLINE"][self.random.random_range(0..3)].to_owned(),
                lines: Vec::new(),
                planned_departure: departure.planned,
                staged_by: UtcMs(staged_by / 1000 * 1000),
                arrives,
                leaves,
                destination: departure.destination,
                meant,
                aim: None,
            });
        }
    }

    /// Whether a rule that asks for two fixes on each side of the geofence can see the bus come and go.
    fn is_seen_well(&self, departure: &Departure, arrives: UtcMs) -> bool {
        let Some(depot) = self.day.depots.get(&departure.depot) else { return false };
        let centre = Point { lat: depot.lat, lon: depot.lon };
        let (mut inside, mut outside) = (0, 0);
        for fix in self.day.fixes.iter().filter(|f| f.vehicle == departure.vehicle) {
            let metres = fix.point.distance_m(&centre);
            if fix.at >= arrives.plus(-MINUTE) && fix.at <= departure.departed && metres < depot.radius_m - 50.0 {
                inside += 1;
            }
            let after = fix.at.since(departure.departed);
            if (0..=7 * MINUTE).contains(&after) && metres > depot.radius_m + 60.0 {
                outside += 1;
            }
        }
        inside >= 2 && outside >= 2
    }

    /// Chooses the bus that carries a unit: its order leaves early and is seen to reach its last stop.
    fn choose_unit(&mut self) -> anyhow::Result<String> {
        let aimed: Vec<&str> = self.orders.iter().filter(|o| o.aim.is_some()).map(|o| o.vehicle.as_str()).collect();
        let unit = self.orders.iter().find(|o| {
            let departure = self.day.departures.iter().find(|d| d.trip == o.trip && d.vehicle == o.vehicle);
            let Some(delivered) = departure.and_then(|d| d.delivered) else { return false };
            let near = self
                .day
                .fixes
                .iter()
                .filter(|f| f.vehicle == o.vehicle && f.at >= delivered.plus(-2 * MINUTE))
                .filter(|f| f.at <= delivered.plus(20 * MINUTE) && f.point.distance_m(&o.destination) < 240.0)
                .count();
            near >= 2
                && o.meant == Meant::Normal
                && delivered < self.moments.end.plus(-30 * MINUTE)
                && !aimed.contains(&o.vehicle.as_str())
        });
        Ok(unit.context("no bus is seen to arrive for the vehicle unit")?.vehicle.clone())
    }

    /// Chooses orders that fail a gate: some stay held, some are overridden by a supervisor.
    fn choose_holds(&mut self) -> anyhow::Result<()> {
        let (cut, back) = (self.moments.cut, self.moments.back);
        let kinds = [
            (Meant::Override, Meant::Normal),
            (Meant::Override, Meant::Degraded),
            (Meant::Override, Meant::Offline),
            (Meant::Override, Meant::Offline),
            (Meant::HeldCarrier, Meant::Normal),
            (Meant::HeldInventory, Meant::Offline),
            (Meant::HeldCapacity, Meant::Offline),
            (Meant::HeldDocuments, Meant::Normal),
        ];
        for (meant, from) in kinds {
            let mut places: Vec<usize> = (0..self.orders.len())
                .filter(|i| {
                    let o = &self.orders[*i];
                    // A bus at the door while the line is being cut or returns would make two stories of one.
                    let quiet = [cut, back].iter().all(|t| o.arrives > *t || o.leaves.plus(10 * MINUTE) < *t);
                    o.meant == from && o.aim.is_none() && quiet
                })
                .collect();
            places.shuffle(self.random);
            let free = |from: Meant| self.orders.iter().filter(|o| o.meant == from && o.aim.is_none()).count();
            // Take from where most is left, so that every way of leaving keeps its three.
            let place = places.first().filter(|_| free(from) > 4).copied();
            let fallback = || {
                let mut most: Vec<usize> = (0..self.orders.len())
                    .filter(|i| {
                        let o = &self.orders[*i];
                        let ordinary = matches!(o.meant, Meant::Normal | Meant::Degraded | Meant::Offline);
                        ordinary && o.aim.is_none() && free(o.meant) > 4
                    })
                    .collect();
                most.sort_by_key(|i| std::cmp::Reverse(free(self.orders[*i].meant)));
                most.first().copied()
            };
            let place = place.or_else(fallback).context("too few orders for holds and overrides")?;
            self.orders[place].meant = meant;
        }
        Ok(())
    }

    fn choose_lines(&mut self) {
        for order in &mut self.orders {
            let mut products: Vec<usize> = (1..=10).collect();
            products.shuffle(self.random);
            let lines = self.random.random_range(1..=3);
            order.lines = (1..=lines)
                .map(|line: u16| PlannedLine {
                    line,
                    product: format!("P-{:02}", products[usize::from(line)]),
                    quantity: self.random.random_range(8..=24),
                    unit_price_minor: 50 * self.random.random_range(10..=90),
                })
                .collect();
            if let Some(aim) = &mut order.aim {
                aim.fix_quantity(order.lines[0].quantity, self.random.random_range(2..=3));
            }
        }
    }

    /// Gives each order a door that no other bus uses from staging until after it has left.
    fn choose_doors(&mut self) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let mut doors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for site in self.day.depots.keys() {
            doors.insert(site.clone(), (1..=DOORS).map(|n| format!("{site}-{n:02}")).collect());
        }
        let mut free: BTreeMap<String, UtcMs> = BTreeMap::new();
        let mut by_staging: Vec<usize> = (0..self.orders.len()).collect();
        by_staging.sort_by_key(|i| self.orders[*i].staged_by);
        for i in by_staging {
            let order = &mut self.orders[i];
            let from = order.staged_by.plus(-15 * MINUTE);
            let door = doors[&order.site]
                .iter()
                .find(|door| free.get(*door).is_none_or(|until| *until <= from))
                .context("too few doors for the orders of this stretch")?;
            free.insert(door.clone(), order.leaves.plus(15 * MINUTE));
            order.door = door.clone();
        }
        Ok(doors)
    }

    fn choose_customers(&mut self) -> (Vec<PlannedCustomer>, Vec<String>) {
        let names = ["Aster", "Birch", "Cedar", "Dogwood", "Elder", "Fern", "Gorse", "Hazel"];
        let tiers = ["a", "b", "c", "critical"];
        let mut customers: Vec<PlannedCustomer> = names
            .iter()
            .enumerate()
            .map(|(i, name)| PlannedCustomer {
                customer: format!("C-{}", 101 + i),
                name: format!("{name} Foods"),
                tier: tiers[i % tiers.len()],
                limit_minor: 400_000_000,
            })
            .collect();
        for order in &mut self.orders {
            if order.aim.as_ref().is_some_and(|aim| aim.change.is_credit()) {
                // A credit hold falls on a customer, so the customer of an order aimed at has no other order.
                let number = 901 + customers.len() - names.len();
                customers.push(PlannedCustomer {
                    customer: format!("C-{number}"),
                    name: format!("Juniper {number}"),
                    tier: "b",
                    limit_minor: 400_000_000,
                });
                order.customer = format!("C-{number}");
            } else {
                order.customer = customers[self.random.random_range(0..names.len())].customer.clone();
            }
        }
        (customers, (1..=11).map(|n| format!("P-{n:02}")).collect())
    }
}

#[cfg(test)]
mod tests;
