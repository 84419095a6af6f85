//! How both sides become alike again when a feed alone cannot do it: after a restore, for a new device, and now and
//! then to make sure. Sans-IO, the device's end; the hub answers each question from its store.
//!
//! The device asks, the hub answers, one question at a time: first what proves that the hub's store is an older copy
//! and which leases are held, then one hash over all documents, and where that differs their heads, a stretch at a
//! time. What the device lacks comes with the answer, whole documents as snapshots; what the hub lacks is given back,
//! changes of others with the page in which the hub once sent them. Everything may break off anywhere and begin anew.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    cursor::LedgerEpoch,
    message::{Downward, FeedItem},
    page::Attested,
    session::BATCH_MAX_BYTES,
};
use crate::{
    document::Chunk,
    id::{DocumentId, DocumentKind, Hash32},
    seal::Sealed,
};

/// Most documents in one question about heads.
pub const HEADS_MAX: usize = 2_000;
/// Most changes given back at once.
pub const GIVE_MAX: usize = 200;
/// Most pages that prove them.
pub const PAGES_MAX: usize = 32;
/// Leases in one question: the one that is held, and those of which the statement may be forgotten.
pub const LEASES_MAX: usize = 512;

/// The heads of a document.
pub type Heads = (DocumentId, Vec<Hash32>);

/// What a device asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repair {
    /// Do you know this of before you were started? Answered by [`Repaired::Ledger`].
    Prove {
        /// The [`super::PageDigest`] of the newest page that is kept.
        page: Sealed,
        /// Which life of this device's outbox.
        outbox_epoch: u64,
        /// How far the hub said that it had taken it.
        taken_through: u64,
    },
    /// These leases are held here, each as the hub signed it. Answered by [`Repaired::Noted`].
    Leases(Vec<Sealed>),
    /// Are we alike in what somebody still works on? Answered by [`Repaired::Alike`].
    Digest {
        /// How many documents there are that are not over.
        documents: u64,
        /// [`digest`] over their heads.
        heads: Hash32,
    },
    /// These are all documents held here between two places. What is not held here and long over is not sent again to a
    /// device that had it: it forgets it. One that begins gets it. Answered by [`Repaired::Heads`].
    Heads {
        /// Behind which document the stretch begins; at the first if none.
        after: Option<DocumentId>,
        /// With which document it ends; with the last if none.
        through: Option<DocumentId>,
        /// By rising id.
        documents: Vec<Heads>,
    },
    /// You lack these changes. Answered by [`Repaired::Given`].
    Give {
        /// The pages that prove changes of others.
        pages: Vec<Attested>,
        /// The changes, each after those it builds on.
        changes: Vec<Given>,
    },
}

/// A change given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Of which document.
    pub document: DocumentId,
    /// Case or dispatch.
    pub kind: DocumentKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Which of the pages proves it; none for one of the device's own.
    pub page: Option<u32>,
}

/// What the hub answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repaired {
    /// Which life of the ledger it is, now that the proof was looked at.
    Ledger(LedgerEpoch),
    /// Taken note of.
    Noted,
    /// Whether both hold the same; none if the hub cannot say now.
    Alike(Option<bool>),
    /// What differs.
    Heads {
        /// Each document that differs.
        differ: Vec<Differs>,
        /// Through which document this speaks; to the end of what was asked if none.
        through: Option<DocumentId>,
        /// The feed's last position that this answer includes.
        head: u64,
    },
    /// What was not let in: places in what was given, and why.
    Given(Vec<(u32, String)>),
}

/// A document that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// Which.
    pub document: DocumentId,
    /// The hub's heads; empty if it has none of it.
    pub heads: Vec<Hash32>,
    /// What the device lacks.
    pub lacks: Vec<Downward>,
}

/// One hash over the heads of documents, which come by rising id.
#[must_use]
pub fn digest<'a>(documents: impl IntoIterator<Item = &'a Heads>) -> Hash32 {
    let mut bytes = Vec::new();
    for (document, heads) in documents {
        bytes.extend_from_slice(&document.0);
        heads.iter().for_each(|head| bytes.extend_from_slice(&head.0));
    }
    Hash32::of(&bytes)
}

/// What a comparison reads of the device's store.
pub trait Local {
    /// Why it cannot be read.
    type Error;

    /// Up to `limit` documents behind `after`, with their heads, by rising id.
    /// # Errors
    /// Whatever the store says.
    fn heads(&self, after: Option<DocumentId>, limit: usize) -> Result<Vec<Heads>, Self::Error>;

