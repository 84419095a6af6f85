//! `gatehouse-agent audit`: reads a store beside the running agent, or a copy of it, and prints.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gatehouse_common::{
    id::{DeviceId, SiteId},
    seal::{PublicKey, Sealed},
};
use serde_json::json;

use super::{Anchor, Kept, Keys, Verdict, Verifier};
use crate::{
    config::{self, Config},
    store::{AnchorRow, Reader},
};

/// What can be asked of the chain of decisions.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Proves that no decision was edited, removed, added or moved; says what it cannot prove.
    ///
    /// Every decision holds the hash of the one before it and is signed with the device's key, so one that
    /// was edited, removed in the middle, moved or put twice is always found, and named.
    ///
    /// What shows against an anchor alone: a tail that was cut off, and a tail that was written anew by someone
    /// who has the device's key. An anchor is the hub's signed receipt for a decision; the store keeps those that
    /// it got. Whoever cuts the store can cut its anchors too: to be sure, keep one elsewhere (`audit anchors`
    /// prints them) and give it with --anchor. Decisions after the last anchor are counted as unanchored: of
    /// those, the last ones may have been removed without a trace.
    ///
    /// What it never finds: a decision that was never written down; and, when the device's key is taken from the
    /// store itself (no --config and no --device-key) and no anchor is given, a store written anew with another key.
    ///
    /// Ends with 0 when the chain is whole, 1 when it is not or cannot be read, 2 when the configuration must be
    /// corrected.
    Verify {
        /// Which store, and under which keys.
        #[command(flatten)]
        of: Of,
        /// A receipt of the hub that was kept elsewhere: a file with one JSON object a line, as `audit anchors
        /// --json` prints them. May be given several times.
        #[arg(long, value_name = "FILE")]
        anchor: Vec<PathBuf>,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Prints every decision and receipt as one JSON object a line, for an auditor: first whose they are.
    ///
    /// `body` is the text that was signed, `signature` base64 of the ed25519 signature over exactly its bytes,
    /// `hash` its SHA-256; each body names the hash of the one before it as `previous`.
    Export {
        /// Which store, and under which keys.
        #[command(flatten)]
        of: Of,
    },
    /// Lists the hub's receipts for the chain. Keep the newest somewhere else: a cut tail shows against it.
    Anchors {
        /// Which store, and under which keys.
        #[command(flatten)]
        of: Of,
        /// As JSON, one receipt a line: what `audit verify --anchor` reads.
        #[arg(long)]
        json: bool,
    },
}

/// Which store, and under which keys.
#[derive(Debug, Args)]
pub struct Of {
    /// The agent's configuration: names the store, the device's key and the hub's.
    #[arg(long, value_name = "FILE", required_unless_present = "store", conflicts_with = "store")]
    config: Option<PathBuf>,
    /// A store, or a copy of one, without its configuration.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// The hub's public key in base64, for anchors. Default: hub.public_key of the configuration.
    #[arg(long, value_name = "KEY")]
    hub_key: Option<String>,
    /// The device's public key in base64. Default: of the configured key file; else what the store says.
    #[arg(long, value_name = "KEY")]
    device_key: Option<String>,
}

/// A store that was opened, and the keys to check it under.
struct Opened {
    store: Reader,
    device: DeviceId,
    site: SiteId,
    keys: Keys,
    /// Set when the store names another key than the one to check under.
    other_key: Option<String>,
}

/// Does what was asked: the text to print, and whether all is as it should be.
/// # Errors
/// What could not be read.
pub fn run(command: &AuditCommand) -> anyhow::Result<(String, bool)> {
    match command {
        AuditCommand::Verify { of, anchor, json } => {
            let verdict = verify(&open(of)?, anchor)?;
            let text = if *json { serde_json::to_string_pretty(&verdict)? } else { in_words(&verdict) };
            Ok((text, verdict.is_whole()))
        }
        AuditCommand::Export { of } => Ok((export(&open(of)?)?, true)),
        AuditCommand::Anchors { of, json } => {
            let anchors = open(of)?.store.anchors()?;
            Ok((if *json { anchor_lines(&anchors)? } else { list(&anchors) }, true))
        }
    }
}

