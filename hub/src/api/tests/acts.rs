//! What people may change, and what they are told when they may not.

use gatehouse_common::{
    case::{CaseState, Says},
    document::{Entry, History},
    id::DocumentKind,
    sync::{Lane, Push, Upward},
    time::Hlc,
};

use super::*;
use crate::{
    core::reconcile::{Choice, Outcome, PostingState},
    fixture,
    store::DocumentSays,
};

pub(super) const WHY: &str = "the customer confirmed by phone";

impl Desk {
    pub(super) async fn act(&self, path: &str, login: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, login, "application/json", body.to_string()).await
    }

    pub(super) async fn refused(&self, path: &str, login: &str, body: Value) -> (u16, String, String) {
        let answer = self.act(path, login, body).await;
        (answer.status.as_u16(), answer.problem().to_owned(), answer.detail().to_owned())
    }

    fn audited(&self) -> usize {
        self.store.read_now(|r| r.audit_entries(100)).unwrap().len()
    }
}

#[tokio::test]
async fn a_choice_is_made_once_by_someone_who_may() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = format!("/v1/recon/{}/choice", scene.decision);
    let accept = json!({ "choice": "accept", "reason": WHY });
    let before = desk.audited();

    let (status, kind, detail) = desk.refused(&path, &person("dora"), accept.clone()).await;
    assert_eq!((status, kind.as_str()), (403, "forbidden"));
    assert!(detail.contains("dispatch") && detail.contains("finance, supervisor"), "{detail}");
    assert_eq!(desk.refused(&path, "Bearer board", accept.clone()).await.0, 403);
    assert_eq!(desk.refused("/v1/recon/gw-9-1-1/choice", &person("sue"), accept.clone()).await.0, 404);
    let (status, _, detail) = desk.refused(&path, &person("sue"), json!({ "choice": "keep", "reason": "so" })).await;
    assert_eq!(status, 400);
    assert!(detail.contains("/choice") && detail.contains("accept, return") && detail.contains("/reason"), "{detail}");
    assert_eq!(desk.audited(), before, "nothing refused leaves a trace of having been done");

    let done = desk.act(&path, &person("sue"), accept.clone()).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let item = desk.store.read_now(|r| r.recon_item(&scene.decision)).unwrap().unwrap();
    let chosen = item.chosen.unwrap();
    assert_eq!((chosen.choice, chosen.by.as_str(), chosen.reason.as_str()), (Choice::Accept, "sue", WHY));
    assert_eq!(desk.audited(), before + 1);

    let (status, _, detail) = desk.refused(&path, &person("fina"), json!({ "choice": "return", "reason": WHY })).await;
    assert_eq!(status, 409);
    assert!(detail.contains("sue chose accept"), "{detail}");
}

