//! What WMS, TMS and the people at the ERP do in the pretend world.

use std::collections::BTreeSet;

use gatehouse_common::id::OrderId;
use serde_json::{Value, json};

use super::{Event, World, clock::MINUTE, erp::Mood};
use crate::standin::books::Change;

/// Something that happens in the business.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// At the ERP.
    Erp(Box<Change>),
    /// The ERP behaves otherwise from now on.
    Mood(Mood),
    /// A partner tells a fact; again and again until the hub has it.
    Tells(Value),
    /// A line is cut or mended.
    Line { agent: usize, is_cut: bool },
}

/// A fact that WMS or TMS tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// So many units of a line can be picked.
    Inventory(u16, u32),
    /// The vehicle can carry it, or not.
    Capacity(bool),
    /// The carrier accepts, or not.
    Carrier(bool),
}

impl World {
    /// A change at the ERP, `ms` from now.
    pub fn erp_after(&mut self, ms: i64, change: Change) {
        self.after(ms, Event::Business(News::Erp(Box::new(change))));
    }

    /// A change of the ERP's behaviour, `ms` from now.
    pub fn mood_after(&mut self, ms: i64, mood: Mood) {
        self.after(ms, Event::Business(News::Mood(mood)));
    }

    /// A line is cut or mended, `ms` from now.
    pub fn line_after(&mut self, ms: i64, agent: usize, is_cut: bool) {
        self.after(ms, Event::Business(News::Line { agent, is_cut }));
    }

    /// WMS or TMS tells a fact of an order, `ms` from now.
    pub fn told_after(&mut self, ms: i64, order: &OrderId, word: &Word) {
        self.counter += 1;
        let at = self.now.plus(ms).to_string();
        let (kind, source, data) = match word {
            Word::Inventory(line, confirmed) => (
                "io.gatehouse.wms.inventory.v1",
                "/wms/pretend",
                json!({ "order": order, "line": line, "confirmed": confirmed, "at": at }),
            ),
            Word::Capacity(sufficient) => (
                "io.gatehouse.tms.capacity.v1",
                "/tms/pretend",
                json!({ "order": order, "sufficient": sufficient, "vehicle": null }),
            ),
            Word::Carrier(accepted) => (
                "io.gatehouse.tms.carrier.v1",
                "/tms/pretend",
                json!({ "order": order, "accepted": accepted, "carrier": "ACME" }),
            ),
        };
        let event = json!({
            "specversion": "1.0", "id": format!("e{}", self.counter), "source": source, "type": kind,
            "time": at, "datacontenttype": "application/json", "data": data,
        });
        self.after(ms, Event::Business(News::Tells(event)));
    }

    /// The hub is to look at what people did there.
    pub fn hub_has_work(&mut self) {
        self.changes();
        self.hub_has_changed();
    }

    pub(super) fn business(&mut self, news: News) {
        match news {
            News::Erp(change) => {
                self.say(&format!("at the ERP: {}", headline(&change)));
                self.erp.change(*change);
                self.changes();
            }
            News::Mood(mood) => {
                self.say(if mood.is_away { "the ERP is away" } else { "the ERP is there" });
                self.erp.set_mood(mood);
            }
            News::Tells(event) => self.tells(event),
            News::Line { agent, is_cut } => {
                self.agents[agent].line.is_cut = is_cut;
                let device = self.agents[agent].device.clone();
                self.say(&format!("the line of {device} is {}", if is_cut { "cut" } else { "mended" }));
                if is_cut {
                    self.book.note("cuts");
                }
            }
        }
    }

    fn tells(&mut self, event: Value) {
        self.at_some_replica();
        let taken = self.hub.event(event.to_string().as_bytes());
        match self.must("taking an event in", taken) {
            None => {}
            // Nobody answered: at least once means again.
            Some(None) => self.after(MINUTE, Event::Business(News::Tells(event))),
            Some(Some(_)) => {
                self.hub_has_work();
                if self.dice.chance(self.weather.partner_repeats) {
                    let late = self.dice.between(1, 5 * MINUTE);
                    self.after(late, Event::Business(News::Tells(event)));
                }
            }
        }
    }

    /// Whoever is on credit hold is freed, so that what stands still for it can go on.
    pub(super) fn business_calms_down(&mut self) {
        let customers: BTreeSet<String> = self.erp.customers_on_hold();
        for customer in customers {
            self.erp_after(MINUTE, Change::HoldCustomer { customer, on_hold: false });
        }
    }
}

fn headline(change: &Change) -> String {
    match change {
        Change::PutOrder { order } => format!("order {} for {}", order.id, order.site),
        Change::CancelOrder { order } => format!("order {order} is cancelled"),
        Change::SetQuantity { order, line, quantity } => format!("order {order} line {line} is now {quantity}"),
        Change::PutCustomer { customer } => format!("customer {}", customer.id),
        Change::HoldCustomer { customer, on_hold } => {
            format!("customer {customer} is {}", if *on_hold { "on credit hold" } else { "free again" })
        }
        Change::PutStock { site, product, available } => format!("{available} {product} at {site}"),
        Change::Effect { effect } => format!("{:?} of {}", effect.kind, effect.order),
        Change::Touch { order } => format!("order {order} counts as changed"),
    }
}
