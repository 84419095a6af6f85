//! What the broker holds for its clients: subscriptions, waiting messages, retained messages.
//!
//! In: what connections received. Out: the packets a connection is to write next, in order, each
//! handed out once per connection until it is acknowledged.
//! Never reads the clock or the network and never waits: when the budget is used up, [`Sessions::publish`]
//! says so and changes nothing, and the connection holds the message back and asks again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Publish, SubscribeFilter, SubscribeReasonCode};
use tokio::sync::Notify;

use super::filter::{filter_is_valid, takes};
use super::{BrokerOptions, BrokerUsage};

/// What one waiting message costs beyond its topic and payload: its places in queue and window.
const BOOKKEEPING_BYTES: usize = 96;

/// A message as it was published, shared by all that wait for it.
#[derive(Debug)]
pub(super) struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
}

impl Message {
    /// Copies the payload: the received slice would keep the whole read buffer alive.
    pub fn received(publish: &Publish) -> Arc<Message> {
        Arc::new(Message {
            topic: publish.topic.clone(),
            payload: Bytes::copy_from_slice(&publish.payload),
            qos: publish.qos,
            retain: publish.retain,
        })
    }

    fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + BOOKKEEPING_BYTES
    }
}

/// What became of a message that a client published.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It stands in the queue of everyone who is to have it; it may be acknowledged.
    Taken,
    /// The budget is used up; nothing was done. Ask again when there is room.
    NoRoom,
    /// Another connection has taken over this client id; this one must close.
    NotYours,
}

/// One connection's claim on a session, void as soon as another connection takes over.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub client_id: String,
    /// Counts up over all connections of this broker.
    pub connection: u64,
}

struct Waiting {
    message: Arc<Message>,
    qos: QoS,
    retained: bool,
}

struct InFlight {
    packet_id: u16,
    waiting: Waiting,
    /// The last connection that was given this message to write.
    given_to: u64,
}

struct Session {
    /// Ends with its connection, as the client asked for.
    clean: bool,
    /// The connection that holds this session now.
    held_by: Option<Held>,
    subscriptions: BTreeMap<String, QoS>,
    in_flight: VecDeque<InFlight>,
    queue: VecDeque<Waiting>,
    last_packet_id: u16,
}

struct Held {
    connection: u64,
    /// Told when there is something to write.
    to_write: Arc<Notify>,
    /// Told once, when the connection must close.
    close: Arc<Notify>,
}

impl Session {
    fn qos_for(&self, topic: &str) -> Option<QoS> {
        let matching = self.subscriptions.iter().filter(|(filter, _)| takes(filter, topic));
        matching.map(|(_, qos)| *qos).max_by_key(|qos| *qos as u8)
    }

    fn bytes_held(&self) -> usize {
        let in_flight = self.in_flight.iter().map(|sent| sent.waiting.message.bytes());
        in_flight.chain(self.queue.iter().map(|waiting| waiting.message.bytes())).sum()
    }

    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if self.in_flight.iter().all(|sent| sent.packet_id != self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}

/// All sessions of one broker.
pub(super) struct Sessions {
    options: BrokerOptions,
    by_client: HashMap<String, Session>,
    retained: BTreeMap<String, Arc<Message>>,
    retained_bytes: usize,
    retained_refused: u64,
    queued_bytes: usize,
    connections_made: u64,
    /// Told when bytes become free for messages that were held back.
    room: Arc<Notify>,
}

impl Sessions {
    pub fn new(options: BrokerOptions) -> Self {
        Sessions {
            options,
            by_client: HashMap::new(),
            retained: BTreeMap::new(),
            retained_bytes: 0,
            retained_refused: 0,
            queued_bytes: 0,
            connections_made: 0,
            room: Arc::new(Notify::new()),
        }
    }

    /// Told whenever a message that was held back may fit.
    pub fn room(&self) -> Arc<Notify> {
        self.room.clone()
    }

    /// Gives the session of `client_id` to a new connection and closes the one that had it.
    /// The flag is the "session present" of CONNACK.
    pub fn claim(&mut self, client_id: &str, clean: bool, to_write: Arc<Notify>, close: Arc<Notify>) -> (Claim, bool) {
        self.connections_made += 1;
        let connection = self.connections_made;
        let mut kept = self.by_client.remove(client_id);
        if let Some(other) = kept.as_mut().and_then(|session| session.held_by.take()) {
            other.close.notify_one();
        }
        if let Some(session) = kept.take_if(|session| clean || session.clean) {
            self.give_back(session.bytes_held());
        }
        let present = kept.is_some();
        let mut session = kept.unwrap_or_else(|| Session {
            clean,
            held_by: None,
            subscriptions: BTreeMap::new(),
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
            last_packet_id: 0,
        });
        session.held_by = Some(Held { connection, to_write: to_write.clone(), close });
        self.by_client.insert(client_id.to_owned(), session);
        to_write.notify_one();
        (Claim { client_id: client_id.to_owned(), connection }, present)
    }

