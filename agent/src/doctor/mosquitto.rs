//! What mosquitto's own configuration says: what it keeps over a restart cannot be tried without restarting it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::Finding;
use crate::config::MqttConfig;

/// Where Debian's mosquitto and most others look.
const USUAL: &str = "/etc/mosquitto/mosquitto.conf";

/// Reads the configuration at `given`, or where mosquitto looks for it when the broker is on this machine.
pub fn examine(mqtt: &MqttConfig, given: Option<&Path>) -> Vec<Finding> {
    let is_here = matches!(mqtt.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let path = given.map(PathBuf::from).or_else(|| is_here.then(|| PathBuf::from(USUAL)));
    let unknown = |what: String| {
        vec![
            Finding::unknown("broker", format!("what it keeps over a restart of its own is not known: {what}")).remedy(
                "name its configuration with --broker-config, or see that sessions and messages are saved after each \
                 change (mosquitto: persistence true, autosave_on_changes true, autosave_interval 1)",
            ),
        ]
    };
    match path {
        None => unknown(format!("it runs on {}", mqtt.host)),
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => judge(&path, &text),
            Err(error) => unknown(format!("{} cannot be read: {error}", path.display())),
        },
    }
}

/// The settings of a file: the last of a key counts.
fn settings(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(char::is_whitespace)).map(|(key, value)| (key, value.trim())).collect()
}

fn judge(path: &Path, text: &str) -> Vec<Finding> {
    let settings = settings(text);
    let value = |key: &str, default: &'static str| settings.get(key).copied().unwrap_or(default).to_owned();
    let file = path.display();
    let mut findings = Vec::new();
    let is_saved = value("persistence", "false") == "true";
    let each_change = value("autosave_on_changes", "false") == "true" && value("autosave_interval", "1800") == "1";
    if !is_saved {
        findings.push(
            Finding::loses(
                "broker",
                format!("{file}: persistence is false"),
                "every message and every session that waits when the broker or its machine starts anew",
            )
            .remedy("set persistence true, persistence_location, autosave_on_changes true and autosave_interval 1"),
        );
    } else if !each_change {
        findings.push(
            Finding::loses(
                "broker",
                format!("{file}: messages are saved every {} s", value("autosave_interval", "1800")),
                "what came since the last save when the broker is killed or the power goes",
            )
            .remedy("set autosave_on_changes true and autosave_interval 1"),
        );
    }
    for (key, default) in [("max_queued_messages", "1000"), ("max_queued_bytes", "0")] {
        let found = value(key, default);
        if found != "0" {
            findings.push(
                Finding::loses(
                    "broker",
                    format!("{file}: {key} is {found}"),
                    "what is sent beyond it while the agent is away: acknowledged to the sender, and dropped",
                )
                .remedy(format!("set {key} 0")),
            );
        }
    }
    if let Some(after) = settings.get("persistent_client_expiration") {
        findings.push(
            Finding::loses(
                "broker",
                format!("{file}: sessions are forgotten after {after}"),
                "everything that waits, when the agent was away for that long",
            )
            .remedy("remove persistent_client_expiration"),
        );
    }
    if settings.contains_key("include_dir") {
        findings.push(Finding::note("broker", format!("{file} includes other files, which were not read")));
    }
    if findings.is_empty() {
        findings.push(Finding::fine("broker", format!("{file}: sessions and messages are saved after each change")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn worst(text: &str) -> (usize, Severity) {
        let findings = judge(Path::new("mosquitto.conf"), text);
        let losing = findings.iter().filter(|finding| finding.severity == Severity::LosesData).count();
        (losing, findings.iter().map(|finding| finding.severity).max().unwrap())
    }

    #[test]
    fn what_we_ship_is_fine_and_each_default_that_loses_is_named() {
        let ours = include_str!("../../../firmware-config/broker/mosquitto.conf");
        assert_eq!(worst(ours), (0, Severity::Fine));
        assert_eq!(worst("listener 1883\n"), (2, Severity::LosesData), "persistence and queue");
        for (key, bad) in [
            ("persistence true", "persistence false"),
            ("autosave_on_changes true", "autosave_on_changes false"),
            ("max_queued_messages 0", "max_queued_messages 100"),
            ("max_queued_bytes 0", "max_queued_bytes 1000"),
            ("set_tcp_nodelay true", "persistent_client_expiration 1d"),
        ] {
            assert_eq!(worst(&ours.replace(key, bad)), (1, Severity::LosesData), "{bad}");
        }
    }
}
