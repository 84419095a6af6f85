//! What each topic means: its decoder, its kind, and where in a message each value stands.

use gatehouse_common::reading::ScanStep;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::read::{Problem, Section};
use crate::intake::topics::check_filter;

/// `[[topics]]`
#[derive(Debug, Clone)]
pub struct TopicConfig {
    /// `filter`: MQTT topic filter; `+` stands for one level, `#` at the end for all below.
    pub filter: String,
    /// `decoder`: `json` or `owntracks`.
    pub decoder: Decoder,
    /// `kind`: what a message says. Left out for `owntracks`, which says positions.
    pub kind: ReadingKind,
    /// `subject`: what it is about: the door, vehicle or order.
    pub subject: Place,
    /// `source`: who sent it, for repeats and gaps. Default: the whole topic.
    pub source: Option<Place>,
    /// `id`: the sender's own id. Without one, a hash of topic and payload.
    pub id: Option<Place>,
    /// `time`: when it was measured. Without one, when it came in.
    pub time: Option<Place>,
    /// `time_unit`: how `time` is written. Default `rfc3339`.
    pub time_unit: TimeUnit,
    /// `value`: the state or the degrees.
    pub value: Option<Place>,
    /// `true_values`: what counts as open, occupied, intact or complete. Default `true`.
    pub true_values: Vec<Value>,
    /// `false_values`: what counts as the contrary. Default `false`.
    pub false_values: Vec<Value>,
    /// `vehicle`: which vehicle, where the sensor can tell.
    pub vehicle: Option<Place>,
    /// `line`: line of the order, for scans.
    pub line: Option<Place>,
    /// `quantity`: units, for scans. Default 1.
    pub quantity: Option<Place>,
    /// `step`: `staged`, `loaded` or `unloaded`, for scans.
    pub step: Option<Place>,
    /// `number`: number of the seal.
    pub number: Option<Place>,
}

/// How payloads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// JSON, read by pointers.
    Json,
    /// OwnTracks location messages.
    Owntracks,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingKind {
    /// A door stands open or closed.
    Door,
    /// Something stands at a door.
    Occupancy,
    /// Goods passed a scanner.
    Scan,
    /// A seal is whole or not.
    Seal,
    /// Degrees Celsius.
    Temperature,
    /// Papers are complete or not.
    Documents,
    /// Where a vehicle was.
    Position,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Milliseconds since 1970.
    Ms,
    /// Seconds since 1970, whole or not.
    S,
    /// Text such as `2015-03-10T08:00:00Z`.
    Rfc3339,
}

/// Where in a message a value stands: `"/pointer"`, `{ segment = 2 }` (level of the topic, from 1)
/// or `{ fixed = "loaded" }` (the same for every message).
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// JSON pointer into the payload.
    Pointer(String),
    /// Level of the topic, from 1.
    Segment(usize),
    /// The value itself.
    Fixed(String),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const HELP: &str = "expected a JSON pointer such as \"/id\", { segment = 2 } or { fixed = \"text\" }";
        let refuse = || de::Error::custom(HELP);
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if text.is_empty() || text.starts_with('/') => Ok(Self::Pointer(text)),
            toml::Value::Table(table) if table.len() == 1 => match (table.get("segment"), table.get("fixed")) {
                (Some(toml::Value::Integer(n)), None) => {
                    usize::try_from(*n).ok().filter(|n| *n > 0).map(Self::Segment).ok_or_else(refuse)
                }
                (None, Some(toml::Value::String(text))) => Ok(Self::Fixed(text.clone())),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

impl TopicConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        const PLACE: &str = "write a JSON pointer such as \"/id\", { segment = 2 } or { fixed = \"text\" }";
        let filter: Option<String> = section.required("filter", "give a topic, such as \"depot/+/door/+\"", problems);
        let decoder = section.required("decoder", "write \"json\" or \"owntracks\"", problems);
        let kind: Option<ReadingKind> = match decoder {
            Some(Decoder::Owntracks) => section
                .optional("kind", "leave it out: OwnTracks says positions", problems)
                .or(Some(ReadingKind::Position)),
            _ => section.required("kind", "write door, occupancy, scan, seal, temperature or documents", problems),
        };
        // OwnTracks names the device last: owntracks/<user>/<device>.
        let subject = match decoder {
            Some(Decoder::Owntracks) => section.optional("subject", PLACE, problems).or(Some(Place::Segment(3))),
            _ => section.required("subject", PLACE, problems),
        };
        let mut place = |key| section.optional::<Place>(key, PLACE, problems);
        let (source, id, time) = (place("source"), place("id"), place("time"));
        let (value, vehicle, number) = (place("value"), place("vehicle"), place("number"));
        let (line, quantity, step) = (place("line"), place("quantity"), place("step"));
        let time_unit: Option<TimeUnit> = section.optional("time_unit", "write ms, s or rfc3339", problems);
        let true_values = section.optional("true_values", "list the values that mean yes", problems);
        let false_values = section.optional("false_values", "list the values that mean no", problems);
        section.finish(problems);
        let topic = Self {
            filter: filter?,
            decoder: decoder?,
            kind: kind?,
            subject: subject?,
            source,
            id,
            time,
            time_unit: time_unit.unwrap_or(TimeUnit::Rfc3339),
            value,
            true_values: true_values.unwrap_or_else(|| vec![Value::Bool(true)]),
            false_values: false_values.unwrap_or_else(|| vec![Value::Bool(false)]),
            vehicle,
            line,
            quantity,
            step,
            number,
        };
        let before = problems.len();
        topic.check(section, problems);
        (problems.len() == before).then_some(topic)
    }

    fn check(&self, section: &Section, problems: &mut Vec<Problem>) {
        if let Err(what) = check_filter(&self.filter) {
            problems.push(section.problem("filter", what, "see the MQTT rules for + and #"));
        }
        if self.decoder == Decoder::Owntracks {
            if self.kind != ReadingKind::Position {
                problems.push(section.problem("kind", "is not position", "leave it out: OwnTracks says positions"));
            }
            return;
        }
        let mut needs = |key: &str, place: Option<&Place>| {
            if place.is_none() {
                problems.push(section.problem(key, "is missing", format!("a {:?} message needs it", self.kind)));
            }
        };
        match self.kind {
            ReadingKind::Scan => {
                needs("line", self.line.as_ref());
                needs("step", self.step.as_ref());
            }
            ReadingKind::Position => problems.push(section.problem(
                "kind",
                "position is not read from plain JSON",
                "use decoder = \"owntracks\"",
            )),
            _ => needs("value", self.value.as_ref()),
        }
        if self.id.is_none() && self.time.is_none() {
            problems.push(section.problem(
                "id",
                "neither id nor time is given, so a door that opens twice looks like one message sent twice",
                "give id, time or both",
            ));
        }
        if let Some(Place::Fixed(text)) = &self.step
            && scan_step(text).is_none()
        {
            problems.push(section.problem("step", format!("{text:?} is no step"), "write staged, loaded or unloaded"));
        }
        if self.true_values.iter().any(|v| self.false_values.contains(v)) {
            problems.push(section.problem(
                "true_values",
                "shares a value with false_values",
                "a value means one thing",
            ));
        }
    }
}

/// The step that a scanner's word stands for.
#[must_use]
pub fn scan_step(text: &str) -> Option<ScanStep> {
    match text {
        "staged" => Some(ScanStep::Staged),
        "loaded" => Some(ScanStep::Loaded),
        "unloaded" => Some(ScanStep::Unloaded),
        _ => None,
    }
}
