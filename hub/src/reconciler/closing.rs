//! Closes cases that rest long enough, a few to a commit, and takes up again those that were closed before all of them
//! was known.
//!
//! What is due comes out of the store, by the hub's clock; what is said of it is decided in [`crate::core::closing`].
//! It looks once a minute.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use gatehouse_common::{
    case::{self, Axes, CaseState, CaseView, Says},
    id::{DecisionId, DocumentId, DocumentKind, Hash32, OrderId},
    sync::Lane,
    time::UtcMs,
};
use tracing::warn;

use super::{BY, Ruled};
use crate::{
    clock::Clock,
    core::closing::{TakenUp, close, take_up},
    partners::webhooks::announce,
    store::{AtRest, DocumentSays, Reader, Store, StoreError, Tx},
};

/// How often it looks, by the hub's clock.
const EVERY_MS: i64 = 60_000;
/// Most cases of one look and its commit: whoever waits for the turn meanwhile waits for these.
const BATCH: usize = 25;
/// Between two batches, by the hub's clock: there may be very many, and others want the turn.
const PAUSE_MS: i64 = 250;
/// What came in has the time of when it came, and may be committed a little later.
const LATE_MS: i64 = 600_000;
/// How far back the first look goes for closed cases in which something was said: whoever looked before may have been
/// gone for a while.
const FIRST_MS: i64 = 24 * 3_600_000;

/// How far it has got.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// When it last began at the front.
    looked: Option<UtcMs>,
    /// The last case of a batch behind which there may be more.
    behind: Option<AtRest>,
    /// When the last batch began.
    batch: Option<UtcMs>,
    /// Cases that cannot be read, each told once.
    unreadable: BTreeSet<DocumentId>,
}

/// What a look at some resolved cases found.
struct Found {
    due: Vec<AtRest>,
    behind: Option<AtRest>,
    unreadable: Vec<(DocumentId, String)>,
}

/// Closes a case that is due, unless something was said since it was looked at.
fn close_one(tx: &mut Tx<'_>, case: AtRest, after_ms: i64, now: UtcMs) -> Result<(), StoreError> {
    let Some(since) = tx.rests_since(&case.document)? else { return Ok(()) };
    let case = AtRest { since, ..case };
    let Some(says) = closing_of(tx, &case, after_ms, now)? else { return Ok(()) };
    if now.since(since) > after_ms.saturating_add(FIRST_MS) {
        // It has rested for long, as all do that an older program left: that it closes is no news to anybody.
        announce::is_no_news(tx, &case.document, CaseState::Closed)?;
    }
    tx.write_entries(&case.document, DocumentSays::Case(vec![says]), BY, Lane::Documents, now)?;
    // Nor to a device that has forgotten it, and would be sent all of it again.
    tx.keep_changed(&case.document, since)
}

impl Closing {
    /// When there is something to look for; [`Self::look`] does nothing before.
    pub(super) fn looks_at(&self, now: UtcMs) -> UtcMs {
        let (last, pause_ms) = if self.behind.is_some() { (self.batch, PAUSE_MS) } else { (self.looked, EVERY_MS) };
        // A clock that was set back must not make it wait.
        last.filter(|last| *last <= now).map_or(now, |last| last.plus(pause_ms))
    }

