//! How long a start takes on a large store: from opening it to the first commit of a reading.

use std::time::Instant;

use gatehouse_agent::{clock::Clock, core::input::Input, driver::step};
use serde_json::json;

use crate::{aim, depot};

/// Readings in one commit.
const BATCH: u64 = 512;
/// Starts measured; the median counts.
const STARTS: usize = 5;
/// Readings between two looks at the size, and between two words on how far it is.
const LOOK_EVERY: u64 = BATCH * 200;

/// Fills a store up to so many megabytes, then starts on it; says whether the aim holds.
pub fn run(megabytes: u32) -> anyhow::Result<bool> {
    let directory = tempfile::Builder::new().prefix("gatehouse-inside-").tempdir()?;
    let path = directory.path().join("store.db");
    let clock = Clock::system();
    let (mut core, mut store) = depot::open(&path)?;
    let wanted = u64::from(megabytes) * 1_000_000;
    let mut n = 0;
    loop {
        let inputs = (n..n + BATCH).map(|n| Ok(input(n, &clock)?)).collect::<anyhow::Result<Vec<Input>>>()?;
        step(&mut core, &mut store, &clock.now(), &inputs)?;
        n += BATCH;
        if store.is_to_be_folded() {
            store.fold()?;
        }
        if n.is_multiple_of(LOOK_EVERY) {
            let bytes = std::fs::metadata(&path)?.len();
            eprintln!("{} of {megabytes} MB, {n} readings", bytes / 1_000_000);
            if bytes >= wanted {
                break;
            }
        }
    }
    drop((core, store));
    let mut starts_s = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let (mut core, mut store) = depot::open(&path)?;
        step(&mut core, &mut store, &clock.now(), &[input(n, &clock)?])?;
        starts_s.push((started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
        n += 1;
    }
    starts_s.sort_by(f64::total_cmp);
    let beside = json!({ "megabytes": megabytes, "readings": n, "starts_s": starts_s });
    Ok(aim("start to first stored reading with a store of this size, s", starts_s[STARTS / 2], 1.0, beside))
}

fn input(n: u64, clock: &Clock) -> anyhow::Result<Input> {
    Ok(Input::Reading { reading: depot::reading(n, clock.wall())?, receipt: None })
}
