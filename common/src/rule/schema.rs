//! The facts that a condition may name, with type and meaning, and the functions that it may use.
//!
//! `gatehouse-agent rules schema` prints this; docs/rules.md explains it with examples.

/// The type of a fact or of a part of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// true or false.
    Bool,
    /// A whole number, in the unit that the name ends with.
    Int,
    /// A text.
    Text,
    /// A moment; to be compared with another, or given to `minutes_until` and `minutes_since`.
    Time,
}

impl Type {
    /// The word for it in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "yes or no",
            Self::Int => "a whole number",
            Self::Text => "a text",
            Self::Time => "a time",
        }
    }
}

/// Where a condition stands: which facts are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// An extra gate: the order and the facts.
    Gate,
    /// A fallback rule or an override rule: also what the gates came to.
    Fallback,
    /// A routing rule: also the case.
    Case,
}

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub is: Type,
    /// What it means.
    pub means: &'static str,
}

const fn named(name: &'static str, is: Type, means: &'static str) -> Named {
    Named { name, is, means }
}

use Type::{Bool, Int, Text, Time};

/// What every condition may name.
const FACTS: &[Named] = &[
    named("order.id", Text, "the ERP's number of the order"),
    named("order.class", Text, "its class, such as standard"),
    named("order.customer", Text, "number of the customer"),
    named("order.tier", Text, "service level of the customer: C, B, A or critical"),
    named("order.currency", Text, "ISO 4217 code of its amounts"),
    named("order.value_minor", Int, "what this dispatch carries is worth, in minor units"),
    named("order.units", Int, "units that this dispatch carries"),
    named("order.lines", Int, "lines that this dispatch carries"),
    named("order.vehicle", Text, "vehicle planned for it"),
    named("order.carrier", Text, "carrier planned for it"),
    named("order.door", Text, "door planned for it"),
    named("order.dangerous_goods", Bool, "whether it carries dangerous goods"),
    named("order.planned_departure", Time, "when it should leave"),
    named("order.window_end", Time, "end of the delivery window that was promised"),
    named("order.cut_off", Time, "latest departure that keeps the promise; unknown where the ERP names none"),
    named("inventory.missing_units", Int, "units of the load that the WMS has not confirmed as pickable"),
    named("capacity.sufficient", Bool, "whether the vehicle can carry it, by the TMS"),
    named("carrier.accepted", Bool, "whether the carrier of the order accepted"),
    named("credit.on_hold", Bool, "whether the ERP blocks the customer"),
    named("credit.headroom_minor", Int, "credit left by the ERP, in minor units"),
    named("dock.occupied", Bool, "whether a vehicle stands at the planned door"),
    named("dock.vehicle", Text, "which vehicle stands at the planned door"),
    named("dock.open", Bool, "whether the planned door stands open"),
    named("documents.complete", Bool, "whether the papers are complete"),
    named("cargo.staged_units", Int, "units of the load on the lane or beyond"),
    named("cargo.loaded_units", Int, "units of the load in the vehicle"),
    named("labour.required_minutes", Int, "dock work that the slot of the departure needs"),
    named("labour.rostered_minutes", Int, "dock work that is rostered in that slot"),
    named("cases.blocking", Int, "open cases that block this dispatch, apart from those of its own gates"),
    named("hub.cut_off", Bool, "whether this depot is cut off from the hub"),
];

/// What a fallback rule may name beside [`FACTS`].
const GATES: &[Named] = &[
    named("gate.name", Text, "the gate that the rule is asked for"),
    named("gate.state", Text, "fail or unknown"),
    named("gate.why", Text, "why it is unknown: missing, stale or conflicting; empty when it fails"),
    named("gates.failed", Int, "how many gates fail"),
    named("gates.unknown", Int, "how many gates are unknown"),
];

/// What a routing rule may name beside [`FACTS`].
const CASES: &[Named] = &[
    named("case.type", Text, "code of the case, such as INV_SHORTFALL"),
    named("case.subject", Text, "the order, door or vehicle it is about"),
    named("case.severity", Int, "1 for S1 to 4 for S4, by the axes and the floor"),
];

/// Kinds of fact whose age can be asked for.
pub const FAMILIES: [&str; 8] = ["inventory", "capacity", "carrier", "credit", "dock", "documents", "cargo", "labour"];

/// The functions, for help and messages.
pub const FUNCTIONS: [(&str, &str); 7] = [
    ("minutes_until(time)", "whole minutes from now until a time; negative once it is over"),
    ("minutes_since(time)", "whole minutes since a time; negative before it"),
    (
        "age_s('inventory')",
        "seconds since a fact was so, the oldest where a dispatch has several; of the kinds inventory, capacity, carrier, credit, dock, documents, cargo, labour",
    ),
    ("has(fact)", "whether a fact is known and not too old"),
    ("text.startsWith('x')", "whether a text begins so"),
    ("text.endsWith('x')", "whether a text ends so"),
    ("text.contains('x')", "whether a text has this in it"),
];

impl Scope {
    /// Every fact that a condition here may name.
    pub fn names(self) -> impl Iterator<Item = &'static Named> {
        let more: &'static [Named] = match self {
            Self::Gate => &[],
            Self::Fallback => GATES,
            Self::Case => CASES,
        };
        FACTS.iter().chain(more)
    }

    /// The fact under this name.
    #[must_use]
    pub fn find(self, name: &str) -> Option<&'static Named> {
        self.names().find(|named| named.name == name)
    }
}
