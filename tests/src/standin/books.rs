//! What the stand-in ERP holds to be true: orders, customers, stock and effects.
//!
//! In: a [`Change`], already read from a request or from the state file. Out: the new state, and who changed since when.
//! Never reads the clock, the network or the disk. The same changes in the same order give the same books,
//! which is how a restart gets them back.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::wire::Problem;

/// An order as the ERP shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub id: String,
    /// Where its last change stands in the count of all changes; 0 before it is in the books.
    pub revision: u64,
    /// The depot it leaves from.
    pub site: String,
    /// Who ordered, as copied when the order was made.
    pub customer: Buyer,
    /// What was ordered; never empty.
    pub lines: Vec<Line>,
    /// ISO 4217 code.
    pub currency: String,
    /// Class of service.
    pub class: String,
    /// Planned vehicle.
    pub vehicle: String,
    /// Planned carrier.
    pub carrier: String,
    /// Planned dock door.
    pub door: String,
    /// When it should leave.
    pub planned_departure: Timestamp,
    /// End of the promised window.
    pub window_end: Timestamp,
    /// Where it goes, where known.
    pub destination: Option<Place>,
    /// Whether it may leave.
    pub status: Status,
}

/// Who ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buyer {
    /// Number of the customer.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Service level.
    pub tier: Tier,
}

/// Service level of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Least urgent.
    C,
    /// Between.
    B,
    /// Urgent.
    A,
    /// Most urgent.
    Critical,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub line: u16,
    /// What.
    pub product: String,
    /// How many units.
    pub quantity: u32,
    /// Price of one unit in minor units of the order's currency.
    pub unit_price_minor: i64,
}

/// A place on earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Latitude, -90 to 90.
    pub lat: f64,
    /// Longitude, -180 to 180.
    pub lon: f64,
}

/// Whether an order may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    Released,
    /// It shall not.
    Cancelled,
}

/// A customer as the ERP shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Its number.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Service level.
    pub tier: Tier,
    /// Where its last change stands in the count of all changes; 0 before it is in the books.
    pub revision: u64,
    /// Credit standing.
    pub credit: Credit,
}

/// Credit standing of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Whether new deliveries are blocked.
    pub on_hold: bool,
    /// Most that may be owed, in minor units.
    pub limit_minor: i64,
    /// What is owed, in minor units; rises with each goods issue by its value.
    pub exposure_minor: i64,
    /// ISO 4217 code of both.
    pub currency: String,
}

/// What a posting does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// The delivery was released.
    Release,
    /// That release is void.
    VoidRelease,
    /// Goods left: stock falls, exposure rises.
    GoodsIssue,
    /// An invoice was asked for.
    Invoice,
    /// Goods came back: stock rises.
    Return,
    /// A credit note is proposed. Nothing is booked before someone writes it.
    CreditNote,
    /// The order is reinstated, cancelled or given another quantity.
    OrderChange,
    /// The customer is told something.
    CustomerMessage,
}

/// A posting that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// What it does.
    pub kind: EffectKind,
    /// Number of the order.
    pub order: String,
    /// Number of the line, where it is about one.
    pub line: Option<u16>,
    /// How many units, where it is about some.
    pub quantity: Option<u32>,
    /// The poster's key.
    pub reference: String,
    /// Words for people.
    pub text: Option<String>,
    /// New status of the order; only in an order change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What a proposed credit note is worth, in minor units of the order's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// When it happened, as the poster says.
    pub at: Timestamp,
    /// When it arrived, by this machine's clock.
    pub received_at: Timestamp,
}

impl Effect {
    /// Whether `other` asks for the same thing, so that it may be a second try of this one.
    #[must_use]
    pub fn asks_the_same_as(&self, other: &Effect) -> bool {
        let asks = |e: &Self| (e.kind, e.line, e.quantity, e.status, e.amount_minor);
        self.order == other.order && asks(self) == asks(other)
    }
}

/// Anything that changes the books; one line of the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// An order is new, or replaced whole.
    PutOrder {
        /// The order; its revision is not looked at.
        order: Order,
    },
    /// An order is cancelled.
    CancelOrder {
        /// Its number.
        order: String,
    },
    /// A line gets another quantity.
    SetQuantity {
        /// Number of the order.
        order: String,
        /// Number of the line.
        line: u16,
        /// Units from now on.
        quantity: u32,
    },
    /// A customer is new, or replaced whole.
    PutCustomer {
        /// The customer; its revision is not looked at.
        customer: Customer,
    },
    /// A customer's deliveries are blocked or freed.
    HoldCustomer {
        /// Its number.
        customer: String,
        /// Blocked.
        on_hold: bool,
    },
    /// Stock was counted.
    PutStock {
        /// Where.
        site: String,
        /// What.
        product: String,
        /// Units.
        available: i64,
    },
    /// A posting is applied.
    Effect {
        /// The posting.
        effect: Effect,
    },
    /// An order counts as changed: something was posted under its version.
    Touch {
        /// Its number.
        order: String,
    },
}

