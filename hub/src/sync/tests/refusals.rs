//! What one device or one damaged row must not do to others.

use gatehouse_common::id::DocumentKind;

use super::*;

#[test]
fn a_vehicle_unit_makes_no_decisions_and_closes_no_lease() {
    let hub = Hub::new();
    let mut unit = hub.gateway("unit-1", "D1", 7);
    let device = Device {
        device: unit.device.clone(),
        kind: DeviceKind::Vehicle,
        public_key: unit.key.public(),
        sites: vec![unit.site.clone()],
        vehicles: vec!["v1".parse().unwrap()],
    };
    crate::sync::devices::add(&hub.store, device, "test", UtcMs(2)).unwrap();
    let decision = unit.decide(1, Hash32::ZERO, "closed");
    unit.queue(Upward::Decision(decision));
    let reply = unit.push(&hub);
    assert_eq!(reply.rejected[0].reason, "a vehicle unit makes no decisions");
    assert_eq!(hub.store.read_now(|r| r.decision_count()).unwrap(), 0);
}

#[test]
fn nobody_makes_a_case_under_the_id_of_a_dispatch_that_another_depot_will_plan() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let mut other = hub.gateway("gw-2", "D2", 8);
    // The other depot knows the order's number, and so the id.
    other.say(Says::Ready);
    let Some((_, Upward::Chunk { document, kind, .. })) = other.outbox.first_mut() else { panic!() };
    (*document, *kind) = (depot.id(), DocumentKind::Case);
    let refused = other.push(&hub);
    assert_eq!(refused.rejected[0].reason, "nothing in it makes it a case");
    depot.plan();
    assert!(depot.push(&hub).rejected.is_empty());
    let id = depot.id();
    assert!(hub.store.read_now(move |r| r.dispatch_view(&id)).unwrap().is_some());
}

#[test]
fn a_row_that_rotted_is_left_out_and_the_depot_gets_all_others() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.push(&hub);
    let id = depot.id();
    hub.says(id, cancelled(), Lane::Recalls);
    let before = hub.pull(&mut depot).len();
    depot.cursor = Cursor::start(hub.store.read_now(|r| r.ledger_epoch()).unwrap());
    let connection = rusqlite::Connection::open(&hub.path).unwrap();
    let rotted = connection
        .execute(
            "UPDATE ledger SET checksum = x'00' WHERE position = (SELECT min(item) FROM feed WHERE scope = 'site/D1')",
            [],
        )
        .unwrap();
    assert_eq!(rotted, 1);
    let after = hub.pull(&mut depot).len();
    assert!(after > 0 && after < before, "{after} of {before}");
}
