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
use tokio::sync::broadcast;
use tracing::error;

use super::{
    DocumentCache, Reader, StoreChange, StoreError, Tx,
    sql::{Connection, NotCommitted},
    turn::Turn,
};

/// Most closures in one commit.
const BATCH_MAX: usize = 256;
/// Longest that a commit collects closures.
const BATCH_TIME_MAX: Duration = Duration::from_millis(20);
/// Most closures that wait; callers beyond that wait in turn.
const WAITING_MAX: usize = 4096;

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

    fn batch(&mut self, first: Job, waiting: &Receiver<Job>) -> Result<(), StoreError> {
        let started = Instant::now();
        self.connection.begin_writing()?;
        let mut turn = match Turn::take(&self.connection) {
            Ok(turn) => turn,
            Err(e) => {
                self.connection.give_up();
                return Err(e);
            }
        };
        let mut answers = Vec::new();
        let mut changes = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            if let Some(answer) = self.one(job, &mut turn, &mut changes) {
                answers.push(answer);
            }
            // Going on after the engine undid everything would commit one by one.
            let undone = self.connection.is_undone();
            let go_on = !undone && answers.len() < BATCH_MAX && started.elapsed() < BATCH_TIME_MAX;
            next = if go_on { waiting.try_recv().ok() } else { None };
        }
        let commit = self.commit(&turn);
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

    /// Runs one closure under a savepoint. None when it panicked: its caller then hears "stopped".
    fn one(&mut self, job: Job, turn: &mut Turn, changes: &mut Vec<StoreChange>) -> Option<Answer> {
        self.cache.trim();
        if let Err(e) = self.connection.savepoint() {
            error!(error = %e, "store cannot begin a savepoint: {e}");
            return None;
        }
        let before = *turn;
        let mut tx = Tx {
            reader: Reader { sql: &self.connection },
            actor: &self.actor,
            turn,
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
            *turn = before;
            self.cache.forget_touched();
        }
        if let Err(e) = self.connection.end_savepoint(keep) {
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

    fn commit(&mut self, turn: &Turn) -> Commit {
        if self.connection.is_undone() {
            self.cache = DocumentCache::default();
            error!("store undid a transaction; its disk may be full");
            return Err((false, "the transaction was undone; the disk may be full".to_owned()));
        }
        if let Err(e) = turn.end(&self.connection) {
            self.cache = DocumentCache::default();
            self.connection.give_up();
            error!(error = %e, "store could not end a turn: {e}");
            return Err((false, e.to_string()));
        }
        match self.connection.commit() {
            Ok(()) => {
                self.state.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(NotCommitted { is_lost, why }) => {
                // Whatever the closures left in memory describes a state that is not on disk.
                self.cache = DocumentCache::default();
                if is_lost {
                    self.state.broken.store(true, Ordering::Release);
                }
                error!("store could not commit: {why}");
                Err((is_lost, why))
            }
        }
    }
}
