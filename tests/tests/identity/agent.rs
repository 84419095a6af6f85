//! The real agent: what it does where its clock or its configuration says something else than the hub.

use std::process::{Child, Command, Stdio};

use gatehouse_common::sync::enrolment::Invitation;

use super::*;

/// An agent in a folder of its own, configured for depot D1.
struct Agent {
    directory: tempfile::TempDir,
    runs: Option<Child>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stops();
    }
}

impl Agent {
    /// One that was invited for `site` and has its certificate.
    fn enrolled(hub: &Hub, site: &str) -> Self {
        let (secret, now) = (hub.invite("D1-gateway", site), hub.clock.wall());
        let invitation = Invitation {
            url: hub.url(),
            authority: hub.authority.fingerprint(),
            device: Some("D1-gateway".parse().unwrap()),
            secret: Some(secret),
            at: now,
            until: now.plus(DAY_MS),
        };
        let agent = Self { directory: tempfile::tempdir().unwrap(), runs: None };
        let text = include_str!("../../../firmware-config/gateway/agent.toml")
            .replace("port = 1883", "port = 9")
            .replace("127.0.0.1:8321", "127.0.0.1:0")
            .replace("# [hub]", "[hub]")
            .replace("# identity", "identity");
        std::fs::write(agent.directory.path().join("agent.toml"), text).unwrap();
        let enrolled = agent.command(&["enrol", &invitation.to_string()]).output().unwrap();
        assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
        agent
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse-either"));
        command.arg("agent").args(arguments).args(["--config", "agent.toml"]).current_dir(self.directory.path());
        command
    }

    fn starts(&mut self) {
        let log = std::fs::File::create(self.directory.path().join("agent.log")).unwrap();
        self.runs = Some(self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn stops(&mut self) {
        if let Some(mut child) = self.runs.take() {
            // One that has ended by itself is not there any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap_or_default()
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(75), "never: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn is_heard(hub: &Hub) -> bool {
    hub.store.read_now(|r| r.devices()).unwrap().iter().any(|state| state.status.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_know_that_its_certificate_expired_is_told_and_renews_it() {
    let hub = Hub::start_at(Clock::system().wall(), "").await;
    let mut agent = Agent::enrolled(&hub, "D1");
    agent.starts();
    let name: DeviceId = "D1-gateway".parse().unwrap();
    agent.until("it is heard", || is_heard(&hub)).await;
    // By the agent's clock its certificate is new.
    hub.pass(31 * DAY_MS);
    let certificates = || hub.store.read_now(|r| r.certificates_of(&name)).unwrap();
    agent.until("it has another certificate", || certificates().len() == 2).await;
    agent.until("it uses it", || certificates()[1].superseded.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_listed_for_another_depot_tells_nothing_until_the_list_is_right_and_loses_nothing() {
    let hub = Hub::start_at(Clock::system().wall(), "").await;
    let mut agent = Agent::enrolled(&hub, "D2");
    agent.starts();
    let name: DeviceId = "D1-gateway".parse().unwrap();
    agent.until("it says what is wrong", || agent.log().contains("does not list this device for depot D1")).await;
    // It asks for the next certificate, which may say something else, and gets one for the same.
    let certificates = || hub.store.read_now(|r| r.certificates_of(&name)).unwrap();
    agent.until("it has another certificate", || certificates().len() == 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_heard(&hub) && hub.store.read_now(|r| r.chains_of(&name)).unwrap().is_empty());

    let mut listed = hub.store.read_now(|r| r.device(&name)).unwrap().unwrap();
    listed.sites = vec!["D1".parse().unwrap()];
    devices::add(&hub.store, listed, "test", hub.clock.wall()).unwrap();
    // It asks once in a quarter of an hour, and when it starts.
    agent.stops();
    agent.starts();
    agent.until("it is heard", || is_heard(&hub)).await;
}
