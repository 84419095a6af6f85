//! `./run trials hostile`: bytes that mean harm, sent by devices that the hub knows, and by a hub to an agent's reader.
//!
//! A device's identity was stolen, a thousand of them: each speaks properly, with certificate and signature, and what it
//! says is harm. Meanwhile honest depots work. Nothing may end a process, memory stays within a bound, and the honest
//! wait at most twice as long as without.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use gatehouse_bench::lines::{Aim, Printer, rounded};
use gatehouse_common::{
    id::{DocumentId, DocumentKind},
    sync::{Cursor, Push, PushReply, Upward, decode, encode, exchange::PUSH_PATH},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    generator::{Crowd, Speaker, Teller, held, speaker},
    harm::{Bombs, Harm},
    hub::HubPlace,
    look::percentile_ms,
    programs::{Programs, now},
    unit::Unit,
    wire::{Trust, Wire, source},
    words::Words,
};

/// Harm that one identity sends. The hub's usual quota lets it, and no more in a minute.
const EACH: usize = 900;
/// Changes in one push.
const PUSH: usize = 225;
/// Of so many, one is a frame.
const FRAME_IN: usize = 100;
/// Identities that are used at one time.
const AT_ONCE: usize = 16;
/// Depots that work meanwhile, and how often each says something.
const HONEST: usize = 10;
const HONEST_EVERY: Duration = Duration::from_millis(100);
/// Memory that the hub may take, and the agent's reader, in MB.
const HUB_MB: f64 = 400.0;
const READER_MB: f64 = 256.0;

/// What to try.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many, at the hub and again at the agent's reader
    #[arg(default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    inputs: u32,
    /// Seconds of peace before, in which it is measured how long the honest wait
    #[arg(long, value_name = "S", default_value_t = 30)]
    peace: u64,
    /// Do not judge how long the honest wait: for a machine that has other work
    #[arg(long)]
    no_waits: bool,
}

/// What came of the harm.
#[derive(Default)]
struct Sent {
    chunks: AtomicU64,
    frames: AtomicU64,
    /// Changes that the hub refused.
    refused: AtomicU64,
    /// Frames that it refused.
    bad_frames: AtomicU64,
    /// Answers that asked to come back later.
    busy: AtomicU64,
    /// Connections that broke.
    broken: AtomicU64,
}

