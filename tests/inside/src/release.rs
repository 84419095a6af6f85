//! How long a release takes, from the last fact that it waits for: the papers, by a scanner.
//!
//! What is measured is more than the aim asks: from the hand-over of that reading to the driver until the commit that
//! holds it and the release.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gatehouse_agent::{
    clock::Clock,
    core::{
        decision::Change,
        input::{Input, Line},
    },
    driver::{Driver, Handle},
};
use gatehouse_common::{dispatch::document_id, id::DocumentId};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    aim,
    depot::{self, Depot, order_id},
};

/// Readings of the load in a second.
const PER_SECOND: u32 = 500;
/// Time between two dispatches.
const PAUSE: Duration = Duration::from_millis(60);
/// A release that takes longer is given up.
const STUCK: Duration = Duration::from_secs(10);

/// Releases so many dispatches under load; says whether the aim holds.
pub fn run(orders: u32) -> anyhow::Result<bool> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(measure(orders))
}

async fn measure(orders: u32) -> anyhow::Result<bool> {
    let directory = tempfile::Builder::new().prefix("gatehouse-inside-").tempdir()?;
    let path = directory.path().join("store.db");
    let (core, store) = depot::open(&path)?;
    let clock = Clock::system();
    clock.trust();
    let (acknowledged, _receipts) = tokio::sync::mpsc::unbounded_channel();
    let (driver, handle) = Driver::start(core, store, clock.clone(), acknowledged)?;
    let load = tokio::spawn(load(handle.clone(), clock.clone()));
    let mut changes = handle.subscribe();
    let mut depot = Depot::default();
    handle.send(Input::Line(Line::Up { recalls_known: true })).await?;
    handle.send(depot.lease(clock.wall())?).await?;
    let mut took_ms = Vec::new();
    for n in 0..orders {
        let dispatch = document_id(&order_id(n)?, &"D1".parse()?, 1);
        for input in depot.order(n, clock.wall())? {
            handle.send(input).await?;
        }
        handle.send(depot.at_door(n, clock.wall())?).await?;
        tokio::time::sleep(PAUSE).await;
        handle.prove().await?;
        while changes.try_recv().is_ok() {}
        let papers = depot.papers(n, clock.wall())?;
        let started = Instant::now();
        handle.send(papers).await?;
        tokio::time::timeout(STUCK, changed(&mut changes, dispatch)).await.context("nothing came of the papers")??;
        took_ms.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    load.abort();
    drop(handle);
    // The load ends when it is next polled, and the driver with its last handle.
    let _ = load.await;
    driver.ended().await?;
    let (_, store) = depot::open(&path)?;
    let released: u64 = store.look().totals(Default::default())?.releases.by_mode.values().sum();
    let readings = store.look().readings(1)?.first().map_or(0, |reading| reading.position);
    ensure!(released == u64::from(orders), "{released} of {orders} were released: what was timed was something else");
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| (took_ms[((took_ms.len() - 1) as f64 * share) as usize] * 10.0).round() / 10.0;
    let beside = json!({ "orders": orders, "readings": readings, "p50_ms": at(0.5), "slowest_ms": at(1.0) });
    Ok(aim("release decision, all gates, p99 in ms at 500 readings/s", at(0.99), 50.0, beside))
}

async fn changed(changes: &mut Receiver<Change>, dispatch: DocumentId) -> anyhow::Result<()> {
    loop {
        match changes.recv().await {
            Ok(Change::Dispatch { document }) if document == dispatch => return Ok(()),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => anyhow::bail!("the driver has ended"),
        }
    }
}

/// Sends readings at their pace until it is stopped.
async fn load(handle: Handle, clock: Clock) -> anyhow::Result<()> {
    let mut next = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    for n in 0.. {
        next.tick().await;
        let reading = depot::reading(n, clock.wall())?;
        handle.send(Input::Reading { reading, receipt: None }).await?;
    }
    Ok(())
}
