//! How this device comes by its certificate and keeps it.
//!
//! In: an invitation, or the identity that is there. Out: an identity on the disk, before it is used. Whatever is
//! interrupted is done again with the same keys; the scopes are what the hub answers, nothing here asks for any.

use std::{path::Path, sync::Arc, time::Duration};

use gatehouse_common::{
    id::DeviceId,
    seal::{PrivateKey, Sealed},
    sync::enrolment::{Ask, ENROL_PATH, Enrolled, Invitation, Purpose, RENEW_PATH},
    time::UtcMs,
};
use rcgen::{CertificateParams, DistinguishedName};
use reqwest::Client;
use serde::Serialize;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{Backoff, line::Line, transport};
use crate::{
    clock::Clock,
    config::{Identity, IdentityError, identity},
    tasks::{Stop, TaskError},
};

/// Longest wait for an answer, in real time.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The identity is looked at after this long though nothing is due, in milliseconds of the clock: clocks are set.
const LOOK_MS: u64 = 3_600_000;
/// Longest wait after a renewal that failed, in milliseconds of the clock.
const AGAIN_MAX_MS: u64 = 600_000;
/// A wait of the line's, times this, is one of a renewal's.
const SLOWER: u64 = 10;

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The hub cannot be reached, or is not the one that was meant. Try again.
    #[error("hub cannot be reached: {0}")]
    Http(String),
    /// The hub says no, and what to do.
    #[error("hub refuses: {0}")]
    Refused(String),
    /// The invitation is for another device.
    #[error("the invitation is for {found}, and the configuration says device.id = \"{own}\"; correct one of them")]
    OtherDevice {
        /// For whom it is.
        found: DeviceId,
        /// Who this is.
        own: DeviceId,
    },
    /// The hub's answer does not fit.
    #[error("the hub's answer does not fit: {0}")]
    Answer(String),
    /// Files cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A key cannot be used.
    #[error("key cannot be used: {0}")]
    Key(String),
}

impl From<transport::TransportError> for EnrolmentError {
    fn from(error: transport::TransportError) -> Self {
        Self::Key(error.to_string())
    }
}

/// How the certificate is, for page and doctor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CertificateState {
    /// Until when it is good.
    pub until: UtcMs,
    /// Until when the device can renew it without a person.
    pub renewable_until: UtcMs,
    /// Why it was not renewed though it is time, for people.
    pub trouble: Option<String>,
}

impl CertificateState {
    /// How `identity` is, with what its last renewal met.
    #[must_use]
    pub fn of(identity: &Identity, trouble: Option<String>) -> Self {
        Self { until: identity.said.until, renewable_until: identity.renewable_until(), trouble }
    }
}

/// Gets this device its first certificate and keeps it in `path`. Can be repeated: the same keys get the same identity.
/// # Errors
/// [`EnrolmentError`]; nothing is lost by trying again.
pub async fn enrol(
    invitation: &Invitation,
    own: &DeviceId,
    key: &PrivateKey,
    path: &Path,
    clock: &Clock,
) -> Result<Identity, EnrolmentError> {
    if let Some(found) = invitation.device.clone().filter(|device| device != own) {
        return Err(EnrolmentError::OtherDevice { found, own: own.clone() });
    }
    let client = transport::invited(invitation.authority, invitation.at, invitation.until, clock)?;
    let ask = Asking { purpose: Purpose::Enrol, device: own, key, secret: invitation.secret.clone() };
    ask.and_keep(&client, &format!("{}{ENROL_PATH}", invitation.url), path).await
}

/// Gets the next certificate in place of `held`.
/// # Errors
/// [`EnrolmentError`]; `held` stays.
pub async fn renew(
    held: &Identity,
    url: &str,
    key: &PrivateKey,
    path: &Path,
    clock: &Clock,
) -> Result<Identity, EnrolmentError> {
    let ask = Asking { purpose: Purpose::Renew, device: &held.said.device, key, secret: None };
    let url = format!("{url}{RENEW_PATH}");
    match ask.and_keep(&transport::certified(held, clock)?, &url, path).await {
        // One that has expired gets no line at all. Whether it has, the hub's clock says, not ours.
        Err(EnrolmentError::Http(first)) => {
            let outcome = ask.and_keep(&transport::uncertified(held, clock)?, &url, path).await;
            match outcome {
                Err(EnrolmentError::Http(_)) => Err(EnrolmentError::Http(first)),
                other => other,
            }
        }
        other => other,
    }
}

