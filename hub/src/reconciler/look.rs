//! What settling an order depends on, read in one view of the store, and the steps that follow from it.

use std::collections::BTreeMap;

use gatehouse_common::{
    case::{self, CaseType},
    decision::{DecisionKind, DecisionRecord},
    dispatch::DispatchView,
    document::{ActorKind, EntryKey},
    fact::{Fact, FactKey, FactValue},
    id::{CarrierId, DocumentId, Hash32, OrderId, ProductId},
    lease::{self, Lease, LeaseUse},
    order::{LineQuantity, Order},
    time::UtcMs,
};

use crate::{
    core::{
        leases::LeaseRow,
        reconcile::{
            NewCase, PostingKind, PostingState, QueuedPosting, ReconItem, ReconPolicy, Situation, Step, beside,
            looks_again_at, obey, settle, told_of_change, yields,
        },
    },
    erp::poll,
    store::{Reader, ReconFilter, StoreError},
};

/// Everything that settling one order depends on, as it is in one view of the store.
pub(super) struct Look {
    pub(super) order: Order,
    on_hold: Option<bool>,
    /// Those whose goods count first stand first, see [`turn`].
    dispatches: Vec<(DocumentId, DispatchView)>,
    /// The order in the version that a dispatch knows, where that is an older one.
    known: Vec<(DocumentId, Order)>,
    items: Vec<ItemLook>,
    policy: ReconPolicy,
    was_too_warm: bool,
    erp_read_at: Option<UtcMs>,
    /// Cases still to be opened beside the items.
    new_cases: Vec<(DocumentId, NewCase)>,
    /// Cases that a delivery settles, each with what to say.
    late: Vec<(DocumentId, String)>,
}

struct ItemLook {
    item: ReconItem,
    record: DecisionRecord,
    within_lease: bool,
    is_set_aside: bool,
    lease_expired: bool,
    policy_lagged: bool,
    recalled: bool,
    credit_case: u32,
    seen: Option<Order>,
    /// See [`Situation::confirmed`] and [`Situation::tendered`].
    confirmed: Vec<(u16, u32)>,
    tendered: Option<CarrierId>,
    postings: Vec<QueuedPosting>,
}

impl Look {
    /// `bundle` is the hash of the rules that the hub has activated.
    pub(super) fn at(
        reader: &Reader<'_>,
        id: &OrderId,
        bundle: Hash32,
        policy: ReconPolicy,
    ) -> Result<Option<Self>, StoreError> {
        let Some(order) = reader.order(id)? else { return Ok(None) };
        let credit = reader.fact(&FactKey::Credit { customer: order.customer.id.clone() })?;
        let on_hold = credit.and_then(|fact| match fact.report.value {
            FactValue::Credit { on_hold, .. } => Some(on_hold),
            _ => None,
        });
        let mut dispatches = reader.dispatches_of_order(id)?;
        let decisions: Vec<DecisionRecord> = reader.decisions_of_order(id)?.into_iter().map(|d| d.record).collect();
        let postings = reader.postings_of_order(id)?;
        dispatches.sort_by_cached_key(|(id, view)| turn(*id, view, &decisions, &postings));
        let facts = reader.facts_of_order(id)?;
        let mut items = Vec::new();
        for item in reader.recon_items(&ReconFilter { order: Some(id.clone()), ..ReconFilter::default() })? {
            let Some(record) = decisions.iter().find(|d| d.id == item.decision).cloned() else { continue };
            if !is_release(&record) {
                continue;
            }
            let lease = lease_of(reader, &record)?;
            let left = dispatches.iter().find(|(id, _)| item.dispatch == Some(*id)).map(|(_, view)| view);
            let (confirmed, tendered) = told_meanwhile(&facts, &record, left);
            let seen = match &record.order {
                Some((order, version)) => reader.order_version(order, *version)?,
                None => None,
            };
            items.push(ItemLook {
                seen,
                confirmed,
                tendered,
                within_lease: is_within_lease(reader, &record)?,
                is_set_aside: is_set_aside(reader, &record)?,
                lease_expired: lease.as_ref().is_some_and(|lease| record.at.wall >= lease.expires_at),
                policy_lagged: lease.is_some_and(|lease| lease.bundle == record.bundle && lease.bundle != bundle),
                recalled: is_recalled(&record, &of_dispatch(reader, &record)?),
                credit_case: credit_case(reader, &item, &dispatches)?,
                postings: postings.iter().filter(|p| p.posting.decision == item.decision).cloned().collect(),
                record,
                item,
            });
        }
        let mut new_cases = unexplained(reader, &order, &dispatches, &decisions)?;
        new_cases.extend(left_beside(reader, &order, &dispatches, &postings)?);
        let late = late_though_delivered(reader, &order, &dispatches)?;
        let mut known = Vec::new();
        for (dispatch, view) in dispatches.iter().filter(|(_, view)| view.order_version < order.version) {
            known.extend(reader.order_version(id, view.order_version)?.map(|order| (*dispatch, order)));
        }
        let is_delivered = dispatches.iter().any(|(_, view)| view.delivered.is_some());
        let was_too_warm = is_delivered && !reader.cases_about(id, CaseType::TempExcursion)?.is_empty();
        let erp_read_at = poll::read_at(reader)?;
        Ok(Some(Self { order, on_hold, dispatches, known, items, policy, was_too_warm, erp_read_at, new_cases, late }))
    }

