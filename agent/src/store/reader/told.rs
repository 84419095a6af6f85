//! What the hub is told, and what it is shown to find what it lacks.

use gatehouse_common::{
    document::Chunk,
    id::{DocumentId, DocumentKind, Hash32},
    seal::Sealed,
    sync::{
        Attested, Cursor, Rejection, page,
        repair::{Heads, Local, digest},
    },
};

use super::Reader;
use crate::{
    core::{damage::DamagedRow, input::RefusedChange},
    store::{Outbox, StoreError, Waiting, cursors, damage, documents, ledger, outbox, pages},
};

impl Local for Reader {
    type Error = StoreError;

    fn heads(&self, after: Option<DocumentId>, limit: usize) -> Result<Vec<Heads>, StoreError> {
        self.ask(|conn| documents::heads(conn, after, limit))
    }

    fn beyond(&self, document: DocumentId, heads: &[Hash32]) -> Result<Option<(DocumentKind, Vec<Chunk>)>, StoreError> {
        let Some(stored) = self.ask(|conn| documents::one(conn, document))? else { return Ok(None) };
        match stored.open().and_then(|document| document.chunks_beyond(heads)) {
            Ok(chunks) => Ok(Some((stored.kind, chunks))),
            Err(e) => {
                // One document that cannot be read must not keep the others from being repaired.
                tracing::error!(document.id = %document, "document {document} cannot be given to the hub: {e}");
                Ok(None)
            }
        }
    }

    fn page_of(&self, document: &DocumentId, change: &Hash32) -> Result<Option<Attested>, StoreError> {
        self.ask(|conn| pages::of_mark(conn, &page::mark(document, change)))
    }
}

impl Reader {
    /// The oldest records that wait to be pushed, in order, without those that are lost.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox(&self, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        Ok(self.outbox_as_read(limit)?.waiting)
    }

    /// The oldest records that wait to be pushed, in order, and which are damaged.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_as_read(&self, limit: u32) -> Result<Outbox, StoreError> {
        self.ask(|conn| outbox::waiting(conn, limit))
    }

    /// The number of the oldest record that waits to be pushed.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_oldest(&self) -> Result<Option<u64>, StoreError> {
        self.ask(outbox::oldest)
    }

    /// The changes of documents among records that the hub did not let in.
    /// # Errors
    /// [`StoreError`].
    pub fn changes_among(&self, rejected: &[Rejection]) -> Result<Vec<RefusedChange>, StoreError> {
        if rejected.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|conn| outbox::changes_among(conn, rejected))
    }

    /// One hash over the heads of all documents that somebody still works on, and how many they are.
    /// # Errors
    /// [`StoreError`].
    pub fn digest(&self) -> Result<(u64, Hash32), StoreError> {
        let heads = self.ask(documents::open_heads)?;
        Ok((heads.len() as u64, digest(&heads)))
    }

    /// Changes that were put aside since they are not what was written, and that are not whole again.
    /// # Errors
    /// [`StoreError`].
    pub fn put_aside(&self) -> Result<Vec<DamagedRow>, StoreError> {
        self.ask(damage::changes)
    }

    /// The rows that were put aside and are not whole again, as people name them, oldest first.
    /// # Errors
    /// [`StoreError`].
    pub fn put_aside_names(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        self.ask(|conn| damage::names(conn, limit))
    }

    /// What the hub signed of its newest page that is kept.
    /// # Errors
    /// [`StoreError`].
    pub fn newest_page(&self) -> Result<Option<Sealed>, StoreError> {
        self.ask(pages::newest)
    }

    /// How many pages are kept as proof of what the hub sent.
    /// # Errors
    /// [`StoreError`].
    pub fn pages(&self) -> Result<u64, StoreError> {
        self.ask(pages::count)
    }

    /// Leases that must weigh at the hub should it have forgotten them, as it signed them: those that are not closed,
    /// those that wait for the end of a drill, and those whose closing waits to be told.
    /// # Errors
    /// [`StoreError`].
    pub fn sealed_leases(&self) -> Result<Vec<Sealed>, StoreError> {
        self.ask(ledger::sealed_leases)
    }

    /// Which life of the outbox its numbers count in.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_epoch(&self) -> Result<u64, StoreError> {
        Ok(self.identity()?.get("outbox_epoch").and_then(|e| e.parse().ok()).unwrap_or(1))
    }

    /// The last number of the outbox that is kept and that the hub said it had taken; 0 if none is.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_taken(&self) -> Result<u64, StoreError> {
        self.ask(outbox::taken_last)
    }

    /// The last number that a record of the outbox was given; 0 before the first.
    /// # Errors
    /// [`StoreError`].
    pub fn outbox_last(&self) -> Result<u64, StoreError> {
        self.ask(outbox::last)
    }

    /// The last number of the outbox that can have been told: what was written since the program started has not been
    /// until the hub was asked how this device stands.
    /// # Errors
    /// [`StoreError`].
    pub fn told_at_most(&self) -> Result<u64, StoreError> {
        self.ask(outbox::told_at_most)
    }

    /// Whether the program has started and nobody knows yet how this device stands with the hub.
    /// # Errors
    /// [`StoreError`].
    pub fn waits_to_ask(&self) -> Result<bool, StoreError> {
        self.ask(outbox::waits_to_ask)
    }

    /// How far the hub's feed is taken.
    /// # Errors
    /// [`StoreError`].
    pub fn cursor(&self) -> Result<Cursor, StoreError> {
        self.ask(cursors::cursor)
    }
}
