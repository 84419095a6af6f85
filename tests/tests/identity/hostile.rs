//! Those who may not: each is refused, and the audit says so.

use std::{
    io::{ErrorKind, Read, Write},
    net,
};

use gatehouse_common::sync::exchange::HELLO_PATH;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::*;

fn refused(outcome: &Result<(), No>, status: u16) -> bool {
    matches!(outcome, Err(No::Status(found, _)) if *found == status)
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_in_the_middle_of_a_long_poll_and_never_let_in_again() {
    let hub = Hub::start("").await;
    let (mut device, other) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D1").await);
    let (client, url) = (client(&hub, Some(&device), false), hub.url());
    let body = device.pull(&hub, 60_000);
    let headers = device.headers(hub.clock.wall(), &body);
    let waits = tokio::spawn(async move { send(&client, &url, headers, body).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished());
    let revoked = Instant::now();
    hub.revoke("gw-1");
    let ended = timeout(Duration::from_secs(30), waits).await.expect("it still waits").unwrap();
    assert!(ended.is_err(), "{ended:?}");
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
    assert!(refused(&device.speaks(&hub).await, 403));
    assert!(hub.audited("gw-1", "revoked").await);
    assert!(matches!(device.renew(&hub, true).await, Err(No::Status(401, _))));
    let secret = hub.invite("gw-1", "D1");
    assert!(matches!(device.enrol(&hub, Some(secret)).await, Err(No::Status(403, _))));
    other.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_stolen_certificate_without_its_signing_key_is_of_no_use() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let mut thief = device.clone();
    thief.key = PrivateKey::from_seed([3; 32]);
    assert!(refused(&thief.speaks(&hub).await, 401));
    assert!(hub.audited("gw-1", "signature").await);
    assert!(matches!(thief.renew(&hub, true).await, Err(No::Status(401, _))));
}

#[tokio::test]
async fn a_device_cannot_speak_as_another_though_it_knows_its_signing_key() {
    let hub = Hub::start("").await;
    let (one, two) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D2").await);
    let foreign = two.speaks_by(&client(&hub, Some(&one), false), &hub).await;
    assert!(refused(&foreign, 403));
    assert!(hub.audited("gw-1", "foreign identity").await);
}

#[tokio::test]
async fn no_certificate_one_of_another_authority_and_one_made_by_the_device_itself_make_no_line() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    assert!(matches!(device.speaks_by(&client(&hub, None, false), &hub).await, Err(No::Line(_))));
    assert!(hub.audited("somebody", "no certificate").await);

    // Offline, a device can make itself whatever certificate it likes.
    let elsewhere = tempfile::tempdir().unwrap();
    let name: DeviceId = "hub".parse().unwrap();
    let own = Authority::load_or_make(&elsewhere.path().join("ca.pem"), &name, hub.clock.wall()).unwrap();
    let wider = Device {
        device: device.device.clone(),
        kind: DeviceKind::Gateway,
        public_key: device.key.public(),
        sites: vec!["D1".parse().unwrap(), "D2".parse().unwrap()],
        vehicles: Vec::new(),
    };
    let request = gatehouse_hub::identity::LineRequest::read(&device.request()).unwrap();
    let now = hub.clock.wall();
    let made = own.certify(&wider, &request, now, now.plus(DAY_MS)).unwrap();
    let mut forger = device.clone();
    forger.said.as_mut().unwrap().certificate = made.pem;
    assert!(matches!(forger.speaks(&hub).await, Err(No::Line(_))));
    assert!(hub.audited("somebody", "certificate of another authority").await);

    // One that the hub's authority did sign, but that is not on its list.
    let unlisted = hub.authority.certify(&wider, &request, now, now.plus(DAY_MS)).unwrap();
    forger.said.as_mut().unwrap().certificate = unlisted.pem;
    assert!(refused(&forger.speaks(&hub).await, 403));
    assert!(hub.audited("gw-1", "certificate not in use").await);
    device.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn an_altered_certificate_makes_no_line() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let der = CertificateDer::from_pem_slice(device.said.as_ref().unwrap().certificate.as_bytes()).unwrap();
    let mut altered = der.to_vec();
    let site = b"urn:gatehouse:site:D1";
    let place = altered.windows(site.len()).position(|w| w == site).unwrap();
    altered[place + site.len() - 1] = b'2';
    let key = PrivateKeyDer::from_pem_slice(device.line_key.serialize_pem().as_bytes()).unwrap();
    let client = client_of(config_of(&hub, Some((vec![CertificateDer::from(altered)], key))), false);
    assert!(matches!(device.speaks_by(&client, &hub).await, Err(No::Line(_))));
    assert!(hub.audited("somebody", "certificate of another authority").await);
}

#[tokio::test]
async fn tls_1_2_is_not_spoken_to_devices_nor_to_people() {
    let hub = Hub::start("").await;
    let running = hub.hub.as_ref().unwrap();
    for address in [running.address, running.devices.unwrap()] {
        let mut roots = RootCertStore::empty();
        roots.add(hub.authority.certificate().clone()).unwrap();
        let older = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let asked = client_of(older, false).get(format!("https://{address}{HELLO_PATH}")).send().await;
        assert!(asked.is_err(), "{address}");
    }
    assert!(hub.audited("somebody", "older TLS").await);
    let people = client(&hub, None, false).get(format!("https://{}/healthz", running.address)).send().await.unwrap();
    assert_eq!(people.status(), 200, "a client that speaks TLS 1.3 gets through");
}

#[tokio::test]
async fn plain_http_gets_no_answer_where_there_is_tls() {
    let hub = Hub::start("").await;
    let running = hub.hub.as_ref().unwrap();
    for address in [running.address, running.devices.unwrap()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // The other side may cut the line before it is read to its end.
        let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.starts_with(b"HTTP"), "{address}");
    }
}

