//! One store in each form.

mod replicas;

use std::collections::BTreeMap;

use gatehouse_common::{
    case::CaseType,
    dispatch,
    document::{Entry, EntryKey},
    id::DocumentKind,
    order::{LineQuantity, Order},
    sync::Lane,
    time::{Hlc, UtcMs},
};
use serde_json::Value;

use super::{epcis, ocel_json::OcelJson, ocel_sqlite::OcelSqlite, walk, xes::Xes};
use crate::{
    fixture,
    partners::desk::matters,
    store::{DocumentSays, Store},
};

fn order(now: UtcMs) -> Order {
    let mut order = fixture::order(now);
    // Marks that each form must write so that it reads as it was.
    order.id = "SO 1/a".parse().unwrap();
    order.lines[0].product = "P <1>".parse().unwrap();
    order
}

/// Three cases, two of them resolved, and a dispatch that was cancelled.
fn scene() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
    let now: UtcMs = "2026-11-23T08:00:00Z".parse().unwrap();
    store
        .write_now(move |tx| {
            let order = order(now);
            let subject = order.id.to_string();
            tx.put_order(&order, now)?;
            for (n, case_type) in
                [CaseType::LateDelivery, CaseType::EtaRisk, CaseType::PodDamage].into_iter().enumerate()
            {
                let at = now.plus(60_000 * n as i64);
                matters::open(tx, &subject, case_type, "it is \"late\" & <more>", "acme", at)?;
                if n < 2 {
                    matters::clear(tx, &subject, case_type, "over", "acme", at.plus(1_234_567 * (n as i64 + 1)))?;
                }
            }
            let id = dispatch::document_id(&order.id, &order.site, 1);
            tx.write_entries(
                &id,
                DocumentSays::Dispatch(vec![fixture::planned(&order)]),
                "rule: test",
                Lane::Documents,
                now,
            )?;
            let cancelled = dispatch::Says::Cancelled { order_version: 2, why: "cancelled".into() };
            let later = now.plus(300_000);
            tx.write_entries(&id, DocumentSays::Dispatch(vec![cancelled]), "rule: test", Lane::Documents, later)?;
            Ok(())
        })
        .unwrap();
    (folder, store)
}

/// Cycle times of resolved cases as the hub reckons them, in milliseconds.
fn cycle_times(store: &Store) -> BTreeMap<String, i64> {
    store
        .read_now(|r| {
            let mut times = BTreeMap::new();
            for id in r.document_ids(DocumentKind::Case)? {
                let view = r.case_view(&id)?.unwrap();
                if let Some(resolved) = view.resolved_at {
                    times.insert(format!("case:{id}"), resolved.since(view.opened_at));
                }
            }
            Ok(times)
        })
        .unwrap()
}

