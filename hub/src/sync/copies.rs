//! Notices that two copies of one device are at work.
//!
//! An agent puts a text of its own, drawn at its start, before the dot of each nonce. A run that speaks after a newer
//! one has begun did not end when that began: there are two. The later one keeps the identity, the other is refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use gatehouse_common::{id::DeviceId, time::UtcMs};

/// Most runs of one device that are remembered.
const RUNS_MAX: usize = 8;

/// Runs of each device, each with the time that its first request bore.
#[derive(Debug, Default)]
pub(super) struct Runs {
    seen: Mutex<HashMap<DeviceId, Vec<(String, UtcMs)>>>,
}

impl Runs {
    /// Whether `nonce`, of a request that bears `time`, is of a run that should have ended.
    pub(super) fn is_outlived(&self, device: &DeviceId, nonce: &str, time: UtcMs) -> bool {
        let Some((run, _)) = nonce.split_once('.') else {
            // Of a version that does not say, or a tool beside the agent.
            return false;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = seen.entry(device.clone()).or_default();
        match runs.iter().position(|(known, _)| known == run) {
            // What the older one sent before the newer began may come late.
            Some(at) => runs.get(at + 1).is_some_and(|(_, began)| time > *began),
            None => {
                if runs.len() >= RUNS_MAX {
                    runs.remove(0);
                }
                runs.push((run.to_owned(), time));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_speaks_after_a_newer_one_began_is_a_copy_and_a_restart_is_none() {
        let (runs, device) = (Runs::default(), "gw-1".parse().unwrap());
        let outlived = |nonce: &str, ms| runs.is_outlived(&device, nonce, UtcMs(ms));
        assert!(!outlived("a.1", 10) && !outlived("a.2", 20));
        assert!(!outlived("b.1", 30), "it was started anew");
        assert!(!outlived("a.3", 29), "sent before that, come late");
        assert!(outlived("a.4", 31));
        assert!(!outlived("b.2", 32) && outlived("a.5", 33));
        assert!(!outlived("c.1", 34) && outlived("b.3", 35));
        assert!(!outlived("01234567", 36), "a version that does not say");
    }
}
