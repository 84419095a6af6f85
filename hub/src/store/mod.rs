//! What the hub remembers: in one SQLite file, or in a PostgreSQL that several replicas share.
//!
//! Everything is written by one thread ([`writer`]), many callers to a commit, replica after replica; readers
//! have connections of their own and see one state each. In: closures over [`Tx`] and [`Reader`]. Out: their results, after the
//! commit, and [`StoreChange`]s for those who wait for something new.
//! Ground (the ledger, decisions, the audit) only grows; each row has a checksum that is verified
//! when it is read. Everything else can be derived from it.

mod alike;
pub mod audit;
mod cache;
pub mod claims;
#[cfg(test)]
pub(crate) mod contract;
pub mod cursors;
pub mod damage;
pub mod decisions;
pub mod devices;
pub mod documents;
pub mod edi;
pub mod exchanges;
pub mod facts;
pub mod feeds;
pub mod folding;
pub mod identities;
pub mod leases;
pub mod ledger;
pub mod letters;
mod lifts;
mod listing;
pub mod lives;
mod location;
mod mending;
mod migrations;
pub mod moving;
mod news;
pub mod orders;
pub(crate) mod outboxes;
pub mod past;
pub mod pruning;
pub mod quarantine;
pub mod queue;
mod readers;
pub mod recon;
mod remembered;
mod row;
pub mod sql;
mod tables;
pub mod tracks;
mod turn;
pub mod webhooks;
mod writer;

use std::{fmt, ops::Deref, path::Path, str::FromStr, sync::Arc};

use gatehouse_common::{
    document::{Actor, ActorKind, DocumentError},
    id::{DecisionId, DeviceId, DocumentId, IdError, OrderId, SiteId, VehicleId},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub use audit::AuditEntry;
pub(crate) use cache::DocumentCache;
pub use decisions::StoredDecision;
pub use devices::{Device, DeviceKind, DeviceState};
pub use documents::{AtRest, CaseFilter, DispatchFilter, DocumentRow, DocumentSays};
pub use edi::{EdiFile, EdiWord};
pub use exchanges::{RefusedCount, Run};
pub use feeds::{FeedRow, Stretch};
pub use identities::{Certificate, Invited, Revoked};
pub use location::Location;
pub use quarantine::Quarantined;
pub use recon::{FamilyFigures, ReconFilter};
pub use remembered::Remembered;
pub use sql::{Password, PostgresOptions};

use sql::Connection;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store was stopped, or a write to its disk did not survive. Restart the hub.
    #[error("store is stopped")]
    Stopped,
    /// Nothing was written, as far as is known, or nothing was read: the store is busy, away, or its disk is full. Try
    /// again; each write can be made again, and changes nothing if it was made after all.
    #[error("store did not write: {0}")]
    NotWritten(String),
    /// Another program made this store, or a newer version of this one, or it does not keep what it confirms.
    /// Nothing was written.
    #[error("store at {place}: {why}")]
    Foreign {
        /// Which one.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A row's checksum is wrong or its content cannot be read. The row is left as it is.
    #[error("row {row} of {table} is damaged: {why}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// The caller undid its own work. The text is for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// A document could not be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A value could not be written as JSON.
    #[error("value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The database refused; the closure's work is undone.
    #[error("store refused: {0}")]
    Sql(#[source] sql::Error),
}

/// What was read; nothing if it is damaged, for whoever goes on with the others. It is among what the hub shows as damaged.
/// # Errors
/// Whatever else went wrong.
pub fn if_readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error @ (StoreError::Damaged { .. } | StoreError::Document(_))) => {
            tracing::debug!(%error, "what is damaged is left out: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl From<sql::Error> for StoreError {
    fn from(error: sql::Error) -> Self {
        // A database that is away is no reason to leave anything out: whoever asked tries again.
        if error.may_pass() { Self::NotWritten(error.to_string()) } else { Self::Sql(error) }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        sql::Error::from(error).into()
    }
}

/// Who gets a row of the feed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// The devices of a depot.
    Site(SiteId),
    /// The unit of a vehicle.
    Vehicle(VehicleId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) => write!(f, "site/{site}"),
            Self::Vehicle(vehicle) => write!(f, "vehicle/{vehicle}"),
        }
    }
}

impl FromStr for Scope {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_prefix("vehicle/") {
            Some(vehicle) => VehicleId::new(vehicle).map(Self::Vehicle),
            None => SiteId::new(text.strip_prefix("site/").unwrap_or(text)).map(Self::Site),
        }
    }
}

/// Something that was committed, for those who wait for it. A hint: whoever missed some reads again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreChange {
    /// A scope has a new row in its feed.
    Feed(Scope),
    /// A dispatch has new chunks.
    Dispatch(DocumentId),
    /// A case has new chunks.
    Case(DocumentId),
    /// The stored views of documents are up to date again.
    Folded,
    /// An order has a new version.
    Order(OrderId),
    /// A fact is newer; its key as JSON.
    Fact(String),
    /// A decision came in.
    Decision(DecisionId),
    /// A recon item changed.
    Recon(DecisionId),
    /// A posting changed, of this order.
    Posting(OrderId),
    /// A lease of this depot changed.
    Lease(SiteId),
    /// A device was added, removed or heard.
    Device(DeviceId),
    /// A source was heard.
    Source,
    /// Something went into quarantine.
    Quarantine,
    /// Others wrote more than can be told: whoever waits reads again.
    Everything,
    /// Something came from a partner, or is to go to one.
    Partner,
}

/// How long a write is held that finds too many waiting, before it is offered again.
const FULL: std::time::Duration = std::time::Duration::from_millis(10);

