//! A line to a server over which one request can go wrong on purpose.
//!
//! In: connections of a client. Out: the same bytes at the server, but for the one request that carries the mark of
//! what was asked for: its answer is lost, it never arrives, or it waits until it is let go. It reads requests no
//! further than to find the mark in them; one request at a time is under way on a connection, as HTTP/1.1 has it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What befalls the next request that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server does it; its answer never comes back.
    LoseAnswer(String),
    /// It never reaches the server, and its sender learns no more than that the connection ended.
    LoseRequest(String),
    /// It waits on the way until [`Line::let_go`].
    Hold(String),
}

impl Fault {
    fn mark(&self) -> &str {
        match self {
            Self::LoseAnswer(mark) | Self::LoseRequest(mark) | Self::Hold(mark) => mark,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    fault: Mutex<Option<Fault>>,
    is_down: AtomicBool,
    requests: AtomicU32,
    met: AtomicU32,
    held: Notify,
    go: Notify,
}

/// The line; its address takes the place of the server's.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where clients connect.
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Line {
    /// A line to `server` on which nothing goes wrong yet.
    /// # Panics
    /// If no port is free.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, server, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// From now on the next request with the fault's mark meets it.
    pub fn next_meets(&self, fault: Fault) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Whether the server can be reached: while it is not, connections end as they begin, and open ones end.
    pub fn is_down(&self, down: bool) {
        self.state.is_down.store(down, Ordering::SeqCst);
    }

    /// How many requests set out.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many requests met a fault.
    #[must_use]
    pub fn met(&self) -> u32 {
        self.state.met.load(Ordering::SeqCst)
    }

    /// Waits until a request is held.
    pub async fn holds(&self) {
        self.state.held.notified().await;
    }

    /// Lets the held request go on.
    pub fn let_go(&self) {
        self.state.go.notify_one();
    }
}

async fn relay(mut near: TcpStream, server: SocketAddr, state: Arc<State>) {
    if state.is_down.load(Ordering::SeqCst) {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let (mut request, mut loses_answer) = (Vec::new(), false);
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                if state.is_down.load(Ordering::SeqCst) {
                    return;
                }
                if request.is_empty() {
                    state.requests.fetch_add(1, Ordering::SeqCst);
                }
                request.extend_from_slice(&up[..n]);
                match met(&state, &request) {
                    Some(Fault::LoseRequest(_)) => return,
                    Some(Fault::LoseAnswer(_)) => loses_answer = true,
                    Some(Fault::Hold(_)) => {
                        state.held.notify_one();
                        state.go.notified().await;
                    }
                    None => {}
                }
                if far.write_all(&up[..n]).await.is_err() {
                    return;
                }
            }
            read = far.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                // The server has done it and answers: the answer ends here.
                if loses_answer || state.is_down.load(Ordering::SeqCst) {
                    return;
                }
                request.clear();
                if near.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn met(state: &State, request: &[u8]) -> Option<Fault> {
    let mut fault = state.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let mark = fault.as_ref()?.mark().as_bytes();
    request.windows(mark.len()).any(|bytes| bytes == mark).then(|| {
        state.met.fetch_add(1, Ordering::SeqCst);
        fault.take()
    })?
}
