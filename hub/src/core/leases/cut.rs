//! What a new lease holds: what is needed, cut from what is free.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::{CustomerId, ProductId, SiteId},
    lease::{Lease, LeaseUse},
    order::{LineQuantity, Order},
    time::UtcMs,
};

use super::book::{Book, Pool};
use crate::core::APART_MS;

/// What the ERP said may be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// When the read began.
    pub read_at: UtcMs,
    /// Headroom per customer, in minor units; 0 for one on hold.
    pub credit_minor: BTreeMap<CustomerId, i64>,
    /// Units per product at the depot.
    pub stock: BTreeMap<ProductId, i64>,
}

/// How leases are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// Thousandths of each figure that are never lent.
    pub reserve_permille: u16,
    /// Thousandths of a customer's free credit that one lease gets at most, so that its successor and
    /// other depots find some too.
    pub credit_share_permille: u16,
    /// The same of a product's free stock at the depot.
    pub stock_share_permille: u16,
    /// How long a lease lasts, in milliseconds.
    pub lasts_ms: u64,
    /// Sum over all releases under one lease, in minor units.
    pub value_ceiling_minor: i64,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            reserve_permille: 100,
            credit_share_permille: 500,
            stock_share_permille: 800,
            lasts_ms: 24 * 3_600_000,
            value_ceiling_minor: 100_000_000,
        }
    }
}

/// What of `figure` may be put into a new lease when `committed` weighs on it already.
#[must_use]
pub fn available(figure: i64, committed: i64, policy: &LeasePolicy) -> i64 {
    lendable(figure, policy).saturating_sub(committed.max(0)).max(0)
}

/// What of `figure` may be lent at all.
fn lendable(figure: i64, policy: &LeasePolicy) -> i64 {
    figure.saturating_sub(permille(figure.max(0), policy.reserve_permille))
}

fn permille(amount: i64, permille: u16) -> i64 {
    let part = i128::from(amount) * i128::from(permille) / 1000;
    i64::try_from(part).unwrap_or(i64::MAX)
}

/// What the orders that a depot may still release need: value per customer, units per product.
#[must_use]
pub fn needs<'a>(open: impl IntoIterator<Item = (&'a Order, Vec<LineQuantity>)>) -> LeaseUse {
    let mut needs = LeaseUse::default();
    for (order, load) in open {
        needs.add(&LeaseUse::of(order, &load));
    }
    needs
}

/// The slices of a new lease for `site`: what it needs, never more than the rule allows.
#[must_use]
pub fn slices(
    book: &Book,
    site: &SiteId,
    needs: &LeaseUse,
    figures: &Figures,
    policy: &LeasePolicy,
    now: UtcMs,
) -> LeaseUse {
    let offer = |pool: &Pool, share_permille: u16, need: i64| {
        need.min(permille(free(pool, book, figures, policy, now), share_permille)).max(0)
    };
    let credit_minor = needs.credit_minor.iter().map(|(customer, need)| {
        let minor = offer(&Pool::Credit(customer.clone()), policy.credit_share_permille, *need);
        (customer.clone(), minor)
    });
    let stock = needs.stock.iter().map(|(product, need)| {
        let pool = Pool::Stock(site.clone(), product.clone());
        let units = offer(&pool, policy.stock_share_permille, i64::from(*need));
        (product.clone(), u32::try_from(units).unwrap_or(u32::MAX))
    });
    LeaseUse { value_minor: policy.value_ceiling_minor, credit_minor: credit_minor.collect(), stock: stock.collect() }
}

/// What of a pool may still be lent, beside all that weighs on it.
fn free(pool: &Pool, book: &Book, figures: &Figures, policy: &LeasePolicy, now: UtcMs) -> i64 {
    available(figure(pool, figures), book.committed(pool, figures.read_at, now).sum(), policy)
}

/// What the ERP said of a pool; nothing if it was not asked.
fn figure(pool: &Pool, figures: &Figures) -> i64 {
    let figure = match pool {
        Pool::Credit(customer) => figures.credit_minor.get(customer),
        Pool::Stock(_, product) => figures.stock.get(product),
    };
    figure.copied().unwrap_or(0)
}

/// What a depot is to be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: what it holds is good, or nothing better can be given.
    Nothing,
    /// A lease of its own, in whose favour it closes the one it holds.
    Lease,
    /// More time for the lease it holds, and more in it of what is needed beyond what is left.
    Time,
}

/// For how many times its length a lease gets more time.
const TIMES_MAX: i64 = 7;

