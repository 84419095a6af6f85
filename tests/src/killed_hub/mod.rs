//! A hub that is killed between any two of its steps, and one that is restored from a backup after that.
//!
//! In: at which call to the operating system it dies. Out: whether each release that depots told is at the ERP once,
//! what was acknowledged is kept, and nothing is stuck. Hub and agents are the real programs. Each session begins
//! from the same files, which a [`Script`] holds, and ends with the hub started again as it is.

pub mod calls;
pub mod depots;
pub mod known;
pub mod restoring;
pub mod session;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gatehouse_common::id::DecisionId;
use gatehouse_hub::store::Device;
use tempfile::TempDir;

use crate::erp_trial::releases;
use calls::{Calls, Kill, Stretch, only_watched, was_killed};
use depots::{DEPOTS, Depot};
use restoring::Restored;
use session::{AtKill, End, RELEASES, Seen, Session, now_s, open_erp};

/// The backup among the files of a script that has one.
pub const BACKUP: &str = "backup.db";
/// How long strace may take to write down the end of what it watched.
const WRITTEN_MAX: Duration = Duration::from_secs(10);

/// What every session begins from: depots with releases to tell, an ERP with their orders, and a hub.
pub struct Script {
    folder: TempDir,
    either: PathBuf,
    devices: Vec<Device>,
    decisions: Vec<DecisionId>,
}

/// How a session begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begin {
    /// Whether the hub has no store and no authority yet.
    pub is_first_start: bool,
    /// Whether the ERP cannot be asked what it has.
    pub is_blind: bool,
}

/// What came of a session in which the hub was to be killed.
#[derive(Debug)]
pub struct Played {
    /// Whether it was; else the session has no such call.
    pub is_killed: bool,
    /// Whether it had begun to answer before.
    pub was_up: bool,
    /// How things stood then, where it was killed while it worked.
    pub at_kill: Option<AtKill>,
    /// How it ended.
    pub end: End,
}

/// What was called in a session in which nobody was killed, and when the session got how far, in seconds since 1970.
#[derive(Debug)]
pub struct Rehearsed {
    trace: String,
    up: f64,
    acknowledged: f64,
    posted: f64,
    done: f64,
}

impl Rehearsed {
    /// The numbers of `calls` at which a hub is to be killed: so many from the start until it answers, from there
    /// until it acknowledged something, until the ERP had a posting, until everything was done, and while it ends.
    #[must_use]
    pub fn picked(&self, calls: &Calls, counts: [usize; 5]) -> Vec<Kill> {
        let turns = [0.0, self.up, self.acknowledged, self.posted, self.done, f64::INFINITY];
        let stretches: Vec<Stretch> =
            turns.windows(2).zip(counts).map(|(turn, count)| (turn[0], turn[1], count)).collect();
        let numbers = calls::picked(&calls.reached(&self.trace), &stretches);
        numbers.into_iter().map(|n| Kill { calls: *calls, n }).collect()
    }
}

impl Script {
    /// Writes one with a hub that has run once, knows the depots, and has heard nothing of them. `either` is hub and
    /// agent in one program.
    /// # Errors
    /// If something cannot be made or run.
    pub async fn write(either: &Path) -> anyhow::Result<Self> {
        let folder = new_folder()?;
        let now = releases::moment();
        let (mut devices, mut decisions) = (Vec::new(), Vec::new());
        for n in 0..DEPOTS.len() {
            let orders = (0..RELEASES).map(|order| order * DEPOTS.len() + n);
            let written = Depot::at(folder.path(), n, either).write(orders, &now)?;
            devices.push(written.device);
            decisions.extend(written.decisions);
        }
        releases::order(&open_erp(folder.path())?, RELEASES * DEPOTS.len(), &DEPOTS.map(|(_, site)| site))?;
        let session = Session::over(folder, either, false).await?;
        session.hubs.start(0).await?;
        list(&session, &devices).await?;
        ends_well(&session).await?;
        Ok(Self { folder: session.files(), either: either.to_owned(), devices, decisions })
    }

