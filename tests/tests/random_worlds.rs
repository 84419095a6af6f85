//! Worlds drawn from seeds, each played to its quiet end and checked; and planted bugs that the checks must find.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 500, `GATEHOUSE_FIRST=K` begins with that one instead of 0.
//! `GATEHOUSE_SEED=K` plays that one and prints what happens in it.

#![expect(clippy::panic, reason = "a panic is how a test fails")]

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use gatehouse_tests::world::{
    bugs::Bug,
    checks::{CONVERGED, FACTS_WIN, KEPT, ONCE},
    random::play,
    seeds::asked,
};

/// How many seeds are played when nobody says.
const SEEDS: u64 = 500;
/// How many seeds are played between two lines that say how far it is.
const TOLD_EVERY: u64 = 500;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 60;

fn again(seed: u64) -> String {
    format!("again with: GATEHOUSE_SEED={seed} cargo test -p gatehouse-tests --test random_worlds -- --nocapture")
}

/// Plays one seed; gives what befell it, or what broke and how to see it again.
fn play_one(seed: u64, prints: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    let played = std::panic::catch_unwind(|| play(seed, Bug::None, prints));
    let Ok(played) = played else { return Err(format!("seed {seed} panicked\n{}", again(seed))) };
    if played.broken.is_empty() {
        return Ok(played.befell);
    }
    let lines: Vec<String> = played.broken.iter().map(ToString::to_string).collect();
    Err(format!("seed {seed}\n  {}\n{}", lines.join("\n  "), again(seed)))
}

#[test]
fn whatever_befalls_a_world_nothing_is_lost_doubled_or_left_unsettled() {
    if let Some(seed) = asked("GATEHOUSE_SEED") {
        play_one(seed, true).unwrap_or_else(|failed| panic!("{failed}"));
        return;
    }
    let first = asked("GATEHOUSE_FIRST").unwrap_or(0);
    let seeds = asked("GATEHOUSE_SEEDS").unwrap_or(SEEDS);
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let (failed, befell) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::<&str, u64>::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let begun = next.fetch_add(1, Ordering::Relaxed);
                    if begun >= seeds || failed.lock().unwrap().len() >= 10 {
                        return;
                    }
                    if begun > 0 && begun % TOLD_EVERY == 0 {
                        let (failed, s) = (failed.lock().unwrap().len(), started.elapsed().as_secs_f64());
                        println!("{begun} of {seeds} worlds are begun, {failed} failed, {s:.0} s");
                    }
                    match play_one(first + begun, false) {
                        Ok(more) => {
                            let mut befell = befell.lock().unwrap();
                            more.into_iter().for_each(|(what, n)| *befell.entry(what).or_default() += n);
                        }
                        Err(what) => {
                            println!("{what}");
                            failed.lock().unwrap().push(what);
                        }
                    }
                }
            });
        }
    });
    let befell = befell.into_inner().unwrap();
    println!("{seeds} worlds in {:.1} s; in them: {befell:?}", started.elapsed().as_secs_f64());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} worlds failed\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_same_seed_plays_the_same_day() {
    for seed in [3, 4, 5] {
        let digests = [0, 1].map(|_| play(seed, Bug::None, false).digest);
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
    assert_ne!(play(3, Bug::None, false).digest, play(4, Bug::None, false).digest);
}

/// Its cases are told again so often, one after the other, that there are never twenty minutes without.
#[test]
fn a_world_whose_cases_are_told_again_and_again_comes_to_rest() {
    let played = play(5548, Bug::None, false);
    assert_eq!(played.broken, []);
}

/// Some seed finds the bug, and says that `rule` does not hold; without the bug the same seed is whole.
fn finds(bug: Bug, rule: &str) {
    for seed in 0..HIDDEN_MAX {
        let broken = play(seed, bug, false).broken;
        if broken.iter().any(|b| b.rule == rule) {
            let sound = play(seed, Bug::None, false).broken;
            assert_eq!(sound, [], "seed {seed} without the bug");
            println!("{bug:?} is found by seed {seed}: {}", broken[0]);
            return;
        }
        assert_eq!(broken, [], "seed {seed} finds {bug:?} by another rule than {rule:?}");
    }
    panic!("{HIDDEN_MAX} seeds did not find {bug:?}");
}

#[test]
fn an_intake_without_dedupe_is_found() {
    finds(Bug::DedupeDropped, ONCE);
}

#[test]
fn an_intake_that_acknowledges_before_the_commit_is_found() {
    finds(Bug::CommitAfterAcknowledgement, KEPT);
}

#[test]
fn a_register_in_place_of_the_fold_is_found() {
    finds(Bug::RegisterInsteadOfFold, FACTS_WIN);
}

#[test]
fn a_cursor_that_passes_a_change_that_is_not_committed_is_found() {
    finds(Bug::CursorPastUncommitted, CONVERGED);
}
