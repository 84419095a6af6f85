//! Writes that come again, work that is undone, views that follow, claims, and damage that is found.

use std::time::{Duration, Instant};

use gatehouse_common::{
    case::{CaseState, Says},
    fact::Source,
    id::DocumentKind,
};

use super::*;
use crate::{
    core::reconcile::{Posting, PostingKind, PostingState},
    store::{CaseFilter, StoreChange, claims::POST, sql::params},
};

on_both!(
    what_is_published_again_by_anyone_is_there_once,
    what_one_caller_refuses_undoes_nothing_of_another,
    a_closure_that_panics_is_undone_and_the_next_is_served,
    a_view_follows_when_it_is_folded_and_only_what_is_behind_is_folded,
    replicas_that_write_one_document_in_turns_lose_nothing,
    a_posting_that_one_has_under_way_is_handed_to_no_other,
    a_nonce_that_was_used_at_one_replica_is_used_at_all,
    a_row_that_was_altered_is_found_and_never_given_out,
    the_audit_is_one_chain_whoever_adds_to_it,
    each_start_is_an_actor_of_its_own,
    a_source_heard_by_a_clock_that_was_ahead_is_told_to_be_as_old_as_it_is_once_the_clock_is_right,
);

fn what_is_published_again_by_anyone_is_there_once(ground: &Ground) {
    let (one, two) = (ground.open(), ground.open());
    assert!(one.write_now(|tx| publish(tx, "a")).unwrap());
    assert!(!one.write_now(|tx| publish(tx, "a")).unwrap());
    assert!(!two.write_now(|tx| publish(tx, "a")).unwrap());
    assert_eq!(feed(&two, 0).len(), 1);
}

fn what_one_caller_refuses_undoes_nothing_of_another(ground: &Ground) {
    let store = ground.open();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // While the first is at work the others gather behind it and share a commit.
        scope.spawn(|| store.write_now(move |_| Ok(held.recv().unwrap_or(()))).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let refused = scope.spawn(|| {
            store.write_now(|tx| {
                publish(tx, "refused")?;
                Err::<(), _>(StoreError::Refused("no".to_owned()))
            })
        });
        let broken = scope.spawn(|| {
            store.write_now(|tx| {
                publish(tx, "broken")?;
                tx.sql.execute("INSERT INTO cursors (name) VALUES (?1)", params!["no value"])?;
                Ok(())
            })
        });
        let kept = scope.spawn(|| store.write_now(|tx| publish(tx, "kept")));
        std::thread::sleep(Duration::from_millis(20));
        hold.send(()).unwrap();
        assert!(matches!(refused.join().unwrap(), Err(StoreError::Refused(_))));
        assert!(matches!(broken.join().unwrap(), Err(StoreError::Sql(_))));
        assert!(kept.join().unwrap().unwrap());
    });
    assert_eq!(feed(&store, 0).into_iter().map(|(_, says)| says).collect::<Vec<_>>(), [note("kept")]);
}

fn a_closure_that_panics_is_undone_and_the_next_is_served(ground: &Ground) {
    let store = ground.open();
    let lost = store.write_now(|tx| -> Result<(), StoreError> {
        publish(tx, "lost")?;
        panic!("as a damaged document might");
    });
    assert!(matches!(lost, Err(StoreError::Stopped)));
    assert!(store.write_now(|tx| publish(tx, "next")).unwrap());
    assert_eq!(feed(&store, 0).len(), 1);
}

fn write_case(store: &Store, says: DocumentSays) {
    store.write_now(move |tx| tx.write_entries(&case_id(), says, "test", Lane::Documents, UtcMs(5))).unwrap();
}

fn a_view_follows_when_it_is_folded_and_only_what_is_behind_is_folded(ground: &Ground) {
    let (one, two) = (ground.open(), ground.open());
    write_case(&one, opened());
    let listed = |store: &Store| store.read_now(|r| r.cases(&CaseFilter::default())).unwrap().len();
    assert_eq!((listed(&two), two.read_now(|r| r.behind_count()).unwrap()), (0, 1));
    let whole = two.read_now(|r| r.document(&case_id())).unwrap();
    assert!(matches!(whole, Some((DocumentKind::Case, _))), "asked for by name it is there at once");
    assert_eq!(two.fold_now().unwrap(), 1);
    assert_eq!((listed(&one), one.fold_now().unwrap()), (1, 0));
}

