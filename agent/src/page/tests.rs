//! The form for proof of delivery, from what a person types to what the core keeps.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use gatehouse_common::id::{DocumentId, Hash32};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{App, Page, hash_pin, router::router};
use crate::{
    clock::Clock,
    config::Operator,
    core::tests::{depot::Depot, riding::loaded_with},
    driver::Driver,
    tasks::Tasks,
};

const PIN: &str = "2468";

/// A document that remembers what was put into it: enough for the page's own program.
const STUB: &str = r#"
class Element {
  constructor(tag) { Object.assign(this, { tag, children: [], dataset: {}, on: {}, value: "", files: [], className: "" }); }
  get childNodes() { return this.children; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  setAttribute(name, value) { this[name] = value; }
  addEventListener(name, what) { this.on[name] = what; }
  showModal() {}
  close() {}
  all() { return [this, ...this.children.flatMap((child) => child instanceof Element ? child.all() : [])]; }
  querySelectorAll(tag) { return this.all().filter((node) => node.tag === tag); }
  get text() { return this.children.map((child) => child instanceof Element ? child.text : child).join(""); }
}
globalThis.Node = Element;
const byName = new Map();
globalThis.document = {
  createElement: (tag) => new Element(tag),
  getElementById: (id) => byName.get(id) ?? byName.set(id, new Element("div")).get(id),
};
globalThis.EventSource = class { addEventListener() {} };
globalThis.setInterval = () => {};
const asked_for = [];
globalThis.fetch = async (path, what) => { asked_for.push({ path, what }); return { ok: false, json: async () => ({ detail: "no" }) }; };
"#;

/// Presses "Hand over", types, and sends.
const TYPED: &str = r#"
(async () => {
  const { dispatch, vehicle } = JSON.parse(process.env.BOARD);
  const card = dispatchCard(dispatch, { vehicle, now: 0 }, new Map());
  const buttons = card.all().filter((node) => node.tag === "button").map((node) => node.text);
  card.all().find((node) => node.tag === "button" && node.text === "Hand over")?.on.click();
  const filled = byId("tap-lines").querySelectorAll("input").map((input) => [input.dataset.name, input.value]);
  for (const input of byId("tap-lines").querySelectorAll("input")) {
    input.value = String({ delivered: 7, refused: 2, damaged: 1 }[input.dataset.name]);
  }
  byId("tap-signed").value = " Kim ";
  byId("tap-photo").files = [new Blob(["a picture"])];
  if (buttons.includes("Hand over")) await byId("tap-form").on.submit({ preventDefault() {} });
  const sent = asked_for.find(({ what }) => what?.method === "POST");
  console.log(JSON.stringify({ buttons, filled, path: sent?.path, body: sent && JSON.parse(sent.what.body) }));
})();
"#;

/// What the page's own program shows and sends; `None`, said loudly, where node is not installed.
fn typed(dispatch: &Value, vehicle: Option<&str>) -> Option<Value> {
    let node = Command::new("node")
        .env("BOARD", json!({ "dispatch": dispatch, "vehicle": vehicle }).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut node) = node else {
        gatehouse_skipped::skipped("the form as a browser runs it (install node)");
        return None;
    };
    let text = format!("{STUB}{}{TYPED}", include_str!("assets/page.js"));
    node.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}")))
}

/// A vehicle that has left with ten units of order O1.
fn under_way() -> Depot {
    let mut vehicle = loaded_with(false, |_| {});
    vehicle.fix("V1", 0.0).wait_minutes(1).fix("V1", 0.0).drives_off();
    assert_eq!(vehicle.state("O1"), "departed");
    vehicle
}

/// A dispatch as the board shows it.
fn shown(vehicle: &Depot) -> Value {
    let rows = vehicle.look().board().unwrap();
    serde_json::to_value(rows.first().unwrap()).unwrap()
}

#[test]
fn the_form_offers_what_left_and_sends_what_was_typed_and_only_at_the_vehicles_own_page() {
    let shown = shown(&under_way());
    let Some(typed_in) = typed(&shown, Some("V1")) else { return };
    assert_eq!(typed_in["buttons"], json!(["Hand over"]));
    assert_eq!(typed_in["filled"], json!([["delivered", 10], ["refused", 0], ["damaged", 0]]));
    assert_eq!(typed_in["path"], format!("/api/dispatches/{}/proof", Depot::id("O1")));
    let photo = Hash32::of(b"a picture").to_string();
    let lines = json!([{ "line": 1, "delivered": 7, "refused": 2, "damaged": 1 }]);
    assert_eq!(typed_in["body"], json!({ "lines": lines, "signed_by": "Kim", "photo": photo }));
    for page in [None, Some("V2")] {
        let buttons = typed(&shown, page).unwrap()["buttons"].clone();
        assert!(!buttons.as_array().unwrap().contains(&json!("Hand over")), "{page:?} {buttons}");
    }
}

/// Serves the page of `vehicle` and posts `body` there as `ana`.
async fn posted(vehicle: Depot, dispatch: DocumentId, body: &Value) -> (u16, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (acknowledged, _receipts) = mpsc::unbounded_channel();
    let (driver, handle) = Driver::start(vehicle.core, vehicle.store, Clock::system(), acknowledged).unwrap();
    let page = Page {
        store: ":memory:".into(),
        driver: handle,
        clock: Clock::system(),
        broker: watch::channel(Default::default()).1,
        hub: watch::channel(Default::default()).1,
        damaged: watch::channel(Vec::new()).1,
        site_name: "V1".to_owned(),
        vehicle: Some("V1".parse().unwrap()),
    };
    let ana = Operator { name: "ana".parse().unwrap(), role: "driver".to_owned(), pin_argon2: hash_pin(PIN).unwrap() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/dispatches/{dispatch}/proof", listener.local_addr().unwrap());
    let mut tasks = Tasks::new();
    tasks.spawn_once("page", |stop| async move {
        let mut until = stop.clone();
        let router = router(App::new(page, vec![ana], stop));
        axum::serve(listener, router).with_graceful_shutdown(async move { until.stopped().await }).await?;
        Ok(())
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(url).basic_auth("ana", Some(PIN)).json(body).send().await.unwrap();
    let answered = (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap());
    drop(http);
    tasks.stop_in_order(&["page"], std::time::Duration::from_secs(5)).await;
    driver.ended().await.unwrap();
    answered
}

#[tokio::test]
async fn what_the_form_sends_hands_the_goods_over_and_what_makes_no_sense_is_told() {
    let lines = json!([{ "line": 1, "delivered": 7, "refused": 2, "damaged": 1 }]);
    let body = json!({ "lines": lines, "signed_by": "Kim", "photo": Hash32::of(b"a picture") });
    let (status, said) = posted(under_way(), Depot::id("O1"), &body).await;
    assert_eq!((status, said["message"].as_str()), (200, Some("order O1 is handed over")), "{said}");
    let twice = json!({ "lines": [lines[0], lines[0]], "signed_by": null, "photo": null });
    let (status, said) = posted(under_way(), Depot::id("O1"), &twice).await;
    assert_eq!(status, 409);
    assert!(said["detail"].as_str().unwrap().contains("each line once"), "{said}");
}
