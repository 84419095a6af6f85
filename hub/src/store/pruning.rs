//! Takes out of the feeds what every device has read.
//!
//! In: how far each device has read, and since when it has been silent. Out: fewer rows in the lane of documents, a few at
//! a time. The ledger is ground and stays: documents are folded from it, numbers of writers are checked against it, what
//! is found to be damaged is made whole from it. A row of the feed only says whom an item goes to. A device that stands
//! before what is gone begins again: it compares, and gets what it lacks as whole documents.
//!
//! The other lanes stay. Recalls have to be read before anything is released, also by who comes back after years; of an
//! order, a fact and a receipt there is only the newest row anyhow.
//!
//! In the same round goes what partners sent and were told, by [`past`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gatehouse_common::{
    id::DeviceId,
    sync::{Cursor, Lane},
    time::UtcMs,
};
use tracing::info;

use super::{
    Device, Reader, Scope, Store, StoreError, Tx, past, row,
    sql::{ToValue, params},
};
use crate::{
    clock::Clock,
    tasks::{Stop, TaskError},
};

/// Rows that go in one commit.
const ROWS: usize = 500;
/// Rest between two such pieces, in real time.
const REST: Duration = Duration::from_millis(200);
/// Before the first round and between two, in milliseconds of the hub's clock. A hub that was off for long hears its devices
/// before it takes them to be away.
const EVERY_MS: u64 = 3_600_000;

/// Which lane is pruned.
const LANE: Lane = Lane::Documents;

impl Reader<'_> {
    /// Through which position every device of a scope has read its documents, for each scope that has a feed. Who was not
    /// heard since `away_before` does not count; of a scope that has nobody else everything is read.
    /// # Errors
    /// [`StoreError::Damaged`] if a device cannot be read.
    pub fn read_by_all(&self, away_before: UtcMs) -> Result<BTreeMap<Scope, u64>, StoreError> {
        let end = self.feed_head()?;
        let mut floors: BTreeMap<Scope, u64> = self.fed_scopes()?.into_iter().map(|scope| (scope, end)).collect();
        let read: BTreeMap<String, (u64, bool)> = self
            .sql
            .query("SELECT device, read_documents, compares FROM devices", params![], |r| {
                let through: Option<i64> = r.get("read_documents")?;
                Ok::<_, StoreError>((
                    r.get::<String>("device")?,
                    (through.map_or(0, row::from_sql), r.get("compares")?),
                ))
            })?
            .into_iter()
            .collect();
        for state in self.devices()? {
            let (through, compares) = read.get(state.device.device.as_str()).copied().unwrap_or((0, true));
            // One that was never heard begins at the start, and one that cannot compare can never begin again.
            let is_away = state.seen.is_none_or(|seen| seen < away_before);
            if is_away && compares {
                continue;
            }
            for scope in state.device.scopes() {
                if let Some(floor) = floors.get_mut(&scope) {
                    *floor = through.min(*floor);
                }
            }
        }
        Ok(floors)
    }

    /// Scopes that have rows in their feed, each found by one look into the index.
    fn fed_scopes(&self) -> Result<BTreeSet<Scope>, StoreError> {
        let (mut found, mut last) = (BTreeSet::new(), String::new());
        loop {
            let next: Option<String> =
                self.sql.one("SELECT min(scope) FROM feed WHERE scope > ?1", params![last], |r| r.get(0))?;
            let Some(next) = next else { return Ok(found) };
            found.insert(row::parse("feed", &next)?);
            last = next;
        }
    }

    /// Whether rows are gone that a device has not read. One that stands at the start of the lane compares before it reads.
    pub(crate) fn is_behind_pruned(&self, device: &Device, cursor: &Cursor) -> Result<bool, StoreError> {
        let at = cursor.positions[LANE.index()];
        Ok(at > 0 && at < self.pruned_through(&device.scopes())?)
    }

    /// The last position of the lane of documents that is gone in any of `scopes`; 0 if none is.
    pub(crate) fn pruned_through(&self, scopes: &[Scope]) -> Result<u64, StoreError> {
        if scopes.is_empty() {
            return Ok(0);
        }
        let marks: Vec<String> = (1..=scopes.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("SELECT coalesce(max(through), 0) FROM feed_pruned WHERE scope IN ({})", marks.join(", "));
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.to_string().to_value()).collect();
        Ok(row::from_sql(self.sql.one(&sql, &scopes, |r| r.get(0))?))
    }
}

