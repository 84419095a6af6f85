//! What tests of several rooms begin with.

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord, Mode},
    dispatch,
    id::{DecisionId, Hash32},
    lease::Lease,
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    seal::PrivateKey,
    time::UtcMs,
};

use crate::{
    clock::Clock,
    store::{Device, DeviceKind},
};

/// A gateway of one depot, whose key is made of `seed`.
pub(crate) fn gateway(name: &str, site: &str, seed: u8) -> Device {
    Device {
        device: name.parse().unwrap(),
        kind: DeviceKind::Gateway,
        public_key: PrivateKey::from_seed([seed; 32]).public(),
        sites: vec![site.parse().unwrap()],
        vehicles: Vec::new(),
    }
}

/// A lease for whichever gateway of a depot takes it, of 1 to 51 and with nothing in it but one minor unit of value.
pub(crate) fn lease(id: &str, site: &str) -> Lease {
    Lease {
        id: id.parse().unwrap(),
        site: site.parse().unwrap(),
        device: None,
        granted_at: UtcMs(1),
        lasts_ms: 50,
        expires_at: UtcMs(51),
        value_ceiling_minor: 1,
        credit_minor: BTreeMap::new(),
        stock: BTreeMap::new(),
        age_limit_ms: BTreeMap::new(),
        bundle: Hash32::ZERO,
        erp_read_at: UtcMs(1),
    }
}

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

/// What its depot plans for the first dispatch of all of an order.
pub(crate) fn planned(order: &Order) -> dispatch::Says {
    dispatch::Says::Planned {
        order: order.id.clone(),
        order_version: order.version,
        site: order.site.clone(),
        occurrence: 1,
        vehicle: order.vehicle.clone(),
        carrier: order.carrier.clone(),
        door: order.door.clone(),
        load: order.quantities(),
        planned_departure: order.planned_departure,
    }
}

/// What gw-1 decides first, now and without a lease, about the first dispatch of all of an order.
pub(crate) fn decided(kind: DecisionKind, order: &Order) -> DecisionRecord {
    let device = "gw-1".parse().unwrap();
    DecisionRecord {
        v: 1,
        id: DecisionId::of(&device, 1, 1),
        device,
        site: order.site.clone(),
        epoch: 1,
        position: 1,
        previous: Hash32::ZERO,
        kind,
        mode: (kind == DecisionKind::Release).then_some(Mode::Normal),
        dispatch: Some(dispatch::document_id(&order.id, &order.site, 1)),
        order: Some((order.id.clone(), order.version)),
        load: order.quantities(),
        gates: Vec::new(),
        bundle: Hash32::ZERO,
        lease: None,
        by: DecidedBy::Rule { rule: "auto".into() },
        reason: "so it is".into(),
        at: Clock::system().now(),
        begins: None,
        drills: Vec::new(),
    }
}
