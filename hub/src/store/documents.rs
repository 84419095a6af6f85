//! Cases and dispatches: their chunks in the ledger, a snapshot of each, and who gets them.
//!
//! A chunk that comes in is tried on the document, then logged and fed to the document's scopes; the
//! stored snapshot, heads and view follow a little later ([`super::folding`]). Whoever asks for one
//! document gets it with all its chunks at any time.

use gatehouse_common::{
    case::{self, CaseType, CaseView},
    dispatch::{self, DispatchState, DispatchView},
    document::{Applied, Chunk, Document, Entry, EntryKey, Folds, History, gate, gate::Inspected, with_fold},
    id::{DeviceId, DocumentId, DocumentKind, OrderId, SiteId, VehicleId},
    sync::{Downward, Lane},
    time::UtcMs,
};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Serialize, de::DeserializeOwned};
use tracing::error;

use super::{Reader, Scope, StoreChange, StoreError, Tx, ledger::Provenance, row};
use crate::core::projections::{Projection, View, project};

/// What the hub says in a document; several are said one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum DocumentSays {
    /// Of a case.
    Case(Vec<case::Says>),
    /// Of a dispatch.
    Dispatch(Vec<dispatch::Says>),
}

impl DocumentSays {
    /// Which kind of document it is said in.
    #[must_use]
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Case(_) => DocumentKind::Case,
            Self::Dispatch(_) => DocumentKind::Dispatch,
        }
    }
}

/// Which dispatches are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct DispatchFilter {
    /// Only of this depot.
    pub site: Option<SiteId>,
    /// Only of this order.
    pub order: Option<OrderId>,
    /// Only with this vehicle.
    pub vehicle: Option<VehicleId>,
    /// Only in this state.
    pub state: Option<DispatchState>,
    /// Only those that are over at the depot, or only those that are not.
    pub over: Option<bool>,
    /// At most so many; all if none.
    pub limit: Option<usize>,
}

/// Which cases are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct CaseFilter {
    /// Only of this depot.
    pub site: Option<SiteId>,
    /// Only about this order.
    pub order: Option<OrderId>,
    /// Only of this type.
    pub case_type: Option<CaseType>,
    /// Only those that nobody needs to work on any more, or only those that someone does.
    pub over: Option<bool>,
    /// At most so many; all if none.
    pub limit: Option<usize>,
}

/// A document as it was last folded, for lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentRow {
    /// Which.
    pub document: DocumentId,
    /// Its view: a [`DispatchView`] or a [`CaseView`] as JSON.
    pub view: serde_json::Value,
}

struct Stored {
    kind: String,
    snapshot: Vec<u8>,
    through: i64,
    checksum: Vec<u8>,
}

impl Stored {
    fn read(r: &Row<'_>) -> rusqlite::Result<Self> {
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
        let mut statement = self
            .connection
            .prepare_cached("SELECT kind, snapshot, folded_through, checksum FROM documents WHERE document = ?1")?;
        let Some(stored) = statement.query_row([id.to_string()], Stored::read).optional()? else { return Ok(None) };
        let kind = kind_of(&stored.kind)?;
        let sound = row::verify("documents", id, &[&stored.snapshot], &stored.checksum).is_ok();
        let loaded = if sound { Document::load(&stored.snapshot).ok() } else { None };
        // A snapshot is derived: when it is damaged, the chunks in the ledger still say everything.
        let (mut document, mut through) = match loaded {
            Some(document) => (document, row::from_sql(stored.through)),
            None => (Document::new()?, 0),
        };
        for (place, bytes) in self.chunks_after(id, through)? {
            document.apply_own(&bytes)?;
            through = place;
        }
        Ok(Some((kind, document, through)))
    }

    /// A document with everything that was committed of it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is.
    pub fn document(&self, id: &DocumentId) -> Result<Option<(DocumentKind, Document)>, StoreError> {
        Ok(self.whole(id)?.map(|(kind, document, _)| (kind, document)))
    }

    /// A dispatch as it stands now; none while nobody has planned it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is.
    pub fn dispatch_view(&self, id: &DocumentId) -> Result<Option<DispatchView>, StoreError> {
        match self.whole(id)? {
            Some((DocumentKind::Dispatch, document, _)) => Ok(dispatch::fold(&document)),
            _ => Ok(None),
        }
    }

    /// A case as it stands now; none while nobody has opened it.
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk of it is.
    pub fn case_view(&self, id: &DocumentId) -> Result<Option<CaseView>, StoreError> {
        match self.whole(id)? {
            Some((DocumentKind::Case, document, _)) => Ok(case::fold(&document)),
            _ => Ok(None),
        }
    }

