//! A stand-in WMS or TMS: holds facts and sends each to the hub as a CloudEvent.
//!
//! In: facts, over `/admin/facts`, with the times that the caller gives them. Out: CloudEvents 1.0 in structured JSON,
//! in order per subject (the order that a fact is about), each tried until the hub has taken or refused it.
//! Never reads the clock for what it sends: a scene decides how old its facts are.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use reqwest::header;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tracing::{info, warn};

use super::wire::{self, Fields, Problem};

/// Most events that may wait; beyond it facts are refused until the hub has taken some.
const QUEUE_MAX: usize = 100_000;
/// Requests to the hub at one time.
const REQUESTS_MAX: usize = 8;
/// Refused events that are kept to be read; older ones are only counted.
const REJECTED_KEPT: usize = 1000;
const RETRY_WAIT_FIRST: Duration = Duration::from_millis(100);
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Which system stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Warehouse management: confirms inventory.
    Wms,
    /// Transport management: confirms capacity and carrier.
    Tms,
}

impl System {
    fn source(self) -> &'static str {
        match self {
            Self::Wms => "/wms/standin",
            Self::Tms => "/tms/standin",
        }
    }
}

/// How one stand-in is set up.
#[derive(Debug, Clone)]
pub struct SenderOptions {
    /// Which system it plays.
    pub system: System,
    /// Where the hub is, such as `http://127.0.0.1:8080`; `/v1/events` is added to it.
    pub hub: String,
    /// Bearer token of the integration at the hub.
    pub token: String,
    /// Longest wait between two tries of one event.
    pub retry_wait_max: Duration,
}

/// What the system holds to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Fact {
    /// Units of an order line that can be picked.
    Inventory {
        /// Number of the order.
        order: String,
        /// Number of the line.
        line: u16,
        /// Units.
        confirmed: u32,
        /// When this was so.
        at: Timestamp,
    },
    /// Whether the planned vehicle can carry the order.
    Capacity {
        /// Number of the order.
        order: String,
        /// It can.
        sufficient: bool,
        /// Which vehicle it was reckoned for.
        vehicle: Option<String>,
        /// When this was so.
        at: Timestamp,
    },
    /// Whether the carrier takes the order.
    Carrier {
        /// Number of the order.
        order: String,
        /// It does.
        accepted: bool,
        /// Which carrier.
        carrier: String,
        /// When this was so.
        at: Timestamp,
    },
}

impl Fact {
    /// Reads a fact; which one it is shows in the field that only it has.
    fn read(system: System, mut body: Fields) -> Result<Self, Problem> {
        let order = body.text("order")?;
        let at = body.time("at")?;
        let fact = match system {
            System::Wms => {
                Self::Inventory { order, line: body.number("line", 1)?, confirmed: body.number("confirmed", 0)?, at }
            }
            System::Tms if body.has("sufficient") => Self::Capacity {
                order,
                sufficient: body.flag("sufficient")?,
                vehicle: body.text_or_null("vehicle")?,
                at,
            },
            System::Tms if body.has("accepted") => {
                Self::Carrier { order, accepted: body.flag("accepted")?, carrier: body.text("carrier")?, at }
            }
            System::Tms => {
                let detail = "is missing, and so is `accepted`: a TMS knows capacity by the one, carrier by the other";
                return Err(Problem::malformed(body.path_of("sufficient"), detail));
            }
        };
        body.finish()?;
        Ok(fact)
    }

    fn order(&self) -> &str {
        match self {
            Self::Inventory { order, .. } | Self::Capacity { order, .. } | Self::Carrier { order, .. } => order,
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Inventory { at, .. } | Self::Capacity { at, .. } | Self::Carrier { at, .. } => *at,
        }
    }

    fn with_at(mut self, new_at: Timestamp) -> Self {
        match &mut self {
            Self::Inventory { at, .. } | Self::Capacity { at, .. } | Self::Carrier { at, .. } => *at = new_at,
        }
        self
    }

    /// What it is about; a newer fact with the same key takes its place.
    fn key(&self) -> String {
        match self {
            Self::Inventory { order, line, .. } => format!("inventory/{order}/{line}"),
            Self::Capacity { order, .. } => format!("capacity/{order}"),
            Self::Carrier { order, .. } => format!("carrier/{order}"),
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Inventory { .. } => "io.gatehouse.wms.inventory.v1",
            Self::Capacity { .. } => "io.gatehouse.tms.capacity.v1",
            Self::Carrier { .. } => "io.gatehouse.tms.carrier.v1",
        }
    }
}

/// A CloudEvent 1.0 in its structured form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: &'static str,
    subject: String,
    time: Timestamp,
    datacontenttype: &'static str,
    data: Fact,
}

