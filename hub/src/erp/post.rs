//! Takes postings to the ERP: in order per order, each once.
//!
//! A posting whose answer was lost is asked for before it is sent again, and an ERP that does not have it is
//! believed only once the write cannot be on its way any more. What the ERP refuses, what it never takes and
//! what it cannot be asked about is parked for a person with the reason; later postings of the same order wait
//! behind it. While the ERP is away a breaker spares it and us, and nothing is given up.

mod doubt;

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use gatehouse_common::time::UtcMs;
use tracing::{info, warn};

use self::doubt::Sent;
use super::{Applied, Connector, ErpError, Probe, poll::backoff_ms};
use crate::{
    clock::Clock,
    core::{
        APART_MS,
        reconcile::{PostingState, QueuedPosting},
    },
    store::{Store, StoreChange, StoreError},
    tasks::{Stop, TaskError},
};

/// How postings are tried.
#[derive(Debug, Clone, Copy)]
pub struct PostOptions {
    /// Postings of different orders under way at one time. Default 4.
    pub at_once: usize,
    /// First wait after a failure, in milliseconds; it doubles. Default 1,000.
    pub retry_first_ms: u64,
    /// Longest wait after failures, in milliseconds. Default 60,000.
    pub retry_max_ms: u64,
    /// Tries that reached the ERP and came to nothing, after which a posting is parked. Default 12.
    pub doubtful_tries_max: u32,
    /// How long after a lost answer the ERP is asked, in real time: a write may still be on its way. Default 300 ms.
    pub settle: Duration,
    /// How long a write may be on its way, in milliseconds of the hub's clock since it was sent: only then the
    /// ERP is believed not to have it. More than the ERP takes for its slowest write. Default 60,000.
    pub doubt_ms: i64,
    /// Draws by how much waits differ. Default: at random; a world that is played again draws the same.
    pub chance: fn() -> u64,
}

impl Default for PostOptions {
    fn default() -> Self {
        Self {
            at_once: 4,
            retry_first_ms: 1_000,
            retry_max_ms: 60_000,
            doubtful_tries_max: 12,
            settle: Duration::from_millis(300),
            doubt_ms: 60_000,
            chance: rand::random,
        }
    }
}

impl PostOptions {
    /// When to ask again for a write that may be on its way: after as long again as it has been, at the latest
    /// when it cannot arrive any more.
    fn ask_again(&self, sent: Option<UtcMs>, now: UtcMs) -> UtcMs {
        let Some(sent) = sent else { return now };
        let first = i64::try_from(self.retry_first_ms).unwrap_or(i64::MAX);
        let over = sent.plus(self.doubt_ms);
        // Only a clock that was set forth says that it is over and yet in doubt.
        if over <= now { now.plus(first) } else { now.plus(now.since(sent).max(first)).min(over) }
    }
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tried {
    Done(Applied),
    /// Certainly not at the ERP: sent again later.
    Later(String),
    /// Perhaps at the ERP: asked for first.
    InDoubt(String),
    /// Sent so short ago that it may still arrive: asked for again.
    OnItsWay,
    /// Not at the ERP, and it cannot arrive any more; with what went wrong when it was sent.
    Absent(String),
    /// For a person.
    Parked(String),
}

/// A posting with what came of its try, and whether the ERP could be reached.
type Attempt = (QueuedPosting, (Tried, bool));

/// Whether the ERP is worth trying.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    /// The last failure, and for how many milliseconds from then on nothing is tried.
    closed: Option<(UtcMs, i64)>,
}

