//! NMEA 0183: RMC and GGA sentences, one or several lines in a payload.
//!
//! RMC says where, when and how fast (knots); GGA says where, and by its quality whether that is a fix, but not on
//! which day. Sentences of one time are one fix. A sentence whose checksum is wrong says nothing; one without a
//! checksum is taken, as old receivers leave it out.

use gatehouse_common::{geo::Point, time::UtcMs};

use super::{
    Says, Unreadable,
    message::{Message, clipped, position},
};
use crate::config::SpeedUnit;

const DAY_MS: i64 = 86_400_000;

/// What the sentences of one time say together.
#[derive(Debug, Clone, Copy)]
struct Fix {
    /// Milliseconds since midnight.
    time_ms: i64,
    point: Point,
    knots: Option<f64>,
    /// Midnight of its day, where the sentence says the day.
    midnight: Option<UtcMs>,
}

/// Every fix of the payload, in the order of their first sentence.
pub(super) fn read(message: &Message<'_>, payload: &[u8], received: UtcMs) -> Result<Says, Unreadable> {
    let text = String::from_utf8_lossy(payload);
    let mut says = Says::default();
    let (mut fixes, mut known, mut day): (Vec<Fix>, bool, Option<UtcMs>) = (Vec::new(), false, None);
    for line in text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
        match sentence(line) {
            Ok(Sentence::Fix(fix)) => {
                day = fix.midnight.or(day);
                join(&mut fixes, Fix { midnight: fix.midnight.or(day), ..fix });
            }
            Ok(Sentence::Day(midnight)) => day = Some(midnight),
            Ok(Sentence::NoFix | Sentence::Other) => {}
            Err(reason) => {
                says.refused.push(reason);
                continue;
            }
        }
        known = true;
    }
    if !known && says.refused.is_empty() {
        return Err(wrong("payload", "", "NMEA sentences"));
    }
    let vehicle = message.vehicle()?;
    for fix in fixes {
        let midnight = fix.midnight.or(day).unwrap_or_else(|| nearest_midnight(received, fix.time_ms));
        let speed = fix.knots.map(|knots| (knots, SpeedUnit::Knots));
        match position(vehicle.clone(), fix.point, None, speed, "latitude") {
            Ok(value) => says.values.push((value, midnight.plus(fix.time_ms))),
            Err(reason) => says.refused.push(reason),
        }
    }
    Ok(says)
}

/// Puts a fix to the one of the same time: RMC knows the day and the speed.
fn join(fixes: &mut Vec<Fix>, fix: Fix) {
    match fixes.last_mut() {
        Some(last) if last.time_ms == fix.time_ms => {
            last.knots = last.knots.or(fix.knots);
            last.midnight = last.midnight.or(fix.midnight);
        }
        _ => fixes.push(fix),
    }
}

/// The midnight before which or after which the time of day comes closest to `received`.
fn nearest_midnight(received: UtcMs, time_ms: i64) -> UtcMs {
    let midnight = received.0 - received.0.rem_euclid(DAY_MS);
    let day = [-DAY_MS, 0, DAY_MS].into_iter().min_by_key(|day| (midnight + day + time_ms - received.0).abs());
    UtcMs(midnight + day.unwrap_or(0))
}

enum Sentence {
    Fix(Fix),
    Day(UtcMs),
    NoFix,
    Other,
}

fn sentence(line: &str) -> Result<Sentence, Unreadable> {
    let Some(body) = line.strip_prefix(['$', '!']) else {
        return Err(wrong("sentence", line, "one that begins with $ or !"));
    };
    let body = match body.rsplit_once('*') {
        None => body,
        Some((body, sum)) => {
            let expected = body.bytes().fold(0, |sum: u8, byte| sum ^ byte);
            let given = sum.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            if given != Some(expected) || sum.len() > 2 {
                return Err(wrong("checksum", line, format!("{expected:02X} at its end")));
            }
            body
        }
    };
    let fields: Vec<&str> = body.split(',').collect();
    let kind = fields.first().filter(|name| name.len() == 5 && !name.starts_with('P')).and_then(|name| name.get(2..));
    match kind {
        Some("RMC") => rmc(line, &fields),
        Some("GGA") => gga(line, &fields),
        Some("ZDA") => Ok(zda(&fields).map_or(Sentence::Other, Sentence::Day)),
        _ => Ok(Sentence::Other),
    }
}

