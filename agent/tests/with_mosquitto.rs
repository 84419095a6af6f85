//! The real program with a real mosquitto, both from the examples in `firmware-config/`.

mod depot;

use std::time::Duration;

use depot::{Depot, PIN, door_message, publish_to, stored};
use serde_json::{Value, json};

fn shows_reading(board: &Value, id: &str) -> bool {
    board["readings"].as_array().is_some_and(|rows| rows.iter().any(|row| row["reading_id"] == id))
}

fn quarantined<'a>(board: &'a Value, topic: &str) -> Option<&'a Value> {
    board["quarantine"].as_array()?.iter().find(|row| row["topic"] == topic)
}

#[tokio::test]
async fn a_door_message_shows_on_the_page_within_a_second() {
    let Some(depot) = Depot::start("a door message on the page").await else { return };
    depot.door(3, "first", true).await;
    let took = depot.until("the door", |board| shows_reading(board, "first")).await;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let page = depot.raw("/").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(page.text().await.unwrap().contains("/page.js"));
}

#[tokio::test]
async fn garbage_is_quarantined_with_its_reason_and_the_next_good_message_is_taken() {
    let Some(depot) = Depot::start("garbage").await else { return };
    depot
        .publish([
            ("depot/D1/door/1".to_owned(), b"\xff\x00garbage".to_vec()),
            ("depot/D1/door/9".to_owned(), door_message(9, "unknown-door", true).1),
            ("depot/D1/occupancy/2".to_owned(), br#"{"id":"x","time":1,"occupied":"maybe"}"#.to_vec()),
            door_message(2, "good", false),
        ])
        .await;
    depot.until("the good message", |board| shows_reading(board, "good")).await;
    let board = depot.board().await;
    let reason = |topic| quarantined(&board, topic).map(|row| row["reason"].as_str().unwrap_or_default().to_owned());
    assert_eq!(reason("depot/D1/door/1").unwrap(), "not JSON: expected value at line 1 column 1");
    assert_eq!(reason("depot/D1/door/9").unwrap(), "door at the subject is 9, expected one of site.doors");
    assert_eq!(
        reason("depot/D1/occupancy/2").unwrap(),
        r#"value at "/occupied" is "maybe", expected one of true, false"#
    );
}

#[tokio::test]
async fn a_message_of_a_megabyte_neither_stops_nor_loops_intake() {
    let Some(mut depot) = Depot::start("a message of a megabyte").await else { return };
    depot.publish([("depot/D1/door/1".to_owned(), vec![b'x'; 1 << 20]), door_message(1, "after", true)]).await;
    depot.until("the message after it", |board| shows_reading(board, "after")).await;
    let board = depot.board().await;
    let row = quarantined(&board, "depot/D1/door/1").expect("the large message is in quarantine");
    assert_eq!((row["size"].as_u64(), row["head"].as_str().map(str::len)), (Some(1 << 20), Some(256)));
    // A message that were not acknowledged would come again at every connection.
    assert!(depot.stop_agent(), "{}", depot.log());
    depot.start_agent().await;
    depot.door(1, "later", false).await;
    depot.until("a later message", |board| shows_reading(board, "later")).await;
    assert_eq!(depot.board().await["status"]["counters"]["quarantined"], 1);
}

#[tokio::test]
async fn a_packet_above_the_limit_is_told_with_its_remedy_and_never_tried_in_a_tight_loop() {
    let limits = "payload_max_bytes = 1000\npacket_max_bytes = 20000";
    let Some(mut depot) = Depot::prepare("a packet above the limit", limits).await else { return };
    depot.start_broker();
    depot.start_agent().await;
    depot.until("the connection", |board| board["broker"]["connected"] == true).await;
    // The subscription is on its way; a message that came through proves it.
    depot.door(1, "before", true).await;
    depot.until("a message before it", |board| shows_reading(board, "before")).await;
    depot.publish([("depot/D1/door/1".to_owned(), vec![b'x'; 50_000])]).await;
    depot
        .until("the trouble", |board| {
            let trouble = board["broker"]["trouble"].as_str().unwrap_or_default();
            trouble.contains("mqtt.packet_max_bytes = 20000") && trouble.contains("depot/D1/door/+")
        })
        .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let tries = depot.log().matches("connected to the broker").count();
    assert!((2..=10).contains(&tries), "{tries} connections:\n{}", depot.log());
    assert!(depot.agent_is_running());
}

#[tokio::test]
async fn killed_in_the_middle_it_loses_nothing_and_doubles_nothing() {
    const MESSAGES: u32 = 8_000;
    let Some(mut depot) = Depot::start("kill -9 in the middle").await else { return };
    depot.door(1, "subscribed", true).await;
    depot.until("the subscription", |board| shows_reading(board, "subscribed")).await;
    let messages = (0..MESSAGES).map(|n| door_message(1 + n % 4, &format!("m-{n}"), n % 2 == 0)).collect();
    let publishing = tokio::spawn(publish_to(depot.broker_port, messages));
    let store = depot.store();
    let mut killed_in_the_middle = 0;
    for pause in [30, 50, 80, 110, 150, 200] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        depot.kill_agent();
        let (rows, ids) = stored(&store, "m-");
        assert_eq!(rows, ids, "a reading is stored twice");
        killed_in_the_middle += u32::from(rows > 0 && rows < MESSAGES);
        depot.start_agent().await;
    }
    assert!(killed_in_the_middle > 0, "no kill fell between the first and the last message");
    publishing.await.unwrap();
    let started = std::time::Instant::now();
    while stored(&store, "m-").1 < MESSAGES && started.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stored(&store, "m-"), (MESSAGES, MESSAGES), "{}", depot.log());
}

