//! What tests of several rooms begin with.

use gatehouse_common::{
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    time::UtcMs,
};

/// An order of ten units for depot D1, to leave at `now`. A test that needs it otherwise changes what it is about.
pub(crate) fn order(now: UtcMs) -> Order {
    Order {
        id: "SO-1".parse().unwrap(),
        version: 1,
        site: "D1".parse().unwrap(),
        customer: Customer { id: "C-1".parse().unwrap(), name: "Ada".into(), tier: Tier::B },
        lines: vec![OrderLine {
            line: 1,
            product: "P-1".parse().unwrap(),
            quantity: 10,
            unit_price_minor: 500,
            unit_weight_grams: None,
        }],
        currency: "EUR".into(),
        class: "standard".into(),
        vehicle: "v1".parse().unwrap(),
        carrier: "ACME".parse().unwrap(),
        door: "3".parse().unwrap(),
        planned_departure: now,
        window_end: now.plus(7_200_000),
        destination: None,
        route: None,
        status: OrderStatus::Released,
        cut_off: None,
        dangerous_goods: false,
    }
}
