//! A document's fold where a panic is caught: what others wrote must not end the agent.
//!
//! In: a document with something in it that came from outside. Out: the document with what the fold gives, or why
//! there is none; then the document is gone, as it may be half read.

use gatehouse_common::{
    document::{Document, gate::ChunkRefusal},
    id::DocumentId,
    time::Moment,
};

use super::Core;

/// Folds a document that has in it what others wrote.
/// # Errors
/// [`ChunkRefusal::FoldPanicked`].
pub(super) fn folded<T>(document: Document, fold: impl FnOnce(&Document) -> T) -> Result<(Document, T), ChunkRefusal> {
    document.folded_by(|document| {
        #[cfg(test)]
        planted::breaks_off(document);
        fold(document)
    })
}

impl Core {
    /// Folds a document that has in it what just came as `what`. Where the fold breaks off, what came goes to
    /// quarantine, and what is held stays.
    pub(super) fn tried<T>(
        &mut self,
        now: &Moment,
        (id, what): (DocumentId, &str),
        document: Document,
        bytes: &[u8],
        fold: impl FnOnce(&Document) -> T,
    ) -> Option<(Document, T)> {
        match folded(document, fold) {
            Ok(folded) => Some(folded),
            Err(why) => {
                tracing::error!(document.id = %id, "a {what} of document {id} went to quarantine: {why}");
                self.refuse_item(now, what, why.to_string(), bytes);
                None
            }
        }
    }
}

/// A change that breaks off the fold of every document that has it, on one thread. None is known that does so by
/// itself.
#[cfg(test)]
pub(super) mod planted {
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
