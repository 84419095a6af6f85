//! What is written into documents: changes that devices send, and entries of the hub's own.
//!
//! A change is tried on the document, logged, and fed to everyone who has the document, in one transaction.

use gatehouse_common::{
    case, dispatch,
    document::{Applied, Chunk, Document, Entry, EntryKey, Folds, History, gate, gate::Inspected, with_fold},
    id::{DeviceId, DocumentId, DocumentKind, OrderId, SiteId, VehicleId},
    sync::{Downward, Lane},
    time::UtcMs,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::error;

use super::heads_json;
use crate::{
    core::projections::{Projection, View, project},
    store::{
        Reader, Scope, StoreChange, StoreError, Tx,
        ledger::{Placed, Provenance},
        mending::UNREADABLE,
        row,
        sql::params,
    },
};

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
/// Chunks of one document that a device sent, in their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForeignChunks<'a> {
    pub(crate) origin: &'a DeviceId,
    pub(crate) document: &'a DocumentId,
    pub(crate) kind: DocumentKind,
    pub(crate) chunks: &'a [&'a Inspected],
    /// Whether this hub signed that it once sent them under this id.
    pub(crate) is_proved: bool,
}

impl Reader<'_> {
    pub(in crate::store) fn scopes_of(&self, id: &DocumentId) -> Result<Vec<Scope>, StoreError> {
        self.sql.query(
            "SELECT scope FROM document_scopes WHERE document = ?1 ORDER BY scope",
            params![id.to_string()],
            |r| row::parse("document_scopes", &r.get::<String>("scope")?),
        )
    }
}