impl Breaker {
    fn note(&mut self, reached: bool, now: UtcMs, options: &PostOptions) {
        if reached {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = backoff_ms(options.retry_first_ms, self.failures, options.retry_max_ms, (options.chance)());
        self.closed = Some((now, i64::try_from(wait).unwrap_or(i64::MAX)));
    }

    /// How many postings may be tried now: after failures one at a time, once the wait is over. A clock that was set
    /// back ends it too: by that the wait would last for as long as the clock had been ahead.
    fn allows(&self, now: UtcMs, at_once: usize) -> usize {
        match self.closed {
            None => at_once,
            Some((since, wait)) if (0..wait).contains(&now.since(since)) => 0,
            Some(_) => 1,
        }
    }
}

/// Takes postings to the ERP until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(
    store: Store,
    connector: Arc<dyn Connector>,
    clock: Clock,
    options: PostOptions,
    mut stop: Stop,
) -> Result<(), TaskError> {
    let mut changes = store.changes();
    let now = clock.wall();
    store.write(move |tx| tx.take_back_postings(now)).await?;
    let mut poster = Poster::new(store, connector, clock.clone(), options);
    // A slow answer about one order holds back no other: whatever ends makes room for the next.
    let mut under_way = FuturesUnordered::new();
    while !stop.is_stopped() {
        let room = poster.allowed().saturating_sub(under_way.len());
        let due = poster.claim(room).await?;
        under_way.extend(due.into_iter().map(|queued| poster.attempt(queued)));
        // A second of the hub's clock bounds the wait, so that a hint that was missed costs no more than that.
        tokio::select! {
            Some(first) = under_way.next() => poster.note(first, &mut under_way).await?,
            () = clock.sleep(1_000) => {}
            () = a_posting_changes(&mut changes), if room > 0 => {}
            () = stop.stopped() => break,
        }
    }
    // What is under way is brought to its end: else it would have to be asked for at the next start.
    while let Some(first) = under_way.next().await {
        poster.note(first, &mut under_way).await?;
    }
    Ok(())
}

/// Takes postings to the ERP, a round at a time.
pub struct Poster {
    store: Store,
    connector: Arc<dyn Connector>,
    clock: Clock,
    options: PostOptions,
    breaker: Breaker,
    sent: Sent,
}

impl Poster {
    /// One that has not tried anything yet.
    #[must_use]
    pub fn new(store: Store, connector: Arc<dyn Connector>, clock: Clock, options: PostOptions) -> Self {
        Self { store, connector, clock, options, breaker: Breaker::default(), sent: Sent::default() }
    }

    /// How many postings may be tried now.
    fn allowed(&self) -> usize {
        self.breaker.allows(self.clock.wall(), self.options.at_once)
    }

    /// Tries what is due. Returns how many postings were tried.
    /// # Errors
    /// Only if the store is stopped.
    pub async fn once(&mut self) -> Result<usize, StoreError> {
        let due = self.claim(self.allowed()).await?;
        let count = due.len();
        for (queued, tried) in join_all(due.into_iter().map(|queued| self.attempt(queued))).await {
            self.remember(&queued, &tried);
            note(&self.store, &self.clock, &self.options, &queued, tried).await?;
        }
        Ok(count)
    }

    /// Postings that are due, at most `room`: from now on they are this poster's.
    async fn claim(&self, room: usize) -> Result<Vec<QueuedPosting>, StoreError> {
        if room == 0 {
            return Ok(Vec::new());
        }
        let (now, waits_ms) = (self.clock.wall(), self.options.retry_max_ms);
        // The longest wait there is: that after failures with the quarter that chance adds, or the time of doubt.
        let retry_ms = i64::try_from(waits_ms.saturating_add(waits_ms / 4)).unwrap_or(i64::MAX);
        let longest_ms = retry_ms.max(self.options.doubt_ms).saturating_add(APART_MS);
        let claimed = self.store.write(move |tx| {
            tx.right_postings(now, longest_ms)?;
            tx.claim_due(now, room)
        });
        match claimed.await {
            Ok(due) => Ok(due),
            Err(e @ StoreError::Stopped) => Err(e),
            Err(error) => {
                warn!(%error, "the queue cannot be read");
                Ok(Vec::new())
            }
        }
    }

    /// Tries one that was claimed.
    fn attempt(&self, queued: QueuedPosting) -> impl Future<Output = Attempt> + use<> {
        let (connector, options, now) = (self.connector.clone(), self.options, self.clock.now());
        let ago_ms = queued.sent_at.map(|sent| self.sent.ago_ms(&queued.posting.key, sent, &now));
        async move {
            let tried = try_one(connector.as_ref(), &queued, &options, ago_ms).await;
            (queued, tried)
        }
    }

