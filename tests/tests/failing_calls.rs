//! The real agent while the operating system fails its Nth call to the disk: what it acknowledges is on the disk.
//!
//! strace makes the call fail, a mosquitto gives messages and gives them again, and a line between the two notes which
//! message came and which was acknowledged, and when. The checker knows nothing of the agent but its store: each
//! acknowledgement must have a sync behind it that began after its message came and did not fail.
//! `GATEHOUSE_CALLS=all` tries every N until the session has no further call; else a few.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use gatehouse_tests::{demo::programs::free_port, mosquitto::Mosquitto};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Messages of one session, each sent when the one before is acknowledged.
const MESSAGES: u32 = 5;
/// Longest wait for an acknowledgement while the agent lives.
const ACK_MAX: Duration = Duration::from_secs(4);
/// Most calls of one kind that are tried.
const CALLS_MAX: u32 = 400;
/// A few, where not all are. strace counts by thread: the first are those of the start, the others the driver's.
const SOME: [u32; 7] = [1, 2, 4, 6, 12, 20, 33];

/// Seconds since 1970, as strace writes them.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

// ---- the line between agent and broker

/// What went over the line: when, and which message.
#[derive(Debug, Default)]
struct Heard {
    subscribed: bool,
    came: Vec<(f64, String)>,
    acknowledged: Vec<(f64, String)>,
}

