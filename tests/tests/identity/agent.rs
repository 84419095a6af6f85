//! The real agent, whose own clock shows another time than the hub's.

use std::process::{Child, Command, Stdio};

use gatehouse_common::sync::enrolment::Invitation;

use super::*;

struct Runs(Child);

impl Drop for Runs {
    fn drop(&mut self) {
        // One that has ended by itself is not there any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_know_that_its_certificate_expired_is_told_and_renews_it() {
    let hub = Hub::start_at(Clock::system().wall(), "").await;
    let (secret, now) = (hub.invite("D1-gateway", "D1"), hub.clock.wall());
    let invitation = Invitation {
        url: hub.url(),
        authority: hub.authority.fingerprint(),
        device: Some("D1-gateway".parse().unwrap()),
        secret: Some(secret),
        at: now,
        until: now.plus(DAY_MS),
    };
    let directory = tempfile::tempdir().unwrap();
    let text = include_str!("../../../firmware-config/gateway/agent.toml")
        .replace("port = 1883", "port = 9")
        .replace("127.0.0.1:8321", "127.0.0.1:0")
        .replace("# [hub]", "[hub]")
        .replace("# identity", "identity");
    std::fs::write(directory.path().join("agent.toml"), text).unwrap();
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse-either"));
        command.arg("agent").args(arguments).args(["--config", "agent.toml"]).current_dir(directory.path());
        command
    };
    let enrolled = agent(&["enrol", &invitation.to_string()]).output().unwrap();
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    let log = std::fs::File::create(directory.path().join("agent.log")).unwrap();
    let _runs = Runs(agent(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !is_so() {
            let log = std::fs::read_to_string(directory.path().join("agent.log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(75), "never: {what}\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let name: DeviceId = "D1-gateway".parse().unwrap();
    let seen = || hub.store.read_now(|r| r.devices()).unwrap().iter().any(|state| state.status.is_some());
    until("it is heard", &seen).await;
    // By the agent's clock its certificate is new.
    hub.pass(31 * DAY_MS);
    let certificates = || hub.store.read_now(|r| r.certificates_of(&name)).unwrap();
    until("it has another certificate", &|| certificates().len() == 2).await;
    until("it uses it", &|| certificates()[1].superseded.is_some()).await;
}
