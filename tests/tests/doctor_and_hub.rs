//! What the agent's doctor finds out about a hub, with both real programs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use gatehouse_tests::demo::programs::{Program, free_port, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// Where cargo puts the programs of the workspace; `None`, said loudly, where they were not built.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(Path::parent).unwrap();
    let (agent, hub) = (folder.join("gatehouse-agent"), folder.join("gatehouse-hub"));
    if agent.is_file() && hub.is_file() {
        return Some((agent, hub));
    }
    gatehouse_skipped::skipped("the doctor and a hub (build the programs: cargo build --bins)");
    None
}

/// A hub that knows a gateway, and the gateway after its first start.
struct Scene {
    folder: TempDir,
    agent: PathBuf,
    hub: Program,
    hub_key: String,
}

impl Scene {
    async fn set(agent: PathBuf, hub: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("gatehouse-doctor-").tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("hub.db").display());
        let hub_key = Program::ask(hub, &["public-key", "--database", &database], None).await.unwrap();
        let (address, page, broker) = (free_port().unwrap(), free_port().unwrap(), free_port().unwrap());
        // No broker: what is found out about one is tested beside the agent.
        let text = include_str!("../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", &format!("port = {}", broker.port()))
            .replace("127.0.0.1:8321", &page.to_string())
            .replace("# [hub]", "[hub]")
            .replace("# url = \"https://hub.example:8443\"", &format!("url = \"http://{address}\""))
            .replace("# public_key = \"...\"", &format!("public_key = \"{hub_key}\""));
        std::fs::write(folder.path().join("agent.toml"), text).unwrap();
        // Its device only signs, over plain HTTP.
        let config = folder.path().join("hub.toml");
        std::fs::write(&config, "[tls]\nplain_on_loopback = true\n\n[devices]\nwithout_certificate = true\n").unwrap();
        let config = config.display().to_string();
        let listen = address.to_string();
        let arguments = ["serve", "--listen", &listen, "--database", &database, "--config", &config].map(str::to_owned);
        let hub_program = Program::new("hub", hub.to_owned(), arguments.to_vec(), folder.path());
        let scene = Self { folder, agent, hub: hub_program, hub_key };
        scene.enrol(hub, &database).await;
        scene.hub.start().await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let patience = Duration::from_secs(20);
        wait_for(&http, &format!("http://{address}/healthz"), &scene.hub, patience).await.unwrap();
        // The doctor writes nothing: key and store come from a first start.
        let run = ["run".to_owned(), "--config".to_owned(), scene.config()];
        let first = Program::new("agent", scene.agent.clone(), run.to_vec(), scene.folder.path());
        first.start().await.unwrap();
        wait_for(&http, &format!("http://{page}/"), &first, patience).await.unwrap();
        first.stop().await;
        scene
    }

    async fn enrol(&self, hub: &Path, database: &str) {
        let key = Program::ask(&self.agent, &["public-key", "--config", &self.config()], None).await.unwrap();
        let device = ["devices", "add", "--database", database, "--id", "D1-gateway", "--public-key", &key];
        let add = [&device[..], &["--kind", "gateway", "--site", "D1"]].concat();
        Program::ask(hub, &add, None).await.unwrap();
    }

    fn config(&self) -> String {
        self.folder.path().join("agent.toml").display().to_string()
    }

    /// What the doctor finds about the hub: how bad, and the sentence with its remedy.
    fn doctor(&self) -> (String, String) {
        let output = std::process::Command::new(&self.agent)
            .args(["doctor", "--json", "--listen", "1", "--config", &self.config()])
            .output()
            .unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let about: Vec<&Value> = findings.iter().filter(|f| f["about"] == "hub").collect();
        assert_eq!(about.len(), 1, "{findings:#?}");
        let text = |key: &str| about[0][key].as_str().unwrap_or_default().to_owned();
        (text("severity"), format!("{} | {}", text("what"), text("remedy")))
    }
}

#[tokio::test]
async fn the_doctor_knows_the_right_hub_a_false_one_one_that_does_not_know_us_and_one_that_is_away() {
    let Some((agent, hub)) = programs() else { return };
    let scene = Scene::set(agent, &hub).await;
    let (severity, what) = scene.doctor();
    assert_eq!(severity, "fine", "{what}");
    assert!(what.contains("knows this device, and its answers are signed as they should be"), "{what}");

    // Another hub answers under this address, as far as the agent can tell.
    let right = std::fs::read_to_string(scene.config()).unwrap();
    let other = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    std::fs::write(scene.config(), right.replace(&scene.hub_key, other)).unwrap();
    let (severity, what) = scene.doctor();
    assert_eq!(severity, "loses_data", "{what}");
    assert!(what.contains("not from the hub that hub.public_key names"), "{what}");

    // The device's key was lost and made anew: the hub knows it no longer.
    std::fs::write(scene.config(), &right).unwrap();
    let key = scene.folder.path().join("device.key");
    let kept = scene.folder.path().join("kept.key");
    std::fs::rename(&key, &kept).unwrap();
    Program::ask(&scene.agent, &["public-key", "--config", &scene.config()], None).await.unwrap();
    let (severity, what) = scene.doctor();
    assert_eq!(severity, "loses_data", "{what}");
    assert!(what.contains("gatehouse-hub device invite"), "{what}");
    std::fs::rename(&kept, &key).unwrap();

    scene.hub.stop().await;
    let (severity, what) = scene.doctor();
    assert_eq!(severity, "note", "{what}");
    assert!(what.contains("nothing is lost"), "{what}");
}
