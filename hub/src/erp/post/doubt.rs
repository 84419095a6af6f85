//! How long ago a posting in doubt was sent.
//!
//! The store knows it by the wall clock, which may be set forth meanwhile: the doubt would end too early, and a write that
//! is still on its way be sent a second time. What this process sent itself it also knows by the boot clock.

use std::collections::HashMap;

use gatehouse_common::time::{Moment, UtcMs};

/// When this process sent what is in doubt, by key.
#[derive(Debug, Default)]
pub(super) struct Sent(HashMap<String, Moment>);

impl Sent {
    /// This one was sent just now. What was sent `doubt_ms` ago is in no doubt any more, and forgotten.
    pub(super) fn note(&mut self, key: &str, now: Moment, doubt_ms: i64) {
        let doubt_ms = u64::try_from(doubt_ms).unwrap_or(0);
        self.0.retain(|_, at| now.since(at).is_none_or(|ago| ago < doubt_ms));
        self.0.insert(key.to_owned(), now);
    }

    /// Whatever became of it, it is in doubt no more.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// How long ago it was sent at most, in milliseconds, where the store says that it was at `sent`.
    pub(super) fn ago_ms(&self, key: &str, sent: UtcMs, now: &Moment) -> i64 {
        let by_wall = now.wall.since(sent);
        let by_boot = self.0.get(key).and_then(|at| now.since(at)).and_then(|ago| i64::try_from(ago).ok());
        by_boot.map_or(by_wall, |ago| ago.min(by_wall))
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_common::time::BootId;

    use super::*;

    fn moment(wall: i64, boottime_ms: u64) -> Moment {
        Moment { wall: UtcMs(wall), uncertainty_ms: 0, boot: BootId("b".into()), boottime_ms, trusted: false }
    }

    #[test]
    fn a_clock_that_is_set_forth_ends_no_doubt_and_one_that_is_set_back_prolongs_it() {
        let mut sent = Sent::default();
        sent.note("a", moment(1_000, 50), 60_000);
        let ago = |sent: &Sent, key: &str, wall: i64, boot: u64| sent.ago_ms(key, UtcMs(1_000), &moment(wall, boot));
        assert_eq!(ago(&sent, "a", 3_000, 2_050), 2_000);
        assert_eq!(ago(&sent, "a", 9_000_000, 2_050), 2_000, "the wall clock was set forth");
        assert_eq!(ago(&sent, "a", 500, 2_050), -500);
        assert_eq!(ago(&sent, "b", 9_000_000, 2_050), 8_999_000, "another process sent it");
        sent.forget("a");
        assert_eq!(ago(&sent, "a", 9_000_000, 2_050), 8_999_000);
    }

    #[test]
    fn what_is_in_no_doubt_any_more_is_forgotten() {
        let mut sent = Sent::default();
        for n in 0..10 {
            sent.note(&n.to_string(), moment(0, n * 30), 60);
        }
        assert_eq!(sent.0.len(), 2);
    }
}
