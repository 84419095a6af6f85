//! Postings: what is written at the ERP because of an item, and where each stands in the queue.

use gatehouse_common::{
    id::{DecisionId, OrderId},
    order::{LineQuantity, OrderStatus},
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

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
    /// A credit note is proposed: the ERP's people write it, or do not.
    CreditNote,
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
            Self::CreditNote => "credit_note",
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
    /// What it is worth in minor units of the order's currency; only in a credit note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
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
