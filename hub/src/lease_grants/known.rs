//! What the store knows of leases and releases, as the sum rule wants it: what a depot holds, what it needs, what
//! weighs on the figures. What cannot be read is never lent on: nothing is needed of its order, and its releases weigh.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::DecisionKind,
    dispatch::{DispatchState, DispatchView},
    id::{DecisionId, DeviceId, DocumentId, OrderId, SiteId},
    lease::LeaseUse,
    order::{LineQuantity, Order, OrderStatus},
};

use crate::{
    core::{
        leases::{Book, LeaseRow, Loan, Spending, needs},
        reconcile::ReconItem,
    },
    store::{Reader, StoreError, if_readable},
};

/// The lease that a gateway of a depot holds, as far as the hub knows: the newest of its own that it has not closed. One
/// whose store was restored has set aside those of before; they count all the same, and so do those of other gateways.
pub(super) fn held(reader: &Reader<'_>, site: &SiteId, gateway: &DeviceId) -> Result<Option<LeaseRow>, StoreError> {
    let restored = reader.epoch_begun_at(gateway)?;
    let is_held = |row: &LeaseRow| row.lease.is_for(gateway) && restored.is_none_or(|at| row.lease.granted_at > at);
    Ok(reader.leases_outstanding_at(site)?.into_iter().rev().find(is_held))
}

/// What the orders of a depot need that neither left nor stand released.
pub(super) fn needed_at(reader: &Reader<'_>, site: &SiteId) -> Result<LeaseUse, StoreError> {
    let mut open: Vec<(Order, Vec<LineQuantity>)> = Vec::new();
    for order in reader.orders()? {
        if order.site != *site || order.status != OrderStatus::Released {
            continue;
        }
        // How much of it is still to leave cannot be told without all of them.
        let Some(dispatches) = if_readable(reader.dispatches_of_order(&order.id))? else { continue };
        let rest = uncovered(&order, &dispatches);
        open.push((order, rest));
    }
    Ok(needs(open.iter().map(|(order, rest)| (order, rest.clone()))))
}

/// What of an order no dispatch has taken away or stands released with.
fn uncovered<I>(order: &Order, dispatches: &[(I, DispatchView)]) -> Vec<LineQuantity> {
    let mut rest = order.quantities();
    for (_, view) in dispatches {
        let covered = match (&view.departed, &view.release) {
            (Some(departed), _) => &departed.load,
            (None, Some(release)) if stands(view) => &release.load,
            _ => continue,
        };
        for taken in covered {
            if let Some(line) = rest.iter_mut().find(|line| line.line == taken.line) {
                line.quantity = line.quantity.saturating_sub(taken.quantity);
            }
        }
    }
    rest.retain(|line| line.quantity > 0);
    rest
}

fn stands(view: &DispatchView) -> bool {
    let here = matches!(view.state, DispatchState::Released | DispatchState::Loading | DispatchState::Loaded);
    here && !view.stop_departure
}

/// Whether the depot itself has said that the goods stay. The hub's own word is not enough: until the depot has
/// heard it, they may be leaving.
fn depot_took_it_back(reader: &Reader<'_>, id: &DocumentId, view: &DispatchView) -> Result<bool, StoreError> {
    let last = reader.decisions_of_dispatch(id)?.into_iter().next_back();
    let recalled = last.is_some_and(|decision| decision.record.kind == DecisionKind::Recall);
    Ok(view.state == DispatchState::Aborted || view.state == DispatchState::Cancelled && recalled)
}

/// Whether nothing leaves with a dispatch, by the word of its depot.
fn is_void(reader: &Reader<'_>, id: &DocumentId) -> Result<bool, StoreError> {
    let Some(view) = reader.dispatch_view(id)? else { return Ok(false) };
    Ok(view.departed.is_none() && depot_took_it_back(reader, id, &view)?)
}

/// All leases and all releases that may weigh, as the sum rule wants them; and the decision of each release.
pub(super) fn book(reader: &Reader<'_>) -> Result<(Book, Vec<DecisionId>), StoreError> {
    let loans = reader.leases_that_weigh()?.iter().map(Loan::from).collect();
    let (mut spendings, mut decisions) = (Vec::new(), Vec::new());
    let mut of_dispatch: BTreeMap<_, Vec<ReconItem>> = BTreeMap::new();
    for item in reader.recon_items_that_weigh()? {
        // A closed lease has no dispatch; its statement is in the lease's own row.
        if let Some(dispatch) = item.dispatch {
            of_dispatch.entry(dispatch).or_default().push(item);
        }
    }
    let mut orders: BTreeMap<OrderId, Option<Order>> = BTreeMap::new();
    for (dispatch, items) in of_dispatch {
        // Two releases of one dispatch share one departure: what the second needs beyond the first is all that
        // it was charged, so both are over, or issued, together.
        let issued_at = items.iter().filter_map(|item| item.issued_at).max();
        // One that cannot be read may be leaving, and weighs.
        let void = if_readable(is_void(reader, &dispatch))?.unwrap_or(false);
        for item in items {
            let (lease, used) = match (&item.charge, &item.order) {
                (Some(charge), _) => (Some(charge.lease.clone()), charge.used.clone()),
                (None, Some(id)) if item.edge.mode.is_some() => {
                    if !orders.contains_key(id) {
                        orders.insert(id.clone(), reader.order(id)?);
                    }
                    let Some(Some(order)) = orders.get(id) else { continue };
                    (None, LeaseUse::of(order, &item.edge.load))
                }
                _ => continue,
            };
            spendings.push(Spending { lease, site: item.site.clone(), used, issued_at, void });
            decisions.push(item.decision);
        }
    }
    Ok((Book { loans, spendings }, decisions))
}