    /// Plays on until the first depot's releases are all done, and backs the hub up while it and the depot run.
    /// # Errors
    /// If something cannot be run.
    pub async fn backed_up(self) -> anyhow::Result<Self> {
        let session = Session::over(self.copy()?, &self.either, false).await?;
        let mut seen = session.looks()?;
        session.hubs.start(0).await?;
        session.depots_come_back(1).await?;
        ensure!(session.until_all_is_done(1, &mut seen).await?, "the hub was killed by somebody else");
        let backup = session.path().join(BACKUP).display().to_string();
        session.errand(&["backup", &backup]).await?;
        session.depots_go().await;
        ends_well(&session).await?;
        Ok(Self { folder: session.files(), ..self })
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A copy of its files, to be played with. Nothing has them open.
    fn copy(&self) -> anyhow::Result<TempDir> {
        let folder = new_folder()?;
        copy(self.folder.path(), folder.path())?;
        Ok(folder)
    }

    async fn begin(&self, begin: Begin) -> anyhow::Result<Session> {
        let folder = self.copy()?;
        if begin.is_first_start {
            for file in ["hub.db", "hub.db-wal", "hub.db-shm", "hub.seen", "hub.authority.pem"] {
                let file = folder.path().join(file);
                if file.exists() {
                    fs::remove_file(file)?;
                }
            }
        }
        Session::over(folder, &self.either, begin.is_blind).await
    }

    /// Plays a session in which nobody is killed, and has it written down.
    /// # Errors
    /// If it does not come to its end.
    pub async fn rehearsed(&self, begin: Begin) -> anyhow::Result<Rehearsed> {
        let session = self.begin(begin).await?;
        let log = session.path().join("trace");
        let mut seen = session.looks()?;
        ensure!(session.hubs.start_through(0, &only_watched(&log)).await?, "the hub ended by itself");
        let up = now_s();
        ensure!(self.goes_on(&session, begin, &mut seen).await?, "the hub was killed by somebody else");
        let done = now_s();
        session.depots_go().await;
        ends_well(&session).await?;
        let told = "the session had no such moment";
        let (acknowledged, posted) = (seen.acknowledged_at.context(told)?, seen.posted_at.context(told)?);
        Ok(Rehearsed { trace: whole_trace(&log).await?, up, acknowledged, posted, done })
    }

    /// The hub answers: the depots come back, and everything is brought to its end. False if the hub was killed
    /// meanwhile.
    async fn goes_on(&self, session: &Session, begin: Begin, seen: &mut Seen) -> anyhow::Result<bool> {
        if begin.is_first_start {
            list(session, &self.devices).await?;
        }
        session.depots_come_back(DEPOTS.len()).await?;
        session.until_all_is_done(DEPOTS.len(), seen).await
    }

    /// Plays a session in which the hub is killed at a call, and started again.
    /// # Errors
    /// If it does not come to its end, or the store is not sound.
    pub async fn played(&self, begin: Begin, kill: Kill) -> anyhow::Result<Played> {
        let told = || format!("killed at number {} of {}", kill.n, kill.calls.name);
        let session = self.begin(begin).await?;
        let mut seen = session.looks()?;
        let was_up = session.hubs.start_through(0, &kill.through(&session.path().join("trace"))).await?;
        let is_done = was_up && self.goes_on(&session, begin, &mut seen).await.with_context(told)?;
        if is_done {
            // It is killed while it ends, or not at all.
            session.depots_go().await;
        }
        let status = session.hubs.stop_one(0).await.context("the hub was never started")?;
        let is_killed = was_killed(status);
        ensure!(is_killed || status.success(), "{}: the hub ended with {status}", told());
        let mut at_kill = None;
        if is_killed {
            at_kill = Some(session.at_kill(&seen, &self.path().join("hub.db")).with_context(told)?);
            session.hubs.start(0).await.with_context(told)?;
            let is_done = match (was_up, is_done) {
                (false, _) => self.goes_on(&session, begin, &mut seen).await,
                (true, false) => session.until_all_is_done(DEPOTS.len(), &mut seen).await,
                // The depots have gone by then.
                (true, true) => session.until_all_is_done(0, &mut seen).await,
            };
            ensure!(is_done.with_context(told)?, "{}: killed once more, by nobody here", told());
        }
        let end = session.ends(&self.decisions).await.with_context(told)?;
        Ok(Played { is_killed, was_up, at_kill, end })
    }

    /// Plays a session in which the hub is killed at a call, its store is lost, and the backup is brought back by an
    /// errand that may be killed as well. The script must have a backup. `None` if the session has no such call.
    /// # Errors
    /// If it does not come to its end, or the store is not sound.
    pub async fn restored(&self, kill: Kill, errand: Option<Kill>) -> anyhow::Result<Option<Restored>> {
        let told = || format!("killed at number {} of {}", kill.n, kill.calls.name);
        let session = self.begin(Begin::default()).await?;
        let mut seen = session.looks()?;
        let was_up = session.hubs.start_through(0, &kill.through(&session.path().join("trace"))).await?;
        let is_done = was_up && self.goes_on(&session, Begin::default(), &mut seen).await.with_context(told)?;
        if is_done {
            return Ok(None);
        }
        let status = session.hubs.stop_one(0).await.context("the hub was never started")?;
        ensure!(was_killed(status), "{}: the hub ended with {status}", told());
        session.loses_its_store()?;
        let restoring = restoring::restore(&self.either, session.path(), errand).await.with_context(told)?;
        restoring::check(&self.either, session.path()).await.with_context(told)?;
        let forgotten = known::lacking(&seen.acknowledged, &known::by_hub(&session.store())?).len();
        session.hubs.start(0).await.with_context(told)?;
        let is_done = if was_up {
            session.until_all_is_done(DEPOTS.len(), &mut seen).await
        } else {
            self.goes_on(&session, Begin::default(), &mut seen).await
        };
        ensure!(is_done.with_context(told)?, "{}: killed once more, by nobody here", told());
        let end = session.ends(&self.decisions).await.with_context(told)?;
        Ok(Some(Restored { restoring, forgotten, end }))
    }

    /// Brings the backup back in a copy of the files, by an errand that may be killed, and reads the store over.
    /// # Errors
    /// If that is not what the backup holds.
    pub async fn brought_back(&self, errand: Option<Kill>) -> anyhow::Result<restoring::Restoring> {
        let folder = self.of_backup()?;
        let restoring = restoring::restore(&self.either, folder.path(), errand).await?;
        restoring::check(&self.either, folder.path()).await?;
        Ok(restoring)
    }

    /// What the errand that brings the backup back calls, from its beginning to its end.
    /// # Errors
    /// If it does not come to its end.
    pub async fn restore_rehearsed(&self) -> anyhow::Result<String> {
        let folder = self.of_backup()?;
        let log = folder.path().join("trace");
        let status = restoring::run(&self.either, folder.path(), &only_watched(&log)).await?;
        ensure!(status.success(), "the errand ended with {status}");
        whole_trace(&log).await
    }

    /// The control: the backup, or the first of so many `parts` of it, is copied to where the store should be, and
    /// read over as if an errand had brought it back.
    /// # Errors
    /// What is wrong with it.
    pub async fn copied_by_hand(&self, parts: usize) -> anyhow::Result<()> {
        let folder = self.of_backup()?;
        let backup = fs::read(self.path().join(BACKUP))?;
        fs::write(folder.path().join("hub.db"), &backup[..backup.len() / parts])?;
        restoring::check(&self.either, folder.path()).await
    }

    /// A folder with nothing but the backup.
    fn of_backup(&self) -> anyhow::Result<TempDir> {
        let folder = new_folder()?;
        fs::copy(self.path().join(BACKUP), folder.path().join(BACKUP))?;
        Ok(folder)
    }
}

/// Lists the depots at the hub, which runs.
async fn list(session: &Session, devices: &[Device]) -> anyhow::Result<()> {
    for Device { device, public_key, sites, .. } in devices {
        let (key, kind) = (public_key.to_string(), "gateway");
        let add = ["device", "add", "--id", device.as_str(), "--public-key", &key, "--kind", kind];
        session.errand(&[&add[..], &["--site", sites[0].as_str()]].concat()).await?;
    }
    Ok(())
}

/// Asks the hub to end, which it must do by itself.
async fn ends_well(session: &Session) -> anyhow::Result<()> {
    let status = session.hubs.stop_one(0).await.context("the hub was never started")?;
    ensure!(status.success(), "the hub ended with {status}");
    Ok(())
}

fn new_folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("gatehouse-kills-").tempdir()?)
}

/// Copies a folder without what was logged in it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for file in fs::read_dir(from)? {
        let (file, name) = file.map(|file| (file.path(), file.file_name()))?;
        let to = to.join(name);
        if file.is_dir() {
            fs::create_dir(&to)?;
            copy(&file, &to)?;
        } else if file.extension().is_none_or(|ending| ending != "log") {
            fs::copy(&file, &to)?;
        }
    }
    Ok(())
}

/// What strace wrote of a program that has ended: it stands aside, and may need a moment more.
async fn whole_trace(log: &Path) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let trace = fs::read_to_string(log).unwrap_or_default();
        if trace.lines().last().is_some_and(|line| line.contains("+++ exited with")) {
            return Ok(trace);
        }
        ensure!(begun.elapsed() < WRITTEN_MAX, "strace did not write down the end:\n{trace}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