/// A packet of MQTT 3.1.1 as it stands on the line.
async fn packet(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![from.read_u8().await?];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = from.read_u8().await?;
        bytes.push(byte);
        length |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 || shift > 21 {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    from.read_exact(&mut bytes[head..]).await?;
    Ok(bytes)
}

/// What stands behind the length of a packet.
fn body(packet: &[u8]) -> &[u8] {
    let head = 1 + packet[1..].iter().position(|byte| byte & 128 == 0).unwrap() + 1;
    &packet[head..]
}

fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// The number and the id of a message.
fn publish(packet: &[u8]) -> (u16, String) {
    let body = body(packet);
    let topic = usize::from(number(body)) + 2;
    let payload: serde_json::Value = serde_json::from_slice(&body[topic + 2..]).unwrap();
    (number(&body[topic..]), payload["id"].as_str().unwrap().to_owned())
}

async fn carry(agent: TcpStream, broker: SocketAddr, heard: Arc<Mutex<Heard>>) -> std::io::Result<()> {
    let ids = Arc::new(Mutex::new(BTreeMap::new()));
    let (mut from_broker, mut to_broker) = TcpStream::connect(broker).await?.into_split();
    let (mut from_agent, mut to_agent) = agent.into_split();
    let (known, noted) = (ids.clone(), heard.clone());
    let down = async move {
        loop {
            let packet = packet(&mut from_broker).await?;
            match packet[0] >> 4 {
                3 => {
                    let (n, id) = publish(&packet);
                    known.lock().unwrap().insert(n, id.clone());
                    noted.lock().unwrap().came.push((now_s(), id));
                }
                9 => noted.lock().unwrap().subscribed = true,
                _ => {}
            }
            to_agent.write_all(&packet).await?;
        }
    };
    let up = async move {
        loop {
            let packet = packet(&mut from_agent).await?;
            if packet[0] >> 4 == 4 {
                let id = ids.lock().unwrap().get(&number(body(&packet))).cloned();
                heard.lock().unwrap().acknowledged.push((now_s(), id.unwrap_or_default()));
            }
            to_broker.write_all(&packet).await?;
        }
    };
    tokio::select! { ended = down => ended, ended = up => ended }
}

// ---- the agent

/// An agent's folder and its line to the broker.
struct Place {
    folder: TempDir,
    topic: String,
    page: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

/// A running agent; under strace, or as it is.
struct Running(Child);

impl Running {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// SIGKILL to the agent itself: strace ends with it, but would let it go on if it were killed.
    fn kill(mut self) {
        let id = self.0.id();
        let under = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for process in under.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", process]).status();
        }
        if under.is_empty() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Place {
    async fn new(name: &str, broker: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("gatehouse-calls-").tempdir().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, page) = (line.local_addr().unwrap().port(), free_port().unwrap());
        let text = include_str!("../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", &format!("port = {port}\nclient_id = \"{name}\""))
            .replace("depot/D1/door/+", &format!("calls/{name}/door/+"))
            .replace("127.0.0.1:8321", &page.to_string());
        std::fs::write(folder.path().join("agent.toml"), text).unwrap();
        let noted = heard.clone();
        tokio::spawn(async move {
            while let Ok((agent, _)) = line.accept().await {
                tokio::spawn(carry(agent, broker, noted.clone()));
            }
        });
        Self { folder, topic: format!("calls/{name}/door/1"), page, heard }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, agent: &Path, inject: Option<&str>) -> Running {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = match inject {
            None => Command::new(agent),
            Some(inject) => {
                let mut strace = Command::new("strace");
                let trace = "trace=fdatasync,fsync,pwrite64";
                strace.args(["-f", "-ttt", "-T", "-s", "0", "-e", trace, "-e", inject, "-o"]);
                strace.arg(self.path("strace.log")).arg(agent);
                strace
            }
        };
        command.args(["run", "--config"]).arg(self.path("agent.toml"));
        Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Waits until the page opens; false if the agent ended first.
    async fn is_up(&self, agent: &mut Running) -> bool {
        let started = Instant::now();
        while TcpStream::connect(self.page).await.is_err() {
            if agent.has_ended() {
                return false;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the page never opened:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    fn acknowledged(&self) -> Vec<(f64, String)> {
        self.heard.lock().unwrap().acknowledged.clone()
    }

    /// How often each id is in the store.
    fn stored(&self) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::new();
        let reader = gatehouse_agent::store::Reader::open(&self.path("agent.db")).unwrap();
        reader.readings_since(0, |reading| *ids.entry(reading.id.to_string()).or_default() += 1).unwrap();
        ids
    }

    /// Waits until the agent has acknowledged `id`; false if it ends or takes too long.
    async fn until_acknowledged(&self, agent: &mut Running, id: &str) -> bool {
        let started = Instant::now();
        while !self.acknowledged().iter().any(|(_, held)| held == id) {
            if agent.has_ended() || started.elapsed() > ACK_MAX {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

async fn send(broker: SocketAddr, topic: &str, id: &str) {
    let mut options = MqttOptions::new("calls-sensor", "127.0.0.1", broker.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 10);
    let payload = format!(r#"{{"id":"{id}","time":{},"open":true}}"#, (now_s() * 1_000.0).round());
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PubAck(_))) {}
    let _ = client.try_disconnect();
    let _ = events.poll().await;
}

// ---- what strace saw

/// Begin and end of each sync that did not fail, and whether any call was made to fail.
fn synced(text: &str) -> (Vec<(f64, f64)>, bool) {
    let mut began: BTreeMap<&str, f64> = BTreeMap::new();
    let mut syncs = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(process), Some(at)) = (words.next(), words.next().and_then(|at| at.parse::<f64>().ok())) else {
            continue;
        };
        if !line.contains("sync") {
            continue;
        }
        // A call during which another thread did something is written in two parts.
        if line.contains("<unfinished ...>") {
            began.insert(process, at);
            continue;
        }
        let from = if line.contains("resumed>") { began.remove(process).unwrap_or(at) } else { at };
        let took = line.rsplit_once('<').and_then(|(_, t)| t.trim_end_matches('>').parse::<f64>().ok());
        let gave = line.rsplit_once(" = ").map(|(_, gave)| gave);
        if gave.is_some_and(|gave| gave.starts_with("0 ")) && !line.contains("INJECTED") {
            syncs.push((from, from + took.unwrap_or(0.0)));
        }
    }
    (syncs, text.contains("(INJECTED)"))
}

/// Acknowledgements without a sync that began after their message came and ended before them.
fn unfounded(came: &[(f64, String)], acknowledged: &[(f64, String)], syncs: &[(f64, f64)]) -> Vec<String> {
    let founded = |at: f64, id: &str| {
        let first = came.iter().filter(|(_, held)| held == id).map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
        syncs.iter().any(|(from, to)| *from >= first && *to <= at)
    };
    acknowledged.iter().filter(|(at, id)| !founded(*at, id)).map(|(_, id)| id.clone()).collect()
}

// ---- one session

#[derive(Debug, Default)]
struct Played {
    fired: bool,
    ended: bool,
    acknowledged: usize,
    /// What an agent that acknowledges what comes, before its commit, would have lost or acknowledged unfounded.
    control: usize,
}

async fn play(agent: &Path, broker: SocketAddr, name: &str, inject: &str) -> Played {
    let place = Place::new(name, broker).await;
    // The store is made and the broker knows the session before anything fails.
    let mut first = place.start(agent, None);
    assert!(place.is_up(&mut first).await, "{}", place.log());
    while !place.heard.lock().unwrap().subscribed {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    send(broker, &place.topic, "before").await;
    assert!(place.until_acknowledged(&mut first, "before").await, "{}", place.log());
    first.kill();
    *place.heard.lock().unwrap() = Heard::default();

    let ids: Vec<String> = (0..MESSAGES).map(|n| format!("m-{n}")).collect();
    let mut failing = place.start(agent, Some(inject));
    let mut alive = place.is_up(&mut failing).await;
    for id in &ids {
        send(broker, &place.topic, id).await;
        alive = alive && place.until_acknowledged(&mut failing, id).await;
    }
    let ended = failing.has_ended();
    failing.kill();
    let (came, acknowledged) = {
        let heard = place.heard.lock().unwrap();
        (heard.came.clone(), heard.acknowledged.clone())
    };
    let trace = std::fs::read_to_string(place.path("strace.log")).unwrap();
    let (syncs, fired) = synced(&trace);
    assert_eq!(unfounded(&came, &acknowledged, &syncs), Vec::<String>::new(), "{name} {inject}\n{trace}");
    let stored = place.stored();
    let lost = |acknowledged: &[(f64, String)]| {
        let ids: BTreeSet<&String> = acknowledged.iter().map(|(_, id)| id).collect();
        ids.into_iter().filter(|id| !stored.contains_key(*id)).cloned().collect::<Vec<String>>()
    };
    assert_eq!(lost(&acknowledged), Vec::<String>::new(), "{name} {inject}: lost before the new start");
    let control = lost(&came).len() + unfounded(&came, &came, &syncs).len();

    let mut again = place.start(agent, None);
    assert!(place.is_up(&mut again).await, "{name} {inject}: it does not start again\n{}", place.log());
    let started = Instant::now();
    while place.stored().len() <= ids.len() && started.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    again.kill();
    let stored = place.stored();
    for id in &ids {
        assert_eq!(stored.get(id), Some(&1), "{name} {inject}: {id}\n{}", place.log());
    }
    Played { fired, ended, acknowledged: acknowledged.len(), control: if fired { control } else { 0 } }
}

/// The program, where cargo puts it, and whether strace may be used; `None`, said loudly, where not.
fn needed() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let agent = own.parent().and_then(Path::parent).unwrap().join("gatehouse-agent");
    let said = |why: &str| {
        gatehouse_skipped::skipped(format!("calls to the disk that fail under strace ({why})"));
        None
    };
    if !agent.is_file() {
        return said("build the program: cargo build -p gatehouse-agent");
    }
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => Some(agent),
        Ok(output) => said(&format!("strace may not trace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => said(&format!("install the package strace: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledgement_leaves_after_a_failed_call_and_all_of_them_are_there_after_a_new_start() {
    let Some(agent) = needed() else { return };
    let Some(mosquitto) = Mosquitto::start_or_skip("calls to the disk that fail").unwrap() else { return };
    let all = std::env::var("GATEHOUSE_CALLS").is_ok_and(|what| what == "all");
    let (mut ended, mut acknowledged, mut control, mut sessions) = (0, 0, 0, 0);
    for (name, calls, error) in [
        ("sync", "fsync,fdatasync", "EIO"),
        ("sync", "fsync,fdatasync", "ENOSPC"),
        ("write", "pwrite64", "EIO"),
        ("write", "pwrite64", "ENOSPC"),
    ] {
        let mut fired = 0;
        for n in 1..=CALLS_MAX {
            if !all && !SOME.contains(&n) {
                continue;
            }
            let session = format!("{name}-{error}-{n}");
            let inject = format!("inject={calls}:error={error}:when={n}");
            let played = play(&agent, mosquitto.address(), &session, &inject).await;
            if !played.fired {
                break;
            }
            fired += 1;
            ended += u32::from(played.ended);
            acknowledged += played.acknowledged;
            control += played.control;
        }
        println!("{name} {error}: {fired} sessions in which a call failed");
        sessions += fired;
    }
    println!(
        "{sessions} sessions, {ended} ended the agent, {acknowledged} acknowledgements, none lost or unfounded; \
         acknowledging before the commit: {control} lost or unfounded"
    );
    assert!(sessions > 12 && ended > 0 && acknowledged > 12, "{sessions} {ended} {acknowledged}");
    assert!(sessions > ended, "a full disk is waited for");
    assert!(control > 0, "the control lost nothing: the checker sees nothing");
}

#[test]
fn a_trace_in_one_part_or_two_is_read_and_a_failed_sync_founds_nothing() {
    let trace = "10 100.5 fsync(12)       = 0 <0.25>\n\
                 11 101.0 fdatasync(12 <unfinished ...>\n\
                 10 101.1 pwrite64(3, \"\"..., 24, 0) = 24 <0.1>\n\
                 11 101.5 <... fdatasync resumed>) = 0 <0.5>\n\
                 11 102.0 fdatasync(12) = -1 EIO (Input/output error) (INJECTED) <0.1>\n";
    let (syncs, fired) = synced(trace);
    assert_eq!((syncs.as_slice(), fired), (&[(100.5, 100.75), (101.0, 101.5)][..], true));
    let at = |at: f64| vec![(at, "m".to_owned())];
    assert!(unfounded(&at(100.9), &at(101.6), &syncs).is_empty());
    for (came, acknowledged) in [(101.2, 103.0), (100.6, 101.4), (102.0, 102.5), (100.9, 100.9)] {
        assert_eq!(unfounded(&at(came), &at(acknowledged), &syncs), ["m"], "{came} {acknowledged}");
    }
}
