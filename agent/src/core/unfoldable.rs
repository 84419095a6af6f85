//! Documents whose bytes are sound and whose fold breaks off in this program.
//!
//! In: what a start could not fold, and what the hub tells of it. Out: the changes, kept as they came, for a program
//! that can fold them. Nothing is decided by such a document and nothing is written into it; it is shown as it was
//! folded last. Of a dispatch nobody knows what has left with it: its order is planned no further, since by what the
//! others hold goods could leave a second time.

use std::iter::once;

use gatehouse_common::{
    dispatch::document_id,
    document::{Document, gate::ChunkRefusal},
    id::{DocumentId, DocumentKind, OrderId},
    time::Moment,
};

use super::{Core, at_rest::AtRest, decision::Record, rule};

/// The key of their names among the state of rules.
pub const UNFOLDABLE: &str = "unfoldable";

/// A document that cannot be folded.
#[derive(Debug, Clone)]
pub(super) struct Unfoldable {
    kind: DocumentKind,
    document: AtRest,
}

impl Core {
    /// Documents that this program cannot fold, each with its kind, by rising id. They are left out of decisions.
    pub fn unfoldable(&self) -> impl Iterator<Item = (DocumentId, DocumentKind)> {
        self.unfoldable.iter().map(|(id, held)| (*id, held.kind))
    }

    pub(super) fn leave_out(&mut self, id: DocumentId, kind: DocumentKind, document: AtRest, why: &ChunkRefusal) {
        let word = kind.as_str();
        tracing::error!(
            document.id = %id,
            "{word} {id} cannot be folded by this program and is left out of decisions: {why}"
        );
        self.unfoldable.insert(id, Unfoldable { kind, document });
    }

    /// Keeps a change of a document that cannot be folded; says whether it is one of such a document.
    pub(super) fn take_unfolded(&mut self, now: &Moment, id: DocumentId, bytes: &[u8]) -> bool {
        let Some(Unfoldable { kind, document: held }) = self.unfoldable.get(&id).cloned() else { return false };
        let Some(mut document) = self.opened_for(now, held.open(), bytes) else { return true };
        let Some(chunk) = self.admit(now, &mut document, bytes) else { return true };
        self.note_waits(now, id, &document);
        self.unfoldable.insert(id, Unfoldable { kind, document: held.with(bytes) });
        let heads = document.heads();
        self.out.records.push(Record::Unfolded { document: id, kind, chunk: Some(chunk), heads });
        true
    }

    /// One of these documents, to be read.
    pub(super) fn unfolded(&self, id: DocumentId) -> Option<(DocumentKind, Document)> {
        let held = self.unfoldable.get(&id)?;
        Some((held.kind, held.document.open().ok()?))
    }

    /// Whether a dispatch of an order from this depot cannot be folded: then nobody knows what of the order has left.
    pub(super) fn lacks_a_dispatch(&self, order: &OrderId) -> bool {
        if self.unfoldable.is_empty() {
            return false;
        }
        // They are numbered without gaps: the first that is missing is the first of all, or follows one that is known
        // or forgotten.
        let known = self.dispatches_of(order).into_iter().map(|(_, view)| view.occurrence);
        once(self.past.dispatches_of(order)).chain(known).any(|before| {
            let next = document_id(order, &self.profile.site, before.saturating_add(1));
            self.unfoldable.contains_key(&next)
        })
    }

    /// Their names for people, to be written where they changed since they were last.
    pub(super) fn name_unfoldable(&mut self) -> Option<Record> {
        let names: Vec<String> = self.unfoldable().map(|(id, kind)| format!("{} {id}", kind.as_str())).collect();
        if names == self.unfoldable_named {
            return None;
        }
        self.unfoldable_named = names;
        if self.unfoldable_named.is_empty() {
            return Some(Record::RuleGone { key: UNFOLDABLE.to_owned() });
        }
        rule(UNFOLDABLE, &self.unfoldable_named)
    }
}
