//! One signed request and its verified answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::DeviceId,
    seal::{PrivateKey, PublicKey, SealError},
    sync::{
        FrameError, decode, encode,
        exchange::{
            DEVICE_HEADER, HELLO_PATH, NONCE_HEADER, SIGNATURE_HEADER, SKEW_MAX_MS, TIME_HEADER, reply_text,
            request_text,
        },
        version::FRAME_MAX_BYTES,
    },
    time::UtcMs,
};
use reqwest::{Client, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{info, warn};

use crate::clock::Clock;

/// Longest wait for a connection, in real time.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an answer on top of the wait that was asked for, in real time.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// The hub's clock confirms ours when they differ by no more than this, the way included.
const CONFIRMS_MS: i64 = 5_000;

/// Why an exchange failed. Every one of them is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The hub cannot be reached, or the answer broke off.
    #[error("hub cannot be reached: {}", chain(.0))]
    Http(#[source] reqwest::Error),
    /// The hub does not know this device, or its scopes do not allow it.
    #[error(
        "hub refuses this device: {0}; add it there with `gatehouse-hub devices add` and the key that `gatehouse-agent public-key` prints"
    )]
    Refused(String),
    /// The hub answered with an error.
    #[error("hub answered {status}: {text}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// The answer is not signed by the hub that the configuration names.
    #[error("the answer is not from the hub that hub.public_key names: {0}; check hub.url and hub.public_key")]
    NotTheHub(String),
    /// The frame cannot be read or written.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl From<reqwest::Error> for ExchangeError {
    fn from(error: reqwest::Error) -> Self {
        // Pull and push fail alike when the line is cut: without the path they are told once, not in turns.
        Self::Http(error.without_url())
    }
}

impl From<SealError> for ExchangeError {
    fn from(error: SealError) -> Self {
        Self::NotTheHub(error.to_string())
    }
}

/// An error and all its causes: reqwest's own text leaves out why.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Signs requests and verifies answers.
#[derive(Clone)]
pub struct Line {
    client: Client,
    url: String,
    hub: PublicKey,
    device: DeviceId,
    key: PrivateKey,
    clock: Clock,
    /// What to add to our clock so that it shows the hub's time; 0 while ours is near enough.
    skew_ms: Arc<AtomicI64>,
}

impl Line {
    /// A line to the hub at `url`, which must answer with signatures of `hub`.
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        url: String,
        hub: PublicKey,
        device: DeviceId,
        key: PrivateKey,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            // A redirect would send the request to someone whom nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, url, hub, device, key, clock, skew_ms: Arc::default() })
    }

    /// Asks `path` and reads the answer. The hub may take `wait_ms` of the clock to find one.
    /// # Errors
    /// [`ExchangeError`].
    pub async fn exchange<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
        wait_ms: u32,
    ) -> Result<A, ExchangeError> {
        let body = encode(question)?;
        let sent = self.clock.wall();
        let time = sent.plus(self.skew_ms.load(Ordering::Relaxed));
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let signature = self.key.sign(request_text(path, &self.device, time, &nonce, &body).as_bytes());
        let response = self
            .client
            .post(format!("{}{path}", self.url))
            .header(DEVICE_HEADER, self.device.as_str())
            .header(TIME_HEADER, time.0.to_string())
            .header(NONCE_HEADER, &nonce)
            .header(SIGNATURE_HEADER, STANDARD.encode(signature))
            .header("content-type", "application/octet-stream")
            .timeout(ANSWER_MAX.saturating_add(self.clock.real(u64::from(wait_ms))))
            .body(body)
            .send()
            .await?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            let text = text_of(response).await;
            self.learn_hub_time().await;
            return Err(ExchangeError::Refused(text));
        }
        if !status.is_success() {
            return Err(ExchangeError::Status { status: status.as_u16(), text: text_of(response).await });
        }
        let (hub_time, signature) = signed_headers(&response)?;
        let body = bounded(response).await?;
        self.hub.verify(reply_text(&self.device, hub_time, &nonce, status.as_u16(), &body).as_bytes(), &signature)?;
        self.confirm(sent, hub_time);
        Ok(decode(&body)?)
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
        let asked = self.client.get(format!("{}{HELLO_PATH}", self.url)).timeout(ANSWER_MAX).send().await;
        let response = asked.ok()?;
        let in_header = header(&response, TIME_HEADER).and_then(|text| text.parse().ok());
        let body = bounded(response).await.ok()?;
        let hello: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let in_body = ["time", "time_ms"].iter().find_map(|key| match hello.get(*key)? {
            serde_json::Value::Number(ms) => ms.as_i64(),
            serde_json::Value::String(text) => text.parse::<UtcMs>().ok().map(|t| t.0),
            _ => None,
        });
        in_header.or(in_body).map(UtcMs)
    }
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

/// The body, as long as it is no longer than a frame can be.
async fn bounded(mut response: Response) -> Result<Vec<u8>, ExchangeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > FRAME_MAX_BYTES {
            return Err(FrameError::TooLarge { limit: FRAME_MAX_BYTES }.into());
        }
    }
    Ok(body)
}

async fn text_of(response: Response) -> String {
    let body = bounded(response).await.unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let said = problem.as_ref().and_then(|p| p.get("detail").or_else(|| p.get("title"))).and_then(|d| d.as_str());
    let text = said.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
    text.chars().take(300).collect()
}
