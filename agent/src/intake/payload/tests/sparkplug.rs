//! Sparkplug B: births, data by alias, deaths. The payloads are built here byte by byte.

use super::*;
use crate::core::input::Learned;

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    bytes.push(u8::try_from(n).unwrap());
    bytes
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A metric: name, alias, datatype, and the field of its value as it stands.
fn metric(name: Option<&str>, alias: Option<u64>, datatype: Option<u64>, value: &[u8]) -> Vec<u8> {
    let name = name.map(|name| bytes(1, name.as_bytes())).unwrap_or_default();
    let alias = alias.map(|alias| number(2, alias)).unwrap_or_default();
    let datatype = datatype.map(|datatype| number(4, datatype)).unwrap_or_default();
    bytes(2, &[name, alias, datatype, value.to_vec()].concat())
}

fn payload(seq: Option<u64>, metrics: &[Vec<u8>]) -> Vec<u8> {
    let seq = seq.map(|seq| number(3, seq)).unwrap_or_default();
    [number(1, 1_425_974_400_000), metrics.concat(), seq].concat()
}

fn float(value: f32) -> Vec<u8> {
    [vec![12 << 3 | 5], value.to_le_bytes().to_vec()].concat()
}

fn plant() -> TopicConfig {
    rule(
        "filter = \"spBv1.0/#\"\ndecoder = \"sparkplug\"\n\
         [[topics.metrics]]\nname = \"Cold/Air\"\nkind = \"temperature\"\nvehicle = { segment = 5 }\n\
         [[topics.metrics]]\nname = \"Door/Open\"\nkind = \"door\"\n\
         [[topics.metrics]]\nname = \"Level\"\nkind = \"temperature\"",
    )
}

/// A host that hears what is published.
struct Host {
    births: Births,
    rule: TopicConfig,
    stored: Option<Learned>,
}

impl Host {
    fn new() -> Self {
        Self { births: Births::default(), rule: plant(), stored: None }
    }

    fn hears(&mut self, topic: &str, payload: &[u8]) -> Result<Decoded, String> {
        let decoded = decode(&mut self.births, &self.rule, topic, payload, UtcMs(1_425_974_500_000));
        let decoded = decoded.map_err(|error| error.to_string())?;
        self.stored = decoded.learned.clone().or(self.stored.take());
        Ok(decoded)
    }

    fn said(&mut self, topic: &str, payload: &[u8]) -> Vec<ReadingValue> {
        self.hears(topic, payload).unwrap().readings.into_iter().map(|reading| reading.value).collect()
    }

    fn node_is_born(&mut self, bd_seq: u64) {
        let metrics = [
            metric(Some("bdSeq"), None, Some(8), &number(11, bd_seq)),
            metric(Some("Door/Open"), Some(1), Some(11), &number(14, 0)),
        ];
        self.hears("spBv1.0/D1/NBIRTH/gate", &payload(Some(0), &metrics)).unwrap();
    }

    fn device_is_born(&mut self) {
        let metrics = [
            metric(Some("Cold/Air"), Some(2), Some(9), &float(-18.4)),
            metric(Some("Level"), Some(3), Some(1), &number(10, 4)),
        ];
        self.hears("spBv1.0/D1/DBIRTH/gate/T7", &payload(Some(1), &metrics)).unwrap();
    }
}

const GONE: ReadingValue = ReadingValue::Presence { online: false };

#[test]
fn data_are_read_by_the_aliases_of_the_birth() {
    let mut host = Host::new();
    host.node_is_born(3);
    host.device_is_born();
    let cold = payload(Some(2), &[metric(None, Some(2), None, &float(-17.5))]);
    let decoded = host.hears("spBv1.0/D1/DDATA/gate/T7", &cold).unwrap();
    assert_eq!(decoded.readings[0].value, ReadingValue::Temperature { celsius: -17.5, vehicle: Some(vehicle("T7")) });
    assert_eq!(decoded.readings[0].source, "spBv1.0/D1/gate/T7");
    // Device and node count together.
    assert_eq!(decoded.marks[0].source, "spBv1.0/D1/gate");
    assert_eq!(decoded.marks[0].sequence, Some(Sequence { number: 2, modulus: Some(256), begins: false }));
    // An 8-bit -5, its type known from the birth alone.
    let level = payload(Some(3), &[metric(None, Some(3), None, &number(10, 251))]);
    let level = host.said("spBv1.0/D1/DDATA/gate/T7", &level);
    assert_eq!(level, [ReadingValue::Temperature { celsius: -5.0, vehicle: None }]);
    let door = host.said("spBv1.0/D1/NDATA/gate", &payload(Some(4), &[metric(None, Some(1), None, &number(14, 1))]));
    assert_eq!(door, [ReadingValue::Door { door: "gate".parse().unwrap(), open: true }]);
}

