//! What must hold between devices and the hub, played without sockets.

use std::path::PathBuf;

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord},
    dispatch::{self, Evidence, Says},
    document::{Actor, Document, Entry, History},
    id::*,
    order::LineQuantity,
    seal::{PrivateKey, Sealed},
    sync::{Cursor, Downward, FeedItem, Lane, Pull, PullReply, Push, PushReply, Upward},
    time::{BootId, Hlc, Moment, UtcMs},
};

mod chains;
mod damage;
mod gaps;
mod pruning;
mod refusals;
mod repair;
mod replicas;
mod together;
mod trial;

use super::{handle_push, pull};
use crate::{
    fixture,
    store::{Device, DeviceKind, DocumentSays, Location, Scope, Store},
};

fn at(ms: i64) -> Moment {
    Moment { wall: UtcMs(ms), uncertainty_ms: 0, boot: BootId("b".into()), boottime_ms: ms as u64, trusted: true }
}

fn hub_key() -> PrivateKey {
    PrivateKey::from_seed([1; 32])
}

struct Hub {
    store: Store,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Hub {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        let store = Store::open(&path, &"hub".parse().unwrap()).unwrap();
        Self { store, path, _directory: directory }
    }

    fn restart(&mut self) {
        self.store = Store::open(&self.path, &"hub".parse().unwrap()).unwrap();
    }

    fn gateway(&self, name: &str, site: &str, seed: u8) -> Depot {
        let key = PrivateKey::from_seed([seed; 32]);
        let device = fixture::gateway(name, site, seed);
        let depot = Depot {
            actor: format!("site/{site}/{name}/1").parse().unwrap(),
            device: device.device.clone(),
            key,
            site: site.parse().unwrap(),
            document: Document::new().unwrap(),
            outbox: Vec::new(),
            cursor: Cursor::start(self.store.read_now(|r| r.ledger_epoch()).unwrap()),
        };
        super::devices::add(&self.store, device, "test", UtcMs(1)).unwrap();
        depot
    }

    fn push_records(&self, depot: &Depot, records: Vec<(u64, Upward)>) -> PushReply {
        let (device, push) = (depot.device.clone(), Push { outbox_epoch: 1, records });
        self.store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(1_000))).unwrap()
    }

    fn pull(&self, depot: &mut Depot) -> Vec<FeedItem> {
        let asked = Pull { cursor: depot.cursor, wait_ms: 0, recalls_only: false };
        let reply = pull::answer(&self.store, &depot.device, &asked, None).unwrap();
        let PullReply::Page { items, cursor, .. } = reply else { panic!("other epoch") };
        depot.cursor = cursor;
        for item in &items {
            if let Downward::Chunk { document, bytes, .. } = &item.says
                && *document == depot.id()
            {
                depot.document.apply_own(bytes).unwrap();
            }
        }
        items
    }

    fn says(&self, id: DocumentId, says: Says, lane: Lane) {
        let says = DocumentSays::Dispatch(vec![says]);
        self.store.write_now(move |tx| tx.write_entries(&id, says, "test", lane, UtcMs(5_000))).unwrap();
    }

    fn quarantined(&self) -> u64 {
        self.store.read_now(|r| r.quarantine_count()).unwrap()
    }
}

struct Depot {
    device: DeviceId,
    key: PrivateKey,
    site: SiteId,
    actor: Actor,
    document: Document,
    outbox: Vec<(u64, Upward)>,
    cursor: Cursor,
}

impl Depot {
    fn id(&self) -> DocumentId {
        dispatch::document_id(&"O1".parse().unwrap(), &self.site, 1)
    }

    fn queue(&mut self, record: Upward) {
        let number = self.outbox.last().map_or(1, |(n, _)| n + 1);
        self.outbox.push((number, record));
    }

    fn say(&mut self, says: Says) -> Vec<u8> {
        let after = History::new(self.document.entries::<Says>().0).heads();
        let entry = Entry { after, at: UtcMs(100), hlc: Hlc { ms: 100, n: 0 }, by: "rule".into(), says };
        let (_, chunk) = self.document.append(&self.actor, &[entry]).unwrap();
        self.queue_chunk(chunk.bytes.clone());
        chunk.bytes
    }

