//! What the ERP says stands, whatever the clock said when what is held was dated, and whoever reads beside.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use gatehouse_common::id::{OrderId, ProductId, SiteId};

use super::{super::*, *};
use crate::{core::reconcile::Posting, fixture, store::contract::Ground};

/// Three days.
const DAYS: i64 = 3 * 24 * 3_600_000;

/// An ERP with one page of changes, and one customer whom it names when asked.
#[derive(Default)]
struct OnePage {
    page: ChangePage,
    asked_for: Option<Customer>,
    is_away: bool,
    /// While it answers what changed, another writes to the store.
    beside_page: Mutex<Option<Beside>>,
    /// The same while it answers about the customer.
    beside_name: Mutex<Option<Beside>>,
}

type Beside = (Store, fn(&mut Tx<'_>) -> Result<(), StoreError>);

async fn another_writes(beside: &Mutex<Option<Beside>>) {
    let beside = beside.lock().unwrap().take();
    if let Some((store, writes)) = beside {
        store.write(writes).await.unwrap();
    }
}

#[async_trait]
impl Connector for OnePage {
    fn name(&self) -> &str {
        "one page"
    }
    fn caps(&self) -> Caps {
        Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
    }
    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        if self.is_away {
            return Err(ErpError::Transient { detail: "nobody answers".into(), retry_after: None });
        }
        another_writes(&self.beside_page).await;
        let has_it = *since == self.page.cursor;
        Ok(if has_it { ChangePage { cursor: since.clone(), ..ChangePage::default() } } else { self.page.clone() })
    }
    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        Err(ErpError::NotFound { detail: id.to_string() })
    }
    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        another_writes(&self.beside_name).await;
        self.asked_for.clone().ok_or_else(|| ErpError::NotFound { detail: id.to_string() })
    }
    async fn stock(&self, _: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        Ok(BTreeMap::new())
    }
    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        Err(ErpError::Rejected { detail: posting.key.clone() })
    }
    async fn probe(&self, _: &Posting) -> Result<Probe, ErpError> {
        Ok(Probe::Unknown)
    }
}

fn customer(on_hold: bool) -> Customer {
    Customer { id: "C-1".parse().unwrap(), on_hold, limit_minor: Some(100), exposure_minor: 0 }
}

fn says(on_hold: bool) -> ChangePage {
    ChangePage { customers: vec![customer(on_hold)], cursor: ErpCursor("1".into()), ..ChangePage::default() }
}

fn caps() -> Caps {
    OnePage::default().caps()
}

fn moment(wall: UtcMs) -> Moment {
    Moment { wall, ..Clock::system().now() }
}

/// A store with one open order of the customer.
fn store() -> (Store, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
    let now = Clock::system().wall();
    store.write_now(move |tx| tx.put_order(&fixture::order(now), now).map(drop)).unwrap();
    (store, directory)
}

/// The ERP said at `at` of the hub's clock that the customer is not on hold.
fn was_told(store: &Store, at: UtcMs) {
    store.write_now(move |tx| put_credit(tx, &customer(false), caps(), at, &moment(at))).unwrap();
}

/// Whether the customer is held to be on hold, and since when.
fn held(store: &Store) -> Option<(bool, UtcMs)> {
    let fact = store.read_now(|r| standing(r, &customer(true).id)).unwrap()?;
    match fact.report.value {
        FactValue::Credit { on_hold, .. } => Some((on_hold, fact.report.at)),
        other => panic!("{other:?}"),
    }
}

async fn reads(store: &Store, erp: &OnePage) -> Result<(), PollError> {
    once(store, erp, &Clock::system(), &PollOptions::default()).await
}

fn last_read(store: &Store) -> Option<UtcMs> {
    store.read_now(read_at).unwrap()
}

#[tokio::test]
async fn what_the_erp_says_of_a_customer_stands_though_what_is_held_was_dated_by_a_clock_that_was_ahead() {
    for (by_ms, is_dated_on) in [(DAYS, false), (50_000, true)] {
        let (store, _directory) = store();
        let ahead = Clock::system().wall().plus(by_ms);
        was_told(&store, ahead);
        reads(&store, &OnePage { page: says(true), ..OnePage::default() }).await.unwrap();
        let (on_hold, at) = held(&store).unwrap();
        assert!(on_hold);
        assert_eq!(at > ahead, is_dated_on, "what is dated little later hub and depots keep; {by_ms}");
    }
}

#[test]
fn a_standing_that_is_dated_ahead_bears_its_own_date_once_the_clock_is_right_and_is_told_again_as_often_as_any() {
    let (store, _directory) = store();
    let right = UtcMs(1_000_000_000);
    was_told(&store, right.plus(DAYS));
    let mut ahead_by = Vec::new();
    for after in [0, 5_000, 599_000, 600_000, 1_190_000] {
        let now = right.plus(after);
        store.write_now(move |tx| repeat_credit(tx, now, 600_000, &moment(now)).map(drop)).unwrap();
        ahead_by.push(held(&store).unwrap().1.since(right));
    }
    assert_eq!(ahead_by, [0, 0, 0, 600_000, 600_000]);
}

#[tokio::test]
async fn a_page_is_left_out_if_another_read_has_written_beyond_it_meanwhile() {
    let (store, _directory) = store();
    let other: Beside = (store.clone(), |tx| {
        put_credit(tx, &customer(true), caps(), UtcMs(1), &moment(UtcMs(1)))?;
        tx.set_cursor(CURSOR, "2")
    });
    let slow = OnePage { page: says(false), beside_page: Mutex::new(Some(other)), ..OnePage::default() };
    reads(&store, &slow).await.unwrap();
    assert_eq!((held(&store), last_read(&store)), (Some((true, UtcMs(1))), None));
    assert_eq!(store.read_now(place).unwrap(), ErpCursor("2".into()), "the next read goes on from there");
}

#[tokio::test]
async fn an_answer_about_one_customer_undoes_nothing_that_was_read_meanwhile() {
    let (store, _directory) = store();
    let other: Beside = (store.clone(), |tx| put_credit(tx, &customer(true), caps(), UtcMs(1), &moment(UtcMs(1))));
    let slow = OnePage { asked_for: Some(customer(false)), beside_name: Mutex::new(Some(other)), ..OnePage::default() };
    reads(&store, &slow).await.unwrap();
    assert_eq!(held(&store), Some((true, UtcMs(1))));
}

#[tokio::test]
async fn a_read_that_is_dated_ahead_counts_as_none_even_while_the_erp_is_away() {
    let (store, _directory) = store();
    let ahead = Clock::system().wall().plus(DAYS);
    store.write_now(move |tx| tx.set_cursor(READ_AT, &ahead.0.to_string())).unwrap();
    assert!(reads(&store, &OnePage { is_away: true, ..OnePage::default() }).await.is_err());
    assert_eq!(last_read(&store), None);
    reads(&store, &OnePage::default()).await.unwrap();
    assert!(last_read(&store).is_some_and(|read| read < ahead));
}

#[test]
fn among_replicas_a_read_counts_as_begun_earlier_by_as_much_as_their_clocks_may_be_apart() {
    let Some(ground) = Ground::postgresql() else { return };
    // What opens and reads a database blocks, and so stands outside of what this runs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = ground.open();
    let before = Clock::system().wall();
    runtime.block_on(reads(&store, &OnePage::default())).unwrap();
    let began = last_read(&store).unwrap().plus(APART_MS);
    assert!(began >= before && began <= Clock::system().wall());
}
