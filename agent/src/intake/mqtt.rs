//! The line to the depot's or vehicle's broker.
//!
//! In: MQTT messages at QoS 1 on a session that the broker keeps. Out: inputs for the driver. Four
//! loops share one task: one polls the connection and never waits for the store, so that keep-alive
//! lives while the store is busy; one decodes and hands over, as fast as the driver takes; one
//! acknowledges what is committed; one tells what was counted. Never acknowledges before the commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gatehouse_common::time::UtcMs;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Publish, QoS, StateError, SubscribeFilter,
    SubscribeReasonCode, TlsConfiguration, Transport, mqttbytes,
};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{info, warn};

use super::{
    read::{Arrived, MessageReader},
    receipts::Receipts,
};
use crate::{
    clock::Clock,
    config::{MqttConfig, TopicConfig},
    core::input::{Input, Receipt},
    driver::Handle,
    sync::Backoff,
    tasks::{Stop, TaskError},
};

/// Bytes of messages that may wait for the driver. When they are reached the connection is no longer
/// read until the driver has caught up; the broker keeps the rest.
const WAITING_MAX_BYTES: u32 = 8 * 1024 * 1024;
/// What a message weighs beside its payload and its topic while it waits and until it is acknowledged. So no more wait
/// than MQTT has numbers for.
const MESSAGE_BYTES: usize = 1_024;
/// Acknowledgements that may wait for the connection: more than MQTT has message numbers.
const REQUESTS_MAX: usize = 70_000;
/// How often the broker hears from us at least, in real time.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A connection that held this long, in real time, counts as good.
const STEADY: Duration = Duration::from_secs(10);
/// How often what was counted is told to the driver, in real time. A crash loses counts of that long, no messages.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is known of the line to the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BrokerState {
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it is as it is.
    pub since: UtcMs,
    /// What is wrong and what to do, for people.
    pub trouble: Option<String>,
    /// Filters that the broker does not let us have.
    pub refused: Vec<String>,
    /// Messages that came in since the start.
    pub received: u64,
    /// Messages since the start of which nothing is to be kept: empty ones, an OwnTracks card.
    pub ignored: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Whether the broker had forgotten our session when we last came: what it received meanwhile is lost.
    pub session_gone: bool,
    /// When a message last came in.
    pub heard: Option<UtcMs>,
}

/// The task that owns the line to the broker.
pub struct Intake {
    options: MqttOptions,
    config: MqttConfig,
    topics: Vec<TopicConfig>,
    reader: MessageReader,
    had_session: bool,
    clock: Clock,
    driver: Handle,
    acknowledged: mpsc::UnboundedReceiver<Vec<Receipt>>,
    shared: Arc<Shared>,
}

