//! A dispatch as it stands: what [`super::fold()`] makes of everything said of it.

use serde::Serialize;

use super::{
    entry::{HoldReason, TransitAction},
    lifecycle::DispatchState,
};
use crate::{
    decision::Mode,
    document::EntryKey,
    id::{CarrierId, DecisionId, DocumentId, DoorId, Hash32, OrderId, SiteId, VehicleId},
    order::LineQuantity,
    reading::ProofLine,
    time::UtcMs,
};

/// A dispatch as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DispatchView {
    /// Where it stands.
    pub state: DispatchState,
    /// Whether cargo is on board and it must not leave: unload, or wait for the hold to be lifted.
    pub stop_departure: bool,
    /// Whether it left although it must not.
    pub left_under_stop: bool,
    /// Whether whoever wrote that it left knew that it must not.
    pub stop_was_known: bool,
    /// For which order.
    pub order: OrderId,
    /// The newest version of the order that the document speaks of.
    pub order_version: u64,
    /// From which depot.
    pub site: SiteId,
    /// Which dispatch of this order from this depot.
    pub occurrence: u32,
    /// With which vehicle.
    pub vehicle: VehicleId,
    /// With which carrier.
    pub carrier: CarrierId,
    /// The carrier whose word came too late: the goods were in another's vehicle.
    pub carrier_refused: Option<CarrierId>,
    /// At which door.
    pub door: DoorId,
    /// When it should leave.
    pub planned_departure: UtcMs,
    /// What it shall carry by the newest terms.
    pub load: Vec<LineQuantity>,
    /// The release in force, or the last one.
    pub release: Option<Release>,
    /// Holds in force.
    pub holds: Vec<Hold>,
    /// The cancellation, if the ERP cancelled.
    pub cancelled: Option<EntryKey>,
    /// From which depot the order leaves now instead of this one.
    pub reassigned_to: Option<SiteId>,
    /// What the depot asks for, while the hub has not answered.
    pub cancel_asked: Option<CancelAsked>,
    /// Whether the order changed in a way that the newest word of the depot on its gates does not know of.
    pub weigh_again: bool,
    /// Whether its address changed and nothing was said since of what becomes of goods on their way.
    pub divert: bool,
    /// Ends of the delivery windows that were promised one after the other; empty while none changed.
    pub promises: Vec<UtcMs>,
    /// What shall become of goods on their way, by key.
    pub in_transit: Vec<(EntryKey, TransitAction)>,
    /// Whether the depot has seen that the release was taken back.
    pub recall_seen: bool,
    /// What left, once it has left.
    pub departed: Option<Physical>,
    /// By how many milliseconds others' words on when it left differ at most from the one that counts, where that is more
    /// than ten minutes.
    pub departure_disputed_ms: Option<i64>,
    /// What was handed over, once it was: by the proof of delivery, else by the word that it came there.
    pub delivered: Option<Physical>,
    /// What was signed for, once it was.
    pub proof: Option<Proof>,
    /// When the vehicle reached the destination, by evidence.
    pub arrived_at: Option<UtcMs>,
    /// When it left there again, by evidence.
    pub went_on_at: Option<UtcMs>,
    /// When loading began and ended, as far as known.
    pub loading_at: Option<UtcMs>,
    /// See [`Self::loading_at`].
    pub loaded_at: Option<UtcMs>,
    /// Entries that lost against others, with the reason.
    pub superseded: Vec<(EntryKey, String)>,
    /// Entries that their writer had no authority for, with the reason.
    pub void: Vec<(EntryKey, String)>,
    /// Keys of entries that this version cannot read; they count for nothing.
    pub unread: Vec<String>,
    /// The version of the fold that the document asks for.
    pub fold: u32,
    /// Whether the document needs a newer version of this program; nothing may be decided on it.
    pub waits_for_upgrade: bool,
}

impl DispatchView {
    /// Which of the order's dispatches from which depot: the leg in the dedup keys of its cases.
    #[must_use]
    pub fn leg(&self) -> String {
        format!("{}/{}", self.site, self.occurrence)
    }
}

/// A release as the fold sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its entry.
    pub key: EntryKey,
    /// How it came about; an override of holds that the hub lifted without knowing of it counts as normal.
    pub mode: Mode,
    /// Whether that is so: a person overrode what needed no override.
    pub override_unneeded: bool,
    /// The decision it rests on.
    pub decision: DecisionId,
    /// The version of the order that was seen.
    pub order_version: u64,
    /// What may leave.
    pub load: Vec<LineQuantity>,
    /// When it was written.
    pub at: UtcMs,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Its entry.
    pub key: EntryKey,
    /// What kind.
    pub reason: HoldReason,
    /// For people.
    pub why: String,
    /// Cases to be worked on.
    pub cases: Vec<DocumentId>,
}

/// The depot asks that it be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CancelAsked {
    /// The entry; of several, the last.
    pub key: EntryKey,
    /// For people.
    pub why: String,
    /// Whether it is proven that the vehicle is not there and its slot is over.
    pub is_proven: bool,
    /// When that was seen, where it is proven. For the hub, which compares it with the slot that counts by then; what
    /// pages and programs read is as it was.
    #[serde(skip)]
    pub absent_at: Option<UtcMs>,
}

/// A physical fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Physical {
    /// Its entry; of several, the earliest by evidence, and on a departure the edge's own before the hub's.
    pub key: EntryKey,
    /// What was on board or handed over.
    pub load: Vec<LineQuantity>,
    /// When, by evidence.
    pub at: UtcMs,
}

/// What was signed for at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its entry; of several, the one with the latest evidence.
    pub key: EntryKey,
    /// Line by line.
    pub lines: Vec<ProofLine>,
    /// What was handed over whole.
    pub load: Vec<LineQuantity>,
    /// Who signed.
    pub signed_by: Option<String>,
    /// Hash of the photo or signature picture.
    pub photo: Option<Hash32>,
    /// When, by evidence.
    pub at: UtcMs,
}

impl Proof {
    /// Whether goods were refused or came damaged.
    #[must_use]
    pub fn has_variance(&self) -> bool {
        self.lines.iter().any(|line| line.refused > 0 || line.damaged > 0)
    }
}
