//! A bit that flips at the hub: found, given to nobody, and back from the depot that has it.

use gatehouse_common::order::{Customer, Order, OrderStatus, Tier};

use super::{pruning::begins_again, *};

impl Hub {
    fn sql(&self, sql: &str) -> usize {
        rusqlite::Connection::open(&self.path).unwrap().execute(sql, []).unwrap()
    }

    /// A bit of the depot's second change flips, and with `snapshot` also one of what is folded of the document.
    fn flips(&self, snapshot: bool) {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let second = "SELECT position, body FROM ledger WHERE kind = 'chunk' ORDER BY position LIMIT 1 OFFSET 1";
        let (position, mut body): (i64, Vec<u8>) =
            connection.query_row(second, [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        body[60] ^= 4;
        connection.execute("UPDATE ledger SET body = ?1 WHERE position = ?2", (body, position)).unwrap();
        if snapshot {
            assert_eq!(self.sql("UPDATE documents SET checksum = x'0000000000000000'"), 1);
        }
    }

    fn damaged(&self) -> Vec<(String, u64)> {
        self.store.read_now(|r| r.damaged_counts()).unwrap()
    }

    fn verifies(&self) -> bool {
        crate::store::moving::verify(&Location::Sqlite(self.path.clone())).is_ok()
    }

    fn heads_now(&self, depot: &Depot) -> Option<Vec<Hash32>> {
        self.store.read_now(|r| r.document(&depot.id())).ok().flatten().map(|(_, d)| d.heads())
    }
}

/// A depot that has told three changes and read one of the hub's.
fn told() -> (Hub, Depot) {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Ready);
    depot.say(Says::Loading { evidence: evidence() });
    assert_eq!(depot.push(&hub).rejected, []);
    hub.says(depot.id(), cancelled(), Lane::Recalls);
    assert!(hub.reads(&mut depot));
    hub.store.fold_now().unwrap();
    (hub, depot)
}

#[test]
fn a_flipped_bit_is_found_given_to_nobody_and_comes_back_from_the_depot() {
    let (mut hub, mut depot) = told();
    let whole = depot.document.heads();
    let mut other = hub.gateway("gw-2", "D1", 8);
    hub.flips(true);
    hub.restart();
    assert!(!hub.verifies());
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 2, "the change and what was folded of it");
    assert_eq!(hub.damaged(), [("ledger".to_owned(), 1)]);
    assert!(hub.reads(&mut other) || other.cursor.positions == [0; 4]);
    assert_ne!(other.document.heads(), whole, "it is given to nobody");
    assert_eq!(hub.store.scrub_now(UtcMs(51)).unwrap(), 2, "it stays so");

    // What the depot says meanwhile is not taken, and not lost either.
    depot.say(Says::RecallSeen);
    let newest = depot.outbox.last().cloned().unwrap();
    let sent_back = hub.push_records(&depot, vec![newest.clone()]);
    assert_eq!((sent_back.rejected, sent_back.taken_through), (vec![], 3));
    assert!(!hub.reads(&mut depot), "it is to begin again");
    begins_again(&hub, &mut depot);
    assert_eq!(hub.damaged(), []);
    assert!(hub.verifies());
    assert_eq!(hub.heads_now(&depot), Some(depot.document.heads()), "with what it said meanwhile");
    let taken = hub.push_records(&depot, vec![newest]);
    assert_eq!((taken.rejected, taken.taken_through), (vec![], 4), "it comes again and is known");
    hub.store.fold_now().unwrap();
    other.cursor = Cursor::start(other.cursor.epoch);
    while !hub.reads(&mut other) {}
    assert_eq!(other.document.heads(), depot.document.heads(), "and who had passed it gets it");
}

