//! When to look again though nothing happens.
//!
//! A fact that ages out, a lease that ends and a silence that becomes a cut are each due at a known moment; the
//! driver sleeps until the first of them. A look every half minute beside that only guards against a moment that
//! this room forgot.

use gatehouse_common::{dispatch::DispatchState, time::Moment};

use super::{Core, line::STATUS_EVERY_MS};

/// Longest time between two looks at everything, in milliseconds.
const LOOK_EVERY_MS: u64 = 30_000;

impl Core {
    /// Milliseconds until something may follow from time alone. Never more than half a minute.
    #[must_use]
    pub fn next_wake(&self, now: &Moment) -> Option<u64> {
        Some(self.next_due(now).unwrap_or(LOOK_EVERY_MS).clamp(1, LOOK_EVERY_MS))
    }

    /// Milliseconds until something is due by time alone; none if nothing is.
    #[must_use]
    pub fn next_due(&self, now: &Moment) -> Option<u64> {
        let now = &self.believed(now);
        let by_wall = self.deadlines(now).filter_map(|at| u64::try_from(at.since(now.wall)).ok());
        let lease = self.lease.as_ref().and_then(|held| held.left_ms(now).ok());
        let due = self
            .ageing_due(now)
            .chain(by_wall)
            .chain(lease)
            .chain(self.cut_due(now))
            .chain(self.status_due(now))
            .chain(self.drills_due(now));
        due.filter(|wait| *wait > 0).min()
    }

    /// When each fact that a waiting dispatch rests on passes its limit.
    fn ageing_due(&self, now: &Moment) -> impl Iterator<Item = u64> {
        let waits = |state: DispatchState, stopped: bool| match state {
            DispatchState::Planned | DispatchState::Ready | DispatchState::Held => true,
            other => other.is_on_board() && stopped,
        };
        let waiting = self.dispatches.values().filter(move |d| {
            d.view.as_ref().is_some_and(|v| waits(v.state, v.stop_departure) && v.cancelled.is_none())
        });
        waiting.flat_map(|d| &d.gates).flat_map(move |gate| {
            let inputs = gate.inputs.iter();
            inputs.filter_map(move |input| {
                let age = self.facts.get(&input.key)?.age_ms(now)?;
                // A fact exactly as old as its limit still counts.
                Some(gate.limit_ms.checked_sub(age)?.saturating_add(1))
            })
        })
    }

    /// When the hub's silence becomes a cut.
    fn cut_due(&self, now: &Moment) -> Option<u64> {
        let silent = now.since(self.line.heard.as_ref().filter(|_| !self.line.up)?)?;
        Some(self.profile.bundle.rules.hub_silence_max_ms.checked_sub(silent)?.saturating_add(1))
    }

    /// When the hub is to be told how this device is.
    fn status_due(&self, now: &Moment) -> Option<u64> {
        STATUS_EVERY_MS.checked_sub(now.since(self.status_told.as_ref()?)?)
    }
}
