//! What was refused: counted each time, told to the audit at once and then once an hour for whoever goes on.
//!
//! A flood of refusals must not become a flood of writes: what came in between is added up and told with the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use gatehouse_common::time::UtcMs;
use tracing::warn;

use crate::{
    clock::Clock,
    store::{AuditEntry, Store},
};

/// The audit is told of the same again after this long, in milliseconds of the hub's clock.
const AGAIN_MS: i64 = 3_600_000;
/// The count is written down after this long, in milliseconds of the hub's clock.
const COUNT_MS: i64 = 10_000;
/// Most pairs of whom and what that are remembered; beyond that strangers share one.
const PAIRS_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Told {
    audited: UtcMs,
    counted: UtcMs,
    /// Not written down yet.
    since: u64,
    /// Not told to the audit yet.
    untold: u64,
}

/// Where refusals are told. Copies share what was told.
#[derive(Clone)]
pub struct Refusals {
    store: Store,
    clock: Clock,
    told: Arc<Mutex<HashMap<(String, &'static str), Told>>>,
}

impl Refusals {
    /// Tells them to the audit of `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, told: Arc::default() }
    }

    /// `who` was refused `what`; `detail` is for people.
    pub async fn told(&self, who: &str, what: &'static str, detail: &str) {
        let now = self.clock.wall();
        let Some((who, times, untold)) = self.due(who, what, now) else { return };
        let entry = untold.map(|before| {
            warn!(who, what, "refused {who}: {detail}");
            let more = if before == 0 { String::new() } else { format!("; {before} more since the last entry") };
            AuditEntry {
                at: now,
                actor: who.clone(),
                action: format!("refused: {what}"),
                subject: who.clone(),
                detail: format!("{detail}{more}"),
            }
        });
        let written = self.store.write(move |tx| {
            tx.count_refusal(&who, what, times, now)?;
            entry.as_ref().map_or(Ok(()), |entry| tx.audit(entry))
        });
        // Whoever is refused is refused also while nothing can be written.
        if let Err(error) = written.await {
            warn!(%error, "a refusal could not be written down: {error}");
        }
    }

    /// Counts it. If something is to be written: about whom, how often, and for the audit how many it was not told of.
    fn due(&self, who: &str, what: &'static str, now: UtcMs) -> Option<(String, u64, Option<u64>)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= PAIRS_MAX {
            told.retain(|_, told| now.since(told.audited) < AGAIN_MS);
        }
        let who = if told.len() >= PAIRS_MAX { "somebody".to_owned() } else { who.to_owned() };
        let Some(known) = told.get_mut(&(who.clone(), what)) else {
            told.insert((who.clone(), what), Told { audited: now, counted: now, since: 0, untold: 0 });
            return Some((who, 1, Some(0)));
        };
        known.since += 1;
        if now.since(known.audited) >= AGAIN_MS {
            let (times, untold) = (known.since, known.untold);
            *known = Told { audited: now, counted: now, since: 0, untold: 0 };
            return Some((who, times, Some(untold)));
        }
        known.untold += 1;
        if now.since(known.counted) < COUNT_MS {
            return None;
        }
        known.counted = now;
        Some((who, std::mem::take(&mut known.since), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thousand_refusals_in_a_row_make_one_entry() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let refusals = Refusals::new(store.clone(), Clock::system());
        for _ in 0..1_000 {
            refusals.told("gw-1", "quota", "too much").await;
        }
        refusals.told("gw-2", "quota", "too much").await;
        let entries = store.read_now(|r| r.audit_entries(10)).unwrap();
        let told: Vec<_> = entries.iter().map(|e| (e.subject.as_str(), e.action.as_str())).collect();
        assert_eq!(told, [("gw-2", "refused: quota"), ("gw-1", "refused: quota")]);
        let later = Clock::system().wall().plus(2 * AGAIN_MS);
        assert_eq!(refusals.due("gw-1", "quota", later), Some(("gw-1".to_owned(), 1_000, Some(999))));
    }
}
