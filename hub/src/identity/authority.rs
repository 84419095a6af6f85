//! The hub's own authority: its key and certificate in one file, and what it signs.
//!
//! The file holds both in PEM, is made at first use and may be read by its owner only. Losing it makes every device
//! enrol anew; whoever copies it can make devices. It signs for devices and for the hub's own listeners, nothing else.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use gatehouse_common::{
    id::{DeviceId, Hash32},
    time::UtcMs,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::claims;
use crate::store::{Certificate, Device};

/// How long an authority lasts, in days.
const AUTHORITY_DAYS: i64 = 20 * 365;
/// How long a certificate of the hub's own listeners lasts, in days. A new one is made long before.
const SERVER_DAYS: i64 = 2 * 365;
/// What is made now is good from this long before, in milliseconds: clocks differ.
const EARLIER_MS: i64 = 24 * 3_600_000;
/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;
/// Longest signing request in bytes; one for our kind of key has some 400.
const REQUEST_MAX_BYTES: usize = 4096;

/// The authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read or made.
    #[error("authority file {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Others may read it, so others may have copied it.
    #[error(
        "authority file {path} may be read by others; run chmod 600 {path}, and make a new authority if someone may have copied it"
    )]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "authority file {path} does not hold a key and its certificate in PEM; restore it, or remove it to make a new authority, with which every device enrols anew"
    )]
    NotOne {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A signing request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signing request cannot be used: {0}")]
pub struct RequestError(String);

/// The key of a device's line, which the device has shown to hold.
pub struct LineRequest {
    key: rcgen::PublicKey,
}

impl LineRequest {
    /// Reads a signing request in PEM and checks that who made it holds its key. Nothing else of it is taken.
    /// # Errors
    /// [`RequestError`]; the text is for whoever asked.
    pub fn read(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > REQUEST_MAX_BYTES {
            return Err(RequestError(format!("longer than {REQUEST_MAX_BYTES} bytes")));
        }
        let read = CertificateSigningRequestParams::from_pem(pem).map_err(|e| RequestError(e.to_string()))?;
        if *read.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err(RequestError("another kind of key than P-256".to_owned()));
        }
        Ok(Self { key: read.public_key })
    }

    /// SHA-256 of the key.
    #[must_use]
    pub fn key_hash(&self) -> Hash32 {
        Hash32::of(&self.key.subject_public_key_info())
    }
}

/// Signs certificates of devices and of the hub itself.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    from: UtcMs,
    until: UtcMs,
}

impl Authority {
    /// The authority in `path`; makes file and authority, for the hub called `name`, if there is none.
    /// # Errors
    /// [`AuthorityError`]; an existing file is never written.
    pub fn load_or_make(path: &Path, name: &DeviceId, now: UtcMs) -> Result<Self, AuthorityError> {
        match Self::load(path) {
            Err(AuthorityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::make(path, name, now)
            }
            other => other,
        }
    }

