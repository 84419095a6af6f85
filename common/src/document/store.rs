//! The document itself, over Automerge.

mod admission;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use automerge::{
    ActorId, Automerge, Change, ObjId, ObjType, ReadDoc, Value,
    transaction::{CommitOptions, Transactable},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    actor::Actor,
    entry::{Entry, EntryKey},
    gate::{ChunkRefusal, Inspected, guarded, inspect},
};
use crate::{id::Hash32, time::UtcMs};

const ENTRIES: &str = "entries";
const NOTES: &str = "notes";

/// The first change of every document, byte for byte. Never logged, never sent: both sides have it.
///
/// Actor `genesis`, time 0; it makes the map `entries` and the text `notes`.
const GENESIS: &[u8] = include_bytes!("genesis.bin");

/// The first change of every document, for those who store or compare it.
#[must_use]
pub fn genesis() -> &'static [u8] {
    GENESIS
}

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The stored bytes are not one of our documents. Fetch the document again from the other side.
    #[error("stored document cannot be read: {0}")]
    Damaged(String),
    /// The entry cannot be written as JSON.
    #[error("entry cannot be written: {0}")]
    Entry(#[from] serde_json::Error),
    /// Automerge refused a write. The document is as it was.
    #[error("write refused: {0}")]
    Write(#[from] automerge::AutomergeError),
    /// A chunk was not let in. The document is as it was.
    #[error(transparent)]
    Refused(#[from] ChunkRefusal),
}

/// One change as it is logged and shipped: raw and uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its hash.
    pub hash: Hash32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How long a document may have changes that wait for their past before whoever looks after it is told, in milliseconds.
/// What is on its way comes with the next exchanges; after this, somebody who has it does not give it.
pub const WAITING_MAX_MS: i64 = 600_000;

/// What applying a chunk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is part of the document now.
    New,
    /// It was there before.
    Known,
    /// It waits for changes that have not come in.
    Waiting,
}

/// A case or a dispatch as a set of entries and notes.
#[derive(Clone)]
pub struct Document {
    inner: Automerge,
    entries: ObjId,
    notes: ObjId,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("heads", &self.heads()).finish_non_exhaustive()
    }
}

impl Document {
    /// A document with nothing but its first change.
    /// # Errors
    /// [`DocumentError::Damaged`] cannot occur in a build whose tests pass.
    pub fn new() -> Result<Self, DocumentError> {
        // Every one begins alike, and a copy costs less. Who writes sets its own actor first.
        static FIRST: OnceLock<Document> = OnceLock::new();
        if let Some(first) = FIRST.get() {
            return Ok(first.clone());
        }
        let made = Self::begin()?;
        Ok(FIRST.get_or_init(|| made).clone())
    }

    fn begin() -> Result<Self, DocumentError> {
        let mut inner = Automerge::new();
        let change = Change::from_bytes(GENESIS.to_vec()).map_err(|e| DocumentError::Damaged(e.to_string()))?;
        inner.apply_changes([change])?;
        Self::over(inner)
    }

    /// Reads a document that [`Self::save`] wrote.
    /// # Errors
    /// [`DocumentError::Damaged`].
    pub fn load(bytes: &[u8]) -> Result<Self, DocumentError> {
        let inner = guarded(|| Automerge::load(bytes))?.map_err(|e| DocumentError::Damaged(e.to_string()))?;
        Self::over(inner)
    }

    fn over(inner: Automerge) -> Result<Self, DocumentError> {
        let missing = |key: &str| DocumentError::Damaged(format!("no {key}"));
        let entries = container(&inner, ENTRIES, ObjType::Map).ok_or_else(|| missing(ENTRIES))?;
        let notes = container(&inner, NOTES, ObjType::Text).ok_or_else(|| missing(NOTES))?;
        Ok(Self { inner, entries, notes })
    }

