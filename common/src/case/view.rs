//! What follows from everything said of a case.
//!
//! The fold reads the document and nothing else.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    entry::Says,
    lifecycle::{CaseState, lacks_authority},
    severity::Severity,
    taxonomy::{CaseType, Team},
};
use crate::{
    document::{Document, Entry, EntryKey, History},
    id::{DocumentId, OrderId, SiteId},
    time::UtcMs,
};

/// The newest fold that this code knows.
pub const FOLD_VERSION: u32 = 1;

/// A case as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseView {
    /// What is wrong.
    pub case_type: CaseType,
    /// With what.
    pub subject: String,
    /// On which leg.
    pub leg: String,
    /// Which case under this dedup key.
    pub occurrence: u32,
    /// At which depot.
    pub site: SiteId,
    /// One sentence for people.
    pub summary: String,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// The dispatch it blocks.
    pub blocks: Option<DocumentId>,
    /// Where it stands.
    pub state: CaseState,
    /// How bad it is.
    pub severity: Severity,
    /// Whose it is.
    pub owner: Team,
    /// What is recommended.
    pub actions: Vec<String>,
    /// When it was opened; of several, the earliest.
    pub opened_at: UtcMs,
    /// When it was first acknowledged; of several, the earliest.
    pub acknowledged_at: Option<UtcMs>,
    /// When it was last resolved.
    pub resolved_at: Option<UtcMs>,
    /// When the matter itself changed by the move that it stands at, by fix or sensor time.
    pub moved_at: Option<UtcMs>,
    /// When someone should have acknowledged it.
    pub acknowledge_by: Option<UtcMs>,
    /// When it should be resolved.
    pub resolve_by: Option<UtcMs>,
    /// The reason of the last move.
    pub reason: Option<String>,
    /// How often its trigger fired, the first time included.
    pub triggers: u32,
    /// Levels it was escalated to; each counts once, whoever fired it.
    pub escalations: BTreeSet<u8>,
    /// Entries that lost against others, with the reason.
    pub superseded: Vec<(EntryKey, String)>,
    /// Entries that their writer had no authority for, with the reason.
    pub void: Vec<(EntryKey, String)>,
    /// Keys of entries that this version cannot read; they count for nothing.
    pub unread: Vec<String>,
    /// The notes.
    pub notes: String,
    /// Whether the document needs a newer version of this program; nothing may be decided on it.
    pub waits_for_upgrade: bool,
}

/// Says where a case stands; `None` while nobody has opened it (its first chunks are still on the way).
#[must_use]
pub fn fold(document: &Document) -> Option<CaseView> {
    let (entries, unread) = document.entries::<Says>();
    let history = History::new(entries);
    let opened = history
        .iter()
        .filter(|(key, entry)| match &entry.says {
            Says::Opened { case_type, site, .. } => {
                lacks_authority(&key.actor, &entry.says, *case_type, site).is_none()
            }
            _ => false,
        })
        .min_by_key(|(key, entry)| (entry.at, *key))?;
    let Says::Opened { case_type, subject, leg, occurrence, site, summary, order, blocks, .. } = &opened.1.says else {
        return None;
    };
    let mut folding = Folding { history: &history, valid: Vec::new(), void: Vec::new() };
    for (key, entry) in history.iter() {
        match lacks_authority(&key.actor, &entry.says, *case_type, site) {
            None => folding.valid.push((key, entry)),
            Some(why) => folding.void.push((key.clone(), why.to_owned())),
        }
    }
    let Standing { state, moved_at, reason, superseded } = folding.state();
    let (owner, severity) = (folding.owner(*case_type), folding.severity(*case_type));
    let due = folding.classified();
    Some(CaseView {
        case_type: *case_type,
        subject: subject.clone(),
        leg: leg.clone(),
        occurrence: *occurrence,
        site: site.clone(),
        summary: summary.clone(),
        order: order.clone(),
        blocks: *blocks,
        state,
        severity,
        owner,
        actions: due.map(|d| d.actions.to_vec()).unwrap_or_default(),
        opened_at: opened.1.at,
        acknowledged_at: folding.first_move(|to| matches!(to, CaseState::Acknowledged | CaseState::InProgress)),
        resolved_at: folding.last_resolve(),
        moved_at,
        acknowledge_by: due.map(|d| d.acknowledge_by),
        resolve_by: due.map(|d| d.resolve_by),
        reason,
        triggers: folding.count(|s| matches!(s, Says::Opened { .. } | Says::Triggered { .. })),
        escalations: folding.escalations(),
        superseded,
        notes: document.notes(),
        waits_for_upgrade: folding.needed_fold() > FOLD_VERSION,
        void: folding.void,
        unread,
    })
}

struct Folding<'a> {
    history: &'a History<Says>,
    valid: Vec<(&'a EntryKey, &'a Entry<Says>)>,
    void: Vec<(EntryKey, String)>,
}

/// Where the moves leave a case.
struct Standing {
    state: CaseState,
    /// When the matter changed by the move that counts.
    moved_at: Option<UtcMs>,
    reason: Option<String>,
    /// Moves that lost against it.
    superseded: Vec<(EntryKey, String)>,
}

#[derive(Clone, Copy)]
struct Due<'a> {
    actions: &'a [String],
    acknowledge_by: UtcMs,
    resolve_by: UtcMs,
}

