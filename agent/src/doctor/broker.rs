//! What the broker really does, found out by trying: with a session, a client id and topics of the doctor's own.

use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS, SubscribeFilter, SubscribeReasonCode,
};
use tokio::time::{Instant, timeout};

use super::Finding;
use crate::{
    config::{Config, MqttConfig},
    intake::{mqtt, topics::rule_for},
};

/// Messages that are left for a session that is away: more than mosquitto's defaults keep (1,000 and a window of 20).
const PROBES: u32 = 1_500;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for all messages to be taken, or to come back.
const PROBES_MAX: Duration = Duration::from_secs(60);
/// After this long without one more message no other is expected.
const QUIET: Duration = Duration::from_secs(2);
/// Bytes by which the large probe exceeds the agent's limit.
const BEYOND: usize = 1_024;

/// Why the broker could not be asked.
type Trouble = String;

/// Tries the broker, then listens to the topics.
pub async fn examine(config: &Config, listen: Duration) -> Vec<Finding> {
    let name = format!("gatehouse-doctor-{:08x}", rand::random::<u32>());
    let mut findings = match queue(&config.mqtt, &name).await {
        Ok(findings) => findings,
        Err(trouble) => {
            return vec![
                Finding::unknown(
                    "broker",
                    format!("{}:{} cannot be asked: {trouble}", config.mqtt.host, config.mqtt.port),
                )
                .remedy("start the broker, or correct [mqtt]; the agent waits for it and loses nothing meanwhile"),
            ];
        }
    };
    findings.push(size(&config.mqtt, &name).await);
    findings.extend(topics(config, &name, listen).await);
    findings
}

struct Line {
    client: AsyncClient,
    events: EventLoop,
    session_present: bool,
}

impl Line {
    async fn open(mut options: MqttOptions, clean: bool) -> Result<Self, Trouble> {
        options.set_clean_session(clean).set_manual_acks(false).set_inflight(100);
        let (client, events) = AsyncClient::new(options, 100);
        let mut line = Self { client, events, session_present: false };
        loop {
            if let Event::Incoming(Incoming::ConnAck(ack)) = line.next(ANSWER_MAX).await? {
                line.session_present = ack.session_present;
                return Ok(line);
            }
        }
    }

    async fn next(&mut self, wait: Duration) -> Result<Event, Trouble> {
        match timeout(wait, self.events.poll()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }

    async fn subscribe(&mut self, filters: Vec<SubscribeFilter>) -> Result<Vec<SubscribeReasonCode>, Trouble> {
        self.client.try_subscribe_many(filters).map_err(|error| error.to_string())?;
        loop {
            if let Event::Incoming(Incoming::SubAck(ack)) = self.next(ANSWER_MAX).await? {
                return Ok(ack.return_codes);
            }
        }
    }

    async fn close(mut self) {
        let _ = self.client.try_disconnect();
        // It has gone when the packet has; one that cannot be sent means that the line is gone already.
        while let Ok(event) = self.next(Duration::from_secs(1)).await {
            if matches!(event, Event::Outgoing(Outgoing::Disconnect)) {
                break;
            }
        }
    }
}

/// Whether a session outlasts its connection, and how many messages wait for it.
async fn queue(mqtt: &MqttConfig, name: &str) -> Result<Vec<Finding>, Trouble> {
    let topic = format!("gatehouse/doctor/{name}");
    let options = || mqtt::options(mqtt, name);
    let mut away = Line::open(options(), false).await?;
    let codes = away.subscribe(vec![SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce)]).await?;
    away.close().await;
    let may = matches!(codes.first(), Some(SubscribeReasonCode::Success(QoS::AtLeastOnce)));
    let counted = if may { leave_and_count(mqtt, name, &topic).await } else { Ok(None) };
    // Whatever was found: nothing of the doctor stays at the broker.
    Line::open(options(), true).await?.close().await;
    Ok(match counted? {
        _ if !may => vec![
            Finding::unknown("broker", "it does not let this user read gatehouse/doctor/#, so its queue was not tried")
                .remedy("give the agent's user the right to read and write gatehouse/doctor/#, and ask again"),
        ],
        None => vec![
            Finding::loses(
                "broker",
                "it forgets the session when the connection ends",
                "every message that is sent while the agent is away or starts anew",
            )
            .remedy("let the broker keep sessions (MQTT clean session 0); mosquitto and most others do by default"),
        ],
        Some(back) if back >= PROBES => {
            vec![Finding::fine("broker", format!("it kept {back} of {PROBES} messages for a session that was away"))]
        }
        Some(back) => vec![
            Finding::loses(
                "broker",
                format!(
                    "it kept {back} of {PROBES} messages for a session that was away, and dropped the others silently"
                ),
                format!("every message beyond about {back} that is sent while the agent is away or slow"),
            )
            .remedy(
                "set max_queued_messages 0 and max_queued_bytes 0 in mosquitto.conf (firmware-config/broker has both)",
            ),
        ],
    })
}

