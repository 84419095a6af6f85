//! Runs the trial of postings: `./run trials erp`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use gatehouse_tests::{
    erp_trial::{
        self, Trial,
        hubs::{Ground, HubProgram, Pace},
        server::{Server, USER},
    },
    standin::weather::Chances,
};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

/// Releases to an ERP that loses answers, by hubs that are killed between send and record.
///
/// The ERP honours no keys. Of ten postings three are applied and never answered; others are reset, fail before or after
/// they are applied, come late or slowly. Prints a JSON line for each case: two processes of the hub after each other on
/// SQLite, two replicas over PostgreSQL, and as a control an ERP that cannot be asked, where doubles must show. Status 0
/// if each line says `"holds":true`.
#[derive(Parser)]
#[command(name = "./run trials erp")]
struct Arguments {
    /// How many releases
    #[arg(default_value_t = 10_000)]
    releases: usize,
    /// Draws the weather and the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The hub; its command line may begin with words of its own, given after it
    #[arg(long, required = true, num_args = 1.., value_name = "PROGRAM")]
    hub: Vec<String>,
    /// Folder that keeps stores and logs; default: a temporary one that ends with the trial
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// One case: its name, where the store is, whether the ERP can be asked.
struct Case {
    name: &'static str,
    ground: Ground,
    is_control: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    gatehouse_tests::start_logs(LevelFilter::ERROR);
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (path, first) = arguments.hub.split_first().context("--hub names a program")?;
    let program = HubProgram { path: PathBuf::from(path).canonicalize()?, first: first.to_vec() };
    let temporary = tempfile::Builder::new().prefix("gatehouse-erp-trial-").tempdir()?;
    let folder = arguments.data.unwrap_or_else(|| temporary.path().to_owned());
    let server = tokio::task::spawn_blocking(Server::alone).await?;
    let mut cases = vec![Case { name: "sqlite", ground: Ground::Sqlite, is_control: false }];
    if let Some(server) = &server {
        let at = server.clone();
        let name = tokio::task::spawn_blocking(move || at.database()).await?;
        let ground = Ground::Postgresql { port: server.port, user: USER.to_owned(), name };
        cases.push(Case { name: "postgresql", ground, is_control: false });
    }
    cases.push(Case { name: "control: cannot be asked", ground: Ground::Sqlite, is_control: true });

    let (mut good, mut bad) = (0, 0);
    for (n, case) in cases.into_iter().enumerate() {
        let folder = folder.join(format!("{n}"));
        std::fs::create_dir_all(&folder)?;
        let trial = trial(&case, arguments.releases, arguments.seed);
        eprintln!("{}: {} releases", case.name, trial.releases);
        let told = erp_trial::run(&trial, &program, &folder).await?;
        let holds = told.judge_is_awake
            && told.kills_between_send_and_record > 0
            && if case.is_control { told.verdict.doubled > 0 } else { told.verdict.holds() };
        let mut line = json!(told);
        line["trial"] = json!("erp");
        line["case"] = json!(case.name);
        line["seed"] = json!(arguments.seed);
        line["holds"] = json!(holds);
        println!("{line}");
        if holds { good += 1 } else { bad += 1 }
    }
    println!("{good} passed, {bad} failed");
    // The server ends where it may block.
    tokio::task::spawn_blocking(move || drop(server)).await?;
    Ok(bad == 0)
}

fn trial(case: &Case, releases: usize, seed: u64) -> Trial {
    let releases = if case.is_control { releases.min(300) } else { releases };
    let seconds = |from: u64, to: u64| (Duration::from_secs(from), Duration::from_secs(to));
    // A replica takes over what another held after some ten seconds; and whoever starts looks at all that is open first,
    // which takes a while where that is much.
    let kill_every = match case.ground {
        _ if releases >= 5_000 => seconds(10, 40),
        Ground::Postgresql { .. } => seconds(6, 18),
        Ground::Sqlite if releases < 1_000 => (Duration::from_millis(500), Duration::from_secs(3)),
        Ground::Sqlite => seconds(3, 15),
    };
    Trial {
        releases,
        seed,
        chances: Chances { is_blind: case.is_control, ..Chances::default() },
        ground: case.ground.clone(),
        pace: Pace { at_once: 16, answer_within_ms: 400, doubt_ms: 6_000, poll_ms: 3_000 },
        kill_every,
        within: Duration::from_secs(300 + releases as u64 / 4),
    }
}
