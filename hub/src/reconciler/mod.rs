//! Runs reconciliation: whenever something that an item depends on has changed, takes the steps that follow.
//!
//! In: decisions in the order they came in, and hints from the store. Out: recon items, postings in
//! the queue, entries in dispatches and cases, leases' use. What is to be done is decided in
//! [`crate::core::reconcile`]; here it is only looked up and written down, an order per transaction. Cases of which
//! nothing is open any more are closed here too.

mod choice;
mod closing;
mod decisions;
mod look;
mod take;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    bundle::Bundle,
    case::{self, CaseType},
    fact::FactKey,
    id::{DocumentId, OrderId},
    sync::Lane,
    time::UtcMs,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tracing::warn;

pub use choice::{Word, say, two_needed};
pub use closing::open_items;

use crate::{
    clock::Clock,
    core::{joining::join, reconcile::ReconPolicy},
    erp::poll,
    store::{DocumentSays, Reader, ReconFilter, Store, StoreChange, StoreError},
    tasks::{Stop, TaskError},
};
use closing::Closing;
use decisions::take_decisions;
use look::Look;
use take::{BY, take};

/// Runs after which an order that is never quiet is left until something changes again.
const ROUNDS_MAX: usize = 12;

/// Keeps every order settled until told to stop.
/// # Errors
/// If the store is stopped or away; started anew it looks at everything that is open.
pub async fn run(
    store: Store,
    clock: Clock,
    bundle: Bundle,
    policy: ReconPolicy,
    mut stop: Stop,
) -> Result<(), TaskError> {
    let mut reconciler = Reconciler::new(store, clock, bundle, policy);
    while !stop.is_stopped() {
        reconciler.once().await?;
        tokio::select! {
            () = reconciler.hint() => {}
            () = stop.stopped() => break,
        }
    }
    Ok(())
}

/// What an order is settled by: the rules that the hub has activated, and what needs no person.
#[derive(Debug, Clone)]
struct Ruled {
    bundle: Bundle,
    policy: ReconPolicy,
}

/// Settles what changed since it last looked; at first everything that is open.
pub struct Reconciler {
    store: Store,
    clock: Clock,
    rules: Ruled,
    changes: Receiver<StoreChange>,
    hints: Vec<Result<StoreChange, RecvError>>,
    started: bool,
    read_seen: Option<UtcMs>,
    /// Orders for which time alone brings something about, and when.
    due: BTreeMap<OrderId, UtcMs>,
    closing: Closing,
}

impl Reconciler {
    /// One that has not looked at anything yet.
    #[must_use]
    pub fn new(store: Store, clock: Clock, bundle: Bundle, policy: ReconPolicy) -> Self {
        let changes = store.changes();
        let rules = Ruled { bundle, policy };
        Self {
            store,
            clock,
            rules,
            changes,
            hints: Vec::new(),
            started: false,
            read_seen: None,
            due: BTreeMap::new(),
            closing: Closing::default(),
        }
    }

    /// Takes in the decisions that came, settles every order that something changed for, and closes cases at rest.
    /// # Errors
    /// If the store is stopped or away; the next time it looks at everything that is open.
    pub async fn once(&mut self) -> Result<(), StoreError> {
        let looked = self.look().await;
        self.started = looked.is_ok();
        looked
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        gather(&mut self.changes, &mut self.hints);
        let hints = std::mem::take(&mut self.hints);
        let mut cases: BTreeSet<DocumentId> = hints.iter().filter_map(changed_case).collect();
        if !self.started || hints.iter().any(missed_some) {
            cases.extend(self.store.read(|r| r.open_cases()).await?);
        }
        join_cases(&self.store, &self.clock, cases).await?;
        let mut dirty = if self.started {
            affected(&self.store, hints, &mut self.read_seen).await?
        } else {
            everything_open(&self.store).await?
        };
        dirty.extend(take_decisions(&self.store, &self.clock).await?);
        let now = self.clock.wall();
        dirty.extend(self.due.iter().filter(|(_, at)| **at <= now).map(|(order, _)| order.clone()));
        for order in dirty {
            match settle_order(&self.store, &self.clock, &self.rules, order.clone()).await? {
                Some(at) => _ = self.due.insert(order, at),
                None => _ = self.due.remove(&order),
            }
        }
        // Behind the items: what was decided by now keeps its case from being closed.
        self.closing.look(&self.store, &self.clock, &self.rules).await
    }

