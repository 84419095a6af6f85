//! A store that must not grow without end.

use super::depot::Depot;
use crate::{
    core::input::{Input, Line, Unreadable},
    store::{Limits, StoreError},
};
use gatehouse_common::id::Hash32;

fn unreadable(n: u32) -> Input {
    let (topic, reason) = (format!("docks/{}", n % 3), "not JSON".to_owned());
    let head = n.to_be_bytes().repeat(64);
    Input::Unreadable(Unreadable {
        topic,
        reason,
        payload_hash: Hash32::of(&n.to_be_bytes()),
        size: 256,
        head,
        receipt: None,
    })
}

#[test]
fn quarantine_beyond_its_budget_lets_the_oldest_go_with_a_record_of_how_many() {
    let mut depot = Depot::new(false, None);
    let limits = Limits { quarantine_bytes: 100_000, ..Limits::default() };
    depot.store.keep_within(limits).unwrap();
    for n in 0..2_000 {
        depot.give(unreadable(n));
    }
    while depot.store.tidy(depot.now()).unwrap() {}
    let left = depot.look().quarantine(10_000).unwrap();
    let sql = "SELECT sum(count) FROM let_go WHERE what = 'quarantine'";
    let gone: i64 = depot.store.raw().query_row(sql, [], |row| row.get(0)).unwrap();
    let gone = gone.unsigned_abs();
    assert_eq!(left.len() as u64 + gone, 2_000);
    assert!((150..400).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().unwrap().payload_hash, Hash32::of(&(gone as u32).to_be_bytes()).to_string());
    assert_eq!(depot.look().status().unwrap().counters["quarantine_let_go"], gone);
}

#[test]
fn at_the_end_of_its_budget_the_store_takes_nothing_and_says_so_and_goes_on_when_there_is_room() {
    let mut depot = Depot::new(false, None);
    let small = Limits { budget_bytes: 1 << 20, ..Limits::default() };
    depot.store.keep_within(small).unwrap();
    assert!(!depot.look().status().unwrap().room.is_full);
    let mut taken = 0;
    let refused = loop {
        match depot.try_to_give(unreadable(taken)) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, StoreError::DiskFull { .. }) && refused.is_passing(), "{refused}");
    let status = depot.look().status().unwrap();
    assert!(status.room.is_full && status.room.used_bytes <= 1 << 20, "{:?}", status.room);
    assert_eq!(status.counters["quarantined"], u64::from(taken), "all that was acknowledged is there");
    depot.store.keep_within(Limits { budget_bytes: 4 << 20, ..small }).unwrap();
    depot.try_to_give(unreadable(taken)).unwrap();
    depot.line(Line::Lost);
    assert!(!depot.look().status().unwrap().room.is_full);
}
