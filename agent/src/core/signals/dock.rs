//! Doors: open or closed, taken or free. A late reading never undoes a newer one.

use gatehouse_common::{fact::FactValue, id::VehicleId, time::UtcMs};

use crate::core::state::DoorState;

impl DoorState {
    /// Takes a door reading; false if a newer one is held. A closing shorter than `flap_ms` does not end an opening.
    pub fn reads_open(&mut self, open: bool, at: UtcMs, flap_ms: i64) -> bool {
        if self.open.is_some() && at < self.door_at {
            return false;
        }
        self.door_at = at;
        match (self.open, open) {
            (Some(true), true) | (Some(false), false) => {}
            (_, true) => {
                let flapped = self.closed_at.is_some_and(|closed| at.since(closed) < flap_ms);
                if !flapped || self.open_since.is_none() {
                    self.open_since = Some(at);
                }
            }
            (_, false) => self.closed_at = Some(at),
        }
        self.open = Some(open);
        true
    }

    /// Takes an occupancy reading; false if a newer one is held.
    pub fn reads_occupied(&mut self, occupied: bool, vehicle: Option<&VehicleId>, at: UtcMs) -> bool {
        if self.occupied.is_some() && at < self.occupancy_at {
            return false;
        }
        self.occupancy_at = at;
        if occupied {
            if self.occupied != Some(true) || (vehicle.is_some() && self.vehicle.as_ref() != vehicle) {
                self.occupied_since = Some(at);
            }
            // A sensor that cannot tell vehicles apart does not make a known one unknown.
            if vehicle.is_some() || self.occupied != Some(true) {
                self.vehicle = vehicle.cloned();
            }
        } else {
            if self.occupied != Some(false) {
                self.freed_at = Some(at);
            }
            self.vehicle = None;
            self.occupied_since = None;
        }
        self.occupied = Some(occupied);
        true
    }

    /// Takes a word on faults; false if a newer one is held.
    pub fn reads_fault(&mut self, fault: Option<&str>, at: UtcMs) -> bool {
        if at < self.fault_at {
            return false;
        }
        self.fault_at = at;
        let since = self.fault.as_ref().map_or(at, |(_, since)| *since);
        self.fault = fault.map(|fault| (fault.to_owned(), since));
        true
    }

    /// What gates rest on.
    pub fn fact(&self) -> FactValue {
        FactValue::Dock { occupied: self.occupied, open: self.open, vehicle: self.vehicle.clone() }
    }

    /// Since when the fact is known to be so: a door that opens and closes makes no word on what stands there newer.
    pub fn at(&self) -> UtcMs {
        if self.occupied.is_some() { self.occupancy_at } else { self.door_at }
    }

    /// Whether `vehicle` stands there.
    pub fn holds(&self, vehicle: &VehicleId) -> bool {
        self.occupied == Some(true) && self.vehicle.as_ref() == Some(vehicle)
    }

    /// Since when it has been in use: the earlier of open and taken.
    pub fn in_use_since(&self) -> Option<UtcMs> {
        let open = if self.open == Some(true) { self.open_since } else { None };
        let taken = if self.occupied == Some(true) { self.occupied_since } else { None };
        match (open, taken) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
