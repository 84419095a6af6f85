//! Sparkplug B 3.0: `spBv1.0/<group>/<type>/<node>[/<device>]`, protobuf.
//!
//! A birth declares metrics and their aliases, data refer to them, a death is the broker's last will and names by
//! `bdSeq` the session that it ends: a will that overtakes the next birth ends nothing. Data of a node that was not
//! born cannot be read; they go to quarantine saying that it needs a rebirth.

mod births;
pub mod wire;

use gatehouse_common::{id::Hash32, reading::ReadingValue, time::UtcMs};
use serde_json::{Value, json};

use super::{
    Decoded, Says, Unreadable, json as plain,
    message::{Message, clipped, to_time},
};
use crate::{
    config::{TimeUnit, TopicConfig},
    core::input::{Mark, Sequence},
};

pub use births::Births;
use wire::{Metric, Payload};

/// A topic of the namespace.
struct Address<'a> {
    kind: &'a str,
    /// `group/node`.
    node: String,
    /// Empty for the node itself.
    device: &'a str,
}

impl Address<'_> {
    /// Under which name what it says is kept.
    fn source(&self) -> String {
        if self.device.is_empty() {
            format!("spBv1.0/{}", self.node)
        } else {
            format!("spBv1.0/{}/{}", self.node, self.device)
        }
    }
}

/// `None` for what hosts say, which is of no concern.
fn address(topic: &str) -> Result<Option<Address<'_>>, Unreadable> {
    let levels: Vec<&str> = topic.split('/').collect();
    match levels.as_slice() {
        ["spBv1.0", "STATE", ..] | ["spBv1.0", _, "NCMD" | "DCMD", ..] => Ok(None),
        ["spBv1.0", group, kind @ ("NBIRTH" | "NDATA" | "NDEATH"), node] => {
            Ok(Some(Address { kind, node: format!("{group}/{node}"), device: "" }))
        }
        ["spBv1.0", group, kind @ ("DBIRTH" | "DDATA" | "DDEATH"), node, device] if !device.is_empty() => {
            Ok(Some(Address { kind, node: format!("{group}/{node}"), device }))
        }
        _ => Err(Unreadable::Wrong {
            what: "topic",
            place: "the message".to_owned(),
            found: clipped(topic),
            expected: "spBv1.0/GROUP/NBIRTH/NODE or another of the Sparkplug namespace".to_owned(),
        }),
    }
}

pub(super) fn read(
    births: &mut Births,
    rule: &TopicConfig,
    topic: &str,
    bytes: &[u8],
    received: UtcMs,
) -> Result<Decoded, Unreadable> {
    let Some(address) = address(topic)? else { return Ok(Decoded::default()) };
    let payload = wire::read(bytes).map_err(Unreadable::NotSparkplug)?;
    if address.kind == "NDEATH" {
        return death(births, &address, &payload, received);
    }
    let sent = match payload.timestamp {
        Some(ms) => time(ms)?,
        None => return Err(Unreadable::Missing { what: "timestamp", place: "the payload".to_owned() }),
    };
    let seq = payload.seq.filter(|seq| *seq < 256);
    let mut decoded = Decoded::default();
    let unborn = || Unreadable::Unborn { who: address.source() };
    let too_much = |expected: String| Unreadable::Wrong {
        what: "birth",
        place: "the payload".to_owned(),
        found: format!("{} metrics", payload.metrics.len()),
        expected: format!("not {expected}"),
    };
    let mut says = Says { sent: Some(sent), ..Says::default() };
    match address.kind {
        "NBIRTH" => {
            decoded.learned =
                Some(births.node(&address.node, sent, bd_seq(&payload), &payload.metrics).map_err(too_much)?);
            says.values.push((ReadingValue::Presence { online: true }, sent));
        }
        "DBIRTH" => {
            births.alive(&address.node).ok_or_else(unborn)?;
            decoded.learned = Some(births.device(&address.node, address.device, &payload.metrics).map_err(too_much)?);
            says.values.push((ReadingValue::Presence { online: true }, sent));
        }
        "DDEATH" => {
            if births.device_gone(&address.node, address.device) {
                decoded.learned = births.learned(&address.node).ok();
            }
            says.values.push((ReadingValue::Presence { online: false }, sent));
        }
        _ => {}
    }
    if address.kind != "DDEATH" {
        metrics(births, rule, topic, &address, &payload, sent, &mut says)?;
    }
    // The node counts for itself and its devices together.
    decoded.marks.push(Mark {
        source: format!("spBv1.0/{}", address.node),
        sequence: seq.map(|number| Sequence { number, modulus: Some(256), begins: address.kind == "NBIRTH" }),
        sent: Some(sent),
    });
    let mut named = topic.as_bytes().to_vec();
    named.push(0);
    named.extend_from_slice(bytes);
    decoded.add(&Hash32::of(&named).to_string(), &address.source(), Hash32::of(bytes), says)?;
    Ok(decoded)
}

