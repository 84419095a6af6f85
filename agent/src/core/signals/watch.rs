//! The frame that every detector stands in.
//!
//! A detector is a pure function from state and time to a [`Condition`] of one matter: it holds, it does not, or
//! that is not known. The frame does the rest, the same for every type: it waits until a condition has lasted long
//! enough, wakes the driver when one comes true by time alone, opens and clears the case, and lets nothing open
//! while old readings of its subject come in.
//!
//! Debounce by time is [`Sighting::lasting`]; debounce by readings is a count in the detector's own state, which is
//! [`Condition::Absent`] until there are enough. Hysteresis: ask [`Core::is_on`] and clear by the other threshold;
//! [`Condition::Unknown`] keeps what was said last.

use gatehouse_common::{
    bundle::Detectors,
    case::{CaseType, Severity},
    id::{DocumentId, DoorId, OrderId, VehicleId},
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use crate::core::{Core, cases::Matter, ms};

/// How far the times of late readings may drift from the times at which they come and still be those of a slow clock,
/// in milliseconds. What drifts further is a buffer that empties.
const PACE_MS: i64 = 30_000;
/// How long a late reading is remembered to compare others with, in milliseconds.
const LATE_KEPT_MS: u64 = 3_600_000;

/// What detectors look at. Each is looked at when something was read or said of it, and when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// A dock door.
    Door(DoorId),
    /// A vehicle: its place, seal, cargo door, alarms and temperature.
    Vehicle(VehicleId),
    /// A dispatch and what was counted for it.
    Dispatch(DocumentId),
    /// A device by the name of its readings.
    Sender(String),
    /// A system that facts come from, as the hub names it.
    Feed(String),
}

impl Watched {
    /// The name of its row.
    pub fn row(&self) -> String {
        match self {
            Self::Door(door) => format!("door/{door}"),
            Self::Vehicle(vehicle) => format!("vehicle/{vehicle}"),
            Self::Dispatch(id) => format!("dispatch/{id}"),
            Self::Sender(source) => format!("sender/{source}"),
            Self::Feed(source) => format!("feed/{source}"),
        }
    }

    /// What the row of this name is about.
    fn of_row(row: &str) -> Option<Self> {
        let (kind, name) = row.split_once('/')?;
        match kind {
            "door" => DoorId::new(name).ok().map(Self::Door),
            "vehicle" => VehicleId::new(name).ok().map(Self::Vehicle),
            "dispatch" => name.parse().ok().map(Self::Dispatch),
            "sender" => Some(Self::Sender(name.to_owned())),
            "feed" => Some(Self::Feed(name.to_owned())),
            _ => None,
        }
    }
}

/// What the frame remembers of what it watches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// When something may follow by time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<UtcMs>,
    /// A late reading that kept no pace with those before it: its time, and when it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late: Option<(UtcMs, Moment)>,
}

impl Watch {
    /// Takes note of a reading for `at`. A buffer that empties begins or goes on; a clock that is merely slow does not.
    fn reads(&mut self, now: &Moment, at: UtcMs, rules: &Detectors) {
        if now.wall.since(at) <= ms(rules.live_within_ms) {
            return;
        }
        let drift = |(late, came): &(UtcMs, Moment)| Some(at.since(*late) - ms(now.since(came)?));
        if self.late.as_ref().and_then(drift).is_none_or(|drift| drift.abs() > PACE_MS) {
            self.late = Some((at, now.clone()));
        }
    }

    /// How long it takes until what was read last counts as how things are, in milliseconds; `None` if it does already.
    fn settles_in_ms(&self, now: &Moment, rules: &Detectors) -> Option<u64> {
        let (_, came) = self.late.as_ref()?;
        // After a restart of the machine it cannot be known how long ago that was: then it was long enough.
        let passed = now.since(came)?;
        rules.settle_ms.checked_sub(passed).filter(|left| *left > 0)
    }
}

/// What a detector says of one matter.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// It holds, or will as soon as it has lasted long enough.
    Holds(Sighting),
    /// It does not hold.
    Absent,
    /// That cannot be known, or lies between two thresholds: what was said last stays.
    Unknown,
}

