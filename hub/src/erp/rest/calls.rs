//! Requests as configuration: for an ERP that has its own way to ask, to page and to answer.
//!
//! In: a [`Call`] and what goes into its places, such as `{id}`. Out: a request, and what was asked for in its answer.
//! What changed is asked for from the newest time that the ERP itself told of, in its own words.

use std::collections::BTreeMap;

use jiff::{SignedDuration, civil};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PAGE;

/// How long a transaction may take there: what it wrote has an older time than it is seen at.
const OVERLAP: SignedDuration = SignedDuration::from_secs(120);
/// Before anything that an ERP holds.
const BEGINNING: &str = "1970-01-01 00:00:00";

/// `[erp.map.calls]`: how each thing is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Changed orders, the longest unchanged first: `{since}`, `{offset}` and `{limit}` say which.
    pub orders: Call,
    /// The order `{id}`.
    pub order: Call,
    /// Changed customers, likewise.
    pub customers: Call,
    /// The customer `{id}`.
    pub customer: Call,
    /// Stock of the depot `{site}`.
    pub stock: Call,
    /// Writes `{posting}`.
    pub post: Call,
    /// Postings under `{key}`.
    pub find: Call,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `GET`, the default, or `POST`.
    #[serde(default)]
    pub method: Verb,
    /// Path below the root.
    pub path: String,
    /// Parameters. What is no text goes out as JSON.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// The body, as JSON.
    pub body: Option<Value>,
    /// Where in the answer stands what was asked for, such as `data` or `records/0`. Empty: it is the answer.
    #[serde(default)]
    pub at: String,
    /// For changes: the field of a row that says when it changed.
    pub changed: Option<String>,
    /// For changes: whether a row says no more than which it is, so that each is read by its own call.
    #[serde(default)]
    pub one_by_one: bool,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// As a question.
    #[default]
    Get,
    /// With a body.
    Post,
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
        }
    }
}

/// What goes into the places of a call.
pub(super) type Places<'a> = [(&'a str, Value)];

/// A call with everything in its places.
pub(super) struct Filled {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<Value>,
}

impl Call {
    /// Puts everything into its place.
    pub(super) fn filled(&self, places: &Places<'_>) -> Filled {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let query = self.query.iter().map(|(name, value)| (name.clone(), text(fill(value, places)))).collect();
        let mut path = self.path.clone();
        for (name, value) in places {
            let place = format!("{{{name}}}");
            if path.contains(&place) {
                path = path.replace(&place, &crate::erp::http::in_path(&text(value.clone())));
            }
        }
        Filled { path, query, body: self.body.as_ref().map(|body| fill(body, places)) }
    }

    /// What was asked for in an answer.
    pub(super) fn found(&self, answer: &Value) -> Option<Value> {
        at(answer, &self.at).filter(|value| !value.is_null()).cloned()
    }
}

/// The value at a path of names and places in lists; the whole for an empty path.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').filter(|step| !step.is_empty()).try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// A text that is a place and nothing else becomes what goes there, a number or an object too.
fn fill(template: &Value, places: &Places<'_>) -> Value {
    match template {
        Value::String(text) => {
            if let Some((_, value)) = places.iter().find(|(name, _)| *text == format!("{{{name}}}")) {
                return value.clone();
            }
            let mut filled = text.clone();
            for (name, value) in places {
                let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                filled = filled.replace(&format!("{{{name}}}"), &word);
            }
            Value::String(filled)
        }
        Value::Array(items) => items.iter().map(|item| fill(item, places)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), fill(value, places))).collect())
        }
        other => other.clone(),
    }
}