/// What the topic map names of the metrics.
fn metrics(
    births: &Births,
    rule: &TopicConfig,
    topic: &str,
    address: &Address<'_>,
    payload: &Payload,
    sent: UtcMs,
    says: &mut Says,
) -> Result<(), Unreadable> {
    let unborn = || Unreadable::Unborn { who: address.source() };
    let node = births.alive(&address.node).ok_or_else(unborn)?;
    if !address.device.is_empty() && !node.devices.contains(address.device) {
        return Err(unborn());
    }
    for metric in &payload.metrics {
        // An alias that no birth declared: births were lost, and what it stands for is not known.
        let (name, datatype) = node.resolve(address.device, metric).ok_or_else(unborn)?;
        let Some(wanted) = rule.metrics.iter().find(|wanted| wanted.name == name) else { continue };
        let Some(value) = metric.value(datatype) else { continue };
        let at = metric.timestamp.map_or(Ok(sent), time)?;
        let json = json!({ "value": value });
        match plain::value(&Message { map: &wanted.map, topic, json: &json }) {
            Ok(value) => says.values.push((value, at)),
            Err(reason) => says.refused.push(reason),
        }
    }
    Ok(())
}

/// The broker's word that a node is gone. It has no time of its own that would say when.
fn death(
    births: &mut Births,
    address: &Address<'_>,
    payload: &Payload,
    received: UtcMs,
) -> Result<Decoded, Unreadable> {
    let mut decoded = Decoded::default();
    let Some(node) = births.alive(&address.node) else { return Ok(decoded) };
    let ends = bd_seq(payload);
    if ends.is_some() && node.bd_seq.is_some() && ends != node.bd_seq {
        decoded.noticed.push("stale_wills");
        return Ok(decoded);
    }
    let base = format!("{}/{}", node.born.0, ends.map_or_else(|| "-".to_owned(), |n| n.to_string()));
    let devices = node.devices.clone();
    let hash = Hash32::of(format!("{}/{base}", address.node).as_bytes());
    let gone = || Says { values: vec![(ReadingValue::Presence { online: false }, received)], ..Says::default() };
    decoded.add(&format!("death-{hash}"), &address.source(), hash, gone())?;
    for device in &devices {
        let source = format!("{}/{device}", address.source());
        decoded.add(&format!("death-{hash}"), &source, hash, gone())?;
    }
    births.node_gone(&address.node);
    decoded.learned = births.learned(&address.node).ok();
    Ok(decoded)
}

fn bd_seq(payload: &Payload) -> Option<u64> {
    let metric: &Metric = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some("bdSeq"))?;
    metric.value(metric.datatype)?.as_u64()
}

fn time(ms: u64) -> Result<UtcMs, Unreadable> {
    let value = Value::from(ms);
    to_time(&value, TimeUnit::Ms).ok_or_else(|| Unreadable::Wrong {
        what: "timestamp",
        place: "the payload".to_owned(),
        found: ms.to_string(),
        expected: "milliseconds since 1970".to_owned(),
    })
}
