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
    dispatches::{folded, folded_whole},
    start::StoredDocument,
};

/// Most changes that are applied to a case, each time that it is opened, after it was written whole or began.
const SINCE_MAX: usize = 8;

/// A document as its bytes; the default is one that nobody has written into.
#[derive(Debug, Clone, Default)]
pub(super) struct AtRest {
    /// As the store was last given all of it.
    whole: Option<Arc<[u8]>>,
    /// The changes since, in their order.
    since: Vec<Arc<[u8]>>,
}

impl AtRest {
    /// A document of which the store is given all.
    pub fn whole(document: &Document) -> Self {
        Self { whole: Some(document.save().into()), since: Vec::new() }
    }

    /// A document as it is in the store.
    pub fn stored(stored: StoredDocument) -> Self {
        let whole = (!stored.snapshot.is_empty()).then(|| stored.snapshot.into());
        Self { whole, since: stored.chunks.into_iter().map(Into::into).collect() }
    }

    /// The document, to be read or written.
    /// # Errors
    /// [`DocumentError::Damaged`] cannot occur: the bytes are those of a document that was open.
    pub fn open(&self) -> Result<Document, DocumentError> {
        let mut document = self.whole.as_ref().map_or_else(Document::new, |whole| Document::load(whole))?;
        for change in &self.since {
            document.apply_own(change)?;
        }
        Ok(document)
    }

    /// This document, which is now `document`, after one more change; and what of it is to be stored.
    pub fn grown<V: Serialize>(mut self, document: &Document, view: Option<&V>, change: &[u8]) -> (Self, Folded) {
        if self.since.len() + 1 < SINCE_MAX {
            self.since.push(change.into());
            return (self, folded(document, view));
        }
        let after = folded_whole(document, view);
        let whole = after.snapshot.as_deref().map(Into::into);
        (Self { whole, since: Vec::new() }, after)
    }
}
