//! Puts the rooms together: which tasks run, what they share, how they end.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tracing::{info, warn};

use crate::{
    clock::{Clock, TIME_SERVICE_LOOK, TIME_SERVICE_MARKER},
    config::{Config, key},
    core::{
        Profile,
        input::{Input, Line},
    },
    driver::{self, Driver},
    intake::{mqtt::Intake, payload::Births, read::MessageReader},
    page::{self, Page},
    scrub,
    store::{Identity, Store},
    supervisor::{Seen, Supervisor},
    sync::{HubState, Own, Sync},
    tasks::{OnError, Stop, TaskError, Tasks},
};

/// How long each task may take to end by itself, in real time.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the agent until SIGTERM or SIGINT, or until a task without which nothing works has failed.
/// # Errors
/// What keeps it from starting, or which task failed.
pub async fn run(config: Config, clock: Clock) -> anyhow::Result<()> {
    // Only the first installer succeeds; a second run in one process finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let supervisor = Arc::new(Supervisor::from_environment());
    let started = start(config, clock, &supervisor).await;
    if let Err(error) = &started {
        supervisor.tell(&format!("STATUS=does not start: {}", format!("{error:#}").replace('\n', " ")));
    }
    let mut tasks = started?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        name = tasks.failed() => Some(name),
    };
    info!("stopping");
    supervisor.tell("STOPPING=1\nSTATUS=stopping: what waits is committed first");
    // First nothing more comes in, then nothing more is told or shown, then what is left is committed.
    tasks
        .stop_in_order(
            &["time service", "intake", "certificate", "push", "pull", "scrub", "page", "supervisor", "driver"],
            GRACE,
        )
        .await;
    match failed {
        None => Ok(()),
        Some(name) => Err(anyhow::anyhow!("task {name} failed; the reason is in the log above")),
    }
}

