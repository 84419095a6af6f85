//! Large worlds, and a week cut off; and planted bugs that the checks must find in small ones.
//!
//! `GATEHOUSE_DEPOTS=N` plays with that many depots instead of 25; `GATEHOUSE_SEEDS=N` plays that many seeds instead of
//! 1.

#![expect(clippy::panic, reason = "a panic is how a test fails")]

use std::time::Instant;

use gatehouse_tests::world::{
    bugs::Bug,
    checks::{CONVERGED, ONCE},
    fleet::{play_fleet, play_week},
    random::Played,
};

/// Depots of a fleet in which a planted bug is looked for.
const SMALL: usize = 4;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 40;

fn asked(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number"))
}

fn is_whole(what: &str, seed: u64, play: impl FnOnce() -> Played) {
    let started = Instant::now();
    let played = play();
    let lines: Vec<String> = played.broken.iter().map(ToString::to_string).collect();
    println!("{what}, seed {seed}, in {:.1} s: {:?}", started.elapsed().as_secs_f64(), played.befell);
    assert!(lines.is_empty(), "{what}, seed {seed}:\n{}", lines.join("\n"));
}

#[test]
fn a_fleet_is_whole_after_partitions_mangled_requests_and_a_restore() {
    let depots = usize::try_from(asked("GATEHOUSE_DEPOTS", 25)).unwrap_or(25);
    for seed in 0..asked("GATEHOUSE_SEEDS", 1) {
        is_whole(&format!("{depots} depots"), seed, || play_fleet(seed, depots, Bug::None, false));
    }
}

#[test]
fn a_depot_that_was_cut_off_for_seven_days_is_whole_again() {
    for seed in 0..asked("GATEHOUSE_SEEDS", 1) {
        is_whole("seven days", seed, || play_week(seed, Bug::None, false));
    }
}

/// Some seed finds the bug, and says that `rule` does not hold; without the bug the same seed is whole.
fn finds(bug: Bug, rule: &str, play: impl Fn(u64, Bug) -> Played) {
    for seed in 0..HIDDEN_MAX {
        let broken = play(seed, bug).broken;
        if let Some(found) = broken.iter().find(|broken| broken.rule == rule) {
            println!("{bug:?} is found by seed {seed}: {found}");
            assert_eq!(play(seed, Bug::None).broken, [], "seed {seed} without the bug");
            return;
        }
    }
    panic!("{HIDDEN_MAX} seeds did not find {bug:?}");
}

#[test]
fn an_intake_without_dedupe_is_found_in_a_fleet() {
    finds(Bug::DedupeDropped, ONCE, |seed, bug| play_fleet(seed, SMALL, bug, false));
}

#[test]
fn a_cursor_that_passes_a_change_that_is_not_committed_is_found_in_a_fleet() {
    finds(Bug::CursorPastUncommitted, CONVERGED, |seed, bug| play_fleet(seed, SMALL, bug, false));
}

#[test]
fn an_intake_without_dedupe_is_found_in_a_week() {
    finds(Bug::DedupeDropped, ONCE, |seed, bug| play_week(seed, bug, false));
}
