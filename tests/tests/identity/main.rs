//! A hub over TLS, and those who want something from it: devices that were let in, and everybody else.
//!
//! The hub's clock stands, so that certificates expire when a test says so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic here is the report of a failed test")]

mod agent;
mod hostile;
mod letting_in;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::{PrivateKey, Sealed},
    sync::{
        Cursor, Pull, decode, encode,
        enrolment::{Ask, ENROL_ALPN, ENROL_PATH, Enrolled, Purpose, RENEW_PATH},
        exchange::{PULL_PATH, request_text},
    },
    time::{BootId, Moment, UtcMs},
};
use gatehouse_hub::{
    clock::Clock,
    config::{self, CommandLine},
    identity::Authority,
    store::{Device, DeviceKind, Invited, Location, Store},
    sync::devices,
    wiring::{self, RunningHub},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};

const DAY_MS: i64 = 24 * 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// A hub that runs, its store beside it, and its clock.
struct Hub {
    hub: Option<RunningHub>,
    store: Store,
    clock: Clock,
    authority: Authority,
    directory: tempfile::TempDir,
    more: String,
}

fn at(wall: UtcMs) -> Moment {
    Moment { wall, uncertainty_ms: 0, boot: BootId("b".into()), boottime_ms: wall.0.unsigned_abs(), trusted: true }
}

impl Hub {
    async fn start(more: &str) -> Self {
        Self::start_at("2026-03-01T08:00:00Z".parse().unwrap(), more).await
    }

    async fn start_at(time: UtcMs, more: &str) -> Self {
        let _ = ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::standing(at(time));
        let hub = Some(run(directory.path(), more, &clock).await);
        let name: DeviceId = "hub".parse().unwrap();
        let store = Store::open_beside(&Location::Sqlite(directory.path().join("hub.db")), &name).unwrap();
        let file = directory.path().join("hub.authority.pem");
        let authority = Authority::load_or_make(&file, &name, clock.wall()).unwrap();
        Self { hub, store, clock, authority, directory, more: more.to_owned() }
    }

    async fn restart(&mut self) {
        self.hub.take().unwrap().stop().await;
        self.hub = Some(run(self.directory.path(), &self.more, &self.clock).await);
    }

    fn url(&self) -> String {
        format!("https://{}", self.hub.as_ref().unwrap().devices.unwrap())
    }

    /// Time passes; with less than none the wall clock is set back.
    fn pass(&self, ms: i64) {
        let now = self.clock.now();
        let boottime_ms = now.boottime_ms + u64::try_from(ms).unwrap_or(0);
        self.clock.set(Moment { wall: now.wall.plus(ms), boottime_ms, ..now });
    }

    /// Invites `device`, a gateway of `site`; gives the secret.
    fn invite(&self, device: &str, site: &str) -> String {
        let secret = hex::encode(rand::random::<[u8; 16]>());
        let (made, hash) = (self.clock.wall(), Hash32::of(secret.as_bytes()));
        let invited = Invited {
            device: device.parse().unwrap(),
            kind: DeviceKind::Gateway,
            sites: vec![site.parse().unwrap()],
            vehicles: Vec::new(),
            made,
            until: made.plus(DAY_MS),
            used_by: None,
        };
        self.store.write_now(move |tx| tx.put_invitation(&hash, &invited)).unwrap();
        secret
    }

    async fn let_in(&self, device: &str, site: &str) -> Unit {
        let mut new = Unit::new(device);
        let secret = self.invite(device, site);
        new.enrol(self, Some(secret)).await.unwrap();
        new
    }

    /// Lists `device` with its key, as before there were certificates.
    fn list(&self, device: &Unit, sites: &[&str]) {
        let listed = Device {
            device: device.device.clone(),
            kind: DeviceKind::Gateway,
            public_key: device.key.public(),
            sites: sites.iter().map(|site| site.parse().unwrap()).collect(),
            vehicles: Vec::new(),
        };
        devices::add(&self.store, listed, "test", self.clock.wall()).unwrap();
    }

