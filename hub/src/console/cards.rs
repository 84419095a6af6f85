//! What a card says, as the console's own program makes it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use gatehouse_common::{
    case::{self, CaseState, CaseType, Says, Severity, Team},
    dispatch,
    document::{Actor, Document, Entry, Folds, History},
    time::{Hlc, UtcMs},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{PAINT_JS, VIEWS_JS};

/// A document that remembers what was put into it: enough for cards.
const STUB: &str = r#"
class Element {
  constructor(tag) { Object.assign(this, { tag, children: [], dataset: {} }); }
  append(...nodes) { this.children.push(...nodes); }
  addEventListener() {}
  get text() { return this.children.map((child) => child instanceof Element ? child.text : child).join(""); }
}
globalThis.Node = Element;
globalThis.document = { createElement: (tag) => new Element(tag) };
"#;

/// A script of the page without the words that only modules have.
fn plain(script: &str) -> String {
    let lines = script.lines().filter(|line| !line.starts_with("import "));
    lines.map(|line| format!("{}\n", line.strip_prefix("export ").unwrap_or(line))).collect()
}

/// The text of the card that `view` makes of an item; `None`, said loudly, where node is not installed.
fn card(view: &str, item: &Value) -> Option<String> {
    let node = Command::new("node")
        .env("ITEM", item.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut node) = node else {
        gatehouse_skipped::skipped("the console as a browser runs it (install node)");
        return None;
    };
    let shown = format!("process.stdout.write({view}(JSON.parse(process.env.ITEM), {{}}).text);");
    let text = format!("{STUB}{}{}{shown}", plain(PAINT_JS), plain(VIEWS_JS));
    node.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn write<T: Serialize + DeserializeOwned>(document: &mut Document, actor: &str, says: Vec<T>) {
    let actor: Actor = actor.parse().unwrap();
    for says in says {
        let after = History::new(document.entries::<T>().0).heads();
        let hlc = Hlc { ms: 5, n: 0 };
        let entry = Entry { after, at: UtcMs(5), hlc, by: format!("someone of {}", actor.device), says };
        document.append(&actor, &[entry]).unwrap();
    }
}

/// A document in which two sides, neither of which knew what the other said, said these.
fn apart<T: Folds + Serialize + DeserializeOwned + Clone>(begun: Vec<T>, sides: [(&str, Vec<T>); 2]) -> Document {
    let mut begins = Document::new().unwrap();
    write(&mut begins, "hub/HQ/hub-1/1", [vec![T::fold(2)], begun].concat());
    let mut both = Document::load(&begins.save()).unwrap();
    for (actor, says) in sides {
        let mut side = Document::load(&begins.save()).unwrap();
        write(&mut side, actor, says);
        for chunk in side.chunks() {
            both.apply_own(&chunk.bytes).unwrap();
        }
    }
    both
}

/// As the API lists it: all entries stand for those that lost, since a card looks up the ones that the view names.
fn item(document: &Document, view: Value) -> Value {
    let entries = document.entries::<Value>().0.into_iter();
    let lost: serde_json::Map<String, Value> =
        entries.map(|(key, entry)| (key.to_string(), serde_json::to_value(entry).unwrap())).collect();
    json!({ "id": "fedcba9876543210fedcba9876543210", "view": view, "lost": lost, "waits_since": 7, "facts": [] })
}

/// Those of these texts that are not in a card.
fn missing<'a>(told: &[&'a str], card: &str) -> Vec<&'a str> {
    told.iter().copied().filter(|told| !card.contains(told)).collect()
}

fn opened(subject: &str) -> Vec<Says> {
    vec![Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: subject.into(),
        leg: "-".into(),
        occurrence: 2,
        site: "D1".parse().unwrap(),
        since: UtcMs(0),
        summary: "door 3 is <b>blocked</b>".into(),
        order: None,
        blocks: None,
        follows: Some(case::document_id("before", 1)),
    }]
}

