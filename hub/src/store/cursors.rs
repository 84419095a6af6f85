//! Single values that survive: ledger epoch, actor epoch, hybrid clock, and how far readers have got.

use gatehouse_common::{
    sync::LedgerEpoch,
    time::{Hlc, UtcMs},
};

use super::{
    Reader, StoreError, Tx, row,
    sql::{Connection, params},
};

const LEDGER_EPOCH: &str = "ledger.epoch";
const ACTOR_EPOCH: &str = "actor.epoch";
const HLC: &str = "hlc";

/// Begins another actor epoch; in a new store also a ledger epoch. Returns the actor epoch.
pub(super) fn begin(sql: &Connection) -> Result<u32, StoreError> {
    sql.begin_writing()?;
    let begun = begin_in(sql);
    match &begun {
        Ok(_) => sql.commit().map_err(|e| StoreError::NotWritten(e.why))?,
        Err(_) => sql.give_up(),
    }
    begun
}

fn begin_in(sql: &Connection) -> Result<u32, StoreError> {
    let reader = Reader { sql };
    let epoch = reader.cursor(ACTOR_EPOCH)?.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0).saturating_add(1);
    put(sql, ACTOR_EPOCH, &epoch.to_string())?;
    if reader.cursor(LEDGER_EPOCH)?.is_none() {
        put(sql, LEDGER_EPOCH, &fresh_epoch().to_string())?;
    }
    // What was handed to the queue's worker before the stop may have reached the ERP: it is asked for first.
    sql.execute("UPDATE postings SET claimed = 0 WHERE claimed = 1", params![])?;
    Ok(epoch)
}

/// Never 0, which devices send before they know any.
fn fresh_epoch() -> u64 {
    rand::random::<u64>() | 1
}

fn put(sql: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO cursors (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![name, value],
    )?;
    Ok(())
}

impl Reader<'_> {
    /// The value kept under `name`, such as how far a poll of the ERP has got.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.sql.optional("SELECT value FROM cursors WHERE name = ?1", params![name], |r| r.get(0))?)
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
    /// [`StoreError::Sql`].
    pub fn set_cursor(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        put(self.sql, name, value)
    }

    /// Begins another life of the ledger, after the file was restored from a backup: every device starts
    /// again and sends once more what the backup did not have. Positions go on; none is given twice.
    /// # Errors
    /// [`StoreError::Sql`].
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
