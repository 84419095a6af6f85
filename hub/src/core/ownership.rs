//! Which system owns which field: who says what it is, and whether the hub may write it there.
//!
//! A table and two questions. In: a fact and its source, or a field of an ERP's map. Out: whether that source owns it. A
//! field has one owner, so that no two systems write it in turns; what another system says of it is refused.

use gatehouse_common::fact::{FactKey, Source};
use serde::Serialize;
use utoipa::ToSchema;

/// A field and its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Owned {
    /// The field, such as `order.quantity`.
    pub field: &'static str,
    /// The system whose word counts.
    #[serde(serialize_with = "word")]
    #[schema(value_type = String)]
    pub owner: Source,
    /// What the hub writes of it at its owner, and after what. Empty: nothing.
    pub written: &'static str,
}

fn word<S: serde::Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source.as_str())
}

const fn owned(field: &'static str, owner: Source, written: &'static str) -> Owned {
    Owned { field, owner, written }
}

/// Every field that more than one system could claim; in no field twice.
pub const OWNED: &[Owned] = &[
    owned("order.site", Source::Erp, ""),
    owned("order.customer", Source::Erp, ""),
    owned("order.lines", Source::Erp, ""),
    owned("order.price", Source::Erp, ""),
    owned("order.currency", Source::Erp, ""),
    owned("order.times", Source::Erp, ""),
    owned("order.destination", Source::Erp, ""),
    owned("order.quantity", Source::Erp, "another quantity, after a person's choice"),
    owned("order.status", Source::Erp, "released again, after a person's choice"),
    owned("customer.credit", Source::Erp, ""),
    owned("inventory", Source::Wms, ""),
    owned("labour", Source::Wms, ""),
    owned("capacity", Source::Tms, ""),
    owned("carrier", Source::Tms, ""),
    owned("dock", Source::Depot, ""),
    owned("documents", Source::Depot, ""),
    owned("cargo", Source::Depot, ""),
    owned("delivery.released", Source::Hub, "after a depot's decision, and taken back after its recall"),
    owned("delivery.issued", Source::Hub, "what a depot saw leave"),
    owned("delivery.billed", Source::Hub, "what left and is agreed, read back before it counts"),
    owned("delivery.credited", Source::Erp, "proposed, after a person's choice"),
    owned("delivery.returned", Source::Hub, "what comes back, after a person's choice"),
];

/// The name in [`OWNED`] of what a fact is about.
#[must_use]
pub fn field_of(key: &FactKey) -> &'static str {
    match key {
        FactKey::Inventory { .. } => "inventory",
        FactKey::Capacity { .. } => "capacity",
        FactKey::Carrier { .. } => "carrier",
        FactKey::Credit { .. } => "customer.credit",
        FactKey::Dock { .. } => "dock",
        FactKey::Documents { .. } => "documents",
        FactKey::Cargo { .. } => "cargo",
        FactKey::Labour { .. } => "labour",
    }
}

/// Whether `source` owns what `key` is about. A vehicle's unit speaks for its depot.
#[must_use]
pub fn may_say(key: &FactKey, source: Source) -> bool {
    let field = field_of(key);
    let owner = OWNED.iter().find(|owned| owned.field == field).map(|owned| owned.owner);
    owner == Some(if source == Source::Vehicle { Source::Depot } else { source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_field_has_one_owner_and_another_system_is_not_heard_on_it() {
        let fields: BTreeSet<&str> = OWNED.iter().map(|owned| owned.field).collect();
        assert_eq!(fields.len(), OWNED.len());
        let key = FactKey::Carrier { order: "SO-1".parse().unwrap() };
        let heard: Vec<Source> = [Source::Erp, Source::Wms, Source::Tms, Source::Depot, Source::Vehicle, Source::Hub]
            .into_iter()
            .filter(|source| may_say(&key, *source))
            .collect();
        assert_eq!(heard, [Source::Tms]);
        let dock = FactKey::Dock { door: "3".parse().unwrap() };
        assert!(may_say(&dock, Source::Depot) && may_say(&dock, Source::Vehicle) && !may_say(&dock, Source::Wms));
    }
}
