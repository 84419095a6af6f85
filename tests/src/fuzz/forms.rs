//! A rule and well-formed messages for each decoder of the agent's intake.

use std::{path::Path, sync::LazyLock};

use gatehouse_agent::config::TopicConfig;

/// One rule of each decoder, in the order of [`Form`].
static RULES: LazyLock<Vec<TopicConfig>> = LazyLock::new(|| {
    let text = r#"
[device]
id = "d"
kind = "gateway"
site = "D1"
key_file = "k"
[store]
path = "s"
[mqtt]
host = "h"
[site]
geofence = { lat = 1.0, lon = 1.0, radius_m = 1.0 }
[[topics]]
filter = "owntracks/#"
decoder = "owntracks"
[[topics]]
filter = "t"
decoder = "traccar"
lock_is_seal = true
[[topics]]
filter = "o"
decoder = "osmand"
[[topics]]
filter = "n/+"
decoder = "nmea"
[[topics]]
filter = "e"
decoder = "cloudevents"
kind = "proof"
subject = "/order"
lines = "/lines"
signed_by = "/by"
photo = "/photo"
sequence = "/n"
[[topics]]
filter = "te/#"
decoder = "thin_edge"
[[topics.metrics]]
name = "cold/air"
kind = "temperature"
unit = "f"
[[topics.metrics]]
name = "scale"
kind = "weight"
unit = "lb"
[[topics]]
filter = "spBv1.0/#"
decoder = "sparkplug"
[[topics.metrics]]
name = "Air"
kind = "temperature"
[[topics.metrics]]
name = "Fault"
kind = "door_fault"
"#;
    match gatehouse_agent::config::parse(text, Path::new(".")) {
        Ok(config) => config.topics,
        Err(problems) => panic!("the rules of the forms have problems: {problems:?}"),
    }
});

/// Which decoder.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Owntracks,
    Traccar,
    Osmand,
    Nmea,
    Cloudevents,
    ThinEdge,
    Sparkplug,
}

/// Its rule.
pub(super) fn rule(form: Form) -> &'static TopicConfig {
    &RULES[form as usize]
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn owntracks() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"_type":"location","tst":1425974400,"created_at":1425974401,"lat":30.26,"lon":-97.74,"acc":8,"vel":42,"ign":true,"temp_c-1":-18.5}"#,
        r#"{"_type":"transition","tst":1425974400,"wtst":1,"event":"leave","desc":"yard"}"#,
        r#"{"_type":"lwt","tst":1425974400}"#,
    ])
}

pub(super) fn traccar() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"position":{"deviceId":3,"deviceTime":"2026-11-20T10:00:05.000+00:00","fixTime":"2026-11-20T10:00:00.000+00:00","valid":true,"outdated":false,"latitude":52.5,"longitude":13.4,"speed":10,"accuracy":5,"attributes":{"ignition":true,"door":false,"lock":true,"temp1":-18.5,"alarm":"tampering,sos"}},"device":{"id":3,"uniqueId":"T-3"}}"#,
        r#"{"event":{"type":"geofenceExit","eventTime":"2026-11-20T10:00:00Z","deviceId":3},"device":{"uniqueId":"3"},"geofence":{"name":"Depot 1"}}"#,
    ])
}

pub(super) fn osmand() -> Vec<Vec<u8>> {
    texts(&[
        "id=T-9&lat=52.5&lon=13.4&timestamp=1425974400&speed=10&accuracy=4&batt=80",
        "/?deviceid=1&lat=1&lon=2&timestamp=2015-03-10%2008:00:00&valid=true",
        r#"{"device_id":"T-9","location":{"timestamp":"2015-03-10T08:00:00Z","coords":{"latitude":52.5,"longitude":13.4,"accuracy":4,"speed":10}}}"#,
    ])
}

pub(super) fn nmea() -> Vec<Vec<u8>> {
    texts(&[
        "$GPRMC,123519.50,A,4807.038,N,01131.000,W,022.4,084.4,230394,003.1,W\r\n$GPGGA,123519.50,4807.038,N,01131.000,W,1,08,0.9,545.4,M,46.9,M,,\r\n",
        "$GPZDA,130711,01,06,2011,01,00*49\n$GPGLL,5012.790800,N,00806.879600,W,130711,A,D*5B\n$GPGGA,130711,5012.790800,N,00806.879600,W,2,,,,,,,*6A",
    ])
}

pub(super) fn cloudevents() -> Vec<Vec<u8>> {
    let event = r#"{"specversion":"1.0","id":"A-1","source":"/d/1","type":"depot.proof.v1","time":"1970-01-01T00:00:03Z","data":{"order":"O-1","lines":[{"line":1,"delivered":3,"refused":1}],"by":"B","n":4}}"#;
    let encoded = r#"{"specversion":"1.0","id":"A-2","source":"/d/1","type":"depot.proof.v1","data_base64":"eyJvcmRlciI6Ik8tMSIsImxpbmVzIjpbXX0="}"#;
    texts(&[event, encoded, &format!("[{event},{encoded}]")])
}

pub(super) fn thin_edge() -> Vec<Vec<u8>> {
    texts(&[r#"{"time":"1970-01-01T00:00:03Z","cold":{"air":-0.4},"scale":22}"#, r#"{"time":3.5,"scale":"7"}"#])
}

/// A birth with an alias; what [`targets::sparkplug`](super::targets::sparkplug) has born before.
pub(super) const BIRTH: &[u8] = b"\x08\x80\xf0\xf9\xfa\xbf\x29\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x04\x12\x0e\x0a\x03Air\x10\x02\x20\x09\x65\x00\x00\x94\xc1\x18\x00";

pub(super) fn sparkplug() -> Vec<Vec<u8>> {
    let data =
        b"\x08\x80\xf0\xf9\xfa\xbf\x29\x12\x07\x10\x02\x65\x00\x00\x8c\xc1\x12\x0c\x0a\x05Fault\x7a\x03bad\x18\x01";
    vec![BIRTH.to_vec(), data.to_vec()]
}
