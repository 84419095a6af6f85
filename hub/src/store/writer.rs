//! The one thread that writes.
//!
//! It takes the closures that wait, runs each under a savepoint, commits them together and only
//! then answers all of them. So an fsync serves many callers, and no answer precedes its commit.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use gatehouse_common::document::Actor;
use tokio::sync::broadcast;
use tracing::{error, warn};

use super::{
    DocumentCache, Reader, StoreChange, StoreError, Tx, news,
    sql::{Connection, NotCommitted},
    turn::Turn,
};

/// Most closures in one commit.
const BATCH_MAX: usize = 256;
/// Longest that a commit collects closures.
const BATCH_TIME_MAX: Duration = Duration::from_millis(20);
/// Most closures that wait; callers beyond that wait in turn.
const WAITING_MAX: usize = 4096;
/// How long a turn is tried for before all who wait are told that nothing was written.
const TURN_WITHIN: Duration = Duration::from_secs(15);
/// How long a try that failed at once is followed by none.
const TURN_AGAIN: Duration = Duration::from_millis(250);

/// What became of a commit.
pub(super) type Commit = Result<(), (bool, String)>;
/// Answers a caller once the commit's fate is known.
pub(super) type Answer = Box<dyn FnOnce(&Commit) + Send>;
/// A caller's work, or without a transaction only its answer. False: it is to be undone.
pub(super) type Job = Box<dyn FnOnce(Option<&mut Tx<'_>>) -> (bool, Answer) + Send>;

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
        told_as: Option<String>,
        changes: broadcast::Sender<StoreChange>,
    ) -> Result<Self, StoreError> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let cache = DocumentCache::default();
        let thread = Thread { connection, actor, told_as, changes, state: state.clone(), cache, turns: None };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread.run(&waiting))
            .map_err(|e| StoreError::NotWritten(e.to_string()))?;
        Ok(Self { jobs, state })
    }

    /// What the thread is to do: `work`, and after its commit `answer`.
    pub(super) fn job<T, F>(work: F, answer: impl FnOnce(Result<T, StoreError>) + Send + 'static) -> Job
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        Box::new(move |tx| {
            let not_written = |commit: &Commit| match commit {
                Ok(()) | Err((true, _)) => StoreError::Stopped,
                Err((false, why)) => StoreError::NotWritten(why.clone()),
            };
            let answer: Answer = match tx.map(work) {
                Some(Ok(value)) => {
                    let answer: Answer = Box::new(move |commit| match commit {
                        Ok(()) => answer(Ok(value)),
                        lost => answer(Err(not_written(lost))),
                    });
                    return (true, answer);
                }
                Some(Err(refused)) => Box::new(move |_| answer(Err(refused))),
                None => Box::new(move |commit| answer(Err(not_written(commit)))),
            };
            (false, answer)
        })
    }

    /// Gives the thread a job, and blocks while too many wait.
    pub(super) fn submit(&self, job: Job) -> Result<(), StoreError> {
        if self.is_broken() {
            return Err(StoreError::Stopped);
        }
        self.jobs.send(job).map_err(|_| StoreError::Stopped)
    }

    /// Gives the thread a job, or gives it back while too many wait. For callers who must not block.
    pub(super) fn offer(&self, job: Job) -> Result<Option<Job>, StoreError> {
        if self.is_broken() {
            return Err(StoreError::Stopped);
        }
        match self.jobs.try_send(job) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(job)) => Ok(Some(job)),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Stopped),
        }
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
    /// The name by which other replicas know its turns; none if there are no others.
    told_as: Option<String>,
    changes: broadcast::Sender<StoreChange>,
    state: Arc<State>,
    cache: DocumentCache,
    /// How many turns there were after its own last one.
    turns: Option<i64>,
}

impl Thread {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            if self.state.broken.load(Ordering::Acquire) {
                // The answer is dropped, which its caller reads as "stopped".
                continue;
            }
            self.batch(first, waiting);
        }
    }

    /// Takes the turn; tries for a while when the store is away.
    fn take_turn(&mut self) -> Result<Turn, StoreError> {
        let until = Instant::now() + TURN_WITHIN;
        loop {
            let taken = match self.connection.begin_writing() {
                Ok(()) => Turn::take(&self.connection).inspect_err(|_| self.connection.give_up()),
                Err(e) => Err(e.into()),
            };
            match taken {
                Err(e) if self.told_as.is_some() && Instant::now() < until => {
                    warn!(error = %e, "the turn to write cannot be had for now: {e}");
                    std::thread::sleep(TURN_AGAIN);
                }
                taken => return taken,
            }
        }
    }

    fn batch(&mut self, first: Job, waiting: &Receiver<Job>) {
        let mut turn = match self.take_turn() {
            Ok(turn) => turn,
            Err(e) => {
                error!(error = %e, "store cannot begin a transaction: {e}");
                // All who wait are told at once; else each would wait as long as the first did.
                let refused = Err((false, e.to_string()));
                for job in std::iter::once(first).chain(waiting.try_iter()) {
                    job(None).1(&refused);
                }
                return;
            }
        };
        if self.turns != Some(turn.before) {
            // Someone else wrote since: what is in hand may be old.
            self.cache = DocumentCache::default();
        }
        let started = Instant::now();
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
        let commit = self.commit(&turn, &changes);
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
        let outcome = catch_unwind(AssertUnwindSafe(|| job(Some(&mut tx))));
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

    fn commit(&mut self, turn: &Turn, changes: &[StoreChange]) -> Commit {
        // Until the commit is known to be on disk, what the closures left in memory describes nothing.
        let cache = std::mem::take(&mut self.cache);
        self.turns = None;
        if self.connection.is_undone() {
            self.connection.give_up();
            error!("store undid a transaction; its disk may be full");
            return Err((false, "the transaction was undone; the disk may be full".to_owned()));
        }
        if let Err(e) = self.end_turn(turn, changes) {
            self.connection.give_up();
            error!(error = %e, "store could not end a turn: {e}");
            return Err((false, e.to_string()));
        }
        let (connection, told_as) = (&self.connection, self.told_as.as_deref());
        let settled = || told_as.map_or(Ok(false), |me| news::had(connection, me, turn.before + 1));
        match self.connection.commit(settled) {
            Ok(()) => {
                self.state.commits.fetch_add(1, Ordering::Relaxed);
                self.cache = cache;
                self.turns = Some(turn.before + 1);
                if self.told_as.is_some() {
                    news::hint(&self.connection);
                }
                Ok(())
            }
            Err(NotCommitted { is_lost, why }) => {
                if is_lost {
                    self.state.broken.store(true, Ordering::Release);
                }
                error!("store could not commit: {why}");
                Err((is_lost, why))
            }
        }
    }

    fn end_turn(&self, turn: &Turn, changes: &[StoreChange]) -> Result<(), StoreError> {
        turn.end(&self.connection)?;
        match &self.told_as {
            Some(me) => news::tell(&self.connection, me, turn.before + 1, changes),
            None => Ok(()),
        }
    }
}