/// What the findings about `about` that lose data say.
fn losing<'a>(findings: &'a [Value], about: &str) -> Vec<&'a str> {
    let losing = findings.iter().filter(|f| f["severity"] == "loses_data" && f["about"] == about);
    losing.filter_map(|finding| finding["what"].as_str()).collect()
}

#[tokio::test]
async fn the_doctor_finds_nothing_that_loses_with_what_we_ship_and_leaves_the_agent_alone() {
    let Some(depot) = Depot::start("the doctor and the shipped configuration").await else { return };
    depot.door(1, "before-doctor", true).await;
    depot.until("a message before it", |board| shows_reading(board, "before-doctor")).await;
    let (findings, code) = depot.doctor(&[]);
    for about in ["broker", "topics", "clock", "hub"] {
        assert_eq!(losing(&findings, about), Vec::<&str>::new(), "{findings:#?}");
    }
    // Where the temporary folder is memory, that is found, and rightly.
    assert_eq!(code, Some(i32::from(!losing(&findings, "disk").is_empty())), "{findings:#?}");
    assert!(findings.iter().any(|f| f["what"].as_str().is_some_and(|what| what.contains("kept 1500 of 1500"))));
    assert!(findings.iter().all(|f| f["severity"] != "unknown" || f["about"] == "clock"), "{findings:#?}");
    // The agent kept its line and saw nothing of it.
    depot.door(1, "after-doctor", true).await;
    depot.until("a message after it", |board| shows_reading(board, "after-doctor")).await;
    let board = depot.board().await;
    assert_eq!(board["status"]["counters"]["quarantined"], 0, "{board:#}");
    assert_eq!(depot.log().matches("connected to the broker").count(), 1, "{}", depot.log());
    // No session of the doctor's waits at the broker: everything left would be sent to whoever asks again.
    let left = std::fs::read(depot.directory.path().join("mosquitto.db")).unwrap_or_default();
    let shows = |what: &[u8]| left.windows(what.len()).any(|window| window == what);
    assert!(!shows(b"gatehouse-doctor-"), "the broker keeps something of the doctor's");
}

#[tokio::test]
async fn the_doctor_names_what_mosquittos_defaults_lose() {
    let Some(mut depot) = Depot::prepare("the doctor and mosquitto's defaults", "").await else { return };
    depot.set_broker("listener PORT 127.0.0.1\nallow_anonymous true\nuser root\n");
    depot.start_broker();
    let (findings, code) = depot.doctor(&[]);
    assert_eq!(code, Some(1), "{findings:#?}");
    let broker = losing(&findings, "broker").join("\n");
    assert!(broker.contains("of 1500 messages for a session that was away, and dropped"), "{broker}");
    assert!(broker.contains("persistence is false"), "{broker}");
    assert!(broker.contains("max_queued_messages is 1000"), "{broker}");
    assert!(broker.contains("more than mqtt.packet_max_bytes"), "{broker}");
    for finding in findings.iter().filter(|f| f["severity"] == "loses_data") {
        assert!(finding["lost"].is_string() && finding["remedy"].is_string(), "{finding:#}");
    }
}

