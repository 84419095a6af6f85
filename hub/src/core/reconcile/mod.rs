//! Compares what depots decided with what the ERP wants, until both agree.
//!
//! In: a [`Situation`], everything known of one decision. Out: [`Step`]s, each one repeatable: running
//! [`settle()`] again after they were taken gives none. Facts win over intentions: what has left is
//! posted, whatever the ERP wants meanwhile, and the difference becomes a choice for a person.
//! Never reads the clock, the network or the store.

pub mod beside;
pub mod choosing;
mod difference;
pub mod item;
pub mod obey;
pub mod posting;
pub mod row;
mod settle;
#[cfg(test)]
mod tests;

use gatehouse_common::{
    case::{CaseType, Severity, Team},
    decision::DecisionRecord,
    dispatch::{DispatchView, Says},
    id::{CarrierId, DocumentId},
    order::{LineQuantity, Order},
    time::UtcMs,
};

pub use beside::{beside, yields};
pub use choosing::{Choice, ChoiceError, Chosen, ReconPolicy, Took};
pub use item::{EdgeSide, ErpSide, Family, Matter, Outcome, ReconItem, Settlement};
pub use obey::{looks_again_at, obey, told_of_change};
pub use posting::{Posting, PostingKind, PostingState, QueuedPosting};
pub use settle::settle;

/// Everything that settling one decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The item as it stands.
    pub item: &'a ReconItem,
    /// The decision.
    pub decision: &'a DecisionRecord,
    /// Its dispatch, once its document is here.
    pub dispatch: Option<&'a DispatchView>,
    /// What earlier dispatches of the order have taken away.
    pub earlier: &'a [LineQuantity],
    /// What of it left other depots.
    pub elsewhere: &'a [LineQuantity],
    /// Whether another depot has a dispatch of the order that may still leave.
    pub is_planned_elsewhere: bool,
    /// The newest version of the order.
    pub order: Option<&'a Order>,
    /// The order as the depot saw it when it decided, where that is still known.
    pub seen: Option<&'a Order>,
    /// Units per line that the warehouse said it had, where it said so between the decision and the departure.
    pub confirmed: &'a [(u16, u32)],
    /// Which carrier accepted the order after the depot had decided, if one did.
    pub tendered: Option<&'a CarrierId>,
    /// Whether goods of the order were too warm on their way.
    pub was_too_warm: bool,
    /// Whether the ERP has the customer on credit hold; none if it has not said.
    pub on_hold: Option<bool>,
    /// Whether the decision stayed inside the slice of its lease.
    pub within_lease: bool,
    /// Whether its lease had set aside all that its depot took of its products; what a person let leave beyond the
    /// lease was set aside for nobody.
    pub is_set_aside: bool,
    /// Whether its lease had expired when it was made.
    pub lease_expired: bool,
    /// Whether it was made by the rules that its lease names while the hub had activated others.
    pub policy_lagged: bool,
    /// Whether the depot has obeyed: it recalled this release, or released anew.
    pub recalled: bool,
    /// Which case about the credit of this dispatch is open, or would be the next, counted from 1.
    pub credit_case: u32,
    /// What is settled without a person.
    pub policy: ReconPolicy,
    /// The item's postings.
    pub postings: &'a [QueuedPosting],
    /// When the newest complete read of the ERP began; none before the first.
    pub erp_read_at: Option<UtcMs>,
    /// The hub's clock.
    pub now: UtcMs,
}

/// Something to be done for an item. All steps of one run are taken in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write the item down as it stands now.
    Keep(Box<ReconItem>),
    /// Put a posting into the queue; one whose key is known there changes nothing.
    Post(Posting),
    /// What a posting was for is over: it is not sent any more.
    Withdraw {
        /// Its key.
        key: String,
    },
    /// Say something in the dispatch; recalls and holds go in the lane of recalls.
    WriteDispatch(Says),
    /// Open a case, unless it is open.
    OpenCase(NewCase),
    /// The matter of a case is done.
    ResolveCase {
        /// Which case.
        case: DocumentId,
        /// What was done, for people.
        reason: String,
    },
}

/// A case that the hub opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    /// What is wrong.
    pub case_type: CaseType,
    /// Its document.
    pub id: DocumentId,
    /// With what: the subject of the dedup key.
    pub subject: String,
    /// On which leg: the decision, or the dispatch where its depot may open the same case.
    pub leg: String,
    /// Which case of this matter, from 1.
    pub occurrence: u32,
    /// One sentence for people.
    pub summary: String,
    /// Money at risk, in minor units.
    pub money_minor: i64,
    /// How bad it is at least, whatever its axes say.
    pub at_least: Option<Severity>,
    /// Whose it is, where that is not the owner of its type.
    pub owner: Option<Team>,
}
