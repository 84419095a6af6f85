//! What a dispatch waits for.
//!
//! In: an order, the facts held, the limits of its class. Out: one [`GateResult`] per gate, each
//! pass, fail or unknown, with every input and its age. Unknown is a value: a fact that is missing
//! or older than its limit never passes and never fails a gate.

mod weigh;

use serde::{Deserialize, Serialize};

pub use weigh::{Question, weigh};

use crate::{
    fact::{Fact, FactKey, FactValue, Source},
    time::{Moment, UtcMs},
};

/// The things a dispatch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The WMS confirms every line as pickable.
    Inventory,
    /// The TMS says the vehicle can carry it.
    Capacity,
    /// The carrier accepted.
    Carrier,
    /// The customer is not on credit hold and has headroom for the value.
    Credit,
    /// The planned door is free, or the planned vehicle stands there.
    Dock,
    /// The papers are complete.
    Documents,
    /// Every unit was scanned on the staging lane.
    Cargo,
    /// No open case blocks this dispatch.
    NoBlockingCase,
    /// The promise to the customer can still be kept: the cut-off is not over.
    Sla,
    /// The slot of the departure has the dock hours that its work needs.
    Labour,
    /// A gate of the bundle's own; [`GateResult::rule`] names it.
    Rule,
}

impl GateKind {
    /// Every gate that has a name of its own; first [`GateKind::USUAL`], in the order in which pages show them.
    pub const ALL: [Self; 10] = [
        Self::Inventory,
        Self::Capacity,
        Self::Carrier,
        Self::Credit,
        Self::Dock,
        Self::Documents,
        Self::Cargo,
        Self::NoBlockingCase,
        Self::Sla,
        Self::Labour,
    ];

    /// The gates that a class of order waits for where its bundle names none.
    pub const USUAL: &[Self] = Self::ALL.split_at(8).0;

    /// The gate with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The gate that a fact answers.
    #[must_use]
    pub fn of_key(key: &FactKey) -> Option<Self> {
        Some(match key {
            FactKey::Inventory { .. } => Self::Inventory,
            FactKey::Capacity { .. } => Self::Capacity,
            FactKey::Carrier { .. } => Self::Carrier,
            FactKey::Credit { .. } => Self::Credit,
            FactKey::Dock { .. } => Self::Dock,
            FactKey::Documents { .. } => Self::Documents,
            FactKey::Cargo { .. } => Self::Cargo,
            FactKey::Labour { .. } => Self::Labour,
        })
    }

    /// The system that answers it.
    #[must_use]
    pub fn source(self) -> Source {
        match self {
            Self::Inventory | Self::Labour => Source::Wms,
            Self::Capacity | Self::Carrier => Source::Tms,
            Self::Credit | Self::Sla => Source::Erp,
            Self::Rule | Self::Dock | Self::Documents | Self::Cargo => Source::Depot,
            Self::NoBlockingCase => Source::Hub,
        }
    }

    /// The word for it on pages, in logs and in the bundle.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Capacity => "capacity",
            Self::Carrier => "carrier",
            Self::Credit => "credit",
            Self::Dock => "dock",
            Self::Documents => "documents",
            Self::Cargo => "cargo",
            Self::NoBlockingCase => "no_blocking_case",
            Self::Sla => "sla",
            Self::Labour => "labour",
            Self::Rule => "rule",
        }
    }
}

/// How old the facts behind a gate may be, in milliseconds, counted from the fact's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeLimits {
    /// While everything is reachable.
    pub normal_ms: u64,
    /// Under a lease, when the source or the hub is not. Stands in the signed lease.
    pub under_lease_ms: u64,
}

/// Which of the two age limits applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// [`AgeLimits::normal_ms`].
    Normal,
    /// [`AgeLimits::under_lease_ms`].
    UnderLease,
}

impl AgeLimits {
    /// The limit for `strictness`, in milliseconds.
    #[must_use]
    pub fn limit_ms(&self, strictness: Strictness) -> u64 {
        match strictness {
            Strictness::Normal => self.normal_ms,
            Strictness::UnderLease => self.under_lease_ms,
        }
    }
}

/// Whether a gate lets a dispatch through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GateState {
    /// It does.
    Pass,
    /// It does not, and fresh facts say why.
    Fail {
        /// For people.
        reason: String,
    },
    /// It cannot be known.
    Unknown {
        /// What is wrong with the facts.
        why: UnknownWhy,
    },
}

/// Why a gate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownWhy {
    /// No fact has come in.
    Missing,
    /// The newest fact is older than its limit, or its age cannot be known.
    Stale,
    /// Facts contradict each other.
    Conflicting,
}

impl UnknownWhy {
    /// The word for it in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::Conflicting => "conflicting",
        }
    }
}

/// One gate as it was weighed, with all it was based on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// Which gate.
    pub gate: GateKind,
    /// What came out.
    #[serde(flatten)]
    pub state: GateState,
    /// How old its facts were allowed to be, in milliseconds.
    pub limit_ms: u64,
    /// The facts it rests on.
    pub inputs: Vec<GateInput>,
    /// The bundle's name for it, where it is one of the bundle's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The fallback rule that said what follows from it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// One fact as a gate saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateInput {
    /// What it is about.
    pub key: FactKey,
    /// What is held to be so.
    pub value: FactValue,
    /// Who said so.
    pub source: Source,
    /// When it was so.
    pub at: UtcMs,
    /// Its age when the gate was weighed, in milliseconds; `None` if unknown.
    pub age_ms: Option<u64>,
}

impl GateResult {
    /// Whether the gate lets the dispatch through.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.state == GateState::Pass
    }

    /// Its name on pages, in logs and in the bundle.
    #[must_use]
    pub fn name(&self) -> &str {
        self.rule.as_deref().unwrap_or(self.gate.as_str())
    }

    /// A short sentence for people: what is wrong, or that nothing is.
    #[must_use]
    pub fn explain(&self) -> String {
        match &self.state {
            GateState::Pass => format!("{} is met", self.name()),
            GateState::Fail { reason } => reason.clone(),
            GateState::Unknown { why: UnknownWhy::Missing } => {
                format!("nothing known of {} from {}", self.name(), self.gate.source().as_str())
            }
            GateState::Unknown { why: UnknownWhy::Stale } => {
                format!("what {} said of {} is too old", self.gate.source().as_str(), self.name())
            }
            GateState::Unknown { why: UnknownWhy::Conflicting } => {
                format!("facts about {} contradict each other", self.name())
            }
        }
    }
}

impl GateInput {
    /// A fact as it is seen at `now`.
    #[must_use]
    pub fn of(fact: &Fact, now: &Moment) -> Self {
        Self {
            key: fact.report.key.clone(),
            value: fact.report.value.clone(),
            source: fact.report.source,
            at: fact.report.at,
            age_ms: fact.age_ms(now),
        }
    }
}
