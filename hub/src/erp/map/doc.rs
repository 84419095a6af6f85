//! One JSON object and its fields, each read with the place where it stands.

use std::{fmt::Display, str::FromStr};

use gatehouse_common::time::UtcMs;
use jiff::{civil, tz::TimeZone};
use serde_json::Value;

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {field} {what}")]
pub struct Fault {
    /// Of what, such as `order 4711`.
    pub place: String,
    /// Which field.
    pub field: String,
    /// The rest of the sentence.
    pub what: String,
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// A JSON object and where it stands, so that a sentence can say so.
#[derive(Debug, Clone, Copy)]
pub struct Doc<'a> {
    /// What it is, such as `order 4711`.
    pub place: &'a str,
    /// The object.
    pub value: &'a Value,
}

impl<'a> Doc<'a> {
    /// The value at a path; none where nothing, an empty text or null stands.
    #[must_use]
    pub fn at(self, path: &str) -> Option<&'a Value> {
        let found = path.split('/').try_fold(self.value, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        })?;
        (!found.is_null() && found.as_str() != Some("")).then_some(found)
    }

    /// A problem with a field.
    #[must_use]
    pub fn fault(self, path: &str, what: impl Display) -> Fault {
        Fault { place: self.place.to_owned(), field: path.to_owned(), what: what.to_string() }
    }

    fn needed(self, path: &str) -> Result<&'a Value, Fault> {
        self.at(path).ok_or_else(|| self.fault(path, "is missing or empty"))
    }

    /// A text, or a number as text.
    /// # Errors
    /// One sentence if it is missing or something else.
    pub fn text(self, path: &str) -> Result<String, Fault> {
        match self.needed(path)? {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(self.fault(path, format!("is {other}, text is expected"))),
        }
    }

    pub(super) fn parsed<T: FromStr>(self, path: &str) -> Result<T, Fault>
    where
        T::Err: Display,
    {
        self.text(path)?.parse().map_err(|e| self.fault(path, e))
    }

    /// A whole number, sent as a number or as text such as `4.000`.
    /// # Errors
    /// One sentence if it is missing, no number, or has a fraction.
    pub fn units(self, path: &str) -> Result<i64, Fault> {
        let text = self.text(path)?;
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let units = whole.parse().ok().filter(|_| fraction.bytes().all(|digit| digit == b'0'));
        units.ok_or_else(|| self.fault(path, format!("is {text}, a whole number is expected")))
    }

    /// An amount with two digits behind the point, in minor units; half a minor unit counts as one.
    /// # Errors
    /// One sentence if it is missing or no amount.
    pub fn minor(self, path: &str) -> Result<i64, Fault> {
        let text = self.text(path)?;
        minor(&text).ok_or_else(|| self.fault(path, format!("is {text}, an amount is expected")))
    }

    /// A time; without a zone it is UTC, and a day gets `at`.
    /// # Errors
    /// One sentence if it is missing or neither.
    pub fn time(self, path: &str, at: civil::Time) -> Result<UtcMs, Fault> {
        let text = self.text(path)?;
        if let Ok(time) = text.parse::<UtcMs>() {
            return Ok(time);
        }
        let is_day = !text.contains(':');
        let day = || text.parse::<civil::Date>().ok().filter(|_| is_day).map(|day| day.to_datetime(at));
        let time = text.parse::<civil::DateTime>().ok().filter(|_| !is_day).or_else(day);
        let time =
            time.and_then(|time| time.to_zoned(TimeZone::UTC).ok()).map(|at| UtcMs(at.timestamp().as_millisecond()));
        time.ok_or_else(|| self.fault(path, format!("is {text:?}, a time in RFC 3339 or a day is expected")))
    }

    /// Whether what stands there is one of `values`, or `true` if there are none.
    pub(super) fn is_one_of(self, path: Option<&String>, values: &[Value]) -> bool {
        let Some(found) = path.and_then(|path| self.at(path)) else { return false };
        if values.is_empty() { *found == Value::Bool(true) } else { values.contains(found) }
    }

    /// What stands at a path that the map may not have, or what holds else.
    pub(super) fn named<T: FromStr + Clone>(
        self,
        path: Option<&String>,
        else_: Option<&T>,
        what: &str,
    ) -> Result<T, Fault>
    where
        T::Err: Display,
    {
        match (path.filter(|path| self.at(path).is_some()), else_) {
            (Some(path), _) => self.parsed(path),
            (None, Some(value)) => Ok(value.clone()),
            (None, None) => {
                Err(self.fault(what, format!("is named nowhere: map a field to it, or set erp.terms.{what}")))
            }
        }
    }

    /// What stands at a path, read by `read`, if the map has the path and something stands there.
    pub(super) fn optional<T>(
        self,
        path: Option<&String>,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        path.filter(|path| self.at(path).is_some()).map(|path| read(path)).transpose()
    }
}

/// `12.345` is 1235.
fn minor(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |n: usize| i64::from(fraction.as_bytes().get(n).map_or(0, |b| b - b'0'));
    let amount = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(digit(0) * 10 + digit(1))?;
    amount.checked_add(i64::from(digit(2) >= 5)).map(|amount| sign * amount)
}
