//! A case: what people work on.
//!
//! [`taxonomy`] says which types there are and who owns them; [`entry`] what can be said of a case;
//! [`fold()`] what follows from it, the same on every side and in every order of arrival: a [`view`].

pub mod entry;
mod fold;
pub mod lifecycle;
mod moves;
pub mod severity;
pub mod taxonomy;
pub mod view;

pub use entry::{How, Mark, Says, WaitsFor};
pub use fold::fold;
pub use lifecycle::CaseState;
pub use severity::{Axes, Severity};
pub use taxonomy::{CaseType, Team};
pub use view::CaseView;

use crate::id::{DocumentId, DocumentKind};

/// The newest fold that this code knows. What each version says differently stands in `docs/documents.md`.
pub const FOLD_VERSION: u32 = 2;

/// The dedup key `type|subject|leg` of a case: a repeated trigger updates it and never opens a second.
#[must_use]
pub fn dedup_key(case_type: CaseType, subject: &str, leg: &str) -> String {
    format!("{}|{subject}|{leg}", case_type.code())
}

/// The document of the `occurrence`-th case (from 1; closed predecessors known plus one) under a dedup key.
#[must_use]
pub fn document_id(dedup_key: &str, occurrence: u32) -> DocumentId {
    DocumentId::of(DocumentKind::Case, dedup_key, occurrence)
}
