//! What must hold of leases between the ERP's figures and the depots' feeds.

use std::sync::Mutex;

use async_trait::async_trait;
use gatehouse_common::{
    id::{OrderId, ProductId},
    order::Order,
};

mod clocks;
mod replicas;
mod unreadable;

use super::*;
use crate::{
    core::reconcile::Posting,
    erp::{self, Applied, Caps, ChangePage, ErpCursor, Probe},
    fixture,
};

const WEEK: i64 = 7 * 24 * 3_600_000;
/// Later than all that a test does, and not so late that a clock must have been wrong.
const SOON: i64 = 9_000;

/// An ERP that says its figures and nothing else.
struct Figured {
    credit_minor: i64,
    on_hold: bool,
    stock: i64,
    /// Whether confirmed orders are off its figures already.
    counts_orders: bool,
    away: bool,
    /// While it answers, a device shows that the store is an older copy.
    restores: Option<Store>,
    asked: Mutex<u32>,
}

impl Figured {
    fn new(credit_minor: i64, stock: i64) -> Self {
        Self {
            credit_minor,
            on_hold: false,
            stock,
            counts_orders: false,
            away: false,
            restores: None,
            asked: Mutex::new(0),
        }
    }
}

#[async_trait]
impl Connector for Figured {
    fn name(&self) -> &'static str {
        "figured"
    }

    fn caps(&self) -> Caps {
        Caps { honours_keys: false, orders_in_credit: self.counts_orders, orders_in_stock: self.counts_orders }
    }

    async fn changes(&self, _: &ErpCursor) -> Result<ChangePage, ErpError> {
        Ok(ChangePage::default())
    }

    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        Err(ErpError::NotFound { detail: id.to_string() })
    }

    async fn customer(&self, id: &CustomerId) -> Result<erp::Customer, ErpError> {
        Ok(erp::Customer {
            id: id.clone(),
            on_hold: self.on_hold,
            limit_minor: Some(self.credit_minor),
            exposure_minor: 0,
        })
    }

    async fn stock(&self, _: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        *self.asked.lock().unwrap() += 1;
        if let Some(store) = &self.restores {
            store.write(|tx| tx.begin_ledger_epoch(UtcMs(5)).map(drop)).await.unwrap();
        }
        if self.away {
            return Err(ErpError::Transient { detail: "refused".into(), retry_after: None });
        }
        Ok(BTreeMap::from([("P1".parse().unwrap(), self.stock)]))
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        Err(ErpError::Rejected { detail: posting.key.clone() })
    }

    async fn probe(&self, _: &Posting) -> Result<Probe, ErpError> {
        Ok(Probe::NotApplied)
    }
}

struct Hub {
    store: Store,
    clock: Clock,
    grantor: Grantor,
    directory: tempfile::TempDir,
}

