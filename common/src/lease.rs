//! What a depot may decide while cut off.
//!
//! The hub signs a lease while the depot is connected: until when, how much value, how much credit
//! per customer, how much stock per product, and how old facts may be under it. Every release at
//! the edge uses its lease up, connected or not. What was not used comes back only by the depot's
//! signed statement or by a person's recorded write-off, never by expiry alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    gate::GateKind,
    id::{CustomerId, DeviceId, Hash32, LeaseId, ProductId, SiteId},
    order::{LineQuantity, Order},
    time::{Moment, UtcMs},
};

/// What the hub grants. It travels as [`crate::seal::Sealed`], signed by the hub. One that comes again under the same name
/// with a later end has been given more time; its slices are the same or larger, and what was used of them stays used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The depot it is for.
    pub site: SiteId,
    /// The gateway of that depot that may use it, and no other: two that used one lease would each use all of it. None in
    /// leases of before this was told; whichever gateway takes such a one uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// When it was first granted, by the hub's clock.
    pub granted_at: UtcMs,
    /// How long it lasts, in milliseconds of elapsed time from the moment the depot received it, or more time for it.
    pub lasts_ms: u64,
    /// The latest wall time at which it may be used, whatever the depot's clock has been doing.
    pub expires_at: UtcMs,
    /// Most value that may be released under it, in minor units.
    pub value_ceiling_minor: i64,
    /// Slice of each customer's credit, in minor units. A customer that is not here has none.
    pub credit_minor: BTreeMap<CustomerId, i64>,
    /// Units of each product held in escrow for this depot. A product that is not here has none.
    pub stock: BTreeMap<ProductId, u32>,
    /// How old facts may be under this lease, per gate, in milliseconds.
    pub age_limit_ms: BTreeMap<GateKind, u64>,
    /// The bundle whose rules it trusts.
    pub bundle: Hash32,
    /// When the ERP read behind its figures began.
    pub erp_read_at: UtcMs,
}

/// What was used of a lease: by one release, or by all releases so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeaseUse {
    /// Value, in minor units.
    pub value_minor: i64,
    /// Credit per customer, in minor units.
    pub credit_minor: BTreeMap<CustomerId, i64>,
    /// Units per product.
    pub stock: BTreeMap<ProductId, u32>,
}

impl Lease {
    /// Whether `device` may use it, as far as its name goes.
    #[must_use]
    pub fn is_for(&self, device: &DeviceId) -> bool {
        self.device.as_ref().is_none_or(|named| named == device)
    }
}

impl LeaseUse {
    /// What releasing `load` of `order` uses.
    #[must_use]
    pub fn of(order: &Order, load: &[LineQuantity]) -> Self {
        let value_minor = order.value_minor(load);
        let mut stock = BTreeMap::new();
        for line in load {
            let units: &mut u32 = stock.entry(line.product.clone()).or_default();
            *units = units.saturating_add(line.quantity);
        }
        Self { value_minor, credit_minor: BTreeMap::from([(order.customer.id.clone(), value_minor)]), stock }
    }

    /// Whether nothing is used.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.value_minor = self.value_minor.saturating_add(other.value_minor);
        for (customer, minor) in &other.credit_minor {
            let sum = self.credit_minor.entry(customer.clone()).or_default();
            *sum = sum.saturating_add(*minor);
        }
        for (product, units) in &other.stock {
            let sum = self.stock.entry(product.clone()).or_default();
            *sum = sum.saturating_add(*units);
        }
    }
}

/// Why a lease does not allow a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// There is none.
    #[error("no lease is held")]
    None,
    /// Its time is over.
    #[error("lease {0} has expired")]
    Expired(LeaseId),
    /// The machine was restarted and nothing trusted has confirmed its clock since.
    #[error("lease {0} is suspended until the clock is confirmed")]
    Suspended(LeaseId),
    /// Another site's.
    #[error("lease {0} is for another site")]
    OtherSite(LeaseId),
    /// The value ceiling would be passed.
    #[error("lease {lease} allows {left_minor} more in value, the load is worth {wanted_minor}")]
    Value {
        /// Which lease.
        lease: LeaseId,
        /// What is left, in minor units.
        left_minor: i64,
        /// What is wanted, in minor units.
        wanted_minor: i64,
    },
    /// The customer's slice would be passed.
    #[error("lease {lease} allows {left_minor} more credit for {customer}, the load is worth {wanted_minor}")]
    Credit {
        /// Which lease.
        lease: LeaseId,
        /// Whose slice.
        customer: CustomerId,
        /// What is left, in minor units.
        left_minor: i64,
        /// What is wanted, in minor units.
        wanted_minor: i64,
    },
    /// The escrow would be passed.
    #[error("lease {lease} holds {left} more {product}, the load needs {wanted}")]
    Stock {
        /// Which lease.
        lease: LeaseId,
        /// Which product.
        product: ProductId,
        /// Units left.
        left: u32,
        /// Units wanted.
        wanted: u32,
    },
}

