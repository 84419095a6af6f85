//! The real programs of a run: started, watched, killed and started again, and ended with the run.
//!
//! Nothing is ended here that was not started here.

use std::{
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::Mutex,
};

/// One program and how it is started.
#[derive(Debug)]
pub struct Program {
    /// Its name for people and for its log file.
    pub name: String,
    path: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Program {
    /// Describes a program; nothing is started yet.
    #[must_use]
    pub fn new(name: &str, path: PathBuf, arguments: Vec<String>, logs: &Path) -> Self {
        let log = logs.join(format!("{name}.log"));
        Self { name: name.to_owned(), path, arguments, log, child: Mutex::new(None) }
    }

    fn command(&self, through: &[String]) -> anyhow::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).context("opening its log")?;
        let mut command = match through.split_first() {
            None => Command::new(&self.path),
            Some((first, rest)) => {
                let mut outer = Command::new(first);
                outer.args(rest).arg(&self.path);
                outer
            }
        };
        command.args(&self.arguments).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        // If the demo itself is killed, the programs end with it as far as that can be arranged from here.
        command.kill_on_drop(true);
        Ok(command)
    }

    /// Starts it.
    /// # Errors
    /// If the file cannot be run; the message names it.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.start_through(&[]).await
    }

    /// Starts it by way of another program, such as one that traces it: that one and its arguments.
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_through(&self, through: &[String]) -> anyhow::Result<()> {
        let child = self.command(through)?.spawn().with_context(|| format!("starting {}", self.path.display()))?;
        *self.child.lock().await = Some(child);
        Ok(())
    }

    /// Starts it and waits for the line `{"ready":"ADDRESS"}` on its standard output.
    /// # Errors
    /// If it ends or says nothing for 20 seconds; the message names its log.
    pub async fn start_until_ready(&self) -> anyhow::Result<SocketAddr> {
        let mut child = self
            .command(&[])?
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.path.display()))?;
        let output = child.stdout.take().context("no standard output")?;
        *self.child.lock().await = Some(child);
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
        let Ok(Ok(Some(line))) = first else { bail!("{} did not get ready; see {}", self.name, self.log.display()) };
        // Whoever stops reading makes a program that still writes wait for ever.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("{} said {line}", self.name))?;
        let address = ready["ready"].as_str().with_context(|| format!("{} said {line}", self.name))?;
        Ok(address.parse()?)
    }

    /// Ends it as a power cut would.
    pub async fn kill(&self) {
        if let Some(child) = self.child.lock().await.as_mut() {
            child.kill().await.ok();
        }
    }

    /// Asks it to end, and ends it by force after 10 seconds. With which status it ended; none if it was never started.
    pub async fn stop(&self) -> Option<ExitStatus> {
        let mut held = self.child.lock().await;
        let child = held.as_mut()?;
        if let Some(id) = child.id() {
            let asked = Command::new("sh").arg("-c").arg(format!("kill -TERM {id}")).stderr(Stdio::null()).status();
            asked.await.ok();
            if tokio::time::timeout(Duration::from_secs(10), child.wait()).await.is_err() {
                child.kill().await.ok();
            }
        }
        let status = child.try_wait().ok().flatten();
        *held = None;
        status
    }

    /// With which status it ended; none while it runs.
    pub async fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().await.as_mut()?.try_wait().ok()?
    }

    /// Whether it ended without being asked to; then with which words for people.
    pub async fn has_ended(&self) -> Option<String> {
        let status = self.ended().await?;
        Some(format!("{} ended with {status}; see {}", self.name, self.log.display()))
    }

    /// Runs it to its end and gives what it printed.
    /// # Errors
    /// If it ends with another status than 0; the message holds what it said.
    pub async fn ask(path: &Path, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {}", path.display()))?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            tokio::io::AsyncWriteExt::write_all(&mut pipe, input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("{} {} ended with {}: {said}", path.display(), arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// The first of the ports that are given out here, and how many there are. They lie below those that the operating system
/// gives to connections by itself.
const PORTS: (u16, u16) = (12_000, 18_000);

/// A port on loopback that was free a moment ago. Programs that restart must come back where they were, so it is none that
/// a connection of another program may be given while they are away.
/// # Errors
/// What the operating system says when it gives no port.
pub fn free_port() -> std::io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, span) = PORTS;
    for _ in 0..span {
        // Processes that run at the same time begin apart.
        let turn = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = first + u16::try_from(turn % u32::from(span)).unwrap_or(0);
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(at).is_ok() {
            return Ok(at);
        }
    }
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Waits until `url` answers 2xx.
/// # Errors
/// If it does not within `patience`, or `program` ends first.
pub async fn wait_for(http: &reqwest::Client, url: &str, program: &Program, patience: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        if let Ok(answer) = http.get(url).send().await
            && answer.status().is_success()
        {
            return Ok(());
        }
        if let Some(ended) = program.has_ended().await {
            bail!(ended);
        }
        if begun.elapsed() > patience {
            bail!("{} does not answer at {url}; see {}", program.name, program.log.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
