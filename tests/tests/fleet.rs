//! Large worlds, and a week cut off; and planted bugs that the checks must find in small ones.
//!
//! `GATEHOUSE_DEPOTS=N` plays with that many depots instead of 25; `GATEHOUSE_SEEDS=N` plays that many seeds instead of
//! 1.

use std::time::Instant;

use gatehouse_tests::world::{
    bugs::Bug,
    checks::{CONVERGED, ONCE},
    fleet::{play_fleet, play_week},
    random::Played,
    seeds::{self, asked},
};

/// Depots of a fleet in which a planted bug is looked for.
const SMALL: usize = 4;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 40;

fn is_whole(what: &str, seed: u64, play: impl FnOnce() -> Played) {
    let started = Instant::now();
    let played = play();
    let lines: Vec<String> = played.broken.iter().map(ToString::to_string).collect();
    println!("{what}, seed {seed}, in {:.1} s: {:?}", started.elapsed().as_secs_f64(), played.befell);
    assert!(lines.is_empty(), "{what}, seed {seed}:\n{}", lines.join("\n"));
}

#[test]
fn a_fleet_is_whole_after_partitions_mangled_requests_and_a_restore() {
    let depots = usize::try_from(asked("GATEHOUSE_DEPOTS").unwrap_or(25)).unwrap_or(25);
    for seed in 0..asked("GATEHOUSE_SEEDS").unwrap_or(1) {
        is_whole(&format!("{depots} depots"), seed, || play_fleet(seed, depots, Bug::None, false));
    }
}

#[test]
fn a_depot_that_was_cut_off_for_seven_days_is_whole_again() {
    for seed in 0..asked("GATEHOUSE_SEEDS").unwrap_or(1) {
        is_whole("seven days", seed, || play_week(seed, Bug::None, false));
    }
}

#[test]
fn an_intake_without_dedupe_is_found_in_a_fleet() {
    seeds::find(Bug::DedupeDropped, &[ONCE], HIDDEN_MAX, |seed, bug| play_fleet(seed, SMALL, bug, false));
}

#[test]
fn a_cursor_that_passes_a_change_that_is_not_committed_is_found_in_a_fleet() {
    seeds::find(Bug::CursorPastUncommitted, &[CONVERGED], HIDDEN_MAX, |seed, bug| play_fleet(seed, SMALL, bug, false));
}

#[test]
fn an_intake_without_dedupe_is_found_in_a_week() {
    seeds::find(Bug::DedupeDropped, &[ONCE], HIDDEN_MAX, |seed, bug| play_week(seed, bug, false));
}
