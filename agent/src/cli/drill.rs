//! `gatehouse-agent drill`: drills started, ended and looked at from the command line.

use serde_json::json;

use super::{ConfigFile, load, rules::Login, say};
use crate::store::{DrillOn, DrillRow, Reader};

/// Turns of drills that are told.
const TURNS: u32 = 20;

/// What can be done with drills.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Starts a drill in the running agent.
    Start {
        /// Which source shall be gone: erp, wms, tms, carrier, hub, or a device by the name of its readings.
        source: String,
        /// For how long, in minutes or hours, such as 30m or 2h; 8 hours at most.
        #[arg(long = "for", value_name = "TIME", value_parser = minutes)]
        lasts: u64,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        login: Login,
    },
    /// Ends a drill before its time.
    Stop {
        /// Which source is back.
        source: String,
        #[command(flatten)]
        login: Login,
    },
    /// Tells which drills are on, and the last ones.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

fn minutes(text: &str) -> Result<u64, String> {
    let (number, by) = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        _ => return Err("give minutes or hours, such as 30m or 2h".to_owned()),
    };
    let minutes = number.parse::<u64>().map_err(|e| e.to_string())?.saturating_mul(by);
    if (1..=480).contains(&minutes) { Ok(minutes) } else { Err("give 1m to 8h".to_owned()) }
}

/// Does what was asked.
pub fn main(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Start { source, lasts, reason, login } => {
            let body = json!({ "source": source, "minutes": lasts, "reason": reason });
            login.ask("drills/start", &body, "no drill was started")
        }
        Command::Stop { source, login } => login.ask("drills/stop", &json!({ "source": source }), "no drill was ended"),
        Command::Status { config, json } => status(&config, json),
    }
}

fn status(config: &ConfigFile, json: bool) -> anyhow::Result<()> {
    let store = Reader::open(&load(&config.config)?.store_path)?;
    let (on, turns) = (store.status()?.drills, store.drill_turns(TURNS)?);
    if json {
        return say(&serde_json::to_string_pretty(&json!({ "on": on, "turns": turns }))?);
    }
    if on.is_empty() {
        say("no drill is on")?;
    }
    on.iter().map(on_in_words).chain(turns.iter().map(turn_in_words)).try_for_each(|line| say(&line))
}

/// A drill that is on, for people.
pub fn on_in_words(drill: &DrillOn) -> String {
    let DrillOn { source, until, by, reason, .. } = drill;
    format!("DRILL       {source} counts as gone until {until}, by {by}: {reason}")
}

fn turn_in_words(turn: &DrillRow) -> String {
    let DrillRow { source, turn, at, by, reason } = turn;
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{at} without {source} {turn} by {by}{why}")
}
