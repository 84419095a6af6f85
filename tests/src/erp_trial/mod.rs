//! The trial of postings: thousands of releases to an ERP that loses answers, by hubs that are killed.
//!
//! In: how many releases, the weather, and where the hub keeps its store. Out: a [`Verdict`] from the ERP's own log.
//! The ERP honours no keys. The hub is the real program; it is killed between send and record, at moments drawn by
//! chance and at moments when the ERP has just applied a posting, and its other process goes on.

pub mod hubs;
pub mod judge;
pub mod releases;
#[path = "../../../hub/src/store/contract/server.rs"]
#[expect(clippy::unwrap_used, reason = "a server that cannot be started is a failed trial")]
pub mod server;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gatehouse_common::id::DecisionId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::{net::TcpListener, sync::mpsc::UnboundedReceiver};

use crate::standin::{
    erp::{Erp, ErpOptions, Faults},
    weather::{Chances, Weather},
    wire,
};
use hubs::{Ground, HubProgram, Hubs, Pace};
use judge::{HubSays, Verdict, judge};

/// The hub's processes.
const HUBS: usize = 2;
/// How long a strike is waited for before the hub is killed at any moment instead.
const STRIKE_MAX: Duration = Duration::from_secs(5);

/// One trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// How many releases.
    pub releases: usize,
    /// Draws the weather and the kills.
    pub seed: u64,
    /// The weather.
    pub chances: Chances,
    /// Where the hub keeps its store.
    pub ground: Ground,
    /// How postings are tried.
    pub pace: Pace,
    /// Shortest and longest time between two kills.
    pub kill_every: (Duration, Duration),
    /// How long it may take.
    pub within: Duration,
}

/// What came of a trial.
#[derive(Debug, Serialize)]
pub struct Told {
    /// What the ERP's log and the hub say.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whether the judge finds a line that is taken out of the log, and one that is written twice.
    pub judge_is_awake: bool,
    /// How often a process was killed.
    pub kills: u64,
    /// How many of those kills came between sending a posting and recording what came of it.
    pub kills_between_send_and_record: u64,
    /// What befell requests, by name.
    pub weather: BTreeMap<&'static str, u64>,
    /// One of the reasons in the dead letters.
    pub a_reason: Option<String>,
    /// Seconds from the first start to the last posting.
    pub seconds: f64,
    /// Postings settled each second, kills and waits included.
    pub rate_per_second: f64,
}

/// Runs a trial in an empty folder.
/// # Errors
/// If something cannot be run, or it is not over in time.
pub async fn run(trial: &Trial, program: &HubProgram, folder: &Path) -> anyhow::Result<Told> {
    let log = folder.join("effects.jsonl");
    let erp = Erp::open(ErpOptions {
        token: Hubs::token(),
        effects_log: Some(log.clone()),
        honour_keys: false,
        faults: Faults { reset_after_apply: 0, ..Faults::default() },
        ..ErpOptions::default()
    })?;
    releases::order(&erp, trial.releases, &["D1"])?;
    let (weather, strikes) = Weather::new(trial.chances, trial.seed, HUBS);
    let mut doors: Vec<SocketAddr> = Vec::new();
    for door in 0..HUBS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        doors.push(listener.local_addr()?);
        tokio::spawn(wire::serve(listener, weather.over(erp.router(), door)));
    }
    let hubs = Hubs::set_up(folder, program, &trial.ground, &doors, trial.pace)?;
    let (key, count) = (hubs.key.clone(), trial.releases);
    let decisions = hubs.with_store(move |store| releases::tell(&store, &key, count)).await?;

    let begun = Instant::now();
    let mut killer = Killer {
        hubs: &hubs,
        weather: &weather,
        strikes,
        dice: StdRng::seed_from_u64(trial.seed),
        kill_every: trial.kill_every,
        kills: 0,
        between: 0,
    };
    let settled = tokio::time::timeout(trial.within, async {
        tokio::select! {
            killed = killer.works() => killed,
            settled = all_settled(&hubs, trial.releases) => settled,
        }
    });
    let settled = settled.await;
    let seconds = begun.elapsed().as_secs_f64();
    let (kills, between) = (killer.kills, killer.between);
    hubs.stop().await;
    match settled {
        Ok(settled) => settled?,
        Err(_) => {
            let counts = hubs.look(|store| Ok(store.read_now(|r| r.posting_counts())?)).await?;
            bail!("not settled after {:?}: {counts:?} of {}", trial.within, trial.releases);
        }
    }

    let of = decisions.clone();
    let says = hubs.look(move |store| Ok(HubSays::read(store, &of)?)).await?;
    let keys = keys_of(&log)?;
    let verdict = judge(&decisions, &keys, &says);
    let settled = u32::try_from(verdict.once + verdict.dead_letters + verdict.doubled)?;
    let a_reason =
        says.postings.values().filter(|posting| posting.applied_at.is_none()).find_map(|p| p.last_error.clone());
    Ok(Told {
        judge_is_awake: is_awake(&decisions, &keys, &says),
        verdict,
        kills,
        kills_between_send_and_record: between,
        weather: weather.counts(),
        a_reason,
        seconds,
        rate_per_second: f64::from(settled) / seconds,
    })
}

