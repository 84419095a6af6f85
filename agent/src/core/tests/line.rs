//! A recall that waits at the hub wins against a release here.

use gatehouse_common::reading::ScanStep;

use super::both;
use crate::core::input::Line;

#[test]
fn after_a_start_nothing_is_released_before_the_first_exchange_has_ended_however_long_it_takes() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).line(Line::Starting).scan(ScanStep::Staged, "O1", 10);
        depot.wait_minutes(10);
        assert!(depot.decided().is_empty(), "{:?}", depot.decided());
        depot.line(Line::Up { recalls_known: false }).wait_minutes(1);
        assert!(depot.decided().is_empty(), "{:?}", depot.decided());
        depot.online();
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn a_depot_that_starts_cut_off_releases_under_its_lease_once_the_first_exchange_has_failed() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).line(Line::Starting).scan(ScanStep::Staged, "O1", 10);
        depot.wait_minutes(2);
        assert!(depot.decided().is_empty(), "{:?}", depot.decided());
        depot.line(Line::Lost);
        assert_eq!(depot.decided(), ["release offline"]);
    });
}

#[test]
fn the_first_page_after_a_cut_releases_nothing_while_recalls_may_wait_behind_it() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).scan(ScanStep::Staged, "O1", 4).cut_off();
        depot.inventory("O1", 10).scan(ScanStep::Staged, "O1", 6).wait_minutes(1);
        assert!(depot.decided().is_empty(), "{:?}", depot.decided());
        depot.online();
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn an_answer_without_the_recalls_does_not_end_the_silence() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).cut_off();
        depot.line(Line::Up { recalls_known: false }).line(Line::Lost).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.decided(), ["release offline"]);
    });
}
