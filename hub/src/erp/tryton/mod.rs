//! Tryton, over JSON-RPC.
//!
//! A sale is an order, its warehouse the depot, its customer shipments what leaves. What the hub posts is
//! written into Tryton's own documents by their own buttons, and each carries our reference,
//! `gatehouse:` and the decision. A write reads first and does only what is still missing, so that
//! one whose answer was lost, or that runs twice, ends as one document. Whether a button worked is
//! read back from the document's state and never from an error's words, since Tryton translates them.

mod amend;
mod bill;
mod order;
mod read;
mod rpc;
mod sale;
mod ship;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};
use tokio::sync::OnceCell;

use super::{Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe};
use crate::{
    config::{SaleTerms, Secret},
    core::reconcile::{Posting, PostingKind},
};
use rpc::Rpc;
use wire::Stamp;

/// How to reach it, and what its sales do not say.
#[derive(Debug, Clone)]
pub struct TrytonOptions {
    /// Its root, such as `http://127.0.0.1:8000`.
    pub url: String,
    /// Its database.
    pub database: String,
    /// The hub's login there. It needs the groups Sales, Stock and Accounting and no more.
    pub user: String,
    /// The login's password.
    pub password: Secret,
    /// Its codes of warehouses, where they differ from our depots.
    pub sites: BTreeMap<String, SiteId>,
    /// What holds for a sale whose comment does not say it.
    pub terms: SaleTerms,
}

/// The connector.
pub struct Tryton {
    options: TrytonOptions,
    rpc: Rpc,
    pace: Mutex<Pace>,
    /// Whether its module for credit limits is active; asked once.
    has_credit_limits: OnceCell<bool>,
}

/// What was read when, so that nothing is read again for longer than needed.
#[derive(Default)]
struct Pace {
    /// The newest change that was seen, and since when.
    newest: Option<(Stamp, Instant)>,
    /// When the credit of all customers with open sales was read.
    credit: Option<Instant>,
}

impl Tryton {
    /// A connector; nothing is sent yet.
    /// # Errors
    /// [`ErpError::Contract`] if no HTTP client can be made.
    pub fn new(options: TrytonOptions) -> Result<Self, ErpError> {
        Ok(Self { rpc: Rpc::new(&options)?, options, pace: Mutex::default(), has_credit_limits: OnceCell::new() })
    }

    /// How far behind `since` a read begins. A long transaction at Tryton commits times that lie behind what
    /// was read meanwhile; once `since` has stood for long enough, nothing of the kind can be under way.
    fn overlap(&self, since: Stamp) -> Duration {
        const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(120);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        match &pace.newest {
            Some((newest, from)) if *newest == since => TRANSACTION_TIME_MAX.saturating_sub(from.elapsed()),
            _ => {
                pace.newest = Some((since, Instant::now()));
                TRANSACTION_TIME_MAX
            }
        }
    }

    /// Whether the credit of all customers with open sales is due; if so it counts as read.
    fn credit_is_due(&self) -> bool {
        // An invoice or a payment changes a customer's credit and not the customer, so it is asked for
        // now and then. Tryton adds it up anew each time, which costs it a while.
        const CREDIT_EVERY: Duration = Duration::from_secs(60);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = pace.credit.is_none_or(|at| at.elapsed() >= CREDIT_EVERY);
        if is_due {
            pace.credit = Some(Instant::now());
        }
        is_due
    }
}

/// A row that is not what this connector knows.
fn contract(detail: String) -> ErpError {
    ErpError::Contract { detail }
}

/// What is never asked of it: it says so beforehand.
fn not_ours() -> ErpError {
    ErpError::Rejected { detail: "credit notes are written by people in Tryton".to_owned() }
}

#[async_trait]
impl Connector for Tryton {
    fn name(&self) -> &str {
        "tryton"
    }

    fn caps(&self) -> Caps {
        // Its credit figure holds confirmed sales; the stock that we read is what lies there.
        Caps { honours_keys: false, orders_in_credit: true, orders_in_stock: false }
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        self.read_changes(since).await
    }

    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        self.read_order(id).await
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        self.read_customer(id).await
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        self.read_stock(site).await
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        match posting.kind {
            PostingKind::Release => self.release(posting).await,
            PostingKind::VoidRelease => self.void_release(posting).await,
            PostingKind::GoodsIssue => self.issue(posting).await,
            PostingKind::Invoice => self.invoice(posting).await,
            PostingKind::Return => self.bring_back(posting).await,
            PostingKind::OrderChange => self.change_order(posting).await,
            PostingKind::CreditNote => Err(not_ours()),
        }
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        let found = match posting.kind {
            PostingKind::Release => self.released(posting).await?,
            PostingKind::GoodsIssue => self.issued(posting).await?,
            PostingKind::Invoice => self.invoiced(posting).await?,
            PostingKind::Return => self.brought_back(posting).await?,
            PostingKind::VoidRelease | PostingKind::OrderChange => self.noted(posting).await?,
            PostingKind::CreditNote => return Err(not_ours()),
        };
        // What runs behind a lost answer presses the same buttons, and Tryton lets only one through.
        Ok(found.map_or(Probe::NotApplied, |document| Probe::Applied(Applied { document })))
    }
}
