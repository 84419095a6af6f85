//! Positions of vehicles that have no agent, as Traccar forwards them and as OwnTracks posts them.
//!
//! In: one JSON message. Out: the vehicle's name and a fix by its own time. Speeds become km/h: Traccar has knots, OwnTracks
//! km/h. A fix that its receiver calls invalid or outdated is no position.

use gatehouse_common::{
    id::DeviceId,
    telemetry::{Event, Fix, Track},
    time::UtcMs,
};
use serde_json::Value;

/// Most bytes of a message.
pub const MESSAGE_MAX_BYTES: usize = 32 * 1024;
/// A fix that is worse than this says nothing, in metres.
const ACCURACY_MAX_M: f64 = 1_000.0;
/// How far a fix may lie ahead of the hub's clock, in milliseconds.
const AHEAD_MAX_MS: i64 = 60_000;

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Where a vehicle was.
    Position {
        /// Which vehicle.
        vehicle: DeviceId,
        /// The fix as a stretch of one.
        track: Track,
    },
    /// Nothing that is kept, and why.
    Nothing(&'static str),
}

/// Why a message cannot be read: which field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct PositionError {
    /// As a JSON pointer.
    pub field: &'static str,
    /// What is wrong.
    pub detail: String,
}

fn wrong(field: &'static str, detail: impl Into<String>) -> PositionError {
    PositionError { field, detail: detail.into() }
}

fn whole(body: &[u8]) -> Result<Value, PositionError> {
    serde_json::from_slice(body).map_err(|e| wrong("", format!("is not JSON: {e}")))
}

fn number(value: &Value, field: &'static str, max: f64) -> Result<f64, PositionError> {
    let found = value.pointer(field).and_then(Value::as_f64).filter(|n| n.abs() <= max);
    found.ok_or_else(|| wrong(field, format!("is no number from -{max} to {max}")))
}

fn vehicle(value: &Value, field: &'static str) -> Result<DeviceId, PositionError> {
    let text = value.pointer(field).and_then(Value::as_str).ok_or_else(|| wrong(field, "is not text"))?;
    text.parse().map_err(|e| wrong(field, format!("{e}")))
}

/// Whole numbers of a place and a speed that were found to be within bounds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the callers and clamped here")]
fn fix(at: UtcMs, lat: f64, lon: f64, kmh: Option<f64>) -> Fix {
    Fix {
        at,
        lat_e6: (lat * 1e6).round() as i32,
        lon_e6: (lon * 1e6).round() as i32,
        kmh: kmh.map(|kmh| kmh.round().clamp(0.0, 1_000.0) as u16),
    }
}

fn stretch(fix: Fix, events: Vec<Event>) -> Track {
    Track { from: fix.at, to: fix.at, seen: 1, error_m: 0, fixes: vec![fix], events }
}

fn must_be_past(field: &'static str, at: UtcMs, now: UtcMs) -> Result<(), PositionError> {
    if at.since(now) > AHEAD_MAX_MS {
        return Err(wrong(field, format!("{at} lies ahead of the hub's clock")));
    }
    Ok(())
}

/// A position or an event that Traccar forwards (`forward.type = json`, `event.forward.type = json`).
/// # Errors
/// [`PositionError`] names the field.
pub fn traccar(body: &[u8], now: UtcMs) -> Result<Heard, PositionError> {
    const FIX_TIME: &str = "/position/fixTime";
    let message = whole(body)?;
    let Some(position) = message.get("position").filter(|p| p.is_object()) else {
        return match message.get("event") {
            Some(_) => Ok(Heard::Nothing("an event without a position")),
            None => Err(wrong("/position", "is missing")),
        };
    };
    let vehicle = vehicle(&message, "/device/uniqueId")?;
    let flag = |name: &str| position.get(name).and_then(Value::as_bool);
    if flag("valid") == Some(false) || flag("outdated") == Some(true) {
        return Ok(Heard::Nothing("the fix is not valid"));
    }
    let (lat, lon) = (number(&message, "/position/latitude", 90.0)?, number(&message, "/position/longitude", 180.0)?);
    let knots = position.get("speed").and_then(Value::as_f64);
    if position.get("accuracy").and_then(Value::as_f64).is_some_and(|metres| metres > ACCURACY_MAX_M) {
        return Ok(Heard::Nothing("the fix is too coarse"));
    }
    let text = message.pointer(FIX_TIME).and_then(Value::as_str).unwrap_or_default();
    // Traccar writes the offset without a colon, as +0000, in some of its versions.
    let at: UtcMs = text
        .parse()
        .or_else(|_| format!("{}Z", text.trim_end_matches("+0000")).parse())
        .map_err(|_| wrong(FIX_TIME, format!("{text:?} is not a time")))?;
    must_be_past(FIX_TIME, at, now)?;
    let alarm = position.pointer("/attributes/alarm").and_then(Value::as_str);
    let said = message.pointer("/event/type").and_then(Value::as_str).or(alarm);
    let events = said.map(|what| Event { at, what: what.chars().take(64).collect() }).into_iter().collect();
    Ok(Heard::Position { vehicle, track: stretch(fix(at, lat, lon, knots.map(|k| k * 1.852)), events) })
}

