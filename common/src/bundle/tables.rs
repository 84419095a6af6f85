//! Decision tables: rows that a dispatcher can read, turned into conditions.
//!
//! Each row is one rule. A cell is `-` (anything), a value, several values with commas between them, a bound such as
//! `< 30`, or a span such as `10..30` (from 10, below 30). The last cells are what follows.

use serde::{Deserialize, de::IntoDeserializer};

use super::{BundleProblem, Condition, Fallback, Located, Routing, Then};
use crate::{
    case::{Severity, Team},
    rule::{Program, Scope},
};

/// One table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name; the rule of its second row is `name/2`.
    pub id: String,
    /// What its rows are: `fallback` (one last cell: hold, release_degraded or ask) or `routing` (two last cells: the
    /// team and the least severity).
    pub rows_are: Located<Kind>,
    /// What the other cells are compared with: facts, or whole numbers such as `minutes_until(order.cut_off)`.
    pub columns: Vec<Located<String>>,
    /// The rows; the first that fits counts.
    pub rows: Vec<Located<Vec<String>>>,
}

/// What the rows of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Fallback rules.
    Fallback,
    /// Routing rules.
    Routing,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Numbers,
    Texts,
    YesOrNo,
}

/// Rules that tables stand for.
#[derive(Default)]
pub(super) struct Generated {
    pub fallback: Vec<Fallback>,
    pub routing: Vec<Routing>,
    pub problems: Vec<BundleProblem>,
}

impl Table {
    pub(super) fn generate(&self, text: &str, into: &mut Generated) {
        let (scope, last) = match self.rows_are.it {
            Kind::Fallback => (Scope::Fallback, 1),
            Kind::Routing => (Scope::Case, 2),
        };
        let mut columns = Vec::new();
        for column in &self.columns {
            match holds(&column.it, scope) {
                Some(holds) => columns.push((column.it.as_str(), holds)),
                None => {
                    let name = &column.it;
                    let message = match Program::compile(&format!("{name} == {name}"), scope) {
                        Err(faults) => faults.first().map(|f| f.message.clone()).unwrap_or_default(),
                        Ok(_) => "is neither a text, a whole number nor yes or no".to_owned(),
                    };
                    into.problems.push(column.problem(text, format!("table {}: column {name}: {message}", self.id)));
                }
            }
        }
        if columns.len() < self.columns.len() {
            return;
        }
        for (number, row) in self.rows.iter().enumerate() {
            let id = format!("{}/{}", self.id, number + 1);
            if row.it.len() != columns.len() + last {
                let message = format!("table {id}: {} cells, {} are due", row.it.len(), columns.len() + last);
                into.problems.push(row.problem(text, message));
                continue;
            }
            if let Err(message) = self.rule(&id, row, &columns, into) {
                into.problems.push(row.problem(text, format!("table {id}: {message}")));
            }
        }
    }

    fn rule(
        &self,
        id: &str,
        row: &Located<Vec<String>>,
        columns: &[(&str, Holds)],
        into: &mut Generated,
    ) -> Result<(), String> {
        let (cells, outcome) = row.it.split_at(columns.len());
        let mut parts = Vec::new();
        for ((column, holds), cell) in columns.iter().zip(cells) {
            parts.extend(condition(column, *holds, cell.trim())?);
        }
        let when = (!parts.is_empty()).then(|| Condition::generated(parts.join(" && "), row.at.clone()));
        let id = id.to_owned();
        match (self.rows_are.it, outcome) {
            (Kind::Fallback, [then]) => {
                let then = Located { at: row.at.clone(), it: word::<Then>(then)? };
                into.fallback.push(Fallback { id, gate: None, when, then });
            }
            (Kind::Routing, [owner, severity]) => {
                let (owner, severity) = (maybe::<Team>(owner)?, maybe::<Severity>(severity)?);
                into.routing.push(Routing { id, cases: Vec::new(), when, owner, severity });
            }
            _ => return Err("the last cells are missing".to_owned()),
        }
        Ok(())
    }
}

/// Of which kind a column is, if it is one that cells can be compared with.
fn holds(column: &str, scope: Scope) -> Option<Holds> {
    let fits = |with: &str| Program::compile(&format!("{column} == {with}"), scope).is_ok();
    match () {
        () if fits("0") => Some(Holds::Numbers),
        () if fits("''") => Some(Holds::Texts),
        () if fits("true") => Some(Holds::YesOrNo),
        () => None,
    }
}

fn word<T: for<'de> Deserialize<'de>>(cell: &str) -> Result<T, String> {
    let from: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = cell.trim().into_deserializer();
    T::deserialize(from).map_err(|e| e.to_string())
}

fn maybe<T: for<'de> Deserialize<'de>>(cell: &str) -> Result<Option<T>, String> {
    if cell.trim() == "-" { Ok(None) } else { word(cell).map(Some) }
}

/// The condition that a cell stands for; none for "-".
fn condition(column: &str, holds: Holds, cell: &str) -> Result<Option<String>, String> {
    if cell == "-" {
        return Ok(None);
    }
    if cell.is_empty() {
        return Err(format!("an empty cell under {column}; write - for anything"));
    }
    let number =
        |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text:?} under {column} is not a whole number"));
    match holds {
        Holds::YesOrNo => match cell {
            "yes" | "true" => Ok(Some(format!("({column}) == true"))),
            "no" | "false" => Ok(Some(format!("({column}) == false"))),
            _ => Err(format!("{cell:?} under {column}; write yes, no or -")),
        },
        Holds::Texts => {
            let quoted = |word: &str| format!("'{}'", word.trim().replace('\\', "\\\\").replace('\'', "\\'"));
            let words: Vec<String> = cell.split(',').map(quoted).collect();
            Ok(Some(format!("({column}) in [{}]", words.join(", "))))
        }
        Holds::Numbers => {
            for sign in ["<=", ">=", "<", ">"] {
                if let Some(bound) = cell.strip_prefix(sign) {
                    return Ok(Some(format!("({column}) {sign} {}", number(bound)?)));
                }
            }
            if let Some((from, below)) = cell.split_once("..") {
                return Ok(Some(format!("({column}) >= {} && ({column}) < {}", number(from)?, number(below)?)));
            }
            let numbers: Vec<String> =
                cell.split(',').map(|n| number(n).map(|n| n.to_string())).collect::<Result<_, _>>()?;
            Ok(Some(format!("({column}) in [{}]", numbers.join(", "))))
        }
    }
}
