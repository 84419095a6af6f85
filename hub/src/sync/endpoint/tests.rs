//! Exchanges over a socket: signed both ways, or refused.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    seal::PublicKey,
    sync::{
        Cursor, PullReply, encode,
        exchange::{reply_text, request_text},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

mod recorded;

struct Asked {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|l| l.starts_with(&format!("{name}: ")));
        line.map_or("", |l| &l[name.len() + 2..])
    }
}

async fn ask(address: std::net::SocketAddr, path: &str, headers: &str, body: &[u8]) -> Asked {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..split].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    Asked { status, head, body: answer[split + 4..].to_vec() }
}

fn headers(key: &PrivateKey, path: &str, time: UtcMs, nonce: &str, body: &[u8]) -> String {
    let device: DeviceId = "gw-1".parse().unwrap();
    let text = request_text(path, &device, time, nonce, body);
    let signature = STANDARD.encode(key.sign(text.as_bytes()));
    format!(
        "gatehouse-device: gw-1\r\ngatehouse-time: {}\r\ngatehouse-nonce: {nonce}\r\ngatehouse-signature: {signature}\r\n",
        time.0
    )
}

/// A hub that listens, with one device on its list.
struct Listening {
    _directory: tempfile::TempDir,
    store: Store,
    clock: Clock,
    /// The device's key, and the hub's.
    key: PrivateKey,
    hub: PrivateKey,
    address: std::net::SocketAddr,
}

impl Listening {
    async fn start() -> Self {
        Self::started(true).await
    }

    async fn started(without_certificate: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let (key, hub) = (PrivateKey::from_seed([7; 32]), PrivateKey::from_seed([1; 32]));
        let device = crate::fixture::gateway("gw-1", "D1", 7);
        crate::sync::devices::add(&store, device, "test", UtcMs(1)).unwrap();
        let clock = Clock::system();
        let refusals = crate::sync::Refusals::new(store.clone(), clock.clone());
        let (_watcher, revocations) = crate::identity::Watcher::new(store.clone()).unwrap();
        let quota = crate::sync::Quota::default();
        let admission = Admission { without_certificate, quota, refusals, revocations };
        let state = SyncState::new(store.clone(), clock.clone(), hub.clone(), admission, News::new(store.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(state)).await });
        Self { _directory: directory, store, clock, key, hub, address }
    }
}

