//! Every reader of foreign bytes, briefly, on mutations drawn from a seed.
//!
//! `GATEHOUSE_FUZZ_RUNS=N` tries that many inputs per reader instead of 20,000. For longer, and led by
//! what the code does: `./run trials fuzz`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gatehouse_common::rule::{Program, Scope};
use gatehouse_tests::fuzz::{CONTROL, TARGETS, Target, mutate::Mutator, target};

/// Inputs per reader when nobody says.
const RUNS: usize = 20_000;

/// The first input on which `target` panics.
fn first_failure(target: &Target, runs: usize) -> Option<Vec<u8>> {
    let seeds = (target.seeds)();
    let mut mutator = Mutator::new(1);
    let drawn = std::iter::repeat_with(|| mutator.draw(&seeds)).take(runs);
    seeds.iter().cloned().chain(drawn).find(|input| catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err())
}

#[test]
fn no_reader_panics_on_bytes_that_nobody_meant() {
    let runs = match std::env::var("GATEHOUSE_FUZZ_RUNS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("GATEHOUSE_FUZZ_RUNS={text:?} is not a number")),
        Err(_) => RUNS,
    };
    // Automerge's own panics are caught by the gate and are no news.
    std::panic::set_hook(Box::new(|_| {}));
    let failed: Vec<String> = TARGETS
        .iter()
        .filter_map(|target| Some((target.name, first_failure(target, runs)?)))
        .map(|(name, input)| format!("{name}: {:?}", String::from_utf8_lossy(&input)))
        .collect();
    let _ = std::panic::take_hook();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_reader_that_trusts_its_input_is_caught() {
    assert!(first_failure(&CONTROL, 1_000).is_some());
}

#[test]
fn every_condition_that_mutations_begin_with_is_one() {
    let seeds = target("rule").map(|rule| (rule.seeds)()).unwrap_or_default();
    assert!(seeds.len() > 5);
    for seed in seeds {
        let text = String::from_utf8_lossy(&seed).into_owned();
        let compiles = [Scope::Gate, Scope::Fallback, Scope::Case].iter().any(|s| Program::compile(&text, *s).is_ok());
        assert!(compiles, "{text}");
    }
}
