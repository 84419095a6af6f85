//! Documents that wait for the past of a change, as those see them who watch the hub.

use gatehouse_common::{dispatch, document::WAITING_MAX_MS, sync::Lane};

use super::*;
use crate::store::DocumentSays;

/// A desk with a document that has waited for so long.
async fn waited(ms: i64) -> Desk {
    let desk = Desk::new().await;
    let id = dispatch::document_id(&"SO-1".parse().unwrap(), &"D1".parse().unwrap(), 1);
    let now = Clock::system().wall();
    let says = DocumentSays::Dispatch(vec![dispatch::Says::Lifted { holds: Vec::new(), why: "cleared".into() }]);
    desk.store.write_now(move |tx| tx.write_entries(&id, says, "test", Lane::Documents, now)).unwrap();
    let beside = rusqlite::Connection::open(desk._directory.path().join("hub.db")).unwrap();
    let waits = "UPDATE documents SET waiting_since_ms = ?1";
    assert_eq!(beside.execute(waits, [now.plus(-ms).0]).unwrap(), 1);
    desk
}

async fn figure(desk: &Desk, name: &str) -> f64 {
    let asked = desk.http.get(format!("http://{}/metrics", desk.address)).header(header::AUTHORIZATION, "Bearer board");
    let text = asked.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn a_document_that_waits_is_counted_at_once_and_told_after_ten_minutes() {
    for (ms, ok) in [(WAITING_MAX_MS - 60_000, true), (WAITING_MAX_MS + 1_000, false)] {
        let desk = waited(ms).await;
        let readiness = desk.get("/readyz", "").await;
        let checks = readiness.body["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "documents").unwrap();
        assert_eq!((&check["ok"], readiness.status), (&json!(ok), StatusCode::OK), "{check}");
        assert_eq!(figure(&desk, "gatehouse_hub_documents_waiting").await, 1.0);
        let waits_s = figure(&desk, "gatehouse_hub_documents_waiting_oldest_seconds").await;
        assert!((waits_s - ms as f64 / 1_000.0).abs() < 59.0, "{waits_s} s of {ms} ms");
    }
}
