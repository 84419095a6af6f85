//! How much a depot may be lent: the sum rule for leases.
//!
//! In: what the ERP says may be spent, every lease, every release known. Out: what a new lease may
//! hold. For each customer's credit and each product's stock at a depot, what is lent and what was
//! spent unseen never exceed the ERP's figure less a reserve. A slice comes back only by the depot's
//! signed statement, never by expiry alone. Never reads the clock, the network or the store.

mod book;
mod cut;

use gatehouse_common::{
    lease::{Lease, LeaseUse},
    seal::Sealed,
    time::UtcMs,
};
use serde::{Deserialize, Serialize};

pub use book::{Book, Committed, Loan, Pool, Settled, Spending, covers};
pub use cut::{Due, Figures, LeasePolicy, available, due, needs, renewed, slices, still_fits};

/// Where a lease stands at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Granted, and the depot has not stated its use. It counts whole, expired or not.
    Outstanding,
    /// The depot has stated its use, or a person wrote it off; only what was used counts.
    Closed,
    /// Closed, and all that was used is in the ERP's figures or was taken back: it weighs on nothing any more.
    Settled,
}

impl LeaseState {
    /// The word for it on pages and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outstanding => "outstanding",
            Self::Closed => "closed",
            Self::Settled => "settled",
        }
    }
}

/// How long after it was read a figure may be cut from, in milliseconds: a grant may be slow.
pub const FIGURE_MAX_MS: i64 = 600_000;

/// Why a lease is not written off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWrittenOff {
    /// Its depot may still use it.
    #[error("its depot may use it until {0}")]
    InForce(UtcMs),
    /// Its use is stated already.
    #[error("it is {}", .0.as_str())]
    Stated(LeaseState),
}

/// What a lease is once a person has written off what of it nobody reported; its depot may use it `until` then. What is
/// reported later weighs all the same.
/// # Errors
/// [`NotWrittenOff`].
pub fn written_off(row: &LeaseRow, until: UtcMs, now: UtcMs) -> Result<LeaseRow, NotWrittenOff> {
    if row.state != LeaseState::Outstanding {
        return Err(NotWrittenOff::Stated(row.state));
    }
    if until >= now {
        return Err(NotWrittenOff::InForce(until));
    }
    Ok(LeaseRow { state: LeaseState::Closed, closed_at: Some(now), ..row.clone() })
}

/// A lease as the hub keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// What was granted.
    pub lease: Lease,
    /// The same, as it travels.
    pub sealed: Sealed,
    /// Where it stands.
    pub state: LeaseState,
    /// What decisions known to the hub have used of it; once closed, what the depot stated.
    pub used: LeaseUse,
    /// When the depot's statement was read; none before.
    pub closed_at: Option<UtcMs>,
    /// Since when a person is asked what became of it: it ran out long ago, and its depot has stated nothing.
    #[serde(default)]
    pub asked_at: Option<UtcMs>,
}

impl LeaseRow {
    /// A lease of whose use nothing is known yet.
    #[must_use]
    pub fn granted(lease: Lease, sealed: Sealed) -> Self {
        let (state, used) = (LeaseState::Outstanding, LeaseUse::default());
        Self { lease, sealed, state, used, closed_at: None, asked_at: None }
    }
}

/// Whether a person is to be asked about a lease, who was not yet: it ran out `after_ms` ago, and its use was not stated.
#[must_use]
pub fn is_overdue(row: &LeaseRow, after_ms: i64, now: UtcMs) -> bool {
    row.state == LeaseState::Outstanding && row.asked_at.is_none() && now.since(row.lease.expires_at) >= after_ms
}

impl From<&LeaseRow> for Loan {
    fn from(row: &LeaseRow) -> Self {
        let stated = (row.state != LeaseState::Outstanding).then(|| row.used.clone());
        Self { lease: row.lease.clone(), stated }
    }
}

#[cfg(test)]
mod tests;
