//! What is taken out of the feeds, of quarantine, and of what partners sent and were told.

use gatehouse_common::{
    fact::{FactKey, FactValue},
    time::{BootId, Moment},
};
use serde_json::json;

use super::*;
use crate::{
    partners::events::{Event, Taken},
    store::{
        past::{Gone, KEPT_MS},
        quarantine::Refused,
        sql::params,
        webhooks::{HookDelivery, HookEvent},
    },
};

on_both!(
    what_everybody_has_read_goes_out_of_the_feed_and_nothing_else_does,
    of_each_sender_the_newest_in_quarantine_stay,
    an_event_that_comes_again_once_its_mark_is_gone_changes_nothing,
    an_event_goes_with_the_last_of_its_deliveries_that_is_long_over,
    what_waits_stays_and_what_nobody_asks_for_is_parked_first,
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

fn an_event_that_comes_again_once_its_mark_is_gone_changes_nothing(ground: &Ground) {
    let store = ground.open();
    let begun: UtcMs = "2030-05-01T08:00:00Z".parse().unwrap();
    let comes = |id: &str, confirmed: u32, at: UtcMs, wall: UtcMs| {
        let body = json!({
            "specversion": "1.0", "id": id, "source": "/wms/a", "type": "io.gatehouse.wms.inventory.v1",
            "data": { "order": "SO-1", "line": 1, "confirmed": confirmed, "at": at.to_string() },
        });
        let body = body.to_string().into_bytes();
        let event = Event::parse(&body, wall).unwrap();
        let now = Moment { wall, uncertainty_ms: 0, boot: BootId::default(), boottime_ms: 0, trusted: true };
        store.write_now(move |tx| event.take(tx, &"wms".parse().unwrap(), &body, &now)).unwrap()
    };
    let prune = |now: UtcMs| store.write_now(move |tx| tx.prune_past(now, 1)).unwrap().marks;
    assert_eq!(comes("a", 40, begun, begun), Taken::New);
    assert_eq!(comes("b", 50, begun, begun.plus(1)), Taken::New, "a correction of the same second");
    let end = begun.plus(KEPT_MS);
    assert_eq!(prune(end), 0, "it is not older than that");
    assert_eq!(comes("a", 40, begun, end), Taken::Again);

    let later = end.plus(2);
    assert_eq!((prune(later), prune(later), prune(later)), (1, 1, 0), "the oldest first, a few at a time");
    assert_eq!(comes("a", 40, begun, later), Taken::Late, "it may have been taken");
    let key = FactKey::Inventory { order: "SO-1".parse().unwrap(), line: 1 };
    let held = || store.read_now(|r| r.fact(&key)).unwrap().unwrap().report.value;
    assert_eq!(held(), FactValue::Inventory { confirmed: 50 });
    // What is surely none of before is taken, however old it is.
    assert_eq!(comes("c", 60, begun.plus(60_000), later), Taken::New);
    assert_eq!(comes("b", 70, later, later), Taken::New);
    assert_eq!(held(), FactValue::Inventory { confirmed: 70 });
}

fn tell(store: &Store, id: &str, hooks: &[&str], at: UtcMs) {
    let event = HookEvent {
        id: id.to_owned(),
        kind: "case.open".to_owned(),
        site: "D1".parse().unwrap(),
        body: "{}".to_owned(),
        at,
        expires: at.plus(60_000),
    };
    let hooks: Vec<String> = hooks.iter().map(|hook| (*hook).to_owned()).collect();
    store.write_now(move |tx| tx.keep_hook_event(&event, &hooks)).unwrap();
}

fn ends(store: &Store, event: &str, hook: &str, state: &str, at: UtcMs) {
    let (event, hook, state) = (event.to_owned(), hook.to_owned(), state.to_owned());
    let delivery = HookDelivery { event, hook, state, attempts: 1, next_try: at, last_error: String::new() };
    store.write_now(move |tx| tx.keep_hook_delivery(&delivery)).unwrap();
}

fn prune(store: &Store, now: UtcMs) -> Gone {
    store.write_now(move |tx| tx.prune_past(now, 100)).unwrap()
}

/// How many events and deliveries there are.
fn told(store: &Store) -> (i64, i64) {
    let read = store.read_now(|r| {
        let count = |sql: &str| r.sql.one(sql, params![], |row| row.get::<i64>(0));
        Ok((count("SELECT count(*) FROM hook_events")?, count("SELECT count(*) FROM hook_deliveries")?))
    });
    read.unwrap()
}

fn an_event_goes_with_the_last_of_its_deliveries_that_is_long_over(ground: &Ground) {
    let store = ground.open();
    let begun = UtcMs(KEPT_MS);
    tell(&store, "to two", &["crm", "bus"], begun);
    tell(&store, "parked", &["crm"], begun);
    ends(&store, "to two", "crm", "delivered", begun);
    ends(&store, "to two", "bus", "stale", begun.plus(10));
    ends(&store, "parked", "crm", "dead", begun);

    assert_eq!(prune(&store, begun.plus(KEPT_MS)), Gone::default(), "none is older than that");
    let went = Gone { told: 2, ..Gone::default() };
    assert_eq!((prune(&store, begun.plus(KEPT_MS + 1)), told(&store)), (went, (1, 1)));
    let now = begun.plus(KEPT_MS + 2);
    let replayed = store.write_now(move |tx| tx.replay_hook("parked", "crm", now));
    assert!(matches!(replayed, Err(StoreError::Refused(_))), "{replayed:?}");
    // A person still wants the other one: it waits, and has its event.
    store.write_now(move |tx| tx.replay_hook("to two", "bus", now)).unwrap();
    assert_eq!((prune(&store, begun.plus(KEPT_MS + 11)), told(&store)), (Gone::default(), (1, 1)));
    assert!(store.read_now(|r| r.hook_due("bus", now)).unwrap().is_some());
    ends(&store, "to two", "bus", "delivered", now);
    let went = Gone { told: 1, ..Gone::default() };
    assert_eq!((prune(&store, now.plus(KEPT_MS + 1)), told(&store)), (went, (0, 0)));
}

fn what_waits_stays_and_what_nobody_asks_for_is_parked_first(ground: &Ground) {
    let store = ground.open();
    let begun = UtcMs(KEPT_MS);
    tell(&store, "no news", &["gone", "ended"], begun);
    // What is parked late has its time from then on, not from when it was told.
    let ended = begun.plus(KEPT_MS);
    store.write_now(move |tx| tx.end_hook("ended", "it answered 410", ended)).unwrap();
    // Waits for a receiver that is away, and is news until long after.
    tell(&store, "news", &["away"], begun);
    let until = begun.plus(10 * KEPT_MS).0;
    let sql = "UPDATE hook_events SET expires_ms = ?1 WHERE id = 'news'";
    assert_eq!(store.write_now(move |tx| Ok(tx.sql.execute(sql, params![until])?)).unwrap(), 1);

    let later = ended.plus(1);
    assert_eq!((prune(&store, later), told(&store)), (Gone { parked: 1, ..Gone::default() }, (2, 3)));
    let dead = store.read_now(|r| r.hook_dead()).unwrap();
    let dead: Vec<(&str, &str, UtcMs)> =
        dead.iter().map(|one| (one.hook.as_str(), one.state.as_str(), one.next_try)).collect();
    assert_eq!(dead, [("gone", "stale", later), ("ended", "dead", ended)]);
    assert_eq!(prune(&store, later.plus(KEPT_MS - 1)), Gone::default(), "it has as long again");
    let went = Gone { told: 2, ..Gone::default() };
    assert_eq!((prune(&store, later.plus(KEPT_MS + 1)), told(&store)), (went, (1, 1)));
    assert_eq!(prune(&store, begun.plus(9 * KEPT_MS)), Gone::default(), "it is still to be delivered");
}
