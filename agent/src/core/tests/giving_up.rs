//! A depot asks that a dispatch be cancelled: with proof where its vehicle stayed away, without where it did not.

use gatehouse_common::{dispatch::Says, reading::ScanStep};

use super::{Depot, both};
use crate::core::{decision::TapRefused, input::Act};

fn asks(depot: &mut Depot) -> Result<String, TapRefused> {
    let act = Act::AskToCancel { dispatch: Depot::id("O1"), reason: "no truck has come".into() };
    depot.tap("dispatch", act).map(|done| done.message)
}

/// Whether what was asked stands, and with proof.
fn asked(depot: &Depot) -> Option<bool> {
    depot.dispatch("O1").cancel_asked.map(|asked| asked.is_proven)
}

/// The vehicle is so far north of the yard, by several fixes in a row.
fn is_seen(depot: &mut Depot, metres_north: f64) {
    for _ in 0..4 {
        depot.fix("V1", metres_north).wait_minutes(1);
    }
}

#[test]
fn what_a_depot_asks_goes_on_until_the_hub_answers_and_is_asked_once() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10);
        let message = asks(depot).unwrap();
        assert!(message.ends_with("until somebody there answers, it goes on"), "{message}");
        assert_eq!(asked(depot), Some(false));
        let again = asks(depot).unwrap_err();
        assert_eq!(again.to_string(), "the hub is asked already and has not answered yet");
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "released", "nothing is cancelled before the hub says so");
        let key = depot.dispatch("O1").cancel_asked.unwrap().key;
        depot.hub_says("O1", Says::CancelDeclined { asked: vec![key], why: "another truck comes".into() });
        assert_eq!(asked(depot), None);
        asks(depot).unwrap();
        depot.hub_says("O1", Says::Cancelled { order_version: 1, why: "agreed".into() });
        assert_eq!((depot.state("O1").as_str(), asked(depot)), ("cancelled", None));
        assert!(matches!(asks(depot), Err(TapRefused::State(_))));
    });
}

#[test]
fn a_vehicle_that_was_away_when_its_slot_was_over_is_proof_and_one_that_was_away_before_is_not() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).until("09:30");
        is_seen(depot, 50_000.0);
        asks(depot).unwrap();
        assert_eq!(asked(depot), Some(false), "its slot lasts until ten");
        depot.until("10:05");
        is_seen(depot, 50_000.0);
        let message = asks(depot).unwrap();
        assert!(message.contains("its vehicle is away and its slot is over"), "{message}");
        assert_eq!(asked(depot), Some(true));
        assert!(asks(depot).is_err(), "with the same proof it is not asked again");
    });
}

#[test]
fn a_vehicle_in_the_yard_or_with_goods_on_board_is_no_proof() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).until("10:05");
        is_seen(depot, 0.0);
        asks(depot).unwrap();
        assert_eq!(asked(depot), Some(false));
    });
    both(|depot| {
        depot.released("O1", 10).at_door("3", Some("V1")).scan(ScanStep::Loaded, "O1", 10).until("10:05");
        is_seen(depot, 50_000.0);
        assert!(["loading", "loaded"].contains(&depot.state("O1").as_str()), "{}", depot.state("O1"));
        asks(depot).unwrap();
        assert_eq!(asked(depot), Some(false));
    });
}

#[test]
fn asking_takes_a_reason() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10);
    let act = Act::AskToCancel { dispatch: Depot::id("O1"), reason: "no".into() };
    assert_eq!(depot.tap("dispatch", act), Err(TapRefused::Reason { min_chars: 8 }));
}
