//! One signed request and its verified answer.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::{DeviceId, SiteId, VehicleId},
    seal::{PrivateKey, PublicKey},
    sync::{
        FrameError, PROTOCOL, decode, encode_as,
        enrolment::RENEW_FIRST,
        exchange::{
            DEVICE_HEADER, HELLO_PATH, NONCE_HEADER, SIGNATURE_HEADER, SKEW_MAX_MS, TIME_HEADER, on_the_slowest_line,
            reply_text, request_text,
        },
        version::{FRAME_MAX_BYTES, OLDEST},
    },
    time::UtcMs,
};
use reqwest::{Client, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    failure::ExchangeError,
    transport::{self, TransportError},
};
use crate::{
    clock::Clock,
    config::{DeviceConfig, Identity},
};

/// Longest wait for an answer on top of the wait that was asked for, and then for each part of it, in real time.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What rustls says when the other side finds our certificate expired.
const EXPIRED: &str = "CertificateExpired";
/// While the hub lists this device for something else than it is, the next certificate is asked for after so long, in
/// milliseconds: only that one says that the list is right again, and the hub gives six in an hour.
const LISTED_ASK_MS: u64 = 900_000;
/// Of an answer that only says something to people, or what time it is, no more is read, in bytes.
const TEXT_MAX_BYTES: usize = 16 * 1024;
/// Longest wait that the hub may ask for, in seconds.
const RETRY_AFTER_MAX_S: u64 = 600;
/// The hub's clock confirms ours when they differ by no more than this, the way included.
const CONFIRMS_MS: i64 = 5_000;

/// This device, as it is configured.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its name.
    pub device: DeviceId,
    /// Its depot.
    pub site: SiteId,
    /// The vehicle that it rides in, if it does.
    pub vehicle: Option<VehicleId>,
}

impl From<&DeviceConfig> for Own {
    fn from(config: &DeviceConfig) -> Self {
        Self { device: config.id.clone(), site: config.site.clone(), vehicle: config.vehicle.clone() }
    }
}

/// Who speaks with whom.
#[derive(Debug, Clone)]
pub struct Parties {
    /// Where the hub is.
    pub url: String,
    /// What it signs with.
    pub hub: PublicKey,
    /// This device.
    pub own: Own,
    /// What this device signs with.
    pub key: PrivateKey,
    /// Its certificate; without one it only signs.
    pub identity: Option<Identity>,
}

/// Signs requests and verifies answers. Copies are one line.
#[derive(Clone)]
pub struct Line {
    url: String,
    hub: PublicKey,
    own: Own,
    key: PrivateKey,
    clock: Clock,
    held: Arc<RwLock<Held>>,
    /// Before the dot of each nonce: by it the hub tells a copy of this agent from this agent started anew.
    run: Option<String>,
    /// What to add to our clock so that it shows the hub's time; 0 while ours is near enough.
    skew_ms: Arc<AtomicI64>,
    /// The protocol to ask in: the newest, unless the hub does not speak it.
    protocol: Arc<AtomicU8>,
    /// Told when the hub wants the certificate renewed.
    pub(super) renew: Arc<Notify>,
    /// From when, by the time since boot, it is told so again because of what the hub's list lacks.
    renews_from_ms: Arc<AtomicU64>,
}

struct Held {
    client: Client,
    identity: Option<Identity>,
}

/// Whether a hub of the first version says that it cannot read a newer frame.
fn is_of_the_oldest(text: &str) -> bool {
    text.contains(&format!("this side speaks {OLDEST};"))
}

impl Line {
    /// A line between `parties`; the hub must answer with its signature.
    /// # Errors
    /// When no client can be made of the identity.
    pub fn new(parties: Parties, clock: Clock) -> Result<Self, TransportError> {
        let Parties { url, hub, own, key, identity } = parties;
        let client = match &identity {
            None => transport::plain()?,
            Some(identity) => transport::certified(identity, &clock)?,
        };
        let held = Arc::new(RwLock::new(Held { client, identity }));
        let (skew_ms, renew, protocol) = (Arc::default(), Arc::default(), Arc::new(AtomicU8::new(PROTOCOL)));
        Ok(Self {
            url,
            hub,
            own,
            key,
            clock,
            held,
            run: None,
            skew_ms,
            protocol,
            renew,
            renews_from_ms: Arc::default(),
        })
    }

    /// This line as that of a run of the agent, of which there may be one at a time. Tools beside it have none.
    #[must_use]
    pub fn of_a_run(self) -> Self {
        Self { run: Some(hex::encode(rand::random::<[u8; 8]>())), ..self }
    }

