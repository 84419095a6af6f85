//! What an ERP over plain JSON calls things, where it is not the built-in form.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Calls, Errors};
use crate::{
    core::reconcile::PostingKind,
    erp::map::{CustomerMap, OrderMap, StockMap},
};

/// `[erp.map]`: the map. Every key that is left out has the built-in form.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestMap {
    /// Where things are asked for.
    pub paths: Paths,
    /// Where an order's fields stand.
    pub order: Option<OrderMap>,
    /// Where a customer's credit stands.
    pub customer: Option<CustomerMap>,
    /// Where a stock level stands.
    pub stock: Option<StockMap>,
    /// What a posting is called.
    pub posting: PostingMap,
    /// The header that carries our key, such as `Idempotency-Key`. Given, the ERP answers a key that it knows with what
    /// it did under it the first time.
    pub key_header: Option<String>,
    /// How a posting says which version of the order it is about.
    pub version: Version,
    /// How each thing is asked for, where paths and parameters do not say it. Given, `paths` is not looked at.
    pub calls: Option<Box<Calls>>,
    /// What stands in the header `Authorization`, with `{secret}` for the token. Default `Bearer {secret}`.
    pub authorization: Option<String>,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// Whether `false` stands for an empty field in answers to calls.
    pub false_is_empty: bool,
    /// How errors are told apart by what the body says.
    pub errors: Errors,
}

/// How a write fails if the order changed since it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// It does not.
    #[default]
    None,
    /// By the tag of the order's answer, sent back as `If-Match`.
    Etag,
    /// By a field of the order, sent back in the posting under the same name.
    Field(String),
}

/// Paths below the root, and the lists in their answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Changed orders. The answer has a list and a cursor. Default `/orders`.
    pub orders: String,
    /// Changed customers, likewise. Default `/customers`.
    pub customers: String,
    /// Stock of a depot, asked for with its name. Default `/stock`.
    pub stock: String,
    /// Postings: written with POST, found with GET. Default `/effects`.
    pub postings: String,
    /// The list in the answer of `orders`. Default `orders`; so for the others.
    pub orders_list: String,
    /// The list in the answer of `customers`.
    pub customers_list: String,
    /// The list in the answer of `stock`.
    pub stock_list: String,
    /// The list in the answer of `postings`. Default `effects`.
    pub postings_list: String,
    /// The parameter and the field of the cursor. Default `since` and `cursor`.
    pub since: String,
    /// The field of an answer that holds the next cursor.
    pub cursor: String,
    /// The parameter that bounds a page. Default `limit`.
    pub limit: String,
    /// The parameter that names the depot of stock. Default `site`.
    pub site: String,
}

impl Default for Paths {
    fn default() -> Self {
        let word = str::to_owned;
        Self {
            orders: word("/orders"),
            customers: word("/customers"),
            stock: word("/stock"),
            postings: word("/effects"),
            orders_list: word("orders"),
            customers_list: word("customers"),
            stock_list: word("stock"),
            postings_list: word("effects"),
            since: word("since"),
            cursor: word("cursor"),
            limit: word("limit"),
            site: word("site"),
        }
    }
}

/// Fields of a posting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostingMap {
    /// What it does. Default `kind`.
    pub kind: String,
    /// The ERP's words for what it does, where they differ from ours.
    pub kinds: BTreeMap<PostingKind, String>,
    /// Kinds that the ERP does not take, such as `credit_note`: they are parked for a person. Default: none.
    pub lacks: BTreeSet<PostingKind>,
    /// Number of the order. Default `order`.
    pub order: String,
    /// Our key; also the parameter by which a posting is found. Default `reference`.
    pub reference: String,
    /// Words for people. Default `text`.
    pub text: String,
    /// When it happened. Default `at`.
    pub at: String,
    /// Number of the line. Default `line`.
    pub line: String,
    /// Units. Default `quantity`.
    pub quantity: String,
    /// New status of the order. Default `status`.
    pub status: String,
    /// What a credit note is worth, in minor units. Default `amount_minor`.
    pub amount: String,
    /// The ERP's number of a posting, when it is found. Default `seq`.
    pub number: String,
    /// The ERP's number of a posting, when it is made. Default `effect`. With calls a path, such as `data/name`.
    pub made: String,
    /// What people call a posting there. Default: as `made`.
    pub document: Option<String>,
    /// What the version of the order is called in a posting. Default: as in the order.
    pub version: Option<String>,
}

impl Default for PostingMap {
    fn default() -> Self {
        let word = str::to_owned;
        Self {
            kind: word("kind"),
            kinds: BTreeMap::new(),
            lacks: BTreeSet::new(),
            order: word("order"),
            reference: word("reference"),
            text: word("text"),
            at: word("at"),
            line: word("line"),
            quantity: word("quantity"),
            status: word("status"),
            amount: word("amount_minor"),
            number: word("seq"),
            made: word("effect"),
            document: None,
            version: None,
        }
    }
}
