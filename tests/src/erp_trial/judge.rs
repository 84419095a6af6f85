//! Judges a trial by the ERP's own log and by what the hub says of each posting.
//!
//! In: what was decided, the log of effects, the hub's postings. Out: counts, and whether they are as they must be.
//! Knows nothing of how the postings went out.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::id::DecisionId;
use gatehouse_hub::{
    core::reconcile::{PostingState, QueuedPosting},
    store::{Store, StoreError},
};
use serde::Serialize;

/// What a trial came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Decisions to release.
    pub releases: usize,
    /// Keys that the ERP's log has once.
    pub once: usize,
    /// Keys that it has more than once.
    pub doubled: usize,
    /// Decisions whose key it does not have, and of which no dead letter with a reason tells.
    pub missing: usize,
    /// Keys in it that no decision accounts for.
    pub foreign: usize,
    /// Postings that wait for a person with a reason, and are not in the log.
    pub dead_letters: usize,
    /// Postings of which the hub says otherwise than the log: applied and not there, or parked and there.
    pub contradicted: usize,
    /// Decisions without exactly one recon item.
    pub without_item: usize,
}

impl Verdict {
    /// Whether every key is there once, or in the dead letters with a reason, and nothing else is.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.once + self.dead_letters == self.releases
            && self.doubled + self.missing + self.foreign + self.contradicted + self.without_item == 0
    }
}

/// What the hub's store says after a trial.
pub struct HubSays {
    /// Its postings, by key.
    pub postings: BTreeMap<String, QueuedPosting>,
    /// Decisions that have a recon item.
    pub items: BTreeSet<DecisionId>,
}

impl HubSays {
    /// Reads what the hub says of `decisions`.
    /// # Errors
    /// If the store cannot be read.
    pub fn read(store: &Store, decisions: &[DecisionId]) -> Result<Self, StoreError> {
        store.read_now(|r| {
            let mut says = Self { postings: BTreeMap::new(), items: BTreeSet::new() };
            for decision in decisions {
                says.postings.extend(r.postings_of(decision)?.into_iter().map(|q| (q.posting.key.clone(), q)));
                says.items.extend(r.recon_item(decision)?.map(|item| item.decision));
            }
            Ok(says)
        })
    }
}

/// The key under which a decision's release is posted. Written here anew: it is what outsiders see.
fn key(decision: &DecisionId) -> String {
    format!("{decision}/release/0")
}

/// Judges. `log` holds the key of each line of the ERP's log.
#[must_use]
pub fn judge(decisions: &[DecisionId], log: &[String], hub: &HubSays) -> Verdict {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for key in log {
        *times.entry(key).or_default() += 1;
    }
    let expected: BTreeSet<String> = decisions.iter().map(key).collect();
    let mut verdict = Verdict {
        releases: decisions.len(),
        once: 0,
        doubled: times.values().filter(|times| **times > 1).count(),
        missing: 0,
        foreign: times.keys().filter(|key| !expected.contains(**key)).count(),
        dead_letters: 0,
        contradicted: 0,
        without_item: decisions.iter().filter(|decision| !hub.items.contains(decision)).count(),
    };
    for key in &expected {
        let is_logged = times.contains_key(key.as_str());
        let posting = hub.postings.get(key);
        let state = posting.map(|posting| posting.state);
        let has_reason = posting.and_then(|p| p.last_error.as_deref()).is_some_and(|why| !why.trim().is_empty());
        match (is_logged, state) {
            (true, Some(PostingState::Applied)) => verdict.once += usize::from(times[key.as_str()] == 1),
            (false, Some(PostingState::Dead)) if has_reason => verdict.dead_letters += 1,
            (true, _) => verdict.contradicted += 1,
            (false, Some(PostingState::Applied)) => {
                verdict.missing += 1;
                verdict.contradicted += 1;
            }
            (false, _) => verdict.missing += 1,
        }
    }
    verdict
}