impl<'a> Folding<'a> {
    fn keys(&self, wanted: impl Fn(&Says) -> bool) -> Vec<&'a EntryKey> {
        self.valid.iter().filter(|(_, e)| wanted(&e.says)).map(|(k, _)| *k).collect()
    }

    fn count(&self, wanted: impl Fn(&Says) -> bool) -> u32 {
        u32::try_from(self.keys(wanted).len()).unwrap_or(u32::MAX)
    }

    fn moved_to(&self, key: &EntryKey) -> Option<(CaseState, UtcMs, &'a str)> {
        match &self.history.get(key)?.says {
            Says::Moved { to, since, reason, .. } => Some((*to, *since, reason)),
            _ => None,
        }
    }

    fn state(&self) -> Standing {
        let moves = self.keys(|s| matches!(s, Says::Moved { .. }));
        let latest = self.history.latest(&moves);
        let weigh = |key: &&&EntryKey| {
            let weight = self.moved_to(key).map(|(to, ..)| to.weight());
            (weight, self.history.get(key).map(|e| e.hlc), (**key).clone())
        };
        let winner = latest.iter().max_by_key(weigh).copied();
        let Some((winner, (mut to, since, reason))) = winner.and_then(|key| Some((key, self.moved_to(key)?))) else {
            return Standing { state: CaseState::Open, moved_at: None, reason: None, superseded: Vec::new() };
        };
        let superseded = latest
            .iter()
            .filter(|key| **key != winner)
            .map(|key| ((*key).clone(), "a move on the other side outweighs it".to_owned()))
            .collect();
        if to == CaseState::Resolved && self.has_unseen_question(winner) {
            // Whoever resolved it had not seen the question, so it is not answered.
            to = CaseState::InProgress;
        }
        if to == CaseState::Resolved && self.was_triggered_after(winner, since) {
            to = CaseState::Reopened;
        }
        Standing { state: to, moved_at: Some(since), reason: Some(reason.to_owned()), superseded }
    }

    fn has_unseen_question(&self, resolve: &EntryKey) -> bool {
        self.keys(|s| matches!(s, Says::Escalated { question: Some(_), .. }))
            .iter()
            .any(|question| !self.history.is_before(question, resolve))
    }

    /// Whether the trigger fired again later than the matter was resolved, by fix time. A trigger learned late
    /// but fired earlier is evidence, no reopening.
    fn was_triggered_after(&self, resolve: &EntryKey, resolved: UtcMs) -> bool {
        self.valid.iter().any(|(key, entry)| match &entry.says {
            Says::Triggered { since, .. } => *since > resolved && !self.history.is_before(key, resolve),
            _ => false,
        })
    }

    fn first_move(&self, wanted: impl Fn(CaseState) -> bool) -> Option<UtcMs> {
        self.valid
            .iter()
            .filter_map(|(_, entry)| match &entry.says {
                Says::Moved { to, .. } if wanted(*to) => Some(entry.at),
                _ => None,
            })
            .min()
    }

    fn last_resolve(&self) -> Option<UtcMs> {
        let resolves = self.keys(|s| matches!(s, Says::Moved { to: CaseState::Resolved, .. }));
        self.history.last(&resolves).and_then(|key| self.history.get(key)).map(|e| e.at)
    }

    fn classified(&self) -> Option<Due<'a>> {
        let keys = self.keys(|s| matches!(s, Says::Classified { .. }));
        match &self.history.get(self.history.last(&keys)?)?.says {
            Says::Classified { actions, acknowledge_by, resolve_by, .. } => {
                Some(Due { actions, acknowledge_by: *acknowledge_by, resolve_by: *resolve_by })
            }
            _ => None,
        }
    }

    /// The worst that was said since severity was last lowered; a raise that had not seen the lowering counts.
    fn severity(&self, case_type: CaseType) -> Severity {
        let lowered = self.keys(|s| matches!(s, Says::SeverityLowered { .. }));
        let lowering = self.history.last(&lowered);
        let raised = self.valid.iter().filter_map(|(key, entry)| match &entry.says {
            Says::Classified { severity, .. } => Some((*key, *severity)),
            _ => None,
        });
        match lowering.and_then(|key| Some((key, &self.history.get(key)?.says))) {
            Some((lowering, Says::SeverityLowered { severity, .. })) => raised
                .filter(|(key, _)| !self.history.is_before(key, lowering))
                .map(|(_, raised)| raised)
                .fold(*severity, Severity::max),
            _ => raised.map(|(_, raised)| raised).max().unwrap_or_else(|| case_type.floor()),
        }
    }

    /// The last assignment; of concurrent ones the hub's; without any, the rules' owner.
    fn owner(&self, case_type: CaseType) -> Team {
        let said = self.keys(|s| matches!(s, Says::Assigned { .. } | Says::Classified { .. }));
        let assigned: Vec<&EntryKey> = self.keys(|s| matches!(s, Says::Assigned { .. }));
        let pool = if assigned.is_empty() { said } else { assigned };
        let winner = self
            .history
            .latest(&pool)
            .into_iter()
            .min_by_key(|key| (key.actor.kind, std::cmp::Reverse(self.history.get(key).map(|e| e.hlc)), *key));
        match winner.and_then(|key| self.history.get(key)).map(|e| &e.says) {
            Some(Says::Assigned { owner } | Says::Classified { owner, .. }) => *owner,
            _ => case_type.owner(),
        }
    }

    fn escalations(&self) -> BTreeSet<u8> {
        self.valid
            .iter()
            .filter_map(|(_, e)| match &e.says {
                Says::Escalated { level, .. } => Some(*level),
                _ => None,
            })
            .collect()
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
