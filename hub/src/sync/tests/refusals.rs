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
    let most = u64::try_from(crate::store::outboxes::LIVES_MAX).unwrap();
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

/// The opening of a case about `subject` by a gateway, as the first change of its writer.
fn opening(by: &Depot, subject: &str, at: UtcMs) -> (DocumentId, Document, Upward) {
    let case_type = case::CaseType::DockBlocked;
    let opened = case::Says::Opened {
        case_type,
        subject: subject.into(),
        leg: "-".into(),
        occurrence: 1,
        site: by.site.clone(),
        since: at,
        summary: "the door is blocked".into(),
        order: None,
        blocks: None,
        follows: None,
    };
    let mut document = Document::new().unwrap();
    let id = case::document_id(&case::dedup_key(case_type, subject, "-"), 1);
    let record = says_in(id, &mut document, by, opened, at);
    (id, document, record)
}

/// The next change of a case.
fn says_in(id: DocumentId, document: &mut Document, by: &Depot, says: case::Says, at: UtcMs) -> Upward {
    let after = History::new(document.entries::<case::Says>().0).heads();
    let entry = Entry { after, at, hlc: Hlc::default(), by: "x".into(), says };
    let (_, chunk) = document.append(&by.actor, &[entry]).unwrap();
    Upward::Chunk { document: id, kind: DocumentKind::Case, bytes: chunk.bytes }
}

fn reasons(reply: &PushReply) -> Vec<&str> {
    reply.rejected.iter().map(|refused| refused.reason.as_str()).collect()
}

#[test]
fn nobody_takes_over_the_open_case_of_another_depot_with_an_opening_that_claims_to_be_the_earliest() {
    let hub = Hub::new();
    let (depot, thief) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    let (id, mut document, opened) = opening(&depot, "D1/3", UtcMs(100));
    assert_eq!(reasons(&hub.push_records(&depot, vec![(1, opened)])), [""; 0]);
    let looked = || case::Says::Acted { action: "look".into(), outcome: "nothing".into() };

    let (same, mut copy, earliest) = opening(&thief, "D1/3", UtcMs(0));
    assert_eq!(same, id);
    let next = says_in(id, &mut copy, &thief, looked(), UtcMs(0));
    let refused = hub.push_records(&thief, vec![(1, earliest), (2, next)]);
    assert_eq!(refused.rejected.len(), 2, "also where they come together");
    assert_eq!(reasons(&refused)[0], "this document is not one of the device's own");

    // Nothing of its own depot's word is lost, nor refused from then on.
    let next = says_in(id, &mut document, &depot, looked(), UtcMs(200));
    assert_eq!(reasons(&hub.push_records(&depot, vec![(2, next)])), [""; 0]);
    let view = hub.store.read_now(move |r| r.case_view(&id)).unwrap().unwrap();
    assert_eq!((view.site.as_str(), view.void.len(), view.taken.len()), ("D1", 0, 1));
}

#[test]
fn nobody_keeps_a_depot_from_going_on_by_sending_its_change_so_that_it_is_refused() {
    let hub = Hub::new();
    let (mut depot, thief) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    let (planned, document) = (depot.plan(), depot.id());
    let sends = |bytes: &[u8]| {
        let record = Upward::Chunk { document, kind: DocumentKind::Dispatch, bytes: bytes.to_vec() };
        hub.push_records(&thief, vec![(1, record)])
    };
    assert!(reasons(&sends(&planned))[0].starts_with("written by"), "before its writer sends it");
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
    // Without its head the rest of a change has the hash that the change has.
    let late = Upward::Chunk { document, kind: DocumentKind::Dispatch, bytes: planned[8..].to_vec() };
    assert_eq!(reasons(&hub.push_records(&thief, vec![(2, late)])), ["not an Automerge chunk"]);
    depot.say(Says::Ready);
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
}

#[test]
fn who_writes_for_two_depots_does_not_make_the_case_of_one_the_others() {
    let mut hub = Hub::new();
    let (depot, both) = (hub.gateway("gw-1", "D1", 7), hub.gateway("gw-2", "D2", 8));
    let sites = vec![both.site.clone(), depot.site.clone()];
    let device = Device { sites, ..fixture::gateway("gw-2", "D2", 8) };
    crate::sync::devices::add(&hub.store, device, "test", UtcMs(2)).unwrap();
    let (id, _, opened) = opening(&depot, "D1/3", UtcMs(100));
    assert_eq!(reasons(&hub.push_records(&depot, vec![(1, opened)])), [""; 0]);
    // Also where the hub has the document not in hand.
    hub.restart();
    let (_, _, earliest) = opening(&both, "D1/3", UtcMs(0));
    let refused = hub.push_records(&both, vec![(1, earliest)]);
    assert_eq!(reasons(&refused), ["a document stays with the depot that it is of"]);
    assert_eq!(hub.store.read_now(move |r| r.case_view(&id)).unwrap().unwrap().site.as_str(), "D1");
}

