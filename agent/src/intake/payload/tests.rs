use gatehouse_common::{
    id::{DoorId, VehicleId},
    reading::{Reading, ReadingValue, ScanStep},
    time::UtcMs,
};

use super::*;

mod forms;
mod sparkplug;

/// The rule written as the inside of `[[topics]]`.
fn rule(text: &str) -> TopicConfig {
    let whole = format!(
        "[device]\nid = \"d\"\nkind = \"gateway\"\nsite = \"D1\"\nkey_file = \"k\"\n\
         [store]\npath = \"s\"\n[mqtt]\nhost = \"h\"\n\
         [site]\ngeofence = {{ lat = 1.0, lon = 1.0, radius_m = 1.0 }}\n[[topics]]\n{text}"
    );
    let config = crate::config::parse(&whole, std::path::Path::new("/tmp"));
    config.unwrap_or_else(|problems| panic!("{problems:?}")).topics.remove(0)
}

fn door_rule() -> TopicConfig {
    rule(
        "filter = \"depot/D1/door/+\"\ndecoder = \"json\"\nkind = \"door\"\nsubject = { segment = 4 }\n\
         id = \"/id\"\ntime = \"/ts\"\ntime_unit = \"ms\"\nvalue = \"/state\"\n\
         true_values = [\"open\", true]\nfalse_values = [\"closed\", false]",
    )
}

/// Everything that a message says.
fn all(rule: &TopicConfig, topic: &str, payload: &str) -> Result<Decoded, String> {
    decode(&mut Births::default(), rule, topic, payload.as_bytes(), UtcMs(99)).map_err(|error| error.to_string())
}

/// What a message of one reading says.
fn read(rule: &TopicConfig, topic: &str, payload: &str) -> Result<Reading, String> {
    let mut readings = all(rule, topic, payload)?.readings;
    assert!(readings.len() < 2, "{readings:?}");
    readings.pop().ok_or_else(|| "ignored".to_owned())
}

/// The values of a message and their times.
fn values(rule: &TopicConfig, topic: &str, payload: &str) -> Vec<(ReadingValue, i64)> {
    let decoded = all(rule, topic, payload).unwrap();
    decoded.readings.into_iter().map(|reading| (reading.value, reading.at.0)).collect()
}

fn vehicle(name: &str) -> VehicleId {
    VehicleId::new(name).unwrap()
}