impl CloudEvent {
    /// The event of a fact in its `version`, counted per key from 1.
    fn of(system: System, fact: &Fact, version: u64) -> Self {
        // Versions begin again when the process does, so the id also carries a digest of what is said. Otherwise
        // the hub would take something new for a second copy of something old, and drop it.
        let digest = Sha256::digest(json!(fact).to_string());
        Self {
            specversion: "1.0",
            id: format!("{}/v{version}-{}", fact.key(), hex::encode(&digest[..6])),
            source: system.source(),
            event_type: fact.event_type(),
            subject: fact.order().to_owned(),
            time: fact.at(),
            datacontenttype: "application/json",
            data: fact.clone(),
        }
    }
}

/// An event that the hub refused.
#[derive(Debug, Clone, Serialize)]
struct Rejected {
    event: CloudEvent,
    status: u16,
    answer: String,
}

#[derive(Debug, Default)]
struct Desk {
    /// Each fact with its version, by key.
    facts: BTreeMap<String, (u64, Fact)>,
    /// Events that wait, by subject. A lane is here exactly as long as a task empties it.
    lanes: HashMap<String, VecDeque<CloudEvent>>,
    queued: usize,
    sent: u64,
    rejected: u64,
    rejected_kept: VecDeque<Rejected>,
    last_failure: Option<String>,
}

/// One stand-in WMS or TMS.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    system: System,
    address: String,
    token: String,
    retry_wait_max: Duration,
    http: reqwest::Client,
    requests: Semaphore,
    down: watch::Sender<bool>,
    desk: Mutex<Desk>,
}

enum Try {
    Taken,
    Refused { status: u16, answer: String },
    Failed { why: String, retry_after: Option<Duration> },
}

impl Sender {
    /// A sender with an empty table.
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn new(options: SenderOptions) -> Result<Self, reqwest::Error> {
        // The client wants to know its cryptography even for plain HTTP; a second installation is refused and harmless.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIME_MAX)
            .build()?;
        Ok(Self(Arc::new(Shared {
            system: options.system,
            address: format!("{}/v1/events", options.hub.trim_end_matches('/')),
            token: options.token,
            retry_wait_max: options.retry_wait_max,
            http,
            requests: Semaphore::new(REQUESTS_MAX),
            down: watch::Sender::new(false),
            desk: Mutex::default(),
        })))
    }

