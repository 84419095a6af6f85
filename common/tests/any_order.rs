//! Any interleaving, repetition, loss with resending and reordering of any number of writers' changes gives one state
//! and one set of heads. `GATEHOUSE_DOCUMENT_TRIALS` documents are tried, 150 unless it says otherwise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

mod generated;
mod kept;

use std::collections::BTreeSet;

use gatehouse_common::{
    case, dispatch,
    document::{Applied, Chunk, Document, gate::inspect},
    id::{DocumentKind, Hash32},
};
use generated::{Dice, generate};
use kept::state;
use serde_json::{Value, json};

/// What a replica makes of what arrives, in the order of arrival.
type Replica = fn(DocumentKind, &[Chunk]) -> (Vec<Hash32>, Value);

fn folds(kind: DocumentKind, arriving: &[Chunk]) -> (Vec<Hash32>, Value) {
    let mut document = Document::new().unwrap();
    for (n, chunk) in arriving.iter().enumerate() {
        document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
        if n % 7 == 3 {
            document = Document::load(&document.save()).unwrap();
        }
    }
    assert_eq!(document.missing(), [], "everything has arrived");
    (document.heads(), state(kind, &document))
}

/// Keys of the entries that can be read.
fn keys(kind: DocumentKind, document: &Document) -> BTreeSet<String> {
    match kind {
        DocumentKind::Case => document.entries::<case::Says>().0.keys().map(ToString::to_string).collect(),
        DocumentKind::Dispatch => document.entries::<dispatch::Says>().0.keys().map(ToString::to_string).collect(),
    }
}

/// Planted: the state is a register that the entry that arrives last writes.
fn keeps_a_register(kind: DocumentKind, arriving: &[Chunk]) -> (Vec<Hash32>, Value) {
    let mut document = Document::new().unwrap();
    let (mut known, mut register) = (BTreeSet::new(), None);
    for chunk in arriving {
        document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
        let now = keys(kind, &document);
        register = now.difference(&known).last().cloned().or(register);
        known = now;
    }
    (document.heads(), json!(register))
}

/// Planted: what comes twice counts twice.
fn drops_the_dedupe(kind: DocumentKind, arriving: &[Chunk]) -> (Vec<Hash32>, Value) {
    let mut document = Document::new().unwrap();
    let mut again = 0;
    for chunk in arriving {
        let applied = document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
        again += usize::from(applied == Applied::Known);
    }
    (document.heads(), json!(keys(kind, &document).len() + again))
}

/// The changes as they might arrive: in any order, some twice, some only when they are sent again.
fn arrivals(dice: &mut Dice, written: &[Vec<Chunk>]) -> Vec<Chunk> {
    let mut first: Vec<Chunk> = Vec::new();
    let mut again: Vec<Chunk> = Vec::new();
    for chunk in written.iter().flatten() {
        if !dice.one_in(5) {
            first.push(chunk.clone());
        }
        // Whatever was lost is sent again, with some that was not.
        if dice.one_in(4) || first.last() != Some(chunk) {
            again.push(chunk.clone());
        }
    }
    for list in [&mut first, &mut again] {
        for place in (1..list.len()).rev() {
            list.swap(place, dice.below(place + 1));
        }
    }
    first.append(&mut again);
    first
}

/// Says of which seed two replicas disagree.
fn disagree(replica: Replica, seed: u64) -> Result<(), String> {
    let made = generate(seed);
    let mut dice = Dice::new(seed ^ 0x5eed);
    let one = replica(made.kind, &arrivals(&mut dice, &made.written));
    for _ in 0..2 {
        let other = replica(made.kind, &arrivals(&mut dice, &made.written));
        if one != other {
            return Err(format!("seed {seed}: {} against {}", one.1, other.1));
        }
    }
    if one.0 == made.document.heads() { Ok(()) } else { Err(format!("seed {seed}: other heads than the writers'")) }
}

fn trials() -> u64 {
    std::env::var("GATEHOUSE_DOCUMENT_TRIALS").map_or(150, |text| text.parse().unwrap())
}

#[test]
fn whatever_the_order_of_arrival_there_is_one_state() {
    for seed in 0..trials() {
        disagree(folds, seed).unwrap();
    }
}

#[test]
fn a_register_and_a_dropped_dedupe_are_found() {
    for (name, planted) in [("register", keeps_a_register as Replica), ("dedupe", drops_the_dedupe)] {
        let found = (0..20).filter(|seed| disagree(planted, *seed).is_err()).count();
        assert!(found > 10, "{name}: found in {found} of 20");
    }
}
