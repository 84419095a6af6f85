//! Tryton's values: rows with their place for errors, whole quantities, amounts, times.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A row that Tryton answered, and where it stands, so that an error can say so.
#[derive(Debug, Clone)]
pub(super) struct Row {
    place: String,
    fields: Map<String, Value>,
}

/// When Tryton wrote a row, in microseconds since 1970, as its database counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Stamp(pub(super) i64);

impl Row {
    /// The rows of an answer.
    /// # Errors
    /// One sentence if it is no list of objects.
    pub(super) fn list(model: &str, answer: Value) -> Result<Vec<Self>, String> {
        let Value::Array(items) = answer else { return Err(format!("{model}: a list of rows is expected")) };
        items
            .into_iter()
            .map(|item| match item {
                Value::Object(fields) => {
                    let id = fields.get("id").map_or_else(|| "without id".to_owned(), Value::to_string);
                    Ok(Self { place: format!("{model} {id}"), fields })
                }
                other => Err(format!("{model}: a row is expected, not {other}")),
            })
            .collect()
    }

    /// A problem with a field of this row.
    pub(super) fn problem(&self, name: &str, what: impl std::fmt::Display) -> String {
        format!("{}: {name} {what}", self.place)
    }

    fn field(&self, name: &str) -> Result<&Value, String> {
        self.fields.get(name).ok_or_else(|| self.problem(name, "is missing"))
    }

    fn unlike(&self, name: &str, value: &Value, expected: &str) -> String {
        self.problem(name, format!("is {value}, {expected} is expected"))
    }

    /// A field as Tryton sent it.
    pub(super) fn value(&self, name: &str) -> Result<&Value, String> {
        self.field(name)
    }

    /// The row's id.
    pub(super) fn id(&self) -> Result<i64, String> {
        let value = self.field("id")?;
        value.as_i64().ok_or_else(|| self.unlike("id", value, "a number"))
    }