fn rmc(line: &str, fields: &[&str]) -> Result<Sentence, Unreadable> {
    let field = |n: usize| fields.get(n).copied().unwrap_or("");
    // Not valid, simulated and typed in by hand are no fixes.
    if field(2) != "A" || matches!(field(12), "N" | "S" | "M") {
        return Ok(Sentence::NoFix);
    }
    let knots = match field(7) {
        "" => None,
        text => Some(decimal(text).ok_or_else(|| wrong("speed", line, "knots"))?),
    };
    let midnight = date(field(9)).ok_or_else(|| wrong("date", line, "ddmmyy"))?;
    let point = point(field(3), field(4), field(5), field(6)).ok_or_else(|| wrong("position", line, "ddmm.mm,N"))?;
    let time_ms = time_of_day(field(1)).ok_or_else(|| wrong("time", line, "hhmmss"))?;
    Ok(Sentence::Fix(Fix { time_ms, point, knots, midnight: Some(midnight) }))
}

fn gga(line: &str, fields: &[&str]) -> Result<Sentence, Unreadable> {
    let field = |n: usize| fields.get(n).copied().unwrap_or("");
    // 0: no fix; 7: typed in by hand; 8: simulated.
    if matches!(field(6), "" | "0" | "7" | "8") {
        return Ok(Sentence::NoFix);
    }
    let point = point(field(2), field(3), field(4), field(5)).ok_or_else(|| wrong("position", line, "ddmm.mm,N"))?;
    let time_ms = time_of_day(field(1)).ok_or_else(|| wrong("time", line, "hhmmss"))?;
    Ok(Sentence::Fix(Fix { time_ms, point, knots: None, midnight: None }))
}

fn zda(fields: &[&str]) -> Option<UtcMs> {
    let (day, month, year) = (whole(fields.get(2)?)?, whole(fields.get(3)?)?, whole(fields.get(4)?)?);
    midnight(year, month, day)
}

/// `ddmmyy`. Receivers were not made before 1980.
fn date(text: &str) -> Option<UtcMs> {
    if text.len() != 6 {
        return None;
    }
    let part = |from: usize| whole(text.get(from..from + 2)?);
    let (day, month, year) = (part(0)?, part(2)?, part(4)?);
    midnight(if year < 80 { 2000 + year } else { 1900 + year }, month, day)
}

fn midnight(year: i64, month: i64, day: i64) -> Option<UtcMs> {
    let date =
        jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(UtcMs(at.timestamp().as_millisecond()))
}

/// `hhmmss.sss` as milliseconds since midnight. A leap second counts as the one before it.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    if clock.len() != 6 {
        return None;
    }
    let part = |from: usize| whole(clock.get(from..from + 2)?);
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    if hours > 23 || minutes > 59 || seconds > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(((hours * 60 + minutes) * 60 + seconds.min(59)) * 1000 + millis)
}

fn point(lat: &str, north: &str, lon: &str, east: &str) -> Option<Point> {
    let sign = |word: &str, plus: &str, minus: &str| match word {
        word if word == plus => Some(1.0),
        word if word == minus => Some(-1.0),
        _ => None,
    };
    Some(Point { lat: degrees(lat)? * sign(north, "N", "S")?, lon: degrees(lon)? * sign(east, "E", "W")? })
}

/// `dddmm.mmmm`: the two digits before the point and what follows are minutes.
fn degrees(text: &str) -> Option<f64> {
    let point = text.find('.').unwrap_or(text.len());
    let split = point.checked_sub(2)?;
    let whole_degrees = if split == 0 { 0.0 } else { decimal(text.get(..split)?)? };
    let minutes = decimal(text.get(split..)?).filter(|minutes| *minutes < 60.0)?;
    Some(whole_degrees + minutes / 60.0)
}

/// Digits with at most one point: no sign, no exponent, no infinity.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() < 24;
    if plain { text.parse().ok() } else { None }
}

fn whole(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|b| b.is_ascii_digit()) {
        None
    } else {
        text.parse().ok()
    }
}

fn wrong(what: &'static str, line: &str, expected: impl Into<String>) -> Unreadable {
    let place = "the sentence".to_owned();
    Unreadable::Wrong { what, place, found: clipped(&format!("{line:?}")), expected: expected.into() }
}
