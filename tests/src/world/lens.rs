//! How people of the pretend world see a dispatch: as the stores' folded views show it.
//!
//! Here stands the seam for [`Bug::RegisterInsteadOfFold`]: with it planted, everyone sees what the
//! last writer said.

use gatehouse_common::{
    dispatch::{self, DispatchState, HoldReason, Says},
    document::{Document, DocumentError},
    id::{DoorId, OrderId, VehicleId},
    order::LineQuantity,
    time::UtcMs,
};
use serde::Deserialize;

use super::bugs::Bug;

/// A dispatch as a page shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seen {
    /// Where it stands.
    pub state: DispatchState,
    /// Whether cargo is on board and must not leave.
    pub stop_departure: bool,
    /// For which order.
    pub order: OrderId,
    /// Which dispatch of the order.
    pub occurrence: u32,
    /// With which vehicle.
    pub vehicle: VehicleId,
    /// At which door.
    pub door: DoorId,
    /// When it should leave.
    pub planned_departure: UtcMs,
    /// What it shall carry.
    pub load: Vec<LineQuantity>,
    /// Holds in force.
    pub holds: Vec<SeenHold>,
    /// The cancellation, if there is one.
    pub cancelled: Option<serde_json::Value>,
    /// Whether the depot said that it has seen the cancellation.
    pub recall_seen: bool,
    /// What left, once it has left.
    pub departed: Option<SeenLoad>,
}

/// A hold as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenHold {
    /// What kind.
    pub reason: HoldReason,
}

/// A load as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenLoad {
    /// What.
    pub load: Vec<LineQuantity>,
}

/// Reads a stored dispatch; `None` while nobody has planned it.
/// # Errors
/// When the store holds what cannot be read: that is a finding of its own.
pub fn look(view: &str, snapshot: &[u8], bug: Bug) -> Result<Option<Seen>, LensError> {
    let seen: Option<Seen> = serde_json::from_str(view)?;
    match (seen, bug) {
        (Some(seen), Bug::RegisterInsteadOfFold) => Ok(Some(register(seen, &Document::load(snapshot)?))),
        (seen, _) => Ok(seen),
    }
}

/// A stored document that nobody can read.
#[derive(Debug, thiserror::Error)]
pub enum LensError {
    /// Its view.
    #[error("stored view: {0}")]
    View(#[from] serde_json::Error),
    /// Its snapshot.
    #[error("stored snapshot: {0}")]
    Snapshot(#[from] DocumentError),
}

/// The state that the last writer set, whatever others said.
fn register(seen: Seen, document: &Document) -> Seen {
    let (entries, _) = document.entries::<Says>();
    let said = |says: &Says| match says {
        Says::Planned { .. } => Some(DispatchState::Planned),
        Says::Ready => Some(DispatchState::Ready),
        Says::Held { .. } => Some(DispatchState::Held),
        Says::Released { .. } => Some(DispatchState::Released),
        Says::Cancelled { .. } => Some(DispatchState::Cancelled),
        Says::Loading { .. } => Some(DispatchState::Loading),
        Says::Loaded { .. } => Some(DispatchState::Loaded),
        Says::Departed { .. } => Some(DispatchState::Departed),
        Says::Delivered { .. } => Some(DispatchState::Delivered),
        Says::Aborted { .. } => Some(DispatchState::Aborted),
        _ => None,
    };
    let last = entries
        .iter()
        .filter_map(|(key, e)| Some((e.hlc, key, said(&e.says)?)))
        .max_by_key(|(hlc, key, _)| (*hlc, *key));
    let state = last.map_or(seen.state, |(.., state)| state);
    let departed = if state.has_left() { seen.departed } else { None };
    Seen { state, departed, stop_departure: false, ..seen }
}

/// What the fold itself makes of a stored document, for comparing with the stored view.
/// # Errors
/// As [`look`].
pub fn folded(snapshot: &[u8]) -> Result<String, LensError> {
    Ok(serde_json::to_string(&dispatch::fold(&Document::load(snapshot)?))?)
}
