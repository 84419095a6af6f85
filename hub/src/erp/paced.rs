//! Keeps a connector's calls within what its ERP allows.
//!
//! In: calls of polling, posting and leases, however many. Out: the same calls, evenly spaced, and none at all for as long
//! as the ERP asked to be left alone. Time is real time here: it is the ERP's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};

use super::{Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe};
use crate::core::reconcile::{Posting, PostingKind};

/// Longest that an ERP is left alone because it asked for it.
const LEFT_ALONE_MAX: Duration = Duration::from_secs(600);

/// A connector whose calls are spaced.
pub struct Paced {
    inner: Arc<dyn Connector>,
    interval: Duration,
    pace: Mutex<Pace>,
}

struct Pace {
    next: Instant,
    closed_until: Option<Instant>,
}

impl Paced {
    /// At most `calls_per_minute` calls a minute; 0 for as many as there are.
    #[must_use]
    pub fn new(inner: Arc<dyn Connector>, calls_per_minute: u32) -> Self {
        let interval = Duration::from_secs(60).checked_div(calls_per_minute).unwrap_or(Duration::ZERO);
        Self { inner, interval, pace: Mutex::new(Pace { next: Instant::now(), closed_until: None }) }
    }

    /// Waits for the next call's turn.
    async fn turn(&self) -> Result<(), ErpError> {
        let wait = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if let Some(left) =
                pace.closed_until.map(|until| until.saturating_duration_since(now)).filter(|l| !l.is_zero())
            {
                let detail = format!("it asked to be left alone for {} s more", left.as_secs() + 1);
                return Err(ErpError::Transient { detail, retry_after: Some(left) });
            }
            let turn = pace.next.max(now);
            pace.next = turn + self.interval;
            turn.saturating_duration_since(now)
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn note<T>(&self, answer: Result<T, ErpError>) -> Result<T, ErpError> {
        if let Err(ErpError::Transient { retry_after: Some(wait), .. }) = &answer {
            let until = Instant::now() + (*wait).min(LEFT_ALONE_MAX);
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.closed_until = pace.closed_until.max(Some(until));
        }
        answer
    }
}

#[async_trait]
impl Connector for Paced {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn takes(&self, kind: PostingKind) -> bool {
        self.inner.takes(kind)
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        self.turn().await?;
        self.note(self.inner.changes(since).await)
    }

    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        self.turn().await?;
        self.note(self.inner.order(id).await)
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        self.turn().await?;
        self.note(self.inner.customer(id).await)
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        self.turn().await?;
        self.note(self.inner.stock(site).await)
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        self.turn().await?;
        self.note(self.inner.apply(posting).await)
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        self.turn().await?;
        self.note(self.inner.probe(posting).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// An ERP that counts its calls and is busy if told so.
    #[derive(Default)]
    struct Counting {
        calls: AtomicU32,
        busy_for: Option<Duration>,
    }

    #[async_trait]
    impl Connector for Counting {
        fn name(&self) -> &str {
            "counting"
        }
        fn caps(&self) -> Caps {
            Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
        }
        async fn changes(&self, _: &ErpCursor) -> Result<ChangePage, ErpError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            match self.busy_for {
                None => Ok(ChangePage::default()),
                retry_after => Err(ErpError::Transient { detail: "429".into(), retry_after }),
            }
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
            Ok(Applied { document: posting.key.clone() })
        }
        async fn probe(&self, _: &Posting) -> Result<Probe, ErpError> {
            Ok(Probe::Unknown)
        }
    }

    #[tokio::test]
    async fn calls_from_all_sides_are_spaced_to_what_the_erp_allows() {
        let erp = Paced::new(Arc::new(Counting::default()), 1_200);
        let began = Instant::now();
        let cursor = ErpCursor::default();
        futures::future::join_all((0..5).map(|_| erp.changes(&cursor))).await;
        // Five calls have four gaps of 50 ms between them; a slow machine makes them longer, never shorter.
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn an_erp_that_asks_to_be_left_alone_is_asked_nothing_for_as_long() {
        let busy = Arc::new(Counting { busy_for: Some(Duration::from_secs(30)), ..Counting::default() });
        let erp = Paced::new(busy.clone(), 0);
        for _ in 0..3 {
            let answer = erp.changes(&ErpCursor::default()).await;
            assert!(matches!(answer, Err(ErpError::Transient { retry_after: Some(_), .. })), "{answer:?}");
        }
        assert_eq!(busy.calls.load(Ordering::SeqCst), 1);
    }
}