    fn queue_chunk(&mut self, bytes: Vec<u8>) {
        let document = self.id();
        self.queue(Upward::Chunk { document, kind: DocumentKind::Dispatch, bytes });
    }

    fn plan(&mut self) -> Vec<u8> {
        let site = self.site.clone();
        self.say(Says::Planned {
            order: "O1".parse().unwrap(),
            order_version: 1,
            site,
            occurrence: 1,
            vehicle: "v1".parse().unwrap(),
            carrier: "c1".parse().unwrap(),
            door: "3".parse().unwrap(),
            load: vec![LineQuantity { line: 1, product: "P".parse().unwrap(), quantity: 5 }],
            planned_departure: UtcMs(9_000),
        })
    }

    fn decide(&self, position: u64, previous: Hash32, reason: &str) -> Sealed {
        let record = DecisionRecord {
            v: 1,
            id: DecisionId::of(&self.device, 1, position),
            device: self.device.clone(),
            site: self.site.clone(),
            epoch: 1,
            position,
            previous,
            kind: DecisionKind::Hold,
            mode: None,
            dispatch: Some(self.id()),
            order: None,
            load: Vec::new(),
            gates: Vec::new(),
            bundle: Hash32::ZERO,
            lease: None,
            by: DecidedBy::Rule { rule: "r".into() },
            reason: reason.into(),
            at: at(100),
            begins: None,
            drills: Vec::new(),
        };
        Sealed::new(&record, &self.key).unwrap()
    }

    fn push(&self, hub: &Hub) -> PushReply {
        hub.push_records(self, self.outbox.clone())
    }
}

fn cancelled() -> Says {
    Says::Cancelled { order_version: 2, why: "the customer cancelled".into() }
}

fn evidence() -> Evidence {
    Evidence { at: UtcMs(200), readings: vec!["r1".into()] }
}

fn stored_heads(hub: &Hub, id: &DocumentId) -> Vec<Hash32> {
    hub.store.fold_now().unwrap();
    let connection = rusqlite::Connection::open(&hub.path).unwrap();
    let text: String = connection
        .query_row("SELECT heads FROM documents WHERE document = ?1", [id.to_string()], |r| r.get(0))
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_push_that_comes_again_changes_nothing_and_gets_the_same_answer() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Ready);
    let decision = depot.decide(1, Hash32::ZERO, "held");
    depot.queue(Upward::Decision(decision));
    depot.queue(Upward::Fact("{}".into()));
    let first = depot.push(&hub);
    assert_eq!(first.taken_through, 4);
    assert_eq!(first.rejected.len(), 1);
    let head = hub.store.read_now(|r| r.feed_head()).unwrap();
    assert_eq!(depot.push(&hub), first);
    // Even under another life of the outbox every record is recognised.
    let (device, push) = (depot.device.clone(), Push { outbox_epoch: 2, records: depot.outbox.clone() });
    let again = hub.store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(2_000))).unwrap();
    assert_eq!(again, first);
    assert_eq!(hub.store.read_now(|r| r.decision_count()).unwrap(), 1);
    let chunks_and_anchor = hub.store.read_now(|r| r.feed_head()).unwrap();
    assert_eq!(chunks_and_anchor, head);
    assert_eq!(hub.quarantined(), 1);
}

#[test]
fn a_chunk_written_in_anothers_name_is_refused_and_nothing_of_it_is_kept() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    for forged in ["site/D1/gw-9/1", "site/D2/gw-1/1", "hub/hub/hub/1", "vehicle/D1/gw-1/1"] {
        let mut forger = hub.gateway("gw-1", "D1", 7);
        forger.actor = forged.parse().unwrap();
        let bytes = forger.plan();
        depot.queue_chunk(bytes);
    }
    let reply = depot.push(&hub);
    assert_eq!((reply.taken_through, reply.rejected.len()), (4, 4));
    assert!(reply.rejected.iter().all(|r| r.reason.starts_with("written by")), "{:?}", reply.rejected);
    let id = depot.id();
    assert!(hub.store.read_now(move |r| r.document(&id)).unwrap().is_none());
}

