//! What others who write to the same store have changed.
//!
//! Each turn leaves a row of what it changed, in its own transaction; a thread reads those that others left and
//! passes them on. A notification of PostgreSQL only makes it look sooner. Whoever has missed rows that are gone
//! is told so, and reads everything again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;
use tracing::{debug, warn};

use super::{
    Location, StoreChange, StoreError, row,
    sql::{Connection, params},
};

/// How long a look may be late when no notification comes.
const LOOK: Duration = Duration::from_millis(250);
/// How long a lost connection is left alone.
const LOST: Duration = Duration::from_secs(1);
/// How many turns are remembered.
const KEPT: i64 = 4096;
/// Most rows of one look.
const ROWS_MAX: i64 = 512;
/// What a row says of a turn that changed more than this, in bytes: everything may have changed.
const CHANGES_MAX: usize = 64 * 1024;

/// Tells the others what `turn` changed; it is committed with the turn.
pub(super) fn tell(sql: &Connection, writer: &str, turn: i64, changes: &[StoreChange]) -> Result<(), StoreError> {
    let mut text = serde_json::to_string(changes)?;
    if text.len() > CHANGES_MAX {
        text = serde_json::to_string(&[StoreChange::Everything])?;
    }
    sql.execute("INSERT INTO told (turn, writer, changes) VALUES (?1, ?2, ?3)", params![turn, writer, text])?;
    if turn % 64 == 0 {
        sql.execute("DELETE FROM told WHERE turn < ?1", params![turn - KEPT])?;
    }
    Ok(())
}

/// Whether `writer` was the one who had `turn`.
pub(super) fn had(sql: &Connection, writer: &str, turn: i64) -> Result<bool, super::sql::Error> {
    let by: Option<String> = sql.optional("SELECT writer FROM told WHERE turn = ?1", params![turn], |r| r.get(0))?;
    Ok(by.as_deref() == Some(writer))
}

/// Wakes those who look, once a turn is committed. Where there is no such thing, they look in a moment anyhow.
pub(super) fn hint(sql: &Connection) {
    if let Some(postgres) = sql.postgres()
        && let Err(e) = postgres.batch("NOTIFY gatehouse")
    {
        debug!(error = %e, "no notification: {e}");
    }
}

/// Passes on what others change, until it is dropped.
pub(super) struct News {
    stopped: Arc<AtomicBool>,
}

impl Drop for News {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

impl News {
    pub(super) fn start(
        location: Location,
        writer: String,
        changes: broadcast::Sender<StoreChange>,
    ) -> Result<Self, StoreError> {
        let connection = location.open_reader()?;
        let last = newest(&connection)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let watch = Watch { location, writer, changes, last, stopped: stopped.clone() };
        std::thread::Builder::new()
            .name("store-news".to_owned())
            .spawn(move || watch.run(connection))
            .map_err(|e| StoreError::NotWritten(e.to_string()))?;
        Ok(Self { stopped })
    }
}

fn newest(sql: &Connection) -> Result<i64, StoreError> {
    Ok(sql.one("SELECT turns FROM turn WHERE id = 1", params![], |r| r.get(0))?)
}

struct Watch {
    location: Location,
    writer: String,
    changes: broadcast::Sender<StoreChange>,
    last: i64,
    stopped: Arc<AtomicBool>,
}

impl Watch {
    fn run(mut self, mut connection: Connection) {
        while !self.stopped.load(Ordering::Acquire) {
            if let Err(e) = self.follow(&connection) {
                if self.stopped.load(Ordering::Acquire) {
                    return;
                }
                warn!(error = %e, "what other replicas write is not heard for now: {e}");
                std::thread::sleep(LOST);
                if let Ok(opened) = self.location.open_reader() {
                    connection = opened;
                }
            }
        }
    }

    /// Follows until it is stopped or the connection is lost.
    fn follow(&mut self, sql: &Connection) -> Result<(), StoreError> {
        if let Some(postgres) = sql.postgres()
            && let Err(e) = postgres.batch("LISTEN gatehouse")
        {
            // Some engines have no notifications; looking does without.
            debug!(error = %e, "no notifications: {e}");
        }
        while !self.stopped.load(Ordering::Acquire) {
            if !self.look(sql)? {
                sql.listen(LOOK)?;
            }
        }
        Ok(())
    }

    /// Passes on what is new. Returns whether there may be more.
    fn look(&mut self, sql: &Connection) -> Result<bool, StoreError> {
        let rows = sql.query(
            "SELECT turn, writer, changes FROM told WHERE turn > ?1 ORDER BY turn LIMIT ?2",
            params![self.last, ROWS_MAX],
            |r| Ok::<_, StoreError>((r.get::<i64>("turn")?, r.get::<String>("writer")?, r.get::<String>("changes")?)),
        )?;
        let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= ROWS_MAX;
        for (turn, writer, changes) in rows {
            if turn != self.last + 1 {
                let _ = self.changes.send(StoreChange::Everything);
            }
            self.last = turn;
            if writer == self.writer {
                continue;
            }
            let changes: Vec<StoreChange> = row::json("told", &turn.to_string(), &changes)?;
            for change in changes {
                let _ = self.changes.send(change);
            }
        }
        Ok(is_full)
    }
}
