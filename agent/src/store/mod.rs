//! Everything one agent holds, in one SQLite file.
//!
//! In: [`Record`]s, a batch per transaction. Out: a [`Snapshot`] to start the core from, and what
//! a [`Reader`] looks up. A commit that returned is on disk (`synchronous=FULL`, read back at
//! start). Never decides anything.

mod alone;
mod chain;
mod checkpoints;
mod checksum;
mod cursors;
mod damage;
mod documents;
mod drills;
mod error;
mod facts;
mod forgotten;
mod inputs;
mod journal;
mod ledger;
mod migrations;
mod outbox;
mod pages;
mod quarantine;
mod reader;
mod readings;
mod room;
mod rules;
mod scrub;
mod start;
mod totals;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use gatehouse_common::{
    id::{DeviceId, DocumentId, Hash32, ReadingId, SiteId},
    reading::Reading,
    seal::PublicKey,
    time::{Moment, UtcMs},
};
use rusqlite::Connection;

use crate::core::{decision::Record, start::Snapshot};

pub use chain::{AnchorRow, DecisionRow};
pub use checkpoints::Beginning;
pub use drills::DrillRow;
pub use error::StoreError;
pub use inputs::KeptInput;
pub use ledger::kind_of;
pub use outbox::{Outbox, Waiting};
pub use quarantine::QuarantineRow;
pub use reader::{BoardRow, CaseRow, DispatchRow, DrillOn, LeaseRow, Reader, SourceAge, Status, Stored, WaitingRow};
pub use readings::{Before, KeptReading};
pub use room::{Limits, Room};
pub use rules::BundleRow;
pub use scrub::{Damaged, ScrubPlace, Scrubbed};
pub use totals::{Releases, Totals};

/// Whose store it is. Written at the first start, compared at every later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// Its depot.
    pub site: SiteId,
    /// Its public key.
    pub public_key: PublicKey,
}

/// The store of one agent. One writer; readers open the file themselves.
#[derive(Debug)]
pub struct Store {
    // Before the claim: the connection must be closed when the claim ends.
    reader: Reader,
    readings: readings::Readings,
    journal: journal::Journal,
    path: PathBuf,
    limits: Option<Limits>,
    _claim: Option<alone::Claim>,
}

impl Store {
    /// What a reader may look up, on the writer's own connection.
    #[must_use]
    pub fn look(&self) -> &Reader {
        &self.reader
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a reading of this source and id came before, and if so, whether it said the same.
    /// # Errors
    /// [`StoreError`].
    pub fn before(&self, source: &str, id: &ReadingId, payload_hash: &Hash32) -> Result<Option<Before>, StoreError> {
        self.readings.before(self.conn(), source, id, payload_hash).map_err(|e| self.explain(&e))
    }

    /// Writes all of `records` or none; when it returns they are on disk.
    /// # Errors
    /// [`StoreError`]; nothing was written.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let path = &self.path;
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        let readings: Vec<(&Reading, &Moment)> = records
            .iter()
            .filter_map(|record| match record {
                Record::Reading { reading, received } => Some((reading, received)),
                _ => None,
            })
            .collect();
        let tx = self.reader.conn_mut().transaction().map_err(fail)?;
        let written = (!readings.is_empty()).then(|| self.readings.write(&tx, &readings)).transpose().map_err(fail)?;
        let last = last_words(records);
        let mut before = self.readings.newest();
        let mut changes = Vec::new();
        for (record, _) in records.iter().zip(last).filter(|(_, last)| *last) {
            match record {
                Record::Reading { .. } => before += 1,
                Record::Input { at, input } => inputs::write(&tx, before, at, input).map_err(fail)?,
                _ => match journal::change(record).map_err(fail)? {
                    Some(change) => changes.push(change),
                    None => ledger::write(&tx, record).map_err(fail)?,
                },
            }
        }
        let journaled = self.journal.write(&tx, &changes).map_err(fail)?;
        tx.commit().map_err(fail)?;
        self.journal.grew(journaled);
        if let Some(written) = written {
            self.readings.taken(written);
        }
        Ok(())
    }

    /// Keeps the store within `limits` from now on. A budget that is used up already lets nothing grow.
    /// # Errors
    /// [`StoreError`].
    pub fn keep_within(&mut self, limits: Limits) -> Result<(), StoreError> {
        room::limit(self.conn(), &limits).map_err(|e| self.explain(&e))?;
        self.limits = Some(limits);
        Ok(())
    }

