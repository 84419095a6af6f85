//! Brings the log of a file of SQLite into the file beside the one who writes, who goes on meanwhile.
//!
//! In: how long the log is, after each commit. Out: a file that has nearly all of it when the log is long enough to begin
//! anew. SQLite alone does all of that within one commit, and whoever waits for that waits for the file's sync as well:
//! of a hundred pushes to a busy hub one waited 26 ms, beside 11 ms so.

use std::{
    ffi::c_int,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use super::Error;

/// Pages by which the log grew when they are brought into the file beside.
const STEP: c_int = 2_000;

/// Pages in the log from which the commit itself brings in what is left, so that the log begins anew: some pages change
/// with every commit, and a log that always somebody writes to never ends by itself. Not what a reader held back who reads
/// for minutes: the first commit after him would bring in the whole.
pub(super) const MOST: c_int = 16_000;

/// What a writer's commits are followed by.
struct Beside {
    path: PathBuf,
    /// Wakes who brings in; none before the log is long for the first time.
    wake: Option<SyncSender<()>>,
    /// Who brings in.
    thread: Option<JoinHandle<()>>,
    /// Length of the log at which it is woken next.
    next: c_int,
    /// Whether much of the log could not be brought in when that was tried last.
    held_back: Arc<AtomicBool>,
}

/// From now on the log of `connection` is brought into its file beside it.
pub(super) fn brought_in_beside(connection: &mut Connection) -> Result<(), Error> {
    let Some(path) = connection.path().map(PathBuf::from) else { return Ok(()) };
    let mut beside = Beside::of(path, None);
    connection.wal_hook(Some(move |log: &mut rusqlite::hooks::Wal, pages: c_int| {
        if beside.grown(pages) {
            // It is committed whatever comes of this; the next commit tries again.
            let _ = log.checkpoint();
        }
        Ok(())
    }))?;
    Ok(())
}

impl Beside {
    fn of(path: PathBuf, wake: Option<SyncSender<()>>) -> Self {
        Self { path, wake, thread: None, next: STEP, held_back: Arc::default() }
    }

    /// The log is so long now. Whether the commit is to bring in what is left.
    fn grown(&mut self, pages: c_int) -> bool {
        if pages < self.next.saturating_sub(STEP) {
            // It began anew.
            self.next = pages + STEP;
            self.held_back.store(false, Ordering::Relaxed);
        }
        if pages >= self.next {
            self.next = pages + STEP;
            if self.wake.is_none() {
                (self.wake, self.thread) = starts(&self.path, self.held_back.clone()).unzip();
            }
            if let Some(wake) = &self.wake {
                // Full: one who is busy looks once more when he has done.
                let _ = wake.try_send(());
            }
        }
        pages >= MOST && !self.held_back.load(Ordering::Relaxed)
    }
}

/// The last to close a file takes its log away; of two that close it in one moment neither does. So the writer, in whose
/// hook this lives, closes it after who brings in.
impl Drop for Beside {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Who brings in, and what wakes him; he says whether much was `held_back` from him. None if he cannot be had: the
/// commits do it then.
fn starts(path: &Path, held_back: Arc<AtomicBool>) -> Option<(SyncSender<()>, JoinHandle<()>)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.inspect_err(|e| warn!(error = %e, "the log is brought in by commits alone: {e}")).ok()?;
    let (wake, woken) = sync_channel(1);
    let works = move || brings_in(&connection, &woken, &held_back);
    let started = std::thread::Builder::new().name("log".to_owned()).spawn(works);
    let thread = started.inspect_err(|e| warn!(error = %e, "the log is brought in by commits alone: {e}")).ok()?;
    Some((wake, thread))
}

fn brings_in(connection: &Connection, woken: &Receiver<()>, held_back: &AtomicBool) {
    while woken.recv().is_ok() {
        // What it could not bring in stays in the log, which is as good.
        let left = |row: &rusqlite::Row<'_>| Ok(row.get::<_, c_int>(1)? - row.get::<_, c_int>(2)?);
        match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], left) {
            Ok(left) => held_back.store(left > STEP, Ordering::Relaxed),
            Err(e) => warn!(error = %e, "the log of the store could not be brought into its file: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_in_is_woken_each_time_the_log_grew_by_a_step_and_once_it_began_anew() {
        let (wake, woken) = sync_channel(100);
        let mut beside = Beside::of(PathBuf::new(), Some(wake));
        let mut woken_at = |pages: c_int| {
            beside.grown(pages);
            woken.try_iter().count()
        };
        assert_eq!([STEP - 1, STEP, STEP + 1, 2 * STEP - 1, 2 * STEP + 5].map(&mut woken_at), [0, 1, 0, 0, 1]);
        assert_eq!([3, STEP - 1, STEP + 3].map(&mut woken_at), [0, 0, 1], "anew");
    }

    #[test]
    fn what_a_reader_held_back_is_not_left_to_a_commit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.db");
        let open = || Connection::open(&path).unwrap();
        let (writer, reader, beside_it) = (open(), open(), open());
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (b BLOB)").unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        writer.execute_batch("BEGIN").unwrap();
        for _ in 0..2 * STEP {
            writer.execute("INSERT INTO t (b) VALUES (zeroblob(4000))", []).unwrap();
        }
        writer.execute_batch("COMMIT").unwrap();
        let (wake, _woken) = sync_channel(1);
        let mut beside = Beside::of(path.clone(), Some(wake));
        let held_back = beside.held_back.clone();
        let look = || {
            let (wake, woken) = sync_channel(1);
            wake.send(()).unwrap();
            drop(wake);
            brings_in(&beside_it, &woken, &held_back);
        };
        look();
        assert!(!beside.grown(MOST), "all of it would be brought in by the commit after the reader's end");
        reader.execute_batch("COMMIT").unwrap();
        look();
        assert!(beside.grown(MOST), "little is left");
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
        assert!(
            !directory.path().join("hub.db-wal").exists(),
            "it is the last to close the file, and takes its log away"
        );
        let connection = Connection::open(&path).unwrap();
        let rows: u32 =
            connection.query_row("SELECT count(*) FROM t WHERE length(b) = 40000", [], |r| r.get(0)).unwrap();
        assert_eq!(rows, ROWS);
    }
}
