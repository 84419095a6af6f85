//! How postings reach a connector: by hand, as the queue does it, or by the hub's own queue.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatehouse_common::time::UtcMs;
use gatehouse_hub::{
    clock::Clock,
    core::reconcile::{Posting, PostingState, QueuedPosting},
    erp::{
        Applied, Connector, ErpError, Probe,
        post::{PostOptions, Poster},
    },
    store::Store,
};

/// Delivers a posting as the queue does: asks first, sends, asks after a lost answer, looks again after a conflict,
/// and asks once more after a refusal.
/// # Errors
/// What the ERP said last, if it does not come to rest or refuses.
pub async fn deliver(erp: &dyn Connector, posting: &Posting) -> Result<Applied, ErpError> {
    let mut last = ErpError::Contract { detail: "never tried".to_owned() };
    for round in 0..30 {
        match erp.probe(posting).await {
            Ok(Probe::Applied(applied)) => return Ok(applied),
            Ok(Probe::NotApplied) => match erp.apply(posting).await {
                Ok(applied) => return Ok(applied),
                Err(error @ (ErpError::Ambiguous { .. } | ErpError::Conflict { .. } | ErpError::Transient { .. })) => {
                    last = error;
                }
                Err(error) => match erp.probe(posting).await {
                    Ok(Probe::Applied(applied)) => return Ok(applied),
                    _ => return Err(error),
                },
            },
            Ok(Probe::Unknown) => {}
            Err(error @ (ErpError::Transient { .. } | ErpError::Conflict { .. })) => last = error,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(20 * (round + 1))).await;
    }
    Err(last)
}

/// The hub's own queue over a store of its own.
pub struct Queue {
    store: Store,
    keys: Mutex<Vec<String>>,
    _folder: tempfile::TempDir,
}

impl Queue {
    /// An empty one.
    /// # Panics
    /// If the store cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = "hub".parse().expect("a plain name");
        let store = Store::open(&folder.path().join("hub.db"), &name).expect("an empty store opens");
        Self { store, keys: Mutex::default(), _folder: folder }
    }

    /// Queues postings, in this order.
    /// # Panics
    /// If the store does not take them.
    pub fn take(&self, postings: &[Posting]) {
        let postings = postings.to_vec();
        let keys = postings.iter().map(|posting| posting.key.clone());
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        let queued = self.store.write_now(move |tx| {
            for posting in &postings {
                tx.enqueue(posting, UtcMs(0))?;
            }
            Ok(())
        });
        queued.expect("the store takes postings");
    }

    /// Someone who takes postings out, with waits short enough for a test.
    #[must_use]
    pub fn poster(&self, erp: Arc<dyn Connector>) -> Poster {
        let options = PostOptions {
            retry_first_ms: 20,
            retry_max_ms: 200,
            settle: Duration::from_millis(10),
            doubt_ms: 300,
            ..PostOptions::default()
        };
        Poster::new(self.store.clone(), erp, Clock::system(), options)
    }

    /// Works until nothing waits, at most `bound`.
    /// # Panics
    /// If something still waits then.
    pub async fn works(&self, erp: Arc<dyn Connector>, bound: Duration) {
        let mut poster = self.poster(erp);
        let worked = tokio::time::timeout(bound, async {
            while self.waits() {
                if poster.once().await.expect("the store works") == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        worked.await.unwrap_or_else(|_| panic!("still waiting after {bound:?}: {:?}", self.all()));
    }

    /// Whether something may still go out: behind a dead letter nothing does.
    fn waits(&self) -> bool {
        let all = self.all();
        let is_in = |states: &[PostingState]| all.iter().any(|q| states.contains(&q.state));
        is_in(&[PostingState::Queued, PostingState::InDoubt]) && !is_in(&[PostingState::Dead])
    }

    /// Everything that was queued.
    /// # Panics
    /// If the store cannot be read.
    #[must_use]
    pub fn all(&self) -> Vec<QueuedPosting> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = self.store.read_now(move |r| keys.iter().filter_map(|key| r.posting(key).transpose()).collect());
        read.expect("the store reads")
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}
