//! The quiet room: decides what follows from what happened.
//!
//! In: a moment and an [`Input`]. Out: a [`Decision`]: records to be written in one transaction and
//! effects to be performed after it. Never reads a clock, a disk or a socket and draws no random
//! number: the same inputs at the same moments give the same decisions, byte for byte, also when
//! the core is loaded anew from the store between any two of them.

mod at_rest;
pub mod bounds;
mod cases;
mod chain;
pub mod damage;
pub mod decision;
mod dispatches;
pub mod drills;
mod elapsed;
mod feed;
mod giving_up;
pub mod ground;
pub mod input;
mod leases;
mod line;
mod load;
pub mod past;
mod physical;
mod readiness;
mod readings;
mod recalls;
mod refused;
pub mod rules;
pub mod senders;
mod set_right;
pub mod signals;
pub mod start;
pub mod state;
mod taps;
mod timer;
mod trial;
pub mod trips;
pub mod unfoldable;
pub mod waits;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    bundle::Bundle,
    case::CaseView,
    dispatch::DispatchView,
    document::{Actor, Document},
    fact::{Fact, Facts},
    gate::GateResult,
    geo::Geofence,
    id::{DeviceId, DocumentId, DocumentKind, Hash32, OrderId, SiteId, VehicleId},
    lease::HeldLease,
    order::Order,
    seal::{PrivateKey, PublicKey},
    sync::Cursor,
    telemetry::Track,
    time::{Hlc, Moment, UtcMs},
};

use at_rest::AtRest;
use bounds::UnknownOrder;
use chain::Chain;
use decision::{Change, Decision, Effect, Record};
use drills::{Drill, KeptLease, KeptNews};
use elapsed::Stamps;
use ground::GroundInput;
use input::Input;
use past::Past;
use senders::SenderState;
use set_right::KeptAhead;
use signals::{
    temperature::ProbeState,
    watch::{Watch, Watched},
};
use state::{CaseSlot, Counts, DispatchRule, DoorState, LineSeen, Table, VehicleState};
use trips::{Motion, TrackBook, Trip, eta::Learnt};
use unfoldable::Unfoldable;
use waits::Waits;

/// What this agent is.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The device.
    pub device: DeviceId,
    /// Its depot.
    pub site: SiteId,
    /// The vehicle it rides in; `None` for a depot's gateway.
    pub vehicle: Option<VehicleId>,
    /// The depot's yard. Without one no vehicle is seen to leave by its position.
    pub yard: Option<Geofence>,
    /// Signs decisions.
    pub key: PrivateKey,
    /// The hub's key, once known; leases signed by another are refused.
    pub hub_key: Option<PublicKey>,
    /// The rules in force.
    pub bundle: Bundle,
}

impl Profile {
    /// Whether it decides for a depot.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.vehicle.is_none()
    }
}

/// A dispatch in memory.
#[derive(Debug, Clone)]
struct Dispatch {
    document: Document,
    view: Option<DispatchView>,
    gates: Vec<GateResult>,
}

/// A case in memory.
#[derive(Debug, Clone)]
struct Case {
    document: AtRest,
    view: Option<CaseView>,
}

/// Decides. One per agent, owned by the driver.
#[derive(Debug, Clone)]
pub struct Core {
    profile: Profile,
    actor: Actor,
    chain: Chain,
    hlc: Hlc,
    /// As it was last written.
    hlc_settled: Hlc,
    facts: Facts,
    orders: BTreeMap<OrderId, Order>,
    dispatches: BTreeMap<DocumentId, Dispatch>,
    cases: BTreeMap<DocumentId, Case>,
    /// See [`Core::unread`].
    unread: Vec<(DocumentId, DocumentKind)>,
    unfoldable: BTreeMap<DocumentId, Unfoldable>,
    /// The names of those, as they were last written.
    unfoldable_named: Vec<String>,
    /// Documents that are not what was last written of them, until [`Core::mend`].
    incomplete: BTreeSet<DocumentId>,
    /// See [`Core::lacking`].
    lacking: Option<DocumentId>,
    past: Past,
    waits: Table<Waits>,
    lease: Option<HeldLease>,
    /// A lease granted no later than this was held before, or used by a life of this device that is forgotten.
    leases_after: UtcMs,
    doors: Table<DoorState>,
    vehicles: Table<VehicleState>,
    counts: Table<Counts>,
    unknown_orders: Table<UnknownOrder>,
    rules: Table<DispatchRule>,
    slots: Table<CaseSlot>,
    watches: Table<Watch>,
    motions: Table<Motion>,
    trips: Table<Trip>,
    learnt: Table<Learnt>,
    tracks: Table<Track>,
    track_book: TrackBook,
    probes: Table<ProbeState>,
    line: LineSeen,
    stamps: Stamps,
    sources: BTreeMap<String, UtcMs>,
    /// Changes that were written because the hub had not let others in.
    rewritten: BTreeSet<Hash32>,
    senders: Table<SenderState>,
    drills: Table<Option<Drill>>,
    kept_facts: Table<Option<Fact>>,
    kept_readings: Table<Option<KeptNews>>,
    kept_ahead: Table<Option<KeptAhead>>,
    /// In the order in which they came.
    kept_leases: Vec<KeptLease>,
    status_told: Option<Moment>,
    /// When the program last started.
    started: Option<Moment>,
    cursor: Cursor,
    texts: rules::Texts,
    out: Decision,
    touched: BTreeSet<DocumentId>,
    to_watch: BTreeSet<Watched>,
    next_look: Option<UtcMs>,
    look_at_all: bool,
    /// Other rules are in force, and nothing has been looked at by them yet.
    watch_anew: bool,
}

