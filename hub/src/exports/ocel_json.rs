//! OCEL 2.0 as JSON, written as events and objects come. Objects are kept aside in text until all events are written, for
//! both are lists of one value.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{ExportError, LogEvent, LogObject, Sink, rfc3339};

/// Writes to `W`. All attributes are texts, which every reader of OCEL takes.
pub struct OcelJson<W: Write> {
    out: W,
    started: bool,
    objects: Vec<u8>,
    event_types: BTreeMap<String, BTreeSet<&'static str>>,
    object_types: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl<W: Write> OcelJson<W> {
    /// Nothing is written yet.
    pub fn new(out: W) -> Self {
        Self { out, started: false, objects: Vec::new(), event_types: BTreeMap::new(), object_types: BTreeMap::new() }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn related(objects: &[(String, &'static str)]) -> Value {
    objects.iter().map(|(id, part)| json!({ "objectId": id, "qualifier": part })).collect()
}

fn put(out: &mut impl Write, first: bool, value: &Value) -> io::Result<()> {
    out.write_all(if first { b"\n" } else { b",\n" })?;
    out.write_all(value.to_string().as_bytes())
}

impl<W: Write> Sink for OcelJson<W> {
    fn object(&mut self, object: &LogObject) -> Result<(), ExportError> {
        let names = self.object_types.entry(object.kind).or_default();
        names.extend(object.attributes.iter().map(|(name, _)| *name));
        // Attributes of objects have a time from which they hold; these are how they stand, and hold for all of the log.
        let time = "1970-01-01T00:00:00Z";
        let attributes: Value = object
            .attributes
            .iter()
            .map(|(name, value)| json!({ "name": name, "time": time, "value": value }))
            .collect();
        let value = json!({
            "id": object.id, "type": object.kind, "attributes": attributes, "relationships": related(&object.related),
        });
        let first = self.objects.is_empty();
        Ok(put(&mut self.objects, first, &value)?)
    }

    fn event(&mut self, event: &LogEvent) -> Result<(), ExportError> {
        let names = self.event_types.entry(event.kind.clone()).or_default();
        names.extend(event.attributes.iter().map(|(name, _)| *name));
        if !self.started {
            self.out.write_all(b"{\"events\":[")?;
        }
        let attributes: Value =
            event.attributes.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let value = json!({
            "id": event.id, "type": event.kind, "time": rfc3339(event.at), "attributes": attributes,
            "relationships": related(&event.objects),
        });
        put(&mut self.out, !self.started, &value)?;
        self.started = true;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        if !self.started {
            self.out.write_all(b"{\"events\":[")?;
        }
        self.out.write_all(b"],\n\"objects\":[")?;
        self.out.write_all(&self.objects)?;
        let declared = |names: &BTreeSet<&'static str>| -> Value {
            names.iter().map(|name| json!({ "name": name, "type": "string" })).collect()
        };
        let types: Vec<Value> = self
            .event_types
            .iter()
            .map(|(name, names)| json!({ "name": name, "attributes": declared(names) }))
            .collect();
        let objects: Vec<Value> = self
            .object_types
            .iter()
            .map(|(name, names)| json!({ "name": name, "attributes": declared(names) }))
            .collect();
        write!(self.out, "],\n\"eventTypes\":{},\n\"objectTypes\":{}}}\n", Value::from(types), Value::from(objects))?;
        Ok(self.out.flush()?)
    }
}
