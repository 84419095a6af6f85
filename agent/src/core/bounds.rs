//! How much is remembered of what devices name: nobody can know what a broker brings.
//!
//! In: a reading, or the name of a sender. Out: whether state may grow by it. A reading for which there is no room is
//! kept like every other and counted; no rule rests on it. What makes room, in this order:
//!
//! 1. What orders name has its place always: as many as the hub tells of.
//! 2. When a table is full, names that have been silent for a day are forgotten.
//! 3. What still finds no room is not taken.
//!
//! Never forgets readings, cases, dispatches or decisions.

use std::collections::BTreeSet;

use gatehouse_common::{
    fact::FactKey,
    id::{DoorId, OrderId, VehicleId},
    reading::{Reading, ReadingValue},
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{Core, decision::Record, state::Table};

/// Doors that no order names.
const DOORS_MAX: usize = 2_000;
/// Vehicles that no order names.
const VEHICLES_MAX: usize = 1_000;
/// Orders that the hub has not told of.
const UNKNOWN_ORDERS_MAX: usize = 200;
/// Senders whose numbers or clock are followed.
const SENDERS_MAX: usize = 2_000;
/// Probes of temperature.
const PROBES_MAX: usize = 1_000;
/// Lines of one order that are counted.
const LINES_MAX: usize = 1_000;
/// The same for an order that the hub has not told of.
const UNKNOWN_LINES_MAX: usize = 50;
/// Silent for so long, a name makes room, in milliseconds.
const SILENT_MS: i64 = 86_400_000;

/// What is bounded: the word for it, the prefix of its rows, and how many there may be.
pub const BOUNDS: [(&str, &str, usize); 5] = [
    ("doors", "door", DOORS_MAX),
    ("vehicles", "vehicle", VEHICLES_MAX),
    ("unknown_orders", "unknown_order", UNKNOWN_ORDERS_MAX),
    ("senders", "sender", SENDERS_MAX),
    ("probes", "probe", PROBES_MAX),
];

/// An order that devices name and the hub has not told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownOrder {
    /// When it was last named.
    at: UtcMs,
}

impl Core {
    /// Whether state may grow by a reading.
    pub(super) fn has_room_for(&mut self, now: &Moment, reading: &Reading) -> bool {
        let has_room = match &reading.value {
            ReadingValue::Door { door, .. }
            | ReadingValue::Occupancy { door, .. }
            | ReadingValue::DoorFault { door, .. } => self.has_room_for_door(door),
            ReadingValue::Seal { vehicle, .. }
            | ReadingValue::CargoDoor { vehicle, .. }
            | ReadingValue::Alarm { vehicle, .. }
            | ReadingValue::Position { vehicle, .. } => self.has_room_for_vehicle(vehicle),
            ReadingValue::Temperature { .. } => {
                self.probes.get(&reading.source).is_some() || self.probes.len() < PROBES_MAX
            }
            ReadingValue::Scan { order, line, .. } => {
                self.has_room_for_order(now, order) && self.has_room_for_line(order, *line)
            }
            ReadingValue::Weight { order, .. } | ReadingValue::Documents { order, .. } => {
                self.has_room_for_order(now, order)
            }
            ReadingValue::Ignition { .. }
            | ReadingValue::Presence { .. }
            | ReadingValue::Crossing { .. }
            | ReadingValue::Proof { .. } => true,
        };
        if !has_room {
            self.out.records.push(Record::Counted { name: "readings_beyond_bounds", by: 1 });
        }
        has_room
    }

    /// Whether the numbers and the clock of a sender may be followed.
    pub(super) fn has_room_for_sender(&mut self, source: &str) -> bool {
        let has_room = self.senders.get(source).is_some() || self.senders.len() < SENDERS_MAX;
        if !has_room {
            self.out.records.push(Record::Counted { name: "senders_beyond_bounds", by: 1 });
        }
        has_room
    }

    fn has_room_for_door(&self, door: &DoorId) -> bool {
        let named = || self.dispatches.values().filter_map(|d| d.view.as_ref()).any(|v| v.door == *door);
        self.doors.get(door.as_str()).is_some() || self.doors.len() < DOORS_MAX || named()
    }

