//! What real devices sent, read by the agent's decoders: receivers (gpsd), trackers (traccar's test frames), and the
//! polls of refuse trucks. The captures lie beside the checkout, in `../shared/data`, or where
//! `GATEHOUSE_SHARED_DATA` says; without them these tests are skipped.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
};

use gatehouse_agent::{
    config::{self, TopicConfig},
    core::{
        Core, Profile,
        input::{Input, Receipt},
    },
    driver::step,
    intake::{
        payload::{Births, decode},
        read::{Arrived, MessageReader},
    },
    store::{Identity, Store},
};
use gatehouse_common::{
    reading::ReadingValue,
    seal::PrivateKey,
    time::{BootId, Moment, UtcMs},
};
use serde_json::Value;

const RECEIVED: UtcMs = UtcMs(1_764_000_000_000);

/// The folder of captures, said loudly where it is not there.
fn captures(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("GATEHOUSE_SHARED_DATA").map_or_else(beside, PathBuf::from);
    let found = data.join(folder);
    if found.is_dir() {
        return Some(found);
    }
    gatehouse_skipped::skipped(format!("the captures of {folder} are not in {}", data.display()));
    None
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).expect("the capture can be opened");
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("the capture can be unpacked");
    bytes
}

fn rules(topics: &str) -> Vec<TopicConfig> {
    let text = format!(
        "[device]\nid = \"d\"\nkind = \"gateway\"\nsite = \"D1\"\nkey_file = \"k\"\n[store]\npath = \"s\"\n\
         [mqtt]\nhost = \"h\"\n[site]\ngeofence = {{ lat = 1.0, lon = 1.0, radius_m = 1.0 }}\n{topics}"
    );
    config::parse(&text, Path::new(".")).expect("the rules are in order").topics
}

/// What became of messages.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    fixes: usize,
    of_no_concern: usize,
    refused: usize,
}

/// Reads one message; the positions it gives, and the reason if it is refused.
fn positions(rule: &TopicConfig, topic: &str, payload: &[u8]) -> Result<Vec<(UtcMs, f64, f64, f64)>, String> {
    let decoded = decode(&mut Births::default(), rule, topic, payload, RECEIVED).map_err(|e| e.to_string())?;
    let fixes = decoded.readings.into_iter().filter_map(|reading| match reading.value {
        ReadingValue::Position { point, speed_kmh, .. } => {
            Some((reading.at, point.lat, point.lon, speed_kmh.unwrap_or(-1.0)))
        }
        _ => None,
    });
    Ok(fixes.collect())
}

fn count(counts: &mut Counts, read: &Result<Vec<(UtcMs, f64, f64, f64)>, String>) {
    match read {
        Ok(fixes) if fixes.is_empty() => counts.of_no_concern += 1,
        Ok(fixes) => counts.fixes += fixes.len(),
        Err(reason) => {
            assert!(!reason.is_empty(), "refused without a reason");
            counts.refused += 1;
        }
    }
}

#[test]
fn every_line_of_real_receivers_is_read_or_refused_and_the_top_speed_is_the_one_on_record() {
    let Some(folder) = captures("gpsd-nmea") else { return };
    let rule = rules("[[topics]]\nfilter = \"n/+\"\ndecoder = \"nmea\"\n").remove(0);
    let index = std::fs::read_to_string(folder.join("INDEX.csv")).unwrap();
    let (mut all, mut logs, mut compared) = (Counts::default(), 0, 0);
    for row in index.lines().skip(1) {
        let [_, name, _, fixes_on_record, top_on_record] = row.split(',').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let bytes = unpacked(&folder.join(format!("{name}.gz")));
        let mut top_knots: f64 = 0.0;
        let mut own = Counts::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let read = positions(&rule, "n/7", line);
            count(&mut own, &read);
            for (_, _, _, kmh) in read.unwrap_or_default() {
                top_knots = top_knots.max(kmh / 1.852);
            }
        }
        // As one payload too: sentences of one time are then one fix.
        let whole = positions(&rule, "n/7", &bytes);
        assert!(whole.as_ref().map_or(0, Vec::len) <= own.fixes, "{name}: {whole:?}");
        logs += 1;
        let top: f64 = top_on_record.parse().unwrap();
        // The record counts GLL as well, which says nothing of its own.
        assert!(own.fixes <= fixes_on_record.parse().unwrap(), "{name}: {own:?}, on record {fixes_on_record}");
        if top > 0.0 {
            assert!((top_knots - top).abs() < 1e-6, "{name}: top speed {top_knots}, on record {top}");
            compared += 1;
        }
        all.fixes += own.fixes;
        all.of_no_concern += own.of_no_concern;
        all.refused += own.refused;
    }
    println!("gpsd-nmea: {logs} logs, {compared} top speeds compared, lines: {all:?}");
    let files = std::fs::read_dir(&folder).unwrap().filter_map(Result::ok);
    let files = files.filter(|file| file.file_name().to_string_lossy().ends_with(".log.gz")).count();
    assert_eq!(logs, files, "a log is not in the index");
    assert!(logs > 50 && compared > 30 && all.fixes > 2_000 && all.refused > 0);
}

