//! How much a depot may be lent: the sum rule for leases.
//!
//! In: what the ERP says may be spent, every lease, every release known. Out: what a new lease may
//! hold. For each customer's credit and each product's stock at a depot, what is lent and what was
//! spent unseen never exceed the ERP's figure less a reserve. A slice comes back only by the depot's
//! signed statement, never by expiry alone. Never reads the clock, the network or the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use gatehouse_common::{
    id::{CustomerId, LeaseId, ProductId, SiteId},
    lease::{Lease, LeaseUse},
    order::{LineQuantity, Order},
    seal::Sealed,
    time::UtcMs,
};

/// Where a lease stands at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Granted, and the depot has not stated its use. It counts whole, expired or not.
    Outstanding,
    /// The depot has stated its use, or a person wrote it off; only what was used counts.
    Closed,
}

impl LeaseState {
    /// The word for it on pages and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outstanding => "outstanding",
            Self::Closed => "closed",
        }
    }
}

/// A lease as the hub keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// What was granted.
    pub lease: Lease,
    /// The same, as it travels.
    pub sealed: Sealed,
    /// Where it stands.
    pub state: LeaseState,
    /// What decisions known to the hub have used of it; once closed, what the depot stated.
    pub used: LeaseUse,
    /// When the depot's statement was read; none before.
    pub closed_at: Option<UtcMs>,
}

impl From<&LeaseRow> for Loan {
    fn from(row: &LeaseRow) -> Self {
        let stated = (row.state == LeaseState::Closed).then(|| row.used.clone());
        Self { lease: row.lease.clone(), stated }
    }
}

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
            Self::Credit(customer) => used.credit_minor.get(customer).copied().unwrap_or(0),
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

impl Book {
    /// What weighs on `pool` against a figure of a read that began at `read_at`.
    #[must_use]
    pub fn committed(&self, pool: &Pool, read_at: UtcMs, now: UtcMs) -> Committed {
        let mut committed = Committed::default();
        let known: BTreeSet<&LeaseId> = self.loans.iter().map(|l| &l.lease.id).collect();
        for loan in &self.loans {
            let of_this = |s: &&Spending| s.lease.as_ref() == Some(&loan.lease.id);
            let sum = |wanted: &dyn Fn(&Spending) -> bool| {
                let matching = self.spendings.iter().filter(of_this).filter(|s| wanted(s));
                matching.map(|s| pool.of_use(&s.site, &s.used)).fold(0, i64::saturating_add)
            };
            let used = sum(&|_| true);
            let seen = sum(&|s| s.is_seen(read_at));
            match &loan.stated {
                // The depot may use the rest of the slice at any time; what the figure includes is no longer on top of it.
                None => {
                    let weight = pool.of_lease(&loan.lease).max(used).saturating_sub(seen).max(0);
                    if loan.lease.expires_at > now {
                        committed.outstanding = committed.outstanding.saturating_add(weight);
                    } else {
                        committed.expired_unreported = committed.expired_unreported.saturating_add(weight);
                    }
                }
                Some(stated) => {
                    let void = sum(&|s| s.void && !s.is_seen(read_at));
                    let stated = pool.of_use(&loan.lease.site, stated).max(used);
                    let weight = stated.saturating_sub(seen).saturating_sub(void).max(0);
                    committed.unseen = committed.unseen.saturating_add(weight);
                }
            }
        }
        for spending in &self.spendings {
            let has_loan = spending.lease.as_ref().is_some_and(|id| known.contains(id));
            if !has_loan && !spending.void && !spending.is_seen(read_at) {
                let weight = pool.of_use(&spending.site, &spending.used);
                committed.unseen = committed.unseen.saturating_add(weight);
            }
        }
        committed
    }
}