struct Asking<'a> {
    purpose: Purpose,
    device: &'a DeviceId,
    key: &'a PrivateKey,
    secret: Option<String>,
}

impl Asking<'_> {
    async fn and_keep(&self, client: &Client, url: &str, path: &Path) -> Result<Identity, EnrolmentError> {
        let line_key = identity::waiting_key(path)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&line_key).and_then(|request| request.pem());
        let ask = Ask {
            purpose: self.purpose,
            device: self.device.clone(),
            public_key: self.key.public(),
            request: request.map_err(|e| EnrolmentError::Key(e.to_string()))?,
            secret: self.secret.clone(),
        };
        let sealed = Sealed::new(&ask, self.key).map_err(|e| EnrolmentError::Key(e.to_string()))?;
        let said = send(client, url, &sealed).await?;
        if said.device != *self.device {
            return Err(EnrolmentError::Answer(format!("the certificate is for {}", said.device)));
        }
        let identity = Identity { said, line_key: line_key.serialize_pem() };
        // On the disk before it is used: once it is used, the one before counts no more.
        identity.save(path)?;
        identity::forget_waiting_key(path)?;
        Ok(identity)
    }
}

async fn send(client: &Client, url: &str, sealed: &Sealed) -> Result<Enrolled, EnrolmentError> {
    let http = |e: reqwest::Error| EnrolmentError::Http(super::failure::chain(&e.without_url()));
    let response = client.post(url).timeout(ANSWER_MAX).json(sealed).send().await.map_err(http)?;
    let status = response.status();
    if !status.is_success() {
        let text = super::line::text_of(response).await;
        return Err(if status.is_server_error() { EnrolmentError::Http(text) } else { EnrolmentError::Refused(text) });
    }
    let body = super::line::bounded(response).await.map_err(|e| EnrolmentError::Http(e.to_string()))?;
    serde_json::from_slice(&body).map_err(|e| EnrolmentError::Answer(e.to_string()))
}

/// Keeps the certificate of a line good.
pub struct Keeper {
    /// Whose.
    pub line: Line,
    /// What signs its exchanges.
    pub key: PrivateKey,
    /// Where the identity is kept.
    pub path: std::path::PathBuf,
    /// What time it is.
    pub clock: Clock,
    /// The hub wants it renewed at once.
    pub at_once: Arc<Notify>,
}

impl Keeper {
    /// Renews when it is time, until `stop`. `tell` hears how it is.
    /// # Errors
    /// Never: what fails is told and tried again.
    pub async fn run(&self, mut stop: Stop, tell: impl Fn(CertificateState)) -> Result<(), TaskError> {
        tokio::select! {
            () = stop.stopped() => Ok(()),
            never = self.keep(tell) => never,
        }
    }

    async fn keep(&self, tell: impl Fn(CertificateState)) -> Result<(), TaskError> {
        let (mut backoff, jitter) = (Backoff::new(), rand::random::<f64>());
        // By the time since boot, which runs on when a clock that was far ahead is set right.
        let mut not_before_ms = 0;
        loop {
            let Some(held) = self.line.identity() else { return std::future::pending().await };
            // By a clock that is far ahead every certificate is old: once an hour must do.
            let now = self.clock.now();
            let due_in = u64::try_from(held.renews_at(jitter).since(now.wall)).unwrap_or(0);
            let due_in = due_in.max(u64::saturating_sub(not_before_ms, now.boottime_ms));
            if due_in > 0 {
                tell(CertificateState::of(&held, None));
                let wait = due_in.min(LOOK_MS);
                tokio::select! {
                    () = self.clock.sleep(wait) => continue,
                    () = self.at_once.notified() => {}
                }
            }
            match renew(&held, self.line.url(), &self.key, &self.path, &self.clock).await {
                Ok(next) => {
                    info!(until = %next.said.until, "the certificate is renewed; it is good until {}", next.said.until);
                    backoff.reset();
                    not_before_ms = self.clock.now().boottime_ms.saturating_add(LOOK_MS);
                    tell(CertificateState::of(&next, None));
                    if let Err(error) = self.line.go_on_with(next) {
                        warn!(%error, "the new certificate cannot be used: {error}");
                    }
                    continue;
                }
                Err(error) => {
                    warn!(%error, "the certificate is not renewed: {error}");
                    tell(CertificateState::of(&held, Some(error.to_string())));
                }
            }
            self.clock.sleep(backoff.next_ms().saturating_mul(SLOWER).min(AGAIN_MAX_MS)).await;
        }
    }
}
