//! What each topic means: its decoder, its kind, and where in a message each value stands.

use serde::Deserialize;

use super::{
    read::{Problem, Section},
    units::TimeUnit,
    values::{PLACE, Place, ReadingKind, VALUE_KEYS, ValueMap},
};
use crate::intake::topics::check_filter;

/// `[[topics]]`
#[derive(Debug, Clone)]
pub struct TopicConfig {
    /// `filter`: MQTT topic filter; `+` stands for one level, `#` at the end for all below.
    pub filter: String,
    /// `decoder`: how payloads are read.
    pub decoder: Decoder,
    /// `kind`, `subject` and where each value stands. Decoders of a fixed form need none but `subject`, and that only
    /// where it is not where they expect it.
    pub map: ValueMap,
    /// `source`: who sent it, for repeats and gaps. Default: the whole topic, or what the form says.
    pub source: Option<Place>,
    /// `id`: the sender's own id. Without one, a hash of topic and payload.
    pub id: Option<Place>,
    /// `time`: when it was measured. Without one, when it came in.
    pub time: Option<Place>,
    /// `sent`: when it was sent, by the sender's clock: shows how far that clock is off.
    pub sent: Option<Place>,
    /// `time_unit`: how `time` and `sent` are written. Default `rfc3339`.
    pub time_unit: TimeUnit,
    /// `sequence`: a whole number that the sender raises by one with each message: shows what was lost.
    pub sequence: Option<Place>,
    /// `event_type`: CloudEvents of other types are of no concern. Default: every type.
    pub event_type: Option<String>,
    /// `lock_is_seal`: whether `lock` of a Traccar position is an electronic seal. Default no: it is not read.
    pub lock_is_seal: bool,
    /// `[[topics.metrics]]`: which metrics of a Sparkplug or thin-edge.io message are read, and as what.
    pub metrics: Vec<MetricConfig>,
}

/// `[[topics.metrics]]`
#[derive(Debug, Clone)]
pub struct MetricConfig {
    /// `name`: of the metric; for events of thin-edge.io their type.
    pub name: String,
    /// What it means. `value` is the metric's own value where it is left out.
    pub map: ValueMap,
}

/// How payloads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// JSON, read by pointers.
    Json,
    /// What OwnTracks apps publish: positions, crossings, last wills.
    Owntracks,
    /// What a Traccar server forwards: positions and events.
    Traccar,
    /// What OsmAnd and the Traccar client send, as a query or as JSON.
    Osmand,
    /// Sparkplug B.
    Sparkplug,
    /// NMEA 0183 sentences.
    Nmea,
    /// CloudEvents, structured or a batch; pointers count from `data`.
    Cloudevents,
    /// thin-edge.io measurements and events.
    ThinEdge,
}

/// The decoders, for people.
const DECODERS: &str = "write json, owntracks, traccar, osmand, sparkplug, nmea, cloudevents or thin_edge";

impl Decoder {
    /// Where the subject stands if nothing else is said; `None` if it must be said.
    fn subject(self) -> Option<Place> {
        match self {
            Self::Json | Self::Cloudevents => None,
            // owntracks/<user>/<device>, te/device/<name>/...
            Self::Owntracks => Some(Place::Segment(3)),
            Self::ThinEdge => Some(Place::Segment(3)),
            Self::Traccar => Some(Place::Pointer("/device/uniqueId".to_owned())),
            Self::Osmand => Some(Place::Pointer("/device_id".to_owned())),
            Self::Sparkplug | Self::Nmea => Some(Place::FromEnd(1)),
        }
    }

    /// Whether the topic itself has a map; else the form says what a message means, or its metrics do.
    fn has_map(self) -> bool {
        matches!(self, Self::Json | Self::Cloudevents)
    }

    fn has_metrics(self) -> bool {
        matches!(self, Self::Sparkplug | Self::ThinEdge)
    }

