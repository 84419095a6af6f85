//! What comes from outside is let into a document only if it proves harmless.
//!
//! In: chunks that were looked at byte by byte, or a whole document. Out: the document with them in it, or why not.

use std::collections::BTreeMap;

use automerge::{
    ActorId, Automerge, Change, ObjType, ReadDoc, ScalarValue,
    legacy::{Key, Op, OpType},
    transaction::{CommitOptions, Transactable},
};

use super::{
    super::{
        actor::Actor,
        entry::EntryKey,
        gate::{ChunkRefusal, Inspected, guarded},
    },
    Applied, Document, DocumentError, ENTRIES, GENESIS, NOTES, container,
};

/// Counter and actor of the operation that wrote each entry, by the entry's key.
type Writers = BTreeMap<String, (u64, Vec<u8>)>;

/// More entries than any writer of ours puts into one change; spelt out, each has a key of its own.
const ENTRIES_MAX: usize = 64;
/// More operations than an honest document ever has. Beyond, Automerge's own counters come near their ends.
const OPS_MAX: u64 = 1 << 24;
/// Seconds of a change's time that are taken as they are: to the year 9999.
const TIME_S: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// What a change says, if all it does is to put texts under its writer's own keys.
struct SaidEntries {
    time_s: i64,
    entries: Vec<(String, String)>,
}

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
    pub fn admit(&mut self, inspected: &Inspected) -> Result<Applied, DocumentError> {
        let (admitted, applied) = guarded(|| self.clone())?.admitting(&[inspected])?;
        *self = admitted;
        Ok(applied.first().copied().unwrap_or(Applied::Known))
    }

    /// The document with chunks from outside in it, and what became of each, if all together prove harmless: no panic, no
    /// entry rewritten or written in another's name, and the document saves and loads again.
    /// # Errors
    /// [`DocumentError::Refused`]: at least one must not be let in. Alone, others of them may be.
    pub fn admitting(mut self, chunks: &[&Inspected]) -> Result<(Self, Vec<Applied>), DocumentError> {
        let mut applied = Vec::with_capacity(chunks.len());
        let mut is_to_be_proved = false;
        for chunk in chunks {
            if self.writes_the_same(chunk)? {
                applied.push(Applied::New);
                continue;
            }
            let before = guarded(|| self.writers())?;
            let became = self.apply_inspected(std::slice::from_ref(chunk))?;
            // After each of them: what one writes, the next must not undo.
            guarded(|| self.only_added_to(&before))??;
            is_to_be_proved |= became.contains(&Applied::New);
            applied.extend(became);
        }
        if is_to_be_proved {
            // Once for all: the whole past is in what is saved, so a change that does not load again never will.
            guarded(|| self.survives())??;
        }
        Ok((self, applied))
    }

    /// The document with what `fold` reads of it: the last part of the trial of what came from outside, and how a
    /// document is read that another program let in. After a panic the document is gone, as nobody may use it any more.
    /// # Errors
    /// [`ChunkRefusal::FoldPanicked`].
    pub fn folded_by<T>(self, fold: impl FnOnce(&Self) -> T) -> Result<(Self, T), ChunkRefusal> {
        let folded = guarded(|| fold(&self)).map_err(|_| ChunkRefusal::FoldPanicked)?;
        Ok((self, folded))
    }

    /// Writes what a chunk says it wrote, in its writer's name, if that makes the very same chunk: then it is what an
    /// honest writer who knew this document would have sent, and needs no other proof. Says whether it is written; else
    /// the document is as it was.
    fn writes_the_same(&mut self, seen: &Inspected) -> Result<bool, ChunkRefusal> {
        // A writer builds on all it knows; and what is written here would not wake what waits for it.
        let builds_on_all = self.heads().iter().all(|head| seen.deps.contains(head)) && self.missing().is_empty();
        let Some(actor) = seen.actor().filter(|_| builds_on_all) else { return Ok(false) };
        guarded(|| {
            let Some(said) = said_entries(&seen.change, &actor) else { return false };
            let before = self.inner.clone();
            self.inner.set_actor(ActorId::from(seen.actor.clone()));
            let mut tx = self.inner.transaction();
            let written = said.entries.iter().try_for_each(|(key, text)| tx.put(&self.entries, key, text.as_str()));
            let (hash, _) = tx.commit_with(CommitOptions::default().with_time(said.time_s));
            let is_same = written.is_ok() && hash.is_some_and(|hash| hash.0 == seen.hash.0);
            if !is_same {
                self.inner = before;
            }
            is_same
        })
    }

    /// Whether entries of `before` are as they were, each other one stands under its own writer's key, and what holds them
    /// is what held them.
    fn only_added_to(&self, before: &Writers) -> Result<(), ChunkRefusal> {
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
        Ok(())
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

/// Reads what a change says; nothing if it does anything else than put texts under the keys of `actor`.
fn said_entries(change: &Change, actor: &Actor) -> Option<SaidEntries> {
    let is_usual = change.len() <= ENTRIES_MAX && TIME_S.contains(&change.timestamp()) && change.max_op() < OPS_MAX;
    let said = is_usual.then(|| change.decode())?;
    let put = |op: Op| match (op.key, op.action) {
        // What stands already is never written over.
        (Key::Map(key), OpType::Put(ScalarValue::Str(text))) if op.pred.is_empty() => {
            let is_own = key.parse::<EntryKey>().is_ok_and(|key| key.actor == *actor);
            is_own.then(|| (key.to_string(), text.to_string()))
        }
        _ => None,
    };
    let entries = said.operations.into_iter().map(put).collect::<Option<Vec<_>>>()?;
    Some(SaidEntries { time_s: said.time, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{document::gate::inspect, time::UtcMs};

    #[test]
    fn who_puts_other_entries_in_the_place_of_these_is_refused_though_the_next_change_takes_them_away() {
        let actor: Actor = "site/D1/gw-1/1".parse().unwrap();
        let mut forger = Document::new().unwrap();
        let replaces =
            forger.write(&actor, UtcMs(0), |tx| tx.put_object(automerge::ROOT, ENTRIES, ObjType::Map).map(drop));
        let takes_away = forger.write(&actor, UtcMs(0), |tx| tx.delete(automerge::ROOT, ENTRIES));
        let (replaces, takes_away) = (replaces.unwrap().bytes, takes_away.unwrap().bytes);
        let (first, second) = (inspect(&replaces).unwrap(), inspect(&takes_away).unwrap());
        let refused = Document::new().unwrap().admitting(&[&first, &second]).unwrap_err();
        // In these words the first is refused; what comes of both has others.
        assert!(refused.to_string().ends_with("entries or notes were replaced"), "{refused}");
        assert!(Document::new().unwrap().admitting(&[&first]).is_err());
    }

    fn actor(text: &str) -> Actor {
        text.parse().unwrap()
    }

    fn puts(to: &mut Document, actor: &Actor, texts: &[&str]) -> Vec<u8> {
        let (map, first) = (to.entries.clone(), to.keys_of(actor).len() as u32 + 1);
        let keys = (first..).map(|n| EntryKey { actor: actor.clone(), n }.to_string());
        let written = to.write(actor, UtcMs(1_800_000_000_999), |tx| {
            keys.zip(texts).try_for_each(|(key, text)| tx.put(&map, key, *text))
        });
        written.unwrap().bytes
    }

    #[test]
    fn a_fold_that_panics_is_a_refusal_and_one_that_does_not_leaves_the_document_as_it_was() {
        let mut document = Document::new().unwrap();
        puts(&mut document, &actor("site/D1/gw-1/1"), &["one"]);
        let heads = document.heads();
        let broken: fn(&Document) -> usize = |_| panic!("a planted fold");
        let refused = document.clone().folded_by(broken).unwrap_err();
        assert_eq!(refused, ChunkRefusal::FoldPanicked);
        let (document, entries) = document.folded_by(Document::entry_count).unwrap();
        assert_eq!((document.heads(), entries), (heads, 1));
        // The control: nothing else catches it.
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broken(&document))).is_err());
    }

    #[test]
    fn what_our_own_writer_wrote_is_let_in_by_writing_it_once_more() {
        let (depot, vehicle) = (actor("site/D1/gw-1/1"), actor("vehicle/D1/unit-7/3"));
        let mut theirs = Document::new().unwrap();
        let mut ours = Document::new().unwrap();
        let long = "x".repeat(20_000);
        for (writer, texts) in [
            (&depot, vec!["{\"says\":\"opened\"}", "two", "three"]),
            (&vehicle, vec!["", "größer, 日本, \u{0}"]),
            (&depot, vec![long.as_str()]),
            (&vehicle, vec!["last"]),
        ] {
            let bytes = puts(&mut theirs, writer, &texts);
            let seen = inspect(&bytes).unwrap();
            assert!(ours.writes_the_same(&seen).unwrap(), "{texts:?}");
            assert_eq!(ours.heads(), theirs.heads());
            assert_eq!(ours.save(), theirs.save());
        }
        ours.survives().unwrap();
    }

    #[test]
    fn what_is_anything_else_is_not_written_and_leaves_the_document_as_it_was() {
        let depot = actor("site/D1/gw-1/1");
        let mut known = Document::new().unwrap();
        puts(&mut known, &depot, &["one"]);
        type Odd<'a> = Box<dyn Fn(&mut Document) -> Vec<u8> + 'a>;
        let by = |work: fn(&Document, &mut automerge::transaction::Transaction<'_>)| -> Odd<'_> {
            let depot = &depot;
            Box::new(move |document| {
                let before = document.clone();
                let written = document.write(depot, UtcMs(0), |tx| {
                    work(&before, tx);
                    Ok(())
                });
                written.unwrap().bytes
            })
        };
        let committed = |options: fn() -> CommitOptions| -> Odd<'_> {
            let depot = &depot;
            Box::new(move |document| {
                document.inner.set_actor(ActorId::from(depot.to_string().into_bytes()));
                let map = document.entries.clone();
                let mut tx = document.inner.transaction();
                tx.put(&map, EntryKey { actor: depot.clone(), n: 2 }.to_string(), "two").unwrap();
                tx.commit_with(options());
                document.inner.get_last_local_change().unwrap().raw_bytes().to_vec()
            })
        };
        let odd: Vec<(&str, Odd<'_>)> = vec![
            ("a note", by(|doc, tx| tx.splice_text(&doc.notes, 0, 0, "note").unwrap())),
            ("a number", by(|doc, tx| tx.put(&doc.entries, "site/D1/gw-1/1-2", 7).unwrap())),
            ("another's key", by(|doc, tx| tx.put(&doc.entries, "vehicle/D1/unit-7/3-1", "two").unwrap())),
            ("no key", by(|doc, tx| tx.put(&doc.entries, "key", "two").unwrap())),
            ("at the root", by(|_, tx| tx.put(automerge::ROOT, "site/D1/gw-1/1-2", "two").unwrap())),
            ("written over", by(|doc, tx| tx.put(&doc.entries, "site/D1/gw-1/1-1", "two").unwrap())),
            ("deleted", by(|doc, tx| tx.delete(&doc.entries, "site/D1/gw-1/1-1").unwrap())),
            (
                "a container",
                by(|doc, tx| {
                    tx.put_object(&doc.entries, "site/D1/gw-1/1-2", ObjType::Map).unwrap();
                }),
            ),
            ("a message", committed(|| CommitOptions::default().with_time(0).with_message("m"))),
            ("before 1970", committed(|| CommitOptions::default().with_time(-1))),
            ("at the end of time", committed(|| CommitOptions::default().with_time(i64::MAX))),
        ];
        for (what, make) in odd {
            let bytes = make(&mut known.clone());
            let (seen, mut ours) = (inspect(&bytes).unwrap(), known.clone());
            assert!(!ours.writes_the_same(&seen).unwrap(), "{what}");
            assert_eq!(ours.save(), known.save(), "{what}");
        }
    }

    #[test]
    fn what_did_not_know_all_of_the_document_and_what_others_wait_for_is_merged() {
        let (depot, vehicle) = (actor("site/D1/gw-1/1"), actor("vehicle/D1/unit-7/3"));
        let mut known = Document::new().unwrap();
        puts(&mut known, &depot, &["one"]);
        let mut elsewhere = known.clone();
        let first = puts(&mut elsewhere, &vehicle, &["unseen"]);
        let second = puts(&mut elsewhere, &vehicle, &["after it"]);
        let (seen_first, seen_second) = (inspect(&first).unwrap(), inspect(&second).unwrap());
        let mut ours = known.clone();
        assert_eq!(ours.apply_own(&second).unwrap(), Applied::Waiting);
        assert!(!ours.writes_the_same(&seen_first).unwrap());
        let (ours, applied) = ours.admitting(&[&seen_first, &seen_second]).unwrap();
        assert_eq!(applied, [Applied::New, Applied::Known]);
        assert_eq!(ours.heads(), elsewhere.heads());
        let mut beside = known.clone();
        puts(&mut beside, &depot, &["unknown to the vehicle"]);
        assert!(!beside.writes_the_same(&seen_first).unwrap());
        assert!(beside.admitting(&[&seen_first]).is_ok());
    }

    #[test]
    fn bytes_that_are_not_what_they_say_are_not_written() {
        // The same words in another spelling: the counter begins further on than it had to.
        let depot = actor("site/D1/gw-1/1");
        let mut theirs = Document::new().unwrap();
        let mut said = Change::from_bytes(puts(&mut theirs, &depot, &["one"])).unwrap().decode();
        said.start_op = std::num::NonZeroU64::new(9).unwrap();
        let bytes = Change::from(said).raw_bytes().to_vec();
        let (seen, mut ours) = (inspect(&bytes).unwrap(), Document::new().unwrap());
        assert!(!ours.writes_the_same(&seen).unwrap());
        assert_eq!(ours.save(), Document::new().unwrap().save());
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
            let (one, applied) = Document::new().unwrap().admitting(&[&first]).unwrap();
            assert_eq!(applied, [Applied::New]);
            assert!(one.admitting(&[&second]).is_err());
            assert!(Document::new().unwrap().admitting(&[&first, &second]).is_err());
        }
    }
}
