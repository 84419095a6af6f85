//! The command line of `gatehouse-hub`.
//!
//! In: arguments. Out: a running hub, or one errand done and told on standard output. Errors go to
//! standard error with status 1; nothing is half done.

mod devices;
mod export;
mod import;
mod leases;
mod whole;

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use gatehouse_common::{id::DeviceId, time::UtcMs};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    auth::pins,
    clock::Clock,
    config::{self, CommandLine, Config, key},
    identity::{Authority, AuthorityError},
    store::{Location, Store},
    wiring,
};
use export::Export;

/// Most threads that read the store or weigh a PIN at one time.
const BLOCKING_MAX: usize = 32;

/// The hub of Gatehouse: gathers what depots decided, settles it with the ERP, tells depots what changed.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-hub", version, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
To begin:
  1. gatehouse-hub hash-pin                         type a PIN; put the line into [[operators]] of hub.toml
  2. gatehouse-hub check-config --database sqlite:hub.db --config hub.toml
  3. gatehouse-hub serve --listen 127.0.0.1:8080 --database sqlite:hub.db --config hub.toml
  4. gatehouse-hub device invite gw-1 --kind gateway --site D1 --for 24h \\
       --database sqlite:hub.db --config hub.toml
     and on the device: gatehouse-agent enrol --config agent.toml INVITATION
Then open https://127.0.0.1:8080/ and sign in; a browser trusts it once it has what `gatehouse-hub ca show` prints.
The API is described at /openapi.json.";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, read once at the start")]
enum Command {
    /// Run the hub until it is told to stop (SIGTERM or Ctrl-C).
    ///
    /// Logs go to standard error; the environment variable GATEHOUSE_LOG sets how much, such as
    /// `debug` or `info,gatehouse_hub::erp=debug`.
    Serve(Serve),
    /// Who may speak: invite, take keys over, list, show, revoke.
    #[command(subcommand, alias = "devices")]
    Device(devices::Devices),
    /// What depots may decide on their own: list, write off.
    #[command(subcommand)]
    Lease(leases::Leases),
    /// The hub's own authority, which makes the certificates of devices.
    #[command(subcommand)]
    Ca(Ca),
    /// Read a PIN from standard input and print the line for `pin_argon2`.
    HashPin,
    /// Print the hub's public key, which depots keep to know the hub again. Makes the key if there is none.
    PublicKey(Place),
    /// Check command line and configuration as `serve` would, and start nothing.
    CheckConfig(Serve),
    #[command(flatten)]
    Whole(whole::Whole),
    /// Write down what happened, for programs that look at processes.
    ///
    /// One state of the store is written, while the hub may be running. The file appears under its name when it is whole.
    Export(Export),
    /// Take in what stands in files of others.
    #[command(subcommand)]
    Import(import::Import),
    /// Say how the hub's store is: devices, decisions, recon items, postings.
    Status(Status),
}

#[derive(Debug, Args)]
struct Place {
    /// Where everything is kept: `sqlite:PATH`, a file that is made at first start, or
    /// `postgresql://USER@HOST:PORT/NAME?password_file=PATH&ca_file=PATH`, which several replicas may share.
    #[arg(long, value_name = "DATABASE")]
    database: String,
    /// Configuration with [hub], [tls], [devices], [erp], [[operators]], [[tokens]] and [policy]. Every key has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    /// Where API and console are served, over TLS 1.3; where devices speak stands in [devices] of the configuration.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    #[cfg(feature = "scaled-clock")]
    #[command(flatten)]
    clock: PretendClock,
}

/// A clock that runs faster than life. Only in builds for demo and tests.
#[cfg(feature = "scaled-clock")]
#[derive(Debug, Args)]
struct PretendClock {
    /// What the clock shows at the start, in RFC 3339.
    #[arg(long, value_name = "RFC3339", requires_all = ["clock_real_start", "clock_speed"])]
    clock_start: Option<gatehouse_common::time::UtcMs>,
    /// What the real clock showed then, in UTC milliseconds.
    #[arg(long, value_name = "UNIX_MS", requires = "clock_start")]
    clock_real_start: Option<i64>,
    /// Pretend seconds per real second, above 0.
    #[arg(long, value_name = "X", requires = "clock_start")]
    clock_speed: Option<f64>,
}

#[derive(Debug, Subcommand)]
enum Ca {
    /// Make the authority if there is none, and print its fingerprint. `serve` does so as well.
    Init(Place),
    /// Print the authority's certificate, for browsers and programs that are to trust the hub.
    Show(Place),
}

