//! The power is cut while a depot works.
//!
//! `GATEHOUSE_CUTS` says how often (2,000), `GATEHOUSE_SEED` lives the one life of a seed again.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use gatehouse_power::trial::{Planted, Report, cut_again_and_again};

/// Cuts in one life: more would only compare an ever larger store.
const CUTS_A_LIFE: u64 = 25;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}, no number")))
}

fn lives(cuts: u64, planted: Planted) -> Report {
    let started = Instant::now();
    let next_seed = AtomicU64::new(1);
    let total = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while total.lock().unwrap().cuts < cuts {
                    let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                    let report = cut_again_and_again(seed, CUTS_A_LIFE, planted);
                    total.lock().unwrap().add(report);
                }
            });
        }
    });
    let report = total.into_inner().unwrap();
    let seed = next_seed.into_inner() - 1;
    println!(
        "{planted:?}: {} cuts, {} steps with {} readings acknowledged, {} times the step under way was kept, \
         {} documents forgotten, {} lives of {seed} lost something, {:.1} s",
        report.cuts,
        report.steps,
        report.readings,
        report.under_way_kept,
        report.forgotten,
        report.lost.len(),
        started.elapsed().as_secs_f64()
    );
    report
}

#[test]
fn nothing_acknowledged_is_lost_or_altered_by_a_cut() {
    if let Ok(seed) = std::env::var("GATEHOUSE_SEED") {
        let report = cut_again_and_again(seed.parse().unwrap(), CUTS_A_LIFE, Planted::Nothing);
        assert_eq!(report.lost, Vec::<String>::new());
        return;
    }
    let report = lives(setting("GATEHOUSE_CUTS", 2_000), Planted::Nothing);
    assert_eq!(report.lost, Vec::<String>::new(), "again with GATEHOUSE_SEED");
    assert!(report.forgotten > 0, "nothing was over in any life");
    assert!(report.under_way_kept > 0, "no cut fell between a commit and its answer");
}

#[test]
fn without_full_sync_something_is_lost() {
    let report = lives(300, Planted::NormalSync);
    println!("for example: {}", report.lost.first().map_or("nothing", |what| what));
    assert!(!report.lost.is_empty(), "the checker does not see what synchronous=NORMAL loses");
}

#[test]
fn with_a_sync_that_lies_something_is_lost() {
    let report = lives(300, Planted::LyingSync);
    println!("for example: {}", report.lost.first().map_or("nothing", |what| what));
    assert!(!report.lost.is_empty(), "the checker does not see what a lying disk loses");
}
