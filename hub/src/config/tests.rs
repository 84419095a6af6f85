use std::path::Path;

use super::*;
use crate::auth::pins;

const LINE: CommandLine<'_> = CommandLine { listen: "127.0.0.1:0", database: "sqlite:hub.db", file: None };

fn problems(text: &str) -> Vec<String> {
    match parse(&LINE, text, Path::new(".")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_file_is_a_whole_configuration() {
    let config = parse(&LINE, "", Path::new(".")).unwrap();
    assert_eq!(config.hub.name.as_str(), "hub");
    assert_eq!(config.hub.key_file, Path::new("hub.key"));
    assert!(config.erp.is_none() && config.operators.is_empty());
    assert_eq!(config.policy, PolicyConfig::default());
}

#[test]
fn every_problem_is_told_at_once_with_its_key_and_remedy() {
    let line = CommandLine { listen: "0.0.0.0:8080", database: "mysql:x", file: None };
    let text = r#"
        colour = "red"
        [hub]
        name = "a/b"
        [erp]
        kind = "rest"
        url = "ftp://x"
        token_file = "/nonexistent/token"
        poll_ms = "often"
        [[operators]]
        name = "ana"
        role = "king"
        pin_argon2 = "1234"
        [[tokens]]
        name = "wms"
        sha256 = "12"
        scopes = []
        [policy]
        lease_hours = 0
        reserve_percent = 120
        close_after_hours = 0
    "#;
    let told: Vec<String> = parse(&line, text, Path::new(".")).unwrap_err().iter().map(ToString::to_string).collect();
    for key in [
        "--database: \"mysql:x\" is not",
        "hub.name:",
        "erp.url:",
        "erp.token_file: /nonexistent/token cannot be read",
        "erp.poll_ms:",
        "operators[1].role:",
        "operators[1].pin_argon2: is not an argon2 hash",
        "tokens[1].sha256:",
        "tokens[1].scopes: is empty",
        "policy.lease_hours: 0 is out of range",
        "policy.reserve_percent: 120 is out of range",
        "policy.close_after_hours: 0 is out of range",
        "colour: is not a key of this section -> remove it",
    ] {
        assert!(told.iter().any(|line| line.starts_with(key)), "{key} in {told:#?}");
    }
    assert!(told.iter().all(|line| line.contains(" -> ")));
    assert_eq!(told.len(), 13, "{told:#?}");
}

#[test]
fn without_tls_the_hub_is_served_on_this_machine_alone_and_only_when_asked_to() {
    let others = CommandLine { listen: "[::]:443", ..LINE };
    let plain = "[tls]\nplain_on_loopback = true";
    let told = parse(&others, plain, Path::new(".")).unwrap_err();
    assert_eq!(told[0].remedy, "remove it, or listen on 127.0.0.1:443");
    assert!(!parse(&others, "", Path::new(".")).unwrap().tls.plain_on_loopback);
    assert!(parse(&CommandLine { listen: "[::1]:443", ..LINE }, plain, Path::new(".")).unwrap().tls.plain_on_loopback);
}

#[test]
fn how_devices_reach_the_hub_is_said_or_follows_from_where_it_listens() {
    let devices = |text: &str| parse(&LINE, &format!("[devices]\n{text}"), Path::new(".")).map(|c| c.devices);
    assert_eq!(devices("").unwrap().url, None);
    assert!(!devices("").unwrap().without_certificate);
    assert_eq!(devices("listen = \"10.0.0.5:8443\"").unwrap().url.as_deref(), Some("https://10.0.0.5:8443"));
    let named = devices("listen = \"0.0.0.0:8443\"\nurl = \"https://hub.example:8443/\"").unwrap();
    assert_eq!(
        (named.url.as_deref(), named.host().as_deref()),
        (Some("https://hub.example:8443"), Some("hub.example"))
    );
    for wrong in [
        "listen = \"0.0.0.0:8443\"",
        "url = \"http://hub.example\"",
        "url = \"https://hub.example/x\"",
        "certificate_days = 0",
        "grace_days = 366",
        "feed_days = 6",
        "requests_per_minute = 1",
    ] {
        assert!(devices(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "s3cret\n").unwrap();
    let text =
        "[erp]\nkind = \"rest\"\nurl = \"http://127.0.0.1:1/\"\ntoken_file = \"token\"\n[erp.sites]\nWH = \"D1\"";
    let config = parse(&LINE, text, directory.path()).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let erp = config.erp.unwrap();
    assert_eq!(erp.sites["WH"].as_str(), "D1");
    let ErpKind::Rest { url, token, .. } = erp.kind else { panic!("rest") };
    assert_eq!((url.as_str(), token.reveal()), ("http://127.0.0.1:1", "s3cret"));
    assert!(
        problems("[erp]\nkind = \"rest\"\nurl = \"http://a:b@h/\"\ntoken_file = \"x\"")[0].contains("holds a login")
    );
    assert!(
        problems("[erp]\nkind = \"rest\"\ntoken = \"s3cret\"").iter().any(|p| p.starts_with("erp.token: is not a key"))
    );
}

#[test]
fn what_a_sale_of_tryton_does_not_say_is_configured_and_every_wrong_term_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("password"), "s3cret\n").unwrap();
    let text = "[erp]\nkind = \"tryton\"\nurl = \"http://127.0.0.1:8000\"\ndatabase = \"erp\"\nuser = \"hub\"\npassword_file = \"password\"\n";
    let kind = |terms: &str| parse(&LINE, &format!("{text}{terms}"), directory.path()).map(|c| c.erp.unwrap().kind);
    let ErpKind::Tryton { terms, .. } = kind("").unwrap() else { panic!("tryton") };
    assert_eq!(terms, SaleTerms::default());
    let ErpKind::Tryton { terms, password, .. } =
        kind("[erp.terms]\nvehicle = \"V1\"\ndeparts_at = \"06:30\"\nwindow_hours = 8").unwrap()
    else {
        panic!("tryton")
    };
    assert_eq!((terms.vehicle.unwrap().as_str(), terms.departs_at.to_string().as_str()), ("V1", "06:30:00"));
    assert_eq!((terms.window_hours, password.reveal()), (8, "s3cret"));
    let told =
        kind("[erp.terms]\ndoor = \"a b\"\ndeparts_at = \"noon\"\nwindow_hours = 0\nlorry = \"V1\"").unwrap_err();
    let keys: Vec<&str> = told.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["erp.terms.departs_at", "erp.terms.window_hours", "erp.terms.door", "erp.terms.lorry"]);
}

#[test]
fn two_people_of_one_name_are_refused() {
    let pin = pins::hash("1234").unwrap();
    let person = |name: &str| format!("[[operators]]\nname = \"{name}\"\nrole = \"finance\"\npin_argon2 = \"{pin}\"\n");
    assert_eq!(problems(&person("ana")), Vec::<String>::new());
    assert!(problems(&format!("{}{}", person("ana"), person("ana")))[0].contains("ana is listed twice"));
    assert!(problems(&person("a:b"))[0].contains("contains a colon"));
}

#[test]
fn the_settings_for_odata_that_we_hand_out_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    for secret in ["s4-password", "bc-token"] {
        std::fs::write(directory.path().join(secret), "s3cret\n").unwrap();
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/odata");
    let mut read = 0;
    for file in std::fs::read_dir(root).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|name| name != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let config = parse(&LINE, &text, directory.path()).unwrap_or_else(|p| panic!("{}: {p:?}", path.display()));
        assert!(!format!("{config:?}").contains("s3cret"));
        let Some(ErpKind::OData { map, .. }) = config.erp.map(|erp| erp.kind) else { panic!("{}", path.display()) };
        assert!(!map.write.is_empty());
        read += 1;
    }
    assert_eq!(read, 2);
    let wrong = "[erp]\nkind = \"odata\"\nurl = \"http://127.0.0.1:1/\"\ntoken_file = \"bc-token\"\n\
                 [erp.document]\nset = \"A\"\ncolour = \"red\"";
    let told = parse(&LINE, wrong, directory.path()).unwrap_err();
    assert!(told.iter().any(|p| p.key == "erp.document" && p.what.contains("unknown field `colour`")), "{told:?}");
    let text = std::fs::read_to_string(format!("{root}/s4-deliveries.toml")).unwrap();
    for (ours, theirs) in [
        ("lines = \"ActualDeliveryQuantity\"", "lines = \"OriginalDeliveryQuantity\""),
        ("set = { YY1_Gatehouse_DLH = \"{decision}\" }\naction", "set = { ShippingPoint = \"{decision}\" }\naction"),
    ] {
        let twice = text.replace(ours, theirs);
        assert_ne!(twice, text);
        let told = parse(&LINE, &twice, directory.path()).unwrap_err();
        assert!(told.iter().any(|p| p.key == "erp.write" && p.what.contains("which the ERP owns")), "{told:?}");
    }
}

