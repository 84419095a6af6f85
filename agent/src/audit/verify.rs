//! The verifier: takes the records of a chain one by one, as a store holds them.
//!
//! What it finds, whoever changed the store without the device's key: a record that was edited, removed
//! in the middle, put elsewhere or put twice. With the device's key one can also write a whole tail anew;
//! that, and a tail that was cut off, show against an anchor and against nothing else. So the verdict
//! says through which record the chain is anchored and how many records come after it.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{ChainHead, DecisionRecord},
    id::{DecisionId, DeviceId, Hash32, SiteId},
    seal::{PublicKey, Sealed},
};
use serde::Serialize;

use crate::store::DecisionRow;

/// Who is to have signed.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The device's public key.
    pub device: PublicKey,
    /// The hub's, for anchors; without it no anchor counts.
    pub hub: Option<PublicKey>,
}

/// One record as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The row.
    pub row: DecisionRow,
    /// Whether the row matches its own checksum.
    pub checksum_holds: bool,
}

/// One receipt of the hub for a head of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where it is from, for people: `anchor 3 of the store`, or the name of a file.
    pub from: String,
    /// The receipt.
    pub sealed: Sealed,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Epoch of the chain.
    pub epoch: u32,
    /// Place in it; 0 for the epoch as a whole.
    pub position: u64,
    /// What is wrong, for people.
    pub what: String,
}

/// Records that went when an older copy of the store was put in place. They are at the hub only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Epoch and place of the last record that the older copy held.
    pub after: (u32, u64),
    /// Epoch and place of the last record that the hub knew.
    pub through: (u32, u64),
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// Records looked at.
    pub records: u64,
    /// Anchors whose signature is the hub's and whose record is here with the same hash.
    pub anchors: u64,
    /// Anchors that could not be checked, for want of the hub's key.
    pub anchors_unchecked: u64,
    /// Epoch and place of the last record that an anchor proves; none if no anchor does.
    pub anchored_through: Option<(u32, u64)>,
    /// Records after it: a tail of these may have been cut off or written anew without a trace.
    pub unanchored: u64,
    /// What is at the hub only, because an older copy of the store was put in place.
    pub lost: Vec<Lost>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What one epoch came to.
#[derive(Debug, Clone)]
struct Epoch {
    last: u64,
    hash: Hash32,
}

/// Takes a chain in the order of its store, then says what it came to.
#[derive(Debug)]
pub struct Verifier {
    device: DeviceId,
    site: SiteId,
    keys: Keys,
    /// Heads that the hub receipted, with where each is from, by epoch and place.
    receipted: BTreeMap<(u32, u64), Vec<(Hash32, String)>>,
    epochs: BTreeMap<u32, Epoch>,
    /// Hashes of the records by place: an anchor or the beginning of a later epoch may name any of them.
    hashes: BTreeMap<(u32, u64), Hash32>,
    before: Option<(u32, u64)>,
    verdict: Verdict,
}

impl Verifier {
    /// A verifier of the chain of `device` at `site`, against `anchors`.
    #[must_use]
    pub fn new(device: DeviceId, site: SiteId, keys: Keys, anchors: &[Anchor]) -> Self {
        let mut verifier = Self {
            device,
            site,
            keys,
            receipted: BTreeMap::new(),
            epochs: BTreeMap::new(),
            hashes: BTreeMap::new(),
            before: None,
            verdict: Verdict::default(),
        };
        for anchor in anchors {
            verifier.take_anchor(anchor);
        }
        verifier
    }

    /// Something that the caller found while reading.
    pub fn note(&mut self, epoch: u32, position: u64, what: impl Into<String>) {
        self.verdict.findings.push(Finding { epoch, position, what: what.into() });
    }

    /// The head that `sealed` receipts, if it is the hub's receipt for this chain.
    fn receipt(&mut self, sealed: &Sealed, from: &str, at: (u32, u64)) -> Option<ChainHead> {
        let Some(hub) = self.keys.hub else {
            self.verdict.anchors_unchecked += 1;
            return None;
        };
        match sealed.open::<ChainHead>(&hub) {
            Ok(head) if head.device == self.device => {
                let known = self.receipted.entry((head.epoch, head.position)).or_default();
                known.push((head.hash, from.to_owned()));
                Some(head)
            }
            Ok(head) => {
                self.note(at.0, at.1, format!("{from} is for device {}", head.device));
                None
            }
            Err(e) => {
                self.note(at.0, at.1, format!("{from} is not the hub's: {e}"));
                None
            }
        }
    }

    fn take_anchor(&mut self, anchor: &Anchor) {
        // What it says of itself only tells where to point; nothing rests on it before the signature is checked.
        let said: Option<ChainHead> = anchor.sealed.peek().ok();
        let at = said.map_or((0, 0), |head| (head.epoch, head.position));
        self.receipt(&anchor.sealed, &anchor.from, at);
    }

