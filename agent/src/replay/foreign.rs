//! What others said in documents, given to a core whose documents are not quite those that they wrote into.
//!
//! In: chunks as they were recorded. Out: each entry of another writer with what of the device's own words it had seen,
//! by time; a run writes it into its own document as said then. A run that decides as the recorded one did thereby gets
//! the same documents; one that decides otherwise hears the same word at the same moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gatehouse_common::{
    document::{Actor, Chunk, Document, Entry, EntryKey, History},
    id::{DocumentId, DocumentKind, Hash32},
    time::UtcMs,
};
use serde_json::{Map, Value};

use super::{ReplayError, new_document};
use crate::store::Reader;

/// What an entry says, whatever that is.
pub(super) type Says = Map<String, Value>;

/// Something that another writer said.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub document: DocumentId,
    pub kind: DocumentKind,
    pub key: EntryKey,
    pub entry: Entry<Says>,
    /// Of the device's own entries it had seen those up to then.
    pub saw_own_until: Option<UtcMs>,
    /// Entries of others that it had seen.
    pub saw: Vec<EntryKey>,
}

impl Word {
    /// Whether it opens a case.
    pub(super) fn opens(&self) -> bool {
        self.entry.says.get("t").is_some_and(|t| t == "opened")
    }
}

/// The documents as they were recorded.
pub(super) struct Mirror {
    /// Position of the last chunk before the replay.
    begins: u64,
    documents: BTreeMap<DocumentId, Mirrored>,
}

struct Mirrored {
    document: Document,
    rest: VecDeque<(u64, Chunk)>,
    known: BTreeSet<EntryKey>,
}

/// Whether an entry is the device's own, of whichever of its lives.
pub(super) fn is_own(own: &Actor, key: &EntryKey) -> bool {
    (own.kind, &own.site, &own.device) == (key.actor.kind, &key.actor.site, &key.actor.device)
}

impl Mirror {
    pub(super) fn behind(chunk: u64) -> Self {
        Self { begins: chunk, documents: BTreeMap::new() }
    }

    /// What is new from others once the chunk with this hash is in.
    pub(super) fn words(
        &mut self,
        store: &Reader,
        own: &Actor,
        document: DocumentId,
        kind: DocumentKind,
        hash: Hash32,
    ) -> Result<Vec<Word>, ReplayError> {
        let mirrored = match self.documents.entry(document) {
            std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let rest = store.chunks_of(document)?.into();
                let mut made = Mirrored { document: new_document()?, rest, known: BTreeSet::new() };
                while made.rest.front().is_some_and(|(position, _)| *position <= self.begins) {
                    made.apply_next()?;
                }
                made.known = made.document.entries::<Says>().0.into_keys().collect();
                place.insert(made)
            }
        };
        if mirrored.rest.iter().any(|(_, chunk)| chunk.hash == hash) {
            while mirrored.apply_next()? != Some(hash) {}
        }
        let history = History::new(mirrored.document.entries::<Says>().0);
        let mut words = Vec::new();
        for (key, entry) in history.iter().filter(|(key, _)| !is_own(own, key) && !mirrored.known.contains(key)) {
            let seen: Vec<(&EntryKey, &Entry<Says>)> =
                history.iter().filter(|(k, _)| history.is_before(k, key)).collect();
            let saw_own_until = seen.iter().filter(|(k, _)| is_own(own, k)).map(|(_, e)| e.at).max();
            let saw = seen.iter().filter(|(k, _)| !is_own(own, k)).map(|(k, _)| (*k).clone()).collect();
            let (key, entry) = (key.clone(), entry.clone());
            words.push(Word { document, kind, key, entry, saw_own_until, saw });
        }
        // Each behind those that its writer had seen.
        words.sort_by(|a, b| (a.saw.len(), &a.key).cmp(&(b.saw.len(), &b.key)));
        mirrored.known.extend(words.iter().map(|word| word.key.clone()));
        Ok(words)
    }
}

impl Mirrored {
    fn apply_next(&mut self) -> Result<Option<Hash32>, ReplayError> {
        let Some((_, chunk)) = self.rest.pop_front() else { return Ok(None) };
        self.document.apply_own(&chunk.bytes).map_err(|e| ReplayError::Broken(e.to_string()))?;
        Ok(Some(chunk.hash))
    }
}

/// Writes a word into a document as its writer would have, had this been the document; gives its key there.
pub(super) fn write(
    document: &mut Document,
    own: &Actor,
    word: &Word,
    named: impl Fn(&EntryKey) -> EntryKey,
) -> Result<(EntryKey, Chunk), ReplayError> {
    let history = History::new(document.entries::<Says>().0);
    let seen_own = |(key, entry): &(&EntryKey, &Entry<Says>)| {
        is_own(own, key) && word.saw_own_until.is_some_and(|until| entry.at <= until)
    };
    let saw: Vec<EntryKey> = word.saw.iter().map(named).filter(|key| history.get(key).is_some()).collect();
    let seen: Vec<&EntryKey> = history.iter().filter(seen_own).map(|(key, _)| key).chain(&saw).collect();
    let after = history.latest(&seen).into_iter().cloned().collect();
    let entry = Entry { after, ..word.entry.clone() };
    let (keys, chunk) = document.append(&word.key.actor, &[entry]).map_err(|e| ReplayError::Broken(e.to_string()))?;
    Ok((keys.into_iter().next().unwrap_or_else(|| word.key.clone()), chunk))
}
