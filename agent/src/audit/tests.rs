//! What the verifier finds, over a chain of two epochs that was tampered with in every way we could think of.

use gatehouse_common::{
    decision::{Beginning, ChainHead, DecidedBy, DecisionKind, DecisionRecord},
    id::{DecisionId, Hash32},
    seal::{PrivateKey, Sealed},
    time::{BootId, Moment, UtcMs},
};

use super::{Anchor, Kept, Keys, Lost, Verdict, Verifier};
use crate::store::DecisionRow;

fn device_key() -> PrivateKey {
    PrivateKey::from_seed([7; 32])
}

fn hub_key() -> PrivateKey {
    PrivateKey::from_seed([9; 32])
}

fn keys() -> Keys {
    Keys { device: device_key().public(), hub: Some(hub_key().public()) }
}

fn record(head: &ChainHead, reason: &str, begins: Option<Beginning>) -> DecisionRecord {
    let position = head.position + 1;
    DecisionRecord {
        v: 1,
        id: DecisionId::of(&head.device, head.epoch, position),
        device: head.device.clone(),
        site: "D1".parse().unwrap(),
        epoch: head.epoch,
        position,
        previous: head.hash,
        kind: if begins.is_some() { DecisionKind::EpochBegun } else { DecisionKind::Hold },
        mode: None,
        dispatch: None,
        order: None,
        load: Vec::new(),
        gates: Vec::new(),
        bundle: Hash32::ZERO,
        lease: None,
        by: DecidedBy::Rule { rule: "test".into() },
        reason: reason.into(),
        at: Moment { wall: UtcMs(1), uncertainty_ms: 0, boot: BootId::default(), boottime_ms: 1, trusted: true },
        begins,
        drills: Vec::new(),
    }
}

fn kept(record: &DecisionRecord, key: &PrivateKey) -> Kept {
    let sealed = Sealed::new(record, key).unwrap();
    let row = DecisionRow {
        position: record.position,
        epoch: record.epoch,
        id: record.id.to_string(),
        hash: sealed.hash().to_string(),
        sealed,
    };
    Kept { row, checksum_holds: true }
}

/// What a tamperer finds: rows in the order of the store, and the anchors beside them.
#[derive(Clone)]
struct Ledger {
    rows: Vec<Kept>,
    anchors: Vec<Anchor>,
}

fn anchor(head: &ChainHead) -> Anchor {
    Anchor { from: format!("anchor {}/{}", head.epoch, head.position), sealed: Sealed::new(head, &hub_key()).unwrap() }
}

impl Ledger {
    /// Five records, anchored; an older copy put in place; seven more, anchored through the fourth of them.
    fn new() -> Self {
        let mut ledger = Self { rows: Vec::new(), anchors: Vec::new() };
        let mut head = ChainHead::start("gw-1".parse().unwrap(), 1);
        for n in 1..=5 {
            ledger.append(&mut head, &format!("hold {n}"), None);
        }
        ledger.anchors.push(anchor(&head));
        // The hub knew three more, which are gone from here.
        let known = ChainHead { position: 8, hash: Hash32::of(b"forgotten"), ..head.clone() };
        let begins = Beginning { held: head, known: Some(Sealed::new(&known, &hub_key()).unwrap()) };
        let mut head = ChainHead::start("gw-1".parse().unwrap(), 2);
        ledger.append(&mut head, "epoch", Some(begins));
        for n in 2..=7 {
            ledger.append(&mut head, &format!("hold {n}"), None);
            if n == 4 {
                ledger.anchors.push(anchor(&head));
            }
        }
        ledger
    }

    fn append(&mut self, head: &mut ChainHead, reason: &str, begins: Option<Beginning>) {
        let row = kept(&record(head, reason, begins), &device_key());
        head.follow(&row.row.sealed, &device_key().public()).unwrap();
        self.rows.push(row);
    }

