//! Many seeds, as many at a time as there are cores; which ones, the environment may say.

use std::{
    collections::BTreeMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{bugs::Bug, random::Played};

/// What came of many worlds.
#[derive(Debug, Default)]
pub struct Sum {
    /// What does not hold, and in the world of which seed.
    pub failed: Vec<String>,
    /// What befell all of them, counted.
    pub befell: BTreeMap<&'static str, u64>,
}

impl Sum {
    /// How often something befell them.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.befell.get(what).copied().unwrap_or(0)
    }

    fn adds(&mut self, seed: u64, played: Played) {
        played.befell.into_iter().for_each(|(what, n)| *self.befell.entry(what).or_default() += n);
        self.failed.extend(played.broken.into_iter().map(|broken| format!("seed {seed}: {broken}")));
    }
}

/// The number of this name in the environment, if it is there.
/// # Panics
/// If it is no number.
#[must_use]
pub fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

/// The seeds to be played: `GATEHOUSE_SEED` alone, or as many as `GATEHOUSE_SEEDS` says, or `usual` of them.
#[must_use]
pub fn wanted(usual: u64) -> Range<u64> {
    match asked("GATEHOUSE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("GATEHOUSE_SEEDS").unwrap_or(usual),
    }
}

/// Plays the world of each seed. One that is alone is told to print what happens in it.
#[must_use]
pub fn each(seeds: Range<u64>, play: impl Fn(u64, bool) -> Played + Sync) -> Sum {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    let prints = seeds.end - seeds.start == 1;
    let works = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let played = catch_unwind(AssertUnwindSafe(|| play(seed, prints)));
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            match played {
                Ok(played) => sum.adds(seed, played),
                Err(_) => sum.failed.push(format!("seed {seed} panicked")),
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(&works);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One of the first `most` seeds finds the bug, and says that one of `rules` does not hold; without the bug the world of
/// that seed is whole.
/// # Panics
/// If none finds it, or the world without it is not whole.
pub fn find(bug: Bug, rules: &[&str], most: u64, play: impl Fn(u64, Bug) -> Played) {
    for seed in 0..most {
        let broken = play(seed, bug).broken;
        if let Some(found) = broken.iter().find(|broken| rules.contains(&broken.rule)) {
            println!("{bug:?} is found by seed {seed}: {found}");
            assert_eq!(play(seed, Bug::None).broken, [], "seed {seed} without the bug");
            return;
        }
    }
    panic!("{most} seeds did not find {bug:?}");
}
