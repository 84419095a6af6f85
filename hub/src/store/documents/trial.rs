//! A document's fold where a panic is caught: one that breaks off stops neither its sender nor other documents.
//!
//! In: a document with something in it that others wrote. Out: the document with what the fold gives, or why there is
//! none; then the document is gone, as it may be half read.

use gatehouse_common::{
    document::{Document, gate::ChunkRefusal},
    id::DocumentId,
};

use crate::store::{StoreError, row};

/// Folds a document that has in it what is not let in yet.
/// # Errors
/// [`ChunkRefusal::FoldPanicked`]: it must not be let in.
pub(super) fn folded<T>(document: Document, fold: impl FnOnce(&Document) -> T) -> Result<(Document, T), ChunkRefusal> {
    document.folded_by(|document| {
        #[cfg(test)]
        planted::breaks_off(document);
        fold(document)
    })
}

/// Folds a document as it is stored.
/// # Errors
/// [`StoreError::Damaged`] names the document: nothing that is let in here breaks off its fold, but another program may
/// have let it in.
pub(in crate::store) fn folded_as_stored<T>(
    id: &DocumentId,
    document: Document,
    fold: impl FnOnce(&Document) -> T,
) -> Result<(Document, T), StoreError> {
    folded(document, fold).map_err(|why| row::damaged("documents", id, why))
}

/// A change that breaks off the fold of every document that has it, on one thread. None is known that does so by
/// itself.
#[cfg(test)]
pub(crate) mod planted {
    use std::cell::Cell;

    use gatehouse_common::{document::Document, id::Hash32};

    thread_local! {
        static CHANGE: Cell<Option<Hash32>> = const { Cell::new(None) };
    }

    /// From now on this change does so on this thread; with none, no change does.
    pub(crate) fn on_this_thread(change: Option<Hash32>) {
        CHANGE.set(change);
    }

    /// Panics if the document has the change.
    pub(crate) fn breaks_off(document: &Document) {
        if let Some(change) = CHANGE.get() {
            assert!(document.chunks().iter().all(|chunk| chunk.hash != change), "a planted fold");
        }
    }
}
