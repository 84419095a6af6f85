//! The line to the broker over TLS: a real mosquitto with certificates of an authority made for the test.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod depot;

use std::time::Duration;

use depot::{Depot, door_message};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS, Transport};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key of `name`, in PEM.
fn issued(by: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    // A name of its own: one called as its issuer is taken for a self-signed one.
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A depot whose broker shows a certificate of `broker_by` and asks for one of `ours`.
async fn prepared(what: &str, ours: &Authority, broker_by: &Authority, mqtt: &str) -> Option<Depot> {
    let depot = Depot::prepare(what, mqtt).await?;
    let file = |name: &str| depot.directory.path().join(name);
    let (broker, broker_key) = issued(broker_by, "127.0.0.1");
    let (client, client_key) = issued(ours, "gateway");
    for (name, content) in [
        ("ca.pem", &ours.pem()),
        ("broker.pem", &broker),
        ("broker.key", &broker_key),
        ("gateway.pem", &client),
        ("gateway.key", &client_key),
    ] {
        std::fs::write(file(name), content).unwrap();
    }
    let written = std::fs::read_to_string(file("mosquitto.conf")).unwrap();
    let directory = depot.directory.path().display();
    let tls = format!(
        "cafile {directory}/ca.pem\ncertfile {directory}/broker.pem\nkeyfile {directory}/broker.key\n\
         require_certificate true\n"
    );
    std::fs::write(file("mosquitto.conf"), format!("{written}\n{tls}")).unwrap();
    Some(depot)
}

const OURS: &str = "ca_file = \"ca.pem\"\nclient_cert_file = \"gateway.pem\"\nclient_key_file = \"gateway.key\"";

#[tokio::test]
async fn with_a_certificate_each_a_message_comes_through() {
    let ours = authority();
    let Some(mut depot) = prepared("a broker with certificates", &ours, &ours, OURS).await else { return };
    depot.start_broker();
    depot.start_agent().await;
    depot.until("the connection", |board| board["broker"]["connected"] == true).await;
    let mut options = MqttOptions::new("sensor", "127.0.0.1", depot.broker_port);
    let (certificate, key) = issued(&ours, "sensor");
    options.set_transport(Transport::tls(ours.pem().into(), Some((certificate.into(), key.into())), None));
    let (client, mut events) = AsyncClient::new(options, 10);
    let (topic, payload) = door_message(3, "by-tls", true);
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    let taken = tokio::time::timeout(Duration::from_secs(10), async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PubAck(_))) {}
    });
    taken.await.expect("the broker takes the message");
    depot
        .until("the reading", |board| {
            board["readings"].as_array().is_some_and(|rows| rows.iter().any(|row| row["reading_id"] == "by-tls"))
        })
        .await;
}

#[tokio::test]
async fn a_broker_of_another_authority_is_not_trusted_and_the_page_says_what_to_look_at() {
    let (ours, other) = (authority(), authority());
    let Some(mut depot) = prepared("a broker that is not trusted", &ours, &other, OURS).await else { return };
    depot.start_broker();
    depot.start_agent().await;
    depot
        .until("the trouble", |board| {
            board["broker"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("mqtt.ca_file"))
        })
        .await;
    assert_eq!(depot.board().await["broker"]["connections"], 0);
    assert!(depot.agent_is_running());
}

#[tokio::test]
async fn without_a_certificate_of_ours_the_broker_lets_nobody_in() {
    let ours = authority();
    let mqtt = "ca_file = \"ca.pem\"";
    let Some(mut depot) = prepared("a broker that asks for a certificate", &ours, &ours, mqtt).await else { return };
    depot.start_broker();
    depot.start_agent().await;
    depot.until("the trouble", |board| board["broker"]["trouble"].is_string()).await;
    assert_eq!(depot.board().await["broker"]["connections"], 0);
}