#[test]
fn what_is_told_of_a_document_that_cannot_be_read_is_sent_back_until_it_is_whole_and_no_longer_than_an_hour() {
    let (mut hub, mut depot) = told();
    hub.flips(true);
    // Nobody has read the store over.
    hub.restart();
    depot.say(Says::RecallSeen);
    depot.say(Says::RecallSeen);
    let decision = depot.decide(1, Hash32::ZERO, "held");
    depot.queue(Upward::Decision(decision));
    depot.queue(Upward::Fact("{}".into()));
    let news = depot.outbox.split_off(3);
    for _ in 0..2 {
        let reply = hub.push_records(&depot, news.clone());
        assert_eq!((reply.taken_through, reply.rejected), (3, vec![]));
        assert_eq!(hub.damaged(), [("ledger".to_owned(), 1)], "it is put aside at once");
    }
    assert_eq!(hub.store.read_now(|r| r.decision_count()).unwrap(), 1, "what is behind it is taken meanwhile");

    // Its own changes, told once more, make it whole: then all of it is taken, and what is wrong refused.
    assert_eq!(depot.push(&hub).rejected, []);
    assert_eq!(hub.damaged(), []);
    let reply = hub.push_records(&depot, news.clone());
    assert_eq!((reply.taken_through, reply.rejected.len()), (7, 1));
    assert_eq!(reply.rejected[0].number, 7);
    assert_eq!(hub.heads_now(&depot), Some(depot.document.heads()));

    // Where nobody has the change any more, it is refused in the end: the depot must get on.
    let (mut hub, mut depot) = told();
    hub.flips(true);
    hub.restart();
    depot.say(Says::RecallSeen);
    let news = depot.outbox.split_off(3);
    assert_eq!(hub.push_records(&depot, news.clone()).taken_through, 3);
    // Not even where it was found long ago: who comes back now may be the one that has it.
    hub.sql("UPDATE damaged SET found_ms = found_ms - 90000000");
    assert_eq!(hub.push_records(&depot, news.clone()).taken_through, 3);
    hub.sql("UPDATE cursors SET value = CAST (CAST (value AS BIGINT) - 3600000 AS TEXT) WHERE name LIKE 'sent_back/%'");
    let reply = hub.push_records(&depot, news);
    assert_eq!((reply.taken_through, reply.rejected.len()), (4, 1));
    // Once it is whole, another that rots has its own hour.
    assert_eq!(depot.push(&hub).rejected.len(), 0);
    assert_eq!(hub.sql("UPDATE cursors SET value = value WHERE name LIKE 'sent_back/%'"), 0);
}

#[test]
fn a_device_that_tells_its_outbox_again_makes_its_own_changes_whole() {
    let (mut hub, depot) = told();
    hub.flips(true);
    hub.restart();
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 2);
    assert_eq!(depot.push(&hub).rejected, []);
    assert_eq!((hub.damaged().len(), hub.verifies()), (0, true));
    assert_eq!(hub.heads_now(&depot), Some(depot.document.heads()));
}

#[test]
fn without_the_scrub_a_flipped_bit_keeps_others_apart_for_good() {
    let (mut hub, mut depot) = told();
    let mut other = hub.gateway("gw-2", "D1", 8);
    hub.flips(true);
    hub.restart();
    assert!(hub.reads(&mut depot), "nobody asks it for anything");
    assert!(hub.reads(&mut other));
    begins_again(&hub, &mut other);
    assert!(hub.reads(&mut other));
    assert_ne!(other.document.heads(), depot.document.heads());
    assert_eq!((hub.heads_now(&depot), hub.verifies()), (None, false));
}

#[test]
fn a_document_that_cannot_be_read_ends_no_verification_once_what_is_damaged_of_it_is_put_aside() {
    let (mut hub, _depot) = told();
    hub.flips(true);
    hub.restart();
    assert!(!hub.verifies());
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 2);
    let verified = crate::store::moving::verify(&Location::Sqlite(hub.path.clone())).unwrap();
    assert_eq!(verified.rows_put_aside, 1);
}

#[test]
fn what_the_store_itself_still_has_makes_a_row_whole_at_once() {
    let (mut hub, depot) = told();
    hub.flips(false);
    hub.restart();
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 1);
    assert_eq!((hub.damaged().len(), hub.verifies()), (0, true));
    assert_eq!(hub.heads_now(&depot), Some(depot.document.heads()));
    assert_eq!(hub.store.scrub_now(UtcMs(51)).unwrap(), 0);
}