    /// What dispatches before the `occurrence`-th of the same depot took away, and those of another depot that count
    /// before it: what left twice is billed once.
    fn earlier(&self, view: &DispatchView) -> Vec<LineQuantity> {
        let here = self.dispatches.iter().map(|(_, v)| v);
        let here = here.filter(|v| v.site == view.site && v.occurrence < view.occurrence);
        let here = here.filter_map(|v| v.departed.as_ref()).flat_map(|d| d.load.clone());
        here.chain(self.elsewhere(view)).collect()
    }

    /// What left other depots and counts before it, once it has left as well.
    fn elsewhere(&self, view: &DispatchView) -> Vec<LineQuantity> {
        let before = self.dispatches.iter().map(|(_, v)| v).take_while(|v| !std::ptr::eq(*v, view));
        let others = before.filter(|v| v.site != view.site && view.departed.is_some());
        others.filter_map(|v| v.departed.as_ref()).flat_map(|d| d.load.clone()).collect()
    }

    /// Whether another depot may still let goods of the order leave.
    fn is_planned_elsewhere(&self, view: &DispatchView) -> bool {
        self.dispatches.iter().any(|(_, v)| v.site != view.site && !v.state.is_over_at_depot())
    }

    /// When steps would follow from the passing of time alone; none if nothing waits for it.
    pub(super) fn again_at(&self, now: UtcMs) -> Option<UtcMs> {
        self.dispatches.iter().filter_map(|(_, view)| looks_again_at(&self.order, view, now)).min()
    }

    pub(super) fn steps(&self, now: UtcMs) -> Vec<(Option<DocumentId>, Step)> {
        let open = |(id, case): &(DocumentId, NewCase)| (Some(*id), Step::OpenCase(case.clone()));
        let mut steps: Vec<_> = self.new_cases.iter().map(open).collect();
        let resolve =
            |(case, reason): &(DocumentId, String)| (None, Step::ResolveCase { case: *case, reason: reason.clone() });
        steps.extend(self.late.iter().map(resolve));
        let views: Vec<&DispatchView> = self.dispatches.iter().map(|(_, view)| view).collect();
        for (id, view) in &self.dispatches {
            let mut obeyed = obey(&self.order, view, &self.earlier(view), self.on_hold, now);
            if obeyed.is_empty() {
                obeyed.extend(yields(&self.order, view, &views).map(Step::WriteDispatch));
            }
            let known = self.known.iter().find(|(known, _)| known == id).map(|(_, order)| order);
            obeyed.extend(told_of_change(&self.order, known, view).map(Step::WriteDispatch));
            steps.extend(obeyed.into_iter().map(|step| (Some(*id), step)));
        }
        if !steps.is_empty() {
            // What they say changes the views that the items are settled on.
            return steps;
        }
        for look in &self.items {
            let view = self.dispatches.iter().find(|(id, _)| look.item.dispatch == Some(*id)).map(|(_, view)| view);
            let earlier = view.map(|view| self.earlier(view)).unwrap_or_default();
            let elsewhere = view.map(|view| self.elsewhere(view)).unwrap_or_default();
            let situation = Situation {
                elsewhere: &elsewhere,
                is_planned_elsewhere: view.is_some_and(|view| self.is_planned_elsewhere(view)),
                seen: look.seen.as_ref(),
                confirmed: &look.confirmed,
                tendered: look.tendered.as_ref(),
                was_too_warm: self.was_too_warm,
                policy: self.policy,
                item: &look.item,
                decision: &look.record,
                dispatch: view,
                earlier: &earlier,
                order: Some(&self.order),
                on_hold: self.on_hold,
                within_lease: look.within_lease,
                is_set_aside: look.is_set_aside,
                lease_expired: look.lease_expired,
                policy_lagged: look.policy_lagged,
                recalled: look.recalled,
                credit_case: look.credit_case,
                postings: &look.postings,
                erp_read_at: self.erp_read_at,
                now,
            };
            steps.extend(settle(&situation).into_iter().map(|step| (look.item.dispatch, step)));
        }
        steps
    }
}