    fn verify(&self, keys: Keys) -> Verdict {
        let mut verifier = Verifier::new("gw-1".parse().unwrap(), "D1".parse().unwrap(), keys, &self.anchors);
        self.rows.iter().for_each(|row| verifier.take(row));
        verifier.finish()
    }

    /// A verifier that checks each record by itself, and its place, but no link.
    fn passes_without_links(&self) -> bool {
        let mut before = (0, 0);
        let in_place = self.rows.iter().all(|kept| {
            let (row, expected) = (&kept.row, if kept.row.epoch == before.0 { before.1 + 1 } else { 1 });
            before = (row.epoch, row.position);
            let read = row.sealed.open::<DecisionRecord>(&device_key().public());
            kept.checksum_holds
                && row.position == expected
                && row.hash == row.sealed.hash().to_string()
                && read
                    .is_ok_and(|r| (r.epoch, r.position, r.id.as_str()) == (row.epoch, row.position, row.id.as_str()))
        });
        let anchored = self.anchors.iter().all(|anchor| {
            let head: Result<ChainHead, _> = anchor.sealed.open(&hub_key().public());
            head.is_ok_and(|head| {
                self.rows.iter().any(|k| {
                    (k.row.epoch, k.row.position, k.row.hash.clone())
                        == (head.epoch, head.position, head.hash.to_string())
                })
            })
        });
        in_place && anchored
    }
}

