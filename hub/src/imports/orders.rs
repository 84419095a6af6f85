//! Lines become orders, or go back with what is wrong with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gatehouse_common::order::Order;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    lines::{Lines, Row},
    settings::ImportMap,
    weights::{self, Says, Weighed},
};
use crate::erp::map::{Doc, Fault, PLACE};

/// The field that holds an order's lines once they are gathered.
const LINES: &str = "#lines";
/// Where the weight of a unit is put.
const GRAMS: &str = "#grams";

/// A line that is part of no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Where it begins in the file, from 1.
    pub line: u64,
    /// Its id, if it says one.
    pub id: String,
    /// Its order, if it says one.
    pub order: String,
    /// Which field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// What a file comes to: each of its lines is in one of the two.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Orders, in the order of their first lines, each with how many lines of the file it has.
    pub orders: Vec<(Order, usize)>,
    /// Lines that are part of none, in the order of the file.
    pub rejects: Vec<Reject>,
}

/// A line with its columns.
struct Line {
    line: u64,
    id: String,
    order: String,
    fields: Map<String, Value>,
    fault: Option<(String, String)>,
}

impl Line {
    fn reject(&self, field: impl Into<String>, why: impl Into<String>) -> Reject {
        let (id, order) = (self.id.clone(), self.order.clone());
        Reject { line: self.line, id, order, field: field.into(), why: why.into() }
    }

