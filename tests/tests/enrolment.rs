//! From an invitation to a revocation, with the real programs over TLS.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic here is the report of a failed test")]

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use gatehouse_tests::broker::{Broker, BrokerOptions};
use rumqttc::{AsyncClient, MqttOptions, QoS};

/// The programs' folder, and those of them that run; they end with it.
struct Place {
    directory: tempfile::TempDir,
    running: Vec<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that has ended by itself is not there any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    gatehouse_tests::demo::programs::free_port().unwrap().port()
}

impl Place {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse-either"));
        command.args(arguments).current_dir(self.path());
        command
    }

    fn does(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints; it must go well.
    fn asks(&self, arguments: &[&str]) -> String {
        let output = self.does(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn starts(&mut self, name: &str, arguments: &[&str]) {
        let log = File::create(self.path().join(format!("{name}.log"))).unwrap();
        let child = self.command(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.running.push(child);
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    fn until(&self, what: &str, wait: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
        let begun = Instant::now();
        while !is_so() {
            if begun.elapsed() > wait {
                panic!("never: {what}\nhub:\n{}\nagent:\n{}", self.log("hub"), self.log("agent"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        begun.elapsed()
    }

    /// One figure of the hub's store.
    fn counts(&self, sql: &str) -> i64 {
        let Ok(store) = rusqlite::Connection::open(self.path().join("hub.db")) else { return 0 };
        store.query_row(sql, [], |r| r.get(0)).unwrap_or(0)
    }
}

async fn raises_alarm(broker: std::net::SocketAddr) {
    let mut options = MqttOptions::new("sensor", broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    let drive = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let payload = format!(r#"{{"id":"a1","time":{now},"alarm":"panic"}}"#);
    client.publish("depot/D1/alarm/2207", QoS::AtLeastOnce, false, payload).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drive.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn invited_enrolled_heard_and_a_minute_after_it_is_revoked_refused() {
    let broker = Broker::start("127.0.0.1:0".parse().unwrap(), BrokerOptions::default()).unwrap();
    let mut place = Place { directory: tempfile::tempdir().unwrap(), running: Vec::new() };
    let (people, devices, page) = (free_port(), free_port(), free_port());
    std::fs::write(place.path().join("hub.toml"), format!("[devices]\nlisten = \"127.0.0.1:{devices}\"\n")).unwrap();
    let agent = include_str!("../../firmware-config/gateway/agent.toml")
        .replace("port = 1883", &format!("port = {}", broker.address().port()))
        .replace("127.0.0.1:8321", &format!("127.0.0.1:{page}"))
        .replace("# [hub]", "[hub]")
        .replace("# identity", "identity");
    let alarms = "\n[[topics]]\nfilter = \"depot/D1/alarm/+\"\ndecoder = \"json\"\nkind = \"alarm\"\n\
                  subject = { segment = 4 }\nid = \"/id\"\ntime = \"/time\"\ntime_unit = \"ms\"\nalarm = \"/alarm\"\n";
    let mut file = File::create(place.path().join("agent.toml")).unwrap();
    file.write_all(format!("{agent}{alarms}").as_bytes()).unwrap();

    let database = ["--database", "sqlite:hub.db"];
    let hub_place = [&database[..], &["--config", "hub.toml"]].concat();
    let listen = format!("127.0.0.1:{people}");
    place.starts("hub", &[&["hub", "serve", "--listen", &listen], &hub_place[..]].concat());
    place.until("the hub listens", Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", devices)).is_ok()
    });

    let scopes = ["--kind", "warehouse", "--site", "D1", "--for", "24h"];
    let invite = [&["hub", "device", "invite", "D1-gateway"], &scopes[..], &hub_place[..]].concat();
    let invitation = place.asks(&invite);
    let enrol = ["agent", "enrol", "--config", "agent.toml", &invitation];
    let told = place.asks(&enrol);
    assert!(told.starts_with("D1-gateway is enrolled at https://127.0.0.1:"), "{told}");
    // Each answer has a certificate of its own, which is good from when it was made.
    let until_its_end = |told: &str| told.split_once(" until ").map(|(before, _)| before.to_owned());
    let again = place.asks(&enrol);
    assert!(until_its_end(&told).is_some());
    assert_eq!(until_its_end(&again), until_its_end(&told), "asked again, the same");

    // Whoever has the invitation, but not the key, gets nothing.
    std::fs::rename(place.path().join("device.key"), place.path().join("own.key")).unwrap();
    let stranger = place.does(&enrol);
    let why = String::from_utf8_lossy(&stranger.stderr);
    assert!(!stranger.status.success() && why.contains("used by another key"), "{why}");
    std::fs::rename(place.path().join("own.key"), place.path().join("device.key")).unwrap();

    place.starts("agent", &["agent", "run", "--config", "agent.toml"]);
    place.until("the agent is heard", Duration::from_secs(30), || {
        place.counts("SELECT count(*) FROM devices WHERE seen_ms IS NOT NULL AND status IS NOT NULL") == 1
    });
    place.until("the agent is at the broker", Duration::from_secs(30), || broker.is_connected("gatehouse-D1-gateway"));
    raises_alarm(broker.address()).await;
    place.until("its case is at the hub", Duration::from_secs(30), || {
        place.counts("SELECT count(*) FROM documents WHERE view LIKE '%SECURITY_ALARM%'") == 1
    });
    let shown = place.asks(&[&["hub", "device", "show", "D1-gateway"], &database[..]].concat());
    assert!(shown.contains("certificate  ") && shown.contains("device enrolled"), "{shown}");

    let revoke = [&["hub", "device", "revoke", "D1-gateway", "--why", "stolen"], &database[..]].concat();
    place.asks(&revoke);
    let took = place.until("it is refused", Duration::from_secs(60), || {
        place.counts("SELECT count(*) FROM audit WHERE action = 'refused: revoked' AND subject = 'D1-gateway'") == 1
            && place.log("agent").contains("revoked")
    });
    assert!(took < Duration::from_secs(60), "{took:?}");
    let listed = place.asks(&[&["hub", "device", "list"], &database[..]].concat());
    assert!(listed.contains("revoked") && listed.contains("stolen"), "{listed}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_key_was_listed_by_hand_moves_over_to_a_certificate_by_its_key() {
    let broker = Broker::start("127.0.0.1:0".parse().unwrap(), BrokerOptions::default()).unwrap();
    let mut place = Place { directory: tempfile::tempdir().unwrap(), running: Vec::new() };
    let (people, devices, page) = (free_port(), free_port(), free_port());
    let hub = format!(
        "[tls]\nplain_on_loopback = true\n\n[devices]\nlisten = \"127.0.0.1:{devices}\"\nwithout_certificate = true\n"
    );
    std::fs::write(place.path().join("hub.toml"), hub).unwrap();
    let agent = include_str!("../../firmware-config/gateway/agent.toml")
        .replace("port = 1883", &format!("port = {}", broker.address().port()))
        .replace("127.0.0.1:8321", &format!("127.0.0.1:{page}"));
    let database = ["--database", "sqlite:hub.db"];
    let hub_place = [&database[..], &["--config", "hub.toml"]].concat();
    let public_key = place.asks(&[&["hub", "public-key"], &database[..]].concat());
    let signs = format!("[hub]\nurl = \"http://127.0.0.1:{people}\"\npublic_key = \"{public_key}\"\n");
    std::fs::write(place.path().join("agent.toml"), agent.replace("# [hub]", &signs)).unwrap();
    let key = place.asks(&["agent", "public-key", "--config", "agent.toml"]);
    let add = ["hub", "device", "add", "--id", "D1-gateway", "--public-key", &key, "--kind", "gateway", "--site", "D1"];
    place.asks(&[&add[..], &database[..]].concat());
    let listen = format!("127.0.0.1:{people}");
    place.starts("hub", &[&["hub", "serve", "--listen", &listen], &hub_place[..]].concat());
    let heard = "SELECT count(*) FROM devices WHERE seen_ms IS NOT NULL";
    let certified = "SELECT count(*) FROM certificates WHERE device = 'D1-gateway'";
    place.starts("agent", &["agent", "run", "--config", "agent.toml"]);
    place.until("it is heard by its signature", Duration::from_secs(30), || place.counts(heard) == 1);

    let line = place.asks(&[&["hub", "device", "adopt"], &hub_place[..]].concat());
    drop(place.running.pop().map(|mut agent| (agent.kill(), agent.wait())));
    let identity = agent.replace("# [hub]", "[hub]").replace("# identity", "identity");
    std::fs::write(place.path().join("agent.toml"), identity).unwrap();
    // Another key than the listed one gets nothing by the same line, which holds no secret.
    std::fs::rename(place.path().join("device.key"), place.path().join("own.key")).unwrap();
    let stranger = place.does(&["agent", "enrol", "--config", "agent.toml", &line]);
    assert!(!stranger.status.success() && place.counts(certified) == 0);
    std::fs::rename(place.path().join("own.key"), place.path().join("device.key")).unwrap();
    let told = place.asks(&["agent", "enrol", "--config", "agent.toml", &line]);
    assert!(told.starts_with("D1-gateway is enrolled at https://127.0.0.1:"), "{told}");
    assert_eq!(place.counts(certified), 1);

    // Its configuration knows no other way to the hub any more.
    place.starts("agent", &["agent", "run", "--config", "agent.toml"]);
    place.until("it is heard over TLS", Duration::from_secs(30), || {
        place.log("agent").contains("the line to the hub is up")
    });
    broker.stop().await;
}
