//! How a device comes by its certificate: what an invitation carries, what is asked and what is answered.
//!
//! In and out: values that travel, an invitation as one line of text. What they promise is checked where they arrive:
//! the hub looks at the key and the invitation, the device at the hub's authority. No scope is ever asked for: the
//! answer says which the hub has given.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    id::{DeviceId, Hash32, SiteId, VehicleId},
    seal::PublicKey,
    time::UtcMs,
};

/// Path where a device asks for its first certificate: a sealed [`Ask`], answered by an [`Enrolled`].
pub const ENROL_PATH: &str = "/enrol/v1/enrol";
/// Path where a device asks for its next certificate: a sealed [`Ask`], answered by an [`Enrolled`].
pub const RENEW_PATH: &str = "/enrol/v1/renew";
/// What a device without a valid certificate says when it connects (ALPN). It then reaches the two paths above alone.
pub const ENROL_ALPN: &[u8] = b"gatehouse-enrol/1";
/// Kind of the problem that tells a device to renew its certificate before it asks anything else.
pub const RENEW_FIRST: &str = "urn:gatehouse:problem:renew-certificate";

/// What the text of an invitation begins with.
const MARK: &str = "gh1.";

/// What an administrator hands over, so that a device finds the right hub and the hub lets it in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// Where the hub listens for devices.
    pub url: String,
    /// SHA-256 of the certificate of the hub's authority: the device speaks with nobody else.
    pub authority: Hash32,
    /// For whom it is; `None` for every device whose key the hub was told to take over.
    pub device: Option<DeviceId>,
    /// What proves it, used once; `None` where the device's known key proves it.
    pub secret: Option<String>,
    /// When it was made, by the hub's clock.
    pub at: UtcMs,
    /// Until when it is good, by the hub's clock.
    pub until: UtcMs,
}

impl fmt::Debug for Invitation {
    // The secret stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({:?} to {}, good until {})", self.device, self.url, self.until)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{MARK}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

/// The text is no invitation. Copy the whole line that `gatehouse-hub device invite` printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an invitation; copy the whole line, from gh1. on, that `gatehouse-hub device invite` printed")]
pub struct NotAnInvitation;

impl FromStr for Invitation {
    type Err = NotAnInvitation;

    fn from_str(text: &str) -> Result<Self, NotAnInvitation> {
        let coded = text.trim().strip_prefix(MARK).ok_or(NotAnInvitation)?;
        let json = URL_SAFE_NO_PAD.decode(coded).map_err(|_| NotAnInvitation)?;
        serde_json::from_slice(&json).map_err(|_| NotAnInvitation)
    }
}

/// What a signature over an [`Ask`] is for: one for the first certificate is none for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The first certificate.
    #[serde(rename = "gatehouse enrol 1")]
    Enrol,
    /// The next one.
    #[serde(rename = "gatehouse renew 1")]
    Renew,
}

/// What a device asks, sealed with the key that it signs exchanges with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Which certificate.
    pub purpose: Purpose,
    /// Who asks.
    pub device: DeviceId,
    /// The key that seals this, and every exchange.
    pub public_key: PublicKey,
    /// A certificate signing request in PEM: proof that the device holds the key of its line. Of what else it says,
    /// nothing is taken.
    pub request: String,
    /// The invitation's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The hub's answer: who the device is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who.
    pub device: DeviceId,
    /// The depots that the certificate names.
    pub sites: Vec<SiteId>,
    /// The vehicles that the certificate names.
    pub vehicles: Vec<VehicleId>,
    /// Where the hub listens for devices.
    pub url: String,
    /// What the hub signs its answers with.
    pub hub: PublicKey,
    /// The certificate of the hub's authority, in PEM.
    pub authority: String,
    /// The device's certificate, in PEM.
    pub certificate: String,
    /// From when it is good, by the hub's clock.
    pub from: UtcMs,
    /// Until when it is good, by the hub's clock.
    pub until: UtcMs,
    /// For how long after that it can still be renewed, in milliseconds.
    pub grace_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_one_line_that_reads_back_and_half_a_line_is_told() {
        let invitation = Invitation {
            url: "https://hub.example:8443".to_owned(),
            authority: Hash32::of(b"ca"),
            device: Some(DeviceId::new("gw-1").unwrap()),
            secret: Some("s3cret".to_owned()),
            at: UtcMs(1),
            until: UtcMs(2),
        };
        let line = invitation.to_string();
        assert!(line.starts_with("gh1.") && !line.contains(char::is_whitespace));
        assert_eq!(format!(" {line}\n").parse(), Ok(invitation.clone()));
        for length in 0..line.len() {
            assert_eq!(line[..length].parse::<Invitation>(), Err(NotAnInvitation), "{length}");
        }
        assert!(!format!("{invitation:?}").contains("s3cret"));
    }
}