#[derive(Debug, Args)]
struct Status {
    /// Where everything is kept.
    #[arg(long, value_name = "DATABASE")]
    database: String,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Does what the command line says.
/// # Errors
/// What went wrong, for people.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(serve) => {
            let (config, clock) = (serve.load()?, serve.clock()?);
            let wanted = std::env::var("GATEHOUSE_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
            let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
            let is_terminal = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
            tracing_subscriber::registry().with(filter).with(lines).init();
            // Each thread that reads may open the store once more: a crowd must wait, not fill the memory.
            let mut threads = tokio::runtime::Builder::new_multi_thread();
            threads.enable_all().max_blocking_threads(BLOCKING_MAX).build()?.block_on(wiring::run(config, clock))
        }
        Command::CheckConfig(serve) => {
            let config = serve.load()?;
            let erp = match &config.erp {
                None => "no ERP",
                Some(erp) => erp.kind_name(),
            };
            say(&format!(
                "configuration is good: hub {}, {erp}, {} operators, {} tokens",
                config.hub.name,
                config.operators.len(),
                config.tokens.len()
            ))
        }
        Command::Device(errand) => devices::run(errand),
        Command::Lease(errand) => leases::run(errand),
        Command::Whole(errand) => whole::run(errand),
        Command::Ca(Ca::Init(place)) => {
            say(&authority(&load("127.0.0.1:0", &place)?, Clock::system().wall())?.fingerprint().to_string())
        }
        Command::Ca(Ca::Show(place)) => {
            say(authority(&load("127.0.0.1:0", &place)?, Clock::system().wall())?.pem().trim_end())
        }
        Command::HashPin => {
            let mut pin = String::new();
            std::io::stdin().lock().read_line(&mut pin).context("standard input")?;
            say(&format!("pin_argon2 = \"{}\"", pins::hash(pin.trim_end_matches(['\r', '\n']))?))
        }
        Command::PublicKey(place) => {
            let config = load("127.0.0.1:0", &place)?;
            say(&key::load_or_make(&config.hub.key_file)?.public().to_string())
        }
        Command::Export(export) => export.run(),
        Command::Import(import) => import.run(),
        Command::Status(status) => run_status(&status),
    }
}

impl Serve {
    fn load(&self) -> anyhow::Result<Config> {
        load(&self.listen, &self.place)
    }

    #[cfg(feature = "scaled-clock")]
    fn clock(&self) -> anyhow::Result<Clock> {
        let PretendClock { clock_start, clock_real_start, clock_speed } = self.clock;
        let (Some(start), Some(real_start_ms), Some(speed)) = (clock_start, clock_real_start, clock_speed) else {
            return Ok(Clock::system());
        };
        if !(speed.is_finite() && speed > 0.0) {
            bail!("--clock-speed: {speed} is not above 0");
        }
        Ok(Clock::scaled(gatehouse_common::time::Scale { start, real_start_ms, speed }))
    }

    #[cfg(not(feature = "scaled-clock"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same call with and without the feature")]
    fn clock(&self) -> anyhow::Result<Clock> {
        Ok(Clock::system())
    }
}

fn load(listen: &str, place: &Place) -> anyhow::Result<Config> {
    let line = CommandLine { listen, database: &place.database, file: place.config.as_deref() };
    Ok(config::load(&line)?)
}

fn authority(config: &Config, now: UtcMs) -> Result<Authority, AuthorityError> {
    Authority::load_or_make(&config.tls.authority_file, &config.hub.name, now)
}

fn say(line: &str) -> anyhow::Result<()> {
    // A closed pipe, as of `| head -1`, is no error of ours.
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn location(database: &str) -> anyhow::Result<Location> {
    let mut problems = Vec::new();
    match config::read_database(database, &mut problems) {
        Some(location) => Ok(location),
        None => bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn open(database: &str, may_make: bool) -> anyhow::Result<Store> {
    let location = location(database)?;
    if let Location::Sqlite(path) = &location
        && !may_make
        && !path.exists()
    {
        bail!("there is no database at {}; name the one that `serve` uses", path.display());
    }
    let name = DeviceId::new("hub")?;
    Ok(Store::open_beside(&location, &name)?)
}

fn run_status(status: &Status) -> anyhow::Result<()> {
    let store = open(&status.database, false)?;
    let counts = store.read_now(crate::api::Counts::read)?;
    if status.json {
        return say(&serde_json::to_string(&counts)?);
    }
    let told = |map: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<_> = map.iter().map(|(name, n)| format!("{n} {name}")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    say(&format!("devices      {}", counts.devices))?;
    say(&format!("decisions    {}", counts.decisions))?;
    say(&format!("recon items  {}", told(&counts.recon)))?;
    say(&format!("postings     {}", told(&counts.postings)))?;
    say(&format!("quarantine   {}", counts.quarantined))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together_and_its_help_teaches() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("To begin:") && help.contains("device invite"));
    }

    const CLOCK: [&str; 10] = [
        "gatehouse-hub",
        "serve",
        "--database",
        "sqlite:hub.db",
        "--clock-start",
        "2015-03-10T08:00:00Z",
        "--clock-real-start",
        "0",
        "--clock-speed",
        "60",
    ];

    #[cfg(not(feature = "scaled-clock"))]
    #[test]
    fn a_build_without_the_pretend_clock_refuses_its_options() {
        assert!(Cli::try_parse_from(&CLOCK[..4]).is_ok());
        let refused = Cli::try_parse_from(CLOCK).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::UnknownArgument);
    }

    #[cfg(feature = "scaled-clock")]
    #[test]
    fn a_pretend_clock_needs_all_three_of_its_options() {
        assert!(Cli::try_parse_from(CLOCK).is_ok());
        assert!(Cli::try_parse_from(&CLOCK[..6]).is_err());
    }

    #[test]
    fn a_device_needs_a_depot_and_a_key_that_is_one() {
        let add = ["gatehouse-hub", "devices", "add", "--database", "sqlite:x", "--id", "gw-1", "--kind", "gateway"];
        let with = |more: &[&'static str]| Cli::try_parse_from(add.iter().chain(more));
        assert!(with(&["--public-key", "short", "--site", "D1"]).unwrap_err().to_string().contains("not an ed25519"));
        let key = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=";
        assert!(with(&["--public-key", key]).is_err());
        assert!(with(&["--public-key", key, "--site", "D1", "--site", "D2"]).is_ok());
    }
}
