//! Checks that a request is the device's own, new and unaltered; signs the answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::DeviceId,
    seal::{PrivateKey, PublicKey},
    sync::exchange::{
        DEVICE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, SKEW_MAX_MS, TIME_HEADER, reply_text, request_text,
    },
    time::UtcMs,
};

/// Most nonces remembered; beyond that the oldest are forgotten first.
const NONCES_MAX: usize = 100_000;

/// Nonces seen within the time that a request may be old. The store keeps them over a restart; these stand in while it
/// takes no writes.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    seen: Mutex<HashMap<(DeviceId, String), i64>>,
}

impl Nonces {
    /// Remembers a nonce. False if the device used it before.
    pub(super) fn is_new(&self, device: &DeviceId, nonce: &str, now: UtcMs) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= NONCES_MAX {
            seen.retain(|_, at| now.0.saturating_sub(*at) <= 2 * SKEW_MAX_MS);
        }
        if seen.len() >= NONCES_MAX {
            seen.clear();
        }
        seen.insert((device.clone(), nonce.to_owned()), now.0).is_none()
    }
}

/// What a request's headers claim.
pub(super) struct Claim {
    pub(super) device: DeviceId,
    pub(super) nonce: String,
    pub(super) time: UtcMs,
    signature: Vec<u8>,
}

impl Claim {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let text = |name: &str| {
            let value = headers.get(name).ok_or_else(|| format!("header {name} is missing"))?;
            value.to_str().map_err(|_| format!("header {name} is not text"))
        };
        let device = text(DEVICE_HEADER)?.parse().map_err(|e| format!("header {DEVICE_HEADER}: {e}"))?;
        let time = text(TIME_HEADER)?.parse().map_err(|_| format!("header {TIME_HEADER} is not a time in ms"))?;
        let nonce = text(NONCE_HEADER)?.to_owned();
        if !(8..=64).contains(&nonce.len()) {
            return Err(format!("header {NONCE_HEADER} has {} characters; 8 to 64 are expected", nonce.len()));
        }
        let signature =
            STANDARD.decode(text(SIGNATURE_HEADER)?).map_err(|_| format!("header {SIGNATURE_HEADER} is not base64"))?;
        Ok(Self { device, nonce, time: UtcMs(time), signature })
    }

    /// Checks the claim against the key on the list.
    pub(super) fn verify(&self, path: &str, body: &[u8], key: Option<&PublicKey>, now: UtcMs) -> Result<(), String> {
        // A device that is not on the list and a wrong key get one answer, so that names cannot be guessed.
        let text = request_text(path, &self.device, self.time, &self.nonce, body);
        key.and_then(|key| key.verify(text.as_bytes(), &self.signature).ok())
            .ok_or("unknown device or wrong signature; let it in with `gatehouse-hub device invite`")?;
        if now.since(self.time).abs() > SKEW_MAX_MS {
            return Err(format!("request is of {}, the hub's clock shows {now}; ask for the hub's time", self.time));
        }
        Ok(())
    }
}

/// The headers that sign an answer.
pub(super) fn sign_reply(
    key: &PrivateKey,
    device: &DeviceId,
    nonce: &str,
    status: u16,
    body: &[u8],
    now: UtcMs,
) -> Vec<(&'static str, HeaderValue)> {
    let signature = STANDARD.encode(key.sign(reply_text(device, now, nonce, status, body).as_bytes()));
    [(TIME_HEADER, now.0.to_string()), (NONCE_HEADER, nonce.to_owned()), (SIGNATURE_HEADER, signature)]
        .into_iter()
        .filter_map(|(name, value)| HeaderValue::from_str(&value).ok().map(|value| (name, value)))
        .collect()
}
