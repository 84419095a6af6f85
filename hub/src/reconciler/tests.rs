//! What the reconciler writes beside items.

use gatehouse_common::{
    case::{CaseState, CaseType, Says},
    decision::DecisionKind,
    dispatch,
    document::{Document, Entry},
    id::DocumentKind,
    order::Order,
    seal::PrivateKey,
    sync::{Push, Upward},
    time::Hlc,
};

use super::*;
use crate::{core::reconcile::ReconItem, fixture};

fn hub() -> (tempfile::TempDir, Store, Reconciler) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
    let bundle = Bundle { hash: gatehouse_common::id::Hash32::of(b""), rules: Default::default() };
    let reconciler = Reconciler::new(store.clone(), Clock::system(), bundle, Default::default());
    (directory, store, reconciler)
}

fn opened(occurrence: u32) -> Says {
    Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence,
        site: "D1".parse().unwrap(),
        since: UtcMs(0),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    }
}

#[tokio::test]
async fn a_second_case_of_one_matter_becomes_part_of_the_first_one_that_runs() {
    let (_directory, store, mut reconciler) = hub();
    reconciler.once().await.unwrap();
    let key = case::dedup_key(CaseType::DockBlocked, "door 3", "-");
    for occurrence in [1, 2] {
        let (id, says) = (case::document_id(&key, occurrence), DocumentSays::Case(vec![opened(occurrence)]));
        store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, UtcMs(5))).unwrap();
    }
    for _ in 0..3 {
        reconciler.once().await.unwrap();
    }
    let cases = store.read_now(move |r| r.cases_under(&key)).unwrap();
    assert_eq!(cases.iter().map(|(_, c)| c.state).collect::<Vec<_>>(), [CaseState::Open, CaseState::Cancelled]);
    assert_eq!((cases[0].1.aliases.len(), cases[1].1.duplicate_of), (1, Some(cases[0].0)));
}

#[tokio::test]
async fn row_22_a_case_about_a_late_delivery_is_resolved_by_the_delivery_and_says_how_late_it_was() {
    let (_directory, store, mut reconciler) = hub();
    let now = Clock::system().wall();
    let order = fixture::order(now);
    let (subject, late) = (order.id.to_string(), order.window_end.plus(35 * 60_000));
    let case = |leg: &str| case::document_id(&case::dedup_key(CaseType::LateDelivery, &subject, leg), 1);
    let (case, afterwards) = (case("D1/1"), case("D1/1 by its carrier"));
    let opening = |leg: &str| Says::Opened {
        case_type: CaseType::LateDelivery,
        subject: subject.clone(),
        leg: leg.into(),
        occurrence: 1,
        site: order.site.clone(),
        since: now,
        summary: "not there yet".into(),
        order: Some(order.id.clone()),
        blocks: None,
        follows: None,
    };
    let id = dispatch::document_id(&order.id, &order.site, 1);
    let evidence = |at| dispatch::Evidence { at, readings: vec!["seen".into()] };
    let left = dispatch::Says::Departed { load: order.quantities(), evidence: evidence(now) };
    let came = dispatch::Says::Delivered { load: order.quantities(), evidence: evidence(late) };
    let planned = fixture::planned(&order);
    let (first, second) = (opening("D1/1"), opening("D1/1 by its carrier"));
    store
        .write_now(move |tx| {
            tx.put_order(&order, now)?;
            tx.write_entries(&case, DocumentSays::Case(vec![first]), "test", Lane::Documents, now)?;
            tx.write_entries(&id, DocumentSays::Dispatch(vec![planned, left]), "test", Lane::Documents, now)
        })
        .unwrap();
    let view = |case| store.read_now(move |r| r.case_view(&case)).unwrap().unwrap();
    reconciler.once().await.unwrap();
    assert_eq!(view(case).state, CaseState::Open, "it is still on its way");
    let says = DocumentSays::Dispatch(vec![came]);
    store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, now)).unwrap();
    reconciler.once().await.unwrap();
    let ended = |case| (view(case).state, view(case).reason);
    let resolved = (CaseState::Resolved, Some("delivered 35 minutes after its window".to_owned()));
    assert_eq!(ended(case), resolved);

    let says = DocumentSays::Case(vec![second]);
    store.write_now(move |tx| tx.write_entries(&afterwards, says, "test", Lane::Documents, now)).unwrap();
    reconciler.once().await.unwrap();
    assert_eq!(ended(afterwards), resolved, "whoever says so last is answered as well");
}

