//! Notices that two copies of one device are at work.
//!
//! An agent puts a text of its own, drawn at its start, before the dot of each nonce. A run that speaks after a newer
//! one has begun did not end when that began: there are two. The later one keeps the identity, the other is refused.

use gatehouse_common::time::UtcMs;

use crate::store::Run;

/// The run that a nonce is of. None: of a version that does not say, or of a tool beside the agent.
pub(super) fn run_of(nonce: &str) -> Option<&str> {
    nonce.split_once('.').map(|(run, _)| run)
}

/// Whether `run` should have ended before `time`, by the runs of its device in the order in which they were heard.
pub(super) fn is_outlived(known: &[Run], run: &str, time: UtcMs) -> bool {
    let at = known.iter().position(|known| known.run == run);
    // What the older one sent before the newer began may come late.
    at.and_then(|at| known.get(at + 1)).is_some_and(|newer| time > newer.began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_run_that_speaks_after_a_newer_one_began_is_a_copy_and_a_restart_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        let hub = || Store::open(&path, &"hub".parse().unwrap()).unwrap();
        let stores = [hub(), hub()];
        let mut turn = 0;
        // Each exchange reaches another replica than the one before.
        let mut outlived = |nonce: &str, ms| {
            turn += 1;
            let (store, device) = (&stores[turn % 2], "gw-1".parse().unwrap());
            let Some(run) = run_of(nonce).map(str::to_owned) else { return false };
            let known = store.read_now(|r| r.runs_of(&device)).unwrap();
            let is_outlived = is_outlived(&known, &run, UtcMs(ms));
            let run = Run { run, began: UtcMs(ms) };
            store.write_now(move |tx| tx.note_run(&device, &run)).unwrap();
            is_outlived
        };
        assert!(!outlived("a.1", 10) && !outlived("a.2", 20));
        assert!(!outlived("b.1", 30), "it was started anew");
        assert!(!outlived("a.3", 29), "sent before that, come late");
        assert!(outlived("a.4", 31));
        assert!(!outlived("b.2", 32) && outlived("a.5", 33));
        assert!(!outlived("c.1", 34) && outlived("b.3", 35));
        assert!(!outlived("01234567", 36), "a version that does not say");
        for n in 0..20 {
            assert!(!outlived(&format!("d{n}.1"), 40 + n));
        }
        let known = stores[0].read_now(|r| r.runs_of(&"gw-1".parse().unwrap())).unwrap();
        assert_eq!((known.len(), known[7].run.as_str()), (8, "d19"));
    }
}