impl Hub {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        Self::over(store, directory)
    }

    fn over(store: Store, directory: tempfile::TempDir) -> Self {
        let policy = LeasePolicy { reserve_permille: 100, ..LeasePolicy::default() };
        let bundle = Bundle { hash: gatehouse_common::id::Hash32::of(b""), rules: Default::default() };
        let key = PrivateKey::from_seed([1; 32]);
        let grantor = Grantor { key, bundle, policy, renew_after_ms: 3_600_000, unreported_after_ms: WEEK };
        Self { store, clock: Clock::system(), grantor, directory }
    }

    /// An order of 10 minor units a piece.
    fn order(&self, id: &str, site: &str, quantity: u32) {
        self.order_of("C1", id, site, quantity);
    }

    fn order_of(&self, customer: &str, id: &str, site: &str, quantity: u32) {
        let now = self.clock.wall();
        let mut order = fixture::order(now);
        (order.id, order.site) = (id.parse().unwrap(), site.parse().unwrap());
        (order.customer.id, order.lines[0].product) = (customer.parse().unwrap(), "P1".parse().unwrap());
        (order.lines[0].quantity, order.lines[0].unit_price_minor) = (quantity, 10);
        self.store.write_now(move |tx| tx.put_order(&order, now).map(drop)).unwrap();
    }

    /// The ERP has a smaller quantity of an order.
    fn cut(&self, id: &str, quantity: u32) {
        let (id, now) = (id.parse().unwrap(), self.clock.wall());
        let change = move |tx: &mut Tx<'_>| {
            let mut order = tx.order(&id)?.unwrap();
            (order.version, order.lines[0].quantity) = (order.version + 1, quantity);
            tx.put_order(&order, now).map(drop)
        };
        self.store.write_now(change).unwrap();
    }

    /// The orders were read, by a read that begins so long after now.
    fn orders_are_read_after(&self, ms: i64) {
        let at = self.clock.wall().plus(ms);
        self.store.write_now(move |tx| tx.set_cursor("erp.read_at", &at.0.to_string())).unwrap();
    }

    async fn look(&self, erp: &Figured, site: &str) -> Result<Option<LeaseId>, GrantError> {
        self.look_for(erp, site, &format!("gw-{site}")).await
    }

    /// What one look does for a gateway.
    async fn look_for(&self, erp: &Figured, site: &str, gateway: &str) -> Result<Option<LeaseId>, GrantError> {
        match self.ask(erp, site, gateway).await? {
            Some(asked) => self.grant(asked).await.map(Option::unwrap),
            None => Ok(None),
        }
    }

    async fn ask(&self, erp: &Figured, site: &str, gateway: &str) -> Result<Option<Asked>, GrantError> {
        let life = self.store.read_now(|r| r.ledger_epoch()).unwrap();
        let holder = (site.parse().unwrap(), gateway.parse().unwrap());
        ask_erp(&self.store, erp, &self.clock, &self.grantor, life, &holder).await
    }

    /// The lease that is granted, if one is; none if that waits.
    async fn grant(&self, asked: Asked) -> Result<Option<Option<LeaseId>>, GrantError> {
        match grant_by(&self.store, &self.clock, &self.grantor, asked).await? {
            Given::Done(granted) => Ok(Some(granted.map(|lease| lease.id))),
            Given::Waits(_) => Ok(None),
        }
    }

    fn lease(&self, id: &LeaseId) -> Lease {
        self.store.read_now(|r| r.lease(id)).unwrap().unwrap().lease
    }
}

fn credit(lease: &Lease) -> i64 {
    lease.credit_minor[&"C1".parse().unwrap()]
}

#[tokio::test]
async fn a_depot_is_lent_what_its_open_orders_need_signed_by_the_hub() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    hub.order("O2", "D1", 20);
    hub.order("O3", "D2", 7);
    let id = hub.look(&erp, "D1").await.unwrap().unwrap();
    let row = hub.store.read_now(|r| r.lease(&id)).unwrap().unwrap();
    let opened: Lease = row.sealed.open(&hub.grantor.key.public()).unwrap();
    assert_eq!(opened, row.lease);
    assert_eq!((credit(&opened), opened.stock[&"P1".parse().unwrap()]), (500, 50));
}

#[tokio::test]
async fn while_nothing_changes_there_is_no_second_lease_and_the_erp_is_left_in_peace() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    assert!(hub.look(&erp, "D1").await.unwrap().is_some());
    assert!(hub.look(&erp, "D1").await.unwrap().is_none());
    assert_eq!(*erp.asked.lock().unwrap(), 1);
    hub.order("O2", "D1", 5);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    assert!(hub.look(&erp, "D1").await.unwrap().is_some(), "a new order needs more");
}