    fn text(&self, column: &str) -> &str {
        self.fields.get(column).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads orders from lines.
/// # Errors
/// One sentence if the map names a column that the file does not have.
pub fn read(lines: Lines, map: &ImportMap) -> Result<Read, String> {
    map.fits(&lines.columns)?;
    let (mut rejects, mut read) = (Vec::new(), Vec::new());
    let constants = || map.constants.iter().map(|(column, text)| (column.clone(), Value::from(text.as_str())));
    for Row { line, fields } in lines.rows {
        match fields {
            Ok(mut fields) => {
                fields.extend(constants());
                read.push(map.line(line, fields));
            }
            Err((field, why)) => {
                rejects.push(Reject { line, id: String::new(), order: String::new(), field, why });
            }
        }
    }
    note_twins(&mut read, &map.line_id);
    note_names(&mut read, map);
    note_weights(&mut read, map);

    let mut first = Vec::new();
    let mut gathered: HashMap<String, Vec<Line>> = HashMap::new();
    for line in read {
        if line.order.is_empty() {
            rejects.push(line.reject(&map.order.id, "is missing or empty"));
            continue;
        }
        let of_order = gathered.entry(line.order.clone()).or_insert_with(|| {
            first.push(line.order.clone());
            Vec::new()
        });
        of_order.push(line);
    }
    let mut orders = Vec::new();
    for number in first {
        let lines = gathered.remove(&number).unwrap_or_default();
        let count = lines.len();
        match map.order(lines) {
            Ok(order) => orders.push((order, count)),
            Err(of_order) => rejects.extend(of_order),
        }
    }
    rejects.sort_by_key(|reject| reject.line);
    Ok(Read { orders, rejects })
}

impl ImportMap {
    /// Whether the file has all columns that are named.
    fn fits(&self, columns: &[String]) -> Result<(), String> {
        let order = &self.order;
        let optional = [&order.customer_name, &order.tier, &order.currency, &order.class, &order.vehicle];
        let more = [&order.carrier, &order.door, &order.window_end, &order.latitude, &order.longitude];
        let last = [&order.cut_off, &order.dangerous_goods, &order.status];
        let needed = [&order.id, &order.site, &order.customer, &order.departure, &self.line_id];
        let of_line = [&order.line.line, &order.line.product, &order.line.quantity, &order.line.price];
        let named = needed.into_iter().chain(of_line).chain(&self.same).chain(&self.names);
        let named = named.chain(optional.into_iter().chain(more).chain(last).flatten());
        let weight = self.weight.iter().flat_map(|weight| [Some(&weight.kilograms), weight.order.as_ref()]).flatten();
        match named
            .chain(weight)
            .find(|name| *name != PLACE && !columns.contains(name) && !self.constants.contains_key(*name))
        {
            Some(missing) => Err(format!("the file has no column {missing:?}, which the map names")),
            None => Ok(()),
        }
    }

    fn line(&self, line: u64, fields: Map<String, Value>) -> Line {
        let text = |column: &String| fields.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, order) = (text(&self.line_id), text(&self.order.id));
        let fault = id.is_empty().then(|| (self.line_id.clone(), "is missing or empty".to_owned()));
        Line { line, id, order, fields, fault }
    }

    /// The order that lines are, or what is wrong with each of them.
    fn order(&self, mut lines: Vec<Line>) -> Result<Order, Vec<Reject>> {
        for (n, line) in lines.iter_mut().enumerate() {
            line.fields.insert(PLACE.to_owned(), Value::from(n + 1));
        }
        let (first, place) = (&lines[0], format!("line {}", lines[0].line));
        let differs = |line: &Line| {
            let column = self.same.iter().find(|column| line.text(column) != first.text(column))?;
            let (ours, theirs) = (line.text(column), first.text(column));
            Some((column.clone(), format!("is {ours:?}, but the order's first {place} says {theirs:?}")))
        };
        let faults: Vec<Option<(String, String)>> = lines
            .iter()
            .map(|line| line.fault.clone().or_else(|| self.fault_of(line)).or_else(|| differs(line)))
            .collect();
        if let Some(worst) = faults.iter().position(Option::is_some) {
            let where_ = lines[worst].line;
            let rejects = lines.iter().zip(faults).map(|(line, fault)| match fault {
                Some((field, why)) => line.reject(field, why),
                None => line.reject(&self.order.id, format!("is not whole: line {where_} of it cannot be read")),
            });
            return Err(rejects.collect());
        }
        let mut object = first.fields.clone();
        object.insert(LINES.to_owned(), lines.iter().map(|line| Value::Object(line.fields.clone())).collect());
        let mut map = self.order.clone();
        map.lines = LINES.to_owned();
        map.line.weight_grams = Some(GRAMS.to_owned());
        map.read(&Value::Object(object), &self.sites, &self.terms).map_err(|Fault { field, what, .. }| {
            lines.iter().map(|line| line.reject(field.clone(), what.clone())).collect()
        })
    }

    /// What is wrong with a line alone.
    fn fault_of(&self, line: &Line) -> Option<(String, String)> {
        let value = Value::Object(line.fields.clone());
        match self.order.line.read(Doc { place: "line", value: &value }) {
            Ok(read) if read.quantity == 0 => Some((self.order.line.quantity.clone(), "is 0".to_owned())),
            Ok(read) if read.unit_price_minor < 0 => Some((self.order.line.price.clone(), "is below 0".to_owned())),
            Ok(_) => None,
            Err(Fault { field, what, .. }) => Some((field, what)),
        }
    }
}

/// Lines with one id cannot be told apart by who refers to them.
fn note_twins(lines: &mut [Line], column: &str) {
    let mut first: HashMap<String, u64> = HashMap::new();
    for line in lines.iter_mut().filter(|line| line.fault.is_none()) {
        match first.get(&line.id) {
            Some(other) => line.fault = Some((column.to_owned(), format!("is {} like that of line {other}", line.id))),
            None => drop(first.insert(line.id.clone(), line.line)),
        }
    }
}

/// Words for people become names; two words that become one name are told.
fn note_names(lines: &mut [Line], map: &ImportMap) {
    for column in &map.names {
        let mut words: HashMap<String, String> = HashMap::new();
        for line in lines.iter_mut() {
            let word = line.text(column).to_owned();
            let name = name_of(&word);
            let known = words.entry(name.clone()).or_insert_with(|| word.clone());
            if *known != word && line.fault.is_none() {
                line.fault =
                    Some((column.clone(), format!("is {word:?}, which has the same name {name} as {known:?}")));
            }
            line.fields.insert(column.clone(), Value::from(name));
        }
    }
}

/// Letters and digits stay, whatever else is between them becomes one `-`. What is too long ends in a count of its bytes.
fn name_of(word: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { ' ' };
    let spaced: String = word.chars().map(plain).collect();
    let name = spaced.split_whitespace().collect::<Vec<_>>().join("-");
    match name.get(..110) {
        Some(head) if name.len() > 120 => format!("{head}-{}", name.len()),
        _ => name,
    }
}

fn note_weights(lines: &mut [Line], map: &ImportMap) {
    let Some(weight) = &map.weight else { return };
    let mut weighed = Vec::new();
    for line in lines.iter_mut() {
        let said = weight.says(line.text(&weight.kilograms));
        let units = line.text(&map.order.line.quantity).parse().unwrap_or(0);
        let of = weight.order.as_deref().map_or(line.order.as_str(), |column| line.text(column)).to_owned();
        match said {
            Ok(says) => weighed.push(Weighed { id: line.id.clone(), order: of, units, says }),
            Err(why) => {
                weighed.push(Weighed { id: line.id.clone(), order: of, units, says: Says::Nothing });
                line.fault.get_or_insert((weight.kilograms.clone(), why));
            }
        }
    }
    let faulty: BTreeSet<usize> = (0..lines.len()).filter(|n| lines[*n].fault.is_some()).collect();
    let grams: BTreeMap<&str, Result<Option<u32>, String>> = weights::of_units(&weighed);
    for (n, line) in lines.iter_mut().enumerate().filter(|(n, _)| !faulty.contains(n)) {
        match grams.get(weighed[n].id.as_str()) {
            Some(Ok(Some(grams))) => drop(line.fields.insert(GRAMS.to_owned(), Value::from(*grams))),
            Some(Err(why)) => line.fault = Some((weight.kilograms.clone(), why.clone())),
            Some(Ok(None)) | None => {}
        }
    }
}
