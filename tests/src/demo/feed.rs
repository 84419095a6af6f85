//! Publishes to the depots' broker and keeps count of what it has acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use gatehouse_common::{geo::Point, time::UtcMs};
use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::record::{Fate, Message, Record};

/// The one publisher of a run.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    client: AsyncClient,
    record: Arc<Record>,
    numbers: AtomicU64,
    asked: AtomicU64,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Connects to the broker at `host` and `port`. A broken connection is made again and what was not acknowledged is sent again.
    #[must_use]
    pub fn open(host: &str, port: u16, record: Arc<Record>) -> Self {
        let name = format!("gatehouse-demo-{}", std::process::id());
        let mut options = MqttOptions::new(name, host, port);
        options.set_keep_alive(Duration::from_secs(20));
        options.set_clean_session(false);
        let (client, mut events) = AsyncClient::new(options, 1000);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counted = acknowledged.clone();
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) => {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Event::Outgoing(Outgoing::Disconnect)) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the feed lost its broker and tries again");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        });
        Self(Arc::new(Inside {
            client,
            record,
            numbers: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            acknowledged,
            task,
        }))
    }

    /// The lists that everything published is noted in.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.0.record
    }

    /// An id that no other message of the run has.
    #[must_use]
    pub fn next_id(&self, prefix: &str) -> String {
        format!("{prefix}-{:06}", self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Notes and publishes one message.
    pub async fn publish(&self, message: &Message, again: bool) {
        self.0.record.published(message, again);
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let sent = self.0.client.publish(&message.topic, QoS::AtLeastOnce, false, message.payload.clone()).await;
        if let Err(error) = sent {
            tracing::error!(%error, "the feed is closed");
        }
    }

    /// Waits until the broker has acknowledged everything.
    /// # Errors
    /// If it has not after 30 seconds.
    pub async fn settle(&self) -> anyhow::Result<()> {
        for _ in 0..600 {
            let (asked, acknowledged) =
                (self.0.asked.load(Ordering::Relaxed), self.0.acknowledged.load(Ordering::Relaxed));
            if acknowledged >= asked {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the broker has not acknowledged everything that was published")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where one depot's or vehicle's readings come from: makes messages for one agent.
#[derive(Debug, Clone)]
pub struct Senses {
    /// Name of the agent that listens.
    pub store: String,
    /// Depot id, or `unit` for the vehicle's own.
    pub place: String,
    /// Publishes them.
    pub feed: Feed,
}

impl Senses {
    fn message(&self, kind: &'static str, topic: &str, at: UtcMs, mut body: Value) -> Message {
        let id = self.feed.next_id(&self.place);
        body["id"] = json!(id);
        body["at"] = json!(at.to_string());
        Message {
            store: self.store.clone(),
            topic: format!("depots/{}/{topic}", self.place),
            payload: body.to_string(),
            id: Some(id),
            at: UtcMs(at.0.div_euclid(1000) * 1000),
            kind,
            fate: Fate::Stored,
        }
    }

    /// A door stands open or closed.
    pub async fn door(&self, door: &str, open: bool, at: UtcMs) {
        self.say(self.message("door", &format!("door/{door}"), at, json!({ "open": open }))).await;
    }

    /// A bus stands at a door, or none does.
    pub async fn bay(&self, door: &str, vehicle: Option<&str>, at: UtcMs) {
        let body = json!({ "occupied": vehicle.is_some(), "vehicle": vehicle });
        self.say(self.message("occupancy", &format!("bay/{door}"), at, body)).await;
    }

    /// Goods passed a scanner; `step` is staged, loaded or unloaded.
    pub async fn scan(&self, step: &str, order: &str, line: u16, quantity: u32, at: UtcMs) {
        let body = json!({ "order": order, "line": line, "quantity": quantity });
        self.say(self.message("scan", &format!("scan/{step}"), at, body)).await;
    }

    /// A seal was set and is whole.
    pub async fn seal(&self, vehicle: &str, number: &str, at: UtcMs) {
        let body = json!({ "intact": true, "number": number });
        self.say(self.message("seal", &format!("seal/{vehicle}"), at, body)).await;
    }

    /// The papers of an order are complete, or not.
    pub async fn papers(&self, order: &str, complete: bool, at: UtcMs) {
        self.say(self.message("documents", "papers", at, json!({ "order": order, "complete": complete }))).await;
    }

    /// Where a bus was, as OwnTracks writes it.
    pub async fn position(&self, vehicle: &str, point: Point, speed_kmh: f64, at: UtcMs) {
        let id = self.feed.next_id(&format!("{}-{vehicle}", self.place));
        let payload = json!({
            "_type": "location", "_id": id, "tid": vehicle.get(vehicle.len().saturating_sub(2)..).unwrap_or(vehicle),
            "tst": at.0 / 1000, "lat": point.lat, "lon": point.lon, "vel": speed_kmh, "acc": 8,
        });
        self.say(Message {
            store: self.store.clone(),
            topic: format!("owntracks/{}/{vehicle}", self.place),
            payload: payload.to_string(),
            id: Some(id),
            at: UtcMs(at.0 / 1000 * 1000),
            kind: "position",
            fate: Fate::Stored,
        })
        .await;
    }

    /// Something that no one can read.
    pub async fn garbage(&self, topic: &str, payload: &str, at: UtcMs) {
        self.feed
            .publish(
                &Message {
                    store: self.store.clone(),
                    topic: format!("depots/{}/{topic}", self.place),
                    payload: payload.to_owned(),
                    id: None,
                    at,
                    kind: "garbage",
                    fate: Fate::Quarantined,
                },
                false,
            )
            .await;
    }

    /// A door message, and then one with the same id that says the contrary.
    pub async fn conflict(&self, door: &str, at: UtcMs) {
        let honest = self.message("door", &format!("door/{door}"), at, json!({ "open": false }));
        self.feed.publish(&honest, false).await;
        let forged = honest.payload.replace("false", "true");
        self.feed.publish(&Message { payload: forged, fate: Fate::Conflict, ..honest }, false).await;
    }

    /// Publishes; now and then twice, as scanners and trackers do that miss an acknowledgement.
    async fn say(&self, message: Message) {
        self.feed.publish(&message, false).await;
        // By content, not by chance at run time, so that a seed repeats itself.
        if message.payload.bytes().map(u32::from).sum::<u32>() % 31 == 0 {
            self.feed.publish(&message, true).await;
        }
    }
}