fn open(of: &Of) -> anyhow::Result<Opened> {
    let config: Option<Config> = match &of.config {
        // Not wrapped in a context: the exit code depends on the error's type.
        Some(path) => Some(config::load(path)?),
        None => None,
    };
    let path = match (&config, &of.store) {
        (Some(config), _) => &config.store_path,
        (None, Some(store)) => store,
        (None, None) => bail!("give --config or --store"),
    };
    let store = Reader::open(path)?;
    let identity = store.identity().with_context(|| format!("{} is not an agent's store", path.display()))?;
    let named = |name: &str| identity.get(name).with_context(|| format!("{} does not say its {name}", path.display()));
    let in_store = named("public_key")?.clone();
    let given = match (&of.device_key, &config) {
        (Some(text), _) => Some(PublicKey::parse(text).context("--device-key")?),
        (None, Some(config)) => Some(config::key::load(&config.device.key_file)?.public()),
        (None, None) => None,
    };
    let device = match given {
        Some(key) => key,
        None => PublicKey::parse(&in_store).context("the store's own key")?,
    };
    let hub = match (&of.hub_key, config.as_ref().and_then(|c| c.hub.as_ref())) {
        (Some(text), _) => Some(PublicKey::parse(text).context("--hub-key")?),
        (None, hub) => hub.map(|hub| hub.public_key),
    };
    let other_key = (device.to_string() != in_store).then_some(in_store.clone());
    let (name, site) = (named("device")?.parse()?, named("site")?.parse()?);
    Ok(Opened { device: name, site, keys: Keys { device, hub }, other_key, store })
}

fn verify(opened: &Opened, files: &[PathBuf]) -> anyhow::Result<Verdict> {
    let rows = opened.store.anchors().context("the store has an older form; start the agent once")?;
    let mut anchors: Vec<Anchor> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| Anchor { from: format!("anchor {} of the store", n + 1), sealed: row.sealed.clone() })
        .collect();
    for file in files {
        anchors.extend(read_anchors(file)?);
    }
    let mut verifier = Verifier::new(opened.device.clone(), opened.site.clone(), opened.keys.clone(), &anchors);
    if let Some(key) = &opened.other_key {
        verifier.note(0, 0, format!("the store names another key of the device: {key}"));
    }
    for (n, row) in rows.iter().enumerate() {
        let says = row.sealed.peek::<gatehouse_common::decision::ChainHead>().ok();
        let agrees = says
            .is_some_and(|h| (h.epoch, h.position, h.hash.to_string()) == (row.epoch, row.position, row.hash.clone()));
        if !row.checksum_holds || !agrees {
            verifier.note(row.epoch, row.position, format!("anchor {} of the store was changed", n + 1));
        }
    }
    opened.store.each_decision(|row, checksum_holds| verifier.take(&Kept { row, checksum_holds }))?;
    Ok(verifier.finish())
}

fn read_anchors(file: &Path) -> anyhow::Result<Vec<Anchor>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("anchor file {}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let anchors = lines.map(|line| {
        let sealed: Sealed = serde_json::from_str(line).with_context(|| {
            format!("{}: a line is not a receipt as `audit anchors --json` prints it", file.display())
        })?;
        Ok(Anchor { from: file.display().to_string(), sealed })
    });
    anchors.collect()
}

fn in_words(verdict: &Verdict) -> String {
    let mut lines: Vec<String> =
        verdict.findings.iter().map(|f| format!("epoch {} record {}: {}", f.epoch, f.position, f.what)).collect();
    lines.extend(verdict.lost.iter().map(|lost| {
        format!(
            "records after {} of epoch {}, through {} of epoch {}, are at the hub only: an older copy of this store was put in place",
            lost.after.1, lost.after.0, lost.through.1, lost.through.0
        )
    }));
    if verdict.anchors_unchecked > 0 {
        lines.push(format!("{} anchors were not checked: give --hub-key", verdict.anchors_unchecked));
    }
    lines.push(match verdict.anchored_through {
        Some((epoch, position)) => format!(
            "anchored through record {position} of epoch {epoch}; {} records after it are unanchored",
            verdict.unanchored
        ),
        None => format!("no anchor proves any record: all {} are unanchored", verdict.records),
    });
    let whole = if verdict.is_whole() { "the chain is whole" } else { "the chain is NOT whole" };
    lines.push(format!("{whole}: {} records looked at, {} wrong", verdict.records, verdict.findings.len()));
    lines.join("\n")
}

fn export(opened: &Opened) -> anyhow::Result<String> {
    let head =
        json!({ "kind": "chain", "device": opened.device, "site": opened.site, "public_key": opened.keys.device });
    let mut lines = vec![head.to_string()];
    opened.store.each_decision(|row, _| {
        let mut line = json!(row);
        line["kind"] = json!("decision");
        lines.push(line.to_string());
    })?;
    for row in opened.store.anchors()? {
        let mut line = json!(row);
        line["kind"] = json!("anchor");
        lines.push(line.to_string());
    }
    Ok(lines.join("\n"))
}

fn anchor_lines(anchors: &[AnchorRow]) -> anyhow::Result<String> {
    let lines: Vec<String> = anchors.iter().map(|row| serde_json::to_string(&row.sealed)).collect::<Result<_, _>>()?;
    Ok(lines.join("\n"))
}

fn list(anchors: &[AnchorRow]) -> String {
    if anchors.is_empty() {
        return "the hub has not receipted anything yet".to_owned();
    }
    let line = |row: &AnchorRow| format!("epoch {} record {} hash {}", row.epoch, row.position, row.hash);
    anchors.iter().map(line).collect::<Vec<_>>().join("\n")
}
