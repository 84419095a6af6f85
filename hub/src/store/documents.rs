//! Cases and dispatches: their chunks in the ledger, a snapshot of each, and who gets them.
//!
//! A chunk that comes in is tried on the document, then logged and fed to the document's scopes; the
//! stored snapshot, heads and view follow a little later ([`super::folding`]). Whoever asks for one
//! document gets it with all its chunks at any time.

mod bounds;
mod changes;
mod lists;
mod resting;
mod trial;

use gatehouse_common::{
    case::{self, CaseView},
    dispatch::{self, DispatchView},
    document::Document,
    id::{DocumentId, DocumentKind, OrderId},
    time::UtcMs,
};

pub use changes::DocumentSays;
pub(crate) use changes::{ForeignChunks, NotLetIn};
pub use lists::{CaseFilter, DispatchFilter, DocumentRow};
pub use resting::AtRest;
pub(super) use trial::folded_as_stored;
#[cfg(test)]
pub(crate) use trial::planted;

use super::{
    Reader, StoreError,
    damage::Checked,
    row,
    sql::{Row, params},
};

struct Stored {
    kind: String,
    snapshot: Vec<u8>,
    through: i64,
    checksum: Vec<u8>,
}

impl Stored {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: r.get("kind")?,
            snapshot: r.get("snapshot")?,
            through: r.get("folded_through")?,
            checksum: r.get("checksum")?,
        })
    }
}

pub(super) fn kind_of(text: &str) -> Result<DocumentKind, StoreError> {
    match text {
        "case" => Ok(DocumentKind::Case),
        "dispatch" => Ok(DocumentKind::Dispatch),
        other => Err(row::damaged("documents", other, "unknown kind of document")),
    }
}

/// Heads as they are stored: a sorted JSON list of hex texts.
pub(super) fn heads_json(document: &Document) -> Result<String, StoreError> {
    Ok(serde_json::to_string(&document.heads())?)
}