/// Where `false` stands for nothing, it becomes nothing.
pub(super) fn without_false(value: Value) -> Value {
    match value {
        Value::Bool(false) => Value::Null,
        Value::Array(items) => items.into_iter().map(without_false).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, without_false(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// Where a reader of changes has got to. Pages follow each other by time and not by count: a row that changes while the
/// pages are read would move the others, and one would be skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Reached {
    /// What changed before is known; none at the very first.
    known: Option<String>,
    /// Where the next page of this round begins.
    from: Option<String>,
    /// How many rows of that very time are read: as many as a whole page may have one time.
    offset: usize,
}

impl Reached {
    /// What the next page is asked for with.
    pub(super) fn places(&self) -> Vec<(&'static str, Value)> {
        vec![("since", Value::from(self.begin())), ("offset", self.offset.into()), ("limit", PAGE.into())]
    }

    fn begin(&self) -> String {
        match (&self.from, &self.known) {
            (Some(from), _) => from.clone(),
            (None, Some(known)) => behind(known),
            (None, None) => BEGINNING.to_owned(),
        }
    }

    /// Goes on behind a page of `rows` rows, whose last changed at `last`. Returns whether more waits.
    pub(super) fn passes(&mut self, rows: usize, last: Option<String>) -> bool {
        let begin = self.begin();
        let newest = self.known.take().max(self.from.take()).max(last.clone());
        let is_full = rows >= PAGE;
        if !is_full {
            (self.known, self.offset) = (newest, 0);
        } else if last.as_ref().is_some_and(|last| *last > begin) {
            (self.known, self.from, self.offset) = (newest, last, 0);
        } else {
            (self.known, self.from, self.offset) = (newest, Some(begin), self.offset + rows);
        }
        is_full
    }
}

/// A while before a time of the ERP, in its own form; the time itself where that is not known.
fn behind(known: &str) -> String {
    let form = |at: civil::DateTime| {
        let text = at.to_string();
        if known.contains('T') { text } else { text.replace('T', " ") }
    };
    known
        .parse::<civil::DateTime>()
        .ok()
        .and_then(|at| at.checked_sub(OVERLAP).ok())
        .map_or_else(|| known.to_owned(), form)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_into_a_place_cannot_change_what_stands_around_it() {
        let text = "path = '/api/resource/Sales Order/{id}'\nat = 'data'\n\
                    [query]\nlimit = '{limit}'\nfilters = [['name', '=', '{id}'], ['docstatus', 'in', [1, 2]]]\n\
                    [body]\nids = ['{id}', '{limit}']\nword = 'at {id}'";
        let call: Call = toml::from_str(text).unwrap();
        let filled = call.filled(&[("id", json!("A/\"1\"]")), ("limit", json!(20))]);
        assert_eq!(filled.path, "/api/resource/Sales Order/A%2F%221%22%5D");
        let filters = r#"[["name","=","A/\"1\"]"],["docstatus","in",[1,2]]]"#;
        assert_eq!(filled.query, [("filters".into(), filters.into()), ("limit".into(), "20".into())]);
        assert_eq!(filled.body, Some(json!({ "ids": ["A/\"1\"]", 20], "word": "at A/\"1\"]" })));
        assert_eq!(call.found(&json!({ "data": { "x": 1 } })), Some(json!({ "x": 1 })));
        assert_eq!(call.found(&json!({ "data": null })), None);
        assert_eq!(at(&json!({ "records": [{ "a": 1 }, { "a": 2 }] }), "records/1/a"), Some(&json!(2)));
    }

    #[test]
    fn pages_follow_each_other_by_time_and_a_whole_page_of_one_time_is_passed_by_count() {
        let asked = |reached: &Reached| {
            let [since, offset, _] = <[_; 3]>::try_from(reached.places()).unwrap();
            format!("{} {}", since.1.as_str().unwrap(), offset.1)
        };
        let time = |minute: u32| Some(format!("2030-01-31 08:{minute:02}:00.000001"));
        let mut reached = Reached::default();
        assert_eq!(asked(&reached), "1970-01-01 00:00:00 0");
        assert!(reached.passes(PAGE, time(10)));
        assert_eq!(asked(&reached), "2030-01-31 08:10:00.000001 0");
        assert!(reached.passes(PAGE, time(10)));
        assert_eq!(asked(&reached), format!("2030-01-31 08:10:00.000001 {PAGE}"));
        assert!(!reached.passes(1, time(12)));
        // A transaction that took two minutes has written an older time.
        assert_eq!(asked(&reached), "2030-01-31 08:10:00.000001 0");
        assert!(!reached.passes(0, None));
        assert_eq!(asked(&reached), "2030-01-31 08:10:00.000001 0");
        assert_eq!(behind("2030-01-31T08:12:00"), "2030-01-31T08:10:00");
        assert_eq!(behind("rev 7"), "rev 7");
    }

    #[test]
    fn false_is_nothing_where_an_erp_means_that() {
        let value = json!({ "ref": false, "lines": [{ "code": false, "qty": 0 }], "is_on": true });
        let expected = json!({ "ref": null, "lines": [{ "code": null, "qty": 0 }], "is_on": true });
        assert_eq!(without_false(value), expected);
    }
}