/// A lease as a depot holds it: when it came, what of it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldLease {
    /// What the hub granted.
    pub lease: Lease,
    /// When it came.
    pub received: Moment,
    /// What all releases under it have used.
    pub used: LeaseUse,
    /// The last commit of the boot before this one and what was left then, in milliseconds, where that was known.
    #[serde(default)]
    pub left_before_boot: Option<(Moment, u64)>,
}

impl HeldLease {
    /// Milliseconds until it ends; `Ok(0)` never occurs.
    /// # Errors
    /// [`LeaseRefusal::Expired`], or [`LeaseRefusal::Suspended`] when elapsed time cannot be known.
    pub fn left_ms(&self, now: &Moment) -> Result<u64, LeaseRefusal> {
        let id = || self.lease.id.clone();
        let since_received = now.since(&self.received).map(|elapsed| self.lease.lasts_ms.saturating_sub(elapsed));
        let earlier = self.left_before_boot.as_ref().filter(|(at, _)| at.boot != now.boot);
        let since_boot = earlier.and_then(|(at, left)| Some(left.saturating_sub(now.since(at)?)));
        // Both count the same time. Where a clock was set in between, the less that is left is the safer.
        let left = since_received.into_iter().chain(since_boot).min();
        let by_elapsed = left.ok_or_else(|| LeaseRefusal::Suspended(id()))?;
        let by_wall = u64::try_from(self.lease.expires_at.since(now.wall)).unwrap_or(0);
        match by_elapsed.min(by_wall) {
            0 => Err(LeaseRefusal::Expired(id())),
            left => Ok(left),
        }
    }

    /// Whether a release that uses `wanted` is allowed at `site` now.
    /// # Errors
    /// The first [`LeaseRefusal`] that applies.
    pub fn admits(&self, site: &SiteId, wanted: &LeaseUse, now: &Moment) -> Result<(), LeaseRefusal> {
        let lease = &self.lease;
        if lease.site != *site {
            return Err(LeaseRefusal::OtherSite(lease.id.clone()));
        }
        self.left_ms(now)?;
        within(lease, &self.used, wanted)
    }
}

/// Whether `wanted` on top of `used` stays within every limit of `lease`, time aside.
/// # Errors
/// The first [`LeaseRefusal`] of value, credit or stock that applies.
pub fn within(lease: &Lease, used: &LeaseUse, wanted: &LeaseUse) -> Result<(), LeaseRefusal> {
    let left_minor = lease.value_ceiling_minor.saturating_sub(used.value_minor);
    if wanted.value_minor > left_minor {
        return Err(LeaseRefusal::Value { lease: lease.id.clone(), left_minor, wanted_minor: wanted.value_minor });
    }
    for (customer, minor) in &wanted.credit_minor {
        let slice = lease.credit_minor.get(customer).copied().unwrap_or(0);
        let left_minor = slice.saturating_sub(used.credit_minor.get(customer).copied().unwrap_or(0));
        if *minor > left_minor {
            return Err(LeaseRefusal::Credit {
                lease: lease.id.clone(),
                customer: customer.clone(),
                left_minor,
                wanted_minor: *minor,
            });
        }
    }
    for (product, units) in &wanted.stock {
        let escrow = lease.stock.get(product).copied().unwrap_or(0);
        let left = escrow.saturating_sub(used.stock.get(product).copied().unwrap_or(0));
        if *units > left {
            return Err(LeaseRefusal::Stock {
                lease: lease.id.clone(),
                product: product.clone(),
                left,
                wanted: *units,
            });
        }
    }
    Ok(())
}
