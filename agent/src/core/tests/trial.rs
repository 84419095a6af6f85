//! A change that makes the fold of its document panic. None is known that does; here one is planted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gatehouse_common::{
    case::{self, CaseType, dedup_key},
    dispatch::Says,
    document::{Document, gate::inspect},
    id::{DocumentId, DocumentKind, Hash32},
    sync::Downward,
    time::Hlc,
};

use super::{Depot, both};
use crate::core::{dispatches::append, trial::planted};

const BREAKS_OFF: &str = "made the fold of its document panic";

fn cancelled() -> Says {
    Says::Cancelled { order_version: 2, why: "the customer cancelled".into() }
}

fn hash(bytes: &[u8]) -> Hash32 {
    inspect(bytes).unwrap().hash
}

/// Topic and reason of what is in quarantine, newest first.
fn quarantined(depot: &Depot) -> Vec<(String, String)> {
    let rows = depot.look().quarantine(10).unwrap();
    rows.into_iter().map(|row| (row.topic, row.reason)).collect()
}

fn kept_out(what: &str) -> (String, String) {
    (format!("hub/{what}"), BREAKS_OFF.to_owned())
}

/// Has the hub tell a depot of this.
fn tell(depot: &mut Depot, document: DocumentId, kind: DocumentKind, bytes: &[u8]) {
    depot.tell(Downward::Chunk { document, kind, bytes: bytes.to_vec() });
}

#[test]
fn a_change_that_breaks_off_its_fold_goes_to_quarantine_and_the_depot_lives_on() {
    both(|depot| {
        depot.released("O1", 10).order("O2", 10);
        let (id, kind) = (Depot::id("O1"), DocumentKind::Dispatch);
        let mut at_the_hub = depot.hub_document("O1");
        let (hub, now) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.moment());
        let word = append(&mut at_the_hub, &hub, &mut Hlc::default(), &now, "hub", vec![cancelled()]).unwrap().bytes;
        let before = depot.dispatch("O1");
        planted::on_this_thread(Some(hash(&word)));
        // The control: nothing but the guard catches it.
        assert!(catch_unwind(AssertUnwindSafe(|| planted::breaks_off(&at_the_hub))).is_err());
        tell(depot, id, kind, &word);
        assert_eq!(depot.dispatch("O1"), before);
        assert_eq!(quarantined(depot), [kept_out("chunk")]);
        depot.hub_says("O2", cancelled());
        assert_eq!(depot.state("O2"), "cancelled", "it is told of other documents as before");
        // A program comes that folds it, and the hub tells it again.
        planted::on_this_thread(None);
        tell(depot, id, kind, &word);
        assert!(depot.dispatch("O1").cancelled.is_some());
    });
}

#[test]
fn a_whole_document_and_a_change_of_a_case_that_break_off_their_fold_are_kept_out_alike() {
    both(|depot| {
        depot.online();
        let opened = case::Says::Opened {
            case_type: CaseType::DockBlocked,
            subject: "D1/1".into(),
            leg: "-".into(),
            occurrence: 1,
            site: "D1".parse().unwrap(),
            since: depot.now(),
            summary: "door 1 stands open".into(),
            order: None,
            blocks: None,
            follows: None,
        };
        let acted = case::Says::Acted { action: "called".into(), outcome: "nobody came".into() };
        let id = case::document_id(&dedup_key(CaseType::DockBlocked, "D1/1", "-"), 1);
        let (mut document, kind) = (Document::new().unwrap(), DocumentKind::Case);
        let (hub, now, mut hlc) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.moment(), Hlc::default());
        let first = append(&mut document, &hub, &mut hlc, &now, "hub", vec![opened]).unwrap();
        let whole = document.save();
        let snapshot = || Downward::Snapshot { document: id, kind, bytes: whole.clone() };
        planted::on_this_thread(Some(first.hash));
        depot.tell(snapshot());
        assert_eq!((depot.cases(), quarantined(depot)), (vec![], vec![kept_out("snapshot")]));
        planted::on_this_thread(None);
        depot.tell(snapshot());
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/1 open"]);

        let second = append(&mut document, &hub, &mut hlc, &now, "hub", vec![acted]).unwrap();
        planted::on_this_thread(Some(second.hash));
        tell(depot, id, kind, &second.bytes);
        assert_eq!(quarantined(depot), [kept_out("chunk"), kept_out("snapshot")]);
        assert_eq!(depot.case_views()[0].taken.len(), 0);
        planted::on_this_thread(None);
        tell(depot, id, kind, &second.bytes);
        assert_eq!(depot.case_views()[0].taken.len(), 1);
    });
}

#[test]
fn a_stored_document_that_breaks_off_its_fold_is_left_out_of_a_start_and_told_and_the_others_are_there() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).order("O2", 10);
    let id = Depot::id("O1");
    let newest = depot.look().chunks_of(id).unwrap().pop().unwrap().1;
    planted::on_this_thread(Some(newest.hash));
    depot.restart();
    assert_eq!((depot.has_dispatch("O1", 1), depot.has_dispatch("O2", 1)), (false, true));
    assert_eq!(depot.core.unread(), [(id, DocumentKind::Dispatch)]);
    assert_eq!(depot.core.lacking(), Some(id), "without it goods could leave a second time");
    planted::on_this_thread(None);
    depot.restart();
    assert_eq!((depot.has_dispatch("O1", 1), depot.core.lacking()), (true, None));
}
