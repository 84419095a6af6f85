//! Documents that have changes whose past has not come in: what waits counts for nothing yet, so it is shown.
//!
//! In: documents after something came. Out: since when each waits, kept as state of a rule; nothing is decided by it.

use gatehouse_common::{
    document::Document,
    id::DocumentId,
    time::{Moment, UtcMs},
};
use serde::{Deserialize, Serialize};

use super::{Core, decision::Change};

/// The prefix of the rows of documents that wait.
pub const WAITS: &str = "waits";

/// Since when a document has changes whose past has not come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// By the wall clock here; none only before it is written.
    pub since: Option<UtcMs>,
}

impl Core {
    /// Notes whether a document waits, as it now is.
    pub(super) fn note_waits(&mut self, now: &Moment, id: DocumentId, document: &Document) {
        let (row, waits) = (id.to_string(), !document.missing().is_empty());
        if waits == self.waits.get(&row).is_some() {
            return;
        }
        if waits {
            self.waits.edit(&row, |waits| waits.since = Some(now.wall));
        } else {
            self.waits.forget(&row);
        }
        self.changed(Change::Status);
    }
}