    fn has_room_for_vehicle(&self, vehicle: &VehicleId) -> bool {
        let named = || self.dispatches.values().filter_map(|d| d.view.as_ref()).any(|v| v.vehicle == *vehicle);
        let own = self.profile.vehicle.as_ref() == Some(vehicle);
        own || self.vehicles.get(vehicle.as_str()).is_some() || self.vehicles.len() < VEHICLES_MAX || named()
    }

    fn has_room_for_order(&mut self, now: &Moment, order: &OrderId) -> bool {
        if self.orders.contains_key(order) {
            return true;
        }
        let has_room =
            self.unknown_orders.get(order.as_str()).is_some() || self.unknown_orders.len() < UNKNOWN_ORDERS_MAX;
        if has_room {
            self.unknown_orders.edit(order.as_str(), |named| named.at = now.wall);
        }
        has_room
    }

    fn has_room_for_line(&self, order: &OrderId, line: u16) -> bool {
        let most = if self.orders.contains_key(order) { LINES_MAX } else { UNKNOWN_LINES_MAX };
        self.counts.get(order.as_str()).is_none_or(|counts| {
            let is_held = counts.staged.contains_key(&line) || counts.loaded.contains_key(&line);
            is_held || counts.staged.len().max(counts.loaded.len()) < most
        })
    }

    /// Forgets what has been silent, where there is no more room.
    pub(super) fn make_room(&mut self, now: &Moment) {
        let silent = |at: UtcMs| now.wall.since(at) > SILENT_MS;
        let views = || self.dispatches.values().filter_map(|d| d.view.as_ref());
        if self.doors.len() >= DOORS_MAX {
            let named: BTreeSet<String> = views().map(|v| v.door.to_string()).collect();
            forget(&mut self.doors, |name, door| silent(door.heard()) && !named.contains(name));
        }
        if self.vehicles.len() >= VEHICLES_MAX {
            let named: BTreeSet<String> =
                self.dispatches.values().filter_map(|d| d.view.as_ref()).map(|v| v.vehicle.to_string()).collect();
            let own = self.profile.vehicle.as_ref().map(ToString::to_string);
            forget(&mut self.vehicles, |name, vehicle| {
                silent(vehicle.heard()) && !named.contains(name) && own.as_ref() != Some(name)
            });
        }
        if self.senders.len() >= SENDERS_MAX {
            forget(&mut self.senders, |_, sender| silent(sender.heard));
        }
        if self.probes.len() >= PROBES_MAX {
            forget(&mut self.probes, |_, probe| silent(probe.last.map_or(UtcMs(0), |(at, _)| at)));
        }
        if self.unknown_orders.len() >= UNKNOWN_ORDERS_MAX {
            self.forget_unknown_orders(silent);
        }
    }

    fn forget_unknown_orders(&mut self, silent: impl Fn(UtcMs) -> bool) {
        let orders = &self.orders;
        let told = |name: &str| OrderId::new(name).is_ok_and(|id| orders.contains_key(&id));
        let gone = forget(&mut self.unknown_orders, |name, named| told(name) || silent(named.at));
        let gone: BTreeSet<String> = gone.into_iter().filter(|name| !told(name)).collect();
        gone.iter().for_each(|name| self.counts.forget(name));
        let is_gone = |key: &FactKey| match key {
            FactKey::Cargo { order, .. } | FactKey::Documents { order } => gone.contains(order.as_str()),
            _ => false,
        };
        let facts: Vec<FactKey> =
            self.facts.iter().map(|fact| &fact.report.key).filter(|key| is_gone(key)).cloned().collect();
        for key in facts {
            self.facts.forget(&key);
            self.out.records.push(Record::FactGone(key));
        }
    }
}

/// Forgets those of a table that `is_gone`; says which.
fn forget<V>(table: &mut Table<V>, is_gone: impl Fn(&String, &V) -> bool) -> Vec<String>
where
    V: Default + Clone + PartialEq + Serialize + serde::de::DeserializeOwned,
{
    let gone: Vec<String> =
        table.iter().filter(|(name, row)| is_gone(name, row)).map(|(name, _)| name.clone()).collect();
    gone.iter().for_each(|name| table.forget(name));
    gone
}