struct Shared {
    receipts: Mutex<Receipts>,
    state: watch::Sender<BrokerState>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    fn count(&self, names: &[&'static str]) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    fn receipts(&self) -> MutexGuard<'_, Receipts> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message on its way to the driver. Its bytes count against the budget until it is dropped.
struct Message {
    publish: Publish,
    receipt: Receipt,
    received: UtcMs,
    _weight: tokio::sync::OwnedSemaphorePermit,
}

/// How the broker is connected to under `client_id`, on a session that it keeps.
#[must_use]
pub fn options(config: &MqttConfig, client_id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, &config.host, config.port);
    options
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(config.packet_max_bytes, config.packet_max_bytes);
    if let Some(username) = &config.username {
        options.set_credentials(username, config.password.clone().unwrap_or_default());
    }
    if let Some(tls) = &config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

impl Intake {
    /// Makes the task; nothing is connected before [`Intake::run`]. The receiver tells the page.
    /// `had_session` says whether this agent was ever connected: then a broker without our session has lost it.
    #[must_use]
    pub fn new(
        config: MqttConfig,
        topics: Vec<TopicConfig>,
        reader: MessageReader,
        had_session: bool,
        clock: Clock,
        driver: Handle,
        acknowledged: mpsc::UnboundedReceiver<Vec<Receipt>>,
    ) -> (Self, watch::Receiver<BrokerState>) {
        let options = options(&config, &config.client_id);
        let (state, seen) = watch::channel(BrokerState { since: clock.wall(), ..BrokerState::default() });
        let shared = Arc::new(Shared { receipts: Mutex::default(), state, counts: Mutex::default() });
        (Self { options, config, topics, reader, had_session, clock, driver, acknowledged, shared }, seen)
    }

    /// Runs until `stop`. A broker that is away, or was never there, is tried again for ever.
    /// # Errors
    /// When the driver has ended.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), TaskError> {
        if self.topics.is_empty() {
            info!("no [[topics]] are configured: nothing is taken in");
        }
        let (client, events) = AsyncClient::new(self.options.clone(), REQUESTS_MAX);
        let (to_deliver, deliveries) = mpsc::unbounded_channel();
        let acknowledged = std::mem::replace(&mut self.acknowledged, mpsc::unbounded_channel().1);
        let mut reader = std::mem::take(&mut self.reader);
        let delivered = tokio::select! {
            () = self.poll(&client, events, to_deliver) => Ok(()),
            ended = self.deliver(&client, deliveries, &mut reader) => ended,
            () = self.acknowledge(&client, acknowledged) => Ok(()),
            ended = self.tell() => ended,
            () = stop.stopped() => Ok(()),
        };
        // A clean goodbye keeps the session at the broker just the same.
        let _ = client.try_disconnect();
        delivered
    }

    /// Polls the connection. Waits for nothing but the network, the backoff and the byte budget.
    async fn poll(&self, client: &AsyncClient, mut events: EventLoop, to_deliver: mpsc::UnboundedSender<Message>) {
        let budget = Arc::new(Semaphore::new(WAITING_MAX_BYTES as usize));
        let mut backoff = Backoff::new();
        let mut subscribed = false;
        let mut had_session = self.had_session;
        let mut since = tokio::time::Instant::now();
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(ack))) => {
                    self.connected(ack.session_present, had_session);
                    had_session = true;
                    since = tokio::time::Instant::now();
                    // The first time in any case: the configuration may have new filters.
                    if !subscribed || !ack.session_present {
                        subscribed = self.subscribe(client);
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                    self.subscribed(&ack.return_codes);
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let weight =
                        publish.payload.len().saturating_add(publish.topic.len()).saturating_add(MESSAGE_BYTES);
                    let weight = u32::try_from(weight).unwrap_or(u32::MAX).min(WAITING_MAX_BYTES);
                    let Ok(permit) = budget.clone().acquire_many_owned(weight).await else { return };
                    let receipt = self.shared.receipts().take(publish.clone());
                    let heard = self.clock.wall();
                    self.shared.state.send_if_modified(|state| {
                        state.received += 1;
                        state.heard = Some(heard);
                        false
                    });
                    if to_deliver.send(Message { publish, receipt, received: heard, _weight: permit }).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // What was read but not yet handed out belongs to the lost connection.
                    events.state.events.clear();
                    self.shared.receipts().connection_lost();
                    // Only a line that held proves itself: one that breaks again and again on the same
                    // packet, after some good ones, would else be tried in a tight loop.
                    if self.shared.state.borrow().connected && since.elapsed() >= STEADY {
                        backoff.reset();
                    }
                    self.lost(&error);
                    self.clock.sleep(backoff.next_ms()).await;
                }
            }
        }
    }

    fn subscribe(&self, client: &AsyncClient) -> bool {
        let filters: Vec<SubscribeFilter> =
            self.topics.iter().map(|t| SubscribeFilter::new(t.filter.clone(), QoS::AtLeastOnce)).collect();
        filters.is_empty() || client.try_subscribe_many(filters).is_ok()
    }

    fn subscribed(&self, codes: &[SubscribeReasonCode]) {
        let refused: Vec<String> = self
            .topics
            .iter()
            .zip(codes)
            .filter(|(_, code)| **code == SubscribeReasonCode::Failure)
            .map(|(topic, _)| topic.filter.clone())
            .collect();
        if !refused.is_empty() {
            warn!(filters = ?refused, "the broker refuses filters; give the agent's user the right to read them");
        }
        self.shared.state.send_modify(|state| state.refused = refused);
    }

    fn connected(&self, session_present: bool, had_session: bool) {
        info!(session_present, "connected to the broker at {}:{}", self.config.host, self.config.port);
        let gone = had_session && !session_present;
        if gone {
            warn!("the broker has forgotten our session: what it received while we were away did not reach us");
            self.shared.count(&["sessions_gone"]);
        }
        self.shared.count(&["connections"]);
        let since = self.clock.wall();
        self.shared.state.send_modify(|state| {
            state.connected = true;
            state.connections += 1;
            state.session_gone = gone;
            state.since = since;
            state.trouble = None;
        });
    }

    fn lost(&self, error: &ConnectionError) {
        if self.shared.state.borrow().connected {
            self.shared.count(&["connections_lost"]);
        }
        let trouble = self.explain(error);
        let since = self.clock.wall();
        let told_before = self.shared.state.borrow().trouble.as_deref() == Some(&trouble);
        if !told_before {
            warn!(%error, "no line to the broker: {trouble}");
        }
        self.shared.state.send_modify(|state| {
            if state.connected || state.trouble.is_none() {
                state.since = since;
            }
            state.connected = false;
            state.trouble = Some(trouble);
        });
    }

    /// What is wrong with the line, and what to do.
    fn explain(&self, error: &ConnectionError) -> String {
        let broker = format!("{}:{}", self.config.host, self.config.port);
        match error {
            ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(
                size,
            ))) => {
                let filters: Vec<&str> = self.topics.iter().map(|t| t.filter.as_str()).collect();
                format!(
                    "a packet of {size} bytes waits at {broker} on one of {}, more than mqtt.packet_max_bytes = {}; \
                     raise that above {size}, or lower message_size_limit of the broker and remove the message",
                    filters.join(", "),
                    self.config.packet_max_bytes
                )
            }
            ConnectionError::ConnectionRefused(code) => {
                format!("{broker} refuses us: {code:?}; check mqtt.username, mqtt.password_file and mqtt.client_id")
            }
            ConnectionError::Tls(error) => format!(
                "{broker} cannot be trusted or does not trust us: {error}; check mqtt.ca_file, that mqtt.host is a name \
                 in the broker's certificate, and mqtt.client_cert_file"
            ),
            ConnectionError::Io(io) => format!("{broker} cannot be reached: {io}; is the broker running?"),
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => format!("{broker} does not answer"),
            ConnectionError::MqttState(StateError::ConnectionAborted) => format!(
                "{broker} closed the connection; if it does so again and again, another agent may use the client id {}",
                self.config.client_id
            ),
            // In TLS 1.3 a broker's refusal of our certificate comes with the first answer.
            other if self.config.tls.is_some() => {
                format!(
                    "{broker}: {other}; if it speaks of an alert, check mqtt.client_cert_file against its authority"
                )
            }
            other => format!("{broker}: {other}"),
        }
    }

    /// Decodes and hands over, in order of arrival.
    async fn deliver(
        &self,
        client: &AsyncClient,
        mut deliveries: mpsc::UnboundedReceiver<Message>,
        reader: &mut MessageReader,
    ) -> Result<(), TaskError> {
        // Garbage may come a thousand times a second: each topic is logged once, then counted.
        let mut told: BTreeSet<String> = BTreeSet::new();
        while let Some(message) = deliveries.recv().await {
            let publish = &message.publish;
            let topic = publish.topic.as_str();
            let arrived = Arrived {
                topic,
                payload: publish.payload.as_ref(),
                retained: publish.retain,
                again: publish.dup,
                received: message.received,
            };
            let became = reader.read(&arrived, message.receipt);
            self.shared.count(&became.counted);
            if let Some(reason) = became.unreadable {
                self.driver.meters().could_not_read(reason.class());
                if told.len() >= 1000 {
                    told.clear();
                }
                if told.insert(topic.to_owned()) {
                    warn!(topic, %reason, "a message on {topic} cannot be read and goes to quarantine");
                }
            }
            if became.inputs.is_empty() {
                self.shared.state.send_if_modified(|state| {
                    state.ignored += 1;
                    false
                });
                // Nothing is to be kept of it, so it counts as done; its turn comes after those before it.
                self.acknowledge_done(client, &[message.receipt]);
            }
            for input in became.inputs {
                self.driver.send(input).await?;
            }
        }
        Ok(())
    }

    /// Tells the driver what was counted.
    async fn tell(&self) -> Result<(), TaskError> {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            let counted = self.shared.counted();
            if !counted.is_empty() {
                self.driver.send(Input::Counted(counted)).await?;
            }
        }
    }

    /// Acknowledges what is committed. The queue holds more than MQTT has numbers, so it never fills.
    async fn acknowledge(&self, client: &AsyncClient, mut acknowledged: mpsc::UnboundedReceiver<Vec<Receipt>>) {
        while let Some(receipts) = acknowledged.recv().await {
            self.acknowledge_done(client, &receipts);
        }
    }

    fn acknowledge_done(&self, client: &AsyncClient, receipts: &[Receipt]) {
        for publish in self.shared.receipts().done(receipts) {
            if let Err(error) = client.try_ack(&publish) {
                warn!(%error, "an acknowledgement could not be sent; the broker sends the message again");
            }
        }
    }
}