/// A message that OwnTracks posts. The vehicle is the last part of `topic`, else `tid`.
/// # Errors
/// [`PositionError`] names the field.
pub fn owntracks(body: &[u8], now: UtcMs) -> Result<Heard, PositionError> {
    let message = whole(body)?;
    match message.get("_type").and_then(Value::as_str) {
        Some("location") => {}
        Some(_) => return Ok(Heard::Nothing("no location")),
        None => return Err(wrong("/_type", "is missing")),
    }
    let vehicle = match message.get("topic").and_then(Value::as_str) {
        Some(topic) => {
            let name = topic.rsplit('/').next().unwrap_or_default();
            name.parse().map_err(|e| wrong("/topic", format!("{e}")))?
        }
        None => vehicle(&message, "/tid")?,
    };
    let (lat, lon) = (number(&message, "/lat", 90.0)?, number(&message, "/lon", 180.0)?);
    if message.get("acc").and_then(Value::as_f64).is_some_and(|metres| metres > ACCURACY_MAX_M) {
        return Ok(Heard::Nothing("the fix is too coarse"));
    }
    let seconds = message.get("tst").and_then(Value::as_i64).filter(|s| (0..=4_102_444_800).contains(s));
    let at = UtcMs(seconds.ok_or_else(|| wrong("/tst", "is no time in seconds since 1970"))?.saturating_mul(1000));
    must_be_past("/tst", at, now)?;
    let kmh = message.get("vel").and_then(Value::as_f64);
    Ok(Heard::Position { vehicle, track: stretch(fix(at, lat, lon, kmh), Vec::new()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMs = UtcMs(1_800_000_000_000);

    #[test]
    fn a_position_is_kept_by_its_own_time_and_in_one_unit() {
        let body = r#"{"position":{"deviceId":3,"fixTime":"2026-11-20T10:00:00.000+00:00","valid":true,"outdated":false,"latitude":52.5,"longitude":13.4,"speed":10,"accuracy":5,"attributes":{"alarm":"tampering"}},"device":{"id":3,"uniqueId":"T-3"}}"#;
        let Ok(Heard::Position { vehicle, track }) = traccar(body.as_bytes(), NOW) else { panic!("not read") };
        assert_eq!((vehicle.as_str(), track.fixes[0].kmh), ("T-3", Some(19)), "10 knots");
        assert_eq!((track.from.to_string(), track.fixes[0].lat_e6), ("2026-11-20T10:00:00Z".into(), 52_500_000));
        assert_eq!(track.events[0].what, "tampering");
        let body = r#"{"_type":"location","tst":1763632800,"lat":52.5,"lon":-13.4,"vel":42,"topic":"owntracks/cap/7"}"#;
        let Ok(Heard::Position { vehicle, track }) = owntracks(body.as_bytes(), NOW) else { panic!("not read") };
        assert_eq!((vehicle.as_str(), track.fixes[0].kmh, track.fixes[0].lon_e6), ("7", Some(42), -13_400_000));
    }

    #[test]
    fn what_is_no_position_is_passed_over_and_what_is_wrong_is_told_by_its_field() {
        let told = |body: &str| owntracks(body.as_bytes(), NOW).unwrap_err().field;
        assert_eq!(told("{"), "");
        assert_eq!(told("{}"), "/_type");
        assert_eq!(told(r#"{"_type":"location","tid":"7","lat":91,"lon":0,"tst":1}"#), "/lat");
        assert_eq!(told(r#"{"_type":"location","tid":"a/b","lat":1,"lon":0,"tst":1}"#), "/tid");
        assert_eq!(told(r#"{"_type":"location","tid":"7","lat":1,"lon":0,"tst":1900000000}"#), "/tst", "ahead");
        assert_eq!(owntracks(br#"{"_type":"lwt"}"#, NOW), Ok(Heard::Nothing("no location")));
        let invalid = br#"{"position":{"valid":false},"device":{"uniqueId":"7"}}"#;
        assert_eq!(traccar(invalid, NOW), Ok(Heard::Nothing("the fix is not valid")));
        assert_eq!(traccar(b"[]", NOW).unwrap_err().field, "/position");
    }
}
