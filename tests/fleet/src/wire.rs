//! One connection of a device: TLS 1.3 with its certificate, and HTTP/1.1 over it, with as little memory as can be.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use gatehouse_common::sync::{decode, encode, version::FRAME_MAX_BYTES};
use gatehouse_hub::identity::Authority;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::TLS13,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{programs::now, unit::Unit};

/// Longest wait for an answer, beside what was asked to wait; as in the agent.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest head of an answer.
const HEAD_MAX: usize = 8 * 1024;

/// Who is trusted, shared by all connections.
#[derive(Clone)]
pub struct Trust(Arc<WebPkiServerVerifier>);

impl Trust {
    /// In this authority alone.
    pub fn in_authority(authority: &Authority) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let provider = Arc::new(ring::default_provider());
        Ok(Self(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?))
    }

    /// A client that shows `unit`'s certificate.
    pub fn client_of(&self, unit: &Unit) -> anyhow::Result<TlsConnector> {
        let chain = vec![CertificateDer::from_pem_slice(unit.certificate.pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(unit.line_key().as_bytes())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(self.0.clone())
            .with_client_auth_cert(chain, key)?;
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// A connection that is open.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer.
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Seconds after which to come back, if it says so.
    pub retry_after_s: Option<u64>,
    /// Its content.
    pub body: Vec<u8>,
}

/// The address on this machine from which the `n`-th device speaks: each has its own, as in life.
pub fn source(n: usize) -> Ipv4Addr {
    let part = |by: usize| u8::try_from(n / by % 250).unwrap_or(0) + 1;
    Ipv4Addr::new(127, part(250 * 250), part(250), part(1))
}

impl Wire {
    /// Connects from `source` to the hub at `address`.
    pub async fn open(address: SocketAddr, source: Ipv4Addr, unit: &Unit, trust: &Trust) -> anyhow::Result<Self> {
        timeout(ANSWER_MAX, async {
            let socket = TcpSocket::new_v4()?;
            if address.ip().is_loopback() {
                socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
            }
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::IpAddress(address.ip().into());
            let stream = trust.client_of(unit)?.connect(name, stream).await?;
            Ok(Self { stream, read: Vec::new() })
        })
        .await
        .context("no connection in time")?
    }

    /// Asks `path` and reads the answer, which may take `wait` longer than usual.
    pub async fn exchange<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        unit: &Unit,
        path: &str,
        question: &Q,
        wait: Duration,
    ) -> anyhow::Result<A> {
        let answer = self.post(unit, path, &encode(question)?, wait).await?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(decode(&answer.body)?)
    }

    /// Sends a signed `body`.
    pub async fn post(&mut self, unit: &Unit, path: &str, body: &[u8], wait: Duration) -> anyhow::Result<Answer> {
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: hub\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in unit.headers(path, body, now()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("content-type: application/octet-stream\r\n\r\n");
        timeout(ANSWER_MAX + wait, async {
            self.stream.write_all(&[head.as_bytes(), body].concat()).await?;
            self.stream.flush().await?;
            self.answer().await
        })
        .await
        .context("no answer in time")?
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            ensure!(self.read.len() < HEAD_MAX, "the head of the answer has no end");
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).context("an answer without a status")?;
        let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let retry_after_s = header("retry-after").and_then(|text| text.parse().ok());
        ensure!(length <= FRAME_MAX_BYTES, "the answer is too long");
        while self.read.len() < end + 4 + length {
            self.more().await?;
        }
        let body = self.read[end + 4..end + 4 + length].to_vec();
        // Nothing is asked before it is answered, so nothing can follow.
        self.read = Vec::new();
        Ok(Answer { status, retry_after_s, body })
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let mut part = [0; 4096];
        match self.stream.read(&mut part).await? {
            0 => bail!("the hub closed the line"),
            read => self.read.extend_from_slice(&part[..read]),
        }
        Ok(())
    }
}
