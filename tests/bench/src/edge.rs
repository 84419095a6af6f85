//! The agent under load, beside the floor and its peers: each gets the same messages from the same kind of broker.
//!
//! *full speed*: the program subscribes, is held while the broker takes all messages, and goes on: the time until the
//! last is committed is its own. *500/s*: messages come steadily while it runs.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use gatehouse_bench::lines::{Aim, Printer, rounded};

use crate::{
    broker::Broker,
    load::{DEVICES, Load},
    program::{Places, Program, Setup},
};

/// Longest that a program may stand still before it is given up.
const STUCK: Duration = Duration::from_secs(60);
/// How long a program is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// Messages a second of the steady case.
const STEADY_PER_S: u32 = 500;

/// What to run.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Messages of the case at full speed.
    pub messages: u32,
    /// Messages of the steady case.
    pub steady: u32,
    /// Whether the broker saves after each change, as its settings say.
    pub broker_saves: bool,
    /// Only these programs; empty: all.
    pub only: Vec<Program>,
}

/// What came of one program in one case.
struct Figures {
    rate: f64,
    cpu_s_per_10k: f64,
    rss_idle_mb: f64,
    rss_peak_mb: f64,
    written_per_message: f64,
    seconds: f64,
    rows: u32,
    alerts: u32,
    alerts_wrong: u32,
    doubled: u32,
    window: u32,
}

/// Runs every program in every case; says whether all aims hold.
pub async fn run(edge: &Edge, places: &Places, printer: Printer) -> anyhow::Result<bool> {
    let all = [Program::Floor, Program::Agent, Program::Python, Program::NodeRed];
    let wanted = all.into_iter().filter(|p| edge.only.is_empty() || edge.only.contains(p));
    let mut full = Vec::new();
    let mut steady = Vec::new();
    for program in wanted {
        if let Err(why) = program.install(places, printer) {
            printer.line(&json!({ "bench": "edge", "program": program.name(), "skipped": format!("{why:#}") }));
            continue;
        }
        printer.say(&format!("{}: {} messages at full speed", program.name(), edge.messages));
        let figures = measure(program, edge, None, places).await.with_context(|| program.name())?;
        printer.line(&line("full speed", program, edge.messages, &figures));
        full.push((program, figures));
        if edge.steady > 0 {
            printer.say(&format!("{}: {} messages at {STEADY_PER_S}/s", program.name(), edge.steady));
            let figures = measure(program, edge, Some(STEADY_PER_S), places).await.with_context(|| program.name())?;
            printer.line(&line("500/s", program, edge.steady, &figures));
            steady.push((program, figures));
        }
    }
    Ok(aims(edge, printer, &full, &steady))
}

async fn measure(program: Program, edge: &Edge, per_second: Option<u32>, places: &Places) -> anyhow::Result<Figures> {
    let broker = Broker::start(edge.broker_saves)?;
    let setup = Setup::new(program, places, &broker)?;
    let process = setup.start()?;
    setup.until_it_takes_in(&broker, Instant::now()).await?;
    tokio::time::sleep(IDLE).await;
    let before = process.usage()?;
    let first = setup.position();
    let messages = if per_second.is_some() { edge.steady } else { edge.messages };
    let load = Load::now(messages);
    let started = if let Some(rate) = per_second {
        let started = Instant::now();
        Broker::publish_load(broker.port, load, Some(rate)).await?;
        started
    } else {
        process.hold(true)?;
        Broker::publish_load(broker.port, load, None).await?;
        process.hold(false)?;
        Instant::now()
    };
    until_all_is_stored(&setup, first, messages).await?;
    let took = started.elapsed();
    // Alerts may be written a moment after the rows that they rest on.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = process.usage()?;
    let found = setup.found()?;
    let expected = load.expected_alerts();
    let right = found.alerts.iter().filter(|door| expected.contains(door)).count();
    let per = |figure: f64, n: f64| figure / f64::from(messages) * n;
    Ok(Figures {
        rate: f64::from(messages) / took.as_secs_f64(),
        cpu_s_per_10k: per(after.cpu_s - before.cpu_s, 10_000.0),
        rss_idle_mb: before.rss_mb,
        rss_peak_mb: after.rss_peak_mb,
        written_per_message: per((after.written_bytes - before.written_bytes) as f64, 1.0),
        seconds: took.as_secs_f64(),
        rows: found.rows,
        alerts: u32::try_from(right)?,
        alerts_wrong: u32::try_from(found.alerts.len() - right)?,
        doubled: found.doubled,
        window: broker.window,
    })
}

