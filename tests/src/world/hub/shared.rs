//! A hub whose store is a database that other replicas share: it does what it holds the claim of, and hears of what
//! the others committed.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use gatehouse_common::time::UtcMs;
use gatehouse_hub::{
    lease_grants::Looks,
    store::{
        PostgresOptions, StoreError,
        claims::POST,
        moving::{self, Verified},
    },
};

use super::{Hub, News, Running};
use crate::world::{DAWN, clock::Machine};

/// The claims under which a replica of the real hub reconciles, reads the ERP and grants leases (`wiring.rs`).
pub(super) const RECONCILER: &str = "reconciler";
/// See [`RECONCILER`].
pub(super) const POLL: &str = "poll";
/// See [`RECONCILER`].
pub(super) const LEASES: &str = "leases";

/// How long what others committed may be on its way, in real time.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

impl Running {
    /// Whether it may do what only one replica does. Over a file of its own it does everything.
    pub(super) fn holds(&self, claim: &str) -> bool {
        !self.store.is_shared() || self.held.contains(claim)
    }
}

impl Hub {
    /// Another replica of this hub, over a database and on a machine of its own. It does not run yet.
    #[must_use]
    pub fn replica(
        &self,
        number: usize,
        directory: &Path,
        machine: Machine,
        shared: PostgresOptions,
        now: UtcMs,
    ) -> Self {
        let hub = Self::new(directory, machine, self.erp.clone(), self.lasts_ms, now);
        Self { number, shared: Some(shared), ..hub }
    }

    /// What it is called.
    #[must_use]
    pub fn called(&self) -> String {
        if self.shared.is_none() { "the hub".to_owned() } else { format!("replica {} of the hub", self.number) }
    }

    /// Beats for every claim that it holds, and tries for those of the others for which `tries` says so. What it takes
    /// over it begins anew, as the program does. Returns what that is.
    /// # Errors
    /// [`StoreError`].
    pub fn beats(&mut self, mut tries: impl FnMut() -> bool) -> Result<Vec<&'static str>, StoreError> {
        let now = self.clock.wall();
        let since_dawn = Duration::from_millis(now.since(DAWN).max(0).unsigned_abs());
        let mut gained = Vec::new();
        for claim in [RECONCILER, POLL, POST, LEASES] {
            let Some(running) = &mut self.running else { return Ok(gained) };
            let held = running.holds(claim);
            if !held && !tries() {
                continue;
            }
            let claimant = running.claimants.entry(claim).or_default();
            if self.runtime.block_on(claimant.wants(&running.store, claim, || since_dawn))? {
                if running.held.insert(claim) {
                    gained.push(claim);
                }
            } else {
                running.held.remove(claim);
            }
        }
        for claim in &gained {
            self.begins(claim, now)?;
        }
        Ok(gained)
    }

    /// Nothing that it knew when it last did this counts any more.
    fn begins(&mut self, claim: &str, now: UtcMs) -> Result<(), StoreError> {
        let Some(store) = self.running.as_ref().map(|running| running.store.clone()) else { return Ok(()) };
        if claim == POST {
            store.write_now(move |tx| tx.take_back_postings(now))?;
        }
        let (reconciler, poster) = (self.new_reconciler(&store), self.new_poster(&store));
        let Some(running) = &mut self.running else { return Ok(()) };
        match claim {
            RECONCILER => running.reconciler = reconciler,
            POST => running.poster = poster,
            LEASES => running.looks = Looks::default(),
            _ => {}
        }
        Ok(())
    }

    /// What other replicas committed, once it has heard of all the `told` changes. That takes a moment of real time,
    /// in which nothing happens in the pretend world: so the same seed plays the same day.
    pub fn hears(&mut self, told: usize) -> News {
        let (mut news, until) = (News::default(), Instant::now() + HEARD_WITHIN);
        let Some(running) = &mut self.running else { return news };
        while news.told < told {
            if running.hears(&mut news) {
                continue;
            }
            if Instant::now() > until {
                // A hint may be missed; whoever waits reads again.
                return News { feed: true, work: true, told };
            }
            thread::sleep(Duration::from_millis(1));
        }
        news
    }

    /// Has the store of all replicas copied into the file at `to`, which is looked at from then on. Returns what the
    /// database holds, and what the copy does.
    /// # Errors
    /// [`StoreError`].
    pub fn is_copied(&mut self, to: &Path) -> Result<(Verified, Verified), StoreError> {
        let location = self.location();
        let verified = (moving::verify(&location)?, moving::back_up(&location, to)?);
        self.path = to.to_owned();
        Ok(verified)
    }
}