/// What a depot, a vehicle and a carrier said of the dispatch of the scene: it was loaded and closed, left, arrived, and was
/// signed for twice; a carrier says that it left later.
fn every_step(store: &Store) -> (Vec<Value>, Vec<Value>) {
    let steps = |said: &[(&str, i64, dispatch::Says)], edit: &dyn Fn(&mut dispatch::DispatchView)| {
        store
            .read_now(|r| {
                let id = r.document_ids(DocumentKind::Dispatch)?.remove(0);
                let mut view = r.dispatch_view(&id)?.unwrap();
                let at = view.planned_departure;
                let entry = |(key, minutes, says): &(&str, i64, dispatch::Says)| {
                    let at = at.plus(minutes * 60_000);
                    let hlc = Hlc { ms: at.0, n: 0 };
                    (key.parse().unwrap(), Entry { after: Vec::new(), at, hlc, by: "test".into(), says: says.clone() })
                };
                let mut all: BTreeMap<EntryKey, Entry<dispatch::Says>> = said.iter().map(entry).collect();
                if let Some(key) = &view.cancelled {
                    let document = r.document(&id)?.unwrap().1;
                    all.extend(document.entries().0.into_iter().filter(|(other, _)| other == key));
                }
                edit(&mut view);
                Ok(epcis::of_dispatch(&id, &view, &all, &[]))
            })
            .unwrap()
    };
    let start = store.read_now(|r| Ok(r.dispatch_view(&r.document_ids(DocumentKind::Dispatch)?[0])?.unwrap())).unwrap();
    let evidence = |minutes: i64| {
        let at = start.planned_departure.plus(minutes * 60_000);
        dispatch::Evidence { at, readings: vec!["seen".into()] }
    };
    let load = |units| vec![LineQuantity { quantity: units, ..start.load[0].clone() }];
    let proved = |units, minutes| dispatch::Says::Proved {
        lines: Vec::new(),
        load: load(units),
        signed_by: None,
        photo: None,
        evidence: evidence(minutes),
    };
    let (depot, carrier, vehicle) = ("site/D1/gw-1/1", "hub/hub/hub/9", "vehicle/D1/v-1/1");
    let key = |of: &str, n: u32| -> EntryKey { format!("{of}-{n}").parse().unwrap() };
    let of = |key: &EntryKey| -> &'static str { Box::leak(key.to_string().into_boxed_str()) };
    let loading = (of(&key(depot, 1)), 0, dispatch::Says::Loading { evidence: evidence(0) });
    let loaded = (of(&key(depot, 2)), 5, dispatch::Says::Loaded { load: load(10), evidence: evidence(5) });
    let left = [
        loading.clone(),
        loaded.clone(),
        (of(&key(depot, 3)), 6, dispatch::Says::Departed { load: load(10), evidence: evidence(6) }),
        (of(&key(carrier, 1)), 30, dispatch::Says::Departed { load: load(10), evidence: evidence(26) }),
        (of(&key(vehicle, 1)), 60, proved(10, 60)),
        (of(&key(vehicle, 2)), 70, proved(9, 61)),
    ];
    let physical =
        |key: EntryKey, units, minutes| dispatch::view::Physical { key, load: load(units), at: evidence(minutes).at };
    let went = steps(&left, &|view| {
        view.departed = Some(physical(key(depot, 3), 10, 6));
        view.delivered = Some(physical(key(vehicle, 2), 9, 60));
        view.superseded = vec![(key(carrier, 1), "another word on when it left counts".into())];
    });
    let back = [loading, loaded, (of(&key(depot, 3)), 20, dispatch::Says::Aborted { evidence: evidence(20) })];
    (went, steps(&back, &|_| {}))
}

