//! The one thread that writes.
//!
//! It takes the closures that wait, runs each under a savepoint, commits them together and only
//! then answers all of them. So an fsync serves many callers, and no answer precedes its commit.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use gatehouse_common::document::Actor;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::broadcast;
use tracing::error;

use super::{DocumentCache, Reader, StoreChange, StoreError, Tx};

/// Most closures in one commit.
const BATCH_MAX: usize = 256;
/// Longest that a commit collects closures.
const BATCH_TIME_MAX: Duration = Duration::from_millis(20);
/// Most closures that wait; callers beyond that wait in turn.
const WAITING_MAX: usize = 4096;
/// How often a transaction is begun before its work is given up; each try waits as long as the connection may.
const BEGIN_TRIES: u32 = 12;

/// What became of a commit.
type Commit = Result<(), (bool, String)>;
/// Answers a caller once the commit's fate is known.
type Answer = Box<dyn FnOnce(&Commit) + Send>;
/// A caller's work. False: it is to be undone.
type Job = Box<dyn FnOnce(&mut Tx<'_>) -> (bool, Answer) + Send>;

pub(super) struct Writer {
    jobs: SyncSender<Job>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    broken: AtomicBool,
    commits: AtomicU64,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        actor: Actor,
        changes: broadcast::Sender<StoreChange>,
    ) -> Result<Self, StoreError> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let thread = Thread { connection, actor, changes, state: state.clone(), cache: DocumentCache::default() };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread.run(&waiting))
            .map_err(|e| StoreError::NotWritten(e.to_string()))?;
        Ok(Self { jobs, state })
    }

    pub(super) fn submit<T, F>(
        &self,
        work: F,
        answer: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        if self.is_broken() {
            return Err(StoreError::Stopped);
        }
        let job: Job = Box::new(move |tx| {
            let result = work(tx);
            let answer: Answer = match result {
                Ok(value) => {
                    let answer: Answer = Box::new(move |commit| match commit {
                        Ok(()) => answer(Ok(value)),
                        Err((true, _)) => answer(Err(StoreError::Stopped)),
                        Err((false, why)) => answer(Err(StoreError::NotWritten(why.clone()))),
                    });
                    return (true, answer);
                }
                Err(refused) => Box::new(move |_| answer(Err(refused))),
            };
            (false, answer)
        });
        self.jobs.send(job).map_err(|_| StoreError::Stopped)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    pub(super) fn commits(&self) -> u64 {
        self.state.commits.load(Ordering::Relaxed)
    }
}

struct Thread {
    connection: Connection,
    actor: Actor,
    changes: broadcast::Sender<StoreChange>,
    state: Arc<State>,
    cache: DocumentCache,
}

impl Thread {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            if self.state.broken.load(Ordering::Acquire) {
                // The answer is dropped, which its caller reads as "stopped".
                continue;
            }
            if let Err(e) = self.batch(first, waiting) {
                error!(error = %e, "store cannot begin a transaction: {e}");
            }
        }
    }

    fn batch(&mut self, first: Job, waiting: &Receiver<Job>) -> Result<(), rusqlite::Error> {
        let started = Instant::now();
        self.begin()?;
        let mut answers = Vec::new();
        let mut changes = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            if let Some(answer) = self.one(job, &mut changes) {
                answers.push(answer);
            }
            // A full disk makes SQLite undo the whole transaction; going on would commit one by one.
            let undone = self.connection.is_autocommit();
            let go_on = !undone && answers.len() < BATCH_MAX && started.elapsed() < BATCH_TIME_MAX;
            next = if go_on { waiting.try_recv().ok() } else { None };
        }
        let commit = self.commit();
        if commit.is_err() {
            changes.clear();
        }
        // Before the answers: whoever was answered may rely on it that his change has been told.
        for change in changes {
            // Nobody listens: nobody waits.
            let _ = self.changes.send(change);
        }
        for answer in answers {
            answer(&commit);
        }
        Ok(())
    }

    /// Begins a transaction; waits while another program holds the file.
    fn begin(&self) -> Result<(), rusqlite::Error> {
        for tried in 1.. {
            match self.connection.execute_batch("BEGIN IMMEDIATE") {
                Err(e) if tried < BEGIN_TRIES && e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    error!(error = %e, "another program holds the store; everyone who writes waits: {e}");
                }
                ended => return ended,
            }
        }
        Ok(())
    }

    /// Runs one closure under a savepoint. None when it panicked: its caller then hears "stopped".
    fn one(&mut self, job: Job, changes: &mut Vec<StoreChange>) -> Option<Answer> {
        self.cache.trim();
        if let Err(e) = self.connection.execute_batch("SAVEPOINT one") {
            error!(error = %e, "store cannot begin a savepoint: {e}");
            return None;
        }
        let mut tx = Tx {
            reader: Reader { connection: &self.connection },
            actor: &self.actor,
            cache: &mut self.cache,
            changes: Vec::new(),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| job(&mut tx)));
        let said = std::mem::take(&mut tx.changes);
        let keep = matches!(outcome, Ok((true, _)));
        if keep {
            for change in said {
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
        } else {
            self.cache.forget_touched();
        }
        let end = if keep { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
        if let Err(e) = self.connection.execute_batch(end) {
            error!(error = %e, "store cannot end a savepoint: {e}");
        }
        match outcome {
            Ok((_, answer)) => Some(answer),
            Err(_) => {
                error!("a write panicked and was undone");
                None
            }
        }
    }

    fn commit(&mut self) -> Commit {
        if self.connection.is_autocommit() {
            self.cache = DocumentCache::default();
            error!("store undid a transaction; its disk may be full");
            return Err((false, "the transaction was undone; the disk may be full".to_owned()));
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => {
                self.state.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(e) => {
                // Whatever the closures left in memory describes a state that is not on disk.
                self.cache = DocumentCache::default();
                let _ = self.connection.execute_batch("ROLLBACK");
                // After a failed sync nobody knows what is on disk; only opening the file anew tells.
                let code = e.sqlite_error_code();
                let harmless = matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull));
                if !harmless {
                    self.state.broken.store(true, Ordering::Release);
                }
                error!(error = %e, "store could not commit: {e}");
                Err((!harmless, e.to_string()))
            }
        }
    }
}