#[tokio::test]
async fn a_depot_that_is_lent_most_of_a_figure_keeps_its_lease_for_longer_while_the_figure_bears_it() {
    let mut hub = Hub::new();
    hub.grantor.renew_after_ms = 0;
    hub.order("O1", "D1", 80);
    let of_the_order = Figured::new(100_000, 110);
    let id = hub.look(&of_the_order, "D1").await.unwrap().unwrap();
    let first = hub.lease(&id);
    assert_eq!(first.stock[&"P1".parse().unwrap()], 79, "four fifths of 99: a successor would hold 16");
    let used = LeaseUse { value_minor: 30, ..LeaseUse::default() };
    let mut row = hub.store.read_now(|r| r.lease(&id)).unwrap().unwrap();
    row.used = used.clone();
    hub.store.write_now(move |tx| tx.put_lease(&row, UtcMs(0))).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(hub.look(&of_the_order, "D1").await.unwrap(), Some(id.clone()), "the same lease");
    let row = hub.store.read_now(|r| r.lease(&id)).unwrap().unwrap();
    assert!(row.lease.expires_at > first.expires_at);
    assert_eq!((&row.lease.stock, &row.used, row.state), (&first.stock, &used, LeaseState::Outstanding));
    assert_eq!(row.sealed.open::<Lease>(&hub.grantor.key.public()).unwrap(), row.lease, "signed anew");
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let less = Figured::new(100_000, 70);
    assert_eq!(hub.look(&less, "D1").await.unwrap(), None, "of 70 nobody would be lent 79");
    assert_eq!(hub.lease(&id), row.lease);
}

