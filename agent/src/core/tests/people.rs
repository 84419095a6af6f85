//! What people may do at the page and what policy says to it.

use gatehouse_common::{case::CaseState, reading::ScanStep};

use super::{Depot, both};
use crate::core::{decision::TapRefused, input::Act};

fn override_of(order: &str, reason: &str) -> Act {
    Act::Override { dispatch: Depot::id(order), reason: reason.into() }
}

#[test]
fn a_supervisor_overrides_a_shortfall_with_a_reason_and_the_record_says_who_and_why() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "held");
        depot.tap("supervisor", override_of("O1", "counted by hand: all ten are here")).unwrap();
        assert_eq!(depot.state("O1"), "released");
        let decision = depot.decisions().pop().unwrap();
        assert_eq!(depot.decided().last().unwrap(), "override override");
        assert_eq!(decision.reason, "counted by hand: all ten are here");
        assert!(decision.lease.is_some());
        depot.wait_minutes(5);
        assert_eq!(
            (depot.state("O1").as_str(), depot.cases().as_slice()),
            ("released", ["INV_SHORTFALL O1 resolved".to_owned()].as_slice())
        );
    });
}

#[test]
fn an_override_needs_the_role_a_reason_and_for_credit_a_second_person() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4);
    let refused = depot.tap("dispatch", override_of("O1", "long enough")).unwrap_err();
    assert_eq!(refused.to_string(), "role dispatch may not do this; ask supervisor");
    assert_eq!(depot.tap("supervisor", override_of("O1", "short")), Err(TapRefused::Reason { min_chars: 8 }));
    depot.credit(true);
    let asked = depot.tap("supervisor", override_of("O1", "long enough")).unwrap();
    assert_eq!(asked.message, "credit is not met: a second person must confirm order O1 within 15 minutes");
    assert!(matches!(depot.tap("supervisor", override_of("O9", "long enough")), Err(TapRefused::NotFound(_))));
    assert!(depot.decisions().iter().all(|d| d.mode.is_none()));
}

#[test]
fn a_case_is_taken_up_at_the_depot_and_finance_cases_are_resolved_at_the_hub_only() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10).credit(true).prepared("O2", 5).credit(true).inventory("O2", 1);
    let case = |depot: &Depot, code: &str| {
        let row = depot.look().cases().unwrap().into_iter().find(|c| c.view["case_type"] == code).unwrap();
        row.document
    };
    let credit = case(&depot, "CREDIT_HOLD");
    let act = |case, to| Depot::case_to(case, to, "seen to it");
    depot.tap("dispatch", act(credit, CaseState::Acknowledged)).unwrap();
    let refused = depot.tap("dispatch", act(credit, CaseState::Resolved)).unwrap_err();
    assert_eq!(refused.to_string(), "only the hub may resolve a case of finance, customs or policy");
    let stock = case(&depot, "INV_SHORTFALL");
    depot.tap("warehouse", act(stock, CaseState::Resolved)).unwrap();
    assert!(depot.cases().contains(&"INV_SHORTFALL O2 resolved".to_owned()));
}

#[test]
fn what_a_person_lets_go_beyond_the_lease_is_gone_from_it_so_that_nothing_is_spent_twice() {
    both(|depot| {
        depot.online().lease("L1", 15).prepared("O1", 20).scan(ScanStep::Staged, "O1", 20);
        assert_eq!(depot.state("O1"), "planned", "the lease holds 15 only, and a larger one may come");
        depot.tap("supervisor", override_of("O1", "the customer waits at the gate")).unwrap();
        let taken = depot.decisions().pop().unwrap();
        assert_eq!(depot.decided(), ["override override"]);
        assert_eq!(taken.lease.unwrap().used.stock.values().sum::<u32>(), 20);
        depot.prepared("O2", 10).scan(ScanStep::Staged, "O2", 10).cut_off().wait_minutes(1);
        assert_eq!(depot.state("O2"), "held");
        assert_eq!(depot.decided(), ["override override", "hold -"]);
        depot.online().lease("L2", 50);
        let closed = depot.decisions().into_iter().find_map(|d| d.lease.filter(|_| d.dispatch.is_none())).unwrap();
        assert_eq!(closed.used.stock.values().sum::<u32>(), 20);
    });
}

#[test]
fn without_any_lease_a_release_by_hand_is_an_override() {
    both(|depot| {
        depot.online().prepared("O1", 10).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "planned");
        depot.tap("supervisor", override_of("O1", "the customer waits at the gate")).unwrap();
        assert_eq!((depot.decided(), depot.decisions().remove(0).lease), (vec!["override override".to_owned()], None));
    });
}

#[test]
fn beyond_the_credit_that_the_lease_sets_aside_two_persons_are_needed() {
    both(|depot| {
        let small = |lease: &mut gatehouse_common::lease::Lease| {
            lease.value_ceiling_minor = 9_000;
            lease.credit_minor.values_mut().for_each(|minor| *minor = 9_999);
        };
        depot.online().lease_with("L1", 100, 3_600_000, small).prepared("O1", 10).scan(ScanStep::Staged, "O1", 10);
        let asked = depot.tap("supervisor", override_of("O1", "the customer waits at the gate")).unwrap();
        assert!(asked.message.contains("it goes beyond the credit that the lease sets aside"), "{}", asked.message);
        assert!(depot.decided().is_empty());
    });
}
