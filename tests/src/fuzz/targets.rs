//! The readers themselves, each given all the bytes.

use std::{collections::BTreeSet, path::Path};

use gatehouse_agent::{
    config::TopicConfig,
    intake::payload::{self, Births, Decoded, Unreadable},
};
use gatehouse_common::{
    bundle::Bundle,
    case,
    decision::DecisionRecord,
    dispatch,
    document::{Actor, Document, Entry, gate::inspect},
    fact::Report,
    id::Hash32,
    lease::Lease,
    order::Order,
    reading::ReadingValue,
    rule::{self, Binding, Program, Scope, Why, schema::Type},
    seal::Sealed,
    sync::{Downward, PROTOCOL, PageDigest, Pull, PullReply, Push, PushReply, Repair, Repaired, Upward, decode},
    time::UtcMs,
};
use gatehouse_hub::partners::events::Event;
use serde_json::Value;

use super::{
    forms::{self, Form},
    samples::{CASE, DISPATCH, RULES},
};

/// Nothing is ever found here, so that a path in a mutated configuration leads nowhere.
const NOWHERE: &str = "/nonexistent/gatehouse";
const NOW: UtcMs = UtcMs(1_425_974_400_000);

/// The first byte picks a rule of the topic map, the rest is the message.
pub(super) fn payload(bytes: &[u8]) {
    let Some((pick, message)) = bytes.split_first() else { return };
    let rule: &TopicConfig = &RULES[usize::from(*pick) % RULES.len()];
    let topic = rule.filter.replace(['+', '#'], "7");
    promised(payload::decode(&mut Births::default(), rule, &topic, message, NOW));
}

/// What is read can be stored and told apart; what is not has a reason.
fn promised(read: Result<Decoded, Unreadable>) {
    let decoded = match read {
        Ok(decoded) => decoded,
        Err(reason) => return assert!(!reason.to_string().is_empty(), "a message is refused without a reason"),
    };
    for reading in &decoded.readings {
        let Ok(text) = serde_json::to_string(&reading.value) else { panic!("a reading cannot be written") };
        // A number that is none becomes null when it is written, and is not that number when it is read.
        let same = serde_json::from_str::<ReadingValue>(&text).is_ok_and(|again| again == reading.value);
        assert!(same, "a reading does not come back as it was: {text}");
        assert!(jiff::Timestamp::from_millisecond(reading.at.0).is_ok(), "a time that no calendar has");
    }
}

fn form(form: Form, topic: &str, bytes: &[u8]) {
    let read = payload::decode(&mut Births::default(), forms::rule(form), topic, bytes, NOW);
    // Events bring their own ids, and a batch may hold one twice.
    if let (Ok(decoded), false) = (&read, matches!(form, Form::Cloudevents)) {
        let ids: BTreeSet<_> = decoded.readings.iter().map(|reading| (&reading.source, &reading.id)).collect();
        assert_eq!(ids.len(), decoded.readings.len(), "two readings of a message share an id");
    }
    promised(read);
}

pub(super) fn owntracks(bytes: &[u8]) {
    form(Form::Owntracks, "owntracks/cap/7", bytes);
}

pub(super) fn traccar(bytes: &[u8]) {
    form(Form::Traccar, "t", bytes);
}

pub(super) fn osmand(bytes: &[u8]) {
    form(Form::Osmand, "o", bytes);
}

pub(super) fn nmea(bytes: &[u8]) {
    form(Form::Nmea, "n/7", bytes);
}

pub(super) fn cloudevents(bytes: &[u8]) {
    form(Form::Cloudevents, "e", bytes);
}

pub(super) fn thin_edge(bytes: &[u8]) {
    form(Form::ThinEdge, "te/device/7///m/env", bytes);
}

/// The bytes as data of a node that was born, as a birth of its device, as its death, and as its next birth. What is
/// kept of births comes back from its text as it was.
pub(super) fn sparkplug(bytes: &[u8]) {
    let (rule, mut births) = (forms::rule(Form::Sparkplug), Births::default());
    let born = payload::decode(&mut births, rule, "spBv1.0/D1/NBIRTH/gate", forms::BIRTH, NOW);
    assert!(born.is_ok_and(|born| born.readings.len() == 2), "the birth to begin with is not read");
    for topic in ["NDATA/gate", "DBIRTH/gate/7", "DDATA/gate/7", "DDEATH/gate/7", "NDEATH/gate", "NBIRTH/gate"] {
        let read = payload::decode(&mut births, rule, &format!("spBv1.0/D1/{topic}"), bytes, NOW);
        if let Ok(Decoded { learned: Some(learned), .. }) = &read {
            let restored = Births::restored([(learned.key.as_str(), learned.body.as_str())]);
            assert_eq!(restored, births, "a birth does not come back as it was");
        }
        promised(read);
    }
}