impl Spending {
    /// Only a read that began after the posting was confirmed is sure to include it.
    fn is_seen(&self, read_at: UtcMs) -> bool {
        self.issued_at.is_some_and(|issued| issued < read_at)
    }
}

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
    let reserve = permille(figure.max(0), policy.reserve_permille);
    figure.saturating_sub(reserve).saturating_sub(committed.max(0)).max(0)
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
    let offer = |pool: &Pool, figure: Option<&i64>, share_permille: u16, need: i64| {
        let committed = book.committed(pool, figures.read_at, now).sum();
        let free = available(figure.copied().unwrap_or(0), committed, policy);
        need.min(permille(free, share_permille)).max(0)
    };
    let credit_minor = needs.credit_minor.iter().map(|(customer, need)| {
        let pool = Pool::Credit(customer.clone());
        let minor = offer(&pool, figures.credit_minor.get(customer), policy.credit_share_permille, *need);
        (customer.clone(), minor)
    });
    let stock = needs.stock.iter().map(|(product, need)| {
        let pool = Pool::Stock(site.clone(), product.clone());
        let units = offer(&pool, figures.stock.get(product), policy.stock_share_permille, i64::from(*need));
        (product.clone(), u32::try_from(units).unwrap_or(u32::MAX))
    });
    LeaseUse { value_minor: policy.value_ceiling_minor, credit_minor: credit_minor.collect(), stock: stock.collect() }
}

