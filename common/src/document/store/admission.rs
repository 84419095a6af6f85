//! What comes from outside is let into a document only if it proves harmless.
//!
//! In: chunks that were looked at byte by byte, or a whole document. Out: the document with them in it, or why not.

use std::collections::BTreeMap;

use automerge::{Automerge, ObjType, ReadDoc};

use super::{
    super::{
        entry::EntryKey,
        gate::{ChunkRefusal, Inspected, guarded},
    },
    Applied, Document, DocumentError, ENTRIES, GENESIS, NOTES, container,
};

/// Counter and actor of the operation that wrote each entry, by the entry's key.
type Writers = BTreeMap<String, (u64, Vec<u8>)>;

impl Document {
    /// Reads a whole document from outside: no panic, the first change of every document in it, each entry under its
    /// own writer's key.
    /// # Errors
    /// [`DocumentError::Refused`] or [`DocumentError::Damaged`]: nothing of it may be used.
    pub fn admit_whole(bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = Self::load(bytes)?;
        let has_first = guarded(|| document.inner.get_changes(&[]).iter().any(|c| c.raw_bytes() == GENESIS))?;
        if !has_first {
            return Err(DocumentError::Damaged("it does not begin as every document does".to_owned()));
        }
        let empty = Self::new()?;
        guarded(|| document.only_added_to(&empty.writers()))??;
        guarded(|| document.survives())??;
        Ok(document)
    }

    /// Applies a chunk from outside if it proves harmless, as [`Self::admitting`] says.
    /// # Errors
    /// [`DocumentError::Refused`]; the document is as it was.
    pub fn admit(&mut self, bytes: &[u8], inspected: &Inspected) -> Result<Applied, DocumentError> {
        let (admitted, applied) = guarded(|| self.clone())?.admitting(&[(bytes, inspected)])?;
        *self = admitted;
        Ok(applied.first().copied().unwrap_or(Applied::Known))
    }

    /// The document with chunks from outside in it, and what became of each, if all together prove harmless: no panic, no
    /// entry rewritten or written in another's name, and the document saves and loads again.
    /// # Errors
    /// [`DocumentError::Refused`]: at least one must not be let in. Alone, others of them may be.
    pub fn admitting(mut self, chunks: &[(&[u8], &Inspected)]) -> Result<(Self, Vec<Applied>), DocumentError> {
        let mut writers = guarded(|| self.writers())?;
        let mut applied = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            applied.extend(self.apply_inspected(std::slice::from_ref(chunk))?);
            // After each of them: what one writes, the next must not undo.
            writers = guarded(|| self.only_added_to(&writers))??;
        }
        if applied.contains(&Applied::New) {
            // Once for all: the whole past is in what is saved, so a change that does not load again never will.
            guarded(|| self.survives())??;
        }
        Ok((self, applied))
    }

    /// Who wrote its entries, if those of `before` are as they were, each other one stands under its own writer's key, and
    /// what holds them is what held them.
    fn only_added_to(&self, before: &Writers) -> Result<Writers, ChunkRefusal> {
        let refuse = |why: &str| Err(ChunkRefusal::DoesNotSurvive(why.to_owned()));
        if container(&self.inner, ENTRIES, ObjType::Map).as_ref() != Some(&self.entries)
            || container(&self.inner, NOTES, ObjType::Text).as_ref() != Some(&self.notes)
        {
            return refuse("entries or notes were replaced");
        }
        let written = self.writers();
        for (key, writer) in &written {
            match before.get(key) {
                Some(earlier) if earlier != writer => return refuse("an entry was written over"),
                Some(_) => {}
                None => {
                    let own = key.parse::<EntryKey>().is_ok_and(|k| k.actor.to_string().as_bytes() == writer.1);
                    if !own {
                        return refuse("an entry stands under another writer's key");
                    }
                }
            }
        }
        if before.keys().any(|key| !written.contains_key(key)) {
            return refuse("an entry was deleted");
        }
        Ok(written)
    }

    /// Whether the document saves and loads again as the same.
    fn survives(&self) -> Result<(), ChunkRefusal> {
        let refuse = |why: &str| Err(ChunkRefusal::DoesNotSurvive(why.to_owned()));
        let reloaded = Automerge::load(&self.save()).map_err(|e| ChunkRefusal::DoesNotSurvive(e.to_string()))?;
        if reloaded.get_heads() != self.inner.get_heads() {
            return refuse("other heads after loading");
        }
        match Self::over(reloaded) {
            Ok(document) if document.entries == self.entries && document.notes == self.notes => Ok(()),
            _ => refuse("other entries or notes after loading"),
        }
    }

    /// For each key of `entries` the operation that wrote it: counter and actor.
    fn writers(&self) -> Writers {
        self.inner
            .map_range(&self.entries, ..)
            .map(|item| {
                let writer = match item.id() {
                    automerge::ObjId::Id(counter, actor, _) => (counter, actor.to_bytes().to_vec()),
                    automerge::ObjId::Root => (0, Vec::new()),
                };
                (item.key.to_string(), writer)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use automerge::transaction::Transactable;

    use super::*;
    use crate::{
        document::{Actor, gate::inspect},
        time::UtcMs,
    };

    #[test]
    fn who_puts_other_entries_in_the_place_of_these_is_refused_though_the_next_change_takes_them_away() {
        let actor: Actor = "site/D1/gw-1/1".parse().unwrap();
        let mut forger = Document::new().unwrap();
        let replaces =
            forger.write(&actor, UtcMs(0), |tx| tx.put_object(automerge::ROOT, ENTRIES, ObjType::Map).map(drop));
        let takes_away = forger.write(&actor, UtcMs(0), |tx| tx.delete(automerge::ROOT, ENTRIES));
        let (replaces, takes_away) = (replaces.unwrap().bytes, takes_away.unwrap().bytes);
        let (first, second) = (inspect(&replaces).unwrap(), inspect(&takes_away).unwrap());
        let refused = Document::new().unwrap().admitting(&[(&replaces, &first), (&takes_away, &second)]).unwrap_err();
        // In these words the first is refused; what comes of both has others.
        assert!(refused.to_string().ends_with("entries or notes were replaced"), "{refused}");
        assert!(Document::new().unwrap().admitting(&[(&replaces, &first)]).is_err());
    }

    #[test]
    fn a_change_that_undoes_what_one_before_it_wrote_is_refused_with_it_as_it_is_alone() {
        let actor: Actor = "site/D1/gw-1/1".parse().unwrap();
        let mut forger = Document::new().unwrap();
        let map = forger.entries.clone();
        let key = EntryKey { actor: actor.clone(), n: 1 }.to_string();
        let wrote = forger.write(&actor, UtcMs(0), |tx| tx.put(&map, &key, "one")).unwrap();
        for undo in [true, false] {
            let mut forger = forger.clone();
            let undoes = forger.write(&actor, UtcMs(0), |tx| match undo {
                true => tx.delete(&map, key.as_str()),
                false => tx.put(&map, &key, "another"),
            });
            let (wrote, undoes) = (&wrote.bytes, &undoes.unwrap().bytes);
            let (first, second) = (inspect(wrote).unwrap(), inspect(undoes).unwrap());
            let (one, applied) = Document::new().unwrap().admitting(&[(wrote, &first)]).unwrap();
            assert_eq!(applied, [Applied::New]);
            assert!(one.admitting(&[(undoes, &second)]).is_err());
            assert!(Document::new().unwrap().admitting(&[(wrote, &first), (undoes, &second)]).is_err());
        }
    }
}
