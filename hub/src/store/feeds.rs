//! The feeds: whom an item of the ledger goes to.
//!
//! An item is written into the ledger once; each scope that gets it has a row in its feed. A feed
//! row has a position of its own, so that an item published to another scope later is never behind
//! a reader. Items that replace older ones (orders, facts) take the older ones' feed rows away;
//! the ledger keeps all.

use gatehouse_common::{
    id::{DeviceId, DocumentId},
    sync::{Downward, FeedItem, Lane},
    time::UtcMs,
};
use tracing::error;

use super::{
    Device, Reader, Scope, StoreChange, StoreError, Tx,
    ledger::{Placed, Provenance, Stored},
    row,
    sql::{ToValue, params},
    turn::Numbered,
};

// A plan is made once, whatever is bound: an index with a condition is used only where the statement says the condition.
// Without it, these read the whole feed.

/// Whether a device's own chunks are in the feed behind a place.
const OWN_AFTER: &str = "SELECT EXISTS (SELECT 1 FROM ledger l JOIN feed f ON f.item = l.position
     WHERE l.origin = ?1 AND l.origin <> '' AND l.kind = 'chunk' AND f.position > ?2)";
/// Takes all but one item of a subject out of a scope's feed.
const DROP_OLDER: &str = "DELETE FROM feed WHERE scope = ?1 AND subject = ?2 AND subject <> '' AND item <> ?3";

/// A row of a feed, for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// What to send.
    pub item: FeedItem,
    /// The device that it came from, if one sent it and its name can be read.
    pub origin: Option<DeviceId>,
    /// Its place in the ledger: two rows of one device with the same place are the same item.
    pub ledger: u64,
    /// Its bytes in a message, roughly.
    pub weight: usize,
}

/// A stretch of a lane of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretch {
    /// What can be read of it, in order of position.
    pub rows: Vec<FeedRow>,
    /// The last position that was looked at, whether its row could be read or not; none if there is no row.
    pub last: Option<u64>,
    /// Whether the lane has no more rows behind it.
    pub is_end: bool,
}

