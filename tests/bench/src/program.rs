//! The programs that are measured side by side: how each is installed, started, and looked at from outside.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gatehouse_bench::{lines::Printer, process::Process};
use rusqlite::{Connection, OpenFlags};

use crate::{
    blocks,
    broker::{Broker, free_port},
    load,
};

/// paho-mqtt as it comes from PyPI.
const PAHO: &str = "paho-mqtt==2.1.0";
/// Node-RED and its SQLite node as they come from npm.
const NODE_RED: [&str; 2] = ["node-red@4.1.15", "node-red-node-sqlite@1.1.1"];
const PYTHON_SCRIPT: &str = include_str!("../peers/paho_sqlite.py");
const NODE_RED_FLOWS: &str = include_str!("../peers/node-red-flows.json");
const NODE_RED_SETTINGS: &str = include_str!("../peers/node-red-settings.js");

/// Tables of the peer that makes none itself.
const TABLES: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE readings (position INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT);
    CREATE TABLE alerts (door TEXT NOT NULL, since_ms INTEGER NOT NULL);";

/// A program to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Agent,
    /// The least that it can cost.
    Floor,
    /// The floor, acknowledging before its commit: the control that must lose.
    FloorAcknowledgingFirst,
    /// paho-mqtt and sqlite3, small batches.
    Python,
    /// Node-RED with its SQLite node.
    NodeRed,
}

/// Where programs and peers lie.
#[derive(Debug, Clone)]
pub struct Places {
    /// The agent.
    pub agent: PathBuf,
    /// Folder of the benchmark's own programs.
    pub programs: PathBuf,
    /// Folder in which peers are installed.
    pub peers: PathBuf,
}

/// A folder of its own for one program, and how to start it there again and again.
pub struct Setup {
    program: Program,
    places: Places,
    port: u16,
    page: u16,
    directory: tempfile::TempDir,
}

/// What the store of a program says.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Messages of the load, each counted once.
    pub rows: u32,
    /// Doors with an alert.
    pub alerts: Vec<String>,
    /// Alerts that are there more than once.
    pub doubled: u32,
}

impl Program {
    /// Its name in the lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "gatehouse-agent",
            Self::Floor => "floor",
            Self::FloorAcknowledgingFirst => "floor, acknowledging first",
            Self::Python => "python paho + sqlite3",
            Self::NodeRed => "node-red + sqlite",
        }
    }

    /// Installs it if it is a peer that is not there yet, and says so.
    /// # Errors
    /// Why it cannot be had here.
    pub fn install(self, places: &Places, printer: Printer) -> anyhow::Result<()> {
        std::fs::create_dir_all(&places.peers)?;
        match self {
            Self::Agent | Self::Floor | Self::FloorAcknowledgingFirst => Ok(()),
            Self::Python => install_python(places, printer),
            Self::NodeRed => install_node_red(places, printer),
        }
    }
}

fn install_python(places: &Places, printer: Printer) -> anyhow::Result<()> {
    let folder = places.peers.join("paho");
    let python = folder.join("bin/python");
    let works = || run(Command::new(&python).args(["-c", "import paho.mqtt.client"])).is_ok();
    if !works() {
        printer.say(&format!("installing {PAHO} from PyPI into {}", folder.display()));
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PAHO]))?;
    }
    Ok(())
}

