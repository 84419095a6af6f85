//! What the driver does between commits so that core and store stay small: a little each time, so that intake never
//! waits for it.

use gatehouse_common::time::Moment;
use tracing::error;

use super::{Outcome, Running, step};
use crate::{
    core::{Core, input::Input, past::Over},
    store::{Store, StoreError},
};

/// Longest time between two looks for what the store may let go of, by the boot clock.
const TIDY_EVERY_MS: u64 = 60_000;
/// The same while there is more to let go of.
const TIDY_ON_MS: u64 = 1_000;
/// Most that is forgotten at one time: an order with all about it is some dozens of rows.
const FORGET_A_STEP: usize = 4;

/// When to look next, and where to go on.
#[derive(Debug, Default)]
pub struct Upkeep {
    at_ms: u64,
    behind: Option<Over>,
}

/// Has the core forget a little of what has been over for long, and of which the hub has everything. Says what is to be
/// done then, if anything was forgotten, and whether there may be more. `behind` is where the last call got to.
///
/// While nothing has confirmed the clock, nothing is forgotten: it may be years ahead.
/// # Errors
/// As [`step`].
pub fn forget(
    core: &mut Core,
    store: &mut Store,
    now: &Moment,
    behind: &mut Option<Over>,
) -> Result<(Option<Outcome>, bool), StoreError> {
    let Some(before) = store.forgets_before(now.wall).filter(|_| now.trusted) else { return Ok((None, false)) };
    let candidates = core.over(before, behind.as_ref(), FORGET_A_STEP);
    *behind = candidates.last().filter(|_| candidates.len() == FORGET_A_STEP).cloned();
    let mut over = Vec::new();
    for candidate in candidates {
        if store.is_told(&core.documents_of(&candidate))? {
            over.push(candidate);
        }
    }
    if over.is_empty() {
        return Ok((None, behind.is_some()));
    }
    let outcome = step(core, store, now, &[Input::Forget(over), Input::Tick])?;
    Ok((Some(outcome), behind.is_some()))
}

impl Running {
    /// Folds the store's journal if that is due. What is committed waits for it in the journal just as well.
    pub(super) fn fold(&mut self) -> Result<(), StoreError> {
        if !self.store.is_to_be_folded() {
            return Ok(());
        }
        match self.store.fold() {
            Err(refused) if !refused.is_passing() => self.refused(refused),
            // Without room for it the next commits find none either, and say so.
            _ => Ok(()),
        }
    }

    /// Forgets what is over, and lets a little of what is beyond the store's limits go, if it is time to look.
    pub(super) fn keep_up(&mut self, now: &Moment) -> Result<(), StoreError> {
        if now.boottime_ms < self.upkeep.at_ms {
            return Ok(());
        }
        let forgets_more = match forget(&mut self.core, &mut self.store, now, &mut self.upkeep.behind) {
            Ok((outcome, more)) => {
                self.perform(outcome.unwrap_or_default(), &mut []);
                more
            }
            Err(refused) if refused.is_passing() => false,
            Err(refused) => return self.refused(refused),
        };
        self.tidy(now)?;
        if forgets_more {
            self.upkeep.at_ms = self.upkeep.at_ms.min(now.boottime_ms + TIDY_ON_MS);
        }
        Ok(())
    }

    /// Lets a little of what is beyond the store's limits go.
    pub(super) fn tidy(&mut self, now: &Moment) -> Result<(), StoreError> {
        let wait_ms = match self.store.tidy(now.wall) {
            Ok(true) => TIDY_ON_MS,
            // Without room nothing can be noted down, and nothing goes without a note.
            Ok(false) => TIDY_EVERY_MS,
            Err(refused) if refused.is_passing() => TIDY_EVERY_MS,
            Err(refused) => {
                error!(error = %refused, "the driver stops: {refused}");
                return Err(refused);
            }
        };
        self.upkeep.at_ms = now.boottime_ms + wait_ms;
        Ok(())
    }
}
