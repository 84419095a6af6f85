//! CloudEvents by HTTP, in both of their modes.

use serde_json::Value;

use super::*;
use crate::partners::cloudevents::{Mode, assembled};

/// Leaves an event for the schema of CloudEvents, which `tests/partners/run` asks about it.
pub(super) fn leave(name: &str, events: &[Value]) {
    let Some(folder) = std::env::var_os("GATEHOUSE_CLOUDEVENTS_TOLD") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let told = serde_json::to_string(events).unwrap();
    std::fs::write(std::path::Path::new(&folder).join(format!("{name}.json")), told).unwrap();
}

/// The event of a request, in whichever mode it came: as a receiver would read it.
fn event_of(headers: &HeaderMap, body: &Bytes) -> Value {
    match Mode::of(headers).unwrap() {
        Mode::Structured => serde_json::from_slice(body).unwrap(),
        Mode::Binary(attributes) => serde_json::from_slice(&assembled(attributes, body).unwrap()).unwrap(),
        Mode::Batch => panic!("nobody sends batches"),
    }
}

#[tokio::test]
async fn a_subscription_gets_cloudevents_in_the_mode_it_asks_for_signed_and_tried_again_as_any_other() {
    let mut told = Vec::new();
    for envelope in [Envelope::Structured, Envelope::Binary] {
        let mut scene = Scene::new().await;
        scene.hook.envelope = envelope;
        scene.will_answer(&[(503, "7"), (204, "")]);
        let id = scene.case(CaseType::LateDelivery).await;
        assert!(scene.once().await);
        let waits = scene.delivery().next_try.since(scene.clock.wall());
        assert!((5_000..=8_000).contains(&waits), "{waits}");
        scene.hurry().await;
        assert!(scene.once().await);
        assert_eq!(scene.counts(), [("delivered".to_owned(), 1)]);
        let got = scene.got();
        let events: Vec<Value> = got.iter().map(|(headers, body)| event_of(headers, body)).collect();
        assert_eq!(events[0], events[1], "the same event at every try");
        let event = &events[0];
        for (headers, body) in &got {
            assert_eq!(header(headers, "webhook-id"), event["id"]);
            let time: i64 = header(headers, "webhook-timestamp").parse().unwrap();
            let signature = scene.hook.key.sign(header(headers, "webhook-id"), time, body);
            assert_eq!(header(headers, "webhook-signature"), signature);
            assert_eq!(headers.get_all("content-type").iter().count(), 1);
        }
        assert_eq!(event["type"], "io.gatehouse.case.open.v1");
        assert_eq!(event["subject"], format!("case/{id}"));
        assert_eq!(event["data"]["case"], id.to_string());
        assert_eq!(event["source"], "/depots/D1");
        told.push(event.clone());
    }
    leave("http", &told);
}

#[tokio::test]
async fn a_subscription_to_cloudevents_ends_with_410_too() {
    let mut scene = Scene::new().await;
    scene.hook.envelope = Envelope::Binary;
    scene.will_answer(&[(410, "")]);
    scene.case(CaseType::LateDelivery).await;
    scene.case(CaseType::EtaRisk).await;
    assert!(scene.once().await);
    assert!(!scene.once().await);
    assert_eq!(scene.counts(), [("dead".to_owned(), 2)]);
}
