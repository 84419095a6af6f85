//! What programs and people meet at the API, over a real socket.

mod acts;
mod cancelling;
mod documents;
mod exports;
mod lift;
mod scene;
mod waiting;

use std::{collections::BTreeSet, net::SocketAddr};

use axum::extract::ConnectInfo;
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    fact::{FactKey, FactValue, Source},
    id::Hash32,
    seal::PrivateKey,
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{Role, pins},
    config::{Operator, Token, TokenScope},
    listen::Caller,
};

/// A hub's API on a port of its own, over a store of its own.
struct Desk {
    address: SocketAddr,
    http: reqwest::Client,
    store: Store,
    stop: tokio::sync::watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    kind: String,
    body: Value,
}

impl Answer {
    /// The last word of the kind of problem.
    fn problem(&self) -> &str {
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16());
        let kind = self.body["type"].as_str().unwrap();
        kind.strip_prefix("urn:gatehouse:problem:").unwrap()
    }

    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap()
    }
}

const PIN: &str = "2468";

impl Desk {
    async fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let (api, stop) = Self::api(&store);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = around(router(api));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, http, store, stop, _directory: directory }
    }

    /// What answers, and what tells it to stop.
    fn api(store: &Store) -> (Api, tokio::sync::watch::Sender<bool>) {
        let (stop, stopped) = Stop::pair();
        let about =
            About { name: "hub".parse().unwrap(), public_key: PrivateKey::from_seed([1; 32]).public(), erp: None };
        (Api::new(store.clone(), Clock::system(), keeper(), about, stopped), stop)
    }

    async fn ask(&self, method: Method, path: &str, login: &str, kind: &str, body: String) -> Answer {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address)).body(body);
        if !login.is_empty() {
            request = request.header(header::AUTHORIZATION, login);
        }
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let answer = request.send().await.unwrap();
        let kind = answer.headers().get(header::CONTENT_TYPE).map_or("", |v| v.to_str().unwrap()).to_owned();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        Answer { status, kind, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    async fn get(&self, path: &str, login: &str) -> Answer {
        self.ask(Method::GET, path, login, "", String::new()).await
    }

    async fn send(&self, event: &Value, token: &str) -> Answer {
        let login = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
        self.ask(Method::POST, "/v1/events", &login, "application/cloudevents+json", event.to_string()).await
    }

    fn quarantined(&self) -> u64 {
        self.store.read_now(|r| r.quarantine_count()).unwrap()
    }

    fn confirmed(&self) -> Option<u32> {
        let key = FactKey::Inventory { order: "SO-1".parse().unwrap(), line: 1 };
        match self.store.read_now(|r| r.fact(&key)).unwrap()?.report.value {
            FactValue::Inventory { confirmed } => Some(confirmed),
            other => panic!("{other:?}"),
        }
    }
}

fn keeper() -> Gatekeeper {
    // Otto sees depot D9 alone.
    let people = [
        ("dora", Role::Dispatch),
        ("fina", Role::Finance),
        ("sue", Role::Supervisor),
        ("otto", Role::Dispatch),
        ("sam", Role::Supervisor),
    ];
    let person = |(name, role): (&str, Role)| Operator {
        name: name.parse().unwrap(),
        role,
        pin_argon2: pins::hash(PIN).unwrap(),
        sites: if name == "otto" { BTreeSet::from(["D9".parse().unwrap()]) } else { BTreeSet::new() },
    };
    let token = |name: &str, scope| Token {
        name: name.parse().unwrap(),
        sha256: Hash32::of(name.as_bytes()),
        scopes: BTreeSet::from([scope]),
        per_minute: 6_000,
    };
    let tokens = vec![
        token("wms", TokenScope::EventsWms),
        token("tms", TokenScope::EventsTms),
        token("board", TokenScope::Read),
        token("tracker", TokenScope::Positions),
    ];
    Gatekeeper::new(people.map(person).into(), tokens)
}

fn person(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{PIN}")))
}

fn inventory(id: &str, confirmed: u32, at: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/wms/a", "type": "io.gatehouse.wms.inventory.v1", "time": at,
        "data": { "order": "SO-1", "line": 1, "confirmed": confirmed },
    })
}

const EARLY: &str = "2020-05-01T08:00:00Z";
const LATE: &str = "2020-05-01T08:30:00Z";