    /// Why `key` says nothing to it, if it does not.
    fn refuses(self, key: &str) -> Option<&'static str> {
        match key {
            "subject" => None,
            key if VALUE_KEYS.contains(&key) => {
                (!self.has_map()).then_some("leave it out: the form says it, or each metric does")
            }
            "id" | "source" => matches!(self, Self::Cloudevents | Self::Sparkplug)
                .then_some("leave it out: these messages carry their own"),
            "time" | "time_unit" => (self != Self::Json).then_some("leave it out: the form says it"),
            "sent" | "sequence" => {
                (!matches!(self, Self::Json | Self::Cloudevents)).then_some("leave it out: the form says it")
            }
            "event_type" => (self != Self::Cloudevents).then_some("leave it out: only CloudEvents have one"),
            "lock_is_seal" => (self != Self::Traccar).then_some("leave it out: it is about Traccar"),
            "metrics" => (!self.has_metrics()).then_some("leave it out: only Sparkplug and thin-edge.io have some"),
            _ => None,
        }
    }
}

/// The keys of a topic that not every decoder takes.
const SOMETIMES: [&str; 9] =
    ["id", "source", "time", "time_unit", "sent", "sequence", "event_type", "lock_is_seal", "metrics"];

impl TopicConfig {
    pub(super) fn read(section: &mut Section, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let filter: Option<String> = section.required("filter", "give a topic, such as \"depot/+/door/+\"", problems);
        let decoder: Option<Decoder> = section.required("decoder", DECODERS, problems);
        // Without a decoder the rest is looked over as plain JSON, so that its problems are told too.
        let form = decoder.unwrap_or(Decoder::Json);
        for key in VALUE_KEYS.into_iter().chain(SOMETIMES) {
            if section.has(key)
                && let Some(remedy) = form.refuses(key)
            {
                // Taken out, so that it is not told a second time as unknown.
                let _: Option<toml::Value> = section.optional(key, "", problems);
                problems.push(section.problem(key, "is not used by this decoder", remedy));
            }
        }
        let map = if form.has_map() {
            ValueMap::read(section, None, None, problems)
        } else {
            let subject = section.optional("subject", PLACE, problems).or(form.subject());
            subject.map(|subject| ValueMap::about(subject, ReadingKind::Position))
        };
        let mut place = |key| section.optional::<Place>(key, PLACE, problems);
        let (source, id, time) = (place("source"), place("id"), place("time"));
        let (sent, sequence) = (place("sent"), place("sequence"));
        let time_unit: Option<TimeUnit> = section.optional("time_unit", "write ms, s or rfc3339", problems);
        let event_type = section.optional("event_type", "give the type as text", problems);
        let lock_is_seal = section.optional("lock_is_seal", "write true or false", problems);
        let subject = map.as_ref().map(|map| map.subject.clone());
        let metrics = MetricConfig::read_all(section, subject.as_ref(), problems);
        section.finish(problems);
        let topic = Self {
            filter: filter?,
            decoder: decoder?,
            map: map?,
            source,
            id,
            time,
            sent,
            time_unit: time_unit.unwrap_or(TimeUnit::Rfc3339),
            sequence,
            event_type,
            lock_is_seal: lock_is_seal.unwrap_or(false),
            metrics,
        };
        topic.check(section, problems);
        (problems.len() == before).then_some(topic)
    }

    fn check(&self, section: &Section, problems: &mut Vec<Problem>) {
        if let Err(what) = check_filter(&self.filter) {
            problems.push(section.problem("filter", what, "see the MQTT rules for + and #"));
        }
        if self.decoder == Decoder::Json && self.id.is_none() && self.time.is_none() {
            problems.push(section.problem(
                "id",
                "neither id nor time is given, so a door that opens twice looks like one message sent twice",
                "give id, time or both",
            ));
        }
        if self.decoder.has_metrics() && self.metrics.is_empty() {
            problems.push(section.problem(
                "metrics",
                "is missing",
                "name each metric that is to be read in [[topics.metrics]]",
            ));
        }
    }
}

impl MetricConfig {
    fn read_all(section: &mut Section, subject: Option<&Place>, problems: &mut Vec<Problem>) -> Vec<Self> {
        let mut metrics: Vec<Self> = Vec::new();
        for mut metric in section.sections("metrics", problems) {
            let name: Option<String> = metric.required("name", "give the metric's name as text", problems);
            let own_value = Place::Pointer("/value".to_owned());
            let map = ValueMap::read(&mut metric, subject.cloned(), Some(own_value), problems);
            metric.finish(problems);
            let (Some(name), Some(map)) = (name, map) else { continue };
            if metrics.iter().any(|held| held.name == name) {
                problems.push(metric.problem("name", format!("{name} is there twice"), "name each metric once"));
            }
            metrics.push(Self { name, map });
        }
        metrics
    }
}
