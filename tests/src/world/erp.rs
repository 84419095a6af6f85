//! The ERP of the pretend world: the stand-in's books behind the hub's own connector trait.
//!
//! It honours no key, so a posting that is sent twice counts twice. It may be away, lose an answer
//! after it applied a posting, or still be at it when the hub dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::FutureExt;
use gatehouse_common::{
    geo::Point,
    id::{CustomerId, IdError, OrderId, ProductId, SiteId},
    order::{self, OrderLine, OrderStatus, Tier},
    time::UtcMs,
};
use gatehouse_hub::{
    core::reconcile::{Posting, PostingKind},
    erp::{Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe},
};
use tokio::sync::Notify;

use super::dice::Dice;
use crate::standin::books::{self, Books, Change, Effect, Status};

/// How the ERP behaves; in thousandths of what it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mood {
    /// Nobody answers.
    pub is_away: bool,
    /// Refuses a write for now; nothing is applied.
    pub busy: u64,
    /// Applies a write and loses the answer.
    pub forgets: u64,
    /// Applies a write, and the hub dies before the answer.
    pub outlives: u64,
}

/// The ERP. Copies share it.
#[derive(Debug, Clone)]
pub struct PretendErp {
    inside: Arc<Mutex<Inside>>,
    hub_dies: Arc<Notify>,
}

#[derive(Debug)]
struct Inside {
    books: Books,
    mood: Mood,
    dice: Dice,
    now: UtcMs,
}

impl PretendErp {
    /// An ERP with empty books.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        let inside = Inside { books: Books::default(), mood: Mood::default(), dice, now: UtcMs(0) };
        Self { inside: Arc::new(Mutex::new(inside)), hub_dies: Arc::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changes at the ERP. What the books cannot take is left out.
    pub fn change(&self, change: Change) {
        let mut inside = self.inside();
        if inside.books.check(&change).is_ok() && !inside.books.already_says(&change) {
            inside.books.apply(change);
        }
    }

    /// How it behaves from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.inside().mood = mood;
    }

    /// What time it is, for what is written down there.
    pub fn set_time(&self, now: UtcMs) {
        self.inside().now = now;
    }

    /// Resolves when the hub must die: a posting was applied and its answer is not there yet.
    pub async fn hub_must_die(&self) {
        self.hub_dies.notified().await;
    }

    /// A hub starts: what killed the last one must not kill this one.
    pub fn hub_lives(&self) {
        // Two postings that were under way at once called for one death twice.
        let _ = self.hub_dies.notified().now_or_never();
    }

    /// Everything that was posted, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.inside().books.effects().to_vec()
    }

    /// Customers whose deliveries are blocked.
    #[must_use]
    pub fn customers_on_hold(&self) -> BTreeSet<String> {
        let inside = self.inside();
        inside.books.customers_since(0).filter(|c| c.credit.on_hold).map(|c| c.id.clone()).collect()
    }

    /// What is ordered of a line now, if the order is known.
    #[must_use]
    pub fn ordered(&self, order: &str, line: u16) -> Option<u32> {
        let inside = self.inside();
        let order = inside.books.order(order).ok()?;
        order.lines.iter().find(|l| l.line == line).map(|l| l.quantity)
    }
}

impl Inside {
    fn reachable(&self) -> Result<(), ErpError> {
        if self.mood.is_away { Err(transient("nobody answers")) } else { Ok(()) }
    }
}

fn transient(detail: &str) -> ErpError {
    ErpError::Transient { detail: detail.to_owned(), retry_after: None }
}

fn contract(error: &dyn std::fmt::Display) -> ErpError {
    ErpError::Contract { detail: error.to_string() }
}

#[async_trait]
impl Connector for PretendErp {
    fn name(&self) -> &str {
        "pretend"
    }

    fn caps(&self) -> Caps {
        Caps { honours_keys: false, orders_in_credit: false, orders_in_stock: false }
    }

    fn takes(&self, _: PostingKind) -> bool {
        true
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        let inside = self.inside();
        inside.reachable()?;
        let after: u64 = since.0.parse().unwrap_or(0);
        Ok(ChangePage {
            orders: inside.books.orders_since(after).map(order_of).collect::<Result<_, _>>()?,
            customers: inside.books.customers_since(after).map(customer_of).collect::<Result<_, _>>()?,
            cursor: ErpCursor(inside.books.revision().to_string()),
            more: false,
            unreadable: Vec::new(),
        })
    }