    /// The store is one that was restored, of before the newest certificate of each of `devices`.
    fn is_restored_without_the_newest_of(&self, devices: &[&Unit]) {
        let kept = rusqlite::Connection::open(self.directory.path().join("hub.db")).unwrap();
        for device in devices {
            let newest = self.store.read_now(|r| r.certificates_of(&device.device)).unwrap().remove(0);
            assert_eq!(kept.execute("DELETE FROM certificates WHERE serial = ?1", [newest.serial]).unwrap(), 1);
        }
        let now = self.clock.wall();
        self.store.write_now(move |tx| tx.begin_ledger_epoch(now)).unwrap();
    }

    fn remove(&self, device: &str) {
        devices::remove(&self.store, &device.parse().unwrap(), "test", self.clock.wall()).unwrap();
    }

    fn is_listed(&self, device: &str) -> bool {
        self.store.read_now(|r| r.device(&device.parse().unwrap())).unwrap().is_some()
    }

    fn revoke(&self, device: &str) {
        let (device, now) = (device.parse().unwrap(), self.clock.wall());
        assert!(self.store.write_now(move |tx| tx.revoke_device(&device, "stolen", now)).unwrap());
    }

    /// Whether the audit holds this refusal of `who`. The entry of a handshake is written after the line was cut.
    async fn audited(&self, who: &str, what: &str) -> bool {
        self.audited_within(who, what, Duration::from_secs(5)).await
    }

