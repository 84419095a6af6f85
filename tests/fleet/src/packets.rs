//! A line of packets to a network namespace, in which an agent runs: what `tc netem` does where the kernel has it.

use std::{
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::json;

const SCRIPT: &str = include_str!("../peers/packet_line.py");

/// How packets fare.
#[derive(Debug, Clone, Copy)]
pub struct Fare {
    /// Of each so many are lost, 0 to 1.
    pub loss: f64,
    /// How long each is under way, in milliseconds.
    pub delay_ms: u32,
    /// Thousands of bits a second in each direction; 0 for any.
    pub kbit: u32,
    /// Whether packets from the agent get through.
    pub up: bool,
    /// Whether packets from the hub get through.
    pub down: bool,
}

impl Fare {
    /// Everything gets through at once.
    pub const FAIR: Self = Self { loss: 0.0, delay_ms: 0, kbit: 0, up: true, down: true };
    /// Nothing gets through.
    pub const CUT: Self = Self { up: false, down: false, ..Self::FAIR };
}

/// The line at work; dropping it takes it down, and the namespace with it.
pub struct PacketLine {
    child: Child,
    tells: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
    namespace: String,
    /// The hub's end.
    pub ours: Ipv4Addr,
}

/// Why there can be none here.
pub fn lacking() -> Option<&'static str> {
    let works =
        |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !root {
        Some("it needs root to make a network namespace")
    } else if !std::path::Path::new("/dev/net/tun").exists() {
        Some("there is no /dev/net/tun")
    } else if !works(Command::new("ip").args(["netns", "list"])) || !works(Command::new("python3").arg("-V")) {
        Some("ip (package iproute2) or python3 is missing")
    } else {
        None
    }
}

impl PacketLine {
    /// Lays one; it is cut.
    pub fn lay() -> anyhow::Result<Self> {
        let own = std::process::id();
        let (namespace, net) = (format!("gatehouse-{own}"), u8::try_from(own % 250).unwrap_or(0));
        let (ours, theirs) = (Ipv4Addr::new(10, 77, net, 1), Ipv4Addr::new(10, 77, net, 2));
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &namespace, &ours.to_string(), &theirs.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python3")?;
        let says = BufReader::new(child.stdout.take().context("no output")?);
        let tells = child.stdin.take();
        let mut line = Self { child, tells, says, namespace, ours };
        if line.hear()? != "up" {
            bail!("the line did not come up");
        }
        Ok(line)
    }

    /// Changes how packets fare; gives how many were lost so far.
    pub fn set(&mut self, fare: Fare) -> anyhow::Result<u64> {
        let Fare { loss, delay_ms, kbit, up, down } = fare;
        let told = json!({ "loss": loss, "delay_ms": delay_ms, "kbit": kbit, "up": up, "down": down });
        let tells = self.tells.as_mut().context("the line is down")?;
        writeln!(tells, "{told}")?;
        Ok(self.hear()?.trim_start_matches("lost ").parse()?)
    }

    /// What runs a program at the agent's end.
    pub fn through(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            bail!("the line of packets has ended");
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for PacketLine {
    fn drop(&mut self) {
        // Its input ends, and with it the line; it takes down what it made.
        self.tells = None;
        let _ = self.child.wait();
    }
}