    fn load(path: &Path) -> Result<Self, AuthorityError> {
        let fail = |source| AuthorityError::File { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(fail)?;
        if std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o077 != 0 {
            return Err(AuthorityError::Open { path: path.to_owned() });
        }
        let read = || {
            let key = KeyPair::from_pem(&text).ok()?;
            let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
            let (from, until, of) = claims::span_and_key(&certificate)?;
            if of != key.subject_public_key_info() {
                return None;
            }
            let pem = pem_of(&text)?;
            Some(Self { issuer: Issuer::from_ca_cert_der(&certificate, key).ok()?, certificate, pem, from, until })
        };
        read().ok_or_else(|| AuthorityError::NotOne { path: path.to_owned() })
    }

    fn make(path: &Path, name: &DeviceId, now: UtcMs) -> Result<Self, AuthorityError> {
        let fail = |source| AuthorityError::File { path: path.to_owned(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(now.plus(-EARLIER_MS), now.plus(AUTHORITY_DAYS * DAY_MS));
        params.distinguished_name = named(&format!("Gatehouse authority of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        // Written beside and linked, so that a crash leaves no half an authority and none is ever replaced.
        let beside = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
        let text = format!("{}{}", key.serialize_pem(), certificate.pem());
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        let linked = std::fs::hard_link(&beside, path);
        std::fs::remove_file(&beside).map_err(fail)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(fail(error)),
            _ => Self::load(path),
        }
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of its certificate: what invitations carry.
    #[must_use]
    pub fn fingerprint(&self) -> Hash32 {
        Hash32::of(&self.certificate)
    }

    /// A certificate for the line of `device`, which names the device, its key and its scopes as they are listed.
    /// # Errors
    /// [`AuthorityError::Make`].
    pub fn certify(
        &self,
        device: &Device,
        request: &LineRequest,
        now: UtcMs,
        until: UtcMs,
    ) -> Result<Certificate, AuthorityError> {
        let until = until.min(self.until);
        // Not much earlier: which of two certificates is the newer is told by it.
        let mut params = params(now, until);
        params.distinguished_name = named(&device.device.as_str().chars().take(64).collect::<String>());
        params.subject_alt_names = claims::uris(device)
            .into_iter()
            .map(|uri| Ok(SanType::URI(uri.try_into()?)))
            .collect::<Result<_, rcgen::Error>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let serial = serial();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&request.key, &self.issuer)?;
        Ok(Certificate {
            serial: hex::encode(serial),
            device: device.device.clone(),
            line_key: request.key_hash(),
            from: now,
            until,
            pem: certificate.pem(),
            superseded: None,
        })
    }

    /// A chain and its key for the hub's own listeners, known by `names`: host names and addresses.
    /// # Errors
    /// [`AuthorityError::Make`] if a name is none.
    pub fn serve(
        &self,
        names: &[String],
        now: UtcMs,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Good since the authority was made: a device whose clock is behind still gets through, and is told the time.
        let mut params = params(self.from, now.plus(SERVER_DAYS * DAY_MS).min(self.until));
        params.distinguished_name = named("Gatehouse hub");
        let san = |name: &String| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
        };
        params.subject_alt_names = names.iter().map(san).collect::<Result<_, rcgen::Error>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // With the authority behind it: a device that was only told a fingerprint finds it here.
        Ok((vec![certificate.der().clone(), self.certificate.clone()], private))
    }
}

fn params(from: UtcMs, until: UtcMs) -> CertificateParams {
    let at = |time: UtcMs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(time.0).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.not_before = at(from);
    params.not_after = at(until);
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// Positive, and never one that was given before.
fn serial() -> [u8; 16] {
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

fn pem_of(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    text.find(BEGIN).map(|at| text[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::{identity::Peer, store::DeviceKind};

    fn device() -> Device {
        Device {
            device: "unit-1".parse().unwrap(),
            kind: DeviceKind::Vehicle,
            public_key: gatehouse_common::seal::PrivateKey::from_seed([7; 32]).public(),
            sites: vec!["D1".parse().unwrap()],
            vehicles: vec!["2207".parse().unwrap(), "2208".parse().unwrap()],
        }
    }

    #[test]
    fn it_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.authority.pem");
        let name: DeviceId = "hub".parse().unwrap();
        let made = Authority::load_or_make(&path, &name, UtcMs(1_000_000_000_000)).unwrap();
        let again = Authority::load_or_make(&path, &name, UtcMs(1_000_000_999_000)).unwrap();
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!again.pem().contains("PRIVATE"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Authority::load(&path), Err(AuthorityError::Open { .. })));
        let other = directory.path().join("other.pem");
        let other_made = Authority::load_or_make(&other, &name, UtcMs(1_000_000_000_000)).unwrap();
        let mixed = format!("{}{}", text.split("-----BEGIN CERT").next().unwrap(), other_made.pem());
        std::fs::write(&other, mixed).unwrap();
        assert!(matches!(Authority::load(&other), Err(AuthorityError::NotOne { .. })), "key and certificate differ");
    }

    #[test]
    fn a_certificate_names_what_is_listed_and_nothing_that_its_request_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let now = UtcMs(1_000_000_000_000);
        let authority =
            Authority::load_or_make(&directory.path().join("ca.pem"), &"hub".parse().unwrap(), now).unwrap();
        let line = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut asks = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        asks.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        asks.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let pem = asks.serialize_request(&line).unwrap().pem().unwrap();
        let request = LineRequest::read(&pem).unwrap();
        let made = authority.certify(&device(), &request, now, now.plus(DAY_MS)).unwrap();
        let der = CertificateDer::from_pem_slice(made.pem.as_bytes()).unwrap();
        let peer = Peer::of(&der).unwrap();
        assert_eq!((peer.device, peer.serial), (device(), made.serial));
        let (_, read) = X509Certificate::from_der(&der).unwrap();
        let usage = read.extended_key_usage().unwrap().unwrap().value;
        assert!(!read.is_ca() && usage.client_auth && !usage.server_auth);
        let names = &read.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert!(names.iter().all(|name| name.to_string().contains("urn:gatehouse:")), "{names:?}");
        // Neither the authority's own certificate nor the hub's is a device's.
        assert!(Peer::of(authority.certificate()).is_err());
        assert!(Peer::of(&authority.serve(&["localhost".to_owned()], now).unwrap().0[0]).is_err());
    }

    #[test]
    fn a_request_whose_key_its_sender_does_not_hold_is_refused() {
        let line = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = CertificateParams::default().serialize_request(&line).unwrap().pem().unwrap();
        assert!(LineRequest::read(&pem).is_ok());
        let mut bytes =
            rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n");
        assert!(LineRequest::read(&pem).is_err());
        assert!(LineRequest::read("nonsense").is_err() && LineRequest::read(&"x".repeat(5_000)).is_err());
        let other_kind = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let pem = CertificateParams::default().serialize_request(&other_kind).unwrap().pem().unwrap();
        assert!(LineRequest::read(&pem).is_err());
    }
}
