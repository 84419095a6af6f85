//! Well-formed inputs to begin with.

use std::{path::Path, sync::LazyLock};

use gatehouse_agent::config::TopicConfig;
use gatehouse_common::{
    case::{self, CaseState, CaseType},
    dispatch::{self, HoldReason},
    document::{Actor, Document, Entry, History},
    id::{DocumentId, DocumentKind},
    seal::Sealed,
    sync::{Cursor, Downward, FeedItem, Lane, LedgerEpoch, Pull, PullReply, Push, Upward},
    time::{Hlc, UtcMs},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const GATEWAY: &str = include_str!("../../../firmware-config/gateway/agent.toml");
const VEHICLE: &str = include_str!("../../../firmware-config/vehicle/agent.toml");

/// The topic map of the gateway's example configuration.
pub(super) static RULES: LazyLock<Vec<TopicConfig>> =
    LazyLock::new(|| match gatehouse_agent::config::parse(GATEWAY, Path::new(".")) {
        Ok(config) => config.topics,
        Err(problems) => panic!("the example configuration has problems: {problems:?}"),
    });

/// A case, saved.
pub(super) static CASE: LazyLock<Vec<u8>> = LazyLock::new(|| case_document().save());
/// A dispatch, saved.
pub(super) static DISPATCH: LazyLock<Vec<u8>> = LazyLock::new(|| dispatch_document().save());

pub(super) fn payloads() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"id":"a1","time":1425974400000,"open":true,"occupied":false,"vehicle":"2207"}"#,
        r#"{"id":"b7","time":1425974400000,"order":"O-1","line":1,"quantity":4,"complete":true}"#,
        r#"{"id":"c","time":1425974400000,"state":"intact","number":"S-77","celsius":-18.5}"#,
        r#"{"_type":"location","tst":1425974400,"lat":30.26,"lon":-97.74,"acc":8,"vel":42,"tid":"07"}"#,
        r#"{"_type":"transition","tst":1425974400,"event":"leave","desc":"yard"}"#,
    ];
    let picks = 0..u8::try_from(RULES.len()).unwrap_or(u8::MAX);
    picks.flat_map(|pick| bodies.iter().map(move |body| [&[pick], body.as_bytes()].concat())).collect()
}

pub(super) fn agent_configs() -> Vec<Vec<u8>> {
    vec![GATEWAY.into(), VEHICLE.into()]
}

pub(super) fn hub_configs() -> Vec<Vec<u8>> {
    let text = r#"
[hub]
name = "hub-1"

[erp]
kind = "rest"
url = "http://127.0.0.1:9/"
token_file = "token"
honours_keys = false
poll_every_s = 5
[erp.sites]
WH1 = "D1"

[[operators]]
name = "ana"
role = "finance"
pin_argon2 = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAA"

[[tokens]]
name = "wms"
system = "wms"
token_sha256 = "00"

[policy]
"#;
    vec![text.into()]
}

pub(super) fn bundles() -> Vec<Vec<u8>> {
    let text = r#"
hub_silence_max_ms = 60000
unknown_deadline_ms = 1800000
money_axis_minor = [100000, 500000, 2000000]

[detectors]
dock_blocked_after_ms = 600000
geofence_fixes = 2
geofence_ring_m = 50.0

[overrides]
roles = ["supervisor"]
two_persons = ["credit"]

[classes.frozen]
auto_release = false
degrade = ["inventory"]
[classes.frozen.age_limits.inventory]
normal_ms = 3600000
under_lease_ms = 7200000
"#;
    let whole = include_str!("../../../firmware-config/gateway/rules.toml");
    vec![text.into(), whole.into(), Vec::new()]
}