    /// Where the hub is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What the line is made with.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).identity.clone()
    }

    /// Makes new connections with `identity`; what is under way ends with the one before.
    pub(super) fn go_on_with(&self, identity: Identity) -> Result<(), TransportError> {
        let client = transport::certified(&identity, &self.clock)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held { client, identity: Some(identity) };
        Ok(())
    }

    fn client(&self) -> Client {
        self.held.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// The hub may be another than it was: the newest protocol is tried again.
    pub(super) fn try_newest_protocol(&self) {
        self.protocol.store(PROTOCOL, Ordering::Relaxed);
    }

    /// Asks `path` and reads the answer. The hub may take `wait_ms` of the clock to find one. A hub that does not
    /// speak the newest protocol is asked in the oldest.
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
        wait_ms: u32,
    ) -> Result<A, ExchangeError> {
        self.is_listed()?;
        let protocol = self.protocol.load(Ordering::Relaxed);
        let asked = self.ask(path, encode_as(protocol, question)?, wait_ms).await;
        match asked {
            Err(ExchangeError::Status { status: 400, text }) if protocol > OLDEST && is_of_the_oldest(&text) => {
                info!("the hub speaks protocol {OLDEST} alone, and is asked in that");
                self.protocol.store(OLDEST, Ordering::Relaxed);
                self.ask(path, encode_as(OLDEST, question)?, wait_ms).await
            }
            asked => asked,
        }
    }

    fn is_listed(&self) -> Result<(), ExchangeError> {
        let Own { site, vehicle, .. } = &self.own;
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let lacks = held.identity.as_ref().and_then(|identity| identity.lacks(site, vehicle.as_ref()));
        let Some(what) = lacks else { return Ok(()) };
        let now_ms = self.clock.now().boottime_ms;
        if now_ms >= self.renews_from_ms.load(Ordering::Relaxed) {
            self.renews_from_ms.store(now_ms.saturating_add(LISTED_ASK_MS), Ordering::Relaxed);
            self.renew.notify_one();
        }
        Err(ExchangeError::NotListed(what))
    }

    async fn ask<A: DeserializeOwned>(&self, path: &str, body: Vec<u8>, wait_ms: u32) -> Result<A, ExchangeError> {
        let sent = self.clock.wall();
        let time = sent.plus(self.skew_ms.load(Ordering::Relaxed));
        let fresh = hex::encode(rand::random::<[u8; 16]>());
        let nonce = self.run.as_ref().map_or_else(|| fresh.clone(), |run| format!("{run}.{fresh}"));
        let signature = self.key.sign(request_text(path, &self.own.device, time, &nonce, &body).as_bytes());
        let patience = patience(body.len()).saturating_add(self.clock.real(u64::from(wait_ms)));
        let request = self
            .client()
            .post(format!("{}{path}", self.url))
            .header(DEVICE_HEADER, self.own.device.as_str())
            .header(TIME_HEADER, time.0.to_string())
            .header(NONCE_HEADER, &nonce)
            .header(SIGNATURE_HEADER, STANDARD.encode(signature))
            .header("content-type", "application/octet-stream")
            .body(body);
        let answered = timeout(patience, request.send()).await.map_err(|_| ExchangeError::Silent)?;
        let response = answered.map_err(|error| self.heeded(error))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds: u64 = header(&response, "retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            let wait_ms = seconds.min(RETRY_AFTER_MAX_S) * 1_000;
            return Err(ExchangeError::Busy { wait_ms, text: text_of(response).await });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT) {
            let (kind, text) = problem_of(response).await;
            if kind.as_deref() == Some(RENEW_FIRST) {
                self.renew.notify_one();
                return Err(ExchangeError::RenewFirst(text));
            }
            self.learn_hub_time().await;
            return Err(ExchangeError::Refused(text));
        }
        if !status.is_success() {
            return Err(ExchangeError::Status { status: status.as_u16(), text: text_of(response).await });
        }
        let (hub_time, signature) = signed_headers(&response)?;
        let body = bounded(response).await?;
        self.hub
            .verify(reply_text(&self.own.device, hub_time, &nonce, status.as_u16(), &body).as_bytes(), &signature)?;
        self.confirm(sent, hub_time);
        Ok(decode(&body)?)
    }

    /// The hub's clock says that our certificate has expired, whatever ours says: it is renewed at once.
    fn heeded(&self, error: reqwest::Error) -> ExchangeError {
        let error = ExchangeError::from(error);
        if error.to_string().contains(EXPIRED) {
            self.renew.notify_one();
        }
        error
    }

    /// A signed answer tells the hub's time as well: near enough to ours, it confirms our clock.
    fn confirm(&self, sent: UtcMs, hub_time: UtcMs) {
        let received = self.clock.wall();
        if hub_time.since(sent) >= -CONFIRMS_MS && received.since(hub_time) >= -CONFIRMS_MS {
            self.clock.trust();
        }
    }

    /// A refusal may come from a clock that is too far off: asks the hub for its time, and uses that
    /// from now on. Nothing is trusted by it: the answers stay signed.
    async fn learn_hub_time(&self) {
        let Some(hub) = self.hub_time().await else { return };
        let skew = hub.since(self.clock.wall());
        let skew = if skew.abs() > SKEW_MAX_MS / 2 { skew } else { 0 };
        if self.skew_ms.swap(skew, Ordering::Relaxed) != skew {
            match skew {
                0 => info!("the clock is near the hub's again"),
                _ => warn!(skew_ms = skew, "the clock is {} s off the hub's; set it", skew / 1000),
            }
        }
    }

    /// What time the hub says it is; unsigned, so nothing may be trusted by it.
    pub async fn hub_time(&self) -> Option<UtcMs> {
        let asked = self.client().get(format!("{}{HELLO_PATH}", self.url)).timeout(ANSWER_MAX).send().await;
        let response = asked.ok()?;
        let in_header = header(&response, TIME_HEADER).and_then(|text| text.parse().ok());
        let body = begin_of(response, TEXT_MAX_BYTES).await.ok()?;
        let hello: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let in_body = ["time", "time_ms"].iter().find_map(|key| match hello.get(*key)? {
            serde_json::Value::Number(ms) => ms.as_i64(),
            serde_json::Value::String(text) => text.parse::<UtcMs>().ok().map(|t| t.0),
            _ => None,
        });
        in_header.or(in_body).map(UtcMs)
    }
}

