//! A feed from which goes what was read, and a depot that comes back behind that.

use gatehouse_common::sync::{Comparison, Repaired, repair::Step};

use super::{repair::Kept, *};

const DAY: i64 = 86_400_000;

impl Hub {
    fn heard(&self, depot: &Depot, now: i64) {
        let (device, cursor) = (depot.device.clone(), depot.cursor);
        self.store.write_now(move |tx| tx.device_reads(&device, &cursor, true, UtcMs(now))).unwrap();
    }

    fn ask(&self, depot: &Depot) -> PullReply {
        let asked = Pull { cursor: depot.cursor, wait_ms: 0, recalls_only: false };
        let attest = pull::Attest { key: hub_key(), run: self.store.actor().epoch, now: UtcMs(1) };
        pull::answer(&self.store, &depot.device, &asked, Some(&attest)).unwrap()
    }

    /// Everything that is in the feed for the depot; false if it is told to begin again.
    pub(super) fn reads(&self, depot: &mut Depot) -> bool {
        loop {
            let PullReply::Page { items, cursor, .. } = self.ask(depot) else { return false };
            let is_end = cursor == depot.cursor;
            depot.cursor = cursor;
            for item in items {
                if let Downward::Chunk { bytes, .. } = item.says {
                    depot.document.apply_own(&bytes).unwrap();
                }
            }
            if is_end {
                return true;
            }
        }
    }

    fn rows_of_documents(&self, depot: &Depot) -> usize {
        let scope = Scope::Site(depot.site.clone());
        self.store.read_now(|r| r.feed(&[scope], Lane::Documents, 0, 1_000)).unwrap().rows.len()
    }

    fn heads_of(&self, depot: &Depot) -> Vec<Hash32> {
        self.store.read_now(|r| r.document(&depot.id())).unwrap().unwrap().1.heads()
    }
}

