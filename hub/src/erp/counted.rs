//! What an ERP's figures already hold of our own orders, so that no order counts against itself.
//!
//! Some ERPs take a confirmed order off a customer's credit, or off the stock, before it leaves. What we ask the
//! figure for is room for those very orders, so they are added back until their goods issue is confirmed: from then
//! on the figure is right as it is.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::{LineQuantity, Order, OrderStatus},
};

use crate::store::{Reader, ReconFilter, StoreError, if_readable};

/// An amount of each order.
pub type ByOrder = BTreeMap<OrderId, i64>;
/// Units of each order and product.
pub type StockByOrder = BTreeMap<(OrderId, ProductId), i64>;

/// The value of a customer's orders that have not been issued, in minor units.
/// # Errors
/// [`StoreError::Damaged`] if something of them cannot be read.
pub fn credit_held(reader: &Reader<'_>, customer: &CustomerId) -> Result<i64, StoreError> {
    Ok(credit_by_order(reader, customer)?.into_values().fold(0, i64::saturating_add))
}

/// The value of each of a customer's orders as far as it has not been issued, in minor units.
/// # Errors
/// [`StoreError::Damaged`] if something of them cannot be read.
pub fn credit_by_order(reader: &Reader<'_>, customer: &CustomerId) -> Result<ByOrder, StoreError> {
    let mut held = ByOrder::new();
    for order in reader.orders_of_customer(customer)? {
        let minor = order.value_minor(&not_issued(reader, &order)?);
        held.insert(order.id, minor);
    }
    Ok(held)
}

/// Units per product of each of a depot's orders as far as they have not been issued.
/// # Errors
/// [`StoreError::Damaged`] if something of them cannot be read.
pub fn stock_by_order(reader: &Reader<'_>, site: &SiteId) -> Result<StockByOrder, StoreError> {
    let mut held = StockByOrder::new();
    for order in reader.orders()?.iter().filter(|order| order.site == *site) {
        for line in not_issued(reader, order)? {
            let sum = held.entry((order.id.clone(), line.product)).or_default();
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
    // What of it has left cannot be told otherwise: nothing of it is put back, and the ERP's news go on.
    let Some(dispatches) = if_readable(reader.dispatches_of_order(&order.id))? else { return Ok(Vec::new()) };
    for (id, view) in dispatches {
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
