//! Takes a step: an item, a posting, an entry in a dispatch, a case.

use gatehouse_common::{
    bundle::Bundle,
    case::{self, CaseState},
    dispatch,
    id::DocumentId,
    order::Order,
    sync::Lane,
    time::UtcMs,
};
use tracing::info;

use super::look::Look;
use crate::{
    core::{
        opening::{Opening, axes_of},
        reconcile::{NewCase, Step},
    },
    store::{DocumentSays, StoreError, Tx},
};

/// The name under which the hub's rules speak in documents.
pub(super) const BY: &str = "rule: reconciliation";

pub(super) fn take(
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
        Step::Withdraw { key } => tx.withdraw(&key, now),
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
    let axes = axes_of(order, new.money_minor, &bundle.rules.money_axis_minor, now);
    // A credit hold blocks what has not left; what a person must decide about goods that left blocks nothing.
    let blocks = dispatch.filter(|_| new.case_type == case::CaseType::CreditHold);
    let opening = Opening {
        case_type: new.case_type,
        subject: new.subject,
        leg: new.leg,
        occurrence: new.occurrence,
        site: order.site.clone(),
        summary: new.summary,
        order: Some(order.id.clone()),
        blocks,
        owner: new.owner,
    };
    let says = opening.says(axes, new.at_least, bundle.hash, now);
    tx.write_entries(&new.id, DocumentSays::Case(says), BY, Lane::Documents, now).map(|_| ())
}

fn resolve_case(tx: &mut Tx<'_>, id: &DocumentId, reason: String, now: UtcMs) -> Result<(), StoreError> {
    if tx.case_view(id)?.is_none_or(|view| view.state.is_over()) {
        return Ok(());
    }
    let says = case::Says::Moved { to: CaseState::Resolved, since: now, reason, auto_cleared: true, how: None };
    tx.write_entries(id, DocumentSays::Case(vec![says]), BY, Lane::Documents, now).map(|_| ())
}
