//! Cut off from the hub: what the lease allows, and no more.

use gatehouse_common::{
    decision::DecisionKind,
    reading::ScanStep,
    sync::{Cursor, LedgerEpoch, Upward},
    time::BootId,
};

use super::{Depot, both};
use crate::core::input::{Input, Line};

#[test]
fn cut_off_a_dispatch_is_released_under_the_lease_in_mode_offline() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).cut_off().scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.decided(), ["release offline"]);
        assert_eq!(depot.decisions()[0].lease.as_ref().unwrap().used.stock.values().sum::<u32>(), 10);
    });
}

#[test]
fn a_short_silence_is_no_cut() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).line(Line::Lost).scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.decided(), ["release normal"]);
    });
}

#[test]
fn a_lease_that_is_used_up_holds_the_next_with_a_case_and_is_never_passed() {
    both(|depot| {
        depot.online().lease("L1", 15).prepared("O1", 10).prepared("O2", 10).cut_off();
        depot.scan(ScanStep::Staged, "O1", 10).scan(ScanStep::Staged, "O2", 10).wait_minutes(30);
        assert_eq!((depot.state("O1").as_str(), depot.state("O2").as_str()), ("released", "held"));
        assert_eq!(depot.cases(), ["INV_UNCONFIRMED O2 open"]);
        assert_eq!(depot.decided(), ["release offline", "hold -"]);
        depot.online().lease("L2", 50).inventory("O2", 10).wait_minutes(3);
        assert_eq!(depot.state("O2"), "released");
        assert_eq!(depot.cases(), ["INV_UNCONFIRMED O2 resolved"]);
    });
}

#[test]
fn without_a_lease_nothing_leaves_and_the_case_says_why() {
    both(|depot| {
        depot.online().prepared("O1", 10).cut_off().scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.cases(), ["FEED_STALE O1 open"]);
        assert!(depot.case_views()[0].summary.contains("no lease is held"));
    });
}

#[test]
fn facts_older_than_the_lease_allows_are_unknown_in_every_mode() {
    both(|depot| {
        depot.online().lease("L1", 100).prepared("O1", 10).cut_off().until("14:30");
        depot.scan(ScanStep::Staged, "O1", 10);
        assert_eq!(depot.state("O1"), "held");
        assert!(depot.cases().contains(&"INV_UNCONFIRMED O1 open".to_owned()));
    });
}

#[test]
fn a_new_lease_closes_the_old_one_with_a_statement_of_its_use() {
    both(|depot| {
        depot.released("O1", 10).wait_minutes(5).lease("L2", 50);
        let closed = depot.decisions().pop().unwrap();
        assert_eq!(closed.kind, DecisionKind::LeaseClosed);
        let charge = closed.lease.unwrap();
        assert_eq!((charge.lease.as_str(), charge.used.value_minor), ("L1", 10_000));
        assert_eq!(depot.look().status().unwrap().lease.unwrap().lease.id.as_str(), "L2");
    });
}

#[test]
fn a_hub_that_was_put_back_is_told_of_the_closed_leases_whose_closing_it_may_have_forgotten() {
    both(|depot| {
        depot.released("O1", 10).wait_minutes(5).lease("L2", 50);
        assert_eq!(depot.leases_to_tell(), ["L2", "L1"], "the closing of L1 waits");
        depot.hub_hears();
        assert_eq!(depot.leases_to_tell(), ["L2"], "it was told in this life of the ledger");
        depot.give(Input::StartAgain { cursor: Cursor::start(LedgerEpoch(7)) });
        assert_eq!(depot.leases_to_tell(), ["L2", "L1"], "it is told again");
        let through = depot.look().outbox_last().unwrap();
        let (ledger, rejected, changes) = (LedgerEpoch(7), Vec::new(), Vec::new());
        depot.give(Input::Pushed { ledger, through, rejected, changes, kept_through: through });
        depot.give(Input::StartAgain { cursor: Cursor::start(LedgerEpoch(8)) });
        assert_eq!(depot.leases_to_tell(), ["L2"], "a backup of the hub's holds it");
    });
}

#[test]
fn a_feed_that_begins_anew_in_the_same_life_has_only_decisions_told_again_and_in_another_everything() {
    both(|depot| {
        depot.released("O1", 10);
        depot.hub_hears();
        let last = depot.look().outbox_last().unwrap();
        for (ledger, is_another) in [(LedgerEpoch::default(), false), (LedgerEpoch(7), true)] {
            depot.give(Input::StartAgain { cursor: Cursor::start(ledger) });
            let waiting = depot.look().outbox(1_000).unwrap().into_iter().filter(|w| w.n <= last);
            let (decisions, others): (Vec<Upward>, Vec<Upward>) =
                waiting.map(|w| w.says).partition(|says| matches!(says, Upward::Decision(_)));
            assert!(!decisions.is_empty(), "one may be damaged at the hub, and comes no other way");
            assert_eq!(!others.is_empty(), is_another, "{others:?}");
        }
    });
}

