//! `gatehouse-agent rules`: rules looked over, tested, explained and changed from the command line.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use gatehouse_common::{
    bundle::{BUNDLE_MAX_BYTES, Bundle, BundleProblem},
    gate::{GateResult, GateState},
    rule::{Scope, schema},
};
use serde_json::{Value, json};

use super::{ConfigFile, load, say};
use crate::store::{DispatchRow, Reader};

/// What can be done with rules.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Checks a bundle: names, types and cost of every condition. Tells every problem with line and column.
    ///
    /// Ends with 2 when something must be corrected.
    Check {
        /// The bundle, a TOML file.
        file: PathBuf,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Plays the scenarios in a bundle by the code that decides at the depot. Ends with 1 when one differs.
    Test {
        /// The bundle, a TOML file.
        file: PathBuf,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Lists the facts and functions that conditions may name, with their meaning.
    Schema {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Tells why an order may leave or may not: its gates with values and ages, the rules asked, its decisions.
    Explain {
        /// The order's number, or the dispatch's document.
        dispatch: String,
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows what another bundle would have decided: runs it over what a store recorded.
    ///
    /// Both the rules that were in force then and the new ones are given every reading, word of the hub and tap again, in
    /// order. It tells which releases, holds and cases come out otherwise and which gate made the difference, and how
    /// true the replay under the rules of then is to the decisions that are recorded.
    Replay(super::replay::Replay),
    /// Puts a bundle in force in the running agent, at once and in one transaction.
    Activate {
        /// The bundle, a TOML file.
        file: PathBuf,
        #[command(flatten)]
        login: Login,
    },
    /// Puts the rules in force that were before; needs no network.
    Rollback {
        #[command(flatten)]
        login: Login,
    },
    /// Lists the rules in force and those before.
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Who asks the running agent. The PIN is read from standard input, or from the environment variable GATEHOUSE_PIN.
#[derive(Debug, Args)]
pub struct Login {
    #[command(flatten)]
    config: ConfigFile,
    /// One of [[operators]]; the rules in force say which roles may do this.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
}

impl Login {
    /// Asks the running agent at its page, in a person's name, and prints what it says.
    pub(super) fn ask(&self, what: &str, body: &Value, otherwise: &str) -> anyhow::Result<()> {
        let config = load(&self.config.config)?;
        let pin = pin()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, said) = runtime.block_on(post(config.page.listen, what, body, &self.name, &pin))?;
        let told = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!((200..300).contains(&status), "{otherwise}: {}", told("detail"));
        say(&told("message"))
    }
}

/// A bundle must be corrected.
#[derive(Debug, thiserror::Error)]
#[error("{} must be corrected:{}", .1.display(), .0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct Wrong(Vec<BundleProblem>, PathBuf);

/// Does what was asked.
pub fn main(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check { file, json } => check(&file, json),
        Command::Test { file, json } => test(&file, json),
        Command::Schema { json } => print_schema(json),
        Command::Explain { dispatch, config, json } => explain(&dispatch, &config.config, json),
        Command::Replay(asked) => super::replay::main(&asked),
        Command::Activate { file, login } => {
            let (_, text) = read(&file)?;
            login.ask("rules/activate", &json!({ "text": text }), "the rules were not changed")
        }
        Command::Rollback { login } => login.ask("rules/rollback", &json!({}), "the rules were not changed"),
        Command::List { config, json } => list(&config.config, json),
    }
}

pub(super) fn read(file: &Path) -> anyhow::Result<(Bundle, String)> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(BUNDLE_MAX_BYTES as u64 + 1).read_to_string(&mut text))
        .with_context(|| format!("{} cannot be read", file.display()))?;
    match Bundle::parse(&text) {
        Ok(bundle) => Ok((bundle, text)),
        Err(error) => Err(Wrong(error.problems().to_vec(), file.to_owned()).into()),
    }
}

