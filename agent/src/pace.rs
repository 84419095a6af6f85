//! How long a batch waits for more: a commit costs the same for one input and for many.
//!
//! In: what is in a batch, and what came while earlier ones waited. Out: whether to wait, and how long. Never
//! reads a clock and never sleeps.

use std::time::Duration;

use gatehouse_common::reading::ReadingValue;

use crate::core::input::Input;

/// Longest that the first input of a batch waits for others, in real time.
const WAIT: Duration = Duration::from_millis(20);
/// What comes together comes within this, in real time.
pub const QUIET: Duration = Duration::from_millis(1);
/// After so many batches that came at once and then nothing more, the next does not wait either.
const SURE_AFTER: u32 = 3;
/// Every so many batches that did not wait, one does, to see whether more would come by now.
const LOOK_AGAIN: u32 = 16;

/// Whether people or a gate wait for it: then its batch does not wait for more.
pub fn is_urgent(input: &Input) -> bool {
    match input {
        // Whether goods may leave rests on these; doors and positions come far more often and change it rarely.
        Input::Reading { reading, .. } => matches!(
            reading.value,
            ReadingValue::Scan { .. } | ReadingValue::Documents { .. } | ReadingValue::Occupancy { .. }
        ),
        // The hub may tell of a recall.
        Input::Tap(_)
        | Input::Feed { .. }
        | Input::StartAgain { .. }
        | Input::Alike { .. }
        | Input::Outlived(_)
        | Input::Stands
        | Input::Line(_) => true,
        Input::Shown(_)
        | Input::Unreadable(_)
        | Input::Counted(_)
        | Input::Pushed { .. }
        | Input::Forget(_)
        | Input::Damaged(_)
        | Input::Tick => false,
    }
}

/// Sees whether waiting is of use. A broker that lets only some messages be unacknowledged sends nothing more
/// until the batch is committed: there, waiting would only hold it up.
#[derive(Debug, Default)]
pub struct Pace {
    in_vain: u32,
    unwaited: u32,
}

impl Pace {
    /// How long to wait for more after [`QUIET`].
    pub fn wait(&mut self) -> Duration {
        if self.in_vain < SURE_AFTER {
            return WAIT.saturating_sub(QUIET);
        }
        self.unwaited += 1;
        if self.unwaited.is_multiple_of(LOOK_AGAIN) { WAIT.saturating_sub(QUIET) } else { Duration::ZERO }
    }

    /// A batch has waited: it began so long after the commit before it, and `more` came while it waited.
    pub fn waited(&mut self, after_commit: Duration, more: bool) {
        self.in_vain = if more || after_commit > QUIET { 0 } else { self.in_vain.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_waits_for_us_is_not_made_to_wait_and_one_that_goes_on_is_gathered_from() {
        let mut pace = Pace::default();
        let mut waits = |after_commit: Duration, more| {
            let wait = pace.wait();
            if wait > Duration::ZERO {
                pace.waited(after_commit, more);
            }
            wait > Duration::ZERO
        };
        // A full window: the next messages come as soon as the last are acknowledged, and then none.
        let full: Vec<bool> = (0..20).map(|_| waits(Duration::ZERO, false)).collect();
        assert_eq!(full.iter().filter(|waited| **waited).count(), 4);
        // By and by it sends on its own again: found out within some batches, and kept to.
        assert!((0..LOOK_AGAIN).any(|_| waits(Duration::ZERO, true)));
        assert!((0..20).all(|_| waits(Duration::ZERO, true)));
        assert!((0..20).all(|_| waits(Duration::from_millis(8), false)), "few messages are no full window");
    }
}
