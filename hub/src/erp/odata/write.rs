//! Postings as the map says: the document is changed under its tag, or another one is made under our reference.
//!
//! Every write is a request of its own. A `$batch` with a change set would save some, but a service may report the
//! first of its writes as done although the second took it back; and one that is lost would leave all in doubt.

use std::collections::BTreeMap;

use gatehouse_common::order::OrderStatus;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    OData, contract,
    read::quoted,
    settings::{Create, Write},
};
use crate::{
    core::reconcile::{Posting, PostingKind},
    erp::{Applied, ErpError, map::Doc},
};

type Units = BTreeMap<u16, i64>;

impl OData {
    fn write_of(&self, kind: PostingKind) -> Result<&Write, ErpError> {
        self.options.map.write.get(&kind).ok_or_else(|| ErpError::Rejected {
            detail: format!("nothing says how to write {}: map it in erp.write.{0}, or book it by hand", kind.as_str()),
        })
    }

    pub(super) async fn write_posting(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let write = self.write_of(posting.kind)?;
        match &write.create {
            Some(create) => self.make(posting, create).await,
            None => self.change(posting, write).await,
        }
    }

    /// The document in which a posting shows, if it does.
    pub(super) async fn shown(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let write = self.write_of(posting.kind)?;
        match &write.create {
            Some(create) => {
                let made = self.made(posting, create).await?;
                Ok(made.missing.is_empty().then(|| made.names.join(", ")))
            }
            None => {
                let document = self.document(&posting.order).await?;
                Ok(self.shows(&document, posting, write)?.then(|| self.name(posting)))
            }
        }
    }

    fn name(&self, posting: &Posting) -> String {
        format!("{} {}", self.options.map.document.set, posting.order)
    }

    fn shows(&self, document: &Value, posting: &Posting, write: &Write) -> Result<bool, ErpError> {
        let place = self.name(posting);
        let holds = |values: &BTreeMap<String, Value>| {
            values.iter().all(|(field, value)| document[field] == filled(value, posting))
        };
        if write.moot.iter().any(|(field, value)| document[field] == *value) {
            return Ok(true);
        }
        let has_units = match &write.lines {
            Some(field) => self.other_units(document, &place, field, posting)?.is_empty(),
            None => true,
        };
        Ok(has_units && holds(&write.shown) && holds(status_fields(write, posting)))
    }

