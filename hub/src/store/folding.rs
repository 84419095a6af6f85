//! Brings stored snapshots, heads and views up to date, off the path of acknowledgements.
//!
//! Folding costs many times what logging a chunk costs, so a push never waits for it, and several
//! chunks of one document are folded at once. It can stop anywhere and be done again. A document that cannot be folded
//! is left as it was folded last, shown among what is damaged, and keeps no other back. Each start tries it once more: the
//! program may be another.

use std::{collections::BTreeSet, time::Duration};

use gatehouse_common::id::DocumentId;
use tokio::sync::broadcast::error::RecvError;
use tracing::{error, warn};

use super::{
    Reader, Store, StoreChange, StoreError, Tx,
    damage::DamagedRow,
    documents::{folded_as_stored, heads_json},
    row,
    sql::params,
};
use crate::{
    core::projections::project,
    tasks::{Stop, TaskError},
};

/// Most documents in one commit.
const BATCH: usize = 64;
/// How long a document is left alone after a chunk, in real time: its next chunk is often close behind.
const SETTLE: Duration = Duration::from_millis(50);

struct Folded {
    id: DocumentId,
    heads: String,
    view: String,
    snapshot: Vec<u8>,
    through: u64,
}

impl Reader<'_> {
    fn behind(&self, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT document FROM documents WHERE last_chunk > folded_through LIMIT ?1";
        self.sql.query(sql, params![limit as i64], |r| row::parse("documents", &r.get::<String>("document")?))
    }

    /// Documents that are marked as ones that cannot be folded though their stored views are not behind: what came for
    /// them was not let in.
    fn marked(&self) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT damaged.name AS document FROM damaged JOIN documents ON documents.document = damaged.name
                    WHERE damaged.of_table = 'documents' AND damaged.mended_ms IS NULL
                      AND documents.last_chunk <= documents.folded_through";
        self.sql.query(sql, params![], |r| row::parse("damaged", &r.get::<String>("document")?))
    }

    /// How many documents' stored views are behind.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn behind_count(&self) -> Result<u64, StoreError> {
        Ok(row::from_sql(self.sql.one(
            "SELECT count(*) FROM documents WHERE last_chunk > folded_through",
            params![],
            |r| r.get(0),
        )?))
    }

    fn fold_one(&self, id: &DocumentId) -> Result<Option<Folded>, StoreError> {
        let Some((kind, document, through)) = self.whole(id)? else { return Ok(None) };
        let (_, folded) = folded_as_stored(id, document, |document| {
            let view = project(kind, document).json()?;
            let (heads, snapshot) = (heads_json(document)?, document.save());
            Ok::<_, StoreError>(Folded { id: *id, heads, view, snapshot, through })
        })?;
        folded.map(Some)
    }
}

impl Tx<'_> {
    fn put_folded(&mut self, folded: &Folded) -> Result<(), StoreError> {
        // Only forward: a slower fold must not put an older state over a newer one.
        self.sql.execute(
            "UPDATE documents SET heads = ?2, view = ?3, snapshot = ?4, folded_through = ?5, checksum = ?6
              WHERE document = ?1 AND folded_through < ?5",
            params![
                folded.id.to_string(),
                folded.heads,
                folded.view,
                folded.snapshot,
                row::to_sql(folded.through),
                row::checksum(&[&folded.snapshot]),
            ],
        )?;
        self.changed(StoreChange::Folded);
        Ok(())
    }
}

impl Store {
    /// Folds every document that is behind. Returns how many were folded. It blocks.
    /// # Errors
    /// The first document's error, after all others were folded.
    pub fn fold_now(&self) -> Result<usize, StoreError> {
        let mut skip = BTreeSet::new();
        let (mut count, mut first_error) = (0, None);
        loop {
            let (folded, errors) = self.fold_some(&skip)?;
            if folded == 0 && errors.is_empty() {
                return first_error.map_or(Ok(count), Err);
            }
            count += folded;
            for (id, e) in errors {
                skip.insert(id);
                first_error.get_or_insert(e);
            }
        }
    }