    /// The changes of a document that somebody with `heads` lacks, each after those it builds on, with its kind.
    /// # Errors
    /// Whatever the store says.
    fn beyond(&self, document: DocumentId, heads: &[Hash32])
    -> Result<Option<(DocumentKind, Vec<Chunk>)>, Self::Error>;

    /// The page in which the hub sent a change; none for what this device wrote itself.
    /// # Errors
    /// Whatever the store says.
    fn page_of(&self, document: &DocumentId, change: &Hash32) -> Result<Option<Attested>, Self::Error>;
}

/// What comes next in a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask this, and hand the answer to [`Comparison::answered`].
    Ask(Repair),
    /// Both are alike, as of this position of the hub's feed; 0 where it was not told.
    Done(u64),
}

/// An answer that does not fit what was asked; the comparison is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub's answer does not fit what was asked")]
pub struct Unfitting;

/// Most answers in a row about one document. It has bounds far below that; what is given in vain must come to an end.
const PARTS_MAX: usize = 64;

/// A comparison under way, at the device.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Asked before any heads are.
    first: VecDeque<Repair>,
    /// What the answer to a proof said.
    ledger: Option<LedgerEpoch>,
    after: Option<DocumentId>,
    asked_through: Option<DocumentId>,
    /// Answers in a row that began in the same place.
    parts: usize,
    /// The position of the first answer: what came later may be missing from it.
    head: Option<u64>,
    is_over: bool,
    to_give: VecDeque<(DocumentId, Vec<Hash32>)>,
    giving: VecDeque<Given>,
    pages: Vec<Attested>,
}

impl Comparison {
    /// One that begins with the heads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One after the hub's ledger began another life: the leases that are held here come before the heads.
    #[must_use]
    pub fn anew(leases: Vec<Sealed>) -> Self {
        // That none is held has to be told as well: until then the hub lends nothing.
        Self { first: VecDeque::from([Repair::Leases(leases)]), ..Self::default() }
    }

    /// One that compares heads only if one hash over all of them differs.
    #[must_use]
    pub fn check(documents: u64, heads: Hash32) -> Self {
        Self { first: VecDeque::from([Repair::Digest { documents, heads }]), ..Self::default() }
    }

    /// No comparison: only the question whether the hub, started anew, knows what it knew before: the newest page that is
    /// kept, and how far it had taken the outbox.
    #[must_use]
    pub fn prove(page: Sealed, outbox_epoch: u64, taken_through: u64) -> Self {
        let first = VecDeque::from([Repair::Prove { page, outbox_epoch, taken_through }]);
        Self { first, is_over: true, ..Self::default() }
    }

    /// Which life of the ledger it is, once the hub has looked at a proof.
    #[must_use]
    pub fn ledger(&self) -> Option<LedgerEpoch> {
        self.ledger
    }

    /// What to ask next.
    /// # Errors
    /// What the store says.
    pub fn next<L: Local>(&mut self, local: &L) -> Result<Step, L::Error> {
        if let Some(asked) = self.first.pop_front() {
            return Ok(Step::Ask(asked));
        }
        while self.giving.is_empty()
            && let Some((document, heads)) = self.to_give.pop_front()
        {
            self.gather(local, document, &heads)?;
        }
        if !self.giving.is_empty() {
            return Ok(Step::Ask(self.give()));
        }
        if self.is_over {
            return Ok(Step::Done(self.head.unwrap_or(0)));
        }
        let documents = local.heads(self.after, HEADS_MAX)?;
        let is_last = documents.len() < HEADS_MAX;
        self.asked_through = if is_last { None } else { documents.last().map(|(id, _)| *id) };
        Ok(Step::Ask(Repair::Heads { after: self.after, through: self.asked_through, documents }))
    }

    /// Takes an answer. Gives what this device lacked: commit it before the next question.
    /// # Errors
    /// [`Unfitting`].
    pub fn answered(&mut self, reply: Repaired) -> Result<Vec<FeedItem>, Unfitting> {
        match reply {
            Repaired::Given(_) | Repaired::Noted => Ok(Vec::new()),
            Repaired::Ledger(ledger) => {
                self.ledger = Some(ledger);
                Ok(Vec::new())
            }
            Repaired::Alike(alike) => {
                self.is_over = alike != Some(false);
                Ok(Vec::new())
            }
            Repaired::Heads { differ, through, head } => {
                self.head.get_or_insert(head);
                let reached = through.or(self.asked_through);
                // Of one document more may come than an answer holds: then the next begins in the same place.
                let stays = reached.is_some() && reached == self.after;
                self.parts = if stays { self.parts + 1 } else { 0 };
                let brings = differ.iter().any(|differs| !differs.lacks.is_empty());
                let goes_back = reached.is_some() && reached < self.after;
                if goes_back || (stays && !brings) || self.parts > PARTS_MAX {
                    return Err(Unfitting);
                }
                self.is_over = reached.is_none();
                self.after = reached;
                let mut items = Vec::new();
                for Differs { document, heads, lacks } in differ {
                    // Of what is new here as a whole nothing can be given back; to read each again takes as long as to take it.
                    if !lacks.iter().any(|says| matches!(says, Downward::Snapshot { .. })) {
                        self.to_give.push_back((document, heads));
                    }
                    items.extend(lacks.into_iter().map(|says| FeedItem { lane: says.usual_lane(), position: 0, says }));
                }
                Ok(items)
            }
        }
    }

