//! The stand-in ERP, WMS and TMS keep the promises that scenes and the demo rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the failure report of a test")]

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse, routing::post};
use gatehouse_tests::standin::{
    erp::{Erp, ErpOptions, Faults},
    events::{Sender, SenderOptions, System},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const NO_FAULTS: Faults = Faults { reset_after_apply: 0, fail_before_apply: 0, down: false, slow_ms: 0 };

fn client() -> Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap()
}

/// A caller of one stand-in.
struct Desk {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Desk {
    fn at(address: impl std::fmt::Display, token: Option<&str>) -> Self {
        Self { http: client(), base: format!("http://{address}"), token: token.map(str::to_owned) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).body(body.to_string())).await
    }

    async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::PUT, path).body(body.to_string())).await
    }

    async fn has_customer_c1_and_order_so_1(&self) {
        assert_eq!(self.put("/admin/customers/C1", customer()).await.0, StatusCode::OK);
        assert_eq!(self.put("/admin/orders/SO-1", order()).await.0, StatusCode::OK);
        let stock = json!({"site": "D1", "product": "P1", "available": 100});
        assert_eq!(self.put("/admin/stock", stock).await.0, StatusCode::OK);
    }

    /// Posts an effect; `None` if the connection ended without an answer.
    async fn posts(&self, effect: Value) -> Option<(StatusCode, Value)> {
        match self.request(Method::POST, "/effects").body(effect.to_string()).send().await {
            Err(error) => {
                assert!(format!("{error:?}").contains("ConnectionReset"), "expected a reset, got {error:?}");
                None
            }
            Ok(answer) => Some((answer.status(), answer.json().await.unwrap())),
        }
    }

    async fn count_of(&self, reference: &str) -> usize {
        let (_, answer) = self.get(&format!("/effects?reference={reference}")).await;
        answer["effects"].as_array().unwrap().len()
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let problem = answer.status().is_client_error() || answer.status().is_server_error();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, if problem { "application/problem+json" } else { "application/json" });
    (answer.status(), answer.json().await.unwrap())
}

async fn erp(options: ErpOptions) -> Desk {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = Desk::at(listener.local_addr().unwrap(), Some(&options.token));
    let erp = Erp::open(options).unwrap();
    tokio::spawn(async move { erp.serve(listener).await });
    desk
}

async fn erp_without_faults() -> Desk {
    let erp = erp(ErpOptions { faults: NO_FAULTS, ..ErpOptions::default() }).await;
    erp.has_customer_c1_and_order_so_1().await;
    erp
}

fn customer() -> Value {
    json!({"name": "Aster", "tier": "a", "credit": {"limit_minor": 500_000, "currency": "EUR"}})
}

fn order() -> Value {
    json!({
        "site": "D1", "customer": {"id": "C1", "name": "Aster", "tier": "a"},
        "lines": [
            {"line": 1, "product": "P1", "quantity": 10, "unit_price_minor": 250},
            {"line": 2, "product": "P2", "quantity": 3, "unit_price_minor": 1000},
        ],
        "currency": "EUR", "class": "standard", "vehicle": "V1", "carrier": "ACME", "door": "3",
        "planned_departure": "2030-05-01T08:00:00Z", "window_end": "2030-05-01T12:00:00Z",
        "destination": {"lat": 52.5, "lon": 13.4},
    })
}

fn effect(kind: &str, reference: &str) -> Value {
    json!({"kind": kind, "order": "SO-1", "line": null, "quantity": null, "reference": reference, "text": null,
        "at": "2030-05-01T08:10:00Z"})
}

fn goods_issue(line: u16, quantity: u32, reference: &str) -> Value {
    let mut issue = effect("goods_issue", reference);
    issue["line"] = line.into();
    issue["quantity"] = quantity.into();
    issue
}

