//! EPCIS 2.0 (GS1): what was seen of each dispatch, with the business steps of CBV 2.0.
//!
//! A release is a transaction with the order; what was counted into a vehicle that was closed over it is aggregated with
//! the vehicle until it is handed over or unloaded; a departure and a handing over are observations of quantities; a broken
//! seal is an open container; a cancellation is a void shipment. What other evidence or a later signature outweighs is
//! declared an error, with the event that stands in its place. Times are those of the evidence, record times the hub's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use gatehouse_common::{
    case::{CaseType, CaseView},
    dispatch::{DispatchView, Says},
    document::{Entry, EntryKey},
    id::{DocumentId, DocumentKind},
    order::LineQuantity,
    time::UtcMs,
};
use serde_json::{Value, json};

use super::{Counted, ExportError, rfc3339};
use crate::store::{CaseFilter, Reader};

/// Names that are ours, as URIs. EPCIS wants URIs for everything that is not in its own vocabulary.
fn own(kind: &str, name: &str) -> String {
    let mut out = format!("urn:gatehouse:{kind}:");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Writes a document of all dispatches, as they come.
/// # Errors
/// [`ExportError`]; what was written is no document then.
pub fn write(r: &Reader<'_>, out: &mut impl Write, now: UtcMs) -> Result<Counted, ExportError> {
    let head = json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
        "type": "EPCISDocument", "schemaVersion": "2.0", "creationDate": rfc3339(now),
    });
    let head = head.to_string();
    out.write_all(head.trim_end_matches('}').as_bytes())?;
    out.write_all(b",\"epcisBody\":{\"eventList\":[")?;
    r.takes_its_time()?;
    let mut counted = Counted::default();
    for id in r.document_ids(DocumentKind::Dispatch)? {
        let Some(view) = r.dispatch_view(&id)? else { continue };
        let said = r.document(&id)?.map(|(_, document)| document.entries::<Says>().0).unwrap_or_default();
        for event in of_dispatch(&id, &view, &said, &broken_seals(r, &id, &view)?) {
            out.write_all(if counted.events == 0 { b"\n" } else { b",\n" })?;
            out.write_all(event.to_string().as_bytes())?;
            counted.events += 1;
        }
        counted.objects += 1;
    }
    out.write_all(b"]}}\n")?;
    out.flush()?;
    Ok(counted)
}

/// The cases of a broken seal on the way of a dispatch.
fn broken_seals(
    r: &Reader<'_>,
    id: &DocumentId,
    view: &DispatchView,
) -> Result<Vec<(DocumentId, CaseView)>, ExportError> {
    let (order, case_type) = (Some(view.order.clone()), Some(CaseType::SealBroken));
    let filter = CaseFilter { order, case_type, ..CaseFilter::default() };
    let mut found = Vec::new();
    for row in r.cases(&filter)? {
        if let Some(case) = r.case_view(&row.document)?
            && case.site == view.site
            && case.blocks.is_none_or(|blocked| blocked == *id)
        {
            found.push((row.document, case));
        }
    }
    Ok(found)
}

fn quantities(load: &[LineQuantity]) -> Value {
    load.iter().map(|q| json!({ "epcClass": own("product", q.product.as_str()), "quantity": q.quantity })).collect()
}

fn with(mut event: Value, more: Value) -> Value {
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

/// The events of one dispatch by what was `said` of it, in the order in which they happened.
#[must_use]
pub fn of_dispatch(
    id: &DocumentId,
    view: &DispatchView,
    said: &BTreeMap<EntryKey, Entry<Says>>,
    broken: &[(DocumentId, CaseView)],
) -> Vec<Value> {
    let mut told = Telling { id, view, said, events: Vec::new() };
    told.release();
    told.loading();
    told.departures();
    told.seals(broken);
    told.handings_over();
    told.end_of_it();
    told.events.sort_by_key(|(at, n, _)| (*at, *n));
    told.events.into_iter().map(|(.., event)| event).collect()
}

struct Telling<'a> {
    id: &'a DocumentId,
    view: &'a DispatchView,
    said: &'a BTreeMap<EntryKey, Entry<Says>>,
    /// When, the how manieth of this dispatch, and the event.
    events: Vec<(UtcMs, usize, Value)>,
}

impl<'a> Telling<'a> {
    /// The name of an event: its entry, and what of it where it tells of two things.
    fn name(&self, key: &EntryKey, part: &str) -> String {
        own("event", &format!("{}/{key}{part}", self.id))
    }

    fn place(&self) -> String {
        own("site", self.view.site.as_str())
    }

    fn destination(&self) -> String {
        own("delivery", self.view.order.as_str())
    }

    fn put(&mut self, name: String, kind: &str, at: UtcMs, step: &str, place: &str, more: Value) {
        let papers = json!([
            { "type": "po", "bizTransaction": own("order", self.view.order.as_str()) },
            { "type": "desadv", "bizTransaction": own("dispatch", &self.id.to_string()) },
        ]);
        let event = json!({
            "type": kind, "eventID": name, "eventTime": rfc3339(at), "eventTimeZoneOffset": "+00:00", "bizStep": step,
            "readPoint": { "id": place }, "bizTransactionList": papers,
        });
        self.events.push((at, self.events.len(), with(event, more)));
    }

    /// Goods and the vehicle that they are in, from now on or no longer.
    fn aggregate(&mut self, name: String, at: UtcMs, action: &str, place: &str, load: &[LineQuantity]) {
        let (step, closed) = if action == "ADD" {
            ("loading", json!({ "disposition": "container_closed" }))
        } else {
            ("unloading", json!({ "disposition": "container_open" }))
        };
        let parent = own("vehicle", self.view.vehicle.as_str());
        let both = json!({ "action": action, "parentID": parent, "childQuantityList": quantities(load) });
        self.put(name, "AggregationEvent", at, step, place, with(both, closed));
    }

