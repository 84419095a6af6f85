//! What a certificate says of its device, as URIs among its names: `openssl x509 -text` shows them.
//!
//! In: a certificate whose signature was checked. Out: device, key and scopes. Nothing here decides whether they hold.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{id::Hash32, seal::PublicKey, time::UtcMs};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::store::{Device, DeviceKind};

const PREFIX: &str = "urn:gatehouse:";

/// A certificate of our own authority that does not name a device: it was made for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate names no device: {0}")]
pub struct ClaimsError(&'static str);

/// Who is at the other end of a line, by the certificate that was checked when the line was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The certificate's serial number in hexadecimal.
    pub serial: String,
    /// The device with key and scopes, as the certificate names them.
    pub device: Device,
    /// SHA-256 of the key of the device's line.
    pub line_key: Hash32,
    /// From when the certificate is good; whole seconds.
    pub from: UtcMs,
    /// Until when it is good; whole seconds.
    pub until: UtcMs,
}

impl Peer {
    /// Reads a certificate.
    /// # Errors
    /// [`ClaimsError`].
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, ClaimsError> {
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| ClaimsError("it cannot be read"))?;
        let names = read.subject_alternative_name().ok().flatten().ok_or(ClaimsError("it has no names"))?;
        let mut said = Said::default();
        for name in &names.value.general_names {
            if let GeneralName::URI(uri) = name {
                said.take(uri)?;
            }
        }
        Ok(Self {
            serial: hex::encode(read.raw_serial()),
            device: said.whole()?,
            line_key: Hash32::of(read.public_key().raw),
            from: at_second(read.validity().not_before.timestamp()),
            until: at_second(read.validity().not_after.timestamp()),
        })
    }
}

#[derive(Default)]
struct Said {
    device: Option<gatehouse_common::id::DeviceId>,
    kind: Option<DeviceKind>,
    key: Option<PublicKey>,
    sites: Vec<gatehouse_common::id::SiteId>,
    vehicles: Vec<gatehouse_common::id::VehicleId>,
}

impl Said {
    fn take(&mut self, uri: &str) -> Result<(), ClaimsError> {
        let bad = ClaimsError("a name is of no kind that is known");
        let (what, value) = uri.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(bad.clone())?;
        match what {
            "device" => self.device = Some(value.parse().map_err(|_| bad)?),
            "kind" => self.kind = Some(value.parse().map_err(|_| bad)?),
            "key" => {
                let bytes = hex::decode(value).map_err(|_| bad.clone())?;
                self.key = Some(PublicKey::parse(&STANDARD.encode(bytes)).map_err(|_| bad)?);
            }
            "site" => self.sites.push(value.parse().map_err(|_| bad)?),
            "vehicle" => self.vehicles.push(value.parse().map_err(|_| bad)?),
            _ => return Err(bad),
        }
        Ok(())
    }

    fn whole(self) -> Result<Device, ClaimsError> {
        Ok(Device {
            device: self.device.ok_or(ClaimsError("no device"))?,
            kind: self.kind.ok_or(ClaimsError("no kind"))?,
            public_key: self.key.ok_or(ClaimsError("no key"))?,
            sites: self.sites,
            vehicles: self.vehicles,
        })
    }
}

/// What a certificate of `device` says of it.
pub(super) fn uris(device: &Device) -> Vec<String> {
    let key = STANDARD.decode(device.public_key.to_string()).unwrap_or_default();
    let mut uris = vec![
        format!("{PREFIX}device:{}", device.device),
        format!("{PREFIX}kind:{}", device.kind.as_str()),
        format!("{PREFIX}key:{}", hex::encode(key)),
    ];
    uris.extend(device.sites.iter().map(|site| format!("{PREFIX}site:{site}")));
    uris.extend(device.vehicles.iter().map(|vehicle| format!("{PREFIX}vehicle:{vehicle}")));
    uris
}

/// From when until when a certificate is good, and its key.
pub(super) fn span_and_key(certificate: &CertificateDer<'_>) -> Option<(UtcMs, UtcMs, Vec<u8>)> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let span = read.validity();
    let (from, until) = (at_second(span.not_before.timestamp()), at_second(span.not_after.timestamp()));
    Some((from, until, read.public_key().raw.to_vec()))
}

fn at_second(seconds: i64) -> UtcMs {
    UtcMs(seconds.saturating_mul(1_000))
}
