//! Gates, leases and the decision chain, in a dispatcher's terms.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure report")]

use std::collections::BTreeMap;

use gatehouse_common::{
    decision::{ChainError, ChainHead, DecidedBy, DecisionKind, DecisionRecord},
    fact::{Fact, FactKey, FactValue, Facts, Report, Source},
    gate::{GateKind, GateState, Question, UnknownWhy, weigh},
    id::{DecisionId, DeviceId, Hash32},
    lease::{HeldLease, Lease, LeaseRefusal, LeaseUse},
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    seal::{PrivateKey, Sealed},
    time::{BootId, Moment, UtcMs},
};

fn at(boot: &str, ms: i64) -> Moment {
    Moment {
        wall: UtcMs(ms),
        uncertainty_ms: 0,
        boot: BootId(boot.into()),
        boottime_ms: u64::try_from(ms).unwrap(),
        trusted: true,
    }
}

fn order() -> Order {
    Order {
        id: "SO-1".parse().unwrap(),
        version: 1,
        site: "D1".parse().unwrap(),
        customer: Customer { id: "C1".parse().unwrap(), name: "Harbour Shop".into(), tier: Tier::B },
        lines: vec![OrderLine {
            line: 1,
            product: "P1".parse().unwrap(),
            quantity: 10,
            unit_price_minor: 250,
            unit_weight_grams: None,
        }],
        currency: "EUR".into(),
        class: "standard".into(),
        vehicle: "V1".parse().unwrap(),
        carrier: "X".parse().unwrap(),
        door: "3".parse().unwrap(),
        planned_departure: UtcMs(1_000_000),
        window_end: UtcMs(2_000_000),
        destination: None,
        route: None,
        status: OrderStatus::Released,
        cut_off: None,
        dangerous_goods: false,
    }
}

fn facts(reports: Vec<(FactKey, FactValue, i64)>) -> Facts {
    let mut facts = Facts::default();
    for (key, value, ms) in reports {
        let report = Report { key, value, source: Source::Wms, at: UtcMs(ms), evidence: "test".into() };
        facts.take(Fact { report, received: at("a", ms) });
    }
    facts
}

fn state(gate: GateKind, facts: &Facts, now: i64, limit_ms: u64) -> GateState {
    let order = order();
    let load = order.quantities();
    let now = at("a", now);
    weigh(
        gate,
        &Question { order: &order, load: &load, facts, blocking_cases: &[], transit_ms: 0, now: &now },
        limit_ms,
    )
    .state
}

fn inventory(confirmed: u32, ms: i64) -> Facts {
    let key = FactKey::Inventory { order: "SO-1".parse().unwrap(), line: 1 };
    facts(vec![(key, FactValue::Inventory { confirmed }, ms)])
}

#[test]
fn a_fact_at_its_limit_passes_and_a_millisecond_later_it_is_unknown() {
    let facts = inventory(10, 1_000);
    assert_eq!(state(GateKind::Inventory, &facts, 61_000, 60_000), GateState::Pass);
    let stale = GateState::Unknown { why: UnknownWhy::Stale };
    assert_eq!(state(GateKind::Inventory, &facts, 61_001, 60_000), stale);
    let missing = GateState::Unknown { why: UnknownWhy::Missing };
    assert_eq!(state(GateKind::Carrier, &facts, 1_000, 60_000), missing);
}

#[test]
fn one_unit_short_fails_with_both_numbers() {
    let GateState::Fail { reason } = state(GateKind::Inventory, &inventory(9, 1_000), 1_000, 60_000) else {
        panic!("passes");
    };
    assert_eq!(reason, "line 1: 9 of 10 P1 can be picked");
}

#[test]
fn a_late_report_never_undoes_a_newer_one() {
    let mut facts = inventory(10, 5_000);
    let key = FactKey::Inventory { order: "SO-1".parse().unwrap(), line: 1 };
    let value = FactValue::Inventory { confirmed: 0 };
    let old = Report { key, value, source: Source::Wms, at: UtcMs(4_000), evidence: "late".into() };
    assert!(!facts.take(Fact { report: old, received: at("a", 6_000) }));
    assert_eq!(state(GateKind::Inventory, &facts, 6_000, 60_000), GateState::Pass);
}

#[test]
fn a_door_taken_by_another_vehicle_fails_and_by_its_own_passes() {
    let dock = |vehicle: &str| {
        let key = FactKey::Dock { door: "3".parse().unwrap() };
        let value = FactValue::Dock { occupied: Some(true), open: None, vehicle: Some(vehicle.parse().unwrap()) };
        facts(vec![(key, value, 1_000)])
    };
    assert_eq!(state(GateKind::Dock, &dock("V1"), 1_000, 1), GateState::Pass);
    assert!(matches!(state(GateKind::Dock, &dock("V2"), 1_000, 1), GateState::Fail { .. }));
}

