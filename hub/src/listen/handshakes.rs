//! Takes connections and shakes hands, many at a time, none for long.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gatehouse_common::sync::enrolment::ENROL_ALPN;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::LazyConfigAcceptor;
use tracing::debug;

use super::{
    configs::Doors,
    connection::{Caller, Connection, Cut},
};
use crate::{
    identity::{Peer, Revocations},
    sync::Refusals,
};

/// Longest handshake, in real time.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Most handshakes at one time.
const HANDSHAKES_MAX: usize = 2_048;
/// Most handshakes at one time with one address: a host that opens and says nothing must not keep others out.
const HANDSHAKES_PER_ADDRESS: usize = 256;
/// Most connections that are open at one time.
const CONNECTIONS_MAX: usize = 32_768;
/// Longest that somebody without a certificate may stay where devices enrol, in real time.
const ENROLMENT_MAX: Duration = Duration::from_secs(60);
/// Wait after a connection could not be taken, for want of descriptors for one, in real time.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A listener that gives out connections whose handshake is done.
pub struct TlsListener {
    done: mpsc::Receiver<Connection>,
}

impl TlsListener {
    /// Begins to listen; ends when this is dropped.
    #[must_use]
    pub fn start(listener: TcpListener, doors: Doors, revocations: Revocations, refusals: Refusals) -> Self {
        let (sender, done) = mpsc::channel(64);
        let reception = Arc::new(Reception { doors, revocations, refusals, shaking: Mutex::default() });
        tokio::spawn(take(listener, reception, sender));
        Self { done }
    }

    /// The next connection whose handshake is done.
    pub(super) async fn accept(&mut self) -> Connection {
        match self.done.recv().await {
            Some(connection) => connection,
            // The task below ends only when this is dropped.
            None => std::future::pending().await,
        }
    }
}

struct Reception {
    doors: Doors,
    revocations: Revocations,
    refusals: Refusals,
    /// How many handshakes are under way with each address.
    shaking: Mutex<HashMap<IpAddr, usize>>,
}

async fn take(listener: TcpListener, reception: Arc<Reception>, sender: mpsc::Sender<Connection>) {
    let (shaking, open) = (Arc::new(Semaphore::new(HANDSHAKES_MAX)), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let permits = async { (shaking.clone().acquire_owned().await, open.clone().acquire_owned().await) };
        let (Ok(handshake), Ok(open)) = (tokio::select! {
            permits = permits => permits,
            () = sender.closed() => return,
        }) else {
            return;
        };
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = sender.closed() => return,
        };
        let (stream, address) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                debug!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if !reception.begins(address.ip()) {
            continue;
        }
        let (reception, sender) = (reception.clone(), sender.clone());
        tokio::spawn(async move {
            let shaken = reception.shake(stream, address, open).await;
            reception.ended(address.ip());
            drop(handshake);
            if let Some(connection) = shaken {
                // The listener is gone: so is the connection.
                let _ = sender.send(connection).await;
            }
        });
    }
}

impl Reception {
    fn begins(&self, address: IpAddr) -> bool {
        let mut shaking = self.shaking.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shaking.entry(address).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS {
            return false;
        }
        *count += 1;
        true
    }

    fn ended(&self, address: IpAddr) {
        let mut shaking = self.shaking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shaking.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shaking.remove(&address);
            }
        }
    }

    async fn shake(&self, stream: TcpStream, address: SocketAddr, open: OwnedSemaphorePermit) -> Option<Connection> {
        // An answer is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let why = match timeout(HANDSHAKE_MAX, self.greet(stream, address, open)).await {
            Ok(Ok(connection)) => return Some(connection),
            Ok(Err(why)) => why,
            Err(_) => "it took too long".to_owned(),
        };
        self.refusals.told("somebody", handshake_kind(&why), &format!("{why} (from {})", address.ip())).await;
        None
    }

    async fn greet(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        open: OwnedSemaphorePermit,
    ) -> Result<Connection, String> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let start = start.await.map_err(|e| e.to_string())?;
        let says_none = start.client_hello().alpn().is_some_and(|mut said| said.any(|p| p == ENROL_ALPN));
        let (config, enrols) = match &self.doors.enrolment {
            Some(enrolment) if says_none => (enrolment.clone(), true),
            _ => (self.doors.main.clone(), false),
        };
        let stream = start.into_stream(config).await.map_err(|e| e.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = shown.map(Peer::of).transpose().map_err(|e| e.to_string())?;
        let cut: Cut = match &peer {
            Some(peer) => Box::pin(self.revocations.cut(&peer.device.device)),
            None if enrols => Box::pin(tokio::time::sleep(ENROLMENT_MAX)),
            None => Box::pin(std::future::pending()),
        };
        let caller = Caller { address, peer: peer.map(Arc::new), enrols };
        Ok(Connection { stream, caller, cut, _open: open })
    }
}

/// What the audit calls a handshake that failed; few words, so that a flood of strangers makes few entries.
fn handshake_kind(why: &str) -> &'static str {
    let kinds = [
        ("Expired", "certificate expired"),
        ("expired", "certificate expired"),
        ("NotValidYet", "certificate not valid yet"),
        ("UnknownIssuer", "certificate of another authority"),
        ("BadSignature", "certificate of another authority"),
        ("no certificates", "no certificate"),
        ("NoCertificatesPresented", "no certificate"),
        ("peer is incompatible", "older TLS"),
        ("took too long", "handshake too long"),
        ("names no device", "certificate of no device"),
    ];
    kinds.iter().find(|(part, _)| why.contains(part)).map_or("handshake", |(_, kind)| kind)
}
