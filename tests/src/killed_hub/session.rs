//! One session: a hub, its ERP and depots that come back, in a folder of its own.
//!
//! In: the files that a [`Script`](super::Script) wrote. Out: whether everything came to its end, and what the ERP,
//! the hub and the depots then hold. The hub is a program of its own and may be killed at any time; everything else
//! goes on.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use gatehouse_common::id::DecisionId;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    calls::was_killed,
    depots::{DEPOTS, Depot},
    known::{self, Known},
};
use crate::{
    demo::programs::Program,
    erp_trial::{
        hubs::{Ground, HubProgram, Hubs, Pace},
        judge::{HubSays, Verdict, judge},
        keys_of,
    },
    standin::{
        erp::{Erp, ErpOptions, Faults},
        weather::{Chances, Weather},
        wire,
    },
};

/// Releases of each depot. So many that their push is taken in more than one commit.
pub const RELEASES: usize = 4;
/// What may be on its way to the ERP is waited for so long: an ERP in this process has taken in by then what was sent
/// to it, also on a machine that is busy.
const PACE: Pace = Pace { at_once: 2, answer_within_ms: 1_500, doubt_ms: 3_000, poll_ms: 300 };
/// Longest wait for the end of a session.
const END_MAX: Duration = Duration::from_secs(90);
/// How often it is looked whether that has come.
const LOOK: Duration = Duration::from_millis(20);
/// Between the depots' returns.
const APART: Duration = Duration::from_millis(300);
/// What left the hub before it was killed has arrived after so long.
const ARRIVED: Duration = Duration::from_millis(100);

/// Seconds since 1970, as strace writes them.
pub(super) fn now_s() -> f64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Each answer to a posting takes its time, so that a hub can be killed before it.
fn weather(is_blind: bool) -> Chances {
    Chances {
        hangs_after: 0,
        resets_after: 0,
        fails_after: 0,
        fails_before: 0,
        resets_before: 0,
        late: 0,
        late_ms: 0,
        slow: 1_000,
        slow_ms: 80,
        reads: 0,
        refused: 0,
        is_blind,
    }
}

/// What was seen while a session went on.
#[derive(Debug, Default)]
pub struct Seen {
    /// What the depots were told, at any time, that the hub has taken.
    pub acknowledged: Known,
    /// When the first of it came that was new in this session, in seconds since 1970.
    pub acknowledged_at: Option<f64>,
    /// When the ERP applied its first posting that was new.
    pub posted_at: Option<f64>,
    told_before: usize,
    posted_before: usize,
}

/// How things stood when the hub was killed.
#[derive(Debug)]
pub struct AtKill {
    /// What was acknowledged and is not in the store that the hub left.
    pub lost: Vec<String>,
    /// How much was acknowledged by then.
    pub acknowledged: usize,
    /// Of it, what was not in the store that the session began with.
    pub new: usize,
    /// Postings that the ERP has, and the hub has not recorded.
    pub unrecorded: usize,
}

/// What came of a session.
#[derive(Debug)]
pub struct End {
    /// What the ERP's log and the hub say.
    pub verdict: Verdict,
    /// What of the depots' words the hub did not let in.
    pub refused: Vec<String>,
    /// What a depot holds and the hub does not.
    pub lacking: Vec<String>,
}

impl End {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.refused.is_empty() && self.lacking.is_empty()
    }
}

/// A session that is set up.
pub struct Session {
    folder: TempDir,
    either: PathBuf,
    /// The hub.
    pub hubs: Hubs,
    depots: Vec<Depot>,
    _erp: Served,
}