fn check(file: &Path, json: bool) -> anyhow::Result<()> {
    let checked = read(file);
    if json {
        let problems = match &checked {
            Ok(_) => Vec::new(),
            Err(error) => error.downcast_ref::<Wrong>().map(|wrong| wrong.0.clone()).unwrap_or_default(),
        };
        let hash = checked.as_ref().ok().map(|(bundle, _)| bundle.hash);
        say(&json!({ "checks": checked.is_ok(), "hash": hash, "problems": problems }).to_string())?;
    }
    let (bundle, _) = checked?;
    if json {
        return Ok(());
    }
    let rules = &bundle.rules;
    say(&format!(
        "{} is in order: version {}, {} class(es), {} gate(s) of its own, {} fallback and {} routing rule(s), {} \
         scenario(s), hash {}",
        file.display(),
        rules.version,
        rules.classes.len(),
        rules.gates.len(),
        rules.fallback.len(),
        rules.routing.len(),
        rules.scenarios.len(),
        bundle.hash,
    ))
}

fn test(file: &Path, json: bool) -> anyhow::Result<()> {
    let (bundle, _) = read(file)?;
    let played: Vec<_> = bundle.rules.scenarios.iter().map(|scenario| scenario.play(&bundle.rules)).collect();
    let differ = played.iter().filter(|played| !played.differs.is_empty()).count();
    if json {
        say(&json!({ "scenarios": played, "differ": differ }).to_string())?;
    } else {
        for played in &played {
            let mark = if played.differs.is_empty() { "as expected" } else { "DIFFERS" };
            say(&format!("{mark:11} {}", played.scenario))?;
            played.differs.iter().try_for_each(|differs| say(&format!("            {differs}")))?;
        }
        say(&format!("{} scenario(s), {differ} differ", played.len()))?;
    }
    anyhow::ensure!(!played.is_empty(), "{} has no scenarios; write [[scenarios]] to test it", file.display());
    anyhow::ensure!(differ == 0, "{differ} of {} scenarios came out otherwise than expected", played.len());
    Ok(())
}

fn print_schema(json: bool) -> anyhow::Result<()> {
    let facts = |scope: Scope| {
        let fact = |named: &schema::Named| json!({ "name": named.name, "is": named.is.as_str(), "means": named.means });
        scope.names().map(fact).collect::<Vec<Value>>()
    };
    if json {
        let functions = schema::FUNCTIONS.map(|(form, means)| json!({ "form": form, "means": means }));
        let all = json!({
            "gates": facts(Scope::Gate), "fallback": facts(Scope::Fallback), "routing": facts(Scope::Case),
            "functions": functions,
        });
        return say(&serde_json::to_string_pretty(&all)?);
    }
    let mut text = String::from("Facts for every condition:\n");
    let common: Vec<_> = Scope::Gate.names().collect();
    let mut lines = |scope: Scope, only_new: bool| {
        for named in scope.names().filter(|named| !only_new || !common.contains(named)) {
            // Writing to a string cannot go wrong.
            let _ = writeln!(text, "  {:26} {:15} {}", named.name, named.is.as_str(), named.means);
        }
        text.push('\n');
    };
    lines(Scope::Gate, false);
    lines(Scope::Fallback, true);
    lines(Scope::Case, true);
    let mut text = text.trim_end().replacen("\n\n", "\n\nMore for fallback rules and overrides.never:\n", 1);
    if let Some(last) = text.rfind("\n\n") {
        text.replace_range(last..last + 2, "\n\nMore for routing rules:\n");
    }
    text.push_str("\n\nFunctions:\n");
    for (form, means) in schema::FUNCTIONS {
        let _ = writeln!(text, "  {form:26} {means}");
    }
    text.push_str("\nOperators: && || ! == != < <= > >= + - * / % in [..] ?: and parentheses, as in CEL.");
    say(&text)
}

fn explain(wanted: &str, config: &Path, json: bool) -> anyhow::Result<()> {
    let config = load(config)?;
    let store = Reader::open(&config.store_path)?;
    let row = store.board()?.into_iter().rfind(|row| row.view["order"] == wanted || row.document.to_string() == wanted);
    let Some(row) = row else {
        anyhow::bail!("no dispatch of order {wanted} is known here; the page lists those that are");
    };
    let Some(row) = store.dispatch(row.document)? else {
        anyhow::bail!("dispatch {} is gone", row.document);
    };
    if json { say(&serde_json::to_string_pretty(&row)?) } else { say(&in_words(&row)) }
}

