//! `gatehouse-hub`: reads the command line, then runs the hub or one small errand.

use std::process::ExitCode;

use clap::Parser;
use gatehouse_hub::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gatehouse-hub: {e:#}");
            ExitCode::FAILURE
        }
    }
}
