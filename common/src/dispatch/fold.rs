//! Says where a dispatch stands. It reads the document and nothing else.
//!
//! Physical facts make one track that only rises; intentions (cancel, hold, release) make another.
//! Facts win over intentions: once goods have left, a cancellation or hold stays visible as superseded
//! and becomes the hub's reconciliation. Before they have left, a cancellation beats a hold and a hold
//! beats a release, unless the release's writer overrode that very hold.

use std::cmp::Reverse;

use super::{
    FOLD_VERSION,
    entry::{Changed, HoldReason, Says},
    happened::Happened,
    lifecycle::{DispatchState, lacks_authority},
    view::{CancelAsked, DispatchView, Hold, Release},
};
use crate::{
    decision::Mode,
    document::{ActorKind, Document, Entry, EntryKey, Folds, History},
    id::{CarrierId, SiteId},
    order::LineQuantity,
    time::UtcMs,
};

/// Says where a dispatch stands; `None` while nobody has planned it (its first chunks are still on the way).
#[must_use]
pub fn fold(document: &Document) -> Option<DispatchView> {
    let (entries, mut unread) = document.entries::<Says>();
    let mut history = History::new(entries);
    let version = version_of(&history, &site_of(&history)?);
    // What a document's version does not know counts for nothing, as it does for a program that cannot read it.
    if history.iter().any(|(_, entry)| entry.says.needs_fold() > version) {
        let (newer, known): (Vec<_>, Vec<_>) = history.iter().partition(|(_, entry)| entry.says.needs_fold() > version);
        unread.extend(newer.iter().map(|(key, _)| key.to_string()));
        unread.sort_unstable();
        history = History::new(known.into_iter().map(|(key, entry)| (key.clone(), entry.clone())).collect());
    }
    Folding::over(&history, version)?.view(unread)
}

fn plan_of(history: &History<Says>) -> Option<&EntryKey> {
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
    history.last(&plans)
}

fn site_of(history: &History<Says>) -> Option<SiteId> {
    match &history.get(plan_of(history)?)?.says {
        Says::Planned { site, .. } => Some(site.clone()),
        _ => None,
    }
}

fn version_of(history: &History<Says>, site: &SiteId) -> u32 {
    let asked = history.iter().filter(|(key, entry)| lacks_authority(&key.actor, &entry.says, site).is_none());
    asked.filter_map(|(_, entry)| entry.says.fold_named()).max().unwrap_or(1)
}

struct Folding<'a> {
    history: &'a History<Says>,
    version: u32,
    plan_key: &'a EntryKey,
    /// What is said with authority, in the order of keys.
    valid: Vec<(&'a EntryKey, &'a Entry<Says>)>,
    void: Vec<(EntryKey, String)>,
    happened: Happened,
}

impl<'a> Folding<'a> {
    fn over(history: &'a History<Says>, version: u32) -> Option<Self> {
        let plan_key = plan_of(history)?;
        let site = site_of(history)?;
        let mut valid = Vec::new();
        let mut void = Vec::new();
        for (key, entry) in history.iter() {
            match lacks_authority(&key.actor, &entry.says, &site) {
                None => valid.push((key, entry)),
                Some(why) => void.push((key.clone(), why.to_owned())),
            }
        }
        let happened = Happened::of(&valid, version);
        Some(Self { history, version, plan_key, valid, void, happened })
    }

