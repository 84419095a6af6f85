//! The way into the driver: its queue, who waits for an answer, and what it tells.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::BATCH_MAX;
use crate::{
    core::{
        decision::{Change, TapDone, TapRefused},
        input::{Input, Tap},
    },
    meters::Meters,
    pace::is_urgent,
};

/// Inputs that may wait in the queue; senders beyond wait, so that nothing acknowledged is dropped.
pub const QUEUE_MAX: usize = 1024;

/// The queue's item: an input, and who waits for an answer.
#[derive(Debug)]
pub struct Queued {
    pub(super) input: Input,
    pub(super) answer: Option<oneshot::Sender<Result<TapDone, TapRefused>>>,
    /// Who waits for the proof that the store takes a commit.
    pub(super) proof: Option<oneshot::Sender<()>>,
}

impl From<Input> for Queued {
    fn from(input: Input) -> Self {
        Self { input, answer: None, proof: None }
    }
}

/// The driver has ended; nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the driver has ended")]
pub struct Ended;

/// How the rim talks to the driver.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) queue: mpsc::Sender<Queued>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) push: tokio::sync::watch::Sender<u64>,
    pub(super) meters: Arc<Meters>,
    /// Told when a batch that waits for more should not.
    pub(super) hurry: Arc<Notify>,
}

impl Handle {
    /// Puts an input into the queue; waits while it is full.
    /// # Errors
    /// [`Ended`].
    pub async fn send(&self, input: Input) -> Result<(), Ended> {
        let urgent = is_urgent(&input);
        self.queue.send(input.into()).await.map_err(|_| Ended)?;
        if urgent || self.queue.capacity() <= QUEUE_MAX - BATCH_MAX {
            self.hurry.notify_one();
        }
        Ok(())
    }

    /// Hands over a tap and waits until what came of it is on disk.
    /// # Errors
    /// [`TapRefused`]; nothing was done.
    pub async fn submit_tap(&self, tap: Tap) -> Result<TapDone, TapRefused> {
        let (answer, answered) = oneshot::channel();
        let queued = Queued { answer: Some(answer), ..Input::Tap(tap).into() };
        self.queue.send(queued).await.map_err(|_| TapRefused::NotCommitted)?;
        self.hurry.notify_one();
        answered.await.map_err(|_| TapRefused::NotCommitted)?
    }

    /// Waits until the driver has come to the end of its queue and the store has taken a commit.
    /// # Errors
    /// [`Ended`].
    pub async fn prove(&self) -> Result<(), Ended> {
        let (proof, proved) = oneshot::channel();
        let queued = Queued { proof: Some(proof), ..Input::Tick.into() };
        self.queue.send(queued).await.map_err(|_| Ended)?;
        proved.await.map_err(|_| Ended)
    }

    /// What the driver counts.
    #[must_use]
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Inputs that wait in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// What changes from now on, for live pages. A receiver that lags is told so and reads the store again.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Rises whenever something new waits in the outbox.
    #[must_use]
    pub fn outbox_grew(&self) -> tokio::sync::watch::Receiver<u64> {
        self.push.subscribe()
    }
}