    fn gather<L: Local>(&mut self, local: &L, document: DocumentId, heads: &[Hash32]) -> Result<(), L::Error> {
        let Some((kind, chunks)) = local.beyond(document, heads)? else { return Ok(()) };
        for chunk in chunks {
            let page = match local.page_of(&document, &chunk.hash)? {
                None => None,
                Some(page) => {
                    let place = self.pages.iter().position(|known| known.digest == page.digest);
                    let place = place.unwrap_or_else(|| {
                        self.pages.push(page);
                        self.pages.len() - 1
                    });
                    u32::try_from(place).ok()
                }
            };
            self.giving.push_back(Given { document, kind, bytes: chunk.bytes, page });
        }
        Ok(())
    }

    /// As much as one question holds. Pages are numbered anew in it.
    fn give(&mut self) -> Repair {
        let (mut changes, mut pages): (Vec<Given>, Vec<Attested>) = (Vec::new(), Vec::new());
        let mut numbers: Vec<u32> = Vec::new();
        let mut weight = 0;
        while let Some(next) = self.giving.front() {
            let new_page = next.page.filter(|page| !numbers.contains(page));
            let proof = new_page.and_then(|page| self.pages.get(page as usize));
            weight += next.bytes.len() + 32 + proof.map_or(0, |page| 300 + 32 * page.marks.len());
            let is_full = changes.len() >= GIVE_MAX || pages.len() >= PAGES_MAX || weight > BATCH_MAX_BYTES;
            if is_full && !changes.is_empty() {
                break;
            }
            if let (Some(number), Some(proof)) = (new_page, proof) {
                numbers.push(number);
                pages.push(proof.clone());
            }
            let Some(mut given) = self.giving.pop_front() else { break };
            let place = given.page.and_then(|page| numbers.iter().position(|known| *known == page));
            given.page = place.and_then(|place| u32::try_from(place).ok());
            changes.push(given);
        }
        if self.giving.is_empty() {
            self.pages.clear();
        }
        Repair::Give { pages, changes }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use super::*;
    use crate::{
        document::{Actor, Document, beyond},
        seal::PrivateKey,
        time::UtcMs,
    };

    #[derive(Default, Clone)]
    struct Side(BTreeMap<DocumentId, Document>);

    impl Side {
        fn note(&mut self, n: u32, actor: &str, text: &str) {
            let actor: Actor = actor.parse().unwrap();
            let document = self.0.entry(id(n)).or_insert_with(|| Document::new().unwrap());
            document.add_note(&actor, UtcMs(0), text).unwrap();
        }

        fn take(&mut self, document: DocumentId, bytes: &[u8]) {
            self.0.entry(document).or_insert_with(|| Document::new().unwrap()).apply_own(bytes).unwrap();
        }

        fn heads_of(&self) -> Vec<Heads> {
            self.0.iter().map(|(id, d)| (*id, d.heads())).collect()
        }
    }

    fn id(n: u32) -> DocumentId {
        DocumentId::of(DocumentKind::Case, "k", n)
    }

    impl Local for Side {
        type Error = Infallible;

        fn heads(&self, after: Option<DocumentId>, limit: usize) -> Result<Vec<Heads>, Infallible> {
            Ok(self.heads_of().into_iter().filter(|(id, _)| Some(*id) > after).take(limit).collect())
        }

        fn beyond(&self, of: DocumentId, heads: &[Hash32]) -> Result<Option<(DocumentKind, Vec<Chunk>)>, Infallible> {
            Ok(self.0.get(&of).map(|d| (DocumentKind::Case, beyond(d.chunks(), heads).unwrap())))
        }

        fn page_of(&self, _: &DocumentId, change: &Hash32) -> Result<Option<Attested>, Infallible> {
            // Every third change came in a page of the hub's.
            let digest = Sealed::new(&(change.0[1] % 3), &PrivateKey::from_seed([1; 32])).unwrap();
            Ok((change.0[0].is_multiple_of(3)).then(|| Attested { digest, marks: vec![*change] }))
        }
    }

    /// A hub that answers at most two documents at a time.
    fn answer(hub: &mut Side, asked: Repair) -> Repaired {
        match asked {
            Repair::Heads { after, through, documents } => {
                let asked: BTreeMap<DocumentId, Vec<Hash32>> = documents.into_iter().collect();
                let within = |id: &DocumentId| Some(*id) > after && through.is_none_or(|last| *id <= last);
                let mut ids: Vec<DocumentId> =
                    asked.keys().chain(hub.0.keys()).copied().filter(|id| within(id)).collect();
                ids.sort_unstable();
                ids.dedup();
                let is_all = ids.len() <= 2;
                ids.truncate(2);
                let through = if is_all { None } else { ids.last().copied() };
                let differ = ids.into_iter().filter_map(|document| {
                    let theirs = asked.get(&document).cloned().unwrap_or_default();
                    let mine = hub.0.get(&document);
                    let heads = mine.map(Document::heads).unwrap_or_default();
                    let lacks = mine.map_or_else(Vec::new, |d| d.chunks_beyond(&theirs).unwrap());
                    let says = |c: Chunk| Downward::Chunk { document, kind: DocumentKind::Case, bytes: c.bytes };
                    (heads != theirs).then(|| Differs { document, heads, lacks: lacks.into_iter().map(says).collect() })
                });
                Repaired::Heads { differ: differ.collect(), through, head: 9 }
            }
            Repair::Give { pages, changes } => {
                for given in changes {
                    assert!(given.page.is_none_or(|page| (page as usize) < pages.len()));
                    hub.take(given.document, &given.bytes);
                }
                Repaired::Given(Vec::new())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_sides_that_differ_in_every_way_are_alike_after_one_comparison() {
        let mut both = Side::default();
        (0..3).for_each(|n| both.note(n, "hub/hub/hub/1", "both"));
        let (mut device, mut hub) = (both.clone(), both);
        for n in [0, 4, 5, 6] {
            (0..3).for_each(|_| device.note(n, "site/D1/gw-1/1", "the device"));
        }
        for n in [0, 1, 7, 8] {
            hub.note(n, "hub/hub/hub/2", "the hub");
        }
        let mut comparison = Comparison::new();
        for _ in 0..100 {
            match comparison.next(&device).unwrap() {
                Step::Done(head) => {
                    assert_eq!(head, 9);
                    assert_eq!(device.heads_of(), hub.heads_of());
                    assert_eq!(device.0.len(), 8);
                    assert_eq!(digest(&device.heads_of()), digest(&hub.heads_of()));
                    return;
                }
                Step::Ask(asked) => {
                    for item in comparison.answered(answer(&mut hub, asked)).unwrap() {
                        if let Downward::Chunk { document, bytes, .. } = item.says {
                            device.take(document, &bytes);
                        }
                    }
                }
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn heads_are_compared_only_where_the_hash_over_all_differs() {
        let asks = |answer| {
            let mut comparison = Comparison::check(1, Hash32::ZERO);
            assert!(matches!(comparison.next(&Side::default()), Ok(Step::Ask(Repair::Digest { documents: 1, .. }))));
            assert_eq!(comparison.answered(Repaired::Alike(answer)), Ok(Vec::new()));
            matches!(comparison.next(&Side::default()), Ok(Step::Ask(Repair::Heads { .. })))
        };
        assert_eq!([Some(true), Some(false), None].map(asks), [false, true, false]);
    }

    #[test]
    fn an_answer_that_leads_nowhere_ends_the_comparison() {
        let mut comparison = Comparison::new();
        let forward = Repaired::Heads { differ: Vec::new(), through: Some(id(1)), head: 1 };
        assert_eq!(comparison.answered(forward.clone()), Ok(Vec::new()));
        assert_eq!(comparison.answered(forward), Err(Unfitting), "the same place again");
    }

    #[test]
    fn parts_of_one_document_may_come_in_the_same_place_and_not_without_end() {
        let mut comparison = Comparison::new();
        let says = Downward::Chunk { document: id(1), kind: DocumentKind::Case, bytes: vec![1] };
        let part = Differs { document: id(1), heads: Vec::new(), lacks: vec![says] };
        let before = id(1).just_before();
        assert!(before < id(1) && DocumentId([0; 16]).just_before() == DocumentId([0; 16]));
        let answer = || Repaired::Heads { differ: vec![part.clone()], through: Some(before), head: 1 };
        let taken = (0..1_000).take_while(|_| comparison.answered(answer()).is_ok()).count();
        assert_eq!(taken, 1 + PARTS_MAX);
    }
}