/// How long so many bytes may take, and an answer to them to begin.
fn patience(bytes: usize) -> Duration {
    ANSWER_MAX.saturating_add(on_the_slowest_line(u64::try_from(bytes).unwrap_or(u64::MAX)))
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn signed_headers(response: &Response) -> Result<(UtcMs, Vec<u8>), ExchangeError> {
    let missing = |name: &str| ExchangeError::NotTheHub(format!("it has no usable {name} header"));
    let time = header(response, TIME_HEADER).and_then(|t| t.parse().ok()).ok_or_else(|| missing(TIME_HEADER))?;
    let signature = header(response, SIGNATURE_HEADER)
        .and_then(|s| STANDARD.decode(s).ok())
        .ok_or_else(|| missing(SIGNATURE_HEADER))?;
    Ok((UtcMs(time), signature))
}

/// The body, as long as it is no longer than a frame can be and goes on coming.
pub(super) async fn bounded(response: Response) -> Result<Vec<u8>, ExchangeError> {
    let body = begin_of(response, FRAME_MAX_BYTES).await?;
    if body.len() > FRAME_MAX_BYTES {
        return Err(FrameError::TooLarge { limit: FRAME_MAX_BYTES }.into());
    }
    Ok(body)
}

/// The body as it goes on coming, up to the part with which it is longer than `most` bytes; the rest is not read.
async fn begin_of(mut response: Response, most: usize) -> Result<Vec<u8>, ExchangeError> {
    let length = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(most);
    let (mut body, within) = (Vec::new(), patience(length.min(most)));
    let begun = Instant::now();
    loop {
        let left = within.saturating_sub(begun.elapsed()).min(ANSWER_MAX);
        let part = timeout(left, response.chunk()).await.map_err(|_| ExchangeError::Silent)??;
        let Some(part) = part else { return Ok(body) };
        body.extend_from_slice(&part);
        if body.len() > most {
            return Ok(body);
        }
    }
}

pub(super) async fn text_of(response: Response) -> String {
    problem_of(response).await.1
}

/// Which kind of problem an answer tells, and its text.
async fn problem_of(response: Response) -> (Option<String>, String) {
    let body = begin_of(response, TEXT_MAX_BYTES).await.unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let field = |name: &str| problem.as_ref().and_then(|p| p.get(name)).and_then(|value| value.as_str());
    let said = field("detail").or_else(|| field("title"));
    let text = said.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
    (field("type").map(str::to_owned), text.chars().take(300).collect())
}