/// One line of the exposition: the metric, its labels as they stand, the value.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            (name.to_owned(), labels.trim_end_matches('}').to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// What a scraper would not take, or an operator not understand.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut declared: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
    let mut helped = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if help.is_empty() || !helped.insert(name) {
                faults.push(format!("{name} has no help, or two"));
            }
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            if declared.insert(name, kind).is_some() {
                faults.push(format!("{name} is declared twice"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                faults.push(format!("{name} is a {kind}"));
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (name, labels, value) in samples(text) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let is_histogram = base.is_some_and(|base| declared.get(base) == Some(&"histogram"));
        if !is_histogram && !declared.contains_key(name.as_str()) {
            faults.push(format!("{name} is not declared"));
        }
        if !value.is_finite() {
            faults.push(format!("{name} is {value}"));
        }
        if !seen.insert((name.clone(), labels.clone())) {
            faults.push(format!("{name}{{{labels}}} stands twice"));
        }
    }
    faults.extend(declared.keys().filter(|name| !helped.contains(*name)).map(|name| format!("{name} has no help")));
    faults
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads_and_what_the_list_says() {
    let Some(depot) = Depot::start("metrics").await else { return };
    depot
        .publish([
            door_message(1, "metered", true),
            door_message(1, "metered", true),
            ("depot/D1/door/2".to_owned(), b"garbage".to_vec()),
            door_message(2, "metered-last", true),
        ])
        .await;
    depot.until("the last message", |board| shows_reading(board, "metered-last")).await;
    let answer = depot.raw("/metrics").await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text().await.unwrap();
    assert_eq!(faults(&text), Vec::<String>::new(), "{text}");
    let value = |name: &str, label: &str| {
        let found = samples(&text).into_iter().find(|(n, labels, _)| n == name && labels.contains(label));
        found.unwrap_or_else(|| panic!("{name} {label} is not there:\n{text}")).2
    };
    assert_eq!(value("gatehouse_readings_received_total", "kind=\"door\""), 3.0);
    assert_eq!(value("gatehouse_readings_stored_total", ""), 2.0);
    assert_eq!(value("gatehouse_readings_duplicate_total", ""), 1.0);
    assert_eq!(value("gatehouse_messages_unreadable_total", "reason=\"not_json\""), 1.0);
    assert_eq!(value("gatehouse_broker_connected", ""), 1.0);
    assert_eq!(value("gatehouse_backpressure", "disk_full"), 0.0);
    assert!(value("gatehouse_commit_seconds_count", "") >= 1.0 && value("gatehouse_commit_seconds_sum", "") > 0.0);
    assert!(value("gatehouse_store_bytes", "") > 0.0 && value("process_resident_memory_bytes", "") > 1e6);
    // No id of an order, a device or a topic may become a label: their number has no bound.
    assert!(!text.contains("depot/D1") && !text.contains("metered"), "{text}");
    let (list, _) = include_str!("../../docs/metrics.md").split_once("## The hub").unwrap();
    let listed: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect();
    let served: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name).collect();
    for name in &served {
        assert!(listed.contains(name), "docs/metrics.md does not list {name}");
    }
    for name in &listed {
        assert!(served.contains(name), "docs/metrics.md lists {name}, which is not served");
    }
}

#[test]
fn a_fault_in_an_exposition_is_seen() {
    assert_eq!(faults("# HELP a_total b\n# TYPE a_total counter\na_total 1\n"), Vec::<String>::new());
    for wrong in [
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# TYPE a gauge\na 1\n",
        "a 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\na NaN\n",
    ] {
        assert!(!faults(wrong).is_empty(), "{wrong}");
    }
}

#[tokio::test]
async fn told_to_stop_under_load_it_ends_in_time_and_loses_and_doubles_nothing() {
    const MESSAGES: u32 = 6_000;
    let Some(mut depot) = Depot::start("a stop under load").await else { return };
    depot.door(1, "subscribed", true).await;
    depot.until("the subscription", |board| shows_reading(board, "subscribed")).await;
    let messages = (0..MESSAGES).map(|n| door_message(1 + n % 4, &format!("s-{n}"), n % 2 == 0)).collect();
    let publishing = tokio::spawn(publish_to(depot.broker_port, messages));
    let store = depot.store();
    let mut stopped_in_the_middle = 0;
    for pause in [40, 90, 160] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let started = std::time::Instant::now();
        assert!(depot.stop_agent(), "{}", depot.log());
        assert!(started.elapsed() < Duration::from_secs(10), "it took {:?} to stop", started.elapsed());
        let rows = stored(&store, "s-").0;
        stopped_in_the_middle += u32::from(rows > 0 && rows < MESSAGES);
        depot.start_agent().await;
    }
    assert!(stopped_in_the_middle > 0, "no stop fell between the first and the last message");
    publishing.await.unwrap();
    let started = std::time::Instant::now();
    while stored(&store, "s-").1 < MESSAGES && started.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stored(&store, "s-"), (MESSAGES, MESSAGES), "{}", depot.log());
}