fn held(used: u32) -> HeldLease {
    let lease = Lease {
        id: "L1".parse().unwrap(),
        site: "D1".parse().unwrap(),
        device: None,
        granted_at: UtcMs(0),
        lasts_ms: 100_000,
        expires_at: UtcMs(100_000),
        value_ceiling_minor: 5_000,
        credit_minor: BTreeMap::from([("C1".parse().unwrap(), 5_000)]),
        stock: BTreeMap::from([("P1".parse().unwrap(), 15)]),
        age_limit_ms: BTreeMap::new(),
        bundle: Hash32::ZERO,
        erp_read_at: UtcMs(0),
    };
    let order = order();
    let mut load = order.quantities();
    load[0].quantity = used;
    HeldLease { lease, received: at("a", 0), used: LeaseUse::of(&order, &load), left_before_boot: None }
}

#[test]
fn a_lease_admits_up_to_its_escrow_and_not_one_unit_more() {
    let order = order();
    let wanted = LeaseUse::of(&order, &order.quantities());
    let site = order.site.clone();
    assert_eq!(held(5).admits(&site, &wanted, &at("a", 1)), Ok(()));
    let refused = held(6).admits(&site, &wanted, &at("a", 1)).unwrap_err();
    assert_eq!(refused.to_string(), "lease L1 holds 9 more P1, the load needs 10");
    assert!(matches!(held(0).admits(&"D2".parse().unwrap(), &wanted, &at("a", 1)), Err(LeaseRefusal::OtherSite(_))));
}

#[test]
fn a_lease_ends_by_elapsed_time_even_if_the_clock_was_set_back() {
    let mut now = at("a", 99_999);
    assert_eq!(held(0).left_ms(&now), Ok(1));
    now = Moment { wall: UtcMs(10), ..at("a", 100_000) };
    assert!(matches!(held(0).left_ms(&now), Err(LeaseRefusal::Expired(_))));
    let unconfirmed = Moment { trusted: false, ..at("b", 5) };
    assert!(matches!(held(0).left_ms(&unconfirmed), Err(LeaseRefusal::Suspended(_))));
}

fn chain(length: u64) -> (PrivateKey, DeviceId, Vec<Sealed>) {
    let key = PrivateKey::from_seed([3; 32]);
    let device: DeviceId = "gw-1".parse().unwrap();
    let mut head = ChainHead::start(device.clone(), 1);
    let mut records = Vec::new();
    for position in 1..=length {
        let record = DecisionRecord {
            v: 1,
            id: DecisionId::of(&device, 1, position),
            device: device.clone(),
            site: "D1".parse().unwrap(),
            epoch: 1,
            position,
            previous: head.hash,
            kind: DecisionKind::Hold,
            mode: None,
            dispatch: None,
            order: None,
            load: vec![],
            gates: vec![],
            bundle: Hash32::ZERO,
            lease: None,
            by: DecidedBy::Rule { rule: "test".into() },
            reason: format!("hold {position}"),
            at: at("a", 1),
            begins: None,
            drills: Vec::new(),
        };
        let sealed = Sealed::new(&record, &key).unwrap();
        head.follow(&sealed, &key.public()).unwrap();
        records.push(sealed);
    }
    (key, device, records)
}

fn verify(key: &PrivateKey, device: &DeviceId, records: &[Sealed]) -> Result<(), ChainError> {
    let mut head = ChainHead::start(device.clone(), 1);
    records.iter().try_for_each(|sealed| head.follow(sealed, &key.public()).map(|_| ()))
}

#[test]
fn a_record_removed_edited_or_moved_is_named() {
    let (key, device, records) = chain(5);
    assert_eq!(verify(&key, &device, &records), Ok(()));
    let mut removed = records.clone();
    removed.remove(2);
    assert_eq!(verify(&key, &device, &removed), Err(ChainError::Misplaced { expected: 3, found: 4 }));
    let mut edited = records.clone();
    edited[1].body = edited[1].body.replace("hold 2", "hold 9");
    assert!(matches!(verify(&key, &device, &edited), Err(ChainError::Seal { position: 2, .. })));
    let mut moved = records.clone();
    moved.swap(3, 4);
    assert_eq!(verify(&key, &device, &moved), Err(ChainError::Misplaced { expected: 4, found: 5 }));
}

#[test]
fn a_tail_cut_off_shows_only_against_an_anchor() {
    let (key, device, mut records) = chain(5);
    let mut head = ChainHead::start(device.clone(), 1);
    for sealed in &records {
        head.follow(sealed, &key.public()).unwrap();
    }
    records.pop();
    assert_eq!(verify(&key, &device, &records), Ok(()), "the rest is a whole chain");
    assert_eq!(head.position, 5, "the anchor knows of a fifth record");
}