pub(super) fn agent_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(problems) = gatehouse_agent::config::parse(&text, Path::new(NOWHERE)) {
        assert!(!problems.is_empty(), "a configuration is refused without a reason");
    }
}

pub(super) fn hub_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = gatehouse_hub::config::CommandLine { listen: "127.0.0.1:0", database: "sqlite:hub.db", file: None };
    if let Err(problems) = gatehouse_hub::config::parse(&line, &text, Path::new(NOWHERE)) {
        assert!(!problems.is_empty(), "a configuration is refused without a reason");
    }
}

pub(super) fn bundle(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Bundle::parse(&text) {
        Err(error) => assert!(!error.problems().is_empty(), "a bundle is refused without a reason"),
        Ok(bundle) => {
            assert_eq!(bundle.hash, Hash32::of(text.as_bytes()), "a bundle is named by its text");
            // Any class can be asked for.
            let _ = bundle.rules.class("standard").limits(gatehouse_common::gate::GateKind::Credit);
            // Whatever it says can be played.
            for scenario in bundle.rules.scenarios.iter().take(8) {
                let _ = scenario.play(&bundle.rules);
            }
        }
    }
}

/// Where conditions stand.
const SCOPES: [Scope; 3] = [Scope::Gate, Scope::Fallback, Scope::Case];

/// Facts of which the first byte of a condition says what they are, where they are anything.
struct Drawn(u8);

impl Binding for Drawn {
    fn fact(&self, name: &'static str) -> Result<rule::Value, Why> {
        let named = SCOPES.into_iter().find_map(|scope| scope.names().find(|named| named.name == name));
        match (self.0 % 4, named.map(|named| named.is)) {
            (0, _) | (_, None) => Err(Why::Missing),
            (_, Some(Type::Bool)) => Ok(rule::Value::Bool(self.0 & 4 == 0)),
            (_, Some(Type::Int)) => Ok(rule::Value::Int([0, 7, i64::MAX, i64::MIN][usize::from(self.0 >> 2) % 4])),
            (_, Some(Type::Text)) => Ok(rule::Value::Text("frozen".to_owned())),
            (_, Some(Type::Time)) => Ok(rule::Value::Time(NOW)),
        }
    }

    fn age_s(&self, _family: &'static str) -> Result<i64, Why> {
        if self.0 % 3 == 0 { Err(Why::Stale) } else { Ok(i64::from(self.0)) }
    }

    fn now(&self) -> UtcMs {
        NOW
    }
}

/// A condition: refused with places in its text, or evaluated whatever the facts are.
pub(super) fn rule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for scope in SCOPES {
        match Program::compile(&text, scope) {
            Err(faults) => {
                assert!(!faults.is_empty(), "a condition is refused without a reason");
                for fault in faults {
                    assert!(!fault.message.is_empty(), "a fault without a word");
                    assert!(text.get(fault.at.clone()).is_some(), "{:?} is no place in {text:?}", fault.at);
                }
            }
            Ok(program) => {
                for draw in [0, 1, 2, 5, 9, 14, bytes.first().copied().unwrap_or(0)] {
                    let drawn = Drawn(draw);
                    assert_eq!(program.evaluate(&drawn), program.evaluate(&drawn), "not the same twice");
                }
                let known: BTreeSet<&str> = scope.names().map(|named| named.name).collect();
                assert!(program.names().iter().all(|name| known.contains(name)), "it speaks of what is not there");
            }
        }
    }
}

/// A frame as it travels, and the bytes as the content of one: mutations rarely compress well.
pub(super) fn frame(bytes: &[u8]) {
    let mut packed = vec![PROTOCOL];
    packed.extend(zstd::bulk::compress(bytes, 1).unwrap_or_default());
    for frame in [bytes.to_vec(), packed] {
        if let Ok(push) = decode::<Push>(&frame) {
            push.records.iter().for_each(|(_, says)| upward(says));
        }
        if let Ok(PullReply::Page { items, .. }) = decode::<PullReply>(&frame) {
            items.iter().for_each(|item| downward(&item.says));
        }
        // The small ones hold nothing that is read further.
        let _ = (decode::<Pull>(&frame), decode::<PushReply>(&frame), decode::<Repaired>(&frame));
        if let Ok(Repair::Give { changes, .. }) = decode::<Repair>(&frame) {
            changes.iter().for_each(|given| drop(inspect(&given.bytes)));
        }
    }
}

