//! EPCIS 2.0 (GS1): what was seen of each dispatch, with the business steps of CBV 2.0.
//!
//! A release is a transaction with the order; a departure and a handing over are observations of quantities; a
//! cancellation is a void shipment. Times are those of the evidence, read times those of the hub's record.

use std::io::Write;

use gatehouse_common::{
    dispatch::DispatchView,
    id::{DocumentId, DocumentKind},
    order::LineQuantity,
    time::UtcMs,
};
use serde_json::{Value, json};

use super::{Counted, ExportError, rfc3339};
use crate::store::Reader;

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
        let said = r.document(&id)?.map(|(_, document)| document.entries::<Value>().0).unwrap_or_default();
        let cancelled = view.cancelled.as_ref().and_then(|key| said.get(key)).map(|entry| entry.at);
        for event in of_dispatch(&id, &view, cancelled) {
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

fn quantities(load: &[LineQuantity]) -> Value {
    load.iter().map(|q| json!({ "epcClass": own("product", q.product.as_str()), "quantity": q.quantity })).collect()
}

/// The events of one dispatch, in the order in which they happened; `cancelled` is when it was.
#[must_use]
pub fn of_dispatch(id: &DocumentId, view: &DispatchView, cancelled: Option<UtcMs>) -> Vec<Value> {
    let site = own("site", view.site.as_str());
    let papers = json!([
        { "type": "po", "bizTransaction": own("order", view.order.as_str()) },
        { "type": "desadv", "bizTransaction": own("dispatch", &id.to_string()) },
    ]);
    let event = |kind: &str, at: UtcMs, step: &str, place: &str| {
        json!({
            "type": kind, "eventTime": rfc3339(at), "eventTimeZoneOffset": "+00:00", "bizStep": step,
            "readPoint": { "id": place }, "bizTransactionList": papers,
        })
    };
    let mut events = Vec::new();
    let mut put = |mut event: Value, more: Value| {
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        events.push(event);
    };
    let moved = |load: &[LineQuantity], disposition: &str| json!({ "action": "OBSERVE", "disposition": disposition, "quantityList": quantities(load) });
    if let Some(release) = &view.release {
        let added = json!({ "action": "ADD", "quantityList": quantities(&release.load) });
        put(event("TransactionEvent", release.at, "staging_outbound", &site), added);
    }
    if let Some(at) = view.loading_at {
        put(event("ObjectEvent", at, "loading", &site), moved(&view.load, "in_progress"));
    }
    if let Some(left) = &view.departed {
        put(event("ObjectEvent", left.at, "departing", &site), moved(&left.load, "in_transit"));
    }
    if let Some(over) = &view.delivered {
        let place = own("delivery", view.order.as_str());
        let same = view.departed.as_ref().is_none_or(|left| left.load == over.load);
        let disposition = if same { "completeness_verified" } else { "mismatch_quantity" };
        put(event("ObjectEvent", over.at, "accepting", &place), moved(&over.load, disposition));
    }
    if let (Some(at), None) = (cancelled, &view.departed) {
        let void = json!({ "action": "DELETE", "quantityList": quantities(&view.load) });
        put(event("TransactionEvent", at, "void_shipping", &site), void);
    }
    events
}
