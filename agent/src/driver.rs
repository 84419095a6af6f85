//! Decide, commit, act: the one thread that owns the core and the writing half of the store.
//!
//! In: inputs from a bounded queue, and time. Out: effects, after the commit they belong to.
//! [`step`] is the whole of it without threads; [`Driver`] runs it.

mod handle;
mod start;
mod upkeep;

use std::{collections::HashMap, sync::Arc, time::Duration};

use gatehouse_common::id::{DocumentKind, Hash32, ReadingId};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tracing::{error, warn};

pub use handle::{Ended, Handle, QUEUE_MAX, Queued};
pub use start::load;
use upkeep::Upkeep;
pub use upkeep::forget;

use crate::{
    clock::Clock,
    core::{
        Core,
        decision::{Change, Decision, Effect, Record, TapDone, TapRefused},
        input::{Input, Receipt},
    },
    meters::{Holdup, Meters},
    pace::{Pace, QUIET, is_urgent},
    store::{Before, Store, StoreError, kind_of},
};
use gatehouse_common::time::Moment;

/// Most inputs in one transaction.
const BATCH_MAX: usize = 512;
/// How soon a batch that the store refused is tried again, in real time.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// What a [`step`] leaves to be done, now that everything is on disk.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be done, in order.
    pub effects: Vec<Effect>,
    /// Answers to taps, by their place among the inputs.
    pub answers: Vec<(usize, Result<TapDone, TapRefused>)>,
}

/// Looks up repeats, decides, commits all in one transaction, and hands back the effects.
///
/// After a failed commit the core stands where the store stands, so the same inputs may be given again.
/// # Errors
/// [`StoreError`]; nothing was written and no effect may happen. If it is not passing, this core and this store are at
/// an end: what SQLite and the disk hold may differ, and only a new start finds out.
pub fn step(core: &mut Core, store: &mut Store, now: &Moment, inputs: &[Input]) -> Result<Outcome, StoreError> {
    let mut records = Vec::new();
    let mut outcome = Outcome::default();
    let changes_rules = |input: &Input| matches!(input, Input::Tap(tap) if tap.act.changes_rules());
    let before = inputs.iter().any(changes_rules).then(|| core.profile().clone());
    let decided = decide(core, store, now, inputs, &mut records, &mut outcome);
    core.settle(&mut records);
    if !records.is_empty() {
        records.extend(core.stamp(now));
    }
    let committed = decided.and_then(|()| if records.is_empty() { Ok(()) } else { store.commit(&records) });
    if let Err(refused) = committed {
        let profile = before.unwrap_or_else(|| core.profile().clone());
        let again = Core::load(profile, store.snapshot().map_err(StoreError::lasting)?);
        let is_left_out = again.unread().iter().any(|(_, kind)| *kind == DocumentKind::Dispatch);
        if is_left_out || again.lacking().is_some() {
            // Without it goods could leave a second time. A new start makes it of its changes, or says that it cannot.
            let what = "a dispatch cannot be read any more".to_owned();
            return Err(StoreError::Damaged { path: store.path().to_owned(), what });
        }
        *core = again;
        return Err(refused);
    }
    Ok(outcome)
}

fn decide(
    core: &mut Core,
    store: &Store,
    now: &Moment,
    inputs: &[Input],
    records: &mut Vec<Record>,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    // Repeats inside the batch are not in the store yet.
    let mut fresh: HashMap<(&str, &ReadingId), Hash32> = HashMap::new();
    for (place, input) in inputs.iter().enumerate() {
        if let Input::Reading { reading, receipt } = input {
            let before = match fresh.get(&(reading.source.as_str(), &reading.id)) {
                Some(hash) if *hash == reading.payload_hash => Some(Before::Repeat),
                Some(_) => Some(Before::Conflict),
                None => store.before(&reading.source, &reading.id, &reading.payload_hash)?,
            };
            if let Some(before) = before {
                records.push(match before {
                    Before::Repeat => Record::Duplicate,
                    Before::Conflict => conflict(reading, now),
                });
                acknowledge(outcome, *receipt);
                continue;
            }
            fresh.insert((reading.source.as_str(), &reading.id), reading.payload_hash);
        }
        let Decision { records: more, effects, answer } = core.take(now, input.clone());
        records.extend(more);
        outcome.effects.extend(effects);
        if let Some(answer) = answer {
            outcome.answers.push((place, answer));
        }
    }
    Ok(())
}

fn acknowledge(outcome: &mut Outcome, receipt: Option<Receipt>) {
    outcome.effects.extend(receipt.map(|r| Effect::Acknowledge(vec![r])));
}

