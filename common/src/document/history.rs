//! Which entry came before which.

use std::collections::BTreeMap;

use super::entry::{Entry, EntryKey};

/// The entries of a document with their causal order.
///
/// Order is that of `after` alone. A key named in `after` that is not in the document is ignored,
/// as is one that would close a circle; what is left is the same on every side.
#[derive(Debug, Clone)]
pub struct History<T> {
    /// Sorted, so that a key is found by halving.
    keys: Vec<EntryKey>,
    entries: Vec<Entry<T>>,
    /// For each entry all entries that it reaches through `after`.
    past: Vec<Set>,
}

/// A set of entries by their place, a bit each.
#[derive(Debug, Clone)]
struct Set(Vec<u64>);

impl Set {
    fn of_none(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

impl<T> History<T> {
    /// Orders `entries`.
    #[must_use]
    pub fn new(entries: BTreeMap<EntryKey, Entry<T>>) -> Self {
        let (keys, entries): (Vec<EntryKey>, Vec<Entry<T>>) = entries.into_iter().unzip();
        let named: Vec<Vec<usize>> = entries
            .iter()
            .map(|entry| entry.after.iter().filter_map(|key| keys.binary_search(key).ok()).collect())
            .collect();
        let mut past = vec![Set::of_none(keys.len()); keys.len()];
        // Repeated passes settle each entry once all that it names are settled. A circle never
        // settles by itself; its members then keep what is known of their past without each other.
        let mut open: Vec<usize> = (0..keys.len()).collect();
        let mut is_open = vec![true; keys.len()];
        while !open.is_empty() {
            let ready: Vec<usize> =
                open.iter().copied().filter(|place| named[*place].iter().all(|before| !is_open[*before])).collect();
            let settle = if ready.is_empty() { open.clone() } else { ready };
            let mut settled = Vec::with_capacity(settle.len());
            for place in &settle {
                let mut reached = Set::of_none(keys.len());
                for before in named[*place].iter().filter(|before| !is_open[**before]) {
                    reached.add_all(&past[*before]);
                    reached.add(*before);
                }
                settled.push((*place, reached));
            }
            for (place, reached) in settled {
                is_open[place] = false;
                past[place] = reached;
            }
            open.retain(|place| is_open[*place]);
        }
        Self { keys, entries, past }
    }

    /// Every entry by key, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&EntryKey, &Entry<T>)> {
        self.keys.iter().zip(&self.entries)
    }

    fn place(&self, key: &EntryKey) -> Option<usize> {
        self.keys.binary_search(key).ok()
    }

    /// The entry under `key`.
    #[must_use]
    pub fn get(&self, key: &EntryKey) -> Option<&Entry<T>> {
        self.entries.get(self.place(key)?)
    }

    /// Whether `earlier` is in the past of `later`.
    #[must_use]
    pub fn is_before(&self, earlier: &EntryKey, later: &EntryKey) -> bool {
        let places = self.place(earlier).zip(self.place(later));
        places.is_some_and(|(earlier, later)| self.past[later].has(earlier))
    }

    /// Whether neither of two different entries is in the other's past.
    #[must_use]
    pub fn are_concurrent(&self, a: &EntryKey, b: &EntryKey) -> bool {
        a != b && !self.is_before(a, b) && !self.is_before(b, a)
    }

    /// How many entries are in the past of `key`. Of two entries the one that is before the other has fewer.
    #[must_use]
    pub fn depth(&self, key: &EntryKey) -> usize {
        self.place(key).map_or(0, |place| self.past[place].0.iter().map(|word| word.count_ones() as usize).sum())
    }

    /// Keys that no other entry has in its past: what a new entry names in `after`.
    #[must_use]
    pub fn heads(&self) -> Vec<EntryKey> {
        let mut covered = Set::of_none(self.keys.len());
        self.past.iter().for_each(|past| covered.add_all(past));
        self.keys.iter().enumerate().filter(|(place, _)| !covered.has(*place)).map(|(_, key)| key.clone()).collect()
    }

    /// Of `keys`, those that no other of `keys` has in its past.
    #[must_use]
    pub fn latest<'a>(&self, keys: &[&'a EntryKey]) -> Vec<&'a EntryKey> {
        let mut covered = Set::of_none(self.keys.len());
        keys.iter().filter_map(|key| self.place(key)).for_each(|place| covered.add_all(&self.past[place]));
        keys.iter().copied().filter(|key| self.place(key).is_none_or(|place| !covered.has(place))).collect()
    }

    /// Of `keys`, the one that counts when nothing but time and name can tell: not superseded,
    /// then the later hybrid clock, then the larger key.
    #[must_use]
    pub fn last<'a>(&self, keys: &[&'a EntryKey]) -> Option<&'a EntryKey> {
        self.latest(keys).into_iter().max_by_key(|key| (self.get(key).map(|e| e.hlc), *key))
    }
}
