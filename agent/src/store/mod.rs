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
mod documents;
mod drills;
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
mod totals;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use gatehouse_common::{
    bundle::Bundle,
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
pub use inputs::KeptInput;
pub use ledger::kind_of;
pub use outbox::Waiting;
pub use quarantine::QuarantineRow;
pub use reader::{BoardRow, CaseRow, DispatchRow, DrillOn, LeaseRow, Reader, SourceAge, Status, Stored};
pub use readings::{Before, KeptReading};
pub use room::{Limits, Room};
pub use rules::BundleRow;
pub use scrub::{ScrubPlace, Scrubbed};
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
    /// Opens or makes the store at `path` and brings it to the newest form.
    /// # Errors
    /// [`StoreError::Unusable`], [`StoreError::Foreign`] or [`StoreError::Damaged`].
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let claim = alone::claim(path)?;
        let conn =
            Connection::open(path).map_err(|e| StoreError::Unusable { path: path.to_owned(), what: e.to_string() })?;
        Ok(Self { _claim: Some(claim), ..Self::over(conn, path, identity)? })
    }

    /// The store that `conn` leads to, for callers with a file system of their own, who see to it that nobody else
    /// writes it. Everything that [`Store::open`] asks of a connection is asked of this one.
    /// # Errors
    /// As [`Store::open`].
    pub fn over(conn: Connection, path: &Path, identity: &Identity) -> Result<Self, StoreError> {
        Self::set_up(conn, path, identity, "wal")
    }

    /// A store that lives in memory: for tests.
    /// # Errors
    /// As [`Store::open`].
    pub fn in_memory(identity: &Identity) -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let conn = Connection::open_in_memory()
            .map_err(|e| StoreError::Unusable { path: path.to_owned(), what: e.to_string() })?;
        Self::set_up(conn, path, identity, "memory")
    }

    fn set_up(mut conn: Connection, path: &Path, identity: &Identity, journal: &str) -> Result<Self, StoreError> {
        let fail = |e: rusqlite::Error| ledger::explain(path, &e);
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(fail)?;
        conn.set_prepared_statement_cache_capacity(64);
        // Only a file that has nothing in it yet takes this; an older one keeps its free pages, see `room::give_back`.
        conn.pragma_update(None, "auto_vacuum", room::INCREMENTAL.cast_signed()).map_err(fail)?;
        require(&conn, path, "journal_mode", "wal", journal)?;
        // FULL is 2: a commit that returned survives a power cut. Anything less loses acknowledged readings.
        require(&conn, path, "synchronous", "full", "2")?;
        conn.pragma_update(None, "wal_autocheckpoint", 4000).map_err(fail)?;
        migrations::run(&mut conn, path)?;
        let readings = readings::Readings::open(&conn).map_err(fail)?;
        let journal = journal::Journal::open(&conn).map_err(fail)?;
        let reader = Reader::over(conn, path);
        let store = Self { reader, readings, journal, path: path.to_owned(), limits: None, _claim: None };
        store.claim(identity)?;
        Ok(store)
    }

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
            chain: chain::tail(self, device, actor_epoch)?,
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

    /// The rules to start with: the bundle file where it is new or was changed since the last start, else those that
    /// were in force. A file of a lower version than those is not taken, and that is told.
    /// # Errors
    /// [`StoreError`].
    pub fn rules_at_start(&mut self, file: Bundle, text: &str, at: UtcMs) -> Result<Bundle, StoreError> {
        let fail = |e: rusqlite::Error| self.explain(&e);
        let seen = rules::file_seen(self.conn()).map_err(fail)?;
        let any = rules::any(self.conn()).map_err(fail)?;
        let active = Bundle::parse(&rules::texts(self)?.active);
        let changed = seen.is_none_or(|seen| seen != file.hash.to_string());
        rules::see_file(self.conn(), &file.hash).map_err(fail)?;
        let (put, bundle) = match active {
            Ok(active) if any && !changed => (false, active),
            Ok(active) if any && active.hash == file.hash => (false, active),
            Ok(active) if any && file.rules.version < active.rules.version => {
                let (held, given) = (active.rules.version, file.rules.version);
                tracing::error!("rules of version {held} stay in force: the bundle file has {given}; raise it");
                (false, active)
            }
            Err(error) if any && !changed => {
                tracing::error!("the rules in force are not read by this program, the bundle file is taken: {error}");
                (true, file)
            }
            _ => (true, file),
        };
        if put {
            let (text, by) = (text.to_owned(), "bundle file".to_owned());
            self.commit(&[Record::Bundle { text, version: bundle.rules.version, at, by, how: "start" }])?;
        }
        Ok(bundle)
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

    /// Writes whose store this is, or checks it.
    fn claim(&self, identity: &Identity) -> Result<(), StoreError> {
        let wanted = [
            ("device", identity.device.to_string()),
            ("site", identity.site.to_string()),
            ("public_key", identity.public_key.to_string()),
        ];
        let held = self.reader.identity()?;
        for (name, value) in &wanted {
            match held.get(*name) {
                Some(found) if found != value => {
                    return Err(StoreError::Foreign {
                        path: self.path.clone(),
                        found: format!("{name} {found}"),
                        expected: format!("{name} {value}"),
                    });
                }
                Some(_) => {}
                None => cursors::set(self.conn(), name, value).map_err(|e| self.explain(&e))?,
            }
        }
        for name in ["actor_epoch", "outbox_epoch"] {
            if !held.contains_key(name) {
                cursors::set(self.conn(), name, "1").map_err(|e| self.explain(&e))?;
            }
        }
        Ok(())
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

/// Runs a pragma until it has no more to say. SQLite answers before it commits: a caller that reads only the answer
/// misses that the disk then failed, and the answer stands when it is asked for again.
fn run_to_its_end(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut pragma = conn.prepare(sql)?;
    let mut rows = pragma.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Sets a pragma and reads it back: SQLite says nothing when it does not take one.
fn require(conn: &Connection, path: &Path, name: &str, value: &str, expected: &str) -> Result<(), StoreError> {
    let unusable = |what: String| StoreError::Unusable { path: path.to_owned(), what };
    run_to_its_end(conn, &format!("PRAGMA {name} = {value}")).map_err(|e| unusable(e.to_string()))?;
    let found: String = conn
        .pragma_query_value(None, name, |row| {
            row.get_ref(0).map(|v| match v {
                rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        })
        .map_err(|e| unusable(e.to_string()))?;
    if found == expected {
        Ok(())
    } else {
        Err(unusable(format!(
            "{name} is {found} after it was set to {value}; use a local file system that supports it"
        )))
    }
}