fn reading_kind(input: &Input) -> Option<&'static str> {
    match input {
        Input::Reading { reading, .. } => Some(kind_of(&reading.value)),
        _ => None,
    }
}

fn conflict(reading: &gatehouse_common::reading::Reading, now: &Moment) -> Record {
    let body = serde_json::to_vec(&reading.value).unwrap_or_default();
    Record::Quarantine {
        topic: reading.source.clone(),
        reason: format!("reading {} of {} came before with another payload", reading.id, reading.source),
        payload_hash: reading.payload_hash,
        size: body.len() as u64,
        head: body.into_iter().take(256).collect(),
        at: now.wall,
        conflict: true,
    }
}

/// The driver's thread.
#[derive(Debug)]
pub struct Driver {
    ended: oneshot::Receiver<Result<(), StoreError>>,
    thread: std::thread::JoinHandle<()>,
}

impl Driver {
    /// Starts the thread. Receipts of committed messages go to `acknowledged`.
    /// # Errors
    /// The operating system's, when it gives no thread.
    pub fn start(
        core: Core,
        store: Store,
        clock: Clock,
        acknowledged: mpsc::UnboundedSender<Vec<Receipt>>,
    ) -> std::io::Result<(Self, Handle)> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (changes, _) = broadcast::channel(1024);
        let (push, _) = tokio::sync::watch::channel(0);
        let meters = Arc::<Meters>::default();
        let hurry = Arc::<Notify>::default();
        let handle = Handle {
            queue,
            changes: changes.clone(),
            push: push.clone(),
            meters: meters.clone(),
            hurry: hurry.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (end, ended) = oneshot::channel();
        let running = Running {
            core,
            store,
            clock,
            acknowledged,
            waiting,
            changes,
            push,
            meters,
            hurry,
            pace: Pace::default(),
            look_at: None,
            upkeep: Upkeep::default(),
        };
        let thread = std::thread::Builder::new().name("driver".to_owned()).spawn(move || {
            // Nobody may be left to hear how it ended.
            let _ = end.send(runtime.block_on(running.run()));
        })?;
        Ok((Self { ended, thread }, handle))
    }

    /// Waits until the thread has ended: every [`Handle`] is gone, or the store failed for good.
    /// # Errors
    /// [`StoreError`], for which the agent stops.
    pub async fn ended(self) -> Result<(), StoreError> {
        let ended = self.ended.await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match (ended, joined) {
            (Ok(result), Ok(Ok(()))) => result,
            _ => Err(StoreError::Unusable { path: "store".into(), what: "the driver's thread panicked".to_owned() }),
        }
    }
}

struct Running {
    core: Core,
    store: Store,
    clock: Clock,
    acknowledged: mpsc::UnboundedSender<Vec<Receipt>>,
    waiting: mpsc::Receiver<Queued>,
    changes: broadcast::Sender<Change>,
    push: tokio::sync::watch::Sender<u64>,
    meters: Arc<Meters>,
    upkeep: Upkeep,
    hurry: Arc<Notify>,
    pace: Pace,
    /// When something may follow from time alone.
    look_at: Option<tokio::time::Instant>,
}

impl Running {
    async fn run(mut self) -> Result<(), StoreError> {
        self.commit(vec![Input::Line(crate::core::input::Line::Starting).into()]).await?;
        loop {
            let committed = tokio::time::Instant::now();
            let first = match self.look_at {
                Some(look_at) => tokio::time::timeout_at(look_at, self.waiting.recv()).await,
                None => Ok(self.waiting.recv().await),
            };
            let batch = match first {
                Ok(None) => return Ok(()),
                Ok(Some(first)) => self.gather(first, committed.elapsed()).await,
                Err(_) => vec![Input::Tick.into()],
            };
            self.commit(batch).await?;
        }
    }

    /// Takes what else is waiting and what comes soon: a commit costs the same for one and for many. The thread
    /// sleeps meanwhile, rather than wake up for each.
    async fn gather(&mut self, first: Queued, after_commit: Duration) -> Vec<Queued> {
        let mut batch = vec![first];
        if !self.drain(&mut batch) && self.pause(QUIET, &mut batch).await {
            let (wait, before) = (self.pace.wait(), batch.len());
            if wait > Duration::ZERO {
                let ended = self.pause(wait, &mut batch).await;
                self.pace.waited(after_commit, batch.len() > before || !ended);
            }
        }
        batch
    }

    /// Waits, then takes what has come; false if the batch must not wait any longer.
    async fn pause(&mut self, wait: Duration, batch: &mut Vec<Queued>) -> bool {
        let hurried = tokio::time::timeout(wait, self.hurry.notified()).await.is_ok();
        !self.drain(batch) && !hurried
    }

