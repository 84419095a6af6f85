//! The ledger: every item once, in the order in which it came in, with a checksum. Nothing goes out of it but the second
//! row of what stands in it twice ([`super::mending`]).
//!
//! Whom an item is for stands in the feeds ([`super::feeds`]).

use gatehouse_common::{
    document::gate::{self, Inspected},
    id::{DeviceId, DocumentId, DocumentKind, Hash32},
    seal::Sealed,
    sync::Downward,
    time::UtcMs,
};

use super::{
    Reader, StoreError, Tx,
    damage::{Checked, number},
    row,
    sql::{Row, params},
    turn::Numbered,
};

/// A row as it stands in the table.
pub(super) struct Stored {
    kind: String,
    document: String,
    document_kind: String,
    pub(super) body: Vec<u8>,
    checksum: Vec<u8>,
}

impl Stored {
    pub(super) fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: r.get("kind")?,
            document: r.get("document")?,
            document_kind: r.get("document_kind")?,
            body: r.get("body")?,
            checksum: r.get("checksum")?,
        })
    }

    pub(super) fn open(self, position: i64) -> Result<Downward, StoreError> {
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

/// What a row is found by; it follows from what the row says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundBy {
    hash: String,
    actor: String,
    seq: i64,
}

impl FoundBy {
    fn of(says: &Downward, position: i64) -> Result<Self, StoreError> {
        let Downward::Chunk { bytes, .. } = says else {
            return Ok(Self { hash: says.hash().to_string(), actor: String::new(), seq: 0 });
        };
        let inspected = gate::inspect(bytes).map_err(|e| row::damaged("ledger", position, e))?;
        let actor = String::from_utf8_lossy(&inspected.actor).into_owned();
        Ok(Self { hash: inspected.hash.to_string(), actor, seq: row::to_sql(inspected.seq) })
    }
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
    /// Of which document; empty for what is of none.
    pub(super) document: String,
    /// What makes it the same as another.
    pub(super) hash: String,
}

impl Provenance<'_> {
    pub(super) const OWN: Self = Self { origin: None, inspected: None, subject: "" };
}

impl Reader<'_> {
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

    /// Reads the whole ledger against its checksums. Returns how many damaged rows are put aside.
    pub(super) fn verify_ledger(&self) -> Result<u64, StoreError> {
        self.verified(|after| self.check_ledger(number(after), 500))
    }

    /// Reads up to `limit` rows behind a place against their checksums, and what they are found by against what they say.
    pub(super) fn check_ledger(&self, after: i64, limit: usize) -> Result<Checked, StoreError> {
        let rows = self.sql.query(
            "SELECT position, kind, document, document_kind, hash, actor, seq, body, checksum FROM ledger
              WHERE position > ?1 ORDER BY position LIMIT ?2",
            params![after, limit as i64],
            |r| {
                let position: i64 = r.get("position")?;
                let found_by = FoundBy { hash: r.get("hash")?, actor: r.get("actor")?, seq: r.get("seq")? };
                let right = Stored::read(r)?.open(position).and_then(|says| FoundBy::of(&says, position));
                let wrong = match right {
                    Ok(right) if right == found_by => None,
                    Ok(_) => Some(row::damaged("ledger", position, "what it is found by is not what it says")),
                    Err(e) => Some(e),
                };
                Ok::<_, StoreError>((position.to_string(), wrong))
            },
        )?;
        Ok(Checked::of(rows))
    }

    /// What a row is to be found by, if what it says is sound, and where else the same was written while it was not found
    /// there.
    pub(super) fn to_be_found_by(&self, position: i64) -> Result<Option<(FoundBy, Option<i64>)>, StoreError> {
        let sql = "SELECT kind, document, document_kind, body, checksum FROM ledger WHERE position = ?1";
        let read = |r: &Row<'_>| Ok::<_, StoreError>(Stored::read(r)?.open(position));
        let Some(Ok(says)) = self.sql.optional(sql, params![position], read)? else { return Ok(None) };
        let Ok(found_by) = FoundBy::of(&says, position) else { return Ok(None) };
        let again = self.sql.optional(
            "SELECT position FROM ledger WHERE document = ?1 AND hash = ?2 AND position <> ?3",
            params![document_of(&says), found_by.hash, position],
            |r| r.get(0),
        )?;
        Ok(Some((found_by, again)))
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
    /// Writes anew what a row is found by.
    pub(super) fn set_found_by(&mut self, position: i64, found_by: &FoundBy) -> Result<(), StoreError> {
        let FoundBy { hash, actor, seq } = found_by;
        self.sql.execute(
            "UPDATE ledger SET hash = ?2, actor = ?3, seq = ?4 WHERE position = ?1",
            params![position, hash, actor, seq],
        )?;
        Ok(())
    }

    /// Writes an item into the ledger unless it is there.
    pub(super) fn record(
        &mut self,
        says: &Downward,
        provenance: &Provenance<'_>,
        now: UtcMs,
    ) -> Result<Placed, StoreError> {
        let (document, hash) = (document_of(says), item_hash(says, provenance));
        match self.ledger_place(&document, &hash)? {
            Some(place) => Ok(Placed { place: row::from_sql(place), document, hash: hash.to_string() }),
            None => self.write(says, provenance, hash, now),
        }
    }

    /// Writes an item into the ledger that is not there yet.
    pub(super) fn append(
        &mut self,
        says: &Downward,
        provenance: &Provenance<'_>,
        now: UtcMs,
    ) -> Result<Placed, StoreError> {
        self.write(says, provenance, item_hash(says, provenance), now)
    }

    fn write(
        &mut self,
        says: &Downward,
        provenance: &Provenance<'_>,
        hash: Hash32,
        now: UtcMs,
    ) -> Result<Placed, StoreError> {
        let (document, hash) = (document_of(says), hash.to_string());
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
