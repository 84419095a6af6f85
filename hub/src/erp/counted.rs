//! What an ERP's figures already hold of our own orders, so that no order counts against itself.
//!
//! Some ERPs take a confirmed order off a customer's credit, or off the stock, before it leaves. What we ask the
//! figure for is room for those very orders, so they are added back until their goods issue is confirmed: from then
//! on the figure is right as it is.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::{CustomerId, ProductId, SiteId},
    order::{LineQuantity, Order, OrderStatus},
};

use crate::store::{Reader, ReconFilter, StoreError};

/// The value of a customer's orders that have not been issued, in minor units.
/// # Errors
/// [`StoreError::Damaged`] if something of them cannot be read.
pub fn credit_held(reader: &Reader<'_>, customer: &CustomerId) -> Result<i64, StoreError> {
    let mut held: i64 = 0;
    for order in reader.orders_of_customer(customer)? {
        held = held.saturating_add(order.value_minor(&not_issued(reader, &order)?));
    }
    Ok(held)
}

/// Units per product of a depot's orders that have not been issued.
/// # Errors
/// [`StoreError::Damaged`] if something of them cannot be read.
pub fn stock_held(reader: &Reader<'_>, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, StoreError> {
    let mut held: BTreeMap<ProductId, i64> = BTreeMap::new();
    for order in reader.orders()?.iter().filter(|order| order.site == *site) {
        for line in not_issued(reader, order)? {
            let sum = held.entry(line.product).or_default();
            *sum = sum.saturating_add(i64::from(line.quantity));
        }
    }
    Ok(held)
}

fn not_issued(reader: &Reader<'_>, order: &Order) -> Result<Vec<LineQuantity>, StoreError> {
    if order.status != OrderStatus::Released {
        return Ok(Vec::new());
    }
    let mut rest = order.quantities();
    let items = reader.recon_items(&ReconFilter { order: Some(order.id.clone()), ..ReconFilter::default() })?;
    for (id, view) in reader.dispatches_of_order(&order.id)? {
        let is_issued = items.iter().any(|item| item.dispatch == Some(id) && item.issued_at.is_some());
        for left in view.departed.iter().filter(|_| is_issued).flat_map(|departed| &departed.load) {
            if let Some(line) = rest.iter_mut().find(|line| line.line == left.line) {
                line.quantity = line.quantity.saturating_sub(left.quantity);
            }
        }
    }
    rest.retain(|line| line.quantity > 0);
    Ok(rest)
}
