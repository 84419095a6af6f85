//! How often documents are read from the store while changes are written into them.

use super::*;
use crate::store::DocumentCache;

const DOCUMENTS: u32 = 400;
const ROUNDS: u64 = 3;

fn id(n: u32) -> DocumentId {
    case::document_id(&case::dedup_key(CaseType::DockBlocked, CASE, "-"), n)
}

/// Writes into many cases in turns; gives how often one was read for each change after the first round.
fn loads_per_change(bytes_max: Option<usize>) -> f64 {
    let ground = Ground::sqlite();
    let store = ground.open();
    store
        .write_now(move |tx| {
            if let Some(bytes_max) = bytes_max {
                *tx.cache = DocumentCache::of(bytes_max);
            }
            Ok(())
        })
        .unwrap();
    let loads = || store.write_now(|tx| Ok(tx.cache.loads)).unwrap();
    for first in (1..=DOCUMENTS).step_by(10) {
        let opens = |n: u32, tx: &mut Tx<'_>| {
            let DocumentSays::Case(mut says) = opened() else { return Ok(()) };
            if let Some(Says::Opened { occurrence, .. }) = says.first_mut() {
                *occurrence = n;
            }
            tx.write_entries(&id(n), DocumentSays::Case(says), "rule", Lane::Documents, UtcMs(1)).map(drop)
        };
        store.write_now(move |tx| (first..first + 10).try_for_each(|n| opens(n, tx))).unwrap();
    }
    let before = loads();
    for round in 0..ROUNDS {
        for first in (1..=DOCUMENTS).step_by(10) {
            let looked = move |n: u32, tx: &mut Tx<'_>| {
                let acted = Says::Acted { action: "looked".to_owned(), outcome: format!("{round}") };
                let says = DocumentSays::Case(vec![acted]);
                tx.write_entries(&id(n), says, "rule", Lane::Documents, UtcMs(2)).map(drop)
            };
            store.write_now(move |tx| (first..first + 10).try_for_each(|n| looked(n, tx))).unwrap();
        }
    }
    (loads() - before) as f64 / (u64::from(DOCUMENTS) * ROUNDS) as f64
}

#[test]
fn documents_that_are_written_into_again_and_again_are_read_from_the_store_once() {
    let (with, without) = (loads_per_change(None), loads_per_change(Some(100 * 16 * 1024)));
    println!("documents read from the store for each change: {with}, and {without} with room for a quarter of them");
    assert!(with == 0.0, "{with} for each change");
    assert!(without > 0.9, "with room for a quarter of them each is read again: {without}");
}
