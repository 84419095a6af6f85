//! Tells open connections that their device was cut off.
//!
//! The command line revokes in the store, beside a hub that runs: so the store is looked at every other second. The
//! next exchange of a revoked device is refused without this; this ends what is open.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use gatehouse_common::id::DeviceId;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    store::{Store, StoreError},
    tasks::{Stop, TaskError},
};

/// How often the store is looked at, in real time.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Clone)]
struct Seen {
    /// The last cut that was seen.
    last: u64,
    /// The last cut of each device that was cut off while this hub runs.
    devices: BTreeMap<DeviceId, u64>,
}

/// What connections wait on. Copies see the same.
#[derive(Debug, Clone)]
pub struct Revocations(watch::Receiver<Arc<Seen>>);

impl Revocations {
    /// Ends once `device` is cut off after now.
    pub fn cut(&self, device: &DeviceId) -> impl Future<Output = ()> + Send + use<> {
        let (mut seen, device) = (self.0.clone(), device.clone());
        let since = seen.borrow().last;
        async move {
            let is_cut = |seen: &Arc<Seen>| seen.devices.get(&device).is_some_and(|n| *n > since);
            if seen.wait_for(is_cut).await.is_err() {
                // Nobody looks any more: the hub is stopping.
                std::future::pending().await
            }
        }
    }
}

/// Looks at the store for those who wait.
#[derive(Clone)]
pub struct Watcher {
    store: Store,
    seen: Arc<watch::Sender<Arc<Seen>>>,
}

impl Watcher {
    /// Begins with what the store holds now.
    /// # Errors
    /// If the store cannot be read.
    pub fn new(store: Store) -> Result<(Self, Revocations), StoreError> {
        let last = store.read_now(|r| r.cuts_after(0))?.last().map_or(0, |(n, _)| *n);
        let (sender, receiver) = watch::channel(Arc::new(Seen { last, devices: BTreeMap::new() }));
        Ok((Self { store, seen: Arc::new(sender) }, Revocations(receiver)))
    }

    /// Looks every other second until `stop`.
    /// # Errors
    /// Never; a store that cannot be read is told and looked at again.
    pub async fn run(self, mut stop: Stop) -> Result<(), TaskError> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.stopped() => return Ok(()),
            }
            if let Err(error) = self.look().await {
                warn!(%error, "the list of devices that were cut off cannot be read: {error}");
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let last = self.seen.borrow().last;
        let cuts = self.store.read(move |r| r.cuts_after(last)).await?;
        if cuts.is_empty() {
            return Ok(());
        }
        for (_, device) in &cuts {
            info!(device.id = %device, "{device} is cut off: its connections end");
        }
        self.seen.send_modify(|seen| {
            let mut next = Seen::clone(seen);
            for (n, device) in cuts {
                next.last = n;
                next.devices.insert(device, n);
            }
            *seen = Arc::new(next);
        });
        Ok(())
    }
}
