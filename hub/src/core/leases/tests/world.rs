//! Two depots that are lent one customer's credit and each its own stock, by an ERP that is read late: worlds drawn
//! from seeds.

use super::*;

/// Steps of a world.
const STEPS: u32 = 400;
/// What can be lent out of: the customer's credit, then the stock of each depot.
const POOLS: usize = 3;
const CREDIT: usize = 0;
const SITES: [&str; 2] = ["D1", "D2"];
/// What there is while nothing is gone.
const LIMITS: Amounts = [LIMIT, 1_000, 1_000];

/// Of each pool.
type Amounts = [i64; POOLS];

fn product(at: usize) -> ProductId {
    ProductId::new(format!("P-{}", SITES[at])).unwrap()
}

fn pools() -> [Pool; POOLS] {
    let stock = |at: usize| Pool::Stock(SiteId::new(SITES[at]).unwrap(), product(at));
    [Pool::Credit(customer()), stock(0), stock(1)]
}

/// The pool of a depot's stock.
fn stock_of(site: &SiteId) -> usize {
    1 + SITES.iter().position(|known| *known == site.as_str()).unwrap()
}

fn use_of(amounts: &Amounts) -> LeaseUse {
    let units = |at: usize| (product(at), u32::try_from(amounts[1 + at]).unwrap());
    LeaseUse { stock: BTreeMap::from([units(0), units(1)]), ..credit(amounts[CREDIT]) }
}

fn amounts(used: &LeaseUse, products: &[ProductId; 2]) -> Amounts {
    let units = |at: usize| i64::from(used.stock.get(&products[at]).copied().unwrap_or(0));
    [used.value_minor, units(0), units(1)]
}

fn figures_of(read_at: UtcMs, gone: &Amounts) -> Figures {
    let stock = [0, 1].map(|at| (product(at), LIMITS[1 + at] - gone[1 + at]));
    let credit_minor = BTreeMap::from([(customer(), LIMITS[CREDIT] - gone[CREDIT])]);
    Figures { read_at, credit_minor, stock: stock.into() }
}

/// A small random stream; the seed is in the failure message.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }

    /// An amount from 0 to `most`.
    fn amount(&mut self, most: i64) -> i64 {
        self.roll(most as u64 + 1) as i64
    }
}

/// By what a hub lends: what weighs on a pool, and whether it keeps the reserve.
#[derive(Clone, Copy)]
struct Rule {
    weigh: fn(&Pool, &Committed) -> i64,
    keeps_reserve: bool,
}

const WHOLE: Rule = Rule { weigh: |_, committed| committed.sum(), keeps_reserve: true };

/// A lease in truth.
#[derive(Clone, Copy)]
struct Held {
    slice: Amounts,
    /// What its depot really used.
    used: Amounts,
}

/// Two depots, one customer, one ERP. What is `gone` or `held` is so; the book is what the hub knows.
struct World {
    dice: Dice,
    /// What a world has beside its credit is drawn from here, so that the draws of before stay what they were.
    stock_dice: Dice,
    reserve_permille: u16,
    now: UtcMs,
    book: Book,
    /// Uses at the depots that the hub has not heard of, by lease.
    unreported: Vec<(usize, Spending)>,
    /// Per lease of the book.
    held: Vec<Held>,
    /// What was released and has not left the ERP's figures.
    released: Amounts,
    /// What the customer owes, and the units that the ERP has taken off each stock.
    gone: Amounts,
    figures: Figures,
    /// What a grant that is slow has read.
    slow: Figures,
    /// A read that has begun, and what was gone when it did: the ERP's answer is of any moment until it comes.
    reading: Option<(UtcMs, Amounts)>,
    /// How long a figure is used, and settled leases stay in the book.
    figure_max: i64,
    pools: [Pool; POOLS],
    products: [ProductId; 2],
    /// More was lent by some figure than that less its reserve.
    has_lent_too_much: bool,
}

impl World {
    /// In those of even seeds a reserve is kept.
    fn new(seed: u64, figure_max: i64) -> Self {
        let mut stock_dice = Dice(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
        let reserve = if seed.is_multiple_of(2) { 1 + stock_dice.roll(300) } else { 0 };
        let figures = figures_of(UtcMs(0), &[0; POOLS]);
        Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            stock_dice,
            reserve_permille: u16::try_from(reserve).unwrap(),
            now: UtcMs(1),
            book: Book::default(),
            unreported: Vec::new(),
            held: Vec::new(),
            released: [0; POOLS],
            gone: [0; POOLS],
            slow: figures.clone(),
            figures,
            reading: None,
            figure_max,
            pools: pools(),
            products: [product(0), product(1)],
            has_lent_too_much: false,
        }
    }