#[test]
fn a_decision_that_is_damaged_comes_back_when_its_device_tells_it_again() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    let decision = depot.decide(1, Hash32::ZERO, "held");
    depot.queue(Upward::Decision(decision));
    depot.push(&hub);
    assert_eq!(hub.sql("UPDATE decisions SET body = replace(body, 'held', 'hemd')"), 1);
    assert!(hub.store.read_now(|r| r.decisions_after(0, 9)).is_err(), "never given out");
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 1);
    assert_eq!(hub.damaged(), [("decisions".to_owned(), 1)]);
    let device = depot.device.clone();
    assert!(hub.store.read_now(move |r| r.begins_again(&device)).unwrap(), "its device is to tell it again");
    depot.push(&hub);
    assert_eq!(hub.damaged(), []);
    assert_eq!(hub.store.read_now(|r| r.decisions_after(0, 9)).unwrap()[0].record.reason, "held");
}

#[test]
fn an_order_is_served_altered_without_the_scrub_and_as_the_ledger_has_it_with_it() {
    let hub = Hub::new();
    let order = order();
    let id = order.id.clone();
    hub.store.write_now(move |tx| tx.put_order(&order, UtcMs(1)).map(drop)).unwrap();
    let carrier = || hub.store.read_now(|r| r.order(&id)).unwrap().unwrap().carrier.to_string();
    let sound = carrier();
    let other = "x".repeat(sound.len());
    assert_eq!(
        hub.sql(&format!(
            "UPDATE orders SET body = replace(body, '\"carrier\":\"{sound}\"', '\"carrier\":\"{other}\"')"
        )),
        1
    );
    assert_eq!(carrier(), other, "nothing else would notice");
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 1);
    assert_eq!((carrier(), hub.damaged().len()), (sound, 0));
    // The ledger's own row is made whole from what is served of it.
    assert_eq!(hub.sql("UPDATE ledger SET body = x'7b7d' WHERE kind = 'order'"), 1);
    assert_eq!(hub.store.scrub_now(UtcMs(60)).unwrap(), 1);
    assert_eq!((hub.damaged().len(), hub.verifies()), (0, true));
}

fn order() -> Order {
    Order {
        id: "O1".parse().unwrap(),
        version: 1,
        site: "D1".parse().unwrap(),
        customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::B },
        lines: Vec::new(),
        currency: "EUR".into(),
        class: "standard".into(),
        vehicle: "v1".parse().unwrap(),
        carrier: "c1".parse().unwrap(),
        door: "3".parse().unwrap(),
        planned_departure: UtcMs(9_000),
        window_end: UtcMs(9_000),
        destination: None,
        route: None,
        status: OrderStatus::Released,
        cut_off: None,
        dangerous_goods: false,
    }
}

