//! Puts the rooms together: which tasks run, what they share, how they end.

use std::{fs::File, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::Response,
};
use gatehouse_common::{
    bundle::{Bundle, Rules},
    id::Hash32,
    seal::PublicKey,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

use crate::{
    api::{self, About, Api},
    auth::Gatekeeper,
    clock::Clock,
    config::{Config, DevicesConfig, ErpConfig, PolicyConfig, TlsConfig, key},
    console,
    core::{leases::LeasePolicy, reconcile::ReconPolicy},
    descriptors,
    identity::{self, Authority, Enrolment, Revocations, Terms, Watcher},
    lease_grants::Grantor,
    listen::{self, Caller, Doors, Share, Shares, TlsListener},
    partners::{
        desk::folders,
        webhooks::deliver::{self, Subscribers},
    },
    reconciler,
    store::{Location, Remembered, Store},
    sync::{self, Admission, News, Quota, Refusals, SyncState},
    tasks::{OnError, Stop, TaskError, Tasks},
};

mod alone;

/// How long each task may take to end by itself, in real time.
const GRACE: Duration = Duration::from_secs(5);
/// Between two notes of how far the store has got. A copy that is older than the last of them is noticed when it is put back.
const REMEMBER_EVERY: Duration = Duration::from_secs(10);
const DAY_MS: i64 = 24 * 3_600_000;

/// A hub that runs.
pub struct RunningHub {
    /// Where API and console are served.
    pub address: SocketAddr,
    /// Where devices speak with certificates.
    pub devices: Option<SocketAddr>,
    /// What depots know it by.
    pub public_key: PublicKey,
    tasks: Tasks,
    /// Held while it runs, so that no second hub writes to the same file. A database that is shared needs none.
    _lock: Option<File>,
}

impl RunningHub {
    /// Waits until a task without which nothing works has ended, and names it.
    pub async fn failed(&mut self) -> &'static str {
        self.tasks.failed().await
    }

    /// Ends everything: first nothing more comes in, then what is under way is brought to its end.
    pub async fn stop(self) {
        self.tasks
            .stop_in_order(
                &[
                    "devices",
                    "api",
                    "news",
                    "revocations",
                    "partners",
                    "webhooks",
                    "poll",
                    "post",
                    "leases",
                    "reconciler",
                    "scrub",
                    "pruning",
                    "folding",
                    "store",
                    "memory",
                ],
                GRACE,
            )
            .await;
    }
}

/// Runs the hub until SIGTERM or SIGINT, or until a task without which nothing works has failed.
/// # Errors
/// What keeps it from starting, or which task failed.
pub async fn run(config: Config, clock: Clock) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hub = start(config, clock).await?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        name = hub.failed() => Some(name),
    };
    info!("stopping");
    hub.stop().await;
    match failed {
        None => Ok(()),
        Some(name) => bail!("task {name} failed; the reason is in the log above"),
    }
}

