//! What must hold of the sum rule: a small world of depots, drawn from seeds, and the rule's rows one by one.

mod world;

use std::collections::BTreeMap;

use gatehouse_common::id::{CustomerId, LeaseId, ProductId, SiteId};

use super::*;
use gatehouse_common::id::Hash32;

const LIMIT: i64 = 10_000;

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
    assert_eq!(
        at(&unused, 3_000, false, -60_000),
        Due::Lease,
        "granted while the clock was ahead, and over at its depot"
    );
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