/// A dispatch that its depot asks to cancel: the vehicle was not there when its slot was over.
fn asked_to_cancel(store: &Store, slot_ends: UtcMs) -> DocumentId {
    let now = Clock::system().now();
    let device = fixture::gateway("gw-1", "D1", 7);
    let name = device.device.clone();
    crate::sync::devices::add(store, device, "test", now.wall).unwrap();
    let order = Order { planned_departure: slot_ends, ..fixture::order(now.wall) };
    let id = dispatch::document_id(&order.id, &order.site, 1);
    let absence = Some(dispatch::Evidence { at: slot_ends, readings: vec!["door 3 was free".into()] });
    let asks = dispatch::Says::CancelAsked { why: "empty truck".into(), absence };
    let entries = [dispatch::Says::Fold { version: 2 }, fixture::planned(&order), asks].map(|says| {
        let hlc = Hlc { ms: now.wall.0, n: 0 };
        Entry { after: Vec::new(), at: now.wall, hlc, by: "rule".into(), says }
    });
    let (_, chunk) = Document::new().unwrap().append(&"site/D1/gw-1/1".parse().unwrap(), &entries).unwrap();
    let records = vec![(1, Upward::Chunk { document: id, kind: DocumentKind::Dispatch, bytes: chunk.bytes })];
    let push = Push { outbox_epoch: 1, records };
    store
        .write_now(move |tx| {
            tx.put_order(&order, now.wall)?;
            let reply = crate::sync::handle_push(tx, &PrivateKey::from_seed([1; 32]), &name, &push, &now)?;
            assert_eq!((reply.taken_through, reply.rejected), (1, Vec::new()));
            Ok(())
        })
        .unwrap();
    id
}

fn is_cancelled(store: &Store, id: DocumentId) -> bool {
    store.read_now(move |r| r.dispatch_view(&id)).unwrap().unwrap().cancelled.is_some()
}

#[tokio::test]
async fn row_32_what_a_depot_asks_for_before_its_time_follows_when_it_has_come_though_nothing_else_changes() {
    let now = Clock::system().wall();
    let order: OrderId = "SO-1".parse().unwrap();
    let (_directory, store, mut reconciler) = hub();
    let id = asked_to_cancel(&store, now.plus(3_600_000));
    reconciler.once().await.unwrap();
    assert!(!is_cancelled(&store, id));
    assert_eq!(reconciler.due, BTreeMap::from([(order.clone(), now.plus(3_600_000))]));

    // Another hub, where the time has come and no hint is left.
    let (_directory, store, mut reconciler) = hub();
    reconciler.once().await.unwrap();
    let id = asked_to_cancel(&store, now);
    while reconciler.changes.try_recv().is_ok() {}
    reconciler.once().await.unwrap();
    assert!(!is_cancelled(&store, id), "nothing says that it is to be looked at");
    reconciler.due.insert(order, now);
    tokio::time::timeout(std::time::Duration::from_secs(30), reconciler.hint()).await.unwrap();
    reconciler.once().await.unwrap();
    assert!(is_cancelled(&store, id) && reconciler.due.is_empty());
}

#[tokio::test]
async fn one_dispatch_that_cannot_be_read_keeps_no_other_order_from_being_settled() {
    let (directory, store, mut reconciler) = hub();
    reconciler.once().await.unwrap();
    let now = Clock::system().wall();
    let order = Order { id: "SO-2".parse().unwrap(), ..fixture::order(now) };
    let id = dispatch::document_id(&order.id, &order.site, 1);
    let says = DocumentSays::Dispatch(vec![fixture::planned(&order)]);
    let planned = store.write_now(move |tx| {
        tx.put_order(&order, now)?;
        tx.write_entries(&id, says, "test", Lane::Documents, now)
    });
    planned.unwrap();
    let beside = rusqlite::Connection::open(directory.path().join("hub.db")).unwrap();
    beside.execute("UPDATE ledger SET body = X'00' WHERE document = ?1", [id.to_string()]).unwrap();
    assert!(store.read_now(move |r| r.dispatch_view(&id)).is_err());
    let other = asked_to_cancel(&store, now);
    reconciler.once().await.unwrap();
    assert!(is_cancelled(&store, other));
}

#[tokio::test]
async fn what_waits_for_a_read_of_the_erp_is_looked_at_after_the_first_by_a_clock_that_was_set_right() {
    let (_directory, store, _reconciler) = hub();
    let now = Clock::system().wall();
    let order = fixture::order(now);
    let item = ReconItem::open(&fixture::decided(DecisionKind::Release, &order), None, now);
    let read_at = now.plus(1_000);
    let read = store.write_now(move |tx| {
        tx.put_recon_item(&item)?;
        tx.set_cursor("erp.read_at", &read_at.0.to_string())
    });
    read.unwrap();
    let after = async |mut read_seen: Option<UtcMs>| {
        let orders = affected(&store, vec![Ok(StoreChange::Source)], &mut read_seen).await.unwrap();
        assert_eq!(read_seen, Some(read_at));
        orders
    };
    let waits = BTreeSet::from([order.id]);
    assert_eq!(after(Some(now.plus(3 * 24 * 3_600_000))).await, waits, "the read before was three days ahead");
    assert_eq!(after(Some(now.plus(-1))).await, waits);
    assert_eq!(after(Some(now)).await, BTreeSet::new(), "the read before began after the news");
    assert_eq!(after(Some(read_at)).await, BTreeSet::new(), "there was none since");
}
