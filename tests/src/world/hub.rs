//! The hub of the pretend world: the product's store, exchange, reconciliation, postings and leases, without sockets.

mod backups;
pub mod endpoint;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::routing::MethodRouter;
use gatehouse_common::{
    bundle::{Bundle, Rules},
    id::{DeviceId, Hash32},
    seal::PrivateKey,
    sync::{FrameError, Pull, PullReply, Push, Repair, decode, encode, protocol_of},
    time::UtcMs,
};
use gatehouse_hub::{
    clock::Clock,
    core::{leases::LeasePolicy, reconcile::ReconPolicy},
    erp::{
        Connector,
        poll::{self, PollOptions},
        post::{PostOptions, Poster},
    },
    lease_grants::{self, Grantor, Looks},
    partners::events::{Event, Taken},
    reconciler::Reconciler,
    store::{
        Device, DeviceKind, Location, PostgresOptions, Remembered, Store, StoreChange, StoreError,
        claims::{Claimant, POST},
    },
    sync::{devices, handle_push, handle_repair, pull},
};
use tokio::{
    runtime::Runtime,
    sync::broadcast::{Receiver, error::TryRecvError},
};

use self::shared::{LEASES, POLL, RECONCILER};
use super::{DAWN, clock::Machine, depot::Agent, erp::PretendErp};

/// The hub and its machine.
pub struct Hub {
    /// Which replica of the hub it is; 0 where there is one.
    pub number: usize,
    /// Where its store is, if that is a file.
    pub path: PathBuf,
    /// The database that it shares with the other replicas, if its store is not a file.
    shared: Option<PostgresOptions>,
    /// Its clock.
    pub machine: Machine,
    /// The program, while it runs.
    pub running: Option<Running>,
    /// Its key.
    pub key: PrivateKey,
    pub(super) clock: Clock,
    erp: PretendErp,
    /// How it speaks with its ERP: the pretend one, unless it was told to ask another.
    connector: Arc<dyn Connector>,
    lasts_ms: u64,
    /// The rules that it has activated.
    bundle: Bundle,
    runtime: Runtime,
    noted: UtcMs,
    stores: u32,
    /// Whether it prunes its feeds, and so writes down how far each device has read.
    pub prunes: bool,
}

/// The file beside its store in which it writes down how far that had got.
const SEEN: &str = "hub.seen";
/// Between two notes of how far its store has got, in milliseconds.
const NOTE_EVERY: i64 = 10_000;

/// A running hub.
pub struct Running {
    /// Remembers.
    pub store: Store,
    reconciler: Reconciler,
    poster: Poster,
    looks: Looks,
    claimants: BTreeMap<&'static str, Claimant>,
    /// The claims that it holds, as far as it knows.
    held: BTreeSet<&'static str>,
    changes: Receiver<StoreChange>,
    /// Pulls that wait for something new.
    pub waiting: Vec<WaitingPull>,
    /// Where devices ask whose certificate is looked at, once one has.
    endpoint: OnceLock<MethodRouter>,
}

/// What was committed at the hub, as far as anyone waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// A feed grew: pulls that wait can be answered.
    pub feed: bool,
    /// Something that reconciliation may have to answer.
    pub work: bool,
    /// How many changes that were.
    pub told: usize,
}

/// A pull that waits.
#[derive(Debug, Clone)]
pub struct WaitingPull {
    /// Whose.
    pub agent: usize,
    /// Which request.
    pub request: u64,
    /// What it asked.
    pub pull: Pull,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// It is down.
    #[error("the hub is down")]
    Down,
    /// The request cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an older copy comes into the place of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// By the program for it.
    Told,
    /// By hand, with nobody told; what the hub knows outside of its store is as it was.
    Copied,
    /// The whole machine is put back: nothing outside of the store knows better either.
    WithItsMachine,
}

/// What became of a pull.
pub enum Answer {
    /// The frame to send back.
    Frame(Vec<u8>),
    /// It waits for something new.
    Waits(Pull),
}