/// Opens the store and the port and starts every task.
/// # Errors
/// What keeps it from starting.
pub async fn start(config: Config, clock: Clock) -> anyhow::Result<RunningHub> {
    // Only the first installer succeeds; a second run in one process finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let descriptors = descriptors::raise();
    let Config { listen, database, hub, erp, operators, tokens, partners, webhooks, nats, mail, policy, tls, devices } =
        config;
    let key = key::load_or_make(&hub.key_file)?;
    let public_key = key.public();
    let lock = match &database {
        Location::Sqlite(path) => Some(lock(path)?),
        Location::Postgresql(_) => None,
    };
    let (place, name, now) = (database.clone(), hub.name.clone(), clock.wall());
    let remembered = Remembered::at(&hub.key_file.with_extension("seen"));
    let kept = remembered.clone();
    let store = tokio::task::spawn_blocking(move || kept.open(&place, &name, now)).await??;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("--listen {listen}: is another program there?"))?;
    let address = listener.local_addr()?;
    if let Some(pretend) = clock.describe() {
        warn!("the clock is a pretend one: {pretend}");
    }
    let about = About { name: hub.name.clone(), public_key, erp: erp.as_ref().map(ErpConfig::kind_name) };
    info!(hub = %hub.name, version = env!("CARGO_PKG_VERSION"), "hub {} starts, key {public_key}", hub.name);

    let bundle = Bundle { hash: Hash32::of(b""), rules: Rules::default() };
    let mut tasks = Tasks::new();
    let at = store.clone();
    tasks.spawn("store", OnError::StopHub, move |stop| watch_store(at.clone(), stop));
    let at = store.clone();
    tasks.spawn("memory", OnError::Restart, move |stop| remember(remembered.clone(), at.clone(), stop));
    alone::upkeep(&mut tasks, &store, &clock, i64::from(devices.feed_days) * DAY_MS);
    let (choices, time, rules) = (recon_policy(&policy), clock.clone(), bundle.clone());
    alone::spawn(&mut tasks, &store, "reconciler", move |store, stop| {
        reconciler::run(store, time.clone(), rules.clone(), choices, stop)
    });
    match &erp {
        None => info!("no [erp] is configured: decisions stay open, and no lease is granted"),
        Some(erp) => {
            let grantor = Grantor {
                key: key.clone(),
                bundle,
                policy: lease_policy(&policy),
                renew_after_ms: u64::from(policy.renew_minutes) * 60_000,
                unreported_after_ms: i64::from(policy.unreported_days) * DAY_MS,
            };
            alone::erp(&mut tasks, erp, &store, &clock, grantor)?;
        }
    }
    if !partners.is_empty() {
        let (time, all) = (clock.clone(), partners.clone());
        alone::spawn(&mut tasks, &store, "partners", move |store, stop| {
            folders::run(store, time.clone(), all.clone(), stop)
        });
    }
    if !webhooks.is_empty() || !nats.is_empty() || mail.is_some() {
        let all = Subscribers { hooks: webhooks.clone(), streams: nats.clone(), letters: mail };
        let time = clock.clone();
        alone::spawn(&mut tasks, &store, "webhooks", move |store, stop| {
            deliver::run(store, time.clone(), all.clone(), stop)
        });
    }
    let authority = Arc::new(Authority::load_or_make(&tls.authority_file, &hub.name, clock.wall())?);
    let at = store.clone();
    let (watcher, revocations) = tokio::task::spawn_blocking(move || Watcher::new(at)).await??;
    tasks.spawn("revocations", OnError::Restart, move |stop| watcher.clone().run(stop));
    let refusals = Refusals::new(store.clone(), clock.clone());
    let shares = Shares::of(descriptors, devices.listen.is_some());
    let ground = Ground { store: store.clone(), clock: clock.clone(), authority, revocations, refusals, shares };
    let news = News::new(store.clone());
    let exchange = SyncState::new(store.clone(), clock.clone(), key, ground.admission(&devices), news.clone());
    tasks.spawn("news", OnError::Restart, move |stop| news.clone().run(stop));
    let to_devices = ground.serve_devices(&mut tasks, &tls, &devices, public_key, exchange.clone()).await?;

    let keeper = Gatekeeper::new(operators, tokens);
    let names = names(&tls, &devices, [address]);
    let doors = match (&tls.files, tls.plain_on_loopback) {
        (_, true) => None,
        (Some((chain, private)), _) => Some(listen::people_from_files(chain, private, &clock)?),
        (None, _) => Some(listen::people(&ground.authority, &names, &clock)?),
    };
    let scheme = if doors.is_some() { "https" } else { "http" };
    let served = match doors {
        None => Served::Plain(listener),
        Some(doors) => Served::Tls(ground.listener(listener, doors, shares.people)),
    };
    tasks.spawn_once("api", move |mut stop| async move {
        let api = Api::new(store, clock, keeper, about, stop.clone())
            .with_partners(partners, webhooks, nats)
            .with_policy(choices);
        let router = api::around(api::router(api).merge(console::router()).merge(sync::router(exchange)));
        let stopped = async move { stop.stopped().await };
        match served {
            Served::Plain(listener) => axum::serve(listener, router).with_graceful_shutdown(stopped).await?,
            Served::Tls(listener) => listen::serve(listener, router, stopped).await,
        }
        Ok(())
    });
    info!("the console is at {scheme}://{address}/");
    Ok(RunningHub { address, devices: to_devices, public_key, tasks, _lock: lock })
}

/// How `--listen` is served.
enum Served {
    Plain(TcpListener),
    Tls(TlsListener),
}

/// What everything that devices meet rests on.
struct Ground {
    store: Store,
    clock: Clock,
    authority: Arc<Authority>,
    revocations: Revocations,
    refusals: Refusals,
    shares: Shares,
}

impl Ground {
    fn listener(&self, tcp: TcpListener, doors: Doors, share: Share) -> TlsListener {
        TlsListener::start(tcp, doors, share, self.revocations.clone(), self.refusals.clone())
    }

