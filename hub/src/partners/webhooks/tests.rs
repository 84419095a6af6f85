//! From a change of the store to a receiver, who is a server of this test on loopback.

mod cloudevents;
mod nats;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use gatehouse_common::{
    case::{CaseState, CaseType, dedup_key, document_id},
    id::DocumentId,
    time::UtcMs,
};

use super::{announce, deliver, envelope::Envelope, sign::Key};
use crate::{
    clock::Clock,
    config::{Interest, WebhookConfig},
    fixture::order,
    partners::desk::matters,
    store::{Store, StoreError, Tx, past, webhooks::HookDelivery},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

async fn receive(State(to): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    to.got.lock().unwrap().push((headers, body));
    let (status, after) = to.answers.lock().unwrap().pop_front().unwrap_or((204, ""));
    let status = StatusCode::from_u16(status).unwrap();
    if after.is_empty() { status.into_response() } else { (status, [("retry-after", after)]).into_response() }
}

struct Scene {
    _folder: tempfile::TempDir,
    store: Store,
    clock: Clock,
    hook: WebhookConfig,
    receiver: Receiver,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let receiver = Receiver::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/hooks", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let hook = WebhookConfig {
            name: "crm".parse().unwrap(),
            url: format!("http://localhost:{}/hooks", address.port()).parse().unwrap(),
            key: Key::read(SECRET).unwrap(),
            envelope: Envelope::Standard,
            types: BTreeSet::from(["case.*".to_owned()]),
            sites: BTreeSet::new(),
            private: true,
            expires_minutes: 60,
        };
        let scene = Self { _folder: folder, store, clock: Clock::system(), hook, receiver };
        let now = scene.clock.wall();
        scene.write(move |tx| tx.put_order(&order(now), now)).await;
        scene.write(|tx| announce::begin(tx, &[])).await;
        scene
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write(work).await.unwrap()
    }

    /// A case opens and is told.
    async fn case(&self, case_type: CaseType) -> DocumentId {
        self.case_for(self.hook.interest(), case_type).await
    }

    /// A case opens and is told to one subscriber.
    async fn case_for(&self, to: Interest, case_type: CaseType) -> DocumentId {
        let id = document_id(&dedup_key(case_type, "SO-1", ""), 1);
        let now = self.clock.wall();
        self.write(move |tx| {
            matters::open(tx, "SO-1", case_type, "it is late", "acme", now)?;
            announce::announce(tx, &[to], &[id], now)
        })
        .await;
        id
    }

    async fn once(&self) -> bool {
        deliver::once(&self.store, &self.clock, &self.hook).await.unwrap()
    }

    /// Lets the time of the next try come.
    async fn hurry(&self) {
        self.hurry_to("crm").await;
    }

    async fn hurry_to(&self, hook: &str) {
        let mut delivery = self.delivery_to(hook);
        delivery.next_try = UtcMs(0);
        self.write(move |tx| tx.keep_hook_delivery(&delivery)).await;
    }

    fn delivery(&self) -> HookDelivery {
        self.delivery_to("crm")
    }

    fn delivery_to(&self, hook: &str) -> HookDelivery {
        let now = UtcMs(i64::MAX);
        match self.store.read_now(|r| r.hook_due(hook, now)).unwrap() {
            Some((delivery, _)) => delivery,
            None => self.store.read_now(|r| r.hook_dead()).unwrap().remove(0),
        }
    }

    fn counts(&self) -> Vec<(String, u64)> {
        self.store.read_now(|r| r.hook_counts("crm")).unwrap()
    }

    fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.receiver.got.lock().unwrap().clone()
    }

    fn will_answer(&self, answers: &[(u16, &'static str)]) {
        self.receiver.answers.lock().unwrap().extend(answers);
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn a_case_is_told_once_signed_and_under_one_id_however_often_it_is_tried() {
    let scene = Scene::new().await;
    scene.will_answer(&[(500, ""), (302, ""), (204, "")]);
    let id = scene.case(CaseType::LateDelivery).await;
    for _ in 0..3 {
        assert!(scene.once().await);
        if scene.counts()[0].0 == "waiting" {
            assert!(!scene.once().await, "not before its time");
            scene.hurry().await;
        }
    }
    assert!(!scene.once().await);
    assert_eq!(scene.counts(), [("delivered".to_owned(), 1)]);
    let got = scene.got();
    assert_eq!(got.len(), 3);
    for (headers, body) in &got {
        assert_eq!(header(headers, "webhook-id"), header(&got[0].0, "webhook-id"));
        let time: i64 = header(headers, "webhook-timestamp").parse().unwrap();
        assert!((scene.clock.wall().0 / 1000 - time).abs() < 60);
        let signature = scene.hook.key.sign(header(headers, "webhook-id"), time, body);
        assert_eq!(header(headers, "webhook-signature"), signature);
    }
    let body: serde_json::Value = serde_json::from_slice(&got[0].1).unwrap();
    assert_eq!((&body["type"], &body["data"]["case"]), (&"case.open".into(), &id.to_string().into()));
    // The same state again is no news; another one is.
    let (hook, now) = (scene.hook.clone(), scene.clock.wall());
    let told = scene.write(move |tx| announce::announce(tx, &[hook.interest()], &[id], now)).await;
    assert_eq!(told, 0);
    let hook = scene.hook.clone();
    let told = scene
        .write(move |tx| {
            matters::clear(tx, "SO-1", CaseType::LateDelivery, "it arrived", "acme", now)?;
            announce::announce(tx, &[hook.interest()], &[id], now)
        })
        .await;
    assert_eq!(told, 1);
    assert_eq!(CaseState::Resolved.as_str(), "resolved");
    if let Some(folder) = std::env::var_os("GATEHOUSE_WEBHOOKS_WRITTEN") {
        std::fs::create_dir_all(&folder).unwrap();
        for (n, (headers, body)) in got.iter().enumerate() {
            let said = serde_json::json!({
                "secret": SECRET, "body": String::from_utf8_lossy(body),
                "headers": { "webhook-id": header(headers, "webhook-id"),
                    "webhook-timestamp": header(headers, "webhook-timestamp"),
                    "webhook-signature": header(headers, "webhook-signature") },
            });
            std::fs::write(std::path::Path::new(&folder).join(format!("{n}.json")), said.to_string()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more_until_a_person_takes_it_up_again() {
    let scene = Scene::new().await;
    scene.will_answer(&[(410, "")]);
    scene.case(CaseType::LateDelivery).await;
    scene.case(CaseType::EtaRisk).await;
    assert!(scene.once().await);
    assert!(!scene.once().await);
    assert_eq!(scene.counts(), [("dead".to_owned(), 2)], "what waited is parked too");
    scene.write(|tx| tx.resume_hook("crm")).await;
    let event = scene.delivery().event;
    let (name, now) = (event.clone(), scene.clock.wall());
    scene.write(move |tx| tx.replay_hook(&name, "crm", now)).await;
    assert!(scene.once().await);
    assert_eq!(scene.counts(), [("dead".to_owned(), 1), ("delivered".to_owned(), 1)]);
    assert_eq!(header(&scene.got()[1].0, "webhook-id"), event, "a replay has the id that it had");
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it_and_news_that_is_old_is_not_told() {
    let scene = Scene::new().await;
    scene.will_answer(&[(429, "900")]);
    scene.case(CaseType::LateDelivery).await;
    assert!(scene.once().await);
    let waits = scene.delivery().next_try.since(scene.clock.wall());
    assert!((890_000..=1_000_000).contains(&waits), "{waits}");
    assert_eq!(scene.delivery().last_error, "answered 429 Too Many Requests");
    // An hour later nobody should hear of it any more.
    let (hook, old) = (scene.hook.clone(), scene.clock.wall().plus(-3_700_000));
    let id = document_id(&dedup_key(CaseType::EtaRisk, "SO-1", ""), 1);
    scene
        .write(move |tx| {
            matters::open(tx, "SO-1", CaseType::EtaRisk, "it is late", "acme", old)?;
            announce::announce(tx, &[hook.interest()], &[id], old)
        })
        .await;
    assert!(scene.once().await);
    assert_eq!(scene.counts(), [("stale".to_owned(), 1), ("waiting".to_owned(), 1)]);
    assert_eq!(scene.got().len(), 1);
    let stale = scene.store.read_now(|r| r.hook_dead()).unwrap().remove(0);
    assert!(scene.clock.wall().since(stale.next_try) < 60_000, "its time to be replayed begins now: {stale:?}");
}

#[tokio::test]
async fn what_was_told_is_not_told_again_once_its_delivery_was_taken_out() {
    let scene = Scene::new().await;
    let id = scene.case(CaseType::LateDelivery).await;
    assert!(scene.once().await);
    let later = scene.clock.wall().plus(2 * past::KEPT_MS);
    let gone = scene.write(move |tx| tx.prune_past(later, 100)).await;
    assert_eq!(gone, past::Gone { told: 1, ..past::Gone::default() });
    assert!(scene.counts().is_empty());
    let hook = scene.hook.clone();
    let told = scene.write(move |tx| announce::announce(tx, &[hook.interest()], &[id], later)).await;
    assert_eq!((told, scene.once().await), (0, false));
    // The next change is told, under an id of its own.
    let (hook, now) = (scene.hook.clone(), scene.clock.wall());
    let told = scene
        .write(move |tx| {
            matters::clear(tx, "SO-1", CaseType::LateDelivery, "it arrived", "acme", now)?;
            announce::announce(tx, &[hook.interest()], &[id], now)
        })
        .await;
    assert_eq!((told, scene.counts()), (1, vec![("waiting".to_owned(), 1)]));
    assert_ne!(scene.delivery().event, header(&scene.got()[0].0, "webhook-id"));
}

#[tokio::test]
async fn a_private_address_is_not_reached_unless_that_is_meant() {
    let mut scene = Scene::new().await;
    scene.hook.private = false;
    scene.case(CaseType::LateDelivery).await;
    assert!(scene.once().await);
    assert!(scene.got().is_empty());
    assert!(scene.delivery().last_error.contains("no public address"), "{:?}", scene.delivery());
}

#[tokio::test]
async fn a_subscription_gets_its_types_and_depots_and_nothing_else() {
    let scene = Scene::new().await;
    let site = "D1".parse().unwrap();
    assert!(scene.hook.interest().wants("case.open", &site));
    assert!(!scene.hook.interest().wants("dispatch.departed", &site));
    let elsewhere = WebhookConfig { sites: BTreeSet::from(["D2".parse().unwrap()]), ..scene.hook.clone() };
    assert!(!elsewhere.interest().wants("case.open", &site));
}