/// When the goods of a dispatch count: those that were billed first, in that order, then by departure. Goods that left
/// earlier and are heard of later must not take the place of what stands in an invoice: they are what left twice.
fn turn(
    id: DocumentId,
    view: &DispatchView,
    decisions: &[DecisionRecord],
    postings: &[QueuedPosting],
) -> (usize, Option<(UtcMs, EntryKey)>) {
    let is_ours = |p: &QueuedPosting| decisions.iter().any(|d| d.id == p.posting.decision && d.dispatch == Some(id));
    let bills = |p: &QueuedPosting| p.posting.kind == PostingKind::Invoice && p.state != PostingState::Withdrawn;
    let billed = postings.iter().position(|p| bills(p) && is_ours(p)).unwrap_or(usize::MAX);
    (billed, view.departed.as_ref().map(|departed| (departed.at, departed.key.clone())))
}

fn lease_of(reader: &Reader<'_>, record: &DecisionRecord) -> Result<Option<Lease>, StoreError> {
    Ok(own_lease(reader, record)?.map(|row| row.lease))
}

/// The lease that a decision names, if it is its gateway's.
fn own_lease(reader: &Reader<'_>, record: &DecisionRecord) -> Result<Option<LeaseRow>, StoreError> {
    let Some(charge) = &record.lease else { return Ok(None) };
    let row = reader.lease(&charge.lease)?;
    Ok(row.filter(|row| row.lease.site == record.site && row.lease.is_for(&record.device)))
}

/// What warehouse and carriers said after a decision and before the goods left, while its depot could not hear them: units
/// per line that could be picked, and which carrier accepted. What they say later speaks of what is left.
fn told_meanwhile(
    facts: &[Fact],
    record: &DecisionRecord,
    view: Option<&DispatchView>,
) -> (Vec<(u16, u32)>, Option<CarrierId>) {
    let left = view.and_then(|view| view.departed.as_ref()).map(|departed| departed.at);
    let Some(left) = left else { return (Vec::new(), None) };
    let (mut confirmed, mut tendered) = (Vec::new(), None);
    for report in facts.iter().map(|fact| &fact.report).filter(|r| r.at > record.at.wall && r.at <= left) {
        match (&report.key, &report.value) {
            (FactKey::Inventory { line, .. }, FactValue::Inventory { confirmed: units }) => {
                confirmed.push((*line, *units));
            }
            (FactKey::Carrier { .. }, FactValue::Carrier { accepted: true, carrier }) => {
                tendered = Some(carrier.clone());
            }
            _ => {}
        }
    }
    (confirmed, tendered)
}

/// The cases that dispatches call for beside the items, those that are there already left out.
fn left_beside(
    reader: &Reader<'_>,
    order: &Order,
    dispatches: &[(DocumentId, DispatchView)],
    postings: &[QueuedPosting],
) -> Result<Vec<(DocumentId, NewCase)>, StoreError> {
    let Some((document, _)) = dispatches.first() else { return Ok(Vec::new()) };
    let views: Vec<&DispatchView> = dispatches.iter().map(|(_, view)| view).collect();
    let is_billed = postings.iter().any(|p| p.posting.kind == PostingKind::Invoice && p.state == PostingState::Applied);
    let was_too_warm = is_billed && !reader.cases_about(&order.id, CaseType::TempExcursion)?.is_empty();
    let mut cases = Vec::new();
    for case in beside(order, &views, is_billed, was_too_warm) {
        if reader.case_view(&case.id)?.is_none() {
            cases.push((*document, case));
        }
    }
    Ok(cases)
}