    fn admission(&self, devices: &DevicesConfig) -> Admission {
        Admission {
            without_certificate: devices.without_certificate,
            quota: Quota {
                requests_per_minute: devices.requests_per_minute,
                bytes_per_minute: u64::from(devices.kib_per_minute) * 1024,
            },
            refusals: self.refusals.clone(),
            revocations: self.revocations.clone(),
        }
    }

    /// Serves exchange and enrolment where devices speak with certificates, if that is configured.
    async fn serve_devices(
        &self,
        tasks: &mut Tasks,
        tls: &TlsConfig,
        devices: &DevicesConfig,
        hub: PublicKey,
        exchange: SyncState,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(listen) = devices.listen else { return Ok(None) };
        let tcp = TcpListener::bind(listen)
            .await
            .with_context(|| format!("devices.listen {listen}: is another program there?"))?;
        let address = tcp.local_addr()?;
        let doors = listen::devices(&self.authority, &names(tls, devices, [address]), &self.clock)?;
        let listener = self.listener(tcp, doors, self.shares.devices);
        let enrolment = Enrolment {
            store: self.store.clone(),
            clock: self.clock.clone(),
            authority: self.authority.clone(),
            terms: Arc::new(terms(devices, address, hub)),
            refusals: self.refusals.clone(),
        };
        let exchange = sync::router(exchange).layer(middleware::from_fn(only_with_certificate));
        let router = api::with_problems(exchange.merge(identity::router(enrolment)));
        tasks.spawn_once("devices", move |mut stop| async move {
            listen::serve(listener, router, stop.stopped()).await;
            Ok(())
        });
        info!(authority = %self.authority.fingerprint(), "devices speak at {address}, with certificates");
        Ok(Some(address))
    }
}

/// Who came in where devices enrol reaches enrolment alone.
async fn only_with_certificate(
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, api::Problem> {
    if caller.enrols {
        return Err(api::Problem::forbidden("without a certificate there is enrolment alone here"));
    }
    Ok(next.run(request).await)
}

fn terms(devices: &DevicesConfig, address: SocketAddr, hub: PublicKey) -> Terms {
    Terms {
        url: devices.reached_at(address),
        hub,
        lasts_ms: i64::from(devices.certificate_days) * DAY_MS,
        grace_ms: i64::from(devices.grace_days) * DAY_MS,
    }
}

/// What the hub's own certificates are for.
fn names(tls: &TlsConfig, devices: &DevicesConfig, listening: [SocketAddr; 1]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    names.extend(listening.iter().map(|a| a.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.extend(devices.host());
    names.extend(tls.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// Ends once a write was lost on its way to disk: the store must be opened anew then. A write that was refused,
/// on a full disk for one, is no such thing; whoever wrote tries again.
async fn watch_store(store: Store, mut stop: Stop) -> Result<(), TaskError> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.stopped() => return Ok(()),
        }
        if store.is_broken() {
            return Err("a write was lost on its way to disk".into());
        }
    }
}

/// Writes down how far the store has got, for the next start, now and then and at the stop.
async fn remember(remembered: Remembered, store: Store, mut stop: Stop) -> Result<(), TaskError> {
    loop {
        let stopped = tokio::select! {
            () = tokio::time::sleep(REMEMBER_EVERY) => false,
            () = stop.stopped() => true,
        };
        let (to, at) = (remembered.clone(), store.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || to.note(&at)).await? {
            warn!(%error, "how far the store has got is not written down: {error}");
        }
        if stopped {
            return Ok(());
        }
    }
}

fn recon_policy(policy: &PolicyConfig) -> ReconPolicy {
    ReconPolicy {
        two_people_above_minor: policy.two_people_above_minor,
        price_tolerance_percent: policy.price_tolerance_percent,
        close_after_ms: i64::from(policy.close_after_hours) * 3_600_000,
    }
}

fn lease_policy(policy: &PolicyConfig) -> LeasePolicy {
    let permille = |percent: u8| u16::from(percent) * 10;
    LeasePolicy {
        reserve_permille: permille(policy.reserve_percent),
        credit_share_permille: permille(policy.credit_slice_percent),
        stock_share_permille: permille(policy.stock_slice_percent),
        lasts_ms: u64::from(policy.lease_hours) * 3_600_000,
        value_ceiling_minor: policy.value_ceiling_minor,
    }
}

/// Two hubs on one store would both settle it.
pub(crate) fn lock(database: &Path) -> anyhow::Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = Path::new(&path);
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another hub serves {} already; stop it, or name another database", database.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
