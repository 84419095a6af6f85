//! Why the store could not do what was asked.

use std::path::PathBuf;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, though it was tried for a while. Try again.
    #[error("store is busy")]
    Busy,
    /// Nothing was written. Free some space or raise the budget; the agent goes on by itself once there is room.
    #[error(
        "disk of {path} is full, or its budget used up; make room, it then goes on by itself (docs/runbook.md#disk-full)"
    )]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is damaged. The agent stops; restore it or set it aside and start again.
    #[error("store at {path} is damaged: {what}; docs/runbook.md#damaged-store says what then")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be opened, or lacks a setting that this program needs. Correct path or rights.
    #[error("store at {path} cannot be used: {what}")]
    Unusable {
        /// The store's file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file belongs to another device or depot. Give this device a file of its own.
    #[error("store at {path} belongs to {found}, this is {expected}")]
    Foreign {
        /// The store's file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
}

impl StoreError {
    /// Whether to try again makes sense.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::DiskFull { .. })
    }

    /// The same for good: for callers who cannot go on from here even if it passes.
    #[must_use]
    pub fn lasting(self) -> Self {
        match self {
            Self::Busy => {
                Self::Unusable { path: "store".into(), what: "it was busy when it had to be read".to_owned() }
            }
            Self::DiskFull { path } => {
                Self::Unusable { path, what: "its disk was full when it had to be read".to_owned() }
            }
            other => other,
        }
    }
}
