//! An ERP's words for what an order, a customer and stock are: a map of fields, given as configuration.
//!
//! In: a JSON object of an ERP and the map. Out: an [`Order`], a [`Customer`] or a stock level, or one sentence that
//! names the place and what is wrong with it. A field is named by its path, such as `customer/id`.

mod doc;

use std::collections::BTreeMap;

use gatehouse_common::{
    geo::Point,
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::{self, Order, OrderLine, OrderStatus, Tier},
};
use serde::Deserialize;
use serde_json::Value;

use super::Customer;
use crate::config::SaleTerms;
pub use doc::{Doc, Fault};

/// `order` in the map of an ERP: where an order's fields stand. Those that are left out come from `[erp.terms]`, or are not known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderMap {
    /// Its number.
    pub id: String,
    /// The depot it leaves from, in the ERP's word.
    pub site: String,
    /// Number of the customer.
    pub customer: String,
    /// Name of the customer. Left out: the number.
    pub customer_name: Option<String>,
    /// Service level: `c`, `b`, `a` or `critical`. Left out: `b`.
    pub tier: Option<String>,
    /// ISO 4217 code. Left out: `EUR`.
    pub currency: Option<String>,
    /// Class of the bundle's rules.
    pub class: Option<String>,
    /// Planned vehicle.
    pub vehicle: Option<String>,
    /// Planned carrier.
    pub carrier: Option<String>,
    /// Planned dock door.
    pub door: Option<String>,
    /// When it should leave: a time in RFC 3339, or a day, to which `erp.terms.departs_at` adds the time.
    pub departure: String,
    /// End of the delivery window. Left out: `erp.terms.window_hours` after the departure.
    pub window_end: Option<String>,
    /// Latitude of the destination, in degrees.
    pub latitude: Option<String>,
    /// Longitude of the destination, in degrees.
    pub longitude: Option<String>,
    /// Latest departure that keeps the promise.
    pub cut_off: Option<String>,
    /// Whether it carries dangerous goods.
    pub dangerous_goods: Option<String>,
    /// What says that it is cancelled, and the values by which it does.
    pub status: Option<String>,
    /// Values of `status` that mean cancelled.
    #[serde(default)]
    pub cancelled: Vec<Value>,
    /// Its list of lines.
    pub lines: String,
    /// Where the fields of a line stand.
    pub line: LineMap,
}

/// `order.line`: where the fields of a line stand.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineMap {
    /// Its number; `#` for its place in the list, from 1, where lines have none.
    pub line: String,
    /// What the number is divided by: 10 for an ERP that counts 10, 20, 30. Default 1.
    #[serde(default = "one")]
    pub step: u32,
    /// The product.
    pub product: String,
    /// Units ordered.
    pub quantity: String,
    /// Price of a unit in the currency's unit, such as 12.50.
    pub price: String,
    /// Weight of a unit in grams.
    pub weight_grams: Option<String>,
}

/// The name of a line's place in its order.
pub const PLACE: &str = "#";

fn one() -> u32 {
    1
}

/// Where a customer's credit stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerMap {
    /// Its number.
    pub id: String,
    /// What says that deliveries are blocked.
    pub hold: Option<String>,
    /// Values of `hold` that mean blocked. Left out: `true`.
    #[serde(default)]
    pub held: Vec<Value>,
    /// Most that may be owed, in the currency's unit. Left out, or empty: no limit.
    pub limit: Option<String>,
    /// What is owed, in the currency's unit.
    pub exposure: Option<String>,
}

/// Where a stock level stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockMap {
    /// The depot, in the ERP's word.
    pub site: String,
    /// The product.
    pub product: String,
    /// Units available.
    pub available: String,
}

impl OrderMap {
    /// The order that an object is. Its version is 0.
    /// # Errors
    /// One sentence with the place.
    pub fn read(&self, value: &Value, sites: &BTreeMap<String, SiteId>, terms: &SaleTerms) -> Result<Order, Fault> {
        let number = Doc { place: "an order", value }.text(&self.id)?;
        let place = format!("order {number}");
        let doc = Doc { place: &place, value };
        let customer: CustomerId = doc.parsed(&self.customer)?;
        let planned_departure = doc.time(&self.departure, terms.departs_at)?;
        let window_ms = i64::from(terms.window_hours).saturating_mul(3_600_000);
        let time = |path: &str| doc.time(path, terms.departs_at);
        let is_cancelled = doc.is_one_of(self.status.as_ref(), &self.cancelled);
        let tier = doc.optional(self.tier.as_ref(), |path| {
            let tier = serde_json::from_value::<Tier>(Value::String(doc.text(path)?.to_lowercase()));
            tier.map_err(|e| doc.fault(path, e))
        })?;
        Ok(Order {
            id: doc.parsed::<OrderId>(&self.id)?,
            version: 0,
            site: site(doc, &self.site, sites)?,
            customer: order::Customer {
                name: doc
                    .optional(self.customer_name.as_ref(), |path| doc.text(path))?
                    .unwrap_or_else(|| customer.to_string()),
                id: customer,
                tier: tier.unwrap_or(Tier::B),
            },
            lines: self.read_lines(doc)?,
            currency: doc.optional(self.currency.as_ref(), |path| doc.text(path))?.unwrap_or_else(|| "EUR".to_owned()),
            class: doc.optional(self.class.as_ref(), |path| doc.text(path))?.unwrap_or_else(|| terms.class.clone()),
            vehicle: doc.named(self.vehicle.as_ref(), terms.vehicle.as_ref(), "vehicle")?,
            carrier: doc.named(self.carrier.as_ref(), terms.carrier.as_ref(), "carrier")?,
            door: doc.named(self.door.as_ref(), terms.door.as_ref(), "door")?,
            planned_departure,
            window_end: doc
                .optional(self.window_end.as_ref(), time)?
                .unwrap_or_else(|| planned_departure.plus(window_ms)),
            destination: self.destination(doc)?,
            route: None,
            status: if is_cancelled { OrderStatus::Cancelled } else { OrderStatus::Released },
            cut_off: doc.optional(self.cut_off.as_ref(), time)?,
            dangerous_goods: doc.is_one_of(self.dangerous_goods.as_ref(), &[Value::Bool(true), "X".into()]),
        })
    }