#[test]
fn a_door_message_becomes_a_reading_of_that_door() {
    let reading = read(&door_rule(), "depot/D1/door/3", r#"{"id":17,"ts":1425974400000,"state":"open"}"#).unwrap();
    assert_eq!(reading.value, ReadingValue::Door { door: DoorId::new("3").unwrap(), open: true });
    assert_eq!(
        (reading.id.as_str(), reading.at, reading.source.as_str()),
        ("17", UtcMs(1_425_974_400_000), "depot/D1/door/3")
    );
}

#[test]
fn what_cannot_be_read_says_which_pointer_and_what_was_found() {
    for (payload, reason) in [
        ("}{", "not JSON: expected value at line 1 column 1"),
        (r#"{"ts":1,"state":"open"}"#, r#"id is missing at "/id""#),
        (r#"{"id":"a","ts":"soon","state":"open"}"#, r#"time at "/ts" is "soon", expected milliseconds since 1970"#),
        (
            r#"{"id":"a","ts":1,"state":"ajar"}"#,
            r#"value at "/state" is "ajar", expected one of "open", true, "closed", false"#,
        ),
        (r#"{"id":"a","ts":1,"state":null}"#, r#"value is missing at "/state""#),
        (r#"{"id":"a","ts":1e300,"state":true}"#, r#"time at "/ts" is 1e+300, expected milliseconds since 1970"#),
        (r#"[1,2]"#, r#"value is missing at "/state""#),
    ] {
        assert_eq!(read(&door_rule(), "depot/D1/door/3", payload).unwrap_err(), reason, "{payload}");
    }
    assert!(read(&door_rule(), "depot/D1/door", "{\"id\":1,\"ts\":1,\"state\":true}").unwrap_err().contains("level 4"));
}

#[test]
fn a_message_without_an_id_is_named_by_topic_and_payload() {
    let rule = rule(
        "filter = \"d/+\"\ndecoder = \"json\"\nkind = \"door\"\nsubject = { segment = 2 }\n\
         time = \"/ts\"\nvalue = \"/open\"",
    );
    let payload = r#"{"ts":"2015-03-10T08:00:00Z","open":false}"#;
    let (a, b) = (read(&rule, "d/1", payload).unwrap(), read(&rule, "d/2", payload).unwrap());
    assert_ne!(a.id, b.id);
    assert_eq!(a, read(&rule, "d/1", payload).unwrap());
    assert_eq!(a.at.to_string(), "2015-03-10T08:00:00Z");
}

#[test]
fn a_scan_takes_its_step_from_the_topic_and_counts_one_where_nothing_is_said() {
    let rule = rule(
        "filter = \"scan/+\"\ndecoder = \"json\"\nkind = \"scan\"\nsubject = \"/order\"\nid = \"/id\"\n\
         line = \"/line\"\nstep = { segment = 2 }\nquantity = \"/n\"",
    );
    let reading = read(&rule, "scan/loaded", r#"{"id":"x","order":"SO1","line":2,"n":"4"}"#).unwrap();
    let ReadingValue::Scan { step, line, quantity, .. } = reading.value else { panic!("{reading:?}") };
    assert_eq!((step, line, quantity, reading.at), (ScanStep::Loaded, 2, 4, UtcMs(99)));
    let wrong = read(&rule, "scan/lost", r#"{"id":"x","order":"SO1","line":2,"n":1}"#).unwrap_err();
    assert_eq!(wrong, r#"step at level 2 of the topic is "lost", expected staged, loaded or unloaded"#);
    let wrong = read(&rule, "scan/loaded", r#"{"id":"x","order":"SO1","line":2,"n":-1}"#).unwrap_err();
    assert_eq!(wrong, r#"quantity at "/n" is -1, expected a whole number of units"#);
}

#[test]
fn an_owntracks_location_is_a_position_at_its_fix_time_in_kmh() {
    let rule = rule("filter = \"owntracks/+/+\"\ndecoder = \"owntracks\"");
    let payload = r#"{"_type":"location","lat":30.27,"lon":-97.74,"tst":1425974400,"acc":5,"vel":36,"tid":"07"}"#;
    let reading = read(&rule, "owntracks/cap/2207", payload).unwrap();
    assert_eq!(reading.at, UtcMs(1_425_974_400_000));
    assert_eq!(
        reading.value,
        ReadingValue::Position {
            vehicle: VehicleId::new("2207").unwrap(),
            point: gatehouse_common::geo::Point { lat: 30.27, lon: -97.74 },
            accuracy_m: Some(5.0),
            speed_kmh: Some(36.0),
        }
    );
}

#[test]
fn other_owntracks_messages_are_ignored_and_broken_ones_say_why() {
    let rule = rule("filter = \"owntracks/+/+\"\ndecoder = \"owntracks\"");
    let says = |payload| read(&rule, "owntracks/cap/2207", payload).unwrap_err();
    assert_eq!(says(r#"{"_type":"card","name":"x"}"#), "ignored");
    assert_eq!(
        says(r#"{"_type":"location","lat":95,"lon":0,"tst":1}"#),
        r#"position at "/lat" is 95, 0, expected latitude -90 to 90 and longitude -180 to 180"#
    );
    assert_eq!(
        says(r#"{"_type":"location","lat":"x","lon":0,"tst":1}"#),
        r#"latitude at "/lat" is "x", expected a number"#
    );
    assert_eq!(says("{}"), r#"message type is missing at "/_type""#);
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let (rule, mut births) = (door_rule(), Births::default());
    let mut bytes = br#"{"id":17,"ts":1425974400000,"state":"open"}"#.to_vec();
    for i in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            bytes[i] ^= flip;
            let _ = decode(&mut births, &rule, "depot/D1/door/3", &bytes, UtcMs(0));
            bytes[i] ^= flip;
        }
        let _ = decode(&mut births, &rule, "", &bytes[..i], UtcMs(0));
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(
        decode(&mut births, &rule, "depot/D1/door/3", deep.as_bytes(), UtcMs(0)),
        Err(Unreadable::NotJson(_))
    ));
}

#[test]
fn numbers_are_scaled_and_brought_to_our_units() {
    let rule = rule(
        "filter = \"w/+\"\ndecoder = \"json\"\nkind = \"weight\"\nsubject = { segment = 2 }\nid = \"/id\"\n\
         value = \"/raw\"\nunit = \"kg\"\nscale = 0.1\noffset = -2",
    );
    let reading = read(&rule, "w/SO1", r#"{"id":1,"raw":"1260"}"#).unwrap();
    assert_eq!(reading.value, ReadingValue::Weight { order: "SO1".parse().unwrap(), grams: 124_000 });
    let wrong = read(&rule, "w/SO1", r#"{"id":1,"raw":-90}"#).unwrap_err();
    assert_eq!(wrong, r#"value at "/raw" is -90, expected a weight from 0 to 1000 tonnes"#);
}

#[test]
fn a_position_is_read_from_plain_json_in_the_unit_of_the_rule() {
    let rule = rule(
        "filter = \"gps\"\ndecoder = \"json\"\nkind = \"position\"\nsubject = \"/truck\"\ntime = \"/t\"\n\
         time_unit = \"s\"\nlatitude = \"/at/0\"\nlongitude = \"/at/1\"\nspeed = \"/v\"\nspeed_unit = \"mph\"\n\
         sequence = \"/n\"\nsent = \"/s\"",
    );
    let decoded = all(&rule, "gps", r#"{"truck":"7","t":10,"at":[30.5,-97.5],"v":60,"n":4,"s":12}"#).unwrap();
    let ReadingValue::Position { point, speed_kmh: Some(kmh), .. } = &decoded.readings[0].value else { panic!() };
    assert!((point.lat, point.lon) == (30.5, -97.5) && (kmh - 96.56).abs() < 0.01, "{kmh}");
    assert_eq!(decoded.marks[0].sequence.map(|s| s.number), Some(4));
    assert_eq!(decoded.marks[0].sent, Some(UtcMs(12_000)));
    let wrong = read(&rule, "gps", r#"{"truck":"7","t":10,"at":[0,0]}"#).unwrap_err();
    assert_eq!(wrong, r#"position at "/at/0" is 0, 0, expected a fix"#);
}

#[test]
fn every_kind_of_reading_can_be_read_from_plain_json() {
    let of = |kind: &str, more: &str, payload: &str| {
        let text = format!(
            "filter = \"a/+\"\ndecoder = \"json\"\nkind = \"{kind}\"\nsubject = {{ segment = -1 }}\nid = \"/id\"\n{more}"
        );
        read(&rule(&text), "a/7", payload).map(|reading| reading.value)
    };
    let fault = |payload| of("door_fault", "value = \"/f\"\nfalse_values = [\"ok\"]", payload);
    let door: DoorId = "7".parse().unwrap();
    let broken = Some("spring".to_owned());
    assert_eq!(fault(r#"{"id":1,"f":"spring"}"#), Ok(ReadingValue::DoorFault { door: door.clone(), fault: broken }));
    assert_eq!(fault(r#"{"id":1,"f":"ok"}"#), Ok(ReadingValue::DoorFault { door: door.clone(), fault: None }));
    assert_eq!(fault(r#"{"id":1,"f":null}"#), Ok(ReadingValue::DoorFault { door, fault: None }));
    assert_eq!(
        of("alarm", "alarm = \"/a\"\nalarm_words = { sos = \"panic\" }", r#"{"id":1,"a":"sos"}"#),
        Ok(ReadingValue::Alarm { vehicle: vehicle("7"), alarm: gatehouse_common::reading::AlarmKind::Panic, on: true })
    );
    assert!(of("alarm", "alarm = \"/a\"", r#"{"id":1,"a":"sos"}"#).unwrap_err().contains("one of jamming"));
    assert_eq!(
        of("presence", "value = { fixed = \"gone\" }\nfalse_values = [\"gone\"]", r#"{"id":1}"#),
        Ok(ReadingValue::Presence { online: false })
    );
    assert_eq!(
        of("crossing", "place = \"/p\"\nvalue = \"/e\"\ntrue_values = [\"in\"]", r#"{"id":1,"p":"yard","e":"in"}"#),
        Ok(ReadingValue::Crossing { vehicle: vehicle("7"), place: "yard".to_owned(), inside: true })
    );
    let proof = |payload: &str| of("proof", "lines = \"/l\"\nsigned_by = \"/s\"", payload);
    let lines = vec![gatehouse_common::reading::ProofLine { line: 1, delivered: 3, refused: 1, damaged: 0 }];
    assert_eq!(
        proof(r#"{"id":1,"l":[{"line":1,"delivered":3,"refused":1}],"s":"B. Lund"}"#),
        Ok(ReadingValue::Proof {
            order: "7".parse().unwrap(),
            lines,
            signed_by: Some("B. Lund".to_owned()),
            photo: None
        })
    );
    assert!(proof(r#"{"id":1,"l":[{"line":1,"delivered":3},{"line":1,"delivered":0}]}"#).is_err());
    assert_eq!(
        of("ignition", "value = \"\"", r#"{"id":1}"#).unwrap_err(),
        r#"value at "" is {"id":1}, expected one of true, false"#
    );
    assert_eq!(
        of("temperature", "value = \"/v\"\nunit = \"f\"", r#"{"id":1,"v":14}"#),
        Ok(ReadingValue::Temperature { celsius: -10.0, vehicle: None })
    );
    assert_eq!(
        of("cargo_door", "value = \"/v\"", r#"{"id":1,"v":true}"#),
        Ok(ReadingValue::CargoDoor { vehicle: vehicle("7"), open: true })
    );
}
