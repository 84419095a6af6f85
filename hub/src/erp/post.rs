//! Takes postings to the ERP: in order per order, each once.
//!
//! A posting whose answer was lost is asked for before it is sent again. What the ERP refuses, and
//! what it cannot be asked about, is parked for a person with the reason; later postings of the same
//! order wait behind it. While the ERP is away a breaker spares it and us.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use gatehouse_common::time::UtcMs;
use tracing::{info, warn};

use super::{Applied, Connector, ErpError, Probe, poll::backoff_ms};
use crate::{
    clock::Clock,
    core::reconcile::{PostingState, QueuedPosting},
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
    /// Tries after which a posting that the ERP can neither confirm nor deny is parked. Default 12.
    pub doubtful_tries_max: u32,
    /// How long after a lost answer the ERP is asked, in real time: a write may still be on its way. Default 300 ms.
    pub settle: Duration,
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
            chance: rand::random,
        }
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
    /// For a person.
    Parked(String),
}

/// Whether the ERP is worth trying.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    closed_from: Option<UtcMs>,
}

impl Breaker {
    fn note(&mut self, reached: bool, now: UtcMs, options: &PostOptions) {
        if reached {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = backoff_ms(options.retry_first_ms, self.failures, options.retry_max_ms, (options.chance)());
        self.closed_from = Some(now.plus(i64::try_from(wait).unwrap_or(i64::MAX)));
    }

    /// How many postings may be tried now: after failures one at a time, once the wait is over.
    fn allows(&self, now: UtcMs, at_once: usize) -> usize {
        match self.closed_from {
            None => at_once,
            Some(from) if from <= now => 1,
            Some(_) => 0,
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
    let mut poster = Poster::new(store, connector, clock.clone(), options);
    while !stop.is_stopped() {
        if poster.once().await? > 0 {
            continue;
        }
        // A second of the hub's clock bounds the wait, so that a hint that was missed costs no more than that.
        tokio::select! {
            () = clock.sleep(1_000) => {}
            () = a_posting_changes(&mut changes), if poster.allowed() > 0 => {}
            () = stop.stopped() => break,
        }
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
}

impl Poster {
    /// One that has not tried anything yet.
    #[must_use]
    pub fn new(store: Store, connector: Arc<dyn Connector>, clock: Clock, options: PostOptions) -> Self {
        Self { store, connector, clock, options, breaker: Breaker::default() }
    }

    /// How many postings may be tried now.
    fn allowed(&self) -> usize {
        self.breaker.allows(self.clock.wall(), self.options.at_once)
    }

    /// Tries what is due. Returns how many postings were tried.
    /// # Errors
    /// Only if the store is stopped.
    pub async fn once(&mut self) -> Result<usize, StoreError> {
        let (now, allowed) = (self.clock.wall(), self.allowed());
        let due = match allowed {
            0 => Vec::new(),
            n => match self.store.write(move |tx| tx.claim_due(now, n)).await {
                Ok(due) => due,
                Err(e @ StoreError::Stopped) => return Err(e),
                Err(error) => {
                    warn!(%error, "the queue cannot be read");
                    Vec::new()
                }
            },
        };
        let tried = join_all(due.iter().map(|q| try_one(self.connector.as_ref(), q, &self.options))).await;
        let count = due.len();
        for (queued, (tried, reached)) in due.into_iter().zip(tried) {
            self.breaker.note(reached, self.clock.wall(), &self.options);
            note(&self.store, &self.clock, &self.options, &queued, tried).await?;
        }
        Ok(count)
    }
}

async fn a_posting_changes(changes: &mut tokio::sync::broadcast::Receiver<StoreChange>) {
    loop {
        match changes.recv().await {
            Ok(StoreChange::Posting(_)) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Tries one posting; also says whether the ERP could be reached.
async fn try_one(connector: &dyn Connector, queued: &QueuedPosting, options: &PostOptions) -> (Tried, bool) {
    let posting = &queued.posting;
    if queued.state == PostingState::InDoubt && !connector.caps().honours_keys {
        match connector.probe(posting).await {
            Ok(Probe::Applied(applied)) => return (Tried::Done(applied), true),
            Ok(Probe::NotApplied) => {}
            Ok(Probe::Unknown) if queued.attempts >= options.doubtful_tries_max => {
                let why = format!("the ERP cannot say whether it has {} after {} tries", posting.key, queued.attempts);
                return (Tried::Parked(why), true);
            }
            Ok(Probe::Unknown) => return (Tried::InDoubt("the ERP cannot say yet".to_owned()), true),
            Err(error) => {
                let reached = !matches!(error, ErpError::Transient { .. } | ErpError::Auth { .. });
                return (Tried::InDoubt(error.to_string()), reached);
            }
        }
    }
    match connector.apply(posting).await {
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
        Err(error) => (Tried::Parked(error.to_string()), true),
    }
}

async fn note(
    store: &Store,
    clock: &Clock,
    options: &PostOptions,
    queued: &QueuedPosting,
    tried: Tried,
) -> Result<(), StoreError> {
    let now = clock.wall();
    let key = queued.posting.key.clone();
    let attempts = queued.attempts.saturating_add(1);
    let wait = backoff_ms(options.retry_first_ms, attempts, options.retry_max_ms, (options.chance)());
    let next = now.plus(i64::try_from(wait).unwrap_or(i64::MAX));
    match &tried {
        Tried::Done(applied) => info!(posting.key = %key, document = %applied.document, "posted {key}"),
        Tried::Parked(why) => warn!(posting.key = %key, "posting {key} waits for a person: {why}"),
        Tried::Later(why) | Tried::InDoubt(why) => {
            tracing::debug!(posting.key = %key, "posting {key} is tried again: {why}")
        }
    }
    store
        .write(move |tx| match &tried {
            Tried::Done(applied) => tx.finish(&key, Some(&applied.document), now),
            Tried::Later(why) => tx.retry(&key, PostingState::Queued, next, why),
            // The answer is missed, not the ERP: asking again soon keeps the order's other postings moving.
            Tried::InDoubt(why) => tx.retry(&key, PostingState::InDoubt, next, why),
            Tried::Parked(why) => tx.bury(&key, why),
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, PoisonError},
    };

    use async_trait::async_trait;
    use gatehouse_common::{
        id::{CustomerId, DecisionId, OrderId, ProductId, SiteId},
        order::Order,
    };

    use super::{super::*, *};
    use crate::core::reconcile::{Posting, PostingKind};

    /// An ERP that resets the connection after every second write that it applied.
    #[derive(Default)]
    struct Forgetful {
        applied: Mutex<Vec<String>>,
        probes: Mutex<u32>,
        refuses: bool,
        is_mute: bool,
    }

    impl Forgetful {
        fn applied(&self) -> Vec<String> {
            self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    #[async_trait]
    impl Connector for Forgetful {
        fn name(&self) -> &str {
            "forgetful"
        }
        fn caps(&self) -> Caps {
            Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
        }
        async fn changes(&self, _: &ErpCursor) -> Result<ChangePage, ErpError> {
            Ok(ChangePage::default())
        }
        async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
            Err(ErpError::NotFound { detail: id.to_string() })
        }
        async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
            Err(ErpError::NotFound { detail: id.to_string() })
        }
        async fn stock(&self, _: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
            Ok(BTreeMap::new())
        }
        async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
            if self.refuses {
                return Err(ErpError::Rejected { detail: "line 1 is closed".into() });
            }
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.push(posting.key.clone());
            if applied.len().is_multiple_of(2) {
                return Err(ErpError::Ambiguous { detail: "connection reset".into() });
            }
            Ok(Applied { document: format!("effect {}", applied.len()) })
        }
        async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
            *self.probes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            if self.is_mute {
                return Ok(Probe::Unknown);
            }
            let document = posting.key.clone();
            let found = self.applied().contains(&posting.key);
            Ok(if found { Probe::Applied(Applied { document }) } else { Probe::NotApplied })
        }
    }

    fn queued(n: u32, state: PostingState) -> QueuedPosting {
        let posting = Posting {
            key: format!("gw-1-1-1/goods_issue/{n}"),
            decision: DecisionId::new("gw-1-1-1").unwrap(),
            order: OrderId::new("SO-1").unwrap(),
            line: Some(1),
            kind: PostingKind::GoodsIssue,
            quantity: Some(10),
            total: Vec::new(),
            status: None,
            text: String::new(),
            at: UtcMs(0),
        };
        QueuedPosting {
            posting,
            state,
            attempts: 0,
            next_try: UtcMs(0),
            last_error: None,
            applied_at: None,
            document: None,
        }
    }

    fn options() -> PostOptions {
        PostOptions { settle: Duration::ZERO, ..PostOptions::default() }
    }

    #[tokio::test]
    async fn a_posting_whose_answer_was_lost_is_found_and_not_repeated() {
        let erp = Forgetful::default();
        try_one(&erp, &queued(1, PostingState::Queued), &options()).await;
        let (lost, _) = try_one(&erp, &queued(2, PostingState::Queued), &options()).await;
        assert!(matches!(lost, Tried::InDoubt(_)), "{lost:?}");
        let (found, _) = try_one(&erp, &queued(2, PostingState::InDoubt), &options()).await;
        assert!(matches!(found, Tried::Done(_)), "{found:?}");
        assert_eq!(erp.applied().len(), 2);
    }

    #[tokio::test]
    async fn a_posting_in_doubt_that_the_erp_does_not_have_is_sent() {
        let erp = Forgetful::default();
        let (sent, _) = try_one(&erp, &queued(1, PostingState::InDoubt), &options()).await;
        assert!(matches!(sent, Tried::Done(_)), "{sent:?}");
    }

    #[tokio::test]
    async fn a_posting_that_cannot_be_decided_is_parked_for_a_person_and_never_guessed() {
        let erp = Forgetful { is_mute: true, ..Forgetful::default() };
        let mut doubtful = queued(1, PostingState::InDoubt);
        assert!(matches!(try_one(&erp, &doubtful, &options()).await.0, Tried::InDoubt(_)));
        doubtful.attempts = 12;
        assert!(matches!(try_one(&erp, &doubtful, &options()).await.0, Tried::Parked(_)));
        assert!(erp.applied().is_empty());
    }

    #[tokio::test]
    async fn a_refused_posting_is_parked_with_the_reason() {
        let erp = Forgetful { refuses: true, ..Forgetful::default() };
        let (parked, reached) = try_one(&erp, &queued(1, PostingState::Queued), &options()).await;
        assert_eq!((parked, reached), (Tried::Parked("the ERP refuses: line 1 is closed".into()), true));
    }

    #[test]
    fn an_erp_that_is_away_is_left_alone_for_a_while_then_tried_with_one() {
        let mut breaker = Breaker::default();
        breaker.note(false, UtcMs(0), &options());
        assert_eq!(breaker.allows(UtcMs(100), 4), 0);
        assert_eq!(breaker.allows(UtcMs(2_000), 4), 1);
        breaker.note(true, UtcMs(2_000), &options());
        assert_eq!(breaker.allows(UtcMs(2_000), 4), 4);
    }
}