impl Reader<'_> {
    /// Rows of `lane` after `after` for a device with `scopes`, in order of position, at most `limit`. One that is
    /// damaged is told to the log and left out: it must not keep a depot from all others, nor end the lane before it ends.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn feed(&self, scopes: &[Scope], lane: Lane, after: u64, limit: usize) -> Result<Stretch, StoreError> {
        if scopes.is_empty() {
            return Ok(Stretch { is_end: true, ..Stretch::default() });
        }
        let marks: Vec<String> = (0..scopes.len()).map(|n| format!("?{}", n + 4)).collect();
        let marks = marks.join(", ");
        // In order of position: a page that ends anywhere leaves nothing behind its cursor.
        let sql = format!(
            "SELECT f.position AS feed_position, l.position AS ledger_position, l.origin, l.kind, l.document,
                    l.document_kind, l.body, l.checksum
               FROM feed f JOIN ledger l ON l.position = f.item
              WHERE f.lane = ?1 AND f.position > ?2 AND f.scope IN ({marks})
              ORDER BY f.position LIMIT ?3"
        );
        let mut values = params![lane.index() as i64, row::to_sql(after), limit as i64].to_vec();
        values.extend(scopes.iter().map(|scope| scope.to_string().to_value()));
        let rows = self.sql.query(&sql, &values, |r| {
            let places: (i64, i64) = (r.get("ledger_position")?, r.get("feed_position")?);
            Ok::<_, StoreError>((places, r.get::<String>("origin")?, Stored::read(r)?))
        })?;
        let last = rows.last().map(|((_, position), ..)| row::from_sql(*position));
        let mut found = Stretch { rows: Vec::new(), last, is_end: rows.len() < limit };
        for ((ledger, position), origin, stored) in rows {
            let weight = stored.body.len() + 48;
            let says = match stored.open(ledger) {
                Ok(says) => says,
                Err(damaged @ StoreError::Damaged { .. }) => {
                    error!(position = ledger, error = %damaged, "a row is left out of the feed: {damaged}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            let item = FeedItem { lane, position: row::from_sql(position), says };
            // One that rotted counts as unknown: its sender gets back what it has, which changes nothing.
            let origin = origin.parse().ok();
            found.rows.push(FeedRow { item, origin, ledger: row::from_sql(ledger), weight });
        }
        Ok(found)
    }

    /// Whether the feed has chunks of the device itself that it would not get back.
    pub(crate) fn has_own_chunks_after_refill(&self, device: &Device) -> Result<bool, StoreError> {
        let through = row::to_sql(self.refill_through(&device.device)?);
        Ok(self.sql.one(OWN_AFTER, params![device.device.as_str(), through], |r| r.get(0))?)
    }
}

impl Tx<'_> {
    /// The last position of any feed, what this turn has given out included.
    pub(crate) fn feed_end(&self) -> u64 {
        row::from_sql(self.turn.head(Numbered::Feed))
    }

    /// Tells the devices of `scope` something: into the ledger if it is new, and into the scope's feed
    /// unless it is there. Returns whether the scope did not have it.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn publish(&mut self, scope: &Scope, lane: Lane, says: &Downward, now: UtcMs) -> Result<bool, StoreError> {
        let item = self.record(says, &Provenance::OWN, now)?;
        self.feed_row(scope, lane, &item, "")
    }

    /// Like [`Self::publish`], and takes older items of the same subject out of the scope's feed: whoever
    /// has not read them yet reads the newer one instead.
    pub(crate) fn publish_newest(
        &mut self,
        scope: &Scope,
        lane: Lane,
        says: &Downward,
        subject: &str,
        now: UtcMs,
    ) -> Result<bool, StoreError> {
        let item = self.record(says, &Provenance { subject, ..Provenance::OWN }, now)?;
        let new = self.feed_row(scope, lane, &item, subject)?;
        if new {
            self.sql.execute(DROP_OLDER, params![scope.to_string(), subject, row::to_sql(item.place)])?;
        }
        Ok(new)
    }

    /// Gives a scope a row for an item of the ledger, unless it has one. Returns whether it had none.
    pub(super) fn feed_row(
        &mut self,
        scope: &Scope,
        lane: Lane,
        item: &Placed,
        subject: &str,
    ) -> Result<bool, StoreError> {
        let position = self.turn.head(Numbered::Feed) + 1;
        // One row and its values: of a statement that reads what it writes SQLite keeps what was there before.
        let added = self.sql.execute(
            "INSERT INTO feed (position, scope, lane, item, document, hash, subject)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (scope, document, hash) DO NOTHING",
            params![
                position,
                scope.to_string(),
                lane.index() as i64,
                row::to_sql(item.place),
                item.document,
                item.hash,
                subject
            ],
        )?;
        if added > 0 {
            self.turn.next(Numbered::Feed);
            self.changed(StoreChange::Feed(scope.clone()));
        }
        Ok(added > 0)
    }

    /// Gives a scope every chunk of a document that the ledger has, in order.
    pub(super) fn feed_whole_document(
        &mut self,
        scope: &Scope,
        lane: Lane,
        document: &DocumentId,
    ) -> Result<(), StoreError> {
        let head = self.turn.head(Numbered::Feed);
        let added = self.sql.execute(
            "INSERT INTO feed (position, scope, lane, item, document, hash, subject)
             SELECT ?4 + row_number() OVER (ORDER BY l.position), ?1, ?2, l.position, l.document, l.hash, ''
               FROM ledger l
              WHERE l.kind = 'chunk' AND l.document = ?3
                AND NOT EXISTS (SELECT 1 FROM feed f
                                 WHERE f.scope = ?1 AND f.document = l.document AND f.hash = l.hash)",
            params![scope.to_string(), lane.index() as i64, document.to_string(), head],
        )?;
        if added > 0 {
            self.turn.skip(Numbered::Feed, added as i64);
            self.changed(StoreChange::Feed(scope.clone()));
        }
        Ok(())
    }

    /// Moves what a scope has of a document up into the lane of recalls, in order: a recall whose past
    /// waits in a slower lane could not be applied, and a release would leave before it.
    pub(super) fn hurry_document(&mut self, scope: &Scope, document: &DocumentId) -> Result<(), StoreError> {
        let key = params![scope.to_string(), document.to_string(), Lane::Recalls.index() as i64];
        self.sql.execute("DELETE FROM feed WHERE scope = ?1 AND document = ?2 AND lane <> ?3", key)?;
        self.feed_whole_document(scope, Lane::Recalls, document)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Store, StoreError, sql::params};

    #[test]
    fn what_is_asked_with_every_exchange_reads_no_whole_feed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let plan = |sql: &str, count: usize| -> String {
            let asked = format!("EXPLAIN QUERY PLAN {sql}");
            let values = params!["a", "b", 3][..count].to_vec();
            let steps = store.read_now(|r| {
                r.sql.query(&asked, &values, |row| row.get::<String>("detail").map_err(StoreError::from))
            });
            steps.unwrap().join("; ")
        };
        let (own, older) = (plan(super::OWN_AFTER, 2), plan(super::DROP_OLDER, 3));
        assert!(own.contains("ledger_origin") && own.contains("feed_item"), "{own}");
        assert!(older.contains("feed_subject"), "{older}");
        // As it was: the index is not used, though what is bound meets its condition.
        let without = plan(&super::DROP_OLDER.replace("AND subject <> ''", ""), 3);
        assert!(!without.contains("feed_subject"), "{without}");
    }
}
