//! The states of a dispatch and who may bring them about.

use serde::{Deserialize, Serialize};

use super::entry::Says;
use crate::{
    document::{Actor, ActorKind},
    id::SiteId,
};

/// Where a dispatch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchState {
    /// Waits for its gates.
    Planned,
    /// All gates are met.
    Ready,
    /// May not leave.
    Held,
    /// May leave.
    Released,
    /// Goods are being put into the vehicle.
    Loading,
    /// All goods are in and the vehicle is closed.
    Loaded,
    /// It has left. Nothing undoes this.
    Departed,
    /// The goods were handed over.
    Delivered,
    /// The goods were handed over with a variance.
    ExceptionDelivered,
    /// Everything about it is settled with the ERP.
    Settled,
    /// It shall not leave; nothing was loaded.
    Cancelled,
    /// It was loaded and unloaded again.
    Aborted,
}

impl DispatchState {
    /// Whether the goods have physically left.
    #[must_use]
    pub fn has_left(self) -> bool {
        matches!(self, Self::Departed | Self::Delivered | Self::ExceptionDelivered | Self::Settled)
    }

    /// Whether nothing more can happen to it at the depot.
    #[must_use]
    pub fn is_over_at_depot(self) -> bool {
        self.has_left() || matches!(self, Self::Cancelled | Self::Aborted)
    }

    /// Whether cargo is in the vehicle while it stands at the dock.
    #[must_use]
    pub fn is_on_board(self) -> bool {
        matches!(self, Self::Loading | Self::Loaded)
    }

    /// The word for it on pages and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Ready => "ready",
            Self::Held => "held",
            Self::Released => "released",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Departed => "departed",
            Self::Delivered => "delivered",
            Self::ExceptionDelivered => "exception_delivered",
            Self::Settled => "settled",
            Self::Cancelled => "cancelled",
            Self::Aborted => "aborted",
        }
    }
}

/// Why `actor` may not say `says` about a dispatch of `site`, or `None` if it may.
///
/// An entry without authority stays in the document and counts for nothing, on every side.
#[must_use]
pub fn lacks_authority(actor: &Actor, says: &Says, site: &SiteId) -> Option<&'static str> {
    let own_site = actor.kind == ActorKind::Site && actor.site == *site;
    let own_vehicle = actor.kind == ActorKind::Vehicle && actor.site == *site;
    let hub = actor.kind == ActorKind::Hub;
    let (allowed, why) = match says {
        Says::Planned { .. } | Says::Ready | Says::Held { .. } | Says::Released { .. } => {
            (own_site || hub, "only the depot itself or the hub may say this")
        }
        Says::Terms { .. }
        | Says::Cancelled { .. }
        | Says::Lifted { .. }
        | Says::Settled { .. }
        | Says::Confirmed { .. }
        | Says::Reassigned { .. }
        | Says::Changed { .. }
        | Says::CancelDeclined { .. }
        | Says::InTransit { .. } => (hub, "only the hub may say this"),
        Says::Carrier { .. } => (own_site || hub, "only the depot itself or the hub may say this"),
        Says::CancelAsked { .. } => (own_site, "only the depot itself may say this"),
        Says::Loading { .. } | Says::Loaded { .. } | Says::Aborted { .. } | Says::RecallSeen => {
            (own_site, "only the depot itself may say this")
        }
        Says::Departed { .. } => (own_site || own_vehicle || hub, "only depot, vehicle or hub may say this"),
        Says::Delivered { .. } | Says::Arrived { .. } | Says::Left { .. } | Says::Proved { .. } => {
            (own_vehicle || hub, "only the vehicle or the hub may say this")
        }
        Says::Fold { .. } => (hub || own_site, "only the depot itself or the hub may say this"),
    };
    (!allowed).then_some(why)
}
