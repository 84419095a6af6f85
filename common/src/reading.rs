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
    /// A scale weighed something.
    Weight {
        /// For which order.
        order: OrderId,
        /// What it showed, in grams.
        grams: u64,
    },
    /// A door or its leveller reports a fault, or that the fault is gone.
    DoorFault {
        /// Which door.
        door: DoorId,
        /// What is wrong, in the sender's words; `None` when nothing is any more.
        fault: Option<String>,
    },
    /// The cargo door of a vehicle was opened or closed.
    CargoDoor {
        /// Of which vehicle.
        vehicle: VehicleId,
        /// Whether it stands open.
        open: bool,
    },
    /// A vehicle raised an alarm, or took it back.
    Alarm {
        /// Which vehicle.
        vehicle: VehicleId,
        /// What for.
        alarm: AlarmKind,
        /// Whether it stands; false when the sender took it back.
        on: bool,
    },
    /// The engine runs or not.
    Ignition {
        /// Of which vehicle.
        vehicle: VehicleId,
        /// Whether it runs.
        on: bool,
    },
    /// A device came online or went offline by the word of its broker or server (last will, birth, death).
    Presence {
        /// Whether it is there.
        online: bool,
    },
    /// The sender's own geofence was entered or left. A second witness beside our own fences.
    Crossing {
        /// Which vehicle.
        vehicle: VehicleId,
        /// The sender's name of the place.
        place: String,
        /// Entered or left.
        inside: bool,
    },
    /// Goods were handed over at their destination.
    Proof {
        /// For which order.
        order: OrderId,
        /// What became of each line.
        lines: Vec<ProofLine>,
        /// Who signed, in the consignee's writing; `None` when nobody did.
        signed_by: Option<String>,
        /// Hash of the photo or signature picture, which is kept by the sender.
        photo: Option<Hash32>,
    },
}

impl ReadingValue {
    /// Whether it is measured over and over, so that the next one says how things are; else it happened once.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(
            self,
            Self::Position { .. }
                | Self::Temperature { .. }
                | Self::Ignition { .. }
                | Self::Presence { .. }
                | Self::Crossing { .. }
        )
    }
}

/// What became of one line at its destination, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofLine {
    /// Line of the order, from 1.
    pub line: u16,
    /// Handed over and whole.
    pub delivered: u32,
    /// Refused by the consignee.
    #[serde(default)]
    pub refused: u32,
    /// Handed over damaged; not counted in `delivered`.
    #[serde(default)]
    pub damaged: u32,
}

/// What a vehicle raised an alarm for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// Its radio or satellite signal is being jammed, or the antenna was cut.
    Jamming,
    /// Someone tampers with the unit.
    Tampering,
    /// Its power was cut.
    PowerCut,
    /// It is moved with the engine off.
    Tow,
    /// The driver calls for help.
    Panic,
    /// It had an accident.
    Accident,
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
