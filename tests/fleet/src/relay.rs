//! A line between agents and hub, over TCP: it counts bytes, and can be cut, slowed, or made to mangle and repeat them.
//!
//! What is true of the line holds for connections that are open as well as for new ones.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Bytes taken at once: a packet's worth, so that slowness and damage strike packets.
const SEGMENT: usize = 1400;
/// Segments under way in one direction of one connection; the sender then waits, as for a full window.
const UNDER_WAY: usize = 64;

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Nothing gets through, and every connection breaks.
    pub cut: bool,
    /// How long each segment is under way.
    pub delay: Duration,
    /// Bytes a second in each direction, shared by all connections.
    pub bytes_per_s: Option<u32>,
    /// Of a thousand segments, how many have a byte changed.
    pub mangled: u32,
    /// Of a thousand segments, how many come twice.
    pub repeated: u32,
    /// Of a thousand segments, at how many the connection breaks.
    pub broken: u32,
}

impl Weather {
    /// Everything gets through at once.
    pub const FAIR: Self =
        Self { cut: false, delay: Duration::ZERO, bytes_per_s: None, mangled: 0, repeated: 0, broken: 0 };
    /// Nothing gets through.
    pub const CUT: Self = Self { cut: true, ..Self::FAIR };
}

/// What went over a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes from agents to the hub, TLS and HTTP included.
    pub up: u64,
    /// Bytes from the hub to agents.
    pub down: u64,
    /// Connections.
    pub connections: u64,
    /// Segments that were mangled, repeated, or at which a connection broke.
    pub harmed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
    harmed: AtomicU64,
}

/// A line at work; dropping it cuts it for good.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

/// One direction of the whole line.
#[derive(Clone)]
struct Way {
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
    /// When the line has sent what was given to it.
    free_at: Arc<Mutex<Instant>>,
    up: bool,
}

impl Relay {
    /// Lays a line to `hub`, at first in `weather`.
    pub async fn lay(hub: SocketAddr, weather: Weather) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, receiver) = watch::channel(weather);
        let counters = Arc::new(Counters::default());
        let way = |up| {
            let free_at = Arc::new(Mutex::new(Instant::now()));
            Way { weather: receiver.clone(), counters: counters.clone(), free_at, up }
        };
        let task = tokio::spawn(serve(listener, hub, way(true), way(false)));
        Ok(Self { address, weather: sender, counters, task })
    }

    /// Where agents find the hub.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What went over it so far.
    pub fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { up, down, connections, harmed } = &*self.counters;
        Counted { up: read(up), down: read(down), connections: read(connections), harmed: read(harmed) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, hub: SocketAddr, up: Way, down: Way) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // For want of descriptors: those that end give some back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if up.weather.borrow().cut {
            continue;
        }
        up.counters.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connect(near, hub, up.clone(), down.clone()));
    }
}

async fn connect(near: TcpStream, hub: SocketAddr, up: Way, down: Way) {
    let Ok(far) = TcpStream::connect(hub).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut weather = up.weather.clone();
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = up.carry(near_read, far_write) => {}
        () = down.carry(far_read, near_write) => {}
        _ = weather.wait_for(|weather| weather.cut) => {}
    }
}

impl Way {
    /// Carries until an end closes or the connection breaks.
    async fn carry(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
        let takes = async {
            let mut buffer = vec![0; SEGMENT];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                let Some(times) = self.strike(&mut buffer[..read]) else { return };
                for _ in 0..times {
                    let due = self.due(read);
                    let counter = if self.up { &self.counters.up } else { &self.counters.down };
                    counter.fetch_add(read as u64, Ordering::Relaxed);
                    if sender.send((due, buffer[..read].to_vec())).await.is_err() {
                        return;
                    }
                }
            }
            drop(sender);
            // What is under way still arrives; that ends the other half.
            std::future::pending::<()>().await;
        };
        let gives = async {
            while let Some((due, bytes)) = under_way.recv().await {
                tokio::time::sleep_until(due).await;
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = takes => {}
            () = gives => {}
        }
    }

    /// What the weather does to a segment: how often it comes; `None` breaks the connection.
    fn strike(&self, segment: &mut [u8]) -> Option<u32> {
        let weather = *self.weather.borrow();
        let mut dice = rand::rng();
        let mut hits = |per_mille: u32| per_mille > 0 && dice.random_range(0..1000) < per_mille;
        let (broken, mangled, repeated) = (hits(weather.broken), hits(weather.mangled), hits(weather.repeated));
        if broken || mangled || repeated {
            self.counters.harmed.fetch_add(1, Ordering::Relaxed);
        }
        if mangled {
            let place = dice.random_range(0..segment.len());
            segment[place] ^= 1 << dice.random_range(0..8_u8);
        }
        if broken { None } else { Some(1 + u32::from(repeated)) }
    }

    /// When a segment of `bytes` arrives.
    fn due(&self, bytes: usize) -> Instant {
        let weather = *self.weather.borrow();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = Instant::now().max(*free_at);
        let lasts = weather
            .bytes_per_s
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1))));
        *free_at = begins + lasts;
        begins + lasts + weather.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line to something that gives back what it gets.
    async fn to_an_echo(weather: Weather) -> (Relay, TcpStream) {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub = echo.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    tokio::io::copy(&mut read, &mut write).await.ok();
                });
            }
        });
        let relay = Relay::lay(hub, weather).await.unwrap();
        let stream = TcpStream::connect(relay.address).await.unwrap();
        (relay, stream)
    }

    #[tokio::test]
    async fn fair_weather_carries_and_counts_every_byte() {
        let (relay, mut stream) = to_an_echo(Weather::FAIR).await;
        stream.write_all(&[7; 5000]).await.unwrap();
        let mut back = [0; 5000];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [7; 5000]);
        let counted = relay.counted();
        assert_eq!((counted.up, counted.down, counted.connections, counted.harmed), (5000, 5000, 1, 0));
    }

    #[tokio::test]
    async fn a_cut_breaks_what_is_open_and_lets_nothing_new_through() {
        let (relay, mut stream) = to_an_echo(Weather::FAIR).await;
        stream.write_all(b"hi").await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        relay.set(Weather::CUT);
        assert_eq!(stream.read(&mut [0; 2]).await.unwrap_or(0), 0);
        let mut new = TcpStream::connect(relay.address).await.unwrap();
        assert_eq!(new.read(&mut [0; 2]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_slow_line_takes_its_time_and_a_bad_one_changes_bytes() {
        let slow = Weather { delay: Duration::from_millis(50), bytes_per_s: Some(20_000), ..Weather::FAIR };
        let (_relay, mut stream) = to_an_echo(slow).await;
        let begun = Instant::now();
        stream.write_all(&[7; 4000]).await.unwrap();
        stream.read_exact(&mut [0; 4000]).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());

        let (relay, mut stream) = to_an_echo(Weather { mangled: 1000, ..Weather::FAIR }).await;
        stream.write_all(&[0; 100]).await.unwrap();
        let mut back = [0; 100];
        stream.read_exact(&mut back).await.unwrap();
        assert!((1..=2).contains(&back.iter().map(|byte| byte.count_ones()).sum::<u32>()) || back == [0; 100]);
        assert_eq!(relay.counted().harmed, 2);
    }
}
