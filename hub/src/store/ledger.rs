//! The ledger and the feeds.
//!
//! An item is written into the ledger once; each scope that gets it has a row in its feed. A feed
//! row has a position of its own, so that an item published to another scope later is never behind
//! a reader. Items that replace older ones (orders, facts) take the older ones' feed rows away;
//! the ledger keeps all.

use gatehouse_common::{
    document::gate::Inspected,
    id::{DeviceId, DocumentId, DocumentKind, Hash32},
    seal::Sealed,
    sync::{Downward, FeedItem, Lane},
    time::UtcMs,
};
use tracing::error;

use super::{
    Device, Reader, Scope, StoreChange, StoreError, Tx,
    damage::{Checked, number, verified},
    row,
    sql::{Row, ToValue, params},
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
    /// The device that it came from, if one sent it.
    pub origin: Option<DeviceId>,
    /// Its place in the ledger: two rows of one device with the same place are the same item.
    pub ledger: u64,
    /// Its bytes in a message, roughly.
    pub weight: usize,
}

struct Stored {
    kind: String,
    document: String,
    document_kind: String,
    body: Vec<u8>,
    checksum: Vec<u8>,
}

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: r.get("kind")?,
            document: r.get("document")?,
            document_kind: r.get("document_kind")?,
            body: r.get("body")?,
            checksum: r.get("checksum")?,
        })
    }

    fn open(self, position: i64) -> Result<Downward, StoreError> {
        let parts = [self.kind.as_bytes(), self.document.as_bytes(), self.document_kind.as_bytes(), &self.body];
        row::verify("ledger", position, &parts, &self.checksum)?;
        let bad = |why: &str| row::damaged("ledger", position, why);
        if self.kind == "chunk" {
            let kind = match self.document_kind.as_str() {
                "case" => DocumentKind::Case,
                "dispatch" => DocumentKind::Dispatch,
                _ => return Err(bad("unknown kind of document")),
            };
            return Ok(Downward::Chunk { document: row::parse("ledger", &self.document)?, kind, bytes: self.body });
        }
        let text = String::from_utf8(self.body).map_err(|_| bad("not text"))?;
        let sealed = |text: &str| -> Result<Sealed, StoreError> { row::json("ledger", &position.to_string(), text) };
        Ok(match self.kind.as_str() {
            "order" => Downward::Order(text),
            "fact" => Downward::Fact(text),
            "sources" => Downward::Sources(text),
            "lease" => Downward::Lease(sealed(&text)?),
            "anchor" => Downward::Anchor(sealed(&text)?),
            _ => return Err(bad("unknown kind of item")),
        })
    }
}

fn chunk_bytes(says: Downward) -> Option<Vec<u8>> {
    if let Downward::Chunk { bytes, .. } = says { Some(bytes) } else { None }
}

/// What is written of an item besides what it says.
pub(super) struct Provenance<'a> {
    pub(super) origin: Option<&'a DeviceId>,
    pub(super) inspected: Option<&'a Inspected>,
    /// A newer item of this subject replaces it; empty when nothing does.
    pub(super) subject: &'a str,
}

/// An item of the ledger, as the rows in feeds name it.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Its place in the ledger.
    pub(super) place: u64,
    document: String,
    hash: String,
}

impl Placed {
    pub(super) fn chunk(place: u64, document: &DocumentId, hash: &Hash32) -> Self {
        Self { place, document: document.to_string(), hash: hash.to_string() }
    }
}

impl Provenance<'_> {
    pub(super) const OWN: Self = Self { origin: None, inspected: None, subject: "" };
}

