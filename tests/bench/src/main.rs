//! Benchmarks: each prints JSON lines, one per program and case and one per aim, with a peer or the floor measured in
//! the same run. Absolute figures swing from machine to machine; ratios, CPU seconds and bytes are what to compare.
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures")]

#[path = "../../src/blocks.rs"]
mod blocks;
mod broker;
mod edge;
mod footprint;
mod kill;
mod load;
mod program;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use edge::Edge;
use gatehouse_bench::{default_peers, lines::Printer};
use load::Load;
use program::{Places, Program};

/// Benchmarks of Gatehouse.
///
/// JSON lines on standard output, what is being done on standard error. Status 0: every aim holds. 1: one does not,
/// its line says `"holds":false`. 2: something could not be run.
#[derive(Parser)]
#[command(name = "./run bench", bin_name = "./run bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Size, memory at rest, and time to the first stored reading, of the agent
    Footprint(Common),
    /// The agent under the load of 200 devices, beside the floor and two peers, which are installed if need be
    Edge(EdgeArguments),
}

#[derive(Args)]
struct Common {
    /// Print only JSON lines
    #[arg(long)]
    json: bool,
    /// The agent, as it is shipped; default: gatehouse-agent where this program is
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Folder in which peers are installed; default: ~/.cache/gatehouse/peers
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
}

#[derive(Args)]
struct EdgeArguments {
    #[command(flatten)]
    common: Common,
    /// Messages at full speed
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(i64::from(Load::MESSAGES_MIN)..))]
    messages: u32,
    /// Messages at a steady 500 a second; 0 leaves that case out
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = steady_messages)]
    steady: u32,
    /// Instead kill -9 the agent N times (20) during the load and count what is lost; a control must lose
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    kill: Option<u32>,
    /// Draws the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let the broker save after each change, as its settings in firmware-config say; else it does not save at all,
    /// so that it is not its saving that is measured
    #[arg(long)]
    broker_saves: bool,
    /// Only these programs: agent, floor, python, node-red
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = program_named)]
    only: Vec<Program>,
}

fn steady_messages(text: &str) -> Result<u32, String> {
    let fewest = Load::MESSAGES_MIN;
    let messages = text.parse().map_err(|_| "give a number".to_owned())?;
    if messages == 0 || messages >= fewest { Ok(messages) } else { Err(format!("give 0, or {fewest} and more")) }
}

fn program_named(name: &str) -> Result<Program, String> {
    Ok(match name {
        "agent" => Program::Agent,
        "floor" => Program::Floor,
        "python" => Program::Python,
        "node-red" => Program::NodeRed,
        _ => return Err("give agent, floor, python or node-red".to_owned()),
    })
}

impl Common {
    fn places(&self) -> anyhow::Result<(Places, Printer)> {
        let own = std::env::current_exe()?;
        let programs = own.parent().map_or_else(|| PathBuf::from("."), PathBuf::from);
        let agent = self.agent.clone().unwrap_or_else(|| programs.join("gatehouse-agent"));
        let peers = self.peers.clone().unwrap_or_else(default_peers);
        Ok((Places { agent, programs, peers }, Printer { json: self.json }))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().bench).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(bench: Bench) -> anyhow::Result<bool> {
    match bench {
        Bench::Footprint(common) => {
            let (places, printer) = common.places()?;
            footprint::run(&places, printer).await
        }
        Bench::Edge(arguments) => {
            let (places, printer) = arguments.common.places()?;
            if let Some(kills) = arguments.kill {
                return kill::run(arguments.messages, kills, arguments.seed, &places, printer).await;
            }
            let EdgeArguments { messages, steady, broker_saves, only, .. } = arguments;
            edge::run(&Edge { messages, steady, broker_saves, only }, &places, printer).await
        }
    }
}