fn upward(says: &Upward) {
    match says {
        Upward::Chunk { bytes, .. } => drop(inspect(bytes)),
        Upward::Decision(sealed) => drop(sealed.peek::<DecisionRecord>()),
        Upward::Fact(json) => drop(serde_json::from_str::<Report>(json)),
        Upward::Status(json) => drop(serde_json::from_str::<gatehouse_common::sync::message::DeviceStatus>(json)),
    }
}

fn downward(says: &Downward) {
    match says {
        Downward::Order(json) => drop(serde_json::from_str::<Order>(json)),
        Downward::Fact(json) => drop(serde_json::from_str::<Report>(json)),
        Downward::Lease(sealed) => drop(sealed.peek::<Lease>()),
        Downward::Chunk { bytes, .. } => drop(inspect(bytes)),
        Downward::Page(sealed) => drop(sealed.peek::<PageDigest>()),
        // A whole document comes from the hub alone, by its signature; see `Document::admit_whole`.
        Downward::Anchor(_) | Downward::Sources(_) | Downward::Snapshot { .. } => {}
    }
    let _: Hash32 = says.hash();
}

/// The bytes are the body of a change; header and checksum are made right, so that more than those is tried.
/// What the gate lets in must save, load and fold, and leave what was there as it was.
pub(super) fn chunk(bytes: &[u8]) {
    let bytes = with_header(bytes);
    let Ok(inspected) = inspect(&bytes) else { return };
    for sample in [&*CASE, &*DISPATCH] {
        let Ok(before) = Document::load(sample) else { panic!("a sample cannot be loaded") };
        let mut after = before.clone();
        if after.admit(&inspected).is_err() {
            assert_eq!(after.heads(), before.heads(), "a refused chunk changed the document");
            continue;
        }
        let Ok(loaded) = Document::load(&after.save()) else { panic!("an admitted chunk made a document unloadable") };
        assert_eq!(loaded.heads(), after.heads());
        assert_eq!(case::fold(&loaded), case::fold(&after));
        assert_eq!(dispatch::fold(&loaded), dispatch::fold(&after));
        let (old, _) = before.entries::<Value>();
        let (new, _) = after.entries::<Value>();
        assert!(old.iter().all(|(key, entry)| new.get(key) == Some(entry)), "an admitted chunk changed an entry");
    }
}

/// Magic, checksum, type, length, body: what Automerge's file format asks of a change.
fn with_header(body: &[u8]) -> Vec<u8> {
    let mut rest = vec![1];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        rest.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    rest.extend_from_slice(body);
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83];
    bytes.extend_from_slice(&Hash32::of(&rest).0[..4]);
    bytes.extend(rest);
    bytes
}

/// The bytes are JSON: a list of writers with what each says. Whatever is said, both folds give something,
/// and the same again from the saved document.
pub(super) fn entries(bytes: &[u8]) {
    let Ok(said) = serde_json::from_slice::<Vec<(String, Entry<Value>)>>(bytes) else { return };
    let Ok(mut document) = Document::new() else { panic!("no document can be made") };
    for (actor, entry) in said.into_iter().take(64) {
        let Ok(actor) = actor.parse::<Actor>() else { continue };
        // One that cannot be written is not there.
        let _ = document.append(&actor, &[entry]);
    }
    let Ok(loaded) = Document::load(&document.save()) else { panic!("a document of own entries cannot be loaded") };
    assert_eq!(case::fold(&loaded), case::fold(&document));
    assert_eq!(dispatch::fold(&loaded), dispatch::fold(&document));
}

pub(super) fn event(bytes: &[u8]) {
    if let Err(error) = Event::parse(bytes, NOW) {
        assert!(!error.to_string().is_empty(), "an event is refused without a reason");
    }
    // A sealed value of our own, as it stands in stores and replies.
    let _ = serde_json::from_slice::<Sealed>(bytes).map(|sealed| sealed.peek::<DecisionRecord>().is_ok());
}

/// Believes that every line number is small.
pub(super) fn trusting(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        assert!(value["line"].as_u64().is_none_or(|line| line < 1000), "a line number that nobody expected");
    }
}
