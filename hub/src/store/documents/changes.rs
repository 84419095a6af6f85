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
    core::projections::{Brief, Projection, View, Whose, project},
    store::{
        Reader, Scope, StoreChange, StoreError, Tx,
        cache::InHand,
        ledger::{Placed, Provenance},
        mending::UNREADABLE,
        row,
        sql::params,
    },
};

/// Most entries of a document that a device may write into. A case goes on in another document after a tenth of them,
/// and a dispatch that is held and ready again every half hour for three weeks has as many. To fold a document takes a
/// bit for each pair of its entries, 500 kB for these, and time by the square at least.
const ENTRIES_MAX: usize = 10 * case::lifecycle::ENTRIES_MAX;

/// Most bytes of such a document as it is saved, with its notes and what waits for its past: thirty entries of the
/// largest size. In memory it takes two to three times as much, and twice that while a change is tried on it.
const SAVED_MAX_BYTES: usize = 2 * 1024 * 1024;

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
    fn take_document(&mut self, id: &DocumentId, kind: DocumentKind) -> Result<Result<InHand, String>, StoreError> {
        let known = match self.cache.take(id) {
            Some(known) => Some(known),
            None => {
                self.cache.loads += 1;
                self.whole(id)?.map(|(kind, document, _)| {
                    let brief = project(kind, &document).brief();
                    InHand { kind, document, brief }
                })
            }
        };
        Ok(match known {
            None => Ok(InHand { kind, document: Document::new()?, brief: None }),
            Some(known) if known.kind == kind => Ok(known),
            // A kind holds once the document is one; before, its first chunks only claimed it.
            Some(InHand { document, brief: None, .. }) => {
                let brief = project(kind, &document).brief();
                Ok(InHand { kind, document, brief })
            }
            // The id is a hash over the kind too, so an honest writer never has one id for both.
            Some(known) => Err(format!("this document is a {}", known.kind.as_str())),
        })
    }

    fn return_document(&mut self, id: &DocumentId, in_hand: InHand, saved_bytes: usize) {
        self.cache.put(id, in_hand, saved_bytes);
    }

    /// Tries a device's chunks on their document, logs them and feeds them. `allows` says whether a document that is
    /// somebody's is one that the device may write into; it is asked of the document as it stood and as it then stands.
    /// The inner error is the reason of a refusal of them all, after which nothing is changed.
    pub(crate) fn admit_chunks(
        &mut self,
        foreign: &ForeignChunks<'_>,
        allows: impl Fn(&Reader<'_>, &Whose) -> Result<Result<(), String>, StoreError>,
        now: UtcMs,
    ) -> Result<Result<(), String>, StoreError> {
        let (id, kind) = (foreign.document, foreign.kind);
        let InHand { document, brief, .. } = match self.take_document(id, kind) {
            Ok(Ok(taken)) => taken,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(damaged @ StoreError::Damaged { .. }) => {
                // One document that rotted must not keep its sender from all others.
                error!(document.id = %id, error = %damaged, "document {id} takes no more changes: {damaged}");
                return Ok(Err(UNREADABLE.to_owned()));
            }
            Err(e) => return Err(e),
        };
        // What the hub itself sent was let in once, and comes back in any order: only what then stands is looked at.
        let before = brief.filter(|_| !foreign.is_proved);
        // As it stands, and not only as it would: an opening that claims to be the earliest makes a case its writer's.
        if let Some(before) = &before
            && let Err(why) = allows(self, &before.whose)?
        {
            return Ok(Err(why));
        }
        if foreign.chunks.len() > 1 && may_outgrow(&document, foreign.chunks) {
            // Alone, some of them may still fit.
            return Ok(Err("too much at once for so long a document".to_owned()));
        }
        let had_waiting = !document.missing().is_empty();
        let (document, applied) = match document.admitting(foreign.chunks) {
            Ok(admitted) => admitted,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let saved_bytes = document.save().len();
        // Before it is folded: that is what a long document makes dear.
        if !foreign.is_proved
            && let Err(why) = is_within_bounds(&document, saved_bytes)
        {
            return Ok(Err(why));
        }
        let projection = project(kind, &document);
        let after = projection.brief();
        let all_wait = applied.iter().all(|applied| *applied == Applied::Waiting);
        let fits = match projection.document_id() {
            Some(says) if says != *id => Err(format!("the document says of itself that it is {says}")),
            // Else whoever comes first could make a document anything under another's id. What the hub itself sent may
            // come before what makes it something.
            None if !all_wait && !foreign.is_proved => Err(format!("nothing in it makes it a {}", kind.as_str())),
            _ => match &after {
                Some(after) if before.as_ref().is_none_or(|before| before.whose != after.whose) => {
                    allows(self, &after.whose)?
                }
                // It was asked already.
                _ => Ok(()),
            },
        };
        let fits = match fits {
            Ok(()) if !foreign.is_proved => leaves_as_it_was(foreign, &applied, before.as_ref(), after.as_ref()),
            other => other,
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
        self.return_document(id, InHand { kind, document, brief: after }, saved_bytes);
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
        let InHand { mut document, .. } = self.take_document(id, kind)?.map_err(StoreError::Refused)?;
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
        let (brief, saved_bytes) = (projection.brief(), document.save().len());
        self.return_document(id, InHand { kind, document, brief }, saved_bytes);
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

/// Whether a document could be too long after some changes. Operations are counted, of which there are no fewer than
/// entries: what many changes at once would bring is not to be tried first.
fn may_outgrow(document: &Document, chunks: &[&Inspected]) -> bool {
    let operations = chunks.iter().map(|chunk| chunk.operations());
    operations.fold(document.operations(), usize::saturating_add) > ENTRIES_MAX
}

/// Whether a document, `saved_bytes` long, is one that a device may have brought so far.
fn is_within_bounds(document: &Document, saved_bytes: usize) -> Result<(), String> {
    if saved_bytes > SAVED_MAX_BYTES {
        return Err(format!("the document would have {saved_bytes} bytes; {SAVED_MAX_BYTES} is the most"));
    }
    // Entries are only counted where there can be so many.
    if document.operations() > ENTRIES_MAX && document.entry_count() > ENTRIES_MAX {
        return Err(format!("the document would have more than {ENTRIES_MAX} entries"));
    }
    Ok(())
}

/// Whether a device's changes leave a document with the depot that it is of, and in the reach of this hub.
fn leaves_as_it_was(
    foreign: &ForeignChunks<'_>,
    applied: &[Applied],
    before: Option<&Brief>,
    after: Option<&Brief>,
) -> Result<(), String> {
    if let (Some(before), Some(after)) = (before, after)
        && before.whose.site != after.whose.site
    {
        // All that was said in it would count for nothing. No join and no successor does that.
        return Err("a document stays with the depot that it is of".to_owned());
    }
    let newest = newest_fold(foreign.kind);
    // A newer hub beside this one may have let in what asks for more; what comes after that asks for nothing.
    let known = before.map_or(newest, |before| before.fold.max(newest));
    let mut asked = after.map_or(0, |after| after.fold);
    for (inspected, _) in foreign.chunks.iter().zip(applied).filter(|(_, applied)| **applied == Applied::Waiting) {
        // It is in no fold yet, and whoever brings its past could do nothing about it.
        asked = asked.max(fold_asked(foreign.kind, inspected)?);
    }
    if asked > known {
        // No program could read it, and none would decide anything on it any more.
        return Err(format!("it asks for version {asked} of the fold; this hub knows {newest} and is upgraded first"));
    }
    Ok(())
}

/// The newest fold of a kind of document that this hub knows.
fn newest_fold(kind: DocumentKind) -> u32 {
    match kind {
        DocumentKind::Case => case::Says::NEWEST,
        DocumentKind::Dispatch => dispatch::Says::NEWEST,
    }
}

/// The highest version of the fold that a change asks for, with or without authority; 0 if it asks for none.
fn fold_asked(kind: DocumentKind, inspected: &Inspected) -> Result<u32, String> {
    fn highest<T: Folds + DeserializeOwned>(inspected: &Inspected) -> Result<u32, String> {
        let entries = inspected.entries::<T>().map_err(|why| why.to_string())?;
        Ok(entries.iter().filter_map(|entry| entry.says.fold_named()).max().unwrap_or(0))
    }
    match kind {
        DocumentKind::Case => highest::<case::Says>(inspected),
        DocumentKind::Dispatch => highest::<dispatch::Says>(inspected),
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