/// Tries; says whether everything held.
pub async fn run(arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<bool> {
    let reader = reader(arguments.inputs, programs, printer)?;
    let hub = at_hub(arguments, programs, printer).await?;
    let held = reader.iter().chain(&hub).filter(|held| **held).count();
    let all = reader.len() + hub.len();
    println!("{held} passed, {} failed", all - held);
    Ok(held == all)
}

fn aim(printer: Printer, case: &str, ours: f64, peer: Option<(&str, f64)>, aim: &str, holds: bool) -> bool {
    printer.aim(&Aim { bench: "hostile", case, ours, peer, aim, holds })
}

/// The agent's reader, in a process of its own so that its memory is its own.
fn reader(inputs: u32, programs: &Programs, printer: Printer) -> anyhow::Result<Vec<bool>> {
    printer.say(&format!("{inputs} at an agent's reader"));
    let mut command = std::process::Command::new(&programs.own);
    command.args(["as-reader", &inputs.to_string()]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let lived = output.status.success();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    printer.line(&json!({ "bench": "hostile", "case": "agent's reader", "inputs": inputs, "told": told }));
    let (peak, refused) = (told["peak_mb"].as_f64().unwrap_or(f64::MAX), told["refused"].as_f64().unwrap_or(0.0));
    Ok(vec![
        aim(printer, "agent's reader: processes that ended", f64::from(u8::from(!lived)), None, "0", lived),
        aim(printer, "agent's reader: RSS at most, MB", peak, None, "<= 256", peak <= READER_MB),
        // Were nothing refused, no harm would have been meant.
        aim(printer, "agent's reader: items refused", refused, None, "> 0", refused > 0.0),
    ])
}

async fn at_hub(arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<Vec<bool>> {
    let identities = (arguments.inputs as usize).div_ceil(EACH);
    printer.say(&format!("{} at the hub, by {identities} identities", arguments.inputs));
    let directory = tempfile::tempdir()?;
    let hub = HubPlace::with(directory.path(), IpAddr::V4(Ipv4Addr::LOCALHOST), "")?;
    let unit = |n: usize| Unit::certified(&format!("gw-{n}"), &format!("D{n}"), &hub.authority, now());
    let units = (0..HONEST + identities).map(unit).collect::<anyhow::Result<Vec<_>>>()?;
    let store = hub.store()?;
    HubPlace::list(&store, &units, now())?;
    let epoch = store.read_now(|r| r.ledger_epoch())?;
    drop(store);
    let mut units = units.into_iter();
    let honest: Vec<Unit> = units.by_ref().take(HONEST).collect();
    let mut process = hub.start(programs)?;
    let trust = Trust::in_authority(&hub.authority)?;
    let crowd = Crowd::new(SocketAddr::new(hub.host, hub.devices), trust, Cursor::start(epoch));
    let (stop, bombs) = (Arc::new(AtomicBool::new(false)), Bombs::pack()?);
    let mut working = JoinSet::new();
    for (n, unit) in honest.into_iter().enumerate() {
        working.spawn(works(crowd.clone(), n, unit, stop.clone()));
    }
    printer.say("peace");
    sleep(Duration::from_secs(arguments.peace)).await;
    let mut peace = std::mem::take(&mut *held(&crowd.pushed));
    printer.say("harm");
    let (begun, sent) = (Instant::now(), Arc::new(Sent::default()));
    let mut attacks = JoinSet::new();
    let mut left = arguments.inputs as usize;
    for (n, unit) in units.enumerate() {
        if attacks.len() >= AT_ONCE {
            attacks.join_next().await.context("nobody attacks")???;
        }
        let inputs = left.min(EACH);
        left -= inputs;
        attacks.spawn(attacks_with(crowd.clone(), HONEST + n, unit, inputs, bombs.clone(), sent.clone()));
    }
    while let Some(ended) = attacks.join_next().await {
        ended??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut harm = std::mem::take(&mut *held(&crowd.pushed));
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    let lives = process.runs();
    let usage = process.usage()?;
    let (before, during) = (percentile_ms(&mut peace, 99), percentile_ms(&mut harm, 99));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let store = hub.beside()?;
    let (quarantined, audited) = store.read_now(|r| {
        let entries = r.audit_of(&format!("gw-{HONEST}"), 100)?;
        Ok((r.quarantine_count()?, entries.iter().filter(|entry| entry.action == "refused: frame").count()))
    })?;
    printer.line(&json!({
        "bench": "hostile", "case": "hub", "chunks": count(&sent.chunks), "frames": count(&sent.frames),
        "chunks_refused": count(&sent.refused), "frames_refused": count(&sent.bad_frames), "told_to_wait": count(&sent.busy),
        "lines_broken": count(&sent.broken), "quarantined": quarantined, "seconds": rounded(seconds), "hub_cpu_s": rounded(usage.cpu_s),
        "hub_rss_peak_mb": rounded(usage.rss_peak_mb), "honest_pushes": harm.len(), "honest_p50_ms": rounded(percentile_ms(&mut harm, 50)),
        "honest_p99_ms": rounded(during), "honest_p99_before_ms": rounded(before),
        "honest_failures": crowd.failures.load(Ordering::Relaxed),
    }));
    let peak = usage.rss_peak_mb;
    let refused = count(&sent.refused) + count(&sent.bad_frames);
    let failed = crowd.failures.load(Ordering::Relaxed);
    let panics = hub.log().matches("panicked and was undone").count();
    let mut held = vec![
        aim(printer, "hub: processes that ended", f64::from(u8::from(!lives)), None, "0", lives),
        aim(printer, "hub: writes that panicked", panics as f64, None, "0", panics == 0),
        aim(printer, "hub: RSS at most, MB", peak, None, "<= 400", peak <= HUB_MB),
        aim(printer, "hub: inputs refused", refused as f64, None, "> 0", refused > 0),
        aim(printer, "hub: refused frames told to the audit of the first", audited as f64, None, "> 0", audited > 0),
        aim(printer, "hub: pushes of the honest that failed", failed as f64, None, "0", failed == 0),
    ];
    if !arguments.no_waits {
        let peer = Some(("in peace", before));
        let kept = during <= 2.0 * before;
        held.push(aim(printer, "hub: the honest wait, p99 ms", during, peer, "<= 2 times the peer", kept));
    }
    Ok(held)
}

/// An honest depot: one change after the other, on one line.
async fn works(crowd: Arc<Crowd>, n: usize, unit: Unit, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let open = || Wire::open(crowd.hub, source(n), &unit, &crowd.trust);
    let (mut teller, mut wire) = (Teller::new(&unit, 0, Words::of(n as u64)), open().await?);
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (document, bytes) = teller.tell()?;
        let begun = Instant::now();
        let push = push(vec![(number, document, bytes)]);
        match wire.exchange::<_, PushReply>(&unit, PUSH_PATH, &push, Duration::ZERO).await {
            Ok(reply) if reply.rejected.is_empty() => held(&crowd.pushed).push(begun.elapsed()),
            _ => {
                crowd.failures.fetch_add(1, Ordering::Relaxed);
                wire = open().await?;
            }
        }
        sleep(HONEST_EVERY.saturating_sub(begun.elapsed())).await;
    }
    Ok(())
}

fn push(records: Vec<(u64, DocumentId, Vec<u8>)>) -> Push {
    let kind = DocumentKind::Case;
    let upward = |(n, document, bytes)| (n, Upward::Chunk { document, kind, bytes });
    Push { outbox_epoch: 1, records: records.into_iter().map(upward).collect() }
}

/// One stolen identity: first something good, then harm.
async fn attacks_with(
    crowd: Arc<Crowd>,
    n: usize,
    unit: Unit,
    inputs: usize,
    bombs: Bombs,
    sent: Arc<Sent>,
) -> anyhow::Result<()> {
    let thief = speaker(n, unit, 5)?;
    let document = thief.said.first().context("nothing good")?.0;
    let good: Vec<Vec<u8>> = thief.said.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut harm = Harm::of(n as u64, document, good[1..].to_vec(), bombs)?;
    let mut attack = Attack { crowd: &crowd, thief: &thief, sent: &sent, wire: None };
    attack.push(&encode(&push(vec![(1, document, good[0].clone())]))?).await?;
    let frames = inputs.div_ceil(FRAME_IN);
    for _ in 0..frames {
        sent.frames.fetch_add(1, Ordering::Relaxed);
        attack.push(&harm.frame()).await?;
    }
    let mut number = 1;
    let mut left = inputs - frames;
    while left > 0 {
        let count = left.min(PUSH);
        left -= count;
        let records = (0..count).map(|_| {
            number += 1;
            (number, document, harm.chunk())
        });
        let frame = encode(&push(records.collect()))?;
        sent.chunks.fetch_add(count as u64, Ordering::Relaxed);
        attack.push(&frame).await?;
    }
    Ok(())
}

struct Attack<'a> {
    crowd: &'a Crowd,
    thief: &'a Speaker,
    sent: &'a Sent,
    wire: Option<Wire>,
}

impl Attack<'_> {
    /// Sends a frame until the hub says something of it.
    async fn push(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        for _ in 0..200 {
            let mut wire = match self.wire.take() {
                Some(wire) => wire,
                None => Wire::open(self.crowd.hub, source(self.thief.n), &self.thief.unit, &self.crowd.trust).await?,
            };
            let Ok(answer) = wire.post(&self.thief.unit, PUSH_PATH, frame, Duration::ZERO).await else {
                self.sent.broken.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            self.wire = Some(wire);
            match answer.status {
                429 => {
                    self.sent.busy.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_secs(answer.retry_after_s.unwrap_or(1))).await;
                    continue;
                }
                200 => {
                    let reply: PushReply = decode(&answer.body)?;
                    self.sent.refused.fetch_add(reply.rejected.len() as u64, Ordering::Relaxed);
                }
                400 => drop(self.sent.bad_frames.fetch_add(1, Ordering::Relaxed)),
                status => ensure!(status == 413, "status {status}: {}", String::from_utf8_lossy(&answer.body)),
            }
            return Ok(());
        }
        anyhow::bail!("the hub does not answer harm")
    }
}
