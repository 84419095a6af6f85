//! The ERP and what we ask of it.
//!
//! A [`Connector`] knows one ERP's protocol and nothing of dispatching. [`poll`] brings its news in,
//! [`post`] takes postings out, one at a time per order. A write whose answer was lost is asked for
//! before it is sent again, since most ERPs honour no key of ours.

pub mod counted;
mod http;
pub mod map;
pub mod odata;
pub mod paced;
pub mod poll;
pub mod post;
pub mod rest;
pub mod tryton;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::core::reconcile::{Posting, PostingKind};
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};

/// What an ERP can and cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Whether a second write with a known key is answered with the first. Where not, we ask before we repeat.
    pub honours_keys: bool,
    /// Whether confirmed orders are already taken off its credit figures.
    pub orders_in_credit: bool,
    /// Whether confirmed orders are already taken off its stock figures.
    pub orders_in_stock: bool,
}

impl Caps {
    /// Whether confirmed orders are off any of its figures.
    #[must_use]
    pub fn counts_orders(self) -> bool {
        self.orders_in_credit || self.orders_in_stock
    }
}

/// Where a reader of changes has got to; the connector's own words, empty at first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErpCursor(pub String);

/// What changed since a cursor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChangePage {
    /// Orders in their newest form. Their version is 0: the hub counts versions itself.
    pub orders: Vec<Order>,
    /// Customers in their newest form.
    pub customers: Vec<Customer>,
    /// Where the next page begins.
    pub cursor: ErpCursor,
    /// Whether more waits.
    pub more: bool,
    /// What could not be read, one sentence each; it is left out of the page.
    pub unreadable: Vec<String>,
}

/// A customer's credit standing, as the ERP said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Who.
    pub id: CustomerId,
    /// Whether new deliveries are blocked.
    pub on_hold: bool,
    /// Most that may be owed, in minor units; none where there is no limit.
    pub limit_minor: Option<i64>,
    /// What is owed, in minor units.
    pub exposure_minor: i64,
}

impl Customer {
    /// What may still be delivered on credit, in minor units; the largest number where there is no limit.
    #[must_use]
    pub fn headroom_minor(&self) -> i64 {
        self.limit_minor.map_or(i64::MAX, |limit| limit.saturating_sub(self.exposure_minor))
    }
}

/// A write that the ERP has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The ERP's name for what was written.
    pub document: String,
}

/// Whether a write that was sent has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It has.
    Applied(Applied),
    /// It has not: it may be sent again.
    NotApplied,
    /// The ERP cannot say yet.
    Unknown,
}

/// Why the ERP did not do what was asked; one class per thing the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErpError {
    /// Nothing was written; try again later.
    #[error("the ERP cannot be reached or is busy: {detail}")]
    Transient {
        /// What happened.
        detail: String,
        /// How long the ERP asks to wait.
        retry_after: Option<Duration>,
    },
    /// The write was sent and no answer came: ask with [`Connector::probe`] before sending it again.
    #[error("no answer to a write: {detail}")]
    Ambiguous {
        /// What happened.
        detail: String,
    },
    /// The document has changed meanwhile: read again, then decide.
    #[error("the document changed at the ERP: {detail}")]
    Conflict {
        /// What the ERP said.
        detail: String,
    },
    /// The ERP does not want it; a person must look.
    #[error("the ERP refuses: {detail}")]
    Rejected {
        /// What the ERP said.
        detail: String,
    },
    /// The credentials are not accepted. Tried again slowly, never in a loop.
    #[error("the ERP does not accept our credentials: {detail}")]
    Auth {
        /// What the ERP said.
        detail: String,
    },
    /// What was asked for is not there.
    #[error("not at the ERP: {detail}")]
    NotFound {
        /// What.
        detail: String,
    },
    /// The answer is not what this connector knows: stop and tell.
    #[error("the ERP answers otherwise than agreed: {detail}")]
    Contract {
        /// Where and what.
        detail: String,
    },
}

/// One ERP's protocol.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Its name in logs and on pages.
    fn name(&self) -> &str;

    /// What it can do.
    fn caps(&self) -> Caps;

    /// Orders and customers changed since `since`; at least once each.
    /// # Errors
    /// [`ErpError`]; the cursor then stays where it was.
    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError>;

    /// One order in its newest form.
    /// # Errors
    /// [`ErpError::NotFound`] if there is none, else as for every read.
    async fn order(&self, id: &OrderId) -> Result<Order, ErpError>;

    /// One customer in its newest form.
    /// # Errors
    /// [`ErpError::NotFound`] if there is none, else as for every read.
    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError>;

    /// Units available per product at a depot.
    /// # Errors
    /// [`ErpError`].
    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError>;

    /// Whether it can write postings of this kind. One that it cannot is parked for a person and never sent.
    fn takes(&self, kind: PostingKind) -> bool {
        kind != PostingKind::CreditNote
    }

    /// Writes one posting under its key.
    /// # Errors
    /// [`ErpError::Ambiguous`] whenever it may have been applied without an answer.
    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError>;

    /// Whether a posting that was sent has arrived.
    /// # Errors
    /// [`ErpError`]; nothing is known then.
    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError>;
}
