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

/// Bytes that the documents in hand may take in memory, as they are estimated.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a document takes in memory beside its content, in bytes: measured, with 20 to 200 entries.
const EMPTY: usize = 14 * 1024;

struct InHand {
    kind: DocumentKind,
    document: Document,
    used: u64,
    bytes: usize,
}

/// What the writer remembers between two closures, and forgets when another replica wrote.
pub(crate) struct DocumentCache {
    documents: HashMap<DocumentId, InHand>,
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
    pub(crate) fn take(&mut self, id: &DocumentId) -> Option<(DocumentKind, Document)> {
        let taken = self.documents.remove(id)?;
        self.by_use.remove(&taken.used);
        self.bytes -= taken.bytes;
        Some((taken.kind, taken.document))
    }

    /// Puts a document that the running closure changed into hand.
    pub(crate) fn put(&mut self, id: &DocumentId, kind: DocumentKind, document: Document) {
        self.take(id);
        self.touched.push(*id);
        self.uses += 1;
        // Each byte of content takes two to three in memory.
        let bytes = EMPTY + document.save().len() * 5 / 2;
        self.bytes += bytes;
        self.by_use.insert(self.uses, *id);
        self.documents.insert(*id, InHand { kind, document, used: self.uses, bytes });
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

    fn put(cache: &mut DocumentCache, n: u32) {
        cache.put(&id(n), DocumentKind::Case, Document::new().unwrap());
        cache.trim();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_no_more_than_has_to() {
        let mut cache = DocumentCache::of(4 * (EMPTY + 1_024));
        (0..4).for_each(|n| put(&mut cache, n));
        let (kind, first) = cache.take(&id(0)).unwrap();
        cache.put(&id(0), kind, first);
        cache.trim();
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
        cache.put(&id(2), DocumentKind::Case, Document::new().unwrap());
        cache.forget_touched();
        assert!(cache.take(&id(2)).is_none());
        assert!(cache.take(&id(1)).is_some());
    }
}