    /// Ends a connection's claim. A clean session goes with it; a persistent one keeps all QoS 1 messages.
    /// Says whether the claim was still good: the loser of a takeover must leave the session alone.
    pub fn release(&mut self, claim: &Claim) -> bool {
        let Some(session) = self.held(claim) else { return false };
        session.held_by = None;
        if session.clean {
            let bytes = session.bytes_held();
            self.by_client.remove(&claim.client_id);
            self.give_back(bytes);
            return true;
        }
        let before = session.bytes_held();
        // QoS 0 promises nothing beyond the connection, and would only cost budget while the client is away.
        session.queue.retain(|waiting| waiting.qos == QoS::AtLeastOnce);
        let freed = before - session.bytes_held();
        self.give_back(freed);
        true
    }

    /// Closes whatever connection `client_id` has, as a broken line would.
    pub fn close(&mut self, client_id: &str) {
        if let Some(held) = self.by_client.get(client_id).and_then(|session| session.held_by.as_ref()) {
            held.close.notify_one();
        }
    }

    /// Queues a message for everyone who is to have it, or does nothing at all.
    pub fn publish(&mut self, claim: &Claim, message: &Arc<Message>) -> Admission {
        if self.held(claim).is_none() {
            return Admission::NotYours;
        }
        let takers = self.takers(message);
        let bytes = takers.len() * message.bytes();
        // A message larger than the whole budget passes when nothing else waits; it would wait for ever otherwise.
        if !takers.is_empty() && self.queued_bytes > 0 && self.queued_bytes + bytes > self.options.queued_bytes_max {
            return Admission::NoRoom;
        }
        self.enqueue(message, takers);
        Admission::Taken
    }

    /// Publishes what a client left to be said when its line breaks. Passes the budget: there is
    /// no publisher left to hold back, and a will that is dropped is a broken device nobody hears of.
    pub fn publish_will(&mut self, message: &Arc<Message>) {
        let takers = self.takers(message);
        self.enqueue(message, takers);
    }

    fn takers(&self, message: &Message) -> Vec<(String, QoS)> {
        let mut takers = Vec::new();
        for (client_id, session) in &self.by_client {
            let Some(granted) = session.qos_for(&message.topic) else { continue };
            let qos = lower(granted, message.qos);
            if qos == QoS::AtLeastOnce || session.held_by.is_some() {
                takers.push((client_id.clone(), qos));
            }
        }
        takers
    }

    fn enqueue(&mut self, message: &Arc<Message>, takers: Vec<(String, QoS)>) {
        if message.retain {
            self.retain(message);
        }
        for (client_id, qos) in takers {
            if let Some(session) = self.by_client.get_mut(&client_id) {
                self.queued_bytes += message.bytes();
                session.queue.push_back(Waiting { message: message.clone(), qos, retained: false });
                if let Some(held) = &session.held_by {
                    held.to_write.notify_one();
                }
            }
        }
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if let Some(former) = self.retained.remove(&message.topic) {
            self.retained_bytes -= former.bytes();
        }
        if message.payload.is_empty() {
            return;
        }
        if self.retained_bytes + message.bytes() > self.options.retained_bytes_max {
            self.retained_refused += 1;
            tracing::warn!(
                topic = message.topic,
                "the budget for retained messages is used up; this one is delivered now but not kept for later subscribers"
            );
            return;
        }
        self.retained_bytes += message.bytes();
        self.retained.insert(message.topic.clone(), message.clone());
    }

    /// Adds subscriptions and queues the retained messages they take. Asked for QoS 2, grants QoS 1.
    pub fn subscribe(&mut self, claim: &Claim, filters: Vec<SubscribeFilter>) -> Vec<SubscribeReasonCode> {
        let mut answers = Vec::new();
        for SubscribeFilter { path, qos } in filters {
            if !filter_is_valid(&path) {
                answers.push(SubscribeReasonCode::Failure);
                continue;
            }
            let granted = lower(qos, QoS::AtLeastOnce);
            let retained: Vec<_> =
                self.retained.values().filter(|message| takes(&path, &message.topic)).cloned().collect();
            let Some(session) = self.held(claim) else { break };
            session.subscriptions.insert(path, granted);
            let mut bytes = 0;
            for message in retained {
                bytes += message.bytes();
                session.queue.push_back(Waiting { qos: lower(granted, message.qos), message, retained: true });
            }
            if let Some(held) = &session.held_by {
                held.to_write.notify_one();
            }
            self.queued_bytes += bytes;
            answers.push(SubscribeReasonCode::Success(granted));
        }
        answers
    }