/// Whether the judge finds what is planted in a log.
fn is_awake(decisions: &[DecisionId], keys: &[String], says: &HubSays) -> bool {
    let Some((first, rest)) = keys.split_first() else { return false };
    let doubled: Vec<String> = keys.iter().chain([first]).cloned().collect();
    let (lost, doubled) = (judge(decisions, rest, says), judge(decisions, &doubled, says));
    // Where the log has doubles anyway, taking one line out of it may lose nothing.
    (lost.missing > 0 || rest.contains(first)) && doubled.doubled > 0
}

/// The key of each line of the ERP's log.
/// # Errors
/// If it cannot be read.
pub fn keys_of(log: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let key = |line: &str| {
        let effect: serde_json::Value = serde_json::from_str(line)?;
        Ok(effect["reference"].as_str().context("an effect has a reference")?.to_owned())
    };
    text.lines().map(key).collect()
}

/// Waits until every posting is applied or waits for a person.
async fn all_settled(hubs: &Hubs, releases: usize) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let counts = hubs.look(|store| Ok(store.read_now(|r| r.posting_counts())?)).await?;
        let settled: u64 =
            counts.iter().filter(|(state, _)| state == "applied" || state == "dead").map(|(_, n)| n).sum();
        if settled >= releases as u64 {
            return Ok(());
        }
    }
}

struct Killer<'a> {
    hubs: &'a Hubs,
    weather: &'a Weather,
    strikes: UnboundedReceiver<usize>,
    dice: StdRng,
    kill_every: (Duration, Duration),
    kills: u64,
    between: u64,
}

impl Killer<'_> {
    /// Starts the hub, kills it and lets its other process go on, until dropped.
    async fn works(&mut self) -> anyhow::Result<()> {
        self.hubs.start(0).await?;
        if self.hubs.are_replicas() {
            self.hubs.start(1).await?;
        }
        let mut serving = 0;
        // What is tried are postings: the hub reads its orders in peace.
        while (0..HUBS).all(|door| self.weather.under_way(door) == 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        loop {
            let wait = self.dice.random_range(self.kill_every.0..=self.kill_every.1);
            tokio::time::sleep(wait).await;
            let victim = self.next_victim(serving).await?;
            // Those that came in and are not answered were sent, and nothing of them is recorded.
            let is_between = self.weather.under_way(victim) > 0;
            self.hubs.kill(victim).await;
            self.kills += 1;
            self.between += u64::from(is_between);
            tokio::time::sleep(Duration::from_millis(self.dice.random_range(0..300))).await;
            // A file has one hub at a time: the other process takes the turn.
            serving = if self.hubs.are_replicas() { victim } else { (victim + 1) % HUBS };
            self.hubs.start(serving).await?;
        }
    }

    /// Who is killed now: half of the time whoever has just been served, else any at any moment.
    async fn next_victim(&mut self, serving: usize) -> anyhow::Result<usize> {
        let running = if self.hubs.are_replicas() { self.dice.random_range(0..HUBS) } else { serving };
        if let Some(why) = self.hubs.has_ended(running).await {
            bail!("{why}: nobody ended it");
        }
        if self.dice.random_bool(0.5) {
            self.weather.arm();
            if let Ok(Some(struck)) = tokio::time::timeout(STRIKE_MAX, self.strikes.recv()).await {
                return Ok(struck);
            }
            self.weather.disarm();
        }
        Ok(running)
    }
}