#[tokio::test]
async fn a_depot_that_keeps_its_lease_for_one_scarce_customer_is_lent_at_once_what_another_customers_order_needs() {
    // Of 1,000 of C1 it gets 450 of 900; a successor could hold 225 of the rest.
    let (hub, erp) = (Hub::new(), Figured::new(1_000, 100_000));
    hub.order("O1", "D1", 60);
    let id = hub.look(&erp, "D1").await.unwrap().unwrap();
    let first = hub.lease(&id);
    assert_eq!(credit(&first), 450);
    hub.order_of("C2", "O2", "D1", 7);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(hub.look(&erp, "D1").await.unwrap(), Some(id.clone()), "the same lease");
    let row = hub.store.read_now(|r| r.lease(&id)).unwrap().unwrap();
    let of = |customer: &str| row.lease.credit_minor[&customer.parse::<CustomerId>().unwrap()];
    assert_eq!((of("C1"), of("C2"), row.lease.stock[&"P1".parse().unwrap()]), (450, 70, 67));
    assert_eq!(row.sealed.open::<Lease>(&hub.grantor.key.public()).unwrap(), row.lease, "signed anew");
    assert!(row.lease.granted_at == first.granted_at && row.lease.expires_at > first.expires_at);
    let (book, _) = hub.store.read_now(|r| book(r)).unwrap();
    let weight = |customer: &str| {
        let now = hub.clock.wall();
        book.committed(&crate::core::leases::Pool::Credit(customer.parse().unwrap()), now, now).sum()
    };
    assert_eq!((weight("C1"), weight("C2")), (450, 70), "it weighs as it was signed last");
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(hub.look(&erp, "D1").await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_that_names_no_gateway_gets_no_more_time() {
    let mut hub = Hub::new();
    (hub.grantor.renew_after_ms, hub.grantor.policy.lasts_ms) = (0, 4 * WEEK as u64);
    let (erp, now) = (Figured::new(1_000, 100_000), hub.clock.wall());
    hub.order("O1", "D1", 60);
    let stock = BTreeMap::from([("P1".parse().unwrap(), 60)]);
    let credit_minor = BTreeMap::from([("C1".parse().unwrap(), 450)]);
    let lease = Lease { granted_at: now, expires_at: now.plus(WEEK), ..fixture::lease("L1", "D1") };
    let lease = Lease { lasts_ms: 2 * WEEK as u64, credit_minor, stock, ..lease };
    let named = Lease { device: Some("gw-D1".parse().unwrap()), ..lease.clone() };
    for (lease, given) in [(lease, None), (named, Some(LeaseId::new("L1").unwrap()))] {
        let sealed = Sealed::new(&lease, &hub.grantor.key).unwrap();
        hub.store.write_now(move |tx| tx.put_lease(&LeaseRow::granted(lease, sealed), UtcMs(0))).unwrap();
        assert_eq!(hub.look(&erp, "D1").await.unwrap(), given);
    }
}

#[tokio::test]
async fn a_lease_comes_after_those_before_it_also_by_a_clock_that_was_set_back() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    let ahead = hub.clock.wall().plus(3_600_000);
    let device = Some("gw-D1".parse().unwrap());
    let before = Lease { device, granted_at: ahead, expires_at: ahead.plus(WEEK), ..fixture::lease("L1", "D1") };
    let sealed = Sealed::new(&before, &hub.grantor.key).unwrap();
    hub.store.write_now(move |tx| tx.put_lease(&LeaseRow::granted(before, sealed), UtcMs(0))).unwrap();
    let lease = hub.lease(&hub.look(&erp, "D1").await.unwrap().unwrap());
    assert_eq!(lease.granted_at, ahead.plus(1), "or its gateway would pass over it");
    let lasts = hub.grantor.policy.lasts_ms as i64;
    assert!((lasts - 60_000..=lasts).contains(&lease.expires_at.since(hub.clock.wall())), "its end is by the clock");
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    assert_eq!(hub.look(&erp, "D1").await.unwrap(), None, "it is the one that is held, and no other is cut");
}

#[tokio::test]
async fn a_lease_that_was_settled_long_ago_is_read_by_no_look() {
    let (hub, erp) = (Hub::new(), Figured::new(100_000, 1_000));
    hub.order("O1", "D1", 30);
    let old = fixture::lease("L1", "D1");
    let sealed = Sealed::new(&old, &hub.grantor.key).unwrap();
    let old = LeaseRow { state: LeaseState::Settled, ..LeaseRow::granted(old, sealed) };
    hub.store.write_now(move |tx| tx.put_lease(&old, UtcMs(0))).unwrap();
    let beside = rusqlite::Connection::open(hub.directory.path().join("hub.db")).unwrap();
    beside.execute("UPDATE leases SET body = 'rotten'", []).unwrap();
    assert!(hub.store.read_now(|r| r.leases()).is_err());
    assert!(hub.look(&erp, "D1").await.unwrap().is_some());
    assert!(hub.look(&erp, "D1").await.unwrap().is_none());
}

#[test]
fn a_gateway_that_is_listed_for_several_depots_is_lent_at_the_first_alone() {
    let hub = Hub::new();
    let mut device = fixture::gateway("gw-1", "D2", 2);
    device.sites.push("D1".parse().unwrap());
    let name = device.device.clone();
    hub.store.write_now(move |tx| tx.put_device(&device, UtcMs(0))).unwrap();
    hub.store.write_now(move |tx| tx.device_seen(&name, None, UtcMs(1_000))).unwrap();
    let connected = hub.store.read_now(|r| connected_gateways(r, UtcMs(2_000))).unwrap();
    assert_eq!(connected, BTreeSet::from([("D2".parse().unwrap(), "gw-1".parse().unwrap())]));
}

#[tokio::test]
async fn two_depots_together_are_never_lent_more_than_the_figure_less_its_reserve() {
    let (hub, erp) = (Hub::new(), Figured::new(1_000, 1_000));
    hub.order("O1", "D1", 90);
    hub.order("O2", "D2", 90);
    let one = hub.lease(&hub.look(&erp, "D1").await.unwrap().unwrap());
    let other = hub.lease(&hub.look(&erp, "D2").await.unwrap().unwrap());
    let sum = credit(&one) + credit(&other);
    assert!(sum <= 900, "{sum} of 1000 less a tenth");
    assert!(credit(&one) > 0 && credit(&other) > 0, "each gets a share");
}

#[tokio::test]
async fn an_order_that_the_erp_has_taken_off_its_figures_does_not_count_against_itself() {
    // 400 of 1000 are free beside an order of 600; 10 of 70 units beside its 60.
    let hub = Hub::new();
    hub.order("O1", "D1", 60);
    hub.orders_are_read_after(SOON);
    let taken_off = Figured { counts_orders: true, ..Figured::new(400, 10) };
    let lease = hub.lease(&hub.look(&taken_off, "D1").await.unwrap().unwrap());
    assert_eq!(credit(&lease), 450, "half of 1000 less a tenth");
    assert_eq!(lease.stock[&"P1".parse().unwrap()], 50, "four fifths of 70 less a tenth");
    let hub = Hub::new();
    hub.order("O1", "D1", 60);
    hub.orders_are_read_after(SOON);
    let held = Figured { counts_orders: true, on_hold: true, ..Figured::new(400, 10) };
    assert_eq!(credit(&hub.lease(&hub.look(&held, "D1").await.unwrap().unwrap())), 0);
}

#[tokio::test]
async fn of_an_order_that_changed_while_the_erp_was_asked_no_more_is_put_back_than_was_known_before_and_after() {
    let (hub, erp) = (Hub::new(), Figured { counts_orders: true, ..Figured::new(400, 1_000) });
    let ask = async || hub.ask(&erp, "D1", "gw-1").await.unwrap().unwrap();
    hub.order("O1", "D1", 60);
    let asked = ask().await;
    hub.orders_are_read_after(-1_000);
    assert_eq!(
        hub.grant(asked).await.unwrap(),
        None,
        "whether O1 was cancelled before the ERP answered is not read yet"
    );
    let asked = ask().await;
    hub.cut("O1", 10);
    hub.order("O2", "D1", 60);
    hub.orders_are_read_after(SOON);
    let granted = hub.grant(asked).await.unwrap().unwrap().unwrap();
    assert_eq!(credit(&hub.lease(&granted)), 225, "half of 400 and 100 less a tenth");
}

#[tokio::test]
async fn nothing_is_lent_on_a_customer_who_is_on_hold() {
    let (hub, erp) = (Hub::new(), Figured { on_hold: true, ..Figured::new(100_000, 1_000) });
    hub.order("O1", "D1", 30);
    let id = hub.look(&erp, "D1").await.unwrap().unwrap();
    assert_eq!(credit(&hub.lease(&id)), 0);
}

#[tokio::test]
async fn two_gateways_of_one_depot_get_a_lease_each_out_of_one_figure() {
    let (hub, erp) = (Hub::new(), Figured::new(1_000, 1_000));
    hub.order("O1", "D1", 90);
    let look = async |gateway: &str| hub.look_for(&erp, "D1", gateway).await.unwrap();
    let one = hub.lease(&look("gw-1").await.unwrap());
    assert_eq!(look("gw-1").await, None);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let two = hub.lease(&look("gw-2").await.expect("what gw-1 holds is not its own"));
    assert_eq!((one.device, two.device.clone()), (Some("gw-1".parse().unwrap()), Some("gw-2".parse().unwrap())));
    assert!(one.credit_minor.values().sum::<i64>() + credit(&two) <= 900, "of 1000 less a tenth");
}

#[tokio::test]
async fn nothing_is_lent_by_figures_that_were_read_before_the_ledger_began_another_life() {
    let hub = Hub::new();
    hub.order("O1", "D1", 30);
    let device = fixture::gateway("gw-9", "D9", 2);
    hub.store.write_now(move |tx| tx.put_device(&device, UtcMs(0))).unwrap();
    let erp = Figured { restores: Some(hub.store.clone()), ..Figured::new(100_000, 1_000) };
    assert_eq!(hub.look(&erp, "D1").await.unwrap(), None, "D9 has not told its leases");
    assert!(hub.store.read_now(|r| r.leases()).unwrap().is_empty());
}

#[tokio::test]
async fn an_erp_that_cannot_be_asked_lends_nothing() {
    let (hub, erp) = (Hub::new(), Figured { away: true, ..Figured::new(100_000, 1_000) });
    hub.order("O1", "D1", 30);
    assert!(matches!(hub.look(&erp, "D1").await, Err(GrantError::Erp(_))));
    assert!(hub.store.read_now(|r| r.leases()).unwrap().is_empty());
}

#[test]
fn a_depot_that_was_not_heard_lately_waits_until_it_is_back() {
    let hub = Hub::new();
    let device = fixture::gateway("gw-1", "D1", 2);
    let name = device.device.clone();
    hub.store.write_now(move |tx| tx.put_device(&device, UtcMs(0))).unwrap();
    let connected = |now: i64| hub.store.read_now(|r| connected_gateways(r, UtcMs(now))).unwrap().len();
    assert_eq!(connected(0), 0, "never heard");
    hub.store.write_now(move |tx| tx.device_seen(&name, None, UtcMs(1_000))).unwrap();
    assert_eq!((connected(2_000), connected(2_000 + HEARD_WITHIN_MS)), (1, 0));
}

#[tokio::test]
async fn a_depot_that_stays_away_is_put_to_a_person_once_and_its_lease_stays_reserved_until_that_person_writes_it_off()
{
    let (hub, erp) = (Hub::new(), Figured::new(1_000, 1_000));
    hub.order("O1", "D1", 90);
    hub.order("O2", "D2", 90);
    let id = hub.look(&erp, "D1").await.unwrap().unwrap();
    let lease = hub.lease(&id);
    let lent = credit(&lease);
    let at = |ms: i64| lease.expires_at.plus(ms);
    let ask = |now: UtcMs| hub.store.write_now(move |tx| ask(tx, WEEK, now)).unwrap().len();
    let unreported = || hub.store.read_now(|r| r.leases_unreported()).unwrap();
    assert_eq!((ask(at(WEEK - 1)), unreported()), (0, 0), "not before its time");
    assert_eq!((ask(at(WEEK)), ask(at(WEEK + 1)), unreported()), (1, 0, 1), "once");
    let told = hub.store.read_now(|r| r.audit_of(id.as_str(), 10)).unwrap();
    assert_eq!(told.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["lease unreported"]);

    let weighs = |now: UtcMs| {
        let (book, _) = hub.store.read_now(|r| book(r)).unwrap();
        book.committed(&crate::core::leases::Pool::Credit("C1".parse().unwrap()), now, now).sum()
    };
    assert_eq!(weighs(at(50 * WEEK)), lent, "however long it is away");
    let write_off = |now: UtcMs| {
        let id = id.clone();
        hub.store.write_now(move |tx| super::write_off(tx, &id, "ann", "the depot burnt down", now))
    };
    write_off(at(WEEK + 2)).unwrap();
    assert_eq!((weighs(at(WEEK + 3)), unreported()), (0, 0));
    assert!(write_off(at(WEEK + 4)).is_err());
}

/// The looks themselves ask, also where nobody is connected.
#[tokio::test]
async fn each_look_puts_what_is_due_to_a_person() {
    let (hub, erp) = (Hub::new(), Figured::new(1_000, 1_000));
    hub.order("O1", "D1", 90);
    let id = hub.look(&erp, "D1").await.unwrap().unwrap();
    let grantor = Grantor { unreported_after_ms: i64::MIN, ..hub.grantor.clone() };
    once(&hub.store, &erp, &hub.clock, &grantor, &mut Looks::default()).await.unwrap();
    let row = hub.store.read_now(move |r| r.lease(&id)).unwrap().unwrap();
    assert_eq!((row.asked_at.is_some(), row.state), (true, LeaseState::Outstanding));
}

/// What waits for a read of the orders is granted at a later look by the same figures, and not for ever.
#[tokio::test]
async fn what_the_erp_said_waits_over_looks_for_the_orders_to_be_read() {
    let (hub, erp) = (Hub::new(), Figured { counts_orders: true, ..Figured::new(400, 1_000) });
    let device = fixture::gateway("gw-1", "D1", 2);
    let (name, now) = (device.device.clone(), hub.clock.wall());
    hub.store.write_now(move |tx| tx.put_device(&device, now)).unwrap();
    hub.store.write_now(move |tx| tx.device_seen(&name, None, now)).unwrap();
    hub.order("O1", "D1", 60);
    let mut looks = Looks::default();
    for _ in 0..2 {
        once(&hub.store, &erp, &hub.clock, &hub.grantor, &mut looks).await.unwrap();
    }
    let leases = || hub.store.read_now(|r| r.leases()).unwrap().len();
    assert_eq!((leases(), *erp.asked.lock().unwrap(), looks.asked.len()), (0, 1, 1));
    hub.orders_are_read_after(SOON);
    once(&hub.store, &erp, &hub.clock, &hub.grantor, &mut looks).await.unwrap();
    assert_eq!((leases(), *erp.asked.lock().unwrap(), looks.asked.len()), (1, 1, 0), "nothing is asked twice");
}
