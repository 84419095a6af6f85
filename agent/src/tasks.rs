//! Named tasks: each has an owner, an answer to its own failure, and ends when it is told to.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{error, info, warn};

/// What a task ends with when it cannot go on.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// The answer to a task's own failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Nothing works without it: the agent stops.
    StopAgent,
    /// It is started again after a second.
    Restart,
}

/// Tells a task when to end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A pair for those who run a task themselves: send `true` to end it.
    #[must_use]
    pub fn pair() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether the task should end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the task should end.
    pub async fn stopped(&mut self) {
        // An error means that whoever could stop us is gone; that is a stop too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

struct Entry {
    name: &'static str,
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

/// All tasks of the agent.
pub struct Tasks {
    entries: Vec<Entry>,
    fatal: mpsc::Sender<&'static str>,
    fatal_seen: mpsc::Receiver<&'static str>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (fatal, fatal_seen) = mpsc::channel(1);
        Self { entries: Vec::new(), fatal, fatal_seen }
    }
}

impl Tasks {
    /// No task yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. `run` is called again for each restart.
    pub fn spawn<F, Fut>(&mut self, name: &'static str, on_error: OnError, mut run: F)
    where
        F: FnMut(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), TaskError>> + Send,
    {
        let (sender, stop) = Stop::pair();
        let fatal = self.fatal.clone();
        let handle = tokio::spawn(async move {
            let mut wait = stop.clone();
            loop {
                // A panic is a failure like any other: told, and answered as the task's owner wants.
                let ended = AssertUnwindSafe(run(stop.clone())).catch_unwind().await;
                let ended = ended.unwrap_or_else(|_| Err("it panicked; the place is in the log above".into()));
                if stop.is_stopped() {
                    return;
                }
                match (ended, on_error) {
                    (Ok(()), OnError::Restart) => return,
                    (Err(e), OnError::Restart) => {
                        warn!(task = name, error = %e, "task {name} failed and is started again");
                        tokio::select! {
                            () = tokio::time::sleep(Duration::from_secs(1)) => {}
                            () = wait.stopped() => return,
                        }
                    }
                    (ended, OnError::StopAgent) => {
                        let why = ended.err().map_or_else(|| "it ended".to_owned(), |e| e.to_string());
                        error!(task = name, error = %why, "task {name} failed and the agent stops");
                        // A full channel means that another task has already said so.
                        let _ = fatal.try_send(name);
                        return;
                    }
                }
            }
        });
        self.entries.push(Entry { name, stop: sender, handle });
    }

    /// Starts a task that owns what it works with, and without which nothing works: it runs once.
    pub fn spawn_once<F, Fut>(&mut self, name: &'static str, run: F)
    where
        F: FnOnce(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        let mut run = Some(run);
        self.spawn(name, OnError::StopAgent, move |stop| {
            let once = run.take().map(|run| run(stop));
            async move {
                match once {
                    Some(running) => running.await,
                    None => Ok(()),
                }
            }
        });
    }

    /// Waits until a task without which nothing works has ended, and names it.
    pub async fn failed(&mut self) -> &'static str {
        match self.fatal_seen.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    /// Stops the named tasks one after the other, then all others; each has `grace` to end by itself.
    pub async fn stop_in_order(mut self, order: &[&str], grace: Duration) {
        let mut entries = std::mem::take(&mut self.entries);
        let place = |name: &str| order.iter().position(|n| *n == name).unwrap_or(order.len());
        entries.sort_by_key(|entry| place(entry.name));
        for mut entry in entries {
            // A task that has ended already no longer listens.
            let _ = entry.stop.send(true);
            if tokio::time::timeout(grace, &mut entry.handle).await.is_err() {
                warn!(task = entry.name, "task {} did not end in time and is cut off", entry.name);
                entry.handle.abort();
            }
        }
        info!("all tasks have ended");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_vital_task_that_panics_is_named_like_one_that_fails() {
        let mut tasks = Tasks::new();
        tasks.spawn("shaky", OnError::StopAgent, |_| async { panic!("planted") });
        assert_eq!(tasks.failed().await, "shaky");
    }

    #[tokio::test]
    async fn tasks_end_in_the_order_asked_and_a_vital_one_that_fails_is_named() {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::new();
        for name in ["first", "second"] {
            let ended = ended.clone();
            tasks.spawn(name, OnError::Restart, move |mut stop| {
                let ended = ended.clone();
                async move {
                    stop.stopped().await;
                    ended.lock().unwrap().push(name);
                    Ok(())
                }
            });
        }
        tasks.spawn("vital", OnError::StopAgent, |_| async { Err("disk gone".into()) });
        assert_eq!(tasks.failed().await, "vital");
        tasks.stop_in_order(&["second", "first"], Duration::from_secs(1)).await;
        assert_eq!(*ended.lock().unwrap(), ["second", "first"]);
    }
}
