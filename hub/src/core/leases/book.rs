//! What weighs on a figure: leases and releases, as far as the figure does not include them.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    id::{CustomerId, LeaseId, ProductId, SiteId},
    lease::{Lease, LeaseUse},
    time::UtcMs,
};

/// A lease and what is known of its use.
#[derive(Debug, Clone, PartialEq)]
pub struct Loan {
    /// What was granted.
    pub lease: Lease,
    /// What the depot stated when it closed it; none while it is outstanding.
    pub stated: Option<LeaseUse>,
}

/// A release that the hub knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The lease it used; none for an override without one.
    pub lease: Option<LeaseId>,
    /// At which depot.
    pub site: SiteId,
    /// What it used.
    pub used: LeaseUse,
    /// When the ERP had confirmed that the goods left; none before.
    pub issued_at: Option<UtcMs>,
    /// Whether it was taken back: its goods never left and never will.
    pub void: bool,
}

/// All leases and releases that may still weigh on a figure.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Every lease.
    pub loans: Vec<Loan>,
    /// Every release.
    pub spendings: Vec<Spending>,
}

/// What weighs on no figure any more, and never will.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Leases.
    pub loans: Vec<LeaseId>,
    /// Places among the book's releases.
    pub spendings: Vec<usize>,
}

/// One thing that is lent out of: a customer's credit, or a product's stock at a depot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pool {
    /// A customer's credit, in minor units, over all depots.
    Credit(CustomerId),
    /// Units of a product at one depot.
    Stock(SiteId, ProductId),
}

impl Pool {
    fn of_use(&self, site: &SiteId, used: &LeaseUse) -> i64 {
        match self {
            // A device may state anything: less than nothing would make room for others.
            Self::Credit(customer) => used.credit_minor.get(customer).copied().unwrap_or(0).max(0),
            Self::Stock(at, product) if at == site => i64::from(used.stock.get(product).copied().unwrap_or(0)),
            Self::Stock(..) => 0,
        }
    }

    fn of_lease(&self, lease: &Lease) -> i64 {
        match self {
            Self::Credit(customer) => lease.credit_minor.get(customer).copied().unwrap_or(0),
            Self::Stock(at, product) if *at == lease.site => i64::from(lease.stock.get(product).copied().unwrap_or(0)),
            Self::Stock(..) => 0,
        }
    }
}

/// What weighs on a figure, by the three terms of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Slices of leases in force, less what the ERP's figure already includes.
    pub outstanding: i64,
    /// Slices of leases that ran out without a statement, less what the figure already includes.
    pub expired_unreported: i64,
    /// Releases of closed leases, or of none, that the figure does not include yet.
    pub unseen: i64,
}

impl Committed {
    /// All three.
    #[must_use]
    pub fn sum(&self) -> i64 {
        self.outstanding.saturating_add(self.expired_unreported).saturating_add(self.unseen)
    }
}

/// What was used of a pool under one lease.
#[derive(Default)]
struct Uses {
    all: i64,
    /// Of that, what the figure includes.
    seen: i64,
    /// Of that, what was taken back before the figure included it.
    void: i64,
}

impl Uses {
    fn add(&mut self, amount: i64, is_seen: bool, is_void: bool) {
        self.all = self.all.saturating_add(amount);
        if is_seen {
            self.seen = self.seen.saturating_add(amount);
        } else if is_void {
            self.void = self.void.saturating_add(amount);
        }
    }
}

impl Book {
    /// What weighs on `pool` against a figure of a read that began at `read_at`.
    #[must_use]
    pub fn committed(&self, pool: &Pool, read_at: UtcMs, now: UtcMs) -> Committed {
        let mut committed = Committed::default();
        // Once over all that was used, however many leases there are.
        let mut uses: BTreeMap<&LeaseId, Uses> =
            self.loans.iter().map(|loan| (&loan.lease.id, Uses::default())).collect();
        for spending in &self.spendings {
            let (amount, is_seen) = (pool.of_use(&spending.site, &spending.used), spending.is_seen(read_at));
            match spending.lease.as_ref().and_then(|lease| uses.get_mut(lease)) {
                Some(uses) => uses.add(amount, is_seen, spending.void),
                None if !is_seen && !spending.void => committed.unseen = committed.unseen.saturating_add(amount),
                None => {}
            }
        }
        for loan in &self.loans {
            let Some(uses) = uses.get(&loan.lease.id) else { continue };
            match &loan.stated {
                // The depot may use the rest of the slice at any time; what the figure includes is no longer on top of it.
                None => {
                    let weight = pool.of_lease(&loan.lease).max(uses.all).saturating_sub(uses.seen).max(0);
                    if loan.lease.expires_at > now {
                        committed.outstanding = committed.outstanding.saturating_add(weight);
                    } else {
                        committed.expired_unreported = committed.expired_unreported.saturating_add(weight);
                    }
                }
                Some(stated) => {
                    let stated = pool.of_use(&loan.lease.site, stated).max(uses.all);
                    let weight = stated.saturating_sub(uses.seen).saturating_sub(uses.void).max(0);
                    committed.unseen = committed.unseen.saturating_add(weight);
                }
            }
        }
        committed
    }
}

impl Book {
    /// What may leave the book: stated leases whose use is all either included in every figure that was read at
    /// `read_at` or later, or taken back; and releases that are so and belong to no other lease. Figures that were read
    /// before `read_at` must not be used with a book that these have left.
    #[must_use]
    pub fn settled(&self, read_at: UtcMs) -> Settled {
        let is_over = |s: &&Spending| s.void || s.is_seen(read_at);
        let mut under: BTreeMap<&LeaseId, Vec<&Spending>> = BTreeMap::new();
        for (lease, spending) in self.spendings.iter().filter_map(|s| s.lease.as_ref().map(|lease| (lease, s))) {
            under.entry(lease).or_default().push(spending);
        }
        let mut settled = Settled::default();
        let mut stay: BTreeSet<&LeaseId> = BTreeSet::new();
        for loan in &self.loans {
            let of_this = under.get(&loan.lease.id).map_or(&[][..], Vec::as_slice);
            let mut known = LeaseUse::default();
            of_this.iter().copied().filter(is_over).for_each(|s| known.add(&s.used));
            let all_over = of_this.iter().copied().all(|s| is_over(&s));
            // What the depot used beyond what it told weighs until it is told, or for ever.
            let is_settled = all_over && loan.stated.as_ref().is_some_and(|stated| covers(&known, stated));
            if is_settled {
                settled.loans.push(loan.lease.id.clone());
            } else {
                stay.insert(&loan.lease.id);
            }
        }
        let leaves = |s: &Spending| is_over(&s) && s.lease.as_ref().is_none_or(|lease| !stay.contains(lease));
        settled.spendings = (0..self.spendings.len()).filter(|n| leaves(&self.spendings[*n])).collect();
        settled
    }
}

/// Whether of everything that is limited by amount `known` is at least `stated`.
#[must_use]
pub fn covers(known: &LeaseUse, stated: &LeaseUse) -> bool {
    let credit = stated.credit_minor.iter().all(|(c, minor)| known.credit_minor.get(c).copied().unwrap_or(0) >= *minor);
    let stock = stated.stock.iter().all(|(p, units)| known.stock.get(p).copied().unwrap_or(0) >= *units);
    credit && stock
}

impl Spending {
    /// Only a read that began after the posting was confirmed is sure to include it.
    fn is_seen(&self, read_at: UtcMs) -> bool {
        self.issued_at.is_some_and(|issued| issued < read_at)
    }
}
