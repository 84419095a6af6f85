//! What one device or one damaged row must not do to others.

use gatehouse_common::{
    case,
    id::DocumentKind,
    order::{Customer, Order, OrderStatus, Tier},
    sync::message::DeviceStatus,
    telemetry::{Fix, Track},
};

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
fn where_a_vehicle_was_is_kept_once_with_what_was_left_out_and_a_gateway_tells_none() {
    let hub = Hub::new();
    let gateway = hub.gateway("gw-1", "D1", 7);
    let unit = hub.gateway("unit-1", "D1", 8);
    let device = Device {
        device: unit.device.clone(),
        kind: DeviceKind::Vehicle,
        public_key: unit.key.public(),
        sites: vec![unit.site.clone()],
        vehicles: vec!["v1".parse().unwrap()],
    };
    crate::sync::devices::add(&hub.store, device, "test", UtcMs(2)).unwrap();
    let mut track = Track::default();
    for n in 0..10_i32 {
        let point = gatehouse_common::geo::Point { lat: 30.0 + f64::from(n) / 1_000.0, lon: -97.0 };
        track.push(Fix::new(UtcMs(i64::from(n) * 20_000), &point, Some(20.0)));
    }
    track.thin(&gatehouse_common::bundle::Tracks::default(), 15);
    let status = DeviceStatus {
        at: UtcMs(5),
        readings: 10,
        duplicates: 0,
        quarantined: 0,
        outbox: 0,
        version: "1".into(),
        position: None,
        tracks: vec![track.clone()],
    };
    let told = || Upward::Status(serde_json::to_string(&status).unwrap());
    assert!(hub.push_records(&unit, vec![(1, told()), (2, told())]).rejected.is_empty());
    let (count, kept) = hub
        .store
        .read_now(|r| Ok((r.track_count(&unit.device)?, r.tracks(&unit.device, UtcMs(0), UtcMs(1_000), 10)?)))
        .unwrap();
    assert_eq!((count.tracks, count.seen, count.kept), (1, 10, 2));
    assert_eq!(kept, [track]);
    let refused = hub.push_records(&gateway, vec![(1, told())]).rejected;
    assert_eq!(refused[0].reason, "only a vehicle unit tells where it was");
}

#[test]
fn nobody_makes_a_case_of_a_dispatch_that_the_writer_has_in_hand_with_a_change_whose_past_is_missing() {
    let hub = Hub::new();
    let (mut depot, mut other, mut third) =
        (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8), hub.gateway("gw-3", "D3", 9));
    depot.plan();
    assert!(depot.push(&hub).rejected.is_empty());
    other.document.apply_own(&third.say(Says::Ready)).unwrap();
    other.say(Says::Ready);
    let Some((_, Upward::Chunk { document, kind, .. })) = other.outbox.first_mut() else { panic!() };
    (*document, *kind) = (depot.id(), DocumentKind::Case);
    let refused = other.push(&hub).rejected;
    assert_eq!(refused.first().map(|r| r.reason.as_str()), Some("this document is a dispatch"));
    let of_order = hub.store.read_now(|r| r.dispatches_of_order(&"O1".parse().unwrap())).unwrap();
    assert_eq!(of_order.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [depot.id()]);
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
fn nobody_opens_a_case_about_an_order_that_was_never_its_own() {
    let hub = Hub::new();
    let (depot, other) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    let order = |site: &str, version| Order {
        id: "O1".parse().unwrap(),
        version,
        site: site.parse().unwrap(),
        customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::B },
        lines: Vec::new(),
        currency: "EUR".into(),
        class: "standard".into(),
        vehicle: "v1".parse().unwrap(),
        carrier: "c1".parse().unwrap(),
        door: "3".parse().unwrap(),
        planned_departure: UtcMs(9_000),
        window_end: UtcMs(9_000),
        destination: None,
        route: None,
        status: OrderStatus::Released,
        cut_off: None,
        dangerous_goods: false,
    };
    let put = |order: Order| hub.store.write_now(move |tx| tx.put_order(&order, UtcMs(2))).unwrap();
    let opens = |gateway: &Depot, number| {
        let case_type = case::CaseType::InvShortfall;
        let opened = case::Says::Opened {
            case_type,
            subject: "O1".into(),
            leg: "-".into(),
            occurrence: 1,
            site: gateway.site.clone(),
            since: UtcMs(1),
            summary: "less can be picked".into(),
            // That it names no order does not help.
            order: None,
            blocks: None,
            follows: None,
        };
        let entry = Entry { after: Vec::new(), at: UtcMs(1), hlc: Hlc::default(), by: "x".into(), says: opened };
        let (_, chunk) = Document::new().unwrap().append(&gateway.actor, &[entry]).unwrap();
        let document = case::document_id(&case::dedup_key(case_type, "O1", "-"), 1);
        let record = Upward::Chunk { document, kind: DocumentKind::Case, bytes: chunk.bytes };
        hub.push_records(gateway, vec![(number, record)]).rejected
    };
    put(order("D1", 1));
    assert_eq!(opens(&other, 1)[0].reason, "this document is not one of the device's own");
    // Its own depot may, also after the order went elsewhere: it could not know.
    put(order("D2", 2));
    assert_eq!(opens(&depot, 1), []);
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