/// What the frames write with a backslash.
fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\").into_bytes()
}

#[test]
fn every_frame_of_real_trackers_is_read_or_refused_and_known_fixes_are_ours() {
    let Some(folder) = captures("traccar-frames") else { return };
    let rules = rules(
        "[[topics]]\nfilter = \"n/+\"\ndecoder = \"nmea\"\n[[topics]]\nfilter = \"o\"\ndecoder = \"osmand\"\n\
         [[topics]]\nfilter = \"t\"\ndecoder = \"traccar\"\n[[topics]]\nfilter = \"w\"\ndecoder = \"owntracks\"\n\
         [[topics]]\nfilter = \"e\"\ndecoder = \"cloudevents\"\nkind = \"door\"\nsubject = \"/d\"\nvalue = \"/v\"\n\
         [[topics]]\nfilter = \"te/#\"\ndecoder = \"thin_edge\"\n[[topics.metrics]]\nname = \"t\"\nkind = \"temperature\"\n\
         [[topics]]\nfilter = \"spBv1.0/#\"\ndecoder = \"sparkplug\"\n[[topics.metrics]]\nname = \"t\"\nkind = \"temperature\"\n",
    );
    let topics = ["n/7", "o", "t", "w/a/7", "e", "te/device/7///m/x", "spBv1.0/D1/NBIRTH/gate"];
    let text = String::from_utf8(unpacked(&folder.join("frames.jsonl.gz"))).unwrap();
    let (mut claimed, mut foreign, mut frames, mut known) = (Counts::default(), Counts::default(), 0, 0);
    for line in text.lines() {
        let frame: Value = serde_json::from_str(line).unwrap();
        let of = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        let payload = match of("encoding").as_str() {
            "hex" => hex::decode(of("payload")).unwrap_or_default(),
            _ => unescaped(&of("payload")),
        };
        frames += 1;
        let is_json = payload.trim_ascii().starts_with(b"{");
        let sentence = sentence_in(&payload);
        for (rule, topic) in rules.iter().zip(topics) {
            let read = positions(rule, topic, &payload);
            let ours = match topic {
                "n/7" => payload.starts_with(b"$"),
                "o" => of("protocol") == "OsmAnd",
                _ => is_json && topic != topics[6],
            };
            count(if ours { &mut claimed } else { &mut foreign }, &read);
            if topic == "o" && ours {
                let json: Value = serde_json::from_slice(&payload).unwrap();
                let expected =
                    json.pointer("/location/coords").map(|c| (c["latitude"].as_f64(), c["longitude"].as_f64()));
                match read {
                    Ok(fixes) => {
                        assert_eq!(expected, Some((Some(fixes[0].1), Some(fixes[0].2))));
                        known += 1;
                    }
                    Err(reason) => assert!(reason.contains("mock"), "{reason}"),
                }
            }
        }
        // Others wrap a sentence of ours in a frame of theirs and say which fix it is.
        if let (Some(sentence), Some(expected)) = (sentence, frame["expect_position"].as_str()) {
            let fixes = positions(&rules[0], "n/7", sentence).unwrap_or_else(|e| panic!("{e}: {expected}"));
            let [(at, lat, lon, _)] = fixes[..] else { panic!("{fixes:?}, expected {expected}") };
            let shown = jiff::Timestamp::from_millisecond(at.0).unwrap().strftime("%Y-%m-%d %H:%M:%S.%3f");
            let whole_seconds = format!("{shown}").split('.').next().unwrap().to_owned();
            assert!(expected.contains(&whole_seconds), "{whole_seconds}, expected {expected}");
            assert!(expected.ends_with(&format!("{lat:.5}, {lon:.5}")), "{lat:.5}, {lon:.5}, expected {expected}");
            known += 1;
        }
    }
    println!(
        "traccar-frames: {frames} frames, {known} known fixes equal ours; claimed {claimed:?}; foreign {foreign:?}"
    );
    assert!(frames == 2_094 && known >= 6 && claimed.fixes >= 10 && claimed.refused > 0);
}

