//! A dispatch: one load leaving one depot for one order.
//!
//! Its document holds what the ERP, the depot, the vehicle and people said ([`entry`]); the fold
//! ([`fold()`]) says what follows from it, the same on every side and in every order of arrival.

pub mod entry;
mod fold;
mod happened;
pub mod lifecycle;
pub mod view;

pub use entry::{Changed, Evidence, HoldReason, Says, TransitAction};
pub use fold::fold;
pub use lifecycle::DispatchState;
pub use view::DispatchView;

use crate::id::{DocumentId, DocumentKind, OrderId, SiteId};

/// The newest fold that this code knows. What each version says differently stands in `docs/documents.md`.
pub const FOLD_VERSION: u32 = 2;

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
