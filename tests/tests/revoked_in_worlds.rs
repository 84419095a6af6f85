//! Worlds in which a gateway and a vehicle's unit are revoked: a minute later nothing is answered to them, taken from
//! them or lent to them, what they give themselves has no effect, and the others stay whole. And a planted bug that the
//! check must find.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 20, and instead of 1 over replicas. `GATEHOUSE_SEED=K` plays
//! that one and prints what happens.

use gatehouse_tests::{
    erp_trial::server::Server,
    world::{
        bugs::Bug,
        revoked::{OUT, play_revoked, play_revoked_over_replicas},
        seeds,
    },
};

const SEEDS: u64 = 20;
const SEEDS_OVER_REPLICAS: u64 = 1;
const DEPOTS: usize = 3;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 5;

#[test]
fn a_device_that_is_revoked_is_out_within_a_minute_whatever_it_does_and_the_others_stay_whole() {
    let seeds = seeds::wanted(SEEDS);
    let count = seeds.end - seeds.start;
    let sum = seeds::each(seeds, |seed, prints| play_revoked(seed, Bug::None, prints));
    println!("{count} worlds with devices that are revoked; in them: {:?}", sum.befell);
    assert!(sum.failed.is_empty(), "{}", sum.failed.join("\n"));
    for what in [
        "answers to devices before they were revoked",
        "devices revoked",
        "requests of revoked devices that were refused",
        "pushes of what revoked devices may not say",
    ] {
        assert!(sum.of(what) >= count, "only {} {what} in {count} worlds", sum.of(what));
    }
    // One world may have none of these; twenty have.
    for what in [
        "devices revoked while they were connected",
        "devices revoked while they were cut off",
        "devices revoked in the middle of a push",
        "clocks set back",
        "leases that revoked devices lengthened themselves",
    ] {
        assert!(count < SEEDS || sum.of(what) > 0, "no {what} in {count} worlds");
    }
}

#[test]
fn a_device_that_one_replica_revokes_is_out_at_all_of_them() {
    let Some(server) = Server::shared() else { return };
    let seeds = seeds::wanted(SEEDS_OVER_REPLICAS);
    let count = seeds.end - seeds.start;
    let sum = seeds::each(seeds, |seed, prints| play_revoked_over_replicas(&server, seed, DEPOTS, prints));
    println!("{count} worlds with replicas and devices that are revoked; in them: {:?}", sum.befell);
    assert!(sum.failed.is_empty(), "{}", sum.failed.join("\n"));
    for what in ["devices revoked", "requests of revoked devices that were refused"] {
        assert!(sum.of(what) >= count, "only {} {what} in {count} worlds", sum.of(what));
    }
}

#[test]
fn a_hub_that_forgets_whom_it_has_revoked_is_found() {
    seeds::find(Bug::RevocationForgotten, &[OUT], HIDDEN_MAX, |seed, bug| play_revoked(seed, bug, false));
}
