//! What the ERP says may be spent, with what it has taken off its figures for our own orders put back.
//!
//! In: the ERP's answers, and our orders as they were known before it was asked and after. Out: the figures that a lease is
//! cut from. An order is put back only as far as it was known both times: one that the ERP confirmed, cut or cancelled in
//! between may or may not be off the figure, and what is not put back is only not lent.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    id::{CustomerId, DeviceId, SiteId},
    sync::LedgerEpoch,
    time::UtcMs,
};

use super::GrantError;
use crate::{
    clock::Clock,
    core::{
        APART_MS,
        leases::{FIGURE_MAX_MS, Figures},
    },
    erp::{Caps, Connector, ErpError, counted, poll},
    store::{Reader, Store, StoreError},
};

/// The figure of a customer on whom nothing may be lent, whatever else is counted.
const CREDIT_OF_NOBODY: i64 = i64::MIN;

/// What the ERP said for one gateway of a depot.
pub(super) struct Asked {
    /// The depot and its gateway.
    pub(super) holder: (SiteId, DeviceId),
    /// In which life of the ledger.
    pub(super) life: LedgerEpoch,
    figures: Figures,
    caps: Caps,
    /// Our orders, as they were known before it was asked.
    before: OwnOrders,
    /// When all of it was said.
    at: UtcMs,
}

/// Amounts that the ERP may have taken off its figures for orders that are still to leave, order by order.
#[derive(Debug, Default)]
struct OwnOrders {
    credit_minor: BTreeMap<CustomerId, counted::ByOrder>,
    stock: counted::StockByOrder,
}

impl Asked {
    /// Asks the ERP what a gateway of a depot may be lent for these customers.
    pub(super) async fn of(
        store: &Store,
        connector: &dyn Connector,
        clock: &Clock,
        life: LedgerEpoch,
        holder: &(SiteId, DeviceId),
        customers: BTreeSet<CustomerId>,
    ) -> Result<Self, GrantError> {
        let site = &holder.0;
        let (caps, of) = (connector.caps(), (site.clone(), customers.clone()));
        let before = store.read(move |r| OwnOrders::known(r, &of.0, &of.1, caps)).await?;
        // Another replica posts what left, by its own clock.
        let read_at = clock.wall().plus(if store.is_shared() { -APART_MS } else { 0 });
        let mut credit_minor = BTreeMap::new();
        for customer in customers {
            let minor = credit_of(connector, &customer).await?;
            credit_minor.insert(customer, minor);
        }
        let stock = connector.stock(site).await?;
        let figures = Figures { read_at, credit_minor, stock };
        Ok(Self { holder: holder.clone(), life, figures, caps, before, at: clock.wall() })
    }

    /// Whether the ERP was asked too long ago to grant by what it said, or later than now: if the clock was set back,
    /// nobody knows how long ago.
    pub(super) fn is_too_old(&self, now: UtcMs) -> bool {
        !(0..=FIGURE_MAX_MS).contains(&now.since(self.figures.read_at))
    }

    /// Whether the orders were read by a read that began after the ERP had said all, if that matters. Of one that is
    /// dated ahead of `now` nobody knows when it began.
    pub(super) fn orders_are_read(
        &self,
        now: UtcMs,
    ) -> impl FnOnce(&Reader<'_>) -> Result<bool, StoreError> + Send + 'static + use<> {
        let (counts, at, latest) = (self.caps.counts_orders(), self.at, now.plus(APART_MS));
        move |reader| Ok(!counts || poll::read_at(reader)?.is_some_and(|read| read > at && read <= latest))
    }

    /// The figures, with our own orders put back. The orders are to be read by then.
    pub(super) fn figures(self, reader: &Reader<'_>) -> Result<Figures, StoreError> {
        let mut figures = self.figures;
        let customers = figures.credit_minor.keys().cloned().collect();
        let now = OwnOrders::known(reader, &self.holder.0, &customers, self.caps)?;
        self.before.also_in(&now).put_back(&mut figures);
        Ok(figures)
    }
}

impl OwnOrders {
    fn known(
        reader: &Reader<'_>,
        site: &SiteId,
        customers: &BTreeSet<CustomerId>,
        caps: Caps,
    ) -> Result<Self, StoreError> {
        let mut known = Self::default();
        for customer in customers.iter().filter(|_| caps.orders_in_credit) {
            known.credit_minor.insert(customer.clone(), counted::credit_by_order(reader, customer)?);
        }
        if caps.orders_in_stock {
            known.stock = counted::stock_by_order(reader, site)?;
        }
        Ok(known)
    }

    /// Of each order the less of both.
    fn also_in(self, other: &Self) -> Self {
        let of = |customer: &CustomerId| other.credit_minor.get(customer);
        let credit_minor = self.credit_minor.into_iter();
        Self {
            credit_minor: credit_minor.filter_map(|(c, orders)| Some((c.clone(), less(orders, of(&c)?)))).collect(),
            stock: less(self.stock, &other.stock),
        }
    }

    /// A customer on hold has no credit, whatever is put back.
    fn put_back(self, figures: &mut Figures) {
        for (customer, orders) in self.credit_minor {
            let figure = figures.credit_minor.get_mut(&customer).filter(|minor| **minor > CREDIT_OF_NOBODY);
            if let Some(minor) = figure {
                *minor = orders.into_values().fold(*minor, i64::saturating_add);
            }
        }
        for ((_, product), units) in self.stock {
            let free = figures.stock.entry(product).or_default();
            *free = free.saturating_add(units);
        }
    }
}

/// What is in both, and of that the less.
fn less<K: Ord>(one: BTreeMap<K, i64>, other: &BTreeMap<K, i64>) -> BTreeMap<K, i64> {
    let both = one.into_iter().filter_map(|(key, amount)| {
        let also = *other.get(&key)?;
        Some((key, amount.min(also)))
    });
    both.collect()
}

async fn credit_of(connector: &dyn Connector, customer: &CustomerId) -> Result<i64, ErpError> {
    match connector.customer(customer).await {
        Ok(customer) if customer.on_hold => Ok(CREDIT_OF_NOBODY),
        Ok(customer) => Ok(customer.headroom_minor()),
        // Nobody vouches for it, so nothing is lent on it.
        Err(ErpError::NotFound { .. }) => Ok(CREDIT_OF_NOBODY),
        Err(error) => Err(error),
    }
}