    /// Lines whose units are others than the posting says, with those it says.
    fn other_units<'a>(
        &self,
        document: &'a Value,
        place: &str,
        field: &str,
        posting: &Posting,
    ) -> Result<Vec<(&'a Value, i64)>, ErpError> {
        let map = &self.options.map.document.order;
        let mut wanted = wanted(posting);
        let mut others = Vec::new();
        // No lines would look like lines with nothing to change: the document would then be booked as it stands.
        let rows = document[&map.lines].as_array();
        for value in rows.ok_or_else(|| contract(format!("{place}: no list of lines in {}", map.lines)))? {
            let row = Doc { place, value };
            let number = map.line.number(row).map_err(contract)?;
            let units = match (posting.kind, wanted.remove(&number)) {
                // An order change is about one line and leaves the others alone.
                (PostingKind::OrderChange, None) => continue,
                (_, units) => units.unwrap_or(0),
            };
            if row.at(field).is_none() || row.units(field).map_err(contract)? != units {
                others.push((value, units));
            }
        }
        match wanted.iter().find(|(_, units)| **units > 0) {
            Some((line, _)) => Err(ErpError::NotFound { detail: format!("line {line} of {place}") }),
            None => Ok(others),
        }
    }

    async fn change(&self, posting: &Posting, write: &Write) -> Result<Applied, ErpError> {
        let (place, map) = (self.name(posting), &self.options.map.document);
        let mut document = self.document(&posting.order).await?;
        if self.shows(&document, posting, write)? {
            return Ok(Applied { document: place });
        }
        if let Some((field, _)) = write.unless.iter().find(|(field, value)| document[*field] == **value) {
            let stands = format!("{place}: {field} is {} at the ERP", document[field]);
            return Err(ErpError::Rejected {
                detail: format!("{stands}: book it there and say so, or correct it and replay"),
            });
        }
        if write.lines.is_none()
            && write.set.is_empty()
            && write.action.is_none()
            && status_fields(write, posting).is_empty()
        {
            // The ERP does it by itself; nothing is sent, and the queue asks again.
            return Err(ErpError::Ambiguous { detail: format!("{place} does not show {} yet", posting.kind.as_str()) });
        }
        if let Some(field) = &write.lines {
            let others = self.other_units(&document, &place, field, posting)?;
            for (row, units) in &others {
                let url = self.service.address(&addressed(&map.line_path, row)?, &[])?;
                // A line without a tag of its own stands under its document's.
                let tag = tag_of(row).or_else(|| tag_of(&document));
                self.service.write(Method::PATCH, url, tag.as_deref(), &json!({ field: units })).await?;
            }
            if !others.is_empty() {
                // The tag has changed with the lines. Whoever else changed one meanwhile is seen here, or by the tag.
                document = self.document(&posting.order).await?;
                if !self.other_units(&document, &place, field, posting)?.is_empty() {
                    return Err(ErpError::Conflict { detail: format!("{place}: its lines changed meanwhile") });
                }
            }
        }
        let mut tag = tag_of(&document);
        let path = addressed(&map.path, &document)?;
        let fields = write.set.iter().chain(status_fields(write, posting));
        let fields: Map<String, Value> = fields.map(|(field, value)| (field.clone(), filled(value, posting))).collect();
        if fields.iter().any(|(field, value)| document[field] != *value) {
            let url = self.service.address(&path, &[])?;
            let answer = self.service.write(Method::PATCH, url, tag.as_deref(), &Value::Object(fields)).await?;
            tag = match tag_of(&answer.body).or(answer.tag) {
                Some(tag) => Some(tag),
                None => tag_of(&self.document(&posting.order).await?),
            };
        }
        if let Some(action) = &write.action {
            let url = self.service.address(&format!("{path}/{action}"), &[])?;
            self.service.write(Method::POST, url, tag.as_deref(), &json!({})).await?;
        }
        let document = self.document(&posting.order).await?;
        if self.shows(&document, posting, write)? {
            return Ok(Applied { document: place });
        }
        Err(ErpError::Ambiguous { detail: format!("{place} took {} and does not show it", posting.kind.as_str()) })
    }

    /// Makes a document over what earlier ones do not cover.
    async fn make(&self, posting: &Posting, create: &Create) -> Result<Applied, ErpError> {
        let made = self.made(posting, create).await?;
        if made.missing.is_empty() {
            return Ok(Applied { document: made.names.join(", ") });
        }
        // It must be there: an order that is not would get a document all the same.
        self.document(&posting.order).await?;
        let line = |(line, units): (&u16, &i64)| {
            let step = self.options.map.document.order.line.step;
            json!({ create.line.as_str(): u32::from(*line) * step, create.quantity.as_str(): units })
        };
        let mut body = Map::new();
        body.extend(create.fields.iter().map(|(field, value)| (field.clone(), filled(value, posting))));
        body.insert(create.order.clone(), json!(posting.order));
        // Counted, so that two writers who see the same take the same, and the ERP takes one of them.
        body.insert(create.reference.clone(), json!(format!("{}{}", stem(posting), made.names.len() + 1)));
        body.insert(create.lines.clone(), made.missing.iter().map(line).collect());
        let url = self.service.address(&create.set, &[])?;
        self.service.write(Method::POST, url, None, &Value::Object(body)).await?;
        let made = self.made(posting, create).await?;
        if made.missing.is_empty() {
            return Ok(Applied { document: made.names.join(", ") });
        }
        Err(ErpError::Ambiguous { detail: format!("{} took a document and does not show it", create.set) })
    }

    async fn made(&self, posting: &Posting, create: &Create) -> Result<Made, ErpError> {
        let stem = stem(posting);
        let filter = format!("startswith({},{})", create.reference, quoted(&stem));
        let (mut names, mut missing) = (Vec::new(), wanted(posting));
        let step = i64::from(self.options.map.document.order.line.step.max(1));
        for value in &self.find(&create.set, &filter, Some(&create.lines)).await? {
            let doc = Doc { place: &create.set, value };
            // A service that does not know the function must not be believed about what it found.
            if !doc.text(&create.reference).map_err(contract)?.starts_with(&stem) {
                return Err(contract(format!("{}: the filter {filter} found another reference", create.set)));
            }
            names.push(format!("{} {}", create.set, doc.text(&create.name).map_err(contract)?));
            for value in doc.at(&create.lines).and_then(Value::as_array).into_iter().flatten() {
                let row = Doc { place: &create.set, value };
                let line = row.units(&create.line).map_err(contract)? / step;
                let units = row.units(&create.quantity).map_err(contract)?;
                if let Some(left) = u16::try_from(line).ok().and_then(|line| missing.get_mut(&line)) {
                    *left = left.saturating_sub(units);
                }
            }
        }
        missing.retain(|_, units| *units > 0);
        Ok(Made { names, missing })
    }
}

/// What was made for a posting, and the units that it does not cover.
struct Made {
    names: Vec<String>,
    missing: Units,
}

/// What references of a decision's documents of one kind begin with.
fn stem(posting: &Posting) -> String {
    format!("{}/{}/", posting.decision, posting.kind.as_str())
}

/// The units that a posting makes true, by line: the whole of its decision, or the one line that it is about.
fn wanted(posting: &Posting) -> Units {
    if posting.total.is_empty() {
        return posting.line.zip(posting.quantity.map(i64::from)).into_iter().collect();
    }
    let mut units = Units::new();
    for q in &posting.total {
        *units.entry(q.line).or_default() += i64::from(q.quantity);
    }
    units
}

fn status_fields<'a>(write: &'a Write, posting: &Posting) -> &'a BTreeMap<String, Value> {
    static NONE: BTreeMap<String, Value> = BTreeMap::new();
    match posting.status {
        Some(OrderStatus::Released) => &write.released,
        Some(OrderStatus::Cancelled) => &write.cancelled,
        None => &NONE,
    }
}

/// A value of the map with what stands in braces taken from the posting.
fn filled(value: &Value, posting: &Posting) -> Value {
    match value.as_str() {
        Some(text) => json!(
            text.replace("{decision}", posting.decision.as_str())
                .replace("{key}", &posting.key)
                .replace("{text}", &posting.text)
        ),
        None => value.clone(),
    }
}

/// A path of the map with what stands in braces taken from a row.
fn addressed(path: &str, row: &Value) -> Result<String, ErpError> {
    let mut address = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or_else(|| contract(format!("{path}: a brace is open")))?;
        let text = Doc { place: path, value: row }.text(name).map_err(contract)?;
        address.push_str(before);
        for byte in text.replace('\'', "''").bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'\'') {
                address.push(char::from(byte));
            } else {
                address.push_str(&format!("%{byte:02X}"));
            }
        }
        rest = behind;
    }
    address.push_str(rest);
    Ok(address)
}

/// The tag under which a row was read. One that matches everything is none.
fn tag_of(row: &Value) -> Option<String> {
    row["@odata.etag"].as_str().filter(|tag| *tag != "*").map(str::to_owned)
}
