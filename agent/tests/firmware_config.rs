//! The examples in `firmware-config/` are what the programs take, and lose nothing.

use std::{collections::BTreeMap, path::PathBuf};

use gatehouse_agent::config::{self, DeviceKind, ReadingKind};
use gatehouse_common::bundle::Rules;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../firmware-config").join(name)
}

#[test]
fn the_examples_for_gateway_and_vehicle_are_taken_as_they_are() {
    let gateway = config::load(&example("gateway/agent.toml")).unwrap();
    assert_eq!(gateway.device.kind, DeviceKind::Gateway);
    let vehicle = config::load(&example("vehicle/agent.toml")).unwrap();
    assert_eq!(vehicle.device.kind, DeviceKind::Vehicle);
    assert!(gateway.hub.is_none() && vehicle.hub.is_none());
}

#[test]
fn the_parts_of_the_examples_that_are_commented_out_are_taken_too() {
    for name in ["gateway", "vehicle"] {
        let text = std::fs::read_to_string(example(name).join("agent.toml")).unwrap();
        let enrolled = text.replace("# [hub]", "[hub]").replace("# identity", "identity");
        let config = config::parse(&enrolled, &example(name)).unwrap();
        assert!(config.hub.is_none(), "{name}: nobody has enrolled it yet");
        assert_eq!(config.identity_file, Some(example(name).join("hub.identity")));
        let key = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
        let listed = text
            .replace("# [hub]", "[hub]")
            .replace("# url", "url")
            .replace("# public_key = \"...\"", &format!("public_key = \"{key}\""));
        let config = config::parse(&listed, &example(name)).unwrap();
        assert!(config.hub.is_some_and(|hub| hub.identity.is_none()), "{name}");
    }
}

#[test]
fn the_rules_of_the_vehicle_example_are_taken_and_are_the_usual_ones() {
    let text = std::fs::read_to_string(example("vehicle/agent.toml")).unwrap();
    let text = text.replace("# [bundle]", "[bundle]").replace("# path = \"rules", "path = \"rules");
    let config = config::parse(&text, &example("vehicle")).unwrap();
    assert!(config.bundle_text.contains("[trips]"));
    assert_eq!(config.bundle.rules.trips, Rules::default().trips);
    assert!(config.topics.iter().any(|topic| topic.map.kind == ReadingKind::Proof));
}

#[test]
fn the_broker_example_drops_nothing_and_stays_below_the_agents_packet_limit() {
    let text = std::fs::read_to_string(example("broker/mosquitto.conf")).unwrap();
    let settings: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    for (key, expected) in [
        ("persistence", "true"),
        ("autosave_on_changes", "true"),
        ("autosave_interval", "1"),
        ("max_queued_messages", "0"),
        ("max_queued_bytes", "0"),
    ] {
        assert_eq!(settings.get(key), Some(&expected), "{key}");
    }
    assert!(!settings.contains_key("persistent_client_expiration"));
    let largest: usize = settings["message_size_limit"].parse().unwrap();
    for name in ["gateway/agent.toml", "vehicle/agent.toml"] {
        let mqtt = config::load(&example(name)).unwrap().mqtt;
        assert!(largest + 70_000 < mqtt.packet_max_bytes, "{name}: topic and header need room too");
        assert!(mqtt.payload_max_bytes < largest);
    }
}
