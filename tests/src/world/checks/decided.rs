//! Whether each release might be made when it was made: by what truly was so then, not by what any clock showed.

use std::collections::BTreeSet;

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord, LeaseCharge, Mode},
    dispatch::{HoldReason, Says},
    document::{ActorKind, Document, EntryKey, History},
    fact::Source,
    gate::{GateInput, GateKind},
    time::UtcMs,
};
use rusqlite::Connection;

use super::{Broken, WITHIN_LEASE, rows, sealed_decisions};
use crate::world::{
    World,
    clock::{Machine, SECOND},
};

/// See [`checks`](super).
pub const FRESH: &str = "no release rests on a fact that is older than it may be";
/// See [`checks`](super).
pub const HELD_BACK: &str = "nothing is released by who has read that it may not leave";

/// How far apart clocks may be before anybody minds, in milliseconds, and what a message is on its way.
const APART_MAX: i64 = 62 * SECOND;
/// From here on an actor of a device writes again what the hub refused of another; what it says is older than what it
/// follows.
const WRITES_AGAIN: u32 = 1 << 16;

/// Releases of one agent against when its facts and leases truly came.
pub(super) fn in_time(world: &World, place: usize, store: &Connection, broken: &mut Vec<Broken>) {
    let device = &world.agents[place].device;
    for (position, sealed) in sealed_decisions(store, None) {
        let Ok(record) = sealed.peek::<DecisionRecord>() else { continue };
        if record.kind != DecisionKind::Release {
            continue;
        }
        let Some(decided) = world.book.decided.get(&sealed.hash().to_string()) else {
            broken.push(Broken::new(FRESH, format!("nobody knows when {device} made decision {position}")));
            continue;
        };
        let release = Release { world, place, decided: *decided };
        // A gate of the bundle's own may pass though one of its facts is too old.
        for gate in record.gates.iter().filter(|gate| gate.passes() && gate.gate != GateKind::Rule) {
            for input in &gate.inputs {
                if let Some(what) = release.rests_on_old(input, gate.limit_ms) {
                    let (id, gate) = (&record.id, gate.gate.as_str());
                    broken.push(Broken::new(FRESH, format!("{id} of {device}, gate {gate}: {what}")));
                }
            }
        }
        if let Some(what) = record.lease.as_ref().and_then(|charge| release.came_after(charge)) {
            broken.push(Broken::new(WITHIN_LEASE, format!("{} of {device}: {what}", record.id)));
        }
    }
}

/// A release, and when it was truly made.
struct Release<'a> {
    world: &'a World,
    place: usize,
    decided: UtcMs,
}

impl Release<'_> {
    fn machine(&self) -> &Machine {
        &self.world.agents[self.place].machine
    }

    /// How much less than the truth an agent must take the time since `came` to be: nothing within one boot. Over boots
    /// there are wall clocks alone, and one that was ahead before and is right now cannot be told from a shorter time.
    fn unseen_ms(&self, came: UtcMs) -> i64 {
        let (then, now) = (self.machine().was(came), self.machine().was(self.decided));
        if then.boot == now.boot { 0 } else { (then.ahead_ms - now.ahead_ms).max(0) }
    }

    /// Why a fact was too old for it, if it was. What the agent counted itself, in a reading of no sensor, came as it
    /// was decided.
    fn rests_on_old(&self, input: &GateInput, limit_ms: u64) -> Option<String> {
        let limit = i64::try_from(limit_ms).ok()?;
        let told = (input.source != Source::Depot).then_some(&input.key);
        let came = self.world.book.fact_came_at(self.place, told, input.at);
        if came.is_empty() || came.iter().any(|came| self.is_within(*came, input, limit)) {
            return None;
        }
        let held = came.iter().map(|came| self.decided.since(*came) / SECOND).filter(|held| *held >= 0).min();
        let age = self.decided.since(input.at) / SECOND;
        Some(format!("{:?} was {age} s old and here for {held:?} s, {} s are allowed", input.key, limit / SECOND))
    }

    /// Whether the fact that came then was young enough: by how long it had been here, and by when it was so. How far
    /// the clock was behind as it came the agent cannot know; and of what the ERP says, when the hub's was wrong.
    fn is_within(&self, came: UtcMs, input: &GateInput, limit: i64) -> bool {
        if came > self.decided {
            return false;
        }
        let limit = limit.saturating_add(APART_MAX + self.unseen_ms(came));
        let behind = (-self.machine().was(came).ahead_ms).max(0);
        let is_dated = input.source != Source::Erp || !self.world.hub.machine.was_ever_wrong();
        let is_young = !is_dated || self.decided.since(input.at) <= limit.saturating_add(behind);
        self.decided.since(came) <= limit && is_young
    }

    /// Why the lease was over for it, if it was.
    fn came_after(&self, charge: &LeaseCharge) -> Option<String> {
        let came = self.world.book.leases_came.get(&(self.place, charge.lease.clone()))?;
        let holds = |(came, lasts): &(UtcMs, i64)| {
            let lasts = lasts.saturating_add(APART_MAX + self.unseen_ms(*came));
            *came <= self.decided && self.decided.since(*came) <= lasts
        };
        (!came.iter().any(holds)).then(|| format!("the time of lease {} was over", charge.lease))
    }
}

/// Releases in the hub's documents against what their writers had read there, by what stands before what.
pub(super) fn held_back(hub: &Connection, broken: &mut Vec<Broken>) {
    let sql = "SELECT document, snapshot FROM documents WHERE kind = 'dispatch'";
    for (id, snapshot) in rows(hub, sql, |r| Ok((r.get::<_, String>(0)?, r.get::<_, Vec<u8>>(1)?))) {
        match Document::load(&snapshot) {
            Ok(document) => {
                let history = History::new(document.entries::<Says>().0);
                let found = released_against(&history).map(|what| format!("dispatch {id}: {what}"));
                broken.extend(found.map(|what| Broken::new(HELD_BACK, what)));
            }
            Err(error) => broken.push(Broken::new(HELD_BACK, format!("dispatch {id}: {error}"))),
        }
    }
}

/// Each release whose writer had read a cancellation, or a hold that only people lift and nobody had lifted. What a
/// person overrides is that person's to answer for.
fn released_against(history: &History<Says>) -> impl Iterator<Item = String> {
    history.iter().filter_map(move |(key, entry)| {
        let Says::Released { mode, .. } = &entry.says else { return None };
        let writes_again = key.actor.kind != ActorKind::Hub && key.actor.epoch >= WRITES_AGAIN;
        if *mode == Mode::Override || writes_again {
            return None;
        }
        let read = move || history.iter().filter(move |(earlier, _)| history.is_before(earlier, key));
        let lifted: BTreeSet<&EntryKey> = read().flat_map(|(_, entry)| lifts(&entry.says)).collect();
        let against = read().find(|(earlier, entry)| match &entry.says {
            Says::Cancelled { .. } => true,
            Says::Held { reason, .. } => *reason != HoldReason::Gate && !lifted.contains(earlier),
            _ => false,
        });
        against.map(|(earlier, _)| format!("{key} releases it and has read {earlier}"))
    })
}

fn lifts(says: &Says) -> &[EntryKey] {
    match says {
        Says::Lifted { holds, .. } => holds,
        Says::Released { overrides, .. } => overrides,
        _ => &[],
    }
}