fn install_node_red(places: &Places, printer: Printer) -> anyhow::Result<()> {
    let folder = places.peers.join("node-red");
    let works = || run(Command::new("node").args(["-e", "require('sqlite3')"]).current_dir(&folder)).is_ok();
    if !folder.join("node_modules/node-red/red.js").is_file() || !works() {
        printer.say(&format!("installing {} from npm into {}", NODE_RED.join(" and "), folder.display()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("package.json"), "{\"private\":true}\n")?;
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund"]).args(NODE_RED).current_dir(&folder))?;
        if !works() {
            // Newer npm runs no install script unless it is told to; the SQLite node has one that compiles.
            let rebuild = ["rebuild", "sqlite3", "--ignore-scripts=false"];
            run(Command::new("npm").args(rebuild).current_dir(&folder))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}", text.lines().last().unwrap_or("failed without a word"));
    }
    Ok(())
}

impl Setup {
    /// A new folder for `program`, which will listen to `broker`.
    pub fn new(program: Program, places: &Places, broker: &Broker) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("gatehouse-bench-").tempdir()?;
        let setup = Self { program, places: places.clone(), port: broker.port, page: free_port()?, directory };
        let write = |name: &str, text: String| std::fs::write(setup.directory.path().join(name), text);
        let port = setup.port.to_string();
        match program {
            Program::Agent => {
                let text = include_str!("agent.toml").replace("@PORT@", &port);
                write("agent.toml", text.replace("@PAGE@", &setup.page.to_string()))?;
                write("rules.toml", include_str!("rules.toml").to_owned())?;
            }
            Program::Python => write("intake.py", PYTHON_SCRIPT.to_owned())?,
            Program::NodeRed => {
                let store = setup.store().display().to_string();
                write("flows.json", NODE_RED_FLOWS.replace("@PORT@", &port).replace("@STORE@", &store))?;
                write("settings.js", NODE_RED_SETTINGS.to_owned())?;
                std::os::unix::fs::symlink(
                    setup.places.peers.join("node-red/node_modules"),
                    setup.directory.path().join("node_modules"),
                )?;
                Connection::open(setup.store())?.execute_batch(TABLES)?;
            }
            Program::Floor | Program::FloorAcknowledgingFirst => {}
        }
        Ok(setup)
    }

    /// Starts it.
    pub fn start(&self) -> anyhow::Result<Process> {
        let directory = self.directory.path();
        let mut command = match self.program {
            Program::Agent => {
                let mut command = Command::new(&self.places.agent);
                command.args(["run", "--config"]).arg(directory.join("agent.toml"));
                command
            }
            Program::Floor | Program::FloorAcknowledgingFirst => {
                let mut command = Command::new(self.places.programs.join("gatehouse-floor"));
                command.args(["--port", &self.port.to_string(), "--store"]).arg(self.store());
                command.args(["--open-max-ms", &load::OPEN_MAX_MS.to_string()]);
                if self.program == Program::FloorAcknowledgingFirst {
                    command.arg("--acknowledge-first");
                }
                command
            }
            Program::Python => {
                let mut command = Command::new(self.places.peers.join("paho/bin/python"));
                command.arg(directory.join("intake.py")).arg(self.port.to_string()).arg(self.store());
                command
            }
            Program::NodeRed => {
                let mut command = Command::new("node");
                command.arg(self.places.peers.join("node-red/node_modules/node-red/red.js"));
                command.arg("--userDir").arg(directory).arg("--settings").arg(directory.join("settings.js"));
                command.env("BENCH_UI_PORT", self.page.to_string());
                command
            }
        };
        let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Process::new(child))
    }

    /// Waits until a message that is sent to it is in its store; says how long that took since `started`.
    pub async fn until_it_takes_in(&self, broker: &Broker, started: Instant) -> anyhow::Result<Duration> {
        for n in 0..1000 {
            let before = self.position();
            broker.publish(load::probe(n)).await?;
            let published = Instant::now();
            while published.elapsed() < Duration::from_millis(200) {
                if self.position() > before {
                    return Ok(started.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if started.elapsed() > Duration::from_secs(30) {
                break;
            }
        }
        bail!("{} took nothing in; its log:\n{}", self.program.name(), self.log())
    }

    /// The newest row, 0 while there is none.
    pub fn position(&self) -> i64 {
        let newest = |conn: &Connection| conn.query_row(self.newest(), [], |row| row.get(0));
        self.open().and_then(|conn| Ok(newest(&conn)?)).unwrap_or(0)
    }

    /// The query for the position of the newest row.
    pub fn newest(&self) -> &'static str {
        match self.program {
            Program::Agent => "SELECT first + count - 1 FROM blocks ORDER BY first DESC LIMIT 1",
            _ => "SELECT coalesce(max(position), 0) FROM readings",
        }
    }

    /// Everything that its store says of the load.
    pub fn found(&self) -> anyhow::Result<Found> {
        let conn = self.open()?;
        let (rows, alerts) = match self.program {
            Program::Agent => {
                let readings = blocks::readings(&conn).map_err(anyhow::Error::msg)?;
                let of_the_load = readings.iter().map(|r| r.id.as_str()).filter(|id| !id.starts_with("probe-"));
                let ids: BTreeSet<&str> = of_the_load.collect();
                (
                    u32::try_from(ids.len())?,
                    "SELECT json_extract(view, '$.subject') FROM documents
                     WHERE kind = 'case' AND json_extract(view, '$.case_type') = 'DOCK_BLOCKED'",
                )
            }
            _ => {
                let rows = "SELECT count(DISTINCT id) FROM readings WHERE id NOT LIKE 'probe-%'";
                (conn.query_row(rows, [], |row| row.get(0))?, "SELECT door FROM alerts")
            }
        };
        let mut alerts: Vec<String> =
            conn.prepare(alerts)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for alert in &mut alerts {
            // The agent says the depot too: D1/c001-4.
            *alert = alert.rsplit('/').next().unwrap_or_default().to_owned();
        }
        let told = alerts.len();
        alerts.sort();
        alerts.dedup();
        Ok(Found { rows, doubled: u32::try_from(told - alerts.len())?, alerts })
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A connection that only reads.
    pub fn open(&self) -> anyhow::Result<Connection> {
        let conn = Connection::open_with_flags(self.store(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }
}