#[test]
fn how_postings_are_tried_is_configured_and_doubt_outlasts_the_wait_for_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "s3cret\n").unwrap();
    let text = "[erp]\nkind = \"rest\"\nurl = \"http://127.0.0.1:8000\"\ntoken_file = \"token\"\n";
    let read = |more: &str| parse(&LINE, &format!("{text}{more}"), directory.path()).map(|config| config.erp.unwrap());
    let usual = read("").unwrap().posting;
    assert_eq!((usual.at_once, usual.retry_first_ms, usual.doubt_ms), (4, 1_000, 60_000));
    let erp =
        read("answer_within_ms = 400\n[erp.posting]\nat_once = 16\ndoubt_ms = 6000\nretry_max_ms = 2000").unwrap();
    assert_eq!((erp.posting.at_once, erp.posting.retry_max_ms, erp.posting.doubt_ms), (16, 2_000, 6_000));
    let keys = |more: &str| read(more).unwrap_err().into_iter().map(|problem| problem.key).collect::<Vec<_>>();
    // A write that may still be answered may still arrive.
    assert_eq!(keys("[erp.posting]\ndoubt_ms = 15000"), ["erp.posting.doubt_ms"]);
    assert_eq!(
        keys("[erp.posting]\nat_once = 0\nretry_max_ms = 5"),
        ["erp.posting.at_once", "erp.posting.retry_max_ms"]
    );
    assert_eq!(keys("answer_within_ms = 5\n[erp.posting]\nspeed = 1"), ["erp.answer_within_ms", "erp.posting.speed"]);
}

