//! A case that is put to rest while its condition goes on.

use gatehouse_common::{case::CaseState, reading::ScanStep};

use super::{Depot, both};

fn short_of_stock(depot: &mut Depot) {
    depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
    assert_eq!(depot.cases(), ["INV_SHORTFALL O1 open"]);
}

#[test]
fn a_case_resolved_while_its_condition_goes_on_is_reopened_once_after_a_while() {
    both(|depot| {
        short_of_stock(depot);
        depot.moves(depot.case("INV_SHORTFALL"), CaseState::Resolved).wait_minutes(1);
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 resolved"], "what was done has time to take effect");
        depot.wait_minutes(10);
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 reopened"]);
        assert_eq!(depot.case_views()[0].triggers, 2);
        depot.moves(depot.case("INV_SHORTFALL"), CaseState::Resolved).inventory("O1", 10).wait_minutes(10);
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 resolved"], "the stock is there");
    });
}

#[test]
fn a_case_cancelled_or_closed_while_its_condition_goes_on_is_followed_by_one_more() {
    both(|depot| {
        short_of_stock(depot);
        depot.moves(depot.case("INV_SHORTFALL"), CaseState::Cancelled).wait_minutes(10);
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 cancelled", "INV_SHORTFALL O1 open"]);
        let next = depot.look().cases().unwrap().into_iter().find(|row| row.view["state"] == "open").unwrap();
        depot.hub_moves(next.document, CaseState::Resolved).hub_moves(next.document, CaseState::Closed);
        depot.wait_minutes(10);
        let shown = ["INV_SHORTFALL O1 cancelled", "INV_SHORTFALL O1 closed", "INV_SHORTFALL O1 open"];
        assert_eq!(depot.cases(), shown);
        assert_eq!(depot.case_views().iter().map(|c| c.occurrence).max(), Some(3));
    });
}

#[test]
fn a_seal_broken_again_reopens_its_case_and_the_old_breach_does_not() {
    both(|depot| {
        depot.released("O1", 10).drives_off_with("O1", 10).wait_minutes(5).seal("V1", false);
        let case = depot.case("SEAL_BROKEN");
        depot.moves(case, CaseState::Resolved).wait_minutes(20);
        assert_eq!(depot.cases(), ["SEAL_BROKEN V1 resolved"]);
        depot.seal("V1", false);
        assert_eq!(depot.cases(), ["SEAL_BROKEN V1 reopened"]);
    });
}

#[test]
fn a_delay_that_someone_has_dealt_with_does_not_come_back_while_the_dispatch_waits() {
    both(|depot| {
        depot.released("O1", 10).until("10:15");
        depot.moves(depot.case("DEPARTURE_DELAY"), CaseState::Resolved).wait_minutes(30);
        assert_eq!(depot.cases(), ["DEPARTURE_DELAY O1 resolved", "MISSED_PICKUP O1 open"]);
    });
}

#[test]
fn a_closed_case_is_moved_at_the_hub_only() {
    both(|depot| {
        short_of_stock(depot);
        let case = depot.case("INV_SHORTFALL");
        depot.hub_moves(case, CaseState::Resolved).hub_moves(case, CaseState::Closed);
        for to in [CaseState::Reopened, CaseState::InProgress, CaseState::Cancelled] {
            let refused = depot.tap("supervisor", Depot::case_to(case, to, "long enough")).unwrap_err();
            assert_eq!(refused.to_string(), "it is closed; only the hub takes a closed case up again");
        }
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 closed"]);
    });
}

#[test]
fn a_case_that_the_hub_joined_to_another_of_its_matter_goes_on_there() {
    both(|depot| {
        short_of_stock(depot);
        depot.moves(depot.case("INV_SHORTFALL"), CaseState::Cancelled).wait_minutes(10);
        assert_eq!(depot.cases(), ["INV_SHORTFALL O1 cancelled", "INV_SHORTFALL O1 open"]);
        let find = |depot: &Depot, state: &str| {
            depot.look().cases().unwrap().into_iter().find(|row| row.view["state"] == state).unwrap().document
        };
        let (first, second) = (find(depot, "cancelled"), find(depot, "open"));
        depot.hub_joins(second, first).wait_minutes(10);
        // The first one was put to rest here, so what is seen now opens the next after it.
        assert!(depot.case_views().iter().any(|v| v.duplicate_of == Some(first)));
        depot.inventory("O1", 10).wait_minutes(30);
        assert!(depot.cases().iter().all(|case| !case.ends_with("open")), "{:?}", depot.cases());
    });
}

#[test]
fn a_case_that_grew_too_long_goes_on_in_one_that_names_it() {
    both(|depot| {
        short_of_stock(depot);
        let case = depot.case("INV_SHORTFALL");
        depot.hub_acts(case, 200).wait_minutes(130);
        let views = depot.case_views();
        let (old, new) = (views.iter().find(|v| v.occurrence == 1), views.iter().find(|v| v.occurrence == 2));
        assert_eq!(old.unwrap().state, CaseState::Closed);
        assert_eq!((new.unwrap().state, new.unwrap().follows), (CaseState::Open, Some(case)));
        assert_eq!(old.unwrap().continued_in.map(|id| id != case), Some(true));
    });
}

#[test]
fn a_case_is_written_whole_at_every_eighth_change_and_is_the_same_after_a_start_between_any_two() {
    both(|depot| {
        short_of_stock(depot);
        let case = depot.case("INV_SHORTFALL");
        let stored = |depot: &Depot| -> (bool, u32) {
            let sql = "SELECT length(snapshot) > 0,
                (SELECT count(*) FROM chunks c WHERE c.document = d.document AND c.position > d.through)
                FROM documents d WHERE document = ?1";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            depot.store.raw().query_row(sql, [case.to_string()], row).unwrap()
        };
        let mut seen = vec![stored(depot)];
        for _ in 0..16 {
            depot.hub_acts(case, 1);
            let view = depot.core.case(case).unwrap().clone();
            seen.push(stored(depot));
            depot.restart();
            assert_eq!(depot.core.case(case), Some(&view));
        }
        assert_eq!(seen.first(), Some(&(false, 1)), "one change is no reason to write all");
        assert!(seen.iter().all(|(_, behind)| *behind < 8), "{seen:?}");
        assert_eq!(seen.iter().filter(|(_, behind)| *behind == 0).count(), 2, "{seen:?}");
    });
}