    /// Removes subscriptions. What is queued already still arrives, as the standard has it.
    pub fn unsubscribe(&mut self, claim: &Claim, filters: &[String]) {
        if let Some(session) = self.held(claim) {
            for filter in filters {
                session.subscriptions.remove(filter);
            }
        }
    }

    /// Forgets a message that the client has acknowledged. Acknowledgements may come in any order.
    pub fn acknowledged(&mut self, claim: &Claim, packet_id: u16) {
        let Some(session) = self.held(claim) else { return };
        let Some(place) = session.in_flight.iter().position(|sent| sent.packet_id == packet_id) else { return };
        let Some(sent) = session.in_flight.remove(place) else { return };
        if let Some(held) = &session.held_by {
            held.to_write.notify_one();
        }
        self.give_back(sent.waiting.message.bytes());
    }

    /// The packets this connection is to write next, about `bytes_max` of them: first all that an
    /// earlier connection was given and that nobody acknowledged, in their old order and marked as
    /// duplicates, then new ones while the window has room. `None` when the claim is void.
    pub fn take(&mut self, claim: &Claim, bytes_max: usize) -> Option<Vec<Publish>> {
        let window = usize::from(self.options.in_flight_max.max(1));
        let session = self.held(claim)?;
        let mut packets = Vec::new();
        let mut bytes = 0;
        for sent in session.in_flight.iter_mut().filter(|sent| sent.given_to != claim.connection) {
            if bytes >= bytes_max {
                return Some(packets);
            }
            sent.given_to = claim.connection;
            bytes += sent.waiting.message.bytes();
            packets.push(packet(&sent.waiting, sent.packet_id, true));
        }
        let mut freed = 0;
        while bytes < bytes_max && session.in_flight.len() < window {
            let Some(waiting) = session.queue.pop_front() else { break };
            bytes += waiting.message.bytes();
            if waiting.qos == QoS::AtLeastOnce {
                let packet_id = session.next_packet_id();
                packets.push(packet(&waiting, packet_id, false));
                session.in_flight.push_back(InFlight { packet_id, waiting, given_to: claim.connection });
            } else {
                freed += waiting.message.bytes();
                packets.push(packet(&waiting, 0, false));
            }
        }
        self.give_back(freed);
        Some(packets)
    }

    /// What is held at this moment.
    pub fn usage(&self) -> BrokerUsage {
        let sessions = self.by_client.values();
        BrokerUsage {
            connections: sessions.clone().filter(|session| session.held_by.is_some()).count(),
            sessions: self.by_client.len(),
            queued_messages: sessions.map(|session| session.queue.len() + session.in_flight.len()).sum(),
            queued_bytes: self.queued_bytes,
            held_back_messages: 0, // known to the connections only
            retained_messages: self.retained.len(),
            retained_refused: self.retained_refused,
        }
    }

    /// Whether `client_id` is connected now.
    pub fn is_connected(&self, client_id: &str) -> bool {
        self.by_client.get(client_id).is_some_and(|session| session.held_by.is_some())
    }

    fn held(&mut self, claim: &Claim) -> Option<&mut Session> {
        let session = self.by_client.get_mut(&claim.client_id)?;
        (session.held_by.as_ref()?.connection == claim.connection).then_some(session)
    }