fn in_words(row: &DispatchRow) -> String {
    let view = &row.board.view;
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = vec![format!("order {} is {}", word(&view["order"]), word(&view["state"]))];
    lines.extend(row.board.gates.iter().flat_map(gate_in_words));
    for decision in &row.decisions {
        let asked: Vec<String> = decision["gates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|gate| !gate["fallback"].is_null())
            .map(|gate| word(&gate["fallback"]))
            .collect();
        let rules = if asked.is_empty() { String::new() } else { format!(", by fallback rule {}", asked.join(", ")) };
        let drills: Vec<&str> = decision["drills"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let drill =
            if drills.is_empty() { String::new() } else { format!(", in a drill without {}", drills.join(", ")) };
        lines.push(format!(
            "decision {}: {}{rules}{drill}; {}; rules {}",
            word(&decision["id"]),
            word(&decision["kind"]),
            word(&decision["reason"]),
            word(&decision["bundle"]).chars().take(12).collect::<String>(),
        ));
    }
    lines.join("\n")
}

fn gate_in_words(gate: &GateResult) -> Vec<String> {
    let state = match gate.state {
        GateState::Pass => "pass",
        GateState::Fail { .. } => "FAIL",
        GateState::Unknown { .. } => "unknown",
    };
    let rule = gate.fallback.as_ref().map_or_else(String::new, |rule| format!(" [fallback rule {rule}]"));
    let mut lines = vec![format!("  {state:8} {}: {}{rule}", gate.name(), gate.explain())];
    lines.extend(gate.inputs.iter().map(|input| {
        let value = serde_json::to_string(&input.value).unwrap_or_default();
        let age = input.age_ms.map_or_else(|| "of unknown age".to_owned(), |ms| format!("{} s old", ms / 1_000));
        let limit =
            if gate.limit_ms == u64::MAX { String::new() } else { format!(", may be {} s", gate.limit_ms / 1_000) };
        format!("           {} says {value}, {age}{limit}", input.source.as_str())
    }));
    lines
}

fn list(config: &Path, json: bool) -> anyhow::Result<()> {
    let config = load(config)?;
    let rows = Reader::open(&config.store_path)?.bundles()?;
    if json {
        return say(&serde_json::to_string_pretty(&rows)?);
    }
    anyhow::ensure!(!rows.is_empty(), "no rules were ever in force here; start the agent once");
    for (place, row) in rows.iter().enumerate() {
        let mark = ["in force", "before"].get(place).copied().unwrap_or("");
        let hash: String = row.hash.chars().take(12).collect();
        say(&format!("{mark:9} version {} {hash} since {} by {} ({})", row.version, row.at, row.by, row.how))?;
    }
    Ok(())
}

fn pin() -> anyhow::Result<String> {
    if let Ok(pin) = std::env::var("GATEHOUSE_PIN") {
        return Ok(pin);
    }
    if std::io::stdin().is_terminal() {
        eprintln!("type the PIN, then Enter and Ctrl-D");
    }
    let mut pin = String::new();
    std::io::stdin().take(1024).read_to_string(&mut pin).context("the PIN cannot be read from standard input")?;
    Ok(pin.trim_end_matches(['\r', '\n']).to_owned())
}

async fn post(listen: SocketAddr, what: &str, body: &Value, name: &str, pin: &str) -> anyhow::Result<(u16, Value)> {
    // Only the first installer succeeds; the client wants one though the page speaks plain HTTP on loopback.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).build()?;
    let answer = client
        .post(format!("http://{listen}/api/{what}"))
        .header("authorization", format!("Basic {}", STANDARD.encode(format!("{name}:{pin}"))))
        .json(body)
        .send()
        .await
        .with_context(|| {
            format!(
                "the agent does not answer at {listen}; start it (rules may also be named under [bundle] for its start)"
            )
        })?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await?))
}