#[test]
fn a_damaged_chunk_goes_into_quarantine_and_the_next_good_one_goes_on() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let mut bytes = depot.plan();
    let good = depot.outbox.pop().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    depot.queue_chunk(bytes);
    depot.outbox.push((2, good.1));
    let reply = depot.push(&hub);
    assert_eq!(reply.taken_through, 2);
    assert_eq!(reply.rejected.len(), 1);
    assert_eq!(reply.rejected[0].reason, "checksum is wrong");
    assert_eq!(hub.quarantined(), 1);
    let id = depot.id();
    assert!(hub.store.read_now(move |r| r.dispatch_view(&id)).unwrap().is_some());
}

#[test]
fn what_follows_a_refused_chunk_of_the_same_writer_is_refused_too() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Ready);
    depot.say(Says::RecallSeen);
    let Upward::Chunk { bytes, .. } = &mut depot.outbox[1].1 else { panic!() };
    *bytes.last_mut().unwrap() ^= 1;
    let reply = depot.push(&hub);
    let reasons: Vec<&str> = reply.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["checksum is wrong", "change number 3 where 2 was due"]);
}

#[test]
fn a_dispatch_planned_under_another_documents_id_is_refused() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let bytes = depot.plan();
    let document = dispatch::document_id(&"O2".parse().unwrap(), &depot.site, 1);
    let reply = hub.push_records(&depot, vec![(1, Upward::Chunk { document, kind: DocumentKind::Dispatch, bytes })]);
    assert!(reply.rejected[0].reason.starts_with("the document says of itself"), "{:?}", reply.rejected);
}

#[test]
fn a_cursor_of_another_life_of_the_ledger_starts_again() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let asked = Pull { cursor: Cursor::default(), wait_ms: 0, recalls_only: true };
    let reply = pull::answer(&hub.store, &depot.device, &asked, None).unwrap();
    assert_eq!(reply, PullReply::OtherEpoch(depot.cursor.epoch));
    hub.store.write_now(|tx| tx.begin_ledger_epoch(UtcMs(5))).unwrap();
    let asked = Pull { cursor: depot.cursor, wait_ms: 0, recalls_only: false };
    assert!(matches!(pull::answer(&hub.store, &depot.device, &asked, None).unwrap(), PullReply::OtherEpoch(_)));
}

#[test]
fn a_recall_comes_before_everything_else_and_brings_its_past_with_it() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    let mut spare = hub.gateway("gw-2", "D1", 8);
    let sources = Downward::Sources("{}".into());
    hub.store
        .write_now(move |tx| tx.publish(&Scope::Site("D1".parse().unwrap()), Lane::Rest, &sources, UtcMs(1)))
        .unwrap();
    let lifted = Says::Lifted { holds: Vec::new(), why: "ordinary".into() };
    hub.says(depot.id(), lifted, Lane::Documents);
    hub.says(depot.id(), cancelled(), Lane::Recalls);

    let asked = Pull { cursor: spare.cursor, wait_ms: 0, recalls_only: true };
    let PullReply::Page { items, .. } = pull::answer(&hub.store, &spare.device, &asked, None).unwrap() else {
        panic!()
    };
    assert_eq!(items.len(), 3);
    let items = hub.pull(&mut spare);
    let lanes: Vec<Lane> = items.iter().map(|i| i.lane).collect();
    assert_eq!(lanes, [Lane::Recalls, Lane::Recalls, Lane::Recalls, Lane::Rest]);
    assert!(dispatch::fold(&spare.document).unwrap().cancelled.is_some());
}

