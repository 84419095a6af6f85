//! The command line: what can be asked of the program and what it answers.
//!
//! Ends with 0 when all went well, 1 when something failed, 2 when configuration or command line
//! must be corrected.

mod drill;
mod replay;
mod rules;

use std::{
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{
    audit::{self, AuditCommand},
    clock::{Clock, TIME_SERVICE_MARKER},
    config::{self, Config, ConfigError},
    doctor::{self, Asked, Severity},
    logs, page,
    store::{Reader, SourceAge, Status},
    sync, wiring,
};

/// One depot or one vehicle: listens to its sensors, decides which orders may leave, remembers,
/// shows it on a page, and tells the hub.
///
/// First steps: write a configuration (examples are in firmware-config/), look it over with
/// `gatehouse-agent check-config --config agent.toml`, enrol at the hub with the invitation that its
/// administrator gives you, `gatehouse-agent enrol --config agent.toml INVITATION`, then
/// `gatehouse-agent run --config agent.toml` and open the address of its page in a browser. Neither
/// broker nor hub need be there to run.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-agent", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs until it is told to stop (SIGTERM or Ctrl-C).
    ///
    /// Logs go to standard error; the environment variable GATEHOUSE_LOG sets how much, such as
    /// `debug` or `info,gatehouse_agent::intake=debug`.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        clock: ClockOptions,
        /// How log lines look. In both forms a line that repeats others is left out and counted.
        #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
        log_format: logs::Format,
    },
    /// Looks a configuration over and tells every problem at once. Opens no port.
    CheckConfig {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Tells how the agent is, from its store; works while it runs and while it does not.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Looks at broker, disk, clock, hub and topics, and says what would lose data and how to set it.
    ///
    /// Works while the agent runs and while it does not. It tries the broker with a client id and a topic of its own
    /// (gatehouse/doctor/...) and removes them, writes and removes a small file beside the store, and asks the hub one
    /// question that changes nothing. Takes about 15 seconds. Run it as the agent's user, else rights are not tried.
    /// Ends with 1 when something would lose data.
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON, for programs: a list of findings.
        #[arg(long)]
        json: bool,
        /// The broker's own configuration. Without it /etc/mosquitto/mosquitto.conf is read if the broker is here.
        #[arg(long, value_name = "FILE")]
        broker_config: Option<PathBuf>,
        /// Seconds to listen for something on each topic.
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        listen: u64,
    },
    /// Proves the chain of decisions, offline; exports it; lists the hub's receipts for it.
    Audit {
        #[command(subcommand)]
        what: AuditCommand,
    },
    /// Reads a PIN from standard input and prints its argon2 hash for `pin_argon2` of [[operators]].
    ///
    /// For example: `printf 2468 | gatehouse-agent hash-pin`
    HashPin,
    /// Looks over, tests, explains and changes the rules that this agent decides by.
    ///
    /// Rules are a bundle: a TOML file with thresholds, gates, conditions in CEL, and scenarios that test them. A file
    /// that does not check is never in force.
    Rules {
        #[command(subcommand)]
        command: rules::Command,
    },
    /// Gets this device its certificate from the hub, with an invitation.
    ///
    /// `gatehouse-hub device invite` prints one. Makes the device's keys at first use. Whatever was interrupted can be
    /// done again: the same device gets the same identity as long as the invitation is good.
    Enrol {
        #[command(flatten)]
        config: ConfigFile,
        /// The invitation, from `gh1.` on; `-` reads it from standard input, so that no list of processes shows it.
        #[arg(value_name = "INVITATION")]
        invitation: String,
    },
    /// Pretends that a source is gone, so that a depot learns how it goes on without it.
    ///
    /// Facts of that source age as if no news came; the news is kept and taken when the drill ends. Holds and recalls,
    /// alarms and broken seals count as always. A drill ends by itself, and decisions made during it say so.
    Drill {
        #[command(subcommand)]
        command: drill::Command,
    },
    /// Prints the device's public key, for `gatehouse-hub device add`. Makes the key at first use.
    PublicKey {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration, a TOML file. Paths in it count from its own directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Options of a pretend clock. A release is built without them.
#[derive(Debug, Default, Args)]
struct ClockOptions {
    /// What the pretend clock showed at the start, such as 2015-03-10T06:00:00Z.
    #[cfg(feature = "scaled-clock")]
    #[arg(long, value_name = "RFC3339", requires_all = ["clock_real_start", "clock_speed"])]
    clock_start: Option<gatehouse_common::time::UtcMs>,
    /// What the real clock showed then, in milliseconds since 1970.
    #[cfg(feature = "scaled-clock")]
    #[arg(long, value_name = "UNIX_MS", requires = "clock_start")]
    clock_real_start: Option<i64>,
    /// How many times as fast it runs.
    #[cfg(feature = "scaled-clock")]
    #[arg(long, value_name = "X", requires = "clock_start", value_parser = speed)]
    clock_speed: Option<f64>,
}

#[cfg(feature = "scaled-clock")]
fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("must be above 0".to_owned()) }
}

