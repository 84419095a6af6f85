//! What devices send.
//!
//! A reading is what was sent, no more: whether a door that reads open is a problem is decided
//! from facts. A reading is named by its sender and its own id; the same id again with the same
//! payload hash is a repeat, with another hash it is a conflict.

use serde::{Deserialize, Serialize};

use crate::{
    geo::Point,
    id::{DoorId, Hash32, OrderId, ReadingId, VehicleId},
    time::UtcMs,
};

/// One reading, as decoded from one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The sender, as the topic map names it: a sensor, a scanner, a tracker.
    pub source: String,
    /// The sender's own id for this message, else a hash of source, time and payload.
    pub id: ReadingId,
    /// When it was measured, by the sender's clock (for a position: fix time).
    pub at: UtcMs,
    /// SHA-256 of the message's payload, byte for byte.
    pub payload_hash: Hash32,
    /// What it says.
    pub value: ReadingValue,
}

/// What a reading says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReadingValue {
    /// A dock door stands open or closed.
    Door {
        /// Which door.
        door: DoorId,
        /// Whether it stands open.
        open: bool,
    },
    /// A vehicle stands at a dock door, or none does.
    Occupancy {
        /// Which door.
        door: DoorId,
        /// Whether something stands there.
        occupied: bool,
        /// Which vehicle, where the sensor can tell.
        vehicle: Option<VehicleId>,
    },
    /// Goods passed a scanner.
    Scan {
        /// What was done with them.
        step: ScanStep,
        /// For which order.
        order: OrderId,
        /// Which line of it, from 1.
        line: u16,
        /// How many units.
        quantity: u32,
    },
    /// A seal was set, checked or found broken.
    Seal {
        /// Of which vehicle.
        vehicle: VehicleId,
        /// Whether it is whole.
        intact: bool,
        /// The number on it, where it was read.
        number: Option<String>,
    },
    /// A temperature was measured.
    Temperature {
        /// Degrees Celsius.
        celsius: f64,
        /// In which vehicle, or `None` for a place in the depot.
        vehicle: Option<VehicleId>,
    },
    /// The papers of an order are complete, or no longer.
    Documents {
        /// Which order.
        order: OrderId,
        /// Whether nothing is missing.
        complete: bool,
    },
    /// Where a vehicle was.
    Position {
        /// Which vehicle.
        vehicle: VehicleId,
        /// Where.
        point: Point,
        /// Radius of confidence in metres, where given.
        accuracy_m: Option<f64>,
        /// Speed in km/h, where given.
        speed_kmh: Option<f64>,
    },
}

/// What was done with scanned goods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanStep {
    /// Brought to the staging lane: counts towards the cargo gate.
    Staged,
    /// Put into the vehicle.
    Loaded,
    /// Taken out of the vehicle again.
    Unloaded,
}
