//! A small MQTT 3.1.1 broker, so that the demo and the tests run on a machine with nothing installed.
//!
//! In: any MQTT 3.1.1 client. Out: its messages to whoever subscribed, at least once for QoS 1.
//! What it is for: publishers and agents that come and go. A persistent session (clean session off)
//! queues every QoS 1 message while its client is away and sends again, in order and marked as a
//! duplicate, what was written but not acknowledged. It never drops a QoS 1 message to make room:
//! when the byte budget is used up, it stops acknowledging and then reading publishers.
//!
//! **For demo and tests only.** Sessions, queues and retained messages live in memory and end with
//! the process, so a PUBACK of this broker survives the client's failures but not the broker's own.
//! There is no TLS, no access list and no QoS 2 (a client that publishes with QoS 2 is disconnected,
//! one that subscribes with it is granted QoS 1). At a depot, run mosquitto with the settings in
//! `firmware-config`. Why not the rumqttd crate: its log drops the oldest segment when a subscriber
//! is slow or away, it treats an acknowledgement out of order as an error, and it brings about 190 crates.
//!
//! `sessions` decides and holds, without network or clock; `connection` moves bytes.

mod connection;
mod filter;
mod sessions;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use sessions::Sessions;

/// What a broker allows. The defaults suit the demo and the tests.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Bytes of messages that may wait for subscribers, over all sessions. Default 256 MiB.
    /// When used up, publishers are held back; wills and retained messages for a new subscriber
    /// still pass, so the real figure may lie a little higher.
    pub queued_bytes_max: usize,
    /// Bytes of retained messages. Default 16 MiB. Above it a message is delivered but not kept
    /// for later subscribers, with a warning and a count in [`BrokerUsage::retained_refused`].
    pub retained_bytes_max: usize,
    /// QoS 1 messages that one client may have unacknowledged, 1 to 65535. Default 100.
    pub in_flight_max: u16,
    /// Longest packet in bytes after its fixed header. Default 1 MiB. A client that sends a longer
    /// one is disconnected, and will be again when it sends it again.
    pub packet_bytes_max: usize,
    /// Longest wait for a client's CONNECT. Default 10 s.
    pub connect_wait_max: Duration,
    /// User name and password that every client must show. Default none: anyone may connect.
    pub login: Option<(String, String)>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        BrokerOptions {
            queued_bytes_max: 256 * 1024 * 1024,
            retained_bytes_max: 16 * 1024 * 1024,
            in_flight_max: 100,
            packet_bytes_max: 1024 * 1024,
            connect_wait_max: Duration::from_secs(10),
            login: None,
        }
    }
}

/// What a broker holds at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerUsage {
    /// Clients connected now.
    pub connections: usize,
    /// Sessions held, connected or not.
    pub sessions: usize,
    /// Messages queued or written but not acknowledged, over all sessions.
    pub queued_messages: usize,
    /// Their bytes, counted once for each session that waits for them.
    pub queued_bytes: usize,
    /// Messages read from publishers and not yet acknowledged to them, because the budget is used up.
    pub held_back_messages: usize,
    /// Topics with a retained message.
    pub retained_messages: usize,
    /// Retained messages that were delivered but not kept, since the start.
    pub retained_refused: u64,
}

/// What all connections of one broker share.
struct Shared {
    options: BrokerOptions,
    sessions: Mutex<Sessions>,
    cut: Mutex<HashSet<String>>,
    held_back: AtomicUsize,
}

impl Shared {
    // A panic under the lock is a failed test already; the others go on with what is there.
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) -> MutexGuard<'_, HashSet<String>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts brokers.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Starts a broker on `listen`; port 0 takes a free one. Call it inside a tokio runtime.
    /// # Errors
    /// What the operating system says when it does not give the address, usually that it is taken.
    pub fn start(listen: SocketAddr, options: BrokerOptions) -> std::io::Result<RunningBroker> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            sessions: Mutex::new(Sessions::new(options.clone())),
            options,
            cut: Mutex::default(),
            held_back: AtomicUsize::new(0),
        });
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(accept(listener, shared.clone(), stopping));
        Ok(RunningBroker { address, shared, stop, task })
    }
}

/// A broker at work. Dropping it stops it too, without waiting for its connections to end.
pub struct RunningBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningBroker {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks the client's line as a fallen network would, and keeps it broken: each new try is
    /// closed without an answer until [`restore`](Self::restore). Its session goes on queueing.
    pub fn cut(&self, client_id: &str) {
        // In this order: a client that connects in between meets either the ban or the close.
        self.shared.cut().insert(client_id.to_owned());
        self.shared.sessions().close(client_id);
    }

    /// Lets a client in again that was [`cut`](Self::cut).
    pub fn restore(&self, client_id: &str) {
        self.shared.cut().remove(client_id);
    }

    /// Breaks the client's line once; it may come back at once.
    pub fn disconnect(&self, client_id: &str) {
        self.shared.sessions().close(client_id);
    }

    /// Whether the client is connected now.
    pub fn is_connected(&self, client_id: &str) -> bool {
        self.shared.sessions().is_connected(client_id)
    }

    /// What it holds now.
    pub fn usage(&self) -> BrokerUsage {
        let held_back_messages = self.shared.held_back.load(Ordering::Relaxed);
        BrokerUsage { held_back_messages, ..self.shared.sessions().usage() }
    }

    /// Closes the port and every connection and returns when all are closed. All sessions end;
    /// wills are not published.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(stopped) = self.task.await {
            tracing::warn!(error = %stopped, "the test broker had stopped before");
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An error means that the broker was dropped, which stops it as well.
            _ = stopping.changed() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the test broker panicked");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    connections.spawn(connection::serve(socket, peer, shared.clone(), stopping.clone()));
                }
                Err(error) => {
                    // Usually out of file descriptors: those that end give some back.
                    tracing::warn!(%error, "the test broker could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
