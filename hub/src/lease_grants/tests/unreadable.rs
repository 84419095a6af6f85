//! Dispatches that cannot be read: what is not known is never lent.

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord},
    dispatch::{self, Says},
    id::DocumentId,
    sync::Lane,
};

use super::*;
use crate::{core::reconcile::ReconItem, store::DocumentSays};

impl Hub {
    fn known(&self, order: &str) -> Order {
        let id: OrderId = order.parse().unwrap();
        self.store.read_now(|r| r.order(&id)).unwrap().unwrap()
    }

    /// The first dispatch of an order, of which more is said.
    fn dispatch(&self, order: &Order, more: Option<Says>) -> DocumentId {
        let (id, now) = (dispatch::document_id(&order.id, &order.site, 1), self.clock.wall());
        let says = DocumentSays::Dispatch([fixture::planned(order)].into_iter().chain(more).collect());
        self.store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, now)).unwrap();
        id
    }

    fn rots(&self, id: DocumentId) {
        let beside = rusqlite::Connection::open(self.directory.path().join("hub.db")).unwrap();
        beside.execute("UPDATE ledger SET body = X'00' WHERE document = ?1", [id.to_string()]).unwrap();
        assert!(self.store.read_now(|r| r.dispatch_view(&id)).is_err());
    }
}

#[tokio::test]
async fn an_order_whose_dispatch_cannot_be_read_is_lent_nothing_and_the_others_what_they_need() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    hub.order("O2", "D1", 20);
    hub.rots(hub.dispatch(&hub.known("O2"), None));
    let lease = hub.lease(&hub.look(&erp, "D1").await.unwrap().unwrap());
    assert_eq!((credit(&lease), lease.stock[&"P1".parse().unwrap()]), (300, 30));
}

#[test]
fn a_release_that_was_taken_back_weighs_while_that_cannot_be_read() {
    let hub = Hub::new();
    hub.order("O1", "D1", 30);
    let (order, now) = (hub.known("O1"), hub.clock.wall());
    let item = ReconItem::open(&fixture::decided(DecisionKind::Release, &order), None, now);
    let recall = fixture::decided(DecisionKind::Recall, &order);
    let recall = DecisionRecord { id: DecisionId::of(&recall.device, 1, 2), position: 2, ..recall };
    let sealed = Sealed::new(&recall, &PrivateKey::from_seed([2; 32])).unwrap();
    let decided = hub.store.write_now(move |tx| {
        tx.put_recon_item(&item)?;
        tx.put_decision(&recall, &sealed, now)
    });
    decided.unwrap();
    let id = hub.dispatch(&order, Some(Says::Cancelled { order_version: 1, why: "it stays".into() }));
    let void = || {
        let (book, _) = hub.store.read_now(|r| book(r)).unwrap();
        book.spendings.iter().map(|spending| spending.void).collect::<Vec<_>>()
    };
    assert_eq!(void(), [true]);
    hub.rots(id);
    assert_eq!(void(), [false], "it may be leaving");
}
