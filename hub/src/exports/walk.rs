//! Goes over everything in one view of the store, document by document.

use std::collections::BTreeSet;

use gatehouse_common::{
    document::Entry,
    id::{DocumentId, DocumentKind},
    time::UtcMs,
};
use serde_json::Value;

use super::{Counted, ExportError, LogEvent, LogObject, Sink};
use crate::store::{Reader, ReconFilter};

/// Hands everything to `sink`: orders, then dispatches and cases with their entries, then decisions and recon items. One
/// closure of [`crate::store::Store::read_now`] sees one state of the store, so what is written agrees with itself.
/// # Errors
/// [`ExportError`]; what was written is no export then.
pub fn walk(r: &Reader<'_>, sink: &mut dyn Sink) -> Result<Counted, ExportError> {
    r.takes_its_time()?;
    let mut walk = Walk { r, sink, seen: BTreeSet::new(), counted: Counted::default() };
    walk.orders()?;
    for id in r.document_ids(DocumentKind::Dispatch)? {
        walk.dispatch(&id)?;
    }
    for id in r.document_ids(DocumentKind::Case)? {
        walk.case(&id)?;
    }
    walk.decisions()?;
    walk.recon()?;
    walk.sink.finish()?;
    Ok(walk.counted)
}

struct Walk<'w, 'r> {
    r: &'w Reader<'r>,
    sink: &'w mut dyn Sink,
    /// Objects that were handed over; as many as there are orders and documents.
    seen: BTreeSet<String>,
    counted: Counted,
}

impl Walk<'_, '_> {
    fn object(&mut self, object: LogObject) -> Result<(), ExportError> {
        if self.seen.insert(object.id.clone()) {
            self.sink.object(&object)?;
            self.counted.objects += 1;
        }
        Ok(())
    }

    fn event(&mut self, event: &LogEvent) -> Result<(), ExportError> {
        self.sink.event(event)?;
        self.counted.events += 1;
        Ok(())
    }

    /// An object of which nothing is known but its name.
    fn named(&mut self, kind: &'static str, word: &str, name: &str) -> Result<String, ExportError> {
        let id = format!("{word}:{name}");
        self.object(LogObject { id: id.clone(), kind, attributes: Vec::new(), related: Vec::new() })?;
        Ok(id)
    }

    fn orders(&mut self) -> Result<(), ExportError> {
        for order in self.r.orders()? {
            let depot = self.named("Depot", "depot", order.site.as_str())?;
            self.object(LogObject {
                id: format!("order:{}", order.id),
                kind: "Order",
                attributes: vec![("customer", order.customer.id.to_string()), ("class", order.class.clone())],
                related: vec![(depot, "leaves from")],
            })?;
        }
        Ok(())
    }

    fn order(&mut self, name: &str) -> Result<String, ExportError> {
        // One that the hub was never told of is an object all the same, or its events would point nowhere.
        self.named("Order", "order", name)
    }

    fn dispatch(&mut self, id: &DocumentId) -> Result<(), ExportError> {
        let (Some(view), Some((_, document))) = (self.r.dispatch_view(id)?, self.r.document(id)?) else {
            return Ok(());
        };
        let own = format!("dispatch:{id}");
        let order = self.order(view.order.as_str())?;
        let depot = self.named("Depot", "depot", view.site.as_str())?;
        let vehicle = self.named("Vehicle", "vehicle", view.vehicle.as_str())?;
        let carrier = self.named("Carrier", "carrier", view.carrier.as_str())?;
        let dock = self.named("Dock", "dock", &format!("{}/{}", view.site, view.door))?;
        let of = [(order, "order"), (depot, "depot"), (vehicle, "vehicle"), (carrier, "carrier"), (dock, "dock")];
        self.object(LogObject {
            id: own.clone(),
            kind: "Dispatch",
            attributes: vec![("state", view.state.as_str().to_owned())],
            related: of.to_vec(),
        })?;
        let about: Vec<_> = [(own, "dispatch")].into_iter().chain(of).collect();
        self.entries("dispatch", id, &document, &about)
    }

