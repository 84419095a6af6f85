//! What came in and what was decided, for audit and replay.

use gatehouse_common::{
    document::Chunk,
    id::{DocumentId, DocumentKind, Hash32},
    time::UtcMs,
};

use super::Reader;
use crate::store::{
    AnchorRow, Beginning, BundleRow, DecisionRow, KeptInput, KeptReading, StoreError, chain, checkpoints, documents,
    inputs, readings, rules,
};

impl Reader {
    /// The newest decisions of the running epoch, newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn decisions(&self, limit: u32) -> Result<Vec<DecisionRow>, StoreError> {
        self.ask(|conn| chain::newest(conn, limit))
    }

    /// Hands every decision of every epoch to `each`, in order, with whether its row matches its checksum.
    /// # Errors
    /// [`StoreError`].
    pub fn each_decision(&self, each: impl FnMut(DecisionRow, bool)) -> Result<(), StoreError> {
        self.ask(|conn| chain::each(conn, each))
    }

    /// The hub's receipts of the chain, in the order in which they came.
    /// # Errors
    /// [`StoreError`]; also of a store that no program of this version has opened yet.
    pub fn anchors(&self) -> Result<Vec<AnchorRow>, StoreError> {
        self.ask(chain::anchors)
    }

    /// The hash of the decision at a place of the chain.
    /// # Errors
    /// [`StoreError`].
    pub fn decision_hash_at(&self, epoch: u32, position: u64) -> Result<Option<Hash32>, StoreError> {
        self.ask(|conn| chain::hash_at(conn, epoch, position))
    }

    /// The rules in force and those before, the newest first.
    /// # Errors
    /// [`StoreError`].
    pub fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        Ok(self.ask(rules::rows)?.into_iter().map(|(row, _)| row).collect())
    }

    /// What a replay that wants to begin at `at` begins with; none: with an empty store.
    /// # Errors
    /// [`StoreError`]; also of a store that no program of this version has opened yet.
    pub fn beginning(&self, at: Option<UtcMs>) -> Result<Option<Beginning>, StoreError> {
        self.ask(|conn| checkpoints::newest_before(conn, at))
    }

    /// The numbers of the newest input and of the newest reading.
    /// # Errors
    /// [`StoreError`].
    pub fn inputs_end(&self) -> Result<(u64, u64), StoreError> {
        self.ask(|conn| Ok((inputs::newest(conn)?, readings::newest_position(conn)?)))
    }

    /// Up to `limit` inputs behind number `n`, in order.
    /// # Errors
    /// [`StoreError`].
    pub fn inputs_behind(&self, n: u64, limit: u32) -> Result<Vec<KeptInput>, StoreError> {
        self.ask(|conn| inputs::since(conn, n, limit))
    }

    /// Hands every reading that is kept and lies behind `position` to `take`, in order of arrival.
    /// # Errors
    /// [`StoreError`].
    pub fn readings_since(&self, position: u64, take: impl FnMut(KeptReading)) -> Result<(), StoreError> {
        self.ask(|conn| readings::since(conn, position, take))
    }

    /// The next readings behind `position`, in order of arrival; none at the end.
    /// # Errors
    /// [`StoreError`].
    pub fn readings_behind(&self, position: u64) -> Result<Vec<KeptReading>, StoreError> {
        self.ask(|conn| readings::page_behind(conn, position))
    }

    /// Every document that has a chunk, and its kind.
    /// # Errors
    /// [`StoreError`].
    pub fn documents_with_chunks(&self) -> Result<Vec<(DocumentId, DocumentKind)>, StoreError> {
        self.ask(documents::with_chunks)
    }

    /// The chunks of a document in the order in which they were written, each with its position.
    /// # Errors
    /// [`StoreError`].
    pub fn chunks_of(&self, document: DocumentId) -> Result<Vec<(u64, Chunk)>, StoreError> {
        self.ask(|conn| documents::chunks_of(conn, document))
    }
}
