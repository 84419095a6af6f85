//! Readings that a clock which was behind took for yet to come, once it is right.

use gatehouse_common::{
    fact::{Fact, FactKey},
    reading::{ReadingValue, ScanStep},
    time::{BootId, UtcMs},
};

use super::{Depot, both};
use crate::core::set_right::KEPT_AHEAD_MAX;

const HOUR: i64 = 60 * 60_000;

impl Depot {
    /// A device whose clock is an hour ahead of ours says that goods of the order were scanned.
    fn scans_an_hour_ahead(&mut self, order: &str, quantity: u32) -> &mut Self {
        let value = ReadingValue::Scan { step: ScanStep::Staged, order: order.parse().unwrap(), line: 1, quantity };
        self.reads_at(self.now().plus(HOUR), value)
    }

    fn waiting_for_the_clock(&self) -> usize {
        let rules = self.store.snapshot().unwrap().rules;
        rules.into_iter().filter(|(key, _)| key.starts_with("kept_ahead/")).count()
    }

    /// What is held of the goods of the only order.
    fn cargo(&self) -> Option<Fact> {
        let facts = self.store.snapshot().unwrap().facts;
        facts.into_iter().find(|fact| matches!(fact.report.key, FactKey::Cargo { .. }))
    }

    fn cargo_age_ms(&self) -> Option<u64> {
        let fact = self.cargo().unwrap();
        self.moment().age_of(fact.report.at, &fact.received)
    }
}

#[test]
fn what_came_while_the_clock_was_behind_counts_once_when_it_is_right() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).wait_minutes(1).clock_set(-60);
        depot.scans_an_hour_ahead("O1", 4).scans_an_hour_ahead("O1", 6).wait_minutes(5);
        assert_eq!((depot.state("O1").as_str(), depot.waiting_for_the_clock()), ("planned", 2));
        let scanned = depot.now().plus(HOUR - 5 * 60_000);
        depot.clock_set(60);
        assert_eq!((depot.state("O1").as_str(), depot.waiting_for_the_clock()), ("released", 0));
        assert_eq!(depot.cargo().unwrap().report.at, scanned);
        depot.clock_set(-60).clock_set(60).wait_minutes(2);
        assert_eq!(depot.decided().len(), 1);
    });
}

#[test]
fn a_reading_of_a_device_that_is_ahead_is_not_followed_when_its_time_has_come_and_waits_for_a_day() {
    let mut depot = Depot::new(false, None);
    depot.order("O1", 10).scans_an_hour_ahead("O1", 10).wait_minutes(90);
    assert_eq!((depot.cargo(), depot.waiting_for_the_clock()), (None, 1));
    depot.passes_unseen(24 * 60);
    depot.wait_minutes(1);
    assert_eq!((depot.cargo(), depot.waiting_for_the_clock()), (None, 0));
}

#[test]
fn while_nothing_confirms_the_clock_nothing_more_is_followed_and_over_a_reboot_nobody_knows() {
    both(|depot| {
        depot.order("O1", 10).reboot(BootId("second".into()));
        depot.clock_set(-60).scans_an_hour_ahead("O1", 10).clock_set(60).wait_minutes(1);
        assert_eq!((depot.cargo(), depot.waiting_for_the_clock()), (None, 1));
        depot.clock_confirmed();
        depot.wait_minutes(1);
        assert_eq!((depot.cargo().is_some(), depot.waiting_for_the_clock()), (true, 0));
    });
    let mut depot = Depot::new(false, None);
    depot.order("O1", 10).clock_in_doubt();
    depot.clock_set(-60).scans_an_hour_ahead("O1", 10).reboot(BootId("second".into()));
    depot.clock_confirmed();
    depot.clock_set(60).wait_minutes(1);
    assert_eq!((depot.cargo(), depot.waiting_for_the_clock()), (None, 0));
}

#[test]
fn of_more_readings_than_may_wait_the_oldest_go_and_that_is_counted() {
    let mut depot = Depot::new(false, None);
    depot.order("O1", 10).clock_set(-60);
    for _ in 0..KEPT_AHEAD_MAX + 3 {
        depot.scans_an_hour_ahead("O1", 1);
    }
    assert_eq!(depot.waiting_for_the_clock(), KEPT_AHEAD_MAX);
    assert_eq!(depot.look().status().unwrap().counters["readings_ahead_let_go"], 3);
    assert_eq!(depot.look().readings(2_000).unwrap().len(), KEPT_AHEAD_MAX + 3, "as readings all are kept");
}

#[test]
fn goods_counted_under_a_clock_that_was_wrong_have_an_age_at_the_next_count() {
    both(|depot| {
        depot.order("O1", 10).scan(ScanStep::Staged, "O1", 10);
        // The load changes while the clock is ahead, and once more while it is behind.
        depot.clock_set(120).order("O1", 12).clock_set(-120).wait_minutes(1);
        depot.scan(ScanStep::Staged, "O1", 2);
        assert_eq!((depot.cargo().unwrap().report.at, depot.cargo_age_ms()), (depot.wall(), Some(0)));
        depot.clock_set(-60).order("O1", 14).wait_minutes(1).clock_set(60);
        assert_eq!(depot.cargo_age_ms(), Some(60_000));
        let before: UtcMs = depot.cargo().unwrap().report.at;
        depot.scan(ScanStep::Staged, "O1", 2);
        assert!(depot.cargo().unwrap().report.at > before);
    });
}
