//! Says where a case stands. It reads the document and nothing else: no clock, no calendar, no list of roles.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    FOLD_VERSION,
    entry::{How, Mark, Says},
    lifecycle::{CaseState, lacks_authority_in},
    moves::{Moves, Standing},
    severity::Severity,
    taxonomy::{CaseType, Team},
    view::{Attachment, CaseView, Resolution, Seen, Taken},
};
use crate::{
    document::{Document, Entry, EntryKey, Folds, History},
    id::SiteId,
    time::UtcMs,
};

/// Says where a case stands; `None` while nobody has opened it (its first chunks are still on the way).
#[must_use]
pub fn fold(document: &Document) -> Option<CaseView> {
    let (mut entries, mut unread) = document.entries::<Says>();
    let (key, case_type, site) = opening(&entries)?;
    let version = version_of(&entries, case_type, &site);
    // What a document's version does not know counts for nothing, as it does for a program that cannot read it.
    let newer: Vec<EntryKey> =
        entries.iter().filter(|(_, e)| e.says.needs_fold() > version).map(|(key, _)| key.clone()).collect();
    for key in newer {
        unread.push(key.to_string());
        entries.remove(&key);
    }
    unread.sort_unstable();
    let history = History::new(entries);
    Folding::over(&history, version, case_type, &site).view(&key, unread, document.notes())
}

/// The entry that opened it: the earliest by time, then by key.
fn opening(entries: &BTreeMap<EntryKey, Entry<Says>>) -> Option<(EntryKey, CaseType, SiteId)> {
    let opened = entries.iter().filter_map(|(key, entry)| match &entry.says {
        Says::Opened { case_type, site, .. } => {
            let allowed = lacks_authority_in(1, &key.actor, &entry.says, *case_type, site).is_none();
            allowed.then_some((entry.at, key, *case_type, site))
        }
        _ => None,
    });
    let (_, key, case_type, site) = opened.min_by_key(|(at, key, ..)| (*at, *key))?;
    Some((key.clone(), case_type, site.clone()))
}

fn version_of(entries: &BTreeMap<EntryKey, Entry<Says>>, case_type: CaseType, site: &SiteId) -> u32 {
    let allowed = |key: &EntryKey, says: &Says| lacks_authority_in(1, &key.actor, says, case_type, site).is_none();
    let asked = entries.iter().filter(|(key, entry)| allowed(key, &entry.says));
    asked.filter_map(|(_, entry)| entry.says.fold_named()).max().unwrap_or(1)
}

struct Folding<'a> {
    history: &'a History<Says>,
    version: u32,
    case_type: CaseType,
    /// What is said with authority and fits, in the order of keys.
    valid: Vec<(&'a EntryKey, &'a Entry<Says>)>,
    void: Vec<(EntryKey, String)>,
    moves: Moves<'a>,
}

impl<'a> Folding<'a> {
    fn over(history: &'a History<Says>, version: u32, case_type: CaseType, site: &SiteId) -> Self {
        let mut valid = Vec::new();
        let mut void = BTreeMap::new();
        for (key, entry) in history.iter() {
            match lacks_authority_in(version, &key.actor, &entry.says, case_type, site) {
                None => valid.push((key, entry)),
                Some(why) => _ = void.insert(key, why),
            }
        }
        let (moves, misplaced) = Moves::of(history, &valid, version);
        void.extend(misplaced);
        valid.retain(|(key, _)| !void.contains_key(key));
        let void = void.into_iter().map(|(key, why)| (key.clone(), why.to_owned())).collect();
        Self { history, version, case_type, valid, void, moves }
    }