    /// Tries marked documents once more that no pass tries, since nothing of them is behind. One that can be folded by
    /// now is marked no more, and its devices are listened to again. It blocks.
    pub(super) fn try_marked(&self) -> Result<(), StoreError> {
        let foldable = self.read_now(|r| {
            let mut foldable = Vec::new();
            for id in r.marked()? {
                match r.fold_one(&id) {
                    Ok(_) => foldable.push(id),
                    Err(e @ (StoreError::NotWritten(_) | StoreError::Stopped)) => return Err(e),
                    Err(e) => warn!(document.id = %id, error = %e, "document {id} still cannot be folded: {e}"),
                }
            }
            Ok(foldable)
        })?;
        if foldable.is_empty() {
            return Ok(());
        }
        self.write_now(move |tx| foldable.iter().try_for_each(|id| tx.note_foldable(id)))
    }

    /// Folds a batch, leaving out `skip`. Returns how many were folded, and those that could not be.
    fn fold_some(&self, skip: &BTreeSet<DocumentId>) -> Result<(usize, Vec<(DocumentId, StoreError)>), StoreError> {
        let (folded, errors) = self.read_now(|r| {
            let (mut folded, mut errors) = (Vec::new(), Vec::new());
            for id in r.behind(BATCH + skip.len())?.into_iter().filter(|id| !skip.contains(id)) {
                match r.fold_one(&id) {
                    Ok(one) => folded.extend(one),
                    // No fault of this document.
                    Err(e @ (StoreError::NotWritten(_) | StoreError::Stopped)) => return Err(e),
                    Err(e) => errors.push((id, e)),
                }
            }
            Ok((folded, errors))
        })?;
        let count = folded.len();
        let unfoldable: Vec<DamagedRow> = errors.iter().filter_map(|(_, e)| unfoldable(e)).collect();
        if count > 0 || !unfoldable.is_empty() {
            self.write_now(move |tx| {
                let had_damage = tx.has_damage()?;
                for one in &folded {
                    tx.put_folded(one)?;
                    if had_damage {
                        tx.note_foldable(&one.id)?;
                    }
                }
                unfoldable.iter().try_for_each(|found| tx.note_unfoldable(found))
            })?;
        }
        Ok((count, errors))
    }
}

/// The document that an error says cannot be folded, whatever is done about its ground.
fn unfoldable(error: &StoreError) -> Option<DamagedRow> {
    match error {
        StoreError::Damaged { table: "documents", row, why } => {
            Some(DamagedRow { table: "documents", row: row.clone(), why: why.clone() })
        }
        _ => None,
    }
}

/// Keeps stored views within a moment of what was committed, until it is stopped.
/// # Errors
/// If the store stops.
pub async fn run(store: Store, mut stop: Stop) -> Result<(), TaskError> {
    let mut changes = store.changes();
    let marked = store.clone();
    tokio::task::spawn_blocking(move || marked.try_marked()).await??;
    // A document that cannot be read is left as it is, named once, and tried again when it changed or at the next start.
    let mut skip = BTreeSet::new();
    loop {
        let (again, tried) = (store.clone(), skip.clone());
        let (folded, errors) = tokio::task::spawn_blocking(move || again.fold_some(&tried)).await??;
        for (id, e) in errors {
            error!(document.id = %id, error = %e, "document {id} cannot be folded: {e}");
            skip.insert(id);
        }
        if folded > 0 && !stop.is_stopped() {
            continue;
        }
        loop {
            tokio::select! {
                () = stop.stopped() => return Ok(()),
                change = changes.recv() => match change {
                    Ok(StoreChange::Case(id) | StoreChange::Dispatch(id)) => {
                        // Nothing is written into a document that cannot be read but what makes it whole.
                        skip.remove(&id);
                        break;
                    }
                    Ok(StoreChange::Everything) | Err(RecvError::Lagged(_)) => {
                        skip.clear();
                        break;
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
        tokio::time::sleep(SETTLE).await;
    }
}
