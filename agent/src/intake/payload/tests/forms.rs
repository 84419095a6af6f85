//! The forms that bring their own meaning.

use gatehouse_common::reading::AlarmKind;

use super::*;

#[test]
fn an_owntracks_transition_is_a_crossing_and_a_last_will_says_that_the_device_is_gone() {
    let rule = rule("filter = \"owntracks/#\"\ndecoder = \"owntracks\"");
    let payload = r#"{"_type":"transition","wtst":1,"lat":1,"lon":2,"tst":5,"acc":3,"event":"leave","desc":"yard"}"#;
    let left = read(&rule, "owntracks/cap/7/event", payload).unwrap();
    assert_eq!((left.source.as_str(), left.at), ("owntracks/cap/7", UtcMs(5_000)));
    let crossing = ReadingValue::Crossing { vehicle: vehicle("7"), place: "yard".to_owned(), inside: false };
    assert_eq!(left.value, crossing);
    let gone = read(&rule, "owntracks/cap/7", r#"{"_type":"lwt","tst":1}"#).unwrap();
    assert_eq!((gone.value, gone.at), (ReadingValue::Presence { online: false }, UtcMs(99)));
    let odd = payload.replace("leave", "linger");
    assert!(all(&rule, "owntracks/cap/7/event", &odd).unwrap_err().contains("enter or leave"));
}

const TRACCAR: &str = r#"{"position":{"id":9,"deviceId":3,"protocol":"teltonika","serverTime":"2026-11-20T10:00:09.000+00:00",
"deviceTime":"2026-11-20T10:00:05.000+00:00","fixTime":"2026-11-20T10:00:00.000+00:00","valid":true,"outdated":false,
"latitude":52.5,"longitude":13.4,"altitude":40,"speed":10,"course":5,"accuracy":0,
"attributes":{"ignition":true,"motion":true,"door":false,"lock":true,"temp1":-18.5,"temp2":"x","alarm":"tampering,door"}},
"device":{"id":3,"uniqueId":"T-3","name":"Truck 3","status":"online"}}"#;

#[test]
fn a_traccar_position_brings_its_sensors_along_with_the_speed_in_knots() {
    let rule = rule("filter = \"traccar/positions\"\ndecoder = \"traccar\"");
    let decoded = all(&rule, "traccar/positions", TRACCAR).unwrap();
    let fix = &decoded.readings[0];
    let ReadingValue::Position { vehicle: found, speed_kmh: Some(kmh), accuracy_m: None, .. } = &fix.value else {
        panic!()
    };
    assert!(*found == vehicle("T-3") && (kmh - 18.52).abs() < 1e-9, "{fix:?}");
    assert_eq!((fix.source.as_str(), fix.at.to_string().as_str()), ("traccar/T-3", "2026-11-20T10:00:00Z"));
    let rest: Vec<&ReadingValue> = decoded.readings[1..].iter().map(|reading| &reading.value).collect();
    let of = vehicle("T-3");
    assert_eq!(
        rest,
        [
            &ReadingValue::Alarm { vehicle: of.clone(), alarm: AlarmKind::Tampering, on: true },
            &ReadingValue::CargoDoor { vehicle: of.clone(), open: false },
            &ReadingValue::Ignition { vehicle: of.clone(), on: true },
            &ReadingValue::Temperature { celsius: -18.5, vehicle: Some(of) },
        ]
    );
    // The second probe sends nonsense: that is counted, and hides nothing else.
    assert_eq!(decoded.noticed, ["values_refused"]);
    assert_eq!(decoded.marks[0].sent.map(|at| at.to_string()).as_deref(), Some("2026-11-20T10:00:05Z"));
}

#[test]
fn a_traccar_position_without_a_fix_of_its_own_moves_no_vehicle() {
    let rule = rule("filter = \"t\"\ndecoder = \"traccar\"\nlock_is_seal = true\nsubject = \"/device/name\"");
    for text in [
        TRACCAR.replace("\"valid\":true", "\"valid\":false"),
        TRACCAR.replace("\"outdated\":false", "\"outdated\":true"),
    ] {
        let values = values(&rule, "t", &text.replace("Truck 3", "T3"));
        assert!(!values.iter().any(|(value, _)| matches!(value, ReadingValue::Position { .. })), "{values:?}");
        let sealed = ReadingValue::Seal { vehicle: vehicle("T3"), intact: true, number: None };
        assert!(values.iter().any(|(value, _)| *value == sealed), "{values:?}");
    }
}