#[tokio::test]
async fn an_event_becomes_a_fact_once_however_often_it_comes() {
    let desk = Desk::new().await;
    let first = desk.send(&inventory("i1", 40, EARLY), "wms").await;
    assert_eq!((first.status, &first.body["outcome"]), (StatusCode::ACCEPTED, &json!("new")));
    assert_eq!(desk.confirmed(), Some(40));
    desk.send(&inventory("i2", 35, LATE), "wms").await;
    // The first one's answer was lost, so it is sent again after the second: it must not undo that.
    let again = desk.send(&inventory("i1", 40, EARLY), "wms").await;
    assert_eq!((again.status, &again.body["outcome"]), (StatusCode::ACCEPTED, &json!("again")));
    assert_eq!(desk.confirmed(), Some(35));
    let late = desk.send(&inventory("i3", 50, EARLY), "wms").await;
    assert_eq!((late.status, &late.body["outcome"]), (StatusCode::ACCEPTED, &json!("late")));
    assert_eq!((desk.confirmed(), desk.quarantined()), (Some(35), 0));
    assert!(desk.store.read_now(|r| r.sources()).unwrap().contains_key(&Source::Wms));
}

#[tokio::test]
async fn an_id_that_says_something_else_now_is_a_conflict_and_changes_nothing() {
    let desk = Desk::new().await;
    desk.send(&inventory("i1", 40, EARLY), "wms").await;
    let other = desk.send(&inventory("i1", 10, LATE), "wms").await;
    assert_eq!((other.status, other.problem()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!((desk.confirmed(), desk.quarantined()), (Some(40), 1));
}

#[tokio::test]
async fn an_event_needs_the_token_of_its_own_system() {
    let desk = Desk::new().await;
    let event = inventory("i1", 40, EARLY);
    for wrong in ["", "guess"] {
        let answer = desk.send(&event, wrong).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "unauthorized"), "{wrong:?}");
    }
    for (token, needed) in [("tms", "events:wms"), ("board", "events:wms")] {
        let answer = desk.send(&event, token).await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::FORBIDDEN, "forbidden"));
        assert!(answer.detail().contains(needed), "{answer:?}");
    }
    let body = event.to_string();
    let answer = desk.ask(Method::POST, "/v1/events", &person("sue"), "application/cloudevents+json", body).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(desk.confirmed(), None);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_refused_with_the_place_and_kept_in_quarantine() {
    let desk = Desk::new().await;
    let mut bad = inventory("i1", 40, EARLY);
    bad["data"]["line"] = json!("one");
    bad["data"]["quantity"] = json!(3);
    let answer = desk.send(&bad, "wms").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::BAD_REQUEST, "invalid"));
    let fields: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["/data/line", "/data/quantity"]);
    desk.send(&bad, "wms").await;
    assert_eq!(desk.quarantined(), 1, "the same garbage again needs no second place");

    let mut other = inventory("i1", 40, EARLY);
    other["type"] = json!("com.example.thing");
    let answer = desk.send(&other, "wms").await;
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "unknown-type"));
    assert!(answer.detail().contains("io.gatehouse.wms.inventory.v1"), "{answer:?}");

    let kind = "application/cloudevents+json";
    let broken = desk.ask(Method::POST, "/v1/events", "Bearer wms", kind, "{\"id\": }".to_owned()).await;
    assert!(broken.status == StatusCode::BAD_REQUEST && broken.detail().contains("line 1 column 8"), "{broken:?}");
    let large = desk.ask(Method::POST, "/v1/events", "Bearer wms", kind, " ".repeat(70_000)).await;
    assert_eq!((large.status, large.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large"));
    let plain = desk.ask(Method::POST, "/v1/events", "Bearer wms", "application/json", "[]".into()).await;
    assert_eq!((plain.status, plain.problem()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type"));
    let good = desk.send(&inventory("i1", 40, EARLY), "wms").await;
    assert_eq!((good.status, desk.confirmed()), (StatusCode::ACCEPTED, Some(40)));
}

#[tokio::test]
async fn a_batch_is_taken_event_by_event_and_what_was_refused_can_be_put_right() {
    let desk = Desk::new().await;
    let mut bad = inventory("i2", 40, EARLY);
    bad["data"]["line"] = json!("one");
    let mut other = inventory("i1", 41, EARLY);
    other["data"]["confirmed"] = json!(41);
    let batch = json!([inventory("i1", 40, EARLY), bad, inventory("i1", 40, EARLY), other]);
    let kind = "application/cloudevents-batch+json";
    let answer = desk.ask(Method::POST, "/v1/events", "Bearer wms", kind, batch.to_string()).await;
    let items = answer.body["items"].as_array().unwrap();
    let said: Vec<_> = items.iter().map(|i| (i["status"].as_u64().unwrap(), i["outcome"].as_str())).collect();
    assert_eq!(said, [(202, Some("new")), (400, None), (202, Some("again")), (409, None)], "{answer:?}");
    assert_eq!(desk.confirmed(), Some(40));
    let login = person("sue");
    let dead = desk.get("/v1/events/dead", "Bearer board").await.body;
    let n = dead["items"][0]["n"].as_u64().unwrap();
    assert_eq!(dead["items"].as_array().unwrap().len(), 1, "a conflict is no letter: it was read, and said no to");
    let replay = |body: Value| {
        let (path, login) = (format!("/v1/events/dead/{n}/replay"), login.clone());
        let desk = &desk;
        async move { desk.ask(Method::POST, &path, &login, "application/json", body.to_string()).await }
    };
    let again = replay(json!({ "reason": "try it once more" })).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    bad["data"]["line"] = json!(2);
    let good = replay(json!({ "reason": "the line was a word", "event": bad.to_string() })).await;
    assert_eq!(good.status, StatusCode::OK, "{good:?}");
    assert_eq!(desk.get("/v1/events/dead", "Bearer board").await.body["items"], json!([]));
    let schema = desk.get("/v1/events/schemas/io.gatehouse.wms.inventory.v1", "Bearer wms").await;
    assert_eq!(schema.body["required"], json!(["order", "line", "confirmed"]));
}

#[tokio::test]
async fn a_vehicle_without_an_agent_is_followed_by_what_its_tracker_posts() {
    let desk = Desk::new().await;
    let body =
        r#"{"_type":"location","tst":1425974400,"lat":30.26,"lon":-97.74,"vel":42,"topic":"owntracks/cap/bus-7"}"#;
    let send =
        |login: &'static str| desk.ask(Method::POST, "/v1/positions/owntracks", login, "application/json", body.into());
    assert_eq!(send("Bearer wms").await.status, StatusCode::FORBIDDEN);
    for login in ["Bearer tracker", "Basic Y2FwOnRyYWNrZXI="] {
        let answer = send(login).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, json!([])), "what OwnTracks wants to hear");
    }
    let tracks = desk.store.read_now(|r| r.tracks(&"bus-7".parse().unwrap(), UtcMs(0), UtcMs(i64::MAX), 10)).unwrap();
    assert_eq!((tracks.len(), tracks[0].fixes[0].kmh), (1, Some(42)));
}

#[tokio::test]
async fn nothing_is_told_and_nothing_changed_without_a_login() {
    let desk = Desk::new().await;
    let described: Value = serde_json::from_str(&openapi::json().unwrap()).unwrap();
    for (path, item) in described["paths"].as_object().unwrap() {
        let place = path.replace("{id}", "00").replace("{decision}", "d-1-1");
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for login in ["", "Bearer guess", "Basic ZG9yYTo5OTk5"] {
                let answer = desk.ask(method.clone(), &place, login, "application/json", "{}".to_owned()).await;
                let open = ["/healthz", "/readyz", "/openapi.json"].contains(&path.as_str());
                if open {
                    assert_eq!(answer.status, StatusCode::OK, "{path}");
                } else if login.starts_with("Basic") && answer.status == StatusCode::TOO_MANY_REQUESTS {
                    assert_eq!(answer.problem(), "too-many-tries");
                } else {
                    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, "unauthorized"), "{path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn where_too_many_sign_ins_failed_even_a_right_one_is_told_when_to_come_back_and_elsewhere_it_is_let_in() {
    use tower_service::Service;

    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
    let (api, _stop) = Desk::api(&store);
    api.keeper.use_up("192.0.2.7".parse().unwrap());
    let mut routes = around(router(api));
    let ask = |from: &str| {
        let caller = Caller { address: from.parse().unwrap(), peer: None, enrols: false };
        let request = axum::http::Request::get("/v1/devices").header(header::AUTHORIZATION, person("dora"));
        request.extension(ConnectInfo(caller)).body(axum::body::Body::empty()).unwrap()
    };
    let refused = routes.call(ask("192.0.2.7:4000")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let answer = routes.call(ask("192.0.2.8:4000")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_description_names_exactly_the_routes_that_there_are() {
    let desk = Desk::new().await;
    let described = desk.get("/openapi.json", "").await.body;
    let described = described["paths"].as_object().unwrap();
    let served: BTreeSet<&str> = routes().into_iter().map(|(path, _)| path).collect();
    assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), served);
    for (path, item) in described {
        let place = path.replace("{id}", "00").replace("{decision}", "d-1-1");
        for (word, method) in
            [("get", Method::GET), ("post", Method::POST), ("put", Method::PUT), ("delete", Method::DELETE)]
        {
            let answer = desk.ask(method.clone(), &place, "", "", String::new()).await;
            let answers = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(item.get(word).is_some(), answers, "{method} {path}: {}", answer.status);
        }
    }
    let wrong = desk.ask(Method::DELETE, "/v1/cases", "", "", String::new()).await;
    assert_eq!((wrong.status, wrong.problem()), (StatusCode::METHOD_NOT_ALLOWED, "method"));
    let nowhere = desk.get("/v2/dispatches", "").await;
    assert_eq!((nowhere.status, nowhere.problem()), (StatusCode::NOT_FOUND, "not-found"));
}
