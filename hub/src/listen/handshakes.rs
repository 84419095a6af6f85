//! Takes connections and shakes hands, many at a time, none for long.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use gatehouse_common::{id::DeviceId, sync::enrolment::ENROL_ALPN};
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
    places::{Lost, Place, Places, network},
};
use crate::{
    identity::{Peer, Revocations},
    sync::Refusals,
};

/// Longest handshake, in real time. On a line of 16 kbit/s on which something else is under way it takes ten seconds.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// Most handshakes at one time.
const HANDSHAKES_MAX: usize = 2_048;
/// Most handshakes at one time with one network. Beyond that those make room that opened first and have said nothing: a
/// host that only opens must not keep out who comes from behind the same balancer.
const HANDSHAKES_PER_NETWORK: usize = 256;
/// Most connections that a listener holds open at one time.
const CONNECTIONS_MAX: usize = 32_768;
/// The least, however few descriptors there are.
const CONNECTIONS_MIN: usize = 64;
/// Descriptors that are left to the store, the ERP and everything else.
const DESCRIPTORS_LEFT: usize = 256;
/// Longest that somebody without a certificate may stay where devices enrol, in real time.
const ENROLMENT_MAX: Duration = Duration::from_secs(60);
/// Most that are there at one time, of one network and in all; the oldest makes room for the next. One needs a second.
const ENROLMENTS_PER_NETWORK: usize = 64;
const ENROLMENTS_MAX: usize = 1_024;
/// Most connections of one device at one time. An agent uses about two; those that a bad line left half open are the
/// oldest, and make room. Whoever has stolen a unit, or was revoked, gets no more of them than this.
const CONNECTIONS_PER_DEVICE: usize = 16;
/// Wait after a connection could not be taken, for want of descriptors for one, in real time.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A listener that gives out connections whose handshake is done.
pub struct TlsListener {
    done: mpsc::Receiver<Connection>,
}

impl TlsListener {
    /// Begins to listen; ends when this is dropped. `share`: what it may hold open.
    #[must_use]
    pub fn start(
        listener: TcpListener,
        doors: Doors,
        share: Share,
        revocations: Revocations,
        refusals: Refusals,
    ) -> Self {
        let (sender, done) = mpsc::channel(64);
        let reception = Arc::new(Reception {
            doors,
            revocations,
            refusals,
            shaking: Places::new(HANDSHAKES_PER_NETWORK),
            enrolling: Places::new(ENROLMENTS_PER_NETWORK),
            enrolments: Places::new(ENROLMENTS_MAX),
            devices: Places::new(CONNECTIONS_PER_DEVICE),
            people: Places::new(share.of_network),
        });
        tokio::spawn(take(listener, reception, share.all, sender));
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

/// Most connections that a listener holds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// In all.
    pub all: usize,
    /// Of those who show no certificate, with one network.
    pub of_network: usize,
}

/// What each listener may hold open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The one of people and programs.
    pub people: Share,
    /// The one of devices.
    pub devices: Share,
}

impl Shares {
    /// Shares the `descriptors` that the process may have, so that no listener can use up what the other needs. People are
    /// few beside devices, unless devices have no listener of their own and come to theirs, perhaps all from one network.
    #[must_use]
    pub fn of(descriptors: usize, devices_have_one: bool) -> Self {
        let left = descriptors.saturating_sub(DESCRIPTORS_LEFT);
        let bounded = |share: usize| share.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let people = if devices_have_one { bounded(left / 32) } else { bounded(left) };
        let devices = bounded(left.saturating_sub(people));
        let of_network = if devices_have_one { people / 2 } else { people };
        Self {
            people: Share { all: people, of_network },
            // Where devices speak, nobody else does but who enrols, and those have a bound of their own.
            devices: Share { all: devices, of_network: devices },
        }
    }
}

struct Reception {
    doors: Doors,
    revocations: Revocations,
    refusals: Refusals,
    /// Handshakes under way.
    shaking: Arc<Places<IpAddr>>,
    /// Connections of those who enrol, of each network and in all.
    enrolling: Arc<Places<IpAddr>>,
    enrolments: Arc<Places<()>>,
    /// Connections of devices.
    devices: Arc<Places<DeviceId>>,
    /// Connections of everybody else, of each network.
    people: Arc<Places<IpAddr>>,
}