impl ClockOptions {
    #[cfg(feature = "scaled-clock")]
    fn clock(&self) -> Clock {
        match (self.clock_start, self.clock_real_start, self.clock_speed) {
            (Some(start), Some(real_start_ms), Some(speed)) => {
                Clock::scaled(gatehouse_common::time::Scale { start, real_start_ms, speed })
            }
            _ => Clock::system(),
        }
    }

    #[cfg(not(feature = "scaled-clock"))]
    fn clock(&self) -> Clock {
        Clock::system()
    }
}

/// Does what was asked.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Run { config, clock, log_format } => run(&config.config, &clock.clock(), log_format),
        Command::CheckConfig { config } => check_config(&config.config),
        Command::Status { config, json } => status(&config.config, json),
        Command::Doctor { config, json, broker_config, listen } => {
            doctor(&config.config, json, &Asked { broker_config, listen: Duration::from_secs(listen) })
        }
        Command::Audit { what } => audit::run(&what).and_then(|(text, whole)| {
            say(&text)?;
            if whole { Ok(()) } else { Err(anyhow::anyhow!("the chain of decisions is not whole")) }
        }),
        Command::HashPin => hash_pin(),
        Command::Rules { command } => rules::main(command),
        Command::Enrol { config, invitation } => enrol(&config.config, &invitation),
        Command::Drill { command } => drill::main(command),
        Command::PublicKey { config } => public_key(&config.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatehouse-agent: {error:#}");
            let by_configuration =
                error.downcast_ref::<ConfigError>().is_some() || error.downcast_ref::<rules::Wrong>().is_some();
            ExitCode::from(if by_configuration { 2 } else { 1 })
        }
    }
}

fn load(path: &Path) -> anyhow::Result<Config> {
    // Not wrapped in a context: the exit code depends on the error's type.
    Ok(config::load(path)?)
}

