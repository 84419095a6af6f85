//! Files of folders: taken and moved aside, or put there whole.
//!
//! A file that appears under its final name while it is still being written may be read too early; then it is refused and
//! kept. Partners write under a name that begins with a dot, or elsewhere, and rename it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use gatehouse_common::id::OrderId;
use tokio::sync::broadcast::error::TryRecvError;
use tracing::{info, warn};

use super::{send::about_order, take::take};
use crate::{
    clock::Clock,
    config::PartnerConfig,
    partners::edi::FILE_MAX_BYTES,
    store::{Store, StoreChange, StoreError},
    tasks::{Stop, TaskError},
};

/// How long between two looks, in real time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a file must have been left alone, in real time.
const QUIET: Duration = Duration::from_secs(1);
/// Most files of one look.
const FILES_MAX: usize = 200;

/// Takes and writes files until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(store: Store, clock: Clock, partners: Vec<PartnerConfig>, mut stop: Stop) -> Result<(), TaskError> {
    let mut changes = store.changes();
    let mut all = true;
    while !stop.is_stopped() {
        let orders = changed_orders(&store, &mut changes, std::mem::take(&mut all)).await?;
        for partner in &partners {
            write_due(&store, &clock, partner, &orders).await?;
            look(&store, &clock, partner).await?;
            put(&store, partner).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.stopped() => {}
        }
    }
    Ok(())
}

/// Orders that something changed for; all of them at first, and where hints were missed.
async fn changed_orders(
    store: &Store,
    changes: &mut tokio::sync::broadcast::Receiver<StoreChange>,
    mut all: bool,
) -> Result<Vec<OrderId>, StoreError> {
    let (mut orders, mut dispatches) = (BTreeSet::new(), BTreeSet::new());
    loop {
        match changes.try_recv() {
            Ok(StoreChange::Order(order)) => drop(orders.insert(order)),
            Ok(StoreChange::Dispatch(id)) => drop(dispatches.insert(id)),
            Ok(_) => {}
            Err(TryRecvError::Lagged(_)) => all = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    store
        .read(move |r| {
            if all {
                return Ok(r.orders()?.into_iter().map(|order| order.id).collect());
            }
            for id in dispatches {
                orders.extend(r.dispatch_view(&id)?.map(|view| view.order));
            }
            Ok(orders.into_iter().collect())
        })
        .await
}

async fn write_due(
    store: &Store,
    clock: &Clock,
    partner: &PartnerConfig,
    orders: &[OrderId],
) -> Result<(), StoreError> {
    if partner.sends.is_empty() {
        return Ok(());
    }
    for order in orders {
        let (partner, order, now) = (partner.clone(), order.clone(), clock.wall());
        store.write(move |tx| about_order(tx, &partner, &order, now)).await?;
    }
    Ok(())
}

/// Looks into the folder of a partner once, and takes what is there.
/// # Errors
/// Only if the store cannot be written; what is wrong with a file or a folder is told to the log.
pub async fn look(store: &Store, clock: &Clock, partner: &PartnerConfig) -> Result<(), StoreError> {
    let Some(folder) = partner.folder_in.clone() else { return Ok(()) };
    let listed = tokio::task::spawn_blocking(move || list(&folder).map(|files| (folder, files))).await;
    let (folder, files) = match listed {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => {
            warn!(partner.name = %partner.name, %error, "the folder of {} cannot be read: {error}", partner.name);
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    for path in files {
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                warn!(file = %path.display(), %error, "a file cannot be read: {error}");
                continue;
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (owner, now, called) = (partner.clone(), clock.now(), name.clone());
        let taken = store.write(move |tx| take(tx, &owner, &called, &bytes, &now)).await?;
        let (aside, reasons) = if taken.is_refused() { ("refused", true) } else { ("done", !taken.refused.is_empty()) };
        let reasons = reasons.then(|| taken.refused.join("\n"));
        match move_aside(&folder.join(aside), &path, reasons.as_deref()) {
            Ok(()) => info!(partner.name = %partner.name, file = name, messages = taken.messages,
                "took a file of {}: {} messages, {} refusals", partner.name, taken.messages, taken.refused.len()),
            // It is read again, and known by its number.
            Err(error) => warn!(file = name, %error, "a file that was taken cannot be moved: {error}"),
        }
    }
    Ok(())
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let meta = entry.metadata()?;
        let quiet = meta.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age >= QUIET);
        if meta.is_file() && !hidden && quiet {
            files.push(entry.path());
        }
    }
    // By name, which most partners number.
    files.sort();
    files.truncate(FILES_MAX);
    Ok(files)
}

/// One byte more than is allowed, so that what is too large is seen to be.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Moves a file into a folder beside the reason, under a name that nothing there has.
fn move_aside(folder: &Path, path: &Path, reasons: Option<&str>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (0_u32..10_000).map(|n| if n == 0 { name.clone() } else { format!("{name}.{n}") });
    let Some(target) = free.map(|name| folder.join(name)).find(|target| !target.exists()) else {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "ten thousand files of this name are there"));
    };
    if let Some(reasons) = reasons {
        let mut beside = target.clone().into_os_string();
        beside.push(".reason.txt");
        fs::write(beside, reasons)?;
    }
    fs::rename(path, target)
}

/// Puts what waits into the folder of a partner. A file that was put there just before a crash is put there again, the same.
/// # Errors
/// Only if the store cannot be written.
pub async fn put(store: &Store, partner: &PartnerConfig) -> Result<(), StoreError> {
    let Some(folder) = partner.folder_out.clone() else { return Ok(()) };
    let name = partner.name.to_string();
    for (file, body) in store.read(move |r| r.edi_waiting(&name)).await? {
        let target = folder.join(&file.name);
        let hidden = folder.join(format!(".{}", file.name));
        let written = tokio::task::spawn_blocking(move || {
            let mut out = fs::File::create(&hidden)?;
            out.write_all(&body)?;
            out.sync_all()?;
            fs::rename(&hidden, &target)
        });
        match written.await {
            Ok(Ok(())) => store.write(move |tx| tx.edi_written(file.n)).await?,
            Ok(Err(error)) => {
                warn!(partner.name = %partner.name, %error, "a file for {} cannot be written: {error}", partner.name);
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
