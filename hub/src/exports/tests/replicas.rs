//! Exports where several replicas share one store: each is one state of it, whichever replica writes it, whatever another
//! commits meanwhile, and however long it takes.

use std::time::Duration;

use super::*;
use crate::{
    exports::{Counted, ExportError, Form, LogEvent, LogObject, Sink, held::Exports, walk},
    store::contract::Ground,
};

/// Both engines, as far as they are installed.
fn grounds() -> Vec<Ground> {
    [Some(Ground::sqlite()), Ground::postgresql()].into_iter().flatten().collect()
}

fn put_order(store: &Store, name: &str) {
    let now: UtcMs = "2026-11-23T08:00:00Z".parse().unwrap();
    let mut order = fixture::order(now);
    order.id = name.parse().unwrap();
    store.write_now(move |tx| tx.put_order(&order, now)).unwrap();
}

/// Counts, and does something as the first object comes.
struct Meanwhile<F: FnMut()> {
    first: Option<F>,
    orders: usize,
}

impl<F: FnMut()> Sink for Meanwhile<F> {
    fn object(&mut self, object: &LogObject) -> Result<(), ExportError> {
        if let Some(mut first) = self.first.take() {
            first();
        }
        self.orders += usize::from(object.kind == "Order");
        Ok(())
    }

    fn event(&mut self, _event: &LogEvent) -> Result<(), ExportError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(())
    }
}

fn exported(store: &Store, meanwhile: impl FnMut()) -> (usize, Counted) {
    let mut sink = Meanwhile { first: Some(meanwhile), orders: 0 };
    let counted = store.read_now(|r| Ok(walk(r, &mut sink).unwrap())).unwrap();
    (sink.orders, counted)
}

#[test]
fn an_export_of_one_replica_is_one_state_though_another_commits_meanwhile() {
    for ground in grounds() {
        let (one, two) = (ground.open(), ground.open());
        put_order(&one, "SO-1");
        let id = dispatch::document_id(&"SO-2".parse().unwrap(), &"D1".parse().unwrap(), 1);
        let commits = || {
            put_order(&two, "SO-2");
            let mut order = fixture::order("2026-11-23T08:00:00Z".parse().unwrap());
            order.id = "SO-2".parse().unwrap();
            let says = DocumentSays::Dispatch(vec![fixture::planned(&order)]);
            two.write_now(move |tx| tx.write_entries(&id, says, "rule: test", Lane::Documents, UtcMs(1))).unwrap();
            two.fold_now().unwrap();
        };
        let (orders, counted) = exported(&one, commits);
        assert_eq!((orders, counted.events), (1, 0), "what came meanwhile is in none of its parts");
        // The control: it was there, and every replica tells of it from now on.
        for store in [&one, &two] {
            let (orders, counted) = exported(store, || {});
            assert_eq!((orders, counted.events), (2, 1));
        }
    }
}

#[test]
fn an_export_that_one_replica_holds_is_unknown_to_another_which_writes_its_own() {
    for ground in grounds() {
        let (one, two) = (ground.open(), ground.open());
        put_order(&one, "SO-1");
        let (held_by_one, held_by_two) = (Exports::default(), Exports::default());
        let make = |exports: &Exports, store: &Store| {
            store.read_now(|r| Ok(exports.make(r, Form::OcelJson).unwrap())).unwrap()
        };
        let first = make(&held_by_one, &one);
        assert!(held_by_one.find(Form::OcelJson, &first.id).is_some());
        assert!(held_by_two.find(Form::OcelJson, &first.id).is_none(), "no part of another export is taken for it");
        let second = make(&held_by_two, &two);
        assert_ne!(first.id, second.id);
        let whole = |held: &crate::exports::held::Held| held.read(0, usize::try_from(held.length).unwrap()).unwrap();
        assert_eq!(whole(&first), whole(&second), "two replicas write one state alike");
    }
}

#[test]
fn a_database_does_not_end_an_export_that_writes_for_longer_than_it_lets_others_be_silent() {
    let Some(ground) = Ground::postgresql() else { return };
    let store = ground.open();
    put_order(&store, "SO-1");
    let silent = || std::thread::sleep(Duration::from_secs(11));
    // The control: whoever says nothing of it is ended.
    let ended = store.read_now(|r| {
        r.orders()?;
        silent();
        Ok(r.orders()?.len())
    });
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(exported(&store, silent).0, 1);
}