#[tokio::test]
async fn who_comes_to_enrol_reaches_enrolment_alone() {
    let hub = Hub::start("without_certificate = true").await;
    let device = hub.let_in("gw-1", "D1").await;
    assert!(refused(&device.speaks_by(&client(&hub, None, true), &hub).await, 403));
    let hello = client(&hub, None, true).get(format!("{}{HELLO_PATH}", hub.url())).send().await.unwrap();
    assert_eq!(hello.status(), 403);
}

#[tokio::test]
async fn a_request_that_comes_again_is_refused_also_after_a_restart_of_the_hub() {
    let mut hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let body = device.pull(&hub, 0);
    let headers = device.headers(hub.clock.wall(), &body);
    let again = |hub: &Hub| {
        let (client, url) = (client(hub, Some(&device), false), hub.url());
        let (headers, body) = (headers.clone(), body.clone());
        async move { send(&client, &url, headers, body).await }
    };
    again(&hub).await.unwrap();
    assert!(refused(&again(&hub).await, 401));
    hub.restart().await;
    assert!(refused(&again(&hub).await, 401), "the hub has forgotten it");
    assert!(hub.audited("gw-1", "replay").await);
    hub.pass(20 * MINUTE_MS);
    assert!(refused(&again(&hub).await, 401), "too old by now");
    device.speaks(&hub).await.unwrap();
    let kept = rusqlite::Connection::open(hub.directory.path().join("hub.db")).unwrap();
    let nonces: i64 = kept.query_row("SELECT count(*) FROM nonces", [], |r| r.get(0)).unwrap();
    assert_eq!(nonces, 1, "what cannot be repeated any more is not kept");
}

#[tokio::test]
async fn a_frame_of_an_older_protocol_is_refused_with_what_to_do() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let mut body = device.pull(&hub, 0);
    body[0] = 0;
    let headers = device.headers(hub.clock.wall(), &body);
    let outcome = send(&client(&hub, Some(&device), false), &hub.url(), headers, body).await;
    assert!(matches!(&outcome, Err(No::Status(400, why)) if why.contains("upgrade the older side")), "{outcome:?}");
    assert!(hub.audited("gw-1", "frame").await);
}

