//! A change that makes the fold of its document panic. None is known that does; here one is planted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gatehouse_common::{
    case::{self, CaseType, dedup_key},
    dispatch::Says,
    document::{Document, gate::inspect},
    id::{DocumentId, DocumentKind, Hash32},
    order::OrderStatus,
    sync::{Downward, repair::Local},
    time::{Hlc, UtcMs},
};

use super::{Depot, both};
use crate::{
    core::{dispatches::append, past::Over, trial::planted},
    driver,
};

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

/// The program starts, as it does in life.
fn starts(depot: &mut Depot) {
    let (profile, now) = (depot.core.profile().clone(), depot.now());
    let snapshot = depot.store.snapshot_over_damage(now).unwrap();
    depot.core = driver::load(profile, snapshot, &mut depot.store, now).unwrap();
}

/// The bytes of a document as it was last written whole.
fn whole(depot: &Depot, id: DocumentId) -> Vec<u8> {
    let documents = depot.store.snapshot().unwrap().documents;
    documents.into_iter().find(|stored| stored.document == id).unwrap().snapshot
}

fn newest_change(depot: &Depot, id: DocumentId) -> Hash32 {
    depot.look().chunks_of(id).unwrap().pop().unwrap().1.hash
}

#[test]
fn a_stored_dispatch_that_breaks_off_its_fold_stays_as_it_is_and_goods_do_not_leave_twice() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10).drives_off_with("O1", 10).order("O2", 10);
    let (id, before, decided) = (Depot::id("O1"), depot.dispatch("O1"), depot.decided());
    assert!(before.departed.is_some());
    let bytes = whole(&depot, id);
    assert!(!bytes.is_empty());
    planted::on_this_thread(Some(newest_change(&depot, id)));
    for _ in 0..2 {
        starts(&mut depot);
        assert_eq!((depot.has_dispatch("O1", 1), depot.has_dispatch("O2", 1)), (false, true));
        assert!(depot.core.unread().is_empty() && depot.core.lacking().is_none());
        assert_eq!(depot.core.unfoldable().collect::<Vec<_>>(), [(id, DocumentKind::Dispatch)]);
        assert_eq!(whole(&depot, id), bytes, "its bytes stay");
        assert_eq!(depot.look().status().unwrap().unfoldable, [format!("dispatch {id}")]);
        let shown = depot.look().dispatch(id).unwrap().unwrap();
        assert_eq!(shown.board.view, serde_json::to_value(&before).unwrap(), "as it was folded last");
        depot.order("O1", 10).order("O1", 12).wait_minutes(3);
        assert!(!depot.has_dispatch("O1", 1) && !depot.has_dispatch("O1", 2), "nobody knows here what has left");
        assert_eq!(depot.decided(), decided);
    }
    let gone = depot.order_of("O1", 10, OrderStatus::Cancelled);
    depot.tell(Downward::Order(serde_json::to_string(&gone).unwrap()));
    let over = depot.core.over(UtcMs(i64::MAX), None, 10);
    assert!(!over.contains(&Over::Order("O1".parse().unwrap())), "{over:?}");
    planted::on_this_thread(None);
    starts(&mut depot);
    assert_eq!((depot.dispatch("O1").departed, depot.core.unfoldable().count()), (before.departed, 0));
    assert_eq!(depot.look().status().unwrap().unfoldable, Vec::<String>::new());
}

#[test]
fn what_the_hub_says_of_a_document_that_cannot_be_folded_is_there_once_it_can() {
    let mut depot = Depot::new(false, None);
    depot.released("O1", 10);
    let (id, kind) = (Depot::id("O1"), DocumentKind::Dispatch);
    let mut at_the_hub = depot.hub_document("O1");
    let before = newest_change(&depot, id);
    planted::on_this_thread(Some(before));
    starts(&mut depot);
    let (hub, now) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.moment());
    let word = append(&mut at_the_hub, &hub, &mut Hlc::default(), &now, "hub", vec![cancelled()]).unwrap().bytes;
    for _ in 0..2 {
        tell(&mut depot, id, kind, &word);
        tell(&mut depot, id, kind, &[1, 2, 3]);
        starts(&mut depot);
    }
    let heads = depot.look().heads(None, 99).unwrap();
    assert!(heads.contains(&(id, at_the_hub.heads())), "depot and hub are alike");
    let refused = quarantined(&depot);
    assert!(!refused.is_empty() && refused.iter().all(|(topic, _)| topic == "hub/chunk"), "{refused:?}");
    assert!(!depot.has_dispatch("O1", 1));
    planted::on_this_thread(None);
    starts(&mut depot);
    assert!(depot.dispatch("O1").cancelled.is_some());
}

#[test]
fn a_matter_whose_case_cannot_be_folded_goes_on_in_the_next_and_nothing_is_written_into_the_one_left_out() {
    let mut depot = Depot::new(false, None);
    depot.online().door("3", true).wait_minutes(11);
    let case = depot.case("DOCK_BLOCKED");
    let bytes = depot.look().chunks_of(case).unwrap();
    planted::on_this_thread(Some(newest_change(&depot, case)));
    starts(&mut depot);
    let actor = depot.core.actor.clone();
    depot.wait_minutes(30);
    assert_eq!(depot.cases(), Vec::<String>::new(), "it stands as it did, and nobody knows what its case says");
    depot.door("3", false).wait_minutes(13).door("3", true).wait_minutes(11);
    assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/3 open"]);
    let next = depot.case_views().remove(0);
    assert_eq!((next.occurrence, next.follows), (2, Some(case)));
    assert_eq!(depot.look().chunks_of(case).unwrap(), bytes);
    starts(&mut depot);
    assert_eq!(depot.core.actor, actor, "nothing is lacking");
    planted::on_this_thread(None);
    starts(&mut depot);
    assert!(depot.core.case(case).is_some());
}
