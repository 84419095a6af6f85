//! What follows from everything said of a dispatch.
//!
//! The fold reads the document and nothing else. Physical facts make one track that only rises;
//! intentions (cancel, hold, release) make another. Facts win over intentions: once goods have
//! left, a cancellation or hold stays visible as superseded and becomes the hub's reconciliation.
//! Before they have left, a cancellation beats a hold and a hold beats a release, unless the
//! release's writer overrode that very hold.

use serde::Serialize;

use super::{
    entry::{HoldReason, Says},
    lifecycle::{DispatchState, lacks_authority},
};
use crate::{
    decision::Mode,
    document::{Document, Entry, EntryKey, History},
    id::{CarrierId, DecisionId, DocumentId, DoorId, Hash32, OrderId, SiteId, VehicleId},
    order::LineQuantity,
    reading::ProofLine,
    time::UtcMs,
};

/// The newest fold that this code knows.
pub const FOLD_VERSION: u32 = 1;

/// A dispatch as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DispatchView {
    /// Where it stands.
    pub state: DispatchState,
    /// Whether cargo is on board and it must not leave: unload, or wait for the hold to be lifted.
    pub stop_departure: bool,
    /// Whether it left although it must not.
    pub left_under_stop: bool,
    /// For which order.
    pub order: OrderId,
    /// The newest version of the order that the document speaks of.
    pub order_version: u64,
    /// From which depot.
    pub site: SiteId,
    /// Which dispatch of this order from this depot.
    pub occurrence: u32,
    /// With which vehicle.
    pub vehicle: VehicleId,
    /// With which carrier.
    pub carrier: CarrierId,
    /// At which door.
    pub door: DoorId,
    /// When it should leave.
    pub planned_departure: UtcMs,
    /// What it shall carry by the newest terms.
    pub load: Vec<LineQuantity>,
    /// The release in force, or the last one.
    pub release: Option<Release>,
    /// Holds in force.
    pub holds: Vec<Hold>,
    /// The cancellation, if the ERP cancelled.
    pub cancelled: Option<EntryKey>,
    /// Whether the depot has seen that the release was taken back.
    pub recall_seen: bool,
    /// What left, once it has left.
    pub departed: Option<Physical>,
    /// What was handed over, once it was: by the proof of delivery, else by the word that it came there.
    pub delivered: Option<Physical>,
    /// What was signed for, once it was.
    pub proof: Option<Proof>,
    /// When the vehicle reached the destination, by evidence.
    pub arrived_at: Option<UtcMs>,
    /// When it left there again, by evidence.
    pub went_on_at: Option<UtcMs>,
    /// When loading began and ended, as far as known.
    pub loading_at: Option<UtcMs>,
    /// See [`Self::loading_at`].
    pub loaded_at: Option<UtcMs>,
    /// Entries that lost against others, with the reason.
    pub superseded: Vec<(EntryKey, String)>,
    /// Entries that their writer had no authority for, with the reason.
    pub void: Vec<(EntryKey, String)>,
    /// Keys of entries that this version cannot read; they count for nothing.
    pub unread: Vec<String>,
    /// Whether the document needs a newer version of this program; nothing may be decided on it.
    pub waits_for_upgrade: bool,
}

impl DispatchView {
    /// Which of the order's dispatches from which depot: the leg in the dedup keys of its cases.
    #[must_use]
    pub fn leg(&self) -> String {
        format!("{}/{}", self.site, self.occurrence)
    }
}

/// A release as the fold sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its entry.
    pub key: EntryKey,
    /// How it came about.
    pub mode: Mode,
    /// The decision it rests on.
    pub decision: DecisionId,
    /// The version of the order that was seen.
    pub order_version: u64,
    /// What may leave.
    pub load: Vec<LineQuantity>,
    /// When it was written.
    pub at: UtcMs,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Its entry.
    pub key: EntryKey,
    /// What kind.
    pub reason: HoldReason,
    /// For people.
    pub why: String,
    /// Cases to be worked on.
    pub cases: Vec<DocumentId>,
}