    fn give_back(&mut self, bytes: usize) {
        self.queued_bytes -= bytes;
        if bytes > 0 {
            self.room.notify_waiters();
        }
    }
}

fn lower(one: QoS, other: QoS) -> QoS {
    if (one as u8) < (other as u8) { one } else { other }
}

fn packet(waiting: &Waiting, packet_id: u16, duplicate: bool) -> Publish {
    let mut publish = Publish::from_bytes(&waiting.message.topic, waiting.qos, waiting.message.payload.clone());
    publish.pkid = packet_id;
    publish.dup = duplicate;
    publish.retain = waiting.retained;
    publish
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stage {
        sessions: Sessions,
    }

    impl Stage {
        fn new(options: BrokerOptions) -> Self {
            Stage { sessions: Sessions::new(options) }
        }

        fn connects(&mut self, client_id: &str) -> Claim {
            self.sessions.claim(client_id, false, Arc::default(), Arc::default()).0
        }

        fn subscribes(&mut self, claim: &Claim, filter: &str) {
            let filters = vec![SubscribeFilter::new(filter.to_owned(), QoS::AtLeastOnce)];
            assert_eq!(self.sessions.subscribe(claim, filters), [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
        }

        fn publishes(&mut self, claim: &Claim, topic: &str, payload: &str) -> Admission {
            self.says(claim, topic, payload, false)
        }

        fn says(&mut self, claim: &Claim, topic: &str, payload: &str, retain: bool) -> Admission {
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
            publish.retain = retain;
            self.sessions.publish(claim, &Message::received(&publish))
        }

        /// What the connection is told to write, as `payload` or `payload again`.
        fn hears(&mut self, claim: &Claim) -> Vec<String> {
            let packets = self.sessions.take(claim, usize::MAX).expect("the claim is good");
            let told = packets.iter().map(|packet| {
                let payload = String::from_utf8_lossy(&packet.payload);
                format!("{payload}{}", if packet.dup { " again" } else { "" })
            });
            told.collect()
        }
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_first_and_in_order() {
        let mut stage = Stage::new(BrokerOptions { in_flight_max: 2, ..BrokerOptions::default() });
        let (door, mut agent) = (stage.connects("door"), stage.connects("agent"));
        stage.subscribes(&agent, "dock/#");
        for payload in ["1", "2", "3"] {
            assert_eq!(stage.publishes(&door, "dock/3", payload), Admission::Taken);
        }
        assert_eq!(stage.hears(&agent), ["1", "2"]);
        stage.sessions.release(&agent);
        agent = stage.connects("agent");
        assert_eq!(stage.hears(&agent), ["1 again", "2 again"]);
        stage.sessions.acknowledged(&agent, 2);
        assert_eq!(stage.hears(&agent), ["3"]);
        stage.sessions.release(&agent);
        agent = stage.connects("agent");
        assert_eq!(stage.hears(&agent), ["1 again", "3 again"]);
    }

    #[test]
    fn a_full_budget_holds_the_publisher_back_and_loses_nothing() {
        let mut stage = Stage::new(BrokerOptions { queued_bytes_max: 250, ..BrokerOptions::default() });
        let (door, agent) = (stage.connects("door"), stage.connects("agent"));
        stage.subscribes(&agent, "#");
        assert_eq!(stage.publishes(&door, "d", "1"), Admission::Taken);
        assert_eq!(stage.publishes(&door, "d", "2"), Admission::Taken);
        assert_eq!(stage.publishes(&door, "d", "3"), Admission::NoRoom);
        assert_eq!(stage.hears(&agent), ["1", "2"]);
        assert_eq!(stage.publishes(&door, "d", "3"), Admission::NoRoom, "written is not yet acknowledged");
        stage.sessions.acknowledged(&agent, 1);
        assert_eq!(stage.publishes(&door, "d", "3"), Admission::Taken);
        assert_eq!(stage.hears(&agent), ["3"]);
        for packet_id in [2, 3] {
            stage.sessions.acknowledged(&agent, packet_id);
        }
        assert_eq!(stage.sessions.usage().queued_bytes, 0);
    }

    #[test]
    fn a_second_connection_of_the_same_client_takes_over_and_the_first_is_powerless() {
        let mut stage = Stage::new(BrokerOptions::default());
        let first = stage.connects("agent");
        stage.subscribes(&first, "#");
        let second = stage.connects("agent");
        assert_eq!(stage.publishes(&first, "d", "1"), Admission::NotYours);
        assert!(!stage.sessions.release(&first), "the loser must not end the winner's session");
        assert!(stage.sessions.take(&first, 1).is_none());
        assert_eq!(stage.publishes(&second, "d", "2"), Admission::Taken);
        assert_eq!(stage.hears(&second), ["2"], "the subscription was kept");
    }

    #[test]
    fn the_last_retained_message_greets_a_new_subscriber_until_it_is_cleared() {
        let mut stage = Stage::new(BrokerOptions::default());
        let door = stage.connects("door");
        stage.says(&door, "dock/3", "open", true);
        stage.says(&door, "dock/3", "shut", true);
        let agent = stage.connects("agent");
        stage.subscribes(&agent, "dock/+");
        assert_eq!(stage.hears(&agent), ["shut"]);
        stage.says(&door, "dock/3", "", true);
        let other = stage.connects("other");
        stage.subscribes(&other, "dock/+");
        assert_eq!(stage.hears(&other), [""; 0]);
        assert_eq!(stage.sessions.usage().retained_messages, 0);
    }

    #[test]
    fn a_clean_session_leaves_nothing_behind() {
        let mut stage = Stage::new(BrokerOptions::default());
        let door = stage.connects("door");
        let (guest, _) = stage.sessions.claim("guest", true, Arc::default(), Arc::default());
        stage.subscribes(&guest, "#");
        stage.publishes(&door, "d", "1");
        stage.sessions.release(&guest);
        let usage = stage.sessions.usage();
        assert_eq!((usage.sessions, usage.queued_bytes), (1, 0));
        let (_, present) = stage.sessions.claim("guest", false, Arc::default(), Arc::default());
        assert!(!present);
    }
}
