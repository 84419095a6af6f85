//! A hub that is restored from a backup: the depots give back what it forgot, and the ERP gets nothing twice.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 20. `GATEHOUSE_SEED=K` plays that one and prints what happens.

#![expect(clippy::panic, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use gatehouse_tests::world::{
    bugs::Bug,
    checks::{CONVERGED, POSTED},
    random::play_restored,
};

const SEEDS: u64 = 20;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 40;

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

#[test]
fn after_a_restore_everything_is_there_again_and_nothing_is_posted_twice() {
    let seeds = match asked("GATEHOUSE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("GATEHOUSE_SEEDS").unwrap_or(SEEDS),
    };
    let prints = seeds.end - seeds.start == 1;
    let mut befell: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut failed, count) = (Vec::new(), seeds.end - seeds.start);
    for seed in seeds {
        let played = play_restored(seed, Bug::None, prints);
        played.befell.into_iter().for_each(|(what, n)| *befell.entry(what).or_default() += n);
        failed.extend(played.broken.into_iter().map(|broken| format!("seed {seed}: {broken}")));
    }
    println!("{count} worlds with restores; in them: {befell:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let restores: u64 = befell.iter().filter(|(what, _)| what.starts_with("restores")).map(|(_, n)| n).sum();
    assert!(restores >= count, "only {restores} restores befell {count} worlds");
}

/// Some seed finds the bug, and says that `rule` does not hold.
fn finds(bug: Bug, rule: &str) {
    for seed in 0..HIDDEN_MAX {
        let broken = play_restored(seed, bug, false).broken;
        if let Some(found) = broken.iter().find(|b| b.rule == rule) {
            println!("{bug:?} is found by seed {seed}: {found}");
            return;
        }
    }
    panic!("{HIDDEN_MAX} seeds did not find {bug:?}");
}

#[test]
fn a_restored_hub_that_posts_without_asking_is_found() {
    finds(Bug::PostedUnasked, POSTED);
}

#[test]
fn devices_without_proof_of_what_the_hub_sent_are_found() {
    finds(Bug::PagesForgotten, CONVERGED);
}
