//! A newer version of an order ends a release that it does not fit.

use gatehouse_common::{decision::DecidedBy, reading::ScanStep};

use super::{Depot, both};
use crate::core::input::Act;

#[test]
fn an_order_that_moved_to_another_depot_is_not_released_by_the_first() {
    both(|depot| {
        depot.online().lease("L1", 1_000).prepared("O1", 10).changes("O1", |o| o.site = "D2".parse().unwrap());
        depot.scan(ScanStep::Staged, "O1", 10).until("10:30").online();
        assert_eq!((depot.state("O1").as_str(), depot.decided().len()), ("planned", 0));
        let act = Act::Override { dispatch: Depot::id("O1"), reason: "it stands here".into() };
        let refused = depot.tap("supervisor", act).unwrap_err().to_string();
        assert!(refused.contains("another depot"), "{refused}");
        assert!(depot.cases().is_empty(), "{:?}", depot.cases());
    });
}

#[test]
fn a_release_of_an_order_that_moved_to_another_depot_is_recalled_with_an_alarm_and_comes_back_with_the_order() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.site = "D2".parse().unwrap()).wait_minutes(3);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.decided(), ["release normal", "recall -"]);
        let recall = depot.decisions().pop().unwrap();
        assert_eq!(recall.by, DecidedBy::Rule { rule: "order changed".into() });
        assert_eq!(recall.reason, "the order leaves from D2 now");
        assert_eq!(depot.look().board().unwrap()[0].alarm.as_ref().unwrap().why, recall.reason);
        depot.order("O1", 10).wait_minutes(1);
        assert_eq!(depot.decided(), ["release normal", "recall -", "release normal"]);
    });
}

#[test]
fn goods_on_board_for_an_order_that_moved_away_may_not_leave_and_once_unloaded_it_is_aborted() {
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10);
        depot.changes("O1", |o| o.site = "D2".parse().unwrap());
        assert!(depot.dispatch("O1").stop_departure);
        depot.scan(ScanStep::Unloaded, "O1", 10);
        assert_eq!(depot.state("O1"), "aborted");
    });
}