    fn read_lines(&self, doc: Doc<'_>) -> Result<Vec<OrderLine>, Fault> {
        let rows = doc.at(&self.lines).and_then(Value::as_array).filter(|rows| !rows.is_empty());
        let rows = rows.ok_or_else(|| doc.fault(&self.lines, "has no lines"))?;
        if self.line.line != PLACE {
            return rows.iter().map(|value| self.line.read(Doc { place: doc.place, value })).collect();
        }
        let read = |(n, row): (usize, &Value)| {
            let mut row = row.clone();
            row[PLACE] = (n + 1).into();
            self.line.read(Doc { place: doc.place, value: &row })
        };
        rows.iter().enumerate().map(read).collect()
    }

    fn destination(&self, doc: Doc<'_>) -> Result<Option<Point>, Fault> {
        let degrees = |path: &str| doc.parsed::<f64>(path);
        let lat = doc.optional(self.latitude.as_ref(), degrees)?;
        let lon = doc.optional(self.longitude.as_ref(), degrees)?;
        Ok(lat.zip(lon).map(|(lat, lon)| Point { lat, lon }).filter(Point::is_valid))
    }
}

impl LineMap {
    /// The number of a line, from 1.
    /// # Errors
    /// One sentence if it is none.
    pub fn number(&self, row: Doc<'_>) -> Result<u16, Fault> {
        let number = row.units(&self.line)?;
        let step = i64::from(self.step.max(1));
        let line = u16::try_from(number / step).ok().filter(|line| *line > 0 && number % step == 0);
        line.ok_or_else(|| row.fault(&self.line, format!("is {number}, a multiple of {step} is expected")))
    }

    /// The line that an object is.
    /// # Errors
    /// What is wrong with which field.
    pub fn read(&self, row: Doc<'_>) -> Result<OrderLine, Fault> {
        let units = row.units(&self.quantity)?;
        Ok(OrderLine {
            line: self.number(row)?,
            product: row.parsed::<ProductId>(&self.product)?,
            quantity: u32::try_from(units).map_err(|_| row.fault(&self.quantity, "is out of range"))?,
            unit_price_minor: row.minor(&self.price)?,
            unit_weight_grams: row.optional(self.weight_grams.as_ref(), |path| row.parsed(path))?,
        })
    }
}

fn site(doc: Doc<'_>, path: &str, sites: &BTreeMap<String, SiteId>) -> Result<SiteId, Fault> {
    let theirs = doc.text(path)?;
    match sites.get(&theirs) {
        Some(site) => Ok(site.clone()),
        None => SiteId::new(theirs).map_err(|e| doc.fault(path, e)),
    }
}

impl CustomerMap {
    /// The standing that an object is.
    /// # Errors
    /// One sentence with the place.
    pub fn read(&self, value: &Value) -> Result<Customer, Fault> {
        let number = Doc { place: "a customer", value }.text(&self.id)?;
        let place = format!("customer {number}");
        let doc = Doc { place: &place, value };
        Ok(Customer {
            id: doc.parsed(&self.id)?,
            on_hold: doc.is_one_of(self.hold.as_ref(), &self.held),
            limit_minor: doc.optional(self.limit.as_ref(), |path| doc.minor(path))?,
            exposure_minor: doc.optional(self.exposure.as_ref(), |path| doc.minor(path))?.unwrap_or(0),
        })
    }
}

impl StockMap {
    /// A product and how many whole units of it are available.
    /// # Errors
    /// One sentence with the place.
    pub fn read(&self, value: &Value) -> Result<(ProductId, i64), Fault> {
        let doc = Doc { place: "stock", value };
        let text = doc.text(&self.available)?;
        let floor = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
        let units = floor.parse().map_err(|_| doc.fault(&self.available, format!("is {text}, no number")))?;
        Ok((doc.parsed(&self.product)?, units))
    }
}

#[cfg(test)]
mod tests;
