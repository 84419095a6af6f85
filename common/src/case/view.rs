//! A case as it stands: what [`super::fold()`] makes of everything said of it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    entry::WaitsFor,
    lifecycle::CaseState,
    severity::Severity,
    taxonomy::{CaseType, Team},
};
use crate::{
    document::EntryKey,
    id::{DocumentId, Hash32, OrderId, SiteId},
    time::UtcMs,
};

/// A case as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseView {
    /// What is wrong.
    pub case_type: CaseType,
    /// With what.
    pub subject: String,
    /// On which leg.
    pub leg: String,
    /// Which case under this dedup key.
    pub occurrence: u32,
    /// At which depot.
    pub site: SiteId,
    /// One sentence for people.
    pub summary: String,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// The dispatch it blocks.
    pub blocks: Option<DocumentId>,
    /// The case that this one goes on from.
    pub follows: Option<DocumentId>,
    /// The case that this one goes on in.
    pub continued_in: Option<DocumentId>,
    /// The case that this one turned out to be a duplicate of.
    pub duplicate_of: Option<DocumentId>,
    /// Cases that turned out to be this one.
    pub aliases: BTreeSet<DocumentId>,
    /// Where it stands.
    pub state: CaseState,
    /// Whom it waits for, while it does.
    pub waits_for: Option<WaitsFor>,
    /// How bad it is.
    pub severity: Severity,
    /// Whose it is.
    pub owner: Team,
    /// Teams that lost it to the owner without knowing.
    pub watching_teams: BTreeSet<Team>,
    /// Who else wants to know of it.
    pub watchers: BTreeSet<String>,
    /// Words to find it by.
    pub tags: BTreeSet<String>,
    /// What is recommended.
    pub actions: Vec<String>,
    /// When it was opened; of several, the earliest.
    pub opened_at: UtcMs,
    /// When it was first acknowledged; of several, the earliest.
    pub acknowledged_at: Option<UtcMs>,
    /// When it was last resolved.
    pub resolved_at: Option<UtcMs>,
    /// How and from what it was last resolved, by a person.
    pub resolution: Option<Resolution>,
    /// When the matter itself changed by the move that it stands at, by fix or sensor time.
    pub moved_at: Option<UtcMs>,
    /// When someone should have acknowledged it.
    pub acknowledge_by: Option<UtcMs>,
    /// When it should be resolved; times in which its clock stood still come on top.
    pub resolve_by: Option<UtcMs>,
    /// For how many milliseconds the clock of its resolution stood still, waits that are over.
    pub paused_ms: i64,
    /// Since when that clock stands still.
    pub paused_since: Option<UtcMs>,
    /// The reason of the last move.
    pub reason: Option<String>,
    /// How often its trigger fired, the first time included.
    pub triggers: u32,
    /// How often it came back after it was resolved.
    pub reopens: u32,
    /// How often people moved or changed it, its aliases' included.
    pub touches: u32,
    /// Levels it was escalated to; each counts once, whoever fired it.
    pub escalations: BTreeSet<u8>,
    /// What its trigger saw, by key.
    pub evidence: Vec<Seen>,
    /// What was done about it, by key.
    pub taken: Vec<Taken>,
    /// Pictures and papers, by key.
    pub attachments: Vec<Attachment>,
    /// Entries that lost against others, with the reason.
    pub superseded: Vec<(EntryKey, String)>,
    /// Entries that their writer had no authority for, or that do not fit where the case stood, with the reason.
    pub void: Vec<(EntryKey, String)>,
    /// Keys of entries that this version cannot read; they count for nothing.
    pub unread: Vec<String>,
    /// How many entries the document has that this version can read.
    pub length: u32,
    /// The notes.
    pub notes: String,
    /// The version of the fold that the document asks for.
    pub fold: u32,
    /// Whether the document needs a newer version of this program; nothing may be decided on it.
    pub waits_for_upgrade: bool,
}

/// How a case was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolution {
    /// What was done.
    pub code: String,
    /// What it came from.
    pub cause: String,
}

/// A trigger that fired again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its entry.
    pub key: EntryKey,
    /// When, by fix or sensor time.
    pub since: UtcMs,
    /// What was seen.
    pub evidence: String,
}

/// An action taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Its entry.
    pub key: EntryKey,
    /// Which action.
    pub action: String,
    /// What came of it.
    pub outcome: String,
}

/// A picture or paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Its entry.
    pub key: EntryKey,
    /// Its name for people.
    pub name: String,
    /// Hash of its bytes.
    pub hash: Hash32,
}
