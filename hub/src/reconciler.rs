//! Runs reconciliation: whenever something that an item depends on has changed, takes the steps that follow.
//!
//! In: decisions in the order they came in, and hints from the store. Out: recon items, postings in
//! the queue, entries in dispatches and cases, leases' use. What is to be done is decided in
//! [`crate::core::reconcile`]; here it is only looked up and written down, an order per transaction.

use std::collections::BTreeSet;

use gatehouse_common::{
    bundle::Bundle,
    case::{self, Axes, CaseState},
    decision::{DecisionKind, DecisionRecord},
    dispatch::{self, DispatchView},
    fact::{FactKey, FactValue},
    id::{ActorName, DecisionId, DocumentId, OrderId},
    lease,
    order::{LineQuantity, Order},
    sync::Lane,
    time::UtcMs,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    core::{
        leases::LeaseState,
        reconcile::{Choice, Chosen, NewCase, Outcome, ReconItem, Situation, Step, obey, settle},
    },
    erp::poll,
    store::{DocumentSays, Reader, ReconFilter, Store, StoreChange, StoreError, Tx},
    tasks::{Stop, TaskError},
};

const CURSOR: &str = "reconcile.decisions";
const BATCH: usize = 200;
/// The name under which the hub's rules speak in documents.
const BY: &str = "rule: reconciliation";
/// Runs after which an order that is never quiet is left until something changes again.
const ROUNDS_MAX: usize = 12;

/// Keeps every order settled until told to stop.
/// # Errors
/// Only if the store is stopped.
pub async fn run(store: Store, clock: Clock, bundle: Bundle, mut stop: Stop) -> Result<(), TaskError> {
    let mut reconciler = Reconciler::new(store, clock, bundle);
    while !stop.is_stopped() {
        reconciler.once().await?;
        tokio::select! {
            () = reconciler.hint() => {}
            () = stop.stopped() => break,
        }
    }
    Ok(())
}

/// Settles what changed since it last looked; at first everything that is open.
pub struct Reconciler {
    store: Store,
    clock: Clock,
    bundle: Bundle,
    changes: Receiver<StoreChange>,
    hints: Vec<Result<StoreChange, RecvError>>,
    started: bool,
    read_seen: Option<UtcMs>,
}

impl Reconciler {
    /// One that has not looked at anything yet.
    #[must_use]
    pub fn new(store: Store, clock: Clock, bundle: Bundle) -> Self {
        let changes = store.changes();
        Self { store, clock, bundle, changes, hints: Vec::new(), started: false, read_seen: None }
    }

    /// Takes in the decisions that came and settles every order that something changed for.
    /// # Errors
    /// Only if the store is stopped.
    pub async fn once(&mut self) -> Result<(), StoreError> {
        gather(&mut self.changes, &mut self.hints);
        let hints = std::mem::take(&mut self.hints);
        let mut dirty = if self.started {
            affected(&self.store, hints, &mut self.read_seen).await?
        } else {
            everything_open(&self.store).await?
        };
        self.started = true;
        dirty.extend(take_decisions(&self.store, &self.clock).await?);
        for order in dirty {
            settle_order(&self.store, &self.clock, &self.bundle, order).await?;
        }
        Ok(())
    }

