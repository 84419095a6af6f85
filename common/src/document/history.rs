//! Which entry came before which.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, EntryKey};

/// The entries of a document with their causal order.
///
/// Order is that of `after` alone. A key named in `after` that is not in the document is ignored,
/// as is one that would close a circle; what is left is the same on every side.
#[derive(Debug, Clone)]
pub struct History<T> {
    entries: BTreeMap<EntryKey, Entry<T>>,
    /// For each entry all entries that it reaches through `after`.
    past: BTreeMap<EntryKey, BTreeSet<EntryKey>>,
}

impl<T> History<T> {
    /// Orders `entries`.
    #[must_use]
    pub fn new(entries: BTreeMap<EntryKey, Entry<T>>) -> Self {
        let mut past: BTreeMap<EntryKey, BTreeSet<EntryKey>> = BTreeMap::new();
        // Repeated passes settle each entry once all that it names are settled. A circle never
        // settles by itself; its members then keep what is known of their past without each other.
        let mut open: BTreeSet<EntryKey> = entries.keys().cloned().collect();
        while !open.is_empty() {
            let ready: Vec<EntryKey> = open
                .iter()
                .filter(|key| entries[*key].after.iter().all(|before| !open.contains(before)))
                .cloned()
                .collect();
            let circle = ready.is_empty();
            let settle: Vec<EntryKey> = if circle { open.iter().cloned().collect() } else { ready };
            let mut settled = Vec::with_capacity(settle.len());
            for key in settle {
                let mut reached = BTreeSet::new();
                for before in &entries[&key].after {
                    if open.contains(before) || !entries.contains_key(before) {
                        continue;
                    }
                    if let Some(deeper) = past.get(before) {
                        reached.extend(deeper.iter().cloned());
                    }
                    reached.insert(before.clone());
                }
                settled.push((key, reached));
            }
            for (key, reached) in settled {
                open.remove(&key);
                past.insert(key, reached);
            }
        }
        Self { entries, past }
    }

    /// Every entry by key.
    pub fn iter(&self) -> impl Iterator<Item = (&EntryKey, &Entry<T>)> {
        self.entries.iter()
    }

    /// The entry under `key`.
    #[must_use]
    pub fn get(&self, key: &EntryKey) -> Option<&Entry<T>> {
        self.entries.get(key)
    }

    /// Whether `earlier` is in the past of `later`.
    #[must_use]
    pub fn is_before(&self, earlier: &EntryKey, later: &EntryKey) -> bool {
        self.past.get(later).is_some_and(|past| past.contains(earlier))
    }

    /// Whether neither of two different entries is in the other's past.
    #[must_use]
    pub fn are_concurrent(&self, a: &EntryKey, b: &EntryKey) -> bool {
        a != b && !self.is_before(a, b) && !self.is_before(b, a)
    }

    /// Keys that no other entry has in its past: what a new entry names in `after`.
    #[must_use]
    pub fn heads(&self) -> Vec<EntryKey> {
        let covered: BTreeSet<&EntryKey> = self.past.values().flatten().collect();
        self.entries.keys().filter(|key| !covered.contains(key)).cloned().collect()
    }

    /// Of `keys`, those that no other of `keys` has in its past.
    #[must_use]
    pub fn latest<'a>(&self, keys: &[&'a EntryKey]) -> Vec<&'a EntryKey> {
        keys.iter().copied().filter(|key| !keys.iter().any(|other| self.is_before(key, other))).collect()
    }

    /// Of `keys`, the one that counts when nothing but time and name can tell: not superseded,
    /// then the later hybrid clock, then the larger key.
    #[must_use]
    pub fn last<'a>(&self, keys: &[&'a EntryKey]) -> Option<&'a EntryKey> {
        self.latest(keys).into_iter().max_by_key(|key| (self.entries.get(*key).map(|e| e.hlc), *key))
    }
}