    /// What a try says of the ERP, and of how long its posting is in doubt.
    fn remember(&mut self, queued: &QueuedPosting, (tried, reached): &(Tried, bool)) {
        self.breaker.note(*reached, self.clock.wall(), &self.options);
        let key = &queued.posting.key;
        match tried {
            Tried::InDoubt(_) if queued.state == PostingState::Queued => {
                self.sent.note(key, self.clock.now(), self.options.doubt_ms);
            }
            Tried::InDoubt(_) | Tried::OnItsWay => {}
            Tried::Done(_) | Tried::Later(_) | Tried::Absent(_) | Tried::Parked(_) => self.sent.forget(key),
        }
    }

    /// Keeps what came of `first` and of all that ended beside it, in commits that they share.
    async fn note<F: Future<Output = Attempt>>(
        &mut self,
        first: Attempt,
        under_way: &mut FuturesUnordered<F>,
    ) -> Result<(), StoreError> {
        let mut ended = vec![first];
        while let Some(Some(next)) = under_way.next().now_or_never() {
            ended.push(next);
        }
        for (queued, tried) in &ended {
            self.remember(queued, tried);
        }
        let (store, clock, options) = (&self.store, &self.clock, &self.options);
        let noted =
            ended.into_iter().map(|(queued, tried)| async move { note(store, clock, options, &queued, tried).await });
        join_all(noted).await.into_iter().collect()
    }
}