    /// Takes the next record.
    pub fn take(&mut self, kept: &Kept) {
        let row = &kept.row;
        let (epoch, position) = (row.epoch, row.position);
        self.verdict.records += 1;
        if !kept.checksum_holds {
            self.note(epoch, position, "does not match its checksum");
        }
        let hash = row.sealed.hash();
        if row.hash != hash.to_string() {
            self.note(epoch, position, "has another hash than its text");
        }
        let record = match row.sealed.open::<DecisionRecord>(&self.keys.device) {
            Ok(record) => Some(record),
            Err(e) => {
                self.note(epoch, position, format!("is not the device's: {e}"));
                row.sealed.peek().ok()
            }
        };
        if self.before.is_some_and(|before| before >= (epoch, position)) {
            self.note(epoch, position, "stands twice, or out of order");
        }
        self.before = Some((epoch, position));
        if let Some(record) = &record {
            self.look_at_place(row, record);
            self.look_at_link(epoch, position, record);
        } else {
            self.count_missing(epoch, position);
        }
        self.go_on(epoch, position, hash, record);
    }

    fn look_at_place(&mut self, row: &DecisionRow, record: &DecisionRecord) {
        let (epoch, position) = (row.epoch, row.position);
        if record.device != self.device || record.site != self.site {
            self.note(epoch, position, format!("is of {} at {}", record.device, record.site));
        }
        let name = DecisionId::of(&self.device, epoch, position);
        if record.id != name || row.id != name.as_str() || (record.epoch, record.position) != (epoch, position) {
            self.note(epoch, position, format!("holds the text of {}", record.id));
        }
        if !record.is_founded() {
            self.note(epoch, position, "does not say what came before its epoch, or says it out of place");
        }
    }

    fn look_at_link(&mut self, epoch: u32, position: u64, record: &DecisionRecord) {
        self.count_missing(epoch, position);
        let (last, hash) = self.epochs.get(&epoch).map_or((0, Hash32::ZERO), |e| (e.last, e.hash));
        if position == last + 1 && record.previous != hash {
            self.note(epoch, position, "does not follow the record before it");
        }
    }

    fn count_missing(&mut self, epoch: u32, position: u64) {
        let last = self.epochs.get(&epoch).map_or(0, |e| e.last);
        if position > last + 1 {
            let what = match position - last - 1 {
                1 => format!("record {} is missing before it", last + 1),
                _ => format!("records {} to {} are missing before it", last + 1, position - 1),
            };
            self.note(epoch, position, what);
        }
    }

    fn go_on(&mut self, epoch: u32, position: u64, hash: Hash32, record: Option<DecisionRecord>) {
        if let Some(said) = record.and_then(|r| r.begins).filter(|_| position == 1) {
            let from = format!("the beginning of epoch {epoch}");
            let known = said.known.as_ref().and_then(|sealed| self.receipt(sealed, &from, (epoch, 1)));
            self.look_at_beginning(epoch, &said.held, known.as_ref());
        }
        self.hashes.insert((epoch, position), hash);
        self.epochs.insert(epoch, Epoch { last: position, hash });
    }

    /// An epoch ends where the next one says that it ended.
    fn look_at_beginning(&mut self, epoch: u32, held: &ChainHead, known: Option<&ChainHead>) {
        if held.device != self.device || held.epoch >= epoch {
            self.note(epoch, 1, format!("names epoch {} of {} as what came before", held.epoch, held.device));
            return;
        }
        let end = self.epochs.range(..epoch).next_back().map(|(e, end)| (*e, end.last, end.hash));
        let agrees = match end {
            None => held.position == 0,
            Some((e, last, hash)) => (e, last, hash) == (held.epoch, held.position, held.hash),
        };
        if !agrees {
            let here = end.map_or_else(|| "none".to_owned(), |(e, last, _)| format!("record {last} of epoch {e}"));
            let what = format!(
                "says that the chain had ended with record {} of epoch {}; the last one here is {here}, or another text",
                held.position, held.epoch
            );
            self.note(epoch, 1, what);
        }
        if let Some(known) = known {
            let (after, through) = ((held.epoch, held.position), (known.epoch, known.position));
            if after < through {
                self.verdict.lost.push(Lost { after, through });
            }
        }
    }

    /// What the chain came to.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        let receipted = std::mem::take(&mut self.receipted);
        for ((epoch, position), heads) in receipted {
            for (hash, from) in heads {
                match self.hashes.get(&(epoch, position)) {
                    Some(here) if *here == hash => {
                        self.verdict.anchors += 1;
                        self.verdict.anchored_through = self.verdict.anchored_through.max(Some((epoch, position)));
                    }
                    Some(_) => self.note(epoch, position, format!("is another one than the hub receipted ({from})")),
                    None if self.is_lost(epoch, position) => {}
                    None => {
                        let last = self.epochs.get(&epoch).map_or(0, |e| e.last);
                        let what = if last < position {
                            format!(
                                "was receipted by the hub ({from}), and the epoch ends with record {last}: its tail is cut off"
                            )
                        } else {
                            format!("was receipted by the hub ({from}) and is missing")
                        };
                        self.note(epoch, position, what);
                    }
                }
            }
        }
        self.verdict.unanchored = self.count_unanchored();
        self.verdict
    }

    fn is_lost(&self, epoch: u32, position: u64) -> bool {
        self.verdict.lost.iter().any(|lost| lost.after < (epoch, position) && (epoch, position) <= lost.through)
    }

    fn count_unanchored(&self) -> u64 {
        let Some((epoch, position)) = self.verdict.anchored_through else { return self.verdict.records };
        let later: u64 = self.epochs.range(epoch + 1..).map(|(_, e)| e.last).sum();
        self.epochs.get(&epoch).map_or(0, |e| e.last.saturating_sub(position)).saturating_add(later)
    }
}