#[tokio::test]
async fn without_broker_and_hub_it_starts_and_finds_the_broker_when_it_comes() {
    let Some(mut depot) = Depot::prepare("a broker that comes late", "").await else { return };
    depot.start_agent().await;
    depot
        .until("that the broker is away", |board| {
            board["broker"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("is the broker running?"))
        })
        .await;
    depot.start_broker();
    depot.until("the connection", |board| board["broker"]["connected"] == true).await;
    assert_eq!(depot.board().await["hub"]["url"], Value::Null);
    assert!(depot.stop_agent(), "{}", depot.log());
}

#[tokio::test]
async fn a_write_needs_name_and_pin() {
    let Some(depot) = Depot::start("name and PIN").await else { return };
    let path = format!("/api/dispatches/{}/override", "0".repeat(32));
    let body = json!({ "reason": "the customer waits" });
    let (status, problem) = depot.post(&path, None, &body).await;
    assert_eq!((status, problem["status"].as_u64()), (401, Some(401)));
    assert_eq!(depot.post(&path, Some(("ana", "1234")), &body).await.0, 401);
    assert_eq!(depot.post(&path, Some(("eve", PIN)), &body).await.0, 401);
    let (status, problem) = depot.post(&path, Some(("ana", PIN)), &body).await;
    assert_eq!(status, 404, "{problem}");
    assert_eq!(depot.post(&path, Some(("ana", PIN)), &json!({ "why": "x" })).await.0, 422);
}

#[tokio::test]
async fn open_pages_are_told_of_a_change() {
    let Some(depot) = Depot::start("live pages").await else { return };
    let mut live = depot.raw("/api/live").await;
    depot.door(1, "live", true).await;
    let mut text = String::new();
    let told = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(chunk) = live.chunk().await.unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if text.contains(r#"{"what":"facts"}"#) {
                return;
            }
        }
    });
    assert!(told.await.is_ok(), "{text}");
}

#[tokio::test]
async fn pages_beyond_the_bound_are_told_so_and_find_a_place_when_another_page_goes() {
    const PAGES: usize = 32;
    let Some(depot) = Depot::start("many pages").await else { return };
    let mut pages = Vec::new();
    for _ in 0..PAGES {
        let page = depot.raw("/api/live").await;
        assert_eq!(page.status(), 200);
        pages.push(page);
    }
    let refused = depot.raw("/api/live").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert!(refused.text().await.unwrap().contains("32 pages are told of changes already"));
    // Everything else is answered as before.
    assert_eq!(depot.board().await["broker"]["connected"], true);
    let metrics = depot.raw("/metrics").await.text().await.unwrap();
    let value = |name: &str, label: &str| {
        samples(&metrics).into_iter().find(|(n, labels, _)| n == name && labels.contains(label)).unwrap().2
    };
    assert_eq!(value("gatehouse_page_live", ""), 32.0);
    assert_eq!(value("gatehouse_page_turned_away_total", "live"), 1.0);
    pages.pop();
    let started = std::time::Instant::now();
    while depot.raw("/api/live").await.status() != 200 {
        assert!(started.elapsed() < Duration::from_secs(30), "the place of a page that went is not free");
        // It is noticed when the page is to be told something next.
        depot.door(1, &format!("tick-{}", started.elapsed().as_millis()), true).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