/// How many of [`PROBES`] come back; `None` when the session is gone.
async fn leave_and_count(mqtt: &MqttConfig, name: &str, topic: &str) -> Result<Option<u32>, Trouble> {
    let mut sender = Line::open(mqtt::options(mqtt, &format!("{name}-sender")), true).await?;
    let (mut sent, mut taken) = (0, 0);
    let started = Instant::now();
    while taken < PROBES && started.elapsed() < PROBES_MAX {
        while sent < PROBES && sender.client.try_publish(topic, QoS::AtLeastOnce, false, sent.to_string()).is_ok() {
            sent += 1;
        }
        if let Event::Incoming(Incoming::PubAck(_)) = sender.next(ANSWER_MAX).await? {
            taken += 1;
        }
    }
    sender.close().await;
    let mut back = Line::open(mqtt::options(mqtt, name), false).await?;
    if !back.session_present {
        back.close().await;
        return Ok(None);
    }
    let mut came = std::collections::BTreeSet::new();
    let (started, mut last) = (Instant::now(), Instant::now());
    while (came.len() as u32) < PROBES && last.elapsed() < QUIET && started.elapsed() < PROBES_MAX {
        let Ok(event) = timeout(QUIET, back.events.poll()).await else { break };
        if let Event::Incoming(Incoming::Publish(publish)) = event.map_err(|error| error.to_string())? {
            came.insert(publish.payload);
            last = Instant::now();
        }
    }
    back.close().await;
    Ok(Some(u32::try_from(came.len()).unwrap_or(u32::MAX)))
}

/// Whether the broker passes on a packet that is larger than the agent takes. A larger one breaks the agent's connection
/// again and again.
async fn size(mqtt: &MqttConfig, name: &str) -> Finding {
    let bytes = mqtt.packet_max_bytes.saturating_add(BEYOND);
    match comes_back(mqtt, name, bytes).await {
        Ok(false) => Finding::fine("broker", format!("it lets no message of {bytes} bytes through")),
        Ok(true) => Finding::loses(
            "broker",
            format!(
                "it passes on a message of {bytes} bytes, more than mqtt.packet_max_bytes = {}",
                mqtt.packet_max_bytes
            ),
            "one such message breaks the agent's connection for as long as it waits, and everything waits behind it",
        )
        .remedy("set message_size_limit in mosquitto.conf below it, such as 16777216"),
        Err(trouble) => {
            Finding::unknown("broker", format!("whether it limits the size of messages is not known: {trouble}"))
        }
    }
}