#[tokio::test]
async fn an_exchange_is_signed_both_ways_and_unsigned_stale_repeated_or_altered_ones_get_401() {
    let Listening { _directory, store, clock, key, hub, address } = Listening::start().await;
    let epoch = store.read_now(|r| r.ledger_epoch()).unwrap();
    let body = encode(&Pull { cursor: Cursor::start(epoch), wait_ms: 0, recalls_only: false }).unwrap();
    let good = headers(&key, PULL_PATH, clock.wall(), "nonce-0001", &body);
    let answer = ask(address, PULL_PATH, &good, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(matches!(decode(&answer.body), Ok(PullReply::Page { .. })));
    let time = UtcMs(answer.header("gatehouse-time").parse().unwrap());
    let signed = reply_text(&"gw-1".parse().unwrap(), time, "nonce-0001", 200, &answer.body);
    let signature = STANDARD.decode(answer.header("gatehouse-signature")).unwrap();
    let public: PublicKey = hub.public();
    assert_eq!(public.verify(signed.as_bytes(), &signature), Ok(()));
    let seen = store.read_now(|r| r.devices()).unwrap()[0].seen;
    assert!(seen.is_some_and(|at| clock.wall().since(at) < 5_000), "a device that only asks is heard: {seen:?}");

    let now = clock.wall();
    let stranger = PrivateKey::from_seed([9; 32]);
    let refused = [
        (String::new(), &body[..], PULL_PATH),
        (good.clone(), &body[..], PULL_PATH),
        (headers(&stranger, PULL_PATH, now, "nonce-0002", &body), &body[..], PULL_PATH),
        (headers(&key, PULL_PATH, now.plus(-600_000), "nonce-0003", &body), &body[..], PULL_PATH),
        (headers(&key, PULL_PATH, now, "nonce-0004", &body), &body[..body.len() - 1], PULL_PATH),
        (headers(&key, PULL_PATH, now, "nonce-0005", &body), &body[..], PUSH_PATH),
    ];
    for (headers, body, path) in refused {
        let answer = ask(address, path, &headers, body).await;
        assert_eq!(answer.status, 401, "{headers}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }

    let mut other = body.clone();
    other[0] = 9;
    let answer = ask(address, PULL_PATH, &headers(&key, PULL_PATH, now, "nonce-0006", &other), &other).await;
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("frame of protocol 9"));
}

#[tokio::test]
async fn who_sends_what_is_refused_waits_for_the_answer() {
    let at = Listening::start().await;
    let records = (1..=20).map(|n| (n, Upward::Status("no status at all".to_owned()))).collect();
    let body = encode(&Push { outbox_epoch: 1, records }).unwrap();
    let signed = headers(&at.key, PUSH_PATH, at.clock.wall(), "nonce-0001", &body);
    let begun = std::time::Instant::now();
    let answer = ask(at.address, PUSH_PATH, &signed, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(decode::<PushReply>(&answer.body).unwrap().rejected.len(), 20);
    assert!(begun.elapsed() >= REFUSED_WAIT * 20, "{:?}", begun.elapsed());
    assert_eq!(refused_wait(0, Duration::ZERO), Duration::ZERO);
    assert_eq!(refused_wait(BATCH_MAX + 1, Duration::ZERO), REFUSED_WAIT_MAX);
    assert_eq!(refused_wait(PROBE, REFUSED_WAIT_MAX - REFUSED_WAIT), REFUSED_WAIT, "no longer in all");
}

#[tokio::test]
async fn a_long_push_behind_a_gap_is_sent_back_as_one_and_so_three_times() {
    let at = Listening::start().await;
    let device: DeviceId = "gw-1".parse().unwrap();
    let name = device.clone();
    at.store
        .write_now(move |tx| {
            tx.begin_ledger_epoch(UtcMs(5))?;
            tx.has_begun_in_it(&name)
        })
        .unwrap();
    let status = r#"{"at":1,"readings":0,"duplicates":0,"quarantined":0,"outbox":0,"version":"1","position":null}"#;
    // Several parts, of which the first is 8 records long.
    let records: Vec<_> = (10..=500).map(|n| (n, Upward::Status(status.to_owned()))).collect();
    let body = encode(&Push { outbox_epoch: 1, records }).unwrap();
    for time in 1..=4 {
        let signed = headers(&at.key, PUSH_PATH, at.clock.wall(), &format!("nonce-000{time}"), &body);
        let answer = ask(at.address, PUSH_PATH, &signed, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        let through = decode::<PushReply>(&answer.body).unwrap().taken_through;
        assert_eq!(through, if time < 4 { 0 } else { 500 }, "time {time}");
    }
}

#[tokio::test]
async fn of_a_push_with_more_records_than_one_may_have_none_is_taken() {
    let at = Listening::start().await;
    let records = (1..=100_000).map(|n| (n, Upward::Status(String::new()))).collect();
    let body = encode(&Push { outbox_epoch: 1, records }).unwrap();
    let read: Push = decode(&body).unwrap();
    assert_eq!(read.records.len(), BATCH_MAX + 1, "no more is kept in memory");
    let signed = headers(&at.key, PUSH_PATH, at.clock.wall(), "nonce-0001", &body);
    let answer = ask(at.address, PUSH_PATH, &signed, &body).await;
    assert_eq!(answer.status, 400, "{}", answer.head);
    assert!(String::from_utf8_lossy(&answer.body).contains("more than 500 records"));
}

/// What is said to one that sends this and leaves the line open, until the other side closes it.
async fn told_to(address: std::net::SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
        .await
        .expect("it is open")
        .unwrap();
    answer
}

#[tokio::test]
async fn who_may_not_send_is_refused_before_its_body_comes_and_keeps_no_connection() {
    let at = Listening::started(false).await;
    let signed = headers(&at.key, PUSH_PATH, at.clock.wall(), "nonce-0001", b"");
    for (headers, status) in [(signed.as_str(), "403"), ("", "401")] {
        let head = format!("POST {PUSH_PATH} HTTP/1.1\r\nhost: hub\r\ncontent-length: 1000000\r\n{headers}\r\n");
        let answer = told_to(at.address, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.contains("asks devices for a certificate"), status == "403", "{answer}");
    }
    let told = at.store.read_now(|r| r.audit_of("somebody", 10)).unwrap();
    assert_eq!(told.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["refused: no certificate"]);
}

#[tokio::test]
async fn who_signs_with_a_wrong_key_keeps_no_connection() {
    let at = Listening::start().await;
    let stranger = headers(&PrivateKey::from_seed([9; 32]), PULL_PATH, at.clock.wall(), "nonce-0001", b"x");
    let request = format!("POST {PULL_PATH} HTTP/1.1\r\nhost: hub\r\ncontent-length: 1\r\n{stranger}\r\nx");
    assert!(told_to(at.address, &request).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_is_not_waited_for_for_ever() {
    let half = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"half"))]);
    let body = axum::body::Body::from_stream(futures::StreamExt::chain(half, futures::stream::pending()));
    let refusal = whole(Request::new(body), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(refusal.status().0, StatusCode::REQUEST_TIMEOUT);
    assert!(refusal.why().contains("did not come whole"), "{}", refusal.why());
    let body = whole(Request::new(axum::body::Body::from("whole")), BODY_MAX).await.unwrap();
    assert_eq!(body, "whole");
}

#[tokio::test]
async fn a_body_that_is_longer_than_any_frame_is_refused() {
    let at = Listening::start().await;
    let body = vec![0; FRAME_MAX_BYTES + 1];
    let signed = headers(&at.key, PUSH_PATH, at.clock.wall(), "nonce-0001", &body);
    let answer = ask(at.address, PUSH_PATH, &signed, &body).await;
    assert_eq!(answer.status, 413, "{}", answer.head);
}