/// The RMC sentence inside a frame, up to its checksum.
fn sentence_in(payload: &[u8]) -> Option<&[u8]> {
    let start = payload.windows(6).position(|window| window == b"$GPRMC")?;
    let sum = payload[start..].iter().position(|byte| *byte == b'*')?;
    payload.get(start..start + sum + 3)
}

#[test]
fn a_thousand_polls_of_the_same_fix_count_once() {
    let Some(folder) = captures("jc-refuse-trucks") else { return };
    let topics = rules(
        "[[topics]]\nfilter = \"poll/+\"\ndecoder = \"json\"\nkind = \"position\"\nsubject = { segment = 2 }\n\
         time = \"/fix\"\nlatitude = \"/lat\"\nlongitude = \"/lon\"\n",
    );
    let polls = String::from_utf8(unpacked(&folder.join("polls_raw.csv.gz"))).unwrap();
    let distinct = String::from_utf8(unpacked(&folder.join("positions.csv.gz"))).unwrap().lines().skip(1).count();
    let key = PrivateKey::from_seed([7; 32]);
    let profile = Profile {
        device: "d".parse().unwrap(),
        site: "D1".parse().unwrap(),
        vehicle: None,
        yard: None,
        key: key.clone(),
        hub_key: None,
        bundle: gatehouse_common::bundle::Bundle::parse("").unwrap(),
    };
    let identity = Identity { device: profile.device.clone(), site: profile.site.clone(), public_key: key.public() };
    let mut store = Store::in_memory(&identity).unwrap();
    let mut core = Core::load(profile, store.snapshot().unwrap());
    let mut reader = MessageReader::new(topics, BTreeSet::new(), 1 << 18, Births::default());
    let moment = Moment { wall: RECEIVED, uncertainty_ms: 0, boot: BootId::default(), boottime_ms: 1, trusted: true };
    let (mut sent, mut batch): (u64, Vec<Input>) = (0, Vec::new());
    for poll in polls.lines().skip(1) {
        let [_, vehicle, lat, lon, fix] = poll.split(',').collect::<Vec<_>>()[..] else { panic!("{poll}") };
        let payload = format!(r#"{{"lat":{lat},"lon":{lon},"fix":"{fix}Z"}}"#);
        let topic = format!("poll/{vehicle}");
        let arrived =
            Arrived { topic: &topic, payload: payload.as_bytes(), retained: false, again: false, received: RECEIVED };
        batch.extend(reader.read(&arrived, Receipt(sent)).inputs);
        sent += 1;
        if batch.len() >= 512 {
            step(&mut core, &mut store, &moment, &std::mem::take(&mut batch)).unwrap();
        }
    }
    step(&mut core, &mut store, &moment, &batch).unwrap();
    let status = store.look().status().unwrap();
    let counter = |name: &str| status.counters.get(name).copied().unwrap_or(0);
    let (stored, repeats) = (counter("readings_stored"), counter("duplicates_dropped"));
    println!("jc-refuse-trucks: {sent} polls, {stored} fixes stored, {repeats} repeats; distinct on record {distinct}");
    assert_eq!(stored, distinct as u64, "{:?}", store.look().quarantine(3));
    assert_eq!(stored + repeats + counter("quarantined"), sent);
}