/// Waits until so many rows are committed after row `first`.
pub async fn until_all_is_stored(setup: &Setup, first: i64, messages: u32) -> anyhow::Result<()> {
    let conn = setup.open()?;
    let mut newest = conn.prepare(setup.newest())?;
    let (mut seen, mut moved) = (first, Instant::now());
    while seen - first < i64::from(messages) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now: i64 = newest.query_row([], |row| row.get(0))?;
        if now != seen {
            (seen, moved) = (now, Instant::now());
        } else if moved.elapsed() > STUCK {
            bail!("stands still at {} of {messages} messages; its log:\n{}", seen - first, setup.log());
        }
    }
    Ok(())
}

fn line(case: &str, program: Program, messages: u32, figures: &Figures) -> Value {
    let expected = Load { messages, start_ms: 0 }.expected_alerts().len();
    json!({
        "bench": "edge", "case": case, "program": program.name(), "messages": messages, "devices": DEVICES,
        "in_flight_window": figures.window, "rate_per_s": figures.rate.round(), "seconds": rounded(figures.seconds),
        "cpu_s_per_10k": rounded(figures.cpu_s_per_10k), "rss_idle_mb": rounded(figures.rss_idle_mb),
        "rss_peak_mb": rounded(figures.rss_peak_mb), "written_bytes_per_message": figures.written_per_message.round(),
        "rows": figures.rows, "alerts_expected": expected, "alerts": figures.alerts,
        "alerts_wrong": figures.alerts_wrong, "alerts_doubled": figures.doubled,
    })
}

fn aims(edge: &Edge, printer: Printer, full: &[(Program, Figures)], steady: &[(Program, Figures)]) -> bool {
    let of = |figures: &'_ [(Program, Figures)], program| figures.iter().position(|(p, _)| *p == program);
    let Some(ours) = of(full, Program::Agent).map(|n| &full[n].1) else { return true };
    let mut hold = true;
    let mut aim = |case: &str, ours: f64, peer: Option<(&str, f64)>, aim: &str, holds: bool| {
        hold &= printer.aim(&Aim { bench: "edge", case, ours, peer, aim, holds });
    };
    if let Some(floor) = of(full, Program::Floor).map(|n| &full[n].1) {
        let holds = ours.rate >= 0.7 * floor.rate;
        aim("full speed: rate per s", ours.rate, Some(("floor", floor.rate)), ">= 0.7 of the floor", holds);
    }
    // Node-RED acknowledges before it stores, so it is no durable peer; the ratio to it is printed all the same.
    for peer in [Program::Python, Program::NodeRed] {
        if let Some(theirs) = of(full, peer).map(|n| &full[n].1) {
            let holds = ours.rate >= 5.0 * theirs.rate;
            aim("full speed: rate per s", ours.rate, Some((peer.name(), theirs.rate)), ">= 5 times the peer", holds);
        }
    }
    let cpu = ours.cpu_s_per_10k;
    aim("full speed: CPU-s/10k", cpu, None, "<= 0.25", cpu <= 0.25);
    aim("RSS idle, MB", ours.rss_idle_mb, None, "<= 12", ours.rss_idle_mb <= 12.0);
    aim("full speed: RSS peak, MB", ours.rss_peak_mb, None, "<= 24", ours.rss_peak_mb <= 24.0);
    let written = ours.written_per_message;
    aim("full speed: bytes written per message", written, None, "<= 400", written <= 400.0);
    let expected =
        f64::from(u32::try_from(Load { messages: edge.messages, start_ms: 0 }.expected_alerts().len()).unwrap_or(0));
    let lost = f64::from(edge.messages) - f64::from(ours.rows);
    aim("full speed: rows lost", lost, None, "0", lost == 0.0);
    let off = expected - f64::from(ours.alerts) + f64::from(ours.alerts_wrong + ours.doubled);
    aim("full speed: alerts missed, wrong or doubled", off, None, "0", off == 0.0);
    if let Some(ours) = of(steady, Program::Agent).map(|n| &steady[n].1) {
        // What waking up for each message costs on this machine, the floor pays too.
        let floor = of(steady, Program::Floor).map(|n| ("floor", steady[n].1.cpu_s_per_10k));
        aim("500/s: CPU-s/10k", ours.cpu_s_per_10k, floor, "<= 0.6", ours.cpu_s_per_10k <= 0.6);
        let written = ours.written_per_message;
        aim("500/s: bytes written per message", written, None, "<= 1500", written <= 1500.0);
    }
    hold
}
