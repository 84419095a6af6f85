//! How far a reader of the hub's feed has got.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which life of a ledger positions count in: a hub restored from a backup begins another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct LedgerEpoch(pub u64);

impl fmt::Display for LedgerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The lanes of the feed, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Recalls and holds: chunks that take a release back.
    Recalls,
    /// Orders, facts and leases.
    Orders,
    /// Changes of cases and dispatches.
    Documents,
    /// Everything else.
    Rest,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Recalls, Self::Orders, Self::Documents, Self::Rest];

    /// Its place in [`Cursor::positions`] and its number in stores.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Recalls => 0,
            Self::Orders => 1,
            Self::Documents => 2,
            Self::Rest => 3,
        }
    }

    /// The lane with this number in stores.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

/// How far a device has taken the hub's feed: per lane the last position taken, in one ledger epoch.
///
/// Lanes overtake each other, so each has a position of its own; all count the same ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cursor {
    /// Which life of the ledger.
    pub epoch: LedgerEpoch,
    /// Last position taken per lane; 0 before the first.
    pub positions: [u64; 4],
}

impl Cursor {
    /// The start of a ledger epoch.
    #[must_use]
    pub fn start(epoch: LedgerEpoch) -> Self {
        Self { epoch, positions: [0; 4] }
    }

    /// Moves past `position` in `lane`; never back.
    pub fn pass(&mut self, lane: Lane, position: u64) {
        let held = &mut self.positions[lane.index()];
        *held = (*held).max(position);
    }
}
