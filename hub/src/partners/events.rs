//! CloudEvents of WMS and TMS, read as facts.
//!
//! In: one event in structured JSON (CloudEvents 1.0). Out: an [`Event`] with the fact that it carries,
//! or everything that is wrong with it, by JSON pointer. An event that comes again is known by its
//! `source` and `id`. Attributes that nobody asked for are left alone, as CloudEvents wants it; an unknown
//! field inside `data` is refused, because there it is most often a misspelt one.

#[cfg(test)]
mod tests;

use std::fmt;

use gatehouse_common::{
    fact::{FactKey, FactValue, Report, Source},
    id::{CarrierId, DeviceId, Hash32, OrderId, SiteId, VehicleId},
    time::{Moment, UtcMs},
};
use serde_json::{Map, Value};

use crate::store::{Reader, StoreError, Tx, past, quarantine::Refused};

/// How far an event may lie ahead of the hub's clock, in milliseconds: beyond it no depot could tell its age.
const AHEAD_MAX_MS: i64 = 60_000;
/// Up to this age, in milliseconds, an event that was taken is surely known again. A day less than its mark is kept: it may
/// have lain ahead of the clock, and the clocks of replicas differ.
const KNOWN_MS: i64 = past::KEPT_MS - 24 * 3_600_000;
/// Most bytes of `id` and of `source`.
const NAME_MAX_BYTES: usize = 512;

/// A system that sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// Warehouse management: inventory and dock work.
    Wms,
    /// Transport management: capacity and carriers.
    Tms,
}

impl System {
    fn source(self) -> Source {
        match self {
            Self::Wms => Source::Wms,
            Self::Tms => Source::Tms,
        }
    }
}

/// What an event can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inventory,
    Capacity,
    Carrier,
    Labour,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Inventory, Self::Capacity, Self::Carrier, Self::Labour];

    fn name(self) -> &'static str {
        match self {
            Self::Inventory => "io.gatehouse.wms.inventory.v1",
            Self::Capacity => "io.gatehouse.tms.capacity.v1",
            Self::Carrier => "io.gatehouse.tms.carrier.v1",
            Self::Labour => "io.gatehouse.wms.labour.v1",
        }
    }

    fn system(self) -> System {
        match self {
            Self::Inventory | Self::Labour => System::Wms,
            Self::Capacity | Self::Carrier => System::Tms,
        }
    }
}

/// The values of `type` that are understood.
#[must_use]
pub fn known_types() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

/// One place of an event that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong there and what is expected.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            write!(f, "{}", self.detail)
        } else {
            write!(f, "{}: {}", self.pointer, self.detail)
        }
    }
}

/// Why an event cannot be read as a fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// These places are wrong. Correct all of them, then send it again.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Faults(Vec<Fault>),
    /// Nothing here understands this type. Send one of those that are named.
    #[error("type {given:?} is not known; these are: {known}", known = known_types())]
    UnknownType {
        /// As it was sent.
        given: String,
    },
}

/// An event that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who says so, in the sender's own words.
    pub source: String,
    /// Its name, unique at its source.
    pub id: String,
    /// Which system it comes from.
    pub system: System,
    /// What it says.
    pub report: Report,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest fact now.
    New,
    /// A later one is held already, or one as new, and this one may be a repeat that is known no more; it changed nothing.
    Late,
    /// It was taken before; it changed nothing.
    Again,
    /// Its id was taken before and said something else then. It went into quarantine.
    Conflict,
}

impl Event {
    /// Reads one event; `now` is the hub's clock.
    /// # Errors
    /// [`EventError`] tells everything that is wrong with it at once.
    pub fn parse(body: &[u8], now: UtcMs) -> Result<Self, EventError> {
        let whole = |detail: String| EventError::Faults(vec![Fault { pointer: String::new(), detail }]);
        let values = match serde_json::from_slice(body) {
            Ok(Value::Object(values)) => values,
            Ok(Value::Array(_)) => return Err(whole("is a list; send each event on its own".to_owned())),
            Ok(_) => return Err(whole("is not a JSON object; send a structured CloudEvent".to_owned())),
            Err(e) => return Err(whole(format!("is not JSON: {e}"))),
        };
        let mut faults = Vec::new();
        let mut attributes = Fields { path: "", values, faults: &mut faults };
        attributes.fixed();
        let name = |fields: &mut Fields<'_>, field| fields.text(field).and_then(|text| fields.short(field, text));
        let (id, source) = (name(&mut attributes, "id"), name(&mut attributes, "source"));
        let kind = attributes.text("type");
        let time = attributes.time("time");
        let data = attributes.object("data");
        let known = kind.as_ref().and_then(|kind| Kind::ALL.into_iter().find(|k| k.name() == kind));
        let said = match (known, data) {
            (Some(kind), Some(data)) => {
                let mut data = Fields { path: "/data", values: data, faults: &mut faults };
                let said = data.say(kind, time, now);
                data.finish();
                said.map(|said| (kind, said))
            }
            _ => None,
        };
        if !faults.is_empty() {
            return Err(EventError::Faults(faults));
        }
        match (id, source, said) {
            (Some(id), Some(source), Some((kind, (key, value, at)))) => {
                let system = kind.system();
                let evidence = format!("event {id} of {source}");
                let report = Report { key, value, source: system.source(), at, evidence };
                Ok(Self { source, id, system, report })
            }
            _ => Err(EventError::UnknownType { given: kind.unwrap_or_default() }),
        }
    }

