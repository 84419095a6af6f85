//! Reads the store's ground over in the background, again and again, so that a flipped bit is known before it matters.
//!
//! In: the store's path. Out: rows that do not match their checksum, told in the log once and shown on the page.
//! Repairs nothing, and never makes anyone wait: a few rows at a time, through a reader of its own.

use std::{path::PathBuf, time::Duration};

use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    store::{Reader, ScrubPlace, Scrubbed, StoreError},
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

/// Goes round and round until it is stopped.
/// # Errors
/// The store's, when it cannot be read.
pub async fn run(path: PathBuf, damaged: watch::Sender<Vec<String>>, mut stop: Stop) -> Result<(), TaskError> {
    while !stop.is_stopped() {
        let (mut place, mut rows, mut found) = (Some(ScrubPlace::default()), 0, Vec::new());
        while let Some(at) = place {
            let path = path.clone();
            let stretch = tokio::task::spawn_blocking(move || read(&path, at)).await??;
            rows += stretch.rows;
            place = stretch.next;
            for row in stretch.damaged {
                error!(
                    row,
                    "the store is damaged: {row} does not match its checksum; copy the store and replace the disk"
                );
                found.push(row);
            }
            found.truncate(NAMED_MAX);
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stop.stopped() => return Ok(()),
            }
        }
        info!(rows, damaged = found.len(), "{rows} rows of the store read over, {} damaged", found.len());
        damaged.send_replace(found);
        tokio::select! {
            () = tokio::time::sleep(ROUND_REST) => {}
            () = stop.stopped() => return Ok(()),
        }
    }
    Ok(())
}

fn read(path: &std::path::Path, at: ScrubPlace) -> Result<Scrubbed, StoreError> {
    Reader::open(path)?.scrub(at, ROWS)
}
