//! What can be said of a dispatch. Stored documents are for ever: a variant may be added, never changed.

use serde::{Deserialize, Serialize};

use crate::{
    decision::Mode,
    document::EntryKey,
    id::{CarrierId, DecisionId, DocumentId, DoorId, Hash32, OrderId, SiteId, VehicleId},
    order::LineQuantity,
    reading::ProofLine,
    time::UtcMs,
};

/// One thing said of a dispatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Says {
    /// What shall leave, from where, with whom and when.
    Planned {
        /// For which order.
        order: OrderId,
        /// The version of it that was seen.
        order_version: u64,
        /// From which depot.
        site: SiteId,
        /// Which dispatch of this order from this depot, from 1.
        occurrence: u32,
        /// With which vehicle.
        vehicle: VehicleId,
        /// With which carrier.
        carrier: CarrierId,
        /// At which door.
        door: DoorId,
        /// What.
        load: Vec<LineQuantity>,
        /// When.
        planned_departure: UtcMs,
    },
    /// All gates are met. Lifts the holds for gates that its writer had seen.
    Ready,
    /// It may not leave.
    Held {
        /// What kind of hold.
        reason: HoldReason,
        /// For people.
        why: String,
        /// Cases to be worked on.
        cases: Vec<DocumentId>,
        /// The depot's decision, if a depot decided it.
        decision: Option<DecisionId>,
    },
    /// These holds no longer stand.
    Lifted {
        /// Keys of the holds.
        holds: Vec<EntryKey>,
        /// For people.
        why: String,
    },
    /// It may leave.
    Released {
        /// How that came about.
        mode: Mode,
        /// The decision it rests on.
        decision: DecisionId,
        /// The version of the order that was seen.
        order_version: u64,
        /// What may leave.
        load: Vec<LineQuantity>,
        /// Keys of the holds that a person overrode.
        overrides: Vec<EntryKey>,
    },
    /// The ERP changed the order.
    Terms {
        /// The new version.
        order_version: u64,
        /// What this dispatch shall carry now.
        load: Vec<LineQuantity>,
        /// For people.
        why: String,
    },
    /// The ERP no longer wants it to leave.
    Cancelled {
        /// The version of the order that says so.
        order_version: u64,
        /// For people.
        why: String,
    },
    /// Goods are being put into the vehicle.
    Loading {
        /// What shows it.
        evidence: Evidence,
    },
    /// All goods are in and the vehicle is closed.
    Loaded {
        /// What was counted in.
        load: Vec<LineQuantity>,
        /// What shows it.
        evidence: Evidence,
    },
    /// It has left.
    Departed {
        /// What was on board.
        load: Vec<LineQuantity>,
        /// What shows it.
        evidence: Evidence,
    },
    /// The goods were handed over.
    Delivered {
        /// What was handed over.
        load: Vec<LineQuantity>,
        /// What shows it.
        evidence: Evidence,
    },
    /// The vehicle has reached its destination. Where proof of delivery is needed, that delivers nothing yet.
    Arrived {
        /// What shows it.
        evidence: Evidence,
    },
    /// The vehicle has left its destination again.
    Left {
        /// What shows it.
        evidence: Evidence,
    },
    /// What became of the goods at their destination, as signed for. Stands above every [`Self::Delivered`], which says
    /// only that they came there.
    Proved {
        /// Line by line.
        lines: Vec<ProofLine>,
        /// What was handed over whole.
        load: Vec<LineQuantity>,
        /// Who signed; `None` when nobody did.
        signed_by: Option<String>,
        /// Hash of the photo or signature picture, which its sender keeps.
        photo: Option<Hash32>,
        /// What shows it.
        evidence: Evidence,
    },
    /// It was unloaded again.
    Aborted {
        /// What shows it.
        evidence: Evidence,
    },
    /// Someone at the depot has seen that the release was taken back.
    RecallSeen,
    /// Everything is settled with the ERP.
    Settled {
        /// The ERP's documents.
        documents: Vec<String>,
    },
    /// The fold version that this document needs from now on.
    Fold {
        /// Its number.
        version: u32,
    },
}

/// What kind of hold. It decides who may lift it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// A gate failed or stayed unknown: lifted when the gates are met.
    Gate,
    /// The customer's credit: lifted by finance at the hub.
    Credit,
    /// The customer asked: lifted at the hub.
    Customer,
    /// Quality or safety: lifted at the hub.
    Quality,
    /// A person said so: lifted at the hub or overridden.
    Person,
}

/// What shows that something physically happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened, by fix or sensor time.
    pub at: UtcMs,
    /// The readings, in words and ids.
    pub readings: Vec<String>,
}
