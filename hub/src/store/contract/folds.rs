//! Documents whose fold breaks off, and what of a fold is counted.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use gatehouse_common::{
    decision::Mode,
    dispatch::{self, HoldReason},
    id::DecisionId,
    order::LineQuantity,
};

use super::*;
use crate::{
    store::{DispatchFilter, damage::DamagedRow, documents::planted, folding},
    tasks::Stop,
};

on_both!(
    a_document_that_an_older_program_could_not_fold_is_tried_at_a_start_though_nothing_is_written_in_it,
    a_document_that_breaks_off_its_fold_is_shown_among_the_damaged_and_the_others_are_folded,
    open_documents_with_superseded_entries_are_counted_by_kind,
);

fn dispatch_id() -> DocumentId {
    dispatch::document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1)
}

fn load() -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: "P".parse().unwrap(), quantity: 5 }]
}

fn planned() -> dispatch::Says {
    dispatch::Says::Planned {
        order: "O1".parse().unwrap(),
        order_version: 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: "v1".parse().unwrap(),
        carrier: "c1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: load(),
        planned_departure: UtcMs(9_000),
    }
}

fn writes(store: &Store, id: DocumentId, says: DocumentSays) -> Vec<gatehouse_common::document::EntryKey> {
    store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, UtcMs(5))).unwrap()
}

fn a_document_that_breaks_off_its_fold_is_shown_among_the_damaged_and_the_others_are_folded(ground: &Ground) {
    let store = ground.open();
    writes(&store, case_id(), opened());
    writes(&store, dispatch_id(), DocumentSays::Dispatch(vec![planned()]));
    let (_, case) = store.read_now(|r| r.document(&case_id())).unwrap().unwrap();
    let damaged = || store.read_now(|r| r.damaged_counts()).unwrap();
    planted::on_this_thread(case.chunks().last().map(|chunk| chunk.hash));
    // The control: nothing but the guard catches it.
    assert!(catch_unwind(AssertUnwindSafe(|| planted::breaks_off(&case))).is_err());
    for _ in 0..2 {
        let folded = store.fold_now();
        assert!(matches!(&folded, Err(StoreError::Damaged { table: "documents", .. })), "{folded:?}");
        assert_eq!(damaged(), [("documents".to_owned(), 1)]);
    }
    assert_eq!(store.read_now(|r| r.dispatches(&DispatchFilter::default())).unwrap().len(), 1);
    assert_eq!(store.read_now(|r| r.behind_count()).unwrap(), 1);
    let asked_for = store.read_now(|r| r.case_view(&case_id()));
    assert!(matches!(&asked_for, Err(StoreError::Damaged { table: "documents", .. })), "{asked_for:?}");
    assert!(store.read_now(|r| r.state_hash()).is_ok());
    assert!(store.read_now(|r| r.dispatch_view(&dispatch_id())).unwrap().is_some());
    // A program comes that folds it.
    planted::on_this_thread(None);
    assert_eq!(store.fold_now().unwrap(), 1);
    assert_eq!(damaged(), []);
    assert!(store.read_now(|r| r.case_view(&case_id())).unwrap().is_some());
}

fn a_document_that_an_older_program_could_not_fold_is_tried_at_a_start_though_nothing_is_written_in_it(
    ground: &Ground,
) {
    let store = ground.open();
    writes(&store, case_id(), opened());
    assert_eq!(store.fold_now().unwrap(), 1);
    let (_, case) = store.read_now(|r| r.document(&case_id())).unwrap().unwrap();
    let damaged = || store.read_now(|r| r.damaged_counts()).unwrap();
    // Something came for it, which was not let in.
    let found = DamagedRow { table: "documents", row: case_id().to_string(), why: "a planted fold".to_owned() };
    store.write_now(move |tx| tx.note_unfoldable(&found)).unwrap();
    assert_eq!((store.fold_now().unwrap(), damaged()), (0, vec![("documents".to_owned(), 1)]), "nothing is behind");
    planted::on_this_thread(case.chunks().last().map(|chunk| chunk.hash));
    store.try_marked().unwrap();
    planted::on_this_thread(None);
    assert_eq!(damaged(), [("documents".to_owned(), 1)], "this program cannot either");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (end, stop) = Stop::pair();
        let running = tokio::spawn(folding::run(store.clone(), stop));
        let is_whole = async {
            while !store.read(|r| r.damaged_counts()).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), is_whole).await.expect("a start tries it");
        end.send(true).unwrap();
        running.await.unwrap().unwrap();
    });
    assert!(store.read_now(|r| r.case_view(&case_id())).unwrap().is_some());
}

fn open_documents_with_superseded_entries_are_counted_by_kind(ground: &Ground) {
    let store = ground.open();
    let counted = |of_dispatches: u64| {
        store.fold_now().unwrap();
        let counts = store.read_now(|r| r.conflicted_counts()).unwrap();
        assert_eq!(counts, [("case".to_owned(), 0), ("dispatch".to_owned(), of_dispatches)]);
    };
    let says = |says: Vec<dispatch::Says>| writes(&store, dispatch_id(), DocumentSays::Dispatch(says));
    // Words of people that look like it are not.
    let why = "\"superseded\":[[".to_owned();
    let released = dispatch::Says::Released {
        mode: Mode::Normal,
        decision: DecisionId::of(&"gw-1".parse().unwrap(), 1, 1),
        order_version: 1,
        load: load(),
        overrides: Vec::new(),
    };
    writes(&store, case_id(), opened());
    says(vec![planned(), dispatch::Says::Lifted { holds: Vec::new(), why }, released]);
    counted(0);
    let held = dispatch::Says::Held {
        reason: HoldReason::Person,
        why: "a person holds it".to_owned(),
        cases: Vec::new(),
        decision: None,
    };
    let hold = says(vec![held]);
    counted(1);
    says(vec![dispatch::Says::Lifted { holds: hold, why: "it may go".to_owned() }]);
    counted(0);
}
