//! State of rules: what the core remembers between inputs apart from facts, orders and documents.
//!
//! Each piece is written in the transaction of the input that changed it, so that a restart goes on
//! exactly where the last commit left off.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    geo::Point,
    id::{ActorName, LeaseId, VehicleId},
    lease::LeaseUse,
    reading::AlarmKind,
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{decision::Record, signals::geofence::Crossing};

/// Pieces of one kind of rule state by subject, with those that changed since the last commit.
#[derive(Debug, Clone)]
pub struct Table<V> {
    prefix: &'static str,
    held: BTreeMap<String, V>,
    changed: BTreeSet<String>,
}

impl<V: Default + Clone + PartialEq + Serialize + DeserializeOwned> Table<V> {
    /// An empty table whose rows are written as `prefix/subject`.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, held: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Takes a stored row if it is one of this table's; says whether it was.
    pub fn take(&mut self, key: &str, body: &str) -> bool {
        let Some(subject) = key.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('/')) else { return false };
        match serde_json::from_str(body) {
            Ok(value) => {
                self.held.insert(subject.to_owned(), value);
            }
            Err(e) => tracing::warn!(rule = key, "state of {key} cannot be read and begins anew: {e}"),
        }
        true
    }

    /// The state of `subject`.
    pub fn get(&self, subject: &str) -> Option<&V> {
        self.held.get(subject)
    }

    /// How many subjects there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Every subject with its state.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &V)> {
        self.held.iter()
    }

    /// Changes the state of `subject`; begins with the default.
    pub fn edit<T>(&mut self, subject: &str, work: impl FnOnce(&mut V) -> T) -> T {
        let value = self.held.entry(subject.to_owned()).or_default();
        let before = value.clone();
        let result = work(value);
        if *value != before {
            self.changed.insert(subject.to_owned());
        }
        result
    }

    /// Forgets the state of `subject`.
    pub fn forget(&mut self, subject: &str) {
        if self.held.remove(subject).is_some() {
            self.changed.insert(subject.to_owned());
        }
    }

    /// Hands over what changed, to be written.
    pub fn flush(&mut self, records: &mut Vec<Record>) {
        for subject in std::mem::take(&mut self.changed) {
            let key = format!("{}/{subject}", self.prefix);
            match self.held.get(&subject) {
                Some(value) => records.extend(super::rule(&key, value)),
                None => records.push(Record::RuleGone { key }),
            }
        }
    }
}

/// What the sensors of one door last said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DoorState {
    /// Whether a vehicle stands there.
    pub occupied: Option<bool>,
    /// Which.
    pub vehicle: Option<VehicleId>,
    /// Time of the newest occupancy reading.
    pub occupancy_at: UtcMs,
    /// Since when it has stood there.
    pub occupied_since: Option<UtcMs>,
    /// Since when the door has been free.
    pub freed_at: Option<UtcMs>,
    /// Whether the door stands open.
    pub open: Option<bool>,
    /// Time of the newest door reading.
    pub door_at: UtcMs,
    /// Since when it has stood open; a short closing in between does not count.
    pub open_since: Option<UtcMs>,
    /// Since when it has been closed.
    pub closed_at: Option<UtcMs>,
    /// What it or its leveller reports to be wrong, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<(String, UtcMs)>,
    /// Time of the newest word on faults.
    #[serde(default)]
    pub fault_at: UtcMs,
}

impl DoorState {
    /// When its sensors last said something.
    pub fn heard(&self) -> UtcMs {
        self.occupancy_at.max(self.door_at).max(self.fault_at)
    }
}

/// Where one vehicle was and how its seal is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VehicleState {
    /// The newest fix that was taken.
    pub fix: Option<(UtcMs, Point)>,
    /// Inside or outside the yard.
    pub yard: Crossing,
    /// The newest word on its seal: whether it is whole, and when that was.
    pub seal: Option<(bool, UtcMs)>,
    /// The number on its seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_number: Option<SealNumber>,
    /// The newest word on its cargo door: whether it stands open, and when that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cargo_door: Option<(bool, UtcMs)>,
    /// When seal or cargo door were last found open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opening>,
    /// The newest word on each of its alarms: whether it stands, and when that was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alarms: BTreeMap<AlarmKind, (bool, UtcMs)>,
    /// When it was last in the yard before now: from when to when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<(UtcMs, UtcMs)>,
    /// When it was last seen outside before it was last in the yard: it may have come right after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_at: Option<UtcMs>,
    /// When it was last seen in the yard or its ring, by a single fix too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glimpsed: Option<UtcMs>,
    /// When a position of it came last that lay too far in the future to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<UtcMs>,
    /// How many fixes in a row agree with the one held, itself included: 1, or 2 for more.
    #[serde(default)]
    pub agreed: u8,
    /// The fix that was held before that row began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<(UtcMs, Point)>,
    /// When its receiver was right again after a stretch that may have hidden a visit to the yard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<UtcMs>,
    /// Fixes in a row to which it would have had to fly from `fix`, though not from one to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubted: Vec<(UtcMs, Point)>,
}

