use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    bundle::Bundle,
    fact::{FactKey, FactValue, Report, Source},
    id::{DeviceId, DocumentId, DocumentKind, OrderId, SiteId, VehicleId},
    seal::{PrivateKey, Sealed},
    sync::{
        Cursor, Downward, FeedItem, Lane, LedgerEpoch, PROTOCOL, PageDigest, Pull, PullReply, Push, PushReply, Repair,
        Repaired, Standing, Upward, decode, encode_as,
        exchange::{
            HELLO_PATH, NONCE_HEADER, PULL_PATH, PUSH_PATH, REPAIR_PATH, SIGNATURE_HEADER, SKEW_MAX_MS, STANDING_PATH,
            TIME_HEADER, reply_text, request_text,
        },
        page::root,
        protocol_of,
    },
    time::UtcMs,
};
use tokio::sync::mpsc;

mod older;

use super::{HubState, Own, Sync};
use crate::{
    clock::Clock,
    config::HubConfig,
    core::{Core, Profile, decision::Record},
    driver::{Driver, Handle},
    store::{Identity, Reader, Store},
    tasks::Stop,
};

/// A hub that checks signatures and times as the real one does, and keeps what it was told.
struct Hub {
    key: PrivateKey,
    clock_ahead_ms: AtomicI64,
    fail_next: AtomicU32,
    /// How long the text is with which it fails.
    fails_with_bytes: usize,
    /// Pulls hang but for those of recalls alone, and pushes break off.
    hangs: bool,
    compares: Compares,
    /// What it knows of the device; `None` for a hub that cannot say.
    standing: Option<Standing>,
    outbox_epochs: Mutex<Vec<u64>>,
    pushed: Mutex<Vec<(u64, Upward)>>,
    pulls: Mutex<Vec<Pull>>,
    /// The paths of what was asked, but for pushes.
    asked: Mutex<Vec<String>>,
    /// After so many questions of a comparison another replica answers a pull.
    other_run_after: usize,
    /// Whether it takes nothing of what is pushed.
    takes_nothing: bool,
    /// The life of its ledger.
    life: LedgerEpoch,
    /// The newest protocol that it speaks, and what it says of a frame of a newer one.
    speaks: AtomicU8,
    says_of_newer: &'static str,
    /// In which protocol it was asked, one question after the other.
    protocols: Mutex<Vec<u8>>,
    /// Frames that it answers with once, by path: the next push, the next pull of all lanes.
    replays: Mutex<BTreeMap<&'static str, Vec<u8>>>,
}

/// How a hub compares what it and the device hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compares {
    /// It is of a version that cannot, and signs no page either.
    Not,
    /// The line breaks under each question.
    BreaksOff,
    /// It has no answer to a question.
    Fails,
    /// It says of a stretch of documents after the other that nothing differs.
    InStretches,
}

/// The end of the feed, as the hub signs it.
const FEED_END: u64 = 10;
/// The end of the feed when the first heads are compared.
const COMPARED: u64 = 12;

fn device() -> DeviceId {
    DeviceId::new("V1-unit").unwrap()
}

fn own() -> Own {
    Own { device: device(), site: SiteId::new("D1").unwrap(), vehicle: Some(VehicleId::new("1").unwrap()) }
}

fn device_key() -> PrivateKey {
    PrivateKey::from_seed([1; 32])
}