    /// Waits until something changed or is due; [`Self::once`] then knows what.
    async fn hint(&mut self) {
        let now = self.clock.wall();
        let closing = self.closing.looks_at(now);
        let next = self.due.values().copied().min().map_or(closing, |due| due.min(closing));
        tokio::select! {
            hint = self.changes.recv() => self.hints.push(hint),
            () = self.clock.sleep(next.since(now).max(0).unsigned_abs()) => {}
        }
    }
}

fn changed_case(hint: &Result<StoreChange, RecvError>) -> Option<DocumentId> {
    if let Ok(StoreChange::Case(id)) = hint { Some(*id) } else { None }
}

/// Whether hints were missed, so that anything may have changed.
fn missed_some(hint: &Result<StoreChange, RecvError>) -> bool {
    matches!(hint, Err(_) | Ok(StoreChange::Everything))
}

/// Joins cases of one matter that run beside each other, where one of them changed.
async fn join_cases(store: &Store, clock: &Clock, changed: BTreeSet<DocumentId>) -> Result<(), StoreError> {
    let now = clock.wall();
    for case in changed {
        // Most cases are alone; a look costs no commit.
        let says = store.read(move |r| to_join(r, &case, now)).await;
        match says {
            Ok(says) if says.is_empty() => continue,
            Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => return Err(e),
            Err(error) => {
                warn!(document.id = %case, %error, "case {case} cannot be looked at");
                continue;
            }
            Ok(_) => {}
        }
        store
            .write(move |tx| {
                for (id, says) in to_join(tx, &case, now)? {
                    tx.write_entries(&id, DocumentSays::Case(says), BY, Lane::Documents, now)?;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

fn to_join(r: &Reader<'_>, id: &DocumentId, now: UtcMs) -> Result<Vec<(DocumentId, Vec<case::Says>)>, StoreError> {
    let Some(view) = r.case_view(id)? else { return Ok(Vec::new()) };
    Ok(join(&r.cases_under(&case::dedup_key(view.case_type, &view.subject, &view.leg))?, now))
}

/// Hints that wait already: one run answers them all.
fn gather(changes: &mut Receiver<StoreChange>, hints: &mut Vec<Result<StoreChange, RecvError>>) {
    while hints.len() < 4096 {
        match changes.try_recv() {
            Ok(change) => hints.push(Ok(change)),
            Err(tokio::sync::broadcast::error::TryRecvError::Lagged(n)) => hints.push(Err(RecvError::Lagged(n))),
            Err(_) => return,
        }
    }
}

async fn everything_open(store: &Store) -> Result<BTreeSet<OrderId>, StoreError> {
    store
        .read(|r| {
            let open = r.recon_items(&ReconFilter { open: true, ..ReconFilter::default() })?;
            let mut orders: BTreeSet<OrderId> = open.into_iter().filter_map(|item| item.order).collect();
            orders.extend(r.orders()?.into_iter().map(|order| order.id));
            Ok(orders)
        })
        .await
}

/// The types of case that settling an order looks at: one that is opened last brings it about as well.
const WEIGHED: [CaseType; 2] = [CaseType::LateDelivery, CaseType::TempExcursion];

/// The orders whose settling depends on what changed.
async fn affected(
    store: &Store,
    hints: Vec<Result<StoreChange, RecvError>>,
    read_seen: &mut Option<UtcMs>,
) -> Result<BTreeSet<OrderId>, StoreError> {
    if hints.iter().any(missed_some) {
        return everything_open(store).await;
    }
    let before = *read_seen;
    let (orders, read_at) = store
        .read(move |r| {
            let mut orders = BTreeSet::new();
            let mut was_heard = false;
            for change in hints.into_iter().flatten() {
                match change {
                    StoreChange::Order(order) | StoreChange::Posting(order) => {
                        orders.insert(order);
                    }
                    StoreChange::Dispatch(id) => {
                        orders.extend(if_readable(&id, r.dispatch_view(&id))?.map(|view| view.order));
                    }
                    StoreChange::Case(id) => orders.extend(if_readable(&id, r.order_of_open_case(&id, WEIGHED))?),
                    StoreChange::Recon(id) => orders.extend(r.recon_item(&id)?.and_then(|item| item.order)),
                    StoreChange::Fact(key) => {
                        if let Ok(FactKey::Credit { customer }) = serde_json::from_str(&key) {
                            orders.extend(r.orders_of_customer(&customer)?.into_iter().map(|order| order.id));
                        }
                    }
                    StoreChange::Source => was_heard = true,
                    _ => {}
                }
            }
            let read_at = poll::read_at(r)?;
            if was_heard && read_at != before {
                // Items that waited for a read that began after their news: any, if the clock was ahead before.
                let before = before.filter(|before| read_at.is_some_and(|read| read > *before));
                let open = r.recon_items(&ReconFilter { open: true, ..ReconFilter::default() })?;
                let waited = open.into_iter().filter(|item| before.is_none_or(|before| item.edge.known_at > before));
                orders.extend(waited.filter_map(|item| item.order));
            }
            Ok((orders, read_at))
        })
        .await?;
    *read_seen = read_at;
    Ok(orders)
}

/// What a document says; nothing if it cannot be read, which must not keep other orders from being settled. Its own is
/// looked at again once the document is whole.
fn if_readable<T>(id: &DocumentId, found: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Ok(_) | Err(StoreError::Stopped | StoreError::NotWritten(_)) => found,
        Err(error) => {
            warn!(document.id = %id, %error, "document {id} cannot be looked at: {error}");
            Ok(None)
        }
    }
}

/// Takes steps for an order until there are none. Back comes when time alone would bring others.
async fn settle_order(
    store: &Store,
    clock: &Clock,
    rules: &Ruled,
    order: OrderId,
) -> Result<Option<UtcMs>, StoreError> {
    let (now, id, ruled) = (clock.wall(), order.clone(), (rules.bundle.hash, rules.policy));
    // Most hints change nothing; a look costs no commit.
    let looked = store
        .read(move |r| {
            let look = Look::at(r, &id, ruled.0, ruled.1)?;
            Ok(look.map_or((true, None), |look| (look.steps(now).is_empty(), look.again_at(now))))
        })
        .await;
    match looked {
        Ok((true, again_at)) => return Ok(again_at),
        Ok((false, _)) => {}
        // What may pass is tried again, with all that is open.
        Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => return Err(e),
        Err(error) => {
            // One order that cannot be read must not keep the others from being settled.
            warn!(order = %order, %error, "order {order} cannot be reconciled");
            return Ok(None);
        }
    }
    let (Ruled { bundle, policy }, id) = (rules.clone(), order.clone());
    let taken = store
        .write(move |tx| {
            for _ in 0..ROUNDS_MAX {
                let Some(look) = Look::at(tx, &id, bundle.hash, policy)? else { return Ok(None) };
                let steps = look.steps(now);
                if steps.is_empty() {
                    return Ok(look.again_at(now));
                }
                for (dispatch, step) in steps {
                    take(tx, &look, dispatch, step, &bundle, now)?;
                }
            }
            warn!(order = %id, "reconciling order {id} does not come to rest");
            Ok(None)
        })
        .await;
    match taken {
        Err(e @ (StoreError::Stopped | StoreError::NotWritten(_))) => Err(e),
        Err(error) => {
            warn!(order = %order, %error, "order {order} cannot be reconciled");
            Ok(None)
        }
        Ok(again_at) => Ok(again_at),
    }
}