    fn case(&mut self, id: &DocumentId) -> Result<(), ExportError> {
        let (Some(view), Some((_, document))) = (self.r.case_view(id)?, self.r.document(id)?) else { return Ok(()) };
        let own = format!("case:{id}");
        let mut of = vec![(self.named("Depot", "depot", view.site.as_str())?, "depot")];
        if let Some(order) = &view.order {
            of.push((self.order(order.as_str())?, "order"));
        }
        self.object(LogObject {
            id: own.clone(),
            kind: "Case",
            attributes: vec![
                ("type", view.case_type.code().to_owned()),
                ("severity", format!("{:?}", view.severity)),
                ("owner", view.owner.as_str().to_owned()),
                ("state", view.state.as_str().to_owned()),
            ],
            related: of.clone(),
        })?;
        let about: Vec<_> = [(own, "case")].into_iter().chain(of).collect();
        self.entries("case", id, &document, &about)
    }

    fn entries(
        &mut self,
        word: &str,
        id: &DocumentId,
        document: &gatehouse_common::document::Document,
        about: &[(String, &'static str)],
    ) -> Result<(), ExportError> {
        for (key, entry) in document.entries::<Value>().0 {
            let Some(kind) = kind_of(word, &entry) else { continue };
            let mut attributes = vec![("by", entry.by.clone()), ("actor", key.actor.to_string())];
            if let Some(mode) = entry.says.get("mode").and_then(Value::as_str) {
                attributes.push(("mode", mode.to_owned()));
            }
            let mut objects = about.to_vec();
            if let Some(decision) = entry.says.get("decision").and_then(Value::as_str) {
                objects.push((self.named("Decision", "decision", decision)?, "decision"));
            }
            let event = LogEvent { id: format!("{word}:{id}/{key}"), kind, at: happened(&entry), attributes, objects };
            self.event(&event)?;
        }
        Ok(())
    }

    fn decisions(&mut self) -> Result<(), ExportError> {
        let mut after = 0;
        loop {
            let page = self.r.decisions_after(after, 500)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.n;
            for stored in page {
                let record = stored.record;
                let own = self.named("Decision", "decision", record.id.as_str())?;
                let mut objects =
                    vec![(own, "decision"), (self.named("Depot", "depot", record.site.as_str())?, "depot")];
                if let Some(dispatch) = &record.dispatch {
                    objects.push((self.named("Dispatch", "dispatch", &dispatch.to_string())?, "dispatch"));
                }
                if let Some((order, _)) = &record.order {
                    objects.push((self.order(order.as_str())?, "order"));
                }
                let word = |value: serde_json::Result<Value>| {
                    value.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
                };
                let mut attributes =
                    vec![("policy", record.bundle.to_string()), ("learned_at", super::rfc3339(stored.received))];
                if let Some(mode) = record.mode {
                    attributes.push(("mode", word(serde_json::to_value(mode))));
                }
                let kind = format!("decision {}", word(serde_json::to_value(record.kind)));
                let event =
                    LogEvent { id: format!("decision:{}", record.id), kind, at: record.at.wall, attributes, objects };
                self.event(&event)?;
            }
        }
    }

    fn recon(&mut self) -> Result<(), ExportError> {
        for item in self.r.recon_items(&ReconFilter::default())? {
            let decision = self.named("Decision", "decision", item.decision.as_str())?;
            let own = self.named("ReconItem", "recon", item.decision.as_str())?;
            let mut objects = vec![(own, "recon item"), (decision, "decision")];
            if let Some(order) = &item.order {
                objects.push((self.order(order.as_str())?, "order"));
            }
            let outcome = item.outcome.as_ref().map_or("", |outcome| outcome.as_str()).to_owned();
            let told = [("recon opened", Some(item.opened)), ("recon closed", item.closed)];
            for (kind, at) in told {
                let Some(at) = at else { continue };
                let event = LogEvent {
                    id: format!("recon:{}/{kind}", item.decision),
                    kind: kind.to_owned(),
                    at,
                    attributes: vec![("outcome", outcome.clone())],
                    objects: objects.clone(),
                };
                self.event(&event)?;
            }
        }
        Ok(())
    }
}

/// What an entry tells of, in words; none for one that tells of the document and not of the matter.
fn kind_of(word: &str, entry: &Entry<Value>) -> Option<String> {
    let what = entry.says.get("t").and_then(Value::as_str)?;
    match what {
        "fold" => None,
        "moved" => Some(format!("{word} {}", entry.says.get("to").and_then(Value::as_str).unwrap_or(what))),
        other => Some(format!("{word} {}", other.replace('_', " "))),
    }
}

/// When it was so: what the evidence says goes before when it was written.
fn happened(entry: &Entry<Value>) -> UtcMs {
    let evidence = entry.says.pointer("/evidence/at").and_then(Value::as_i64);
    evidence.map_or(entry.at, UtcMs)
}
