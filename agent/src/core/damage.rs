//! Rows of the store that are not what was written: put aside, and written anew where the core holds what they said.
//!
//! In: rows that were found, and what a start could not read. Out: records. What is in memory was checked when it was
//! read; nothing is ever made again of bytes that do not match. What nobody here holds the hub is asked for, see
//! `sync/mender`.

use gatehouse_common::{
    document::Chunk,
    id::{DocumentId, DocumentKind, Hash32},
    time::Moment,
};

use super::{
    Core,
    decision::{Change, Record},
    dispatches::folded,
    refused::next_actor,
};

/// A row of the store that is not what was written, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Where it lies in its table.
    pub place: i64,
    /// What it is.
    pub of: Of,
}

/// What a row is. A name of a change that cannot be read is none; one that can be read may be damaged all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A change of a document.
    Change {
        /// Of which.
        document: Option<DocumentId>,
        /// Its hash.
        hash: Option<Hash32>,
    },
    /// An order.
    Order,
    /// The newest fact under its key.
    Fact,
}

impl Core {
    /// Rows of the store are not what was written.
    pub(super) fn take_damaged(&mut self, now: &Moment, rows: Vec<DamagedRow>) {
        // By its damaged name an order or a fact may be another that is held as well: all that are held were in the store.
        let (orders, facts) = (rows.iter().any(|row| row.of == Of::Order), rows.iter().any(|row| row.of == Of::Fact));
        for row in rows {
            let again = self.change_again(&row);
            let is_held = again.is_some() || !matches!(row.of, Of::Change { .. });
            self.out.records.push(Record::PutAside { row, is_held, at: now.wall });
            self.out.records.extend(again);
        }
        if orders {
            self.out.records.extend(self.orders.values().cloned().map(Record::Order));
        }
        if facts {
            self.out.records.extend(self.facts.iter().cloned().map(Record::Fact));
        }
        self.changed(Change::Status);
    }

    /// Documents that cannot be read as they were last written whole, each with its kind. They are left out; their
    /// changes may still make them. None that can be read is among them, see [`Core::unfoldable`].
    #[must_use]
    pub fn unread(&self) -> &[(DocumentId, DocumentKind)] {
        &self.unread
    }

    /// A dispatch that is made of its changes alone and lacks some. By what is left of it goods could leave a second
    /// time.
    #[must_use]
    pub fn lacking(&self) -> Option<DocumentId> {
        self.lacking
    }

    /// What is to be written after a start over damage, before anything else. `put_aside` are rows that are not whole
    /// again.
    ///
    /// Of a document that lacks a part the heads of what is left are written: by them the hub sees what to send.
    pub fn mend(&mut self, put_aside: &[DamagedRow]) -> Vec<Record> {
        let incomplete = std::mem::take(&mut self.incomplete);
        let lacks_a_part = !incomplete.is_empty() || !self.unread.is_empty();
        let mut records: Vec<Record> = incomplete.into_iter().filter_map(|id| self.refolded(id)).collect();
        if lacks_a_part {
            // What is lacking, or left out, may be this device's own word: none of its numbers is given out a second time.
            self.actor = next_actor(&self.actor);
            records.push(Record::Actor { epoch: self.actor.epoch });
        }
        records.extend(put_aside.iter().filter_map(|row| self.change_again(row)));
        records.extend(self.name_unfoldable());
        records
    }

    fn refolded(&self, document: DocumentId) -> Option<Record> {
        tracing::error!(
            document.id = %document,
            "document {document} lacks a part of what was said in it; the hub is asked for it"
        );
        if let Some(held) = self.dispatches.get(&document) {
            let after = folded(&held.document, held.view.as_ref());
            return Some(Record::Refolded { document, kind: DocumentKind::Dispatch, after });
        }
        if let Some((kind, left)) = self.unfolded(document) {
            return Some(Record::Unfolded { document, kind, chunk: None, heads: left.heads() });
        }
        let held = self.cases.get(&document)?;
        let after = folded(&held.document.open().ok()?, held.view.as_ref());
        Some(Record::Refolded { document, kind: DocumentKind::Case, after })
    }

    /// A change that was put aside, as the document in memory has it.
    fn change_again(&self, row: &DamagedRow) -> Option<Record> {
        let Of::Change { document: Some(document), hash: Some(hash) } = row.of else { return None };
        let (kind, chunk) = self.held_change(document, hash)?;
        Some(Record::ChangeAgain { place: row.place, document, kind, chunk })
    }

    fn held_change(&self, document: DocumentId, hash: Hash32) -> Option<(DocumentKind, Chunk)> {
        let mut kinds = [DocumentKind::Dispatch, DocumentKind::Case].into_iter();
        let held = kinds.find_map(|kind| Some((kind, self.document(kind, document)?)));
        let (kind, held) = held.or_else(|| self.unfolded(document))?;
        Some((kind, held.chunks().into_iter().find(|chunk| chunk.hash == hash)?))
    }
}