impl Tx<'_> {
    fn take_document(&mut self, id: &DocumentId, kind: DocumentKind) -> Result<Result<Document, String>, StoreError> {
        let in_hand = self.cache.take(id);
        let known = match in_hand {
            Some(known) => Some(known),
            None => {
                self.cache.loads += 1;
                self.whole(id)?.map(|(known, document, _)| (known, document))
            }
        };
        Ok(match known {
            None => Ok(Document::new()?),
            // A kind holds once the document is one; before, its first chunks only claimed it.
            Some((known, document)) if known == kind || project(known, &document).document_id().is_none() => {
                Ok(document)
            }
            // The id is a hash over the kind too, so an honest writer never has one id for both.
            Some((known, _)) => Err(format!("this document is a {}", known.as_str())),
        })
    }

    fn return_document(&mut self, id: &DocumentId, kind: DocumentKind, document: Document) {
        self.cache.put(id, kind, document);
    }

    /// Tries a device's chunks on their document, logs them and feeds them. `allows` says whether the document as
    /// it then stands is one that the device may write to. The inner error is the reason of a refusal of them all, after
    /// which nothing is changed.
    pub(crate) fn admit_chunks(
        &mut self,
        foreign: &ForeignChunks<'_>,
        allows: impl FnOnce(&Reader<'_>, &Projection) -> Result<Result<(), String>, StoreError>,
        now: UtcMs,
    ) -> Result<Result<(), String>, StoreError> {
        let (id, kind) = (foreign.document, foreign.kind);
        let document = match self.take_document(id, kind) {
            Ok(Ok(document)) => document,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(damaged @ StoreError::Damaged { .. }) => {
                // One document that rotted must not keep its sender from all others.
                error!(document.id = %id, error = %damaged, "document {id} takes no more changes: {damaged}");
                return Ok(Err(UNREADABLE.to_owned()));
            }
            Err(e) => return Err(e),
        };
        let had_waiting = !document.missing().is_empty();
        let (document, applied) = match document.admitting(foreign.chunks) {
            Ok(admitted) => admitted,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let projection = project(kind, &document);
        let all_wait = applied.iter().all(|applied| *applied == Applied::Waiting);
        let fits = match projection.document_id() {
            Some(says) if says != *id => Err(format!("the document says of itself that it is {says}")),
            // Else whoever comes first could make a document anything under another's id. What the hub itself sent may
            // come before what makes it something.
            None if !all_wait && !foreign.is_proved => Err(format!("nothing in it makes it a {}", kind.as_str())),
            _ => allows(self, &projection)?,
        };
        if let Err(why) = fits {
            return Ok(Err(why));
        }
        let (mut placed, mut last) = (Vec::new(), 0);
        for (inspected, applied) in foreign.chunks.iter().zip(&applied) {
            let says = Downward::Chunk { document: *id, kind, bytes: inspected.bytes().to_vec() };
            let provenance = Provenance { origin: Some(foreign.origin), inspected: Some(inspected), subject: "" };
            let item = self.append(&says, &provenance, now)?;
            last = last.max(item.place);
            // What waits for its past is not passed on by itself; it goes with the chunk that brings its past.
            if *applied != Applied::Waiting {
                placed.push(item);
            }
        }
        self.mark_behind(id, kind, &projection, last, now)?;
        let has_waiting = !document.missing().is_empty();
        if had_waiting || has_waiting {
            self.mark_waiting(id, has_waiting, now)?;
        }
        self.feed_document(id, &projection, Lane::Documents, &placed, had_waiting)?;
        self.return_document(id, kind, document);
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
        let (mut placed, mut last) = (Vec::new(), 0);
        for chunk in chunks {
            let inspected = gate::inspect(&chunk.bytes).map_err(|e| StoreError::Refused(e.to_string()))?;
            let says = Downward::Chunk { document: *id, kind, bytes: chunk.bytes };
            let provenance = Provenance { inspected: Some(&inspected), ..Provenance::OWN };
            let item = self.append(&says, &provenance, now)?;
            last = item.place;
            placed.push(item);
        }
        if !placed.is_empty() {
            self.mark_behind(id, kind, &projection, last, now)?;
            self.feed_document(id, &projection, lane, &placed, !document.missing().is_empty())?;
        }
        if lane == Lane::Recalls {
            for scope in self.scopes_of(id)? {
                self.hurry_document(&scope, id)?;
            }
        }
        self.return_document(id, kind, document);
        Ok(keys)
    }

    /// Notes that a document has new chunks, the last of them at this place, and what it is searched by.
    fn mark_behind(
        &mut self,
        id: &DocumentId,
        kind: DocumentKind,
        projection: &Projection,
        last: u64,
        now: UtcMs,
    ) -> Result<(), StoreError> {
        let key = id.to_string();
        let columns = &projection.columns;
        let values = params![
            key,
            row::to_sql(last),
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
        ];
        let update =
            "UPDATE documents SET kind = ?14, last_chunk = CASE WHEN last_chunk < ?2 THEN ?2 ELSE last_chunk END,
                             changed_ms = ?3, site = ?4, order_id = ?5, vehicle = ?6, state = ?7, over = ?8,
                             case_type = ?9, owner = ?10, severity = ?11, occurrence = ?12, due_ms = ?13
                       WHERE document = ?1";
        if self.sql.execute(update, values)? == 0 {
            let empty = Document::new()?;
            let snapshot = empty.save();
            self.sql.execute(
                "INSERT INTO documents
                   (document, kind, heads, view, snapshot, folded_through, last_chunk,
                    opened_ms, changed_ms, checksum)
                 VALUES (?1, ?2, ?3, 'null', ?4, 0, 0, ?5, ?5, ?6)",
                params![key, kind.as_str(), heads_json(&empty)?, snapshot, now.0, row::checksum(&[&snapshot])],
            )?;
            self.sql.execute(update, values)?;
        }
        self.changed(match kind {
            DocumentKind::Case => StoreChange::Case(*id),
            DocumentKind::Dispatch => StoreChange::Dispatch(*id),
        });
        Ok(())
    }

    /// Notes since when a document has chunks whose past has not come in.
    fn mark_waiting(&mut self, id: &DocumentId, waits: bool, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE documents SET waiting_since_ms = CASE WHEN ?2 = 1 THEN coalesce(waiting_since_ms, ?3) END
              WHERE document = ?1",
            params![id.to_string(), waits, now.0],
        )?;
        Ok(())
    }

    /// Feeds chunks to every scope that has the document; one that gets it from now on gets all of it.
    fn feed_document(
        &mut self,
        id: &DocumentId,
        projection: &Projection,
        lane: Lane,
        placed: &[Placed],
        whole: bool,
    ) -> Result<(), StoreError> {
        if placed.is_empty() {
            return Ok(());
        }
        let mut scopes = self.scopes_of(id)?;
        for scope in wanted_by(projection) {
            if scopes.contains(&scope) {
                continue;
            }
            self.sql.execute(
                "INSERT INTO document_scopes (document, scope) VALUES (?1, ?2)
                 ON CONFLICT (document, scope) DO NOTHING",
                params![id.to_string(), scope.to_string()],
            )?;
            self.feed_whole_document(&scope, lane, id)?;
            scopes.push(scope);
        }
        for scope in scopes {
            if whole {
                self.feed_whole_document(&scope, lane, id)?;
                continue;
            }
            for item in placed {
                self.feed_row(&scope, lane, item, "")?;
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