/// A condition that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// When it began, by fix or sensor time.
    since: UtcMs,
    /// From when on it counts, if it still holds then.
    counts_from: UtcMs,
    /// Whether it rests on what has not come: then it proves nothing while what waited for a start still comes in.
    by_silence: bool,
    summary: String,
    order: Option<OrderId>,
    blocks: Option<DocumentId>,
    gravity: Gravity,
}

/// What makes a matter worse than its type alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gravity {
    /// How far it has come, from 0. A step further triggers its case again at once and classifies it anew.
    pub stage: u8,
    /// The axis of safety and compliance, 0 to 3.
    pub safety: u8,
    /// The least severity, where subject or cargo ask for more than the type does.
    pub at_least: Option<Severity>,
}

impl Sighting {
    /// It holds since then; one sentence for people. It counts at once.
    pub fn since(since: UtcMs, summary: String) -> Self {
        let gravity = Gravity::default();
        Self { since, counts_from: since, by_silence: false, summary, order: None, blocks: None, gravity }
    }

    /// From when on it counts.
    pub fn counts_from(&self) -> UtcMs {
        self.counts_from
    }

    /// How far it has come.
    pub fn stage(&self) -> u8 {
        self.gravity.stage
    }

    /// It counts once it has lasted this long.
    pub fn lasting(mut self, for_ms: u64) -> Self {
        self.counts_from = self.since.plus(ms(for_ms));
        self
    }

    /// It counts from then on.
    pub fn counting_from(mut self, at: UtcMs) -> Self {
        self.counts_from = at;
        self
    }

    /// It rests on what has not come.
    pub fn by_silence(mut self) -> Self {
        self.by_silence = true;
        self
    }

    /// The order it is about: severity goes by its customer, value and promise.
    pub fn about(mut self, order: &OrderId) -> Self {
        self.order = Some(order.clone());
        self
    }

    /// The dispatch that waits until its case is over.
    pub fn blocking(mut self, dispatch: DocumentId) -> Self {
        self.blocks = Some(dispatch);
        self
    }

    /// It is worse than its type alone.
    pub fn as_grave_as(mut self, gravity: Gravity) -> Self {
        self.gravity = gravity;
        self
    }
}

/// One matter: the parts of its dedup key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatterKey {
    /// What is wrong.
    pub case_type: CaseType,
    /// With what: a door as `D1/3`, a vehicle, an order, a device.
    pub subject: String,
    /// On which leg; `-` where there is none.
    pub leg: String,
}

impl MatterKey {
    /// The matter of this type with this subject on this leg.
    pub fn new(case_type: CaseType, subject: impl ToString, leg: impl ToString) -> Self {
        Self { case_type, subject: subject.to_string(), leg: leg.to_string() }
    }
}

impl Core {
    /// Takes what a detector found: opens, triggers again or clears the case of the matter, or waits.
    pub(in crate::core) fn found(&mut self, now: &Moment, watched: &Watched, key: MatterKey, condition: Condition) {
        let MatterKey { case_type, subject, leg } = key;
        let seen = match condition {
            Condition::Unknown => return,
            Condition::Absent => return self.clear(now, case_type, &subject, &leg),
            Condition::Holds(seen) => seen,
        };
        let on = self.is_on(case_type, &subject, &leg);
        if seen.counts_from > now.wall {
            self.look_again(seen.counts_from);
            return if on {
                self.clear(now, case_type, &subject, &leg)
            };
        }
        let starting_ms = self.starting_for_ms(now).filter(|_| seen.by_silence);
        if !on && let Some(left_ms) = self.settles_in_ms(now, watched).max(starting_ms) {
            return self.look_again(now.wall.plus(ms(left_ms)));
        }
        let Sighting { since, summary, order, blocks, gravity, .. } = seen;
        self.raise(now, Matter { case_type, subject, leg, since, summary, order, blocks, gravity });
    }