async fn take(listener: TcpListener, reception: Arc<Reception>, open_max: usize, sender: mpsc::Sender<Connection>) {
    let (shaking, open) = (Arc::new(Semaphore::new(HANDSHAKES_MAX)), Arc::new(Semaphore::new(open_max)));
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
        let (reception, sender) = (reception.clone(), sender.clone());
        tokio::spawn(async move {
            let shaken = reception.shake(stream, address, open).await;
            drop(handshake);
            if let Some(connection) = shaken {
                // The listener is gone: so is the connection.
                let _ = sender.send(connection).await;
            }
        });
    }
}

impl Reception {
    async fn shake(&self, stream: TcpStream, address: SocketAddr, open: OwnedSemaphorePermit) -> Option<Connection> {
        // An answer is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        let why = match self.in_its_place(stream, address, open).await {
            Ok(connection) => return Some(connection),
            Err(why) => why,
        };
        self.refusals.told("somebody", handshake_kind(&why), &format!("{why} (from {})", address.ip())).await;
        None
    }

    /// A handshake, as long as it has its place. That is free again before it is told how it ended.
    async fn in_its_place(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        open: OwnedSemaphorePermit,
    ) -> Result<Connection, String> {
        let none = || "there is no place: too many handshakes with its network are under way".to_owned();
        let (place, lost) = self.shaking.take(network(address.ip())).ok_or_else(none)?;
        tokio::select! {
            done = timeout(HANDSHAKE_MAX, self.greet(stream, address, open, &place)) => {
                done.unwrap_or_else(|_| Err("it took too long".to_owned()))
            }
            () = lost => Err("it said nothing, and its place was needed: too many handshakes".to_owned()),
        }
    }

    async fn greet(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        open: OwnedSemaphorePermit,
        place: &Place<IpAddr>,
    ) -> Result<Connection, String> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let start = start.await.map_err(|e| e.to_string())?;
        // Else a flood of those that say nothing would push out who is about to be done.
        place.keep();
        let says_none = start.client_hello().alpn().is_some_and(|mut said| said.any(|p| p == ENROL_ALPN));
        let (config, enrols) = match &self.doors.enrolment {
            Some(enrolment) if says_none => (enrolment.clone(), true),
            _ => (self.doors.main.clone(), false),
        };
        let stream = start.into_stream(config).await.map_err(|e| e.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = shown.map(Peer::of).transpose().map_err(|e| e.to_string())?;
        // None of these keeps its place, so each newcomer gets one.
        let none = || "there is no place".to_owned();
        let (cut, lost, takes): (Cut, Lost, Box<dyn Send>) = match &peer {
            Some(peer) => {
                let device = &peer.device.device;
                let (place, lost) = self.devices.take(device.clone()).ok_or_else(none)?;
                (Box::pin(self.revocations.cut(device)), lost, Box::new((open, place)))
            }
            None if enrols => {
                let (place, lost) = self.enrolling.take(network(address.ip())).ok_or_else(none)?;
                let (one, pushed_out) = self.enrolments.take(()).ok_or_else(none)?;
                let cut = async {
                    tokio::select! {
                        () = tokio::time::sleep(ENROLMENT_MAX) => {}
                        () = pushed_out => {}
                    }
                };
                (Box::pin(cut), lost, Box::new((open, one, place)))
            }
            None => {
                let (place, lost) = self.people.take(network(address.ip())).ok_or_else(none)?;
                (Box::pin(std::future::pending()), lost, Box::new((open, place)))
            }
        };
        let caller = Caller { address, peer: peer.map(Arc::new), enrols };
        Ok(Connection { stream, caller, cut, lost: Some(lost), _takes: takes })
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
        ("too many handshakes", "too many handshakes"),
        ("names no device", "certificate of no device"),
    ];
    kinds.iter().find(|(part, _)| why.contains(part)).map_or("handshake", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_together_leave_descriptors_for_everything_else() {
        let all = |descriptors: usize, devices_have_one: bool| {
            let Shares { people, devices } = Shares::of(descriptors, devices_have_one);
            (people.all, people.of_network, devices.all)
        };
        assert_eq!(all(20_000, true), (617, 308, 19_127));
        assert_eq!(all(20_000, false), (19_744, 19_744, CONNECTIONS_MIN), "devices come where people do");
        assert_eq!(all(usize::MAX, true), (CONNECTIONS_MAX, CONNECTIONS_MAX / 2, CONNECTIONS_MAX));
        assert_eq!(all(100, true), (CONNECTIONS_MIN, CONNECTIONS_MIN / 2, CONNECTIONS_MIN), "some, wherever it runs");
    }
}
