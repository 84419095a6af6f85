//! Holds are lifted by whoever may, and those that two people lift together by two.

use gatehouse_common::{
    dispatch::{HoldReason, Says, view::Hold},
    id::DocumentId,
    sync::Lane,
};

use super::{acts::WHY, *};
use crate::store::{AuditEntry, DocumentSays};

impl Desk {
    fn holds(&self, id: DocumentId) -> Vec<Hold> {
        self.store.read_now(move |r| r.dispatch_view(&id)).unwrap().unwrap().holds
    }

    /// The rules hold a dispatch for this.
    fn hold(&self, id: DocumentId, reason: HoldReason) {
        let held = Says::Held { reason, why: "seal broken".into(), cases: Vec::new(), decision: None };
        self.store
            .write_now(move |tx| {
                tx.write_entries(
                    &id,
                    DocumentSays::Dispatch(vec![held]),
                    "rule",
                    Lane::Documents,
                    Clock::system().wall(),
                )
            })
            .unwrap();
        self.store.fold_now().unwrap();
    }

    async fn says(&self, path: &str, who: &str) -> (u16, String) {
        let answer = self.act(path, &person(who), json!({ "reason": WHY })).await;
        let words = answer.body["done"].as_str().or(answer.body["detail"].as_str()).unwrap_or_default();
        (answer.status.as_u16(), words.to_owned())
    }

    fn lifts_in_audit(&self) -> Vec<(String, String)> {
        let entries: Vec<AuditEntry> = self.store.read_now(|r| r.audit_entries(100)).unwrap();
        let lifts = entries.into_iter().rev().filter(|e| e.action.contains("lift"));
        lifts.map(|e| (e.actor.to_string(), e.action)).collect()
    }
}

#[tokio::test]
async fn a_credit_hold_is_lifted_by_finance_alone_and_then_gone() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = format!("/v1/dispatches/{}/lift", scene.dispatch);
    let body = json!({ "reason": WHY });
    let (status, _, detail) = desk.refused(&path, &person("sue"), body.clone()).await;
    assert_eq!(status, 403);
    assert!(detail.contains("finance"), "{detail}");
    assert_eq!(desk.act(&path, &person("fina"), body.clone()).await.status, StatusCode::OK);
    assert!(desk.store.read_now(|r| r.dispatch_view(&scene.dispatch)).unwrap().unwrap().holds.is_empty());
    let (status, _, detail) = desk.refused(&path, &person("fina"), body).await;
    assert_eq!((status, detail.as_str()), (409, "no hold stands on this dispatch"));
}

#[tokio::test]
async fn a_hold_for_quality_is_proposed_by_one_confirmed_by_another_and_only_then_gone() {
    let desk = Desk::new().await;
    let id = desk.play().dispatch;
    desk.hold(id, HoldReason::Quality);
    let lift = format!("/v1/dispatches/{id}/lift");
    let (confirm, refuse) = (format!("{lift}/confirm"), format!("{lift}/refuse"));
    assert_eq!(desk.says(&confirm, "sam").await.0, 409, "nothing is proposed");
    assert_eq!(desk.says(&lift, "dora").await.0, 403);
    let before = desk.holds(id);
    let (status, words) = desk.says(&lift, "sue").await;
    assert_eq!(status, 200);
    assert!(words.contains("a second person must confirm"), "{words}");
    assert_eq!(desk.holds(id), before, "nothing follows from the word of one");
    let shown = desk.get(&format!("/v1/dispatches/{id}"), &person("dora")).await.body["lift_proposed"].clone();
    assert_eq!((&shown["by"], &shown["reason"]), (&json!("sue"), &json!(WHY)));
    let listed = desk.get("/v1/dispatches", &person("dora")).await.body["items"][0]["lift_proposed"].clone();
    assert_eq!(listed, shown);

    let (status, words) = desk.says(&confirm, "sue").await;
    assert_eq!((status, words.contains("a second person is needed")), (409, true), "{words}");
    let (status, words) = desk.says(&lift, "sam").await;
    assert_eq!((status, words.contains("sue proposed")), (409, true), "{words}");
    assert_eq!(desk.says(&confirm, "fina").await.0, 403, "who may not lift it may not confirm it");
    assert_eq!(desk.holds(id), before);
    assert_eq!(desk.says(&confirm, "sam").await.0, 200);
    let left: Vec<HoldReason> = desk.holds(id).iter().map(|hold| hold.reason).collect();
    assert_eq!(left, [HoldReason::Credit], "the hold that is finance's stands");
    let entries = desk.get(&format!("/v1/dispatches/{id}"), &person("sue")).await.body["entries"].to_string();
    assert!(entries.contains("proposed by sue: confirmed by sam"), "{entries}");
    assert_eq!(desk.says(&confirm, "sam").await.0, 409);
    assert_eq!(desk.says(&refuse, "sam").await.0, 409);
    let said = [("sue", "holds proposed to be lifted"), ("sam", "holds lifted by two")];
    assert_eq!(desk.lifts_in_audit(), said.map(|(who, what)| (who.to_owned(), what.to_owned())));
}

#[tokio::test]
async fn a_lift_that_was_refused_lifts_nothing_and_a_hold_of_later_is_not_lifted_with_those_of_before() {
    let desk = Desk::new().await;
    let id = desk.play().dispatch;
    desk.hold(id, HoldReason::Quality);
    let lift = format!("/v1/dispatches/{id}/lift");
    let (confirm, refuse) = (format!("{lift}/confirm"), format!("{lift}/refuse"));
    assert_eq!(desk.says(&lift, "sue").await.0, 200);
    assert_eq!(desk.says(&refuse, "dora").await.0, 403);
    assert_eq!(desk.says(&refuse, "sam").await.0, 200);
    assert_eq!(desk.says(&confirm, "sam").await.0, 409);
    assert_eq!(desk.holds(id).len(), 2);
    assert_eq!(desk.says(&lift, "sam").await.0, 200);
    desk.hold(id, HoldReason::Customs);
    assert_eq!(desk.says(&confirm, "sue").await.0, 200);
    let left: Vec<HoldReason> = desk.holds(id).iter().map(|hold| hold.reason).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&HoldReason::Customs) && left.contains(&HoldReason::Credit), "{left:?}");
    // Who decided on something older is told to look again.
    let (status, _, _) = desk.refused(&confirm, &person("sue"), json!({ "reason": "short" })).await;
    assert_eq!(status, 400);
}
