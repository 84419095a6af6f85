//! A document that somebody gets who did not have it: all of its past comes by what they pull anyhow, and once.
//!
//! A document stays with its depot for good, so it is a vehicle that gets one: a plan goes to another.

use std::collections::BTreeSet;

use gatehouse_common::{
    dispatch::{self, Says},
    document::{Document, Entry, History},
    id::{DeviceId, DocumentKind, Hash32},
    order::LineQuantity,
    seal::PrivateKey,
    sync::{Cursor, Pull, PullReply, Push, Upward},
    time::{BootId, Hlc, Moment},
};

use super::*;
use crate::{
    fixture,
    store::{Device, DeviceKind, sql::params},
    sync::{devices, handle_push, pull},
};

on_both!(
    a_plan_that_goes_to_another_vehicle_brings_it_the_whole_past_by_pull_alone_and_nobody_twice,
    a_vehicle_that_got_only_what_is_new_of_a_plan_would_wait_for_the_rest,
);

fn id() -> DocumentId {
    dispatch::document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1)
}

fn plan(vehicle: &str) -> Says {
    Says::Planned {
        order: "O1".parse().unwrap(),
        order_version: 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: vehicle.parse().unwrap(),
        carrier: "c1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: vec![LineQuantity { line: 1, product: "P".parse().unwrap(), quantity: 5 }],
        planned_departure: UtcMs(9_000),
    }
}

fn lifted(why: &str) -> Says {
    Says::Lifted { holds: Vec::new(), why: why.to_owned() }
}

/// The gateway of the depot, which writes the dispatch.
struct Gateway {
    document: Document,
    told: u64,
}

impl Gateway {
    fn of(store: &Store) -> Self {
        devices::add(store, fixture::gateway("gw-1", "D1", 7), "test", UtcMs(1)).unwrap();
        Self { document: Document::new().unwrap(), told: 0 }
    }

    /// Says something, and tells it to the replica that has this `store`.
    fn says(&mut self, store: &Store, says: Says) {
        let after = History::new(self.document.entries::<Says>().0).heads();
        let hlc = Hlc { ms: 100, n: 0 };
        let entry = Entry { after, at: UtcMs(100), hlc, by: "rule".to_owned(), says };
        let (_, chunk) = self.document.append(&"site/D1/gw-1/1".parse().unwrap(), &[entry]).unwrap();
        self.told += 1;
        let record = Upward::Chunk { document: id(), kind: DocumentKind::Dispatch, bytes: chunk.bytes };
        let push = Push { outbox_epoch: 1, records: vec![(self.told, record)] };
        let boot = BootId("b".to_owned());
        let now = Moment { wall: UtcMs(1_000), uncertainty_ms: 0, boot, boottime_ms: 1_000, trusted: true };
        let (key, name): (_, DeviceId) = (PrivateKey::from_seed([1; 32]), "gw-1".parse().unwrap());
        let reply = store.write_now(move |tx| handle_push(tx, &key, &name, &push, &now)).unwrap();
        assert_eq!((reply.taken_through, reply.rejected.len()), (self.told, 0), "{reply:?}");
    }
}

/// The unit of a vehicle, which pulls.
struct Unit {
    device: DeviceId,
    scope: Scope,
    document: Document,
    cursor: Cursor,
    got: Vec<Hash32>,
}

impl Unit {
    fn of(store: &Store, vehicle: &str, seed: u8) -> Self {
        let listed = Device {
            device: format!("unit-{vehicle}").parse().unwrap(),
            kind: DeviceKind::Vehicle,
            public_key: PrivateKey::from_seed([seed; 32]).public(),
            sites: vec!["D1".parse().unwrap()],
            vehicles: vec![vehicle.parse().unwrap()],
        };
        let device = listed.device.clone();
        devices::add(store, listed, "test", UtcMs(1)).unwrap();
        let (scope, document) = (Scope::Vehicle(vehicle.parse().unwrap()), Document::new().unwrap());
        let cursor = Cursor::start(store.read_now(|r| r.ledger_epoch()).unwrap());
        Self { device, scope, document, cursor, got: Vec::new() }
    }

