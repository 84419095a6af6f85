//! Single values that survive: ledger epoch, actor epoch, hybrid clock, and how far readers have got.

use gatehouse_common::{
    sync::LedgerEpoch,
    time::{Hlc, UtcMs},
};

use super::{
    Reader, StoreError, Tx, lives, moving, queue,
    remembered::Known,
    row,
    sql::{Connection, params},
};

const LEDGER_EPOCH: &str = "ledger.epoch";
const ACTOR_EPOCH: &str = "actor.epoch";
const HLC: &str = "hlc";
/// The life of the ledger that was restored from a backup; the one that runs began with it.
const RESTORED_FROM: &str = "ledger.restored_from";
/// Where the store went; it is not opened here again.
const MOVED_TO: &str = "moved_to";

/// Why a store has no life yet: tools may write into it before, the hub begins one.
const NEVER_SERVED: &str = "no hub has served this store yet; start `gatehouse-hub serve` on it once, then ask again";

/// What began when a store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) actor_epoch: u32,
    /// Whether the store is behind what was known of it, so that another life of the ledger began.
    pub(super) is_older_copy: bool,
}

/// Begins another actor epoch, the seconds of `now` at least; in a new store also a ledger epoch, and in one that is
/// behind what was `known` of it another.
pub(super) fn begin(sql: &Connection, now: UtcMs, known: Option<&Known>) -> Result<Begun, StoreError> {
    moving::at_once(sql, || Ok(false), || begin_in(sql, now, known))
}

fn begin_in(sql: &Connection, now: UtcMs, known: Option<&Known>) -> Result<Begun, StoreError> {
    let reader = Reader { sql };
    if let Some(place) = reader.cursor(MOVED_TO)? {
        return Err(StoreError::Refused(format!("this store was moved to {place}; serve that")));
    }
    let epoch = reader.cursor(ACTOR_EPOCH)?.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0).saturating_add(1);
    // One that the store has forgotten, since it is an older copy put back, is not taken a second time.
    let epoch = epoch.max(u32::try_from(now.0 / 1_000).unwrap_or(0));
    put(sql, ACTOR_EPOCH, &epoch.to_string())?;
    if reader.cursor(LEDGER_EPOCH)?.is_none() {
        put(sql, LEDGER_EPOCH, &fresh_epoch().to_string())?;
    }
    let (here, from) = (reader.known()?, reader.restored_from()?);
    let is_older_copy = known.is_some_and(|known| here.is_behind(from, known));
    if is_older_copy {
        put_restored(sql)?;
    }
    sql.execute(
        "INSERT INTO hub_runs (run, began) SELECT CAST (?1 AS BIGINT), feed FROM turn WHERE id = 1 ON CONFLICT (run) DO NOTHING",
        params![epoch],
    )?;
    lives::begin(sql, now)?;
    if sql.postgres().is_none() {
        // What was handed out before the stop may have reached the ERP: it is asked for first. Among replicas
        // another may have it under way.
        queue::take_back(sql, now)?;
    }
    Ok(Begun { actor_epoch: epoch, is_older_copy })
}

/// Another life of the ledger begins, which names the one that it was.
pub(super) fn put_restored(sql: &Connection) -> Result<(), StoreError> {
    let before = Reader { sql }.ledger_epoch()?;
    put(sql, RESTORED_FROM, &before.0.to_string())?;
    put(sql, LEDGER_EPOCH, &fresh_epoch().to_string())
}

/// Never 0, which devices send before they know any.
fn fresh_epoch() -> u64 {
    rand::random::<u64>() | 1
}

pub(super) fn put(sql: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO cursors (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![name, value],
    )?;
    Ok(())
}

/// A store that was moved is not opened here again.
pub(super) fn put_moved(sql: &Connection, place: &str) -> Result<(), StoreError> {
    put(sql, MOVED_TO, place)
}

impl Reader<'_> {
    /// Which life of the ledger was restored from a backup last; none if none ever was. The one that runs began then.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn restored_from(&self) -> Result<Option<LedgerEpoch>, StoreError> {
        let epoch = self.cursor(RESTORED_FROM)?.map(|text| row::parse("cursors", &text)).transpose()?;
        Ok(epoch.map(LedgerEpoch))
    }

    /// The value kept under `name`, such as how far a poll of the ERP has got.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.sql.optional("SELECT value FROM cursors WHERE name = ?1", params![name], |r| r.get(0))?)
    }

    /// Which life of the ledger this is.
    /// # Errors
    /// [`StoreError::Refused`] if no hub has served the store yet; [`StoreError::Damaged`] if it cannot be read.
    pub fn ledger_epoch(&self) -> Result<LedgerEpoch, StoreError> {
        let text = self.cursor(LEDGER_EPOCH)?.ok_or_else(|| StoreError::Refused(NEVER_SERVED.to_owned()))?;
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
