//! What devices sent and the hub did not let in: reason, hash, size and the first bytes of each.

use gatehouse_common::{
    id::{DeviceId, DocumentId, Hash32},
    time::UtcMs,
};
use serde::Serialize;

use super::{Reader, StoreChange, StoreError, Tx, row, sql::params, turn::Numbered};

/// How many bytes of what was refused are kept.
const HEAD_MAX: usize = 256;

/// How many of one sender stay, the newest: who sends nothing else fills no disk. A change that builds on one that is
/// forgotten waits, as for any that never came.
const OF_ONE_MAX: u64 = 10_000;

/// After how many of all senders it is looked whether one has more; it has up to so many more meanwhile.
const LOOK_EVERY: i64 = 256;

/// Something in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its place.
    pub position: u64,
    /// Who sent it.
    pub origin: String,
    /// What it was: chunk, decision, fact, status, event.
    pub what: String,
    /// Which document, for chunks, in hex.
    pub document: String,
    /// Hash of what was refused.
    pub hash: String,
    /// Why it was refused.
    pub reason: String,
    /// Its bytes.
    pub size: u64,
    /// When, by the hub's clock.
    pub at: UtcMs,
}

impl Reader<'_> {
    /// The latest in quarantine, newest first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn quarantine(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.sql.query(
            "SELECT position, origin, what, document, hash, reason, size, at_ms FROM quarantine
              ORDER BY position DESC LIMIT ?1",
            params![limit as i64],
            |r| {
                Ok(Quarantined {
                    position: row::from_sql(r.get("position")?),
                    origin: r.get("origin")?,
                    what: r.get("what")?,
                    document: r.get("document")?,
                    hash: r.get("hash")?,
                    reason: r.get("reason")?,
                    size: row::from_sql(r.get("size")?),
                    at: UtcMs(r.get("at_ms")?),
                })
            },
        )
    }

    /// How many are in quarantine.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn quarantine_count(&self) -> Result<u64, StoreError> {
        Ok(row::from_sql(self.sql.one("SELECT count(*) FROM quarantine", params![], |r| r.get(0))?))
    }

    /// Whether a change of this document that `origin` sent is in quarantine. What others sent under the same hash says
    /// nothing of it: they may have done so only to have it refused.
    pub(crate) fn is_quarantined(
        &self,
        origin: &DeviceId,
        document: &DocumentId,
        hash: &Hash32,
    ) -> Result<bool, StoreError> {
        Ok(self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM quarantine WHERE document = ?1 AND hash = ?2 AND origin = ?3)",
            params![document.to_string(), hash.to_string(), origin.as_str()],
            |r| r.get(0),
        )?)
    }
}

/// What goes into quarantine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) origin: &'a DeviceId,
    pub(crate) what: &'a str,
    pub(crate) document: Option<&'a DocumentId>,
    /// The change's own hash, where it has one; else of its bytes.
    pub(crate) hash: Hash32,
    pub(crate) reason: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl Tx<'_> {
    /// Puts something into quarantine; the same from the same sender again changes nothing. Of each sender the newest stay.
    pub(crate) fn quarantine_put(&mut self, refused: &Refused<'_>, now: UtcMs) -> Result<(), StoreError> {
        let head = &refused.bytes[..refused.bytes.len().min(HEAD_MAX)];
        let position = self.turn.next(Numbered::Quarantine);
        if position % LOOK_EVERY == 0 {
            self.thin_quarantine(refused.origin, OF_ONE_MAX)?;
        }
        self.sql.execute(
            "INSERT INTO quarantine (position, origin, what, document, hash, reason, size, head, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (origin, what, document, hash) DO NOTHING",
            params![
                position,
                refused.origin.as_str(),
                refused.what,
                refused.document.map(ToString::to_string).unwrap_or_default(),
                refused.hash.to_string(),
                refused.reason,
                refused.bytes.len() as i64,
                head,
                now.0,
            ],
        )?;
        self.changed(StoreChange::Quarantine);
        Ok(())
    }

    /// Forgets all but the newest of a sender.
    pub(super) fn thin_quarantine(&mut self, origin: &DeviceId, stay: u64) -> Result<(), StoreError> {
        let sql = "SELECT position FROM quarantine WHERE origin = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2";
        let values = params![origin.as_str(), row::to_sql(stay)];
        let newest_to_go: Option<i64> = self.sql.optional(sql, values, |r| r.get(0))?;
        if let Some(position) = newest_to_go {
            let sql = "DELETE FROM quarantine WHERE origin = ?1 AND position <= ?2";
            self.sql.execute(sql, params![origin.as_str(), position])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn who_sends_nothing_else_fills_no_disk() {
        const SENT: u64 = OF_ONE_MAX + 768;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let origin: DeviceId = "gw-1".parse().unwrap();
        let count = store
            .write_now(move |tx| {
                for n in 0..SENT {
                    let bytes = n.to_be_bytes();
                    let (hash, origin) = (Hash32::of(&bytes), &origin);
                    let refused = Refused { origin, what: "fact", document: None, hash, reason: "no", bytes: &bytes };
                    tx.quarantine_put(&refused, UtcMs(0))?;
                }
                tx.quarantine_count()
            })
            .unwrap();
        assert!((OF_ONE_MAX..=OF_ONE_MAX + 256).contains(&count), "{count} of {SENT} stay");
    }
}
