//! Orders and customers in the built-in form, which needs no map.

use std::collections::BTreeMap;

use gatehouse_common::{
    geo::Point,
    id::{CarrierId, CustomerId, DoorId, OrderId, ProductId, SiteId, VehicleId},
    order::{self, Order, OrderLine, OrderStatus, Tier},
    route::{PlannedStop, Route},
    time::UtcMs,
};
use serde::Deserialize;
use serde_json::Value;

use crate::erp::Customer;

/// An order as it is sent.
/// # Errors
/// One sentence with the place.
pub(super) fn read_order(wire: Value, sites: &BTreeMap<String, SiteId>) -> Result<Order, String> {
    let name = wire["id"].as_str().unwrap_or("without id").to_owned();
    let wire: WireOrder = serde_json::from_value(wire).map_err(|e| format!("order {name}: {e}"))?;
    wire.into_order(sites).map_err(|e| format!("order {name}: {e}"))
}

#[derive(Debug, Deserialize)]
struct WireOrder {
    id: OrderId,
    site: String,
    customer: WireBuyer,
    lines: Vec<WireLine>,
    currency: String,
    class: String,
    vehicle: VehicleId,
    carrier: CarrierId,
    door: DoorId,
    planned_departure: String,
    window_end: String,
    destination: Option<Point>,
    #[serde(default)]
    route: Option<WireRoute>,
    status: OrderStatus,
    #[serde(default)]
    cut_off: Option<String>,
    #[serde(default)]
    dangerous_goods: bool,
}

#[derive(Debug, Deserialize)]
struct WireRoute {
    #[serde(default)]
    path: Vec<Point>,
    #[serde(default)]
    stops: Vec<WireStop>,
}

#[derive(Debug, Deserialize)]
struct WireStop {
    #[serde(default)]
    name: String,
    point: Point,
    arrive: String,
    leave: Option<String>,
}

impl WireRoute {
    fn into_route(self) -> Result<Option<Route>, String> {
        let time = |text: &str| {
            text.parse::<UtcMs>().map_err(|e| format!("time {text:?} of a stop is not a time in RFC 3339: {e}"))
        };
        let stops = self.stops.into_iter().map(|stop| {
            let arrive = time(&stop.arrive)?;
            let leave = stop.leave.as_deref().map_or(Ok(arrive), time)?;
            Ok(PlannedStop { name: stop.name, point: stop.point, arrive, leave })
        });
        let route = Route { path: self.path, stops: stops.collect::<Result<_, String>>()? };
        Ok(Some(route).filter(Route::is_valid))
    }
}

#[derive(Debug, Deserialize)]
struct WireBuyer {
    id: CustomerId,
    name: String,
    tier: Tier,
}

#[derive(Debug, Deserialize)]
struct WireLine {
    line: u16,
    product: ProductId,
    quantity: u32,
    unit_price_minor: i64,
    #[serde(default)]
    unit_weight_grams: Option<u32>,
}

impl WireOrder {
    fn into_order(self, sites: &BTreeMap<String, SiteId>) -> Result<Order, String> {
        let time = |name: &str, text: &str| {
            text.parse::<UtcMs>().map_err(|e| format!("{name} {text:?} is not a time in RFC 3339: {e}"))
        };
        let site = match sites.get(&self.site) {
            Some(site) => site.clone(),
            None => SiteId::new(self.site).map_err(|e| e.to_string())?,
        };
        if self.lines.is_empty() {
            return Err("it has no lines".to_owned());
        }
        Ok(Order {
            id: self.id,
            version: 0,
            site,
            customer: order::Customer { id: self.customer.id, name: self.customer.name, tier: self.customer.tier },
            lines: self
                .lines
                .into_iter()
                .map(|l| OrderLine {
                    line: l.line,
                    product: l.product,
                    quantity: l.quantity,
                    unit_price_minor: l.unit_price_minor,
                    unit_weight_grams: l.unit_weight_grams,
                })
                .collect(),
            currency: self.currency,
            class: self.class,
            vehicle: self.vehicle,
            carrier: self.carrier,
            door: self.door,
            planned_departure: time("planned_departure", &self.planned_departure)?,
            window_end: time("window_end", &self.window_end)?,
            destination: self.destination.filter(Point::is_valid),
            route: self.route.map_or(Ok(None), WireRoute::into_route)?,
            status: self.status,
            cut_off: self.cut_off.as_deref().map(|at| time("cut_off", at)).transpose()?,
            dangerous_goods: self.dangerous_goods,
        })
    }
}

/// A customer as it is sent.
/// # Errors
/// One sentence with the place.
pub(super) fn read_customer(wire: Value) -> Result<Customer, String> {
    #[derive(Deserialize)]
    struct Wire {
        id: CustomerId,
        credit: WireCredit,
    }
    #[derive(Deserialize)]
    struct WireCredit {
        on_hold: bool,
        limit_minor: Option<i64>,
        exposure_minor: i64,
    }
    let name = wire["id"].as_str().unwrap_or("without id").to_owned();
    let wire: Wire = serde_json::from_value(wire).map_err(|e| format!("customer {name}: {e}"))?;
    Ok(Customer {
        id: wire.id,
        on_hold: wire.credit.on_hold,
        limit_minor: wire.credit.limit_minor,
        exposure_minor: wire.credit.exposure_minor,
    })
}
