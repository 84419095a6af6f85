//! Weights that stand at another line: `See DN-93 (ID#:1281)` where a number should be.
//!
//! All lines that share one weight are weighed as one: each unit of them gets the same share, so that the sum is right,
//! which is what a vehicle carries.

use std::collections::BTreeMap;

use super::settings::WeightMap;

/// What a line says of its weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Says {
    /// So many grams, for itself and those that refer to it.
    Grams(u64),
    /// It stands at the line with this id; which is of this order, if it says so.
    At { id: String, order: Option<String> },
    /// Nothing is known.
    Nothing,
}

/// A line as far as its weight goes.
#[derive(Debug, Clone)]
pub(super) struct Weighed {
    pub(super) id: String,
    pub(super) order: String,
    pub(super) units: u64,
    pub(super) says: Says,
}

impl WeightMap {
    /// Reads what stands in the column.
    /// # Errors
    /// The rest of a sentence.
    pub(super) fn says(&self, text: &str) -> Result<Says, String> {
        if text.is_empty() || self.unknown.contains(text) {
            return Ok(Says::Nothing);
        }
        if let Some(elsewhere) = &self.elsewhere
            && let Some((order, id)) = refers(elsewhere, text)
        {
            return Ok(Says::At { id, order });
        }
        let grams = text.parse::<f64>().ok().filter(|kg| (0.0..1e9).contains(kg)).map(|kg| (kg * 1000.0).round());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within bounds")]
        grams
            .map(|grams| Says::Grams(grams as u64))
            .ok_or_else(|| format!("is {text:?}: neither a weight nor a reference"))
    }
}

/// What a text that fits the form refers to: an order, if the form has one, and a line.
fn refers(form: &str, text: &str) -> Option<(Option<String>, String)> {
    let (before, after) = form.split_once("{line}")?;
    let (order, line) = match before.split_once("{order}") {
        None => (None, text.strip_prefix(before)?),
        Some((before, between)) => {
            let (order, line) = text.strip_prefix(before)?.split_once(between)?;
            (Some(order.to_owned()), line)
        }
    };
    let line = line.strip_suffix(after)?;
    (!line.is_empty() && order.as_deref() != Some("")).then(|| (order, line.to_owned()))
}

/// The weight of a unit of each line, in grams, by the line's id; `None` where it is not known. A line whose reference
/// leads nowhere has the rest of a sentence instead.
pub(super) fn of_units(lines: &[Weighed]) -> BTreeMap<&str, Result<Option<u32>, String>> {
    let by_id: BTreeMap<&str, &Weighed> = lines.iter().map(|line| (line.id.as_str(), line)).collect();
    let holders: BTreeMap<&str, Result<&Weighed, String>> =
        lines.iter().map(|line| (line.id.as_str(), holder(line, &by_id))).collect();
    let mut shared: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        if let Some(Ok(holder)) = holders.get(line.id.as_str()) {
            *shared.entry(holder.id.as_str()).or_default() += line.units;
        }
    }
    let of_unit = |holder: &Weighed| {
        let Says::Grams(grams) = holder.says else { return None };
        let units = shared.get(holder.id.as_str()).copied().unwrap_or(0).max(1);
        u32::try_from((grams + units / 2) / units).ok()
    };
    holders.into_iter().map(|(id, holder)| (id, holder.map(of_unit))).collect()
}

/// The line that holds a line's weight: itself, or the one it refers to.
fn holder<'a>(line: &'a Weighed, by_id: &BTreeMap<&str, &'a Weighed>) -> Result<&'a Weighed, String> {
    let Says::At { id, order } = &line.says else { return Ok(line) };
    let Some(other) = by_id.get(id.as_str()) else { return Err(format!("refers to line {id}, which is not there")) };
    if let Some(order) = order
        && *order != other.order
    {
        return Err(format!("refers to line {id} of {order}, but that line is of {}", other.order));
    }
    match other.says {
        Says::Grams(_) | Says::Nothing => Ok(other),
        Says::At { .. } => Err(format!("refers to line {id}, which refers to another in turn")),
    }
}
