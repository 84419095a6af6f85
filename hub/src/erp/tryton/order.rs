//! A sale of Tryton as an order.
//!
//! What is ordered of a line is its quantity less what was cancelled and not planned anew: Tryton does not
//! let a confirmed sale be cancelled, so a clerk cancels its shipments. Vehicle, carrier, door and
//! times have no field in Tryton; they stand as `word: value` lines in the sale's comment, or
//! else the hub's configuration says them.

use std::{collections::BTreeMap, str::FromStr};

use gatehouse_common::{
    geo::Point,
    id::{CustomerId, IdError, OrderId, ProductId, SiteId},
    order::{self, Order, OrderLine, OrderStatus, Tier},
    time::UtcMs,
};
use jiff::{civil, tz::TimeZone};
use serde_json::Value;

use super::wire::Row;
use crate::config::SaleTerms;

/// What is read of a sale.
pub(super) const SALE_FIELDS: &[&str] = &[
    "number",
    "state",
    "sale_date",
    "comment",
    "shipping_date",
    "party.code",
    "party.name",
    "warehouse.code",
    "currency.code",
    "currency.digits",
    "write_date",
    "create_date",
];
/// What is read of its lines.
pub(super) const LINE_FIELDS: &[&str] = &[
    "sale",
    "type",
    "sequence",
    "product",
    "product.code",
    "product.type",
    "quantity",
    "unit",
    "unit_price",
    "taxes",
    "moves_recreated",
    "write_date",
    "create_date",
];
/// What is read of the moves that take its goods to the customer.
pub(super) const MOVE_FIELDS: &[&str] =
    &["origin", "quantity", "unit", "state", "shipment", "planned_date", "write_date", "create_date", "_timestamp"];

/// A line of goods.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Tryton's id of it.
    pub(super) id: i64,
    /// Its place in the sale, from 1, notes and headings left out.
    pub(super) number: u16,
    /// How much is sold; below zero in a return.
    pub(super) quantity: i64,
    /// How much of it was cancelled and not planned anew.
    pub(super) cancelled: i64,
    /// Cancelled moves that nobody has decided about.
    pub(super) open_cancels: Vec<i64>,
    /// The rest of it.
    pub(super) row: Row,
}

impl Line {
    /// What Tryton still wants delivered of it, what left included.
    pub(super) fn wanted(&self) -> i64 {
        self.quantity.saturating_sub(self.cancelled).max(0)
    }
}

/// The lines of goods of one sale, numbered; `moves` are those that take its goods to the customer.
/// # Errors
/// One sentence with the place.
pub(super) fn read_lines<'a>(rows: impl IntoIterator<Item = &'a Row>, moves: &[&Row]) -> Result<Vec<Line>, String> {
    let mut sorted = Vec::new();
    for row in rows {
        if row.needed_text("type")? == "line" {
            // As Tryton shows them: those without a place first, then by place, then by age.
            sorted.push((row.link("sequence")?, row.id()?, row));
        }
    }
    sorted.sort_by_key(|(sequence, id, _)| (*sequence, *id));
    let mut lines = Vec::new();
    for (n, (_, id, row)) in sorted.into_iter().enumerate() {
        // A service is sold and leaves no depot.
        let Some(product) = row.related("product")? else { continue };
        if !matches!(product.needed_text("type")?, "goods" | "assets") {
            continue;
        }
        let recreated = row.links("moves_recreated")?;
        let (mut cancelled, mut open_cancels) = (0_i64, Vec::new());
        for moved in moves {
            if moved.reference("origin")? != Some(("sale.line", id)) || moved.needed_text("state")? != "cancelled" {
                continue;
            }
            if !recreated.contains(&moved.id()?) {
                cancelled = cancelled.saturating_add(moved.units("quantity")?);
                open_cancels.push(moved.id()?);
            }
        }
        let number = u16::try_from(n + 1).map_err(|_| row.problem("number", "is beyond 65535"))?;
        lines.push(Line { id, number, quantity: row.units("quantity")?, cancelled, open_cancels, row: row.clone() });
    }
    Ok(lines)
}