/// What the depot is to be given now, given the lease it holds and what is used of it. `keeps` says whether that lease
/// [`still_fits`].
///
/// A successor that holds less of something needed than is left would take away instead of giving, since a depot
/// closes the old lease when the new one arrives. It cannot hold more than is free beside the old one, so who is lent
/// more than half of a figure gets more time instead: or nothing could be decided there between the end of the one and
/// the next, and a depot that is cut off shortly before the end would soon have none. Where more is needed of something
/// else, it gets that with it, and at once: one scarce pool must not keep it from what is there of all others.
///
/// After [`TIMES_MAX`] times its length a lease gets nothing any more and ends: what it set aside for what is not needed
/// any more is free then, and so is the book of all that was used under it.
#[must_use]
pub fn due(
    held: Option<(&Lease, &LeaseUse)>,
    needs: &LeaseUse,
    offer: &LeaseUse,
    keeps: bool,
    renew_after_ms: u64,
    now: UtcMs,
) -> Due {
    // One that begins later than now was granted while the clock was ahead: its holder counts its length, and it is over
    // there long before the day that stands here.
    let begun =
        |lease: &Lease| lease.expires_at.plus(i64::try_from(lease.lasts_ms).unwrap_or(i64::MAX).saturating_neg());
    let counts = |lease: &Lease| lease.expires_at > now && begun(lease).since(now) <= APART_MS;
    let Some((lease, used)) = held.filter(|(lease, _)| counts(lease)) else { return Due::Lease };
    let left = |slice: i64, used: i64| slice.saturating_sub(used).max(0);
    // For each thing needed: what is needed, what is left of it, what the successor would hold.
    let credit = needs.credit_minor.iter().map(|(customer, need)| {
        let slice = lease.credit_minor.get(customer).copied().unwrap_or(0);
        let used = used.credit_minor.get(customer).copied().unwrap_or(0);
        (*need, left(slice, used), offer.credit_minor.get(customer).copied().unwrap_or(0))
    });
    let stock = needs.stock.iter().map(|(product, need)| {
        let slice = lease.stock.get(product).copied().unwrap_or(0);
        let used = used.stock.get(product).copied().unwrap_or(0);
        let offered = offer.stock.get(product).copied().unwrap_or(0);
        (i64::from(*need), left(i64::from(slice), i64::from(used)), i64::from(offered))
    });
    let things: Vec<(i64, i64, i64)> = credit.chain(stock).collect();
    let gives_less = things.iter().any(|(need, left, offered)| offered < left.min(need));
    let gives_more = things.iter().any(|(need, left, offered)| left < need && offered > left);
    let lasts = i64::try_from(lease.lasts_ms).unwrap_or(i64::MAX);
    let is_old = u64::try_from(now.since(begun(lease))).unwrap_or(0) > renew_after_ms.min(lease.lasts_ms / 3);
    let is_worn = now.since(lease.granted_at) > lasts.saturating_mul(TIMES_MAX);
    match (gives_less, is_old) {
        (false, _) if gives_more || is_old => Due::Lease,
        (true, _) if keeps && !is_worn && (gives_more || is_old) => Due::Time,
        _ => Due::Nothing,
    }
}

/// Whether what `lease` sets aside would still be within the rule, were it granted by these figures: everything that
/// weighs on each of its pools, itself included, is within the figure less its reserve.
#[must_use]
pub fn still_fits(lease: &Lease, book: &Book, figures: &Figures, policy: &LeasePolicy, now: UtcMs) -> bool {
    let fits =
        |pool: &Pool| book.committed(pool, figures.read_at, now).sum() <= lendable(figure(pool, figures), policy);
    let mut credit = lease.credit_minor.iter().filter(|(_, minor)| **minor > 0);
    let mut stock = lease.stock.iter().filter(|(_, units)| **units > 0);
    credit.all(|(customer, _)| fits(&Pool::Credit(customer.clone())))
        && stock.all(|(product, _)| fits(&Pool::Stock(lease.site.clone(), product.clone())))
}

/// A lease of which so much is used, with more time: under the same name, so that what was used of it stays used. Of value
/// as much is allowed again as under a new one. Its slices grow by what is needed beyond what is left, out of what is free
/// beside it. None gets smaller: the depot may use all of it until this version comes, and the hub weighs the newest.
#[must_use]
pub fn renewed(
    (lease, used): (&Lease, &LeaseUse),
    needs: &LeaseUse,
    book: &Book,
    figures: &Figures,
    policy: &LeasePolicy,
    now: UtcMs,
) -> Lease {
    let mut longer = Lease {
        lasts_ms: policy.lasts_ms,
        expires_at: now.plus(i64::try_from(policy.lasts_ms).unwrap_or(i64::MAX)),
        value_ceiling_minor: used.value_minor.saturating_add(policy.value_ceiling_minor),
        erp_read_at: figures.read_at,
        ..lease.clone()
    };
    for (customer, need) in &needs.credit_minor {
        let slice = lease.credit_minor.get(customer).copied().unwrap_or(0);
        let used = used.credit_minor.get(customer).copied().unwrap_or(0);
        let free = free(&Pool::Credit(customer.clone()), book, figures, policy, now);
        let more = growth(slice, used, *need, free, policy.credit_share_permille);
        if more > 0 {
            longer.credit_minor.insert(customer.clone(), slice.saturating_add(more));
        }
    }
    for (product, need) in &needs.stock {
        let slice = i64::from(lease.stock.get(product).copied().unwrap_or(0));
        let used = i64::from(used.stock.get(product).copied().unwrap_or(0));
        let free = free(&Pool::Stock(lease.site.clone(), product.clone()), book, figures, policy, now);
        let more = growth(slice, used, i64::from(*need), free, policy.stock_share_permille);
        if more > 0 {
            let units = u32::try_from(slice.saturating_add(more)).unwrap_or(u32::MAX);
            longer.stock.insert(product.clone(), units);
        }
    }
    longer
}

/// By how much a slice grows. What is left of it then is at most the share that a new lease would get if the old one were
/// given back: else it would take a share of the rest at each look, until nothing is there for other depots. And however
/// much is used of it, no more than is free beside it.
fn growth(slice: i64, used: i64, need: i64, free: i64, share_permille: u16) -> i64 {
    let left = slice.saturating_sub(used).max(0);
    let wanted = need.min(permille(free.saturating_add(left), share_permille));
    used.saturating_add(wanted).saturating_sub(slice).min(free).max(0)
}
