//! `./run bench fleet`: a hub with thousands of agents that wait, and then all come back with what they did meanwhile.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use gatehouse_bench::{
    lines::{Aim, Printer, rounded},
    process::{Process, Usage},
};
use gatehouse_common::sync::{Cursor, Lane, Push, PushReply, Upward, exchange::PUSH_PATH};
use gatehouse_hub::store::Store;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    console::Console,
    generator::{Crowd, Speaker, frame, held, returns, says, speaker, waits},
    hub::HubPlace,
    look::{descriptors, memory_mb, percentile_ms},
    programs::{Programs, now},
    unit::Unit,
    wire::{Trust, Wire, source},
};

/// Agents with which it is measured how soon a change is seen.
const SEEN_WITH: usize = 1_000;
/// Agents of which the whole fleet consists, where the machine lets it.
const FLEET: usize = 10_000;
/// Descriptors that each agent costs at most: it waits on one connection and pushes on another.
const DESCRIPTORS_EACH: usize = 2;
/// Descriptors that a hub leaves to people and to itself where there are few.
const DESCRIPTORS_ELSE: usize = 1_000;
/// Memory that hub and generator need for each agent, in kB.
const KB_EACH: u64 = 200;
/// Changes told at the hub, and changes pushed by depots, of which it is measured when they are seen.
const PROBES: usize = 300;
/// Wait between two of them.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// How often the depot that works meanwhile says something.
const LIVE_EVERY: Duration = Duration::from_millis(250);
/// How long those that come back spread over: half of them are back within half of it, as with the agent's own waits.
const SPREAD: Duration = Duration::from_secs(30);
/// Longest that everything may take to be taken and folded.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Agents that wait and come back; default: 10,000, or what descriptors and memory allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    agents: Option<u32>,
    /// Changes that each brings when it comes back
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    changes: u32,
    /// Seconds of quiet, in which each says something once a minute
    #[arg(long, value_name = "S", default_value_t = 90, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Seconds for which an agent keeps the connection that it pushes on
    #[arg(long, value_name = "S", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3600))]
    keep: u64,
}

/// A hub, everyone who speaks with it, and what is known of both.
struct Fleet {
    _directory: tempfile::TempDir,
    hub: HubPlace,
    store: Store,
    process: Process,
    crowd: Arc<Crowd>,
    speakers: Vec<Arc<Speaker>>,
    /// The depot that works while others come back.
    live: Speaker,
    tasks: JoinSet<()>,
}

