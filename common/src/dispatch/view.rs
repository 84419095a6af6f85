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
    id::{CarrierId, DecisionId, DocumentId, DoorId, OrderId, SiteId, VehicleId},
    order::LineQuantity,
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
    /// What was handed over, once it was.
    pub delivered: Option<Physical>,
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

/// Says where a dispatch stands; `None` while nobody has planned it (its first chunks are still on the way).
#[must_use]
pub fn fold(document: &Document) -> Option<DispatchView> {
    let (entries, unread) = document.entries::<Says>();
    let history = History::new(entries);
    Folding::over(&history)?.view(unread)
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

        // What the ERP says of the order now: the highest version counts, since versions are its own count.
        let (mut newest_version, mut newest_load) = (*order_version, load.clone());
        for (_, entry) in &self.valid {
            if let Says::Terms { order_version, load, .. } = &entry.says
                && *order_version >= newest_version
            {
                (newest_version, newest_load) = (*order_version, load.clone());
            }
        }
        let terms_changed = self
            .valid
            .iter()
            .filter_map(|(_, e)| match &e.says {
                Says::Terms { order_version, .. } => Some(*order_version),
                _ => None,
            })
            .max();

        let departed = self.earliest(|s| match s {
            Says::Departed { load, evidence } => Some((load, evidence.at)),
            _ => None,
        });
        let delivered = self.earliest(|s| match s {
            Says::Delivered { load, evidence } => Some((load, evidence.at)),
            _ => None,
        });
        let loading = self.earliest(|s| match s {
            Says::Loading { evidence } => Some((&[], evidence.at)),
            _ => None,
        });
        let loaded = self.earliest(|s| match s {
            Says::Loaded { evidence, .. } => Some((&[], evidence.at)),
            _ => None,
        });
        let aborted = !self.keys(|s| matches!(s, Says::Aborted { .. })).is_empty();
        let settled = !self.keys(|s| matches!(s, Says::Settled { .. })).is_empty();

        let holds = self.standing_holds();
        let releases = self.keys(|s| matches!(s, Says::Released { .. }));
        let release = self.history.last(&releases).and_then(|key| self.release(key));
        let cancels = self.keys(|s| matches!(s, Says::Cancelled { .. }));
        let cancelled = self.history.last(&cancels).cloned();
        let cancelled_version = self
            .valid
            .iter()
            .filter_map(|(_, e)| match &e.says {
                Says::Cancelled { order_version, .. } => Some(*order_version),
                _ => None,
            })
            .max();
        let release_is_outdated = match (&release, terms_changed) {
            (Some(release), Some(version)) => release.order_version < version,
            _ => false,
        };
        let intention = if cancelled.is_some() {
            DispatchState::Cancelled
        } else if !holds.is_empty() || release_is_outdated {
            DispatchState::Held
        } else if release.is_some() {
            DispatchState::Released
        } else if self.is_ready() {
            DispatchState::Ready
        } else {
            DispatchState::Planned
        };
        let may_not_leave = matches!(intention, DispatchState::Cancelled | DispatchState::Held);

        let state = if settled && (departed.is_some() || delivered.is_some()) {
            DispatchState::Settled
        } else if let Some(delivered) = &delivered {
            let short = departed.as_ref().is_some_and(|d| d.load != delivered.load);
            if short { DispatchState::ExceptionDelivered } else { DispatchState::Delivered }
        } else if departed.is_some() {
            DispatchState::Departed
        } else if aborted && (loading.is_some() || loaded.is_some()) {
            DispatchState::Aborted
        } else if loaded.is_some() {
            DispatchState::Loaded
        } else if loading.is_some() {
            DispatchState::Loading
        } else {
            intention
        };

        let superseded = self.superseded(state, release_is_outdated);
        let recall_seen = self.recall_seen();
        Some(DispatchView {
            state,
            stop_departure: may_not_leave && state.is_on_board(),
            left_under_stop: may_not_leave && state.has_left(),
            order: order.clone(),
            order_version: newest_version.max(cancelled_version.unwrap_or(0)),
            site: site.clone(),
            occurrence: *occurrence,
            vehicle: vehicle.clone(),
            carrier: carrier.clone(),
            door: door.clone(),
            planned_departure: *planned_departure,
            load: newest_load,
            release,
            holds,
            cancelled,
            recall_seen,
            departed,
            delivered,
            loading_at: loading.map(|p| p.at),
            loaded_at: loaded.map(|p| p.at),
            superseded,
            waits_for_upgrade: self.needed_fold() > FOLD_VERSION,
            void: self.void,
            unread,
        })
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