#[test]
fn a_row_that_cannot_be_read_does_not_end_its_lane_nor_keep_a_depot_from_what_is_behind() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let notes = 600;
    hub.store
        .write_now(move |tx| {
            for n in 0..notes {
                let says = Downward::Sources(n.to_string());
                tx.publish(&Scope::Site("D1".parse().unwrap()), Lane::Rest, &says, UtcMs(1))?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00' WHERE position = 3"), 1);
    // As many in a row as are read at once.
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00' WHERE position > 256 AND position <= 512"), 256);
    let mut had = 0;
    loop {
        let asked = Pull { cursor: depot.cursor, wait_ms: 0, recalls_only: false };
        let PullReply::Page { items, cursor, more } = pull::answer(&hub.store, &depot.device, &asked, None).unwrap()
        else {
            panic!()
        };
        (had, depot.cursor) = (had + items.len(), cursor);
        if !more {
            break;
        }
    }
    assert_eq!(had, notes - 257);
    let all = hub.store.read_now(|r| r.feed(&[Scope::Site("D1".parse().unwrap())], Lane::Rest, 0, 256)).unwrap();
    assert_eq!((all.rows.len(), all.last, all.is_end), (255, Some(256), false));
}

fn has_an_order_and_a_lease(hub: &Hub) {
    let order = order();
    let sealed = Sealed::new(&"lease", &hub_key()).unwrap();
    let lease = Downward::Lease(sealed.clone());
    hub.store
        .write_now(move |tx| {
            tx.put_order(&order, UtcMs(1))?;
            tx.publish_newest(&Scope::Site("D1".parse().unwrap()), Lane::Orders, &lease, "lease/L1", UtcMs(1)).map(drop)
        })
        .unwrap();
    let connection = rusqlite::Connection::open(&hub.path).unwrap();
    connection
        .execute(
            "INSERT INTO leases (id, site, body, signature, state, used, granted_ms, expires_ms)
             VALUES ('L1', 'D1', ?1, ?2, 'outstanding', '{}', 1, 2)",
            (&sealed.body, &sealed.signature),
        )
        .unwrap();
}

#[test]
fn an_order_and_a_lease_that_rotted_are_made_whole_and_told_to_those_who_had_passed_them() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    has_an_order_and_a_lease(&hub);
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00' WHERE kind IN ('order', 'lease')"), 2);
    assert!(hub.pull(&mut depot).is_empty(), "neither can be read");
    hub.store.scrub_now(UtcMs(50)).unwrap();
    assert_eq!(hub.damaged(), []);
    let kinds: Vec<bool> = hub.pull(&mut depot).iter().map(|i| matches!(i.says, Downward::Lease(_))).collect();
    assert_eq!(kinds, [false, true], "they come once more");
    assert!(hub.pull(&mut depot).is_empty());
}

#[test]
fn an_order_whose_served_copy_rotted_is_read_from_the_ledger_until_it_is_whole() {
    let hub = Hub::new();
    let order = order();
    let put = order.clone();
    hub.store.write_now(move |tx| tx.put_order(&put, UtcMs(1)).map(drop)).unwrap();
    assert_eq!(hub.sql("UPDATE orders SET body = '{'"), 1);
    assert_eq!(hub.store.read_now(|r| r.order(&"O1".parse().unwrap())).unwrap(), Some(order));
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00'"), 1);
    assert!(hub.store.read_now(|r| r.order(&"O1".parse().unwrap())).is_err(), "then nobody has it");
}

#[test]
fn one_order_that_rotted_keeps_nobody_from_the_others() {
    let hub = Hub::new();
    let (one, two) = (order(), Order { id: "O2".parse().unwrap(), ..order() });
    let both = [one.clone(), two.clone()];
    hub.store.write_now(move |tx| both.iter().try_for_each(|order| tx.put_order(order, UtcMs(1)).map(drop))).unwrap();
    let read = || {
        let customer = "C1".parse().unwrap();
        hub.store.read_now(|r| Ok((r.orders()?, r.orders_of_customer(&customer)?))).unwrap()
    };
    assert_eq!(hub.sql("UPDATE orders SET body = '{' WHERE order_id = 'O1'"), 1);
    assert_eq!(read(), (vec![one.clone(), two.clone()], vec![one, two.clone()]), "as the ledger has it");
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00' WHERE subject = 'order/O1'"), 1);
    assert_eq!(read(), (vec![two.clone()], vec![two]), "then it alone is left out");
}

#[test]
fn a_change_of_which_only_the_sender_rotted_is_told_to_all_and_its_sender_gets_it_back() {
    let hub = Hub::new();
    let (mut depot, mut other) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D1", 8));
    depot.plan();
    assert_eq!(depot.push(&hub).rejected, []);
    assert_eq!(hub.sql("UPDATE ledger SET origin = 'no name' WHERE kind = 'chunk'"), 1);
    assert!(hub.verifies(), "nothing else would notice");
    assert_eq!(hub.pull(&mut other).len(), 1);
    assert_eq!(other.document.heads(), depot.document.heads());
    assert_eq!(hub.pull(&mut depot).len(), 1);
    assert_eq!(other.document.heads(), depot.document.heads(), "which changes nothing");
}

#[test]
fn an_order_and_a_lease_of_which_only_the_kind_rotted_are_made_whole() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    has_an_order_and_a_lease(&hub);
    assert_eq!(hub.sql("UPDATE ledger SET kind = 'x' || substr(kind, 2) WHERE kind IN ('order', 'lease')"), 2);
    assert!(hub.pull(&mut depot).is_empty(), "neither can be read");
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 2);
    assert_eq!((hub.damaged().len(), hub.verifies()), (0, true));
    assert_eq!(hub.pull(&mut depot).len(), 2);
}

/// The hash of these rows rots: they are not found by it any more.
const HASH_ROTS: &str = "UPDATE ledger SET hash = substr(hash, 2) || substr(hash, 1, 1)";