    /// The whole document, uncompressed, waiting chunks included.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.inner.save_nocompress()
    }

    /// The document as a file that any Automerge program opens.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        self.inner.save()
    }

    /// Hashes of the latest changes, sorted. Two documents with the same heads are the same.
    #[must_use]
    pub fn heads(&self) -> Vec<Hash32> {
        let mut heads: Vec<Hash32> = self.inner.get_heads().into_iter().map(|h| Hash32(h.0)).collect();
        heads.sort_unstable();
        heads
    }

    /// Hashes of changes that waiting chunks need and that have not come in.
    #[must_use]
    pub fn missing(&self) -> Vec<Hash32> {
        self.inner.get_missing_deps(&[]).into_iter().map(|h| Hash32(h.0)).collect()
    }

    /// Every applied change but the first one, each after those it depends on.
    #[must_use]
    pub fn chunks(&self) -> Vec<Chunk> {
        self.inner
            .get_changes(&[])
            .into_iter()
            .filter(|c| c.raw_bytes() != GENESIS)
            .map(|c| Chunk { hash: Hash32(c.hash().0), bytes: c.raw_bytes().to_vec() })
            .collect()
    }

    /// The document without the change `hash` and all that builds on it, and what was left out, each after those it
    /// depends on.
    /// # Errors
    /// [`DocumentError`] if what is left cannot be put together again.
    pub fn without(&self, hash: &Hash32) -> Result<(Self, Vec<Chunk>), DocumentError> {
        let mut gone = BTreeSet::from([*hash]);
        let (mut kept, mut left_out) = (Self::new()?, Vec::new());
        for chunk in self.chunks() {
            let builds_on_it = inspect(&chunk.bytes)?.deps.iter().any(|past| gone.contains(past));
            if chunk.hash == *hash || builds_on_it {
                gone.insert(chunk.hash);
                left_out.push(chunk);
            } else {
                kept.apply_own(&chunk.bytes)?;
            }
        }
        Ok((kept, left_out))
    }

    /// The changes that somebody with these heads lacks, each after those it depends on. A head that is not known here
    /// takes nothing away.
    /// # Errors
    /// [`DocumentError::Refused`] if a change cannot be read.
    pub fn chunks_beyond(&self, heads: &[Hash32]) -> Result<Vec<Chunk>, DocumentError> {
        beyond(self.chunks(), heads)
    }

    /// The largest change number of `actor` in this document; 0 if it wrote nothing.
    #[must_use]
    pub fn known_seq(&self, actor: &Actor) -> u64 {
        let id = actor.to_string();
        self.inner
            .get_changes_meta(&[])
            .iter()
            .filter(|c| c.actor.to_bytes() == id.as_bytes())
            .map(|c| c.seq)
            .max()
            .unwrap_or(0)
    }

    /// Writes `entries`, in this order, as one change of `actor`. Returns their keys and the change.
    /// # Errors
    /// [`DocumentError::Entry`] or [`DocumentError::Write`]; the document is as it was.
    pub fn append<T: Serialize>(
        &mut self,
        actor: &Actor,
        entries: &[Entry<T>],
    ) -> Result<(Vec<EntryKey>, Chunk), DocumentError> {
        let written = self.keys_of(actor);
        let first = written.into_iter().max().map_or(1, |n| n.saturating_add(1));
        let mut keyed = Vec::with_capacity(entries.len());
        for (n, entry) in (first..).zip(entries) {
            keyed.push((EntryKey { actor: actor.clone(), n }, serde_json::to_string(entry)?));
        }
        let map = self.entries.clone();
        let chunk = self.write(actor, entries.first().map_or(UtcMs(0), |e| e.at), |tx| {
            keyed.iter().try_for_each(|(key, text)| tx.put(&map, key.to_string(), text.as_str()))
        })?;
        Ok((keyed.into_iter().map(|(key, _)| key).collect(), chunk))
    }

    /// Adds `text` as a paragraph at the end of the notes.
    /// # Errors
    /// [`DocumentError::Write`]; the document is as it was.
    pub fn add_note(&mut self, actor: &Actor, at: UtcMs, text: &str) -> Result<Chunk, DocumentError> {
        let notes = self.notes.clone();
        let end = self.inner.length(&notes);
        self.write(actor, at, |tx| tx.splice_text(&notes, end, 0, &format!("{text}\n")))
    }

    fn write(
        &mut self,
        actor: &Actor,
        at: UtcMs,
        work: impl FnOnce(&mut automerge::transaction::Transaction<'_>) -> Result<(), automerge::AutomergeError>,
    ) -> Result<Chunk, DocumentError> {
        self.inner.set_actor(ActorId::from(actor.to_string().into_bytes()));
        let mut tx = self.inner.transaction();
        if let Err(refused) = work(&mut tx) {
            tx.rollback();
            return Err(refused.into());
        }
        tx.commit_with(CommitOptions::default().with_time(at.0 / 1000));
        let change = self
            .inner
            .get_last_local_change()
            .ok_or_else(|| DocumentError::Damaged("a committed change is not there".to_owned()))?;
        Ok(Chunk { hash: Hash32(change.hash().0), bytes: change.raw_bytes().to_vec() })
    }

    /// Applies one of the own store's chunks, checked when it came in.
    /// # Errors
    /// [`DocumentError::Refused`]; the document may be half changed and must be dropped.
    pub fn apply_own(&mut self, bytes: &[u8]) -> Result<Applied, DocumentError> {
        let applied = self.apply_inspected(&[&inspect(bytes)?])?;
        Ok(applied.first().copied().unwrap_or(Applied::Known))
    }

    /// Applies many of them, which costs less than one after the other.
    /// # Errors
    /// As [`Self::apply_own`].
    pub fn apply_all_own(&mut self, chunks: &[Vec<u8>]) -> Result<(), DocumentError> {
        let seen = chunks.iter().map(|bytes| inspect(bytes)).collect::<Result<Vec<_>, _>>()?;
        self.apply_inspected(&seen.iter().collect::<Vec<_>>())?;
        Ok(())
    }

    fn apply_inspected(&mut self, chunks: &[&Inspected]) -> Result<Vec<Applied>, ChunkRefusal> {
        guarded(|| {
            let known: Vec<bool> = chunks.iter().map(|seen| self.has(seen)).collect();
            let new = chunks.iter().zip(&known).filter(|(_, known)| !**known);
            let changes: Vec<Change> = new.map(|(seen, _)| seen.change.clone()).collect();
            self.inner.apply_changes(changes).map_err(|e| ChunkRefusal::Unreadable(e.to_string()))?;
            // Automerge queues a change whose past is missing and says nothing; only looking tells.
            let became = |(seen, known): (&&Inspected, bool)| match known {
                true => Applied::Known,
                false if self.has(seen) => Applied::New,
                false => Applied::Waiting,
            };
            Ok(chunks.iter().zip(known).map(became).collect())
        })?
    }

    fn has(&self, seen: &Inspected) -> bool {
        self.inner.get_change_meta_by_hash(&automerge::ChangeHash(seen.hash.0)).is_some()
    }

    /// How many entries it has, with those that cannot be read. It takes a look at each.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.inner.length(&self.entries)
    }

    /// How many operations it is made of: one for each entry, one for each character of the notes. It is known without
    /// a look at them.
    #[must_use]
    pub fn operations(&self) -> usize {
        usize::try_from(self.inner.stats().num_ops).unwrap_or(usize::MAX)
    }

    /// Counters of the entries that `actor` wrote.
    fn keys_of(&self, actor: &Actor) -> BTreeSet<u32> {
        self.inner
            .keys(&self.entries)
            .filter_map(|key| key.parse::<EntryKey>().ok())
            .filter(|key| key.actor == *actor)
            .map(|key| key.n)
            .collect()
    }

    /// Every entry that can be read as `T`, and the keys of those that cannot.
    ///
    /// An entry of a kind that this version does not know cannot be read; it stays in the document.
    #[must_use]
    pub fn entries<T: DeserializeOwned>(&self) -> (BTreeMap<EntryKey, Entry<T>>, Vec<String>) {
        let mut read = BTreeMap::new();
        let mut unread = Vec::new();
        for item in self.inner.map_range(&self.entries, ..) {
            let text = match item.value {
                automerge::ValueRef::Scalar(automerge::ScalarValueRef::Str(text)) => text.to_string(),
                _ => String::new(),
            };
            match (item.key.parse::<EntryKey>(), serde_json::from_str::<Entry<T>>(&text)) {
                (Ok(key), Ok(entry)) => {
                    read.insert(key, entry);
                }
                _ => unread.push(item.key.to_string()),
            }
        }
        (read, unread)
    }

    /// The notes, all writers' paragraphs together.
    #[must_use]
    pub fn notes(&self) -> String {
        self.inner.text(&self.notes).unwrap_or_default()
    }
}

