//! The line to whoever started the agent and watches it: systemd's notify protocol.
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of the environment, and proofs of the driver. Out: `READY=1`
//! once store, page and driver stand, a `STATUS=` line when it changes, `WATCHDOG=1` after each proof, `STOPPING=1`.
//! A driver or store that hangs gives no proof, so the watchdog hears nothing and starts the agent anew. Broker and
//! hub may be away: that is told and is no reason to start anew. Never waits for whoever listens.

use std::{
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::warn;

use crate::{
    clock::Clock,
    driver::Handle,
    intake::mqtt::BrokerState,
    meters::Holdup,
    sync::HubState,
    tasks::{Stop, TaskError},
};

/// How often the driver is asked for a proof when no watchdog says how often, in real time.
const BEAT: Duration = Duration::from_secs(30);
/// How often the status line is made anew, in real time.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// Whoever started the agent, if they want to hear of it.
#[derive(Debug)]
pub struct Supervisor {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

/// What the status line is made from.
pub struct Seen {
    /// The line to the broker.
    pub broker: watch::Receiver<BrokerState>,
    /// The line to the hub.
    pub hub: watch::Receiver<HubState>,
    /// Says whether anyone has confirmed the clock.
    pub clock: Clock,
}

impl Supervisor {
    /// As the environment says. Without `NOTIFY_SOCKET` everything is told to nobody.
    #[must_use]
    pub fn from_environment() -> Self {
        let told = |name| std::env::var(name).ok();
        let for_us = told("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = told("WATCHDOG_USEC").filter(|_| for_us).and_then(|text| text.parse().ok());
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        Self::new(socket.as_deref(), watchdog.filter(|us| *us > 0).map(Duration::from_micros))
    }

    fn new(socket: Option<&OsStr>, watchdog: Option<Duration>) -> Self {
        let Some(socket) = socket else { return Self { line: None, watchdog: None } };
        let opened = address(socket).and_then(|address| {
            let from = UnixDatagram::unbound()?;
            // A supervisor that does not read must not hold the agent up.
            from.set_nonblocking(true)?;
            Ok((from, address))
        });
        let line = match opened {
            Ok(line) => Some(line),
            Err(error) => {
                warn!(%error, "NOTIFY_SOCKET names no socket that can be used: nobody is told how the agent is");
                None
            }
        };
        Self { line, watchdog }
    }

    /// Whether anyone listens.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.line.is_some()
    }

    /// Tells `state`, lines such as `READY=1`. One that cannot be told is lost: the next says more.
    pub fn tell(&self, state: &str) {
        if let Some((from, to)) = &self.line {
            let _ = from.send_to_addr(state.as_bytes(), to);
        }
    }

    /// Tells that the agent is ready, how it is, and that it lives, until `stop`.
    /// # Errors
    /// Never; a task of its own.
    pub async fn watch(&self, driver: Handle, seen: Seen, mut stop: Stop) -> Result<(), TaskError> {
        tokio::select! {
            () = stop.stopped() => {}
            () = self.beat(&driver) => {}
            () = self.status(&driver, &seen) => {}
        }
        Ok(())
    }

    async fn beat(&self, driver: &Handle) {
        // Three in the time of the watchdog: one may come late and one may be lost.
        let beat = self.watchdog.map_or(BEAT, |limit| limit / 3);
        let mut is_ready = false;
        loop {
            self.proof(driver, beat).await;
            self.tell(if is_ready { "WATCHDOG=1" } else { "READY=1\nWATCHDOG=1" });
            is_ready = true;
            tokio::time::sleep(beat).await;
        }
    }

    /// Waits until the driver has proved that it can commit. A disk that is full is told and tried again by the driver;
    /// starting anew would mend nothing and take the page away, so the watchdog is kept quiet meanwhile.
    async fn proof(&self, driver: &Handle, beat: Duration) {
        let mut proof = std::pin::pin!(driver.prove());
        let mut told = false;
        loop {
            tokio::select! {
                proved = &mut proof => match proved {
                    Ok(()) => return,
                    // The agent is stopping, and says so itself.
                    Err(_) => std::future::pending().await,
                },
                () = tokio::time::sleep(beat) => {
                    if driver.meters().holdup() == Holdup::Full {
                        self.tell("WATCHDOG=1");
                    } else if !told {
                        told = true;
                        warn!(
                            wait_s = beat.as_secs(),
                            "the driver has not committed for {} s: the watchdog is told nothing until it does",
                            beat.as_secs()
                        );
                    }
                }
            }
        }
    }

    async fn status(&self, driver: &Handle, seen: &Seen) {
        let mut told = String::new();
        loop {
            let status =
                in_words(driver.meters().holdup(), &seen.broker.borrow(), &seen.hub.borrow(), seen.clock.now().trusted);
            if status != told {
                self.tell(&format!("STATUS={status}"));
                told = status;
            }
            tokio::time::sleep(STATUS_EVERY).await;
        }
    }
}

/// How the agent is, in one line for `systemctl status`.
fn in_words(holdup: Holdup, broker: &BrokerState, hub: &HubState, clock_confirmed: bool) -> String {
    let store = match holdup {
        Holdup::None => "store in order",
        Holdup::Full => "DISK FULL: nothing more is acknowledged until there is room",
        Holdup::Busy => "STORE HELD by something else: nothing more is acknowledged",
    };
    let broker = if broker.connected { "broker connected" } else { "broker away" };
    let hub = match (&hub.url, hub.connected) {
        (None, _) => "no hub configured",
        (Some(_), true) => "hub connected",
        (Some(_), false) => "hub away",
    };
    let clock = if clock_confirmed { "clock confirmed" } else { "clock not confirmed by anyone" };
    format!("{store}; {broker}; {hub}; {clock}")
}

fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut text = [0; 1024];
        let length = socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    #[test]
    fn a_socket_of_the_file_system_and_an_abstract_one_are_told_alike() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("gatehouse-test-{}", rand::random::<u64>());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, given) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            Supervisor::new(Some(&given), None).tell("READY=1");
            assert_eq!(heard(&socket).as_deref(), Some("READY=1"));
        }
    }

    #[test]
    fn without_a_socket_nobody_is_told_and_nothing_fails() {
        let alone = Supervisor::new(None, Some(Duration::from_secs(1)));
        assert!(!alone.listens());
        alone.tell("READY=1");
        Supervisor::new(Some(OsStr::new("/nowhere/at/all")), None).tell("READY=1");
    }

    #[test]
    fn the_status_line_names_what_is_away_and_what_stands_still() {
        let broker = BrokerState { connected: true, ..BrokerState::default() };
        let hub = HubState { url: Some("https://hub.example".to_owned()), ..HubState::default() };
        assert_eq!(
            in_words(Holdup::None, &broker, &hub, false),
            "store in order; broker connected; hub away; clock not confirmed by anyone"
        );
        let full = in_words(Holdup::Full, &BrokerState::default(), &HubState::default(), true);
        assert!(full.starts_with("DISK FULL") && full.contains("broker away; no hub configured"), "{full}");
    }
}