#[test]
fn one_state_of_the_store_is_the_same_in_every_form() {
    let (folder, store) = scene();
    let mut json = OcelJson::new(Vec::new());
    let sqlite = folder.path().join("log.sqlite");
    let mut cases = Xes::new(Vec::new(), "case");
    let counted = store.read_now(|r| Ok(walk(r, &mut json).unwrap())).unwrap();
    assert_eq!(store.read_now(|r| Ok(walk(r, &mut OcelSqlite::create(&sqlite).unwrap()).unwrap())).unwrap(), counted);
    assert_eq!(store.read_now(|r| Ok(walk(r, &mut cases).unwrap())).unwrap(), counted);
    let (json, cases) = (json.into_inner(), cases.into_inner());

    let log: Value = serde_json::from_slice(&json).unwrap();
    let list = |name: &str| log[name].as_array().unwrap().clone();
    assert_eq!((list("events").len() as u64, list("objects").len() as u64), (counted.events, counted.objects));
    let known: Vec<Value> = list("objects").iter().map(|o| o["id"].clone()).collect();
    let kinds: Vec<Value> = list("eventTypes").iter().map(|t| t["name"].clone()).collect();
    for event in list("events") {
        assert!(kinds.contains(&event["type"]), "{event}");
        for to in event["relationships"].as_array().unwrap() {
            assert!(known.contains(&to["objectId"]), "{event} names what is not there");
        }
    }
    let opened: i64 = rusqlite::Connection::open(&sqlite)
        .unwrap()
        .query_row("SELECT count(*) FROM event WHERE ocel_type = 'case opened'", [], |r| r.get(0))
        .unwrap();
    assert_eq!(opened, 3);
    let cases = String::from_utf8(cases).unwrap();
    assert_eq!(cases.matches("<trace>").count(), 3);
    assert!(!cases.contains("<more>"), "text is escaped");

    // The times between the events of the log are those that the hub reckons.
    let ours = cycle_times(&store);
    assert_eq!(ours.len(), 2);
    let at = |case: &str, kind: &str| -> UtcMs {
        let about = |e: &Value| e["relationships"].as_array().unwrap().iter().any(|r| r["objectId"] == case);
        let found = list("events").into_iter().find(|e| e["type"] == kind && about(e)).unwrap();
        found["time"].as_str().unwrap().parse().unwrap()
    };
    for (case, ms) in &ours {
        assert_eq!(at(case, "case resolved").since(at(case, "case opened")), *ms);
    }

    let mut events = Vec::new();
    store.read_now(|r| Ok(epcis::write(r, &mut events, UtcMs(1_800_000_000_000)).unwrap())).unwrap();
    let seen: Value = serde_json::from_slice(&events).unwrap();
    let list = seen["epcisBody"]["eventList"].as_array().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0]["bizStep"], &list[0]["eventTime"]),
        (&"void_shipping".into(), &"2026-11-23T08:05:00.000Z".into())
    );
    assert_eq!(list[0]["quantityList"][0]["epcClass"], "urn:gatehouse:product:P%20%3C1%3E");

    let (went, back) = every_step(&store);
    let steps = |events: &[Value]| -> Vec<String> {
        let word = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
        let wrong = |event: &Value| if event["errorDeclaration"].is_null() { "" } else { " (wrong)" };
        events
            .iter()
            .map(|e| format!("{} {} {}{}", word(e, "action"), word(e, "bizStep"), word(e, "disposition"), wrong(e)))
            .collect()
    };
    assert_eq!(
        steps(&went),
        [
            "OBSERVE loading in_progress",
            "ADD loading container_closed",
            "OBSERVE departing in_transit",
            "OBSERVE departing in_transit (wrong)",
            "DELETE unloading container_open",
            "OBSERVE accepting mismatch_quantity",
            "OBSERVE accepting completeness_verified (wrong)",
        ],
        "what left is no void shipment"
    );
    let (added, taken_out) = (&went[1], &went[4]);
    assert_eq!((&added["type"], &added["parentID"]), (&"AggregationEvent".into(), &taken_out["parentID"]));
    assert_eq!(taken_out["childQuantityList"][0]["quantity"], 9);
    for (wrong, stands) in [(&went[3], &went[2]), (&went[6], &went[5])] {
        assert_eq!(wrong["errorDeclaration"]["reason"], "incorrect_data");
        assert_eq!(wrong["errorDeclaration"]["correctiveEventIDs"], serde_json::json!([stands["eventID"]]));
    }
    let names: std::collections::BTreeSet<&str> = went.iter().map(|e| e["eventID"].as_str().unwrap()).collect();
    assert_eq!(names.len(), went.len(), "each event has a name of its own");
    assert_eq!(
        steps(&back),
        [
            "OBSERVE loading in_progress",
            "ADD loading container_closed",
            "DELETE void_shipping -",
            "DELETE unloading container_open"
        ]
    );
    let all = [went, back].concat();

    if let Some(place) = std::env::var_os("GATEHOUSE_EXPORTS_WRITTEN") {
        let place = std::path::PathBuf::from(place);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("log.jsonocel"), &json).unwrap();
        std::fs::copy(&sqlite, place.join("log.sqlite")).unwrap();
        std::fs::write(place.join("cases.xes"), &cases).unwrap();
        std::fs::write(place.join("epcis.json"), &events).unwrap();
        let mut whole = seen.clone();
        whole["epcisBody"]["eventList"] = all.into();
        std::fs::write(place.join("epcis-steps.json"), whole.to_string()).unwrap();
        let expected = serde_json::json!({ "events": counted.events, "objects": counted.objects, "cycle_ms": ours });
        std::fs::write(place.join("expected.json"), expected.to_string()).unwrap();
    }
}
