//! `./run bench sync`: a depot comes back, beside automerge-repo and Automerge's own sync on the same documents.

use std::path::Path;

use automerge::ChangeHash;
use gatehouse_bench::lines::{Aim, Printer, rounded};
use serde_json::json;

use crate::{
    own_sync::{self, Knows},
    programs::Programs,
    reconnect::{self, Figures, Outcome},
    repo,
    server::Server,
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cases of the depot; a multiple of 50
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = fifties)]
    cases: usize,
    /// Cases of the run beside automerge-repo; a multiple of 50, or 0 to leave it out
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = fifties_or_none)]
    beside: usize,
}

fn fifties(text: &str) -> Result<usize, String> {
    match fifties_or_none(text)? {
        0 => Err("give 50 or more".to_owned()),
        cases => Ok(cases),
    }
}

fn fifties_or_none(text: &str) -> Result<usize, String> {
    let cases: usize = text.parse().map_err(|_| "give a number".to_owned())?;
    if cases.is_multiple_of(50) && cases <= 100_000 { Ok(cases) } else { Err("give a multiple of 50".to_owned()) }
}

/// Measures; says whether all aims hold.
pub async fn run(arguments: &Arguments, programs: &Programs, peers: &Path, printer: Printer) -> anyhow::Result<bool> {
    let mut holds = true;
    if arguments.beside > 0 {
        holds &= beside(arguments.beside, programs, peers, printer).await?;
    }
    let over_sqlite = reconnect::run(arguments.cases, None, programs, printer).await?;
    ours(arguments.cases, &over_sqlite, printer);
    let peers = own(arguments.cases, &over_sqlite, printer)?;
    holds &= aims(arguments.cases, &over_sqlite, &peers, printer);
    if let Some(server) = tokio::task::block_in_place(Server::alone) {
        let over_postgresql = reconnect::run(arguments.cases, Some(&server), programs, printer).await?;
        ours(arguments.cases, &over_postgresql, printer);
        holds &= aims(arguments.cases, &over_postgresql, &peers, printer);
    }
    Ok(holds)
}

fn aims(cases: usize, outcome: &Outcome, peers: &Own, printer: Printer) -> bool {
    let Outcome { store, reconnected, downloaded, .. } = outcome;
    let mut holds = true;
    let mut aim = |what: &str, ours: f64, peer: Option<f64>, aim: &str, kept: bool| {
        let peer = peer.map(|figure| ("Automerge's own sync, told what changed", figure));
        let case = format!("{what}, {cases} cases, hub over {store}");
        holds &= printer.aim(&Aim { bench: "sync", case: &case, ours, peer, aim, holds: kept });
    };
    let bytes = bytes(reconnected);
    aim("reconnect: bytes", bytes, Some(peers.bytes), "<= 250000", bytes <= 250_000.0);
    let cpu = reconnected.agent_cpu_s;
    aim("reconnect: CPU of the agent, s", cpu, Some(peers.depot_cpu_s), "<= 0.4", cpu <= 0.4);
    let cpu = reconnected.hub_cpu_s;
    aim("reconnect: CPU of the hub with the fold, s", cpu, Some(peers.hub_cpu_s), "<= 0.4", cpu <= 0.4);
    let down = downloaded.line.down as f64;
    aim("first download: bytes", down, None, "<= 2000000", down <= 2_000_000.0);
    let cpu = downloaded.agent_cpu_s;
    aim("first download: CPU of the agent, s", cpu, None, "<= 3", cpu <= 3.0);
    holds
}

fn bytes(figures: &Figures) -> f64 {
    (figures.line.up + figures.line.down) as f64
}