#[tokio::test]
async fn of_two_copies_of_a_device_one_is_refused_and_a_case_opened() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let mut copy = device.clone();
    copy.run = "c0b1".to_owned();
    device.speaks(&hub).await.unwrap();
    hub.pass(1_000);
    copy.speaks(&hub).await.unwrap();
    hub.pass(1_000);
    assert!(refused(&device.speaks(&hub).await, 409));
    copy.speaks(&hub).await.unwrap();
    assert!(refused(&device.speaks(&hub).await, 409));
    assert!(hub.audited("gw-1", "two copies").await);
    hub.store.fold_now().unwrap();
    let kept = rusqlite::Connection::open(hub.directory.path().join("hub.db")).unwrap();
    let views: Vec<String> = kept
        .prepare("SELECT view FROM documents WHERE kind = 'case'")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(views.len(), 1, "{views:?}");
    assert!(views[0].contains("POLICY_VIOLATION") && views[0].contains("two copies"), "{views:?}");
}

#[tokio::test]
async fn a_device_that_asks_too_much_is_told_when_to_come_back_and_others_are_served() {
    let hub = Hub::start("requests_per_minute = 60").await;
    let (loud, quiet) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D1").await);
    let by = client(&hub, Some(&loud), false);
    for _ in 0..60 {
        loud.speaks_by(&by, &hub).await.unwrap();
    }
    let body = loud.pull(&hub, 0);
    let mut request = by.post(format!("{}{PULL_PATH}", hub.url())).body(body.clone());
    for (name, value) in loud.headers(hub.clock.wall(), &body) {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    quiet.speaks(&hub).await.unwrap();
    assert!(hub.audited("gw-1", "quota").await);
    let counted = hub.store.read_now(|r| r.refusals_of("gw-1")).unwrap();
    assert_eq!((counted[0].what.as_str(), counted[0].times), ("quota", 1));
    hub.pass(MINUTE_MS);
    loud.speaks_by(&by, &hub).await.unwrap();
}

#[tokio::test]
async fn strangers_under_ever_new_names_make_one_count_and_keep_no_device_from_renewing() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    let stranger = async |n: usize| Unit::new(&format!("gw-{n}")).enrol(&hub, None).await.map(|_| ());
    let (by, url) = (client(&hub, None, true), format!("{}{ENROL_PATH}", hub.url()));
    let asks = async |n: usize| {
        let question = Unit::new(&format!("gw-{n}")).asks(Purpose::Enrol, None);
        by.post(&url).json(&question).send().await.unwrap()
    };
    for n in 1..600 {
        assert_eq!(asks(n).await.status().as_u16(), 401, "{n}");
    }
    let answer = asks(600).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    // It comes from the same address, and shows a certificate.
    device.renew(&hub, true).await.unwrap();
    assert!(hub.audited("somebody", "unknown key").await && hub.audited("somebody", "too many questions").await);
    let kept = rusqlite::Connection::open(hub.directory.path().join("hub.db")).unwrap();
    let count = |sql: &str| kept.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM refusals WHERE who <> 'somebody'"), 0);
    assert_eq!(count("SELECT count(*) FROM audit WHERE action = 'refused: unknown key'"), 1);
    hub.pass(MINUTE_MS);
    assert!(refused(&stranger(601).await, 401));
}

#[tokio::test]
async fn a_refusal_counts_under_a_name_only_where_its_key_was_shown() {
    let hub = Hub::start("").await;
    let mut device = Unit::new("gw-1");
    hub.list(&device, &["D1"]);
    let stranger = device.with_another_key().enrol(&hub, None).await.map(|_| ());
    assert!(refused(&stranger, 401));
    assert!(hub.audited("somebody", "unknown key").await);
    let own = device.enrol(&hub, None).await.map(|_| ());
    assert!(refused(&own, 403));
    let counted = hub.store.read_now(|r| r.refusals_of("gw-1")).unwrap();
    assert_eq!(counted.iter().map(|count| count.what.as_str()).collect::<Vec<_>>(), ["not adopted"]);
}

