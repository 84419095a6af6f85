//! The peer: automerge-repo over a websocket, on the same documents.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use gatehouse_bench::{lines::Printer, process::Process};
use gatehouse_common::{document::Document, id::DocumentId};
use serde_json::{Value, json};

use crate::relay::{Counted, Relay, Weather};

/// What is installed, as it comes from npm.
const PACKAGES: [&str; 4] = [
    "@automerge/automerge-repo@2.5.6",
    "@automerge/automerge-repo-network-websocket@2.5.6",
    "@automerge/automerge-repo-storage-nodefs@2.5.6",
    "ws@8",
];
const SCRIPT: &str = include_str!("../peers/automerge_repo.mjs");

/// A document on both sides before they meet.
pub struct Pair {
    /// Which.
    pub id: DocumentId,
    /// As the depot has it.
    pub depot: Document,
    /// As the hub has it.
    pub hub: Document,
}

/// What a reconnect took.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Bytes, without TLS.
    pub line: Counted,
    /// Messages both ways.
    pub messages: u64,
    /// Seconds until both agreed.
    pub seconds: f64,
    /// Seconds of processor of the client.
    pub client_cpu_s: f64,
    /// The same of the hub.
    pub hub_cpu_s: f64,
    /// Memory of the client at most, in MB.
    pub client_rss_mb: f64,
    /// The same of the hub.
    pub hub_rss_mb: f64,
}

/// A script at work, and what it prints.
struct Script {
    process: Process,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

/// automerge-repo in a folder of its own.
struct Peer {
    folder: PathBuf,
}

/// Measures the reconnect of `pairs`.
/// # Errors
/// Why the peer cannot be had here, or what failed.
pub async fn run(pairs: &[Pair], peers: &Path, printer: Printer) -> anyhow::Result<Figures> {
    let peer = Peer::install(peers, printer)?;
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    printer.say(&format!("automerge-repo: putting {} documents into its storages", pairs.len()));
    for (side, of) in [("depot", (|p: &Pair| p.depot.export()) as fn(&Pair) -> Vec<u8>), ("hub", |p| p.hub.export())] {
        let files = place(&format!("{side}-files"));
        std::fs::create_dir(&files)?;
        for pair in pairs {
            std::fs::write(files.join(format!("{}.automerge", pair.id)), of(pair))?;
        }
        let mut make = peer.start("make", &place(side), &files)?;
        if !make.process.waits()? {
            bail!("automerge-repo did not take the documents");
        }
    }
    let expected: Vec<Value> = pairs.iter().map(expected).collect::<anyhow::Result<_>>()?;
    std::fs::write(place("expected.json"), serde_json::to_string(&expected)?)?;
    let mut hub = peer.start("hub", &place("hub"), &place("expected.json"))?;
    let port = hub.line()?["port"].as_u64().context("the peer's hub names no port")?;
    let relay = Relay::lay(SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port)?)), Weather::FAIR).await?;
    let mut client = peer.start("client", &place("depot"), &place("expected.json"))?;
    printer.say("automerge-repo: loading");
    client.line()?;
    let (client_before, hub_before) = (client.process.usage()?, hub.process.usage()?);
    printer.say("automerge-repo: the line comes back");
    let begun = Instant::now();
    writeln!(client.hears, "{}", relay.url().replace("https", "ws"))?;
    let messages = tokio::task::block_in_place(|| {
        let messages = client.line()?["messages"].as_u64().unwrap_or(0);
        hub.line().map(|_| messages)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let (client_after, hub_after) = (client.process.usage()?, hub.process.usage()?);
    Ok(Figures {
        line: relay.counted(),
        messages,
        seconds,
        client_cpu_s: client_after.cpu_s - client_before.cpu_s,
        hub_cpu_s: hub_after.cpu_s - hub_before.cpu_s,
        client_rss_mb: client_after.rss_peak_mb,
        hub_rss_mb: hub_after.rss_peak_mb,
    })
}

/// What a document is once both sides have everything.
fn expected(pair: &Pair) -> anyhow::Result<Value> {
    let mut merged = pair.depot.clone();
    for chunk in pair.hub.chunks() {
        merged.apply_own(&chunk.bytes)?;
    }
    Ok(json!({ "id": pair.id, "heads": merged.heads() }))
}

impl Peer {
    fn install(peers: &Path, printer: Printer) -> anyhow::Result<Self> {
        let folder = peers.join("automerge-repo");
        if !folder.join("node_modules/@automerge/automerge-repo/package.json").is_file() {
            printer.say(&format!("installing {} from npm into {}", PACKAGES.join(", "), folder.display()));
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("package.json"), "{\"private\":true}\n")?;
            let mut command = Command::new("npm");
            command.args(["install", "--no-audit", "--no-fund"]).args(PACKAGES).current_dir(&folder);
            let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                bail!("{command:?}: {}", text.lines().last().unwrap_or("failed without a word"));
            }
        }
        std::fs::write(folder.join("automerge_repo.mjs"), SCRIPT)?;
        Ok(Self { folder })
    }

    fn start(&self, what: &str, storage: &Path, more: &Path) -> anyhow::Result<Script> {
        let mut command = Command::new("node");
        command.arg("automerge_repo.mjs").arg(what).args([storage, more]).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let says = child.stdout.take().context("no output")?;
        let hears = child.stdin.take().context("no input")?;
        Ok(Script { process: Process::new(child), says: BufReader::new(says), hears })
    }
}

impl Script {
    /// The next line that it prints.
    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            bail!("automerge-repo ended before it was done");
        }
        Ok(serde_json::from_str(&line)?)
    }
}
