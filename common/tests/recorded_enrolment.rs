//! What enrolment says, and the texts that are signed around every exchange, as the first version that spoke so wrote
//! them.
//!
//! The recordings in `frames/enrolment-1` and `frames/signatures-1` were made from the same values by a program that
//! shares nothing with this one, by the words of RFC 8032 and 8259: what is read here is what others may have on a disk
//! or on the way. A form that changes gets another number and another folder; these stay.

use std::{fmt::Debug, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::{DeviceId, Hash32},
    seal::{PrivateKey, Sealed},
    sync::{
        enrolment::{Ask, ENROL_ALPN, ENROL_PATH, Enrolled, Invitation, Purpose, RENEW_FIRST, RENEW_PATH},
        exchange::{DEVICE_HEADER, NONCE_HEADER, PUSH_PATH, SIGNATURE_HEADER, TIME_HEADER, reply_text, request_text},
    },
    time::UtcMs,
};
use serde::{Serialize, de::DeserializeOwned};

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frames").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

fn device() -> DeviceId {
    "gw-1".parse().unwrap()
}

fn device_key() -> PrivateKey {
    PrivateKey::from_seed([7; 32])
}

fn hub_key() -> PrivateKey {
    PrivateKey::from_seed([1; 32])
}

fn invitation() -> Invitation {
    Invitation {
        url: "https://hub.example:8443".to_owned(),
        authority: Hash32::of(b"an authority"),
        device: Some(device()),
        secret: Some("s3cret".to_owned()),
        at: UtcMs(1_772_431_200_000),
        until: UtcMs(1_773_036_000_000),
    }
}

fn ask(purpose: Purpose, secret: Option<&str>) -> Ask {
    Ask {
        purpose,
        device: device(),
        public_key: device_key().public(),
        request: "-----BEGIN CERTIFICATE REQUEST-----\na request\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
        secret: secret.map(str::to_owned),
    }
}

fn enrolled() -> Enrolled {
    Enrolled {
        device: device(),
        sites: vec!["D1".parse().unwrap()],
        vehicles: vec!["v1".parse().unwrap()],
        url: "https://hub.example:8443".to_owned(),
        hub: hub_key().public(),
        authority: "-----BEGIN CERTIFICATE-----\nan authority\n-----END CERTIFICATE-----\n".to_owned(),
        certificate: "-----BEGIN CERTIFICATE-----\na device\n-----END CERTIFICATE-----\n".to_owned(),
        from: UtcMs(1_772_431_200_000),
        until: UtcMs(1_773_036_000_000),
        grace_ms: 604_800_000,
    }
}

#[test]
fn an_invitation_of_the_first_version_is_read_and_written_still() {
    let of_any = Invitation { device: None, secret: None, ..invitation() };
    for (name, meant) in [("invitation", invitation()), ("invitation-of-any", of_any)] {
        let line = text(&format!("enrolment-1/{name}.txt"));
        assert_eq!(line.parse(), Ok(meant.clone()), "{name}");
        assert_eq!(meant.to_string(), line, "{name}");
    }
}

/// Whether a body of the recordings reads as `meant`, and is what is written of it now.
fn is_body<T: Serialize + DeserializeOwned + Debug + PartialEq>(name: &str, meant: &T) {
    let body = text(&format!("enrolment-1/{name}.json"));
    assert_eq!(&serde_json::from_str::<T>(&body).unwrap(), meant, "{name}");
    assert_eq!(serde_json::to_string(meant).unwrap(), body, "{name}");
}

#[test]
fn what_a_device_asked_for_its_certificates_and_what_it_was_answered_reads_as_it_was_meant() {
    for (name, meant) in [("enrol", ask(Purpose::Enrol, Some("s3cret"))), ("renew", ask(Purpose::Renew, None))] {
        let sealed = Sealed::new(&meant, &device_key()).unwrap();
        is_body(name, &sealed);
        // The hub opens what came, and not what it would have written itself.
        let came: Sealed = serde_json::from_str(&text(&format!("enrolment-1/{name}.json"))).unwrap();
        let opened: Ask = came.open(&device_key().public()).unwrap();
        assert!(opened == meant, "{name}");
        assert!(came.open::<Ask>(&hub_key().public()).is_err(), "{name}: sealed by another");
    }
    is_body("enrolled", &enrolled());
}

#[test]
fn what_is_signed_around_an_exchange_is_the_text_of_the_first_version() {
    let (nonce, at) = ("0123456789abcdef.00112233", UtcMs(1_772_431_200_000));
    let asked = request_text(PUSH_PATH, &device(), at, nonce, &bytes("v1/push.frame"));
    let answered = reply_text(&device(), at.plus(7), nonce, 200, &bytes("v1/push-reply.frame"));
    for (name, meant, key, other) in
        [("request", asked, device_key(), hub_key()), ("reply", answered, hub_key(), device_key())]
    {
        assert_eq!(meant, text(&format!("signatures-1/{name}.txt")), "{name}");
        let signature = STANDARD.decode(text(&format!("signatures-1/{name}.signature"))).unwrap();
        assert_eq!(key.public().verify(meant.as_bytes(), &signature), Ok(()), "{name}");
        assert!(other.public().verify(meant.as_bytes(), &signature).is_err(), "{name}: signed by another");
        assert_eq!(key.sign(meant.as_bytes()), signature, "{name}");
    }
}

/// Names by which the two sides find each other: one that changes ends every device that is out.
#[test]
fn paths_headers_and_words_of_the_first_version_are_what_they_were() {
    assert_eq!((ENROL_PATH, RENEW_PATH), ("/enrol/v1/enrol", "/enrol/v1/renew"));
    assert_eq!((ENROL_ALPN, RENEW_FIRST), (&b"gatehouse-enrol/1"[..], "urn:gatehouse:problem:renew-certificate"));
    let headers = [DEVICE_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER];
    assert_eq!(headers, ["gatehouse-device", "gatehouse-time", "gatehouse-nonce", "gatehouse-signature"]);
}