#[tokio::test]
async fn signatures_alone_are_taken_only_where_the_configuration_says_so() {
    for (more, expected) in [("", 403), ("without_certificate = true", 200)] {
        let hub = Hub::start(&format!("{more}\n[tls]\nplain_on_loopback = true")).await;
        let device = Unit::new("gw-1");
        hub.list(&device, &["D1"]);
        let body = device.pull(&hub, 0);
        let headers = device.headers(hub.clock.wall(), &body);
        let url = format!("http://{}", hub.hub.as_ref().unwrap().address);
        let outcome = send(&reqwest::Client::builder().no_proxy().build().unwrap(), &url, headers, body).await;
        match expected {
            200 => outcome.unwrap(),
            status => assert!(refused(&outcome, status), "{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn hosts_that_open_and_say_nothing_keep_nobody_out_for_long() {
    let hub = Hub::start("").await;
    let device = hub.let_in("gw-1", "D1").await;
    let address = hub.hub.as_ref().unwrap().devices.unwrap();
    let mut silent = Vec::new();
    // More than may shake hands at one time from one address.
    for _ in 0..400 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begun = Instant::now();
    device.speaks(&hub).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(hub.audited("somebody", "too many handshakes").await);
    assert!(hub.audited_within("somebody", "handshake too long", Duration::from_secs(30)).await);
}

/// A line whose handshake is done, and on which nothing is asked.
struct IdleLine(StreamOwned<ClientConnection, net::TcpStream>);

impl IdleLine {
    /// So many lines, one after the other, with the certificate of `shown`, or else to enrol.
    async fn many(hub: &Hub, shown: Option<&Unit>, number: usize) -> Vec<Self> {
        let certified = shown.map(|unit| {
            let said = unit.said.as_ref().unwrap();
            let chain = vec![CertificateDer::from_pem_slice(said.certificate.as_bytes()).unwrap()];
            (chain, PrivateKeyDer::from_pem_slice(unit.line_key.serialize_pem().as_bytes()).unwrap())
        });
        let mut config = config_of(hub, certified);
        if shown.is_none() {
            config.alpn_protocols = vec![ENROL_ALPN.to_vec()];
        }
        let (config, address) = (Arc::new(config), hub.hub.as_ref().unwrap().devices.unwrap());
        let begin = move || {
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let socket = net::TcpStream::connect(address).unwrap();
            let mut line = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket);
            line.flush().unwrap();
            Self(line)
        };
        tokio::task::spawn_blocking(move || (0..number).map(|_| begin()).collect()).await.unwrap()
    }

    /// Whether the hub ends it within `wait`.
    async fn ends(mut self, wait: Duration) -> bool {
        let read = move || {
            self.0.sock.set_read_timeout(Some(wait)).unwrap();
            match self.0.read(&mut [0; 16]) {
                Ok(length) => length == 0,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

/// The oldest of some lines was ended, and the newest was not.
async fn made_room(mut lines: Vec<IdleLine>) {
    let newest = lines.pop().unwrap();
    assert!(lines.swap_remove(0).ends(Duration::from_secs(10)).await, "the oldest is open");
    assert!(!newest.ends(Duration::from_millis(300)).await, "the newest was ended");
}

#[tokio::test]
async fn a_host_that_holds_many_lines_to_enrol_keeps_no_unit_from_enrolling() {
    let hub = Hub::start("").await;
    let lines = IdleLine::many(&hub, None, 200).await;
    let unit = hub.let_in("gw-1", "D1").await;
    unit.speaks(&hub).await.unwrap();
    made_room(lines).await;
}

#[tokio::test]
async fn a_device_that_opens_ever_new_lines_loses_the_oldest_and_still_speaks() {
    let hub = Hub::start("").await;
    let (device, other) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D1").await);
    let mut others = IdleLine::many(&hub, Some(&other), 1).await;
    let lines = IdleLine::many(&hub, Some(&device), 40).await;
    device.speaks(&hub).await.unwrap();
    made_room(lines).await;
    assert!(!others.remove(0).ends(Duration::from_millis(300)).await, "one device took from another");
}