    /// Waits until something changed; [`Self::once`] then knows what.
    async fn hint(&mut self) {
        let hint = self.changes.recv().await;
        self.hints.push(hint);
    }
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

/// The orders whose settling depends on what changed.
async fn affected(
    store: &Store,
    hints: Vec<Result<StoreChange, RecvError>>,
    read_seen: &mut Option<UtcMs>,
) -> Result<BTreeSet<OrderId>, StoreError> {
    if hints.iter().any(Result::is_err) {
        // Some hints were missed, so anything may have changed.
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
                    StoreChange::Dispatch(id) => orders.extend(r.dispatch_view(&id)?.map(|view| view.order)),
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
                // Items that waited for a read that began after their news.
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

/// Opens an item for each decision that came in, and charges it to its lease. Returns their orders.
async fn take_decisions(store: &Store, clock: &Clock) -> Result<BTreeSet<OrderId>, StoreError> {
    let mut orders = BTreeSet::new();
    loop {
        let waiting = store.read(|r| Ok(!r.decisions_after(taken_through(r)?, 1)?.is_empty())).await?;
        if !waiting {
            return Ok(orders);
        }
        let now = clock.wall();
        orders.extend(store.write(move |tx| take_batch(tx, now)).await?);
    }
}

fn taken_through(reader: &Reader<'_>) -> Result<u64, StoreError> {
    Ok(reader.cursor(CURSOR)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn take_batch(tx: &mut Tx<'_>, now: UtcMs) -> Result<BTreeSet<OrderId>, StoreError> {
    let after = taken_through(tx)?;
    let mut orders = BTreeSet::new();
    let mut last = after;
    for decision in tx.decisions_after(after, BATCH)? {
        last = decision.n;
        let record = &decision.record;
        orders.extend(record.order.iter().map(|(order, _)| order.clone()));
        if tx.recon_item(&record.id)?.is_some() {
            continue;
        }
        let seen = match &record.order {
            Some((order, version)) => tx.order_version(order, *version)?,
            None => None,
        };
        let mut item = ReconItem::open(record, seen.as_ref(), now);
        if !matches!(record.kind, DecisionKind::Release | DecisionKind::Override) {
            item.outcome = Some(Outcome::Matched);
            item.closed = Some(now);
        }
        charge_lease(tx, record, now)?;
        tx.put_recon_item(&item)?;
    }
    tx.set_cursor(CURSOR, &last.to_string())?;
    Ok(orders)
}

fn charge_lease(tx: &mut Tx<'_>, record: &DecisionRecord, now: UtcMs) -> Result<(), StoreError> {
    let Some(charge) = &record.lease else { return Ok(()) };
    let Some(mut row) = tx.lease(&charge.lease)? else {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names a lease that was never granted", record.id);
        return Ok(());
    };
    // A statement speaks of its own depot's lease and of no other.
    if row.lease.site != record.site {
        warn!(decision = %record.id, lease = %charge.lease, "decision {} names another depot's lease", record.id);
        return Ok(());
    }
    if record.kind == DecisionKind::LeaseClosed {
        row.state = LeaseState::Closed;
        row.used = charge.used.clone();
        row.closed_at = Some(now);
    } else if row.state == LeaseState::Outstanding {
        row.used.add(&charge.used);
    }
    tx.put_lease(&row, now)
}

/// Takes steps for an order until there are none.
async fn settle_order(store: &Store, clock: &Clock, bundle: &Bundle, order: OrderId) -> Result<(), StoreError> {
    let (now, id) = (clock.wall(), order.clone());
    // Most hints change nothing; a look costs no commit.
    let is_quiet = store.read(move |r| Ok(Look::at(r, &id)?.is_none_or(|look| look.steps(now).is_empty()))).await;
    match is_quiet {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(e @ StoreError::Stopped) => return Err(e),
        Err(error) => {
            // One order that cannot be read must not keep the others from being settled.
            warn!(order = %order, %error, "order {order} cannot be reconciled");
            return Ok(());
        }
    }
    let (bundle, id) = (bundle.clone(), order.clone());
    let taken = store
        .write(move |tx| {
            for _ in 0..ROUNDS_MAX {
                let Some(look) = Look::at(tx, &id)? else { return Ok(()) };
                let steps = look.steps(now);
                if steps.is_empty() {
                    return Ok(());
                }
                for (dispatch, step) in steps {
                    take(tx, &look, dispatch, step, &bundle, now)?;
                }
            }
            warn!(order = %id, "reconciling order {id} does not come to rest");
            Ok(())
        })
        .await;
    match taken {
        Err(e @ StoreError::Stopped) => Err(e),
        Err(error) => {
            warn!(order = %order, %error, "order {order} cannot be reconciled");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Everything that settling one order depends on, as it is in one view of the store.
struct Look {
    order: Order,
    on_hold: Option<bool>,
    dispatches: Vec<(DocumentId, DispatchView)>,
    items: Vec<ItemLook>,
    erp_read_at: Option<UtcMs>,
}

struct ItemLook {
    item: ReconItem,
    record: DecisionRecord,
    within_lease: bool,
    recalled: bool,
    postings: Vec<crate::core::reconcile::QueuedPosting>,
}

impl Look {
    fn at(reader: &Reader<'_>, id: &OrderId) -> Result<Option<Self>, StoreError> {
        let Some(order) = reader.order(id)? else { return Ok(None) };
        let credit = reader.fact(&FactKey::Credit { customer: order.customer.id.clone() })?;
        let on_hold = credit.and_then(|fact| match fact.report.value {
            FactValue::Credit { on_hold, .. } => Some(on_hold),
            _ => None,
        });
        let dispatches = reader.dispatches_of_order(id)?;
        let decisions: Vec<DecisionRecord> = reader.decisions_of_order(id)?.into_iter().map(|d| d.record).collect();
        let postings = reader.postings_of_order(id)?;
        let mut items = Vec::new();
        for item in reader.recon_items(&ReconFilter { order: Some(id.clone()), ..ReconFilter::default() })? {
            let Some(record) = decisions.iter().find(|d| d.id == item.decision).cloned() else { continue };
            if !is_release(&record) {
                continue;
            }
            items.push(ItemLook {
                within_lease: is_within_lease(reader, &record)?,
                recalled: is_recalled(&record, &of_dispatch(reader, &record)?),
                postings: postings.iter().filter(|p| p.posting.decision == item.decision).cloned().collect(),
                record,
                item,
            });
        }
        Ok(Some(Self { order, on_hold, dispatches, items, erp_read_at: poll::read_at(reader)? }))
    }

    /// What dispatches before the `occurrence`-th of the same depot took away.
    fn earlier(&self, view: &DispatchView) -> Vec<LineQuantity> {
        let before = self.dispatches.iter().filter(|(_, v)| v.site == view.site && v.occurrence < view.occurrence);
        before.filter_map(|(_, v)| v.departed.as_ref()).flat_map(|d| d.load.clone()).collect()
    }

    fn steps(&self, now: UtcMs) -> Vec<(Option<DocumentId>, Step)> {
        let mut steps = Vec::new();
        for (id, view) in &self.dispatches {
            let obeyed = obey(&self.order, view, &self.earlier(view), self.on_hold);
            steps.extend(obeyed.into_iter().map(|step| (Some(*id), step)));
        }
        if !steps.is_empty() {
            // What they say changes the views that the items are settled on.
            return steps;
        }
        for look in &self.items {
            let view = self.dispatches.iter().find(|(id, _)| look.item.dispatch == Some(*id)).map(|(_, view)| view);
            let earlier = view.map(|view| self.earlier(view)).unwrap_or_default();
            let situation = Situation {
                item: &look.item,
                decision: &look.record,
                dispatch: view,
                earlier: &earlier,
                order: Some(&self.order),
                on_hold: self.on_hold,
                within_lease: look.within_lease,
                recalled: look.recalled,
                postings: &look.postings,
                erp_read_at: self.erp_read_at,
                now,
            };
            steps.extend(settle(&situation).into_iter().map(|step| (look.item.dispatch, step)));
        }
        steps
    }
}

fn is_release(record: &DecisionRecord) -> bool {
    matches!(record.kind, DecisionKind::Release | DecisionKind::Override)
}

fn of_dispatch(reader: &Reader<'_>, record: &DecisionRecord) -> Result<Vec<DecisionRecord>, StoreError> {
    let Some(dispatch) = &record.dispatch else { return Ok(Vec::new()) };
    Ok(reader.decisions_of_dispatch(dispatch)?.into_iter().map(|d| d.record).collect())
}

/// Whether the depot took a release back later: it recalled it, or released anew.
fn is_recalled(release: &DecisionRecord, of_dispatch: &[DecisionRecord]) -> bool {
    of_dispatch.iter().any(|later| {
        later.device == release.device
            && (later.epoch, later.position) > (release.epoch, release.position)
            && (later.kind == DecisionKind::Recall || is_release(later))
    })
}

fn is_within_lease(reader: &Reader<'_>, record: &DecisionRecord) -> Result<bool, StoreError> {
    let Some(charge) = &record.lease else { return Ok(false) };
    let Some(row) = reader.lease(&charge.lease)? else { return Ok(false) };
    let in_time = record.at.wall < row.lease.expires_at;
    let in_slice = lease::within(&row.lease, &gatehouse_common::lease::LeaseUse::default(), &row.used).is_ok();
    Ok(row.lease.site == record.site && in_time && in_slice)
}

fn take(
    tx: &mut Tx<'_>,
    look: &Look,
    dispatch: Option<DocumentId>,
    step: Step,
    bundle: &Bundle,
    now: UtcMs,
) -> Result<(), StoreError> {
    match step {
        Step::Keep(item) => {
            if let Some(outcome) = &item.outcome {
                info!(decision = %item.decision, outcome = outcome.as_str(), row = item.row,
                    "decision {} is settled: {}", item.decision, outcome.as_str());
            }
            tx.put_recon_item(&item)
        }
        Step::Post(posting) => tx.enqueue(&posting, now).map(|_| ()),
        Step::WriteDispatch(says) => {
            let Some(id) = dispatch else { return Ok(()) };
            let lane = match says {
                dispatch::Says::Settled { .. } => Lane::Documents,
                _ => Lane::Recalls,
            };
            tx.write_entries(&id, DocumentSays::Dispatch(vec![says]), BY, lane, now).map(|_| ())
        }
        Step::OpenCase(case) => open_case(tx, &look.order, dispatch, case, bundle, now),
        Step::ResolveCase { case, reason } => resolve_case(tx, &case, reason, now),
    }
}

fn open_case(
    tx: &mut Tx<'_>,
    order: &Order,
    dispatch: Option<DocumentId>,
    new: NewCase,
    bundle: &Bundle,
    now: UtcMs,
) -> Result<(), StoreError> {
    if tx.case_view(&new.id)?.is_some() {
        return Ok(());
    }
    let axes = Axes {
        time: Axes::time_of(order.window_end.since(now) / 60_000),
        customer: Axes::customer_of(order.customer.tier),
        money: Axes::money_of(new.money_minor, &bundle.rules.money_axis_minor),
        safety: 0,
    };
    let severity = axes.severity(new.case_type);
    let minutes = |n: i64| now.plus(n.saturating_mul(60_000));
    // A credit hold blocks what has not left; what a person must decide about goods that left blocks nothing.
    let blocks = dispatch.filter(|_| new.case_type == case::CaseType::CreditHold);
    let says = vec![
        case::Says::Opened {
            case_type: new.case_type,
            subject: new.subject,
            leg: new.leg,
            occurrence: 1,
            site: order.site.clone(),
            since: now,
            summary: new.summary,
            order: Some(order.id.clone()),
            blocks,
        },
        case::Says::Classified {
            severity,
            axes,
            owner: new.case_type.owner(),
            actions: new.case_type.actions().iter().map(|action| (*action).to_owned()).collect(),
            acknowledge_by: minutes(severity.acknowledge_minutes()),
            resolve_by: minutes(severity.resolve_minutes()),
            bundle: bundle.hash,
        },
    ];
    tx.write_entries(&new.id, DocumentSays::Case(says), BY, Lane::Documents, now).map(|_| ())
}

fn resolve_case(tx: &mut Tx<'_>, id: &DocumentId, reason: String, now: UtcMs) -> Result<(), StoreError> {
    if tx.case_view(id)?.is_none_or(|view| view.state.is_over()) {
        return Ok(());
    }
    let says = case::Says::Moved { to: CaseState::Resolved, since: now, reason, auto_cleared: true };
    tx.write_entries(id, DocumentSays::Case(vec![says]), BY, Lane::Documents, now).map(|_| ())
}

/// Why a choice was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// There is no item of this decision.
    #[error("no recon item of decision {0}")]
    Unknown(DecisionId),
    /// Nothing, or not this, is to be chosen there.
    #[error("{} cannot be chosen for decision {decision}; offered: {offered}", .choice.as_str())]
    NotOffered {
        /// The item.
        decision: DecisionId,
        /// What was asked for.
        choice: Choice,
        /// What could be chosen, in words.
        offered: String,
    },
}

/// Writes down a person's choice; the reconciler does what follows from it.
/// # Errors
/// The inner error says why it was not taken; [`StoreError`] if the store could not.
pub fn choose(
    tx: &mut Tx<'_>,
    decision: &DecisionId,
    choice: Choice,
    by: ActorName,
    reason: String,
    now: UtcMs,
) -> Result<Result<ReconItem, ChoiceError>, StoreError> {
    let Some(mut item) = tx.recon_item(decision)? else { return Ok(Err(ChoiceError::Unknown(decision.clone()))) };
    if !item.choices.contains(&choice) {
        let offered: Vec<&str> = item.choices.iter().map(|c| c.as_str()).collect();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Ok(Err(ChoiceError::NotOffered { decision: decision.clone(), choice, offered }));
    }
    item.chosen = Some(Chosen { choice, by, reason, at: now });
    item.choices.clear();
    tx.put_recon_item(&item)?;
    Ok(Ok(item))
}