#[test]
fn a_device_does_not_take_the_case_of_an_order_that_is_not_its_own_by_opening_it_without_the_order() {
    let hub = Hub::new();
    let depot = hub.gateway("gw-1", "D1", 7);
    let order = Order { site: "D2".parse().unwrap(), ..fixture::order(UtcMs(9_000)) };
    hub.store.write_now(move |tx| tx.put_order(&order, UtcMs(2))).unwrap();
    let (id, _, bare) = opening(&depot, "D1/3", UtcMs(0));
    // The hub said it, of this depot's door, and of an order of another.
    let says = case::Says::Opened {
        case_type: case::CaseType::DockBlocked,
        subject: "D1/3".into(),
        leg: "-".into(),
        occurrence: 1,
        site: "D1".parse().unwrap(),
        since: UtcMs(3),
        summary: "the door is blocked".into(),
        order: Some("SO-1".parse().unwrap()),
        blocks: None,
        follows: None,
    };
    let says = DocumentSays::Case(vec![says]);
    hub.store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, UtcMs(3))).unwrap();
    let refused = hub.push_records(&depot, vec![(1, bare)]);
    assert_eq!(reasons(&refused), ["this document is not one of the device's own"]);
}

/// Many short entries, as one change.
fn says_often(depot: &mut Depot, times: usize) {
    let said = Entry { after: Vec::new(), at: UtcMs(100), hlc: Hlc::default(), by: "x".into(), says: Says::RecallSeen };
    let (_, chunk) = depot.document.append(&depot.actor, &vec![said; times]).unwrap();
    depot.queue_chunk(chunk.bytes);
}

#[test]
fn a_device_makes_no_document_longer_than_is_stated_and_goes_on_in_others() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    (0..5).for_each(|_| says_often(&mut depot, 399));
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
    depot.outbox.drain(..5);
    // 1,996 entries are there.
    (0..6).for_each(|_| says_often(&mut depot, 1));
    let newest = depot.outbox.split_off(1);
    let refused = hub.push_records(&depot, newest);
    assert_eq!(refused.rejected.len(), 2, "four fit, though they came with others: {refused:?}");
    assert_eq!(reasons(&refused)[0], "the document would have more than 2000 entries");
    let (id, _, opened) = opening(&depot, "D1/3", UtcMs(100));
    assert_eq!(reasons(&hub.push_records(&depot, vec![(13, opened)])), [""; 0]);
    assert!(hub.store.read_now(move |r| r.case_view(&id)).unwrap().is_some());
    assert_eq!(hub.quarantined(), 2);
}

#[test]
fn a_device_makes_no_document_larger_than_is_stated() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    let long = || Says::Lifted { holds: Vec::new(), why: "x".repeat(60_000) };
    (0..34).for_each(|_| drop(depot.say(long())));
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
    depot.say(long());
    let newest = depot.outbox.split_off(35);
    let refused = hub.push_records(&depot, newest);
    assert!(reasons(&refused)[0].ends_with(" bytes; 2097152 is the most"), "{refused:?}");
}

#[test]
fn no_device_makes_a_document_wait_for_a_program_that_there_is_not() {
    let newer = dispatch::FOLD_VERSION + 1;
    let why = format!(
        "it asks for version {newer} of the fold; this hub knows {} and is upgraded first",
        dispatch::FOLD_VERSION
    );
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    depot.say(Says::Fold { version: dispatch::FOLD_VERSION });
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
    depot.say(Says::Fold { version: newer });
    let newest = depot.outbox.split_off(2);
    assert_eq!(reasons(&hub.push_records(&depot, newest)), [why.as_str()]);
    let id = depot.id();
    let view = hub.store.read_now(move |r| r.dispatch_view(&id)).unwrap().unwrap();
    assert_eq!((view.fold, view.waits_for_upgrade), (dispatch::FOLD_VERSION, false));

    // Nor with a change whose past comes later, whoever brings it.
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    depot.plan();
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
    depot.actor.epoch = 2;
    depot.say(Says::Ready);
    let past = depot.outbox.split_off(1);
    depot.actor.epoch = 1;
    depot.say(Says::Fold { version: newer });
    let waits = depot.outbox.split_off(1);
    assert_eq!(reasons(&hub.push_records(&depot, waits)), [why.as_str()]);
    let past = past.into_iter().map(|(_, says)| (3, says)).collect();
    assert_eq!(reasons(&hub.push_records(&depot, past)), [""; 0]);
}

#[test]
fn nobody_fills_the_document_that_another_depot_will_open_with_changes_whose_past_is_missing() {
    let hub = Hub::new();
    let mut depot = hub.gateway("gw-1", "D1", 7);
    let (mut other, mut third) = (hub.gateway("gw-2", "D2", 8), hub.gateway("gw-3", "D3", 9));
    other.document.apply_own(&third.say(Says::Ready)).unwrap();
    let long = || Says::Lifted { holds: Vec::new(), why: "x".repeat(60_000) };
    (0..34).for_each(|_| drop(other.say(long())));
    for (_, record) in &mut other.outbox {
        let Upward::Chunk { document, .. } = record else { panic!() };
        *document = depot.id();
    }
    let refused = other.push(&hub);
    assert_eq!(reasons(&refused)[0], "too much waits in a document that nobody has opened");
    assert_eq!(refused.rejected[0].number, 5);
    // Whose it is has the rest of the room.
    depot.plan();
    (0..29).for_each(|_| drop(depot.say(long())));
    assert_eq!(reasons(&depot.push(&hub)), [""; 0]);
}
