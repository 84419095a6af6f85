//! What can be said of a dispatch. Stored documents are for ever: a variant may be added, never changed.

use serde::{Deserialize, Serialize};

use super::FOLD_VERSION;
use crate::{
    decision::Mode,
    document::{EntryKey, Folds},
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
    /// These holds stand, whoever overrode them without knowing of this.
    Confirmed {
        /// Keys of the holds.
        holds: Vec<EntryKey>,
        /// For people.
        why: String,
    },
    /// Who carries it: a depot's way out while cut off, or a carrier's word to the hub.
    Carrier {
        /// Which.
        carrier: CarrierId,
        /// For people.
        why: String,
    },
    /// The ERP lets the order leave from another depot.
    Reassigned {
        /// From which.
        to: SiteId,
        /// The version of the order that says so.
        order_version: u64,
        /// For people.
        why: String,
    },
    /// The ERP changed something about the order that is not its quantities.
    Changed {
        /// The version of the order that says so.
        order_version: u64,
        /// What.
        what: Vec<Changed>,
        /// End of the delivery window that was promised before.
        promised: UtcMs,
        /// End of the delivery window that is promised now.
        promises: UtcMs,
        /// For people.
        why: String,
    },
    /// The depot asks that it be cancelled. Nothing is cancelled before the hub says so.
    CancelAsked {
        /// For people.
        why: String,
        /// What proves that the vehicle is not there and its slot is over, where that is so.
        absence: Option<Evidence>,
    },
    /// The hub does not cancel it.
    CancelDeclined {
        /// Keys of what was asked.
        asked: Vec<EntryKey>,
        /// For people.
        why: String,
    },
    /// What shall become of goods that are on their way.
    InTransit {
        /// What.
        action: TransitAction,
        /// For people.
        why: String,
    },
}

/// What of an order changed that is not its quantities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// What it costs: the hub's matter alone.
    Price,
    /// Where it goes.
    Address,
    /// When it should be there.
    Date,
}

/// What can be done about goods that are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitAction {
    /// They are called back to the depot before they arrive.
    Recall,
    /// They go to another place.
    Divert,
    /// They come back from their destination.
    Return,
}

impl Folds for Says {
    const NEWEST: u32 = FOLD_VERSION;

    fn fold(version: u32) -> Self {
        Self::Fold { version }
    }

    fn fold_named(&self) -> Option<u32> {
        match self {
            Self::Fold { version } => Some(*version),
            _ => None,
        }
    }

    fn needs_fold(&self) -> u32 {
        match self {
            Self::Held { reason: HoldReason::Customs, .. }
            | Self::Confirmed { .. }
            | Self::Carrier { .. }
            | Self::Reassigned { .. }
            | Self::Changed { .. }
            | Self::CancelAsked { .. }
            | Self::CancelDeclined { .. }
            | Self::InTransit { .. } => 2,
            _ => 1,
        }
    }
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
    /// Customs: lifted at the hub.
    Customs,
}

impl HoldReason {
    /// Whether nobody at a depot may let goods leave against it.
    #[must_use]
    pub fn is_never_overridden(self) -> bool {
        matches!(self, Self::Quality | Self::Customs)
    }
}

/// What shows that something physically happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened, by fix or sensor time.
    pub at: UtcMs,
    /// The readings, in words and ids.
    pub readings: Vec<String>,
}