/// A small random stream; the seed is in the failure message.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }

    /// Changes one character into another of the same kind of text.
    fn garble(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let at = self.roll(bytes.len());
        let other = loop {
            let byte = b' ' + u8::try_from(self.roll(94)).unwrap();
            if byte != bytes[at] {
                break byte;
            }
        };
        bytes[at] = other;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Tampers in one way; returns how, and from which record on nothing is as it was.
fn tamper(ledger: &mut Ledger, dice: &mut Dice) -> (&'static str, (u32, u64)) {
    let at = dice.roll(ledger.rows.len());
    let place = |k: &Kept| (k.row.epoch, k.row.position);
    let hurt = place(&ledger.rows[at]);
    let last = ledger.rows.len() - 1;
    // Whoever edits rows can set their checksums right, too.
    let row = &mut ledger.rows[at];
    match dice.roll(12) {
        0 => {
            row.row.sealed.body = dice.garble(&row.row.sealed.body);
            ("body", hurt)
        }
        1 => {
            row.row.sealed.body = dice.garble(&row.row.sealed.body);
            row.row.hash = row.row.sealed.hash().to_string();
            ("body with its hash", hurt)
        }
        2 => {
            row.row.sealed.signature = dice.garble(&row.row.sealed.signature);
            ("signature", hurt)
        }
        3 => {
            row.row.hash = dice.garble(&row.row.hash);
            ("hash", hurt)
        }
        4 => {
            row.checksum_holds = false;
            ("checksum", hurt)
        }
        5 if at < last => {
            ledger.rows.remove(at);
            ("removed", hurt)
        }
        6 if at < last => {
            let (a, b) = (ledger.rows[at].clone(), ledger.rows[at + 1].clone());
            ledger.rows[at].row = DecisionRow { epoch: a.row.epoch, position: a.row.position, ..b.row.clone() };
            ledger.rows[at + 1].row = DecisionRow { epoch: b.row.epoch, position: b.row.position, ..a.row };
            ("reordered", hurt)
        }
        7 => {
            let twice = ledger.rows[at].clone();
            ledger.rows.insert(at, twice);
            ("put twice", hurt)
        }
        8 => {
            ledger.rows.truncate(at);
            ("tail cut", hurt)
        }
        9 => {
            for kept in &mut ledger.rows {
                kept.row.epoch = 3 - kept.row.epoch;
            }
            ledger.rows.sort_by_key(place);
            ("epochs swapped", (1, 1))
        }
        10 => {
            let n = dice.roll(ledger.anchors.len());
            let sealed = &mut ledger.anchors[n].sealed;
            match dice.roll(3) {
                0 => sealed.body = dice.garble(&sealed.body),
                1 => sealed.signature = dice.garble(&sealed.signature),
                _ => {
                    let head: ChainHead = sealed.peek().unwrap();
                    let other = ChainHead { hash: Hash32::of(b"other"), ..head };
                    *sealed = Sealed::new(&other, &device_key()).unwrap();
                }
            }
            ("anchor replaced", (1, 1))
        }
        // By someone who has the device's key: the record is signed anew, so it is right by itself.
        _ => {
            let mut record: DecisionRecord = row.row.sealed.peek().unwrap();
            record.reason = "nothing happened here".into();
            *row = kept(&record, &device_key());
            ("signed anew", hurt)
        }
    }
}

#[test]
fn of_a_thousand_tamperings_each_is_named_or_lies_after_the_last_anchor() {
    let whole = Ledger::new();
    let verdict = whole.verify(keys());
    assert_eq!((verdict.findings, verdict.anchors), (vec![], 2));
    assert_eq!((verdict.anchored_through, verdict.unanchored, verdict.records), (Some((2, 4)), 3, 12));
    assert_eq!(verdict.lost, [Lost { after: (1, 5), through: (1, 8) }]);

    let (mut named, mut after_anchor, mut missed_without_links) = (0, 0, 0);
    let mut kinds = std::collections::BTreeMap::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut done = 0;
    while done < 1_000 {
        let mut ledger = whole.clone();
        let (how, hurt) = tamper(&mut ledger, &mut dice);
        if ledger.rows == whole.rows && ledger.anchors == whole.anchors {
            continue;
        }
        done += 1;
        *kinds.entry(how).or_insert(0) += 1;
        let verdict = ledger.verify(keys());
        if !verdict.is_whole() {
            named += 1;
            if ledger.passes_without_links() {
                missed_without_links += 1;
            }
        } else {
            // Not named: then it must be a tail, all of it after what the verdict calls anchored.
            assert!(verdict.anchored_through.is_some_and(|through| hurt > through), "{done}: {how} at {hurt:?} passed");
            assert!(["tail cut", "signed anew"].contains(&how), "{done}: {how} at {hurt:?} passed");
            after_anchor += 1;
        }
    }
    assert_eq!(named + after_anchor, 1_000);
    assert_eq!(kinds.len(), 12, "every way was tried: {kinds:?}");
    assert!(after_anchor > 0, "some tails were cut after the last anchor");
    assert!(missed_without_links > 0, "a verifier that skips the links would have missed none: {kinds:?}");
    println!(
        "named {named}, after the last anchor {after_anchor}, missed without links {missed_without_links}, {kinds:?}"
    );
}

#[test]
fn a_tail_that_was_cut_with_its_anchors_shows_against_an_anchor_kept_elsewhere() {
    let whole = Ledger::new();
    let kept_elsewhere = whole.anchors[1].clone();
    let mut cut = whole;
    cut.rows.truncate(8);
    cut.anchors.truncate(1);
    let unaware = cut.verify(keys());
    assert!(unaware.is_whole(), "{unaware:?}");
    assert_eq!((unaware.anchored_through, unaware.unanchored), (Some((1, 5)), 3));
    cut.anchors.push(kept_elsewhere);
    let aware = cut.verify(keys());
    assert!(
        aware.findings.iter().any(|f| (f.epoch, f.position) == (2, 4) && f.what.contains("tail is cut off")),
        "{aware:?}"
    );
}

#[test]
fn without_the_hubs_key_no_anchor_counts_and_the_verdict_says_so() {
    let verdict = Ledger::new().verify(Keys { hub: None, ..keys() });
    assert!(verdict.is_whole());
    assert_eq!((verdict.anchors, verdict.anchors_unchecked, verdict.unanchored), (0, 3, 12));
}
