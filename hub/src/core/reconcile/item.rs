//! Recon items: what reconciliation keeps about one decision until it is settled.

use serde::{Deserialize, Serialize};

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord, LeaseCharge, Mode},
    dispatch::DispatchState,
    id::{DecisionId, DocumentId, OrderId, SiteId},
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

use super::{Choice, Chosen};

/// The comparison of one decision with the ERP, until it is settled. Exactly one per decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReconItem {
    /// The decision. Its name is the root of every posting's key.
    pub decision: DecisionId,
    /// Where it was made.
    pub site: SiteId,
    /// The dispatch it is about; none for a closed lease.
    pub dispatch: Option<DocumentId>,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// Which kind of difference.
    pub family: Family,
    /// Which row of the table of concurrent pairs ([`super::row`]); none while both sides agree.
    pub row: Option<u8>,
    /// What else differs. The item is settled by the gravest; those of the others that a person must see have cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Matter>,
    /// What the depot did, as far as it is known.
    pub edge: EdgeSide,
    /// The order as the depot saw it when it decided.
    pub erp_before: Option<ErpSide>,
    /// The order as the ERP has it now; of the time of closing once closed.
    pub erp_now: Option<ErpSide>,
    /// The units that the difference is about, where it is about some: what left beyond what is ordered, or what did not
    /// arrive whole. As it stood when a person chose, once one has.
    pub surplus: Vec<LineQuantity>,
    /// What is at stake in minor units of [`Self::currency`]: the units the difference is about, else all that left.
    #[serde(default)]
    pub value_minor: i64,
    /// ISO 4217 code of the order; empty while that is not known.
    #[serde(default)]
    pub currency: String,
    /// What a person may choose now; empty when nothing is to be chosen.
    pub choices: Vec<Choice>,
    /// What a first person wants, where policy asks for two: nothing follows from it before another confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Chosen>,
    /// What a person chose.
    pub chosen: Option<Chosen>,
    /// Whether a credit hold was written into the dispatch because of this item. A second one is not written
    /// before the ERP has let go meanwhile, so that a hold that finance lifted stays lifted.
    pub credit_held: bool,
    /// How it ended; none while it is open.
    pub outcome: Option<Outcome>,
    /// The case that people work on.
    pub case: Option<DocumentId>,
    /// What of its lease the decision used.
    pub charge: Option<LeaseCharge>,
    /// When the ERP had confirmed the last goods issue. A read that begins later includes it.
    pub issued_at: Option<UtcMs>,
    /// When it was decided, by the depot's clock; unknown for items of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<UtcMs>,
    /// When the hub learned of the decision.
    pub opened: UtcMs,
    /// When it was opened again, because of what became of the goods after it had been settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<UtcMs>,
    /// When it was settled.
    pub closed: Option<UtcMs>,
    /// How it had ended before it was opened again, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Settlement>,
}

/// A difference beside the one that an item is settled by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matter {
    /// Which kind.
    pub family: Family,
    /// Which row of the table.
    pub row: Option<u8>,
    /// The case that people work on, where one must be looked at.
    pub case: Option<DocumentId>,
}

/// How an item had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Which kind of difference it was.
    pub family: Family,
    /// Which row of the table.
    pub row: Option<u8>,
    /// What a person chose.
    pub chosen: Option<Chosen>,
    /// How it ended.
    pub outcome: Outcome,
    /// The case that people worked on.
    pub case: Option<DocumentId>,
    /// When.
    pub closed: Option<UtcMs>,
}

/// What the depot did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeSide {
    /// Where the dispatch stands.
    pub state: DispatchState,
    /// How the release came about.
    pub mode: Option<Mode>,
    /// What was released, or what departed once it has.
    pub load: Vec<LineQuantity>,
    /// When the hub learned of this state. Nothing is posted before an ERP read that began later.
    pub known_at: UtcMs,
}

/// What the ERP says of the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErpSide {
    /// The order's version by our own count.
    pub version: u64,
    /// Released or cancelled; unknown for versions that are no longer kept.
    pub status: Option<OrderStatus>,
    /// What is ordered.
    pub quantities: Vec<LineQuantity>,
    /// Whether the customer is on credit hold.
    pub on_hold: bool,
}

