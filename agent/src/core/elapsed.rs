//! How much time has passed, also when the machine was started again in between.
//!
//! Each commit says when it was made, by wall clock and boot clock, and what was left of the lease. After a restart
//! of the machine time goes on from the last commit of the boot before, by the wall clock, once something trusted
//! has confirmed it. A clock that then shows an earlier time than that commit is not believed: nothing it says can
//! make a fact younger or a lease longer.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::LeaseId,
    lease::HeldLease,
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{
    Core,
    decision::{Effect, Record},
    drills::KeptLease,
};

/// The key under which the stamp is kept.
pub(super) const STAMP: &str = "stamp";
/// A fix confirms the wall clock when the two differ by no more than this, in milliseconds.
const FIX_CONFIRMS_MS: i64 = 5_000;

/// When a commit was made, and what was left then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub at: Moment,
    /// Milliseconds left of each lease that is held or waits to be; null while that could not be known.
    pub lease_left_ms: BTreeMap<LeaseId, Option<u64>>,
}

/// The last commit, and the last one of the boot before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stamps {
    /// The last commit.
    pub last: Option<Stamp>,
    /// The last commit of the boot before that one's.
    pub before_boot: Option<Stamp>,
}

impl Core {
    /// What the commit of everything decided until `now` says of time.
    pub fn stamp(&mut self, now: &Moment) -> Option<Record> {
        let now = self.begin_at(now);
        // The end of a drill may come with the next boot. Of a lease that waits with more time, that counts then.
        let waits = self.kept_leases.last().and_then(KeptLease::held);
        let left = |held: &HeldLease| (held.lease.id.clone(), held.left_ms(&now).ok());
        let lease_left_ms = self.lease.iter().chain(&waits).map(left).collect();
        self.stamps.last = Some(Stamp { lease_left_ms, at: now });
        super::rule(STAMP, &self.stamps)
    }

    /// `now` as far as it can be believed. The first of a boot also ends the boot before.
    pub(super) fn begin_at(&mut self, now: &Moment) -> Moment {
        if self.stamps.last.as_ref().is_some_and(|last| last.at.boot != now.boot) {
            self.stamps.before_boot = self.stamps.last.take();
        }
        if let (Some(held), Some(before)) = (&mut self.lease, &self.stamps.before_boot) {
            // What came in this boot, be it only more time, was not there at that commit.
            let was_there = held.received.boot != now.boot;
            let left = before.lease_left_ms.get(&held.lease.id).copied().flatten().filter(|_| was_there);
            held.left_before_boot = left.map(|left| (before.at.clone(), left));
        }
        self.believed(now)
    }

    pub(super) fn believed(&self, now: &Moment) -> Moment {
        let earlier = [&self.stamps.last, &self.stamps.before_boot].into_iter().flatten().map(|stamp| &stamp.at);
        let went_back = earlier.filter(|at| at.boot != now.boot).any(|at| now.wall < at.wall);
        Moment { trusted: now.trusted && !went_back, ..now.clone() }
    }

    /// A receiver knows the time from its satellites: near enough to the wall clock, it confirms it.
    pub(super) fn heed_fix(&mut self, now: &Moment, fixed_at: UtcMs) {
        if !now.trusted && now.wall.since(fixed_at).abs() <= FIX_CONFIRMS_MS {
            self.out.effects.push(Effect::ClockConfirmed);
        }
    }
}