    fn view(self, opening: &EntryKey, unread: Vec<String>, notes: String) -> Option<CaseView> {
        let opened = self.history.get(opening)?;
        let Says::Opened { subject, leg, occurrence, site, summary, order, blocks, follows, .. } = &opened.says else {
            return None;
        };
        let Standing { state, by, superseded: beaten } = self.moves.standing(None);
        let (mut moved_at, mut reason, mut how) = (None, None, None);
        if let Some(Says::Moved { since, reason: why, how: with, .. }) = by.and_then(|key| self.says(key)) {
            (moved_at, reason, how) = (Some(*since), Some(why.clone()), with.as_ref());
        }
        let mut superseded: Vec<(EntryKey, String)> =
            beaten.into_iter().map(|key| (key.clone(), "a move on the other side outweighs it".to_owned())).collect();
        let (owner, watching_teams) = self.owner(&mut superseded);
        let severity = self.severity(&mut superseded);
        superseded.sort();
        let due = self.classified();
        let (paused_ms, paused_since) = self.paused(by.filter(|_| state == CaseState::Waiting));
        let joined = self.each(|_, entry| match &entry.says {
            Says::Aliased { case, opened_at, touches } => Some((*case, *opened_at, *touches)),
            _ => None,
        });
        Some(CaseView {
            case_type: self.case_type,
            subject: subject.clone(),
            leg: leg.clone(),
            occurrence: *occurrence,
            site: site.clone(),
            summary: summary.clone(),
            order: order.clone(),
            blocks: *blocks,
            follows: *follows,
            continued_in: self
                .each(|_, entry| match &entry.says {
                    Says::Continued { case } => Some(*case),
                    _ => None,
                })
                .into_iter()
                .next(),
            duplicate_of: match how {
                Some(How::DuplicateOf(case)) if state == CaseState::Cancelled => Some(*case),
                _ => None,
            },
            aliases: joined.iter().map(|(case, ..)| *case).collect(),
            state,
            waits_for: match how {
                Some(How::WaitsFor(whom)) if state == CaseState::Waiting => Some(*whom),
                _ => None,
            },
            severity,
            owner,
            watching_teams,
            watchers: self.marks(Mark::Watcher),
            tags: self.marks(Mark::Tag),
            actions: due.map(|d| d.actions.to_vec()).unwrap_or_default(),
            opened_at: joined.iter().map(|(_, at, _)| *at).fold(opened.at, UtcMs::min),
            acknowledged_at: self.first_move(|to| matches!(to, CaseState::Acknowledged | CaseState::InProgress)),
            resolved_at: self.last_resolve().and_then(|key| self.history.get(key)).map(|e| e.at),
            resolution: self.last_resolve().and_then(|key| match self.says(key)? {
                Says::Moved { how: Some(How::Resolved { code, cause }), .. } => {
                    Some(Resolution { code: code.clone(), cause: cause.clone() })
                }
                _ => None,
            }),
            moved_at,
            acknowledge_by: due.map(|d| d.acknowledge_by),
            resolve_by: due.map(|d| d.resolve_by),
            paused_ms,
            paused_since,
            reason,
            triggers: self.count(|s| matches!(s, Says::Opened { .. } | Says::Triggered { .. })),
            reopens: self.moves.reopens(),
            touches: joined.iter().fold(self.count(is_touch), |sum, (.., more)| sum.saturating_add(*more)),
            escalations: self.escalations(),
            evidence: self.each(|key, entry| match &entry.says {
                Says::Triggered { since, evidence } => {
                    Some(Seen { key: key.clone(), since: *since, evidence: evidence.clone() })
                }
                _ => None,
            }),
            taken: self.each(|key, entry| match &entry.says {
                Says::Acted { action, outcome } => {
                    Some(Taken { key: key.clone(), action: action.clone(), outcome: outcome.clone() })
                }
                _ => None,
            }),
            attachments: self.each(|key, entry| match &entry.says {
                Says::Attached { name, hash } => Some(Attachment { key: key.clone(), name: name.clone(), hash: *hash }),
                _ => None,
            }),
            superseded,
            length: u32::try_from(self.history.iter().count()).unwrap_or(u32::MAX),
            notes,
            fold: self.version,
            waits_for_upgrade: self.version > FOLD_VERSION,
            void: self.void,
            unread,
        })
    }

