//! Into a stream of a real `nats-server`, which goes away, comes back, and whose acknowledgement is lost on the way.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{super::nats, *};
use crate::config::{NatsConfig, NatsLogin, Secret};

/// The stream forgets ids after this: the shortest that the server allows. What comes later it takes twice.
const WINDOW: Duration = Duration::from_millis(100);

/// The program, where it is installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.is_file());
    if found.is_none() {
        gatehouse_skipped::skipped("nats-server is missing; install the package nats-server");
    }
    found
}

/// A server with a folder of its own, on a port that it keeps when it comes back. Ended with the test.
struct Server {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    more: String,
    child: Option<Child>,
}

impl Server {
    async fn start(program: &Path, more: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { program: program.to_owned(), folder, port, more: more.to_owned(), child: None };
        server.comes_back().await;
        server
    }

    async fn comes_back(&mut self) {
        let store = self.folder.path().join("store");
        let said = format!(
            "host: 127.0.0.1\nport: {}\njetstream {{ store_dir: \"{}\" }}\n{}\n",
            self.port,
            store.display(),
            self.more.replace("FOLDER", &self.folder.path().display().to_string()),
        );
        let file = self.folder.path().join("nats.conf");
        std::fs::write(&file, said).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    fn goes_away(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The stream as its owner sees it.
    async fn stream(&self) -> Stream {
        let client = async_nats::connect(format!("nats://127.0.0.1:{}", self.port)).await.unwrap();
        let streams = jetstream::new(client);
        let config = stream::Config {
            name: "GATEHOUSE".to_owned(),
            subjects: vec!["depots.>".to_owned()],
            duplicate_window: WINDOW,
            ..stream::Config::default()
        };
        streams.get_or_create_stream(config).await.unwrap();
        Stream { streams }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.goes_away();
    }
}

struct Stream {
    streams: jetstream::Context,
}

impl Stream {
    /// Subject, id and event of each message.
    async fn all(&self) -> Vec<(String, String, Value)> {
        let stream = self.streams.get_stream("GATEHOUSE").await.unwrap();
        let reader = stream.create_consumer(jetstream::consumer::pull::Config::default()).await.unwrap();
        let mut messages = reader.fetch().max_messages(100).messages().await.unwrap();
        let mut all = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let headers = message.headers.as_ref().unwrap();
            assert_eq!(headers.get("Content-Type").unwrap().as_str(), "application/cloudevents+json");
            let id = headers.get("Nats-Msg-Id").unwrap().to_string();
            all.push((message.subject.to_string(), id, serde_json::from_slice(&message.payload).unwrap()));
        }
        all
    }
}

/// A line to a server that can be cut just as an acknowledgement comes back by it.
async fn line_to(server: u16) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicBool::new(false));
    let armed = cuts.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let armed = armed.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
                let there = tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
                let mut bytes = vec![0; 65_536];
                while let Ok(n @ 1..) = far_in.read(&mut bytes).await {
                    let is_ack = bytes[..n].windows(6).any(|part| part == b"\"seq\":");
                    if is_ack && armed.swap(false, Ordering::SeqCst) {
                        break;
                    }
                    if near_out.write_all(&bytes[..n]).await.is_err() {
                        break;
                    }
                }
                there.abort();
            });
        }
    });
    (port, cuts)
}

fn to(port: u16) -> NatsConfig {
    NatsConfig {
        name: "bus".parse().unwrap(),
        url: format!("nats://127.0.0.1:{port}").parse().unwrap(),
        authority_file: None,
        login: NatsLogin::None,
        subject: "depots".to_owned(),
        types: BTreeSet::new(),
        sites: BTreeSet::new(),
        expires_minutes: 60,
    }
}