impl Hub {
    fn new(clock_ahead_ms: i64, fail_next: u32) -> Self {
        Self {
            key: PrivateKey::from_seed([9; 32]),
            clock_ahead_ms: clock_ahead_ms.into(),
            fail_next: fail_next.into(),
            fails_with_bytes: 0,
            hangs: false,
            compares: Compares::Not,
            other_run_after: usize::MAX,
            takes_nothing: false,
            life: LedgerEpoch(7),
            speaks: PROTOCOL.into(),
            says_of_newer: "",
            protocols: Mutex::default(),
            replays: Mutex::default(),
            standing: None,
            outbox_epochs: Mutex::default(),
            pushed: Mutex::default(),
            pulls: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// What it signs of a page without changes.
    fn page(&self, run: u32) -> FeedItem {
        let changes = root(&[]);
        let (ledger, head) = (self.life, FEED_END);
        let digest = PageDigest { device: device(), ledger, run, head, backed_up: 0, changes };
        let says = Downward::Page(Sealed::new(&digest, &self.key).unwrap());
        FeedItem { lane: Lane::Rest, position: 0, says }
    }

    fn asked_for_repair(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| *path == REPAIR_PATH).count()
    }

    fn now(&self) -> UtcMs {
        Clock::system().wall().plus(self.clock_ahead_ms.load(Ordering::Relaxed))
    }

    async fn until_a_pull_hangs(&self) {
        for _ in 0..1_000 {
            if self.pulls.lock().unwrap().iter().any(|pull| !pull.recalls_only) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn replay(&self, path: &str) -> Option<Vec<u8>> {
        self.replays.lock().unwrap().remove(path)
    }

    /// Answers in the protocol of `asked`.
    fn answer<A: serde::Serialize>(&self, nonce: &str, asked: &[u8], answer: &A) -> Response {
        self.told(nonce, encode_as(protocol_of(asked), answer).unwrap())
    }

    fn told(&self, nonce: &str, body: Vec<u8>) -> Response {
        let time = self.now();
        let signature = self.key.sign(reply_text(&device(), time, nonce, 200, &body).as_bytes());
        let headers = [(TIME_HEADER, time.0.to_string()), (SIGNATURE_HEADER, STANDARD.encode(signature))];
        (headers, body).into_response()
    }
}

async fn exchange(State(hub): State<Arc<Hub>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap();
    let (nonce, time) = (header(NONCE_HEADER), UtcMs(header(TIME_HEADER).parse().unwrap()));
    let text = request_text(uri.path(), &device(), time, nonce, &body);
    let signature = STANDARD.decode(header(SIGNATURE_HEADER)).unwrap();
    device_key().public().verify(text.as_bytes(), &signature).unwrap();
    if hub.now().since(time).abs() > SKEW_MAX_MS {
        return (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "detail": "time is too far off" })))
            .into_response();
    }
    if hub.fail_next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        return (StatusCode::SERVICE_UNAVAILABLE, "x".repeat(hub.fails_with_bytes)).into_response();
    }
    let protocol = protocol_of(&body);
    hub.protocols.lock().unwrap().push(protocol);
    if protocol > hub.speaks.load(Ordering::Relaxed) {
        return (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "detail": hub.says_of_newer }))).into_response();
    }
    if uri.path() != PUSH_PATH {
        hub.asked.lock().unwrap().push(uri.path().to_owned());
    }
    if uri.path() == REPAIR_PATH {
        return match hub.compares {
            Compares::Not => StatusCode::NOT_FOUND.into_response(),
            Compares::BreaksOff => panic!("this breaks the connection off, as is meant"),
            Compares::Fails => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Compares::InStretches => hub.answer(nonce, &body, &compared(decode(&body).unwrap())),
        };
    }
    if uri.path() == STANDING_PATH {
        if let Some(frame) = hub.replay(STANDING_PATH) {
            return hub.told(nonce, frame);
        }
        return match &hub.standing {
            Some(standing) => hub.answer(nonce, &body, standing),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    if uri.path() == PUSH_PATH {
        if hub.hangs {
            hub.until_a_pull_hangs().await;
            panic!("this breaks the connection off, as is meant");
        }
        let push: Push = decode(&body).unwrap();
        hub.outbox_epochs.lock().unwrap().push(push.outbox_epoch);
        let before = push.records.first().unwrap().0 - 1;
        let taken_through = if hub.takes_nothing { before } else { push.records.last().unwrap().0 };
        hub.pushed.lock().unwrap().extend(push.records);
        if let Some(frame) = hub.replay(PUSH_PATH) {
            return hub.told(nonce, frame);
        }
        return hub.answer(nonce, &body, &PushReply { taken_through, rejected: Vec::new(), kept_through: 0 });
    }
    let pull: Pull = decode(&body).unwrap();
    hub.pulls.lock().unwrap().push(pull.clone());
    if hub.hangs && !pull.recalls_only {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    if !pull.recalls_only
        && let Some(frame) = hub.replay(PULL_PATH)
    {
        return hub.told(nonce, frame);
    }
    let mut cursor = pull.cursor;
    cursor.epoch = hub.life;
    let mut items = Vec::new();
    if pull.recalls_only && hub.compares != Compares::Not {
        items.push(hub.page(1));
    } else if hub.asked_for_repair() == hub.other_run_after {
        items.push(hub.page(2));
    }
    if !pull.recalls_only && cursor.positions[Lane::Orders.index()] < 3 {
        let report = Report {
            key: FactKey::Capacity { order: OrderId::new("SO1").unwrap() },
            value: FactValue::Capacity { sufficient: true, vehicle: None },
            source: Source::Tms,
            at: hub.now(),
            evidence: "test".to_owned(),
        };
        let says = Downward::Fact(serde_json::to_string(&report).unwrap());
        items.push(FeedItem { lane: Lane::Orders, position: 3, says });
        cursor.pass(Lane::Orders, 3);
    } else if !pull.recalls_only {
        // Nothing is new: the hub lets the question wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hub.answer(nonce, &body, &PullReply::Page { items, cursor, more: false })
}

/// Four stretches, each up to a document of its own, and the rest.
fn compared(asked: Repair) -> Repaired {
    let Repair::Heads { after, .. } = asked else { return Repaired::Noted };
    let mut ends: Vec<DocumentId> = (1..=4).map(|n| DocumentId::of(DocumentKind::Case, "k", n)).collect();
    ends.sort();
    let through = ends.into_iter().find(|end| after.is_none_or(|after| *end > after));
    Repaired::Heads { differ: Vec::new(), through, head: COMPARED }
}

/// The hub and an agent's line to it, with driver and store of its own.
struct Depot {
    hub: Arc<Hub>,
    state: tokio::sync::watch::Receiver<HubState>,
    store: tempfile::TempDir,
    clock: Clock,
    _driver: (Driver, Handle),
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Depot {
    /// `expected` is the key seed that the configuration names; the hub signs with seed 9.
    async fn start(expected: u8, clock_ahead_ms: i64, fail_next: u32) -> Self {
        Self::with(expected, Hub::new(clock_ahead_ms, fail_next)).await
    }

    async fn with(expected: u8, hub: Hub) -> Self {
        Self::over(expected, hub, |_| {}).await
    }

    /// With a store that is as `prepare` leaves it.
    async fn over(expected: u8, hub: Hub, prepare: impl FnOnce(&mut Store)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let hub = Arc::new(hub);
        let router = Router::new()
            .route(PUSH_PATH, post(exchange))
            .route(PULL_PATH, post(exchange))
            .route(STANDING_PATH, post(exchange))
            .route(REPAIR_PATH, post(exchange))
            .route(
                HELLO_PATH,
                get(|State(hub): State<Arc<Hub>>| async move { Json(serde_json::json!({ "time": hub.now() })) }),
            )
            .with_state(hub.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });

        let store = tempfile::tempdir().unwrap();
        let path = store.path().join("agent.db");
        let (key, clock) = (device_key(), Clock::system());
        let site = SiteId::new("D1").unwrap();
        let identity = Identity { device: device(), site: site.clone(), public_key: key.public() };
        let mut opened = Store::open(&path, &identity).unwrap();
        prepare(&mut opened);
        let profile = Profile {
            device: device(),
            site,
            vehicle: Some(VehicleId::new("1").unwrap()),
            yard: None,
            key: key.clone(),
            hub_key: Some(hub.key.public()),
            bundle: Bundle::usual(),
        };
        let core = Core::load(profile, opened.snapshot().unwrap());
        let (driver, handle) = Driver::start(core, opened, clock.clone(), mpsc::unbounded_channel().0).unwrap();
        let public_key = PrivateKey::from_seed([expected; 32]).public();
        let config = HubConfig { url, public_key, identity: None };
        let (sync, state) = Sync::new(&config, own(), key, path, clock.clone(), handle.clone()).unwrap();
        let (sender, stop) = Stop::pair();
        tokio::spawn(sync.clone().push(stop.clone()));
        tokio::spawn(sync.pull(stop));
        Self { hub, state, store, clock, _driver: (driver, handle), _stop: sender }
    }

    fn cursor(&self) -> Cursor {
        Reader::open(&self.store.path().join("agent.db")).unwrap().cursor().unwrap()
    }

    async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !seen(self) {
            assert!(started.elapsed() < Duration::from_secs(15), "never: {what}; {:?}", self.state.borrow());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn recalls_are_asked_for_first_and_a_page_is_passed_only_once_it_is_committed() {
    let depot = Depot::start(9, 0, 0).await;
    depot.until("the fact is committed", |d| d.cursor().positions[Lane::Orders.index()] == 3).await;
    depot.until("the next question", |d| d.hub.pulls.lock().unwrap().len() >= 3).await;
    let pulls = depot.hub.pulls.lock().unwrap().clone();
    assert!(pulls[0].recalls_only && pulls[0].wait_ms == 0);
    assert!(!pulls[1].recalls_only && pulls[1].wait_ms == 30_000);
    assert_eq!(pulls[2].cursor, depot.cursor());
    assert!(depot.state.borrow().connected);
    assert!(depot.clock.now().trusted, "a signed answer near our time confirms the clock");
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_pushed_once() {
    let depot = Depot::start(9, 0, 0).await;
    depot.until("a status is pushed", |d| !d.hub.pushed.lock().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pushed = depot.hub.pushed.lock().unwrap().clone();
    assert!(pushed.windows(2).all(|w| w[0].0 < w[1].0), "{pushed:?}");
}

#[tokio::test]
async fn a_record_of_the_outbox_that_is_damaged_is_passed_over_and_stays_where_people_see_it() {
    let rotted = |store: &mut Store| {
        // What is pushed in another life of the ledger would be told again.
        let cursor = Record::Cursor(Cursor::start(LedgerEpoch(7)));
        store.commit(&[cursor, Record::Tracks { at: UtcMs(1), position: None, tracks: Vec::new() }]).unwrap();
        store.raw().execute("UPDATE outbox SET body = x'00'", []).unwrap();
    };
    let depot = Depot::over(9, Hub::new(0, 0), rotted).await;
    depot.until("what follows is pushed", |d| !d.hub.pushed.lock().unwrap().is_empty()).await;
    assert!(depot.hub.pushed.lock().unwrap().iter().all(|(n, _)| *n > 1));
    let seen = |d: &Depot| Reader::open(&d.store.path().join("agent.db")).unwrap().status().unwrap();
    depot.until("it counts as not let in", |d| seen(d).rejected == 1).await;
}

#[tokio::test]
async fn a_hub_that_fails_is_asked_again_until_it_answers() {
    let depot = Depot::start(9, 0, 3).await;
    depot.until("the fact is committed", |d| d.cursor().positions[Lane::Orders.index()] == 3).await;
    assert!(depot.state.borrow().trouble.is_none());
}

#[tokio::test]
async fn answers_of_another_hub_are_dropped_and_told() {
    let depot = Depot::start(8, 0, 0).await;
    depot
        .until("the trouble", |d| d.state.borrow().trouble.as_ref().is_some_and(|t| t.contains("hub.public_key")))
        .await;
    assert_eq!(depot.cursor(), Cursor::default());
    assert!(!depot.clock.now().trusted);
}

#[tokio::test]
async fn a_device_whose_clock_is_far_off_sends_the_hubs_time_and_does_not_trust_its_own() {
    let depot = Depot::start(9, 2 * SKEW_MAX_MS, 0).await;
    depot.until("the fact is committed", |d| d.cursor().positions[Lane::Orders.index()] == 3).await;
    assert!(!depot.clock.now().trusted);
}

#[tokio::test]
async fn a_push_that_breaks_off_ends_the_pull_that_hangs_and_recalls_are_asked_for_first() {
    let depot = Depot::with(9, Hub { hangs: true, ..Hub::new(0, 0) }).await;
    depot.until("recalls are asked for a second time", |d| recalls_only(d) == 2).await;
    let full = depot.hub.pulls.lock().unwrap().iter().filter(|pull| !pull.recalls_only).count();
    assert!(full >= 1, "a pull hung in between");
}

fn recalls_only(depot: &Depot) -> usize {
    depot.hub.pulls.lock().unwrap().iter().filter(|pull| pull.recalls_only).count()
}

/// A store that has read orders, and is to compare all documents.
fn has_orders(store: &mut Store) {
    let mut cursor = Cursor::start(LedgerEpoch(7));
    cursor.pass(Lane::Orders, 1);
    store.commit(&[Record::Cursor(cursor)]).unwrap();
}

fn position(cursor: &Cursor, lane: Lane) -> u64 {
    cursor.positions[lane.index()]
}

fn full_pulls(depot: &Depot) -> Vec<Pull> {
    depot.hub.pulls.lock().unwrap().iter().filter(|pull| !pull.recalls_only).cloned().collect()
}

#[tokio::test]
async fn a_comparison_that_does_not_get_through_keeps_no_recalls_back_and_no_orders_come_before_it() {
    let holds_nothing = |_: &mut Store| {};
    for (compares, prepare) in [
        (Compares::BreaksOff, has_orders as fn(&mut Store)),
        (Compares::Fails, has_orders),
        (Compares::Fails, holds_nothing),
    ] {
        let depot = Depot::over(9, Hub { compares, ..Hub::new(0, 0) }, prepare).await;
        let stood = depot.cursor();
        depot.until("more is pulled", |d| full_pulls(d).len() >= 2).await;
        assert!(depot.hub.asked_for_repair() > 0);
        for pull in full_pulls(&depot) {
            assert_eq!(position(&pull.cursor, Lane::Documents), FEED_END, "those before come with the comparison");
            assert_eq!(position(&pull.cursor, Lane::Orders), u64::MAX, "it would send once more what has left");
        }
        let stands = |lane| (position(&depot.cursor(), lane), position(&stood, lane));
        for (now, before) in [stands(Lane::Documents), stands(Lane::Orders)] {
            assert_eq!(now, before, "after a restart it is to compare still");
        }
    }
}

#[tokio::test]
async fn a_comparison_that_broke_off_is_asked_for_again() {
    let depot = Depot::over(9, Hub { compares: Compares::BreaksOff, ..Hub::new(0, 0) }, has_orders).await;
    depot.until("it is asked for a third time", |d| d.hub.asked_for_repair() >= 3).await;
}

#[tokio::test]
async fn between_two_questions_of_a_comparison_recalls_are_pulled_and_orders_once_all_is_compared() {
    let depot = Depot::over(9, Hub { compares: Compares::InStretches, ..Hub::new(0, 0) }, has_orders).await;
    depot.until("orders come", |d| position(&d.cursor(), Lane::Orders) == 3).await;
    assert_eq!(position(&depot.cursor(), Lane::Documents), COMPARED);
    let asked = depot.hub.asked.lock().unwrap().clone();
    assert_eq!(depot.hub.asked_for_repair(), 1 + 5, "leases, four stretches and the rest: {asked:?}");
    assert!(asked.windows(2).all(|two| two[0] != REPAIR_PATH || two[1] != REPAIR_PATH), "{asked:?}");
}

#[tokio::test]
async fn a_proof_that_comes_between_two_questions_leaves_the_comparison_where_it_was() {
    let hub = Hub { compares: Compares::InStretches, other_run_after: 3, ..Hub::new(0, 0) };
    let depot = Depot::over(9, hub, has_orders).await;
    depot.until("orders come", |d| position(&d.cursor(), Lane::Orders) == 3).await;
    let asked = depot.hub.asked.lock().unwrap().clone();
    assert_eq!(depot.hub.asked_for_repair(), 1 + 1 + 5, "the proof, leases, four stretches and the rest: {asked:?}");
}

#[tokio::test]
async fn a_hub_that_takes_nothing_for_now_is_told_less_and_less_often() {
    let depot = Depot::with(9, Hub { takes_nothing: true, ..Hub::new(0, 0) }).await;
    depot.until("it is told a second time", |d| d.hub.outbox_epochs.lock().unwrap().len() >= 2).await;
    let before = depot.hub.outbox_epochs.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let told = depot.hub.outbox_epochs.lock().unwrap().len() - before;
    assert!((1..8).contains(&told), "told {told} times in four seconds");
}

#[tokio::test]
async fn of_a_long_text_with_which_the_hub_fails_the_beginning_is_told() {
    let hub = Hub { fails_with_bytes: 2 * 1024 * 1024, ..Hub::new(0, u32::MAX) };
    let depot = Depot::with(9, hub).await;
    depot.until("the trouble", |d| d.state.borrow().trouble.as_ref().is_some_and(|t| t.contains("503: xxx"))).await;
}

fn knows(taken_through: u64) -> Hub {
    let standing = Standing { at: UtcMs(1), taken_through, outbox_epochs: vec![1], heads: Vec::new() };
    Hub { standing: Some(standing), ..Hub::new(0, 0) }
}

#[tokio::test]
async fn a_store_older_than_what_the_hub_took_from_it_begins_a_new_life_before_it_tells_anything() {
    let depot = Depot::with(9, knows(900)).await;
    depot.until("something is pushed", |d| !d.hub.pushed.lock().unwrap().is_empty()).await;
    assert!(depot.hub.outbox_epochs.lock().unwrap().iter().all(|epoch| *epoch == 2));
    let store = Reader::open(&depot.store.path().join("agent.db")).unwrap();
    assert_eq!(store.identity().unwrap()["actor_epoch"], "2");
    assert!(depot.hub.pulls.lock().unwrap()[0].recalls_only);
}

#[tokio::test]
async fn a_store_that_the_hub_knows_nothing_beyond_goes_on_as_it_was() {
    let depot = Depot::with(9, knows(0)).await;
    depot.until("something is pushed", |d| !d.hub.pushed.lock().unwrap().is_empty()).await;
    assert_eq!(*depot.hub.outbox_epochs.lock().unwrap(), [1]);
}