    fn keys(&self, wanted: impl Fn(&Says) -> bool) -> Vec<&'a EntryKey> {
        self.valid.iter().filter(|(_, e)| wanted(&e.says)).map(|(k, _)| *k).collect()
    }

    fn each<T>(&self, pick: impl Fn(&'a EntryKey, &'a Entry<Says>) -> Option<T>) -> Vec<T> {
        self.valid.iter().filter_map(|(key, entry)| pick(key, entry)).collect()
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
        let cancelled = self.history.last(&self.keys(|s| matches!(s, Says::Cancelled { .. }))).cloned();
        let reassigned_to = self.reassigned_to();
        let holds = self.standing_holds();
        let is_weighed = self.is_ready();

        let intention = if cancelled.is_some() || reassigned_to.is_some() {
            DispatchState::Cancelled
        } else if !holds.is_empty() || (is_outdated && !(is_weighed && self.version >= 2)) {
            DispatchState::Held
        } else if release.is_some() && !is_outdated {
            DispatchState::Released
        } else if is_weighed {
            DispatchState::Ready
        } else {
            DispatchState::Planned
        };
        let may_not_leave = is_outdated || matches!(intention, DispatchState::Cancelled | DispatchState::Held);
        // What physically happened stands over every intention.
        let state = self.happened.state().unwrap_or(intention);
        let (carrier, carrier_refused) = self.carrier(carrier);

        Some(DispatchView {
            state,
            stop_departure: may_not_leave && state.is_on_board(),
            left_under_stop: may_not_leave && state.has_left(),
            stop_was_known: may_not_leave && self.stop_was_known(&holds),
            order: order.clone(),
            order_version: newest.map_or(*order_version, |(version, _)| version).max(self.other_version()),
            site: site.clone(),
            occurrence: *occurrence,
            vehicle: vehicle.clone(),
            carrier,
            carrier_refused,
            door: door.clone(),
            planned_departure: *planned_departure,
            load: newest.map_or(load.as_slice(), |(_, load)| load).to_vec(),
            superseded: self.superseded(state, is_outdated, reassigned_to.is_some()),
            release,
            holds,
            cancelled,
            reassigned_to,
            cancel_asked: self.cancel_asked(),
            weigh_again: !state.has_left() && self.weigh_again(),
            divert: state.has_left() && self.divert(),
            promises: self.promises(),
            in_transit: self.each(|key, entry| match &entry.says {
                Says::InTransit { action, .. } => Some((key.clone(), *action)),
                _ => None,
            }),
            recall_seen: self.recall_seen(),
            departed: self.happened.departed,
            departure_disputed_ms: self.happened.departure_disputed_ms,
            delivered: self.happened.delivered,
            proof: self.happened.proof,
            arrived_at: self.happened.arrived.map(|p| p.at),
            went_on_at: self.happened.went_on.map(|p| p.at),
            loading_at: self.happened.loading.map(|p| p.at),
            loaded_at: self.happened.loaded.map(|p| p.at),
            fold: self.version,
            waits_for_upgrade: self.version > FOLD_VERSION,
            void: self.void,
            unread,
        })
    }

    fn standing_holds(&self) -> Vec<Hold> {
        self.each(|key, entry| {
            let Says::Held { reason, why, cases, .. } = &entry.says else { return None };
            (!self.is_lifted(key, *reason)).then(|| Hold {
                key: key.clone(),
                reason: *reason,
                why: why.clone(),
                cases: cases.clone(),
            })
        })
    }

    fn is_lifted(&self, hold: &EntryKey, reason: HoldReason) -> bool {
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Lifted { holds, .. } => holds.contains(hold),
            Says::Released { overrides, .. } if overrides.contains(hold) => {
                self.version < 2 || !(reason.is_never_overridden() || self.is_confirmed(hold, key))
            }
            Says::Ready => reason == HoldReason::Gate && self.history.is_before(hold, key),
            _ => false,
        })
    }

    /// Whether the hub said that a hold stands and whoever overrode it did not know.
    fn is_confirmed(&self, hold: &EntryKey, overriding: &EntryKey) -> bool {
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Confirmed { holds, .. } => holds.contains(hold) && !self.history.is_before(key, overriding),
            _ => false,
        })
    }

    fn release(&self, key: &EntryKey) -> Option<Release> {
        let entry = self.history.get(key)?;
        let Says::Released { mode, decision, order_version, load, overrides } = &entry.says else { return None };
        // Each of the holds was lifted by someone who did not know of the override.
        let lifted = |hold: &EntryKey| {
            self.valid.iter().any(|(other, entry)| match &entry.says {
                Says::Lifted { holds, .. } => holds.contains(hold) && self.history.are_concurrent(other, key),
                _ => false,
            })
        };
        let unneeded =
            self.version >= 2 && *mode == Mode::Override && !overrides.is_empty() && overrides.iter().all(lifted);
        Some(Release {
            key: key.clone(),
            mode: if unneeded { Mode::Normal } else { *mode },
            override_unneeded: unneeded,
            decision: decision.clone(),
            order_version: *order_version,
            load: load.clone(),
            at: entry.at,
        })
    }

    /// The terms of the highest version, since versions are the hub's own count; of equal ones the last by key.
    fn newest_terms(&self) -> Option<(u64, &'a [LineQuantity])> {
        let terms = self.each(|_, entry| match &entry.says {
            Says::Terms { order_version, load, .. } => Some((*order_version, load.as_slice())),
            _ => None,
        });
        terms.into_iter().max_by_key(|(version, _)| *version)
    }

    /// The highest version that something other than plans and terms speaks of.
    fn other_version(&self) -> u64 {
        let versions = self.each(|_, entry| match &entry.says {
            Says::Cancelled { order_version, .. }
            | Says::Reassigned { order_version, .. }
            | Says::Changed { order_version, .. } => Some(*order_version),
            _ => None,
        });
        versions.into_iter().max().unwrap_or(0)
    }

    /// What was put in, closed or driven off; aborting undoes it, so it is none.
    fn cargo_moves(&self) -> Vec<&'a EntryKey> {
        self.keys(|s| matches!(s, Says::Loading { .. } | Says::Loaded { .. } | Says::Departed { .. }))
    }

    /// The last word on another depot; none if goods were on board here before that was known.
    fn reassigned_to(&self) -> Option<SiteId> {
        let last = self.history.last(&self.keys(|s| matches!(s, Says::Reassigned { .. })))?;
        let unseen = |fact: &&EntryKey| !self.history.is_before(last, fact);
        match &self.history.get(last)?.says {
            Says::Reassigned { to, .. } if !self.cargo_moves().iter().any(unseen) => Some(to.clone()),
            _ => None,
        }
    }

    /// Who carries it, and whose word came too late. Once goods were put in, who had been named before stands; until
    /// then the hub's word goes over the depot's that did not know of it.
    fn carrier(&self, planned: &CarrierId) -> (CarrierId, Option<CarrierId>) {
        let named = self.keys(|s| matches!(s, Says::Carrier { .. }));
        let moves = self.cargo_moves();
        let in_time = |key: &&EntryKey| moves.is_empty() || moves.iter().any(|fact| self.history.is_before(key, fact));
        let (counting, late): (Vec<&EntryKey>, Vec<&EntryKey>) = named.into_iter().partition(in_time);
        let carrier = |key: &EntryKey| match &self.history.get(key)?.says {
            Says::Carrier { carrier, .. } => Some(carrier.clone()),
            _ => None,
        };
        let mut latest = self.history.latest(&counting);
        latest.sort_by_key(|key| {
            let hlc = self.history.get(key).map(|e| e.hlc);
            (key.actor.kind != ActorKind::Hub, Reverse(hlc), Reverse(*key))
        });
        let stands = latest.first().and_then(|key| carrier(key)).unwrap_or_else(|| planned.clone());
        let refused = self.history.last(&late).and_then(carrier).filter(|refused| *refused != stands);
        (stands, refused)
    }

    fn cancel_asked(&self) -> Option<CancelAsked> {
        let is_answered = |asking: &EntryKey| {
            self.valid.iter().any(|(_, entry)| match &entry.says {
                Says::CancelDeclined { asked, .. } => asked.contains(asking),
                Says::Cancelled { .. } => true,
                _ => false,
            })
        };
        let mut open = self.keys(|s| matches!(s, Says::CancelAsked { .. }));
        open.retain(|key| !is_answered(key));
        let key = self.history.last(&open)?;
        match &self.history.get(key)?.says {
            Says::CancelAsked { why, absence } => {
                let absent_at = absence.as_ref().map(|evidence| evidence.at);
                Some(CancelAsked { key: key.clone(), why: why.clone(), is_proven: absence.is_some(), absent_at })
            }
            _ => None,
        }
    }

    /// Whether a change of address or date stands that no word on the gates knew of.
    fn weigh_again(&self) -> bool {
        let weighed = self.keys(|s| matches!(s, Says::Ready | Says::Released { .. } | Says::Held { .. }));
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Changed { what, .. } => {
                what.iter().any(|w| *w != Changed::Price) && !weighed.iter().any(|w| self.history.is_before(key, w))
            }
            _ => false,
        })
    }

    fn divert(&self) -> bool {
        let answers = self.keys(|s| matches!(s, Says::InTransit { .. }));
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Changed { what, .. } => {
                what.contains(&Changed::Address) && !answers.iter().any(|a| self.history.is_before(key, a))
            }
            _ => false,
        })
    }

    /// Every window that was promised, by version of the order.
    fn promises(&self) -> Vec<UtcMs> {
        let mut changes = self.each(|key, entry| match &entry.says {
            Says::Changed { order_version, what, promised, promises, .. } if what.contains(&Changed::Date) => {
                Some((*order_version, key, *promised, *promises))
            }
            _ => None,
        });
        changes.sort();
        let mut all = Vec::new();
        for at in changes.into_iter().flat_map(|(.., before, now)| [before, now]) {
            if all.last() != Some(&at) {
                all.push(at);
            }
        }
        all
    }

    /// Whether a `Ready` stands that no later hold has undone.
    fn is_ready(&self) -> bool {
        let moves = self.keys(|s| matches!(s, Says::Ready | Says::Held { .. } | Says::Terms { .. }));
        let latest = self.history.latest(&moves);
        !latest.is_empty() && latest.iter().all(|key| self.history.get(key).is_some_and(|e| e.says == Says::Ready))
    }

    /// Whether the depot acknowledged after every cancellation and reassignment that it is about.
    fn recall_seen(&self) -> bool {
        let seen = self.keys(|s| matches!(s, Says::RecallSeen));
        let recalls = self.keys(|s| matches!(s, Says::Cancelled { .. } | Says::Reassigned { .. }));
        !recalls.is_empty() && recalls.iter().all(|r| seen.iter().any(|s| self.history.is_before(r, s)))
    }

    /// Whether the departure that counts was written by someone who knew of a cancellation, reassignment or standing hold.
    fn stop_was_known(&self, holds: &[Hold]) -> bool {
        let Some(departed) = &self.happened.departed else { return false };
        let stops = self.keys(|s| matches!(s, Says::Cancelled { .. } | Says::Reassigned { .. } | Says::Terms { .. }));
        let mut stops = stops.into_iter().chain(holds.iter().map(|hold| &hold.key));
        stops.any(|stop| self.history.is_before(stop, &departed.key))
    }

    fn superseded(&self, state: DispatchState, is_outdated: bool, is_reassigned: bool) -> Vec<(EntryKey, String)> {
        let left = state.has_left();
        let counts = self.happened.departed.as_ref().map(|d| &d.key);
        self.each(|key, entry| {
            let why = match &entry.says {
                Says::Cancelled { .. } if left => "the goods had left",
                Says::Held { reason, .. } if left && !self.is_lifted(key, *reason) => "the goods had left",
                Says::Reassigned { .. } if !is_reassigned => "the goods were on board before it was known",
                Says::Released { .. } if state == DispatchState::Cancelled && is_reassigned => {
                    "the order leaves from another depot"
                }
                Says::Released { .. } if state == DispatchState::Cancelled => "the order was cancelled",
                Says::Released { .. } if state == DispatchState::Held && is_outdated => "the order changed",
                Says::Released { .. } if state == DispatchState::Held => "a hold stands",
                Says::Released { overrides, .. }
                    if self.version >= 2 && overrides.iter().any(|hold| self.is_refused(hold)) =>
                {
                    "a hold that it overrode stands"
                }
                Says::Departed { .. } if self.version >= 2 && counts.is_some_and(|counts| counts != key) => {
                    "another word on when it left counts"
                }
                Says::Carrier { .. } if self.is_late(key) => "the goods were in another carrier's vehicle",
                _ => return None,
            };
            Some((key.clone(), why.to_owned()))
        })
    }

    /// Whether a hold stands although someone overrode it.
    fn is_refused(&self, hold: &EntryKey) -> bool {
        self.standing_holds().iter().any(|standing| standing.key == *hold)
    }

    fn is_late(&self, naming: &EntryKey) -> bool {
        let moves = self.cargo_moves();
        !moves.is_empty() && !moves.iter().any(|fact| self.history.is_before(naming, fact))
    }
}