/// All that the ERP holds to be true.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Books {
    revision: u64,
    orders: BTreeMap<String, Order>,
    orders_by_revision: BTreeMap<u64, String>,
    customers: BTreeMap<String, Customer>,
    customers_by_revision: BTreeMap<u64, String>,
    stock: BTreeMap<String, BTreeMap<String, i64>>,
    effects: Vec<Effect>,
    effects_by_reference: HashMap<String, Vec<usize>>,
}

impl Books {
    /// The count of all changes of orders and customers.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One order.
    /// # Errors
    /// 404 if it is not in the books.
    pub fn order(&self, id: &str) -> Result<&Order, Problem> {
        self.orders.get(id).ok_or_else(|| Problem::not_found(format!("no order {id}")))
    }

    /// One customer.
    /// # Errors
    /// 404 if it is not in the books.
    pub fn customer(&self, id: &str) -> Result<&Customer, Problem> {
        self.customers.get(id).ok_or_else(|| Problem::not_found(format!("no customer {id}")))
    }

    /// Orders changed after revision `since`, each once in its newest form, oldest change first.
    pub fn orders_since(&self, since: u64) -> impl Iterator<Item = &Order> {
        self.orders_by_revision.range(since.saturating_add(1)..).filter_map(|(_, id)| self.orders.get(id))
    }

    /// Customers changed after revision `since`, each once in its newest form, oldest change first.
    pub fn customers_since(&self, since: u64) -> impl Iterator<Item = &Customer> {
        self.customers_by_revision.range(since.saturating_add(1)..).filter_map(|(_, id)| self.customers.get(id))
    }

    /// Products of a site and how many units of each are available; below zero if more was issued than counted.
    pub fn stock(&self, site: &str) -> impl Iterator<Item = (&String, i64)> {
        self.stock.get(site).into_iter().flatten().map(|(product, available)| (product, *available))
    }

    /// All effects in the order they were applied; the one numbered `n` is at `n - 1`.
    #[must_use]
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Effects with this key, oldest first.
    pub fn effects_of(&self, reference: &str) -> impl Iterator<Item = &Effect> {
        self.effects_by_reference.get(reference).into_iter().flatten().filter_map(|at| self.effects.get(*at))
    }

    /// Whether the books can take `change`.
    /// # Errors
    /// 404 for an order, line or customer that is not there, 400 for what contradicts itself.
    pub fn check(&self, change: &Change) -> Result<(), Problem> {
        match change {
            Change::PutOrder { order } => {
                let customer = self.customers.get(&order.customer.id).ok_or_else(|| {
                    let id = &order.customer.id;
                    Problem::malformed("customer.id", format!("no customer {id}; PUT /admin/customers/{id} first"))
                })?;
                // Exposure is one sum; adding another currency to it would make it mean nothing.
                if order.currency != customer.credit.currency {
                    let detail =
                        format!("is {}, but the customer owes in {}", order.currency, customer.credit.currency);
                    return Err(Problem::malformed("currency", detail));
                }
                if order.lines.is_empty() {
                    return Err(Problem::malformed("lines", "is empty"));
                }
                let mut seen = HashSet::new();
                match order.lines.iter().position(|line| !seen.insert(line.line)) {
                    Some(i) => Err(Problem::malformed(format!("lines[{i}].line"), "is there twice")),
                    None => Ok(()),
                }
            }
            Change::CancelOrder { order } | Change::Touch { order } => self.order(order).map(|_| ()),
            Change::SetQuantity { order, line, .. } => self.line(order, *line).map(|_| ()),
            Change::HoldCustomer { customer, .. } => self.customer(customer).map(|_| ()),
            Change::PutCustomer { .. } | Change::PutStock { .. } => Ok(()),
            Change::Effect { effect } => match effect.line {
                Some(line) => self.line(&effect.order, line).map(|_| ()),
                None => match self.order(&effect.order)?.status {
                    Status::Cancelled if effect.kind == EffectKind::Release => {
                        let detail = format!("order {} is cancelled and cannot be released", effect.order);
                        Err(Problem::malformed("kind", detail))
                    }
                    _ => Ok(()),
                },
            },
        }
    }

