//! What is taken out of the feeds and of quarantine.

use super::*;
use crate::store::quarantine::Refused;

on_both!(
    what_everybody_has_read_goes_out_of_the_feed_and_nothing_else_does,
    of_each_sender_the_newest_in_quarantine_stay
);

fn rows(store: &Store) -> usize {
    store.read_now(|r| r.feed(&[d1()], Lane::Documents, 0, 100)).unwrap().rows.len()
}

fn what_everybody_has_read_goes_out_of_the_feed_and_nothing_else_does(ground: &Ground) {
    let store = ground.open();
    store.write_now(|tx| tx.write_entries(&case_id(), opened(), "rule", Lane::Documents, UtcMs(1))).unwrap();
    store.write_now(|tx| publish(tx, "a note")).unwrap();
    let device = crate::store::Device {
        device: "gw-1".parse().unwrap(),
        kind: crate::store::DeviceKind::Gateway,
        public_key: gatehouse_common::seal::PrivateKey::from_seed([7; 32]).public(),
        sites: vec!["D1".parse().unwrap()],
        vehicles: Vec::new(),
    };
    let (name, listed) = (device.device.clone(), device.clone());
    store.write_now(move |tx| tx.put_device(&listed, UtcMs(1))).unwrap();
    let state = |store: &Store| store.read_now(|r| Ok((r.state_hash()?, r.feed_head()?))).unwrap();
    let (before, had) = (state(&store), rows(&store));
    assert!(had > 0);

    let life = store.read_now(|r| r.ledger_epoch()).unwrap();
    let mut cursor = gatehouse_common::sync::Cursor::start(life);
    let heard = |cursor, at| {
        let name = name.clone();
        store.write_now(move |tx| tx.device_reads(&name, &cursor, true, UtcMs(at))).unwrap();
    };
    heard(cursor, 100);
    assert_eq!(store.prune_now(UtcMs(50)).unwrap(), 0, "it has read nothing");
    assert_eq!(store.prune_now(UtcMs(200)).unwrap(), had as u64, "it is away");
    assert_eq!((rows(&store), state(&store), feed(&store, 0).len()), (0, before, 1));
    crate::store::moving::verify(&ground.location).unwrap();

    let behind = |cursor| store.read_now(|r| r.is_behind_pruned(&device, &cursor)).unwrap();
    assert!(!behind(cursor), "it stands at the start");
    cursor.pass(Lane::Documents, 1);
    let end = store.read_now(|r| r.pruned_through(&[d1()])).unwrap();
    assert_eq!(behind(cursor), end > 1);
    cursor.pass(Lane::Documents, end);
    assert!(!behind(cursor));
    // Numbers go on where they were, and what comes later stays until it is read.
    let more = DocumentSays::Case(vec![Says::Acted { action: "looked".to_owned(), outcome: "nothing".to_owned() }]);
    store.write_now(|tx| tx.write_entries(&case_id(), more, "rule", Lane::Documents, UtcMs(2))).unwrap();
    heard(cursor, 300);
    assert_eq!((store.prune_now(UtcMs(200)).unwrap(), rows(&store)), (0, 1));
    assert!(store.read_now(|r| r.feed_head()).unwrap() > before.1);
    // A place of another life says nothing.
    heard(gatehouse_common::sync::Cursor { epoch: gatehouse_common::sync::LedgerEpoch(3), positions: [99; 4] }, 300);
    assert_eq!(store.prune_now(UtcMs(200)).unwrap(), 0);
}

fn of_each_sender_the_newest_in_quarantine_stay(ground: &Ground) {
    let store = ground.open();
    let put = |tx: &mut Tx<'_>, origin: &str, n: u8| {
        let (origin, bytes) = (origin.parse().unwrap(), [n]);
        let hash = gatehouse_common::id::Hash32::of(&bytes);
        let refused = Refused { origin: &origin, what: "fact", document: None, hash, reason: "no", bytes: &bytes };
        tx.quarantine_put(&refused, UtcMs(n.into()))
    };
    let left = store
        .write_now(move |tx| {
            (1..=6).try_for_each(|n| put(tx, "gw-1", n))?;
            put(tx, "gw-2", 7)?;
            tx.thin_quarantine(&"gw-1".parse().unwrap(), 4)?;
            tx.thin_quarantine(&"gw-2".parse().unwrap(), 4)?;
            tx.quarantine(10)
        })
        .unwrap();
    let left: Vec<(&str, i64)> = left.iter().map(|one| (one.origin.as_str(), one.at.0)).collect();
    assert_eq!(left, [("gw-2", 7), ("gw-1", 6), ("gw-1", 5), ("gw-1", 4), ("gw-1", 3)]);
}