async fn comes_back(mqtt: &MqttConfig, name: &str, bytes: usize) -> Result<bool, Trouble> {
    let topic = format!("gatehouse/doctor/{name}/size");
    let large = |client_id: String| {
        let mut options = mqtt::options(mqtt, &client_id);
        let room = bytes.saturating_add(BEYOND * 64);
        options.set_max_packet_size(room, room);
        options
    };
    let mut reader = Line::open(large(format!("{name}-reader")), true).await?;
    reader.subscribe(vec![SubscribeFilter::new(topic.clone(), QoS::AtMostOnce)]).await?;
    let mut sender = Line::open(large(format!("{name}-sender")), true).await?;
    let payload = vec![b'x'; bytes];
    sender.client.try_publish(&topic, QoS::AtLeastOnce, false, payload).map_err(|error| error.to_string())?;
    // A small one behind it says that its turn is over, whether it was taken or not.
    sender.client.try_publish(&topic, QoS::AtLeastOnce, false, "end").map_err(|error| error.to_string())?;
    let came = loop {
        tokio::select! {
            // A broker that breaks the connection over it does not take it either.
            sent = sender.next(PROBES_MAX) => if sent.is_err() { break Ok(false) },
            heard = reader.next(PROBES_MAX) => match heard {
                Ok(Event::Incoming(Incoming::Publish(publish))) => break Ok(publish.payload.len() >= bytes),
                Ok(_) => {}
                Err(trouble) => break Err(trouble),
            },
        }
    };
    sender.close().await;
    reader.close().await;
    came
}

/// Which filters the broker allows, and which of them anything comes on.
async fn topics(config: &Config, name: &str, listen: Duration) -> Vec<Finding> {
    match listen_to(config, name, listen).await {
        Ok(findings) => findings,
        Err(trouble) => vec![Finding::unknown("topics", format!("they could not be listened to: {trouble}"))],
    }
}

async fn listen_to(config: &Config, name: &str, listen: Duration) -> Result<Vec<Finding>, Trouble> {
    let mut findings = Vec::new();
    if config.topics.is_empty() {
        return Ok(vec![Finding::note("topics", "no [[topics]] are configured: nothing is read from the broker")]);
    }
    let mut line = Line::open(mqtt::options(&config.mqtt, &format!("{name}-listener")), true).await?;
    // At most once: a copy that is lost here is not missed, and the agent's own subscription is another.
    let filters =
        config.topics.iter().map(|topic| SubscribeFilter::new(topic.filter.clone(), QoS::AtMostOnce)).collect();
    let codes = line.subscribe(filters).await?;
    let mut heard = vec![0_u64; config.topics.len()];
    let until = Instant::now() + listen;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let Ok(event) = timeout(left, line.events.poll()).await else { break };
        let Event::Incoming(Incoming::Publish(publish)) = event.map_err(|error| error.to_string())? else { continue };
        let Some(rule) = rule_for(&config.topics, &publish.topic) else { continue };
        let place = config.topics.iter().position(|topic| std::ptr::eq(topic, rule));
        if let Some(count) = place.and_then(|place| heard.get_mut(place)) {
            *count += 1;
        }
    }
    line.close().await;
    for (topic, code) in config.topics.iter().zip(&codes) {
        if *code == SubscribeReasonCode::Failure {
            findings.push(
                Finding::loses(
                    "topics",
                    format!("the broker refuses {}", topic.filter),
                    "everything that is sent on it",
                )
                .remedy("give the agent's user the right to read it"),
            );
        }
    }
    let silent: Vec<&str> = config
        .topics
        .iter()
        .zip(&heard)
        .filter(|(_, count)| **count == 0)
        .map(|(topic, _)| topic.filter.as_str())
        .collect();
    let seconds = listen.as_secs();
    findings.push(if silent.is_empty() {
        Finding::fine("topics", format!("something came on each of {} filters within {seconds} s", heard.len()))
    } else {
        Finding::note("topics", format!("nothing came within {seconds} s on {}", silent.join(", ")))
            .remedy("compare with what the devices send, or listen longer with --listen")
    });
    Ok(findings)
}