    /// Whether [`Store::fold`] is due: what a start has to read has grown long.
    #[must_use]
    pub fn is_to_be_folded(&self) -> bool {
        self.journal.is_long()
    }

    /// Writes what commits changed of facts and rules into their tables, where it takes one row each.
    /// # Errors
    /// [`StoreError`]; everything is as it was.
    pub fn fold(&mut self) -> Result<(), StoreError> {
        let path = &self.path;
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        let tx = self.reader.conn_mut().transaction().map_err(fail)?;
        journal::fold(&tx).map_err(fail)?;
        tx.commit().map_err(fail)?;
        self.journal.shrank_to(0);
        Ok(())
    }

    /// Lets a little go of what is beyond its limits, with a record of what it was; says whether there may be more.
    /// Does nothing before [`Store::keep_within`].
    /// # Errors
    /// [`StoreError`]; nothing was let go.
    pub fn tidy(&mut self, now: UtcMs) -> Result<bool, StoreError> {
        let Some(limits) = self.limits else { return Ok(false) };
        let path = &self.path;
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        let tx = self.reader.conn_mut().transaction().map_err(fail)?;
        let more = room::tidy(&tx, &limits, now).map_err(fail)?;
        let journaled = journal::bytes(&tx).map_err(fail)?;
        tx.commit().map_err(fail)?;
        self.journal.shrank_to(journaled);
        let more_free = room::give_back(self.conn()).map_err(|e| self.explain(&e))?;
        Ok(more || more_free)
    }

    /// Whether the hub has everything that this device said of these documents: nothing of them waits to be told, and
    /// nothing was rejected. While much waits, nobody looks, and it does not.
    /// # Errors
    /// [`StoreError`].
    pub fn is_told(&self, documents: &[DocumentId]) -> Result<bool, StoreError> {
        outbox::is_told(self.conn(), documents).map_err(|e| self.explain(&e))
    }

    /// Before when something must have been over to be forgotten; never before [`Store::keep_within`].
    #[must_use]
    pub fn forgets_before(&self, now: UtcMs) -> Option<UtcMs> {
        self.limits.map(|limits| now.plus(-limits.forget_after_ms))
    }

    /// Writes a row that says nothing but when: a store that takes it takes a commit.
    /// # Errors
    /// [`StoreError`]; the store takes nothing now.
    pub fn prove(&self, at: UtcMs) -> Result<(), StoreError> {
        cursors::set(self.conn(), "proved_at_ms", &at.0.to_string()).map_err(|e| self.explain(&e))
    }

    /// Everything the core starts from; every ground row read is checked.
    /// # Errors
    /// [`StoreError::Damaged`] names the row.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let identity = self.reader.identity()?;
        let actor_epoch = identity.get("actor_epoch").and_then(|e| e.parse().ok()).unwrap_or(1);
        let device = identity.get("device").and_then(|d| DeviceId::new(d.as_str()).ok());
        let device = device.ok_or_else(|| self.damaged("identity has no device"))?;
        let (facts, rules) = facts::facts_and_rules(self)?;
        Ok(Snapshot {
            actor_epoch,
            chain: chain::tail(self, device)?,
            rules,
            facts,
            orders: facts::orders(self)?,
            documents: documents::all(self)?,
            leases: ledger::open_leases(self)?,
            gates: self.reader.all_gates()?,
            texts: rules::texts(self)?,
            cursor: self.reader.cursor()?,
        })
    }

    #[cfg(test)]
    pub(crate) fn raw(&self) -> &Connection {
        self.conn()
    }

    /// From now on every commit fails.
    #[cfg(test)]
    pub fn refuse_writes(&self) {
        self.conn().pragma_update(None, "query_only", true).unwrap();
    }

    fn conn(&self) -> &Connection {
        self.reader.conn()
    }

    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        ledger::explain(&self.path, error)
    }

    fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into() }
    }
}

/// Which records still count at the end of their transaction: of states under one key only the last does.
fn last_words(records: &[Record]) -> Vec<bool> {
    let (mut rules, mut facts, mut gates) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut last: Vec<bool> = records
        .iter()
        .rev()
        .map(|record| match record {
            Record::Rule { key, .. } | Record::RuleGone { key } => rules.insert(key),
            Record::Fact(fact) => facts.insert(&fact.report.key),
            Record::FactGone(key) => facts.insert(key),
            Record::Gates { dispatch, .. } => gates.insert(dispatch),
            _ => true,
        })
        .collect();
    last.reverse();
    last
}
