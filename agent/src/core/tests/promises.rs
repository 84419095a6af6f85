//! Another address or date that is promised while a release stands: its gates are weighed again.

use gatehouse_common::{
    dispatch::{Changed, Says},
    reading::ScanStep,
};

use super::{both, depot::time};

/// At this depot a promise that cannot be kept any more holds a dispatch.
const MINDS: &str = "version = 2\n[classes.standard]\ngates = [\"inventory\", \"cargo\", \"sla\"]\n";

/// The customer wants it by then.
fn by(clock: &str) -> Says {
    let (promised, promises) = (time("12:00"), time(clock));
    let why = "the customer asked".to_owned();
    Says::Changed { order_version: 2, what: vec![Changed::Date], promised, promises, why }
}

#[test]
fn row_11_a_release_whose_gates_are_met_under_the_new_promise_stands_and_says_that_they_were_weighed() {
    both(|depot| {
        depot.released("O1", 10).hub_says("O1", by("13:00")).wait_minutes(3);
        assert!(depot.dispatch("O1").weigh_again, "the order that has the promise is not here yet");
        depot.changes("O1", |o| o.window_end = time("13:00")).wait_minutes(3);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.weigh_again), ("released", false));
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn row_11_a_release_that_cannot_keep_the_new_promise_is_taken_back_and_released_when_it_can() {
    both(|depot| {
        depot
            .under(MINDS)
            .released("O1", 10)
            .wait_minutes(5)
            .hub_says("O1", by("08:00"))
            .changes("O1", |o| o.window_end = time("08:00"));
        depot.wait_minutes(1);
        assert_eq!(depot.state("O1"), "held");
        assert_eq!(depot.decided()[..2], ["release normal", "recall -"]);
        let recall = &depot.decisions()[1];
        assert!(recall.reason.starts_with("another address or date was promised: "), "{}", recall.reason);
        assert!(!recall.gates.is_empty(), "what it rests on is in the decision");
        assert!(depot.look().board().unwrap()[0].alarm.is_some());
        depot.wait_minutes(10);
        assert_eq!(depot.decided().iter().filter(|d| *d == "recall -").count(), 1, "once");
        let later = Says::Changed {
            order_version: 3,
            what: vec![Changed::Date],
            promised: time("08:00"),
            promises: time("13:00"),
            why: "the customer agreed".to_owned(),
        };
        depot.hub_says("O1", later).changes("O1", |o| o.window_end = time("13:00")).wait_minutes(5);
        assert_eq!((depot.state("O1").as_str(), depot.dispatch("O1").weigh_again), ("released", false));
        assert_eq!(depot.decided().last().unwrap(), "release normal");
    });
}

#[test]
fn row_11_goods_on_board_that_cannot_keep_the_new_promise_may_not_leave() {
    both(|depot| {
        depot.under(MINDS).released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 4).wait_minutes(5);
        depot.hub_says("O1", by("08:00")).changes("O1", |o| o.window_end = time("08:00")).wait_minutes(1);
        let view = depot.dispatch("O1");
        assert_eq!((view.state.as_str(), view.stop_departure), ("loading", true));
    });
}

#[test]
fn a_release_that_was_taken_back_is_not_made_to_stand_again_by_gates_where_a_person_releases() {
    both(|depot| {
        depot.released("O1", 10).changes("O1", |o| o.door = "4".parse().unwrap()).wait_minutes(1);
        assert_eq!(depot.state("O1"), "held");
        depot.under("version = 2\n[classes.standard]\nauto_release = false\n").at_door("4", None).wait_minutes(5);
        assert_eq!(depot.decided(), ["release normal", "recall -"]);
        assert_eq!(depot.state("O1"), "held", "the release that was taken back does not come back by itself");
    });
}