    fn says(&self, key: &EntryKey) -> Option<&'a Says> {
        self.history.get(key).map(|entry| &entry.says)
    }

    fn each<T>(&self, pick: impl Fn(&EntryKey, &Entry<Says>) -> Option<T>) -> Vec<T> {
        self.valid.iter().filter_map(|(key, entry)| pick(key, entry)).collect()
    }

    fn keys(&self, wanted: impl Fn(&Says) -> bool) -> Vec<&'a EntryKey> {
        self.valid.iter().filter(|(_, e)| wanted(&e.says)).map(|(k, _)| *k).collect()
    }

    fn count(&self, wanted: impl Fn(&Says) -> bool) -> u32 {
        u32::try_from(self.keys(wanted).len()).unwrap_or(u32::MAX)
    }

    fn first_move(&self, wanted: impl Fn(CaseState) -> bool) -> Option<UtcMs> {
        let moves = self.each(|_, entry| match &entry.says {
            Says::Moved { to, .. } if wanted(*to) => Some(entry.at),
            _ => None,
        });
        moves.into_iter().min()
    }

    fn last_resolve(&self) -> Option<&'a EntryKey> {
        self.history.last(&self.keys(|s| matches!(s, Says::Moved { to: CaseState::Resolved, .. })))
    }

    fn classified(&self) -> Option<Due<'a>> {
        match self.says(self.history.last(&self.keys(|s| matches!(s, Says::Classified { .. })))?)? {
            Says::Classified { actions, acknowledge_by, resolve_by, .. } => {
                Some(Due { actions, acknowledge_by: *acknowledge_by, resolve_by: *resolve_by })
            }
            _ => None,
        }
    }

    /// The worst that was said since severity was last lowered; a raise that had not seen the lowering counts.
    fn severity(&self, superseded: &mut Vec<(EntryKey, String)>) -> Severity {
        let raised = self.each(|key, entry| match &entry.says {
            Says::Classified { severity, .. } => Some((key.clone(), *severity)),
            _ => None,
        });
        let lowered = self.keys(|s| matches!(s, Says::SeverityLowered { .. }));
        let lowering = self.history.last(&lowered).and_then(|key| Some((key, self.says(key)?)));
        let Some((key, Says::SeverityLowered { severity: lowest, .. })) = lowering else {
            return raised.into_iter().map(|(_, raised)| raised).max().unwrap_or_else(|| self.case_type.floor());
        };
        let unseen = raised.into_iter().filter(|(raise, _)| !self.history.is_before(raise, key));
        let severity = unseen.map(|(_, raised)| raised).fold(*lowest, Severity::max);
        if severity > *lowest && self.version >= 2 {
            superseded.push((key.clone(), "a raise that did not know of it outweighs it".to_owned()));
        }
        severity
    }

    /// The last assignment; of concurrent ones the hub's; without any, the rules' owner. Teams that lost watch it.
    fn owner(&self, superseded: &mut Vec<(EntryKey, String)>) -> (Team, BTreeSet<Team>) {
        let assigned = self.keys(|s| matches!(s, Says::Assigned { .. }));
        let by_rules = assigned.is_empty();
        let pool = if by_rules { self.keys(|s| matches!(s, Says::Classified { .. })) } else { assigned };
        let mut latest = self.history.latest(&pool);
        latest.sort_by_key(|key| (key.actor.kind, Reverse(self.history.get(key).map(|e| e.hlc)), *key));
        let team = |key: &EntryKey| match self.says(key) {
            Some(Says::Assigned { owner } | Says::Classified { owner, .. }) => *owner,
            _ => self.case_type.owner(),
        };
        let Some((winner, beaten)) = latest.split_first() else { return (self.case_type.owner(), BTreeSet::new()) };
        let owner = team(winner);
        let mut watching = BTreeSet::new();
        for key in beaten.iter().filter(|key| !by_rules && team(key) != owner && self.version >= 2) {
            watching.insert(team(key));
            superseded.push(((*key).clone(), "the other side gave it to another team".to_owned()));
        }
        (owner, watching)
    }

    fn escalations(&self) -> BTreeSet<u8> {
        let levels = self.each(|_, entry| match &entry.says {
            Says::Escalated { level, .. } => Some(*level),
            _ => None,
        });
        levels.into_iter().collect()
    }

    /// Marks that nobody took away who had seen them: a mark and its removal that did not know of each other leave it.
    fn marks(&self, kind: Mark) -> BTreeSet<String> {
        let taken = |key: &EntryKey, wanted: &String| {
            self.valid.iter().any(|(other, entry)| match &entry.says {
                Says::Unmarked { mark, value } => {
                    *mark == kind && value == wanted && self.history.is_before(key, other)
                }
                _ => false,
            })
        };
        let standing = self.each(|key, entry| match &entry.says {
            Says::Marked { mark, value } if *mark == kind && !taken(key, value) => Some(value.clone()),
            _ => None,
        });
        standing.into_iter().collect()
    }

    /// How long the clock of the resolution stood still, and since when it does. A wait ends with the earliest move
    /// after it.
    fn paused(&self, waits: Option<&EntryKey>) -> (i64, Option<UtcMs>) {
        let mut sum_ms = 0_i64;
        let mut since = None;
        for (key, entry) in &self.valid {
            let Says::Moved { to: CaseState::Waiting, how: Some(How::WaitsFor(whom)), .. } = &entry.says else {
                continue;
            };
            if !whom.pauses() {
                continue;
            }
            let ends = self.each(|later, move_on| {
                let moves = matches!(move_on.says, Says::Moved { .. }) && self.history.is_before(key, later);
                moves.then_some(move_on.at)
            });
            match ends.into_iter().min() {
                Some(end) => sum_ms = sum_ms.saturating_add(end.since(entry.at).max(0)),
                None if waits == Some(*key) => since = Some(entry.at),
                None => {}
            }
        }
        (sum_ms, since)
    }
}

#[derive(Clone, Copy)]
struct Due<'a> {
    actions: &'a [String],
    acknowledge_by: UtcMs,
    resolve_by: UtcMs,
}

/// What only people do to a case.
fn is_touch(says: &Says) -> bool {
    match says {
        Says::Moved { auto_cleared, .. } => !auto_cleared,
        Says::Assigned { .. }
        | Says::SeverityLowered { .. }
        | Says::Acted { .. }
        | Says::Marked { .. }
        | Says::Unmarked { .. }
        | Says::Attached { .. } => true,
        _ => false,
    }
}