impl Core {
    /// What this agent is.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Decides what follows from `input` at `now`, alone in its commit but for [`Core::stamp`].
    pub fn handle(&mut self, now: &Moment, input: Input) -> Decision {
        let mut decision = self.take(now, input);
        self.settle(&mut decision.records);
        decision
    }

    /// Decides what follows from `input` at `now`. The state of rules that its commit must hold comes with
    /// [`Core::settle`], once for all inputs of that commit.
    pub fn take(&mut self, now: &Moment, input: Input) -> Decision {
        let now = &self.begin_at(now);
        self.end_drills(now);
        match input {
            Input::Reading { reading, receipt } => {
                self.acknowledge(receipt);
                self.take_reading(now, reading);
            }
            Input::Shown(shown) => {
                self.acknowledge(shown.receipt);
                self.take_shown(now, shown);
            }
            Input::Counted(counts) => {
                self.out.records.extend(counts.into_iter().map(|(name, by)| Record::Counted { name, by }));
            }
            Input::Unreadable(message) => {
                self.acknowledge(message.receipt);
                self.quarantine(now, &message.topic, message.reason, message.payload_hash, message.size, message.head);
            }
            Input::Feed { items, cursor, .. } => {
                let line_was_down = !self.line.up;
                self.hub_speaks(now);
                let told = self.take_feed(now, items, cursor);
                if line_was_down || !told.is_empty() {
                    self.keep(now, GroundInput::Feed(told));
                }
            }
            Input::StartAgain { cursor } => {
                self.keep(now, GroundInput::StartAgain);
                // In the same life the hub still has what was told in it: to tell all again would keep what is new back.
                let whole = cursor.epoch != self.cursor.epoch;
                self.cursor = cursor;
                self.line.recalls_known = false;
                self.hub_speaks(now);
                self.write_line();
                self.out.records.extend([Record::Cursor(cursor), Record::OutboxAgain { whole }]);
                self.out.effects.push(Effect::PushNow);
            }
            Input::Alike { cursor } => {
                self.cursor = cursor;
                self.out.records.extend([Record::Cursor(cursor), Record::PagesOutlive { cursor }]);
            }
            Input::Outlived(known) => {
                self.begin_epoch(now, &known);
                self.keep(now, GroundInput::Outlived(known));
            }
            Input::Stands => self.out.records.push(Record::Stands),
            Input::Pushed { ledger, .. } if ledger != self.cursor.epoch => {
                tracing::info!(%ledger, "the hub took records in a life of its ledger that is over; they are told again");
            }
            Input::Pushed { through, rejected, changes, kept_through, .. } => {
                for rejection in &rejected {
                    let (number, reason) = (rejection.number, &rejection.reason);
                    tracing::error!(outbox.n = number, reason, "record {number} is not at the hub: {reason}");
                }
                self.out.records.push(Record::OutboxTaken { through, rejected, kept_through });
                changes.iter().for_each(|change| self.take_refused_change(now, change));
                self.changed(Change::Status);
            }
            Input::Line(line) => {
                self.keep_line(now, line);
                self.take_line(now, line);
            }
            Input::Tap(tap) => {
                let answer = self.take_tap(now, &tap);
                self.out.answer = Some(answer);
                if !tap.act.changes_rules() {
                    self.keep(now, GroundInput::Tap(tap));
                }
            }
            Input::Forget(over) => self.forget(now, over),
            Input::Damaged(rows) => self.take_damaged(now, rows),
            Input::Tick => {
                self.look_at_all = true;
                let was_set_right = self.follow_kept_ahead(now);
                self.make_room(now);
                self.tell_status(now);
                self.tell_tracks(now);
                self.look(now);
                self.keep_look(now, was_set_right);
            }
        }
        self.look(now);
        std::mem::take(&mut self.out)
    }