    /// Whether `change` would leave the books as they are. An effect or a touch never does: it is counted.
    #[must_use]
    pub fn already_says(&self, change: &Change) -> bool {
        match change {
            Change::PutOrder { order } => self
                .orders
                .get(&order.id)
                .is_some_and(|held| *held == Order { revision: held.revision, ..order.clone() }),
            Change::CancelOrder { order } => self.order(order).is_ok_and(|o| o.status == Status::Cancelled),
            Change::SetQuantity { order, line, quantity } => {
                self.line(order, *line).is_ok_and(|l| l.quantity == *quantity)
            }
            Change::PutCustomer { customer } => self
                .customers
                .get(&customer.id)
                .is_some_and(|held| *held == Customer { revision: held.revision, ..customer.clone() }),
            Change::HoldCustomer { customer, on_hold } => {
                self.customer(customer).is_ok_and(|c| c.credit.on_hold == *on_hold)
            }
            Change::PutStock { site, product, available } => {
                self.stock.get(site).and_then(|products| products.get(product)) == Some(available)
            }
            Change::Effect { .. } | Change::Touch { .. } => false,
        }
    }

    /// Applies a change that [`Books::check`] let through.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::PutOrder { order } => {
                let id = order.id.clone();
                let revision = self.orders.get(&id).map_or(0, |held| held.revision);
                self.orders.insert(id.clone(), Order { revision, ..order });
                self.change_order(&id, |_| ());
            }
            Change::CancelOrder { order } => self.change_order(&order, |o| o.status = Status::Cancelled),
            Change::Touch { order } => self.change_order(&order, |_| ()),
            Change::SetQuantity { order, line, quantity } => {
                self.change_order(&order, |o| set_quantity(o, line, quantity));
            }
            Change::PutCustomer { customer } => {
                let id = customer.id.clone();
                let revision = self.customers.get(&id).map_or(0, |held| held.revision);
                self.customers.insert(id.clone(), Customer { revision, ..customer });
                self.change_customer(&id, |_| ());
            }
            Change::HoldCustomer { customer, on_hold } => {
                self.change_customer(&customer, |c| c.credit.on_hold = on_hold);
            }
            Change::PutStock { site, product, available } => {
                self.stock.entry(site).or_default().insert(product, available);
            }
            Change::Effect { effect } => {
                self.take_effect(&effect);
                self.effects_by_reference.entry(effect.reference.clone()).or_default().push(self.effects.len());
                self.effects.push(effect);
            }
        }
    }

    fn line(&self, order: &str, line: u16) -> Result<&Line, Problem> {
        let found = self.order(order)?.lines.iter().find(|l| l.line == line);
        found.ok_or_else(|| Problem::not_found(format!("order {order} has no line {line}")))
    }

    fn take_effect(&mut self, effect: &Effect) {
        match (effect.kind, effect.line, effect.quantity) {
            (EffectKind::GoodsIssue, Some(line), Some(quantity)) => {
                let Some((customer, value_minor)) = self.move_stock(&effect.order, line, -i64::from(quantity)) else {
                    return;
                };
                self.change_customer(&customer, |c| {
                    c.credit.exposure_minor = c.credit.exposure_minor.saturating_add(value_minor);
                });
            }
            (EffectKind::Return, Some(line), Some(quantity)) => {
                self.move_stock(&effect.order, line, i64::from(quantity));
            }
            (EffectKind::OrderChange, line, quantity) => self.change_order(&effect.order, |o| {
                o.status = effect.status.unwrap_or(o.status);
                if let (Some(line), Some(quantity)) = (line, quantity) {
                    set_quantity(o, line, quantity);
                }
            }),
            _ => {}
        }
    }

    /// Moves stock of a line's product; gives the customer and the value of what was moved.
    fn move_stock(&mut self, order: &str, line: u16, units: i64) -> Option<(String, i64)> {
        let order = self.orders.get(order)?;
        let line = order.lines.iter().find(|l| l.line == line)?;
        let available = self.stock.entry(order.site.clone()).or_default().entry(line.product.clone()).or_default();
        *available = available.saturating_add(units);
        Some((order.customer.id.clone(), line.unit_price_minor.saturating_mul(units.saturating_abs())))
    }

    fn change_order(&mut self, id: &str, change: impl FnOnce(&mut Order)) {
        let Some(order) = self.orders.get_mut(id) else { return };
        change(order);
        self.revision += 1;
        self.orders_by_revision.remove(&order.revision);
        order.revision = self.revision;
        self.orders_by_revision.insert(order.revision, id.to_owned());
    }

    fn change_customer(&mut self, id: &str, change: impl FnOnce(&mut Customer)) {
        let Some(customer) = self.customers.get_mut(id) else { return };
        change(customer);
        self.revision += 1;
        self.customers_by_revision.remove(&customer.revision);
        customer.revision = self.revision;
        self.customers_by_revision.insert(customer.revision, id.to_owned());
    }
}

fn set_quantity(order: &mut Order, line: u16, quantity: u32) {
    if let Some(line) = order.lines.iter_mut().find(|l| l.line == line) {
        line.quantity = quantity;
    }
}