    /// Hash of what it says. The same said in other bytes, by a sender that writes JSON anew at each try, is the same.
    fn hash(&self) -> Result<Hash32, StoreError> {
        Ok(Hash32::of(serde_json::to_string(&self.report)?.as_bytes()))
    }

    /// Whether it may be a repeat whose mark was taken out. What it said then is held, or what came after that: only what is
    /// newer is surely none.
    fn may_be_forgotten(&self, r: &Reader<'_>, now: UtcMs) -> Result<bool, StoreError> {
        if now.since(self.report.at) < KNOWN_MS {
            return Ok(false);
        }
        Ok(r.fact(&self.report.key)?.is_some_and(|held| held.report.at >= self.report.at))
    }

    /// Takes the event in, once. `origin` and `body` are for the quarantine.
    /// # Errors
    /// [`StoreError`]; nothing was taken then.
    pub fn take(&self, tx: &mut Tx<'_>, origin: &DeviceId, body: &[u8], now: &Moment) -> Result<Taken, StoreError> {
        // Under the system's name: nobody who may speak for a TMS can use up the ids of a WMS.
        let source = format!("{} {}", self.system.source().as_str(), self.source);
        let hash = self.hash()?;
        let seen = tx.seen_event(&source, &self.id)?;
        if seen.is_some_and(|seen| seen != hash) {
            let reason = format!("id {:?} of source {:?} was taken before with other content", self.id, self.source);
            refuse(tx, origin, &reason, body, now.wall)?;
            return Ok(Taken::Conflict);
        }
        // A repeat shows as well that the system lives.
        tx.source_heard(self.system.source(), now.wall)?;
        if seen.is_some() {
            return Ok(Taken::Again);
        }
        tx.keep_event(&source, &self.id, &hash, now.wall)?;
        if self.may_be_forgotten(tx, now.wall)? {
            return Ok(Taken::Late);
        }
        Ok(if tx.put_fact(&self.report, now)? { Taken::New } else { Taken::Late })
    }
}

/// Keeps what was refused, so that it can be seen later what a partner sent.
/// # Errors
/// [`StoreError::Sql`].
pub fn refuse(tx: &mut Tx<'_>, origin: &DeviceId, reason: &str, body: &[u8], now: UtcMs) -> Result<(), StoreError> {
    let refused = Refused { origin, what: "event", document: None, hash: Hash32::of(body), reason, bytes: body };
    tx.quarantine_put(&refused, now)
}

/// What a fact is about, what it says and when it was so.
type Said = (FactKey, FactValue, UtcMs);

/// The fields of one object, taken out one by one; what is wrong is gathered.
struct Fields<'f> {
    path: &'static str,
    values: Map<String, Value>,
    faults: &'f mut Vec<Fault>,
}

