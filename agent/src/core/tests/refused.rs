//! A change that the hub does not let in.

use gatehouse_common::{
    case::{self, CaseType, dedup_key},
    dispatch::{DispatchState, document_id},
    document::{Document, gate::inspect},
    id::{DocumentId, DocumentKind},
    reading::ScanStep,
    sync::{Downward, LedgerEpoch, Rejection, Upward, repair::Local},
    time::Hlc,
};

use super::{Depot, both};
use crate::core::{
    dispatches::append,
    input::{Input, RefusedChange},
};

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
fn decisions_go_on_in_their_chain_under_another_actor() {
    both(|depot| {
        depot.released("O1", 10);
        let first = waiting(depot).into_iter().find(|(_, change)| change.document == Depot::id("O1")).unwrap();
        refuse(depot, first);
        depot.restart();
        let before = depot.decisions().len();
        depot.online().prepared("O2", 5).scan(ScanStep::Staged, "O2", 5);
        let places: Vec<(u32, u64)> = depot.decisions().iter().map(|d| (d.epoch, d.position)).collect();
        assert!(places.len() > before && before > 0, "{places:?}");
        let expected: Vec<(u32, u64)> = (1..).take(places.len()).map(|position| (1, position)).collect();
        assert_eq!(places, expected);
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

/// Door 1 stands open, and of its case the depot knows only that another opened it.
fn opened_by_others(depot: &mut Depot) -> DocumentId {
    let says = case::Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: "D1/1".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D2".parse().unwrap(),
        since: depot.now(),
        summary: "door 1 stands open".into(),
        order: None,
        blocks: None,
        follows: None,
    };
    let (mut document, actor) = (Document::new().unwrap(), "hub/HQ/hub-1/1".parse().unwrap());
    let id = case::document_id(&dedup_key(CaseType::DockBlocked, "D1/1", "-"), 1);
    let now = depot.moment();
    let chunk = append(&mut document, &actor, &mut Hlc::default(), &now, "hub", vec![says]).unwrap();
    depot.online().tell(Downward::Chunk { document: id, kind: DocumentKind::Case, bytes: chunk.bytes });
    depot.door("1", true).wait_minutes(15);
    id
}

/// What waits of one document.
fn waiting_of(depot: &Depot, id: DocumentId) -> Vec<(u64, RefusedChange)> {
    waiting(depot).into_iter().filter(|(_, change)| change.document == id).collect()
}

#[test]
fn where_the_hub_takes_nothing_of_a_case_that_others_opened_the_depot_stops_after_the_second_time() {
    both(|depot| {
        let id = opened_by_others(depot);
        for _ in 0..2 {
            let mut times = 0;
            while let Some(next) = waiting_of(depot, id).into_iter().next() {
                refuse(depot, next);
                times += 1;
                assert!(times <= 2, "it says again and again that it was refused");
            }
            assert_eq!(times, 2);
            let once_for_the_document = ["DOCK_BLOCKED D1/1 open", "POLICY_VIOLATION gw-1 open"];
            assert_eq!(depot.cases(), once_for_the_document);
            // Told again after two hours, it is refused once more.
            depot.wait_minutes(121);
        }
    });
}

#[test]
fn the_word_that_a_change_was_refused_is_not_said_again_where_that_is_refused() {
    both(|depot| {
        let id = opened_by_others(depot);
        let first = waiting_of(depot, id).remove(0);
        refuse(depot, first);
        let [again, word] = <[_; 2]>::try_from(waiting_of(depot, id)).unwrap();
        let (rejected, changes) = (Vec::new(), Vec::new());
        let ledger = LedgerEpoch::default();
        depot.give(Input::Pushed { ledger, through: again.0, rejected, changes, kept_through: 0 });
        refuse(depot, word);
        assert_eq!(waiting_of(depot, id), []);
        assert_eq!(depot.cases(), ["DOCK_BLOCKED D1/1 open", "POLICY_VIOLATION gw-1 open"]);
    });
}

#[test]
fn a_hub_that_takes_nothing_at_all_does_not_make_the_depot_speak_without_end() {
    both(|depot| {
        depot.online().door("1", true).wait_minutes(15);
        let mut times = 0;
        while let Some(next) = waiting(depot).into_iter().next() {
            refuse(depot, next);
            times += 1;
            assert!(times <= 4, "{:?}", depot.cases());
        }
        assert_eq!(times, 4, "twice for the case, and twice for the one about that");
    });
}