/// Whether the depot should get a new lease now, given the one it holds and what that one has left.
///
/// A successor that holds less of something needed than is left would take away instead of giving, since a depot
/// closes the old lease when the new one arrives; then the old one is kept while it lasts.
#[must_use]
pub fn is_due(
    held: Option<(&Lease, &LeaseUse)>,
    needs: &LeaseUse,
    offer: &LeaseUse,
    renew_after_ms: u64,
    now: UtcMs,
) -> bool {
    let Some((lease, used)) = held.filter(|(lease, _)| lease.expires_at > now) else { return true };
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
    let is_old = u64::try_from(now.since(lease.granted_at)).unwrap_or(0) > renew_after_ms.min(lease.lasts_ms / 3);
    !gives_less && (gives_more || is_old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::id::Hash32;

    const LIMIT: i64 = 10_000;

    /// A small random stream; the seed is in the failure message.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, below: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % below.max(1)
        }
    }

    fn customer() -> CustomerId {
        CustomerId::new("C1").unwrap()
    }

    fn credit(minor: i64) -> LeaseUse {
        LeaseUse { value_minor: minor, credit_minor: BTreeMap::from([(customer(), minor)]), stock: BTreeMap::new() }
    }

    fn lease(n: u64, site: &str, minor: i64, now: UtcMs) -> Lease {
        Lease {
            id: LeaseId::new(format!("L{n}")).unwrap(),
            site: SiteId::new(site).unwrap(),
            granted_at: now,
            lasts_ms: 50,
            expires_at: now.plus(50),
            value_ceiling_minor: i64::MAX,
            credit_minor: BTreeMap::from([(customer(), minor)]),
            stock: BTreeMap::new(),
            age_limit_ms: BTreeMap::new(),
            bundle: Hash32::ZERO,
            erp_read_at: now,
        }
    }

    /// Two depots, one customer, one ERP. `truth` is what the depots really did; the book is what the hub knows.
    struct World {
        dice: Dice,
        now: UtcMs,
        book: Book,
        /// Uses at the depots that the hub has not heard of, by lease.
        unreported: Vec<(usize, Spending)>,
        /// Per lease, what its depot really used.
        really_used: Vec<i64>,
        exposure: i64,
        figures: Figures,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let credit_minor = BTreeMap::from([(customer(), LIMIT)]);
            Self {
                dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
                now: UtcMs(1),
                book: Book::default(),
                unreported: Vec::new(),
                really_used: Vec::new(),
                exposure: 0,
                figures: Figures { read_at: UtcMs(0), credit_minor, stock: BTreeMap::new() },
            }
        }

        fn step(&mut self, weigh: fn(&Committed) -> i64) {
            self.now = self.now.plus(1 + self.dice.roll(20) as i64);
            match self.dice.roll(7) {
                0 => self.grant(weigh),
                1 | 2 => self.release(),
                3 => self.report(),
                4 => self.issue(),
                5 => {
                    self.figures.read_at = self.now;
                    self.figures.credit_minor.insert(customer(), LIMIT - self.exposure);
                }
                _ => self.state(),
            }
        }

        fn grant(&mut self, weigh: fn(&Committed) -> i64) {
            let policy = LeasePolicy { reserve_permille: 0, ..LeasePolicy::default() };
            let committed = self.book.committed(&Pool::Credit(customer()), self.figures.read_at, self.now);
            let free = available(self.figures.credit_minor[&customer()], weigh(&committed), &policy);
            let slice = self.dice.roll(free as u64 + 1) as i64;
            let site = if self.dice.roll(2) == 0 { "D1" } else { "D2" };
            let n = self.book.loans.len() as u64;
            self.book.loans.push(Loan { lease: lease(n, site, slice, self.now), stated: None });
            self.really_used.push(0);
        }

        fn release(&mut self) {
            if self.book.loans.is_empty() {
                return;
            }
            let n = self.dice.roll(self.book.loans.len() as u64) as usize;
            let loan = &self.book.loans[n];
            if loan.stated.is_some() || loan.lease.expires_at <= self.now {
                return;
            }
            let left = loan.lease.credit_minor[&customer()] - self.really_used[n];
            let minor = self.dice.roll(left as u64 + 1) as i64;
            self.really_used[n] += minor;
            let spending = Spending {
                lease: Some(loan.lease.id.clone()),
                site: loan.lease.site.clone(),
                used: credit(minor),
                issued_at: None,
                void: false,
            };
            self.unreported.push((n, spending));
        }

        fn report(&mut self) {
            if !self.unreported.is_empty() {
                let (_, spending) = self.unreported.remove(0);
                self.book.spendings.push(spending);
            }
        }

        fn issue(&mut self) {
            let now = self.now;
            if let Some(spending) = self.book.spendings.iter_mut().find(|s| s.issued_at.is_none()) {
                spending.issued_at = Some(now);
                self.exposure += spending.used.value_minor;
            }
        }

        /// A depot closes a lease; all it did under it came before, in the same chain.
        fn state(&mut self) {
            let open = self.book.loans.iter().position(|l| l.stated.is_none());
            let Some(n) = open.filter(|_| self.dice.roll(3) == 0) else { return };
            while self.unreported.iter().any(|(of, _)| *of == n) {
                self.report();
            }
            self.book.loans[n].stated = Some(credit(self.really_used[n]));
        }

        /// The most that could still come to be owed if every depot used all it may.
        fn worst_case(&self) -> i64 {
            let issued = self.exposure;
            let released: i64 = self.unreported.iter().map(|(_, s)| s.used.value_minor).sum::<i64>()
                + self.book.spendings.iter().filter(|s| s.issued_at.is_none()).map(|s| s.used.value_minor).sum::<i64>();
            let usable: i64 = (0..self.book.loans.len())
                .filter(|n| self.book.loans[*n].stated.is_none() && self.book.loans[*n].lease.expires_at > self.now)
                .map(|n| self.book.loans[n].lease.credit_minor[&customer()] - self.really_used[n])
                .sum();
            issued + released + usable
        }
    }

    fn worlds_over_the_limit(weigh: fn(&Committed) -> i64) -> Vec<u64> {
        (1..=500)
            .filter(|seed| {
                let mut world = World::new(*seed);
                (0..120).any(|_| {
                    world.step(weigh);
                    world.worst_case() > LIMIT
                })
            })
            .collect()
    }

    #[test]
    fn whatever_the_depots_do_the_customer_never_owes_more_than_the_limit() {
        assert_eq!(worlds_over_the_limit(Committed::sum), Vec::<u64>::new());
    }

    #[test]
    fn with_any_term_of_the_rule_dropped_some_world_goes_over_the_limit() {
        assert!(!worlds_over_the_limit(|c| c.expired_unreported + c.unseen).is_empty(), "outstanding");
        assert!(!worlds_over_the_limit(|c| c.outstanding + c.unseen).is_empty(), "expired, unreported");
        assert!(!worlds_over_the_limit(|c| c.outstanding + c.expired_unreported).is_empty(), "unseen");
    }

    #[test]
    fn a_lease_that_ran_out_gives_nothing_back_until_the_depot_states_its_use() {
        let granted = lease(1, "D1", 4_000, UtcMs(0));
        let mut book = Book { loans: vec![Loan { lease: granted, stated: None }], spendings: Vec::new() };
        let pool = Pool::Credit(customer());
        assert_eq!(book.committed(&pool, UtcMs(0), UtcMs(10)).outstanding, 4_000);
        assert_eq!(book.committed(&pool, UtcMs(0), UtcMs(99)).expired_unreported, 4_000);
        book.loans[0].stated = Some(credit(1_500));
        assert_eq!(book.committed(&pool, UtcMs(0), UtcMs(99)), Committed { unseen: 1_500, ..Committed::default() });
    }

    #[test]
    fn a_release_leaves_the_sum_only_with_a_read_that_began_after_its_posting_was_confirmed() {
        let spending = Spending {
            lease: None,
            site: SiteId::new("D1").unwrap(),
            used: credit(700),
            issued_at: Some(UtcMs(50)),
            void: false,
        };
        let book = Book { loans: Vec::new(), spendings: vec![spending] };
        let pool = Pool::Credit(customer());
        assert_eq!(book.committed(&pool, UtcMs(50), UtcMs(60)).sum(), 700);
        assert_eq!(book.committed(&pool, UtcMs(51), UtcMs(60)).sum(), 0);
    }

    #[test]
    fn a_successor_that_holds_less_than_is_left_is_not_granted_while_the_old_lease_lasts() {
        let held = lease(1, "D1", 4_000, UtcMs(0));
        let unused = LeaseUse::default();
        assert!(!is_due(Some((&held, &unused)), &credit(4_000), &credit(3_000), 1_000, UtcMs(40)));
        assert!(is_due(Some((&held, &unused)), &credit(4_000), &credit(4_000), 1_000, UtcMs(40)));
        assert!(is_due(Some((&held, &credit(3_900))), &credit(4_000), &credit(3_000), 1_000, UtcMs(5)));
        assert!(is_due(Some((&held, &unused)), &credit(4_000), &credit(0), 1_000, UtcMs(51)));
    }

    fn pallets(units: u32) -> (Pool, LeaseUse) {
        let product = ProductId::new("PALLET").unwrap();
        let used = LeaseUse { stock: BTreeMap::from([(product.clone(), units)]), ..LeaseUse::default() };
        (Pool::Stock(SiteId::new("D1").unwrap(), product), used)
    }

    fn all_of_it() -> LeasePolicy {
        LeasePolicy { reserve_permille: 0, ..LeasePolicy::default() }
    }

    #[test]
    fn row_19_what_a_depot_took_and_what_the_erp_received_both_count_as_changes_of_the_stock() {
        let (pool, used) = pallets(10);
        let site = SiteId::new("D1").unwrap();
        let taken = Spending { lease: None, site, used, issued_at: None, void: false };
        let mut book = Book { loans: Vec::new(), spendings: vec![taken] };
        // Of 90 the depot took 10 while cut off; the ERP, which has not heard of it, received 20.
        let unheard = book.committed(&pool, UtcMs(50), UtcMs(60)).sum();
        assert_eq!(available(90 + 20, unheard, &all_of_it()), 100);
        book.spendings[0].issued_at = Some(UtcMs(70));
        let posted = book.committed(&pool, UtcMs(80), UtcMs(90)).sum();
        assert_eq!(available(90 - 10 + 20, posted, &all_of_it()), 100, "both movements are booked, each once");
    }

    #[test]
    fn row_20_the_last_unit_in_a_depots_escrow_is_promised_to_nobody_else_until_its_use_is_stated() {
        let (pool, used) = pallets(1);
        let granted = Lease { stock: used.stock.clone(), ..lease(1, "D1", 0, UtcMs(0)) };
        let mut book = Book { loans: vec![Loan { lease: granted, stated: None }], spendings: Vec::new() };
        for now in [10, 99] {
            assert_eq!(available(1, book.committed(&pool, UtcMs(5), UtcMs(now)).sum(), &all_of_it()), 0, "at {now}");
        }
        book.loans[0].stated = Some(LeaseUse::default());
        assert_eq!(available(1, book.committed(&pool, UtcMs(5), UtcMs(99)).sum(), &all_of_it()), 1);
    }
}