#[test]
fn a_device_never_receives_a_row_of_another_depot() {
    let hub = Hub::new();
    let mut one = hub.gateway("gw-1", "D1", 7);
    let mut two = hub.gateway("gw-2", "D2", 8);
    one.plan();
    one.push(&hub);
    hub.says(one.id(), cancelled(), Lane::Recalls);
    assert!(hub.pull(&mut two).is_empty());
    // And it cannot write into the other's document either.
    two.document = one.document.clone();
    let after = History::new(two.document.entries::<Says>().0).heads();
    let entry = Entry { after, at: UtcMs(1), hlc: Hlc::default(), by: "x".into(), says: Says::Ready };
    let (_, chunk) = two.document.append(&two.actor, &[entry]).unwrap();
    let record = Upward::Chunk { document: one.id(), kind: DocumentKind::Dispatch, bytes: chunk.bytes };
    let reply = hub.push_records(&two, vec![(1, record)]);
    assert_eq!(reply.rejected[0].reason, "this document is not one of the device's own");
}

#[test]
fn a_device_that_joins_later_gets_everything_of_its_scope_and_an_old_one_not_its_own() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    hub.pull(&mut depot);
    depot.say(Says::Ready);
    depot.push(&hub);
    assert!(hub.pull(&mut depot).is_empty(), "its own chunk came back");
    let key = PrivateKey::from_seed([9; 32]);
    let unit = Device {
        device: "unit-1".parse().unwrap(),
        kind: DeviceKind::Vehicle,
        public_key: key.public(),
        sites: vec!["D1".parse().unwrap()],
        vehicles: vec!["v1".parse().unwrap()],
    };
    super::devices::add(&hub.store, unit, "test", UtcMs(1)).unwrap();
    let mut vehicle = Depot {
        actor: "vehicle/D1/unit-1/1".parse().unwrap(),
        device: "unit-1".parse().unwrap(),
        key,
        site: "D1".parse().unwrap(),
        document: Document::new().unwrap(),
        outbox: Vec::new(),
        cursor: Cursor::start(depot.cursor.epoch),
    };
    assert_eq!(hub.pull(&mut vehicle).len(), 2);
    assert_eq!(vehicle.document.heads(), depot.document.heads());
    // A gateway that lost its disk begins at the start and gets its own chunks too.
    depot.cursor = Cursor::start(depot.cursor.epoch);
    depot.document = Document::new().unwrap();
    assert_eq!(hub.pull(&mut depot).len(), 2);
    assert_eq!(vehicle.document.heads(), depot.document.heads());
}

#[test]
fn a_device_that_gets_a_scope_more_gets_the_past_of_it() {
    let hub = Hub::new();
    let mut other = hub.gateway("gw-2", "D2", 8);
    other.plan();
    other.push(&hub);
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.cursor.pass(Lane::Documents, hub.store.read_now(|r| r.feed_head()).unwrap());
    assert!(hub.pull(&mut depot).is_empty());
    let widened = |sites: &[&str]| Device {
        device: depot.device.clone(),
        kind: DeviceKind::Gateway,
        public_key: depot.key.public(),
        sites: sites.iter().map(|s| s.parse().unwrap()).collect(),
        vehicles: Vec::new(),
    };
    let (same, more) = (widened(&["D1"]), widened(&["D1", "D2"]));
    let ask = |cursor| {
        let asked = Pull { cursor, wait_ms: 0, recalls_only: false };
        pull::answer(&hub.store, &"gw-1".parse().unwrap(), &asked, None).unwrap()
    };
    super::devices::add(&hub.store, same, "test", UtcMs(2)).unwrap();
    assert!(matches!(ask(depot.cursor), PullReply::Page { .. }), "nothing was added, so nothing begins again");
    super::devices::add(&hub.store, more, "test", UtcMs(3)).unwrap();
    let epoch = depot.cursor.epoch;
    assert_eq!(ask(depot.cursor), PullReply::OtherEpoch(epoch));
    assert_eq!(ask(depot.cursor), PullReply::OtherEpoch(epoch), "the first answer may have been lost");
    depot.cursor = Cursor::start(epoch);
    assert_eq!(hub.pull(&mut depot).len(), 1);
    assert!(matches!(ask(depot.cursor), PullReply::Page { .. }), "told once");
}