/// An ERP that is served until this is dropped.
struct Served(JoinHandle<std::io::Result<()>>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A file that SQLite keeps beside its own.
fn with(store: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", store.display()))
}

/// The books of the ERP in `folder`, as they were left.
/// # Errors
/// If they cannot be read.
pub fn open_erp(folder: &Path) -> anyhow::Result<Erp> {
    Ok(Erp::open(ErpOptions {
        token: Hubs::token(),
        state: Some(folder.join("erp.jsonl")),
        effects_log: Some(folder.join("effects.jsonl")),
        faults: Faults { reset_after_apply: 0, ..Faults::default() },
        ..ErpOptions::default()
    })?)
}

impl Session {
    /// Sets one up over the files in `folder`. `either` is hub and agent in one program; an ERP that is blind cannot be
    /// asked what it has.
    /// # Errors
    /// If it cannot be set up.
    pub async fn over(folder: TempDir, either: &Path, is_blind: bool) -> anyhow::Result<Self> {
        let erp = open_erp(folder.path())?;
        let (weather, _) = Weather::new(weather(is_blind), 1, 1);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let door = listener.local_addr()?;
        let erp = Served(tokio::spawn(wire::serve(listener, weather.over(erp.router(), 0))));
        let hub = HubProgram { path: either.to_owned(), first: vec!["hub".to_owned()] };
        let hubs = Hubs::set_up(folder.path(), &hub, &Ground::Sqlite, &[door], PACE)?;
        let depots = (0..DEPOTS.len()).map(|n| Depot::at(folder.path(), n, either)).collect();
        Ok(Self { folder, either: either.to_owned(), hubs, depots, _erp: erp })
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The hub's store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path().join("hub.db")
    }

    /// Does an errand of the hub; gives what it printed.
    /// # Errors
    /// If it goes wrong; the message holds what it said.
    pub async fn errand(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let database = self.hubs.database();
        let mut all = vec!["hub"];
        all.extend_from_slice(arguments);
        all.extend(["--database", database.as_str()]);
        Program::ask(&self.either, &all, None).await
    }

    /// The first `count` depots come back, one after the other.
    /// # Errors
    /// If one cannot be started.
    pub async fn depots_come_back(&self, count: usize) -> anyhow::Result<()> {
        for (n, depot) in self.depots.iter().take(count).enumerate() {
            if n > 0 {
                tokio::time::sleep(APART).await;
            }
            depot.comes_back(self.hubs.address(0), &self.hubs.key.public()).await?;
        }
        Ok(())
    }

    /// All depots go.
    pub async fn depots_go(&self) {
        for depot in &self.depots {
            depot.goes().await;
        }
    }

    /// What has been seen before anything goes on.
    /// # Errors
    /// If a store or the ERP's log cannot be read.
    pub fn looks(&self) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        self.sees(&mut seen)?;
        let (told_before, posted_before) = (seen.acknowledged.len(), self.posted()?.len());
        Ok(Seen { acknowledged: seen.acknowledged, told_before, posted_before, ..Seen::default() })
    }

    fn sees(&self, seen: &mut Seen) -> anyhow::Result<()> {
        for depot in &self.depots {
            seen.acknowledged.extend(depot.acknowledged()?);
        }
        if seen.acknowledged.len() > seen.told_before {
            seen.acknowledged_at.get_or_insert_with(now_s);
        }
        if self.posted()?.len() > seen.posted_before {
            seen.posted_at.get_or_insert_with(now_s);
        }
        Ok(())
    }

    fn posted(&self) -> anyhow::Result<Vec<String>> {
        keys_of(&self.path().join("effects.jsonl"))
    }

    /// Waits until everything that the first `count` depots have is told, at the hub, and at the ERP; false if the
    /// hub was killed before. The agents of these depots run.
    /// # Errors
    /// If it takes too long; the message says what is lacking, and holds the end of each log.
    pub async fn until_all_is_done(&self, count: usize, seen: &mut Seen) -> anyhow::Result<bool> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.hubs.ended(0).await {
                ensure!(was_killed(status), "the hub ended with {status}\n{}", self.logs());
                tokio::time::sleep(ARRIVED).await;
                self.sees(seen)?;
                return Ok(false);
            }
            for depot in self.depots.iter().take(count) {
                if let Some(why) = depot.has_ended().await {
                    bail!("{why}\n{}", self.logs());
                }
            }
            self.sees(seen)?;
            let Some(lacking) = self.is_lacking(count)? else { return Ok(true) };
            ensure!(begun.elapsed() < END_MAX, "after {END_MAX:?}: {lacking}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is not done yet.
    fn is_lacking(&self, count: usize) -> anyhow::Result<Option<String>> {
        for depot in self.depots.iter().take(count) {
            let waiting = depot.waiting()?;
            if waiting > 0 {
                return Ok(Some(format!("{waiting} records of a depot are still to be told")));
            }
        }
        let (posted, releases) = (self.posted()?.len(), count * RELEASES);
        if posted < releases {
            return Ok(Some(format!("the ERP has {posted} postings of {releases}")));
        }
        let store = self.store();
        let looked = || -> rusqlite::Result<(u64, u64, Known)> {
            let settled = "SELECT count(*) FROM postings WHERE state IN ('applied', 'dead')";
            let behind = "SELECT count(*) FROM documents WHERE last_chunk > folded_through";
            Ok((known::number(&store, settled)?, known::number(&store, behind)?, known::by_hub(&store)?))
        };
        // A store that is just being made or opened cannot be read for a moment.
        let (settled, behind, by_hub) = match looked() {
            Ok(looked) => looked,
            Err(error) => return Ok(Some(format!("the hub's store cannot be read: {error}"))),
        };
        if settled < releases as u64 || behind > 0 {
            return Ok(Some(format!(
                "{settled} postings of {releases} are settled, {behind} documents are not folded"
            )));
        }
        let lacking = known::lacking(&self.held(count)?, &by_hub);
        Ok((!lacking.is_empty()).then(|| format!("the hub has not got back {lacking:?}")))
    }

    /// What the first `count` depots hold.
    fn held(&self, count: usize) -> anyhow::Result<Known> {
        let mut held = Known::new();
        for depot in self.depots.iter().take(count) {
            held.extend(depot.holds()?);
        }
        Ok(held)
    }

    /// Looks at what the killed hub left, in a copy: whoever opens the store itself would bring it into order before
    /// the hub does. `before` is the store that the session began with.
    /// # Errors
    /// If it cannot be copied.
    pub fn at_kill(&self, seen: &Seen, before: &Path) -> anyhow::Result<AtKill> {
        let (store, copy) = (self.store(), self.path().join("at-kill.db"));
        for ending in ["", "-wal", "-journal"] {
            let file = with(&store, ending);
            if file.exists() {
                std::fs::copy(file, with(&copy, ending))?;
            }
        }
        // One that was killed while it made its store has acknowledged nothing.
        let left = known::by_hub(&copy).unwrap_or_default();
        let applied = "SELECT key FROM postings WHERE state = 'applied'";
        let recorded: BTreeSet<String> = known::texts(&copy, applied).unwrap_or_default();
        let posted: BTreeSet<String> = self.posted()?.into_iter().collect();
        let began = known::by_hub(before).unwrap_or_default();
        Ok(AtKill {
            lost: known::lacking(&seen.acknowledged, &left),
            acknowledged: seen.acknowledged.len(),
            new: known::lacking(&seen.acknowledged, &began).len(),
            unrecorded: posted.difference(&recorded).count(),
        })
    }

    /// Ends the hub, reads its store over, and judges.
    /// # Errors
    /// If the store is not sound, or cannot be read.
    pub async fn ends(&self, decisions: &[DecisionId]) -> anyhow::Result<End> {
        self.depots_go().await;
        if let Some(status) = self.hubs.stop_one(0).await {
            ensure!(status.success(), "the hub ended with {status}\n{}", self.logs());
        }
        self.errand(&["verify"]).await.context("the hub's store is not sound")?;
        let of = decisions.to_vec();
        let says = self.hubs.look(move |store| Ok(HubSays::read(store, &of)?)).await?;
        let mut refused = Vec::new();
        for depot in &self.depots {
            refused.extend(depot.refused()?);
        }
        let lacking = known::lacking(&self.held(DEPOTS.len())?, &known::by_hub(&self.store())?);
        Ok(End { verdict: judge(decisions, &self.posted()?, &says), refused, lacking })
    }

    /// The hub's store is lost with its disk.
    /// # Errors
    /// If it cannot be removed.
    pub fn loses_its_store(&self) -> anyhow::Result<()> {
        let store = self.store();
        for file in ["", "-wal", "-shm", "-journal"].map(|ending| with(&store, ending)) {
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// The session is over; its files stay.
    #[must_use]
    pub fn files(self) -> TempDir {
        self.folder
    }

    /// The end of each log.
    fn logs(&self) -> String {
        let mut logs = String::new();
        for name in ["hub-0", DEPOTS[0].0, DEPOTS[1].0] {
            let text = std::fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            logs.push_str(&format!("-- {name}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n")));
        }
        logs
    }
}
