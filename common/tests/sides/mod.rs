//! Depot and hub as two writers of one dispatch, and what they say.

#![allow(dead_code, reason = "each program that includes it uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

use gatehouse_common::{
    decision::Mode,
    dispatch::{DispatchView, Evidence, HoldReason, Says, fold},
    document::{Actor, Document, Entry, EntryKey, History, gate::inspect, with_fold},
    id::{DecisionId, DeviceId, DocumentKind},
    order::LineQuantity,
    time::{Hlc, UtcMs},
};

use super::kept::keep;

#[derive(Clone)]
pub struct Side {
    pub actor: Actor,
    pub document: Document,
    pub clock: i64,
}

impl Side {
    pub fn new(actor: &str) -> Self {
        Self { actor: actor.parse().unwrap(), document: Document::new().unwrap(), clock: 1_000 }
    }

    /// Says one thing, knowing all that came here.
    pub fn says(&mut self, says: Says) -> EntryKey {
        self.clock += 1_000;
        let (entries, _) = self.document.entries::<Says>();
        let says = with_fold(&entries, vec![says]);
        let mut after = History::new(entries).heads();
        for says in says {
            let hlc = Hlc { ms: self.clock, n: 0 };
            let entry = Entry { after, at: UtcMs(self.clock), hlc, by: "test".into(), says };
            after = self.document.append(&self.actor, &[entry]).unwrap().0;
        }
        after.into_iter().next().unwrap()
    }

    pub fn hears(&mut self, other: &Self) {
        for chunk in other.document.chunks() {
            self.document.admit(&inspect(&chunk.bytes).unwrap()).unwrap();
        }
    }

    /// Where it stands here. What a row's test looks at so, the fold in JavaScript looks at as well.
    pub fn view(&self) -> DispatchView {
        keep(DocumentKind::Dispatch, &self.document);
        fold(&self.document).unwrap()
    }
}

pub fn load(quantity: u32) -> Vec<LineQuantity> {
    vec![LineQuantity { line: 1, product: "P1".parse().unwrap(), quantity }]
}

pub fn evidence(at: i64) -> Evidence {
    Evidence { at: UtcMs(at), readings: vec!["seen".into()] }
}

pub fn planned() -> Says {
    Says::Planned {
        order: "SO-1".parse().unwrap(),
        order_version: 1,
        site: "D1".parse().unwrap(),
        occurrence: 1,
        vehicle: "V1".parse().unwrap(),
        carrier: "C1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: load(10),
        planned_departure: UtcMs(100_000),
    }
}

pub fn released(position: u64, order_version: u64, quantity: u32) -> Says {
    let device: DeviceId = "gw-1".parse().unwrap();
    Says::Released {
        mode: Mode::Offline,
        decision: DecisionId::of(&device, 1, position),
        order_version,
        load: load(quantity),
        overrides: vec![],
    }
}

/// A person's release of ten units against a hold.
pub fn overriding(hold: &EntryKey) -> Says {
    let Says::Released { decision, order_version, load, .. } = released(1, 1, 10) else { panic!() };
    Says::Released { mode: Mode::Override, decision, order_version, load, overrides: vec![hold.clone()] }
}

pub fn held(reason: HoldReason) -> Says {
    Says::Held { reason, why: "because".into(), cases: vec![], decision: None }
}

pub fn lifted(hold: &EntryKey) -> Says {
    Says::Lifted { holds: vec![hold.clone()], why: "paid".into() }
}

pub fn cancelled() -> Says {
    Says::Cancelled { order_version: 2, why: "customer cancelled".into() }
}

pub fn terms(quantity: u32) -> Says {
    Says::Terms { order_version: 2, load: load(quantity), why: "quantity changed".into() }
}

pub fn reassigned() -> Says {
    Says::Reassigned { to: "D2".parse().unwrap(), order_version: 2, why: "D2 has it in stock".into() }
}

pub fn carried_by(carrier: &str) -> Says {
    Says::Carrier { carrier: carrier.parse().unwrap(), why: "agreed".into() }
}

pub fn loading() -> Says {
    Says::Loading { evidence: evidence(2_500) }
}

pub fn loaded() -> Says {
    Says::Loaded { load: load(10), evidence: evidence(2_800) }
}

pub fn departed() -> Says {
    Says::Departed { load: load(10), evidence: evidence(3_000) }
}

pub fn departs(depot: &mut Side) {
    for says in [released(1, 1, 10), loading(), loaded(), departed()] {
        depot.says(says);
    }
}

/// Depot and hub, both of which know that a dispatch of ten units is planned.
pub fn both_know_the_plan() -> (Side, Side) {
    let (mut depot, mut central) = (Side::new("site/D1/gw-1/1"), Side::new("hub/H/H/1"));
    depot.says(planned());
    central.hears(&depot);
    (depot, central)
}

/// Brings two sides together: each hears the other, and both see the same.
pub fn together(depot: &mut Side, central: &mut Side) -> DispatchView {
    let before = depot.clone();
    depot.hears(central);
    central.hears(&before);
    assert_eq!(depot.document.heads(), central.document.heads());
    let view = depot.view();
    assert_eq!(view, central.view());
    view
}

/// Plans a dispatch of ten units that both sides know, then lets them act apart, then brings them together.
pub fn apart(edge: impl FnOnce(&mut Side), hub: impl FnOnce(&mut Side)) -> (DispatchView, Side, Side) {
    let (mut depot, mut central) = both_know_the_plan();
    edge(&mut depot);
    hub(&mut central);
    let heads = central.document.heads();
    let view = together(&mut depot, &mut central);
    assert_ne!(heads, central.document.heads(), "they have acted apart");
    (view, depot, central)
}

/// A hold that both know; the depot overrides it while the hub says something else of it.
pub fn overridden(reason: HoldReason, hub: impl FnOnce(&mut Side, &EntryKey), leaves: bool) -> DispatchView {
    let (mut depot, mut central) = both_know_the_plan();
    let hold = depot.says(held(reason));
    central.hears(&depot);
    depot.says(overriding(&hold));
    if leaves {
        depot.says(Says::Departed { load: load(10), evidence: evidence(9_000) });
    }
    hub(&mut central, &hold);
    together(&mut depot, &mut central)
}
