//! Runs the demo: `./run demo` builds everything and calls this.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Parser;
use gatehouse_tests::demo::{DemoOptions, Ended, run};
use tracing_subscriber::filter::LevelFilter;

/// Watch two depots and a bus go on dispatching through an outage and settle with an ERP afterwards.
///
/// Real programs, a real day of bus movements, and a pretend clock. The story is told on standard error, with the
/// addresses of the pages; at the end a checker that shares no code with the product counts what happened.
/// Status 0: the checker found nothing wrong. 1: it did, and names it. 2: something could not be started.
/// 130: stopped before the story was told.
#[derive(Parser)]
#[command(
    name = "gatehouse-demo",
    after_help = "Examples:
  ./run demo
      plays the story and stays up until Ctrl-C, so that the pages can be read
  ./run demo --once --json
      plays it, ends, and prints only the checker's summary
  ./run demo --no-people
      the same, but nobody makes the choices that need a person: make them yourself on the pages
  ./run demo --chaos --seed 7
      agents and hub are killed and started again at moments drawn by the seed
  ./run demo --data /tmp/run1 --once && python3 tests/checker/controls.py /tmp/run1
      keeps all files of the run, then shows that the checker sees each kind of damage"
)]
struct Arguments {
    /// End when all is settled instead of staying up
    #[arg(long)]
    once: bool,
    /// Print nothing but the summary, one JSON object, on standard output; the story still goes to standard error
    #[arg(long)]
    json: bool,
    /// Draws orders, customers, quantities and which stretch of the day is played
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pretend time per real time, 10 to 120
    #[arg(long, default_value_t = 75.0, value_parser = speed)]
    speed: f64,
    /// How long the line between depots and hub is cut, in pretend minutes, 90 to 210
    #[arg(long, value_name = "M", default_value_t = 120)]
    outage_minutes: i64,
    /// New or empty folder for stores, lists and logs; without it they are in a temporary folder and removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this MQTT broker instead of the embedded one
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    mqtt: Option<(String, u16)>,
    /// Folder of the programs to run; default: where this one is
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Kill and restart agents and hub at random moments
    #[arg(long)]
    chaos: bool,
    /// Nobody makes the choices that need a person
    #[arg(long)]
    no_people: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "give a number, such as 60".to_owned())?;
    if (10.0..=120.0).contains(&speed) { Ok(speed) } else { Err("give 10 to 120".to_owned()) }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let refuse = || "give host and port, such as 127.0.0.1:1883".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    if host.is_empty() {
        return Err(refuse());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| refuse())?))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    gatehouse_tests::start_logs(LevelFilter::ERROR);
    let options = DemoOptions {
        once: arguments.once,
        seed: arguments.seed,
        speed: arguments.speed,
        outage_minutes: arguments.outage_minutes,
        data: arguments.data,
        mqtt: arguments.mqtt,
        programs: arguments.programs,
        chaos: arguments.chaos,
        people: !arguments.no_people,
    };
    match run(&options).await {
        Ok(Ended::Judged { summary, is_well }) => {
            if arguments.json {
                writeln!(std::io::stdout(), "{summary}").ok();
            }
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Ended::Stopped) => {
            eprintln!("gatehouse-demo: stopped; every program it started has ended");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("gatehouse-demo: {error:#}");
            ExitCode::from(2)
        }
    }
}