fn replicas_that_write_one_document_in_turns_lose_nothing(ground: &Ground) {
    let (one, two) = (ground.open(), ground.open());
    let moved = Says::Moved {
        to: CaseState::Acknowledged,
        since: UtcMs(6),
        reason: String::new(),
        auto_cleared: false,
        how: None,
    };
    let acted = Says::Acted { action: "looked".to_owned(), outcome: "closed the door".to_owned() };
    write_case(&one, opened());
    write_case(&two, DocumentSays::Case(vec![moved]));
    // What the first has in hand is of before the other's entry.
    write_case(&one, DocumentSays::Case(vec![acted]));
    let (view, (_, document)) =
        one.read_now(|r| Ok((r.case_view(&case_id())?.unwrap(), r.document(&case_id())?.unwrap()))).unwrap();
    assert_eq!(view.state, CaseState::Acknowledged);
    assert!(document.missing().is_empty());
    let writers: std::collections::BTreeSet<String> =
        document.entries::<Says>().0.keys().map(|key| key.actor.to_string()).collect();
    assert_eq!(writers.len(), 2);
}

pub(super) fn posting(n: u32) -> Posting {
    Posting {
        key: format!("gw-1-1-1/goods_issue/{n}"),
        decision: "gw-1-1-1".parse().unwrap(),
        order: format!("O{n}").parse().unwrap(),
        line: Some(1),
        kind: PostingKind::GoodsIssue,
        quantity: Some(1),
        total: Vec::new(),
        status: None,
        amount_minor: None,
        text: String::new(),
        at: UtcMs(0),
    }
}

fn a_posting_that_one_has_under_way_is_handed_to_no_other(ground: &Ground) {
    let (slow, quick) = (ground.open(), ground.open());
    let queued = posting(1);
    let key = queued.key.clone();
    let behind = posting(2);
    slow.write_now(move |tx| tx.enqueue(&queued, UtcMs(0))).unwrap();
    slow.write_now(|tx| tx.claim(POST, None)).unwrap();
    assert_eq!(slow.write_now(|tx| tx.claim_due(UtcMs(1), 9)).unwrap().len(), 1);
    assert!(quick.write_now(|tx| tx.claim_due(UtcMs(1), 9)).unwrap().is_empty());
    // The slow one is taken for dead; the other asks first, and counts it as sent until then.
    let stands_still = (slow.actor().to_string(), 1);
    quick.write_now(move |tx| tx.claim(POST, Some(&stands_still))).unwrap();
    let taken = quick.write_now(|tx| tx.take_back_postings(UtcMs(2)).and_then(|()| tx.claim_due(UtcMs(2), 9))).unwrap();
    assert_eq!((taken[0].state, taken[0].sent_at), (PostingState::InDoubt, Some(UtcMs(2))));
    // What the slow one would take now nobody would hear of.
    slow.write_now(move |tx| tx.enqueue(&behind, UtcMs(2))).unwrap();
    if slow.is_shared() {
        assert!(slow.write_now(|tx| tx.claim_due(UtcMs(2), 9)).unwrap().is_empty());
        slow.write_now(|tx| tx.take_back_postings(UtcMs(2))).unwrap();
    }
    let next = quick.write_now(|tx| tx.claim_due(UtcMs(2), 9)).unwrap();
    assert_eq!(next.iter().map(|queued| queued.posting.key.clone()).collect::<Vec<_>>(), [posting(2).key]);
    // What the slow one says now would send it once more.
    let late = key.clone();
    slow.write_now(move |tx| tx.retry(&late, PostingState::Queued, UtcMs(0), "not sent", true)).unwrap();
    assert!(quick.write_now(|tx| tx.claim_due(UtcMs(3), 9)).unwrap().is_empty());
    let stands = |store: &Store, key: &str| store.read_now(|r| r.posting(key)).unwrap().unwrap().state;
    assert_eq!(stands(&slow, &key), PostingState::InDoubt);
    // But that the ERP has it is true whoever says so.
    let done = key.clone();
    slow.write_now(move |tx| tx.finish(&done, Some("D-1"), UtcMs(4))).unwrap();
    assert_eq!(stands(&quick, &key), PostingState::Applied);
}

fn a_nonce_that_was_used_at_one_replica_is_used_at_all(ground: &Ground) {
    let (one, two) = (ground.open(), ground.open());
    let take = |store: &Store, now| {
        store.write_now(move |tx| tx.take_nonce(&"gw-1".parse().unwrap(), "n", UtcMs(now))).unwrap()
    };
    assert!(take(&one, 1_000));
    assert!(!take(&two, 1_001));
    let kept = |store: &Store| {
        store.read_now(|r| Ok(r.sql.one("SELECT count(*) FROM nonces", params![], |r| r.get::<i64>(0))?)).unwrap()
    };
    // A day later it is of no use, and forgotten with the next.
    two.write_now(|tx| tx.take_nonce(&"gw-1".parse().unwrap(), "m", UtcMs(86_400_000))).unwrap();
    assert_eq!(kept(&one), 1);
}

