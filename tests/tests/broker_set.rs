//! The set test: every message a broker acknowledged reaches every subscriber, whatever breaks.
//!
//! The same scene is played on a real mosquitto and on the embedded broker. Four publishers send
//! 2,000 messages with ids of their own. One subscriber loses its line again and again with messages
//! received and not acknowledged, and keeps, as an agent does, only what it has acknowledged; one is
//! slow; one is away the whole time and returns at the end.

// Helpers outside of test functions fail loudly too: a panic here is the failure report.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gatehouse_tests::broker::{Broker, BrokerOptions};
use gatehouse_tests::mosquitto::Mosquitto;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, Publish, QoS};

const MESSAGES: usize = 2000;
const PUBLISHERS: usize = 4;
const PLAY_TIME_MAX: Duration = Duration::from_secs(120);
/// So long without a packet, and nothing more is on its way. Shorter than the clients' keep-alive.
const QUIET: Duration = Duration::from_secs(1);
/// What the broken subscriber does in each life: so many it acknowledges, and with so many more
/// received and unacknowledged its line breaks. 100 is the brokers' whole window.
const LIVES: [(usize, usize); 8] = [(0, 37), (150, 60), (0, 1), (300, 100), (1, 99), (0, 100), (400, 8), (250, 50)];

/// A message's own name: publisher and running number.
type MessageId = (usize, usize);

/// What one subscriber lived through.
#[derive(Debug, Clone, Default)]
struct Record {
    /// Every receipt, in order, repeats included.
    received: Vec<MessageId>,
    /// What it had acknowledged, in order: all that outlives a broken line.
    kept: Vec<MessageId>,
    /// Receipts that the broker marked as duplicates.
    marked_duplicate: usize,
    lives: usize,
}

#[derive(Debug, Clone)]
struct History {
    acknowledged: BTreeSet<MessageId>,
    subscribers: Vec<(&'static str, Record)>,
}

/// Judges a history from outside. An empty list means that it holds.
fn faults(history: &History) -> Vec<String> {
    let mut faults = Vec::new();
    if history.acknowledged.len() != MESSAGES {
        faults.push(format!("only {} of {MESSAGES} messages were acknowledged", history.acknowledged.len()));
    }
    for (name, record) in &history.subscribers {
        let kept: BTreeSet<_> = record.kept.iter().copied().collect();
        let lost: Vec<_> = history.acknowledged.difference(&kept).take(5).collect();
        if !lost.is_empty() {
            faults.push(format!("{name} never kept {lost:?}"));
        }
        for (list, ids) in [("received", &record.received), ("kept", &record.kept)] {
            let (mut seen, mut last) = (HashSet::new(), HashMap::new());
            for &(publisher, number) in ids.iter().filter(|id| seen.insert(**id)) {
                if let Some(before) = last.insert(publisher, number).filter(|before| *before > number) {
                    faults.push(format!("{name} {list} {number} of publisher {publisher} first after {before}"));
                }
            }
        }
    }
    faults
}

fn client(address: SocketAddr, client_id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(10)).set_clean_session(false).set_manual_acks(true).set_inflight(50);
    AsyncClient::new(options, MESSAGES)
}

fn id_of(publish: &Publish) -> MessageId {
    let text = std::str::from_utf8(&publish.payload).expect("the payload is text");
    let (publisher, number) = text.split_once(' ').expect("the payload is two numbers");
    (publisher.parse().expect("a number"), number.parse().expect("a number"))
}

