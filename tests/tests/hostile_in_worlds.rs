//! Worlds in which a device that was let in means harm: what it forges stands nowhere, it is named, and the honest stay
//! whole; and a planted bug that the check must find.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 20. `GATEHOUSE_SEED=K` plays that one and prints what happens.

use gatehouse_tests::world::{
    bugs::Bug,
    hostile::{FORGED, play_hostile},
    seeds,
};

const SEEDS: u64 = 20;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 10;
/// From so many seeds on, every kind of harm is among what is refused.
const EVERY_KIND: u64 = 10;

#[test]
fn what_a_device_that_means_harm_forges_stands_nowhere_and_the_honest_stay_whole() {
    let seeds = seeds::wanted(SEEDS);
    let count = seeds.end - seeds.start;
    let sum = seeds::each(seeds, |seed, prints| play_hostile(seed, Bug::None, prints));
    println!("{count} worlds with a device that means harm; in them: {:?}", sum.befell);
    assert!(sum.failed.is_empty(), "{}", sum.failed.join("\n"));
    for what in [
        "forged changes that were refused",
        "forged decisions that were refused",
        "forged facts that were refused",
        "changes given back that were refused",
        "frames that were refused",
        "pages that prove nothing",
        "pushes that came again",
    ] {
        assert!(count < EVERY_KIND || sum.of(what) >= count, "only {} {what} in {count} worlds", sum.of(what));
    }
}

#[test]
fn a_hub_that_lets_a_device_write_for_every_depot_is_found() {
    seeds::find(Bug::GateOpen, &[FORGED], HIDDEN_MAX, |seed, bug| play_hostile(seed, bug, false));
}