#[test]
fn an_expired_lease_is_closed_by_itself() {
    both(|depot| {
        depot.online().lease_for("L1", 100, 20 * 60_000).wait_minutes(21);
        assert_eq!(depot.decided(), ["leaseclosed -"]);
        depot.wait_minutes(5);
        assert_eq!(depot.decided().len(), 1);
    });
}

#[test]
fn a_lease_that_gets_more_time_goes_on_with_what_was_used_of_it() {
    const HALF_AN_HOUR: u64 = 30 * 60_000;
    both(|depot| {
        let first = depot.wall();
        depot.online().lease_for("L1", 15, HALF_AN_HOUR).prepared("O1", 10).prepared("O2", 10);
        depot.scan(ScanStep::Staged, "O1", 10).wait_minutes(20);
        let once = depot.told_lease("L1");
        depot.lease_with("L1", 15, HALF_AN_HOUR, |lease| lease.granted_at = first);
        depot.tell(once);
        let held = depot.look().status().unwrap().lease.unwrap();
        assert_eq!(held.lease.expires_at, first.plus(50 * 60_000), "what the feed brings again shortens nothing");
        assert_eq!(held.used.stock.values().sum::<u32>(), 10);
        depot.cut_off().wait_minutes(20).scan(ScanStep::Staged, "O2", 10);
        assert_eq!(depot.decided(), ["release normal", "hold -"], "its first end closed nothing; 5 of 15 are left");
        depot.wait_minutes(11);
        let closed = depot.decisions().pop().unwrap();
        assert_eq!((closed.kind, closed.lease.unwrap().used.value_minor), (DecisionKind::LeaseClosed, 10_000));
        depot.online().lease_with("L1", 15, HALF_AN_HOUR, |lease| lease.granted_at = first);
        assert!(depot.look().status().unwrap().lease.is_none(), "what is closed stays closed");
    });
}

#[test]
fn a_lease_that_comes_again_with_more_in_it_allows_more_beside_what_was_used_of_it() {
    both(|depot| {
        let first = depot.wall();
        depot.online().lease("L1", 15).prepared("O1", 10).prepared("O2", 10);
        depot.scan(ScanStep::Staged, "O1", 10).wait_minutes(1);
        depot.lease_with("L1", 20, 8 * 3_600_000, |lease| lease.granted_at = first);
        let held = depot.look().status().unwrap().lease.unwrap();
        assert_eq!((held.lease.stock.values().sum::<u32>(), held.used.stock.values().sum::<u32>()), (20, 10));
        depot.cut_off().scan(ScanStep::Staged, "O2", 10);
        assert_eq!(depot.decided(), ["release normal", "release offline"], "10 of 20 were left");
    });
}

#[test]
fn a_lease_for_another_gateway_of_the_depot_is_neither_taken_nor_closed() {
    both(|depot| {
        depot.online();
        depot.lease_with("L9", 50, 3_600_000, |lease| lease.device = Some("gw-9".parse().unwrap()));
        depot.wait_minutes(90);
        assert!(depot.decided().is_empty(), "it has nothing to state of it");
        assert!(depot.look().status().unwrap().lease.is_none());
        depot.lease_with("L2", 50, 3_600_000, |lease| lease.device = Some("gw-1".parse().unwrap()));
        assert_eq!(depot.look().status().unwrap().lease.unwrap().lease.id.as_str(), "L2");
    });
}

#[test]
fn a_lease_signed_by_another_than_the_hub_goes_to_quarantine() {
    let mut depot = Depot::new(false, None);
    depot.core.profile.hub_key = Some(depot.core.profile.key.public());
    depot.online().lease("L1", 100);
    assert!(depot.look().status().unwrap().lease.is_none());
    assert_eq!(depot.look().quarantine(10).unwrap()[0].reason, "lease: signature does not match");
}

#[test]
fn after_a_reboot_with_an_unconfirmed_clock_the_lease_is_suspended() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10);
    depot.reboot(BootId("second".into()));
    depot.cut_off().scan(ScanStep::Staged, "O1", 10).wait_minutes(1);
    assert_eq!(depot.decided().iter().filter(|d| d.starts_with("release")).count(), 0);
    depot.clock_confirmed();
    depot.until("08:30");
    assert_eq!(depot.decided(), ["release offline"]);
}