async fn a_posting_changes(changes: &mut tokio::sync::broadcast::Receiver<StoreChange>) {
    loop {
        match changes.recv().await {
            Ok(StoreChange::Posting(_) | StoreChange::Everything)
            | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Tries one posting; also says whether the ERP could be reached.
async fn try_one(
    connector: &dyn Connector,
    queued: &QueuedPosting,
    options: &PostOptions,
    ago_ms: Option<i64>,
) -> (Tried, bool) {
    let kind = queued.posting.kind;
    if !connector.takes(kind) {
        let why = format!("{} cannot write {} for us: book it by hand", connector.name(), kind.as_str());
        return (Tried::Parked(why), true);
    }
    match queued.state {
        PostingState::InDoubt => ask(connector, queued, options, ago_ms).await,
        _ => send(connector, queued, options).await,
    }
}

/// Asks for a posting that may be at the ERP. It is sent again in a try of its own, so that the time of sending
/// is always committed before. `ago_ms` says how long ago that was, in milliseconds.
async fn ask(
    connector: &dyn Connector,
    queued: &QueuedPosting,
    options: &PostOptions,
    ago_ms: Option<i64>,
) -> (Tried, bool) {
    let posting = &queued.posting;
    let is_given_up = queued.attempts >= options.doubtful_tries_max;
    let may_arrive = ago_ms.is_some_and(|ago| ago < options.doubt_ms);
    match connector.probe(posting).await {
        Ok(Probe::Applied(applied)) => (Tried::Done(applied), true),
        Ok(Probe::NotApplied) if may_arrive && !connector.caps().honours_keys => (Tried::OnItsWay, true),
        Ok(Probe::NotApplied) if is_given_up && queued.is_wanted => {
            let last = queued.last_error.as_deref().unwrap_or("nothing");
            let why =
                format!("the ERP was sent {} {} times and does not have it: {last}", posting.key, queued.attempts);
            (Tried::Parked(why), true)
        }
        Ok(Probe::NotApplied) => (Tried::Absent(queued.last_error.clone().unwrap_or_default()), true),
        Ok(Probe::Unknown) if is_given_up => {
            let why = format!("the ERP cannot say whether it has {} after {} tries", posting.key, queued.attempts);
            (Tried::Parked(why), true)
        }
        Ok(Probe::Unknown) => (Tried::InDoubt("the ERP cannot say yet".to_owned()), true),
        Err(error) => {
            let reached = !matches!(error, ErpError::Transient { .. } | ErpError::Auth { .. });
            let why = error.to_string();
            (if reached && is_given_up { Tried::Parked(why) } else { Tried::InDoubt(why) }, reached)
        }
    }
}

async fn send(connector: &dyn Connector, queued: &QueuedPosting, options: &PostOptions) -> (Tried, bool) {
    match connector.apply(&queued.posting).await {
        Ok(_) if queued.posting.kind.is_read_back() => read_back(connector, queued).await,
        Ok(applied) => (Tried::Done(applied), true),
        Err(error @ ErpError::Ambiguous { .. }) => {
            tokio::time::sleep(options.settle).await;
            (Tried::InDoubt(error.to_string()), true)
        }
        Err(error @ (ErpError::Transient { .. } | ErpError::Auth { .. })) => (Tried::Later(error.to_string()), false),
        // Someone else changed the document; the next try reads it again.
        Err(error @ ErpError::Conflict { .. }) if queued.attempts < options.doubtful_tries_max => {
            (Tried::Later(error.to_string()), true)
        }
        // What is refused may be refused because it is there by now, written by another that was thought to be gone.
        Err(error) => match connector.probe(&queued.posting).await {
            Ok(Probe::Applied(applied)) => (Tried::Done(applied), true),
            _ => (Tried::Parked(error.to_string()), true),
        },
    }
}

/// Billing runs behind its request at many ERPs, and fails there without a word: it is done once it can be read.
async fn read_back(connector: &dyn Connector, queued: &QueuedPosting) -> (Tried, bool) {
    match connector.probe(&queued.posting).await {
        Ok(Probe::Applied(applied)) => (Tried::Done(applied), true),
        Ok(Probe::NotApplied | Probe::Unknown) => {
            (Tried::InDoubt("the ERP took it and does not show it yet".to_owned()), true)
        }
        Err(error) => (Tried::InDoubt(error.to_string()), true),
    }
}

async fn note(
    store: &Store,
    clock: &Clock,
    options: &PostOptions,
    queued: &QueuedPosting,
    (tried, reached): (Tried, bool),
) -> Result<(), StoreError> {
    let now = clock.wall();
    let key = queued.posting.key.clone();
    let attempts = queued.attempts.saturating_add(1);
    let wait = backoff_ms(options.retry_first_ms, attempts, options.retry_max_ms, (options.chance)());
    let next = now.plus(i64::try_from(wait).unwrap_or(i64::MAX));
    let ask_again = options.ask_again(queued.sent_at, now);
    // It may have waited for its turn at the ERP: what is in doubt now was sent later than it was handed out.
    let was_sent = queued.state == PostingState::Queued;
    match &tried {
        Tried::Done(applied) => info!(posting.key = %key, document = %applied.document, "posted {key}"),
        Tried::Parked(why) => warn!(posting.key = %key, "posting {key} waits for a person: {why}"),
        Tried::OnItsWay => tracing::debug!(posting.key = %key, "posting {key} is not at the ERP yet"),
        Tried::Later(why) | Tried::InDoubt(why) | Tried::Absent(why) => {
            tracing::debug!(posting.key = %key, "posting {key} is tried again: {why}")
        }
    }
    store
        .write(move |tx| match &tried {
            Tried::Done(applied) => tx.finish(&key, Some(&applied.document), now),
            Tried::Later(why) => tx.retry(&key, PostingState::Queued, next, why, reached),
            // The answer is missed, not the ERP: asking again soon keeps the order's other postings moving.
            Tried::InDoubt(why) => {
                if was_sent {
                    tx.was_on_its_way(&key, now)?;
                }
                tx.retry(&key, PostingState::InDoubt, next, why, reached)
            }
            Tried::OnItsWay => tx.retry(&key, PostingState::InDoubt, ask_again, "sent, and not at the ERP yet", false),
            Tried::Absent(why) => tx.retry(&key, PostingState::Queued, now, why, false),
            Tried::Parked(why) => tx.bury(&key, why),
        })
        .await
}

#[cfg(test)]
mod tests;