/// How a sale becomes an order here.
pub(super) struct Reader<'a> {
    /// Their codes of warehouses.
    pub(super) sites: &'a BTreeMap<String, SiteId>,
    /// What holds where a sale says nothing.
    pub(super) terms: &'a SaleTerms,
}

impl Reader<'_> {
    /// The sale as an order; none for a sale that delivers no goods from a depot.
    /// # Errors
    /// One sentence with the place and, where a person can help, the remedy.
    pub(super) fn order(&self, sale: &Row, lines: &[Line], moves: &[&Row]) -> Result<Option<Order>, String> {
        let Some(number) = sale.text("number")? else { return Ok(None) };
        let Some(warehouse) = sale.related("warehouse")? else { return Ok(None) };
        if lines.is_empty() || lines.iter().any(|line| line.quantity < 0) {
            return Ok(None);
        }
        let currency = sale.needed("currency")?;
        let digits =
            u32::try_from(currency.units("digits")?).map_err(|_| currency.problem("digits", "is below zero"))?;
        let is_confirmed = matches!(sale.needed_text("state")?, "confirmed" | "processing" | "done");
        // Confirming sets the date, and taking it back leaves it: without one no depot has ever heard of the sale.
        if !is_confirmed && sale.day("sale_date")?.is_none() {
            return Ok(None);
        }
        let is_wanted = is_confirmed && lines.iter().any(|line| line.wanted() > 0);
        let party = sale.needed("party")?;
        let name = |text: &str, what: &str| sale.problem(what, text);
        let words = Words::of(sale.text("comment")?.unwrap_or_default(), !is_wanted);
        let in_comment = |why: String| sale.problem("comment", why);
        let departs = match words.time("departure").map_err(in_comment)? {
            Some(time) => time,
            None => self.departure(sale, moves)?,
        };
        let window_ms = i64::from(self.terms.window_hours).saturating_mul(3_600_000);
        let window_end = words.time("window end").map_err(in_comment)?.unwrap_or_else(|| departs.plus(window_ms));
        Ok(Some(Order {
            id: OrderId::new(number).map_err(|e| name(&e.to_string(), "number"))?,
            version: 0,
            site: self.site(warehouse.needed_text("code")?).map_err(|e| name(&e, "warehouse"))?,
            customer: order::Customer {
                id: CustomerId::new(party.needed_text("code")?).map_err(|e| name(&e.to_string(), "party"))?,
                name: party.text("name")?.unwrap_or_default().to_owned(),
                tier: Tier::B,
            },
            lines: lines.iter().map(|line| read_line(line, digits, is_wanted)).collect::<Result<_, _>>()?,
            currency: currency.needed_text("code")?.to_owned(),
            class: words.text("class").unwrap_or(&self.terms.class).to_owned(),
            vehicle: words.named("vehicle", self.terms.vehicle.as_ref()).map_err(in_comment)?,
            carrier: words.named("carrier", self.terms.carrier.as_ref()).map_err(in_comment)?,
            door: words.named("door", self.terms.door.as_ref()).map_err(in_comment)?,
            planned_departure: departs,
            window_end,
            destination: words.point("destination").map_err(in_comment)?,
            route: None,
            status: if is_wanted { OrderStatus::Released } else { OrderStatus::Cancelled },
            cut_off: None,
            dangerous_goods: false,
        }))
    }

    fn site(&self, code: &str) -> Result<SiteId, String> {
        match self.sites.get(code) {
            Some(site) => Ok(site.clone()),
            None => SiteId::new(code).map_err(|e| e.to_string()),
        }
    }

    /// Tryton knows the day only; the configuration says at what time vehicles leave.
    fn departure(&self, sale: &Row, moves: &[&Row]) -> Result<UtcMs, String> {
        let mut days = Vec::new();
        for moved in moves {
            days.extend(moved.day("planned_date")?);
        }
        let day = match (sale.day("shipping_date")?, days.into_iter().min(), sale.written()?) {
            (Some(day), _, _) | (None, Some(day), _) => day,
            (None, None, Some(written)) => {
                let at = jiff::Timestamp::from_microsecond(written.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
                at.to_zoned(TimeZone::UTC).date()
            }
            (None, None, None) => civil::Date::default(),
        };
        let at = day.to_datetime(self.terms.departs_at).to_zoned(TimeZone::UTC);
        at.map(|at| UtcMs(at.timestamp().as_millisecond())).map_err(|e| sale.problem("shipping_date", e))
    }
}

