//! What rustls is told: TLS 1.3 alone, whom to ask for a certificate, which to show.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatehouse_common::{sync::enrolment::ENROL_ALPN, time::UtcMs};
use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    time_provider::TimeProvider,
    version::TLS13,
};

use crate::{
    clock::Clock,
    identity::{Authority, AuthorityError},
};

/// A certificate of the hub's own is used for this long, in milliseconds of the hub's clock; then a new one is made.
const SERVER_USED_MS: i64 = 30 * 24 * 3_600_000;

/// A listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or the key is not usable.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not go together, or the authority's certificate is not usable.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// Whom to ask for a certificate could not be told.
    #[error(transparent)]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The authority could not sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// How a listener answers, by what the other side says first.
#[derive(Clone)]
pub struct Doors {
    /// For everyone who does not say otherwise.
    pub(super) main: Arc<ServerConfig>,
    /// For whoever says that it has no certificate yet.
    pub(super) enrolment: Option<Arc<ServerConfig>>,
}

/// For people and programs: nobody is asked for a certificate; ours is of the authority, for `names`.
/// # Errors
/// [`TlsError`].
pub fn people(authority: &Arc<Authority>, names: &[String], clock: &Clock) -> Result<Doors, TlsError> {
    let server = OwnServer::new(authority, names, clock)?;
    let config = begin(clock)?.with_no_client_auth().with_cert_resolver(Arc::new(server));
    Ok(Doors { main: speaking_http(config), enrolment: None })
}

/// As [`people`], with a certificate from files in PEM.
/// # Errors
/// [`TlsError`].
pub fn people_from_files(chain: &Path, key: &Path, clock: &Clock) -> Result<Doors, TlsError> {
    let fail = |path: &Path, why: String| TlsError::File { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| fail(chain, e.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| fail(key, e.to_string()))?;
    let config = begin(clock)?.with_no_client_auth().with_single_cert(certificates, private)?;
    Ok(Doors { main: speaking_http(config), enrolment: None })
}

/// For devices: each shows a certificate of the authority. Those that say that they have none are let in by another
/// door, behind which there is enrolment alone.
/// # Errors
/// [`TlsError`].
pub fn devices(authority: &Arc<Authority>, names: &[String], clock: &Clock) -> Result<Doors, TlsError> {
    let server = Arc::new(OwnServer::new(authority, names, clock)?);
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let mut main = begin(clock)?.with_client_cert_verifier(verifier).with_cert_resolver(server.clone());
    // A session that is taken up again would not look at the certificate's end again.
    main.session_storage = Arc::new(NoServerSessionStorage {});
    main.send_tls13_tickets = 0;
    let mut enrolment = begin(clock)?.with_no_client_auth().with_cert_resolver(server);
    enrolment.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    Ok(Doors { main: speaking_http(main), enrolment: Some(Arc::new(enrolment)) })
}

fn speaking_http(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn begin(clock: &Clock) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TlsError> {
    let time = Arc::new(HubTime(clock.clone()));
    Ok(ServerConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13])?)
}

/// The hub's clock for rustls, so that certificates end when the hub says so.
#[derive(Debug)]
struct HubTime(Clock);

impl TimeProvider for HubTime {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.wall().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// A certificate of the hub's own, made anew before it is old.
struct OwnServer {
    authority: Arc<Authority>,
    names: Vec<String>,
    clock: Clock,
    held: Mutex<(UtcMs, Arc<CertifiedKey>)>,
}

impl fmt::Debug for OwnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnServer({:?})", self.names)
    }
}

impl OwnServer {
    fn new(authority: &Arc<Authority>, names: &[String], clock: &Clock) -> Result<Self, TlsError> {
        let now = clock.wall();
        let first = make(authority, names, now)?;
        Ok(Self {
            authority: authority.clone(),
            names: names.to_vec(),
            clock: clock.clone(),
            held: Mutex::new((now, first)),
        })
    }
}

fn make(authority: &Authority, names: &[String], now: UtcMs) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = authority.serve(names, now)?;
    Ok(Arc::new(CertifiedKey::new(chain, ring::sign::any_supported_type(&key)?)))
}

impl ResolvesServerCert for OwnServer {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.wall();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(held.0) > SERVER_USED_MS
            && let Ok(made) = make(&self.authority, &self.names, now)
        {
            *held = (now, made);
        }
        Some(held.1.clone())
    }
}
