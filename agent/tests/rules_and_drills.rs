//! Rules and drills from the command line, against a store and a running agent, and a second person at the page.

#![expect(clippy::unwrap_used, reason = "a panic here is the report of a failed test")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use gatehouse_agent::{
    clock::Clock,
    config::{self, key},
    core::{
        Core, Profile,
        input::{Input, Line},
    },
    driver::step,
    page::hash_pin,
    store::{Identity, Store},
};
use gatehouse_common::{
    fact::{FactKey, FactValue, Report, Source},
    order::{Customer, Order, OrderLine, OrderStatus, Tier},
    sync::{Cursor, Downward, FeedItem, Lane},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PIN: &str = "2468";

/// A configuration of an agent that stands alone, without broker and hub.
struct Agent {
    directory: TempDir,
    page_port: u16,
    running: Option<Child>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    out: String,
    wrong: String,
    code: i32,
}

impl Agent {
    fn prepared() -> Self {
        // Only the first test of the process installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::Builder::new().prefix("gatehouse-rules-").tempdir().unwrap();
        let (broker, page_port) = (free_port(), free_port());
        let pin = hash_pin(PIN).unwrap();
        let mut text = include_str!("../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", &format!("port = {broker}"))
            .replace("127.0.0.1:8321", &format!("127.0.0.1:{page_port}"));
        for (name, role) in [("ana", "supervisor"), ("ben", "supervisor"), ("cas", "dispatch")] {
            text.push_str(&format!("\n[[operators]]\nname = \"{name}\"\nrole = \"{role}\"\npin_argon2 = \"{pin}\"\n"));
        }
        std::fs::write(directory.path().join("agent.toml"), text).unwrap();
        Self { directory, page_port, running: None }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.file(name), text).unwrap();
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Puts an order with a customer on credit hold into the store, as the hub would.
    fn is_told_of(&self, order: &str) {
        let config = config::load(&self.file("agent.toml")).unwrap();
        let key = key::load_or_make(&config.device.key_file).unwrap();
        let (device, site) = (config.device.id, config.device.site);
        let identity = Identity { device: device.clone(), site: site.clone(), public_key: key.public() };
        let mut store = Store::open(&config.store_path, &identity).unwrap();
        let clock = Clock::system();
        let now = clock.now();
        let bundle = store.rules_at_start(config.bundle, &config.bundle_text, now.wall).unwrap();
        let profile = Profile { device, site, vehicle: None, yard: None, key, hub_key: None, bundle };
        let mut core = Core::load(profile, store.snapshot().unwrap());
        let told = Order {
            id: order.parse().unwrap(),
            version: 1,
            site: "D1".parse().unwrap(),
            customer: Customer { id: "C1".parse().unwrap(), name: "Customer One".into(), tier: Tier::B },
            lines: vec![OrderLine {
                line: 1,
                product: "P1".parse().unwrap(),
                quantity: 5,
                unit_price_minor: 1_000,
                unit_weight_grams: None,
            }],
            currency: "EUR".into(),
            class: "standard".into(),
            vehicle: "V1".parse().unwrap(),
            carrier: "CARR".parse().unwrap(),
            door: "3".parse().unwrap(),
            planned_departure: now.wall.plus(7_200_000),
            window_end: now.wall.plus(14_400_000),
            destination: None,
            route: None,
            status: OrderStatus::Released,
            cut_off: None,
            dangerous_goods: false,
        };
        let credit = Report {
            key: FactKey::Credit { customer: "C1".parse().unwrap() },
            value: FactValue::Credit { on_hold: true, headroom_minor: 0 },
            source: Source::Erp,
            at: now.wall,
            evidence: "told".into(),
        };
        let says = [
            Downward::Order(serde_json::to_string(&told).unwrap()),
            Downward::Fact(serde_json::to_string(&credit).unwrap()),
        ];
        let items = (1..).zip(says).map(|(position, says)| FeedItem { lane: Lane::Orders, position, says }).collect();
        let feed = Input::Feed { items, cursor: Cursor::default(), more: false };
        step(&mut core, &mut store, &now, &[Input::Line(Line::Starting), feed, Input::Tick]).unwrap();
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.file("agent.log")).unwrap();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"));
        agent.args(["run", "--config"]).arg(self.file("agent.toml")).stdout(Stdio::null()).stderr(log);
        self.running = Some(agent.spawn().unwrap());
        let started = Instant::now();
        while !self.answers() {
            let log = std::fs::read_to_string(self.file("agent.log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(20), "the page did not open:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut page = TcpStream::connect((Ipv4Addr::LOCALHOST, self.page_port))?;
            page.set_read_timeout(Some(Duration::from_secs(2)))?;
            page.write_all(b"GET /api/status HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            page.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }

    fn stop(&mut self) {
        let mut agent = self.running.take().unwrap();
        assert!(Command::new("kill").arg("-TERM").arg(agent.id().to_string()).status().unwrap().success());
        assert!(agent.wait().unwrap().success());
    }

    fn says(&self, arguments: &[&str]) -> Said {
        said(Command::new(env!("CARGO_BIN_EXE_gatehouse-agent")).args(arguments).env("GATEHOUSE_PIN", PIN))
    }

    /// As [`Agent::says`], with the configuration and, if given, in the name of a person.
    fn asked(&self, arguments: &[&str], name: Option<&str>) -> Said {
        let config = self.file("agent.toml");
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        all.extend(name.iter().flat_map(|name| ["--as", name]));
        self.says(&all)
    }

    async fn post(&self, path: &str, name: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{}{path}", self.page_port);
        let answer = client.post(url).basic_auth(name, Some(PIN)).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn board(&self) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{}/api/board", self.page_port);
        client.get(url).send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.running {
            // It may have ended by itself.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Said { out: text(&output.stdout), wrong: text(&output.stderr), code: output.status.code().unwrap_or(-1) }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// `mark version how` of each line of `rules list`.
fn listed(said: &Said) -> Vec<String> {
    let row = |line: &str| {
        let (mark, rest) = line.split_once("version ").unwrap();
        let (version, how) = (rest.split(' ').next().unwrap(), rest.rsplit_once('(').unwrap().1);
        format!("{} {version} {}", mark.trim(), how.trim_end_matches(')')).trim().to_owned()
    };
    said.out.lines().map(row).collect()
}

#[test]
fn rules_are_activated_taken_back_and_listed_from_the_command_line() {
    let mut agent = Agent::prepared();
    let (two, three) = (
        agent.write("two.toml", "version = 2\n"),
        agent.write("three.toml", "version = 3\nhub_silence_max_ms = 70000\n"),
    );
    let wrong = agent.write("wrong.toml", "version = 4\n[classes.standard]\ngates = ['credid']\n");
    let none = agent.asked(&["rules", "activate", &two], Some("ana"));
    assert!(none.code == 1 && none.wrong.contains("the agent does not answer"), "{none:?}");
    agent.start();
    assert_eq!(listed(&agent.asked(&["rules", "list"], None)), ["in force 0 start"]);
    let done = agent.asked(&["rules", "activate", &two], Some("ana"));
    assert!(done.code == 0 && done.out.starts_with("rules of version 2 ("), "{done:?}");
    assert!(done.out.ends_with("are in force"), "{done:?}");
    assert_eq!(agent.asked(&["rules", "activate", &three], Some("ben")).code, 0);
    let lower = agent.asked(&["rules", "activate", &two], Some("ana"));
    assert!(lower.code == 1 && lower.wrong.contains("version 3 is in force and this is 2"), "{lower:?}");
    let refused = agent.asked(&["rules", "activate", &wrong], Some("ana"));
    assert!(refused.code == 2 && refused.wrong.contains("line 3, column 10"), "{refused:?}");
    let role = agent.asked(&["rules", "rollback"], Some("cas"));
    assert!(role.code == 1 && role.wrong.contains("role dispatch may not do this"), "{role:?}");
    let config = agent.file("agent.toml");
    let mut guess = Command::new(env!("CARGO_BIN_EXE_gatehouse-agent"));
    guess.args(["rules", "rollback", "--as", "ana", "--config"]).arg(config).env("GATEHOUSE_PIN", "0000");
    let stranger = said(&mut guess);
    assert!(stranger.code == 1 && stranger.wrong.contains("name or PIN is wrong"), "{stranger:?}");
    let back = agent.asked(&["rules", "rollback"], Some("ana"));
    assert!(back.code == 0 && back.out.starts_with("rules of version 2 ("), "{back:?}");
    let all = ["in force 2 rollback", "before 3 activate", "2 activate", "0 start"];
    assert_eq!(listed(&agent.asked(&["rules", "list"], None)), all);
    agent.stop();
    agent.start();
    assert_eq!(listed(&agent.asked(&["rules", "list"], None)), all, "a restart changes nothing");
    let json: Value = serde_json::from_str(&agent.asked(&["rules", "list", "--json"], None).out).unwrap();
    assert_eq!((json[0]["by"].as_str(), json[1]["by"].as_str()), (Some("ana"), Some("ben")));
}

#[tokio::test]
async fn a_second_person_confirms_at_the_page_and_explain_and_replay_tell_of_it() {
    let mut agent = Agent::prepared();
    agent.is_told_of("SO-1");
    let before = agent.asked(&["rules", "explain", "SO-1"], None);
    assert!(before.out.contains("FAIL     credit: Customer One is on credit hold"), "{before:?}");
    let unknown = agent.asked(&["rules", "explain", "SO-2"], None);
    assert!(unknown.code == 1 && unknown.wrong.contains("no dispatch of order SO-2"), "{unknown:?}");
    agent.start();
    let started = Instant::now();
    let dispatch = loop {
        let board = agent.board().await;
        // The first exchange has to be given up before anything may leave.
        if board["status"]["line"]["starting"] == false {
            break board["dispatches"][0]["document"].as_str().unwrap().to_owned();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{board:#}");
    };
    let (over, confirm) =
        (format!("/api/dispatches/{dispatch}/override"), format!("/api/dispatches/{dispatch}/confirm"));
    let body = json!({ "reason": "the customer waits at the gate" });
    let (status, asked) = agent.post(&over, "ana", &body).await;
    assert_eq!((status, &asked["decision"]), (200, &Value::Null), "{asked}");
    assert_eq!(agent.board().await["dispatches"][0]["asked"]["who"], "ana");
    let (status, alone) = agent.post(&confirm, "ana", &json!({})).await;
    assert!(status >= 400 && alone["detail"].as_str().unwrap().contains("another person must confirm"), "{alone}");
    let (status, done) = agent.post(&confirm, "ben", &json!({})).await;
    assert_eq!((status, done["message"].as_str()), (200, Some("order SO-1 is released by ana and ben")));
    let row: Value = serde_json::from_str(&agent.asked(&["rules", "explain", "SO-1", "--json"], None).out).unwrap();
    let last = row["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!((last["kind"].as_str(), last["by"]["second"]["name"].as_str()), (Some("override"), Some("ben")));
    let words = agent.asked(&["rules", "explain", "SO-1"], None);
    assert!(words.out.contains(": override; the customer waits at the gate; rules "), "{words:?}");
    // Beside the running agent: rules under which nobody overrides.
    let nobody = agent.write("nobody.toml", "version = 2\n[overrides]\nroles = ['manager']\n");
    let store = agent.file("agent.db");
    let replayed = agent.says(&["rules", "replay", &nobody, "--store", store.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&replayed.out).unwrap_or_else(|e| panic!("{e}: {replayed:?}"));
    assert_eq!(report["differences"][0]["change"], "not released", "{report:#}");
    assert_eq!(report["faith"]["decisions_same"], report["faith"]["decisions_recorded"], "{report:#}");
    let usual = agent.write("usual.toml", "");
    let same = agent.says(&["rules", "replay", &usual, "--store", store.to_str().unwrap()]);
    assert!(same.out.contains(": 0 of 1 dispatches come out otherwise."), "{same:?}");
    let nowhere = agent.says(&["rules", "replay", &usual, "--store", Path::new("/nonexistent").to_str().unwrap()]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
}

#[tokio::test]
async fn a_drill_is_started_shown_and_ended_from_the_command_line() {
    let mut agent = Agent::prepared();
    agent.is_told_of("SO-1");
    agent.start();
    let start = ["drill", "start", "wms", "--for", "30m", "--reason", "we learn to do without"];
    let done = agent.asked(&start, Some("ana"));
    assert!(done.code == 0 && done.out.starts_with("drill: wms counts as gone until "), "{done:?}");
    let again = agent.asked(&start, Some("ana"));
    assert!(again.code == 1 && again.wrong.contains("is on already"), "{again:?}");
    let role = agent.asked(&["drill", "stop", "wms"], Some("cas"));
    assert!(role.code == 1 && role.wrong.contains("role dispatch may not do this"), "{role:?}");
    let nobody = agent.asked(&["drill", "start", "nosuch", "--for", "1h", "--reason", "we learn more"], Some("ana"));
    assert!(nobody.code == 1 && nobody.wrong.contains("no source nosuch is known here"), "{nobody:?}");
    let long = agent.asked(&["drill", "start", "tms", "--for", "9h", "--reason", "we learn more"], Some("ana"));
    assert!(long.code == 2 && long.wrong.contains("give 1m to 8h"), "{long:?}");
    let board = agent.board().await;
    let drill = &board["status"]["drills"][0];
    assert_eq!((drill["source"].as_str(), drill["by"].as_str()), (Some("wms"), Some("ana")));
    let status = agent.asked(&["drill", "status"], None);
    assert!(status.out.starts_with("DRILL       wms counts as gone until "), "{status:?}");
    agent.stop();
    agent.start();
    let (code, ended) = agent.post("/api/drills/stop", "ben", &json!({ "source": "wms" })).await;
    assert_eq!(code, 200, "it goes on over a restart of the program: {ended}");
    let status = agent.asked(&["drill", "status"], None);
    assert!(
        status.out.starts_with("no drill is on") && status.out.contains("without wms stopped by ben"),
        "{status:?}"
    );
    assert!(status.out.contains("without wms started by ana: we learn to do without"), "{status:?}");
}