/// The run beside automerge-repo, which does not get further than so many documents in sensible time.
async fn beside(cases: usize, programs: &Programs, peers: &Path, printer: Printer) -> anyhow::Result<bool> {
    let outcome = reconnect::run(cases, None, programs, printer).await?;
    ours(cases, &outcome, printer);
    own(cases, &outcome, printer)?;
    let theirs = match repo::run(&outcome.pairs, peers, printer).await {
        Ok(theirs) => theirs,
        Err(why) => {
            printer.line(&json!({ "bench": "sync", "program": "automerge-repo", "skipped": format!("{why:#}") }));
            return Ok(false);
        }
    };
    let their_bytes = (theirs.line.up + theirs.line.down) as f64;
    let their_cpu = theirs.client_cpu_s + theirs.hub_cpu_s;
    printer.line(&json!({
        "bench": "sync", "case": "reconnect", "program": "automerge-repo", "cases": cases,
        "bytes_up": theirs.line.up, "bytes_down": theirs.line.down, "tls": false, "messages": theirs.messages,
        "seconds": rounded(theirs.seconds), "depot_cpu_s": rounded(theirs.client_cpu_s),
        "hub_cpu_s": rounded(theirs.hub_cpu_s), "depot_rss_peak_mb": rounded(theirs.client_rss_mb),
        "hub_rss_peak_mb": rounded(theirs.hub_rss_mb),
    }));
    let ours = &outcome.reconnected;
    let (our_bytes, our_cpu) = (bytes(ours), ours.agent_cpu_s + ours.hub_cpu_s);
    let mut holds = true;
    let mut aim = |what: &str, ours: f64, theirs: f64, aim: &str, kept: bool| {
        let (case, peer) = (format!("reconnect of {cases} cases: {what}"), Some(("automerge-repo", theirs)));
        holds &= printer.aim(&Aim { bench: "sync", case: &case, ours, peer, aim, holds: kept });
    };
    aim("bytes", our_bytes, their_bytes, ">= 5 times fewer", our_bytes * 5.0 <= their_bytes);
    aim("CPU of both, s", our_cpu, their_cpu, ">= 30 times less", our_cpu * 30.0 <= their_cpu);
    Ok(holds)
}

fn ours(cases: usize, outcome: &Outcome, printer: Printer) {
    for (case, figures) in [("reconnect", &outcome.reconnected), ("first download", &outcome.downloaded)] {
        printer.line(&json!({
            "bench": "sync", "case": case, "program": "gatehouse", "store": outcome.store, "cases": cases,
            "bytes_up": figures.line.up, "bytes_down": figures.line.down, "tls": true,
            "connections": figures.line.connections, "exchanges": figures.exchanges,
            "seconds": rounded(figures.seconds), "depot_cpu_s": rounded(figures.agent_cpu_s),
            "hub_cpu_s": rounded(figures.hub_cpu_s), "depot_rss_peak_mb": rounded(figures.agent_rss_mb),
            "hub_rss_peak_mb": rounded(figures.hub_rss_mb),
        }));
    }
}

/// What Automerge's own sync takes when it is told which documents have changed.
struct Own {
    bytes: f64,
    depot_cpu_s: f64,
    hub_cpu_s: f64,
}

fn own(cases: usize, outcome: &Outcome, printer: Printer) -> anyhow::Result<Own> {
    let mut told = Own { bytes: 0.0, depot_cpu_s: 0.0, hub_cpu_s: 0.0 };
    let common: Vec<Vec<ChangeHash>> =
        outcome.common.iter().map(|heads| heads.iter().map(|hash| ChangeHash(hash.0)).collect()).collect();
    for (knows, name) in [(Knows::Nothing, "no state"), (Knows::WhatChanged, "told what changed")] {
        printer.say(&format!("Automerge's own sync, {name}"));
        let figures = own_sync::run(&outcome.pairs, &common, knows)?;
        printer.line(&json!({
            "bench": "sync", "case": "reconnect", "program": format!("Automerge's own sync, {name}"), "cases": cases,
            "bytes_up": figures.up, "bytes_down": figures.down, "tls": false, "messages": figures.messages,
            "rounds": figures.rounds, "depot_cpu_s": rounded(figures.depot_cpu_s),
            "hub_cpu_s": rounded(figures.hub_cpu_s),
        }));
        let own_sync::Figures { up, down, depot_cpu_s, hub_cpu_s, .. } = figures;
        told = Own { bytes: (up + down) as f64, depot_cpu_s, hub_cpu_s };
    }
    Ok(told)
}
