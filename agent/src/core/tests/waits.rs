//! Changes whose past has not come in: shown with their age until it has.

use gatehouse_common::{
    dispatch::Says,
    document::{Document, WAITING_MAX_MS},
    id::{DocumentId, DocumentKind},
    sync::{Downward, repair::Local},
    time::{Hlc, UtcMs},
};

use super::{Depot, both};
use crate::{core::dispatches::append, store::WaitingRow};

/// A word of the hub in its copy of a dispatch: the bytes of its change.
fn says(depot: &Depot, document: &mut Document, why: &str) -> Vec<u8> {
    let (hub, now) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.moment());
    let says = vec![Says::Lifted { holds: Vec::new(), why: why.to_owned() }];
    append(document, &hub, &mut Hlc::default(), &now, "hub", says).unwrap().bytes
}

fn tell(depot: &mut Depot, document: DocumentId, bytes: Vec<u8>) {
    depot.tell(Downward::Chunk { document, kind: DocumentKind::Dispatch, bytes });
}

fn waiting(depot: &Depot) -> Vec<WaitingRow> {
    depot.look().status().unwrap().waiting
}

fn is_told(depot: &Depot, at: UtcMs) -> bool {
    depot.look().status().unwrap().waits_too_long(at)
}

#[test]
fn a_document_that_lacks_a_part_is_shown_with_its_age_through_restarts_and_told_after_ten_minutes_until_it_comes() {
    both(|depot| {
        depot.online().order("O1", 10);
        let id = Depot::id("O1");
        let mut at_the_hub = depot.hub_document("O1");
        let [first, second, third] = ["one", "two", "three"].map(|why| says(depot, &mut at_the_hub, why));
        assert_eq!(waiting(depot), []);
        tell(depot, id, second);
        let since = depot.now();
        let row = WaitingRow { document: id, kind: "dispatch".to_owned(), since };
        assert_eq!(waiting(depot), [row.clone()]);
        depot.wait_minutes(5);
        tell(depot, id, third);
        depot.wait_minutes(5);
        assert_eq!(waiting(depot), [row], "since the first of them");
        assert!(!is_told(depot, depot.now()), "what is on its way has so long to come");
        assert!(!is_told(depot, since.plus(WAITING_MAX_MS)) && is_told(depot, since.plus(WAITING_MAX_MS + 1)));
        depot.wait_minutes(1);
        assert!(is_told(depot, depot.now()));
        tell(depot, id, first);
        assert_eq!(waiting(depot), []);
        assert!(!is_told(depot, depot.now()));
        let held = depot.look().heads(None, 99).unwrap().into_iter().find(|(document, _)| *document == id);
        assert_eq!(held, Some((id, at_the_hub.heads())));
    });
}

#[test]
fn a_document_of_which_nothing_can_be_shown_yet_is_shown_to_wait_beside_those_that_are_whole() {
    both(|depot| {
        depot.online().order("O1", 10).hub_says("O1", Says::Lifted { holds: Vec::new(), why: "nothing lacks".into() });
        let mut unknown = Document::new().unwrap();
        says(depot, &mut unknown, "its past");
        let later = says(depot, &mut unknown, "what comes");
        tell(depot, Depot::id("O9"), later);
        let row = WaitingRow { document: Depot::id("O9"), kind: "dispatch".to_owned(), since: depot.now() };
        assert_eq!(waiting(depot), [row]);
    });
}
