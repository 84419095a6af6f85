//! What can be said of a case. Stored documents are for ever: a variant may be added, never changed.

use serde::{Deserialize, Serialize};

use super::{
    lifecycle::CaseState,
    severity::{Axes, Severity},
    taxonomy::{CaseType, Team},
};
use crate::{
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
}