impl Fields<'_> {
    fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault { pointer: format!("{}/{name}", self.path), detail: detail.into() });
    }

    /// A field that is there. Null is as good as none, as CloudEvents in JSON has it.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            self.wrong(name, "is missing");
        }
        value
    }

    fn as_text(&mut self, name: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) if text.is_empty() => self.wrong(name, "is empty"),
            Value::String(text) => return Some(text),
            other => self.wrong(name, format!("is {other}, not text")),
        }
        None
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.required(name)?;
        self.as_text(name, value)
    }

    fn short(&mut self, name: &str, text: String) -> Option<String> {
        if text.len() > NAME_MAX_BYTES {
            self.wrong(name, format!("is longer than {NAME_MAX_BYTES} bytes"));
        } else if text.chars().any(char::is_control) {
            self.wrong(name, "contains a control character");
        } else {
            return Some(text);
        }
        None
    }

    fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.required(name)? {
            Value::Object(values) => Some(values),
            other => {
                self.wrong(name, format!("is {}, not a JSON object", kind_of(&other)));
                None
            }
        }
    }

    fn time(&mut self, name: &str) -> Option<UtcMs> {
        let value = self.take(name)?;
        let text = self.as_text(name, value)?;
        match text.parse() {
            Ok(time) => Some(time),
            Err(_) => {
                self.wrong(name, format!("{text:?} is not a time such as 2030-05-01T08:00:00Z (RFC 3339)"));
                None
            }
        }
    }

    /// Checks what is the same in every event.
    fn fixed(&mut self) {
        if let Some(version) = self.text("specversion")
            && version != "1.0"
        {
            self.wrong("specversion", format!("is {version:?}; send \"1.0\""));
        }
        if let Some(value) = self.take("datacontenttype")
            && let Some(kind) = self.as_text("datacontenttype", value)
        {
            let media = kind.split(';').next().unwrap_or_default().trim();
            if !media.eq_ignore_ascii_case("application/json") {
                self.wrong("datacontenttype", format!("is {kind:?}; send \"application/json\""));
            }
        }
        // Neither is read here; a sender whose event is none by the standard is told so all the same.
        for name in ["subject", "dataschema"] {
            if let Some(value) = self.take(name) {
                self.as_text(name, value);
            }
        }
        if self.values.contains_key("data_base64") {
            self.wrong("data_base64", "is not read; send the fact as JSON in `data`");
        }
    }

    fn id<T: std::str::FromStr<Err: fmt::Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(id) => Some(id),
            Err(e) => {
                self.wrong(name, format!("{e}"));
                None
            }
        }
    }

    fn number<T: TryFrom<u64>>(&mut self, name: &str, min: u64, max: u64) -> Option<T> {
        let value = self.required(name)?;
        let number = value.as_u64().filter(|n| (min..=max).contains(n)).and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            self.wrong(name, format!("is {value}, not a whole number from {min} to {max}"));
        }
        number
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.required(name)?;
        if !value.is_boolean() {
            self.wrong(name, format!("is {value}, not true or false"));
        }
        value.as_bool()
    }

    /// When the fact was so: `at` inside the data, else the event's own `time`.
    fn at(&mut self, time: Option<UtcMs>, now: UtcMs) -> Option<UtcMs> {
        let given = self.values.get("at").is_some_and(|at| !at.is_null());
        let at = if given { self.time("at")? } else { time.unwrap_or_default() };
        if !given && time.is_none() {
            self.wrong("at", "is missing, and the event has no `time` either; say when this was so");
            return None;
        }
        let ahead = at.since(now);
        if ahead > AHEAD_MAX_MS {
            let remedy = "set the sender's clock by NTP";
            self.wrong("at", format!("{at} is {} s ahead of the hub's clock; {remedy}", ahead / 1000));
            return None;
        }
        Some(at)
    }

    fn say(&mut self, kind: Kind, time: Option<UtcMs>, now: UtcMs) -> Option<Said> {
        let at = self.at(time, now);
        if kind == Kind::Labour {
            return self.say_labour(at);
        }
        let order = self.text("order").and_then(|order| self.id::<OrderId>("order", &order));
        let (key, value) = match kind {
            Kind::Inventory => {
                let line = self.number("line", 1, u16::MAX.into());
                let confirmed = self.number("confirmed", 0, u32::MAX.into());
                (FactKey::Inventory { order: order?, line: line? }, FactValue::Inventory { confirmed: confirmed? })
            }
            Kind::Capacity => {
                let sufficient = self.flag("sufficient");
                let vehicle = match self.take("vehicle") {
                    None => None,
                    Some(value) => {
                        let text = self.as_text("vehicle", value);
                        Some(text.and_then(|text| self.id::<VehicleId>("vehicle", &text))?)
                    }
                };
                (FactKey::Capacity { order: order? }, FactValue::Capacity { sufficient: sufficient?, vehicle })
            }
            Kind::Carrier => {
                let accepted = self.flag("accepted");
                let carrier = self.text("carrier").and_then(|carrier| self.id::<CarrierId>("carrier", &carrier));
                (FactKey::Carrier { order: order? }, FactValue::Carrier { accepted: accepted?, carrier: carrier? })
            }
            Kind::Labour => return None,
        };
        Some((key, value, at?))
    }

    /// Dock work of one slot of a depot; it is about no order.
    fn say_labour(&mut self, at: Option<UtcMs>) -> Option<Said> {
        let site = self.text("site").and_then(|site| self.id::<SiteId>("site", &site));
        let mut moment = |name: &str| {
            if !self.values.contains_key(name) {
                self.wrong(name, "is missing");
            }
            self.time(name)
        };
        let (slot_start, slot_end) = (moment("slot_start"), moment("slot_end"));
        let required_minutes = self.number("required_minutes", 0, u32::MAX.into());
        let rostered_minutes = self.number("rostered_minutes", 0, u32::MAX.into());
        let (slot_start, slot_end) = (slot_start?, slot_end?);
        if slot_end <= slot_start {
            self.wrong("slot_end", "is not later than slot_start");
            return None;
        }
        let value =
            FactValue::Labour { slot_end, required_minutes: required_minutes?, rostered_minutes: rostered_minutes? };
        Some((FactKey::Labour { site: site?, slot_start }, value, at?))
    }

    fn finish(mut self) {
        for name in std::mem::take(&mut self.values).keys() {
            self.wrong(name, "is not a field of this type of event");
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
