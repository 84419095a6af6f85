//! An ERP's words for what an order, a customer and stock are: a map of fields, given as configuration.
//!
//! In: a JSON object of an ERP and the map. Out: an [`Order`], a [`Customer`] or a stock level, or one sentence that
//! names the place and what is wrong with it. A field is named by its path, such as `customer/id`.

use std::{collections::BTreeMap, str::FromStr};

use gatehouse_common::{
    geo::Point,
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::{self, Order, OrderLine, OrderStatus, Tier},
    time::UtcMs,
};
use jiff::{civil, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;

use super::Customer;
use crate::config::SaleTerms;

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
    /// Its number.
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

/// A JSON object and where it stands, so that a sentence can say so.
#[derive(Debug, Clone, Copy)]
pub struct Doc<'a> {
    /// What it is, such as `order 4711`.
    pub place: &'a str,
    /// The object.
    pub value: &'a Value,
}

impl<'a> Doc<'a> {
    /// The value at a path; none where nothing, an empty text or null stands.
    #[must_use]
    pub fn at(self, path: &str) -> Option<&'a Value> {
        let found = path.split('/').try_fold(self.value, |value, name| value.get(name))?;
        (!found.is_null() && found.as_str() != Some("")).then_some(found)
    }

    /// A problem with a field.
    #[must_use]
    pub fn problem(self, path: &str, what: impl std::fmt::Display) -> String {
        format!("{}: {path} {what}", self.place)
    }

    fn needed(self, path: &str) -> Result<&'a Value, String> {
        self.at(path).ok_or_else(|| self.problem(path, "is missing or empty"))
    }

    /// A text, or a number as text.
    /// # Errors
    /// One sentence if it is missing or something else.
    pub fn text(self, path: &str) -> Result<String, String> {
        match self.needed(path)? {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(self.problem(path, format!("is {other}, text is expected"))),
        }
    }

    fn parsed<T: FromStr>(self, path: &str) -> Result<T, String>
    where
        T::Err: std::fmt::Display,
    {
        self.text(path)?.parse().map_err(|e| self.problem(path, e))
    }

    /// A whole number, sent as a number or as text such as `4.000`.
    /// # Errors
    /// One sentence if it is missing, no number, or has a fraction.
    pub fn units(self, path: &str) -> Result<i64, String> {
        let text = self.text(path)?;
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let units = whole.parse().ok().filter(|_| fraction.bytes().all(|digit| digit == b'0'));
        units.ok_or_else(|| self.problem(path, format!("is {text}, a whole number is expected")))
    }

    /// An amount with two digits behind the point, in minor units; half a minor unit counts as one.
    /// # Errors
    /// One sentence if it is missing or no amount.
    pub fn minor(self, path: &str) -> Result<i64, String> {
        let text = self.text(path)?;
        minor(&text).ok_or_else(|| self.problem(path, format!("is {text}, an amount is expected")))
    }

    /// A time; a day gets `at`.
    /// # Errors
    /// One sentence if it is missing or neither.
    pub fn time(self, path: &str, at: civil::Time) -> Result<UtcMs, String> {
        let text = self.text(path)?;
        if let Ok(time) = text.parse::<UtcMs>() {
            return Ok(time);
        }
        let day = text.parse::<civil::Date>().ok().and_then(|day| day.to_datetime(at).to_zoned(TimeZone::UTC).ok());
        let time = day.map(|at| UtcMs(at.timestamp().as_millisecond()));
        time.ok_or_else(|| self.problem(path, format!("is {text:?}, a time in RFC 3339 or a day is expected")))
    }

    /// Whether what stands there is one of `values`, or `true` if there are none.
    fn is_one_of(self, path: Option<&String>, values: &[Value]) -> bool {
        let Some(found) = path.and_then(|path| self.at(path)) else { return false };
        if values.is_empty() { *found == Value::Bool(true) } else { values.contains(found) }
    }

    /// What stands at a path that the map may not have, or what holds else.
    fn named<T: FromStr + Clone>(self, path: Option<&String>, else_: Option<&T>, what: &str) -> Result<T, String>
    where
        T::Err: std::fmt::Display,
    {
        match (path.filter(|path| self.at(path).is_some()), else_) {
            (Some(path), _) => self.parsed(path),
            (None, Some(value)) => Ok(value.clone()),
            (None, None) => {
                Err(format!("{}: no {what} is named: map a field to it, or set erp.terms.{what}", self.place))
            }
        }
    }

    /// What stands at a path, read by `read`, if the map has the path and something stands there.
    fn optional<T>(
        self,
        path: Option<&String>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        path.filter(|path| self.at(path).is_some()).map(|path| read(path)).transpose()
    }
}

/// `12.345` is 1235.
fn minor(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |n: usize| i64::from(fraction.as_bytes().get(n).map_or(0, |b| b - b'0'));
    let amount = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(digit(0) * 10 + digit(1))?;
    amount.checked_add(i64::from(digit(2) >= 5)).map(|amount| sign * amount)
}