fn run(path: &Path, clock: &Clock, log_format: logs::Format) -> anyhow::Result<()> {
    let config = load(path)?;
    let flood = logs::start(log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(flood.tell_for_ever());
    runtime.block_on(wiring::run(config, clock.clone()))
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    let config = load(path)?;
    say(&format!(
        "{} is in order: {} {} of {}, {} topic filter(s), {} operator(s), {}, page on {}",
        path.display(),
        if config.device.vehicle.is_some() { "vehicle unit" } else { "gateway" },
        config.device.id,
        config.device.site,
        config.topics.len(),
        config.operators.len(),
        config
            .hub
            .as_ref()
            .map_or_else(|| without_hub(config.identity_file.as_deref()), |hub| format!("hub at {}", hub.url)),
        config.page.listen,
    ))
}

fn without_hub(identity_file: Option<&Path>) -> String {
    identity_file
        .map_or_else(|| "no hub".to_owned(), |path| format!("not enrolled yet ({} is not there)", path.display()))
}

fn status(path: &Path, json: bool) -> anyhow::Result<()> {
    let config = load(path)?;
    let status = read_status(&config.store_path).context("no status")?;
    if json { say(&serde_json::to_string_pretty(&status)?) } else { say(&in_words(&status, Clock::system().wall())) }
}

fn read_status(store: &Path) -> anyhow::Result<Status> {
    anyhow::ensure!(store.exists(), "there is no store at {} yet; start the agent once", store.display());
    let store = Reader::open(store)?;
    store.check_form()?;
    Ok(store.status()?)
}

fn doctor(path: &Path, json: bool, asked: &Asked) -> anyhow::Result<()> {
    let config = load(path)?;
    // Only the first installer succeeds; a second one in one process finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(doctor::examine(&config, &Clock::system(), asked));
    if json {
        say(&serde_json::to_string_pretty(&findings)?)?
    } else {
        say(&doctor::in_words(&findings))?
    }
    let losing = findings.iter().filter(|finding| finding.severity == Severity::LosesData).count();
    anyhow::ensure!(losing == 0, "{losing} finding(s) would lose data or stop the agent's work");
    Ok(())
}

fn in_words(status: &Status, now: gatehouse_common::time::UtcMs) -> String {
    let count = |name: &str| status.counters.get(name).copied().unwrap_or(0);
    let mut lines = vec![
        format!("device      {} of {}", status.device, status.site),
        format!(
            "hub         {}{}",
            if status.line.up { "connected" } else { "not connected" },
            status.line.heard.as_ref().map_or(String::new(), |heard| format!(", last heard {}", heard.wall)),
        ),
        format!(
            "readings    {} stored, {} repeats dropped, {} in quarantine, {} conflicts",
            count("readings_stored"),
            count("duplicates_dropped"),
            count("quarantined"),
            count("conflicts"),
        ),
        format!(
            "messages    {} unreadable, {} oversized, {} empty, {} sent again, {} retained, {} of no concern, \
             {} values refused, {} readings out of order",
            count("messages_unreadable"),
            count("messages_oversized"),
            count("messages_empty"),
            count("messages_again"),
            count("messages_retained"),
            count("messages_of_no_concern"),
            count("values_refused"),
            count("readings_late"),
        ),
        format!(
            "broker      {} connections, {} lost, {} times it had forgotten our session",
            count("connections"),
            count("connections_lost"),
            count("sessions_gone"),
        ),
        format!("decisions   {}", status.decisions),
        format!(
            "store       {} MiB of {} used{}",
            status.room.used_bytes >> 20,
            status.room.budget_bytes.map_or_else(|| "no budget".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
            if status.room.is_full { ": FULL, nothing is taken in until room returns" } else { "" },
        ),
        format!("to report   {} records wait, {} were not let in", status.outbox, status.rejected),
        match &status.lease {
            None => "lease       none".to_owned(),
            Some(row) => format!(
                "lease       {} until {}, {} of {} used (minor units)",
                row.lease.id, row.lease.expires_at, row.used.value_minor, row.lease.value_ceiling_minor
            ),
        },
    ];
    lines.extend(status.drills.iter().map(drill::on_in_words));
    if status.waits_too_long(now) {
        lines.push("INCOMPLETE  documents wait too long for changes that have not come; look at the hub".to_owned());
    }
    lines.extend(status.waiting.iter().map(|row| {
        format!("waiting     {} {} for changes that have not come, since {}", row.kind, row.document, row.since)
    }));
    lines.extend(status.unfoldable.iter().map(|document| {
        format!("UNFOLDABLE  {document}: left out of decisions until a program comes that can fold it")
    }));
    lines.extend(status.sources.iter().map(source_in_words));
    lines.join("\n")
}

fn source_in_words(source: &SourceAge) -> String {
    let mut line = format!("source      {} last heard {}", source.source, source.heard);
    if source.gaps > 0 {
        line.push_str(&format!(", {} messages missing in {} gaps", source.missing, source.gaps));
    }
    if let Some(behind_ms) = source.clock_behind_ms {
        line.push_str(&format!(", clock {} ms {}", behind_ms.abs(), if behind_ms < 0 { "ahead" } else { "behind" }));
    }
    line
}

fn hash_pin() -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        eprintln!("type the PIN, then Enter and Ctrl-D");
    }
    let mut pin = String::new();
    std::io::stdin().take(1024).read_to_string(&mut pin).context("the PIN cannot be read from standard input")?;
    say(&page::hash_pin(pin.trim_end_matches(['\r', '\n']))?)
}

