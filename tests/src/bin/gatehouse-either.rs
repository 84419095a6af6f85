//! Agent and hub in one file, so that an end-to-end test finds both beside itself: `gatehouse-either agent ARGUMENTS`
//! does what `gatehouse-agent ARGUMENTS` does, and likewise `hub`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("agent") => gatehouse_agent::cli::main(gatehouse_agent::cli::Cli::parse_from(arguments)),
        Some("hub") => match gatehouse_hub::cli::run(gatehouse_hub::cli::Cli::parse_from(arguments.drain(..))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("gatehouse-hub: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("gatehouse-either agent|hub ARGUMENTS");
            ExitCode::FAILURE
        }
    }
}