    /// A text that may be empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.field(name)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            other => Err(self.unlike(name, other, "text")),
        }
    }

    /// A text that must be there.
    pub(super) fn needed_text(&self, name: &str) -> Result<&str, String> {
        self.text(name)?.ok_or_else(|| self.problem(name, "is empty"))
    }

    /// The id of a related row; none if there is none.
    pub(super) fn link(&self, name: &str) -> Result<Option<i64>, String> {
        match self.field(name)? {
            Value::Null => Ok(None),
            value => value.as_i64().map(Some).ok_or_else(|| self.unlike(name, value, "a row's number")),
        }
    }

    /// The ids of related rows.
    pub(super) fn links(&self, name: &str) -> Result<Vec<i64>, String> {
        let value = self.field(name)?;
        let ids = value.as_array().and_then(|ids| ids.iter().map(Value::as_i64).collect::<Option<Vec<_>>>());
        ids.ok_or_else(|| self.unlike(name, value, "a list of rows' numbers"))
    }

    /// A related row of any model, such as `sale.line,7`.
    pub(super) fn reference(&self, name: &str) -> Result<Option<(&str, i64)>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parts = text.split_once(',').and_then(|(model, id)| Some((model, id.parse().ok()?)));
        parts.map(Some).ok_or_else(|| self.problem(name, format!("is {text:?}, a model and a number are expected")))
    }

    /// What was asked for of a related row with `relation.field`; none if there is no such row.
    pub(super) fn related(&self, relation: &str) -> Result<Option<Self>, String> {
        match self.fields.get(&format!("{relation}.")) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => {
                Ok(Some(Self { place: format!("{}: {relation}", self.place), fields: fields.clone() }))
            }
            Some(other) => Err(self.unlike(relation, other, "a row")),
        }
    }

    /// What was asked for of a related row that must be there.
    pub(super) fn needed(&self, relation: &str) -> Result<Self, String> {
        self.related(relation)?.ok_or_else(|| self.problem(relation, "is not set"))
    }

    /// A quantity, which Tryton sends as a floating point number; below zero in a return.
    pub(super) fn units(&self, name: &str) -> Result<i64, String> {
        let value = self.field(name)?;
        let number = value.as_f64().ok_or_else(|| self.unlike(name, value, "a quantity"))?;
        if number.fract() != 0.0 || number.abs() > f64::from(u32::MAX) {
            return Err(self.unlike(name, value, "a whole number of units"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number in the range of 32 bits")]
        Ok(number as i64)
    }

    /// A quantity rounded down to whole units.
    pub(super) fn units_floor(&self, name: &str) -> Result<i64, String> {
        let value = self.field(name)?;
        let number = value.as_f64().ok_or_else(|| self.unlike(name, value, "a quantity"))?;
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a floating point number saturates")]
        Ok(number.floor() as i64)
    }

    /// An amount in minor units of a currency with `digits` digits; none where it is not set.
    pub(super) fn minor(&self, name: &str, digits: u32) -> Result<Option<i64>, String> {
        let value = self.field(name)?;
        if value.is_null() {
            return Ok(None);
        }
        let text = value["decimal"].as_str().ok_or_else(|| self.unlike(name, value, "an amount"))?;
        minor(text, digits).map(Some).ok_or_else(|| self.unlike(name, value, "an amount"))
    }

    /// When the row was written last.
    pub(super) fn written(&self) -> Result<Option<Stamp>, String> {
        let read = |name: &str| -> Result<Option<Stamp>, String> {
            match self.field(name)? {
                Value::Null => Ok(None),
                value => Stamp::read(value).map(Some).ok_or_else(|| self.unlike(name, value, "a time")),
            }
        };
        Ok(read("write_date")?.max(read("create_date")?))
    }

    /// A day; none where it is not set.
    pub(super) fn day(&self, name: &str) -> Result<Option<civil::Date>, String> {
        match self.field(name)? {
            Value::Null => Ok(None),
            value => day(value).map(Some).ok_or_else(|| self.unlike(name, value, "a day")),
        }
    }
}

fn number<T: TryFrom<i64>>(value: &Value, name: &str) -> Option<T> {
    value[name].as_i64().and_then(|n| T::try_from(n).ok())
}

fn day(value: &Value) -> Option<civil::Date> {
    civil::Date::new(number(value, "year")?, number(value, "month")?, number(value, "day")?).ok()
}

impl Stamp {
    fn read(value: &Value) -> Option<Self> {
        let micros: i32 = number(value, "microsecond")?;
        let time = civil::Time::new(
            number(value, "hour")?,
            number(value, "minute")?,
            number(value, "second")?,
            micros.checked_mul(1_000)?,
        );
        let at = day(value)?.to_datetime(time.ok()?).to_zoned(TimeZone::UTC).ok()?;
        Some(Self(at.timestamp().as_microsecond()))
    }

    /// The time as Tryton wants it in a search.
    pub(super) fn to_wire(self) -> Value {
        let at = Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
        json!({
            "__class__": "datetime", "year": at.year(), "month": at.month(), "day": at.day(), "hour": at.hour(),
            "minute": at.minute(), "second": at.second(), "microsecond": at.subsec_nanosecond() / 1_000,
        })
    }
}

/// `12.345` with 2 digits is 1235: half a minor unit counts as one.
fn minor(text: &str, digits: u32) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut amount: i64 = whole.parse().ok()?;
    let mut rest = fraction.bytes().map(|b| i64::from(b - b'0'));
    for _ in 0..digits {
        amount = amount.checked_mul(10)?.checked_add(rest.next().unwrap_or(0))?;
    }
    if rest.next().unwrap_or(0) >= 5 {
        amount = amount.checked_add(1)?;
    }
    Some(sign * amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_counted_in_minor_units_and_rounded_half_up() {
        for (text, digits, expected) in [
            ("12.50", 2, Some(1250)),
            ("40", 2, Some(4000)),
            ("-7.255", 2, Some(-726)),
            ("7.2549", 2, Some(725)),
            ("0.5", 0, Some(1)),
            ("1E+3", 2, None),
            ("", 2, None),
        ] {
            assert_eq!(minor(text, digits), expected, "{text}");
        }
    }

    #[test]
    fn a_time_survives_the_way_to_tryton_and_back() {
        let at = Stamp(1_795_486_974_281_438);
        assert_eq!(Stamp::read(&at.to_wire()), Some(at));
    }

    #[test]
    fn a_row_of_the_wrong_shape_is_told_with_its_place() {
        let rows = Row::list("sale.line", json!([{ "id": 7, "quantity": 1.5, "sale": "x", "note": 3 }])).unwrap();
        assert_eq!(
            rows[0].units("quantity").unwrap_err(),
            "sale.line 7: quantity is 1.5, a whole number of units is expected"
        );
        assert_eq!(rows[0].link("sale").unwrap_err(), "sale.line 7: sale is \"x\", a row's number is expected");
        assert_eq!(rows[0].text("note").unwrap_err(), "sale.line 7: note is 3, text is expected");
        assert_eq!(rows[0].text("state").unwrap_err(), "sale.line 7: state is missing");
        assert_eq!(Row::list("sale.line", json!({})).unwrap_err(), "sale.line: a list of rows is expected");
    }
}
