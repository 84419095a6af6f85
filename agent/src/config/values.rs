//! Where in a message each value stands, and what it means.
//!
//! In: a section of the configuration. Out: a [`ValueMap`] in which everything that its kind needs
//! is named, or every problem. One map serves a whole JSON message or one metric of many.

use std::collections::BTreeMap;

use gatehouse_common::reading::{AlarmKind, ScanStep};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    read::{Problem, Section},
    units::{SpeedUnit, Unit},
};

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
    /// A temperature.
    Temperature,
    /// Papers are complete or not.
    Documents,
    /// Where a vehicle was.
    Position,
    /// What a scale showed for an order.
    Weight,
    /// A door or its leveller is out of order, or no longer.
    DoorFault,
    /// The cargo door of a vehicle stands open or closed.
    CargoDoor,
    /// A vehicle raised an alarm or took it back.
    Alarm,
    /// The engine of a vehicle runs or not.
    Ignition,
    /// The device is there or not.
    Presence,
    /// A vehicle entered or left a place that the sender knows.
    Crossing,
    /// Goods were handed over.
    Proof,
}

/// The kinds, for people.
pub(super) const KINDS: &str = "write door, occupancy, scan, seal, temperature, documents, position, weight, \
     door_fault, cargo_door, alarm, ignition, presence, crossing or proof";
/// The forms of a place, for people.
pub(super) const PLACE: &str = "write a JSON pointer such as \"/id\", { segment = 2 } (level of the topic, from 1; \
     -1 is the last) or { fixed = \"text\" }";
/// The keys of a [`ValueMap`].
pub(super) const VALUE_KEYS: [&str; 24] = [
    "kind",
    "subject",
    "value",
    "unit",
    "scale",
    "offset",
    "true_values",
    "false_values",
    "vehicle",
    "line",
    "quantity",
    "step",
    "number",
    "latitude",
    "longitude",
    "accuracy",
    "speed",
    "speed_unit",
    "alarm",
    "alarm_words",
    "place",
    "lines",
    "signed_by",
    "photo",
];

