//! Single values that survive: ledger epoch, actor epoch, hybrid clock, and how far readers have got.

use gatehouse_common::{
    sync::LedgerEpoch,
    time::{Hlc, UtcMs},
};
use rusqlite::{Connection, OptionalExtension};

use super::{Reader, StoreError, Tx, row};

const LEDGER_EPOCH: &str = "ledger.epoch";
const ACTOR_EPOCH: &str = "actor.epoch";
const HLC: &str = "hlc";

/// Begins another actor epoch; in a new file also a ledger epoch. Returns the actor epoch.
pub(super) fn begin(connection: &mut Connection) -> Result<u32, StoreError> {
    let tx = connection.transaction()?;
    let (epoch, known): (u32, bool) = {
        let reader = Reader { connection: &tx };
        let epoch = reader.cursor(ACTOR_EPOCH)?.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        (epoch.saturating_add(1), reader.cursor(LEDGER_EPOCH)?.is_some())
    };
    put(&tx, ACTOR_EPOCH, &epoch.to_string())?;
    if !known {
        put(&tx, LEDGER_EPOCH, &fresh_epoch().to_string())?;
    }
    // What was handed to the queue's worker before the stop may have reached the ERP: it is asked for first.
    tx.execute("UPDATE postings SET claimed = 0 WHERE claimed = 1", [])?;
    tx.commit()?;
    Ok(epoch)
}

/// Never 0, which devices send before they know any.
fn fresh_epoch() -> u64 {
    rand::random::<u64>() | 1
}

fn put(connection: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO cursors (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        )?
        .execute((name, value))?;
    Ok(())
}

impl Reader<'_> {
    /// The value kept under `name`, such as how far a poll of the ERP has got.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM cursors WHERE name = ?1")?;
        Ok(statement.query_row([name], |r| r.get(0)).optional()?)
    }

    /// Which life of the ledger this is.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn ledger_epoch(&self) -> Result<LedgerEpoch, StoreError> {
        let text = self.cursor(LEDGER_EPOCH)?.unwrap_or_default();
        Ok(LedgerEpoch(row::parse("cursors", &text)?))
    }
}

impl Tx<'_> {
    /// Keeps `value` under `name`.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn set_cursor(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        put(self.connection, name, value)
    }

    /// Begins another life of the ledger, after the file was restored from a backup: every device starts
    /// again and sends once more what the backup did not have. Positions go on; none is given twice.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn begin_ledger_epoch(&mut self) -> Result<LedgerEpoch, StoreError> {
        let epoch = fresh_epoch();
        self.set_cursor(LEDGER_EPOCH, &epoch.to_string())?;
        Ok(LedgerEpoch(epoch))
    }

    /// The hybrid clock's reading for the next entry, never behind `seen`.
    pub(super) fn next_hlc(&mut self, seen: impl IntoIterator<Item = Hlc>, now: UtcMs) -> Result<Hlc, StoreError> {
        let mut held = match self.cache.hlc {
            Some(held) => held,
            None => match self.cursor(HLC)? {
                Some(text) => row::json("cursors", HLC, &text)?,
                None => Hlc::default(),
            },
        };
        for foreign in seen {
            held = held.observe(foreign, now).0;
        }
        let next = held.tick(now);
        self.set_cursor(HLC, &serde_json::to_string(&next)?)?;
        self.cache.hlc = Some(next);
        Ok(next)
    }
}
