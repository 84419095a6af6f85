//! A depot asks that a dispatch be cancelled, and is answered.

use gatehouse_common::{
    dispatch::{DispatchState, DispatchView, Evidence, Says},
    document::{Entry, Folds, History},
    id::{DocumentId, DocumentKind},
    sync::{Push, Upward},
    time::Hlc,
};

use super::{acts::WHY, *};

impl Desk {
    /// The depot's gateway says this in a dispatch, as the record after the one of this number.
    fn depot_says(&self, id: DocumentId, number: u64, says: Says) {
        let (_, mut document) = self.store.read_now(move |r| r.document(&id)).unwrap().unwrap();
        let now = Clock::system().now();
        let mut writes = |says: Says| {
            let after = History::new(document.entries::<Says>().0).heads();
            let hlc = Hlc { ms: now.wall.0, n: 0 };
            let entry = Entry { after, at: now.wall, hlc, by: "ana".into(), says };
            let (_, chunk) = document.append(&"site/D1/gw-1/1".parse().unwrap(), &[entry]).unwrap();
            Upward::Chunk { document: id, kind: DocumentKind::Dispatch, bytes: chunk.bytes }
        };
        let records = vec![(number, writes(Says::fold(2))), (number + 1, writes(says))];
        let push = Push { outbox_epoch: 1, records };
        let key = PrivateKey::from_seed([1; 32]);
        self.store
            .write_now(move |tx| crate::sync::handle_push(tx, &key, &"gw-1".parse().unwrap(), &push, &now))
            .unwrap();
        self.store.fold_now().unwrap();
    }

    fn dispatch(&self, id: DocumentId) -> DispatchView {
        self.store.read_now(move |r| r.dispatch_view(&id)).unwrap().unwrap()
    }
}

fn ask() -> Says {
    Says::CancelAsked { why: "no truck has come".into(), absence: None }
}

#[tokio::test]
async fn who_may_cancels_what_a_depot_asks_to_cancel_and_what_nobody_asks_for_is_not_cancelled() {
    let desk = Desk::new().await;
    let id = desk.play().dispatch;
    let accept = format!("/v1/dispatches/{id}/cancellation/accept");
    let body = json!({ "reason": WHY });
    let (status, _, detail) = desk.refused(&accept, &person("sue"), body.clone()).await;
    assert_eq!((status, detail.contains("nobody asks")), (409, true), "{detail}");
    desk.depot_says(id, 3, ask());
    let listed = desk.get("/v1/dispatches", &person("dora")).await.body["items"][0]["view"]["cancel_asked"].clone();
    assert_eq!(listed["why"], "no truck has come");
    assert_eq!(desk.refused(&accept, &person("fina"), body.clone()).await.0, 403);
    assert_eq!(desk.refused(&accept, &person("sue"), json!({ "reason": "no" })).await.0, 400);
    assert_eq!(desk.act(&accept, &person("sue"), body.clone()).await.status, StatusCode::OK);
    assert_eq!(desk.dispatch(id).state, DispatchState::Cancelled);
    assert_eq!(desk.refused(&accept, &person("sue"), body).await.0, 409);
    let said: Vec<String> =
        desk.store.read_now(|r| r.audit_entries(100)).unwrap().into_iter().map(|e| e.action).collect();
    assert!(said.contains(&"cancellation accepted".to_owned()), "{said:?}");
}

#[tokio::test]
async fn a_cancellation_that_is_declined_is_answered_each_time_that_it_was_asked_and_once_goods_are_on_board_it_is_not_accepted()
 {
    let desk = Desk::new().await;
    let id = desk.play().dispatch;
    desk.depot_says(id, 3, ask());
    desk.depot_says(id, 10, ask());
    let path = |answer: &str| format!("/v1/dispatches/{id}/cancellation/{answer}");
    assert_eq!(desk.act(&path("decline"), &person("dora"), json!({ "reason": WHY })).await.status, StatusCode::OK);
    let view = desk.dispatch(id);
    assert!(view.cancel_asked.is_none() && view.cancelled.is_none(), "{view:?}");
    desk.depot_says(id, 20, ask());
    let readings = vec!["goods were scanned into the vehicle".to_owned()];
    desk.depot_says(id, 30, Says::Loading { evidence: Evidence { at: UtcMs(1), readings } });
    let (status, _, detail) = desk.refused(&path("accept"), &person("sue"), json!({ "reason": WHY })).await;
    assert_eq!((status, detail.contains("on board")), (409, true), "{detail}");
    assert!(desk.dispatch(id).cancel_asked.is_some());
}
