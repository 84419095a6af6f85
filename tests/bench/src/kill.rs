//! kill -9 at random moments during the load: nothing acknowledged may be lost, no alert missed or doubled.
//!
//! The checker reads the store's file and knows the load; it shares no code with the agent. The control is the floor
//! acknowledging before its commit, with its rule in memory: it must lose rows and miss alerts.

use std::time::{Duration, Instant};

use anyhow::bail;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use gatehouse_bench::lines::{Aim, Printer, rounded};

use crate::{
    broker::Broker,
    load::Load,
    program::{Found, Places, Program, Setup},
};

/// How long the load lasts per kill, on average.
const PER_KILL: Duration = Duration::from_millis(1600);
/// A program that commits nothing for so long after a start is given up.
const BACK_MAX: Duration = Duration::from_secs(20);
/// Within so long after a start the next commit is aimed at.
const BACK_AIM_S: f64 = 0.5;

/// What befell one program.
struct Befallen {
    found: Found,
    missed: usize,
    wrong: usize,
    to_next_commit_s: Vec<f64>,
}

/// Kills the agent and the control; says whether the aims hold and the control lost.
pub async fn run(messages: u32, kills: u32, seed: u64, places: &Places, printer: Printer) -> anyhow::Result<bool> {
    let mut hold = true;
    for program in [Program::Agent, Program::FloorAcknowledgingFirst] {
        printer.say(&format!("{}: {kills} kills in {messages} messages, seed {seed}", program.name()));
        let befallen = killed(program, messages, kills, seed, places).await?;
        let lost = messages.saturating_sub(befallen.found.rows);
        let mut times = befallen.to_next_commit_s.clone();
        times.sort_by(f64::total_cmp);
        let slowest = times.last().copied().unwrap_or(0.0);
        printer.line(&json!({
            "bench": "edge", "case": "kill", "program": program.name(), "messages": messages, "kills": kills,
            "seed": seed, "rows_lost": lost, "alerts_missed": befallen.missed, "alerts_wrong": befallen.wrong,
            "alerts_doubled": befallen.found.doubled,
            "to_next_commit_s": { "median": rounded(times[times.len() / 2]), "slowest": rounded(slowest) },
        }));
        let mut aim = |case: &str, ours: f64, aim: &str, holds: bool| {
            hold &= printer.aim(&Aim { bench: "edge", case, ours, peer: None, aim, holds });
        };
        if program == Program::Agent {
            aim("kill: rows lost", f64::from(lost), "0", lost == 0);
            aim("kill: alerts missed", befallen.missed as f64, "0", befallen.missed == 0);
            let extra = befallen.wrong as f64 + f64::from(befallen.found.doubled);
            aim("kill: alerts doubled or wrong", extra, "0", extra == 0.0);
            aim("kill: slowest next commit, s", slowest, "<= 0.5", slowest <= BACK_AIM_S);
        } else {
            aim("kill: rows lost by the control", f64::from(lost), "> 0, or the checker sees nothing", lost > 0);
        }
    }
    Ok(hold)
}

async fn killed(program: Program, messages: u32, kills: u32, seed: u64, places: &Places) -> anyhow::Result<Befallen> {
    let mut dice = StdRng::seed_from_u64(seed);
    let broker = Broker::start(false)?;
    let setup = Setup::new(program, places, &broker)?;
    let mut process = setup.start()?;
    setup.until_it_takes_in(&broker, Instant::now()).await?;
    let load = Load::now(messages);
    let rate = (f64::from(messages) / (PER_KILL.as_secs_f64() * f64::from(kills))).clamp(500.0, 5000.0);
    let publishing = tokio::spawn(Broker::publish_load(broker.port, load, Some(rate.round() as u32)));
    let mut to_next_commit_s = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(dice.random_range(100..1500))).await;
        process.kill()?;
        let before = setup.position();
        let started = Instant::now();
        process = setup.start()?;
        while setup.position() <= before {
            if started.elapsed() > BACK_MAX {
                bail!("{} commits nothing after a kill; its log:\n{}", program.name(), setup.log());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        to_next_commit_s.push(started.elapsed().as_secs_f64());
    }
    publishing.await??;
    until_it_rests(&setup).await;
    anyhow::ensure!(process.runs(), "{} ended by itself; its log:\n{}", program.name(), setup.log());
    let found = setup.found()?;
    let expected = load.expected_alerts();
    let missed = expected.iter().filter(|door| !found.alerts.contains(door)).count();
    let wrong = found.alerts.iter().filter(|door| !expected.contains(door)).count();
    Ok(Befallen { found, missed, wrong, to_next_commit_s })
}

/// Waits until nothing has been committed for two seconds.
async fn until_it_rests(setup: &Setup) {
    let (mut seen, mut since) = (setup.position(), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = setup.position();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