#[test]
fn of_the_lives_of_an_outbox_only_the_newest_are_known_and_one_that_ended_long_ago_does_not_come_again() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let push = |life: u64| {
        let (device, records) = (depot.device.clone(), vec![(1, Upward::Status("none".to_owned()))]);
        let push = Push { outbox_epoch: life, records };
        hub.store.write_now(move |tx| handle_push(tx, &hub_key(), &device, &push, &at(2_000)))
    };
    let known = || hub.store.read_now(|r| r.outbox_epochs(&depot.device)).unwrap();
    let most = u64::try_from(crate::store::devices::LIVES_MAX).unwrap();
    for life in 1..=most + 5 {
        assert_eq!(push(life).unwrap().taken_through, 1);
    }
    let mut lives = known();
    lives.sort_unstable();
    assert_eq!(lives, (6..=most + 5).collect::<Vec<_>>());
    assert!(matches!(push(5), Err(crate::store::StoreError::Refused(_))));
    assert_eq!(push(6).unwrap().rejected.len(), 1, "with what of it was refused");
}

#[test]
fn what_was_refused_is_known_until_the_device_offers_it_no_more() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let part = |begins_at: u64, numbers: std::ops::RangeInclusive<u64>| -> Vec<u64> {
        let records = numbers.map(|n| (n, Upward::Status("none".to_owned()))).collect();
        let (device, push) = (depot.device.clone(), Push { outbox_epoch: 1, records });
        let take = move |tx: &mut crate::store::Tx<'_>| {
            crate::sync::push::take(tx, &hub_key(), &device, &push, begins_at, &at(1_000))
        };
        hub.store.write_now(take).unwrap().reply.rejected.iter().map(|refused| refused.number).collect()
    };
    assert_eq!(part(1, 1..=2), [1, 2]);
    // The answer is lost, and a backup holds what was taken.
    hub.store
        .write_now(|tx| {
            let began = tx.backup_begins(UtcMs(2_000))?;
            tx.backup_holds(began)
        })
        .unwrap();
    assert_eq!(part(1, 1..=2), [1, 2]);
    assert_eq!(part(1, 3..=4), [3, 4], "a later part of the same push");
    // This answer is lost too.
    assert_eq!(part(1, 1..=4), [1, 2, 3, 4]);
    // This one was heard: the device goes on behind it.
    assert_eq!(part(5, 5..=5), [5]);
    let known = hub.store.read_now(|r| r.rejections(&depot.device, 1, 1, 9)).unwrap();
    assert_eq!(known.iter().map(|refused| refused.number).collect::<Vec<_>>(), [3, 4, 5], "as no backup holds them");
}
