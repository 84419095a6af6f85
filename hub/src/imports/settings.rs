//! Which column of a file is what.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::id::SiteId;
use serde::Deserialize;

use crate::{config::SaleTerms, erp::map::OrderMap};

/// The map of an import, a file of TOML. Columns are called as the first line of the file calls them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportMap {
    /// The column that is different on every line.
    pub line_id: String,
    /// Columns that say the same on all lines of an order.
    #[serde(default)]
    pub same: BTreeSet<String>,
    /// Columns that the file does not have, with what they hold on each line, such as a currency.
    #[serde(default)]
    pub constants: BTreeMap<String, String>,
    /// Columns that hold words for people where a name is needed: whatever a name may not hold becomes `-`.
    #[serde(default)]
    pub names: BTreeSet<String>,
    /// Where the weight stands; without it none is known.
    pub weight: Option<WeightMap>,
    /// The file's word for each depot.
    #[serde(default)]
    pub sites: BTreeMap<String, SiteId>,
    /// What holds for an order that does not say it.
    #[serde(default)]
    pub terms: SaleTerms,
    /// Where an order's fields stand. `lines` is not looked at: lines with one `id` are one order. `line.line` may be
    /// `#`: their place in the order, from 1.
    pub order: OrderMap,
}

/// Where the weight of a line stands, be it that of the line, of all that shares it, or a word.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightMap {
    /// The column, in kilograms.
    pub kilograms: String,
    /// How it says that the weight stands at another line: `{order}` and `{line}` are what the two columns below hold
    /// there, such as `See {order} (ID#:{line})`. All that share a weight are weighed as one.
    pub elsewhere: Option<String>,
    /// The column that `{order}` is about.
    pub order: Option<String>,
    /// What it says if the weight is not known.
    #[serde(default)]
    pub unknown: BTreeSet<String>,
}
