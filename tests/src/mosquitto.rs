//! A real mosquitto for tests, on a free port, in a directory that goes away with it.
//!
//! In: nothing but an installed `mosquitto`. Out: its address.
//! Its configuration drops nothing and saves after each change (the defaults queue 1,000 messages a
//! client and save every half hour). Yet mosquitto acknowledges a message just before it saves it, and
//! does not sync the disk: killed in the very moment of the last PUBACK it was seen to keep 499 of 500.
//! A test that counts what survives [`Mosquitto::stop_hard`] waits [`Mosquitto::SAVE_WAIT`] first.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait until a started broker answers on its port.
const START_WAIT_MAX: Duration = Duration::from_secs(10);
/// Ports tried, should another program take the free one between our look and the broker's.
const PORT_TRIES: usize = 5;

/// A running mosquitto; dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Mosquitto {
    /// After so long without traffic, everything it acknowledged is in its database.
    pub const SAVE_WAIT: Duration = Duration::from_millis(500);

    /// Starts one, or gives `None` when mosquitto is not installed.
    /// # Errors
    /// When it is installed but does not come up in ten seconds; the text holds the end of its log.
    pub fn start() -> io::Result<Option<Mosquitto>> {
        let Some(program) = installed() else { return Ok(None) };
        let mut failure = io::Error::other("no port was tried");
        for _ in 0..PORT_TRIES {
            let address = free_address()?;
            let directory = tempfile::Builder::new().prefix("gatehouse-mosquitto-").tempdir()?;
            std::fs::write(directory.path().join("mosquitto.conf"), configuration(address, directory.path()))?;
            let mut mosquitto = Mosquitto { program: program.clone(), directory, address, child: None };
            match mosquitto.restart() {
                Ok(()) => return Ok(Some(mosquitto)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// [`start`](Self::start) for a test that is skipped without it: says so on stderr, once per call.
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_or_skip(what: &str) -> io::Result<Option<Mosquitto>> {
        let mosquitto = Self::start()?;
        if mosquitto.is_none() {
            gatehouse_skipped::skipped(format!("{what} (install the package mosquitto)"));
        }
        Ok(mosquitto)
    }

    /// Where it listens; the same over restarts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its configuration, its log and its database lie.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it as a crash would (SIGKILL). Its database stays as it was last saved.
    /// # Errors
    /// What the operating system says.
    pub fn stop_hard(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again with the same port and directory; kills it before, should it still run.
    /// # Errors
    /// When it does not come up in ten seconds; the text holds the end of its log.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop_hard()?;
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let child = self.child.insert(child);
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(self.explained(&format!("mosquitto ended at once with {status}")));
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if started.elapsed() > START_WAIT_MAX {
                return Err(self.explained("mosquitto did not open its port"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn explained(&self, what: &str) -> io::Error {
        let log = std::fs::read_to_string(self.directory.path().join("mosquitto.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        io::Error::other(format!("{what}; its log ends:\n{tail}"))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Err(error) = self.stop_hard() {
            tracing::warn!(%error, "mosquitto could not be killed");
        }
    }
}

/// The program, also where a user's PATH often does not lead.
fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"].map(PathBuf::from));
    places.map(|place| place.join("mosquitto")).find(|program| program.is_file())
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn configuration(address: SocketAddr, directory: &Path) -> String {
    let (port, directory) = (address.port(), directory.display());
    // `user root` holds only when root starts it: it would otherwise give up its rights and be
    // unable to write into our directory.
    format!(
        "listener {port} 127.0.0.1
allow_anonymous true
user root
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 100
message_size_limit 0
set_tcp_nodelay true
persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1
log_dest file {directory}/mosquitto.log
"
    )
}
