//! Brings the log of a file of SQLite into the file beside the one who writes, who goes on meanwhile.
//!
//! In: how long the log is, after each commit. Out: a file that has nearly all of it when the log is long enough to begin
//! anew. SQLite alone does all of that within one commit, and whoever waits for that waits for the file's sync as well:
//! of a hundred pushes to a busy hub one waited 26 ms, beside 11 ms so.

use std::{
    ffi::c_int,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use super::Error;

/// Pages by which the log grew when they are brought into the file beside.
const STEP: c_int = 2_000;

/// Pages in the log from which the commit itself brings in what is left, so that the log begins anew: some pages change
/// with every commit, and a log that always somebody writes to never ends by itself.
pub(super) const MOST: c_int = 16_000;

/// What a writer's commits are followed by.
struct Beside {
    path: PathBuf,
    /// Wakes who brings in; none before the log is long for the first time.
    wake: Option<SyncSender<()>>,
    /// Length of the log at which it is woken next.
    next: c_int,
}

/// From now on the log of `connection` is brought into its file beside it.
pub(super) fn brought_in_beside(connection: &mut Connection) -> Result<(), Error> {
    let Some(path) = connection.path().map(PathBuf::from) else { return Ok(()) };
    let mut beside = Beside { path, wake: None, next: STEP };
    connection.wal_hook(Some(move |log: &mut rusqlite::hooks::Wal, pages: c_int| {
        if pages >= MOST {
            // It is committed whatever comes of this; the next commit tries again.
            let _ = log.checkpoint();
        } else {
            beside.grown(pages);
        }
        Ok(())
    }))?;
    Ok(())
}

impl Beside {
    fn grown(&mut self, pages: c_int) {
        if pages < self.next {
            // Where it began anew, its first step is due sooner.
            self.next = self.next.min(pages + STEP);
            return;
        }
        self.next = pages + STEP;
        self.wake = self.wake.take().or_else(|| starts(&self.path));
        if let Some(wake) = &self.wake {
            // Full: one who is busy looks once more when he has done.
            let _ = wake.try_send(());
        }
    }
}

/// The one who brings in; he ends with the writer. None if he cannot be had: the commits do it then.
fn starts(path: &Path) -> Option<SyncSender<()>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.inspect_err(|e| warn!(error = %e, "the log is brought in by commits alone: {e}")).ok()?;
    let (wake, woken) = sync_channel(1);
    let works = move || brings_in(&connection, &woken);
    let started = std::thread::Builder::new().name("log".to_owned()).spawn(works);
    started.inspect_err(|e| warn!(error = %e, "the log is brought in by commits alone: {e}")).ok()?;
    Some(wake)
}

fn brings_in(connection: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        // What it could not bring in stays in the log, which is as good.
        if let Err(e) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            warn!(error = %e, "the log of the store could not be brought into its file: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_in_is_woken_each_time_the_log_grew_by_a_step_and_once_it_began_anew() {
        let (wake, woken) = sync_channel(100);
        let mut beside = Beside { path: PathBuf::new(), wake: Some(wake), next: STEP };
        let mut woken_at = |pages: c_int| {
            beside.grown(pages);
            woken.try_iter().count()
        };
        assert_eq!([STEP - 1, STEP, STEP + 1, 2 * STEP - 1, 2 * STEP + 5].map(&mut woken_at), [0, 1, 0, 0, 1]);
        assert_eq!([3, STEP - 1, STEP + 3].map(&mut woken_at), [0, 0, 1], "anew");
    }

    #[test]
    fn a_log_that_always_somebody_writes_to_stays_short_and_loses_nothing() {
        const ROWS: u32 = 3_000;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        let mut connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)").unwrap();
        brought_in_beside(&mut connection).unwrap();
        let row = vec![7_u8; 40_000];
        for _ in 0..ROWS {
            connection.execute("INSERT INTO t (b) VALUES (?1)", [&row]).unwrap();
        }
        let page: u32 = connection.pragma_query_value(None, "page_size", |r| r.get(0)).unwrap();
        let log = std::fs::metadata(directory.path().join("hub.db-wal")).unwrap().len();
        assert!(
            log < u64::try_from(MOST + 100).unwrap() * u64::from(page + 24),
            "{log} bytes for {ROWS} rows of 11 pages"
        );
        drop(connection);
        let connection = Connection::open(&path).unwrap();
        let rows: u32 =
            connection.query_row("SELECT count(*) FROM t WHERE length(b) = 40000", [], |r| r.get(0)).unwrap();
        assert_eq!(rows, ROWS);
    }
}