/// Which kind of difference a recon item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// None is known.
    Agreement,
    /// The customer's credit.
    Credit,
    /// Quantities.
    Quantity,
    /// The order was cancelled.
    Cancel,
    /// The order leaves from another depot.
    Depot,
    /// The rules, or the lease, under which it was decided.
    Policy,
    /// What the goods cost.
    Price,
    /// Where the goods go.
    Address,
    /// When they should be there.
    Date,
    /// What the warehouse says it has.
    Stock,
    /// Who carries them.
    Carrier,
    /// A hold that someone overrode, or that was placed meanwhile.
    Override,
    /// The same goods left twice.
    Duplicate,
    /// What was signed for at the destination.
    Pod,
    /// What the goods went through on their way.
    Quality,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 15] = [
        Self::Agreement,
        Self::Credit,
        Self::Quantity,
        Self::Cancel,
        Self::Depot,
        Self::Policy,
        Self::Price,
        Self::Address,
        Self::Date,
        Self::Stock,
        Self::Carrier,
        Self::Override,
        Self::Duplicate,
        Self::Pod,
        Self::Quality,
    ];
}

impl ReconItem {
    /// A new item for a decision that the hub learned of at `now`.
    #[must_use]
    pub fn open(record: &DecisionRecord, order_seen: Option<&Order>, now: UtcMs) -> Self {
        let before = record.order.as_ref().map(|(_, version)| ErpSide {
            version: *version,
            status: order_seen.map(|o| o.status),
            quantities: order_seen.map(Order::quantities).unwrap_or_default(),
            on_hold: false,
        });
        let state = match record.kind {
            DecisionKind::Release | DecisionKind::Override => DispatchState::Released,
            DecisionKind::Hold | DecisionKind::Recall | DecisionKind::LeaseClosed | DecisionKind::EpochBegun => {
                DispatchState::Held
            }
        };
        Self {
            decision: record.id.clone(),
            site: record.site.clone(),
            dispatch: record.dispatch,
            order: record.order.as_ref().map(|(order, _)| order.clone()),
            family: Family::Agreement,
            row: None,
            edge: EdgeSide { state, mode: record.mode, load: record.load.clone(), known_at: now },
            erp_before: before,
            erp_now: None,
            also: Vec::new(),
            surplus: Vec::new(),
            value_minor: 0,
            currency: String::new(),
            choices: Vec::new(),
            proposed: None,
            chosen: None,
            credit_held: false,
            outcome: None,
            case: None,
            charge: record.lease.clone(),
            issued_at: None,
            decided: Some(record.at.wall),
            opened: now,
            reopened: None,
            closed: None,
            before: Vec::new(),
        }
    }
}

impl Family {
    /// The word for it on pages and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::Credit => "credit",
            Self::Quantity => "quantity",
            Self::Cancel => "cancel",
            Self::Depot => "depot",
            Self::Policy => "policy",
            Self::Price => "price",
            Self::Address => "address",
            Self::Date => "date",
            Self::Stock => "stock",
            Self::Carrier => "carrier",
            Self::Override => "override",
            Self::Duplicate => "duplicate",
            Self::Pod => "pod",
            Self::Quality => "quality",
        }
    }
}

/// How an item ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Both sides agree and everything is posted.
    Matched,
    /// A counter-document makes both sides agree.
    Compensated {
        /// The document, or the posting's key, or the word for what was done.
        document: String,
    },
    /// The difference stands, and someone or a rule said so.
    AcceptedVariance {
        /// Who.
        approver: String,
    },
    /// It became a case that others decide.
    Escalated {
        /// Which.
        case: DocumentId,
    },
}

impl Outcome {
    /// The word for it on pages and in the store.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Compensated { .. } => "compensated",
            Self::AcceptedVariance { .. } => "accepted_variance",
            Self::Escalated { .. } => "escalated",
        }
    }

    /// Who approved, for an accepted variance.
    #[must_use]
    pub fn approver(&self) -> Option<&str> {
        match self {
            Self::AcceptedVariance { approver } => Some(approver),
            _ => None,
        }
    }
}