/// Connects until the broker answers; tells whether it had kept the session.
async fn connected(events: &mut EventLoop) -> bool {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => return answer.session_present,
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Makes a persistent session that wants the whole set, and leaves it alone.
async fn subscribe_and_leave(address: SocketAddr, client_id: &str) {
    let (client, mut events) = client(address, client_id);
    assert!(!connected(&mut events).await, "{client_id} had a session before");
    client.subscribe("set/#", QoS::AtLeastOnce).await.expect("the queue has room");
    while !matches!(events.poll().await, Ok(Event::Incoming(Packet::SubAck(_)))) {}
    client.disconnect().await.expect("the queue has room");
    while events.poll().await.is_ok() {}
}

/// Sends one publisher's share and gives the ids the broker acknowledged.
async fn publish(address: SocketAddr, publisher: usize, count: usize) -> Vec<MessageId> {
    let (client, mut events) = client(address, &format!("publisher-{publisher}"));
    let sender = tokio::spawn(async move {
        for number in 0..count {
            let payload = format!("{publisher} {number}");
            client
                .publish(format!("set/{publisher}"), QoS::AtLeastOnce, false, payload)
                .await
                .expect("the client lives");
            if number % 10 == 0 {
                // Spread over the subscriber's lives, so that messages meet it present and absent.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        client
    });
    let (mut sent, mut waiting, mut acknowledged) = (0, HashMap::new(), Vec::new());
    while acknowledged.len() < count {
        match events.poll().await.expect("nobody breaks the publishers' lines") {
            Event::Outgoing(Outgoing::Publish(packet_id)) => {
                waiting.insert(packet_id, (publisher, sent));
                sent += 1;
            }
            Event::Incoming(Packet::PubAck(ack)) => acknowledged.extend(waiting.remove(&ack.pkid)),
            _ => {}
        }
    }
    drop(sender.await);
    acknowledged
}

/// One life of a subscriber: acknowledges `keep` messages, then receives `hold` more and breaks off
/// without a word. Returns at once when it has kept the whole set.
async fn live(address: SocketAddr, client_id: &str, keep: usize, hold: usize, pause: Duration, record: &mut Record) {
    let (client, mut events) = client(address, client_id);
    assert!(connected(&mut events).await, "the broker had forgotten the session of {client_id}");
    record.lives += 1;
    let mut distinct: HashSet<_> = record.kept.iter().copied().collect();
    let (mut kept, mut held) = (0, 0);
    while distinct.len() < MESSAGES && (kept < keep || held < hold) {
        let publish = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => publish,
            Ok(_) => continue,
            Err(error) => panic!("the line of {client_id} broke by itself: {error}"),
        };
        let id = id_of(&publish);
        record.received.push(id);
        record.marked_duplicate += usize::from(publish.dup);
        if kept < keep {
            record.kept.push(id);
            distinct.insert(id);
            client.try_ack(&publish).expect("the queue has room");
            kept += 1;
        } else {
            held += 1;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    // The last acknowledgements still stand in the client; only polling sends them.
    while distinct.len() == MESSAGES
        && let Ok(event) = tokio::time::timeout(QUIET, events.poll()).await
    {
        if let Event::Incoming(Packet::Publish(publish)) = event.expect("the line holds") {
            record.received.push(id_of(&publish));
            client.try_ack(&publish).expect("the queue has room");
        }
    }
    // Dropping the event loop closes the socket without a DISCONNECT.
}

async fn play(address: SocketAddr) -> History {
    let scene = async {
        for client_id in ["broken", "slow", "away"] {
            subscribe_and_leave(address, client_id).await;
        }
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|publisher| tokio::spawn(publish(address, publisher, MESSAGES / PUBLISHERS))).collect();
        let slow = tokio::spawn(async move {
            let mut record = Record::default();
            live(address, "slow", usize::MAX, 0, Duration::from_millis(1), &mut record).await;
            record
        });
        let mut broken = Record::default();
        for (keep, hold) in LIVES {
            live(address, "broken", keep, hold, Duration::ZERO, &mut broken).await;
        }
        live(address, "broken", usize::MAX, 0, Duration::ZERO, &mut broken).await;
        let mut acknowledged = BTreeSet::new();
        for publisher in publishers {
            acknowledged.extend(publisher.await.expect("the publisher ended well"));
        }
        let mut away = Record::default();
        live(address, "away", usize::MAX, 0, Duration::ZERO, &mut away).await;
        let slow = slow.await.expect("the slow subscriber ended well");
        History { acknowledged, subscribers: vec![("broken", broken), ("slow", slow), ("away", away)] }
    };
    tokio::time::timeout(PLAY_TIME_MAX, scene).await.expect("the scene ends in time: a message is missing")
}

/// Plays the scene, judges it, and shows that the judge would have seen a fault.
async fn the_set_arrives(broker: &str, address: SocketAddr) {
    let began = Instant::now();
    let history = play(address).await;
    for (name, record) in &history.subscribers {
        println!(
            "{broker}: {name}: {} lives, {} received, {} marked duplicate, {} kept, {} acknowledged by the broker, {:?}",
            record.lives,
            record.received.len(),
            record.marked_duplicate,
            record.kept.len(),
            history.acknowledged.len(),
            began.elapsed()
        );
    }
    assert_eq!(faults(&history), Vec::<String>::new());
    let (_, broken) = &history.subscribers[0];
    assert!(broken.received.len() > MESSAGES, "no message came twice: the scene broke nothing");
    assert!(broken.marked_duplicate > 0, "the broker sent again and did not say so");

    for subscriber in 0..history.subscribers.len() {
        let mut lossy = history.clone();
        let kept = &mut lossy.subscribers[subscriber].1.kept;
        let lost = kept[kept.len() / 2];
        kept.retain(|id| *id != lost);
        assert!(!faults(&lossy).is_empty(), "control: the judge overlooked that {lost:?} is gone");

        let mut disordered = history.clone();
        let received = &mut disordered.subscribers[subscriber].1.received;
        let first = received.iter().position(|id| *id == (0, 0)).expect("it was received");
        let later = received.iter().position(|id| *id == (0, 400)).expect("it was received");
        received.swap(first, later);
        assert!(!faults(&disordered).is_empty(), "control: the judge overlooked the wrong order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_arrives_through_mosquitto() {
    let Some(mosquitto) = Mosquitto::start_or_skip("the set test on mosquitto").expect("mosquitto starts") else {
        return;
    };
    the_set_arrives("mosquitto", mosquitto.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_arrives_through_the_embedded_broker() {
    let broker = embedded(BrokerOptions::default());
    the_set_arrives("embedded", broker.address()).await;
    assert_eq!((broker.usage().queued_messages, broker.usage().queued_bytes), (0, 0));
    broker.stop().await;
}

/// One subscriber and room for about 190 messages: publishers must wait for it, also while its line
/// is broken, and nothing may be missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_budget_makes_publishers_wait_and_loses_nothing() {
    const BUDGET_BYTES: usize = 20_000;
    /// More than the broker counts for any message of the set.
    const MESSAGE_BYTES: usize = 150;
    let broker = embedded(BrokerOptions { queued_bytes_max: BUDGET_BYTES, ..BrokerOptions::default() });
    let address = broker.address();
    subscribe_and_leave(address, "agent").await;
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|publisher| tokio::spawn(publish(address, publisher, MESSAGES / PUBLISHERS))).collect();
    // Every message is held back for a moment until it is queued: that alone does not tell that the budget is full.
    within_ten_seconds("the budget is full and publishers are held back", || {
        let usage = broker.usage();
        usage.held_back_messages > 0 && usage.queued_bytes + MESSAGE_BYTES > BUDGET_BYTES
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let full = broker.usage();
    assert!(full.held_back_messages > 0, "nobody is held back any more: {full:?}");
    assert!(full.queued_bytes <= BUDGET_BYTES, "someone got past the full budget: {full:?}");

    let mut record = Record::default();
    live(address, "agent", 40, 30, Duration::ZERO, &mut record).await;
    live(address, "agent", usize::MAX, 0, Duration::ZERO, &mut record).await;
    let mut acknowledged = BTreeSet::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.expect("the publisher ended well"));
    }
    let history = History { acknowledged, subscribers: vec![("agent", record)] };
    assert_eq!(faults(&history), Vec::<String>::new());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_keeps_what_it_has_saved_over_its_own_crash() {
    let Some(mut mosquitto) = Mosquitto::start_or_skip("mosquitto's own crash").expect("mosquitto starts") else {
        return;
    };
    subscribe_and_leave(mosquitto.address(), "away").await;
    let acknowledged = publish(mosquitto.address(), 0, 500).await;
    assert_eq!(acknowledged.len(), 500);
    // Killed at once instead, it loses the last message or two: it acknowledges before it saves.
    tokio::time::sleep(Mosquitto::SAVE_WAIT).await;
    mosquitto.stop_hard().expect("it can be killed");
    mosquitto.restart().expect("it comes back");
    let (client, mut events) = client(mosquitto.address(), "away");
    assert!(connected(&mut events).await, "the session is gone");
    let mut kept = BTreeSet::new();
    while let Ok(event) = tokio::time::timeout(QUIET, events.poll()).await {
        if let Event::Incoming(Packet::Publish(publish)) = event.expect("the line holds") {
            kept.insert(id_of(&publish));
            client.try_ack(&publish).expect("the queue has room");
        }
    }
    assert_eq!(kept, acknowledged.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_client_stays_out_until_it_is_restored_and_its_will_is_heard() {
    let broker = embedded(BrokerOptions::default());
    let (watcher, mut heard) = client(broker.address(), "watcher");
    connected(&mut heard).await;
    watcher.subscribe("state/+", QoS::AtLeastOnce).await.expect("the queue has room");
    while !matches!(heard.poll().await, Ok(Event::Incoming(Packet::SubAck(_)))) {}

    let mut options = MqttOptions::new("door", broker.address().ip().to_string(), broker.address().port());
    options.set_last_will(rumqttc::LastWill::new("state/door", "gone", QoS::AtLeastOnce, true));
    let (_door, mut door) = AsyncClient::new(options, 10);
    connected(&mut door).await;
    assert!(broker.is_connected("door"));

    broker.cut("door");
    let will = loop {
        if let Event::Incoming(Packet::Publish(publish)) = heard.poll().await.expect("the watcher's line holds") {
            break publish;
        }
    };
    assert_eq!((will.topic.as_str(), &will.payload[..], will.retain), ("state/door", &b"gone"[..], false));
    while door.poll().await.is_ok() {}
    let refused = door.poll().await;
    assert!(matches!(refused, Err(ConnectionError::Io(_) | ConnectionError::MqttState(_))), "{refused:?}");
    assert!(!broker.is_connected("door"));
    broker.restore("door");
    connected(&mut door).await;
    assert!(broker.is_connected("door"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_password_and_qos_up_to_1_are_let_in() {
    let login = Some(("depot".to_owned(), "secret".to_owned()));
    let broker = embedded(BrokerOptions { login, ..BrokerOptions::default() });
    let options = |password: &str| {
        let mut options = MqttOptions::new("door", broker.address().ip().to_string(), broker.address().port());
        options.set_credentials("depot", password);
        options
    };
    let (_client, mut wrong) = AsyncClient::new(options("guess"), 10);
    assert!(matches!(wrong.poll().await, Err(ConnectionError::ConnectionRefused(_))));
    let (client, mut right) = AsyncClient::new(options("secret"), 10);
    connected(&mut right).await;
    client.publish("state/door", QoS::ExactlyOnce, false, "open").await.expect("the queue has room");
    let ended = async { while right.poll().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("a QoS 2 publisher is closed");
    broker.stop().await;
}

fn embedded(options: BrokerOptions) -> gatehouse_tests::broker::RunningBroker {
    Broker::start((Ipv4Addr::LOCALHOST, 0).into(), options).expect("a free port")
}

async fn within_ten_seconds(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