impl Reader<'_> {
    /// Rows of `lane` after `after` for a device with `scopes`, in order of position, at most `limit`. One that is
    /// damaged is told to the log and left out.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn feed(&self, scopes: &[Scope], lane: Lane, after: u64, limit: usize) -> Result<Vec<FeedRow>, StoreError> {
        if scopes.is_empty() {
            return Ok(Vec::new());
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
        let mut found = Vec::new();
        for ((ledger, position), origin, stored) in rows {
            let weight = stored.body.len() + 48;
            let says = match stored.open(ledger) {
                Ok(says) => says,
                Err(damaged @ StoreError::Damaged { .. }) => {
                    // One row that rotted must not keep a depot from all others.
                    error!(position = ledger, error = %damaged, "a row is left out of the feed: {damaged}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            found.push(FeedRow {
                item: FeedItem { lane, position: row::from_sql(position), says },
                origin: if origin.is_empty() { None } else { Some(row::parse("ledger", &origin)?) },
                ledger: row::from_sql(ledger),
                weight,
            });
        }
        Ok(found)
    }

    /// Whether the feed has chunks of the device itself that it would not get back.
    pub(crate) fn has_own_chunks_after_refill(&self, device: &Device) -> Result<bool, StoreError> {
        let through = row::to_sql(self.refill_through(&device.device)?);
        Ok(self.sql.one(OWN_AFTER, params![device.device.as_str(), through], |r| r.get(0))?)
    }

    /// Chunks of a document after a place in the ledger, with their places, in order.
    pub(super) fn chunks_after(&self, document: &DocumentId, after: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let rows = self.sql.query(
            "SELECT position, kind, document, document_kind, body, checksum FROM ledger
              WHERE kind = 'chunk' AND document = ?1 AND position > ?2 ORDER BY position",
            params![document.to_string(), row::to_sql(after)],
            |r| {
                let position: i64 = r.get("position")?;
                Ok::<_, StoreError>((row::from_sql(position), Stored::read(r)?.open(position)?))
            },
        )?;
        Ok(rows.into_iter().filter_map(|(place, says)| Some((place, chunk_bytes(says)?))).collect())
    }

    /// Whether the ledger has this chunk.
    pub(crate) fn has_chunk(&self, document: &DocumentId, hash: &Hash32) -> Result<bool, StoreError> {
        Ok(self.ledger_place(&document.to_string(), hash)?.is_some())
    }

    /// The largest change number of a writer in a document; 0 if the ledger has none.
    pub(crate) fn writer_seq(&self, document: &DocumentId, actor: &str) -> Result<u64, StoreError> {
        Ok(row::from_sql(self.sql.one(
            "SELECT coalesce(max(seq), 0) FROM ledger WHERE kind = 'chunk' AND document = ?1 AND actor = ?2",
            params![document.to_string(), actor],
            |r| r.get(0),
        )?))
    }

    /// Reads the whole ledger against its checksums.
    pub(super) fn verify_ledger(&self) -> Result<(), StoreError> {
        verified(|after| self.check_ledger(number(after), 500))
    }

    /// Reads up to `limit` rows behind a place against their checksums.
    pub(super) fn check_ledger(&self, after: i64, limit: usize) -> Result<Checked, StoreError> {
        let rows = self.sql.query(
            "SELECT position, kind, document, document_kind, body, checksum FROM ledger
              WHERE position > ?1 ORDER BY position LIMIT ?2",
            params![after, limit as i64],
            |r| {
                let position: i64 = r.get("position")?;
                Ok::<_, StoreError>((position.to_string(), Stored::read(r)?.open(position).err()))
            },
        )?;
        Ok(Checked::of(rows))
    }

    pub(super) fn ledger_place(&self, document: &str, hash: &Hash32) -> Result<Option<i64>, StoreError> {
        Ok(self.sql.optional(
            "SELECT position FROM ledger WHERE document = ?1 AND hash = ?2",
            params![document, hash.to_string()],
            |r| r.get(0),
        )?)
    }

    /// The newest item under a subject, if it is sound.
    pub(super) fn newest_of_subject(&self, subject: &str) -> Result<Option<String>, StoreError> {
        let newest = self.sql.optional(
            "SELECT position, kind, document, document_kind, body, checksum FROM ledger
              WHERE subject = ?1 AND subject <> '' ORDER BY position DESC LIMIT 1",
            params![subject],
            |r| Ok::<_, StoreError>(Stored::read(r)?.open(r.get("position")?).ok()),
        )?;
        Ok(newest.flatten().and_then(|says| match says {
            Downward::Order(text) | Downward::Fact(text) | Downward::Sources(text) => Some(text),
            _ => None,
        }))
    }

    /// The changes of a document that can be read, with those left out that cannot.
    pub(super) fn sound_chunks(&self, document: &DocumentId) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.sql.query(
            "SELECT position, kind, document, document_kind, body, checksum FROM ledger
              WHERE kind = 'chunk' AND document = ?1 ORDER BY position",
            params![document.to_string()],
            |r| Ok::<_, StoreError>(Stored::read(r)?.open(r.get("position")?).ok()),
        )?;
        Ok(rows.into_iter().flatten().filter_map(chunk_bytes).collect())
    }

    /// Bodies of everything the ledger has under a subject, oldest first.
    pub(super) fn of_subject(&self, subject: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.sql.query(
            "SELECT position, kind, document, document_kind, body, checksum FROM ledger
              WHERE subject = ?1 AND subject <> '' ORDER BY position",
            params![subject],
            |r| Stored::read(r)?.open(r.get("position")?),
        )?;
        let text = |says| match says {
            Downward::Order(text) | Downward::Fact(text) | Downward::Sources(text) => Some(text),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(text).collect())
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

    /// Writes an item into the ledger unless it is there.
    fn record(&mut self, says: &Downward, provenance: &Provenance<'_>, now: UtcMs) -> Result<Placed, StoreError> {
        let (document, hash) = (document_of(says), item_hash(says, provenance));
        match self.ledger_place(&document, &hash)? {
            Some(place) => Ok(Placed { place: row::from_sql(place), document, hash: hash.to_string() }),
            None => self.append(says, provenance, now),
        }
    }

    /// Writes an item into the ledger that is not there yet.
    pub(super) fn append(
        &mut self,
        says: &Downward,
        provenance: &Provenance<'_>,
        now: UtcMs,
    ) -> Result<Placed, StoreError> {
        let (document, hash) = (document_of(says), item_hash(says, provenance).to_string());
        let document_kind = if let Downward::Chunk { kind, .. } = says { kind.as_str() } else { "" };
        let (kind, body) = match says {
            Downward::Chunk { bytes, .. } => ("chunk", bytes.clone()),
            Downward::Order(text) => ("order", text.clone().into_bytes()),
            Downward::Fact(text) => ("fact", text.clone().into_bytes()),
            Downward::Sources(text) => ("sources", text.clone().into_bytes()),
            Downward::Lease(sealed) => ("lease", serde_json::to_vec(sealed)?),
            Downward::Anchor(sealed) => ("anchor", serde_json::to_vec(sealed)?),
            Downward::Page(_) | Downward::Snapshot { .. } => {
                return Err(StoreError::Refused("this is made for one answer and not kept".to_owned()));
            }
        };
        let checksum = row::checksum(&[kind.as_bytes(), document.as_bytes(), document_kind.as_bytes(), &body]);
        let actor = provenance.inspected.map(|i| String::from_utf8_lossy(&i.actor).into_owned()).unwrap_or_default();
        let place = self.turn.next(Numbered::Ledger);
        self.sql.execute(
            "INSERT INTO ledger (position, kind, document, document_kind, hash, origin, actor, seq,
                                 subject, body, at_ms, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                place,
                kind,
                document,
                document_kind,
                hash,
                provenance.origin.map_or("", DeviceId::as_str),
                actor,
                provenance.inspected.map_or(0, |i| row::to_sql(i.seq)),
                provenance.subject,
                body,
                now.0,
                checksum,
            ],
        )?;
        Ok(Placed { place: row::from_sql(place), document, hash })
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

/// The document of a chunk; empty for anything else.
fn document_of(says: &Downward) -> String {
    if let Downward::Chunk { document, .. } = says { document.to_string() } else { String::new() }
}

/// What makes two items the same. A chunk's is the change's own hash, so that a writer's number and
/// another document's past can name it.
fn item_hash(says: &Downward, provenance: &Provenance<'_>) -> Hash32 {
    provenance.inspected.map_or_else(|| says.hash(), |i| i.hash)
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
