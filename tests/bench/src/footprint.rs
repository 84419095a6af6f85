//! What the agent needs: its size, its memory at rest, the time from its start to its first stored reading.

use std::time::{Duration, Instant};

use serde_json::json;

use gatehouse_bench::lines::{Aim, Printer, rounded};

use crate::{
    broker::Broker,
    load,
    program::{Places, Program, Setup},
};

/// Starts measured; the median counts.
const STARTS: usize = 5;
/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Measures; says whether all aims hold.
pub async fn run(places: &Places, printer: Printer) -> anyhow::Result<bool> {
    let size_mb = std::fs::metadata(&places.agent)?.len() as f64 / 1e6;
    let broker = Broker::start(false)?;
    let mut starts = Vec::new();
    let mut idle = None;
    for _ in 0..STARTS {
        let setup = Setup::new(Program::Agent, places, &broker)?;
        // A first run makes the session at the broker; then a message waits for the start that is measured.
        let process = setup.start()?;
        setup.until_it_takes_in(&broker, Instant::now()).await?;
        process.kill()?;
        broker.publish(load::probe(1_000_000)).await?;
        let before = setup.position();
        let started = Instant::now();
        let process = setup.start()?;
        while setup.position() <= before && started.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        starts.push(started.elapsed().as_secs_f64());
        if idle.is_none() {
            tokio::time::sleep(IDLE).await;
            idle = Some(process.usage()?);
        }
    }
    starts.sort_by(f64::total_cmp);
    let (start_s, idle_mb) = (starts[STARTS / 2], idle.map_or(0.0, |usage| usage.rss_mb));
    printer.line(&json!({
        "bench": "footprint", "program": "gatehouse-agent", "size_mb": rounded(size_mb), "rss_idle_mb": rounded(idle_mb),
        "cold_start_s": starts.iter().map(|s| rounded(*s)).collect::<Vec<_>>(),
    }));
    let aim = |case, ours, aim, holds| printer.aim(&Aim { bench: "footprint", case, ours, peer: None, aim, holds });
    Ok([
        aim("binary, stripped, MB", size_mb, "<= 10", size_mb <= 10.0),
        aim("RSS idle, MB", idle_mb, "<= 12", idle_mb <= 12.0),
        aim("cold start to first stored reading, s", start_s, "<= 0.2", start_s <= 0.2),
    ]
    .into_iter()
    .all(|holds| holds))
}
