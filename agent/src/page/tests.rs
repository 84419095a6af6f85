//! The form for proof of delivery, from what a person types to what the core keeps; and what a card says of a case.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use gatehouse_common::{
    case::{CaseState, Says, Severity},
    document::{Document, Entry, History},
    id::{DocumentId, DocumentKind, Hash32},
    reading::ScanStep,
    sync::Downward,
    time::{Hlc, UtcMs},
};
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

/// Reads the card of a case.
const READ: &str = r#"
const { item, board } = JSON.parse(process.env.BOARD);
console.log(JSON.stringify(caseCard(item, board).text));
"#;

/// Reads what stands under the name of the depot.
const LINES: &str = r#"
paintLines(JSON.parse(process.env.BOARD));
console.log(JSON.stringify(byId("lines").children.map((line) => [line.className, line.text])));
"#;

/// What the page's own program shows and sends.
fn typed(dispatch: &Value, vehicle: Option<&str>) -> Option<Value> {
    in_page(TYPED, &json!({ "dispatch": dispatch, "vehicle": vehicle }))
}

/// What the page's own program makes of something; `None`, said loudly, where node is not installed.
fn in_page(script: &str, board: &Value) -> Option<Value> {
    let node = Command::new("node")
        .env("BOARD", board.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut node) = node else {
        gatehouse_skipped::skipped("the page as a browser runs it (install node)");
        return None;
    };
    let text = format!("{STUB}{}{script}", include_str!("assets/page.js"));
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

/// What somebody says in a copy of a case, told to the depot by the hub.
fn says_in(depot: &mut Depot, case: DocumentId, copy: &mut Document, actor: &str, at: UtcMs, says: Says) {
    let after = History::new(copy.entries::<Says>().0).heads();
    let entry = Entry { after, at, hlc: Hlc { ms: at.0, n: 0 }, by: "otto".into(), says };
    let (_, chunk) = copy.append(&actor.parse().unwrap(), &[entry]).unwrap();
    depot.tell(Downward::Chunk { document: case, kind: DocumentKind::Case, bytes: chunk.bytes });
}

#[test]
fn the_card_of_a_case_says_what_lost_and_what_counts_for_nothing_and_who_said_it() {
    let mut depot = Depot::new(false, None);
    depot.online().lease("L1", 100).prepared("O1", 10).inventory("O1", 4).scan(ScanStep::Staged, "O1", 10);
    let case = depot.case("INV_SHORTFALL");
    let mut copy = Document::new().unwrap();
    for (_, chunk) in depot.look().chunks_of(case).unwrap() {
        copy.apply_own(&chunk.bytes).unwrap();
    }
    let row = |depot: &Depot| serde_json::to_value(depot.look().case(case).unwrap().unwrap()).unwrap();
    let plain = row(&depot);
    let at = UtcMs(plain["view"]["opened_at"].as_i64().unwrap());
    assert_eq!(plain["lost"], json!({}));

    // Neither the depot nor the hub knows what the other says, and a vehicle says what it may not.
    depot.moves(case, CaseState::Acknowledged);
    let lowered = Says::SeverityLowered { severity: Severity::S4, reason: "all is well".into() };
    says_in(&mut depot, case, &mut copy, "vehicle/D1/V9/1", at, lowered);
    for to in [CaseState::Acknowledged, CaseState::InProgress] {
        let moved = Says::Moved { to, since: at, reason: "on it".into(), auto_cleared: false, how: None };
        says_in(&mut depot, case, &mut copy, "hub/HQ/hub-1/1", at, moved);
    }
    let mut item = row(&depot);
    assert_eq!((item["view"]["state"].as_str(), item["lost"].as_object().unwrap().len()), (Some("in_progress"), 2));
    let other = "0123456789abcdef0123456789abcdef";
    item["view"]["follows"] = json!(other);
    item["view"]["aliases"] = json!([other]);
    item["view"]["continued_in"] = json!(other);
    item["view"]["watching_teams"] = json!(["finance"]);
    item["view"]["waits_for_upgrade"] = json!(true);
    let board = |item: &Value| {
        let waiting = json!([{ "document": item["document"], "kind": "case", "since": at.0 }]);
        let known =
            json!([{ "document": other, "view": { "summary": "too little <b>yesterday</b>", "state": "closed" } }]);
        json!({ "item": item, "board": { "now": at.0 + 120_000, "cases": known, "status": { "waiting": waiting } } })
    };
    let Some(card) = in_page(READ, &board(&item)) else { return };
    let card = card.as_str().unwrap();
    let mut told = vec![
        "Superseded: moved acknowledged (seen to it), said by ann (gw-1 at D1)",
        "a move on the other side outweighs it",
        "Counts for nothing: severity lowered S4 (all is well), said by otto (V9, a vehicle of D1) 2 min ago: \
         a vehicle may not lower severity",
        "Follows case 0123456789abcdef (too little <b>yesterday</b>, closed)",
        "Joined with case 0123456789abcdef",
        "Grew too long and goes on in case 0123456789abcdef",
        "Watched by finance",
        "Waits for an upgrade",
        "wait for others before them that are not, since 2 min ago",
    ];
    told.retain(|told| !card.contains(told));
    assert!(told.is_empty(), "{told:#?} is not in\n{card}");
    // The control: a case that nobody disputes says nothing of it.
    let mut alone = board(&plain);
    alone["board"]["status"] = json!({});
    let card = in_page(READ, &alone).unwrap().to_string();
    for word in ["Superseded", "Counts for nothing", "Follows", "Joined", "goes on", "Watched", "upgrade", "wait for"] {
        assert!(!card.contains(word), "{word}: {card}");
    }
}

#[test]
fn the_lines_name_the_document_that_waits_for_changes_and_since_when_and_warn_once_that_is_too_long() {
    let max_ms = gatehouse_common::document::WAITING_MAX_MS;
    let mut depot = Depot::new(false, None);
    depot.online().order("O1", 10);
    let mut at_the_hub = depot.hub_document("O1");
    let (hub, since) = ("hub/HQ/hub-1/1".parse().unwrap(), depot.now());
    let mut note = |text: &str| at_the_hub.add_note(&hub, since, text).unwrap().bytes;
    let (first, second) = (note("first"), note("second"));
    let chunk = |bytes| Downward::Chunk { document: Depot::id("O1"), kind: DocumentKind::Dispatch, bytes };
    // How the line about it looks and what it says after so long, if there is one.
    let line = |depot: &Depot, waited_ms: i64| -> Option<Option<(String, String)>> {
        let (status, now) = (depot.look().status().unwrap(), since.plus(waited_ms));
        let board = json!({
            "now": now, "broker": crate::intake::mqtt::BrokerState::default(), "hub": crate::sync::HubState::default(),
            "damaged": [], "stuck": null, "waits_too_long": status.waits_too_long(now), "status": status,
            "dispatches": depot.look().board().unwrap(), "cases": [],
        });
        let lines: Vec<(String, String)> = serde_json::from_value(in_page(LINES, &board)?).unwrap();
        Some(lines.into_iter().find(|(_, text)| text.to_lowercase().starts_with("incomplete")))
    };
    depot.tell(chunk(second));
    let what = "1 document waits for changes that have not come: dispatch O1 since 2015-03-10 08:00:00 UTC";
    for (waited_ms, look, begins) in
        [(max_ms, "wait", "Incomplete: "), (max_ms + 1, "bad", "INCOMPLETE for too long, look at the hub: ")]
    {
        let Some(line) = line(&depot, waited_ms) else { return };
        assert_eq!(line, Some((look.to_owned(), format!("{begins}{what}"))), "{waited_ms}");
    }
    depot.tell(chunk(first));
    assert_eq!(line(&depot, max_ms + 1), Some(None), "it has come");
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