    async fn audited_within(&self, who: &str, what: &str, wait: Duration) -> bool {
        let (action, begun) = (format!("refused: {what}"), std::time::Instant::now());
        while begun.elapsed() < wait {
            let entries = self.store.read_now(|r| r.audit_of(who, 100)).unwrap();
            if entries.iter().any(|entry| entry.action == action) {
                self.store.read_now(|r| r.verify_audit()).unwrap();
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let entries = self.store.read_now(|r| r.audit_entries(100)).unwrap();
        panic!("no {action} of {who} in {entries:#?}");
    }
}

async fn run(directory: &std::path::Path, more: &str, clock: &Clock) -> RunningHub {
    let database = format!("sqlite:{}", directory.join("hub.db").display());
    let line = CommandLine { listen: "127.0.0.1:0", database: &database, file: None };
    let text = format!("[devices]\nlisten = \"127.0.0.1:0\"\n{more}");
    let config = config::parse(&line, &text, directory).unwrap();
    wiring::start(config, clock.clone()).await.unwrap()
}

/// A device, with whatever it has.
#[derive(Clone)]
struct Unit {
    device: DeviceId,
    key: PrivateKey,
    line_key: Arc<KeyPair>,
    said: Option<Enrolled>,
    /// What its nonces begin with.
    run: String,
}

/// Why there was no answer that counts.
#[derive(Debug, PartialEq, Eq)]
enum No {
    /// No connection.
    Line(String),
    /// The status, and the text of the answer.
    Status(u16, String),
}

impl Unit {
    fn new(device: &str) -> Self {
        Self {
            device: device.parse().unwrap(),
            key: PrivateKey::from_seed(rand::random()),
            line_key: Arc::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
            said: None,
            run: hex::encode(rand::random::<[u8; 8]>()),
        }
    }

    fn with_another_key(&self) -> Self {
        Self { device: self.device.clone(), ..Self::new("x") }
    }

    fn request(&self) -> String {
        let mut params = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        // Asked for, and never given.
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.serialize_request(&*self.line_key).unwrap().pem().unwrap()
    }

    fn asks(&self, purpose: Purpose, secret: Option<String>) -> Sealed {
        let public_key = self.key.public();
        let ask = Ask { purpose, device: self.device.clone(), public_key, request: self.request(), secret };
        Sealed::new(&ask, &self.key).unwrap()
    }

    async fn enrol(&mut self, hub: &Hub, secret: Option<String>) -> Result<Enrolled, No> {
        let asked = self.asks(Purpose::Enrol, secret);
        let said = post_ask(&client(hub, None, true), &format!("{}{ENROL_PATH}", hub.url()), &asked).await?;
        self.said = Some(said.clone());
        Ok(said)
    }

    /// Renews with another key of its line; `shows` its certificate or not.
    async fn renew(&mut self, hub: &Hub, shows: bool) -> Result<Enrolled, No> {
        self.renew_with(hub, shows, Self::new("x").line_key).await
    }

    async fn renew_with(&mut self, hub: &Hub, shows: bool, line_key: Arc<KeyPair>) -> Result<Enrolled, No> {
        let client = client(hub, shows.then_some(&*self), !shows);
        let mut next = Self { line_key, ..self.clone() };
        let asked = next.asks(Purpose::Renew, None);
        let said = post_ask(&client, &format!("{}{RENEW_PATH}", hub.url()), &asked).await?;
        next.said = Some(said.clone());
        *self = next;
        Ok(said)
    }

    fn pull(&self, hub: &Hub, wait_ms: u32) -> Vec<u8> {
        let epoch = hub.store.read_now(|r| r.ledger_epoch()).unwrap();
        encode(&Pull { cursor: Cursor::start(epoch), wait_ms, recalls_only: false }).unwrap()
    }

    fn headers(&self, time: UtcMs, body: &[u8]) -> Vec<(&'static str, String)> {
        let nonce = format!("{}.{}", self.run, hex::encode(rand::random::<[u8; 8]>()));
        let text = request_text(PULL_PATH, &self.device, time, &nonce, body);
        vec![
            ("gatehouse-device", self.device.to_string()),
            ("gatehouse-time", time.0.to_string()),
            ("gatehouse-nonce", nonce),
            ("gatehouse-signature", STANDARD.encode(self.key.sign(text.as_bytes()))),
        ]
    }

    /// Asks what is new.
    async fn speaks(&self, hub: &Hub) -> Result<(), No> {
        self.speaks_by(&client(hub, Some(self), false), hub).await
    }

    async fn speaks_by(&self, client: &reqwest::Client, hub: &Hub) -> Result<(), No> {
        let body = self.pull(hub, 0);
        let headers = self.headers(hub.clock.wall(), &body);
        send(client, &hub.url(), headers, body).await
    }
}

async fn send(
    client: &reqwest::Client,
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
) -> Result<(), No> {
    let mut request = client.post(format!("{url}{PULL_PATH}")).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = read(request.send().await).await?;
    decode::<gatehouse_common::sync::PullReply>(&answer).map(|_| ()).map_err(|e| No::Line(e.to_string()))
}

async fn post_ask(client: &reqwest::Client, url: &str, asked: &Sealed) -> Result<Enrolled, No> {
    let answer = read(client.post(url).json(asked).send().await).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

async fn read(sent: reqwest::Result<reqwest::Response>) -> Result<Vec<u8>, No> {
    let line = |e: reqwest::Error| No::Line(format!("{e:?}"));
    let response = sent.map_err(line)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(line)?.to_vec();
    if status == 200 { Ok(body) } else { Err(No::Status(status, String::from_utf8_lossy(&body).into_owned())) }
}

/// A client that trusts the hub's authority, shows `shown`'s certificate, and says that it comes to enrol or not.
fn client(hub: &Hub, shown: Option<&Unit>, enrols: bool) -> reqwest::Client {
    let shown = shown.and_then(|shown| {
        let chain = vec![CertificateDer::from_pem_slice(shown.said.as_ref()?.certificate.as_bytes()).unwrap()];
        Some((chain, PrivateKeyDer::from_pem_slice(shown.line_key.serialize_pem().as_bytes()).unwrap()))
    });
    client_of(config_of(hub, shown), enrols)
}

fn client_of(mut config: ClientConfig, enrols: bool) -> reqwest::Client {
    if enrols {
        config.alpn_protocols = vec![ENROL_ALPN.to_vec()];
    }
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
}

fn config_of(hub: &Hub, shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(hub.authority.certificate().clone()).unwrap();
    let time = Arc::new(Shown(hub.clock.clone()));
    let begun = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        None => begun.with_no_client_auth(),
        Some((chain, key)) => begun.with_client_auth_cert(chain, key).unwrap(),
    }
}

#[derive(Debug)]
struct Shown(Clock);

impl TimeProvider for Shown {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall().0.unsigned_abs())))
    }
}
