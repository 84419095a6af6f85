//! Recon items and postings: what reconciliation keeps about one decision until it is settled.

use serde::{Deserialize, Serialize};

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord, LeaseCharge, Mode},
    dispatch::DispatchState,
    id::{ActorName, DecisionId, DocumentId, OrderId, SiteId},
    order::{LineQuantity, Order, OrderStatus},
    time::UtcMs,
};

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
    /// Which row of the table of concurrent pairs; none while both sides agree.
    pub row: Option<u8>,
    /// What the depot did, as far as it is known.
    pub edge: EdgeSide,
    /// The order as the depot saw it when it decided.
    pub erp_before: Option<ErpSide>,
    /// The order as the ERP has it now; of the time of closing once closed.
    pub erp_now: Option<ErpSide>,
    /// What left beyond what is ordered; as it stood when a person chose, once one has.
    pub surplus: Vec<LineQuantity>,
    /// What a person may choose now; empty when nothing is to be chosen.
    pub choices: Vec<Choice>,
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
    /// When the hub learned of the decision.
    pub opened: UtcMs,
    /// When it was settled.
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
            surplus: Vec::new(),
            choices: Vec::new(),
            chosen: None,
            credit_held: false,
            outcome: None,
            case: None,
            charge: record.lease.clone(),
            issued_at: None,
            opened: now,
            closed: None,
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

/// What a person may choose for goods that left although the ERP wanted it otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The customer keeps the goods: the order is raised to what left, and invoiced.
    Accept,
    /// The goods, or the surplus, come back.
    Return,
}

impl Choice {
    /// The word for it on pages and in requests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Return => "return",
        }
    }
}

/// A choice that a person made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which.
    pub choice: Choice,
    /// For which row of the table of concurrent pairs: it says nothing about another.
    pub row: Option<u8>,
    /// Who.
    pub by: ActorName,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UtcMs,
}

/// What a posting does at the ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostingKind {
    /// The delivery was released.
    Release,
    /// That release is void.
    VoidRelease,
    /// Goods left.
    GoodsIssue,
    /// Goods came back.
    Return,
    /// The order gets another quantity or status.
    OrderChange,
    /// What left is to be invoiced.
    Invoice,
}

impl PostingKind {
    /// Whether the ERP's word that it took one is not enough: only what can be read there counts.
    #[must_use]
    pub fn is_read_back(self) -> bool {
        self == Self::Invoice
    }

    /// The word for it in keys, on pages and at the ERP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::VoidRelease => "void_release",
            Self::GoodsIssue => "goods_issue",
            Self::Return => "return",
            Self::OrderChange => "order_change",
            Self::Invoice => "invoice",
        }
    }
}

/// One write at the ERP. The same key is the same write, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// `decision/kind/line`, with `/2` for a second one of the kind; line 0 is the whole order.
    pub key: String,
    /// The decision it follows from.
    pub decision: DecisionId,
    /// For which order. Postings of one order go out one after the other, in the order they were queued.
    pub order: OrderId,
    /// Which line, where it is about one.
    pub line: Option<u16>,
    /// What it does.
    pub kind: PostingKind,
    /// How many units, where it is about some.
    pub quantity: Option<u32>,
    /// What postings of its kind add up to for the decision, once all of them are applied. An ERP that books
    /// documents rather than lines books the whole of it with the first.
    #[serde(default)]
    pub total: Vec<LineQuantity>,
    /// The order's new status; only in an order change.
    pub status: Option<OrderStatus>,
    /// For people at the ERP.
    pub text: String,
    /// When it happened.
    pub at: UtcMs,
}

/// Where a posting stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostingState {
    /// It waits for its turn or its next try. Nothing of it is at the ERP.
    Queued,
    /// It was sent and no answer came: it is asked for before it is sent again.
    InDoubt,
    /// The ERP has it.
    Applied,
    /// It is parked for a person; later ones of its order wait behind it.
    Dead,
    /// What it was for ended before the ERP had it; it is never sent, and none waits behind it.
    Withdrawn,
}

impl PostingState {
    /// The word for it on pages and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InDoubt => "in_doubt",
            Self::Applied => "applied",
            Self::Dead => "dead",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A posting as the queue holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedPosting {
    /// What to write.
    pub posting: Posting,
    /// Where it stands.
    pub state: PostingState,
    /// Whether it is still to be sent; otherwise it is only asked for, and withdrawn if the ERP does not have it.
    pub is_wanted: bool,
    /// How many tries reached the ERP. What failed on the way there never leads to its being given up.
    pub attempts: u32,
    /// Not before.
    pub next_try: UtcMs,
    /// When it was sent last; none before the first time.
    pub sent_at: Option<UtcMs>,
    /// What went wrong last, for people; for a dead letter the reason.
    pub last_error: Option<String>,
    /// When the ERP confirmed it.
    pub applied_at: Option<UtcMs>,
    /// The ERP's name for what was written.
    pub document: Option<String>,
}