/// A physical fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Physical {
    /// Its entry; of several, the earliest by evidence.
    pub key: EntryKey,
    /// What was on board or handed over.
    pub load: Vec<LineQuantity>,
    /// When, by evidence.
    pub at: UtcMs,
}

/// What was signed for at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Its entry; of several, the one with the latest evidence.
    pub key: EntryKey,
    /// Line by line.
    pub lines: Vec<ProofLine>,
    /// What was handed over whole.
    pub load: Vec<LineQuantity>,
    /// Who signed.
    pub signed_by: Option<String>,
    /// Hash of the photo or signature picture.
    pub photo: Option<Hash32>,
    /// When, by evidence.
    pub at: UtcMs,
}

impl Proof {
    /// Whether goods were refused or came damaged.
    #[must_use]
    pub fn has_variance(&self) -> bool {
        self.lines.iter().any(|line| line.refused > 0 || line.damaged > 0)
    }
}

/// Says where a dispatch stands; `None` while nobody has planned it (its first chunks are still on the way).
#[must_use]
pub fn fold(document: &Document) -> Option<DispatchView> {
    let (entries, unread) = document.entries::<Says>();
    let history = History::new(entries);
    Folding::over(&history)?.view(unread)
}

/// What physically happened, and that its books are closed.
struct Happened {
    departed: Option<Physical>,
    delivered: Option<Physical>,
    proof: Option<Proof>,
    arrived: Option<Physical>,
    went_on: Option<Physical>,
    loading: Option<Physical>,
    loaded: Option<Physical>,
    aborted: bool,
    settled: bool,
}

