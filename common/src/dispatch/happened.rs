//! What physically happened to a dispatch. It only rises, and it stands over every intention.

use super::{
    entry::Says,
    lifecycle::DispatchState,
    view::{Physical, Proof},
};
use crate::{
    document::{ActorKind, Entry, EntryKey},
    order::LineQuantity,
    time::UtcMs,
};

/// Words on when it left that differ by more than this are a matter of data quality, in milliseconds.
const DISPUTED_FROM_MS: i64 = 600_000;

/// What physically happened, and that its books are closed.
pub(super) struct Happened {
    pub(super) departed: Option<Physical>,
    pub(super) departure_disputed_ms: Option<i64>,
    pub(super) delivered: Option<Physical>,
    pub(super) proof: Option<Proof>,
    pub(super) arrived: Option<Physical>,
    pub(super) went_on: Option<Physical>,
    pub(super) loading: Option<Physical>,
    pub(super) loaded: Option<Physical>,
    aborted: bool,
    settled: bool,
    settles_undelivered: bool,
}

type Said<'a> = [(&'a EntryKey, &'a Entry<Says>)];

impl Happened {
    pub(super) fn of(said: &Said<'_>, version: u32) -> Self {
        let proof = last_proof(said);
        let departures = |wanted: fn(ActorKind) -> bool| {
            earliest(said, move |key, says| match says {
                Says::Departed { load, evidence } if wanted(key.actor.kind) => Some((load, evidence.at)),
                _ => None,
            })
        };
        // The hub's word on a departure is a carrier's; whoever saw it leave knows better, earlier or later.
        let departed = match departures(|kind| kind != ActorKind::Hub) {
            Some(seen) if version >= 2 => Some(seen),
            _ => departures(|_| true),
        };
        let any = |wanted: fn(&Says) -> bool| said.iter().any(|(_, entry)| wanted(&entry.says));
        let at = |pick: fn(&Says) -> Option<UtcMs>| earliest(said, move |_, says| Some((&[], pick(says)?)));
        Self {
            departure_disputed_ms: departed.as_ref().and_then(|d| dispute_ms(said, d.at)),
            departed,
            delivered: delivered(said, proof.as_ref()),
            proof,
            arrived: at(|s| match s {
                Says::Arrived { evidence } => Some(evidence.at),
                _ => None,
            }),
            went_on: at(|s| match s {
                Says::Left { evidence } => Some(evidence.at),
                _ => None,
            }),
            loading: at(|s| match s {
                Says::Loading { evidence } => Some(evidence.at),
                _ => None,
            }),
            loaded: at(|s| match s {
                Says::Loaded { evidence, .. } => Some(evidence.at),
                _ => None,
            }),
            aborted: any(|s| matches!(s, Says::Aborted { .. })),
            settled: any(|s| matches!(s, Says::Settled { .. })),
            settles_undelivered: version < 2,
        }
    }

    /// Where the goods are by this; none while nothing was moved.
    pub(super) fn state(&self) -> Option<DispatchState> {
        let moved = self.loading.is_some() || self.loaded.is_some();
        let variance = self.proof.as_ref().is_some_and(Proof::has_variance);
        let may_settle = self.delivered.is_some() || (self.departed.is_some() && self.settles_undelivered);
        match (&self.departed, &self.delivered) {
            _ if self.settled && may_settle => Some(DispatchState::Settled),
            (Some(departed), Some(delivered)) if departed.load != delivered.load => {
                Some(DispatchState::ExceptionDelivered)
            }
            (_, Some(_)) if variance => Some(DispatchState::ExceptionDelivered),
            (_, Some(_)) => Some(DispatchState::Delivered),
            (Some(_), None) => Some(DispatchState::Departed),
            (None, None) if self.aborted && moved => Some(DispatchState::Aborted),
            (None, None) if self.loaded.is_some() => Some(DispatchState::Loaded),
            (None, None) if self.loading.is_some() => Some(DispatchState::Loading),
            (None, None) => None,
        }
    }
}

/// Of the physical facts that `pick` recognises, the one with the earliest evidence.
fn earliest<'a>(
    said: &Said<'a>,
    pick: impl Fn(&EntryKey, &'a Says) -> Option<(&'a [LineQuantity], UtcMs)>,
) -> Option<Physical> {
    said.iter()
        .filter_map(|(key, entry)| pick(key, &entry.says).map(|(load, at)| (at, *key, load)))
        .min_by_key(|(at, key, _)| (*at, *key))
        .map(|(at, key, load)| Physical { key: key.clone(), load: load.to_vec(), at })
}

fn dispute_ms(said: &Said<'_>, at: UtcMs) -> Option<i64> {
    let others = said.iter().filter_map(|(_, entry)| match &entry.says {
        Says::Departed { evidence, .. } => Some(evidence.at.since(at).saturating_abs()),
        _ => None,
    });
    others.max().filter(|ms| *ms > DISPUTED_FROM_MS)
}

/// What was handed over: the proof's word on what, the earliest word on when.
fn delivered(said: &Said<'_>, proof: Option<&Proof>) -> Option<Physical> {
    let came = earliest(said, |_, says| match says {
        Says::Delivered { load, evidence } => Some((load, evidence.at)),
        _ => None,
    });
    let Some(proof) = proof else { return came };
    let at = came.map_or(proof.at, |came| came.at.min(proof.at));
    Some(Physical { key: proof.key.clone(), load: proof.load.clone(), at })
}

/// The proof with the latest evidence: who signs again corrects what was signed before.
fn last_proof(said: &Said<'_>) -> Option<Proof> {
    let proofs = said.iter().filter_map(|(key, entry)| match &entry.says {
        Says::Proved { lines, load, signed_by, photo, evidence } => Some(Proof {
            key: (*key).clone(),
            lines: lines.clone(),
            load: load.clone(),
            signed_by: signed_by.clone(),
            photo: *photo,
            at: evidence.at,
        }),
        _ => None,
    });
    proofs.max_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)))
}
