//! Replicas over one PostgreSQL that grant at once, each by what the ERP told it before: together they lend no more
//! than the figure less its reserve.

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{core::leases::Pool, store::contract::Ground};

/// How often it is tried.
const ROUNDS: usize = 12;
/// What the ERP says of each customer and of the stock at each depot, and what of it may be lent.
const CREDIT: (i64, i64) = (1_000, 900);
const STOCK: (i64, i64) = (100, 90);

/// Two replicas that give each lease all that is free, so that two which count on one slice show.
fn replicas(ground: &Ground) -> [Hub; 2] {
    [(); 2].map(|()| {
        let mut hub = Hub::over(ground.open(), tempfile::tempdir().unwrap());
        hub.grantor.policy.credit_share_permille = 1_000;
        hub.grantor.policy.stock_share_permille = 1_000;
        hub
    })
}

/// What opens and reads a database blocks, and so stands outside of what this runs.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A customer who orders all of the credit and all of the stock, at two depots.
struct Round {
    customer: String,
    depots: [String; 2],
}

impl Round {
    fn begin(n: usize, hub: &Hub) -> Self {
        let (customer, depots) = (format!("C{n}"), [format!("A{n}"), format!("B{n}")]);
        for depot in &depots {
            // At 10 minor units a piece.
            hub.order_of(&customer, &format!("O-{depot}"), depot, 90);
        }
        Self { customer, depots }
    }

    /// What is set aside or used of the customer's credit, and of the stock at the first depot.
    fn weighs(&self, hub: &Hub) -> (i64, i64) {
        let now = hub.clock.wall();
        let (book, _) = hub.store.read_now(|r| book(r)).unwrap();
        let weight = |pool: &Pool| book.committed(pool, now, now).sum();
        let stock = Pool::Stock(self.depots[0].parse().unwrap(), "P1".parse().unwrap());
        (weight(&Pool::Credit(self.customer.parse().unwrap())), weight(&stock))
    }
}

async fn ask(hub: &Hub, erp: &Figured, site: &str, gateway: &str) -> Asked {
    let life = hub.store.read(|r| r.ledger_epoch()).await.unwrap();
    let holder = (site.parse().unwrap(), gateway.parse().unwrap());
    ask_erp(&hub.store, erp, &hub.clock, &hub.grantor, life, &holder).await.unwrap().expect("a lease is due")
}

async fn grant(hub: &Hub, asked: Asked) -> Option<Lease> {
    match grant_by(&hub.store, &hub.clock, &hub.grantor, asked).await.unwrap() {
        Given::Done(granted) => granted,
        Given::Waits(_) => None,
    }
}

/// What each of three looks at two replicas was told before any of them grants.
async fn all_ask([one, two]: &[Hub; 2], erp: &Figured, round: &Round) -> (Asked, Asked, Asked) {
    let [first, other] = &round.depots;
    tokio::join!(ask(one, erp, first, "gw-1"), ask(two, erp, first, "gw-2"), ask(two, erp, other, "gw-3"))
}

#[test]
fn replicas_that_grant_at_once_lend_a_credit_and_a_stock_once() {
    let Some(ground) = Ground::postgresql() else { return };
    let (hubs, erp, runtime) = (replicas(&ground), Figured::new(CREDIT.0, STOCK.0), runtime());
    for n in 0..ROUNDS {
        let round = Round::begin(n, &hubs[0]);
        runtime.block_on(async {
            let (a, b, c) = all_ask(&hubs, &erp, &round).await;
            let [one, two] = &hubs;
            let granted = tokio::join!(grant(one, a), grant(two, b), grant(two, c));
            assert!(granted.0.is_some() && granted.1.is_some() && granted.2.is_some(), "round {n}: each gets a lease");
        });
        assert_eq!(round.weighs(&hubs[1]), (CREDIT.1, STOCK.1), "round {n}: all that may be lent, and no more");
    }
}

/// The control: the sum is taken before the transaction that writes the lease, as each of them sees it.
#[test]
fn replicas_that_take_the_sum_before_they_write_lend_one_slice_to_each() {
    let Some(ground) = Ground::postgresql() else { return };
    let (hubs, erp, runtime) = (replicas(&ground), Figured::new(CREDIT.0, STOCK.0), runtime());
    let round = Round::begin(0, &hubs[0]);
    runtime.block_on(async {
        let (a, b, c) = all_ask(&hubs, &erp, &round).await;
        let [one, two] = &hubs;
        let rows = tokio::join!(cut_beside(one, a, 0), cut_beside(two, b, 1), cut_beside(two, c, 2));
        let put = async |hub: &Hub, row: LeaseRow| hub.store.write(move |tx| tx.put_lease(&row, UtcMs(0))).await;
        let written = tokio::join!(put(one, rows.0), put(two, rows.1), put(two, rows.2));
        assert!(written.0.is_ok() && written.1.is_ok() && written.2.is_ok());
    });
    assert_eq!(round.weighs(&hubs[1]), (3 * CREDIT.1, 2 * STOCK.1));
}

/// A lease as it would be cut by what can be read now; the `n`th of this moment.
async fn cut_beside(hub: &Hub, asked: Asked, n: i64) -> LeaseRow {
    let (grantor, now) = (hub.grantor.clone(), hub.clock.wall());
    let read = hub.store.read(move |r| {
        let (site, gateway) = asked.holder.clone();
        let figures = asked.figures(r)?;
        let offer = slices(&book(r)?.0, &site, &needed_at(r, &site)?, &figures, &grantor.policy, now);
        cut(&grantor, (&site, &gateway), offer, &figures, now.plus(n), now)
    });
    read.await.unwrap()
}

/// While one replica has its figure in hand, a depot uses a part of what the other lent, and gives the rest back: the
/// figure is of before, and says nothing of it.
#[test]
fn a_replica_that_grants_by_a_read_that_lags_counts_what_was_used_since() {
    let Some(ground) = Ground::postgresql() else { return };
    let (hubs, erp, runtime) = (replicas(&ground), Figured::new(CREDIT.0, STOCK.0), runtime());
    let [one, two] = &hubs;
    for n in 0..ROUNDS {
        let round = Round::begin(n, one);
        let [first, other] = &round.depots;
        let late = runtime.block_on(ask(two, &erp, other, "gw-3"));
        let lent = runtime.block_on(async { grant(one, ask(one, &erp, first, "gw-1").await).await }).unwrap();
        assert_eq!(round.weighs(two), (CREDIT.1, STOCK.1), "round {n}");

        let credit_minor = BTreeMap::from([(round.customer.parse().unwrap(), 400)]);
        let used = LeaseUse { value_minor: 400, credit_minor, ..LeaseUse::default() };
        let closed = one.store.write_now(move |tx| {
            let row = tx.lease(&lent.id)?.unwrap();
            tx.put_lease(&LeaseRow { state: LeaseState::Closed, used, closed_at: Some(UtcMs(1)), ..row }, UtcMs(1))
        });
        closed.unwrap();
        let granted = runtime.block_on(grant(two, late)).unwrap();
        assert_eq!(granted.credit_minor.values().sum::<i64>(), CREDIT.1 - 400, "round {n}");
        assert_eq!(round.weighs(one).0, CREDIT.1, "round {n}: what is used and what is lent");
    }
}
