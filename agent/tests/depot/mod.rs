//! A real mosquitto and the real program, in a directory that goes away with them.

#![expect(clippy::unwrap_used, reason = "a panic here is the report of a failed test")]

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::Value;
use tempfile::TempDir;

/// The PIN of `ana` in the configuration of these tests.
pub const PIN: &str = "2468";

/// A broker, an agent, and a page to look at.
pub struct Depot {
    pub directory: TempDir,
    mosquitto: Option<Child>,
    mosquitto_program: PathBuf,
    agent: Option<Child>,
    pub broker_port: u16,
    page_port: u16,
    http: reqwest::Client,
}

impl Depot {
    /// Starts broker and agent; `None`, said loudly, where mosquitto is not installed.
    pub async fn start(what: &str) -> Option<Self> {
        let mut depot = Self::prepare(what, "").await?;
        depot.start_broker();
        depot.start_agent().await;
        depot.until("the agent is connected", |board| board["broker"]["connected"] == true).await;
        Some(depot)
    }

    /// Writes the files and starts nothing. `mqtt` is added to the section `[mqtt]`.
    pub async fn prepare(what: &str, mqtt: &str) -> Option<Self> {
        let Some(mosquitto_program) = installed() else {
            gatehouse_skipped::skipped(format!("{what} (install the package mosquitto)"));
            return None;
        };
        // Only the first test of the process installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::Builder::new().prefix("gatehouse-agent-").tempdir().unwrap();
        let (broker_port, page_port) = (free_port(), free_port());
        let path = directory.path();
        let broker = include_str!("../../../firmware-config/broker/mosquitto.conf")
            .replace("listener 1883", &format!("listener {broker_port}"))
            .replace("/var/lib/mosquitto/", &format!("{}/", path.display()));
        // Root would otherwise give up its rights and could not write into our directory.
        std::fs::write(path.join("mosquitto.conf"), format!("{broker}\nuser root\n")).unwrap();
        let pin = gatehouse_agent::page::hash_pin(PIN).unwrap();
        let gateway = include_str!("../../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", &format!("port = {broker_port}\n{mqtt}"))
            .replace("127.0.0.1:8321", &format!("127.0.0.1:{page_port}"));
        let operator = format!("[[operators]]\nname = \"ana\"\nrole = \"supervisor\"\npin_argon2 = \"{pin}\"\n");
        std::fs::write(path.join("agent.toml"), format!("{gateway}\n{operator}")).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { directory, mosquitto: None, mosquitto_program, agent: None, broker_port, page_port, http })
    }

    pub fn start_broker(&mut self) {
        let child = Command::new(&self.mosquitto_program)
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.mosquitto = Some(child);
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker_port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "mosquitto did not open its port");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub async fn start_agent(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("agent.log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"))
            .arg("run")
            .arg("--config")
            .arg(self.directory.path().join("agent.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
        let started = Instant::now();
        while self.get("/api/status").await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(10), "the page did not open:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL: nothing is tidied up.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// SIGTERM, and waits for the end; says whether the agent ended well.
    pub fn stop_agent(&mut self) -> bool {
        let mut agent = self.agent.take().unwrap();
        let told = Command::new("kill").arg("-TERM").arg(agent.id().to_string()).status().unwrap();
        assert!(told.success());
        agent.wait().unwrap().success()
    }

    /// What `doctor` finds, and its exit code.
    pub fn doctor(&self, more: &[&str]) -> (Vec<Value>, Option<i32>) {
        let output = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"))
            .args(["doctor", "--json", "--listen", "1", "--config"])
            .arg(self.directory.path().join("agent.toml"))
            .arg("--broker-config")
            .arg(self.directory.path().join("mosquitto.conf"))
            .args(more)
            .output()
            .unwrap();
        let findings = serde_json::from_slice(&output.stdout);
        (findings.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr))), output.status.code())
    }

    /// Gives the broker another configuration, before it starts.
    pub fn set_broker(&self, settings: &str) {
        let text = settings.replace("PORT", &self.broker_port.to_string());
        std::fs::write(self.directory.path().join("mosquitto.conf"), text).unwrap();
    }

    pub fn agent_is_running(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|agent| matches!(agent.try_wait(), Ok(None)))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap_or_default()
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("agent.db")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.page_port)
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.http.get(self.url(path)).timeout(Duration::from_secs(2)).send().await.ok()?;
        answer.status().is_success().then_some(())?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    pub async fn post(&self, path: &str, login: Option<(&str, &str)>, body: &Value) -> (u16, Value) {
        let mut request = self.http.post(self.url(path)).json(body);
        if let Some((name, pin)) = login {
            request = request.basic_auth(name, Some(pin));
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    pub async fn raw(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub async fn board(&self) -> Value {
        self.get("/api/board").await.unwrap_or_default()
    }

    /// Waits until the board shows what `seen` looks for; says how long that took.
    pub async fn until(&self, what: &str, seen: impl Fn(&Value) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let board = self.board().await;
            if seen(&board) {
                return started.elapsed();
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "never seen: {what}\nboard: {board:#}\nlog:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// [`publish_to`] this depot's broker.
    pub async fn publish(&self, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
        publish_to(self.broker_port, messages.into_iter().collect()).await;
    }

    /// Publishes what a door sensor says.
    pub async fn door(&self, door: u32, id: &str, open: bool) {
        self.publish([door_message(door, id, open)]).await;
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        for child in [&mut self.agent, &mut self.mosquitto].into_iter().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Publishes at QoS 1 and returns when the broker has acknowledged every message.
pub async fn publish_to(broker_port: u16, messages: Vec<(String, Vec<u8>)>) {
    let mut options = MqttOptions::new("sensor", "127.0.0.1", broker_port);
    options.set_max_packet_size(64 << 20, 64 << 20).set_inflight(200);
    let (client, mut events) = AsyncClient::new(options, 10);
    let mut unacknowledged = messages.len();
    let sender = async {
        for (topic, payload) in messages {
            client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        }
    };
    let acknowledged = async {
        while unacknowledged > 0 {
            if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await.unwrap() {
                unacknowledged -= 1;
            }
        }
    };
    tokio::join!(sender, acknowledged);
    let _ = client.try_disconnect();
    let _ = events.poll().await;
}

/// A message of a door sensor as the gateway's example configuration expects it.
pub fn door_message(door: u32, id: &str, open: bool) -> (String, Vec<u8>) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    (format!("depot/D1/door/{door}"), format!(r#"{{"id":"{id}","time":{now},"open":{open}}}"#).into_bytes())
}

/// How many readings in the store have an id that begins with `prefix`, and how many ids those are.
pub fn stored(store: &Path, prefix: &str) -> (u32, u32) {
    let mut ids = Vec::new();
    let reader = gatehouse_agent::store::Reader::open(store).unwrap();
    reader.readings_since(0, |reading| ids.push(reading.id.to_string())).unwrap();
    ids.retain(|id| id.starts_with(prefix));
    let all = ids.len() as u32;
    ids.sort();
    ids.dedup();
    (all, ids.len() as u32)
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join("mosquitto")).find(|program| program.is_file())
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
