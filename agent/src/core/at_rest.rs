//! A case's document between its uses.
//!
//! Opened, a document takes some ten times as much memory as its bytes, and a depot holds every case of weeks. So it
//! lies here as it lies in the store: as it was last written whole, and the changes since. What the store is given of
//! it is decided here too: most cases are told a few things and are over, so few are ever written whole.

use std::sync::Arc;

use gatehouse_common::document::{Document, DocumentError};
use serde::Serialize;

use super::{
    decision::Folded,
    dispatches::folded,
    start::{StoredDocument, opened},
};

/// Most changes that are applied to a case, each time that it is opened, after it was written whole or began.
const SINCE_MAX: usize = 8;

/// A document as its bytes; the default is one that nobody has written into.
#[derive(Debug, Clone, Default)]
pub(super) struct AtRest {
    /// As the store was last given all of it; empty if it never was.
    whole: Arc<[u8]>,
    /// The changes since, in their order.
    since: Vec<Arc<[u8]>>,
}

impl AtRest {
    /// This document, and what is to be stored of it: all.
    pub fn whole<V: Serialize>(document: &Document, view: Option<&V>) -> (Self, Folded) {
        let saved = document.save();
        let at_rest = Self { whole: saved.as_slice().into(), since: Vec::new() };
        (at_rest, Folded { snapshot: Some(saved), ..folded(document, view) })
    }

    /// A document as it is in the store.
    pub fn stored(stored: StoredDocument) -> Self {
        Self { whole: stored.snapshot.into(), since: stored.chunks.into_iter().map(Into::into).collect() }
    }

    /// The document, to be read or written.
    /// # Errors
    /// [`DocumentError::Damaged`] cannot occur: the bytes are those of a document that was open.
    pub fn open(&self) -> Result<Document, DocumentError> {
        opened(&self.whole, &self.since)
    }

    /// This document with one more change, as it is stored beside it.
    pub fn with(mut self, change: &[u8]) -> Self {
        self.since.push(change.into());
        self
    }

    /// This document, which is now `document`, after one more change; and what of it is to be stored.
    pub fn grown<V: Serialize>(mut self, document: &Document, view: Option<&V>, change: &[u8]) -> (Self, Folded) {
        if self.since.len() + 1 < SINCE_MAX {
            self.since.push(change.into());
            return (self, folded(document, view));
        }
        Self::whole(document, view)
    }
}
