//! A change that makes the fold of its document panic. None is known that does; here one is planted.

use gatehouse_common::document::gate::inspect;

use super::*;
use crate::store::{StoreError, documents::planted};

const BREAKS_OFF: &str = "made the fold of its document panic";

impl Hub {
    /// From now on this change breaks off each fold of the thread that writes; with none, no change does.
    fn plants(&self, change: Option<Hash32>) {
        let planted = self.store.write_now(move |_| {
            planted::on_this_thread(change);
            Ok(())
        });
        planted.unwrap();
    }
}

fn hash(bytes: &[u8]) -> Hash32 {
    inspect(bytes).unwrap().hash
}

#[test]
fn a_change_that_breaks_off_the_fold_goes_into_quarantine_and_its_sender_and_the_others_go_on() {
    let hub = Hub::new();
    let (mut depot, mut other) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    depot.plan();
    assert_eq!(depot.push(&hub).rejected, []);
    let before = depot.document.heads();
    let breaks_off = depot.say(Says::Ready);
    depot.say(Says::RecallSeen);
    hub.plants(Some(hash(&breaks_off)));
    for _ in 0..2 {
        let reply = depot.push(&hub);
        let reasons: Vec<&str> = reply.rejected.iter().map(|r| r.reason.as_str()).collect();
        assert_eq!((reply.taken_through, reasons), (3, vec![BREAKS_OFF, "change number 3 where 2 was due"]));
    }
    let kept = hub.store.read_now(|r| r.quarantine(10)).unwrap();
    let first = kept.iter().find(|kept| kept.hash == hash(&breaks_off).to_string()).unwrap();
    assert_eq!((first.origin.as_str(), first.reason.as_str()), ("gw-1", BREAKS_OFF));
    assert_eq!(first.document, depot.id().to_string());
    assert_eq!(kept.len(), 2, "each once");
    assert_eq!(stored_heads(&hub, &depot.id()), before);
    hub.says(depot.id(), cancelled(), Lane::Documents);
    other.plan();
    assert_eq!(other.push(&hub).rejected, []);
}

#[test]
fn without_the_guard_the_write_breaks_off_and_nobody_is_told_why() {
    // The control of the test above: this is what the same change does where the fold is not guarded.
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let change = hash(&depot.plan());
    let document = depot.document.clone();
    let broken = hub.store.write_now(move |_| {
        planted::on_this_thread(Some(change));
        planted::breaks_off(&document);
        Ok(())
    });
    assert!(matches!(broken, Err(StoreError::Stopped)), "{broken:?}");
    assert_eq!(hub.quarantined(), 0);
}

#[test]
fn a_document_that_breaks_off_its_fold_takes_nothing_and_keeps_nothing_else_back_until_a_program_folds_it() {
    let mut hub = Hub::new();
    let (mut depot, mut other) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    depot.plan();
    let breaks_off = depot.say(Says::Ready);
    assert_eq!(depot.push(&hub).rejected, []);
    // Another program let it in, and nothing is in hand.
    hub.restart();
    hub.plants(Some(hash(&breaks_off)));
    let id = depot.id();
    let damaged = |hub: &Hub| hub.store.read_now(|r| r.damaged_counts()).unwrap();
    depot.say(Says::RecallSeen);
    let reply = depot.push(&hub);
    let reasons: Vec<&str> = reply.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!((reply.taken_through, reasons), (3, vec!["the hub's copy of this document is damaged"]));
    assert_eq!(damaged(&hub), [("documents".to_owned(), 1)], "and people are shown that it is");
    let says = DocumentSays::Dispatch(vec![cancelled()]);
    let said = hub.store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, UtcMs(5_000)));
    assert!(matches!(said, Err(StoreError::Damaged { table: "documents", .. })), "{said:?}");
    other.plan();
    assert_eq!(other.push(&hub).rejected, []);

    hub.plants(None);
    hub.store.fold_now().unwrap();
    assert_eq!((damaged(&hub), hub.quarantined()), (vec![], 0));
    let (_, newest) = depot.outbox.last().cloned().unwrap();
    assert_eq!(hub.push_records(&depot, vec![(4, newest)]).rejected, []);
    assert_eq!(stored_heads(&hub, &id), depot.document.heads());
}