/// Conditions of every form that there is.
pub(super) fn conditions() -> Vec<Vec<u8>> {
    let texts = [
        "order.units < 5 && (order.tier in ['A', 'B'] || !order.dangerous_goods)",
        "hub.cut_off ? order.value_minor / 100 <= 5000 : -order.units + 3 * 2 % 7 >= -1",
        "order.class == \"frozen\" && minutes_until(order.cut_off) >= 6 && age_s('credit') > 3600",
        "has(credit.headroom_minor) && 9223372036854775807 + credit.headroom_minor > 0",
        "order.carrier.startsWith('C') || order.id.contains(\"'\") || order.door.endsWith('3')",
        "gate.state == 'unknown' && gate.why != 'stale' && gates.failed == 0",
        "case.type == 'SEAL_BROKEN' && case.severity >= 3 && case.subject != 'V1'",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let document = DocumentId([7; 16]);
    let bytes = case_document().chunks().pop().map(|c| c.bytes).unwrap_or_default();
    let sealed = Sealed { body: json!({"position": 1}).to_string(), signature: "AAAA".into() };
    let push = Push {
        outbox_epoch: 1,
        records: vec![
            (1, Upward::Chunk { document, kind: DocumentKind::Case, bytes: bytes.clone() }),
            (2, Upward::Decision(sealed.clone())),
            (3, Upward::Fact("{}".into())),
            (4, Upward::Status("{}".into())),
        ],
    };
    let cursor = Cursor::start(LedgerEpoch(7));
    let item = |position, says| FeedItem { lane: Lane::Documents, position, says };
    let page = PullReply::Page {
        items: vec![
            item(1, Downward::Chunk { document, kind: DocumentKind::Case, bytes }),
            item(2, Downward::Lease(sealed)),
            item(3, Downward::Order("{}".into())),
        ],
        cursor,
        more: true,
    };
    let pull = Pull { cursor, wait_ms: 25_000, recalls_only: true };
    // As content, not as frames: the target packs them itself.
    let written = [postcard::to_stdvec(&push), postcard::to_stdvec(&page), postcard::to_stdvec(&pull)];
    written.into_iter().flatten().collect()
}

pub(super) fn chunks() -> Vec<Vec<u8>> {
    let both = [case_document(), dispatch_document()];
    // Four bytes of magic, four of checksum, one of type, two of length: the rest is the body.
    both.iter().flat_map(Document::chunks).filter_map(|c| c.bytes.get(11..).map(<[u8]>::to_vec)).collect()
}

pub(super) fn entries() -> Vec<Vec<u8>> {
    [said(&case_document()), said(&dispatch_document())].into_iter().map(|v| v.to_string().into_bytes()).collect()
}

fn said(document: &Document) -> Value {
    let (entries, _) = document.entries::<Value>();
    entries.iter().map(|(key, entry)| json!([key.actor.to_string(), entry])).collect()
}

pub(super) fn events() -> Vec<Vec<u8>> {
    let event = |kind: &str, data: Value| {
        json!({"specversion": "1.0", "id": "e-1", "source": "/wms/1", "type": kind,
               "time": "2015-03-10T08:00:00Z", "datacontenttype": "application/json", "data": data})
        .to_string()
        .into_bytes()
    };
    let types = gatehouse_hub::partners::events::known_types();
    let mut events: Vec<Vec<u8>> = types
        .split(", ")
        .map(|kind| {
            event(
                kind.trim_matches(['`', '"']),
                json!({"order": "O-1", "line": 1, "confirmed": 4, "vehicle": "2207", "sufficient": true,
                       "carrier": "CARR", "accepted": true}),
            )
        })
        .collect();
    events.push(json!({"body": "{\"position\":1}", "signature": "AAAA"}).to_string().into_bytes());
    events
}

fn case_document() -> Document {
    let opened = case::Says::Opened {
        case_type: CaseType::DockBlocked,
        subject: "door 3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: name("D1"),
        since: UtcMs(1),
        summary: "door 3 is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    };
    let moved = |to| case::Says::Moved { to, since: UtcMs(5), reason: "seen".into(), auto_cleared: false, how: None };
    written(vec![
        ("site/D1/gw-1/1", opened),
        ("site/D1/gw-1/1", moved(CaseState::Acknowledged)),
        ("hub/H/H/1", moved(CaseState::InProgress)),
        ("site/D1/gw-1/1", moved(CaseState::Resolved)),
    ])
}

fn dispatch_document() -> Document {
    let planned = dispatch::Says::Planned {
        order: name("O-1"),
        order_version: 1,
        site: name("D1"),
        occurrence: 1,
        vehicle: name("2207"),
        carrier: name("CARR"),
        door: name("3"),
        load: Vec::new(),
        planned_departure: UtcMs(9),
    };
    let held =
        dispatch::Says::Held { reason: HoldReason::Gate, why: "no stock".into(), cases: Vec::new(), decision: None };
    let terms = dispatch::Says::Terms { order_version: 2, load: Vec::new(), why: "less wanted".into() };
    written(vec![
        ("site/D1/gw-1/1", planned),
        ("site/D1/gw-1/1", held),
        ("hub/H/H/1", terms),
        ("site/D1/gw-1/1", dispatch::Says::Ready),
        ("hub/H/H/1", dispatch::Says::Cancelled { order_version: 3, why: "not wanted".into() }),
    ])
}

fn written<T: Serialize + DeserializeOwned + Clone>(said: Vec<(&str, T)>) -> Document {
    let Ok(mut document) = Document::new() else { panic!("no document can be made") };
    for (clock, (actor, says)) in (1..).zip(said) {
        let actor: Actor = name(actor);
        let after = History::new(document.entries::<T>().0).heads();
        let entry = Entry { after, at: UtcMs(clock), hlc: Hlc { ms: clock, n: 0 }, by: "a sample".into(), says };
        if let Err(error) = document.append(&actor, &[entry]) {
            panic!("a sample cannot be written: {error}");
        }
    }
    document
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    match text.parse() {
        Ok(name) => name,
        Err(error) => panic!("{text:?} is no name: {error:?}"),
    }
}