    /// Everything it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/admin/facts", get(facts).post(post_facts))
            .route("/admin/reconfirm", post(reconfirm))
            .route("/admin/faults", post(set_faults))
            .route("/admin/status", get(status))
            .route("/admin/rejected", get(rejected))
            .route("/healthz", get(|| async { Json(json!({ "ok": true })) }))
            .with_state(self.clone())
    }

    /// Serves until the future is dropped. What is queued is sent as long as the runtime lives.
    /// # Errors
    /// If the listener fails for good.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        wire::serve(listener, self.router()).await
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes new facts into the table and queues an event for each that says something new.
    fn hold(&self, desk: &mut Desk, facts: Vec<Fact>) -> Result<usize, Problem> {
        if desk.queued + facts.len() > QUEUE_MAX {
            let detail = format!("{} events wait already; the hub must take some first", desk.queued);
            return Err(Problem::of(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        let mut queued = 0;
        for fact in facts {
            let held = desk.facts.get(&fact.key());
            if held.is_some_and(|(_, held)| *held == fact) {
                continue;
            }
            let version = held.map_or(1, |(version, _)| version + 1);
            let event = CloudEvent::of(self.0.system, &fact, version);
            desk.facts.insert(fact.key(), (version, fact));
            desk.queued += 1;
            queued += 1;
            match desk.lanes.entry(event.subject.clone()) {
                Entry::Occupied(mut lane) => lane.get_mut().push_back(event),
                Entry::Vacant(lane) => {
                    let subject = event.subject.clone();
                    lane.insert(VecDeque::from([event]));
                    tokio::spawn(self.clone().empty_lane(subject));
                }
            }
        }
        Ok(queued)
    }

    /// Sends the events of one subject, each after the one before is settled, until none is left.
    async fn empty_lane(self, subject: String) {
        while let Some(event) = self.next_in_lane(&subject) {
            let settled = self.send(&event).await;
            let mut desk = self.desk();
            if let Some(lane) = desk.lanes.get_mut(&subject) {
                lane.pop_front();
            }
            desk.queued -= 1;
            match settled {
                None => desk.sent += 1,
                Some(rejected) => {
                    warn!(event.id = %event.id, status = rejected.status, "hub refused {}: {}", event.id, rejected.answer);
                    desk.rejected += 1;
                    desk.rejected_kept.push_back(rejected);
                    if desk.rejected_kept.len() > REJECTED_KEPT {
                        desk.rejected_kept.pop_front();
                    }
                }
            }
        }
    }

    fn next_in_lane(&self, subject: &str) -> Option<CloudEvent> {
        let mut desk = self.desk();
        let event = desk.lanes.get(subject)?.front().cloned();
        if event.is_none() {
            desk.lanes.remove(subject);
        }
        event
    }

    /// Tries one event until the hub has taken it, or refused it: then it comes back as rejected.
    async fn send(&self, event: &CloudEvent) -> Option<Rejected> {
        let mut wait = RETRY_WAIT_FIRST.min(self.0.retry_wait_max);
        let mut down = self.0.down.subscribe();
        loop {
            // The switch lives as long as `self`, so the wait ends only by its being off.
            down.wait_for(|down| !down).await.ok();
            match self.send_once(event).await {
                Try::Taken => return None,
                Try::Refused { status, answer } => return Some(Rejected { event: event.clone(), status, answer }),
                Try::Failed { why, retry_after } => {
                    self.desk().last_failure = Some(format!("{}: {why}", event.id));
                    tokio::time::sleep(wait.max(retry_after.unwrap_or_default()).min(self.0.retry_wait_max)).await;
                    wait = (wait * 2).min(self.0.retry_wait_max);
                }
            }
        }
    }

    async fn send_once(&self, event: &CloudEvent) -> Try {
        // Never closed: the permit cannot fail.
        let _permit = self.0.requests.acquire().await;
        let request = self
            .0
            .http
            .post(&self.0.address)
            .bearer_auth(&self.0.token)
            .header(header::CONTENT_TYPE, "application/cloudevents+json")
            .body(json!(event).to_string());
        match request.send().await {
            Err(error) => Try::Failed { why: error.without_url().to_string(), retry_after: None },
            Ok(answer) if answer.status().is_success() => Try::Taken,
            Ok(answer) if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS => {
                let status = answer.status().as_u16();
                let answer = answer.text().await.unwrap_or_default().chars().take(2000).collect();
                Try::Refused { status, answer }
            }
            Ok(answer) => {
                let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
                Try::Failed { why: answer.status().to_string(), retry_after: seconds.map(Duration::from_secs) }
            }
        }
    }
}

async fn facts(State(sender): State<Sender>) -> Json<Value> {
    let desk = sender.desk();
    Json(json!({ "facts": desk.facts.values().map(|(_, fact)| fact).collect::<Vec<_>>() }))
}

async fn post_facts(State(sender): State<Sender>, body: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let facts = wire::objects(wire::json_body(&body)?, "")?
        .into_iter()
        .map(|fields| Fact::read(sender.0.system, fields))
        .collect::<Result<Vec<_>, _>>()?;
    let given = facts.len();
    let queued = sender.hold(&mut sender.desk(), facts)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "queued": queued, "unchanged": given - queued }))))
}

async fn reconfirm(State(sender): State<Sender>, body: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut body = Fields::of_body(&body)?;
    let at = body.time("at")?;
    let orders = body.texts_or_null("orders")?;
    body.finish()?;
    let mut desk = sender.desk();
    for (i, order) in orders.iter().flatten().enumerate() {
        if !desk.facts.values().any(|(_, fact)| fact.order() == order) {
            let detail = format!("orders[{i}]: no fact about order {order}");
            return Err(Problem { status: StatusCode::NOT_FOUND, field: Some(format!("orders[{i}]")), detail });
        }
    }
    let again: Vec<_> = desk
        .facts
        .values()
        .filter(|(_, fact)| orders.as_ref().is_none_or(|orders| orders.iter().any(|order| order == fact.order())))
        .map(|(_, fact)| fact.clone().with_at(at))
        .collect();
    let given = again.len();
    let queued = sender.hold(&mut desk, again)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "queued": queued, "unchanged": given - queued }))))
}

async fn set_faults(State(sender): State<Sender>, body: Bytes) -> Result<Json<Value>, Problem> {
    let mut body = Fields::of_body(&body)?;
    let down = body.flag("down")?;
    body.finish()?;
    sender.0.down.send_replace(down);
    info!(down, "faults set");
    Ok(Json(json!({ "down": down })))
}

async fn status(State(sender): State<Sender>) -> Json<Value> {
    let desk = sender.desk();
    Json(json!({
        "queued": desk.queued,
        "sent": desk.sent,
        "rejected": desk.rejected,
        "last_failure": desk.last_failure,
    }))
}

async fn rejected(State(sender): State<Sender>) -> Json<Value> {
    let desk = sender.desk();
    Json(json!({ "count": desk.rejected, "rejected": desk.rejected_kept }))
}
