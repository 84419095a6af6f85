//! What the hub has let in the depot takes, also where the hub would take it from no device: else the two would never
//! be alike.

use gatehouse_common::{
    dispatch::{FOLD_VERSION, Says},
    document::Document,
    id::{DocumentKind, Hash32},
    reading::ScanStep,
    sync::{Downward, repair::Local},
    time::Hlc,
};

use super::{Depot, both};
use crate::core::dispatches::append;

/// The hub says these in its copy of a dispatch, as one change, and tells the depot.
fn tells(depot: &mut Depot, document: &mut Document, says: Vec<Says>) {
    let (hub, now) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.moment());
    let bytes = append(document, &hub, &mut Hlc::default(), &now, "hub", says).unwrap().bytes;
    depot.tell(Downward::Chunk { document: Depot::id("O1"), kind: DocumentKind::Dispatch, bytes });
}

fn heads(depot: &Depot) -> Option<Vec<Hash32>> {
    let all = depot.look().heads(None, 99).unwrap();
    all.into_iter().find(|(document, _)| *document == Depot::id("O1")).map(|(_, heads)| heads)
}

#[test]
fn a_document_longer_than_any_device_may_make_it_is_taken_and_stays_alike() {
    let mut depot = Depot::new(false, None);
    depot.online().order("O1", 10);
    let mut at_the_hub = depot.hub_document("O1");
    let lifted = |why: &str| Says::Lifted { holds: Vec::new(), why: why.to_owned() };
    for _ in 0..9 {
        tells(&mut depot, &mut at_the_hub, (0..250).map(|_| lifted("again")).collect());
    }
    let long = "x".repeat(60_000);
    for _ in 0..36 {
        tells(&mut depot, &mut at_the_hub, vec![lifted(&long)]);
    }
    assert!(at_the_hub.entry_count() > 2_000 && at_the_hub.save().len() > 2 * 1024 * 1024);
    assert_eq!(depot.look().quarantine(10).unwrap(), []);
    assert_eq!(heads(&depot), Some(at_the_hub.heads()));
    assert_eq!(depot.state("O1"), "planned", "and it is folded");
}

/// Everything that a release needs.
fn is_ready(depot: &mut Depot) {
    depot.lease("L1", 1_000).inventory("O1", 10).capacity("O1").carrier("O1", true).credit(false);
    depot.at_door("3", None).papers("O1").scan(ScanStep::Staged, "O1", 10);
}

#[test]
fn a_version_of_the_fold_that_only_the_hub_knows_is_taken_and_shown_and_nothing_is_decided_on_it() {
    both(|depot| {
        depot.online().order("O1", 10).hub_says("O1", Says::Fold { version: FOLD_VERSION + 1 });
        assert!(depot.dispatch("O1").waits_for_upgrade);
        assert_eq!(depot.look().quarantine(10).unwrap(), []);
        let alike = heads(depot);
        is_ready(depot);
        assert_eq!((depot.decided(), heads(depot)), (vec![], alike));
    });
    both(|depot| {
        // The control: without that word it leaves.
        depot.online().order("O1", 10);
        is_ready(depot);
        assert_eq!(depot.decided(), ["release normal"]);
    });
}