/// What a device does that was told to begin again: it reads the recalls, then compares and takes what it lacks.
pub(super) fn begins_again(hub: &Hub, depot: &mut Depot) {
    depot.cursor = Cursor::start(depot.cursor.epoch);
    let mut comparison = Comparison::new();
    loop {
        let step = comparison.next(&Kept(&*depot, Vec::new())).unwrap();
        let asked = match step {
            Step::Done(head) => return depot.cursor.pass(Lane::Documents, head),
            Step::Ask(asked) => asked,
        };
        let answer = crate::sync::handle_repair(&hub.store, &hub_key(), &depot.device, asked, &at(DAY)).unwrap();
        if let Repaired::Given(refused) = &answer {
            assert_eq!(*refused, []);
        }
        for item in comparison.answered(answer).unwrap() {
            match item.says {
                Downward::Chunk { bytes, .. } => drop(depot.document.apply_own(&bytes).unwrap()),
                Downward::Snapshot { bytes, .. } => {
                    for chunk in Document::admit_whole(&bytes).unwrap().chunks() {
                        depot.document.apply_own(&chunk.bytes).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
}

/// A depot that has read a few changes, and many more that only another device of its scope has read since.
fn one_is_away() -> (Hub, Depot, Depot) {
    let hub = Hub::new();
    let mut away = hub.gateway("gw-1", "D1", 7);
    away.plan();
    away.push(&hub);
    hub.says(away.id(), Says::Lifted { holds: Vec::new(), why: "0".into() }, Lane::Documents);
    assert!(hub.reads(&mut away));
    hub.heard(&away, DAY);
    let mut there = hub.gateway("gw-2", "D1", 8);
    for n in 1..=40 {
        hub.says(away.id(), Says::Lifted { holds: Vec::new(), why: n.to_string() }, Lane::Documents);
    }
    assert!(hub.reads(&mut there));
    hub.heard(&there, 40 * DAY);
    (hub, away, there)
}

#[test]
fn a_depot_that_stayed_away_longer_than_the_limit_begins_again_and_both_sides_are_the_same() {
    let (hub, mut away, there) = one_is_away();
    let before = hub.store.read_now(|r| r.state_hash()).unwrap();
    // The vehicle of the dispatch has a feed of its own, and no unit that reads it.
    assert_eq!(hub.store.prune_now(UtcMs(10 * DAY)).unwrap(), 2 * 42);
    assert_eq!(hub.rows_of_documents(&away), 0);
    assert_eq!(hub.store.read_now(|r| r.state_hash()).unwrap(), before, "nothing that was said is gone");
    crate::store::moving::verify(&Location::Sqlite(hub.path.clone())).unwrap();

    away.say(Says::Ready);
    assert!(!hub.reads(&mut away));
    begins_again(&hub, &mut away);
    assert!(hub.reads(&mut away), "it is told once");
    assert_eq!(away.push(&hub).rejected, []);
    assert_eq!(hub.heads_of(&away), away.document.heads());
    assert_ne!(away.document.heads(), there.document.heads());
    // From here on it goes on by the feed, as before.
    hub.says(away.id(), cancelled(), Lane::Recalls);
    hub.says(away.id(), Says::Lifted { holds: Vec::new(), why: "on".into() }, Lane::Documents);
    assert!(hub.reads(&mut away));
    assert_eq!(hub.heads_of(&away), away.document.heads());
}

/// The control: without the mark of what is gone, nobody is told to begin again.
#[test]
fn rows_that_go_above_the_slowest_cursor_without_a_word_leave_a_depot_behind() {
    let (hub, mut away, _) = one_is_away();
    hub.store.prune_now(UtcMs(10 * DAY)).unwrap();
    rusqlite::Connection::open(&hub.path).unwrap().execute("DELETE FROM feed_pruned", []).unwrap();
    assert!(hub.reads(&mut away));
    assert_ne!(hub.heads_of(&away), away.document.heads());
}

#[test]
fn what_a_device_that_was_heard_lately_has_not_read_stays() {
    let (hub, mut away, _) = one_is_away();
    hub.heard(&away, 20 * DAY);
    assert_eq!(hub.store.prune_now(UtcMs(10 * DAY)).unwrap(), 42 + 2, "what both have read");
    assert!(hub.reads(&mut away));
    assert_eq!(hub.heads_of(&away), away.document.heads());
    hub.heard(&away, 41 * DAY);
    assert_eq!(hub.store.prune_now(UtcMs(10 * DAY)).unwrap(), 40);
    assert!(hub.reads(&mut away), "it has read all of it");
}

#[test]
fn recalls_stay_for_whoever_comes_back() {
    let (hub, mut away, _) = one_is_away();
    hub.says(away.id(), cancelled(), Lane::Recalls);
    hub.says(away.id(), Says::Lifted { holds: Vec::new(), why: "on".into() }, Lane::Documents);
    hub.store.prune_now(UtcMs(100 * DAY)).unwrap();
    assert!(!hub.reads(&mut away));
    away.cursor = Cursor::start(away.cursor.epoch);
    assert!(hub.reads(&mut away));
    assert!(dispatch::fold(&away.document).unwrap().cancelled.is_some(), "read before anything is compared");
}

#[test]
fn a_device_that_cannot_compare_keeps_its_rows_however_long_it_is_silent() {
    let (hub, away, _) = one_is_away();
    let (device, cursor) = (away.device.clone(), away.cursor);
    hub.store.write_now(move |tx| tx.device_reads(&device, &cursor, false, UtcMs(DAY))).unwrap();
    assert_eq!(hub.store.prune_now(UtcMs(10 * DAY)).unwrap(), 42 + 2);
    // A new one with such a program is refused rather than left without what is gone.
    let old = hub.gateway("gw-3", "D1", 9);
    let asked = Pull { cursor: old.cursor, wait_ms: 0, recalls_only: false };
    assert!(pull::answer(&hub.store, &old.device, &asked, None).is_err());
}