    fn deadlines<'a>(&'a self, now: &'a Moment) -> impl Iterator<Item = UtcMs> + 'a {
        let rules = &self.profile.bundle.rules;
        let unknown = ms(rules.unknown_deadline_ms);
        let dispatches =
            self.dispatches.values().filter_map(|d| d.view.as_ref()).filter(|v| !v.state.is_over_at_depot());
        let departures = dispatches.map(move |v| v.planned_departure.plus(-unknown));
        departures.chain(self.case_deadlines(now)).chain(self.watch_deadlines())
    }

    /// Looks at every dispatch that something may follow for, until nothing more does.
    fn look(&mut self, now: &Moment) {
        let all = std::mem::take(&mut self.look_at_all);
        if std::mem::take(&mut self.watch_anew) {
            self.watch_all(now);
        }
        for id in self.touched.iter().copied().collect::<Vec<_>>() {
            self.watch_dispatch(id);
        }
        if all {
            self.expire_lease(now);
            self.look_at_slots(now);
            self.watch_due(now);
            self.touched.extend(self.dispatches.keys().copied());
        }
        // Nothing may be left for the next input: a restart in between would forget it.
        while !(self.touched.is_empty() && self.to_watch.is_empty()) {
            // By planned departure: what leaves first gets the lease first.
            let mut ids: Vec<DocumentId> = std::mem::take(&mut self.touched).into_iter().collect();
            ids.sort_by_key(|id| (self.view(*id).map(|v| v.planned_departure), *id));
            for id in ids {
                if self.profile.is_gateway() {
                    self.look_at(now, id);
                } else {
                    self.follow(now, id);
                }
            }
            self.look_at_watched(now);
        }
    }

    /// Adds the state of every rule that has changed since it was last called.
    pub fn settle(&mut self, records: &mut Vec<Record>) {
        self.doors.flush(records);
        self.vehicles.flush(records);
        self.counts.flush(records);
        self.unknown_orders.flush(records);
        self.rules.flush(records);
        self.slots.flush(records);
        self.watches.flush(records);
        self.motions.flush(records);
        self.trips.flush(records);
        self.learnt.flush(records);
        self.tracks.flush(records);
        self.probes.flush(records);
        self.senders.flush(records);
        self.drills.flush(records);
        self.kept_facts.flush(records);
        self.kept_readings.flush(records);
        self.kept_ahead.flush(records);
        self.past.flush(records);
        self.waits.flush(records);
        if self.hlc != self.hlc_settled {
            self.hlc_settled = self.hlc;
            records.extend(rule("clock", &self.hlc));
        }
    }

    fn write_rule<T: serde::Serialize>(&mut self, key: &str, value: &T) {
        self.out.records.extend(rule(key, value));
    }

    fn changed(&mut self, change: Change) {
        let effect = Effect::Changed(change);
        if !self.out.effects.contains(&effect) {
            self.out.effects.push(effect);
        }
    }

    fn acknowledge(&mut self, receipt: Option<input::Receipt>) {
        self.out.effects.extend(receipt.map(|r| Effect::Acknowledge(vec![r])));
    }

    fn quarantine(
        &mut self,
        now: &Moment,
        topic: &str,
        reason: String,
        payload_hash: gatehouse_common::id::Hash32,
        size: u64,
        mut head: Vec<u8>,
    ) {
        tracing::debug!(topic, reason, "a message on {topic} went to quarantine: {reason}");
        head.truncate(256);
        let topic = topic.to_owned();
        let at = now.wall;
        self.out.records.push(Record::Quarantine { topic, reason, payload_hash, size, head, at, conflict: false });
        self.changed(Change::Quarantine);
    }

    fn view(&self, dispatch: DocumentId) -> Option<&DispatchView> {
        self.dispatches.get(&dispatch)?.view.as_ref()
    }
}

/// The state of a rule as it is written. One that cannot be written begins anew after a restart; that is told.
fn rule<T: serde::Serialize>(key: &str, value: &T) -> Option<Record> {
    let body = serde_json::to_string(value);
    let body = body.inspect_err(|e| tracing::error!(rule = key, "state of {key} cannot be written: {e}")).ok()?;
    Some(Record::Rule { key: key.to_owned(), body })
}

/// Milliseconds as a difference of times.
fn ms(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
