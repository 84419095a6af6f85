//! The core goes on from what the store holds.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    document::{Actor, ActorKind},
    fact::Facts,
    id::DocumentKind,
    lease::HeldLease,
    time::{Hlc, UtcMs},
};

use super::{
    Case, Core, Dispatch, Profile,
    at_rest::AtRest,
    chain::Chain,
    decision::Decision,
    drills,
    elapsed::{self, Stamps},
    past::Past,
    refused, set_right,
    start::{Snapshot, StoredDocument},
    state::{LineSeen, Table},
    trial,
    trips::TrackBook,
    unfoldable, waits,
};

impl Core {
    /// A core that goes on from what the store holds.
    ///
    /// A document that cannot be read is left out and said in the log, see [`Core::unread`]; so is one that cannot be
    /// folded, see [`Core::unfoldable`].
    #[must_use]
    pub fn load(profile: Profile, snapshot: Snapshot) -> Self {
        let kind = if profile.is_gateway() { ActorKind::Site } else { ActorKind::Vehicle };
        let actor =
            Actor { kind, site: profile.site.clone(), device: profile.device.clone(), epoch: snapshot.actor_epoch };
        let mut core = Self {
            actor,
            chain: Chain::resume(snapshot.chain),
            hlc: Hlc::default(),
            hlc_settled: Hlc::default(),
            facts: Facts::default(),
            orders: snapshot.orders.into_iter().map(|o| (o.id.clone(), o)).collect(),
            dispatches: BTreeMap::new(),
            cases: BTreeMap::new(),
            unread: Vec::new(),
            unfoldable: BTreeMap::new(),
            unfoldable_named: Vec::new(),
            incomplete: BTreeSet::new(),
            lacking: None,
            past: Past::default(),
            waits: Table::new(waits::WAITS),
            lease: None,
            leases_after: UtcMs(i64::MIN),
            doors: Table::new("door"),
            vehicles: Table::new("vehicle"),
            counts: Table::new("counts"),
            unknown_orders: Table::new("unknown_order"),
            rules: Table::new("dispatch"),
            slots: Table::new("case"),
            watches: Table::new("watch"),
            motions: Table::new("motion"),
            trips: Table::new("trip"),
            learnt: Table::new("learnt"),
            tracks: Table::new("track"),
            track_book: TrackBook::default(),
            probes: Table::new("probe"),
            line: LineSeen::default(),
            stamps: Stamps::default(),
            sources: BTreeMap::new(),
            rewritten: BTreeSet::new(),
            senders: Table::new("sender"),
            drills: Table::new("drill"),
            kept_facts: Table::new("kept_fact"),
            kept_readings: Table::new("kept_reading"),
            kept_ahead: Table::new(set_right::KEPT_AHEAD),
            kept_leases: Vec::new(),
            status_told: None,
            started: None,
            cursor: snapshot.cursor,
            texts: snapshot.texts,
            out: Decision::default(),
            touched: BTreeSet::new(),
            to_watch: BTreeSet::new(),
            next_look: None,
            look_at_all: false,
            watch_anew: false,
            profile,
        };
        for fact in snapshot.facts {
            core.facts.take(fact);
        }
        for (key, body) in &snapshot.rules {
            core.take_rule(key, body);
        }
        for stored in snapshot.documents {
            core.take_document(stored);
        }
        for (dispatch, gates) in snapshot.gates {
            if let Some(held) = core.dispatches.get_mut(&dispatch) {
                held.gates = gates;
            }
        }
        for lease in snapshot.leases {
            match lease.sealed.peek() {
                Ok(granted) => {
                    core.lease = Some(HeldLease {
                        lease: granted,
                        received: lease.received,
                        used: lease.used,
                        left_before_boot: None,
                    });
                }
                Err(e) => tracing::error!(lease.id = %lease.id, "lease {} cannot be read: {e}", lease.id),
            }
        }
        core
    }

    fn take_rule(&mut self, key: &str, body: &str) {
        let taken = self.doors.take(key, body)
            || self.vehicles.take(key, body)
            || self.counts.take(key, body)
            || self.unknown_orders.take(key, body)
            || self.rules.take(key, body)
            || self.slots.take(key, body)
            || self.watches.take(key, body)
            || self.motions.take(key, body)
            || self.trips.take(key, body)
            || self.learnt.take(key, body)
            || self.tracks.take(key, body)
            || self.probes.take(key, body)
            || self.senders.take(key, body)
            || self.drills.take(key, body)
            || self.kept_facts.take(key, body)
            || self.kept_readings.take(key, body)
            || self.kept_ahead.take(key, body)
            || self.past.take(key, body)
            || self.waits.take(key, body);
        if taken {
            return;
        }
        let read = match key {
            elapsed::STAMP => serde_json::from_str(body).map(|stamps| self.stamps = stamps),
            "line" => serde_json::from_str(body).map(|line| self.line = line),
            "clock" => serde_json::from_str(body).map(|hlc| (self.hlc, self.hlc_settled) = (hlc, hlc)),
            "leases_after" => serde_json::from_str(body).map(|at| self.leases_after = at),
            "sources" => serde_json::from_str(body).map(|sources| self.sources = sources),
            refused::REWRITTEN => serde_json::from_str(body).map(|changes| self.rewritten = changes),
            "started" => serde_json::from_str(body).map(|at| self.started = at),
            "tracks" => serde_json::from_str(body).map(|book| self.track_book = book),
            drills::KEPT_LEASES => drills::kept_leases_in(body).map(|kept| self.kept_leases = kept),
            unfoldable::UNFOLDABLE => serde_json::from_str(body).map(|named| self.unfoldable_named = named),
            "status_told" => serde_json::from_str(body).map(|at| self.status_told = at),
            _ => Ok(()),
        };
        if let Err(e) = read {
            tracing::warn!(rule = key, "state of {key} cannot be read and begins anew: {e}");
        }
    }

    fn take_document(&mut self, stored: StoredDocument) {
        let id = stored.document;
        // A replay makes documents of chunks that may outlast them.
        if self.past.holds(id) {
            return;
        }
        let is_of_changes = stored.kind == DocumentKind::Dispatch && stored.snapshot.is_empty();
        let document = match stored.open() {
            Ok(document) => document,
            Err(e) => {
                tracing::error!(document.id = %id, "document {id} cannot be read and is left out: {e}");
                self.unread.push((id, stored.kind));
                self.lacking = self.lacking.or(is_of_changes.then_some(id));
                return;
            }
        };
        if stored.heads.as_ref().is_some_and(|written| *written != document.heads()) {
            self.incomplete.insert(id);
            self.lacking = self.lacking.or(is_of_changes.then_some(id));
        }
        // Its bytes are sound: they stay as they are for a program that can fold it.
        let (kind, at_rest) = (stored.kind, AtRest::stored(stored));
        let taken = match kind {
            DocumentKind::Dispatch => {
                trial::folded(document, gatehouse_common::dispatch::fold).map(|(document, view)| {
                    self.dispatches.insert(id, Dispatch { document, view, gates: Vec::new() });
                })
            }
            DocumentKind::Case => trial::folded(document, gatehouse_common::case::fold).map(|(_, view)| {
                self.cases.insert(id, Case { document: at_rest.clone(), view });
            }),
        };
        if let Err(why) = taken {
            self.leave_out(id, kind, at_rest, &why);
        }
    }
}