#[tokio::test]
async fn a_choice_about_much_waits_for_a_second_person_and_the_case_says_so() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let id = scene.decision.clone();
    let read = || desk.store.read_now(|r| r.recon_item(&scene.decision)).unwrap().unwrap();
    desk.store
        .write_now(move |tx| {
            let mut item = tx.recon_item(&id)?.unwrap();
            (item.value_minor, item.currency) = (1_000_001, "EUR".to_owned());
            tx.put_recon_item(&item)
        })
        .unwrap();
    let path = |act: &str| format!("/v1/recon/{}/{act}", scene.decision);
    let seen = desk.get(&path("").trim_end_matches('/').to_owned(), &person("dora")).await.body;
    assert_eq!(seen["two_people"], json!(true));
    let why = json!({ "reason": WHY });
    assert_eq!(desk.refused(&path("confirm"), &person("sue"), why.clone()).await.0, 409, "nothing is proposed yet");

    let done = desk.act(&path("choice"), &person("fina"), json!({ "choice": "accept", "reason": WHY })).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert!(done.body["done"].as_str().unwrap().contains("a second person"), "{done:?}");
    let item = read();
    assert_eq!((item.chosen, item.proposed.unwrap().by.as_str()), (None, "fina"));

    let (status, _, detail) = desk.refused(&path("confirm"), &person("fina"), why.clone()).await;
    assert_eq!(status, 409);
    assert!(detail.contains("a second person is needed"), "{detail}");
    assert_eq!(desk.refused(&path("confirm"), &person("dora"), why.clone()).await.0, 403);
    assert_eq!(desk.refused(&path("confirm"), &person("otto"), why.clone()).await.0, 404);
    assert_eq!(desk.act(&path("refuse"), &person("sue"), why.clone()).await.status, StatusCode::OK);
    assert_eq!(read().proposed, None);

    desk.act(&path("choice"), &person("fina"), json!({ "choice": "return", "reason": WHY })).await;
    let before = desk.audited();
    assert_eq!(desk.act(&path("confirm"), &person("sue"), why).await.status, StatusCode::OK);
    let chosen = read().chosen.unwrap();
    assert_eq!((chosen.choice, chosen.by_whom().as_str()), (Choice::Return, "fina and sue"));
    assert_eq!(desk.audited(), before + 1);
    let case = desk.get(&format!("/v1/cases/{}", scene.case), &person("sue")).await.body.to_string();
    for said in ["proposed by fina", "refused by sue", "chosen by fina and sue"] {
        assert!(case.contains(said), "{said}: {case}");
    }
}