#[test]
fn the_card_of_a_case_says_what_lost_what_counts_for_nothing_and_what_belongs_to_it() {
    let moved = |to| Says::Moved { to, since: UtcMs(5), reason: "on it".into(), auto_cleared: false, how: None };
    let lowered = Says::SeverityLowered { severity: Severity::S4, reason: "all is well".into() };
    let joined = Says::Aliased { case: case::document_id("beside", 1), opened_at: UtcMs(3), touches: 1 };
    let document = apart(
        opened("door 3"),
        [
            ("site/D1/gw-1/1", vec![Says::Assigned { owner: Team::Finance }, moved(CaseState::Closed)]),
            ("hub/HQ/hub-2/1", vec![Says::Assigned { owner: Team::Dispatch }, lowered, joined]),
        ],
    );
    let mut view = serde_json::to_value(case::fold(&document).unwrap()).unwrap();
    view["continued_in"] = json!(case::document_id("after", 1));
    view["waits_for_upgrade"] = json!(true);
    let Some(shown) = card("caseCard", &item(&document, view)) else { return };
    let name = |key: &str| case::document_id(key, 1).to_string()[..16].to_owned();
    let told = [
        "door 3 is <b>blocked</b>".to_owned(),
        "Superseded: assigned finance, said by someone of gw-1 (gw-1 at D1) ".to_owned(),
        ": the other side gave it to another team".to_owned(),
        "Counts for nothing: moved closed (on it), said by someone of gw-1 (gw-1 at D1) ".to_owned(),
        ": only the hub may close a case".to_owned(),
        "Watched by finance".to_owned(),
        format!("Joined with case {}", name("beside")),
        format!("Follows case {}", name("before")),
        format!("Grew too long and goes on in case {}", name("after")),
        "case fedcba9876543210".to_owned(),
        "waits for an upgrade".to_owned(),
        "wait for others before them that are not".to_owned(),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    assert_eq!(missing(&told, &shown), [""; 0], "{shown}");

    // The control: of a case that nobody disputes, folded by an older hub, nothing of it is said.
    let mut alone = Document::new().unwrap();
    write(&mut alone, "site/D1/gw-1/1", opened("door 4"));
    let mut view = serde_json::to_value(case::fold(&alone).unwrap()).unwrap();
    view["follows"] = Value::Null;
    for newer in ["watching_teams", "aliases", "unread", "void"] {
        view.as_object_mut().unwrap().remove(newer);
    }
    let mut item = item(&alone, view);
    item["waits_since"] = Value::Null;
    let shown = card("caseCard", &item).unwrap();
    let words =
        ["Superseded", "Counts for nothing", "Watched", "Joined", "Follows", "goes on", "upgrade", "wait for others"];
    assert_eq!(missing(&words, &shown), words, "{shown}");
}

#[test]
fn the_card_of_a_dispatch_says_who_said_what_without_authority() {
    let planned = dispatch::Says::Planned {
        order: "SO-1".parse().unwrap(),
        order_version: 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: "V1".parse().unwrap(),
        carrier: "ACME".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: Vec::new(),
        planned_departure: UtcMs(9),
    };
    let cancelled = dispatch::Says::Cancelled { order_version: 1, why: "empty truck".into() };
    let document =
        apart(vec![planned], [("site/D1/gw-1/1", vec![cancelled]), ("hub/HQ/hub-2/1", vec![dispatch::Says::Ready])]);
    let view = dispatch::fold(&document).unwrap();
    assert_eq!(view.void.len(), 1, "only the hub cancels");
    let why = format!(": {}", view.void[0].1);
    let Some(shown) = card("dispatchCard", &item(&document, serde_json::to_value(view).unwrap())) else { return };
    let told = [
        "Counts for nothing: cancelled (empty truck), said by someone of gw-1 (gw-1 at D1) ",
        why.as_str(),
        "wait for others before them that are not",
    ];
    assert_eq!(missing(&told, &shown), [""; 0], "{shown}");
}
