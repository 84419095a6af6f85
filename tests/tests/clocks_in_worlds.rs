//! Worlds in which clocks are set wrong and right again: nothing is lost or doubled, and nothing is released on what is
//! too old by true time. And planted bugs that the checks must find.
//!
//! `GATEHOUSE_SEEDS=N` plays that many seeds instead of 20. `GATEHOUSE_SEED=K` plays that one and prints what happens.

use gatehouse_tests::world::{
    bugs::Bug,
    checks::{FRESH, HELD_BACK},
    clocks::play_with_clocks,
    random::play,
    readers::GROWS,
    seeds,
};

const SEEDS: u64 = 20;
/// How many seeds a planted bug may stay hidden.
const HIDDEN_MAX: u64 = 60;

/// Plays the seeds, with the hub's clock set wrong as well if `hub`; each must be whole.
fn are_whole(hub: bool) -> (u64, seeds::Sum) {
    let seeds = seeds::wanted(SEEDS);
    let count = seeds.end - seeds.start;
    let sum = seeds::each(seeds, |seed, prints| play_with_clocks(seed, hub, Bug::None, prints));
    println!("{count} worlds with wrong clocks; in them: {:?}", sum.befell);
    assert!(sum.failed.is_empty(), "{}", sum.failed.join("\n"));
    (count, sum)
}

#[test]
fn whatever_the_clocks_of_depots_show_nothing_is_lost_or_doubled_or_released_on_what_is_too_old() {
    let (count, sum) = are_whole(false);
    for what in ["clocks set back", "clocks set forth", "documents read again"] {
        assert!(sum.of(what) >= count, "only {} {what} in {count} worlds", sum.of(what));
    }
    // One world may have none of these; twenty have.
    for what in ["readings taken for yet to come", "requests refused for their time"] {
        assert!(count < SEEDS || sum.of(what) > 0, "no {what} in {count} worlds");
    }
}

#[test]
fn whatever_the_hub_s_clock_shows_everything_comes_to_rest() {
    are_whole(true);
}

#[test]
fn a_machine_that_counts_half_of_the_time_since_its_start_is_found() {
    seeds::find(Bug::CountsSlowly, &[FRESH], HIDDEN_MAX, |seed, bug| play_with_clocks(seed, false, bug, false));
}

#[test]
fn a_hub_that_loses_an_entry_that_it_has_shown_is_found() {
    seeds::find(Bug::EntryLost, &[GROWS], HIDDEN_MAX, |seed, bug| play_with_clocks(seed, false, bug, false));
}

#[test]
fn a_hub_that_lets_go_what_it_has_cancelled_is_found() {
    seeds::find(Bug::ReleasedAfterAll, &[HELD_BACK], HIDDEN_MAX, |seed, bug| play(seed, bug, false));
}
