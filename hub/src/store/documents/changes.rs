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

use super::{
    bounds::{is_within_bounds, leaves_as_it_was, may_be_nobodys, may_outgrow},
    heads_json,
    trial::{folded, folded_as_stored},
};
use crate::{
    core::projections::{Projection, View, Whose, project},
    store::{
        Reader, Scope, StoreChange, StoreError, Tx,
        cache::InHand,
        damage::DamagedRow,
        ledger::{Placed, Provenance},
        mending::UNREADABLE,
        row,
        sql::params,
    },
};

/// How long a device's changes of a document that cannot be read here are sent back, in milliseconds from the first that was.
/// Who has the damaged row is asked for it and gives it within a minute of its return, and that may be this very device.
/// Meanwhile little is taken of what it tells behind such a change, so this has an end.
const SENT_BACK_MS: i64 = 3_600_000;

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

/// Why changes are not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotLetIn {
    /// They are refused for good: they belong into quarantine, and their writer is told.
    #[error("{0}")]
    Refused(String),
    /// Nothing is wrong with them: what they build on cannot be read here, and is asked for. They are to come again.
    #[error("{UNREADABLE}, and asked for; bring it again")]
    NotNow,
}

impl From<String> for NotLetIn {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
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
                match self.whole(id)? {
                    Some((kind, document, _)) => {
                        let (document, brief) = folded_as_stored(id, document, |d| project(kind, d).brief())?;
                        Some(InHand { kind, document, brief })
                    }
                    None => None,
                }
            }
        };
        Ok(match known {
            None => Ok(InHand { kind, document: Document::new()?, brief: None }),
            Some(known) if known.kind == kind => Ok(known),
            // A kind holds once the document is one; before, its first chunks only claimed it.
            Some(InHand { document, brief: None, .. }) => {
                let (document, brief) = folded_as_stored(id, document, |d| project(kind, d).brief())?;
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
    /// The inner error is the reason why none of them is let in, after which nothing of the document is changed.
    pub(crate) fn admit_chunks(
        &mut self,
        foreign: &ForeignChunks<'_>,
        allows: impl Fn(&Reader<'_>, &Whose) -> Result<Result<(), String>, StoreError>,
        now: UtcMs,
    ) -> Result<Result<(), NotLetIn>, StoreError> {
        let (id, kind) = (foreign.document, foreign.kind);
        let InHand { document, brief, .. } = match self.take_document(id, kind) {
            Ok(Ok(taken)) => taken,
            Ok(Err(why)) => return Ok(Err(why.into())),
            Err(StoreError::Damaged { table, row, why }) => {
                return self.cannot_read(foreign, &DamagedRow { table, row, why }, now).map(Err);
            }
            Err(e) => return Err(e),
        };
        // What the hub itself sent was let in once, and comes back in any order: only what then stands is looked at.
        let before = brief.filter(|_| !foreign.is_proved);
        // As it stands, and not only as it would: an opening that claims to be the earliest makes a case its writer's.
        if let Some(before) = &before
            && let Err(why) = allows(self, &before.whose)?
        {
            return Ok(Err(why.into()));
        }
        if foreign.chunks.len() > 1 && may_outgrow(&document, foreign.chunks) {
            // Alone, some of them may still fit.
            return Ok(Err("too much at once for so long a document".to_owned().into()));
        }
        let had_waiting = !document.missing().is_empty();
        let (document, applied) = match document.admitting(foreign.chunks) {
            Ok(admitted) => admitted,
            Err(why) => return Ok(Err(why.to_string().into())),
        };
        let tried = folded(document, |document| {
            let saved_bytes = document.save().len();
            // Before it is folded: that is what a long document makes dear.
            if !foreign.is_proved {
                is_within_bounds(document, saved_bytes)?;
            }
            Ok::<_, String>((saved_bytes, project(kind, document)))
        });
        let (document, saved_bytes, projection) = match tried {
            Ok((document, Ok((saved_bytes, projection)))) => (document, saved_bytes, projection),
            Ok((_, Err(why))) => return Ok(Err(why.into())),
            Err(why) => {
                let (sender, count) = (foreign.origin, foreign.chunks.len());
                error!(document.id = %id, device.id = %sender, "{count} changes of {sender} to document {id}: {why}");
                return Ok(Err(why.to_string().into()));
            }
        };
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
            Ok(()) if !foreign.is_proved => leaves_as_it_was(foreign, &applied, before.as_ref(), after.as_ref())
                .and_then(|()| may_be_nobodys(after.as_ref(), saved_bytes)),
            other => other,
        };
        if let Err(why) = fits {
            return Ok(Err(why.into()));
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

    /// What becomes of changes whose document cannot be read. The damaged row is put aside at once, with which it is made
    /// whole or asked for: the scrub may come by only tomorrow.
    fn cannot_read(
        &mut self,
        foreign: &ForeignChunks<'_>,
        found: &DamagedRow,
        now: UtcMs,
    ) -> Result<NotLetIn, StoreError> {
        let put_aside = match found.table {
            "ledger" => self.put_aside(found, now),
            "documents" => self.note_unfoldable(found).map(|()| None),
            _ => Ok(None),
        };
        if found.tell(put_aside)? == Some(true) {
            return Ok(NotLetIn::NotNow);
        }
        // A document that breaks off its fold is whole: nobody can give what would mend it.
        if found.table == "ledger" && self.is_put_aside(found.table, &found.row)? {
            let since = self.sent_back_since(found, foreign.origin, now)?;
            if now.since(since) < SENT_BACK_MS {
                return Ok(NotLetIn::NotNow);
            }
        }
        // One document that rotted must not keep its sender from all others.
        let (id, DamagedRow { table, row, why }) = (foreign.document, found);
        error!(document.id = %id, "document {id} takes no more changes: row {row} of {table} is damaged: {why}");
        Ok(NotLetIn::Refused(UNREADABLE.to_owned()))
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
        let (document, projection) = folded_as_stored(id, document, |d| project(kind, d))?;
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

/// Who gets a document by what it says now. Who has had it goes on getting it.
fn wanted_by(projection: &Projection) -> Vec<Scope> {
    match &projection.view {
        View::Case(view) => view.iter().map(|v| Scope::Site(v.site.clone())).collect(),
        View::Dispatch(view) => {
            view.iter().flat_map(|v| [Scope::Site(v.site.clone()), Scope::Vehicle(v.vehicle.clone())]).collect()
        }
    }
}
