//! What a service calls things, and how each posting is written there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    config::{SaleTerms, Secret},
    core::reconcile::PostingKind,
    erp::map::{CustomerMap, OrderMap, StockMap},
};
use gatehouse_common::id::SiteId;

/// How to reach a service, and its map.
#[derive(Debug, Clone)]
pub struct ODataOptions {
    /// Its root, such as `https://erp/odata/v4/shop`.
    pub url: String,
    /// How the hub logs in.
    pub login: Login,
    /// Whether a write needs a token that a read fetched before, as SAP's gateways want it.
    pub csrf: bool,
    /// Its words for depots, where they differ from ours.
    pub sites: BTreeMap<String, SiteId>,
    /// What holds for an order whose document does not say it.
    pub terms: SaleTerms,
    /// Its entities and fields.
    pub map: ODataMap,
}

/// How the hub logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token.
    Bearer(Secret),
}

/// The entities of a service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ODataMap {
    /// `[erp.document]`: what is released and leaves.
    pub document: DocumentMap,
    /// `[erp.customer]`. Left out: nobody is held and nothing limits.
    pub customer: Option<EntityMap<CustomerMap>>,
    /// `[erp.stock]`. Left out: no stock is known.
    pub stock: Option<EntityMap<StockMap>>,
    /// `[erp.write.KIND]`: how a posting of a kind is written. A kind that is left out is refused, and goes to a person.
    #[serde(default)]
    pub write: BTreeMap<PostingKind, Write>,
}

/// The entity that orders are read from and postings go to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentMap {
    /// Its entity set.
    pub set: String,
    /// How one is addressed: `Deliveries('{DeliveryDocument}')`. Names in braces are fields.
    pub path: String,
    /// How one of its lines is addressed; names in braces are fields of the line.
    pub line_path: String,
    /// When it changed last. It must also change with its lines, or changes of them are not heard.
    pub changed: String,
    /// What else a document must be to be an order, as a filter.
    pub filter: Option<String>,
    /// Where the fields of an order stand; its `lines` are expanded.
    pub order: OrderMap,
}

/// An entity that is only read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EntityMap<T> {
    /// Its entity set.
    pub set: String,
    /// When a row changed last. Left out: rows are asked for by name only.
    pub changed: Option<String>,
    /// Where its fields stand.
    pub fields: T,
}

/// How a posting of one kind is written. Without `create`, the document itself is changed: `lines`, then `set`, then
/// `action`, each only if given, each under the tag of the document as it was read. With nothing at all the ERP does it
/// by itself, and it is waited for.
///
/// Texts in `set`, `shown` and `create` may hold `{decision}`, `{key}` and `{text}` of the posting.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Write {
    /// The field of a line that takes the posted units.
    pub lines: Option<String>,
    /// Fields of the document, with their values.
    pub set: BTreeMap<String, Value>,
    /// Fields of the document that an order change to released sets.
    pub released: BTreeMap<String, Value>,
    /// Fields of the document that an order change to cancelled sets.
    pub cancelled: BTreeMap<String, Value>,
    /// The action that is called last, such as `Microsoft.NAV.ship`.
    pub action: Option<String>,
    /// The document that is made instead.
    pub create: Option<Create>,
    /// Values of the document by which the posting is known to be done. Units in `lines` must agree as well.
    pub shown: BTreeMap<String, Value>,
    /// Values of the document with which the posting is not even tried, each by itself: `DeletionFlag = true`.
    pub unless: BTreeMap<String, Value>,
    /// Values of the document with which nothing is left to do, each by itself: it counts as done and nothing is written.
    /// A delivery that has left needs no release, and a release that wrote its reference over that of the departure
    /// would make a second departure look booked.
    pub moot: BTreeMap<String, Value>,
}

/// A document that a posting makes: one per reference, over the units that earlier ones do not cover yet. The ERP must
/// refuse a second one with the same reference; else two hubs that race make two.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its entity set.
    pub set: String,
    /// Its own number, as the ERP gives it.
    pub name: String,
    /// The field that names the order.
    pub order: String,
    /// The field that takes our reference.
    pub reference: String,
    /// Its list of lines.
    pub lines: String,
    /// A line's number.
    pub line: String,
    /// A line's units.
    pub quantity: String,
    /// Other fields, with their values.
    #[serde(default)]
    pub fields: BTreeMap<String, Value>,
}

impl ODataMap {
    /// What the map lets the hub write although the ERP owns it, one sentence each. Quantity and status are the ERP's
    /// as well; an order change may write them, since that is what a person chose.
    #[must_use]
    pub fn written_by_two(&self) -> Vec<String> {
        let order = &self.document.order;
        let line = &order.line;
        let known = [&order.customer_name, &order.tier, &order.currency, &order.class, &order.vehicle, &order.carrier];
        let more =
            [&order.door, &order.window_end, &order.latitude, &order.longitude, &order.cut_off, &line.weight_grams];
        let mut owned =
            vec![&order.id, &order.site, &order.customer, &order.departure, &line.line, &line.product, &line.price];
        owned.extend(known.into_iter().chain(more).flatten());
        let changeable: Vec<&String> = [Some(&line.quantity), order.status.as_ref()].into_iter().flatten().collect();
        let mut told = Vec::new();
        for (kind, write) in &self.write {
            let fields =
                write.set.keys().chain(&write.lines).chain(write.released.keys()).chain(write.cancelled.keys());
            for field in fields {
                let is_change = *kind == PostingKind::OrderChange && changeable.contains(&field);
                if owned.contains(&field) || (changeable.contains(&field) && !is_change) {
                    told.push(format!(
                        "write.{} writes {field}, which the ERP owns and the order is read from",
                        kind.as_str()
                    ));
                }
            }
        }
        told
    }
}