#[tokio::test]
async fn what_is_open_and_how_long_settling_takes_is_told_by_family_to_who_sees_all_depots() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let now = Clock::system().wall();
    let id = scene.decision.clone();
    desk.store
        .write_now(move |tx| {
            let mut item = tx.recon_item(&id)?.unwrap();
            (item.value_minor, item.currency) = (2_500, "EUR".to_owned());
            tx.put_recon_item(&item)?;
            for (n, minutes) in [(2, 1), (3, 3), (4, 40)] {
                item.decision = gatehouse_common::id::DecisionId::of(&"gw-1".parse().unwrap(), 1, n);
                item.outcome = Some(crate::core::reconcile::Outcome::Matched);
                (item.choices, item.decided) = (Vec::new(), Some(now.plus(-minutes * 60_000)));
                item.closed = Some(now);
                tx.put_recon_item(&item)?;
            }
            Ok(())
        })
        .unwrap();
    let told = desk.get("/v1/recon/figures", "Bearer board").await.body;
    let figures = &told["items"][0];
    assert_eq!((&figures["family"], &figures["open"], &figures["waiting"]), (&json!("quantity"), &json!(1), &json!(1)));
    assert_eq!((&figures["open_value_minor"], &figures["settled"]), (&json!({ "EUR": 2_500 }), &json!(3)));
    assert_eq!((&figures["p50_ms"], &figures["p90_ms"]), (&json!(180_000), &json!(2_400_000)));
    let url = format!("http://{}/metrics", desk.address);
    let text = desk.http.get(url).bearer_auth("board").send().await.unwrap().text().await.unwrap();
    for line in [
        "gatehouse_hub_recon_open{family=\"quantity\"} 1",
        "gatehouse_hub_recon_open_value_minor{family=\"quantity\",currency=\"EUR\"} 2500",
        "gatehouse_hub_recon_settle_seconds{family=\"quantity\",quantile=\"0.9\"} 2400.000",
        "gatehouse_hub_postings{state=\"dead\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    for path in ["/v1/recon/figures", "/metrics"] {
        assert_eq!(desk.get(path, &person("otto")).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(desk.get(path, "").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn a_case_moves_where_it_can_and_by_its_own_team() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = format!("/v1/cases/{}/move", scene.case);
    let to = |to: &str| json!({ "to": to, "reason": WHY });
    assert_eq!(desk.refused(&path, &person("dora"), to("acknowledged")).await.0, 403);
    let (status, _, detail) = desk.refused(&path, &person("fina"), to("closed")).await;
    assert_eq!(status, 409);
    assert!(detail.contains("acknowledged, cancelled"), "{detail}");
    let offered = desk.get(&format!("/v1/cases/{}", scene.case), &person("fina")).await.body["moves"].clone();
    assert_eq!(offered, json!(["acknowledged", "cancelled"]));
    assert_eq!(desk.act(&path, &person("fina"), to("acknowledged")).await.status, StatusCode::OK);
    let view = desk.store.read_now(|r| r.case_view(&scene.case)).unwrap().unwrap();
    assert_eq!(view.state.as_str(), "acknowledged");
}

#[tokio::test]
async fn a_case_is_not_closed_while_reconciliation_has_something_open_of_its_order() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = format!("/v1/cases/{}", scene.case);
    let to = |to: &str| json!({ "to": to, "reason": WHY });
    let moved = format!("{path}/move");
    for step in ["acknowledged", "in_progress", "resolved"] {
        assert_eq!(desk.act(&moved, &person("fina"), to(step)).await.status, StatusCode::OK, "{step}");
    }
    assert_eq!(desk.get(&path, &person("fina")).await.body["moves"], json!(["reopened"]));
    let before = desk.audited();
    let (status, kind, detail) = desk.refused(&moved, &person("fina"), to("closed")).await;
    assert_eq!((status, kind.as_str()), (409, "conflict"));
    assert!(detail.contains(&scene.decision.to_string()) && detail.contains("/v1/recon"), "{detail}");
    assert_eq!(desk.audited(), before);

    let decision = scene.decision.clone();
    desk.store
        .write_now(move |tx| {
            let mut item = tx.recon_item(&decision)?.unwrap();
            item.outcome = Some(Outcome::Matched);
            tx.put_recon_item(&item)
        })
        .unwrap();
    assert_eq!(desk.get(&path, &person("fina")).await.body["moves"], json!(["closed", "reopened"]));
    assert_eq!(desk.act(&moved, &person("fina"), to("closed")).await.status, StatusCode::OK);
    let view = desk.store.read_now(|r| r.case_view(&scene.case)).unwrap().unwrap();
    assert_eq!((view.state, view.void.len()), (CaseState::Closed, 0));
}

#[tokio::test]
async fn a_case_that_was_closed_fourteen_days_ago_is_not_taken_up_again() {
    for (days, moves, status) in [(13, json!(["reopened"]), 200), (14, json!([]), 409)] {
        let desk = Desk::new().await;
        let scene = desk.play();
        let (case, then) = (scene.case, Clock::system().wall().plus(-days * 24 * 3_600_000 - 1_000));
        let step = move |to, auto_cleared| {
            let reason = "nothing is left".to_owned();
            Says::Moved { to, since: then, reason, auto_cleared, how: None }
        };
        let says = DocumentSays::Case(vec![step(CaseState::Resolved, true), step(CaseState::Closed, false)]);
        desk.store.write_now(move |tx| tx.write_entries(&case, says, "rule", Lane::Documents, then)).unwrap();
        let path = format!("/v1/cases/{case}");
        assert_eq!(desk.get(&path, &person("fina")).await.body["moves"], moves, "{days} days");
        let body = json!({ "to": "reopened", "reason": WHY });
        let answer = desk.act(&format!("{path}/move"), &person("fina"), body).await;
        assert_eq!(answer.status.as_u16(), status, "{days} days");
        assert!(status == 200 || answer.detail().contains("14 days"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_list_of_cases_says_what_counts_for_nothing_and_what_waits_for_its_past() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let case = scene.case;
    let (_, mut document) = desk.store.read_now(|r| r.document(&case)).unwrap().unwrap();
    let now = Clock::system().now();
    crate::sync::devices::add(&desk.store, fixture::gateway("gw-2", "D1", 8), "test", now.wall).unwrap();
    let mut writes = |actor: &str, says: Says| {
        let after = History::new(document.entries::<Says>().0).heads();
        let hlc = Hlc { ms: now.wall.0, n: 0 };
        let entry = Entry { after, at: now.wall, hlc, by: "ana".into(), says };
        document.append(&actor.parse().unwrap(), &[entry]).unwrap().1.bytes
    };
    let reason = "the customer paid".to_owned();
    let closes = Says::Moved { to: CaseState::Closed, since: UtcMs(0), reason, auto_cleared: false, how: None };
    let first = writes("site/D1/gw-1/1", closes);
    let acted = Says::Acted { action: "called".into(), outcome: "no answer".into() };
    let second = writes("site/D1/gw-2/1", acted);
    let told = |device: &str, number: u64, bytes: Vec<u8>| {
        let says = Upward::Chunk { document: case, kind: DocumentKind::Case, bytes };
        let push = Push { outbox_epoch: 1, records: vec![(number, says)] };
        let (key, name, now) = (PrivateKey::from_seed([1; 32]), device.parse().unwrap(), Clock::system().now());
        let reply = desk.store.write_now(move |tx| crate::sync::handle_push(tx, &key, &name, &push, &now)).unwrap();
        assert_eq!(reply.rejected, Vec::new());
        desk.store.fold_now().unwrap();
    };
    desk.store.fold_now().unwrap();
    let listed = async || desk.get("/v1/cases", &person("fina")).await.body["items"][0].clone();
    let item = listed().await;
    assert_eq!((&item["lost"], &item["waits_since"]), (&json!({}), &Value::Null), "nothing is to be told");
    told("gw-2", 1, second);
    assert!(listed().await["waits_since"].is_i64());
    told("gw-1", 3, first);
    let item = listed().await;
    assert_eq!(item["waits_since"], Value::Null);
    let key = item["view"]["void"][0][0].as_str().unwrap();
    assert_eq!((&item["lost"][key]["t"], &item["lost"][key]["by"]), (&json!("moved"), &json!("ana")));
    assert_eq!(item["lost"].as_object().unwrap().len(), 1, "what counts stands in the case");
}

#[tokio::test]
async fn who_decided_on_something_older_is_told_to_look_again() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let url = format!("http://{}/v1/cases/{}", desk.address, scene.case);
    let read = || desk.http.get(&url).header(header::AUTHORIZATION, person("fina"));
    let seen = read().send().await.unwrap().headers()[header::ETAG].to_str().unwrap().to_owned();
    let again = read().header(header::IF_NONE_MATCH, &seen).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let send = || {
        let request = desk.http.post(format!("{url}/move")).header(header::AUTHORIZATION, person("fina"));
        let body = json!({ "to": "acknowledged", "reason": WHY }).to_string();
        request.header(header::CONTENT_TYPE, "application/json").header(header::IF_MATCH, &seen).body(body).send()
    };
    assert_eq!(send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(send().await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_dead_letter_is_tried_again_though_its_key_has_slashes() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let listed = desk.get("/v1/dead-letters", &person("dora")).await.body;
    assert_eq!(listed["items"][0]["posting"]["key"], scene.posting);
    assert_eq!(listed["items"][0]["last_error"], "the ERP knows no warehouse D1");
    let path = format!("/v1/dead-letters/{}/replay", scene.posting.replace('/', "%2F"));
    let body = json!({ "reason": WHY });
    assert_eq!(desk.refused(&path, &person("fina"), body.clone()).await.0, 403);
    assert_eq!(desk.refused("/v1/dead-letters/x%2Fy/replay", &person("dora"), body.clone()).await.0, 404);
    // Of another depot: as if it were not there.
    assert_eq!(desk.get("/v1/dead-letters", &person("otto")).await.body["items"], json!([]));
    assert_eq!(desk.refused(&path, &person("otto"), body.clone()).await.0, 404);
    assert_eq!(desk.act(&path, &person("dora"), body.clone()).await.status, StatusCode::OK);
    let posting = desk.store.read_now(|r| r.posting(&scene.posting)).unwrap().unwrap();
    assert_eq!(posting.state, PostingState::InDoubt, "the ERP is asked for it before it is sent");
    assert_eq!(desk.refused(&path, &person("dora"), body).await.0, 409);
}

#[tokio::test]
async fn a_dead_letter_is_corrected_and_stays_parked_or_counts_as_booked_by_hand() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = |act: &str| format!("/v1/dead-letters/{}/{act}", scene.posting.replace('/', "%2F"));
    let read = || desk.store.read_now(|r| r.posting(&scene.posting)).unwrap().unwrap();
    let before = read();
    let correction = json!({ "text": "dock 3, not 2", "reason": WHY });
    assert_eq!(desk.refused(&path("correct"), &person("fina"), correction.clone()).await.0, 403);
    assert_eq!(desk.refused(&path("correct"), &person("otto"), correction.clone()).await.0, 404);
    assert_eq!(desk.refused(&path("correct"), &person("dora"), json!({ "reason": WHY })).await.0, 400);
    assert_eq!(desk.act(&path("correct"), &person("dora"), correction).await.status, StatusCode::OK);
    let corrected = read();
    assert_eq!((corrected.state, corrected.posting.text.as_str()), (PostingState::Dead, "dock 3, not 2"));
    assert_eq!(corrected.posting.key, before.posting.key);
    let booked = json!({ "document": "DN-0815", "reason": WHY });
    assert_eq!(desk.refused(&path("booked"), &person("fina"), booked.clone()).await.0, 403);
    assert_eq!(desk.refused(&path("booked"), &person("dora"), json!({ "document": " ", "reason": WHY })).await.0, 400);
    assert_eq!(desk.act(&path("booked"), &person("dora"), booked.clone()).await.status, StatusCode::OK);
    assert_eq!((read().state, read().document.as_deref()), (PostingState::Applied, Some("DN-0815")));
    assert_eq!(desk.refused(&path("booked"), &person("dora"), booked).await.0, 409);
}

#[tokio::test]
async fn which_system_owns_a_field_is_told() {
    let desk = Desk::new().await;
    let owned = desk.get("/v1/ownership", &person("dora")).await.body;
    let carrier = owned["items"].as_array().unwrap().iter().find(|o| o["field"] == "carrier").unwrap();
    assert_eq!((&carrier["owner"], &carrier["written"]), (&json!("TMS"), &json!("")));
}

#[tokio::test]
async fn a_body_that_is_not_the_json_asked_for_is_refused_with_the_place() {
    let desk = Desk::new().await;
    let scene = desk.play();
    let path = format!("/v1/recon/{}/choice", scene.decision);
    let sent = |kind: &'static str, body: &'static str| desk.ask_as_sue(&path, kind, body);
    let broken = sent("application/json", "{\"choice\": ").await;
    assert!(broken.status == StatusCode::BAD_REQUEST && broken.detail().contains("line 1 column 11"), "{broken:?}");
    assert_eq!(sent("application/json", "[1]").await.status, StatusCode::BAD_REQUEST);
    // A form on another site can send this type and no other; it must not choose in anyone's name.
    assert_eq!(sent("text/plain", "{}").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(broken.detail().starts_with("the body is not JSON"), "{broken:?}");
    let unknown = sent("application/json", r#"{"choice":"accept","reason":"long enough","force":true}"#).await;
    assert_eq!(unknown.body["errors"][0]["field"], "/force");
}

impl Desk {
    async fn ask_as_sue(&self, path: &str, kind: &str, body: &str) -> Answer {
        self.ask(Method::POST, path, &person("sue"), kind, body.to_owned()).await
    }
}

#[tokio::test]
async fn a_dispatch_shows_its_gates_and_what_is_known_with_the_age_of_each() {
    let desk = Desk::new().await;
    let scene = desk.play();
    desk.send(&inventory("i1", 40, EARLY), "wms").await;
    let listed = desk.get("/v1/dispatches?over=false", "Bearer board").await.body;
    let item = &listed["items"][0];
    assert_eq!((&item["id"], &item["view"]["state"]), (&json!(scene.dispatch.to_string()), &json!("held")));
    let gates = &item["last_decision"]["gates"];
    assert_eq!((&gates[0]["state"], &gates[0]["inputs"][0]["age_ms"]), (&json!("pass"), &json!(60_000)));
    assert_eq!((&gates[1]["state"], &gates[1]["why"]), (&json!("unknown"), &json!("missing")));
    assert_eq!(item["facts"][0]["value"], json!({ "is": "inventory", "confirmed": 40 }));
    assert!(item["facts"][0]["age_ms"].as_u64().unwrap() > 86_400_000);
    assert_eq!(item["order"]["customer"]["name"], "Ada's <b>Shop</b>");
    for wrong in ["outcome=lost", "open=2"] {
        let answer = desk.get(&format!("/v1/recon?{wrong}"), "Bearer board").await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "invalid"), "{wrong}");
    }
    let number = async |path: &str| desk.get(path, "Bearer board").await.body["items"].as_array().unwrap().len();
    assert_eq!((number("/v1/recon?open=true").await, number("/v1/recon?open=false").await), (1, 0));
    let odd = desk.get("/v1/recon/%FF", "Bearer board").await;
    assert_eq!((odd.status, odd.problem()), (StatusCode::NOT_FOUND, "not-found"));
    for wrong in ["?state=gone", "?over=perhaps", "?limit=0", "?colour=red", "?after=%3F"] {
        let answer = desk.get(&format!("/v1/dispatches{wrong}"), "Bearer board").await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "invalid"), "{wrong}");
    }
    let nobody = desk.get("/v1/dispatches", "Bearer wms").await;
    assert!(nobody.status == StatusCode::FORBIDDEN && nobody.detail().contains("\"read\""), "{nobody:?}");
}

#[tokio::test]
async fn an_open_page_hears_what_changed_and_ends_with_the_hub() {
    let desk = Desk::new().await;
    let url = format!("http://{}/v1/live", desk.address);
    let mut answer = desk.http.get(url).header(header::AUTHORIZATION, person("dora")).send().await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let wait = std::time::Duration::from_secs(5);
    desk.send(&inventory("i1", 40, EARLY), "wms").await;
    let heard = tokio::time::timeout(wait, answer.chunk()).await.unwrap().unwrap().unwrap();
    let heard = String::from_utf8(heard.to_vec()).unwrap();
    assert!(heard.starts_with("event: changed\n") && heard.contains("\"dispatches\""), "{heard}");
    desk.stop.send(true).unwrap();
    let end = tokio::time::timeout(wait, answer.chunk()).await.unwrap().unwrap();
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn what_a_depots_device_sent_in_vain_is_shown_to_those_who_see_the_depot() {
    let desk = Desk::new().await;
    desk.play();
    let records = vec![(3, gatehouse_common::sync::Upward::Status("no status".into()))];
    let push = gatehouse_common::sync::Push { outbox_epoch: 1, records };
    let (key, now) = (gatehouse_common::seal::PrivateKey::from_seed([1; 32]), crate::clock::Clock::system().now());
    let name = "gw-1".parse().unwrap();
    desk.store.write_now(move |tx| crate::sync::handle_push(tx, &key, &name, &push, &now)).unwrap();
    let items = |body: Value| body["items"].as_array().unwrap().len();
    assert_eq!(items(desk.get("/v1/quarantine", &person("dora")).await.body), 1);
    assert_eq!(items(desk.get("/v1/quarantine", &person("otto")).await.body), 0);
}