#[tokio::test]
async fn each_event_is_once_in_the_stream_though_its_server_goes_away_and_an_acknowledgement_is_lost() {
    let Some(program) = program() else { return };
    let mut server = Server::start(&program, "").await;
    let scene = Scene::new().await;
    let (port, cuts) = line_to(server.port).await;
    let (to, mut line) = (to(port), None);
    server.stream().await;

    scene.case_for(to.interest(), CaseType::LateDelivery).await;
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(false));
    assert_eq!(server.stream().await.all().await.len(), 1);

    // It goes away. What waits is not even tried, so that no outage uses up the tries of an event.
    server.goes_away();
    scene.case_for(to.interest(), CaseType::EtaRisk).await;
    for _ in 0..30 {
        match nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap() {
            Err(_) => break,
            // The line may break only now, under a try.
            Ok(_) => scene.hurry_to("nats.bus").await,
        }
    }
    assert!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap().is_err());
    let tries = scene.delivery_to("nats.bus").attempts;
    assert!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap().is_err());
    assert_eq!(scene.delivery_to("nats.bus").attempts, tries, "a server that is away costs no try");
    server.comes_back().await;
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert_eq!(server.stream().await.all().await.len(), 2);

    // The stream takes it, and the hub does not learn so before the stream has forgotten the id.
    scene.case_for(to.interest(), CaseType::DepartureDelay).await;
    cuts.store(true, Ordering::SeqCst);
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert!(!cuts.load(Ordering::SeqCst), "an acknowledgement came by and was cut off");
    let delivery = scene.delivery_to("nats.bus");
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("waiting", 1));
    assert_eq!(server.stream().await.all().await.len(), 3, "the stream has it");
    tokio::time::sleep(WINDOW * 5).await;
    scene.hurry_to("nats.bus").await;
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert_eq!(scene.store.read_now(|r| r.hook_counts("nats.bus")).unwrap(), [("delivered".to_owned(), 3)]);
    let all = server.stream().await.all().await;
    assert_eq!(all.len(), 3);
    let ids: BTreeSet<&str> = all.iter().map(|(_, id, _)| id.as_str()).collect();
    assert_eq!(ids.len(), 3);
    for (subject, id, event) in &all {
        assert_eq!((subject.as_str(), id.as_str()), ("depots.case.open", event["id"].as_str().unwrap()));
        assert_eq!(event["specversion"], "1.0");
    }
    let events: Vec<Value> = all.iter().map(|(_, _, event)| event.clone()).collect();
    super::cloudevents::leave("nats", &events);

    // The control: the stream alone would have taken it twice.
    let again = jetstream::message::PublishMessage::build().message_id(&all[2].1).header("Content-Type", "x");
    let stream = server.stream().await;
    stream.streams.send_publish("depots.case.open", again.payload("{}".into())).await.unwrap().await.unwrap();
    let info = stream.streams.get_stream("GATEHOUSE").await.unwrap().cached_info().state.messages;
    assert_eq!(info, 4);
}

#[tokio::test]
async fn what_comes_again_within_the_window_is_dropped_by_the_stream_and_is_done() {
    let Some(program) = program() else { return };
    let server = Server::start(&program, "").await;
    let scene = Scene::new().await;
    let (to, mut line) = (to(server.port), None);
    let stream = server.stream().await;
    let mut config = stream.streams.get_stream("GATEHOUSE").await.unwrap().cached_info().config.clone();
    config.duplicate_window = Duration::from_secs(120);
    stream.streams.update_stream(config).await.unwrap();
    scene.case_for(to.interest(), CaseType::LateDelivery).await;
    // Somebody else, another replica perhaps, has put it there already.
    let id = scene.delivery_to("nats.bus").event;
    let other = jetstream::message::PublishMessage::build().message_id(&id).payload("{}".into());
    stream.streams.send_publish("depots.case.open", other).await.unwrap().await.unwrap();
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert_eq!(scene.store.read_now(|r| r.hook_counts("nats.bus")).unwrap(), [("delivered".to_owned(), 1)]);
    assert_eq!(stream.streams.get_stream("GATEHOUSE").await.unwrap().cached_info().state.messages, 1);
}

#[tokio::test]
async fn without_a_stream_that_takes_its_subject_an_event_is_not_done() {
    let Some(program) = program() else { return };
    let server = Server::start(&program, "").await;
    let scene = Scene::new().await;
    let (to, mut line) = (to(server.port), None);
    scene.case_for(to.interest(), CaseType::LateDelivery).await;
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    let delivery = scene.delivery_to("nats.bus");
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("waiting", 1));
    assert!(!delivery.last_error.is_empty());
    server.stream().await;
    scene.hurry_to("nats.bus").await;
    assert_eq!(nats::once(&scene.store, &scene.clock, &to, &mut line).await.unwrap(), Ok(true));
    assert_eq!(server.stream().await.streams.get_stream("GATEHOUSE").await.unwrap().cached_info().state.messages, 1);
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_alone_and_asks_who_is_there() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (chain, private) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, own.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let more = format!(
        "authorization {{ token: \"a long word\" }}\ntls {{ cert_file: \"{}\", key_file: \"{}\" }}",
        chain.display(),
        private.display()
    );
    let server = Server::start(&program, &more).await;
    let scene = Scene::new().await;
    let right = NatsConfig {
        url: format!("tls://localhost:{}", server.port).parse().unwrap(),
        authority_file: Some(chain.clone()),
        login: NatsLogin::Token(Secret::new("a long word")),
        ..to(server.port)
    };
    let mut line = None;
    assert_eq!(nats::once(&scene.store, &scene.clock, &right, &mut line).await.unwrap(), Ok(false));
    let other = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let other = other.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
    for wrong in [
        NatsConfig { authority_file: Some(folder.path().join("other.pem")), ..right.clone() },
        NatsConfig { authority_file: None, ..right.clone() },
        NatsConfig { login: NatsLogin::Token(Secret::new("another word")), ..right.clone() },
        NatsConfig { login: NatsLogin::None, ..right.clone() },
    ] {
        let mut line = None;
        assert!(nats::once(&scene.store, &scene.clock, &wrong, &mut line).await.unwrap().is_err());
    }
}
