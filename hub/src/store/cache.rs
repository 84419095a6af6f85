//! Documents that the writer has in hand: those that were used last, within a budget of bytes.
//!
//! A change is tried on its document; reading that from the store costs many times what the change itself does. A batch
//! about one document reads it once, and so does a depot that writes into the same few hundred all day.

use std::collections::{BTreeMap, HashMap};

use gatehouse_common::{
    document::Document,
    id::{DocumentId, DocumentKind},
    time::Hlc,
};

use crate::core::projections::Brief;

/// Bytes that the documents in hand may take in memory, as they are estimated.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a document takes in memory beside its content, in bytes: measured, with 20 to 200 entries.
const EMPTY: usize = 14 * 1024;

/// A document, and what had to be folded to know it.
pub(crate) struct InHand {
    pub(crate) kind: DocumentKind,
    pub(crate) document: Document,
    /// What the gate has to know of it; none while nothing makes it a document of its kind.
    pub(crate) brief: Option<Brief>,
}

struct Kept {
    in_hand: InHand,
    used: u64,
    bytes: usize,
}

/// What the writer remembers between two closures, and forgets when another replica wrote.
pub(crate) struct DocumentCache {
    documents: HashMap<DocumentId, Kept>,
    by_use: BTreeMap<u64, DocumentId>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
    /// How many documents had to be read from the store.
    pub(crate) loads: u64,
    /// Documents that the running closure changed; forgotten when it is undone.
    touched: Vec<DocumentId>,
    pub(crate) hlc: Option<Hlc>,
}

impl Default for DocumentCache {
    fn default() -> Self {
        Self::of(BYTES_MAX)
    }
}

impl DocumentCache {
    /// An empty one with a budget.
    pub(crate) fn of(bytes_max: usize) -> Self {
        Self {
            documents: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            bytes_max,
            loads: 0,
            touched: Vec::new(),
            hlc: None,
        }
    }

    /// Takes a document out, if it is in hand, with what it was put in as.
    pub(crate) fn take(&mut self, id: &DocumentId) -> Option<InHand> {
        let taken = self.documents.remove(id)?;
        self.by_use.remove(&taken.used);
        self.bytes -= taken.bytes;
        Some(taken.in_hand)
    }

    /// Puts a document that the running closure changed into hand. Saved it has `saved_bytes`.
    pub(crate) fn put(&mut self, id: &DocumentId, in_hand: InHand, saved_bytes: usize) {
        self.take(id);
        self.touched.push(*id);
        self.uses += 1;
        // Each byte of content takes two to three in memory.
        let bytes = EMPTY + saved_bytes * 5 / 2;
        self.bytes += bytes;
        self.by_use.insert(self.uses, *id);
        self.documents.insert(*id, Kept { in_hand, used: self.uses, bytes });
    }

    /// Nothing that a closure did which is undone stays in hand.
    pub(crate) fn forget_touched(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            self.take(&id);
        }
        self.hlc = None;
    }

    /// A closure is over: what was used longest ago goes, until the rest is within the budget.
    pub(crate) fn trim(&mut self) {
        self.touched.clear();
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some(gone) = self.documents.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> DocumentId {
        DocumentId::of(DocumentKind::Case, "k", n)
    }

    fn touch(cache: &mut DocumentCache, n: u32) {
        let document = Document::new().unwrap();
        let saved_bytes = document.save().len();
        cache.put(&id(n), InHand { kind: DocumentKind::Case, document, brief: None }, saved_bytes);
    }

    fn put(cache: &mut DocumentCache, n: u32) {
        touch(cache, n);
        cache.trim();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_no_more_than_has_to() {
        let mut cache = DocumentCache::of(4 * (EMPTY + 1_024));
        (0..4).for_each(|n| put(&mut cache, n));
        assert!(cache.take(&id(0)).is_some());
        put(&mut cache, 0);
        put(&mut cache, 4);
        let there: Vec<bool> = (0..5).map(|n| cache.documents.contains_key(&id(n))).collect();
        assert_eq!(there, [true, false, true, true, true]);
        assert_eq!((cache.by_use.len(), cache.documents.len()), (4, 4));
        (0..5).for_each(|n| drop(cache.take(&id(n))));
        assert_eq!((cache.bytes, cache.by_use.len()), (0, 0));
    }

    #[test]
    fn what_is_undone_is_not_in_hand() {
        let mut cache = DocumentCache::of(usize::MAX);
        put(&mut cache, 1);
        touch(&mut cache, 2);
        cache.forget_touched();
        assert!(cache.take(&id(2)).is_none());
        assert!(cache.take(&id(1)).is_some());
    }
}
