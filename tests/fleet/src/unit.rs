//! A device of the hub: its keys, its certificate, and what it signs.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_agent::config::Identity;
use gatehouse_common::{
    id::{DeviceId, SiteId},
    seal::PrivateKey,
    sync::{
        enrolment::Enrolled,
        exchange::{DEVICE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER, request_text},
    },
    time::UtcMs,
};
use gatehouse_hub::{
    identity::{Authority, LineRequest},
    store::{Certificate, Device, DeviceKind},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

const DAY_MS: i64 = 86_400_000;

/// A device that the hub's authority has certified.
pub struct Unit {
    /// As the hub lists it.
    pub device: Device,
    /// What its exchanges are signed with.
    pub key: PrivateKey,
    /// What the hub's store keeps of its certificate.
    pub certificate: Certificate,
    /// The same key as 32 bytes.
    seed: [u8; 32],
    line_key: String,
    /// What its nonces begin with.
    run: String,
}

impl Unit {
    /// The gateway `device` of `site`, certified for a month from an hour ago on.
    pub fn certified(device: &str, site: &str, authority: &Authority, now: UtcMs) -> anyhow::Result<Self> {
        let seed: [u8; 32] = rand::random();
        let key = PrivateKey::from_seed(seed);
        let line_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::new(Vec::new())?.serialize_request(&line_key)?.pem()?;
        let device = Device {
            device: DeviceId::new(device)?,
            kind: DeviceKind::Gateway,
            public_key: key.public(),
            sites: vec![SiteId::new(site)?],
            vehicles: Vec::new(),
        };
        let from = now.plus(-3_600_000);
        let certificate = authority.certify(&device, &LineRequest::read(&request)?, from, now.plus(30 * DAY_MS))?;
        let run = hex::encode(rand::random::<[u8; 8]>());
        Ok(Self { device, key, certificate, seed, line_key: line_key.serialize_pem(), run })
    }

    /// Its name.
    pub fn name(&self) -> &DeviceId {
        &self.device.device
    }

    /// Its depot.
    pub fn site(&self) -> &SiteId {
        &self.device.sites[0]
    }

    /// What the agent keeps of its enrolment at a hub that is reached at `url`.
    pub fn identity(&self, authority: &Authority, hub: &PrivateKey, url: &str) -> Identity {
        let said = Enrolled {
            device: self.name().clone(),
            sites: self.device.sites.clone(),
            vehicles: Vec::new(),
            url: url.to_owned(),
            hub: hub.public(),
            authority: authority.pem().to_owned(),
            certificate: self.certificate.pem.clone(),
            from: self.certificate.from,
            until: self.certificate.until,
            grace_ms: 60 * DAY_MS,
        };
        Identity { said, line_key: self.line_key.clone() }
    }

    /// The key of its line in PEM.
    pub fn line_key(&self) -> &str {
        &self.line_key
    }

    /// Its signing key as the agent's key file holds it.
    pub fn key_file(&self) -> String {
        format!("{}\n", STANDARD.encode(self.seed))
    }

    /// The headers that sign `body`, sent to `path`.
    pub fn headers(&self, path: &str, body: &[u8], now: UtcMs) -> [(&'static str, String); 4] {
        let nonce = format!("{}.{}", self.run, hex::encode(rand::random::<[u8; 16]>()));
        let text = request_text(path, self.name(), now, &nonce, body);
        [
            (DEVICE_HEADER, self.name().to_string()),
            (TIME_HEADER, now.0.to_string()),
            (NONCE_HEADER, nonce),
            (SIGNATURE_HEADER, STANDARD.encode(self.key.sign(text.as_bytes()))),
        ]
    }
}
