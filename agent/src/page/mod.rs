//! What people at the depot see and do.
//!
//! In: what the store holds, what changes, what people tap. Out: a page that needs no internet, the
//! same as JSON, and taps for the driver. Reading is free on the machine itself; every write asks
//! for name and PIN. Never decides anything.

mod board;
mod doorman;
mod live;
mod metrics;
mod problem;
mod router;
mod taps;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use gatehouse_common::id::VehicleId;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tracing::info;

use crate::{
    clock::Clock,
    config::Operator,
    driver::Handle,
    intake::mqtt::BrokerState,
    store::{Reader, StoreError},
    sync::HubState,
    tasks::{Stop, TaskError},
};

use doorman::Doorman;
use problem::Problem;

pub use doorman::{PinError, hash_pin};

/// Most lookups at the store at one time; more wait.
const LOOKUPS_MAX: usize = 4;
/// Requests that may be answered at one time; more are refused. Those that only read, and those that write and may
/// wait for a PIN, apart: neither keeps the other out.
const READS_MAX: usize = 128;
/// See [`READS_MAX`].
const WRITES_MAX: usize = 32;

/// What the page is made from.
#[derive(Clone)]
pub struct Page {
    /// The store's file; each lookup opens it for reading.
    pub store: PathBuf,
    /// Where taps go.
    pub driver: Handle,
    /// The clock that ages are shown by.
    pub clock: Clock,
    /// The line to the broker.
    pub broker: watch::Receiver<BrokerState>,
    /// The line to the hub.
    pub hub: watch::Receiver<HubState>,
    /// Rows of the store that do not match their checksum and stay where they are.
    pub damaged: watch::Receiver<Vec<String>>,
    /// The depot's name for people.
    pub site_name: String,
    /// The vehicle it rides in; `None` for a depot's gateway.
    pub vehicle: Option<VehicleId>,
}

#[derive(Clone)]
struct App {
    page: Page,
    doorman: Arc<Doorman>,
    lookups: Arc<Semaphore>,
    live: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    remembered: Arc<Mutex<metrics::Remembered>>,
    stop: Stop,
}

impl App {
    fn new(page: Page, operators: Vec<Operator>, stop: Stop) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let doorman = Arc::new(Doorman::new(operators));
        let (live, reads) = (Arc::new(Semaphore::new(live::LIVE_MAX)), Arc::new(Semaphore::new(READS_MAX)));
        let writes = Arc::new(Semaphore::new(WRITES_MAX));
        Self { page, doorman, lookups, live, reads, writes, remembered: Arc::default(), stop }
    }

    /// Pages that are told of changes now.
    fn live_pages(&self) -> usize {
        live::LIVE_MAX - self.live.available_permits()
    }

    /// Looks something up in the store, off the threads that serve requests.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _permit = self.lookups.acquire().await.map_err(|_| Problem::unavailable("the agent is stopping"))?;
        let path = self.page.store.clone();
        let looked = tokio::task::spawn_blocking(move || work(&Reader::open(&path)?)).await;
        match looked {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Problem::unavailable(error.to_string())),
            Err(_) => Err(Problem::unavailable("the lookup broke off")),
        }
    }
}

/// Opens the page's port.
/// # Errors
/// When the port is taken; the message names it.
pub async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        std::io::Error::new(error.kind(), format!("page.listen = {listen}: {error}; is another agent running?"))
    })
}

/// Serves the page on `listener` until `stop`.
/// # Errors
/// When the port fails.
pub async fn serve(listener: TcpListener, page: Page, operators: Vec<Operator>, stop: Stop) -> Result<(), TaskError> {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "the page is at http://{address}/");
    }
    let mut until = stop.clone();
    let router = router::router(App::new(page, operators, stop));
    axum::serve(listener, router).with_graceful_shutdown(async move { until.stopped().await }).await?;
    Ok(())
}