impl OrderMap {
    /// The order that an object is. Its version is 0.
    /// # Errors
    /// One sentence with the place.
    pub fn read(&self, value: &Value, sites: &BTreeMap<String, SiteId>, terms: &SaleTerms) -> Result<Order, String> {
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
            tier.map_err(|e| doc.problem(path, e))
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

    fn read_lines(&self, doc: Doc<'_>) -> Result<Vec<OrderLine>, String> {
        let rows = doc.at(&self.lines).and_then(Value::as_array).filter(|rows| !rows.is_empty());
        let rows = rows.ok_or_else(|| doc.problem(&self.lines, "has no lines"))?;
        rows.iter().map(|value| self.line.read(Doc { place: doc.place, value })).collect()
    }

    fn destination(&self, doc: Doc<'_>) -> Result<Option<Point>, String> {
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
    pub fn number(&self, row: Doc<'_>) -> Result<u16, String> {
        let number = row.units(&self.line)?;
        let step = i64::from(self.step.max(1));
        let line = u16::try_from(number / step).ok().filter(|line| *line > 0 && number % step == 0);
        line.ok_or_else(|| row.problem(&self.line, format!("is {number}, a multiple of {step} is expected")))
    }

    fn read(&self, row: Doc<'_>) -> Result<OrderLine, String> {
        let units = row.units(&self.quantity)?;
        Ok(OrderLine {
            line: self.number(row)?,
            product: row.parsed::<ProductId>(&self.product)?,
            quantity: u32::try_from(units).map_err(|_| row.problem(&self.quantity, "is out of range"))?,
            unit_price_minor: row.minor(&self.price)?,
            unit_weight_grams: row.optional(self.weight_grams.as_ref(), |path| row.parsed(path))?,
        })
    }
}

fn site(doc: Doc<'_>, path: &str, sites: &BTreeMap<String, SiteId>) -> Result<SiteId, String> {
    let theirs = doc.text(path)?;
    match sites.get(&theirs) {
        Some(site) => Ok(site.clone()),
        None => SiteId::new(theirs).map_err(|e| doc.problem(path, e)),
    }
}

impl CustomerMap {
    /// The standing that an object is.
    /// # Errors
    /// One sentence with the place.
    pub fn read(&self, value: &Value) -> Result<Customer, String> {
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
    pub fn read(&self, value: &Value) -> Result<(ProductId, i64), String> {
        let doc = Doc { place: "stock", value };
        let text = doc.text(&self.available)?;
        let floor = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
        let units = floor.parse().map_err(|_| doc.problem(&self.available, format!("is {text}, no number")))?;
        Ok((doc.parsed(&self.product)?, units))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map() -> OrderMap {
        let text = "id = 'No'\nsite = 'Plant'\ncustomer = 'Sold/To'\ndeparture = 'Day'\nstatus = 'Gone'\nlines = 'items'\n\
                    cut_off = 'Latest'\ndangerous_goods = 'Adr'\n\
                    [line]\nline = 'Item'\nstep = 10\nproduct = 'Mat'\nquantity = 'Qty'\nprice = 'Net'\nweight_grams = 'G'";
        toml::from_str(text).unwrap()
    }

    fn terms() -> SaleTerms {
        let name = "X1";
        SaleTerms {
            vehicle: name.parse().ok(),
            carrier: name.parse().ok(),
            door: name.parse().ok(),
            ..SaleTerms::default()
        }
    }

    fn object() -> Value {
        json!({ "No": 4711, "Plant": "W1", "Sold": { "To": "C1" }, "Day": "2030-01-31", "Gone": false, "Adr": "X",
                "Latest": "2030-01-31T16:00:00Z",
                "items": [{ "Item": "000010", "Mat": "P1", "Qty": "4.000", "Net": "12.505", "G": 700 }] })
    }

    #[test]
    fn an_order_is_read_by_its_map_with_weight_cut_off_and_dangerous_goods() {
        let sites = [("W1".to_owned(), SiteId::new("D1").unwrap())].into();
        let order = map().read(&object(), &sites, &terms()).unwrap();
        assert_eq!((order.id.as_str(), order.site.as_str(), order.customer.name.as_str()), ("4711", "D1", "C1"));
        assert_eq!(order.planned_departure.to_string(), "2030-01-31T17:00:00Z");
        let line = &order.lines[0];
        assert_eq!((line.line, line.quantity, line.unit_price_minor, line.unit_weight_grams), (1, 4, 1251, Some(700)));
        assert_eq!(order.cut_off.map(|at| at.to_string()).as_deref(), Some("2030-01-31T16:00:00Z"));
        assert!(order.dangerous_goods);
        assert_eq!(order.status, OrderStatus::Released);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let none = BTreeMap::new();
        let told = |change: fn(&mut Value)| {
            let mut object = object();
            change(&mut object);
            map().read(&object, &none, &terms()).unwrap_err()
        };
        let quantity = told(|o| o["items"][0]["Qty"] = json!("1.500"));
        assert_eq!(quantity, "order 4711: Qty is 1.500, a whole number is expected");
        assert_eq!(told(|o| o["items"] = json!([])), "order 4711: items has no lines");
        assert_eq!(told(|o| o["items"][0]["Item"] = json!(15)), "order 4711: Item is 15, a multiple of 10 is expected");
        assert_eq!(told(|o| o["Sold"] = json!(7)), "order 4711: Sold/To is missing or empty");
        let nobody = SaleTerms { vehicle: None, ..terms() };
        let no_vehicle = map().read(&object(), &none, &nobody).unwrap_err();
        assert_eq!(no_vehicle, "order 4711: no vehicle is named: map a field to it, or set erp.terms.vehicle");
    }

    #[test]
    fn a_word_that_the_map_does_not_know_is_refused() {
        let error = toml::from_str::<StockMap>("site = 'a'\nproduct = 'b'\navailable = 'c'\ncolour = 'd'").unwrap_err();
        assert!(error.to_string().contains("unknown field `colour`"), "{error}");
    }
}