    /// Since when a document has chunks whose past has not come in; none if it has none.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn waits_since(&self, id: &DocumentId) -> Result<Option<UtcMs>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT waiting_since_ms FROM documents WHERE document = ?1")?;
        let since: Option<Option<i64>> = statement.query_row([id.to_string()], |r| r.get(0)).optional()?;
        Ok(since.flatten().map(UtcMs))
    }

    /// How many documents have chunks whose past has not come in, and since when the oldest of them waits.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn waiting(&self) -> Result<(u64, Option<UtcMs>), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT count(*), min(waiting_since_ms) FROM documents WHERE waiting_since_ms IS NOT NULL",
        )?;
        let (count, oldest): (i64, Option<i64>) = statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?;
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
        let mut statement = self.connection.prepare_cached(
            "SELECT document FROM documents WHERE order_id = ?1 AND kind = 'dispatch' ORDER BY site, occurrence",
        )?;
        let rows = statement.query_map([order.as_str()], |r| r.get::<_, String>("document"))?;
        let mut found = Vec::new();
        for text in rows {
            let id = row::parse("documents", &text?)?;
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

    /// Dispatches by filter, by planned departure, as they were last folded.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn dispatches(&self, filter: &DispatchFilter) -> Result<Vec<DocumentRow>, StoreError> {
        self.rows(
            "SELECT document, view FROM documents
              WHERE kind = 'dispatch' AND state IS NOT NULL AND (?1 IS NULL OR site = ?1)
                AND (?2 IS NULL OR order_id = ?2) AND (?3 IS NULL OR vehicle = ?3) AND (?4 IS NULL OR state = ?4)
                AND (?5 IS NULL OR over = ?5)
              ORDER BY due_ms, document LIMIT ?6",
            params![
                filter.site.as_ref().map(SiteId::as_str),
                filter.order.as_ref().map(OrderId::as_str),
                filter.vehicle.as_ref().map(VehicleId::as_str),
                filter.state.map(DispatchState::as_str),
                filter.over,
                filter.limit.map_or(-1, |n| n as i64),
            ],
        )
    }

    /// Cases by filter, the worst first, then by when they should be resolved, as they were last folded.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn cases(&self, filter: &CaseFilter) -> Result<Vec<DocumentRow>, StoreError> {
        self.rows(
            "SELECT document, view FROM documents
              WHERE kind = 'case' AND state IS NOT NULL AND (?1 IS NULL OR site = ?1)
                AND (?2 IS NULL OR order_id = ?2) AND (?3 IS NULL OR case_type = ?3) AND (?4 IS NULL OR over = ?4)
              ORDER BY over, severity, due_ms, document LIMIT ?5",
            params![
                filter.site.as_ref().map(SiteId::as_str),
                filter.order.as_ref().map(OrderId::as_str),
                filter.case_type.map(CaseType::code),
                filter.over,
                filter.limit.map_or(-1, |n| n as i64),
            ],
        )
    }

    fn rows(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<DocumentRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            let (document, view): (String, String) = (r.get("document")?, r.get("view")?);
            found.push(DocumentRow {
                view: row::json("documents", &document, &view)?,
                document: row::parse("documents", &document)?,
            });
        }
        // One that was never folded has no view yet; it comes within a second.
        found.retain(|found| !found.view.is_null());
        Ok(found)
    }

    fn scopes_of(&self, id: &DocumentId) -> Result<Vec<Scope>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT scope FROM document_scopes WHERE document = ?1 ORDER BY scope")?;
        let rows = statement.query_map([id.to_string()], |r| r.get::<_, String>("scope"))?;
        rows.map(|scope| row::parse("document_scopes", &scope?)).collect()
    }
}

/// A chunk that a device sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForeignChunk<'a> {
    pub(crate) origin: &'a DeviceId,
    pub(crate) document: &'a DocumentId,
    pub(crate) kind: DocumentKind,
    pub(crate) bytes: &'a [u8],
    pub(crate) inspected: &'a Inspected,
}

