//! Measures how fast postings reach a Tryton: `./run bench erp`, which starts it.

use std::process::ExitCode;

use clap::Parser;
use gatehouse_bench::lines::Printer;
use tracing_subscriber::filter::LevelFilter;

/// Postings to a real Tryton, beside a bare client that makes the same calls in the same run.
///
/// JSON lines on standard output, what is being done on standard error. Status 0: the aim holds. 1: it does not, its line
/// says `"holds":false`. 2: something could not be run.
#[derive(Parser)]
#[command(name = "./run bench erp")]
struct Arguments {
    /// Sales that each side delivers in each of four rounds, three postings each
    #[arg(long, value_name = "N", default_value_t = 10)]
    sales: usize,
    /// Print only JSON lines
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    gatehouse_tests::start_logs(LevelFilter::ERROR);
    let arguments = Arguments::parse();
    match gatehouse_tests::erp_bench::run(arguments.sales, Printer { json: arguments.json }).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