fn enrol(path: &Path, invitation: &str) -> anyhow::Result<()> {
    let config = load(path)?;
    let file = config.identity_file.context("[hub] names no identity file; write: identity = \"hub.identity\"")?;
    let text = match invitation {
        "-" => {
            let mut text = String::new();
            std::io::stdin().take(16 * 1024).read_to_string(&mut text).context("standard input")?;
            text
        }
        given => given.to_owned(),
    };
    let invitation = text.parse()?;
    // Only the first installer succeeds; a second one in one process finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (key, clock) = (config::key::load_or_make(&config.device.key_file)?, Clock::system());
    clock.heed_time_service(Path::new(TIME_SERVICE_MARKER));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let identity = runtime.block_on(sync::enrol(&invitation, &config.device.id, &key, &file, &clock))?;
    let said = &identity.said;
    let scopes = said.sites.iter().map(ToString::to_string).chain(said.vehicles.iter().map(|v| format!("vehicle {v}")));
    say(&format!(
        "{} is enrolled at {} for {}; its certificate is good until {} and renewed by itself. Restart the agent if it runs.",
        said.device,
        said.url,
        scopes.collect::<Vec<_>>().join(", "),
        said.until,
    ))
}

fn public_key(path: &Path) -> anyhow::Result<()> {
    let config = load(path)?;
    say(&config::key::load_or_make(&config.device.key_file)?.public().to_string())
}

/// Prints a line; a reader that has closed its end (`| head`) is no failure.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_CLOCK: [&str; 10] = [
        "gatehouse-agent",
        "run",
        "--config",
        "agent.toml",
        "--clock-start",
        "2015-03-10T06:00:00Z",
        "--clock-real-start",
        "0",
        "--clock-speed",
        "60",
    ];

    #[test]
    fn no_status_of_a_store_that_is_not_there_or_of_another_form_says_what_is_to_be_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.db");
        let why = || format!("{:#}", read_status(&path).unwrap_err());
        assert_eq!(why(), format!("there is no store at {} yet; start the agent once", path.display()));
        let conn = rusqlite::Connection::open(&path).unwrap();
        for (form, what) in [
            (0, "nothing is in it yet; start the agent once"),
            (1, "it has form 1, this program needs form"),
            (1, "starting the agent brings it there"),
            (10_000, "use the newer program"),
        ] {
            conn.pragma_update(None, "user_version", form).unwrap();
            assert!(why().contains(what), "{}", why());
        }
    }

    #[cfg(not(feature = "scaled-clock"))]
    #[test]
    fn a_release_refuses_the_options_of_a_pretend_clock() {
        let refused = Cli::try_parse_from(WITH_CLOCK).unwrap_err().to_string();
        assert!(refused.contains("--clock-start"), "{refused}");
    }

    #[cfg(feature = "scaled-clock")]
    #[test]
    fn a_demo_takes_the_options_of_a_pretend_clock_together_or_not_at_all() {
        assert!(Cli::try_parse_from(WITH_CLOCK).is_ok());
        assert!(Cli::try_parse_from(&WITH_CLOCK[..6]).is_err());
        assert!(Cli::try_parse_from(&WITH_CLOCK[..4]).is_ok());
    }
}