/// Opens the store and the page's port and starts every task.
async fn start(config: Config, clock: Clock, supervisor: &Arc<Supervisor>) -> anyhow::Result<Tasks> {
    let Config {
        device,
        store_path,
        store_limits,
        mqtt,
        topics,
        site,
        hub,
        identity_file,
        page: page_config,
        operators,
        bundle,
        bundle_text,
    } = config;
    let key = key::load_or_make(&device.key_file)?;
    let listener = page::bind(page_config.listen).await?;
    let identity = Identity { device: device.id.clone(), site: device.site.clone(), public_key: key.public() };
    let mut store = Store::open(&store_path, &identity)?;
    store.keep_within(store_limits)?;
    let bundle = store.rules_at_start(bundle, &bundle_text, clock.now().wall).context("the rules cannot be kept")?;
    let now = clock.wall();
    let snapshot = store.snapshot_over_damage(now).context("the store cannot be read")?;
    let births = Births::restored(snapshot.rules.iter().map(|(key, body)| (key.as_str(), body.as_str())));
    let status = store.look().status().context("the store cannot be read")?;
    let had_session = status.counters.get("connections").is_some_and(|connections| *connections > 0);
    let profile = Profile {
        device: device.id.clone(),
        site: device.site.clone(),
        vehicle: device.vehicle.clone(),
        yard: site.geofence,
        key: key.clone(),
        hub_key: hub.as_ref().map(|hub| hub.public_key),
        bundle,
    };
    if let Some(pretend) = clock.describe() {
        warn!("the clock is a pretend one: {pretend}");
    }
    info!(device = %device.id, site = %device.site, version = env!("CARGO_PKG_VERSION"), "agent {} starts", device.id);
    let (acknowledged, to_acknowledge) = mpsc::unbounded_channel();
    let core = driver::load(profile, snapshot, &mut store, now).context("the store cannot be read")?;
    let (driver, handle) = Driver::start(core, store, clock.clone(), acknowledged)?;

    let mut tasks = Tasks::new();
    // A pretend clock is not the one that the operating system sets.
    if clock.describe().is_none() {
        let clock = clock.clone();
        tasks.spawn("time service", OnError::Restart, move |stop| watch_time_service(clock.clone(), stop));
    }
    // The driver ends when nobody can send to it any more: after all others.
    tasks.spawn_once("driver", |_| async { driver.ended().await.map_err(TaskError::from) });

    let devices = status.sources.into_iter().filter(|source| source.readings.is_some());
    let reader = MessageReader::new(topics.clone(), site.doors, mqtt.payload_max_bytes, births)
        .knowing(devices.map(|source| (source.source, source.heard)));
    let (intake, broker) =
        Intake::new(mqtt, topics, reader, had_session, clock.clone(), handle.clone(), to_acknowledge);
    tasks.spawn_once("intake", |stop| intake.run(stop));

    let hub_state = match hub {
        None => {
            let trouble = identity_file.map(|path| {
                let what = format!(
                    "not enrolled: there is no {}; run `gatehouse-agent enrol` with an invitation, then restart the agent",
                    path.display()
                );
                warn!("{what}");
                what
            });
            if trouble.is_none() {
                info!("no [hub] is configured: this agent stands alone");
            }
            // Nobody else will say so, and until it is said the agent waits for recalls.
            handle.send(Input::Line(Line::Lost)).await?;
            watch::channel(HubState { trouble, ..HubState::default() }).1
        }
        Some(hub) => {
            let (sync, seen) =
                Sync::new(&hub, Own::from(&device), key.clone(), store_path.clone(), clock.clone(), handle.clone())
                    .map_err(|error| anyhow::anyhow!("the line to the hub cannot be set up: {error}"))?;
            if let Some(path) = identity_file.filter(|_| hub.identity.is_some()) {
                let (keeper, key) = (sync.clone(), key.clone());
                tasks.spawn("certificate", OnError::Restart, move |stop| {
                    keeper.clone().keep_certificate(key.clone(), path.clone(), stop)
                });
            }
            let (push, pull) = (sync.clone(), sync);
            tasks.spawn("push", OnError::Restart, move |stop| push.clone().push(stop));
            tasks.spawn("pull", OnError::Restart, move |stop| pull.clone().pull(stop));
            seen
        }
    };

    if supervisor.listens() {
        let (supervisor, driver) = (supervisor.clone(), handle.clone());
        let seen = Seen { broker: broker.clone(), hub: hub_state.clone(), clock: clock.clone() };
        tasks.spawn_once("supervisor", |stop| async move { supervisor.watch(driver, seen, stop).await });
    }

    let site_name = site.name.unwrap_or_else(|| device.site.to_string());
    let (found, damaged) = watch::channel(Vec::new());
    let (scrubbed, told) = (store_path.clone(), handle.clone());
    tasks.spawn("scrub", OnError::Restart, move |stop| scrub::run(scrubbed.clone(), told.clone(), found.clone(), stop));
    let vehicle = device.vehicle;
    let page = Page { store: store_path, driver: handle, clock, broker, hub: hub_state, damaged, site_name, vehicle };
    tasks.spawn_once("page", |stop| page::serve(listener, page, operators, stop));
    Ok(tasks)
}

/// Waits until the operating system's time service has set the clock since boot.
async fn watch_time_service(clock: Clock, mut stop: Stop) -> Result<(), TaskError> {
    while !clock.heed_time_service(Path::new(TIME_SERVICE_MARKER)) {
        tokio::select! {
            () = stop.stopped() => return Ok(()),
            () = tokio::time::sleep(TIME_SERVICE_LOOK) => {}
        }
    }
    stop.stopped().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, store::Reader};

    #[tokio::test]
    async fn without_a_hub_the_agent_does_not_wait_for_recalls() {
        let directory = tempfile::tempdir().unwrap();
        let text = include_str!("../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", "port = 9")
            .replace("127.0.0.1:8321", "127.0.0.1:0");
        let config = config::parse(&text, directory.path()).unwrap();
        let store = config.store_path.clone();
        let tasks = start(config, Clock::system(), &Arc::new(Supervisor::from_environment())).await.unwrap();
        let line = || Reader::open(&store).unwrap().status().unwrap().line;
        let started = std::time::Instant::now();
        while !line().cut_off || line().starting {
            assert!(started.elapsed() < Duration::from_secs(10), "it still waits: {:?}", line());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tasks.stop_in_order(&["time service", "intake", "scrub", "page", "driver"], GRACE).await;
    }
}
