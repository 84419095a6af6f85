//! What cannot be measured from outside: the agent's own driver, core and store on a real disk, without broker and hub.
//!
//! Prints JSON lines like the other benchmarks, one for each aim.

mod depot;
mod release;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

/// Measures inside the agent: times of a release, of a start on a large store. Files lie in TMPDIR meanwhile.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// From the last fact that a dispatch waits for to its release on disk, while 500 readings a second come in
    Release {
        /// Dispatches that are released
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        orders: u32,
    },
    /// From a program's start to its first commit, with a store of this size
    Start {
        /// Megabytes of the store
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        megabytes: u32,
    },
}

fn main() -> ExitCode {
    let measured = match Arguments::parse().what {
        What::Release { orders } => release::run(orders),
        What::Start { megabytes } => start::run(megabytes),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("gatehouse-inside: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the line of an aim: at most `max`; says whether it holds.
fn aim(case: &str, ours: f64, max: f64, beside: serde_json::Value) -> bool {
    let holds = ours <= max;
    println!(
        "{}",
        json!({
            "bench": "inside", "case": case, "ours": ours, "peer": null, "theirs": null, "ratio": null,
            "aim": format!("<= {max}"), "holds": holds, "beside": beside,
        })
    );
    holds
}