impl Tx<'_> {
    fn take_document(&mut self, id: &DocumentId, kind: DocumentKind) -> Result<Result<Document, String>, StoreError> {
        if let Some((document, _)) = self.cache.documents.remove(id) {
            // The id is a hash over the kind too, so an honest writer never has one id for both.
            return Ok(Ok(document));
        }
        Ok(match self.whole(id)? {
            None => Ok(Document::new()?),
            // A kind holds once the document is one; before, its first chunks only claimed it.
            Some((known, document, _)) if known == kind || project(known, &document).document_id().is_none() => {
                Ok(document)
            }
            Some((known, ..)) => Err(format!("this document is a {}", known.as_str())),
        })
    }

    fn return_document(&mut self, id: &DocumentId, document: Document, through: u64) {
        self.cache.touched.push(*id);
        self.cache.documents.insert(*id, (document, through));
    }

    /// Tries a device's chunk on its document, logs it and feeds it. `allows` says whether the document as
    /// it then stands is one that the device may write to. The inner error is the reason of a refusal, after
    /// which nothing is changed.
    pub(crate) fn admit_chunk(
        &mut self,
        chunk: &ForeignChunk<'_>,
        allows: impl FnOnce(&Reader<'_>, &Projection) -> Result<Result<(), String>, StoreError>,
        now: UtcMs,
    ) -> Result<Result<(), String>, StoreError> {
        let id = chunk.document;
        let mut document = match self.take_document(id, chunk.kind) {
            Ok(Ok(document)) => document,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(damaged @ StoreError::Damaged { .. }) => {
                // One document that rotted must not keep its sender from all others.
                error!(document.id = %id, error = %damaged, "document {id} takes no more changes: {damaged}");
                return Ok(Err("the hub's copy of this document is damaged".to_owned()));
            }
            Err(e) => return Err(e),
        };
        let had_waiting = !document.missing().is_empty();
        let applied = match document.admit(chunk.bytes, chunk.inspected) {
            Ok(applied) => applied,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let projection = project(chunk.kind, &document);
        let fits = match projection.document_id() {
            Some(says) if says != *id => Err(format!("the document says of itself that it is {says}")),
            // Else whoever comes first could make a document anything under another's id.
            None if applied != Applied::Waiting => Err(format!("nothing in it makes it a {}", chunk.kind.as_str())),
            _ => allows(self, &projection)?,
        };
        if let Err(why) = fits {
            return Ok(Err(why));
        }
        let says = Downward::Chunk { document: *id, kind: chunk.kind, bytes: chunk.bytes.to_vec() };
        let provenance = Provenance { origin: Some(chunk.origin), inspected: Some(chunk.inspected), subject: "" };
        let place = self.record(&says, &provenance, now)?;
        self.mark_behind(id, chunk.kind, &projection, place, now)?;
        let has_waiting = !document.missing().is_empty();
        if had_waiting || has_waiting {
            self.mark_waiting(id, has_waiting, now)?;
        }
        // What waits for its past is not passed on until it has it; then it goes with the chunk that brought it.
        if applied != Applied::Waiting {
            self.feed_document(id, &projection, Lane::Documents, &says, place, had_waiting)?;
        }
        self.return_document(id, document, place);
        Ok(Ok(()))
    }

    /// Says something in a document as the hub, which is made if there is none, and sends it to the depots
    /// and vehicles that have the document. `by` is the person or rule on whose behalf. In the lane of
    /// recalls the document's past goes with it, so that it can be obeyed at once. Returns the entries' keys.
    /// # Errors
    /// [`StoreError::Refused`] if the document is of the other kind.
    pub fn write_entries(
        &mut self,
        id: &DocumentId,
        says: DocumentSays,
        by: &str,
        lane: Lane,
        now: UtcMs,
    ) -> Result<Vec<EntryKey>, StoreError> {
        match says {
            DocumentSays::Case(says) => self.write_each(id, DocumentKind::Case, says, by, lane, now),
            DocumentSays::Dispatch(says) => self.write_each(id, DocumentKind::Dispatch, says, by, lane, now),
        }
    }

    fn write_each<T: Folds + Serialize + DeserializeOwned + Clone>(
        &mut self,
        id: &DocumentId,
        kind: DocumentKind,
        says: Vec<T>,
        by: &str,
        lane: Lane,
        now: UtcMs,
    ) -> Result<Vec<EntryKey>, StoreError> {
        if self.actor.epoch == 0 {
            return Err(StoreError::Refused("a tool beside the hub writes no entries".to_owned()));
        }
        let mut document = self.take_document(id, kind)?.map_err(StoreError::Refused)?;
        let mut keys = Vec::new();
        let mut chunks: Vec<Chunk> = Vec::new();
        for says in with_fold(&document.entries::<T>().0, says) {
            let history = History::new(document.entries::<T>().0);
            let hlc = self.next_hlc(history.iter().map(|(_, entry)| entry.hlc), now)?;
            let entry = Entry { after: history.heads(), at: now, hlc, by: by.to_owned(), says };
            let (written, chunk) = document.append(self.actor, &[entry])?;
            keys.extend(written);
            chunks.push(chunk);
        }
        let projection = project(kind, &document);
        let had_waiting = !document.missing().is_empty();
        let mut place = 0;
        for chunk in chunks {
            let inspected = gate::inspect(&chunk.bytes).map_err(|e| StoreError::Refused(e.to_string()))?;
            let says = Downward::Chunk { document: *id, kind, bytes: chunk.bytes };
            let provenance = Provenance { inspected: Some(&inspected), ..Provenance::OWN };
            place = self.record(&says, &provenance, now)?;
            self.mark_behind(id, kind, &projection, place, now)?;
            self.feed_document(id, &projection, lane, &says, place, had_waiting)?;
        }
        if lane == Lane::Recalls {
            for scope in self.scopes_of(id)? {
                self.hurry_document(&scope, id)?;
            }
        }
        self.return_document(id, document, place);
        Ok(keys)
    }

    /// Notes that a document has a new chunk, and what it is searched by.
    fn mark_behind(
        &mut self,
        id: &DocumentId,
        kind: DocumentKind,
        projection: &Projection,
        place: u64,
        now: UtcMs,
    ) -> Result<(), StoreError> {
        let key = id.to_string();
        let known: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE document = ?1)")?
            .query_row([&key], |r| r.get(0))?;
        if !known {
            let empty = Document::new()?;
            let snapshot = empty.save();
            self.connection
                .prepare_cached(
                    "INSERT INTO documents
                       (document, kind, heads, view, snapshot, folded_through, last_chunk, opened_ms, changed_ms, checksum)
                     VALUES (?1, ?2, ?3, 'null', ?4, 0, 0, ?5, ?5, ?6)",
                )?
                .execute(params![
                    key,
                    kind.as_str(),
                    heads_json(&empty)?,
                    snapshot,
                    now.0,
                    row::checksum(&[&snapshot])
                ])?;
        }
        let columns = &projection.columns;
        self.connection
            .prepare_cached(
                "UPDATE documents SET kind = ?14, last_chunk = max(last_chunk, ?2), changed_ms = ?3, site = ?4, order_id = ?5,
                        vehicle = ?6, state = ?7, over = ?8, case_type = ?9, owner = ?10, severity = ?11,
                        occurrence = ?12, due_ms = ?13
                  WHERE document = ?1",
            )?
            .execute(params![
                key,
                row::to_sql(place),
                now.0,
                columns.site.as_ref().map(SiteId::as_str),
                columns.order.as_ref().map(OrderId::as_str),
                columns.vehicle.as_ref().map(VehicleId::as_str),
                columns.state,
                columns.over,
                columns.case_type,
                columns.owner,
                columns.severity,
                columns.occurrence,
                columns.due.map(|d| d.0),
                kind.as_str(),
            ])?;
        self.changed(match kind {
            DocumentKind::Case => StoreChange::Case(*id),
            DocumentKind::Dispatch => StoreChange::Dispatch(*id),
        });
        Ok(())
    }

    /// Notes since when a document has chunks whose past has not come in.
    fn mark_waiting(&mut self, id: &DocumentId, waits: bool, now: UtcMs) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE documents SET waiting_since_ms = CASE WHEN ?2 THEN coalesce(waiting_since_ms, ?3) END
                  WHERE document = ?1",
            )?
            .execute(params![id.to_string(), waits, now.0])?;
        Ok(())
    }

    /// Feeds a chunk to every scope that has the document; one that gets it from now on gets all of it.
    fn feed_document(
        &mut self,
        id: &DocumentId,
        projection: &Projection,
        lane: Lane,
        says: &Downward,
        place: u64,
        whole: bool,
    ) -> Result<(), StoreError> {
        for scope in wanted_by(projection) {
            let joined = self
                .connection
                .prepare_cached(
                    "INSERT INTO document_scopes (document, scope) VALUES (?1, ?2)
                     ON CONFLICT (document, scope) DO NOTHING",
                )?
                .execute(params![id.to_string(), scope.to_string()])?;
            if joined > 0 {
                self.feed_whole_document(&scope, lane, id)?;
            }
        }
        for scope in self.scopes_of(id)? {
            if whole {
                self.feed_whole_document(&scope, lane, id)?;
            } else {
                self.feed_row(&scope, lane, says, place, "")?;
            }
        }
        Ok(())
    }
}

/// Who gets a document by what it says now. Who has had it goes on getting it.
fn wanted_by(projection: &Projection) -> Vec<Scope> {
    match &projection.view {
        View::Case(view) => view.iter().map(|v| Scope::Site(v.site.clone())).collect(),
        View::Dispatch(view) => {
            view.iter().flat_map(|v| [Scope::Site(v.site.clone()), Scope::Vehicle(v.vehicle.clone())]).collect()
        }
    }
}