    /// Closes what is due, one batch of it, and takes up what was closed too early.
    /// # Errors
    /// If the store is stopped or away; the next look goes on.
    pub(super) async fn look(&mut self, store: &Store, clock: &Clock, rules: &Ruled) -> Result<(), StoreError> {
        let now = clock.wall();
        if self.looks_at(now) > now {
            return Ok(());
        }
        if self.behind.is_none() {
            let back = self.looked.filter(|looked| *looked <= now).map_or(now.plus(-FIRST_MS), |at| at.plus(-LATE_MS));
            store.write(move |tx| tx.right_cases_at_rest(now)).await?;
            self.take_up_all(store, back, rules.bundle.hash, now).await?;
            self.looked = Some(now);
        }
        self.batch = Some(now);
        let (after_ms, behind) = (rules.policy.close_after_ms, self.behind.take());
        let found = store.read(move |r| due(r, behind.as_ref(), after_ms, now)).await?;
        for (id, why) in found.unreadable {
            self.cannot_read(id, &why);
        }
        self.behind = found.behind;
        if found.due.is_empty() {
            return Ok(());
        }
        let closed =
            store.write(move |tx| found.due.into_iter().try_for_each(|case| close_one(tx, case, after_ms, now))).await;
        match closed {
            Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => Err(e),
            Err(error) => {
                warn!(%error, "cases at rest cannot be closed: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn take_up_all(&mut self, store: &Store, since: UtcMs, bundle: Hash32, now: UtcMs) -> Result<(), StoreError> {
        for id in store.read(move |r| r.told_of_closed(since)).await? {
            // Most of them stay as they are; a look costs no commit.
            match store.read(move |r| to_take_up(r, &id, bundle, now)).await {
                Ok(None) => continue,
                Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => return Err(e),
                Err(error) => {
                    self.cannot_read(id, &error.to_string());
                    continue;
                }
                Ok(Some(_)) => {}
            }
            let written = store.write(move |tx| {
                let Some((at, says)) = to_take_up(tx, &id, bundle, now)? else { return Ok(()) };
                tx.write_entries(&at, DocumentSays::Case(says), BY, Lane::Documents, now).map(drop)
            });
            match written.await {
                Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => return Err(e),
                Err(error) => self.cannot_read(id, &error.to_string()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// One case that cannot be read must not keep the others from being closed.
    fn cannot_read(&mut self, id: DocumentId, why: &str) {
        if self.unreadable.insert(id) {
            warn!(document.id = %id, "case {id} cannot be looked at: {why}");
        }
    }
}

fn due(r: &Reader<'_>, behind: Option<&AtRest>, after_ms: i64, now: UtcMs) -> Result<Found, StoreError> {
    let resting = r.cases_at_rest(now.plus(-after_ms), behind, BATCH)?;
    let more = resting.last().cloned().filter(|_| resting.len() == BATCH);
    let mut found = Found { due: Vec::new(), behind: more, unreadable: Vec::new() };
    for case in resting {
        match closing_of(r, &case, after_ms, now) {
            Ok(Some(_)) => found.due.push(case),
            Ok(None) => {}
            Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => return Err(e),
            Err(error) => found.unreadable.push((case.document, error.to_string())),
        }
    }
    Ok(found)
}

/// What closes a case, if it is to be closed.
fn closing_of(r: &Reader<'_>, case: &AtRest, after_ms: i64, now: UtcMs) -> Result<Option<Says>, StoreError> {
    let Some(view) = r.case_view(&case.document)? else { return Ok(None) };
    let has_open_items = !open_items(r, &view)?.is_empty();
    Ok(close(&view, case.since, has_open_items, after_ms, now))
}

/// Decisions whose recon items are open and about the same as a case: the order that it names, that is its subject, or
/// whose dispatch it blocks.
/// # Errors
/// [`StoreError::Damaged`] if something of it cannot be read.
pub fn open_items(r: &Reader<'_>, view: &CaseView) -> Result<Vec<DecisionId>, StoreError> {
    let mut orders: BTreeSet<OrderId> = view.order.iter().cloned().collect();
    orders.extend(OrderId::new(view.subject.as_str()));
    if let Some(dispatch) = view.blocks.filter(|_| view.order.is_none()) {
        orders.extend(r.dispatch_view(&dispatch)?.map(|dispatch| dispatch.order));
    }
    let mut open = Vec::new();
    for order in orders {
        open.extend(r.open_items_of(&order)?);
    }
    Ok(open)
}

/// What is to be said so that a closed case goes on, and in which one; none if it stays closed.
fn to_take_up(
    r: &Reader<'_>,
    id: &DocumentId,
    bundle: Hash32,
    now: UtcMs,
) -> Result<Option<(DocumentId, Vec<Says>)>, StoreError> {
    let Some((DocumentKind::Case, document)) = r.document(id)? else { return Ok(None) };
    let Some(view) = case::fold(&document) else { return Ok(None) };
    let Some(taken_up) = take_up(&document, &view, now) else { return Ok(None) };
    let key = case::dedup_key(view.case_type, &view.subject, &view.leg);
    if r.newest_case(&key)?.is_some_and(|(_, newest, _)| newest != *id) {
        // The matter goes on in a later case, or went on there.
        return Ok(None);
    }
    Ok(Some(match taken_up {
        TakenUp::Again(says) => (*id, vec![says]),
        TakenUp::Anew(opening) => (
            case::document_id(&key, opening.occurrence),
            opening.says(Axes::default(), Some(view.severity), bundle, now),
        ),
    }))
}