fn a_row_that_was_altered_is_found_and_never_given_out(ground: &Ground) {
    let store = ground.open();
    write_case(&store, opened());
    store.write_now(|tx| publish(tx, "sound").and_then(|_| publish(tx, "altered"))).unwrap();
    let altered = note("altered");
    let Downward::Sources(text) = &altered else { panic!("of another kind") };
    ground
        .beside()
        .execute("UPDATE ledger SET body = ?1 WHERE body = ?2", params![b"\"other\"".to_vec(), text.as_bytes()])
        .unwrap();
    assert_eq!(feed(&store, 0).into_iter().map(|(_, says)| says).collect::<Vec<_>>(), [note("sound")]);
    ground
        .beside()
        .execute("UPDATE ledger SET kind = 'chunk', body = ?1 WHERE kind = 'chunk'", params![vec![1_u8]])
        .unwrap();
    let read = store.read_now(|r| r.document(&case_id()));
    assert!(matches!(read, Err(StoreError::Damaged { table: "ledger", .. })), "{read:?}");
}

fn the_audit_is_one_chain_whoever_adds_to_it(ground: &Ground) {
    let (one, two) = (ground.open(), ground.open());
    for (n, store) in [&one, &two, &one].into_iter().enumerate() {
        let entry = crate::store::AuditEntry {
            at: UtcMs(n as i64),
            actor: "a".to_owned(),
            action: "b".to_owned(),
            subject: "c".to_owned(),
            detail: format!("{n}"),
        };
        store.write_now(move |tx| tx.audit(&entry)).unwrap();
    }
    assert_eq!(two.read_now(|r| r.verify_audit()).unwrap(), 3);
    ground.beside().execute("UPDATE audit SET detail = 'x' WHERE n = 2", &[]).unwrap();
    let broken = one.read_now(|r| r.verify_audit());
    assert!(matches!(&broken, Err(StoreError::Damaged { table: "audit", row, .. }) if row == "2"), "{broken:?}");
}

fn each_start_is_an_actor_of_its_own(ground: &Ground) {
    let actors: std::collections::BTreeSet<u32> = (0..3).map(|_| ground.open().actor().epoch).collect();
    assert_eq!(actors.len(), 3);
}

/// Replicas hear of each other; a process alone has nobody to hear of.
#[test]
fn what_one_replica_writes_wakes_those_who_wait_at_another() {
    let Some(ground) = Ground::postgresql() else { return };
    let (one, two) = (ground.open(), ground.open());
    let (mut here, mut there) = (one.changes(), two.changes());
    one.write_now(|tx| publish(tx, "a")).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let heard = loop {
        match there.try_recv() {
            Ok(change) => break change,
            Err(e) => assert!(Instant::now() < until, "nothing was heard: {e}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(heard, StoreChange::Feed(d1()));
    assert_eq!(here.try_recv().unwrap(), StoreChange::Feed(d1()));
    std::thread::sleep(Duration::from_millis(600));
    assert!(here.try_recv().is_err(), "its own word came back");
}

fn a_source_heard_by_a_clock_that_was_ahead_is_told_to_be_as_old_as_it_is_once_the_clock_is_right(ground: &Ground) {
    let (store, right) = (ground.open(), UtcMs(1_000_000));
    let hears = |at: UtcMs| {
        store.write_now(move |tx| tx.source_heard(Source::Erp, at)).unwrap();
        let held = store.read_now(|r| r.sources()).unwrap()[&Source::Erp];
        let told = feed(&store, 0).into_iter().filter_map(|(_, says)| match says {
            Downward::Sources(json) => Some(json),
            _ => None,
        });
        (held, told.last().unwrap())
    };
    let device = crate::fixture::gateway("gw-1", "D1", 2);
    store.write_now(move |tx| tx.put_device(&device, right)).unwrap();
    let (ahead, told_ahead) = hears(right.plus(3 * 24 * 3_600_000));
    let (held, told) = hears(right);
    assert!(ahead > held && told_ahead != told, "{told}");
    assert!(told.ends_with(&format!("{}}}", right.0)), "{told}");
    assert_eq!(hears(right.plus(-5_000)).0, right, "by a replica whose clock is a little behind");
    assert_eq!(hears(right.plus(5_000)), (right.plus(5_000), told), "not so soon again");
}