impl Hub {
    /// A hub that does not run yet. Its leases last `lasts_ms`.
    /// # Panics
    /// If the operating system gives no threads.
    #[must_use]
    pub fn new(directory: &Path, machine: Machine, erp: PretendErp, lasts_ms: u64, now: UtcMs) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self {
            number: 0,
            path: directory.join("hub.db"),
            shared: None,
            clock: Clock::standing(machine.at(now)),
            machine,
            running: None,
            key: PrivateKey::from_seed([1; 32]),
            connector: Arc::new(erp.clone()),
            erp,
            lasts_ms,
            bundle: Bundle { hash: Hash32::of(b""), rules: Rules::default() },
            noted: now,
            stores: 1,
            prunes: false,
            runtime: runtime.expect("a runtime can be made"),
        }
    }

    /// Starts the program from what its store holds.
    /// # Errors
    /// [`StoreError`]: it would not start.
    pub fn start(&mut self) -> Result<(), StoreError> {
        self.erp.hub_lives();
        let store = self.remembered().open(&self.location(), &hub_name(), self.clock.wall())?;
        self.running = Some(Running {
            reconciler: self.new_reconciler(&store),
            poster: self.new_poster(&store),
            looks: Looks::default(),
            claimants: BTreeMap::new(),
            held: BTreeSet::new(),
            changes: store.changes(),
            waiting: Vec::new(),
            endpoint: OnceLock::new(),
            store,
        });
        Ok(())
    }

    fn location(&self) -> Location {
        match &self.shared {
            None => Location::Sqlite(self.path.clone()),
            Some(options) => Location::Postgresql(options.clone()),
        }
    }

    fn new_reconciler(&self, store: &Store) -> Reconciler {
        Reconciler::new(store.clone(), self.clock.clone(), self.bundle.clone(), policy())
    }

    fn new_poster(&self, store: &Store) -> Poster {
        // The pretend ERP has applied what it will apply when the answer is lost: nothing is still on its way.
        let options = PostOptions { settle: Duration::ZERO, chance: || 0, ..PostOptions::default() };
        Poster::new(store.clone(), Arc::clone(&self.connector), self.clock.clone(), options)
    }

    /// From now on its ERP is the one that `connector` speaks with, over a network that goes on while the world stands.
    /// # Errors
    /// [`StoreError`]: it would not start again.
    /// # Panics
    /// If the operating system gives no threads.
    pub fn asks(&mut self, connector: Arc<dyn Connector>) -> Result<(), StoreError> {
        self.dies();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        self.runtime = runtime.expect("a runtime can be made");
        self.connector = connector;
        self.start()
    }

    /// Rules of another name are activated: the same ones, which is enough to tell them apart.
    /// # Errors
    /// [`StoreError`]: it would not start again.
    pub fn activates(&mut self, name: &str) -> Result<(), StoreError> {
        self.dies();
        self.bundle.hash = Hash32::of(name.as_bytes());
        self.start()
    }

    /// By what the hub wrote down, every lease had ended when this world began: a depot that goes on under one takes it for
    /// longer than it was granted.
    /// # Panics
    /// If the store cannot be changed behind the hub's back.
    pub fn leases_had_ended(&self) {
        let behind_its_back = rusqlite::Connection::open(&self.path).expect("the hub's file can be opened");
        let sql = "UPDATE leases SET expires_ms = ?1, body = json_set(body, '$.expires_at', ?1)";
        let changed = behind_its_back.execute(sql, [DAWN.0]).expect("leases can be changed");
        assert!(changed > 0, "the hub granted something");
    }

    /// The program is killed. Pulls that waited get no answer.
    pub fn dies(&mut self) {
        self.running = None;
    }

    /// Time goes on.
    /// # Errors
    /// [`StoreError`] if what the hub knows of its store cannot be written down.
    pub fn set_time(&mut self, now: UtcMs) -> Result<(), StoreError> {
        self.clock.set(self.machine.at(now));
        self.erp.set_time(now);
        match &self.running {
            Some(running) if now.since(self.noted) >= NOTE_EVERY => {
                self.noted = now;
                self.remembered().note(&running.store)
            }
            _ => Ok(()),
        }
    }

    /// What it knows of its store, outside of it.
    fn remembered(&self) -> Remembered {
        Remembered::at(&self.path.with_file_name(SEEN))
    }

    /// Puts an agent on the list of devices.
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self, agent: &Agent) -> Result<(), StoreError> {
        let Some(running) = &self.running else { return Err(StoreError::Stopped) };
        devices::add(&running.store, listed(agent), "admin", self.clock.wall())
    }

    /// Takes a push in; the answer is ready once it is committed.
    /// # Errors
    /// [`HubError`]: the agent gets none.
    pub fn push(&self, device: &DeviceId, frame: &[u8]) -> Result<Vec<u8>, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        let push: Push = decode(frame)?;
        let (key, device, now) = (self.key.clone(), device.clone(), self.clock.now());
        let reply = running.store.write_now(move |tx| handle_push(tx, &key, &device, &push, &now))?;
        Ok(encode(&reply)?)
    }

    /// Answers a pull, or lets it wait.
    /// # Errors
    /// [`HubError`]: the agent gets no answer.
    pub fn pull(&self, device: &DeviceId, frame: &[u8]) -> Result<Answer, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        let asked: Pull = decode(frame)?;
        let compares = protocol_of(frame) >= 2;
        if self.prunes {
            let (device, cursor, now) = (device.clone(), asked.cursor, self.clock.wall());
            running.store.write_now(move |tx| tx.device_reads(&device, &cursor, compares, now))?;
        }
        let attest = compares.then(|| self.attest(running));
        let reply = pull::answer(&running.store, device, &asked, attest.as_ref())?;
        if asked.recalls_only || asked.wait_ms == 0 || pull::has_news(&reply) {
            return Ok(Answer::Frame(encode(&reply)?));
        }
        Ok(Answer::Waits(asked))
    }

    /// Answers a pull as things are now, even if nothing is new.
    /// # Errors
    /// [`HubError`].
    pub fn answer(&self, device: &DeviceId, pull: &Pull) -> Result<PullReply, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        Ok(pull::answer(&running.store, device, pull, Some(&self.attest(running)))?)
    }

    fn attest(&self, running: &Running) -> pull::Attest {
        pull::Attest { key: self.key.clone(), run: running.store.actor().epoch, now: self.clock.wall() }
    }

    /// Answers a question of a device that makes both sides alike again.
    /// # Errors
    /// [`HubError`]: the agent gets no answer.
    pub fn repair(&self, device: &DeviceId, frame: &[u8]) -> Result<Vec<u8>, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        let asked: Repair = decode(frame)?;
        // What was pushed a moment ago is folded by then in life.
        running.store.fold_now()?;
        let reply = handle_repair(&running.store, &self.key, device, asked, &self.clock.now())?;
        Ok(encode(&reply)?)
    }

    /// What was committed since the last time this was asked.
    pub fn news(&mut self) -> News {
        let mut news = News::default();
        let Some(running) = &mut self.running else { return news };
        while running.hears(&mut news) {}
        news
    }

    /// A WMS or TMS sends an event. None while the hub is down, or its clock behind: it is to be sent again.
    /// # Errors
    /// [`HubError`] from the store.
    /// # Panics
    /// If the world sends what is no event.
    pub fn event(&self, body: &[u8]) -> Result<Option<Taken>, HubError> {
        let Some(running) = &self.running else { return Ok(None) };
        let now = self.clock.now();
        let event = match Event::parse(body, now.wall) {
            Ok(event) => event,
            // To a clock that is behind, what is told now is yet to come: it is refused, and told again later.
            Err(_) if self.machine.ahead_ms() < 0 => return Ok(None),
            Err(error) => panic!("the world's event: {error}"),
        };
        let (origin, body) = (DeviceId::new("partner").expect("a name"), body.to_vec());
        Ok(Some(running.store.write_now(move |tx| event.take(tx, &origin, &body, &now))?))
    }

    /// Reads the ERP.
    pub fn polls(&mut self) {
        let Some(running) = self.running.as_ref().filter(|running| running.holds(POLL)) else { return };
        // It may be away; the next look is near.
        let options = PollOptions::default();
        let polled = poll::once(&running.store, self.connector.as_ref(), &self.clock, &options);
        let _ = self.runtime.block_on(polled);
    }

    /// Whether a look at leases waits for a read of the orders.
    pub fn leases_wait(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.looks.waits())
    }

    /// Looks after leases.
    /// # Errors
    /// [`StoreError`] if the store is stopped.
    pub fn lends(&mut self) -> Result<(), StoreError> {
        let Some(running) = self.running.as_mut().filter(|running| running.holds(LEASES)) else { return Ok(()) };
        let grantor = Grantor {
            key: self.key.clone(),
            bundle: self.bundle.clone(),
            policy: LeasePolicy { lasts_ms: self.lasts_ms, ..LeasePolicy::default() },
            renew_after_ms: self.lasts_ms / 3,
            unreported_after_ms: 7 * 24 * 3_600_000,
        };
        let granting =
            lease_grants::once(&running.store, self.connector.as_ref(), &self.clock, &grantor, &mut running.looks);
        self.runtime.block_on(granting)
    }

    /// Folds, reconciles and posts until nothing more follows now. False: the hub died at it.
    /// # Errors
    /// [`StoreError`] if the store is stopped.
    pub fn works(&mut self) -> Result<bool, StoreError> {
        let Some(running) = &mut self.running else { return Ok(true) };
        running.store.fold_now()?;
        for _ in 0..8 {
            if running.holds(RECONCILER) {
                self.runtime.block_on(running.reconciler.once())?;
            }
            if !running.holds(POST) {
                break;
            }
            let posted = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    posted = running.poster.once() => posted.map(Some),
                    () = self.erp.hub_must_die() => Ok(None),
                }
            })?;
            match posted {
                None => return Ok(false),
                Some(0) => break,
                Some(_) => {}
            }
        }
        running.store.fold_now()?;
        Ok(true)
    }

    /// When a posting is due next, by true time if its clock stays as it is.
    /// # Errors
    /// [`StoreError`].
    pub fn next_posting(&self) -> Result<Option<UtcMs>, StoreError> {
        let Some(running) = &self.running else { return Ok(None) };
        let due = running.store.read_now(|r| r.next_due())?;
        Ok(due.map(|due| due.plus(-self.machine.ahead_ms())))
    }
}