    fn release(&mut self) {
        if let Some(release) = &self.view.release {
            let added = json!({ "action": "ADD", "quantityList": quantities(&release.load) });
            let (name, place) = (self.name(&release.key, ""), self.place());
            self.put(name, "TransactionEvent", release.at, "staging_outbound", &place, added);
        }
    }

    fn loading(&mut self) {
        let place = self.place();
        let begun = self.said.iter().filter_map(|(key, entry)| match &entry.says {
            Says::Loading { evidence } => Some((evidence.at, key)),
            _ => None,
        });
        if let Some((at, key)) = begun.min() {
            let seen = observed(&self.view.load, "in_progress");
            self.put(self.name(key, ""), "ObjectEvent", at, "loading", &place, seen);
        }
        if let Some((at, key, load)) = self.loaded() {
            self.aggregate(self.name(key, ""), at, "ADD", &place, load);
        }
    }

    /// When the vehicle was closed over what was counted in, as it counts.
    fn loaded(&self) -> Option<(UtcMs, &'a EntryKey, &'a [LineQuantity])> {
        let closed = self.said.iter().filter_map(|(key, entry)| match &entry.says {
            Says::Loaded { load, evidence } => Some((evidence.at, key, load.as_slice())),
            _ => None,
        });
        closed.min_by_key(|(at, key, _)| (*at, *key))
    }

    fn departures(&mut self) {
        let Some(left) = self.view.departed.clone() else { return };
        let (place, stands) = (self.place(), self.name(&left.key, ""));
        self.put(stands.clone(), "ObjectEvent", left.at, "departing", &place, observed(&left.load, "in_transit"));
        // The views of older folds name none; every other word on it is outweighed all the same.
        let outweighed: BTreeSet<&EntryKey> = self.view.superseded.iter().map(|(key, _)| key).collect();
        for (key, entry) in self.said.iter().filter(|(key, _)| **key != left.key && outweighed.contains(key)) {
            let Says::Departed { load, evidence } = &entry.says else { continue };
            let known = self.known_at(key, &left.key);
            let wrong = with(observed(load, "in_transit"), declared(known, &stands));
            self.put(self.name(key, ""), "ObjectEvent", evidence.at, "departing", &place, wrong);
        }
    }

    fn seals(&mut self, broken: &[(DocumentId, CaseView)]) {
        for (case, view) in broken {
            let vehicle = own("vehicle", self.view.vehicle.as_str());
            let more = json!({ "action": "OBSERVE", "disposition": "container_open", "epcList": [vehicle] });
            let name = own("event", &format!("{case}/seal"));
            let place = own("on-the-way", self.view.vehicle.as_str());
            self.put(name, "ObjectEvent", view.opened_at, "transporting", &place, more);
        }
    }

    fn handings_over(&mut self) {
        let Some(over) = self.view.delivered.clone() else { return };
        let (place, stands) = (self.destination(), self.name(&over.key, ""));
        if self.loaded().is_some() {
            self.aggregate(self.name(&over.key, "/unloading"), over.at, "DELETE", &place, &over.load);
        }
        let accepted = observed(&over.load, self.how_whole(&over.load));
        self.put(stands.clone(), "ObjectEvent", over.at, "accepting", &place, accepted);
        // Who signs again corrects what was signed before. That goods came there is outweighed by no signature.
        for (key, entry) in self.said.iter().filter(|(key, _)| **key != over.key) {
            let Says::Proved { load, evidence, .. } = &entry.says else { continue };
            let known = self.known_at(key, &over.key);
            let wrong = with(observed(load, self.how_whole(load)), declared(known, &stands));
            self.put(self.name(key, ""), "ObjectEvent", evidence.at, "accepting", &place, wrong);
        }
    }

    fn how_whole(&self, load: &[LineQuantity]) -> &'static str {
        let same = self.view.departed.as_ref().is_none_or(|left| left.load == load);
        if same { "completeness_verified" } else { "mismatch_quantity" }
    }

    /// What did not leave: unloaded again, and void once it was cancelled.
    fn end_of_it(&mut self) {
        if self.view.departed.is_some() {
            return;
        }
        let place = self.place();
        let undone = self.said.iter().filter_map(|(key, entry)| match &entry.says {
            Says::Aborted { evidence } => Some((evidence.at, key)),
            _ => None,
        });
        if let (Some((at, key)), Some((.., load))) = (undone.min(), self.loaded()) {
            self.aggregate(self.name(key, ""), at, "DELETE", &place, load);
        }
        let cancelled = self.view.cancelled.as_ref().and_then(|key| Some((key, self.said.get(key)?.at)));
        if let Some((key, at)) = cancelled {
            let void = json!({ "action": "DELETE", "quantityList": quantities(&self.view.load) });
            self.put(self.name(key, ""), "TransactionEvent", at, "void_shipping", &place, void);
        }
    }

    /// When both of two entries were written: from then on it could be said which of them stands.
    fn known_at(&self, one: &EntryKey, other: &EntryKey) -> UtcMs {
        let at = |key| self.said.get(key).map_or(UtcMs(0), |entry| entry.at);
        at(one).max(at(other))
    }
}

fn observed(load: &[LineQuantity], disposition: &str) -> Value {
    json!({ "action": "OBSERVE", "disposition": disposition, "quantityList": quantities(load) })
}

/// It was not so; `stands` is what was.
fn declared(at: UtcMs, stands: &str) -> Value {
    let reason = "incorrect_data";
    json!({ "errorDeclaration": { "declarationTime": rfc3339(at), "reason": reason, "correctiveEventIDs": [stands] } })
}