    /// Pulls as often as there is more; gives how many changes came.
    fn pulls(&mut self, store: &Store) -> usize {
        let before = self.got.len();
        loop {
            let asked = Pull { cursor: self.cursor, wait_ms: 0, recalls_only: false };
            let reply = pull::answer(store, &self.device, &asked, None).unwrap();
            let PullReply::Page { items, cursor, more } = reply else { panic!("its feed begins anew") };
            self.cursor = cursor;
            for item in items {
                let hash = item.says.hash();
                let Downward::Chunk { document, bytes, .. } = item.says else { continue };
                assert_eq!(document, id());
                self.document.apply_own(&bytes).unwrap();
                self.got.push(hash);
            }
            if !more {
                return self.got.len() - before;
            }
        }
    }

    /// How much of the document its feed has.
    fn rows(&self, store: &Store) -> usize {
        let read = store.read_now(|r| r.feed(std::slice::from_ref(&self.scope), Lane::Documents, 0, 100));
        read.unwrap().rows.len()
    }
}

/// A dispatch that vehicle v1 has read three changes of, and that goes to v2 with the fourth.
fn goes_to_another(ground: &Ground) -> ([Store; 2], Gateway, [Unit; 2]) {
    let (one, two) = (ground.open(), ground.open());
    let mut gateway = Gateway::of(&one);
    let (mut had, mut gets) = (Unit::of(&one, "v1", 8), Unit::of(&one, "v2", 9));
    gateway.says(&one, plan("v1"));
    gateway.says(&two, lifted("a"));
    gateway.says(&one, Says::Ready);
    assert_eq!((had.pulls(&one), gets.pulls(&two)), (3, 0));
    // Whatever else there was, it has read up to here: what it gets now is behind its cursor in the ledger.
    gets.cursor.pass(Lane::Documents, one.read_now(|r| r.feed_head()).unwrap());
    gateway.says(&two, plan("v2"));
    ([one, two], gateway, [had, gets])
}

fn a_plan_that_goes_to_another_vehicle_brings_it_the_whole_past_by_pull_alone_and_nobody_twice(ground: &Ground) {
    let ([one, two], mut gateway, [mut had, mut gets]) = goes_to_another(ground);
    assert_eq!(gets.pulls(&one), 4, "all of it, from where it stood");
    assert!(gets.document.missing().is_empty());
    assert_eq!(gets.document.heads(), gateway.document.heads());
    let view = dispatch::fold(&gets.document).unwrap();
    assert_eq!(view.vehicle.as_str(), "v2");
    assert_eq!(had.pulls(&two), 1, "who has had it goes on getting it, and hears who has it now");
    assert_eq!((had.pulls(&one), gets.pulls(&two)), (0, 0));

    gateway.says(&one, lifted("b"));
    assert_eq!((had.pulls(&two), gets.pulls(&one)), (1, 1));
    // It goes back to one that has all of it.
    gateway.says(&two, plan("v1"));
    assert_eq!((had.pulls(&one), gets.pulls(&two)), (1, 1));
    for unit in [&had, &gets] {
        let different: BTreeSet<&Hash32> = unit.got.iter().collect();
        assert_eq!((unit.got.len(), different.len(), unit.rows(&one)), (6, 6, 6), "{}", unit.device);
        assert_eq!(unit.document.heads(), gateway.document.heads(), "{}", unit.device);
    }
}

/// The control: as it would be if only the change that gives a document to somebody were fed to them.
fn a_vehicle_that_got_only_what_is_new_of_a_plan_would_wait_for_the_rest(ground: &Ground) {
    let ([one, _two], _, [_, mut gets]) = goes_to_another(ground);
    let past = "DELETE FROM feed WHERE scope = ?1 AND item < (SELECT max(position) FROM ledger)";
    assert_eq!(ground.beside().execute(past, params![gets.scope.to_string()]).unwrap(), 3);
    assert_eq!(gets.pulls(&one), 1);
    assert!(!gets.document.missing().is_empty(), "it has what it cannot read without the rest");
    assert_eq!(dispatch::fold(&gets.document), None);
}