impl Running {
    /// Takes in one thing that was committed; false if nothing more is known.
    fn hears(&mut self, news: &mut News) -> bool {
        match self.changes.try_recv() {
            Ok(StoreChange::Feed(_)) => news.feed = true,
            Ok(StoreChange::Device(_) | StoreChange::Source | StoreChange::Folded | StoreChange::Quarantine) => {}
            // What it stands for nobody says.
            Ok(StoreChange::Everything) | Err(TryRecvError::Lagged(_)) => {
                *news = News { feed: true, work: true, told: usize::MAX };
            }
            Ok(_) => news.work = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return false,
        }
        news.told = news.told.saturating_add(1);
        true
    }
}

/// An agent as the hub lists it.
fn listed(agent: &Agent) -> Device {
    let (kind, vehicles) = match &agent.vehicle {
        None => (DeviceKind::Gateway, Vec::new()),
        Some(vehicle) => (DeviceKind::Vehicle, vec![vehicle.clone()]),
    };
    let (device, public_key, sites) = (agent.device.clone(), agent.public_key, vec![agent.site.clone()]);
    Device { device, kind, public_key, sites, vehicles }
}

/// The hub's name.
#[must_use]
fn hub_name() -> DeviceId {
    DeviceId::new("hub").expect("a name")
}

pub(super) fn policy() -> ReconPolicy {
    ReconPolicy::default()
}
