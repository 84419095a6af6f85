//! The program `gatehouse-agent`. What it can do is in `cli`, what runs is in `wiring`.

use std::process::ExitCode;

use clap::Parser;
use gatehouse_agent::cli::{self, Cli};

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
