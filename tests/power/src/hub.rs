//! What the hub of the pretend depot says: orders, facts and leases of one kind, page by page.

use std::collections::BTreeMap;

use gatehouse_agent::core::input::Input;
use gatehouse_common::{
    fact::{FactKey, FactValue, Report, Source},
    gate::GateKind,
    id::{Hash32, OrderId},
    lease::Lease,
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    seal::{PrivateKey, Sealed},
    sync::{Cursor, Downward, FeedItem, Lane},
    time::UtcMs,
};

use crate::depot::{name, text};

const HOUR_MS: i64 = 3_600_000;

/// Signs leases.
#[must_use]
pub fn hub_key() -> PrivateKey {
    PrivateKey::from_seed([9; 32])
}

/// The hub's feed to one depot.
#[derive(Debug, Default)]
pub struct Hub {
    fed: u64,
}

impl Hub {
    /// A page that says all of this.
    pub fn page(&mut self, says: Vec<Downward>) -> Input {
        let mut items = Vec::new();
        for says in says {
            self.fed += 1;
            items.push(FeedItem { lane: says.usual_lane(), position: self.fed, says });
        }
        let mut cursor = Cursor::default();
        cursor.pass(Lane::Rest, self.fed);
        Input::Feed { items, cursor, more: false }
    }
}

/// A version of an order for two pieces, planned to leave in an hour.
#[must_use]
pub fn order(id: &OrderId, version: u64, status: OrderStatus, now: UtcMs) -> Order {
    Order {
        id: id.clone(),
        version,
        site: name("D1"),
        customer: Customer { id: name("C1"), name: "Customer One".into(), tier: Tier::B },
        lines: vec![OrderLine {
            line: 1,
            product: name("P1"),
            quantity: 2,
            unit_price_minor: 1_000,
            unit_weight_grams: None,
        }],
        currency: "EUR".into(),
        class: "standard".into(),
        vehicle: name("V1"),
        carrier: name("CARR"),
        door: name("3"),
        planned_departure: now.plus(HOUR_MS),
        window_end: now.plus(3 * HOUR_MS),
        destination: None,
        status,
        route: None,
        cut_off: None,
        dangerous_goods: false,
    }
}

/// Every fact that a release of [`order`] needs from the hub. `headroom_minor`: what the customer may still owe.
#[must_use]
pub fn facts(order: &OrderId, headroom_minor: i64, now: UtcMs) -> Vec<Downward> {
    let order = || order.clone();
    let facts = [
        (FactKey::Inventory { order: order(), line: 1 }, FactValue::Inventory { confirmed: 2 }),
        (FactKey::Carrier { order: order() }, FactValue::Carrier { accepted: true, carrier: name("CARR") }),
        (FactKey::Capacity { order: order() }, FactValue::Capacity { sufficient: true, vehicle: None }),
        (FactKey::Credit { customer: name("C1") }, FactValue::Credit { on_hold: false, headroom_minor }),
    ];
    let report = |(key, value)| Report { key, value, source: Source::Wms, at: now, evidence: "told".into() };
    facts.into_iter().map(|fact| Downward::Fact(text(&report(fact)))).collect()
}

/// A lease for eight hours and some orders.
#[must_use]
pub fn lease(id: &str, bundle: Hash32, now: UtcMs) -> Lease {
    let lasts_ms = 8 * HOUR_MS;
    Lease {
        id: name(id),
        site: name("D1"),
        device: None,
        granted_at: now,
        lasts_ms: lasts_ms.unsigned_abs(),
        expires_at: now.plus(lasts_ms),
        value_ceiling_minor: 10_000_000,
        credit_minor: BTreeMap::from([(name("C1"), 5_000_000)]),
        stock: BTreeMap::from([(name("P1"), 100)]),
        age_limit_ms: BTreeMap::from([(GateKind::Inventory, 21_600_000), (GateKind::Credit, 21_600_000)]),
        bundle,
        erp_read_at: now,
    }
}

/// The same as it is sent; none if it cannot be signed.
#[must_use]
pub fn signed(lease: &Lease) -> Option<Downward> {
    Sealed::new(lease, &hub_key()).ok().map(Downward::Lease)
}
