//! A case's document between its uses.
//!
//! Opened, a document takes some ten times as much memory as its bytes, and a depot holds every case of weeks. What
//! the store is given of it is decided here too: most cases are told a few things and are over, so few are ever
//! written whole; a start makes the others of their changes.

use std::sync::Arc;

use gatehouse_common::document::{Document, DocumentError};
use serde::Serialize;

use super::{decision::Folded, dispatches::folded};

/// Most changes that a start applies to a case that was written whole, or was never.
const BEHIND_MAX: u32 = 8;

/// A document as its bytes; the default is one that nobody has written into.
#[derive(Debug, Clone, Default)]
pub(super) struct AtRest {
    saved: Option<Arc<[u8]>>,
    /// How many changes came since the store was given all of it.
    behind: u32,
}

impl AtRest {
    /// A document to which so many changes came since the store was given all of it.
    pub fn behind(document: &Document, behind: u32) -> Self {
        Self { saved: Some(document.save().into()), behind }
    }

    /// The document, to be read or written.
    /// # Errors
    /// [`DocumentError::Damaged`] cannot occur: the bytes are those of a document that was open.
    pub fn open(&self) -> Result<Document, DocumentError> {
        self.saved.as_ref().map_or_else(Document::new, |saved| Document::load(saved))
    }

    /// This document after one more change, and what of it is to be stored.
    pub fn grown<V: Serialize>(&self, document: &Document, view: Option<&V>) -> (Self, Folded) {
        let mut after = folded(document, view);
        let saved = after.snapshot.take().unwrap_or_else(|| document.save());
        let whole = self.behind + 1 >= BEHIND_MAX;
        let behind = if whole { 0 } else { self.behind + 1 };
        if whole {
            after.snapshot = Some(saved.clone());
        }
        (Self { saved: Some(saved.into()), behind }, after)
    }
}