#[test]
fn after_a_restart_everything_is_there_and_the_hub_writes_as_another_actor() {
    let mut hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    hub.says(depot.id(), cancelled(), Lane::Recalls);
    let before = hub.store.actor().clone();
    hub.restart();
    assert_eq!(hub.store.actor().epoch, before.epoch + 1);
    depot.say(Says::RecallSeen);
    let reply = depot.push(&hub);
    assert_eq!((reply.taken_through, reply.rejected.len()), (2, 0));
    hub.says(depot.id(), Says::Lifted { holds: Vec::new(), why: "x".into() }, Lane::Documents);
    while !hub.pull(&mut depot).is_empty() {}
    assert_eq!(stored_heads(&hub, &depot.id()), depot.document.heads());
}

#[test]
fn a_second_record_for_a_place_in_a_chain_is_kept_aside_and_shown() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let first = depot.decide(1, Hash32::ZERO, "held");
    depot.queue(Upward::Decision(first.clone()));
    depot.queue(Upward::Decision(depot.decide(2, first.hash(), "held")));
    depot.queue(Upward::Decision(depot.decide(2, first.hash(), "another")));
    depot.queue(Upward::Decision(depot.decide(4, first.hash(), "a gap")));
    let reply = depot.push(&hub);
    let numbers: Vec<u64> = reply.rejected.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [3, 4]);
    assert_eq!(hub.quarantined(), 2);
    let items = hub.pull(&mut depot);
    let anchor = items.iter().find(|item| matches!(item.says, Downward::Anchor(_)));
    let Some(Downward::Anchor(sealed)) = anchor.map(|item| &item.says) else { panic!("{items:?}") };
    let head: gatehouse_common::decision::ChainHead = sealed.open(&hub_key().public()).unwrap();
    assert_eq!(head.position, 2);
    assert_eq!(hub.store.read_now(|r| r.verify_audit()).unwrap(), 2);
}

#[test]
fn writers_that_come_together_share_commits_and_one_that_fails_undoes_only_its_own_work() {
    let hub = Hub::new();
    let before = hub.store.commits();
    std::thread::scope(|scope| {
        for n in 0..32 {
            let store = hub.store.clone();
            scope.spawn(move || {
                let result = store.write_now(move |tx| {
                    tx.set_cursor(&format!("test.{n}"), "x")?;
                    std::thread::sleep(std::time::Duration::from_micros(300));
                    if n % 4 == 0 { Err(crate::store::StoreError::Refused("no".into())) } else { Ok(n) }
                });
                assert_eq!(result.is_ok(), n % 4 != 0);
            });
        }
    });
    assert!(hub.store.commits() - before < 32, "{} commits", hub.store.commits() - before);
    for n in 0..32 {
        let kept = hub.store.read_now(|r| r.cursor(&format!("test.{n}"))).unwrap();
        assert_eq!(kept.is_some(), n % 4 != 0, "{n}");
    }
}

#[test]
fn heads_are_equal_on_both_sides_after_any_interleaving() {
    for seed in 0..24u64 {
        let mut hub = Hub::new();
        let mut depot = hub.gateway("gw-1", "D1", 7);
        depot.plan();
        let mut state = seed * 7919 + 1;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        depot.push(&hub);
        for _ in 0..24 {
            match next(8) {
                0 => drop(depot.say(Says::Ready)),
                1 => drop(depot.say(Says::Loading { evidence: evidence() })),
                2 => hub.says(depot.id(), cancelled(), Lane::Recalls),
                3 => hub.says(depot.id(), Says::Lifted { holds: Vec::new(), why: "w".into() }, Lane::Documents),
                4 => drop(depot.push(&hub)),
                5 => drop(hub.pull(&mut depot)),
                6 => drop(hub.store.fold_now().unwrap()),
                _ => hub.restart(),
            }
        }
        assert!(depot.push(&hub).rejected.is_empty(), "seed {seed}");
        while !hub.pull(&mut depot).is_empty() {}
        assert_eq!(stored_heads(&hub, &depot.id()), depot.document.heads(), "seed {seed}");
        let id = depot.id();
        assert_eq!(hub.store.read_now(move |r| r.dispatch_view(&id)).unwrap(), dispatch::fold(&depot.document));
    }
}
