//! Wakes the pulls that wait once something was committed for them.
//!
//! In: the store's hints of changes, read by one task. Out: a wake-up for each pull whose scope has news, and for no
//! other: with ten thousand that wait, a change must not wake ten thousand.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, broadcast::error::RecvError};

use crate::{
    store::{Scope, Store, StoreChange},
    tasks::{Stop, TaskError},
};

/// Who waits for what. Copies share it.
#[derive(Clone)]
pub struct News {
    store: Store,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<Scope, Vec<(u64, Arc<Notify>)>>>,
}

/// One that waits. What is committed after it was made is not missed; dropping it ends the wait.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    number: u64,
    scopes: Vec<Scope>,
    told: Arc<Notify>,
}

impl News {
    /// Of this store. Nobody is woken before [`Self::run`] runs.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, shared: Arc::default() }
    }

    /// Begins to wait for news of `scopes`.
    pub(super) fn of(&self, scopes: Vec<Scope>) -> Waiting {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let told = Arc::new(Notify::new());
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in &scopes {
            waiting.entry(scope.clone()).or_default().push((number, told.clone()));
        }
        drop(waiting);
        Waiting { shared: self.shared.clone(), number, scopes, told }
    }

    /// Wakes who is concerned, until it is stopped.
    /// # Errors
    /// Never: the store's hints end with the hub.
    pub async fn run(self, mut stop: Stop) -> Result<(), TaskError> {
        let mut changes = self.store.changes();
        // What was committed before this listened is not known.
        self.wake(None);
        loop {
            let change = tokio::select! {
                () = stop.stopped() => return Ok(()),
                change = changes.recv() => change,
            };
            match change {
                Ok(StoreChange::Feed(scope)) => self.wake(Some(&scope)),
                Ok(StoreChange::Everything) | Err(RecvError::Lagged(_)) => self.wake(None),
                Ok(_) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Wakes those who wait for `scope`, or everybody.
    fn wake(&self, scope: Option<&Scope>) {
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match scope {
            Some(scope) => waiting.get(scope).into_iter().flatten().for_each(|(_, told)| told.notify_one()),
            None => waiting.values().flatten().for_each(|(_, told)| told.notify_one()),
        }
    }
}

impl Waiting {
    /// Ends once something may be new since this was last asked.
    pub(super) async fn news(&self) {
        self.told.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in &self.scopes {
            if let Some(of_scope) = waiting.get_mut(scope) {
                of_scope.retain(|(number, _)| *number != self.number);
                if of_scope.is_empty() {
                    waiting.remove(scope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_common::{
        sync::{Downward, Lane},
        time::UtcMs,
    };
    use tokio::time::timeout;

    use super::*;
    use crate::tasks::{OnError, Tasks};

    #[tokio::test]
    async fn who_waits_is_woken_by_news_of_its_own_scope_and_by_none_that_came_before() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let news = News::new(store.clone());
        let (mut tasks, runs) = (Tasks::new(), news.clone());
        tasks.spawn("news", OnError::Restart, move |stop| runs.clone().run(stop));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let scope = |site: &str| Scope::Site(site.parse().unwrap());
        let (one, two) = (news.of(vec![scope("D1"), scope("D2")]), news.of(vec![scope("D3")]));
        let tell = async |site: &str, text: &str| {
            let (scope, says) = (scope(site), Downward::Sources(text.to_owned()));
            store.write(move |tx| tx.publish(&scope, Lane::Rest, &says, UtcMs(1))).await.unwrap();
        };
        tell("D2", "{}").await;
        timeout(Duration::from_secs(5), one.news()).await.unwrap();
        assert!(timeout(Duration::from_millis(100), two.news()).await.is_err(), "it was none of its business");
        assert!(timeout(Duration::from_millis(100), one.news()).await.is_err(), "told once");
        tell("D3", "{ }").await;
        timeout(Duration::from_secs(5), two.news()).await.unwrap();
        drop((one, two));
        assert!(news.shared.waiting.lock().unwrap().is_empty());
    }
}
