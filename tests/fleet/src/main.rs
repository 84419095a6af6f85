//! Hub, agents and the lines between them under load. Benchmarks print JSON lines, one for each aim, with a peer or the
//! floor measured in the same run; trials say what held. See `./run help`.
#![expect(clippy::cast_precision_loss, reason = "figures")]

mod acceptance;
mod cases;
mod console;
mod depot;
mod fleet;
mod generator;
mod harm;
mod history;
mod hostile;
mod hub;
mod look;
mod network;
mod own_sync;
mod packets;
mod programs;
mod reader;
mod reconnect;
mod relay;
mod repo;
#[path = "../../../hub/src/store/contract/server.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "it is the tests' own; not all of it is asked for here")]
mod server;
mod sync;
mod unit;
mod wire;
mod words;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use gatehouse_bench::lines::Printer;

use programs::Programs;

/// Hub, agents and the lines between them under load.
///
/// JSON lines on standard output, what is being done on standard error. Status 0: every aim holds. 1: one does not,
/// its line says `"holds":false`. 2: something could not be run.
#[derive(Parser)]
#[command(name = "./run bench", bin_name = "./run bench")]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

#[derive(Args)]
struct Common {
    /// Print only JSON lines
    #[arg(long, global = true)]
    json: bool,
    /// The agent, as it is shipped; default: the one in this program
    #[arg(long, value_name = "FILE", global = true)]
    agent: Option<PathBuf>,
    /// The hub, as it is shipped; default: the one in this program
    #[arg(long, value_name = "FILE", global = true)]
    hub: Option<PathBuf>,
    /// Folder in which peers are installed; default: ~/.cache/gatehouse/peers
    #[arg(long, value_name = "DIR", global = true)]
    peers: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// A depot comes back: bytes, exchanges, processor and memory, beside automerge-repo and Automerge's own sync
    Sync(sync::Arguments),
    /// How many changes the hub takes in, beside appending the same bytes to a table
    Hub(acceptance::Arguments),
    /// Bad lines between agent and hub: cut, slow, lossy, mangling
    Network(network::Arguments),
    /// Bytes that mean harm, at the hub and at an agent's reader
    Hostile(hostile::Arguments),
    /// Thousands of agents wait over TLS, and then all come back
    Fleet(fleet::Arguments),
}

fn main() -> ExitCode {
    // The programs themselves, for where they are not shipped apart: their own command lines take over.
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.first().map(String::as_str) {
        Some("as-agent") => return gatehouse_agent::cli::main(gatehouse_agent::cli::Cli::parse_from(given)),
        Some("as-hub") => {
            return ended(gatehouse_hub::cli::run(gatehouse_hub::cli::Cli::parse_from(given)).map(|()| true));
        }
        Some("as-reader") => return ended(reader::run(given.get(1).and_then(|n| n.parse().ok()).unwrap_or(0))),
        _ => {}
    }
    let Arguments { common, what } = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(error.into())),
    };
    ended(runtime.block_on(run(common, what)))
}

fn ended(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(common: Common, what: What) -> anyhow::Result<bool> {
    // Only the first installer succeeds, and this is the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let printer = Printer { json: common.json };
    let programs = Programs { agent: common.agent, hub: common.hub, own: std::env::current_exe()? };
    let peers = common.peers.unwrap_or_else(gatehouse_bench::default_peers);
    match what {
        What::Sync(arguments) => sync::run(&arguments, &programs, &peers, printer).await,
        What::Network(arguments) => network::run(&arguments, &programs, printer).await,
        What::Hostile(arguments) => hostile::run(&arguments, &programs, printer).await,
        What::Fleet(arguments) => fleet::run(&arguments, &programs, printer).await,
        // It waits for stores of its own, which a thread of async code must not.
        What::Hub(arguments) => tokio::task::spawn_blocking(move || acceptance::run(&arguments, printer)).await?,
    }
}