    /// Takes what is waiting; says whether the batch must not wait any longer.
    fn drain(&mut self, batch: &mut Vec<Queued>) -> bool {
        while batch.len() < BATCH_MAX
            && let Ok(next) = self.waiting.try_recv()
        {
            batch.push(next);
        }
        batch.len() == BATCH_MAX || batch.iter().any(|queued| queued.answer.is_some() || is_urgent(&queued.input))
    }

    async fn commit(&mut self, mut batch: Vec<Queued>) -> Result<(), StoreError> {
        let proofs: Vec<oneshot::Sender<()>> = batch.iter_mut().filter_map(|q| q.proof.take()).collect();
        let (mut inputs, mut answers): (Vec<Input>, Vec<_>) = batch.into_iter().map(|q| (q.input, q.answer)).unzip();
        // Time passes in busy times too; else a busy depot would never be late. What is no reading comes seldom, and
        // much may follow from it; readings come by the thousand.
        let of_devices = |input: &Input| matches!(input, Input::Reading { .. } | Input::Unreadable(_));
        if self.look_at.is_none_or(|at| at <= tokio::time::Instant::now()) || !inputs.iter().all(of_devices) {
            inputs.push(Input::Tick);
            answers.push(None);
            self.look_at = None;
        }
        loop {
            let now = self.clock.now();
            let started = std::time::Instant::now();
            match step(&mut self.core, &mut self.store, &now, &inputs) {
                Ok(outcome) => {
                    self.meters.committed(started.elapsed(), inputs.len());
                    self.meters.took_readings(inputs.iter().filter_map(reading_kind));
                    self.perform(outcome, &mut answers);
                    self.fold()?;
                    self.keep_up(&now)?;
                    // The batch may have brought nearer what follows from time alone; it never makes it later.
                    let wake = self.core.next_wake(&now).unwrap_or(30_000).max(1);
                    let wake = tokio::time::Instant::now() + self.clock.real(wake);
                    self.look_at = Some(self.look_at.map_or(wake, |at| at.min(wake)));
                    return if proofs.is_empty() { Ok(()) } else { self.prove(proofs).await };
                }
                Err(refused) => {
                    self.refused(refused)?;
                    self.tidy(&now)?;
                    drop_taps(&mut inputs, &mut answers);
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Whether to try again what the store refused; told once, until something is committed again.
    fn refused(&self, refused: StoreError) -> Result<(), StoreError> {
        if !refused.is_passing() {
            error!(error = %refused, "the driver stops: {refused}");
            return Err(refused);
        }
        if self.meters.holdup() == Holdup::None {
            warn!(error = %refused, "nothing is acknowledged until the store takes it: {refused}");
        }
        self.meters.refused(matches!(refused, StoreError::DiskFull { .. }));
        Ok(())
    }

    /// Proves that the store takes a commit: the batch may have had nothing to write.
    async fn prove(&mut self, proofs: Vec<oneshot::Sender<()>>) -> Result<(), StoreError> {
        while let Err(refused) = self.store.prove(self.clock.wall()) {
            self.refused(refused)?;
            tokio::time::sleep(TRY_AGAIN).await;
        }
        self.meters.proved();
        for proof in proofs {
            // Who asked may have gone.
            let _ = proof.send(());
        }
        Ok(())
    }

    fn perform(&self, outcome: Outcome, answers: &mut [Option<oneshot::Sender<Result<TapDone, TapRefused>>>]) {
        let mut receipts = Vec::new();
        let mut push = false;
        for effect in outcome.effects {
            match effect {
                Effect::Acknowledge(more) => receipts.extend(more),
                Effect::Changed(change) => {
                    // Nobody may be looking.
                    let _ = self.changes.send(change);
                }
                Effect::PushNow => push = true,
                Effect::ClockConfirmed => self.clock.trust(),
            }
        }
        if !receipts.is_empty() {
            // An intake that has ended is sent the messages again by its broker.
            let _ = self.acknowledged.send(receipts);
        }
        if push {
            self.push.send_modify(|n| *n += 1);
        }
        for (place, answer) in outcome.answers {
            if let Some(waiting) = answers.get_mut(place).and_then(Option::take) {
                let _ = waiting.send(answer);
            }
        }
    }
}

/// A person is told at once that nothing was written; their tap is not tried again behind their back.
fn drop_taps(inputs: &mut Vec<Input>, answers: &mut Vec<Option<oneshot::Sender<Result<TapDone, TapRefused>>>>) {
    for place in (0..inputs.len()).rev() {
        if matches!(inputs[place], Input::Tap(_)) {
            inputs.remove(place);
            if let Some(waiting) = answers.remove(place) {
                let _ = waiting.send(Err(TapRefused::NotCommitted));
            }
        }
    }
}
