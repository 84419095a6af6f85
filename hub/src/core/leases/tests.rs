//! What must hold of the sum rule: a small world of depots, drawn from seeds, and the rule's rows one by one.

use std::collections::BTreeMap;

use gatehouse_common::id::{CustomerId, LeaseId, ProductId, SiteId};

use super::*;
use gatehouse_common::id::Hash32;

const LIMIT: i64 = 10_000;
/// Steps of a world.
const STEPS: u32 = 400;

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
        device: None,
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
    /// What a grant that is slow has read.
    slow: Figures,
    /// A read that has begun, and the exposure when it did: the ERP's answer is of any moment until it comes.
    reading: Option<(UtcMs, i64)>,
    /// How long a figure is used, and settled leases stay in the book.
    figure_max: i64,
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
            figures: Figures { read_at: UtcMs(0), credit_minor: credit_minor.clone(), stock: BTreeMap::new() },
            slow: Figures { read_at: UtcMs(0), credit_minor, stock: BTreeMap::new() },
            reading: None,
            figure_max: 100,
        }
    }

    fn step(&mut self, weigh: fn(&Committed) -> i64) {
        self.now = self.now.plus(1 + self.dice.roll(20) as i64);
        // What is lent is stated and posted sooner than more is lent, or soon nothing would be left to lend; and a read
        // is answered while its figure may still be used.
        match self.dice.roll(22) {
            0 | 1 => self.grant(weigh),
            2 | 3 => self.release(),
            4 | 5 => self.report(),
            6..=8 => self.issue(),
            9..=12 => self.read(),
            13 => self.slow = self.figures.clone(),
            14..=16 => self.settle(),
            17 => self.pay(),
            18 => self.renew(weigh),
            _ => self.state(),
        }
    }

    /// The ERP is asked, or answers with a figure of some moment since.
    fn read(&mut self) {
        match self.reading.take() {
            None => self.reading = Some((self.now, self.exposure)),
            Some((read_at, exposure)) => {
                let exposure = if self.dice.roll(2) == 0 { exposure } else { self.exposure };
                self.figures.read_at = read_at;
                self.figures.credit_minor.insert(customer(), LIMIT - exposure);
            }
        }
    }

    /// What weighs on nothing leaves the book.
    fn settle(&mut self) {
        let settled = self.book.settled(self.now.plus(-self.figure_max));
        let mut place = 0;
        self.book.spendings.retain(|_| {
            place += 1;
            !settled.spendings.contains(&(place - 1))
        });
        // Depots' own numbers count the loans, so a settled one stays in its place, weighing nothing.
        for loan in self.book.loans.iter_mut().filter(|loan| settled.loans.contains(&loan.lease.id)) {
            loan.stated = Some(LeaseUse::default());
        }
    }

    fn grant(&mut self, weigh: fn(&Committed) -> i64) {
        let policy = LeasePolicy { reserve_permille: 0, ..LeasePolicy::default() };
        let figures = if self.dice.roll(3) == 0 { &self.slow } else { &self.figures };
        if self.now.since(figures.read_at) >= self.figure_max.max(100) {
            return;
        }
        let committed = self.book.committed(&Pool::Credit(customer()), figures.read_at, self.now);
        let free = available(figures.credit_minor[&customer()], weigh(&committed), &policy);
        let slice = self.dice.roll(free as u64 + 1) as i64;
        let site = if self.dice.roll(2) == 0 { "D1" } else { "D2" };
        let n = self.book.loans.len() as u64;
        self.book.loans.push(Loan { lease: lease(n, site, slice, self.now), stated: None });
        self.really_used.push(0);
    }

    /// A lease in force gets more time and more in it, where the figures bear it. Its depot goes on under whichever version
    /// it has; the worst is that it has the newest.
    fn renew(&mut self, weigh: fn(&Committed) -> i64) {
        if self.now.since(self.figures.read_at) >= self.figure_max.max(100) {
            return;
        }
        let held = self.book.loans.iter().rposition(|l| l.stated.is_none() && l.lease.expires_at > self.now);
        let committed = self.book.committed(&Pool::Credit(customer()), self.figures.read_at, self.now);
        if let Some(n) = held
            && weigh(&committed) <= self.figures.credit_minor[&customer()]
        {
            let policy = LeasePolicy { reserve_permille: 0, lasts_ms: 50, ..LeasePolicy::default() };
            let needs = credit(self.dice.roll(LIMIT as u64) as i64);
            let lease = &self.book.loans[n].lease;
            let mut used = LeaseUse::default();
            let of_this = self.book.spendings.iter().filter(|s| s.lease.as_ref() == Some(&lease.id));
            of_this.for_each(|s| used.add(&s.used));
            let longer = renewed((lease, &used), &needs, &self.book, &self.figures, &policy, self.now);
            self.book.loans[n].lease = longer;
        }
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

    /// The customer pays, so that there is something to lend for as long as the world lasts.
    fn pay(&mut self) {
        self.exposure -= self.dice.roll(self.exposure as u64 + 1) as i64;
    }

    /// A depot closes a lease; all it did under it came before, in the same chain.
    fn state(&mut self) {
        let open = self.book.loans.iter().position(|l| l.stated.is_none());
        let Some(n) = open else { return };
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

/// Seeds of worlds in which more could come to be owed than the limit. `GATEHOUSE_SEEDS=N` plays N instead of 500.
fn worlds_over_the_limit(weigh: fn(&Committed) -> i64, figure_max: i64) -> Vec<u64> {
    let seeds: u64 = std::env::var("GATEHOUSE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    // It takes a read, a posting, a book that settles and a grant within the time that a figure is used.
    let seeds = if figure_max == 0 { seeds.max(5_000) } else { seeds };
    (1..=seeds)
        .filter(|seed| {
            let mut world = World { figure_max, ..World::new(*seed) };
            (0..STEPS).any(|_| {
                world.step(weigh);
                world.worst_case() > LIMIT
            })
        })
        .collect()
}

#[test]
fn whatever_the_depots_do_the_customer_never_owes_more_than_the_limit() {
    assert_eq!(worlds_over_the_limit(Committed::sum, 100), Vec::<u64>::new());
}

#[test]
fn with_any_term_of_the_rule_dropped_some_world_goes_over_the_limit() {
    assert!(!worlds_over_the_limit(|c| c.expired_unreported + c.unseen, 100).is_empty(), "outstanding");
    assert!(!worlds_over_the_limit(|c| c.outstanding + c.unseen, 100).is_empty(), "expired, unreported");
    assert!(!worlds_over_the_limit(|c| c.outstanding + c.expired_unreported, 100).is_empty(), "unseen");
}

#[test]
fn a_book_that_settled_leases_leave_at_once_lets_a_slow_grant_go_over_the_limit() {
    let over = worlds_over_the_limit(Committed::sum, 0);
    println!("{} worlds of settled leases that leave at once go over the limit", over.len());
    assert!(!over.is_empty());
}

#[test]
fn a_lease_is_written_off_by_a_person_only_once_its_depot_can_use_it_no_more_and_what_is_told_later_weighs() {
    let granted = lease(1, "D1", 4_000, UtcMs(0));
    let sealed = gatehouse_common::seal::Sealed { body: String::new(), signature: String::new() };
    let (used, state) = (credit(1_000), LeaseState::Outstanding);
    let row = LeaseRow { lease: granted, sealed, state, used, closed_at: None, asked_at: None };
    let until = row.lease.expires_at;
    assert_eq!(written_off(&row, until, UtcMs(50)), Err(NotWrittenOff::InForce(UtcMs(50))));
    let off = written_off(&row, until, UtcMs(51)).unwrap();
    assert_eq!(written_off(&off, until, UtcMs(52)), Err(NotWrittenOff::Stated(LeaseState::Closed)));
    let told = |minor: i64| Spending {
        lease: Some(off.lease.id.clone()),
        site: SiteId::new("D1").unwrap(),
        used: credit(minor),
        issued_at: None,
        void: false,
    };
    let mut book = Book { loans: vec![Loan::from(&off)], spendings: vec![told(1_000)] };
    let weight = |book: &Book| book.committed(&Pool::Credit(customer()), UtcMs(0), UtcMs(99)).sum();
    assert_eq!(weight(&book), 1_000);
    book.spendings.push(told(2_500));
    assert_eq!(weight(&book), 3_500, "the depot came back and had used more");
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
fn a_depot_gets_a_new_lease_where_that_takes_nothing_away_and_else_more_time_for_the_one_it_holds() {
    let held = lease(1, "D1", 4_000, UtcMs(0));
    let unused = LeaseUse::default();
    let at = |used: &LeaseUse, offer: i64, keeps: bool, now: i64| {
        due(Some((&held, used)), &credit(4_000), &credit(offer), keeps, 1_000, UtcMs(now))
    };
    assert_eq!(at(&unused, 4_000, true, 40), Due::Lease, "as much as is left, and it is old");
    assert_eq!(at(&credit(3_900), 3_000, true, 5), Due::Lease, "more than is left");
    assert_eq!(at(&unused, 3_000, true, 5), Due::Nothing, "less than is left, and it is not old");
    assert_eq!(at(&unused, 3_000, true, 40), Due::Time);
    assert_eq!(at(&unused, 3_000, false, 40), Due::Nothing, "what it sets aside is too much by now");
    assert_eq!(at(&unused, 0, true, 51), Due::Lease, "its time is over");
    assert_eq!(due(None, &credit(4_000), &credit(0), false, 1_000, UtcMs(0)), Due::Lease);
}

#[test]
fn one_scarce_pool_keeps_a_depot_from_nothing_else_that_it_needs() {
    let other = CustomerId::new("C2").unwrap();
    let both = |one: i64, two: i64| {
        let mut both = credit(one);
        both.credit_minor.insert(other.clone(), two);
        both
    };
    let (held, unused, now) = (lease(1, "D1", 450_000, UtcMs(0)), LeaseUse::default(), UtcMs(5));
    let policy = LeasePolicy { lasts_ms: 50, ..LeasePolicy::default() };
    let credit_minor = both(1_000_000, 100_000).credit_minor;
    let figures = Figures { read_at: UtcMs(4), credit_minor, stock: BTreeMap::new() };
    let needs = both(600_000, 1_000);
    let book_of =
        |lease: &Lease| Book { loans: vec![Loan { lease: lease.clone(), stated: None }], spendings: Vec::new() };

    let book = book_of(&held);
    let offer = slices(&book, &held.site, &needs, &figures, &policy, now);
    assert_eq!(offer.credit_minor, both(225_000, 1_000).credit_minor, "less of C1 than is left, and all of C2");
    let given = |keeps: bool| due(Some((&held, &unused)), &needs, &offer, keeps, 1_000, now);
    assert_eq!((given(true), given(false)), (Due::Time, Due::Nothing), "at once, where the figures bear what it has");
    let longer = renewed((&held, &unused), &needs, &book, &figures, &policy, now);
    assert_eq!(longer.credit_minor, both(450_000, 1_000).credit_minor, "of C1 it has its share already");

    let offer = slices(&book_of(&longer), &held.site, &needs, &figures, &policy, now);
    let again = due(Some((&longer, &unused)), &needs, &offer, true, 1_000, now);
    assert_eq!(again, Due::Nothing, "the next look gives no more of the same");
}

#[test]
fn a_lease_gets_more_time_for_a_week_of_days_and_ends_then() {
    let (unused, needs, offer) = (LeaseUse::default(), credit(600_000), credit(225_000));
    let day = LeasePolicy::default().lasts_ms;
    let given = |days: i64| {
        let now = UtcMs(days * day as i64);
        let held = Lease { lasts_ms: day, ..lease(1, "D1", 450_000, UtcMs(0)) };
        due(Some((&Lease { expires_at: now.plus(1_000), ..held }, &unused)), &needs, &offer, true, 1_000, now)
    };
    assert_eq!((given(1), given(7), given(8)), (Due::Time, Due::Time, Due::Nothing));
}

#[test]
fn a_slice_grows_by_what_is_needed_beyond_what_is_left_and_never_by_more_than_is_free_beside_it() {
    let held = lease(1, "D1", 4_000, UtcMs(0));
    let policy = LeasePolicy { lasts_ms: 50, ..all_of_it() };
    let credit_minor = BTreeMap::from([(customer(), LIMIT)]);
    let figures = Figures { read_at: UtcMs(4), credit_minor, stock: BTreeMap::new() };
    // The new slice, and what weighs then.
    let grown = |used: i64, told: i64, need: i64| {
        let (lease, site) = (Some(held.id.clone()), held.site.clone());
        let spending = Spending { lease, site, used: credit(told), issued_at: None, void: false };
        let mut book = Book { loans: vec![Loan { lease: held.clone(), stated: None }], spendings: vec![spending] };
        let longer = renewed((&held, &credit(used)), &credit(need), &book, &figures, &policy, UtcMs(5));
        book.loans[0].lease = longer.clone();
        (longer.credit_minor[&customer()], book.committed(&Pool::Credit(customer()), UtcMs(4), UtcMs(5)).sum())
    };
    assert_eq!(grown(1_000, 1_000, 2_500), (4_000, 4_000), "3,000 are left");
    assert_eq!(grown(1_000, 1_000, 3_700), (4_700, 4_700));
    assert_eq!(grown(1_000, 1_000, 9_000), (5_500, 5_500), "half of the 9,000 that nobody has used is left then");
    assert_eq!(grown(6_000, 6_000, 5_000), (8_000, 8_000), "a person let more go than the slice: half of 4,000 on top");
    assert_eq!(grown(9_000, 0, 5_000), (10_000, 10_000), "whatever is known of its use");

    let (pool, used) = pallets(5);
    let escrow = Lease { stock: used.stock, ..lease(3, "D1", 0, UtcMs(0)) };
    let (_, needs) = pallets(20);
    let stock = needs.stock.keys().map(|product| (product.clone(), 20)).collect();
    let figures = Figures { read_at: UtcMs(4), credit_minor: BTreeMap::new(), stock };
    let mut book = Book { loans: vec![Loan { lease: escrow.clone(), stated: None }], spendings: Vec::new() };
    let longer = renewed((&escrow, &LeaseUse::default()), &needs, &book, &figures, &policy, UtcMs(5));
    assert_eq!(longer.stock.values().sum::<u32>(), 16, "four fifths of 20");
    book.loans[0].lease = longer;
    assert_eq!(book.committed(&pool, UtcMs(4), UtcMs(5)).sum(), 16);
}

#[test]
fn a_release_that_states_less_than_nothing_makes_no_room_for_others() {
    let held = lease(1, "D1", 4_000, UtcMs(0));
    let spending = |lease: &str| Spending {
        lease: Some(LeaseId::new(lease).unwrap()),
        site: SiteId::new("D1").unwrap(),
        used: credit(-3_000),
        issued_at: None,
        void: false,
    };
    let mut book = Book {
        loans: vec![Loan { lease: held, stated: None }],
        spendings: vec![spending("L9"), spending("L1"), Spending { void: true, ..spending("L1") }],
    };
    let weight = |book: &Book| book.committed(&Pool::Credit(customer()), UtcMs(0), UtcMs(10)).sum();
    assert_eq!(weight(&book), 4_000, "of a lease that was never granted, of one that was, and taken back");
    book.loans[0].stated = Some(credit(-3_000));
    assert_eq!(weight(&book), 0);
    book.loans[0].stated = Some(credit(500));
    assert_eq!(weight(&book), 500);
}

#[test]
fn more_time_leaves_the_slices_as_they_are_where_no_more_is_needed_and_counts_from_now() {
    let (held, policy) = (lease(1, "D1", 4_000, UtcMs(0)), LeasePolicy { lasts_ms: 50, ..LeasePolicy::default() });
    let figures = Figures { read_at: UtcMs(39), credit_minor: BTreeMap::new(), stock: BTreeMap::new() };
    let (used, book) = (credit(700), Book::default());
    let longer = renewed((&held, &used), &LeaseUse::default(), &book, &figures, &policy, UtcMs(40));
    assert_eq!((&longer.id, &longer.credit_minor, longer.granted_at), (&held.id, &held.credit_minor, held.granted_at));
    assert_eq!((longer.expires_at, longer.erp_read_at), (UtcMs(90), UtcMs(39)));
    assert_eq!(longer.value_ceiling_minor, 700 + policy.value_ceiling_minor);
    let again =
        |now: i64| due(Some((&longer, &LeaseUse::default())), &credit(4_000), &credit(0), true, 1_000, UtcMs(now));
    assert_eq!((again(41), again(60)), (Due::Nothing, Due::Time), "its age counts from then");
}

#[test]
fn a_lease_gets_more_time_only_while_the_figures_bear_all_that_weighs_on_them() {
    let held = lease(1, "D1", 4_000, UtcMs(0));
    let mut book = Book { loans: vec![Loan { lease: held.clone(), stated: None }], spendings: Vec::new() };
    let policy = LeasePolicy { reserve_permille: 100, ..LeasePolicy::default() };
    let fits = |book: &Book, minor: i64| {
        let credit_minor = BTreeMap::from([(customer(), minor)]);
        let figures = Figures { read_at: UtcMs(9), credit_minor, stock: BTreeMap::new() };
        still_fits(&held, book, &figures, &policy, UtcMs(10))
    };
    assert!(fits(&book, 4_444) && !fits(&book, 4_443), "4,000 beside a tenth of it");
    assert!(!fits(&book, i64::MIN), "nothing is lent on this customer any more");
    book.loans.push(Loan { lease: lease(2, "D2", 1_000, UtcMs(0)), stated: None });
    assert!(!fits(&book, 5_000) && fits(&book, 5_556), "what others were lent weighs as well");
    let nothing = Figures { read_at: UtcMs(9), credit_minor: BTreeMap::new(), stock: BTreeMap::new() };
    assert!(!still_fits(&held, &book, &nothing, &policy, UtcMs(10)), "a figure that was not read bears nothing");

    let (_, used) = pallets(5);
    let escrow = Lease { stock: used.stock.clone(), ..lease(3, "D1", 0, UtcMs(0)) };
    let book = Book { loans: vec![Loan { lease: escrow.clone(), stated: None }], spendings: Vec::new() };
    let of_stock = |units: i64| {
        let stock = used.stock.keys().map(|product| (product.clone(), units)).collect();
        let figures = Figures { read_at: UtcMs(9), credit_minor: BTreeMap::new(), stock };
        still_fits(&escrow, &book, &figures, &policy, UtcMs(10))
    };
    assert!(of_stock(6) && !of_stock(4));
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
