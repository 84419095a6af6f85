//! Reads the store's ground over in the background, again and again, so that a flipped bit is known before it matters.
//!
//! In: the store's path. Out: rows that do not match their checksum, told in the log once and shown on the page; those
//! of which somebody else may know what they said go to the driver, which puts them aside and writes anew what the core
//! holds of them. It never makes anyone wait: a few rows at a time, through a reader of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    core::{damage::DamagedRow, input::Input},
    driver::Handle,
    store::{Damaged, Reader, ScrubPlace, Scrubbed, StoreError},
    tasks::{Stop, TaskError},
};

/// Rows read at a time.
const ROWS: u32 = 200;
/// Rest between two such stretches, in real time.
const REST: Duration = Duration::from_millis(250);
/// Rest between two rounds, in real time.
const ROUND_REST: Duration = Duration::from_secs(24 * 3600);
/// Rows that are named; more would only repeat that the disk is bad.
const NAMED_MAX: usize = 20;
/// Rows that are put aside in one commit: for each a document may have to be opened.
const ROWS_A_STEP: usize = 8;

/// Goes round and round until it is stopped.
/// # Errors
/// The store's, when it cannot be read; or the driver has ended.
pub async fn run(
    path: PathBuf,
    driver: Handle,
    damaged: watch::Sender<Vec<String>>,
    mut stop: Stop,
) -> Result<(), TaskError> {
    tokio::select! {
        () = stop.stopped() => Ok(()),
        ended = rounds(path, driver, damaged) => ended,
    }
}

async fn rounds(path: PathBuf, driver: Handle, damaged: watch::Sender<Vec<String>>) -> Result<(), TaskError> {
    loop {
        let (mut place, mut rows, mut count, mut found) = (Some(ScrubPlace::default()), 0, 0, Vec::new());
        while let Some(at) = place {
            let path_of = path.clone();
            let stretch = tokio::task::spawn_blocking(move || read(&path_of, at)).await??;
            rows += stretch.rows;
            count += stretch.damaged.len();
            place = stretch.next;
            let (put_aside, stays): (Vec<_>, Vec<_>) = stretch.damaged.into_iter().partition(|row| row.row.is_some());
            for Damaged { name, .. } in stays {
                error!(
                    row = name,
                    "the store is damaged: {name} does not match its checksum; copy the store and replace the disk"
                );
                found.push(name);
            }
            found.truncate(NAMED_MAX);
            put_all_aside(&path, &driver, put_aside).await?;
            tokio::time::sleep(REST).await;
        }
        info!(rows, damaged = count, "{rows} rows of the store read over, {count} damaged");
        damaged.send_replace(found);
        tokio::time::sleep(ROUND_REST).await;
    }
}

/// Has the driver put rows aside, and tells what became of each.
async fn put_all_aside(path: &Path, driver: &Handle, rows: Vec<Damaged>) -> Result<(), TaskError> {
    if rows.is_empty() {
        return Ok(());
    }
    for part in rows.chunks(ROWS_A_STEP) {
        let part: Vec<DamagedRow> = part.iter().filter_map(|found| found.row.clone()).collect();
        driver.send(Input::Damaged(part)).await?;
        driver.prove().await?;
    }
    let path = path.to_owned();
    let open = tokio::task::spawn_blocking(move || Reader::open(&path)?.put_aside_names(u32::MAX)).await??;
    for Damaged { name, .. } in rows {
        if open.contains(&name) {
            error!(
                row = name,
                "the store is damaged: {name} does not match its checksum; it is put aside, and the hub is asked for \
                 what it said; look after the disk"
            );
        } else {
            error!(
                row = name,
                "the store was damaged: {name} did not match its checksum; it is whole again; look after the disk"
            );
        }
    }
    Ok(())
}

fn read(path: &Path, at: ScrubPlace) -> Result<Scrubbed, StoreError> {
    Reader::open(path)?.scrub(at, ROWS)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use gatehouse_common::{
        bundle::Bundle,
        document::Document,
        id::{DocumentId, DocumentKind},
        seal::PrivateKey,
        time::UtcMs,
    };
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        clock::Clock,
        core::{
            Core, Profile,
            decision::{Folded, Record},
        },
        driver::Driver,
        store::{Identity, Store},
    };

    #[tokio::test]
    async fn a_change_that_rots_under_a_running_agent_is_whole_again_after_a_round() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.db");
        let (key, device, site) = (PrivateKey::from_seed([7; 32]), "gw-1".parse().unwrap(), "D1".parse().unwrap());
        let profile = Profile { device, site, vehicle: None, yard: None, key, hub_key: None, bundle: Bundle::usual() };
        let (device, site, public_key) = (profile.device.clone(), profile.site.clone(), profile.key.public());
        let mut store = Store::open(&path, &Identity { device, site, public_key }).unwrap();
        let mut document = Document::new().unwrap();
        let chunks = vec![document.add_note(&"hub/HQ/hub-1/1".parse().unwrap(), UtcMs(0), "seen").unwrap()];
        let after = Folded { heads: document.heads(), view: "null".to_owned(), snapshot: None };
        let (case, kind) = (DocumentId::of(DocumentKind::Case, "k", 1), DocumentKind::Case);
        store.commit(&[Record::Whole { document: case, kind, chunks, after }]).unwrap();
        let core = Core::load(profile, store.snapshot().unwrap());
        store.raw().execute("UPDATE chunks SET bytes = zeroblob(length(bytes))", []).unwrap();
        let is_readable = || Reader::open(&path).unwrap().chunks_of(case).is_ok_and(|changes| changes.len() == 1);
        assert!(!is_readable());

        let (driver, handle) = Driver::start(core, store, Clock::system(), mpsc::unbounded_channel().0).unwrap();
        let (stops, stop) = Stop::pair();
        let (damaged, _named) = watch::channel(Vec::new());
        let round = tokio::spawn(run(path.clone(), handle.clone(), damaged, stop));
        let started = Instant::now();
        while !is_readable() {
            assert!(started.elapsed() < Duration::from_secs(20), "it stays damaged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stops.send(true).unwrap();
        round.await.unwrap().unwrap();
        drop(handle);
        driver.ended().await.unwrap();
    }
}
