//! Reads the store's ground over in the background, again and again, so that a flipped bit is known before it matters.
//!
//! In: the store. Out: damaged rows, put aside, told in the log once, and asked for again ([`crate::store::damage`]).
//! It never makes anyone wait: a few rows at a time, through a reader.

use std::time::Duration;

use tracing::info;

use crate::{
    clock::Clock,
    store::{Store, StoreError, damage::ScrubPlace},
    tasks::{Stop, TaskError},
};

/// Rows read at a time.
const ROWS: usize = 200;
/// Rest between two such stretches, in real time.
const REST: Duration = Duration::from_millis(250);
/// Rest between two rounds, in real time.
const ROUND_REST: Duration = Duration::from_secs(24 * 3600);

/// Goes round and round until it is stopped.
/// # Errors
/// The store's.
pub async fn run(store: Store, clock: Clock, mut stop: Stop) -> Result<(), TaskError> {
    loop {
        let (mut place, mut rows, mut damaged) = (Some(ScrubPlace::default()), 0, 0);
        while let Some(at) = place {
            let (again, now) = (store.clone(), clock.wall());
            let stretch = tokio::task::spawn_blocking(move || stretch(&again, at, now)).await??;
            rows += stretch.rows;
            damaged += stretch.damaged;
            place = stretch.next;
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stop.stopped() => return Ok(()),
            }
        }
        info!(rows, damaged, "{rows} rows of the store read over, {damaged} damaged");
        tokio::select! {
            () = tokio::time::sleep(ROUND_REST) => {}
            () = stop.stopped() => return Ok(()),
        }
    }
}

struct Stretch {
    rows: u64,
    damaged: usize,
    next: Option<ScrubPlace>,
}

fn stretch(store: &Store, at: ScrubPlace, now: gatehouse_common::time::UtcMs) -> Result<Stretch, StoreError> {
    let read = store.read_now(|r| r.scrub(at, ROWS))?;
    let damaged = read.damaged.len();
    for found in read.damaged {
        let row = found.clone();
        let put_aside = store.write_now(move |tx| tx.put_aside(&row, now));
        // A round that ended at another error would begin anew and end here again, and nothing behind would ever be read over.
        found.tell(put_aside)?;
    }
    Ok(Stretch { rows: read.rows, damaged, next: read.next })
}

impl Store {
    /// Reads everything over once. Returns how many rows are damaged, those that are whole again included. It blocks.
    /// # Errors
    /// The store's.
    pub fn scrub_now(&self, now: gatehouse_common::time::UtcMs) -> Result<usize, StoreError> {
        let (mut place, mut damaged) = (Some(ScrubPlace::default()), 0);
        while let Some(at) = place {
            let read = stretch(self, at, now)?;
            damaged += read.damaged;
            place = read.next;
        }
        Ok(damaged)
    }
}