#[test]
fn traccar_events_become_presence_crossings_alarms_and_ignition() {
    let rule = rule("filter = \"t\"\ndecoder = \"traccar\"");
    let event = |kind: &str, more: &str| {
        format!(
            r#"{{"event":{{"id":1,"type":"{kind}","eventTime":"1970-01-01T00:00:07Z","deviceId":3,"attributes":{{"alarm":"sos"}}}},
            "position":{{"latitude":1}},"device":{{"uniqueId":"3"}}{more}}}"#
        )
    };
    let one = |kind: &str, more: &str| values(&rule, "t", &event(kind, more));
    let of = vehicle("3");
    assert_eq!(one("deviceOffline", ""), [(ReadingValue::Presence { online: false }, 7_000)]);
    assert_eq!(one("deviceOnline", ""), [(ReadingValue::Presence { online: true }, 7_000)]);
    let entered = ReadingValue::Crossing { vehicle: of.clone(), place: "Depot 1".to_owned(), inside: true };
    assert_eq!(one("geofenceEnter", r#","geofence":{"name":"Depot 1"}"#), [(entered, 7_000)]);
    assert_eq!(one("ignitionOff", ""), [(ReadingValue::Ignition { vehicle: of.clone(), on: false }, 7_000)]);
    assert_eq!(one("alarm", ""), [(ReadingValue::Alarm { vehicle: of, alarm: AlarmKind::Panic, on: true }, 7_000)]);
    assert!(one("deviceMoving", "").is_empty());
    assert_eq!(all(&rule, "t", "{}").unwrap_err(), r#"position or event is missing at "/position""#);
}

#[test]
fn osmand_means_knots_in_a_query_and_metres_per_second_in_json() {
    let rule = rule("filter = \"osmand/+\"\ndecoder = \"osmand\"");
    let query = "id=T-9&lat=52.5&lon=13.4&timestamp=1425974400&speed=10&accuracy=4&batt=80";
    let json = r#"{"device_id":"T-9","location":{"timestamp":"2015-03-10T08:00:00Z","is_moving":true,
        "coords":{"latitude":52.5,"longitude":13.4,"accuracy":4,"speed":10,"heading":-1}}}"#;
    for (payload, kmh) in [(query, 18.52), (&format!("/?{query}"), 18.52), (json, 36.0)] {
        let reading = read(&rule, "osmand/x", payload).unwrap();
        let ReadingValue::Position { vehicle: of, speed_kmh: Some(found), accuracy_m: Some(4.0), .. } = &reading.value
        else {
            panic!("{reading:?}")
        };
        assert!(*of == vehicle("T-9") && (found - kmh).abs() < 1e-9, "{reading:?}");
        assert_eq!((reading.at, reading.source.as_str()), (UtcMs(1_425_974_400_000), "osmand/T-9"));
    }
    let at = |timestamp: &str| {
        let payload = format!("deviceid=1&lat=1&lon=2&timestamp={timestamp}");
        read(&rule, "osmand/x", &payload).map(|reading| reading.at.0)
    };
    assert_eq!(at("1425974400123"), Ok(1_425_974_400_123));
    assert_eq!(at("2015-03-10+08:00:00"), Ok(1_425_974_400_000));
    assert!(at("soon").unwrap_err().contains("fix time"));
    assert_eq!(read(&rule, "osmand/x", "id=1&valid=false&lat=1&lon=1").unwrap_err(), "ignored");
    assert!(read(&rule, "osmand/x", &json.replace("\"is_moving\":true", "\"mock\":true")).is_err());
    assert!(read(&rule, "osmand/x", "hello").unwrap_err().starts_with("lat is missing"));
}

