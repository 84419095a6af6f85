//! What can be said of a case. Stored documents are for ever: a variant may be added, never changed.

use serde::{Deserialize, Serialize};

use super::{
    FOLD_VERSION,
    lifecycle::CaseState,
    severity::{Axes, Severity},
    taxonomy::{CaseType, Team},
};
use crate::{
    document::Folds,
    id::{DocumentId, Hash32, OrderId, SiteId},
    time::UtcMs,
};

/// One thing said of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Says {
    /// Something is wrong.
    Opened {
        /// What.
        case_type: CaseType,
        /// With what: a door, an order, a vehicle, a source.
        subject: String,
        /// On which leg; `-` where there is none.
        leg: String,
        /// Which case under this dedup key, from 1.
        occurrence: u32,
        /// At which depot.
        site: SiteId,
        /// When it began, by fix or sensor time.
        since: UtcMs,
        /// One sentence for people.
        summary: String,
        /// The order it is about.
        order: Option<OrderId>,
        /// The dispatch it blocks.
        blocks: Option<DocumentId>,
        /// The case that this one goes on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<DocumentId>,
    },
    /// How bad it is, whose it is, what to do and by when. Computed by policy, so its bundle is named.
    Classified {
        /// How bad.
        severity: Severity,
        /// Why that bad.
        axes: Axes,
        /// Whose.
        owner: Team,
        /// What is recommended, best first.
        actions: Vec<String>,
        /// When someone should have acknowledged it.
        acknowledge_by: UtcMs,
        /// When it should be resolved.
        resolve_by: UtcMs,
        /// The bundle that says so.
        bundle: Hash32,
    },
    /// The trigger fired again.
    Triggered {
        /// When, by fix or sensor time.
        since: UtcMs,
        /// What was seen.
        evidence: String,
    },
    /// Someone or something moved it.
    Moved {
        /// Where to.
        to: CaseState,
        /// When the matter itself changed, by fix or sensor time; the entry's own time where no sensor spoke.
        since: UtcMs,
        /// Resolution code, cause or reason, in words.
        reason: String,
        /// Whether a detector did it because the condition cleared.
        auto_cleared: bool,
        /// What belongs to the step: whom it waits for, how it was resolved, why it is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        how: Option<How>,
    },
    /// Another team shall own it.
    Assigned {
        /// Which.
        owner: Team,
    },
    /// It is less bad than the rules say. Begins a new severity epoch.
    SeverityLowered {
        /// How bad it is.
        severity: Severity,
        /// Why.
        reason: String,
    },
    /// It was escalated.
    Escalated {
        /// How far, from 1.
        level: u8,
        /// A question that needs an answer before the case can be resolved.
        question: Option<String>,
    },
    /// What was done about it.
    Acted {
        /// Which action.
        action: String,
        /// What came of it.
        outcome: String,
    },
    /// The fold version that this document needs from now on.
    Fold {
        /// Its number.
        version: u32,
    },
    /// Someone watches it, or it bears a tag. Counts until it is taken away by someone who had seen it.
    Marked {
        /// What kind of mark.
        mark: Mark,
        /// Who, or which tag.
        value: String,
    },
    /// Takes away the marks of this value that its writer had seen, and no others.
    Unmarked {
        /// What kind of mark.
        mark: Mark,
        /// Who, or which tag.
        value: String,
    },
    /// A picture or paper belongs to it.
    Attached {
        /// Its name for people.
        name: String,
        /// Hash of its bytes, which its sender keeps.
        hash: Hash32,
    },
    /// Another case about the same matter ran beside this one and is part of it from now on.
    Aliased {
        /// The other case, which is cancelled as a duplicate.
        case: DocumentId,
        /// When the other was opened.
        opened_at: UtcMs,
        /// How often people touched the other.
        touches: u32,
    },
    /// It grew too long and goes on in another document.
    Continued {
        /// Which.
        case: DocumentId,
    },
}

/// What belongs to a move, by where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// To waiting: whom it waits for.
    WaitsFor(WaitsFor),
    /// To resolved.
    Resolved {
        /// What was done, such as one of the recommended actions.
        code: String,
        /// What it came from.
        cause: String,
    },
    /// To cancelled: nothing was wrong.
    FalseAlarm,
    /// To cancelled: the matter is worked on in this case.
    DuplicateOf(DocumentId),
}

impl How {
    /// What belongs to a person's move to `to`: whom it waits for must be said; a resolution without a code was simply
    /// done and its reason is its cause; what is no duplicate is a false alarm.
    /// # Errors
    /// What is missing, for people.
    pub fn of_move(
        to: CaseState,
        reason: &str,
        waits_for: Option<WaitsFor>,
        code: Option<String>,
        duplicate_of: Option<DocumentId>,
    ) -> Result<Option<Self>, &'static str> {
        Ok(match to {
            CaseState::Waiting => {
                let whom = waits_for
                    .ok_or("say whom it waits for: carrier, customer, erp, approval, parts or connectivity")?;
                Some(Self::WaitsFor(whom))
            }
            CaseState::Resolved => {
                let code = code.filter(|code| !code.is_empty()).unwrap_or_else(|| "done".to_owned());
                Some(Self::Resolved { code, cause: reason.to_owned() })
            }
            CaseState::Cancelled => Some(duplicate_of.map_or(Self::FalseAlarm, Self::DuplicateOf)),
            _ => None,
        })
    }
}

/// Whom a case waits for. The clock of its resolution stands still for a customer and an approval, for no one else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The carrier.
    Carrier,
    /// The customer.
    Customer,
    /// The ERP.
    Erp,
    /// Someone's approval.
    Approval,
    /// Spare parts.
    Parts,
    /// The line.
    Connectivity,
}

impl WaitsFor {
    /// Whether the clock of the resolution stands still meanwhile.
    #[must_use]
    pub fn pauses(self) -> bool {
        matches!(self, Self::Customer | Self::Approval)
    }
}

/// What kind of mark someone put on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A person or team that wants to know of it.
    Watcher,
    /// A word to find it by.
    Tag,
}

impl Folds for Says {
    const NEWEST: u32 = FOLD_VERSION;

    fn fold(version: u32) -> Self {
        Self::Fold { version }
    }

    fn fold_named(&self) -> Option<u32> {
        match self {
            Self::Fold { version } => Some(*version),
            _ => None,
        }
    }

    fn needs_fold(&self) -> u32 {
        match self {
            Self::Marked { .. }
            | Self::Unmarked { .. }
            | Self::Attached { .. }
            | Self::Aliased { .. }
            | Self::Continued { .. } => 2,
            _ => 1,
        }
    }
}