fn lines_of(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_fifth_effect_is_applied_and_logged_but_its_answer_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("effects.jsonl");
    let erp = erp(ErpOptions { effects_log: Some(log.clone()), ..ErpOptions::default() }).await;
    erp.has_customer_c1_and_order_so_1().await;
    for number in 1..=12_u64 {
        let reference = format!("key-{number}");
        match erp.posts(effect("release", &reference)).await {
            Some(answered) => {
                assert_eq!(answered, (StatusCode::CREATED, json!({"effect": number})));
                assert!(number % 5 != 0, "effect {number} should have had no answer");
            }
            None => assert!(number % 5 == 0, "effect {number} should have been answered"),
        }
        assert_eq!(erp.count_of(&reference).await, 1);
        let logged = lines_of(&log);
        assert_eq!(logged.len() as u64, number);
        assert_eq!(logged.last().unwrap()["reference"], reference);
    }
    let fields: HashSet<_> = lines_of(&log)[4].as_object().unwrap().keys().cloned().collect();
    let expected = ["seq", "kind", "order", "line", "quantity", "reference", "text", "at", "received_at"];
    assert_eq!(fields, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_failure_before_apply_leaves_no_effect() {
    let erp = erp_without_faults().await;
    erp.post("/admin/faults", json!({"fail_before_apply": 2})).await;
    assert_eq!(erp.posts(effect("release", "a")).await.unwrap().0, StatusCode::CREATED);
    assert_eq!(erp.post("/effects", effect("release", "b")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(erp.count_of("b").await, 0);
    assert_eq!(erp.posts(effect("release", "b")).await.unwrap(), (StatusCode::CREATED, json!({"effect": 2})));
}

#[tokio::test]
async fn while_down_every_connection_but_the_admins_is_reset() {
    let erp = erp_without_faults().await;
    erp.post("/admin/faults", json!({"down": true})).await;
    assert_eq!(erp.posts(effect("release", "a")).await, None);
    assert!(erp.request(Method::GET, "/orders").send().await.is_err());
    assert_eq!(erp.get("/healthz").await.0, StatusCode::OK);
    let (_, faults) = erp.post("/admin/faults", json!({"down": false})).await;
    assert_eq!(faults, json!({"reset_after_apply": 0, "fail_before_apply": 0, "down": false, "slow_ms": 0}));
    assert_eq!(erp.get("/orders").await.0, StatusCode::OK);
    assert_eq!(erp.count_of("a").await, 0);
}

#[tokio::test]
async fn a_caller_that_gives_up_on_a_slow_answer_finds_its_effect_applied() {
    let erp = erp_without_faults().await;
    erp.post("/admin/faults", json!({"slow_ms": 600})).await;
    let request = erp.request(Method::POST, "/effects").body(effect("release", "a").to_string());
    assert!(request.timeout(Duration::from_millis(200)).send().await.unwrap_err().is_timeout());
    erp.post("/admin/faults", json!({"slow_ms": 0})).await;
    assert_eq!(erp.count_of("a").await, 1);
}

#[tokio::test]
async fn without_honoured_keys_the_same_reference_twice_is_two_effects() {
    let erp = erp_without_faults().await;
    assert_eq!(erp.posts(effect("release", "a")).await.unwrap(), (StatusCode::CREATED, json!({"effect": 1})));
    assert_eq!(erp.posts(effect("release", "a")).await.unwrap(), (StatusCode::CREATED, json!({"effect": 2})));
    assert_eq!(erp.count_of("a").await, 2);
}

#[tokio::test]
async fn with_honoured_keys_the_second_is_answered_with_the_first() {
    let erp = erp(ErpOptions { honour_keys: true, faults: NO_FAULTS, ..ErpOptions::default() }).await;
    erp.has_customer_c1_and_order_so_1().await;
    assert_eq!(erp.posts(effect("release", "a")).await.unwrap(), (StatusCode::CREATED, json!({"effect": 1})));
    assert_eq!(erp.posts(effect("release", "a")).await.unwrap(), (StatusCode::OK, json!({"effect": 1})));
    assert_eq!(erp.count_of("a").await, 1);
    let (status, problem) = erp.post("/effects", goods_issue(1, 2, "a")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &json!("reference")));
}

#[tokio::test]
async fn a_reader_that_pages_by_cursor_sees_each_order_in_its_newest_revision() {
    let erp = erp_without_faults().await;
    for number in 2..=5 {
        erp.put(&format!("/admin/orders/SO-{number}"), order()).await;
    }
    let (_, first) = erp.get("/orders?limit=3").await;
    let ids = |page: &Value| page["orders"].as_array().unwrap().iter().map(|o| o["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ["SO-1", "SO-2", "SO-3"]);
    let cursor = first["cursor"].as_str().unwrap();
    erp.post("/admin/orders/SO-1/cancel", json!({})).await;
    let (_, second) = erp.get(&format!("/orders?since={cursor}&limit=3")).await;
    assert_eq!(ids(&second), ["SO-4", "SO-5", "SO-1"]);
    assert_eq!(second["orders"][2]["status"], "cancelled");
    let cursor = second["cursor"].as_str().unwrap();
    let (_, third) = erp.get(&format!("/orders?since={cursor}&limit=3")).await;
    assert_eq!(third, json!({"orders": [], "cursor": cursor}));
}

#[tokio::test]
async fn the_revision_counts_changes_of_orders_and_customers_and_is_the_etag() {
    let erp = erp_without_faults().await;
    let one = erp.request(Method::GET, "/orders/SO-1").send().await.unwrap();
    assert_eq!(one.headers()["etag"], "\"2\"");
    let one: Value = one.json().await.unwrap();
    assert_eq!((&one["revision"], &one["status"]), (&json!(2), &json!("released")));
    // The same again is no change.
    assert_eq!(erp.put("/admin/orders/SO-1", order()).await.1["revision"], 2);
    let (_, held) = erp.post("/admin/customers/C1/hold", json!({"on_hold": true})).await;
    assert_eq!((&held["revision"], &held["credit"]["on_hold"]), (&json!(3), &json!(true)));
    let (_, changed) = erp.post("/admin/orders/SO-1/lines/2/quantity", json!({"quantity": 7})).await;
    assert_eq!((&changed["revision"], &changed["lines"][1]["quantity"]), (&json!(4), &json!(7)));
    assert_eq!(erp.get("/customers?since=2").await.1["customers"][0]["id"], "C1");
    assert_eq!(erp.get("/orders/SO-9").await.0, StatusCode::NOT_FOUND);
    assert_eq!(erp.get("/customers/C9").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn goods_issues_and_returns_move_stock_and_exposure_whatever_the_order_says() {
    let erp = erp_without_faults().await;
    erp.post("/admin/orders/SO-1/cancel", json!({})).await;
    // More than the ten ordered, on an order that is cancelled: taken without a word, as real ones do.
    assert_eq!(erp.posts(goods_issue(1, 12, "gi")).await.unwrap().0, StatusCode::CREATED);
    assert_eq!(erp.posts(effect("invoice", "in")).await.unwrap().0, StatusCode::CREATED);
    assert_eq!(erp.get("/stock?site=D1").await.1["stock"][0], json!({"product": "P1", "available": 88}));
    let (_, owing) = erp.get("/customers/C1").await;
    assert_eq!(owing["credit"]["exposure_minor"], 3000);
    let mut back = goods_issue(1, 2, "rt");
    back["kind"] = "return".into();
    erp.posts(back).await.unwrap();
    assert_eq!(erp.get("/stock?site=D1").await.1["stock"][0]["available"], 90);
}

#[tokio::test]
async fn an_order_change_reinstates_the_order_and_sets_the_quantity() {
    let erp = erp_without_faults().await;
    erp.post("/admin/orders/SO-1/cancel", json!({})).await;
    let mut change = goods_issue(2, 9, "oc");
    change["kind"] = "order_change".into();
    change["status"] = "released".into();
    assert_eq!(erp.posts(change).await.unwrap().0, StatusCode::CREATED);
    let (_, order) = erp.get("/orders/SO-1").await;
    assert_eq!((&order["status"], &order["lines"][1]["quantity"]), (&json!("released"), &json!(9)));
    assert_eq!(order["revision"], 4);
}

#[tokio::test]
async fn a_bad_body_is_answered_with_the_name_of_the_field() {
    let erp = erp_without_faults().await;
    let with = |mut body: Value, field: &str, value: Value| {
        body[field] = value;
        body
    };
    let release = effect("release", "a");
    let cases = [
        (with(release.clone(), "kind", json!("relaese")), "kind"),
        (with(release.clone(), "order", json!(7)), "order"),
        (with(release.clone(), "reference", json!("")), "reference"),
        (with(release.clone(), "reference", Value::Null), "reference"),
        (with(release.clone(), "at", json!("yesterday")), "at"),
        (with(release.clone(), "line", json!("one")), "line"),
        (with(release.clone(), "line", json!(70000)), "line"),
        (with(release.clone(), "quantity", json!(1.5)), "quantity"),
        (with(release.clone(), "quantity", json!(-1)), "quantity"),
        (with(release.clone(), "refrence", json!("a")), "refrence"),
        (with(release.clone(), "status", json!("released")), "status"),
        (with(release.clone(), "kind", json!("goods_issue")), "line"),
        (with(goods_issue(1, 1, "a"), "quantity", Value::Null), "quantity"),
        (with(release.clone(), "kind", json!("customer_message")), "text"),
        (with(release.clone(), "kind", json!("order_change")), "status"),
        (json!([]), "body"),
    ];
    for (body, field) in cases {
        let (status, problem) = erp.post("/effects", body.clone()).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}: {problem}");
        assert_eq!(problem["status"], 400);
    }
    let mut bad = order();
    bad["lines"][1]["quantity"] = json!("three");
    assert_eq!(erp.put("/admin/orders/SO-2", bad).await.1["field"], "lines[1].quantity");
    let mut bad = order();
    bad["lines"][1]["line"] = json!(1);
    assert_eq!(erp.put("/admin/orders/SO-2", bad).await.1["field"], "lines[1].line");
    let mut bad = order();
    bad["customer"]["id"] = json!("C9");
    assert_eq!(erp.put("/admin/orders/SO-2", bad).await.1["field"], "customer.id");
    assert_eq!(erp.get("/orders?since=99").await.1["field"], "since");
    assert_eq!(erp.get("/orders?limit=0").await.1["field"], "limit");
    assert_eq!(erp.get("/effects").await.1["field"], "reference");
    assert_eq!(erp.get("/stock").await.1["field"], "site");
    assert_eq!(erp.post("/effects", goods_issue(3, 1, "a")).await.0, StatusCode::NOT_FOUND);
    let elsewhere = with(effect("release", "a"), "order", json!("SO-9"));
    assert_eq!(erp.post("/effects", elsewhere).await.0, StatusCode::NOT_FOUND);
    assert_eq!(erp.get("/admin/effects").await.1, json!({"effects": []}));
}

#[tokio::test]
async fn without_the_token_there_is_nothing_to_see_but_the_admin_door() {
    let mut erp = erp_without_faults().await;
    for token in [None, Some("wrong".to_owned())] {
        erp.token = token;
        assert_eq!(erp.get("/orders").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(erp.post("/effects", effect("release", "a")).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(erp.get("/admin/effects").await.1, json!({"effects": []}));
    }
}

/// A stand-in as a program of its own; killed at the end.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: ready["ready"].as_str().unwrap().to_owned() }
    }

    fn erp(state: &Path, log: &Path) -> Self {
        let (state, log) = (state.to_str().unwrap(), log.to_str().unwrap());
        let arguments = ["--listen", "127.0.0.1:0", "--state", state, "--effects-log", log];
        Self::start(env!("CARGO_BIN_EXE_gatehouse-standin-erp"), &arguments)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn everything_in(erp: &Desk) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/orders", "/customers", "/stock?site=D1", "/admin/effects"] {
        all.push(erp.get(path).await.1);
    }
    all
}

#[tokio::test]
async fn an_erp_that_was_killed_knows_what_it_knew_and_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let [state, log]: [PathBuf; 2] = ["state.jsonl", "effects.jsonl"].map(|name| folder.path().join(name));
    let process = Process::erp(&state, &log);
    let erp = Desk::at(&process.address, Some("erp-demo-token"));
    erp.has_customer_c1_and_order_so_1().await;
    erp.post("/admin/orders/SO-1/lines/2/quantity", json!({"quantity": 4})).await;
    erp.posts(goods_issue(1, 6, "a")).await.unwrap();
    erp.posts(effect("invoice", "b")).await.unwrap();
    let before = everything_in(&erp).await;
    drop(process);

    // A kill in the middle of a write leaves half a line; a kill between both files leaves the log behind.
    fs::OpenOptions::new()
        .append(true)
        .open(&state)
        .map(|mut f| std::io::Write::write_all(&mut f, b"{\"op\":"))
        .unwrap()
        .unwrap();
    let first_only = fs::read_to_string(&log).unwrap().lines().next().unwrap().to_owned() + "\n{\"seq\":2,";
    fs::write(&log, first_only).unwrap();

    let process = Process::erp(&state, &log);
    let erp = Desk::at(&process.address, Some("erp-demo-token"));
    assert_eq!(everything_in(&erp).await, before);
    assert_eq!(erp.posts(effect("release", "c")).await.unwrap().1, json!({"effect": 3}));
    assert_eq!(lines_of(&log).iter().map(|e| e["seq"].clone()).collect::<Vec<_>>(), [1, 2, 3]);
    drop(process);

    // The log without its state belongs to another run.
    let alone = Erp::open(ErpOptions { effects_log: Some(log), ..ErpOptions::default() });
    assert!(alone.unwrap_err().to_string().contains("give the state file it belongs to"));
}

#[derive(Debug, Clone, Default)]
struct Hub(Arc<Mutex<HubInside>>);

#[derive(Debug, Default)]
struct HubInside {
    /// What the next requests about a subject are answered; then 202.
    answers: Vec<(&'static str, u16)>,
    /// Every request: its headers and its body.
    seen: Vec<(HeaderMap, Value)>,
    /// Those that were answered 202.
    taken: Vec<Value>,
}

impl Hub {
    async fn listens(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/events", post(Self::takes)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn takes(State(hub): State<Hub>, headers: HeaderMap, body: String) -> impl IntoResponse {
        let event: Value = serde_json::from_str(&body).unwrap();
        let mut inside = hub.0.lock().unwrap();
        inside.seen.push((headers, event.clone()));
        if let Some(at) = inside.answers.iter().position(|(subject, _)| event["subject"] == *subject) {
            let status = inside.answers.remove(at).1;
            return (StatusCode::from_u16(status).unwrap(), "as the test says").into_response();
        }
        inside.taken.push(event);
        StatusCode::ACCEPTED.into_response()
    }

    fn answers(&self, answers: impl IntoIterator<Item = (&'static str, u16)>) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn taken(&self) -> Vec<Value> {
        self.0.lock().unwrap().taken.clone()
    }
}

async fn sender(system: System, hub: String) -> Desk {
    let options = SenderOptions { system, hub, token: "T".to_owned(), retry_wait_max: Duration::from_millis(20) };
    let sender = Sender::new(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = Desk::at(listener.local_addr().unwrap(), None);
    tokio::spawn(async move { sender.serve(listener).await });
    desk
}

async fn until_queue_is_empty(sender: &Desk) -> Value {
    let begun = Instant::now();
    loop {
        let (_, status) = sender.get("/admin/status").await;
        if status["queued"] == 0 {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still waiting: {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn inventory(order: &str, confirmed: u32, at: &str) -> Value {
    json!({"order": order, "line": 1, "confirmed": confirmed, "at": at})
}

#[tokio::test]
async fn facts_reach_the_hub_as_well_formed_cloud_events() {
    let hub = Hub::default();
    let address = hub.listens().await;
    let wms = sender(System::Wms, address.clone()).await;
    let tms = sender(System::Tms, address).await;
    let inventory = inventory("SO-1", 4, "2030-05-01T10:00:00+02:00");
    assert_eq!(wms.post("/admin/facts", json!([inventory])).await.1, json!({"queued": 1, "unchanged": 0}));
    let capacity = json!({"order": "SO-1", "sufficient": true, "vehicle": "V1", "at": "2030-05-01T08:01:00Z"});
    let carrier = json!({"order": "SO-1", "accepted": false, "carrier": "ACME", "at": "2030-05-01T08:02:00Z"});
    tms.post("/admin/facts", json!([capacity, carrier])).await;
    until_queue_is_empty(&wms).await;
    until_queue_is_empty(&tms).await;

    let seen = hub.0.lock().unwrap().seen.iter().map(|(headers, _)| headers.clone()).collect::<Vec<_>>();
    assert!(
        seen.iter().all(|h| h["content-type"] == "application/cloudevents+json" && h["authorization"] == "Bearer T")
    );
    let events = hub.taken();
    let of_type = |kind: &str| events.iter().find(|e| e["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let event = of_type("io.gatehouse.wms.inventory.v1");
    assert_eq!(event["data"], json!({"order": "SO-1", "line": 1, "confirmed": 4, "at": "2030-05-01T08:00:00Z"}));
    assert_eq!(event["source"], "/wms/standin");
    assert_eq!(of_type("io.gatehouse.tms.capacity.v1")["data"], capacity);
    assert_eq!(of_type("io.gatehouse.tms.carrier.v1")["data"], carrier);
    assert_eq!(of_type("io.gatehouse.tms.carrier.v1")["source"], "/tms/standin");
    for event in &events {
        let event = event.as_object().unwrap();
        let known = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
        assert_eq!(event.keys().map(String::as_str).collect::<HashSet<_>>(), known.into());
        assert_eq!((&event["specversion"], &event["subject"]), (&json!("1.0"), &json!("SO-1")));
        assert_eq!(event["datacontenttype"], "application/json");
        assert_eq!(event["time"], event["data"]["at"]);
        assert!(!event["id"].as_str().unwrap().is_empty());
    }
    assert_eq!(events.iter().map(|e| e["id"].to_string()).collect::<HashSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_failing_hub_gets_the_same_event_again_and_keeps_the_order_per_subject() {
    let hub = Hub::default();
    let wms = sender(System::Wms, hub.listens().await).await;
    hub.answers([("SO-1", 503), ("SO-1", 429), ("SO-1", 500)]);
    let facts: Vec<_> = (1..=5).map(|n| inventory("SO-1", n, "2030-05-01T08:00:00Z")).collect();
    wms.post("/admin/facts", json!(facts)).await;
    wms.post("/admin/facts", json!([inventory("SO-2", 1, "2030-05-01T08:00:00Z")])).await;
    let status = until_queue_is_empty(&wms).await;
    assert_eq!((&status["sent"], &status["rejected"]), (&json!(6), &json!(0)));
    let of_so_1 = hub.taken().into_iter().filter(|e| e["subject"] == "SO-1").map(|e| e["data"]["confirmed"].clone());
    assert_eq!(of_so_1.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let seen = hub.0.lock().unwrap().seen.clone();
    let first: HashSet<_> = seen
        .iter()
        .filter(|(_, e)| e["data"]["confirmed"] == 1 && e["subject"] == "SO-1")
        .map(|(_, e)| e.to_string())
        .collect();
    assert_eq!((seen.len(), first.len()), (9, 1), "every try of one version is the same event");
}

#[tokio::test]
async fn what_the_hub_refuses_is_kept_to_be_read_and_holds_nothing_back() {
    let hub = Hub::default();
    let wms = sender(System::Wms, hub.listens().await).await;
    hub.answers([("SO-1", 422)]);
    wms.post("/admin/facts", json!([inventory("SO-1", 1, "2030-05-01T08:00:00Z")])).await;
    wms.post("/admin/facts", json!([inventory("SO-1", 2, "2030-05-01T08:00:00Z")])).await;
    let status = until_queue_is_empty(&wms).await;
    assert_eq!((&status["sent"], &status["rejected"]), (&json!(1), &json!(1)));
    let (_, list) = wms.get("/admin/rejected").await;
    assert_eq!((&list["count"], &list["rejected"][0]["status"]), (&json!(1), &json!(422)));
    assert_eq!(list["rejected"][0]["event"]["data"]["confirmed"], 1);
    assert_eq!(list["rejected"][0]["answer"], "as the test says");
}

#[tokio::test]
async fn reconfirming_sends_the_facts_again_as_of_the_new_time_under_new_ids() {
    let hub = Hub::default();
    let wms = sender(System::Wms, hub.listens().await).await;
    let facts = json!([inventory("SO-1", 1, "2030-05-01T08:00:00Z"), inventory("SO-2", 2, "2030-05-01T08:00:00Z")]);
    wms.post("/admin/facts", facts.clone()).await;
    assert_eq!(wms.post("/admin/facts", facts).await.1, json!({"queued": 0, "unchanged": 2}));
    let some = json!({"at": "2030-05-01T09:00:00Z", "orders": ["SO-2"]});
    assert_eq!(wms.post("/admin/reconfirm", some).await.1["queued"], 1);
    let all = json!({"at": "2030-05-01T10:00:00Z", "orders": null});
    assert_eq!(wms.post("/admin/reconfirm", all).await.1["queued"], 2);
    until_queue_is_empty(&wms).await;
    let events = hub.taken();
    let of =
        |order: &str| events.iter().filter(|e| e["subject"] == order).map(|e| e["time"].clone()).collect::<Vec<_>>();
    assert_eq!(of("SO-1"), ["2030-05-01T08:00:00Z", "2030-05-01T10:00:00Z"]);
    assert_eq!(of("SO-2"), ["2030-05-01T08:00:00Z", "2030-05-01T09:00:00Z", "2030-05-01T10:00:00Z"]);
    assert_eq!(events.iter().map(|e| e["id"].to_string()).collect::<HashSet<_>>().len(), 5);
    let (status, problem) =
        wms.post("/admin/reconfirm", json!({"at": "2030-05-01T11:00:00Z", "orders": ["SO-9"]})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::NOT_FOUND, &json!("orders[0]")));
}

#[tokio::test]
async fn while_down_the_queue_grows_and_afterwards_all_is_sent() {
    let hub = Hub::default();
    let wms = sender(System::Wms, hub.listens().await).await;
    wms.post("/admin/faults", json!({"down": true})).await;
    let facts: Vec<_> = (1..=3).map(|n| inventory("SO-1", n, "2030-05-01T08:00:00Z")).collect();
    wms.post("/admin/facts", json!(facts)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(wms.get("/admin/status").await.1["queued"], 3);
    assert!(hub.taken().is_empty());
    wms.post("/admin/faults", json!({"down": false})).await;
    assert_eq!(until_queue_is_empty(&wms).await["sent"], 3);
}

#[tokio::test]
async fn a_bad_fact_is_answered_with_the_name_of_the_field_and_nothing_is_sent() {
    let wms = sender(System::Wms, "http://127.0.0.1:9".to_owned()).await;
    let tms = sender(System::Tms, "http://127.0.0.1:9".to_owned()).await;
    let good = inventory("SO-1", 1, "2030-05-01T08:00:00Z");
    let mut bad = good.clone();
    bad["confirmed"] = json!(true);
    assert_eq!(wms.post("/admin/facts", json!([good, bad])).await.1["field"], "[1].confirmed");
    assert_eq!(wms.post("/admin/facts", json!([inventory("SO-1", 1, "noon")])).await.1["field"], "[0].at");
    assert_eq!(wms.post("/admin/facts", good.clone()).await.1["field"], "body");
    assert_eq!(tms.post("/admin/facts", json!([good])).await.1["field"], "[0].sufficient");
    let mixed = json!([{"order": "SO-1", "sufficient": true, "accepted": true, "at": "2030-05-01T08:00:00Z"}]);
    assert_eq!(tms.post("/admin/facts", mixed).await.1["field"], "[0].accepted");
    assert_eq!(wms.get("/admin/status").await.1["queued"], 0);
}

#[tokio::test]
async fn the_programs_say_where_they_listen_and_refuse_to_be_reached_from_outside() {
    for program in [env!("CARGO_BIN_EXE_gatehouse-standin-wms"), env!("CARGO_BIN_EXE_gatehouse-standin-tms")] {
        let arguments = ["--listen", "127.0.0.1:0", "--hub", "http://127.0.0.1:9", "--token", "T"];
        let process = Process::start(program, &arguments);
        assert_eq!(Desk::at(&process.address, None).get("/admin/status").await.1["queued"], 0);
        let open = Command::new(program).args(["--listen", "0.0.0.0:0", "--hub", "http://h", "--token", "T"]).output();
        assert!(String::from_utf8(open.unwrap().stderr).unwrap().contains("not on loopback"));
    }
}