    fn step(&mut self, rule: Rule) {
        self.now = self.now.plus(1 + self.dice.roll(20) as i64);
        // What is lent is stated and posted sooner than more is lent, or soon nothing would be left to lend; and a read
        // is answered while its figure may still be used.
        match self.dice.roll(22) {
            0 | 1 => self.grant(rule),
            2 | 3 => self.release(),
            4 | 5 => self.report(),
            6..=8 => self.issue(),
            9..=12 => self.read(),
            13 => self.slow = self.figures.clone(),
            14..=16 => self.settle(),
            17 => self.come_back(),
            18 => self.renew(rule),
            _ => self.state(),
        }
    }

    fn policy(&self, reserve: bool) -> LeasePolicy {
        let reserve_permille = if reserve { self.reserve_permille } else { 0 };
        LeasePolicy { reserve_permille, lasts_ms: 50, ..LeasePolicy::default() }
    }

    fn figure(&self, pool: usize, figures: &Figures) -> i64 {
        match pool {
            CREDIT => figures.credit_minor[&customer()],
            stock => figures.stock[&self.products[stock - 1]],
        }
    }

    /// What may still be lent of a pool by these figures, and by this rule.
    fn free(&self, pool: usize, figures: &Figures, rule: Rule) -> i64 {
        let committed = self.book.committed(&self.pools[pool], figures.read_at, self.now);
        let weight = (rule.weigh)(&self.pools[pool], &committed);
        available(self.figure(pool, figures), weight, &self.policy(rule.keeps_reserve))
    }