impl Happened {
    /// Where the goods are by this; none while nothing was moved.
    fn state(&self) -> Option<DispatchState> {
        let moved = self.loading.is_some() || self.loaded.is_some();
        let variance = self.proof.as_ref().is_some_and(Proof::has_variance);
        match (&self.departed, &self.delivered) {
            (Some(_), _) | (_, Some(_)) if self.settled => Some(DispatchState::Settled),
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

struct Folding<'a> {
    history: &'a History<Says>,
    plan_key: &'a EntryKey,
    valid: Vec<(&'a EntryKey, &'a Entry<Says>)>,
    void: Vec<(EntryKey, String)>,
}

impl<'a> Folding<'a> {
    fn over(history: &'a History<Says>) -> Option<Self> {
        // The document id was made from order and depot, so all honest plans name one depot; of
        // several plans the last one counts and the depot is the one that it names.
        let plans: Vec<&EntryKey> = history
            .iter()
            .filter(|(key, entry)| match &entry.says {
                Says::Planned { site, .. } => lacks_authority(&key.actor, &entry.says, site).is_none(),
                _ => false,
            })
            .map(|(key, _)| key)
            .collect();
        let plan_key = history.last(&plans)?;
        let Says::Planned { site, .. } = &history.get(plan_key)?.says else { return None };
        let mut valid = Vec::new();
        let mut void = Vec::new();
        for (key, entry) in history.iter() {
            match lacks_authority(&key.actor, &entry.says, site) {
                None => valid.push((key, entry)),
                Some(why) => void.push((key.clone(), why.to_owned())),
            }
        }
        Some(Self { history, plan_key, valid, void })
    }

    fn keys(&self, wanted: impl Fn(&Says) -> bool) -> Vec<&'a EntryKey> {
        self.valid.iter().filter(|(_, e)| wanted(&e.says)).map(|(k, _)| *k).collect()
    }

    /// Of the physical facts that `pick` recognises, the one with the earliest evidence.
    fn earliest(&self, pick: impl Fn(&'a Says) -> Option<(&'a [LineQuantity], UtcMs)>) -> Option<Physical> {
        self.valid
            .iter()
            .filter_map(|(key, entry)| pick(&entry.says).map(|(load, at)| (at, *key, load)))
            .min_by_key(|(at, key, _)| (*at, *key))
            .map(|(at, key, load)| Physical { key: key.clone(), load: load.to_vec(), at })
    }

    fn standing_holds(&self) -> Vec<Hold> {
        self.valid
            .iter()
            .filter_map(|(key, entry)| {
                let Says::Held { reason, why, cases, .. } = &entry.says else { return None };
                (!self.is_lifted(key, *reason)).then(|| Hold {
                    key: (*key).clone(),
                    reason: *reason,
                    why: why.clone(),
                    cases: cases.clone(),
                })
            })
            .collect()
    }

    fn is_lifted(&self, hold: &EntryKey, reason: HoldReason) -> bool {
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Lifted { holds, .. } => holds.contains(hold),
            Says::Released { overrides, .. } => overrides.contains(hold),
            Says::Ready => reason == HoldReason::Gate && self.history.is_before(hold, key),
            _ => false,
        })
    }

    fn release(&self, key: &EntryKey) -> Option<Release> {
        let entry = self.history.get(key)?;
        let Says::Released { mode, decision, order_version, load, .. } = &entry.says else { return None };
        Some(Release {
            key: key.clone(),
            mode: *mode,
            decision: decision.clone(),
            order_version: *order_version,
            load: load.clone(),
            at: entry.at,
        })
    }

    fn view(self, unread: Vec<String>) -> Option<DispatchView> {
        let Says::Planned { order, order_version, site, occurrence, vehicle, carrier, door, load, planned_departure } =
            &self.history.get(self.plan_key)?.says
        else {
            return None;
        };
        let terms = self.newest_terms();
        let newest = terms.filter(|(version, _)| version >= order_version);
        let releases = self.keys(|s| matches!(s, Says::Released { .. }));
        let release = self.history.last(&releases).and_then(|key| self.release(key));
        let is_outdated =
            release.as_ref().zip(terms).is_some_and(|(release, (version, _))| release.order_version < version);
        let cancels = self.keys(|s| matches!(s, Says::Cancelled { .. }));
        let cancelled = self.history.last(&cancels).cloned();
        let holds = self.standing_holds();

        let intention = if cancelled.is_some() {
            DispatchState::Cancelled
        } else if !holds.is_empty() || is_outdated {
            DispatchState::Held
        } else if release.is_some() {
            DispatchState::Released
        } else if self.is_ready() {
            DispatchState::Ready
        } else {
            DispatchState::Planned
        };
        let may_not_leave = matches!(intention, DispatchState::Cancelled | DispatchState::Held);
        let happened = self.happened();
        // What physically happened stands over every intention.
        let state = happened.state().unwrap_or(intention);

        Some(DispatchView {
            state,
            stop_departure: may_not_leave && state.is_on_board(),
            left_under_stop: may_not_leave && state.has_left(),
            order: order.clone(),
            order_version: newest.map_or(*order_version, |(version, _)| version).max(self.cancelled_version()),
            site: site.clone(),
            occurrence: *occurrence,
            vehicle: vehicle.clone(),
            carrier: carrier.clone(),
            door: door.clone(),
            planned_departure: *planned_departure,
            load: newest.map_or(load.as_slice(), |(_, load)| load).to_vec(),
            release,
            holds,
            cancelled,
            recall_seen: self.recall_seen(),
            superseded: self.superseded(state, is_outdated),
            departed: happened.departed,
            delivered: happened.delivered,
            proof: happened.proof,
            arrived_at: happened.arrived.map(|p| p.at),
            went_on_at: happened.went_on.map(|p| p.at),
            loading_at: happened.loading.map(|p| p.at),
            loaded_at: happened.loaded.map(|p| p.at),
            waits_for_upgrade: self.needed_fold() > FOLD_VERSION,
            void: self.void,
            unread,
        })
    }

    /// The terms of the highest version, since versions are the hub's own count; of equal ones the last by key.
    fn newest_terms(&self) -> Option<(u64, &'a [LineQuantity])> {
        let terms = self.valid.iter().filter_map(|(_, entry)| match &entry.says {
            Says::Terms { order_version, load, .. } => Some((*order_version, load.as_slice())),
            _ => None,
        });
        terms.max_by_key(|(version, _)| *version)
    }

    fn cancelled_version(&self) -> u64 {
        let versions = self.valid.iter().filter_map(|(_, entry)| match &entry.says {
            Says::Cancelled { order_version, .. } => Some(*order_version),
            _ => None,
        });
        versions.max().unwrap_or(0)
    }

    /// What was handed over: the proof's word on what, the earliest word on when.
    fn delivered(&self, proof: Option<&Proof>) -> Option<Physical> {
        let came = self.earliest(|s| match s {
            Says::Delivered { load, evidence } => Some((load, evidence.at)),
            _ => None,
        });
        let Some(proof) = proof else { return came };
        let at = came.map_or(proof.at, |came| came.at.min(proof.at));
        Some(Physical { key: proof.key.clone(), load: proof.load.clone(), at })
    }

    /// The proof with the latest evidence: who signs again corrects what was signed before.
    fn proof(&self) -> Option<Proof> {
        let proofs = self.valid.iter().filter_map(|(key, entry)| match &entry.says {
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

    fn happened(&self) -> Happened {
        let proof = self.proof();
        Happened {
            departed: self.earliest(|s| match s {
                Says::Departed { load, evidence } => Some((load, evidence.at)),
                _ => None,
            }),
            delivered: self.delivered(proof.as_ref()),
            proof,
            arrived: self.earliest(|s| match s {
                Says::Arrived { evidence } => Some((&[], evidence.at)),
                _ => None,
            }),
            went_on: self.earliest(|s| match s {
                Says::Left { evidence } => Some((&[], evidence.at)),
                _ => None,
            }),
            loading: self.earliest(|s| match s {
                Says::Loading { evidence } => Some((&[], evidence.at)),
                _ => None,
            }),
            loaded: self.earliest(|s| match s {
                Says::Loaded { evidence, .. } => Some((&[], evidence.at)),
                _ => None,
            }),
            aborted: !self.keys(|s| matches!(s, Says::Aborted { .. })).is_empty(),
            settled: !self.keys(|s| matches!(s, Says::Settled { .. })).is_empty(),
        }
    }

    /// Whether a `Ready` stands that no later hold has undone.
    fn is_ready(&self) -> bool {
        let moves = self.keys(|s| matches!(s, Says::Ready | Says::Held { .. } | Says::Terms { .. }));
        let latest = self.history.latest(&moves);
        !latest.is_empty() && latest.iter().all(|key| self.history.get(key).is_some_and(|e| e.says == Says::Ready))
    }

    /// Whether the depot acknowledged after every cancellation and hold that it is about.
    fn recall_seen(&self) -> bool {
        let seen = self.keys(|s| matches!(s, Says::RecallSeen));
        let recalls = self.keys(|s| matches!(s, Says::Cancelled { .. }));
        !recalls.is_empty() && recalls.iter().all(|r| seen.iter().any(|s| self.history.is_before(r, s)))
    }

    fn superseded(&self, state: DispatchState, release_is_outdated: bool) -> Vec<(EntryKey, String)> {
        let mut superseded = Vec::new();
        for (key, entry) in &self.valid {
            let why = match &entry.says {
                Says::Cancelled { .. } if state.has_left() => "the goods had left",
                Says::Held { reason, .. } if state.has_left() && !self.is_lifted(key, *reason) => "the goods had left",
                Says::Released { .. } if state == DispatchState::Cancelled => "the order was cancelled",
                Says::Released { .. } if state == DispatchState::Held && release_is_outdated => "the order changed",
                Says::Released { .. } if state == DispatchState::Held => "a hold stands",
                _ => continue,
            };
            superseded.push(((*key).clone(), why.to_owned()));
        }
        superseded
    }

    fn needed_fold(&self) -> u32 {
        self.valid
            .iter()
            .filter_map(|(_, e)| match &e.says {
                Says::Fold { version } => Some(*version),
                _ => None,
            })
            .max()
            .unwrap_or(1)
    }
}
