//! What settling an order depends on, read in one view of the store, and the steps that follow from it.

use gatehouse_common::{
    case::{self, CaseType},
    decision::{DecisionKind, DecisionRecord},
    dispatch::DispatchView,
    fact::{FactKey, FactValue},
    id::{DocumentId, OrderId},
    lease::{self, LeaseUse},
    order::{LineQuantity, Order},
    time::UtcMs,
};

use crate::{
    core::reconcile::{QueuedPosting, ReconItem, Situation, Step, obey, settle},
    erp::poll,
    store::{Reader, ReconFilter, StoreError},
};

/// Everything that settling one order depends on, as it is in one view of the store.
pub(super) struct Look {
    pub(super) order: Order,
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
    credit_case: u32,
    postings: Vec<QueuedPosting>,
}

impl Look {
    pub(super) fn at(reader: &Reader<'_>, id: &OrderId) -> Result<Option<Self>, StoreError> {
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
                credit_case: credit_case(reader, &item, &dispatches)?,
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

    pub(super) fn steps(&self, now: UtcMs) -> Vec<(Option<DocumentId>, Step)> {
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
    let in_slice = lease::within(&row.lease, &LeaseUse::default(), &row.used).is_ok();
    Ok(row.lease.site == record.site && in_time && in_slice)
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