/// What stands under a key of the document's root, if it is of that kind.
fn container(inner: &Automerge, key: &str, kind: ObjType) -> Option<ObjId> {
    match inner.get(automerge::ROOT, key) {
        Ok(Some((Value::Object(found), id))) if found == kind => Some(id),
        _ => None,
    }
}

/// Of `chunks`, each after those it depends on, those that are neither one of `heads` nor before one.
/// # Errors
/// [`DocumentError::Refused`] if one cannot be read.
pub fn beyond(chunks: Vec<Chunk>, heads: &[Hash32]) -> Result<Vec<Chunk>, DocumentError> {
    let mut known: BTreeSet<Hash32> = heads.iter().copied().collect();
    let mut missing = Vec::new();
    for chunk in chunks.into_iter().rev() {
        if known.contains(&chunk.hash) {
            known.extend(inspect(&chunk.bytes)?.deps);
        } else {
            missing.push(chunk);
        }
    }
    missing.reverse();
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_genesis() -> Vec<u8> {
        let mut inner = Automerge::new().with_actor(ActorId::from(b"genesis".as_slice()));
        let mut tx = inner.transaction();
        tx.put_object(automerge::ROOT, ENTRIES, ObjType::Map).unwrap();
        tx.put_object(automerge::ROOT, NOTES, ObjType::Text).unwrap();
        tx.commit_with(CommitOptions::default().with_time(0));
        inner.get_last_local_change().unwrap().raw_bytes().to_vec()
    }

    #[test]
    fn the_first_change_is_the_one_that_stored_documents_have() {
        assert_eq!(GENESIS, make_genesis());
    }
}
