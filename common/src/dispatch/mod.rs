//! A dispatch: one load leaving one depot for one order.
//!
//! Its document holds what the ERP, the depot, the vehicle and people said ([`entry`]); the fold
//! ([`view`]) says what follows from it, the same on every side and in every order of arrival.

pub mod entry;
pub mod lifecycle;
pub mod view;

pub use entry::{Evidence, HoldReason, Says};
pub use lifecycle::DispatchState;
pub use view::{DispatchView, fold};

use crate::id::{DocumentId, DocumentKind, OrderId, SiteId};

/// The dedup key of the dispatches of an order from a depot.
#[must_use]
pub fn dedup_key(order: &OrderId, site: &SiteId) -> String {
    format!("{order}|{site}")
}

/// The document of the `occurrence`-th dispatch (from 1) of an order from a depot.
#[must_use]
pub fn document_id(order: &OrderId, site: &SiteId, occurrence: u32) -> DocumentId {
    DocumentId::of(DocumentKind::Dispatch, &dedup_key(order, site), occurrence)
}
