//! A change that the hub does not let in.

use gatehouse_common::{
    dispatch::{DispatchState, document_id},
    document::gate::inspect,
    id::DocumentKind,
    sync::{LedgerEpoch, Rejection, Upward, repair::Local},
};

use super::{Depot, both};
use crate::core::input::{Input, RefusedChange};

/// The changes that wait to be told, with their numbers.
fn waiting(depot: &Depot) -> Vec<(u64, RefusedChange)> {
    let records = depot.look().outbox(10_000).unwrap();
    let changes = records.into_iter().filter_map(|record| match record.says {
        Upward::Chunk { document, kind, bytes } => {
            let (change, reason) = (inspect(&bytes).unwrap().hash, "checksum is wrong".to_owned());
            Some((record.n, RefusedChange { document, kind, change, reason }))
        }
        _ => None,
    });
    changes.collect()
}

fn refuse(depot: &mut Depot, (number, change): (u64, RefusedChange)) {
    let rejected = vec![Rejection { number, reason: change.reason.clone() }];
    let changes = depot.look().changes_among(&rejected).unwrap();
    assert_eq!(changes, [change]);
    depot.give(Input::Pushed { ledger: LedgerEpoch::default(), through: number, rejected, changes, kept_through: 0 });
}

#[test]
fn what_is_refused_is_kept_and_everything_said_since_is_written_again_under_another_actor() {
    both(|depot| {
        depot.released("O1", 10);
        let id = document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1);
        let before = depot.dispatch("O1");
        let told = waiting(depot);
        let first = told.iter().find(|(_, change)| change.document == id).unwrap().clone();
        let later = told.iter().filter(|(_, change)| change.document == id).count() - 1;
        assert!(later > 0, "there is something to write again");
        refuse(depot, first.clone());
        assert_eq!(depot.dispatch("O1").state, DispatchState::Released);
        assert_eq!(depot.dispatch("O1").release.map(|r| r.load), before.release.map(|r| r.load));
        assert_eq!(depot.cases(), ["POLICY_VIOLATION gw-1 open"], "the case says it");
        let again: Vec<_> = waiting(depot).into_iter().filter(|(_, change)| change.document == id).collect();
        assert_eq!(again.len(), 1, "what built on it is not told any more, and all of it is said in one change");
        assert_ne!(again[0].1.change, first.1.change);
        assert_eq!(depot.look().status().unwrap().rejected, 1 + later as u64, "and all is kept");
        // The hub takes it: it builds on nothing that was refused.
        depot.hub_hears();
        let held = depot.look().heads(None, 99).unwrap().into_iter().find(|(document, _)| *document == id);
        let at_the_hub = depot.hub_document("O1").heads();
        assert_eq!(held, Some((id, at_the_hub)));
        // What is refused again stays aside, and the depot goes on.
        depot.wait_minutes(1);
        assert_eq!(waiting(depot).iter().filter(|(_, change)| change.kind == DocumentKind::Dispatch).count(), 0);
    });
}

#[test]
fn a_change_that_rotted_in_the_outbox_is_refused_and_set_aside_like_any_other() {
    both(|depot| {
        depot.released("O1", 10);
        let id = document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1);
        let told = waiting(depot);
        let of_it: Vec<_> = told.iter().filter(|(_, change)| change.document == id).cloned().collect();
        for (number, _) in &of_it {
            let rots = "UPDATE outbox SET body = zeroblob(length(body)) WHERE n = ?1";
            assert_eq!(depot.store.raw().execute(rots, [i64::try_from(*number).unwrap()]).unwrap(), 1);
        }
        assert_eq!(waiting(depot), told, "as ground holds it");
        refuse(depot, of_it[0].clone());
        let again: Vec<_> = waiting(depot).into_iter().filter(|(_, change)| change.document == id).collect();
        assert_eq!(again.len(), 1, "what built on it is not told any more");
        assert!(!of_it.contains(&again[0]));
        assert_eq!(depot.look().status().unwrap().rejected, of_it.len() as u64);
        depot.hub_hears();
        let held = depot.look().heads(None, 99).unwrap().into_iter().find(|(document, _)| *document == id);
        assert_eq!(held, Some((id, depot.hub_document("O1").heads())));
    });
}

#[test]
fn what_is_refused_a_second_time_is_not_written_a_third_time() {
    both(|depot| {
        depot.released("O1", 10);
        let id = document_id(&"O1".parse().unwrap(), &"D1".parse().unwrap(), 1);
        let of_it = |depot: &Depot| waiting(depot).into_iter().find(|(_, change)| change.document == id);
        let first = of_it(depot).unwrap();
        refuse(depot, first);
        let second = of_it(depot).unwrap();
        refuse(depot, second);
        assert_eq!(of_it(depot), None);
    });
}