    /// Looks at what is watched now once more at `at`, unless something leads there sooner.
    pub(in crate::core) fn look_again(&mut self, at: UtcMs) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    /// Takes note that a reading about `watched` came, and has it looked at.
    pub(in crate::core) fn read_of(&mut self, now: &Moment, watched: Watched, at: UtcMs) {
        let rules = &self.profile.bundle.rules.detectors;
        if now.wall.since(at) > ms(rules.live_within_ms) {
            self.watches.edit(&watched.row(), |watch| watch.reads(now, at, rules));
        }
        self.to_watch.insert(watched);
    }

    /// How long old readings about `watched` still keep new cases away, in milliseconds.
    pub(in crate::core) fn settles_in_ms(&self, now: &Moment, watched: &Watched) -> Option<u64> {
        self.watches.get(&watched.row())?.settles_in_ms(now, &self.profile.bundle.rules.detectors)
    }

    /// How long it still takes after a start until silence counts, in milliseconds: what waited comes in first.
    fn starting_for_ms(&self, now: &Moment) -> Option<u64> {
        let passed = now.since(self.started.as_ref()?)?;
        self.profile.bundle.rules.detectors.settle_ms.checked_sub(passed).filter(|left| *left > 0)
    }

    /// Has a dispatch looked at, with the door and the vehicle that it names.
    pub(in crate::core) fn watch_dispatch(&mut self, id: DocumentId) {
        let Some(view) = self.view(id) else { return };
        let watched = [Watched::Door(view.door.clone()), Watched::Vehicle(view.vehicle.clone()), Watched::Dispatch(id)];
        self.to_watch.extend(watched);
    }

    /// Has everything looked at: after a start, and when other rules come into force.
    pub(in crate::core) fn watch_all(&mut self, now: &Moment) {
        for id in self.dispatches.keys().copied().collect::<Vec<_>>() {
            self.watch_dispatch(id);
        }
        self.to_watch
            .extend(self.doors.iter().filter_map(|(door, _)| DoorId::new(door.as_str()).ok()).map(Watched::Door));
        let vehicles = self.vehicles.iter().filter_map(|(vehicle, _)| VehicleId::new(vehicle.as_str()).ok());
        self.to_watch.extend(vehicles.map(Watched::Vehicle));
        let doubted = self.senders.iter().filter(|(_, sender)| !sender.times.is_empty());
        let senders = doubted.map(|(source, _)| source).chain(self.probes.iter().map(|(source, _)| source));
        self.to_watch.extend(senders.cloned().map(Watched::Sender));
        self.feeds_changed(now, now.wall);
    }

    /// Has everything looked at whose time has come.
    pub(in crate::core) fn watch_due(&mut self, now: &Moment) {
        let due = |(row, watch): (&String, &Watch)| {
            watch.next.filter(|at| *at <= now.wall).and_then(|_| Watched::of_row(row))
        };
        let due: Vec<Watched> = self.watches.iter().filter_map(due).collect();
        self.to_watch.extend(due);
    }

    /// When something watched may follow by time alone.
    pub(in crate::core) fn watch_deadlines(&self) -> impl Iterator<Item = UtcMs> + '_ {
        self.watches.iter().filter_map(|(_, watch)| watch.next)
    }

    /// Runs the detectors of everything that waits to be looked at.
    pub(in crate::core) fn look_at_watched(&mut self, now: &Moment) {
        while let Some(watched) = self.to_watch.pop_first() {
            self.next_look = None;
            self.detect(now, &watched);
            let next = self.next_look.take();
            let row = watched.row();
            if self.watches.get(&row).map_or(next.is_some(), |watch| watch.next != next) {
                self.watches.edit(&row, |watch| watch.next = next);
            }
            // A buffer that emptied long ago needs not be known.
            let long_ago = |(_, came): &(UtcMs, Moment)| now.since(came).is_none_or(|passed| passed > LATE_KEPT_MS);
            if self.watches.get(&row).is_some_and(|watch| watch.late.as_ref().is_some_and(long_ago)) {
                self.watches.edit(&row, |watch| watch.late = None);
            }
            if self.watches.get(&row).is_some_and(|watch| *watch == Watch::default()) {
                self.watches.forget(&row);
            }
        }
    }
}