#[test]
fn a_subscription_says_its_envelope_and_a_stream_its_server_and_every_wrong_word_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (name, text) in [("key", key), ("token", "a long word"), ("password", "another")] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let hook = "[[webhooks]]\nname = \"crm\"\nurl = \"https://example.com/h\"\nkey_file = \"key\"\n";
    let nats = "[[nats]]\nname = \"bus\"\nurl = \"tls://nats.example:4222\"\n";
    let read = |text: &str| parse(&LINE, text, directory.path());
    let said = |text: &str| read(&format!("{hook}{text}")).map(|config| config.webhooks[0].envelope.as_str());
    assert_eq!(said("").unwrap(), "standard-webhooks");
    assert_eq!(said("envelope = \"cloudevents-binary\"").unwrap(), "cloudevents-binary");
    assert_eq!(said("envelope = \"soap\"").unwrap_err()[0].key, "webhooks[1].envelope");
    let bus = read(nats).unwrap().nats.remove(0);
    assert_eq!((bus.subject.as_str(), bus.interest().name.as_str()), ("gatehouse", "nats.bus"));
    assert!(matches!(bus.login, NatsLogin::None));
    let login = |text: &str| read(&format!("{nats}{text}")).map(|mut config| config.nats.remove(0).login);
    assert!(matches!(login("token_file = \"token\"").unwrap(), NatsLogin::Token(_)));
    assert!(matches!(login("user = \"hub\"\npassword_file = \"password\"").unwrap(), NatsLogin::Password(..)));
    for wrong in [
        "token_file = \"token\"\nuser = \"hub\"\npassword_file = \"password\"",
        "user = \"hub\"",
        "subject = \"a..b\"",
        "subject = \"a.>\"",
        "expires_minutes = 0",
        "authority = \"x\"",
    ] {
        assert!(login(wrong).is_err(), "{wrong}");
    }
    for (url, is_good) in [
        ("nats://nats.example:4222", false),
        ("nats://nats.example:4222\"\nprivate = true #\"", true),
        ("tls://hub:word@nats.example", false),
        ("https://nats.example", false),
    ] {
        let text = nats.replace("tls://nats.example:4222", url);
        assert_eq!(read(&text).is_ok(), is_good, "{text}");
    }
    assert!(read(&format!("{nats}{nats}")).is_err(), "two of one name");
}
