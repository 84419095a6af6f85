//! Proof of delivery: what was signed for, against what left.

use gatehouse_common::{
    dispatch::{DispatchState, DispatchView, Evidence, Says},
    id::{DocumentId, OrderId},
    order::LineQuantity,
    time::Moment,
};

use super::Signed;
use crate::core::Core;

/// Most characters of a signature's name that are kept.
const NAME_MAX_CHARS: usize = 120;

/// What a proof says against what left, in units over all lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Variance {
    pub short: u64,
    pub over: u64,
    pub damaged: u64,
    pub refused: u64,
}

impl Variance {
    /// Compares what was signed for with what left. Goods that were refused or came damaged have come.
    pub fn of(view: &DispatchView) -> Option<Self> {
        let (proof, departed) = (view.proof.as_ref()?, view.departed.as_ref()?);
        let mut variance = Self::default();
        let left = |line: u16| departed.load.iter().filter(|l| l.line == line).map(|l| u64::from(l.quantity)).sum();
        let mut lines: Vec<u16> = departed.load.iter().map(|l| l.line).collect();
        lines.extend(proof.lines.iter().map(|l| l.line));
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            let shipped: u64 = left(line);
            let mut came = 0;
            for signed in proof.lines.iter().filter(|l| l.line == line) {
                let (delivered, refused) = (u64::from(signed.delivered), u64::from(signed.refused));
                came += delivered + refused + u64::from(signed.damaged);
                variance.damaged += u64::from(signed.damaged);
                variance.refused += refused;
            }
            variance.short += shipped.saturating_sub(came);
            variance.over += came.saturating_sub(shipped);
        }
        Some(variance)
    }
}

impl Core {
    /// Takes a proof for the dispatch of an order that the own vehicle carries; says whether there is one.
    pub(in crate::core) fn take_proof(&mut self, order: &OrderId, signed: Signed) -> bool {
        let Some(vehicle) = self.profile.vehicle.clone() else { return false };
        let known = self.dispatches_of(order);
        let carried: Vec<_> = known.iter().filter(|(_, view)| view.vehicle == vehicle).collect();
        let waits = |state| matches!(state, DispatchState::Departed | DispatchState::Loaded);
        // The first that waits for one; else it corrects the newest.
        let found = carried.iter().find(|(_, v)| waits(v.state) && v.proof.is_none()).or_else(|| carried.last());
        let Some(id) = found.map(|(id, _)| *id) else {
            tracing::warn!(order.id = %order, "a proof of delivery came for order {order}, which is not on board here");
            return false;
        };
        self.keep_proof(id, signed);
        true
    }

    /// Keeps a proof until the dispatch can take it.
    pub(in crate::core) fn keep_proof(&mut self, id: DocumentId, mut signed: Signed) {
        signed.signed_by = signed
            .signed_by
            .map(|name| name.trim().chars().take(NAME_MAX_CHARS).collect::<String>())
            .filter(|name| !name.is_empty());
        self.track_event(signed.at, "proof");
        self.trips.edit(&id.to_string(), |trip| {
            if trip.proof.as_ref().is_none_or(|held| held.at <= signed.at) {
                trip.proof = Some(signed);
            }
        });
        self.touched.insert(id);
    }

    /// Writes the proof into the dispatch, once the goods have left.
    pub(super) fn follow_proof(&mut self, now: &Moment, id: DocumentId) {
        let Some(signed) = self.trips.get(&id.to_string()).and_then(|trip| trip.proof.clone()) else { return };
        let Some(view) = self.view(id).cloned() else { return };
        let Some(departed) = view.departed.as_ref() else { return };
        let told = view.proof.as_ref().is_some_and(|told| {
            told.at > signed.at
                || (told.at == signed.at && told.lines == signed.lines && told.signed_by == signed.signed_by)
        });
        if told {
            return;
        }
        let load = handed_over(&view, &departed.load, &signed);
        let evidence = Evidence { at: signed.at, readings: vec![signed.reading.clone()] };
        let mut says = Vec::new();
        if view.delivered.is_none() {
            says.push(Says::Delivered { load: load.clone(), evidence: evidence.clone() });
        }
        says.push(Says::Proved {
            lines: signed.lines,
            load,
            signed_by: signed.signed_by,
            photo: signed.photo,
            evidence,
        });
        self.say(now, id, "rule proof", says);
    }
}

/// What was handed over whole, in the order of what left; then lines that had not left and that the plan knows.
fn handed_over(view: &DispatchView, departed: &[LineQuantity], signed: &Signed) -> Vec<LineQuantity> {
    let delivered = |line: u16| {
        let of_line = signed.lines.iter().filter(|l| l.line == line).map(|l| l.delivered);
        of_line.fold(0_u32, u32::saturating_add)
    };
    let unknown = view.load.iter().filter(|planned| !departed.iter().any(|left| left.line == planned.line));
    departed
        .iter()
        .chain(unknown)
        .map(|line| LineQuantity { quantity: delivered(line.line), ..line.clone() })
        .filter(|line| line.quantity > 0)
        .collect()
}
