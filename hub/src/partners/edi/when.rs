//! Dates and times of partners: local to somebody, often without saying to whom.

use gatehouse_common::time::UtcMs;
use jiff::{Timestamp, civil, tz::Offset};

/// Minutes that a partner's local time is ahead of UTC, where a message names no zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead(pub i16);

/// A day as `YYMMDD` (of this century) or `CCYYMMDD`.
pub(super) fn date(text: &str) -> Option<civil::Date> {
    if !text.is_ascii() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match text.len() {
        6 => (2000_i16.checked_add(text.get(..2)?.parse().ok()?)?, text.get(2..)?),
        8 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    civil::Date::new(year, rest.get(..2)?.parse().ok()?, rest.get(2..)?.parse().ok()?).ok()
}

/// A time as `HHMM`, `HHMMSS` or `HHMMSSD`, `HHMMSSDD` (decimals of a second).
pub(super) fn time(text: &str) -> Option<civil::Time> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || !matches!(text.len(), 4 | 6 | 7 | 8) {
        return None;
    }
    let two = |from: usize| text.get(from..from.checked_add(2)?)?.parse::<i8>().ok();
    let second = if text.len() >= 6 { two(4)? } else { 0 };
    civil::Time::new(two(0)?, two(2)?, second, 0).ok()
}

/// The moment of a day and a time of X12, by its time code (element 623): `UT`, `GM`, the zones of North America, with or
/// without saying whether it is summer time there. Any other code, `LT` and none mean `ahead`.
#[must_use]
pub fn x12(day: &str, hour: &str, code: &str, ahead: Ahead) -> Option<UtcMs> {
    let local = date(day)?.to_datetime(if hour.is_empty() { civil::Time::midnight() } else { time(hour)? });
    let minutes = match code {
        "UT" | "GM" => 0,
        _ => match (code.get(..1).unwrap_or_default(), code.get(1..).unwrap_or_default()) {
            (zone, kind @ ("T" | "S" | "D")) if zone_hours(zone).is_some() => {
                let summer = kind == "D" || (kind == "T" && is_summer(local));
                zone_hours(zone)?.checked_add(i16::from(summer))?.checked_mul(60)?
            }
            _ => ahead.0,
        },
    };
    at(local, minutes)
}

fn zone_hours(zone: &str) -> Option<i16> {
    match zone {
        "E" => Some(-5),
        "C" => Some(-6),
        "M" => Some(-7),
        "P" => Some(-8),
        "A" => Some(-9),
        "H" => Some(-10),
        "T" => Some(-4),
        _ => None,
    }
}

/// Summer time in the United States since 2007: from the second Sunday of March to the first of November, at 02:00.
fn is_summer(local: civil::DateTime) -> bool {
    let sunday = |month: i8, nth: i8| {
        let date = civil::Date::new(local.year(), month, 1).ok()?;
        let date = date.nth_weekday_of_month(nth, civil::Weekday::Sunday).ok()?;
        Some(date.at(2, 0, 0, 0))
    };
    match (sunday(3, 2), sunday(11, 1)) {
        (Some(from), Some(until)) => from <= local && local < until,
        _ => false,
    }
}

/// The moment of an EDIFACT date (C507) by its format (2379): 102, 203, 204, 101, 201, 202, or 303 and 304 with a zone
/// that is told in letters and not read.
#[must_use]
pub fn edifact(text: &str, format: &str, ahead: Ahead) -> Option<UtcMs> {
    let digits = match format {
        "303" => text.get(..12)?,
        "304" => text.get(..14)?,
        _ => text,
    };
    let day_length = match format {
        "102" | "203" | "204" | "303" | "304" => 8,
        "101" | "201" | "202" => 6,
        _ => return None,
    };
    let day = date(digits.get(..day_length)?)?;
    let rest = digits.get(day_length..)?;
    let hour = match format {
        "101" | "102" if rest.is_empty() => civil::Time::midnight(),
        "101" | "102" => return None,
        _ => time(rest)?,
    };
    at(day.to_datetime(hour), if text.len() > digits.len() { 0 } else { ahead.0 })
}

fn at(local: civil::DateTime, minutes_ahead: i16) -> Option<UtcMs> {
    let offset = Offset::from_seconds(i32::from(minutes_ahead).checked_mul(60)?).ok()?;
    offset.to_timestamp(local).ok().map(|t| UtcMs(t.as_millisecond()))
}

/// `CCYYMMDD` and `HHMM` of a moment in UTC.
#[must_use]
pub fn written(at: UtcMs) -> (String, String) {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let at = Offset::UTC.to_datetime(at);
    let day = format!("{:04}{:02}{:02}", at.year(), at.month(), at.day());
    (day, format!("{:02}{:02}", at.hour(), at.minute()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(day: &str, hour: &str, code: &str) -> String {
        x12(day, hour, code, Ahead(60)).unwrap().to_string()
    }

    #[test]
    fn a_time_is_read_by_the_zone_that_it_names() {
        assert_eq!(told("20261123", "1958", "UT"), "2026-11-23T19:58:00Z");
        assert_eq!(told("20261123", "1958", "ET"), "2026-11-24T00:58:00Z");
        assert_eq!(told("20260723", "1958", "ET"), "2026-07-23T23:58:00Z", "summer there");
        assert_eq!(told("20260723", "1958", "PS"), "2026-07-24T03:58:00Z", "said to be standard time");
        assert_eq!(told("20261123", "1958", "LT"), "2026-11-23T18:58:00Z", "the partner's own");
        assert_eq!(told("261123", "", ""), "2026-11-22T23:00:00Z");
    }

    #[test]
    fn no_calendar_has_these() {
        for (day, hour) in [("20260230", ""), ("200", ""), ("20261301", ""), ("20261101", "2460"), ("20261101", "7")] {
            assert_eq!(x12(day, hour, "UT", Ahead(0)), None, "{day} {hour}");
        }
        assert_eq!(edifact("20261101", "203", Ahead(0)), None);
        assert_eq!(edifact("202611011", "102", Ahead(0)), None);
    }

    #[test]
    fn edifact_dates_are_read_by_their_format() {
        let told = |text, format| edifact(text, format, Ahead(120)).unwrap().to_string();
        assert_eq!(told("202211190710", "203"), "2022-11-19T05:10:00Z");
        assert_eq!(told("20221119", "102"), "2022-11-18T22:00:00Z");
        assert_eq!(told("0910301200", "201"), "2009-10-30T10:00:00Z");
    }
}
