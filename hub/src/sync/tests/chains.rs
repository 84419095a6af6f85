//! Chains of decisions: two copies of one device, and one that was restored.

use gatehouse_common::{
    decision::{Beginning, ChainHead},
    lease::Lease,
    sync::Stand,
};

use super::*;
use crate::{core::leases::LeaseRow, fixture, sync::standing::standing};

fn cases(hub: &Hub) -> Vec<String> {
    hub.store.fold_now().unwrap();
    let connection = rusqlite::Connection::open(&hub.path).unwrap();
    let mut query = connection.prepare("SELECT view FROM documents WHERE kind = 'case' ORDER BY view").unwrap();
    let views = query.query_map([], |r| r.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let line = |view: String| {
        let view: serde_json::Value = serde_json::from_str(&view).unwrap();
        format!(
            "{} {} {}",
            view["case_type"].as_str().unwrap(),
            view["subject"].as_str().unwrap(),
            view["leg"].as_str().unwrap()
        )
    };
    views.map(line).collect()
}

fn stands(hub: &Hub, depot: &Depot) -> gatehouse_common::sync::Standing {
    let device = depot.device.clone();
    let asked = Stand { outbox_epoch: 1 };
    hub.store.read_now(move |r| standing(r, &hub_key(), &device, &asked, UtcMs(2_000))).unwrap()
}

fn knows(hub: &Hub, depot: &Depot) -> ChainHead {
    stands(hub, depot).newest_head(&depot.device, Some(&hub_key().public())).unwrap().0
}

/// The first record of another epoch, naming `known` as what the hub knew last.
fn begin(depot: &Depot, epoch: u32, held: ChainHead, known: Option<&ChainHead>) -> Sealed {
    let mut record: DecisionRecord = depot.decide(1, Hash32::ZERO, "the store was restored").peek().unwrap();
    record.epoch = epoch;
    record.id = DecisionId::of(&depot.device, epoch, 1);
    record.kind = DecisionKind::EpochBegun;
    record.dispatch = None;
    record.begins = Some(Beginning { held, known: known.map(|head| Sealed::new(head, &hub_key()).unwrap()) });
    Sealed::new(&record, &depot.key).unwrap()
}

#[test]
fn a_second_record_for_a_place_that_is_taken_is_kept_and_opens_one_case() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let (first, other) = (depot.decide(1, Hash32::ZERO, "held"), depot.decide(1, Hash32::ZERO, "held for less"));
    assert!(hub.push_records(&depot, vec![(1, Upward::Decision(first.clone()))]).rejected.is_empty());
    let refused = hub.push_records(&depot, vec![(2, Upward::Decision(other.clone()))]);
    assert_eq!(refused.rejected[0].reason, "a second record for position 1 of chain 1");
    // The same evidence once more says nothing new.
    hub.push_records(&depot, vec![(3, Upward::Decision(other.clone())), (4, Upward::Decision(first))]);
    let device = depot.device.clone();
    assert_eq!(hub.store.read_now(move |r| r.forks_of(&device)).unwrap(), [other]);
    assert_eq!(cases(&hub), ["POLICY_VIOLATION gw-1 chain 1/1"]);
    assert_eq!(hub.store.read_now(|r| r.decision_count()).unwrap(), 1);
}

#[test]
fn a_device_that_was_restored_takes_no_lease_that_was_granted_while_the_clock_was_ahead() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    assert_eq!(stands(&hub, &depot).at, UtcMs(2_000));
    for (id, site, at) in [("L1", "D1", 1_000), ("L2", "D1", 9_000), ("L3", "D2", 99_000)] {
        let lease = Lease { granted_at: UtcMs(at), ..fixture::lease(id, site) };
        let sealed = Sealed::new(&lease, &hub_key()).unwrap();
        hub.store.write_now(move |tx| tx.put_lease(&LeaseRow::granted(lease, sealed), UtcMs(0))).unwrap();
    }
    assert_eq!(stands(&hub, &depot).at, UtcMs(9_000), "the newest of its own depot");
}

#[test]
fn a_device_is_told_what_the_hub_took_from_it_and_where_its_chains_have_got_to() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    assert_eq!(stands(&hub, &depot).heads, []);
    let first = depot.decide(1, Hash32::ZERO, "held");
    let second = depot.decide(2, first.hash(), "held");
    hub.push_records(&depot, vec![(1, Upward::Decision(first)), (5, Upward::Decision(second.clone()))]);
    let told = stands(&hub, &depot);
    assert_eq!((told.taken_through, told.outbox_epochs.clone(), told.newest_outbox_epoch()), (5, vec![1], 1));
    let head = ChainHead { device: depot.device.clone(), epoch: 1, position: 2, hash: second.hash() };
    assert_eq!(knows(&hub, &depot), head);
    let stranger = PrivateKey::from_seed([8; 32]).public();
    assert!(told.newest_head(&depot.device, Some(&stranger)).is_none(), "only the hub says what the hub knows");
}

#[test]
fn an_epoch_that_names_what_was_known_goes_on_and_one_that_does_not_opens_a_case() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let first = depot.decide(1, Hash32::ZERO, "held");
    let second = depot.decide(2, first.hash(), "held");
    hub.push_records(&depot, vec![(1, Upward::Decision(first.clone())), (2, Upward::Decision(second))]);
    let held = ChainHead { device: depot.device.clone(), epoch: 1, position: 1, hash: first.hash() };
    let known = knows(&hub, &depot);
    let restored = begin(&depot, 2, held.clone(), Some(&known));
    assert!(hub.push_records(&depot, vec![(3, Upward::Decision(restored))]).rejected.is_empty());
    assert_eq!(cases(&hub), Vec::<String>::new());
    assert_eq!((knows(&hub, &depot).epoch, knows(&hub, &depot).position), (2, 1));

    // A copy of the device that was restored as well, and does not know of the other's epoch.
    let copy = begin(&depot, 3, held, Some(&known));
    assert!(hub.push_records(&depot, vec![(4, Upward::Decision(copy))]).rejected.is_empty());
    assert_eq!(cases(&hub), ["POLICY_VIOLATION gw-1 chain 3/1"]);

    let groundless = {
        let mut r: DecisionRecord = depot.decide(1, Hash32::ZERO, "x").peek().unwrap();
        r.epoch = 4;
        r.id = DecisionId::of(&depot.device, 4, 1);
        Sealed::new(&r, &depot.key).unwrap()
    };
    let refused = hub.push_records(&depot, vec![(5, Upward::Decision(groundless))]);
    assert!(refused.rejected[0].reason.contains("does not say what came before"), "{refused:?}");
}