/// Measures; says whether all aims hold.
pub async fn run(arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<bool> {
    let fit = fit();
    let wanted = arguments.agents.map_or(FLEET.min(fit), |n| n as usize);
    printer.line(&json!({
        "bench": "fleet", "agents": wanted, "asked": arguments.agents.unwrap_or(FLEET as u32), "fit": fit,
        "descriptors": descriptors(), "memory_mb": memory_mb(), "cores": std::thread::available_parallelism()?.get(),
    }));
    ensure!(wanted <= fit, "{wanted} agents do not fit here; {fit} do: raise `ulimit -n`, or ask for fewer");
    let mut holds = seen(SEEN_WITH.min(wanted), arguments, programs, printer).await?;
    let mut fleet = Fleet::start(wanted, arguments, programs, printer)?;
    holds &= fleet.waits(arguments, printer).await?;
    holds &= fleet.comes_back(arguments, printer).await?;
    Ok(holds)
}

/// How many agents this machine has room for.
fn fit() -> usize {
    let by_descriptors = descriptors().saturating_sub(DESCRIPTORS_ELSE) / DESCRIPTORS_EACH;
    by_descriptors.min(usize::try_from(memory_mb() * 1000 / KB_EACH).unwrap_or(usize::MAX))
}

/// How soon a change at the hub is seen at a depot, and one at a depot on the console.
async fn seen(agents: usize, arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<bool> {
    let fleet = Fleet::start(agents, arguments, programs, printer)?;
    fleet.until_all_wait(printer).await?;
    let console = Console::of(&fleet.hub)?;
    printer.say("changes at the hub");
    for n in 0..PROBES {
        let at = n * 7919 % agents;
        held(&fleet.crowd.told).insert(at, tokio::time::Instant::now());
        console.tells(fleet.speakers[at].unit.site().as_str(), n as i64 + 1, now()).await?;
        sleep(PROBE_EVERY).await;
    }
    sleep(Duration::from_secs(5)).await;
    let mut down = std::mem::take(&mut *held(&fleet.crowd.seen));
    let unseen = held(&fleet.crowd.told).len();
    ensure!(unseen == 0, "{unseen} of {PROBES} changes were not seen by their depots");
    printer.say("changes at a depot");
    let (mut wire, mut live) = (fleet.wire().await?, console.live().await?);
    let mut up = Vec::new();
    for (n, (id, bytes)) in (1..).zip(fleet.live.said.iter().take(PROBES)) {
        let before = console.entries(id).await?;
        let begun = Instant::now();
        fleet.live_push(&mut wire, n, *id, bytes.clone()).await?;
        console.until_shown(&mut live, id, before).await?;
        up.push(begun.elapsed());
        sleep(PROBE_EVERY).await;
    }
    let mut holds = true;
    for (what, sample) in
        [("hub change visible at its depot", &mut down), ("depot change visible on the console", &mut up)]
    {
        let (p50, p99) = (percentile_ms(sample, 50), percentile_ms(sample, 99));
        printer.line(&json!({
            "bench": "fleet", "case": what, "agents": agents, "probes": sample.len(), "p50_ms": rounded(p50),
            "p99_ms": rounded(p99), "failures": fleet.crowd.failures.load(Ordering::Relaxed),
        }));
        let case = format!("{what}, p99 ms, {agents} agents");
        holds &= printer.aim(&Aim {
            bench: "fleet",
            case: &case,
            ours: p99,
            peer: None,
            aim: "<= 500",
            holds: p99 <= 500.0,
        });
    }
    Ok(holds)
}

impl Fleet {
    fn start(agents: usize, arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<Self> {
        printer.say(&format!("making {agents} agents"));
        let directory = tempfile::tempdir()?;
        let hub = HubPlace::make(directory.path(), IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut units: Vec<Unit> = (0..=agents)
            .map(|n| Unit::certified(&format!("gw-{n}"), &format!("D{n}"), &hub.authority, now()))
            .collect::<anyhow::Result<_>>()?;
        let store = hub.store()?;
        HubPlace::list(&store, &units, now())?;
        let (epoch, head) = store.read_now(|r| Ok((r.ledger_epoch()?, r.feed_head()?)))?;
        drop(store);
        let mut cursor = Cursor::start(epoch);
        Lane::ALL.into_iter().for_each(|lane| cursor.pass(lane, head));
        let live = speaker(agents, units.pop().context("nobody")?, 4_000)?;
        let changes = usize::try_from(arguments.seconds / 60)? + 2;
        let speakers = units.into_iter().enumerate().map(|(n, unit)| Ok(Arc::new(speaker(n, unit, changes)?)));
        let speakers = speakers.collect::<anyhow::Result<_>>()?;
        let process = hub.start(programs)?;
        let crowd = Crowd::new(SocketAddr::new(hub.host, hub.devices), Trust::in_authority(&hub.authority)?, cursor);
        let store = hub.beside()?;
        let mut fleet =
            Self { _directory: directory, hub, store, process, crowd, speakers, live, tasks: JoinSet::new() };
        for speaker in &fleet.speakers {
            fleet.tasks.spawn(waits(fleet.crowd.clone(), speaker.clone()));
            let keep = Duration::from_secs(arguments.keep);
            fleet.tasks.spawn(says(fleet.crowd.clone(), speaker.clone(), keep));
        }
        Ok(fleet)
    }

    /// Waits until every agent has its pull at the hub.
    async fn until_all_wait(&self, printer: Printer) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.crowd.waiting.load(Ordering::Relaxed) < self.speakers.len() {
            if begun.elapsed() > Duration::from_secs(300) {
                bail!(
                    "only {} agents wait; the hub's log:\n{}",
                    self.crowd.waiting.load(Ordering::Relaxed),
                    self.hub.log()
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
        printer.say(&format!("{} agents wait after {:.1} s", self.speakers.len(), begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// All is quiet: each waits, and says something once a minute.
    async fn waits(&self, arguments: &Arguments, printer: Printer) -> anyhow::Result<bool> {
        self.until_all_wait(printer).await?;
        // What was pushed while all of them shook hands at once is no part of the quiet.
        held(&self.crowd.pushed).clear();
        let failed = self.crowd.failures.load(Ordering::Relaxed);
        let (begun, before) = (Instant::now(), self.process.usage()?);
        sleep(Duration::from_secs(arguments.seconds)).await;
        let after = self.process.usage()?;
        let mut pushed = std::mem::take(&mut *held(&self.crowd.pushed));
        let agents = self.speakers.len();
        printer.line(&json!({
            "bench": "fleet", "case": "waiting", "agents": agents, "still_waiting": self.crowd.waiting.load(Ordering::Relaxed),
            "seconds": begun.elapsed().as_secs_f64().round(), "pushes": pushed.len(),
            "failures": self.crowd.failures.load(Ordering::Relaxed) - failed, "failures_before": failed,
            "push_p50_ms": rounded(percentile_ms(&mut pushed, 50)), "push_p99_ms": rounded(percentile_ms(&mut pushed, 99)),
            "hub_cores": rounded((after.cpu_s - before.cpu_s) / begun.elapsed().as_secs_f64()),
            "hub_rss_mb": rounded(after.rss_mb), "hub_rss_peak_mb": rounded(after.rss_peak_mb),
        }));
        let waiting = self.crowd.waiting.load(Ordering::Relaxed) as f64;
        let aim = |case: &str, ours: f64, aim: &str, holds: bool| {
            printer.aim(&Aim { bench: "fleet", case, ours, peer: None, aim, holds })
        };
        let many =
            aim("agents waiting over TLS, each with a change a minute", waiting, ">= 10000", waiting >= FLEET as f64);
        let case = format!("RSS of the hub with {agents} agents waiting, MB");
        Ok(aim(&case, after.rss_mb, "<= 300", after.rss_mb <= 300.0) && many)
    }

    /// The line was cut for all, and comes back for all.
    async fn comes_back(&mut self, arguments: &Arguments, printer: Printer) -> anyhow::Result<bool> {
        self.tasks.shutdown().await;
        let changes = arguments.changes as usize;
        printer.say(&format!("making {} changes", changes * self.speakers.len()));
        let frames = self.frames(changes)?;
        let (before, begun) = (self.process.usage()?, Instant::now());
        printer.say("all come back");
        for (speaker, (frame, last)) in self.speakers.iter().zip(frames) {
            self.tasks.spawn(returns(self.crowd.clone(), speaker.clone(), frame, last, SPREAD));
        }
        let (crowd_back, mut edits) = self.works_meanwhile(begun).await?;
        let accepted_s = crowd_back.as_secs_f64();
        printer.say(&format!("all accepted after {accepted_s:.1} s"));
        while self.store.read_now(|r| r.behind_count())? > 0 {
            ensure!(begun.elapsed() < PATIENCE, "not everything was folded in time");
            sleep(Duration::from_millis(200)).await;
        }
        let folded_s = begun.elapsed().as_secs_f64();
        let after = self.process.usage()?;
        Ok(self.came_back(arguments, printer, accepted_s, folded_s, &mut edits, (before, after)))
    }

    /// What each brings: a packed push, and the number of its last record. Numbers go on where each stopped.
    fn frames(&self, changes: usize) -> anyhow::Result<Vec<(Vec<u8>, u64)>> {
        let cores = std::thread::available_parallelism()?.get();
        let part = self.speakers.len().div_ceil(cores);
        let make = |speaker: &Arc<Speaker>| {
            let said = speaker.said.len() as u64;
            Ok((frame(speaker, said, changes)?, said + changes as u64))
        };
        std::thread::scope(|scope| {
            let parts = self
                .speakers
                .chunks(part)
                .map(|speakers| scope.spawn(move || speakers.iter().map(make).collect::<anyhow::Result<Vec<_>>>()));
            let parts: Vec<_> = parts.collect();
            let mut frames = Vec::new();
            for part in parts {
                frames.extend(part.join().ok().context("a thread panicked")??);
            }
            Ok(frames)
        })
    }

    /// One depot works on until all others are back; gives when they were, and how long each of its changes took.
    async fn works_meanwhile(&mut self, begun: Instant) -> anyhow::Result<(Duration, Vec<Duration>)> {
        let mut edits = Vec::new();
        let mut wire = None;
        for (n, (id, bytes)) in (1..).zip(&self.live.said) {
            let edited = Instant::now();
            // As long as it takes: what is tried again counts from its first try.
            loop {
                if let Some(open) = &mut wire
                    && self.live_push(open, n, *id, bytes.clone()).await.is_ok()
                {
                    break;
                }
                wire = self.wire().await.ok();
                ensure!(begun.elapsed() < PATIENCE, "not everything was taken in time");
            }
            edits.push(edited.elapsed());
            let next = tokio::time::Instant::from_std(edited + LIVE_EVERY);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = async { while self.tasks.join_next().await.is_some() {} } => return Ok((begun.elapsed(), edits)),
            }
        }
        bail!("the depot that works meanwhile has nothing left to say")
    }

    fn came_back(
        &self,
        arguments: &Arguments,
        printer: Printer,
        accepted_s: f64,
        folded_s: f64,
        edits: &mut [Duration],
        (before, after): (Usage, Usage),
    ) -> bool {
        let changes = arguments.changes as usize * self.speakers.len();
        let p99 = percentile_ms(edits, 99);
        printer.line(&json!({
            "bench": "fleet", "case": "all come back", "agents": self.speakers.len(), "changes": changes,
            "accepted_s": rounded(accepted_s), "folded_s": rounded(folded_s), "accepted_per_s": (changes as f64 / accepted_s).round(),
            "folded_per_s": (changes as f64 / folded_s).round(), "tried_again": self.crowd.failures.load(Ordering::Relaxed),
            "live_edits": edits.len(), "live_p50_ms": rounded(percentile_ms(edits, 50)), "live_p99_ms": rounded(p99),
            "hub_cpu_s": rounded(after.cpu_s - before.cpu_s), "hub_rss_peak_mb": rounded(after.rss_peak_mb),
        }));
        let aim = |what: &str, ours: f64, aim: &str, holds: bool| {
            let case =
                format!("{} agents come back with {} changes each: {what}", self.speakers.len(), arguments.changes);
            printer.aim(&Aim { bench: "fleet", case: &case, ours, peer: None, aim, holds })
        };
        let held = [
            aim("all accepted, s", accepted_s, "<= 300", accepted_s <= 300.0),
            aim("all folded, s", folded_s, "<= 300", folded_s <= 300.0),
            aim("a live edit meanwhile accepted, p99 ms", p99, "<= 500", p99 <= 500.0),
        ];
        held.into_iter().all(|holds| holds)
    }

    async fn wire(&self) -> anyhow::Result<Wire> {
        Wire::open(self.crowd.hub, source(self.live.n), &self.live.unit, &self.crowd.trust).await
    }

    async fn live_push(
        &self,
        wire: &mut Wire,
        n: u64,
        document: gatehouse_common::id::DocumentId,
        bytes: Vec<u8>,
    ) -> anyhow::Result<()> {
        let kind = gatehouse_common::id::DocumentKind::Case;
        let push = Push { outbox_epoch: 1, records: vec![(n, Upward::Chunk { document, kind, bytes })] };
        let reply: PushReply = wire.exchange(&self.live.unit, PUSH_PATH, &push, Duration::ZERO).await?;
        ensure!(reply.rejected.is_empty() && reply.taken_through == n, "a change was not let in");
        Ok(())
    }
}