#[test]
fn what_is_said_again_while_it_is_not_found_stands_once_in_the_end_and_goes_to_all() {
    for rots_as_well in [false, true] {
        let hub = Hub::new();
        let mut depots = [hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8)];
        let say = |site: &str| {
            let (scope, says) = (Scope::Site(site.parse().unwrap()), Downward::Sources("1".to_owned()));
            hub.store.write_now(move |tx| tx.publish(&scope, Lane::Rest, &says, UtcMs(1))).unwrap()
        };
        let rows = || {
            let count = "SELECT count(*) FROM ledger WHERE kind = 'sources'";
            rusqlite::Connection::open(&hub.path).unwrap().query_row(count, [], |r| r.get::<_, i64>(0)).unwrap()
        };
        say("D1");
        assert_eq!(hub.sql(HASH_ROTS), 1);
        assert_eq!((say("D1"), say("D2"), rows(), hub.verifies()), (false, true, 2, false));
        if rots_as_well {
            let second = "UPDATE ledger SET body = x'00' WHERE position = (SELECT max(position) FROM ledger)";
            assert_eq!(hub.sql(second), 1);
        }
        assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 1 + usize::from(rots_as_well));
        assert_eq!((hub.damaged().len(), rows(), hub.verifies()), (0, 1, true));
        for depot in &mut depots {
            assert_eq!(hub.pull(depot).len(), 1);
        }
        assert!(!say("D1") && !say("D2"), "it is found again");
        assert_eq!(hub.store.scrub_now(UtcMs(51)).unwrap(), 0);
    }
}

#[test]
fn a_change_that_was_refused_while_it_was_not_found_is_let_in_with_what_builds_on_it() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Ready);
    assert_eq!(depot.push(&hub).rejected, []);
    assert_eq!(hub.sql(&format!("{HASH_ROTS} WHERE kind = 'chunk' AND seq = 2")), 1);
    // Another life of the outbox tells all of it again.
    let (device, push) = (depot.device.clone(), Push { outbox_epoch: 2, records: depot.outbox.clone() });
    let again = hub.store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(2_000))).unwrap();
    assert_eq!((again.rejected.len(), hub.quarantined()), (1, 1));
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 1);
    assert_eq!((hub.damaged().len(), hub.verifies(), hub.quarantined()), (0, true, 0));
    depot.say(Says::Loading { evidence: evidence() });
    assert_eq!(depot.push(&hub).rejected, []);
}

#[test]
fn a_row_that_cannot_be_put_aside_does_not_keep_what_is_behind_it_from_being_read_over() {
    let hub = Hub::new();
    for n in 1..=3 {
        let (scope, says) = (Scope::Site("D1".parse().unwrap()), Downward::Sources(n.to_string()));
        hub.store.write_now(move |tx| tx.publish(&scope, Lane::Rest, &says, UtcMs(1))).unwrap();
    }
    assert_eq!(hub.sql("UPDATE ledger SET body = x'00' WHERE position < 3"), 2);
    hub.sql("CREATE TRIGGER refuses BEFORE INSERT ON damaged WHEN new.name = '1' BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_eq!(hub.store.scrub_now(UtcMs(50)).unwrap(), 2);
    assert_eq!(hub.damaged(), [("ledger".to_owned(), 1)], "the second of them");
}

#[test]
fn what_a_row_is_found_by_is_checked_as_well_and_written_anew_from_what_it_says() {
    let (hub, mut depot) = told();
    hub.sql("UPDATE ledger SET seq = 9 WHERE kind = 'chunk' AND seq = 2");
    hub.sql("UPDATE ledger SET actor = 'site/D1/gw-9/1' WHERE kind = 'chunk' AND seq = 3");
    hub.sql("UPDATE ledger SET hash = replace(hash, 'a', 'b') WHERE kind = 'chunk' AND seq = 1 AND origin <> ''");
    assert!(!hub.verifies());
    let found = hub.store.scrub_now(UtcMs(50)).unwrap();
    assert_eq!((found >= 2, hub.damaged().len(), hub.verifies()), (true, 0, true), "{found}");
    depot.say(Says::RecallSeen);
    assert_eq!(depot.push(&hub).rejected, [], "the next number is due");
}