impl Tx<'_> {
    /// The device spoke, and asked from `cursor` on. `compares` says whether it can compare what it holds.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn device_reads(
        &mut self,
        device: &DeviceId,
        cursor: &Cursor,
        compares: bool,
        now: UtcMs,
    ) -> Result<(), StoreError> {
        // A cursor of another life says nothing here: its device is about to begin.
        let is_ours = cursor.epoch == self.ledger_epoch()?;
        let at = if is_ours { cursor.positions[LANE.index()] } else { 0 };
        self.device_seen(device, None, now)?;
        self.sql.execute(
            "UPDATE devices SET read_documents = ?2, compares = ?3 WHERE device = ?1",
            params![device.as_str(), row::to_sql(at), compares],
        )?;
        Ok(())
    }

    /// Takes up to `limit` rows of a scope's documents out of its feed, the oldest first, none behind `through`. Returns
    /// how many went.
    pub(super) fn prune(&mut self, scope: &Scope, through: u64, limit: usize) -> Result<usize, StoreError> {
        let (name, lane) = (scope.to_string(), LANE.index() as i64);
        let oldest: Vec<i64> = self.sql.query(
            "SELECT position FROM feed WHERE scope = ?1 AND lane = ?2 AND position <= ?3 ORDER BY position LIMIT ?4",
            params![name, lane, row::to_sql(through), limit as i64],
            |r| r.get(0),
        )?;
        let Some(last) = oldest.last() else { return Ok(0) };
        self.sql
            .execute("DELETE FROM feed WHERE scope = ?1 AND lane = ?2 AND position <= ?3", params![name, lane, last])?;
        self.sql.execute(
            "INSERT INTO feed_pruned (scope, through) VALUES (?1, ?2)
             ON CONFLICT (scope) DO UPDATE SET
               through = CASE WHEN feed_pruned.through < ?2 THEN ?2 ELSE feed_pruned.through END",
            params![name, last],
        )?;
        Ok(oldest.len())
    }
}

impl Store {
    /// Takes out of the feeds what every device has read that was heard since `away_before`, in pieces of one commit each,
    /// until nothing more goes. Returns how many rows went. It blocks.
    /// # Errors
    /// The store's; what went before stays gone.
    pub fn prune_now(&self, away_before: UtcMs) -> Result<u64, StoreError> {
        let mut rows = 0;
        for (scope, through) in self.read_now(|r| r.read_by_all(away_before))? {
            while let went @ 1.. = self.prune_piece(&scope, through)? {
                rows += went;
            }
        }
        Ok(rows)
    }

    fn prune_piece(&self, scope: &Scope, through: u64) -> Result<u64, StoreError> {
        let scope = scope.clone();
        self.write_now(move |tx| Ok(tx.prune(&scope, through, ROWS)? as u64))
    }
}

/// Prunes every hour until it is stopped: the feeds, where a device that was silent for `away_after_ms` keeps nothing back,
/// and what is long [`past`].
/// # Errors
/// If the store cannot be read or written.
pub async fn run(store: Store, clock: Clock, away_after_ms: i64, mut stop: Stop) -> Result<(), TaskError> {
    loop {
        tokio::select! {
            () = clock.sleep(EVERY_MS) => {}
            () = stop.stopped() => return Ok(()),
        }
        let away_before = clock.wall().plus(-away_after_ms);
        let mut rows = 0;
        for (scope, through) in store.read(move |r| r.read_by_all(away_before)).await? {
            loop {
                let (again, of) = (store.clone(), scope.clone());
                let went = tokio::task::spawn_blocking(move || again.prune_piece(&of, through)).await??;
                rows += went;
                if went == 0 {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = stop.stopped() => return Ok(()),
                }
            }
        }
        if rows > 0 {
            info!(rows, "{rows} rows were taken out of the feeds: every device has read them or begins again");
        }
        past::prune(&store, clock.wall(), &mut stop).await?;
    }
}
