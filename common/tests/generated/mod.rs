//! Documents by seed: several writers act apart, hear some of each other's changes, and say also what they may not,
//! what comes too late and what nobody can read.

#![allow(dead_code, reason = "each program that includes it uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

mod words;

use gatehouse_common::{
    case, dispatch,
    document::{Actor, Chunk, Document, Entry, EntryKey, History, gate::inspect, with_fold},
    id::DocumentKind,
    time::{Hlc, UtcMs},
};
use serde_json::{Value, json};

/// Numbers that follow from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Who writes: the hub twice, the depot before and after a restore, its vehicle, and a depot that has no business here.
const ACTORS: [&str; 6] =
    ["hub/HQ/hub-1/1", "hub/HQ/hub-1/2", "site/D1/gw-1/1", "site/D1/gw-1/2", "vehicle/D1/box-1/1", "site/D2/gw-9/10"];

/// A document that everybody has heard all of.
pub struct Generated {
    pub kind: DocumentKind,
    pub document: Document,
    /// Every writer's changes, each in the order it was written.
    pub written: Vec<Vec<Chunk>>,
}

struct Writer {
    actor: Actor,
    document: Document,
    clock: i64,
    written: Vec<Chunk>,
    /// Whether it knows only version 1.
    is_old: bool,
}

impl Writer {
    fn hears(&mut self, dice: &mut Dice, chunks: &[Chunk]) {
        // Some come twice, the last ones perhaps not at all.
        let until = chunks.len() - if dice.one_in(2) { dice.below(chunks.len() + 1) } else { 0 };
        for chunk in &chunks[..until] {
            for _ in 0..=usize::from(dice.one_in(5)) {
                self.document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
            }
        }
    }

    /// What its next entry names: all that it has seen, or sometimes less, or what is not there.
    fn after(&self, dice: &mut Dice, heads: Vec<EntryKey>, all: &[EntryKey]) -> Vec<EntryKey> {
        match dice.below(20) {
            0 => Vec::new(),
            1 => vec!["site/D1/gw-7/1-3".parse().unwrap()],
            // A key that this writer will use a little later: a circle may close.
            2 => vec![EntryKey { actor: self.actor.clone(), n: u32::try_from(dice.below(6)).unwrap() + 1 }],
            3 if !all.is_empty() => vec![dice.of(all).clone()],
            _ => heads,
        }
    }

    fn says(&mut self, dice: &mut Dice, kind: DocumentKind) {
        self.clock += 1 + i64::try_from(dice.below(400_000)).unwrap();
        if dice.one_in(40) {
            self.clock += 15 * 86_400_000;
        }
        let (says, heads, all) = match kind {
            DocumentKind::Case => {
                let (entries, _) = self.document.entries::<case::Says>();
                let keys: Vec<EntryKey> = entries.keys().cloned().collect();
                let state = case::fold(&self.document).map(|view| view.state);
                let says = words::of_case(dice, self.clock, state, &keys);
                let says = if self.is_old { says } else { with_fold(&entries, says) };
                (values(&says), History::new(entries).heads(), keys)
            }
            DocumentKind::Dispatch => {
                let (entries, _) = self.document.entries::<dispatch::Says>();
                let keys: Vec<EntryKey> = entries.keys().cloned().collect();
                let says = words::of_dispatch(dice, self.clock, &keys);
                let says = if self.is_old { says } else { with_fold(&entries, says) };
                (values(&says), History::new(entries).heads(), keys)
            }
        };
        let mut after = self.after(dice, heads, &all);
        for mut says in says {
            match dice.below(60) {
                0 => says = json!({ "t": "unheard_of", "what": 1 }),
                1 => _ = says.as_object_mut().unwrap().remove(*dice.of(&["since", "to", "load", "why", "owner"])),
                _ => {}
            }
            let n = u32::try_from(dice.below(3)).unwrap();
            let entry =
                Entry { after, at: UtcMs(self.clock), hlc: Hlc { ms: self.clock / 7, n }, by: "someone".into(), says };
            let (keys, chunk) = self.document.append(&self.actor, &[entry]).unwrap();
            self.written.push(chunk);
            after = keys;
        }
    }

    /// Many entries at once, so that the document is too long.
    fn goes_on_and_on(&mut self) {
        let entry = |n: usize| Entry {
            after: Vec::new(),
            at: UtcMs(self.clock),
            hlc: Hlc { ms: self.clock, n: 0 },
            by: "someone".into(),
            says: case::Says::Acted { action: format!("call {n}"), outcome: "no answer".into() },
        };
        let entries: Vec<Entry<case::Says>> = (0..200).map(entry).collect();
        let (_, chunk) = self.document.append(&self.actor, &entries).unwrap();
        self.written.push(chunk);
    }
}

fn values<T: serde::Serialize>(says: &[T]) -> Vec<Value> {
    says.iter().map(|says| serde_json::to_value(says).unwrap()).collect()
}

/// The document of a seed.
pub fn generate(seed: u64) -> Generated {
    let mut dice = Dice::new(seed);
    let kind = if dice.one_in(2) { DocumentKind::Case } else { DocumentKind::Dispatch };
    let is_old = dice.one_in(8);
    let writers = 2 + dice.below(ACTORS.len() - 1);
    let mut crew: Vec<Writer> = ACTORS
        .iter()
        .take(writers)
        .map(|actor| Writer {
            actor: actor.parse().unwrap(),
            document: Document::new().unwrap(),
            clock: 1_000_000 + i64::try_from(dice.below(5_000_000)).unwrap(),
            written: Vec::new(),
            is_old,
        })
        .collect();
    for _ in 0..5 + dice.below(60) {
        let who = dice.below(crew.len());
        if dice.one_in(3) {
            let from = dice.below(crew.len());
            let chunks = crew[from].document.chunks();
            crew[who].hears(&mut dice, &chunks);
        } else if kind == DocumentKind::Case && dice.one_in(400) {
            crew[who].goes_on_and_on();
        } else {
            crew[who].says(&mut dice, kind);
        }
    }
    if dice.one_in(4) {
        let author = crew[0].actor.clone();
        let note = crew[0].document.add_note(&author, UtcMs(1), "seen, ändert nichts").unwrap();
        crew[0].written.push(note);
    }
    let written: Vec<Vec<Chunk>> = crew.into_iter().map(|writer| writer.written).collect();
    let mut document = Document::new().unwrap();
    for chunk in written.iter().flatten() {
        document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
    }
    assert_eq!(document.missing(), [], "everything is there");
    Generated { kind, document, written }
}
