use std::path::Path;

use super::*;

const GATEWAY: &str = r#"
[device]
id = "D1-gateway"
kind = "gateway"
site = "D1"
key_file = "device.key"
[store]
path = "agent.db"
[mqtt]
host = "127.0.0.1"
[site]
geofence = { lat = 30.27, lon = -97.74, radius_m = 300 }
doors = ["1", "2"]
"#;

fn problems(text: &str) -> Vec<String> {
    match parse(text, Path::new("/tmp")) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_least_configuration_is_enough_and_needs_no_hub() {
    let config = parse(GATEWAY, Path::new("/tmp")).unwrap();
    assert!(config.hub.is_none());
    assert_eq!(config.store_path, Path::new("/tmp/agent.db"));
    assert_eq!(config.mqtt.client_id, "gatehouse-D1-gateway");
    assert!(config.page.listen.ip().is_loopback());
}

#[test]
fn all_problems_are_told_at_once_each_with_key_and_remedy() {
    let text = r#"
        pages = 1
        [device]
        id = "D1/gateway"
        kind = "lorry"
        [store]
        path = "/no/such/directory/agent.db"
        [mqtt]
        hots = "127.0.0.1"
        port = "1883"
        password = "secret"
        [hub]
        url = "http://hub.example"
        public_key = "AAAA"
        [page]
        listen = "0.0.0.0:80"
        [[operators]]
        name = "ana"
        role = "supervisor"
        pin_argon2 = "1234"
        [[topics]]
        filter = "a/#/b"
        decoder = "json"
        kind = "door"
        subject = { segment = 0 }
    "#;
    let told = problems(text);
    for key in [
        "pages: ",
        "device.id: ",
        "device.kind: ",
        "device.site: is missing",
        "device.key_file: is missing",
        "store.path: ",
        "mqtt.host: is missing",
        "mqtt.hots: is not a key of this section",
        "mqtt.port: ",
        "mqtt.password: is a secret in the configuration",
        "site.geofence: is missing",
        "hub.public_key: ",
        "page.listen: ",
        "operators[1].pin_argon2: is not an argon2 hash",
        "topics[1].subject: ",
    ] {
        assert!(told.iter().any(|line| line.starts_with(key)), "{key} is not told in {told:#?}");
    }
    assert!(told.iter().all(|line| line.contains(" -> ")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("secret\"")), "{told:#?}");
}

#[test]
fn a_page_that_outsiders_could_reach_is_refused_with_the_remedy() {
    let told = problems(&format!("{GATEWAY}[page]\nlisten = \"192.168.1.4:8321\"\n"));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("listen on 127.0.0.1"), "{told:?}");
}

#[test]
fn an_identity_of_another_device_is_refused_and_one_for_another_depot_keeps_no_agent_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let loads = |device: &str, site: &str| {
        let said = gatehouse_common::sync::enrolment::Enrolled {
            device: device.parse().unwrap(),
            sites: vec![site.parse().unwrap()],
            vehicles: Vec::new(),
            url: "https://hub.example".to_owned(),
            hub: gatehouse_common::seal::PrivateKey::from_seed([1; 32]).public(),
            authority: String::new(),
            certificate: String::new(),
            from: gatehouse_common::time::UtcMs(0),
            until: gatehouse_common::time::UtcMs(3_000),
            grace_ms: 500,
        };
        Identity { said, line_key: String::new() }.save(&directory.path().join("hub.identity")).unwrap();
        parse(&format!("{GATEWAY}[hub]\nidentity = \"hub.identity\"\n"), directory.path())
    };
    assert!(loads("D1-gateway", "D1").is_ok());
    let elsewhere = loads("D1-gateway", "D2").unwrap();
    let lacks = elsewhere.hub.unwrap().identity.unwrap().lacks(&elsewhere.device.site, None);
    assert!(lacks.is_some_and(|what| what.contains("depot D1")));
    let problems = loads("D2-gateway", "D1").unwrap_err();
    assert!(problems.iter().any(|problem| problem.to_string().contains("is D2-gateway's")), "{problems:?}");
}

#[test]
fn a_hub_is_reached_in_the_clear_on_this_machine_only() {
    let key = gatehouse_common::seal::PrivateKey::from_seed([1; 32]).public();
    let with = |url: &str| format!("{GATEWAY}[hub]\nurl = \"{url}\"\npublic_key = \"{key}\"\n");
    for url in ["http://127.0.0.1:8080", "http://[::1]:8080/", "https://hub.example"] {
        let parsed = parse(&with(url), Path::new("/tmp"));
        assert!(parsed.is_ok(), "{url}: {parsed:?}");
    }
    for url in ["http://hub.example", "ftp://hub.example", "hub", "https://hub.example/path"] {
        assert_eq!(problems(&with(url)).len(), 1, "{url}");
    }
}

#[test]
fn a_topic_without_id_and_time_is_refused_since_repeats_could_not_be_told() {
    let told = problems(&format!(
        "{GATEWAY}[[topics]]\nfilter = \"d/+\"\ndecoder = \"json\"\nkind = \"door\"\n\
         subject = {{ segment = 2 }}\nvalue = \"/open\"\n"
    ));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("topics[1].id: "), "{told:?}");
}

#[test]
fn a_bundle_with_a_wrong_key_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bundle.toml"), "hub_silence_max = 3").unwrap();
    let text = format!("{GATEWAY}[bundle]\npath = \"bundle.toml\"\n");
    let told = parse(&text, directory.path()).unwrap_err();
    assert_eq!(told[0].key, "bundle.path");
    assert!(told[0].what.contains("hub_silence_max"), "{told:?}");
}

#[test]
fn a_vehicle_must_name_its_vehicle_and_a_gateway_must_not() {
    assert_eq!(problems(&GATEWAY.replace("\"gateway\"", "\"vehicle\"")).len(), 1);
    assert_eq!(problems(&GATEWAY.replace("site = \"D1\"", "site = \"D1\"\nvehicle = \"7\"")).len(), 1);
}

#[test]
fn a_file_that_is_not_toml_is_told_with_the_line() {
    let told = problems("[device\nid = 3");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("line 1"), "{told:?}");
}