#[test]
fn nmea_sentences_of_one_time_are_one_fix_and_a_wrong_checksum_says_nothing() {
    let rule = rule("filter = \"nmea/+\"\ndecoder = \"nmea\"");
    let rmc = "$GPRMC,123519.50,A,4807.038,N,01131.000,W,022.4,084.4,230394,003.1,W*53";
    let gga = "$GPGGA,123519.50,4807.038,N,01131.000,W,1,08,0.9,545.4,M,46.9,M,,*7E";
    let bad = rmc.replace("022.4", "922.4");
    let found = values(&rule, "nmea/7", &format!("{gga}\r\n{rmc}\r\n$GPGSV,1,1,00*79\n{bad}"));
    let [(ReadingValue::Position { vehicle: of, point, speed_kmh: Some(kmh), .. }, at)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!((point.lat - 48.1173).abs() < 1e-9 && (point.lon + 11.516_666_666).abs() < 1e-6, "{point:?}");
    assert!(*of == vehicle("7") && (kmh - 22.4 * 1.852).abs() < 1e-9);
    assert_eq!(*at, 764_426_119_500);
    assert!(all(&rule, "nmea/7", &bad).unwrap_err().starts_with("checksum at the sentence"));
    assert!(values(&rule, "nmea/7", "$GPRMC,123519,V,,,,,,,230394,,*33").is_empty());
    // GGA knows no day: it is the one that is nearest to when it came in.
    let lone = decode(&mut Births::default(), &rule, "nmea/7", gga.as_bytes(), "2015-03-10T00:10:00Z".parse().unwrap());
    assert_eq!(lone.unwrap().readings[0].at.0, 1_425_904_519_500);
}

#[test]
fn an_event_is_the_same_alone_and_in_a_batch() {
    let rule = rule(
        "filter = \"e\"\ndecoder = \"cloudevents\"\nkind = \"door\"\nsubject = \"/door\"\nvalue = \"/open\"\n\
         event_type = \"depot.door.v1\"",
    );
    let event = r#"{"specversion":"1.0","id":"A-1","source":"/d/1","type":"depot.door.v1","time":"1970-01-01T00:00:03Z","data":{"door":"3","open":true}}"#;
    let alone = read(&rule, "e", event).unwrap();
    assert_eq!((alone.id.as_str(), alone.source.as_str(), alone.at), ("A-1", "/d/1", UtcMs(3_000)));
    let other = event.replace("depot.door.v1", "depot.lamp.v1").replace("A-1", "A-2");
    let batch = all(&rule, "e", &format!("[{event},{other}]")).unwrap();
    assert_eq!(batch.readings, [alone]);
    let encoded =
        event.replace(r#""data":{"door":"3","open":true}"#, r#""data_base64":"eyJkb29yIjoiMyIsIm9wZW4iOnRydWV9""#);
    assert!(matches!(read(&rule, "e", &encoded).unwrap().value, ReadingValue::Door { open: true, .. }));
    assert!(read(&rule, "e", &event.replace("1.0", "0.3")).unwrap_err().contains("expected 1.0"));
    assert_eq!(read(&rule, "e", &event.replace("\"id\"", "\"no\"")).unwrap_err(), r#"id is missing at "/id""#);
}

#[test]
fn thin_edge_measurements_and_events_are_read_by_the_names_of_the_topic_map() {
    let rule = rule(
        "filter = \"te/device/+/+/+/#\"\ndecoder = \"thin_edge\"\n\
         [[topics.metrics]]\nname = \"air\"\nkind = \"temperature\"\n\
         [[topics.metrics]]\nname = \"cold/air\"\nkind = \"temperature\"\nvehicle = { segment = 3 }\n\
         [[topics.metrics]]\nname = \"door_open\"\nkind = \"door\"\nsubject = \"/door\"\nvalue = { fixed = true }",
    );
    let found = values(
        &rule,
        "te/device/T-4///m/env",
        r#"{"time":"1970-01-01T00:00:03Z","air":4.5,"cold":{"air":-18},"lux":7}"#,
    );
    assert_eq!(
        found,
        [
            (ReadingValue::Temperature { celsius: 4.5, vehicle: None }, 3_000),
            (ReadingValue::Temperature { celsius: -18.0, vehicle: Some(vehicle("T-4")) }, 3_000)
        ]
    );
    let door = read(&rule, "te/device/main///e/door_open", r#"{"text":"opened","time":3,"door":"2"}"#).unwrap();
    assert_eq!((door.source.as_str(), door.at), ("te/device/main//", UtcMs(3_000)));
    assert!(matches!(door.value, ReadingValue::Door { open: true, .. }));
    assert!(values(&rule, "te/device/main///a/overheat", "{}").is_empty());
    assert!(all(&rule, "te/device/main///m/env", r#"{"air":"warm"}"#).unwrap_err().contains("expected a number"));
}

#[test]
fn a_key_that_the_decoder_does_not_use_is_refused_once() {
    let whole = "[device]\nid = \"d\"\nkind = \"gateway\"\nsite = \"D1\"\nkey_file = \"k\"\n[store]\npath = \"s\"\n\
        [mqtt]\nhost = \"h\"\n[site]\ngeofence = { lat = 1.0, lon = 1.0, radius_m = 1.0 }\n\
        [[topics]]\nfilter = \"n/+\"\ndecoder = \"nmea\"\nvalue = \"/x\"\n\
        [[topics]]\nfilter = \"s/#\"\ndecoder = \"sparkplug\"\n\
        [[topics]]\nfilter = \"w\"\ndecoder = \"json\"\nkind = \"weight\"\nsubject = \"/o\"\nid = \"/i\"\nvalue = \"/v\"\n";
    let problems = crate::config::parse(whole, std::path::Path::new("/tmp")).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["topics[1].value", "topics[2].metrics", "topics[3].unit"], "{problems:?}");
}