fn read_line(line: &Line, digits: u32, is_wanted: bool) -> Result<OrderLine, String> {
    let product = line.row.needed("product")?;
    // A cancelled order keeps its quantities, so that people see what was cancelled.
    let quantity = if is_wanted { line.wanted() } else { line.quantity };
    Ok(OrderLine {
        line: line.number,
        product: ProductId::new(product.needed_text("code")?).map_err(|e| product.problem("code", e))?,
        quantity: u32::try_from(quantity).map_err(|_| line.row.problem("quantity", "is out of range"))?,
        unit_price_minor: line.row.minor("unit_price", digits)?.unwrap_or(0),
        unit_weight_grams: None,
    })
}

/// The `word: value` lines of a comment. Everything else in it is for people.
struct Words<'a> {
    said: BTreeMap<String, &'a str>,
    /// A cancelled sale must reach its depot whatever its comment says, so that what cannot be read is left out.
    is_lenient: bool,
}

impl<'a> Words<'a> {
    fn of(comment: &'a str, is_lenient: bool) -> Self {
        let pairs = comment.lines().filter_map(|line| line.split_once(':'));
        let said = pairs.map(|(word, value)| (word.trim().to_lowercase(), value.trim()));
        Self { said: said.filter(|(_, value)| !value.is_empty()).collect(), is_lenient }
    }

    fn text(&self, word: &str) -> Option<&'a str> {
        self.said.get(word).copied()
    }

    fn time(&self, word: &str) -> Result<Option<UtcMs>, String> {
        let Some(text) = self.text(word) else { return Ok(None) };
        match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(_) if self.is_lenient => Ok(None),
            Err(_) => Err(format!("says {word}: {text}; write a time such as 2030-01-31T08:00:00Z")),
        }
    }

    fn named<T: FromStr<Err = IdError> + Clone>(&self, word: &str, otherwise: Option<&T>) -> Result<T, String> {
        let problem = match (self.text(word).map(|text| (text, text.parse::<T>())), otherwise) {
            (Some((_, Ok(name))), _) => return Ok(name),
            (None, Some(otherwise)) => return Ok(otherwise.clone()),
            (Some((text, Err(error))), _) => format!("says {word}: {text}: {error}"),
            (None, None) => {
                format!("names no {word}: write \"{word}: NAME\" there, or set erp.terms.{word} for all sales")
            }
        };
        if self.is_lenient { "none".parse().map_err(|_| problem) } else { Err(problem) }
    }

    fn point(&self, word: &str) -> Result<Option<Point>, String> {
        let Some(text) = self.text(word) else { return Ok(None) };
        let parts =
            text.split_once(',').and_then(|(lat, lon)| Some((lat.trim().parse().ok()?, lon.trim().parse().ok()?)));
        match parts.map(|(lat, lon)| Point { lat, lon }).filter(Point::is_valid) {
            Some(point) => Ok(Some(point)),
            None if self.is_lenient => Ok(None),
            None => Err(format!("says {word}: {text}; write latitude and longitude, such as 30.27, -97.74")),
        }
    }
}

/// The ids in a list of rows.
/// # Errors
/// One sentence with the place.
pub(super) fn ids(rows: &[Row]) -> Result<Vec<Value>, String> {
    rows.iter().map(|row| row.id().map(Value::from)).collect()
}
