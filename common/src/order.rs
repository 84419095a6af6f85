//! What the ERP released for dispatch.

use serde::{Deserialize, Serialize};

use crate::{
    geo::Point,
    id::{CarrierId, CustomerId, DoorId, OrderId, ProductId, SiteId, VehicleId},
    route::Route,
    time::UtcMs,
};

/// An order in one version. The ERP owns every field; a newer version replaces it whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The ERP's number.
    pub id: OrderId,
    /// Counts the versions that the hub has seen of it, from 1.
    pub version: u64,
    /// The depot it leaves from.
    pub site: SiteId,
    /// Who ordered.
    pub customer: Customer,
    /// What was ordered; never empty in an order that is released.
    pub lines: Vec<OrderLine>,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// Which age limits and fallback rules of the bundle apply, such as `standard`.
    pub class: String,
    /// Vehicle planned for it.
    pub vehicle: VehicleId,
    /// Carrier planned for it.
    pub carrier: CarrierId,
    /// Dock door planned for it.
    pub door: DoorId,
    /// When it should leave.
    pub planned_departure: UtcMs,
    /// End of the delivery window that was promised.
    pub window_end: UtcMs,
    /// Where it goes, where known.
    pub destination: Option<Point>,
    /// How it is planned to get there, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Whether the ERP still wants it to leave.
    pub status: OrderStatus,
    /// The latest departure that keeps the promise, such as the carrier's cut-off, where the ERP names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<UtcMs>,
    /// Whether it carries dangerous goods; without complete papers nobody may let it leave then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dangerous_goods: bool,
}

/// Who ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The ERP's number.
    pub id: CustomerId,
    /// Name for people.
    pub name: String,
    /// Service level.
    pub tier: Tier,
}

/// Service level of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Least urgent.
    #[serde(alias = "C")]
    C,
    /// Between.
    #[serde(alias = "B")]
    B,
    /// Most urgent of the ordinary ones.
    #[serde(alias = "A")]
    A,
    /// A critical account.
    Critical,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Its number, from 1.
    pub line: u16,
    /// What.
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
    /// Price of one unit in minor units of the order's currency.
    pub unit_price_minor: i64,
    /// Weight of one unit in grams, where the ERP knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_weight_grams: Option<u32>,
}

/// What the ERP wants of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// It may leave.
    Released,
    /// It shall not leave.
    Cancelled,
}

/// Units of one order line: planned, released, loaded or departed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineQuantity {
    /// The line's number.
    pub line: u16,
    /// What.
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
}

impl Order {
    /// The quantities of all lines.
    #[must_use]
    pub fn quantities(&self) -> Vec<LineQuantity> {
        self.lines
            .iter()
            .map(|l| LineQuantity { line: l.line, product: l.product.clone(), quantity: l.quantity })
            .collect()
    }

    /// What `quantities` of this order weigh, in grams; `None` unless the weight of each is known.
    #[must_use]
    pub fn weight_grams(&self, quantities: &[LineQuantity]) -> Option<u64> {
        quantities.iter().try_fold(0_u64, |sum, q| {
            let line = self.lines.iter().find(|l| l.line == q.line)?;
            Some(sum.saturating_add(u64::from(line.unit_weight_grams?).saturating_mul(u64::from(q.quantity))))
        })
    }

    /// What `quantities` of this order are worth, in minor units; a line that the order does not have counts nothing.
    #[must_use]
    pub fn value_minor(&self, quantities: &[LineQuantity]) -> i64 {
        quantities
            .iter()
            .filter_map(|q| {
                let line = self.lines.iter().find(|l| l.line == q.line)?;
                Some(line.unit_price_minor.saturating_mul(i64::from(q.quantity)))
            })
            .fold(0, i64::saturating_add)
    }
}