impl VehicleState {
    /// When it or its devices last said something.
    pub fn heard(&self) -> UtcMs {
        let fix = self.fix.map(|(at, _)| at).max(self.refused_at);
        let words = [fix, self.seal.map(|(_, at)| at), self.cargo_door.map(|(_, at)| at)];
        let alarms = self.alarms.values().map(|(_, at)| *at);
        words.into_iter().flatten().chain(alarms).max().unwrap_or_default()
    }
}

/// The number on a seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealNumber {
    /// As it was read last.
    pub number: String,
    /// Since when it has been read so.
    pub since: UtcMs,
    /// Time of the newest reading with a number.
    pub at: UtcMs,
    /// The number before it.
    pub before: Option<String>,
}

/// An opening of seal or cargo door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// When it was last read.
    pub at: UtcMs,
    /// Whether it is the cargo door's; else the seal's.
    pub cargo_door: bool,
    /// Whether that was where it may be opened; `None` until it is clear.
    pub at_stop: Option<bool>,
}

/// What was scanned for one order. The lane is the order's; what is in the vehicle belongs to one of its dispatches,
/// see `Core::counts_of`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Units on the staging lane or beyond, per line.
    pub staged: BTreeMap<u16, u32>,
    /// Units in the vehicle, per line.
    pub loaded: BTreeMap<u16, u32>,
    /// Time of the first scan into the vehicle.
    pub loading_since: Option<UtcMs>,
    /// Time of the newest scan into or out of the vehicle.
    pub moved_at: Option<UtcMs>,
    /// What a scale showed last, in grams, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<(u64, UtcMs)>,
}

impl Counts {
    /// Units in the vehicle, all lines.
    pub fn on_board(&self) -> u64 {
        self.loaded.values().map(|n| u64::from(*n)).sum()
    }
}

/// What is remembered of one dispatch beside its document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DispatchRule {
    /// A release that was taken back and that nobody has seen. A new release does not end it: whoever loads by the
    /// old one must learn of it.
    pub alarm: Option<RecallAlarm>,
    /// What its releases used of a lease. A second release under the same lease uses only what is more.
    pub charged: Option<(LeaseId, LeaseUse)>,
    /// Whether what departed was taken out of the counts.
    pub counted_out: bool,
    /// The planned departure for which its vehicle has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_for: Option<UtcMs>,
    /// Inside or outside the place of delivery, for vehicles.
    pub destination: Crossing,
    /// An override that waits for a second person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedOverride>,
}

/// The first person's word for an override that needs two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedOverride {
    /// Who asked.
    pub who: ActorName,
    /// In which role.
    pub role: String,
    /// Their reason.
    pub reason: String,
    /// Why it needs two persons.
    pub why: String,
    /// When they asked.
    pub at: Moment,
    /// Until when someone may confirm, for the page; the boot clock decides.
    pub until: UtcMs,
    /// The version of the order that they saw.
    pub order_version: u64,
}

/// One dedup key's current case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseSlot {
    /// Which case under the key, from 1; 0 before the first.
    pub occurrence: u32,
    /// Whether its condition holds.
    pub on: bool,
    /// Since when the condition no longer holds, while the case has not been cleared.
    #[serde(default)]
    pub gone_since: Option<Moment>,
    /// When its case was last opened or triggered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Moment>,
    /// How far the matter had come then.
    #[serde(default)]
    pub stage: u8,
}

/// A release that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallAlarm {
    /// When this depot learnt of it.
    pub at: UtcMs,
    /// Why, for people.
    pub why: String,
}

/// What was last known of the line to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LineSeen {
    /// Whether the last exchange was answered.
    pub up: bool,
    /// Whether every recall up to the last contact is known.
    pub recalls_known: bool,
    /// Whether the agent has just started and no exchange has ended yet.
    #[serde(default)]
    pub starting: bool,
    /// The last contact at which every recall was known.
    pub heard: Option<Moment>,
    /// Whether the depot counts as cut off: the hub has been silent too long.
    pub cut_off: bool,
}
