//! Worlds whose hub is three replicas over one PostgreSQL: they die, stand still and are cut off from some depots, and
//! others take over what they did; and planted bugs that the checks must find.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 3. `GATEHOUSE_SEED=K` plays that one and prints what happens. A
//! `TMPDIR` in memory makes it quicker: each commit of PostgreSQL waits for the disk there.

use std::time::Instant;

use gatehouse_tests::{
    erp_trial::server::Server,
    world::{
        bugs::Bug,
        checks::{CONVERGED, POSTED},
        replicas::play_replicas,
        seeds,
    },
};

const SEEDS: u64 = 3;
const DEPOTS: usize = 3;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 12;
/// Claims that are taken in a world in which nothing befalls any replica.
const CLAIMS: u64 = 4;

#[test]
fn replicas_that_die_stand_still_and_are_cut_off_lose_nothing_and_double_nothing() {
    let Some(server) = Server::shared() else { return };
    let (seeds, begun) = (seeds::wanted(SEEDS), Instant::now());
    let count = seeds.end - seeds.start;
    let sum = seeds::each(seeds, |seed, prints| play_replicas(&server, seed, DEPOTS, Bug::None, prints));
    println!("{count} worlds with replicas in {:.1} s; in them: {:?}", begun.elapsed().as_secs_f64(), sum.befell);
    assert!(sum.failed.is_empty(), "{}", sum.failed.join("\n"));
    for (what, least) in [
        ("hub crashes", count),
        ("claims taken", CLAIMS * count + 1),
        ("requests to a replica that cannot be reached", count),
    ] {
        assert!(sum.of(what) >= least, "only {} {what} in {count} worlds", sum.of(what));
    }
}

fn finds(bug: Bug, rule: &str) {
    let Some(server) = Server::shared() else { return };
    seeds::find(bug, &[rule], HIDDEN_MAX, |seed, bug| play_replicas(&server, seed, DEPOTS, bug, false));
}

#[test]
fn a_replica_that_takes_postings_over_and_does_not_ask_for_them_is_found() {
    finds(Bug::TakenOverUnasked, POSTED);
}

#[test]
fn a_cursor_that_passes_a_change_which_is_not_committed_is_found_at_any_replica() {
    finds(Bug::CursorPastUncommitted, CONVERGED);
}
