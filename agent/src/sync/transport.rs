//! How the line to the hub is encrypted: TLS 1.3, the hub's own authority alone, and this device's certificate.
//!
//! In: what enrolment gave, or the fingerprint that an invitation carries. Out: an HTTP client. A clock that nothing has
//! confirmed does not keep the device out: within the time that its certificate is good, it is believed, no further.

use std::{sync::Arc, time::Duration};

use gatehouse_common::{id::Hash32, sync::enrolment::ENROL_ALPN, time::UtcMs};
use reqwest::Client;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
    version::TLS13,
};

use crate::{clock::Clock, config::Identity};

/// Longest wait for a connection, in real time.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(20);

/// A client cannot be made of what was given.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Certificate, key or authority cannot be used. Enrol again.
    #[error("the identity cannot be used: {0}; enrol again under the same name")]
    Identity(String),
    /// No HTTP client could be made.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        Self::Identity(error.to_string())
    }
}

/// A client without certificates of our own: for a hub on this machine, or one behind a proxy.
pub(super) fn plain() -> Result<Client, TransportError> {
    Ok(builder().build()?)
}

/// A client that shows the device's certificate and trusts the hub's authority alone.
pub(super) fn certified(identity: &Identity, clock: &Clock) -> Result<Client, TransportError> {
    let own = CertificateDer::from_pem_slice(identity.said.certificate.as_bytes());
    let own = own.map_err(|e| TransportError::Identity(format!("certificate: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(identity.line_key.as_bytes());
    let key = key.map_err(|e| TransportError::Identity(format!("key: {e}")))?;
    let config = begin(clock, identity.said.from, identity.said.until)?
        .with_root_certificates(authority(identity)?)
        .with_client_auth_cert(vec![own], key)?;
    client(config)
}

/// A client that has no valid certificate to show and reaches enrolment alone, at a hub whose authority is known.
pub(super) fn uncertified(identity: &Identity, clock: &Clock) -> Result<Client, TransportError> {
    let config = begin(clock, identity.said.from, identity.said.until)?
        .with_root_certificates(authority(identity)?)
        .with_no_client_auth();
    to_enrolment(config)
}

/// As [`uncertified`], at a hub of which only its authority's fingerprint is known. `from` and `until` bound what a clock
/// that nothing has confirmed may show.
pub(super) fn invited(fingerprint: Hash32, from: UtcMs, until: UtcMs, clock: &Clock) -> Result<Client, TransportError> {
    let config = begin(clock, from, until)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Fingerprint { fingerprint, provider: provider() }))
        .with_no_client_auth();
    to_enrolment(config)
}

fn to_enrolment(mut config: ClientConfig) -> Result<Client, TransportError> {
    config.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    client(config)
}

fn client(config: ClientConfig) -> Result<Client, TransportError> {
    Ok(builder().https_only(true).tls_backend_preconfigured(config).build()?)
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_MAX)
        // A redirect would send the request to someone whom nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

fn authority(identity: &Identity) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(identity.said.authority.as_bytes());
    roots.add(certificate.map_err(|e| TransportError::Identity(format!("authority: {e}")))?)?;
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn begin(
    clock: &Clock,
    from: UtcMs,
    until: UtcMs,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    let time = Arc::new(Bounded { clock: clock.clone(), from, until });
    ClientConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13])
}

/// The agent's clock for rustls; one that nothing has confirmed shows no time outside of what is known.
#[derive(Debug)]
struct Bounded {
    clock: Clock,
    from: UtcMs,
    until: UtcMs,
}

impl TimeProvider for Bounded {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.clock.now();
        let wall = if now.trusted { now.wall } else { now.wall.max(self.from).min(self.until) };
        Some(UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(wall.0).ok()?)))
    }
}

/// Trusts the authority with this fingerprint, which the hub sends along, and then checks as always.
#[derive(Debug)]
struct Fingerprint {
    fingerprint: Hash32,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Fingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ours = intermediates.iter().find(|certificate| Hash32::of(certificate) == self.fingerprint);
        let ours = ours.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ours.clone().into_owned())?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        usual.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
