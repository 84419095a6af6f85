//! What the core starts from: everything that it remembers, as the store read it.

use gatehouse_common::{
    decision::ChainHead,
    document::{Document, DocumentError},
    fact::Fact,
    gate::GateResult,
    id::{DocumentId, DocumentKind, Hash32, LeaseId},
    lease::LeaseUse,
    order::Order,
    seal::Sealed,
    sync::Cursor,
    time::Moment,
};

use super::rules::Texts;

/// What the core starts from.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which install of the device writes.
    pub actor_epoch: u32,
    /// Where the chain of decisions has got to, and how far the hub has receipted it.
    pub chain: ChainTail,
    /// State of rules: key and JSON.
    pub rules: Vec<(String, String)>,
    /// The facts held.
    pub facts: Vec<Fact>,
    /// The orders held.
    pub orders: Vec<Order>,
    /// The documents.
    pub documents: Vec<StoredDocument>,
    /// The leases that are not closed.
    pub leases: Vec<StoredLease>,
    /// The gates of dispatches as last weighed.
    pub gates: Vec<(DocumentId, Vec<GateResult>)>,
    /// The rules in force and those before.
    pub texts: Texts,
    /// How far the hub's feed is taken.
    pub cursor: Cursor,
}

/// Where the chain of decisions has got to.
#[derive(Debug, Clone)]
pub struct ChainTail {
    /// Its end.
    pub head: ChainHead,
    /// The newest head that the hub has receipted, in the running epoch.
    pub anchored: Option<ChainHead>,
    /// Hashes of the records after it, by place.
    pub unanchored: Vec<(u64, Hash32)>,
}

/// A document as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its id.
    pub document: DocumentId,
    /// Case or dispatch.
    pub kind: DocumentKind,
    /// The document as it was last written whole; empty if it never was.
    pub snapshot: Vec<u8>,
    /// The changes since, in the order in which they were written.
    pub chunks: Vec<Vec<u8>>,
    /// Hashes of its latest changes, sorted, as they were last written; none where nobody wrote them.
    pub heads: Option<Vec<Hash32>>,
}

impl StoredDocument {
    /// The document itself.
    /// # Errors
    /// [`DocumentError`]: what is stored does not make a document.
    pub fn open(&self) -> Result<Document, DocumentError> {
        opened(&self.snapshot, &self.chunks)
    }
}

/// A document as it was last written whole, empty if it never was, with the changes since.
/// # Errors
/// [`DocumentError`]: this does not make a document.
pub(super) fn opened<C: AsRef<[u8]>>(whole: &[u8], since: &[C]) -> Result<Document, DocumentError> {
    let mut document = if whole.is_empty() { Document::new() } else { Document::load(whole) }?;
    for change in since {
        document.apply_own(change.as_ref())?;
    }
    Ok(document)
}

/// A lease as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLease {
    /// Its name.
    pub id: LeaseId,
    /// Its text and the hub's signature.
    pub sealed: Sealed,
    /// When it came in.
    pub received: Moment,
    /// What was used of it.
    pub used: LeaseUse,
}
