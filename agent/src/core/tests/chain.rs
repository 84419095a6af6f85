//! The hub's receipts for the chain of decisions, and a store that turns out to be an older copy.

use gatehouse_common::{
    decision::{ChainHead, DecisionKind, DecisionRecord},
    dispatch::Says,
    id::Hash32,
    reading::ScanStep,
    seal::{PrivateKey, Sealed},
    sync::{Downward, Standing, Upward},
    time::UtcMs,
};

use super::{Depot, both};
use crate::core::input::Input;

fn hub(head: &ChainHead) -> Sealed {
    Sealed::new(head, &PrivateKey::from_seed([9; 32])).unwrap()
}

fn head(depot: &Depot) -> ChainHead {
    let newest = depot.look().decisions(1).unwrap().remove(0);
    ChainHead {
        device: "gw-1".parse().unwrap(),
        epoch: newest.epoch,
        position: newest.position,
        hash: newest.hash.parse().unwrap(),
    }
}

fn anchored(depot: &Depot) -> Vec<(u32, u64)> {
    depot.look().anchors().unwrap().iter().map(|row| (row.epoch, row.position)).collect()
}

#[test]
fn every_receipt_of_the_hub_that_agrees_with_the_chain_is_kept() {
    both(|depot| {
        depot.released("O1", 10);
        let first = head(depot);
        depot.tell(Downward::Anchor(hub(&first)));
        depot.credit(true).wait_minutes(1).prepared("O2", 5).wait_minutes(150);
        assert!(head(depot).position > first.position);
        let second = head(depot);
        depot.tell(Downward::Anchor(hub(&second))).tell(Downward::Anchor(hub(&second)));
        // One that is told late says nothing new.
        depot.tell(Downward::Anchor(hub(&first)));
        assert_eq!(anchored(depot), [(1, first.position), (1, second.position)]);
        assert_eq!(depot.look().quarantine(9).unwrap(), []);
    });
}

#[test]
fn a_receipt_that_contradicts_the_chain_is_refused_and_opens_a_case() {
    both(|depot| {
        depot.released("O1", 10);
        let real = head(depot);
        depot.tell(Downward::Anchor(hub(&ChainHead { hash: Hash32::of(b"other"), ..real.clone() })));
        assert_eq!(anchored(depot), []);
        assert_eq!(depot.cases(), ["POLICY_VIOLATION gw-1 open"]);
        assert!(depot.look().quarantine(9).unwrap()[0].reason.contains("not the one that stands here"));
        // Told again, also after a right one, it is one case.
        depot.tell(Downward::Anchor(hub(&real)));
        depot.tell(Downward::Anchor(hub(&ChainHead { hash: Hash32::of(b"other"), ..real.clone() })));
        assert_eq!((anchored(depot), depot.cases().len()), (vec![(1, real.position)], 1));
    });
}

#[test]
fn a_receipt_that_the_hub_did_not_sign_and_one_for_another_device_are_not_kept() {
    both(|depot| {
        depot.released("O1", 10);
        let forged = Sealed::new(&head(depot), &PrivateKey::from_seed([7; 32])).unwrap();
        depot.tell(Downward::Anchor(forged));
        depot.tell(Downward::Anchor(hub(&ChainHead { device: "gw-2".parse().unwrap(), ..head(depot) })));
        assert_eq!((anchored(depot), depot.cases()), (vec![], vec![]));
        assert_eq!(depot.look().quarantine(9).unwrap().len(), 1);
    });
}

fn standing(at: UtcMs, heads: &[ChainHead], outbox_epochs: Vec<u64>) -> Standing {
    Standing { at, taken_through: 900, outbox_epochs, heads: heads.iter().map(hub).collect() }
}

#[test]
fn a_store_that_is_an_older_copy_begins_an_epoch_that_names_what_the_hub_knew_last() {
    both(|depot| {
        depot.released("O1", 10);
        let held = head(depot);
        let known = ChainHead { position: held.position + 4, hash: Hash32::of(b"forgotten"), ..held.clone() };
        depot.give(Input::Outlived(standing(depot.wall(), &[known.clone()], vec![1])));

        let began: DecisionRecord = depot.look().decisions(1).unwrap()[0].sealed.peek().unwrap();
        assert_eq!((began.kind, began.epoch, began.position), (DecisionKind::EpochBegun, 2, 1));
        let begins = began.begins.unwrap();
        assert_eq!(begins.held, held);
        assert_eq!(begins.known.unwrap().open::<ChainHead>(&PrivateKey::from_seed([9; 32]).public()).unwrap(), known);
        assert_eq!(depot.look().outbox_epoch().unwrap(), 2);

        // What it releases from now on stands in the new epoch and is written by a new actor.
        depot.online().prepared("O2", 5).scan(ScanStep::Staged, "O2", 5);
        assert_eq!(depot.state("O2"), "planned", "the lease of before is not used any more");
        assert_eq!(depot.core.actor.to_string(), "site/D1/gw-1/2");
        let document = depot.hub_document("O2");
        let entries = document.entries::<Says>().0;
        assert!(entries.keys().all(|key| key.to_string().starts_with("site/D1/gw-1/2")), "{entries:?}");
    });
}

#[test]
fn after_a_restore_no_lease_of_before_is_used_again_and_no_statement_of_its_use_is_made() {
    both(|depot| {
        depot.released("O1", 10);
        let again = depot.told_lease("L1");
        depot.wait_minutes(5);
        depot.give(Input::Outlived(standing(depot.wall(), &[head(depot)], vec![1, 4])));
        assert_eq!(depot.look().outbox_epoch().unwrap(), 5);
        depot.tell(again).online().prepared("O2", 5).scan(ScanStep::Staged, "O2", 5);
        assert!(depot.look().status().unwrap().lease.is_none());
        let closed = |d: &DecisionRecord| d.kind == DecisionKind::LeaseClosed;
        assert!(!depot.decisions().iter().any(closed));
        let told = depot.hub_hears();
        assert!(!told.iter().any(|u| matches!(u, Upward::Decision(s) if s.body.contains("lease_closed"))));

        depot.wait_minutes(1).lease("L2", 1_000).wait_minutes(1);
        assert_eq!(depot.state("O2"), "released");
    });
}

#[test]
fn a_lease_that_is_over_is_not_taken_again_when_the_feed_brings_it_once_more() {
    both(|depot| {
        depot.released("O1", 10);
        let again = depot.told_lease("L1");
        depot.wait_minutes(1).lease("L2", 1_000);
        let decided = depot.decided().len();
        depot.tell(again);
        assert_eq!(depot.decided().len(), decided);
        assert_eq!(depot.look().status().unwrap().lease.unwrap().lease.id.to_string(), "L2");
    });
}
