//! A real mosquitto with the project's own settings, and publishers for it.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use tempfile::TempDir;

use crate::load::{DEVICES, Load, Message};

const SETTINGS: &str = include_str!("../../../firmware-config/broker/mosquitto.conf");
/// Publishers of a load; each serves its share of the devices, so that a device's messages stay in order.
const PUBLISHERS: u32 = 4;
/// Longest wait for the broker to take a message.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(60);

/// A running mosquitto; dropping it ends it and removes its files.
pub struct Broker {
    /// Where it listens, on this machine.
    pub port: u16,
    /// What a subscriber may hold unacknowledged, as its settings say.
    pub window: u32,
    child: Child,
    _directory: TempDir,
}

impl Broker {
    /// Starts one on a free port in a temporary folder. With `saves_each_change` it saves as the settings say; else
    /// not at all, so that it is not its saving that is measured.
    pub fn start(saves_each_change: bool) -> anyhow::Result<Self> {
        let program = installed().context("mosquitto is missing; install the package mosquitto")?;
        let directory = tempfile::Builder::new().prefix("gatehouse-bench-broker-").tempdir()?;
        let port = free_port()?;
        let place = format!("{}/", directory.path().display());
        let mut settings = SETTINGS
            .replace("listener 1883 ", &format!("listener {port} "))
            .replace("/var/lib/mosquitto/", &place)
            .replace("message_size_limit 16777216", "message_size_limit 16777216\nuser root");
        if !saves_each_change {
            settings = settings.replace("persistence true", "persistence false");
        }
        let window = settings.lines().find_map(|line| line.strip_prefix("max_inflight_messages ")?.parse().ok());
        let window = window.context("firmware-config/broker/mosquitto.conf names no max_inflight_messages")?;
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, settings)?;
        let log = std::fs::File::create(directory.path().join("mosquitto.log"))?;
        let child = Command::new(program).arg("-c").arg(&file).stdout(Stdio::null()).stderr(log).spawn()?;
        let broker = Self { port, window, child, _directory: directory };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > Duration::from_secs(10) {
                bail!("mosquitto did not open its port");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(broker)
    }

    /// Publishes one message and waits until the broker has it.
    pub async fn publish(&self, message: Message) -> anyhow::Result<()> {
        publish(self.port, "bench-probe", vec![message], None).await
    }

    /// Publishes the whole load, `per_second` if given, else as fast as the broker takes it; returns when it has all.
    pub async fn publish_load(port: u16, load: Load, per_second: Option<u32>) -> anyhow::Result<()> {
        let mut publishers = Vec::new();
        for publisher in 0..PUBLISHERS {
            let mine: Vec<Message> =
                (0..load.messages).filter(|n| n % DEVICES % PUBLISHERS == publisher).map(|n| load.message(n)).collect();
            let pace = per_second.map(|rate| Duration::from_secs(1) * PUBLISHERS / rate);
            publishers.push(tokio::spawn(async move {
                publish(port, &format!("bench-publisher-{publisher}"), mine, pace).await
            }));
        }
        for publisher in publishers {
            publisher.await??;
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn publish(port: u16, name: &str, messages: Vec<Message>, pace: Option<Duration>) -> anyhow::Result<()> {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_inflight(200).set_keep_alive(Duration::from_secs(60));
    let (client, mut events) = AsyncClient::new(options, 100);
    let mut unacknowledged = messages.len();
    let sender = async {
        let started = tokio::time::Instant::now();
        for (n, message) in messages.into_iter().enumerate() {
            if let Some(pace) = pace {
                tokio::time::sleep_until(started + pace * u32::try_from(n)?).await;
            }
            client.publish(message.topic, QoS::AtLeastOnce, false, message.payload).await?;
        }
        anyhow::Ok(())
    };
    let acknowledged = async {
        while unacknowledged > 0 {
            let event =
                tokio::time::timeout(PUBLISH_WAIT_MAX, events.poll()).await.context("the broker is stuck")??;
            if let Event::Incoming(Incoming::PubAck(_)) = event {
                unacknowledged -= 1;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(sender, acknowledged)?;
    Ok(())
}

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join("mosquitto")).find(|program| program.is_file())
}