    async fn order(&self, id: &OrderId) -> Result<order::Order, ErpError> {
        let inside = self.inside();
        inside.reachable()?;
        let found = inside.books.order(id.as_str());
        order_of(found.map_err(|_| ErpError::NotFound { detail: id.to_string() })?)
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let inside = self.inside();
        inside.reachable()?;
        let found = inside.books.customer(id.as_str());
        customer_of(found.map_err(|_| ErpError::NotFound { detail: id.to_string() })?)
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        let inside = self.inside();
        inside.reachable()?;
        let levels = inside.books.stock(site.as_str());
        levels.map(|(product, units)| Ok((ProductId::new(product).map_err(|e| contract(&e))?, units))).collect()
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let outlived = {
            let mut inside = self.inside();
            inside.reachable()?;
            let mood = inside.mood;
            if inside.dice.chance(mood.busy) {
                return Err(transient("busy"));
            }
            let effect = effect_of(posting, inside.books.effects().len(), inside.now)?;
            let document = format!("effect {}", effect.seq);
            let change = Change::Effect { effect };
            inside.books.check(&change).map_err(|p| ErpError::Rejected { detail: format!("{p:?}") })?;
            inside.books.apply(change);
            if inside.dice.chance(mood.forgets) {
                return Err(ErpError::Ambiguous { detail: "the connection was reset".to_owned() });
            }
            if !inside.dice.chance(mood.outlives) {
                return Ok(Applied { document });
            }
            self.hub_dies.notify_one();
            std::future::pending::<Result<Applied, ErpError>>()
        };
        outlived.await
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        let mut inside = self.inside();
        inside.reachable()?;
        let mood = inside.mood;
        if inside.dice.chance(mood.busy) {
            return Ok(Probe::Unknown);
        }
        Ok(match inside.books.effects_of(&posting.key).next() {
            Some(effect) => Probe::Applied(Applied { document: format!("effect {}", effect.seq) }),
            None => Probe::NotApplied,
        })
    }
}

fn effect_of(posting: &Posting, count: usize, now: UtcMs) -> Result<Effect, ErpError> {
    let time = |at: UtcMs| jiff::Timestamp::from_millisecond(at.0).map_err(|e| contract(&e));
    Ok(Effect {
        seq: count as u64 + 1,
        kind: serde_json::from_value(posting.kind.as_str().into()).map_err(|e| contract(&e))?,
        order: posting.order.to_string(),
        line: posting.line,
        quantity: posting.quantity,
        reference: posting.key.clone(),
        text: Some(posting.text.clone()),
        amount_minor: posting.amount_minor,
        status: posting.status.map(|status| match status {
            OrderStatus::Released => Status::Released,
            OrderStatus::Cancelled => Status::Cancelled,
        }),
        at: time(posting.at)?,
        received_at: time(now)?,
    })
}

fn order_of(order: &books::Order) -> Result<order::Order, ErpError> {
    let read = || -> Result<order::Order, IdError> {
        Ok(order::Order {
            id: order.id.parse()?,
            version: 0,
            site: order.site.parse()?,
            customer: order::Customer {
                id: order.customer.id.parse()?,
                name: order.customer.name.clone(),
                tier: match order.customer.tier {
                    books::Tier::C => Tier::C,
                    books::Tier::B => Tier::B,
                    books::Tier::A => Tier::A,
                    books::Tier::Critical => Tier::Critical,
                },
            },
            lines: order.lines.iter().map(line_of).collect::<Result<_, _>>()?,
            currency: order.currency.clone(),
            class: order.class.clone(),
            vehicle: order.vehicle.parse()?,
            carrier: order.carrier.parse()?,
            door: order.door.parse()?,
            planned_departure: UtcMs(order.planned_departure.as_millisecond()),
            window_end: UtcMs(order.window_end.as_millisecond()),
            destination: order.destination.map(|place| Point { lat: place.lat, lon: place.lon }),
            route: None,
            status: match order.status {
                Status::Released => OrderStatus::Released,
                Status::Cancelled => OrderStatus::Cancelled,
            },
            cut_off: None,
            dangerous_goods: false,
        })
    };
    read().map_err(|e| contract(&e))
}

fn line_of(line: &books::Line) -> Result<OrderLine, IdError> {
    Ok(OrderLine {
        line: line.line,
        product: line.product.parse()?,
        quantity: line.quantity,
        unit_price_minor: line.unit_price_minor,
        unit_weight_grams: None,
    })
}

fn customer_of(customer: &books::Customer) -> Result<Customer, ErpError> {
    Ok(Customer {
        id: customer.id.parse().map_err(|e: IdError| contract(&e))?,
        on_hold: customer.credit.on_hold,
        limit_minor: Some(customer.credit.limit_minor),
        exposure_minor: customer.credit.exposure_minor,
    })
}