#[test]
fn what_a_32_bit_number_meant_is_kept() {
    let mut host = Host::new();
    host.node_is_born(1);
    host.device_is_born();
    let said = host.said("spBv1.0/D1/DDATA/gate/T7", &payload(Some(2), &[metric(None, Some(2), None, &float(-18.4))]));
    assert_eq!(said, [ReadingValue::Temperature { celsius: -18.4, vehicle: Some(vehicle("T7")) }]);
}

#[test]
fn data_of_a_node_that_was_not_born_are_refused_with_what_to_do() {
    let mut host = Host::new();
    let data = payload(Some(2), &[metric(None, Some(1), None, &number(14, 1))]);
    let reason = "spBv1.0/D1/gate was not born here; let its node send a rebirth (NCMD Node Control/Rebirth)";
    assert_eq!(host.hears("spBv1.0/D1/NDATA/gate", &data).unwrap_err(), reason);
    host.node_is_born(1);
    assert!(host.hears("spBv1.0/D1/NDATA/gate", &data).is_ok());
    assert!(host.hears("spBv1.0/D1/DDATA/gate/T7", &data).unwrap_err().contains("gate/T7 was not born"));
    let unknown = payload(Some(3), &[metric(None, Some(77), None, &number(14, 1))]);
    assert!(host.hears("spBv1.0/D1/NDATA/gate", &unknown).unwrap_err().contains("rebirth"));
}

#[test]
fn a_death_ends_the_session_that_it_names_and_no_later_one() {
    let mut host = Host::new();
    let will = |bd_seq| metric(Some("bdSeq"), None, Some(8), &number(11, bd_seq));
    host.node_is_born(4);
    host.device_is_born();
    // The will of the session before, which comes late.
    let late = host.hears("spBv1.0/D1/NDEATH/gate", &will(3)).unwrap();
    assert_eq!((late.readings.len(), late.noticed.as_slice()), (0, &["stale_wills"][..]));
    let ended = host.hears("spBv1.0/D1/NDEATH/gate", &will(4)).unwrap();
    let said: Vec<(&str, &ReadingValue)> = ended.readings.iter().map(|r| (r.source.as_str(), &r.value)).collect();
    assert_eq!(said, [("spBv1.0/D1/gate", &GONE), ("spBv1.0/D1/gate/T7", &GONE)]);
    assert!(host.hears("spBv1.0/D1/NDATA/gate", &payload(Some(9), &[])).is_err());
    assert!(host.said("spBv1.0/D1/NDEATH/gate", &will(4)).is_empty());
}

#[test]
fn births_outlive_a_restart() {
    let mut host = Host::new();
    host.node_is_born(4);
    host.device_is_born();
    let stored = host.stored.take().unwrap();
    let mut again = Host { births: Births::restored([(stored.key.as_str(), stored.body.as_str())]), ..Host::new() };
    assert_eq!(again.births, host.births);
    let cold = payload(Some(2), &[metric(None, Some(2), None, &float(1.5))]);
    let said = again.said("spBv1.0/D1/DDATA/gate/T7", &cold);
    assert_eq!(said, [ReadingValue::Temperature { celsius: 1.5, vehicle: Some(vehicle("T7")) }]);
    again.hears("spBv1.0/D1/DDEATH/gate/T7", &payload(Some(3), &[])).unwrap();
    assert!(again.hears("spBv1.0/D1/DDATA/gate/T7", &cold).is_err());
}

#[test]
fn what_hosts_say_is_of_no_concern_and_foreign_topics_are_refused() {
    let mut host = Host::new();
    for topic in ["spBv1.0/STATE/scada", "spBv1.0/D1/NCMD/gate", "spBv1.0/D1/DCMD/gate/T7"] {
        assert!(host.said(topic, b"\xff").is_empty(), "{topic}");
    }
    for topic in ["spBv1.0/D1/NDATA", "spBv1.0/D1/DDATA/gate", "spAv1.0/D1/NDATA/gate", "spBv1.0/D1/NDATA/gate/T7"] {
        assert!(host.hears(topic, &payload(Some(1), &[])).unwrap_err().starts_with("topic"), "{topic}");
    }
    assert!(host.hears("spBv1.0/D1/NBIRTH/gate", b"\x12\xff\xff\xff\xff\xff").unwrap_err().contains("not a Sparkplug"));
}

#[test]
fn no_flipped_or_cut_payload_makes_the_reader_panic() {
    let metrics =
        [metric(Some("Cold/Air"), Some(2), Some(9), &float(-18.4)), metric(None, Some(3), Some(1), &number(10, 4))];
    let whole = payload(Some(1), &metrics);
    for cut in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut host = Host::new();
            host.node_is_born(1);
            let mut odd = whole.clone();
            odd[cut] ^= flip;
            // A reason is all that is asked for.
            let _ = host.hears("spBv1.0/D1/NBIRTH/gate", &odd);
            let _ = host.hears("spBv1.0/D1/NDATA/gate", &whole[..cut]);
        }
    }
}