/// Where in a message a value stands: `"/pointer"`, `{ segment = 2 }` (level of the topic, from 1;
/// `-1` is the last) or `{ fixed = "loaded" }` (the same for every message).
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// JSON pointer into the payload.
    Pointer(String),
    /// Level of the topic, from 1.
    Segment(usize),
    /// Level of the topic counted from its end, from 1.
    FromEnd(usize),
    /// The value itself.
    Fixed(Value),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const HELP: &str = "expected a JSON pointer such as \"/id\", { segment = 2 } or { fixed = \"text\" }";
        let refuse = || de::Error::custom(HELP);
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if text.is_empty() || text.starts_with('/') => Ok(Self::Pointer(text)),
            toml::Value::Table(table) if table.len() == 1 => match (table.get("segment"), table.get("fixed")) {
                (Some(toml::Value::Integer(n)), None) => {
                    let level = usize::try_from(n.unsigned_abs()).ok().filter(|level| *level > 0).ok_or_else(refuse)?;
                    Ok(if *n > 0 { Self::Segment(level) } else { Self::FromEnd(level) })
                }
                (None, Some(toml::Value::String(text))) => Ok(Self::Fixed(Value::from(text.clone()))),
                (None, Some(toml::Value::Integer(n))) => Ok(Self::Fixed(Value::from(*n))),
                (None, Some(toml::Value::Float(n))) => Ok(Self::Fixed(Value::from(*n))),
                (None, Some(toml::Value::Boolean(yes))) => Ok(Self::Fixed(Value::Bool(*yes))),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

/// Where each value of one reading stands.
#[derive(Debug, Clone)]
pub struct ValueMap {
    /// `kind`: what is said.
    pub kind: ReadingKind,
    /// `subject`: what it is about: the door, vehicle or order.
    pub subject: Place,
    /// `value`: the state, the number or the fault.
    pub value: Option<Place>,
    /// `unit`: of a temperature (`c`, `f` or `k`, default `c`) or a weight (`g`, `kg` or `lb`, no default:
    /// a wrong one would be off a thousandfold and nothing would show it).
    pub unit: Option<Unit>,
    /// `scale`: the number sent is multiplied by it, before `unit`. Default 1.
    pub scale: f64,
    /// `offset`: added after `scale`. Default 0.
    pub offset: f64,
    /// `true_values`: what counts as open, occupied, intact, complete, on, inside or faulty. Default `true`.
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
    /// `latitude` and `longitude`: degrees, for positions.
    pub latitude: Option<Place>,
    /// See `latitude`.
    pub longitude: Option<Place>,
    /// `accuracy`: metres, for positions.
    pub accuracy: Option<Place>,
    /// `speed`: for positions.
    pub speed: Option<Place>,
    /// `speed_unit`: `kmh`, `ms`, `knots` or `mph`. Default `kmh`.
    pub speed_unit: SpeedUnit,
    /// `alarm`: the word for the alarm.
    pub alarm: Option<Place>,
    /// `alarm_words`: what the sender's words stand for, beside our own (`jamming`, `tampering`, `power_cut`, `tow`,
    /// `panic`, `accident`).
    pub alarm_words: BTreeMap<String, AlarmKind>,
    /// `place`: the sender's name of the place, for crossings.
    pub place: Option<Place>,
    /// `lines`: list of `{ line, delivered, refused, damaged }`, for proofs.
    pub lines: Option<Place>,
    /// `signed_by`: who signed, for proofs.
    pub signed_by: Option<Place>,
    /// `photo`: SHA-256 of the photo or the signature's picture, in hexadecimal, for proofs.
    pub photo: Option<Place>,
}

impl ValueMap {
    /// One that only names a subject: for decoders that know by themselves what a message says.
    pub(super) fn about(subject: Place, kind: ReadingKind) -> Self {
        Self {
            kind,
            subject,
            value: None,
            unit: None,
            scale: 1.0,
            offset: 0.0,
            true_values: vec![Value::Bool(true)],
            false_values: vec![Value::Bool(false)],
            vehicle: None,
            line: None,
            quantity: None,
            step: None,
            number: None,
            latitude: None,
            longitude: None,
            accuracy: None,
            speed: None,
            speed_unit: SpeedUnit::Kmh,
            alarm: None,
            alarm_words: BTreeMap::new(),
            place: None,
            lines: None,
            signed_by: None,
            photo: None,
        }
    }

    /// Takes the keys of a map out of `section`; `subject` and `value` stand in where the section names none.
    pub(super) fn read(
        section: &mut Section,
        subject: Option<Place>,
        value: Option<Place>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let kind: Option<ReadingKind> = section.required("kind", KINDS, problems);
        // What a device says of itself needs no subject.
        let subject = subject.or((kind == Some(ReadingKind::Presence)).then_some(Place::FromEnd(1)));
        let subject: Option<Place> = match subject {
            Some(other) => section.optional("subject", PLACE, problems).or(Some(other)),
            None => section.required("subject", PLACE, problems),
        };
        let mut place = |key| section.optional::<Place>(key, PLACE, problems);
        let value = place("value").or(value);
        let (vehicle, number, step) = (place("vehicle"), place("number"), place("step"));
        let (line, quantity) = (place("line"), place("quantity"));
        let (latitude, longitude) = (place("latitude"), place("longitude"));
        let (accuracy, speed) = (place("accuracy"), place("speed"));
        let (alarm, named) = (place("alarm"), place("place"));
        let (lines, signed_by, photo) = (place("lines"), place("signed_by"), place("photo"));
        let unit = section.optional("unit", "write c, f or k for temperatures, g, kg or lb for weights", problems);
        let speed_unit = section.optional("speed_unit", "write kmh, ms, knots or mph", problems);
        let scale: Option<f64> = section.optional("scale", "give a number", problems);
        let offset: Option<f64> = section.optional("offset", "give a number", problems);
        let true_values = section.optional("true_values", "list the values that mean yes", problems);
        let false_values = section.optional("false_values", "list the values that mean no", problems);
        let alarm_words = section.optional(
            "alarm_words",
            "write { word = \"panic\" }, with jamming, tampering, power_cut, tow, panic or accident",
            problems,
        );
        let map = Self {
            value,
            unit,
            scale: scale.unwrap_or(1.0),
            offset: offset.unwrap_or(0.0),
            true_values: true_values.unwrap_or_else(|| vec![Value::Bool(true)]),
            false_values: false_values.unwrap_or_else(|| vec![Value::Bool(false)]),
            vehicle,
            line,
            quantity,
            step,
            number,
            latitude,
            longitude,
            accuracy,
            speed,
            speed_unit: speed_unit.unwrap_or(SpeedUnit::Kmh),
            alarm,
            alarm_words: alarm_words.unwrap_or_default(),
            place: named,
            lines,
            signed_by,
            photo,
            ..Self::about(subject?, kind?)
        };
        map.check(section, problems);
        Some(map)
    }

    fn check(&self, section: &Section, problems: &mut Vec<Problem>) {
        for (key, place) in self.needed() {
            if place.is_none() {
                problems.push(section.problem(key, "is missing", format!("a {:?} message needs it", self.kind)));
            }
        }
        let remedy = match (self.kind, self.unit) {
            (ReadingKind::Weight, unit) => {
                unit.is_none_or(|unit| unit.to_grams(1.0).is_none()).then_some("write g, kg or lb")
            }
            (ReadingKind::Temperature, Some(unit)) => unit.to_celsius(20.0).is_none().then_some("write c, f or k"),
            (ReadingKind::Temperature, None) | (_, None) => None,
            (_, Some(_)) => Some("leave it out: only temperatures and weights have one"),
        };
        if let Some(remedy) = remedy {
            let what = if self.unit.is_some() { "does not fit the kind" } else { "is missing" };
            problems.push(section.problem("unit", what, remedy));
        }
        if !self.scale.is_finite() || self.scale == 0.0 || !self.offset.is_finite() {
            problems.push(section.problem("scale", "makes nothing of every number", "give a number other than 0"));
        }
        if let Some(Place::Fixed(word)) = &self.step
            && word.as_str().and_then(scan_step).is_none()
        {
            problems.push(section.problem("step", format!("{word} is no step"), "write staged, loaded or unloaded"));
        }
        if self.true_values.iter().any(|v| self.false_values.contains(v)) {
            problems.push(section.problem(
                "true_values",
                "shares a value with false_values",
                "a value means one thing",
            ));
        }
    }

    fn needed(&self) -> Vec<(&'static str, &Option<Place>)> {
        match self.kind {
            ReadingKind::Scan => vec![("line", &self.line), ("step", &self.step)],
            ReadingKind::Position => vec![("latitude", &self.latitude), ("longitude", &self.longitude)],
            ReadingKind::Alarm => vec![("alarm", &self.alarm)],
            ReadingKind::Crossing => vec![("place", &self.place), ("value", &self.value)],
            ReadingKind::Proof => vec![("lines", &self.lines)],
            _ => vec![("value", &self.value)],
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
