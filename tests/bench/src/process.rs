//! What the kernel knows of a process: its time, its memory, what it wrote.

use std::process::Child;

use anyhow::Context;

/// Ticks of a second in `/proc/PID/stat`; the same on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that was started here; dropping it kills it.
pub struct Process(Child);

/// What it has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds of processor, user and system.
    pub cpu_s: f64,
    /// Memory resident now, in MB.
    pub rss_mb: f64,
    /// Memory resident at most so far, in MB.
    pub rss_peak_mb: f64,
    /// Bytes given to the disk.
    pub written_bytes: u64,
}

impl Process {
    /// Owns a child.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// What it has used, as `/proc` tells it.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.0.id());
            std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read; has it ended?"))
        };
        let stat = read("stat")?;
        // After the name, which may hold blanks: user and system time are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        let status = read("status")?;
        let kb = |name: &str| number(&status, name).unwrap_or(0) as f64 / 1000.0 * 1.024;
        let io = read("io")?;
        Ok(Usage {
            cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            rss_mb: kb("VmRSS:"),
            rss_peak_mb: kb("VmHWM:"),
            written_bytes: number(&io, "write_bytes:").unwrap_or(0),
        })
    }

    /// Stops it from running, or lets it go on.
    pub fn hold(&self, held: bool) -> anyhow::Result<()> {
        self.signal(if held { "-STOP" } else { "-CONT" })
    }

    /// Kills it as a crash would, and waits for its end.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself; says whether it was content.
    pub fn waits(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.wait()?.success())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let told = std::process::Command::new("kill").arg(signal).arg(self.0.id().to_string()).status()?;
        anyhow::ensure!(told.success(), "kill {signal} was refused");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
