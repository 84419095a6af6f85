//! The real program under somebody who watches it, as systemd does: what it tells, and when it stays silent.

#![expect(clippy::unwrap_used, reason = "a panic here is the report of a failed test")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// What the watchdog of these tests waits for a sign of life.
const WATCHDOG: Duration = Duration::from_millis(1_500);

/// An agent without broker, and the socket that it tells how it is.
struct Watched {
    directory: TempDir,
    socket: UnixDatagram,
    agent: Child,
}

impl Watched {
    fn start(more: &str) -> Self {
        Self::start_as(more, &[])
    }

    fn start_as(more: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("gatehouse-watched-").tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        // Nobody listens on the broker's port: it was free a moment ago.
        let (broker, page) = (free_port(), free_port());
        let text = include_str!("../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", &format!("port = {broker}"))
            .replace("127.0.0.1:8321", &format!("127.0.0.1:{page}"));
        std::fs::write(directory.path().join("agent.toml"), format!("{text}\n{more}")).unwrap();
        let log = std::fs::File::create(directory.path().join("agent.log")).unwrap();
        let agent = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"))
            .arg("run")
            .args(arguments)
            .arg("--config")
            .arg(directory.path().join("agent.toml"))
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { directory, socket, agent }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What it tells within `wait`, one message at most.
    fn tells(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    /// Waits until it tells something that `is_it`; gives everything that was told up to then.
    fn until(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let started = Instant::now();
        let mut told = Vec::new();
        while started.elapsed() < Duration::from_secs(20) {
            let Some(text) = self.tells(Duration::from_secs(1)) else { continue };
            told.push(text);
            if told.last().is_some_and(|text| is_it(text)) {
                return told;
            }
        }
        let log = std::fs::read_to_string(self.path().join("agent.log")).unwrap_or_default();
        panic!("never told: {what}\ntold: {told:#?}\nlog:\n{log}");
    }

    /// Everything that is told in `time`.
    fn during(&self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut told = Vec::new();
        while Instant::now() < until {
            told.extend(self.tells(until.saturating_duration_since(Instant::now())));
        }
        told
    }

    fn stop(&mut self) -> bool {
        let told = Command::new("kill").arg("-TERM").arg(self.agent.id().to_string()).status().unwrap();
        assert!(told.success());
        self.agent.wait().unwrap().success()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn is_ping(text: &str) -> bool {
    text.lines().any(|line| line == "WATCHDOG=1")
}

fn pings(told: &[String]) -> usize {
    told.iter().filter(|text| is_ping(text)).count()
}

/// When each path was asked for.
type Asked = BTreeMap<String, Vec<Instant>>;

/// Answers every request of `time` that it is busy and says after how many seconds to come back.
fn busy_hub(listener: &TcpListener, retry_after_s: u64, time: Duration) -> Asked {
    let until = Instant::now() + time;
    let mut asked = Asked::new();
    listener.set_nonblocking(true).unwrap();
    while Instant::now() < until {
        match listener.accept() {
            Ok((stream, _)) => {
                let path = turn_away(stream, retry_after_s);
                asked.entry(path).or_default().push(Instant::now());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    asked
}

/// Reads one request, answers it, and gives its path.
fn turn_away(stream: TcpStream, retry_after_s: u64) -> String {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    // The body is left unread: the answer does not depend on it.
    for _ in lines.take_while(|line| !line.is_empty()) {}
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: {retry_after_s}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    // It may have gone away; then it asks again.
    let _ = (&stream).write_all(answer.as_bytes());
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The shortest time between two requests for the same path.
fn shortest(asked: &Asked) -> Duration {
    let gaps = asked.values().flat_map(|times| times.windows(2).map(|pair| pair[1].duration_since(pair[0])));
    gaps.min().unwrap_or(Duration::MAX)
}

#[test]
fn a_hub_that_says_when_to_come_back_is_asked_no_sooner() {
    let asked = |retry_after_s, time| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let hub = format!(
            "[hub]\nurl = \"http://{}\"\npublic_key = \"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\"\n",
            listener.local_addr().unwrap()
        );
        let _watched = Watched::start(&hub);
        busy_hub(&listener, retry_after_s, time)
    };
    let heeded = asked(4, Duration::from_secs(10));
    assert!(heeded.values().any(|times| times.len() > 1), "it gave up: {heeded:?}");
    assert!(shortest(&heeded) >= Duration::from_millis(3_900), "{heeded:?}");
    // The control: told to come back sooner, it does.
    let sooner = asked(1, Duration::from_secs(5));
    assert!(shortest(&sooner) < Duration::from_millis(3_900), "{sooner:?}");
}

#[test]
fn with_broker_hub_and_confirmed_clock_away_it_is_ready_says_what_is_away_and_stops_well() {
    let hub = format!(
        "[hub]\nurl = \"http://127.0.0.1:{}\"\npublic_key = \"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\"\n",
        free_port()
    );
    let mut watched = Watched::start(&hub);
    let away = "STATUS=store in order; broker away; hub away; clock not confirmed by anyone";
    let told = watched.until("that it is ready", |text| text.contains("READY=1"));
    assert!(told.iter().all(|text| !text.contains("STOPPING")), "{told:?}");
    // Either may be told first.
    if !told.iter().any(|text| text == away) {
        watched.until("what is away", |text| text == away);
    }
    let told = watched.during(WATCHDOG * 3);
    assert!(pings(&told) >= 4, "it lives and does not say so often enough: {told:?}");
    assert!(watched.stop());
    let told = watched.during(Duration::from_millis(200));
    assert!(told.iter().any(|text| text.contains("STOPPING=1")), "{told:?}");
}

#[test]
fn a_store_that_takes_nothing_silences_the_watchdog_and_one_that_takes_again_ends_the_silence() {
    let watched = Watched::start("");
    watched.until("that it is ready", |text| text.contains("READY=1"));
    // Somebody else holds the store and does not let go.
    let holder = rusqlite::Connection::open(watched.path().join("agent.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    // A proof may have been on its way.
    watched.during(WATCHDOG / 2);
    let told = watched.during(WATCHDOG * 2);
    assert_eq!(pings(&told), 0, "a store that stands still was told to be well: {told:?}");
    watched.until("that the store is held", |text| text.contains("STORE HELD"));
    holder.execute_batch("ROLLBACK").unwrap();
    let told = watched.until("a sign of life", is_ping);
    assert!(told.iter().all(|text| !text.contains("READY=1")), "ready is told once: {told:?}");
    watched.until("that the store is in order again", |text| text.contains("store in order"));
    let log = std::fs::read_to_string(watched.path().join("agent.log")).unwrap();
    assert_eq!(log.matches("until the store takes it").count(), 1, "told once:\n{log}");
}

#[test]
fn a_start_that_fails_is_told_with_its_reason() {
    let watched = Watched::start("");
    watched.until("that it is ready", |text| text.contains("READY=1"));
    // A second agent in the same place: its page's port is taken.
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"))
        .arg("run")
        .arg("--config")
        .arg(watched.path().join("agent.toml"))
        .env("NOTIFY_SOCKET", watched.path().join("notify"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    watched.until("why it does not start", |text| {
        text.starts_with("STATUS=does not start: ") && text.contains("is another agent running?")
    });
}

#[test]
fn log_lines_as_json_are_whole_sentences_with_fields() {
    let watched = Watched::start_as("", &["--log-format", "json"]);
    watched.until("that it is ready", |text| text.contains("READY=1"));
    let log = std::fs::read_to_string(watched.path().join("agent.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), log.lines().count(), "{log}");
    let starts = lines.iter().find(|line| line["message"] == "agent D1-gateway starts").unwrap();
    assert_eq!((starts["level"].as_str(), starts["device"].as_str()), (Some("INFO"), Some("D1-gateway")));
}

/// The settings of a unit file, by section and key; a key may stand more than once.
fn settings(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap();
            found.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    found
}

fn unit(kind: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config").join(kind);
    std::fs::read_to_string(path.join("gatehouse-agent.service")).unwrap()
}

#[test]
fn the_unit_files_ask_for_what_the_program_gives() {
    for kind in ["gateway", "vehicle"] {
        let settings = settings(&unit(kind));
        let value = |key: &str| {
            settings.iter().find(|(_, k, _)| k == key).map(|(_, _, value)| value.as_str()).unwrap_or_default()
        };
        assert_eq!(value("Type"), "notify", "{kind}");
        assert_eq!(value("Restart"), "always");
        assert_eq!(value("RestartPreventExitStatus"), "2", "a wrong configuration is not tried for ever");
        assert_eq!(value("StartLimitIntervalSec"), "0");
        let watchdog: u64 = value("WatchdogSec").parse().unwrap();
        // A store that is only busy answers after 5 s, and a third of the watchdog's time passes between two proofs.
        assert!(watchdog >= 3 * 5 + watchdog / 3, "{kind}: WatchdogSec={watchdog}");
        let stop: u64 = value("TimeoutStopSec").parse().unwrap();
        assert!(stop > 6 * 5, "six tasks may take 5 s each");
        assert_eq!(value("StateDirectory"), "gatehouse");
        assert!(value("ExecStart").ends_with("run --config /var/lib/gatehouse/agent.toml"));
        // The clock would not know the boot.
        assert_eq!(value("ProcSubset"), "");
        for needed in ["Requires", "BindsTo", "Requisite"] {
            assert_eq!(value(needed), "", "{kind}: the agent starts without everything else");
        }
    }
}

#[test]
fn systemd_takes_the_unit_files_and_names_a_key_it_does_not_know() {
    let check = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatehouse-agent.service");
        std::fs::write(&path, text.replace("/usr/local/bin/gatehouse-agent", env!("CARGO_BIN_EXE_gatehouse-agent")))
            .unwrap();
        let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        checked.map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for kind in ["gateway", "vehicle"] {
        let Ok(said) = check(&unit(kind)) else {
            gatehouse_skipped::skipped("unit files before systemd-analyze (it is not installed)");
            return;
        };
        // Of other units of this machine it may say what it likes.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("gatehouse-agent.service")).collect();
        assert_eq!(ours, Vec::<&str>::new(), "{kind}");
        let wrong = check(&unit(kind).replace("WatchdogSec", "WatchdgoSec")).unwrap();
        assert!(wrong.contains("WatchdgoSec"), "the check sees nothing: {wrong}");
    }
}