/// The store. Copies share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    location: Location,
    actor: Actor,
    writer: writer::Writer,
    readers: readers::Readers,
    changes: broadcast::Sender<StoreChange>,
    _news: Option<news::News>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let idle = self.readers.drain();
        if self.location.is_shared() && !idle.is_empty() {
            // Ending a connection waits for the network, which a thread of async code must not.
            std::thread::spawn(move || drop(idle));
        }
    }
}

/// Reads what was committed; inside a write also what that write has done.
pub struct Reader<'c> {
    sql: &'c Connection,
}

/// Reads and writes inside one transaction.
pub struct Tx<'c> {
    reader: Reader<'c>,
    pub(crate) actor: &'c Actor,
    turn: &'c mut turn::Turn,
    pub(crate) cache: &'c mut DocumentCache,
    pub(crate) changes: Vec<StoreChange>,
}

impl<'c> Deref for Tx<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl Tx<'_> {
    /// The hub's own actor, of this start.
    #[must_use]
    pub fn hub_actor(&self) -> &Actor {
        self.actor
    }

    pub(crate) fn changed(&mut self, change: StoreChange) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }
}

impl Store {
    /// Opens the store of the hub called `name` in the SQLite file at `path`; see [`Self::open_at`].
    /// # Errors
    /// As [`Self::open_at`].
    pub fn open(path: &Path, name: &DeviceId) -> Result<Self, StoreError> {
        Self::open_at(&Location::Sqlite(path.to_owned()), name)
    }

    /// Opens the store of the hub called `name`, or makes it. Each opening is a new actor of the hub,
    /// so that no two changes ever share actor and number, whatever was restored from where. It blocks.
    /// # Errors
    /// [`StoreError::Foreign`] names what is wrong with the store; [`StoreError::Sql`] if it cannot be opened.
    pub fn open_at(location: &Location, name: &DeviceId) -> Result<Self, StoreError> {
        Self::open_after(location, name, UtcMs(0))
    }

    /// As [`Self::open_at`], at `now`. The actor's epoch is then never below the seconds of that time: one that the store
    /// has forgotten, since it is an older copy put back, is not taken a second time.
    /// # Errors
    /// As [`Self::open_at`].
    pub fn open_after(location: &Location, name: &DeviceId, now: UtcMs) -> Result<Self, StoreError> {
        let connection = location.open()?;
        let begun = cursors::begin(&connection, now, None)?;
        Self::over(connection, location, name, begun.actor_epoch)
    }

    /// Opens the store beside a hub that may be running, for tools. It begins nothing, so it may write no entries.
    /// # Errors
    /// As [`Self::open_at`].
    pub fn open_beside(location: &Location, name: &DeviceId) -> Result<Self, StoreError> {
        Self::over(location.open()?, location, name, 0)
    }

    fn over(mut connection: Connection, location: &Location, name: &DeviceId, epoch: u32) -> Result<Self, StoreError> {
        let site = SiteId::new(name.as_str()).map_err(|e| StoreError::Refused(e.to_string()))?;
        let actor = Actor { kind: ActorKind::Hub, site, device: name.clone(), epoch };
        let (changes, _) = broadcast::channel(4096);
        // Tools have no epoch of their own, and each must know its own turns.
        let by = format!("{actor}/{:016x}", rand::random::<u64>());
        let news = if location.is_shared() {
            Some(news::News::start(location.clone(), by.clone(), changes.clone())?)
        } else {
            None
        };
        let told = location.is_shared().then_some(by);
        connection.brings_its_log_in_beside()?;
        let writer = writer::Writer::start(connection, actor.clone(), told, changes.clone())?;
        let shared = Shared {
            location: location.clone(),
            actor,
            writer,
            readers: readers::Readers::default(),
            changes,
            _news: news,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn location(&self) -> &Location {
        &self.shared.location
    }

    /// Whether other replicas may write to it at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.location.is_shared()
    }

    /// Runs `work` in a transaction and returns its result once that is on disk.
    ///
    /// Callers that come together share a commit; what one of them refuses undoes only its own work.
    /// # Errors
    /// Whatever `work` returned, or [`StoreError::NotWritten`] or [`StoreError::Stopped`] of the commit.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let job = writer::Writer::job(work, move |result| {
            // The caller may have gone away; its work is committed all the same.
            let _ = sender.send(result);
        });
        let mut back = self.shared.writer.offer(job)?;
        while let Some(job) = back {
            // The threads that serve everyone must not stand still while the store does.
            tokio::time::sleep(FULL).await;
            back = self.shared.writer.offer(job)?;
        }
        receiver.await.map_err(|_| StoreError::Stopped)?
    }

    /// Like [`Self::write`], for callers outside of async code. It blocks.
    /// # Errors
    /// As [`Self::write`].
    pub fn write_now<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.shared.writer.submit(writer::Writer::job(work, move |result| {
            let _ = sender.send(result);
        }))?;
        receiver.recv().map_err(|_| StoreError::Stopped)?
    }

    /// Runs `work` over what is committed now, on a thread for blocking work.
    /// # Errors
    /// Whatever `work` returned.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_now(work)).await.map_err(|_| StoreError::Stopped)?
    }

    /// Like [`Self::read`], for callers outside of async code. It blocks.
    /// # Errors
    /// Whatever `work` returned.
    pub fn read_now<T>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.readers.read(&self.shared.location, work)
    }

    /// What is committed from now on, as hints. A receiver that lags reads the store again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<StoreChange> {
        self.shared.changes.subscribe()
    }

    /// The hub's own actor, of this start.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.shared.actor
    }

    /// Whether a write was lost on its way to disk. The hub must stop then and open the store anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.writer.is_broken()
    }

    /// How many commits were made since the start.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.writer.commits()
    }
}