    /// The ERP is asked, or answers with a figure of some moment since.
    fn read(&mut self) {
        match self.reading.take() {
            None => self.reading = Some((self.now, self.gone)),
            Some((read_at, before)) => {
                let gone = if self.dice.roll(2) == 0 { before } else { self.gone };
                self.figures = figures_of(read_at, &gone);
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

    fn grant(&mut self, rule: Rule) {
        let figures = if self.dice.roll(3) == 0 { self.slow.clone() } else { self.figures.clone() };
        if self.now.since(figures.read_at) >= self.figure_max.max(100) {
            return;
        }
        let mut slice = [0; POOLS];
        let free = self.free(CREDIT, &figures, rule);
        slice[CREDIT] = self.dice.amount(free);
        let site = if self.dice.roll(2) == 0 { SITES[0] } else { SITES[1] };
        let granted = lease(self.book.loans.len() as u64, site, slice[CREDIT], self.now);
        let stock = stock_of(&granted.site);
        let free = self.free(stock, &figures, rule);
        slice[stock] = self.stock_dice.amount(free);
        let granted = Lease { stock: use_of(&slice).stock, ..granted };
        self.book.loans.push(Loan { lease: granted, stated: None });
        self.held.push(Held { slice, used: [0; POOLS] });
        for pool in [CREDIT, stock].into_iter().filter(|pool| slice[*pool] > 0) {
            self.look_at(pool, &figures);
        }
    }

    /// A lease in force gets more time and more in it, where the figures bear it. Its depot goes on under whichever
    /// version it has; the worst is that it has the newest.
    fn renew(&mut self, rule: Rule) {
        if self.now.since(self.figures.read_at) >= self.figure_max.max(100) {
            return;
        }
        let held = self.book.loans.iter().rposition(|l| l.stated.is_none() && l.lease.expires_at > self.now);
        let Some(n) = held else { return };
        let (figures, policy) = (self.figures.clone(), self.policy(rule.keeps_reserve));
        let stock = stock_of(&self.book.loans[n].lease.site);
        let bears = |pool: usize| {
            let committed = self.book.committed(&self.pools[pool], figures.read_at, self.now);
            let weight = (rule.weigh)(&self.pools[pool], &committed);
            weight <= available(self.figure(pool, &figures), 0, &policy)
        };
        if !bears(CREDIT) || !bears(stock) {
            return;
        }
        let mut needs = [0; POOLS];
        needs[CREDIT] = self.dice.roll(LIMIT as u64) as i64;
        needs[stock] = self.stock_dice.amount(LIMITS[stock]);
        let lease = &self.book.loans[n].lease;
        let mut used = LeaseUse::default();
        let of_this = self.book.spendings.iter().filter(|s| s.lease.as_ref() == Some(&lease.id));
        of_this.for_each(|s| used.add(&s.used));
        let longer = renewed((lease, &used), &use_of(&needs), &self.book, &figures, &policy, self.now);
        self.held[n].slice[CREDIT] = longer.credit_minor[&customer()];
        self.held[n].slice[stock] = i64::from(longer.stock[&self.products[stock - 1]]);
        self.book.loans[n].lease = longer;
        for pool in [CREDIT, stock] {
            self.look_at(pool, &figures);
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
        let (lease, site) = (Some(loan.lease.id.clone()), loan.lease.site.clone());
        let (held, stock) = (&mut self.held[n], stock_of(&site));
        let mut taken = [0; POOLS];
        taken[CREDIT] = self.dice.amount(held.slice[CREDIT] - held.used[CREDIT]);
        taken[stock] = self.stock_dice.amount(held.slice[stock] - held.used[stock]);
        for (pool, amount) in taken.iter().enumerate() {
            held.used[pool] += amount;
            self.released[pool] += amount;
        }
        let spending = Spending { lease, site, used: use_of(&taken), issued_at: None, void: false };
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
            for (pool, amount) in amounts(&spending.used, &self.products).into_iter().enumerate() {
                self.gone[pool] += amount;
                self.released[pool] -= amount;
            }
        }
    }

    /// The customer pays and goods come in, so that there is something to lend for as long as the world lasts.
    fn come_back(&mut self) {
        self.gone[CREDIT] -= self.dice.amount(self.gone[CREDIT]);
        for stock in 1..POOLS {
            self.gone[stock] -= self.stock_dice.amount(self.gone[stock]);
        }
    }

    /// A depot closes a lease; all it did under it came before, in the same chain.
    fn state(&mut self) {
        let open = self.book.loans.iter().position(|l| l.stated.is_none());
        let Some(n) = open else { return };
        while self.unreported.iter().any(|(of, _)| *of == n) {
            self.report();
        }
        self.book.loans[n].stated = Some(use_of(&self.held[n].used));
    }

    /// The most that could still be gone of a pool if every depot used all it may.
    fn worst_case(&self, pool: usize) -> i64 {
        let in_force = |loan: &Loan| loan.stated.is_none() && loan.lease.expires_at > self.now;
        let held = self.held.iter().zip(&self.book.loans).filter(|(_, loan)| in_force(loan));
        let usable: i64 = held.map(|(held, _)| held.slice[pool] - held.used[pool]).sum();
        self.gone[pool] + self.released[pool] + usable
    }

    /// Of what the figure said was there, the reserve must be there even at the worst, whatever the hub reckoned.
    fn look_at(&mut self, pool: usize, figures: &Figures) {
        let figure = self.figure(pool, figures);
        let may_be_gone = LIMITS[pool] - figure + available(figure, 0, &self.policy(true));
        self.has_lent_too_much |= self.worst_case(pool) > may_be_gone;
    }

    fn is_over(&self) -> bool {
        self.has_lent_too_much || (0..POOLS).any(|pool| self.worst_case(pool) > LIMITS[pool])
    }
}

/// Whether in this world more could come to be gone than there is, or than the figures less their reserve were.
fn goes_over(seed: u64, rule: Rule, figure_max: i64) -> bool {
    let mut world = World::new(seed, figure_max);
    (0..STEPS).any(|_| {
        world.step(rule);
        world.is_over()
    })
}

/// `GATEHOUSE_SEEDS=N` plays N worlds instead of 500.
fn seeds() -> u64 {
    std::env::var("GATEHOUSE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

#[test]
fn whatever_the_depots_do_no_more_is_ever_gone_than_there_was_and_the_reserve_is_there_at_the_worst() {
    let over: Vec<u64> = (1..=seeds()).filter(|seed| goes_over(*seed, WHOLE, 100)).collect();
    assert_eq!(over, Vec::<u64>::new());
}

/// The controls: without any one of its terms, for the credit alone or for the stock alone, the rule does not hold.
#[test]
fn with_any_term_of_the_rule_dropped_some_world_goes_over() {
    fn of_credit(pool: &Pool, dropped: i64, committed: &Committed) -> i64 {
        committed.sum() - if matches!(pool, Pool::Credit(_)) { dropped } else { 0 }
    }
    fn of_stock(pool: &Pool, dropped: i64, committed: &Committed) -> i64 {
        committed.sum() - if matches!(pool, Pool::Stock(..)) { dropped } else { 0 }
    }
    let without = |weigh: fn(&Pool, &Committed) -> i64| Rule { weigh, ..WHOLE };
    let rules = [
        ("outstanding, of credit", without(|pool, c| of_credit(pool, c.outstanding, c))),
        ("expired, unreported, of credit", without(|pool, c| of_credit(pool, c.expired_unreported, c))),
        ("unseen, of credit", without(|pool, c| of_credit(pool, c.unseen, c))),
        ("outstanding, of stock", without(|pool, c| of_stock(pool, c.outstanding, c))),
        ("expired, unreported, of stock", without(|pool, c| of_stock(pool, c.expired_unreported, c))),
        ("unseen, of stock", without(|pool, c| of_stock(pool, c.unseen, c))),
        ("reserve", Rule { keeps_reserve: false, ..WHOLE }),
    ];
    for (term, rule) in rules {
        let found = (1..=seeds().max(500)).find(|seed| goes_over(*seed, rule, 100));
        println!("without {term}: seed {found:?}");
        assert!(found.is_some(), "{term}");
    }
}

#[test]
fn a_book_that_settled_leases_leave_at_once_lets_a_slow_grant_go_over() {
    // It takes a read, a posting, a book that settles and a grant within the time that a figure is used.
    let found = (1..=seeds().max(5_000)).find(|seed| goes_over(*seed, WHOLE, 0));
    println!("a world of settled leases that leave at once goes over: seed {found:?}");
    assert!(found.is_some());
}