impl Reader<'_> {
    /// A document with everything that was committed of it, its kind, and its last chunk's place.
    pub(super) fn whole(&self, id: &DocumentId) -> Result<Option<(DocumentKind, Document, u64)>, StoreError> {
        let Some(stored) = self.sql.optional(
            "SELECT kind, snapshot, folded_through, checksum FROM documents WHERE document = ?1",
            params![id.to_string()],
            Stored::read,
        )?
        else {
            return Ok(None);
        };
        let kind = kind_of(&stored.kind)?;
        // Before the first fold there is nothing in it.
        let is_folded = stored.through > 0;
        let sound = is_folded && row::verify("documents", id, &[&stored.snapshot], &stored.checksum).is_ok();
        let loaded = if sound { Document::load(&stored.snapshot).ok() } else { None };
        // A snapshot is derived: when it is damaged, the chunks in the ledger still say everything.
        let (mut document, mut through) = match loaded {
            Some(document) => (document, row::from_sql(stored.through)),
            None => (Document::new()?, 0),
        };
        let (places, chunks): (Vec<u64>, Vec<Vec<u8>>) = self.chunks_after(id, through)?.into_iter().unzip();
        document.apply_all_own(&chunks)?;
        through = places.last().copied().unwrap_or(through);
        Ok(Some((kind, document, through)))
    }

    /// How many documents have a stored state that is damaged.
    pub(super) fn snapshots_damaged(&self) -> Result<u64, StoreError> {
        let (mut last, mut damaged) = (String::new(), 0);
        loop {
            let checked = self.check_snapshots(&last, 200)?;
            damaged += checked.damaged.len() as u64;
            match checked.last {
                Some(document) => last = document,
                None => return Ok(damaged),
            }
        }
    }

    /// Reads up to `limit` documents' stored states behind one against their checksums.
    pub(super) fn check_snapshots(&self, after: &str, limit: usize) -> Result<Checked, StoreError> {
        let rows = self.sql.query(
            "SELECT document, snapshot, checksum FROM documents WHERE document > ?1 ORDER BY document LIMIT ?2",
            params![after, limit as i64],
            |r| {
                let (document, snapshot): (String, Vec<u8>) = (r.get("document")?, r.get("snapshot")?);
                let sum: Vec<u8> = r.get("checksum")?;
                let wrong = row::verify("documents", &document, &[&snapshot], &sum).err();
                Ok::<_, StoreError>((document, wrong))
            },
        )?;
        Ok(Checked::of(rows))
    }

    /// A document with everything that was committed of it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is.
    pub fn document(&self, id: &DocumentId) -> Result<Option<(DocumentKind, Document)>, StoreError> {
        Ok(self.whole(id)?.map(|(kind, document, _)| (kind, document)))
    }

    /// A dispatch as it stands now; none while nobody has planned it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is. So it is if the document breaks off its fold.
    pub fn dispatch_view(&self, id: &DocumentId) -> Result<Option<DispatchView>, StoreError> {
        match self.whole(id)? {
            Some((DocumentKind::Dispatch, document, _)) => Ok(folded_as_stored(id, document, dispatch::fold)?.1),
            _ => Ok(None),
        }
    }

    /// A case as it stands now; none while nobody has opened it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is. So it is if the document breaks off its fold.
    pub fn case_view(&self, id: &DocumentId) -> Result<Option<CaseView>, StoreError> {
        match self.whole(id)? {
            Some((DocumentKind::Case, document, _)) => Ok(folded_as_stored(id, document, case::fold)?.1),
            _ => Ok(None),
        }
    }

    /// Since when a document has chunks whose past has not come in; none if it has none.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn waits_since(&self, id: &DocumentId) -> Result<Option<UtcMs>, StoreError> {
        let since: Option<Option<i64>> = self.sql.optional(
            "SELECT waiting_since_ms FROM documents WHERE document = ?1",
            params![id.to_string()],
            |r| r.get(0),
        )?;
        Ok(since.flatten().map(UtcMs))
    }

    /// How many documents have chunks whose past has not come in, and since when the oldest of them waits.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn waiting(&self) -> Result<(u64, Option<UtcMs>), StoreError> {
        let (count, oldest): (i64, Option<i64>) = self.sql.one(
            "SELECT count(*), min(waiting_since_ms) FROM documents WHERE waiting_since_ms IS NOT NULL",
            params![],
            |r| Ok::<_, StoreError>((r.get(0)?, r.get(1)?)),
        )?;
        Ok((row::from_sql(count), oldest.map(UtcMs)))
    }

    /// Every case under a dedup key, by occurrence, as it stands now.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of one is.
    pub fn cases_under(&self, dedup_key: &str) -> Result<Vec<(DocumentId, CaseView)>, StoreError> {
        let mut found = Vec::new();
        for occurrence in 1.. {
            let id = case::document_id(dedup_key, occurrence);
            match self.case_view(&id)? {
                Some(view) => found.push((id, view)),
                None => break,
            }
        }
        Ok(found)
    }

    /// The dispatches of an order as they stand now, by depot and occurrence.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of one is.
    pub fn dispatches_of_order(&self, order: &OrderId) -> Result<Vec<(DocumentId, DispatchView)>, StoreError> {
        let ids: Vec<DocumentId> = self.sql.query(
            "SELECT document FROM documents WHERE order_id = ?1 AND kind = 'dispatch' ORDER BY site, occurrence",
            params![order.as_str()],
            |r| row::parse("documents", &r.get::<String>("document")?),
        )?;
        let mut found = Vec::new();
        for id in ids {
            if let Some(view) = self.dispatch_view(&id)? {
                found.push((id, view));
            }
        }
        Ok(found)
    }

    /// The newest case under a dedup key: its occurrence, its document and how it stands.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is.
    pub fn newest_case(&self, dedup_key: &str) -> Result<Option<(u32, DocumentId, CaseView)>, StoreError> {
        Ok(self.cases_under(dedup_key)?.pop().map(|(id, view)| (view.occurrence, id, view)))
    }
}