/// Cases about a late delivery that a delivery settles, each with how late it was.
fn late_though_delivered(
    reader: &Reader<'_>,
    order: &Order,
    dispatches: &[(DocumentId, DispatchView)],
) -> Result<Vec<(DocumentId, String)>, StoreError> {
    let open = dispatches.iter().any(|(_, v)| v.departed.is_some() && v.delivered.is_none());
    let delivered = dispatches.iter().filter_map(|(_, v)| v.delivered.as_ref()).map(|d| d.at).max();
    let Some(at) = delivered.filter(|_| !open) else { return Ok(Vec::new()) };
    let minutes = at.since(order.window_end).max(0) / 60_000;
    let mut settled = Vec::new();
    for case in reader.cases_about(&order.id, CaseType::LateDelivery)? {
        if reader.case_view(&case)?.is_some_and(|view| !view.state.is_over()) {
            settled.push((case, format!("delivered {minutes} minutes after its window")));
        }
    }
    Ok(settled)
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
    let Some(row) = own_lease(reader, record)? else { return Ok(false) };
    let in_time = record.at.wall < row.lease.expires_at;
    let in_slice = lease::within(&row.lease, &LeaseUse::default(), &row.used).is_ok();
    Ok(in_time && in_slice)
}

/// Whether a decision's lease had set aside what its depot took under it of the decision's products.
fn is_set_aside(reader: &Reader<'_>, record: &DecisionRecord) -> Result<bool, StoreError> {
    let Some(row) = own_lease(reader, record)? else { return Ok(false) };
    let of = |stock: &BTreeMap<ProductId, u32>, product: &ProductId| stock.get(product).copied().unwrap_or(0);
    let fits = |line: &LineQuantity| of(&row.used.stock, &line.product) <= of(&row.lease.stock, &line.product);
    Ok(record.load.iter().all(fits))
}

/// The case for a dispatch that its depot says has left, while no decision to release it is known here: there is no
/// item then whose posting would tell the ERP. The depot reports a decision before the departure, so it did not
/// come by itself; a unit on the vehicle may be ahead of its depot and does not count.
fn unexplained(
    reader: &Reader<'_>,
    order: &Order,
    dispatches: &[(DocumentId, DispatchView)],
    decisions: &[DecisionRecord],
) -> Result<Vec<(DocumentId, NewCase)>, StoreError> {
    let mut cases = Vec::new();
    for (dispatch, view) in dispatches {
        let Some(departed) = &view.departed else { continue };
        let is_known = decisions.iter().any(|d| d.dispatch == Some(*dispatch) && is_release(d));
        if is_known || departed.key.actor.kind != ActorKind::Site {
            continue;
        }
        let (case_type, subject, leg) = (CaseType::ReconDiscrepancy, order.id.to_string(), view.leg());
        let id = case::document_id(&case::dedup_key(case_type, &subject, &leg), 1);
        if reader.case_view(&id)?.is_some() {
            continue;
        }
        let summary = format!(
            "order {} left {} and the hub knows no decision that released it: nothing of it is posted",
            order.id, view.site
        );
        let money_minor = order.value_minor(&departed.load);
        let case =
            NewCase { case_type, id, subject, leg, occurrence: 1, summary, money_minor, at_least: None, owner: None };
        cases.push((*dispatch, case));
    }
    Ok(cases)
}

/// Which case about the credit of the item's dispatch is open, or would be the next.
fn credit_case(
    reader: &Reader<'_>,
    item: &ReconItem,
    dispatches: &[(DocumentId, DispatchView)],
) -> Result<u32, StoreError> {
    let view = dispatches.iter().find(|(id, _)| item.dispatch == Some(*id)).map(|(_, view)| view);
    let Some(view) = view else { return Ok(1) };
    let key = case::dedup_key(CaseType::CreditHold, view.order.as_str(), &view.leg());
    Ok(match reader.newest_case(&key)? {
        None => 1,
        Some((occurrence, _, case)) if case.state.is_over() => occurrence + 1,
        Some((occurrence, ..)) => occurrence,
    })
}
