//! A store as a whole: backed up, brought back, moved to another engine, checked.
//!
//! A backup is a file of SQLite in the form of a store, whatever engine it was taken from, and is itself a store
//! that can be looked into. It is taken while the hub runs, of one state. What is written anew is written beside and
//! put in its place at the end.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use gatehouse_common::{
    document::Document,
    id::{DocumentId, DocumentKind, Hash32},
    sync::LedgerEpoch,
    time::UtcMs,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Location, Reader, Store, StoreError, cursors,
    documents::{folded_as_stored, heads_json},
    row,
    sql::{self, Connection, Value, params},
    tables::{self, Table, TableDigest},
};
use crate::core::projections::project;

/// Rows of what is hashed that are read at a time. They are short; and a table without an index in their order is gone
/// through once for each page, so pages are large.
const PAGE: usize = 20_000;

/// What a store holds, and that it holds it soundly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Every table, by name.
    pub tables: BTreeMap<String, TableDigest>,
    /// What devices said and what became of it; see [`Reader::state_hash`].
    pub state: Hash32,
    /// Which life of the ledger it is.
    pub ledger_epoch: LedgerEpoch,
    /// Documents whose stored state is damaged; it is folded anew from the ledger.
    pub snapshots_damaged: u64,
    /// Rows of the ledger, decisions and forks that are damaged, put aside, and not whole again. They stand as they were
    /// found, and are given to nobody; everything else is sound.
    pub rows_put_aside: u64,
}

impl Verified {
    /// Rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::NotWritten(format!("{what} {}: {error}", path.display()))
}

/// A file that takes its name only once it is whole.
struct Coming {
    path: PathBuf,
    part: PathBuf,
}

impl Coming {
    fn at(path: &Path) -> Result<Self, StoreError> {
        // The log of a store that was here before would be taken for this one's.
        for ending in ["", "-wal", "-journal"] {
            let mut file = path.as_os_str().to_owned();
            file.push(ending);
            let file = PathBuf::from(file);
            if file.exists() {
                return Err(StoreError::Refused(format!("{} is there already; name another", file.display())));
            }
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let coming = Self { path: path.to_owned(), part: PathBuf::from(part) };
        coming.remove();
        Ok(coming)
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm"] {
            let mut file = self.part.as_os_str().to_owned();
            file.push(ending);
            // Most often there is none.
            let _ = fs::remove_file(PathBuf::from(file));
        }
    }

    /// Everything is on the disk before it has its name.
    fn arrive(self, sqlite: Connection) -> Result<(), StoreError> {
        sqlite.end_file()?;
        drop(sqlite);
        let told = |error: std::io::Error| failed("writing", &self.path, &error);
        File::open(&self.part).and_then(|file| file.sync_all()).map_err(told)?;
        fs::rename(&self.part, &self.path).map_err(told)?;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(told)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Writes one state of the store at `from`, which may be in use, into a new file, and reads it over.
/// # Errors
/// [`StoreError::Refused`] if the file is there already; [`StoreError::Damaged`] if a row of the store is that is not put
/// aside; nothing is left then.
pub fn back_up(from: &Location, file: &Path) -> Result<Verified, StoreError> {
    let coming = Coming::at(file)?;
    let source = from.open_reader()?;
    let target = match from {
        Location::Sqlite(_) => {
            source.back_up_to(&coming.part)?;
            Connection::open_sqlite(&coming.part)?
        }
        Location::Postgresql(_) => {
            let target = Connection::open_sqlite(&coming.part)?;
            let tables = tables::tables(&target)?;
            reading(&source, || at_once(&target, || Ok(false), || copy(&source, &target, &tables)))?;
            target
        }
    };
    let verified = verify_in(&target, &tables::tables(&target)?)?;
    coming.arrive(target)?;
    Ok(verified)
}

impl Store {
    /// As [`back_up`], of this store, which goes on meanwhile. Devices may then forget what the backup holds, unless a row
    /// that it holds damaged may still come whole from one of them. It blocks.
    /// # Errors
    /// As [`back_up`]; devices keep everything then.
    pub fn back_up(&self, file: &Path, now: UtcMs) -> Result<Verified, StoreError> {
        // What is committed by now is in it.
        let began = self.write_now(move |tx| tx.backup_begins(now))?;
        let verified = match back_up(self.location(), file) {
            Ok(verified) => verified,
            Err(e) => {
                // A mark that stays holds nothing, and goes in time: why there is no backup is what is to be told.
                let _ = self.write_now(move |tx| tx.backup_failed(began));
                return Err(e);
            }
        };
        self.write_now(move |tx| {
            // What it holds damaged a device may hold whole, and must not forget.
            if tx.awaits_rows(began)? {
                return tx.backup_failed(began);
            }
            tx.backup_holds(began)
        })?;
        Ok(verified)
    }
}

/// Brings a backup back, to where no store is. A new life of the ledger begins with it: what devices have been told
/// since the backup they tell again.
/// # Errors
/// [`StoreError::Refused`] if a store is there, or what came there differs; [`StoreError::Damaged`] if the backup is;
/// nothing is left then.
pub fn restore(file: &Path, to: &Location) -> Result<Verified, StoreError> {
    bring(file, to, cursors::put_restored)
}

/// Moves a store of SQLite to PostgreSQL. It goes on where it was; the file stays and is not opened again.
/// # Errors
/// [`StoreError::Refused`] if a store is there, or the two differ after the copy; nothing is left then.
pub fn move_to(file: &Path, to: &Location) -> Result<Verified, StoreError> {
    let verified = bring(file, to, |_| Ok(()))?;
    let source = Connection::open_sqlite(file)?;
    at_once(&source, || Ok(false), || cursors::put_moved(&source, &to.to_string()))?;
    Ok(verified)
}

fn bring(
    file: &Path,
    to: &Location,
    mark: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<Verified, StoreError> {
    if !file.exists() {
        return Err(StoreError::Refused(format!("there is no file {}", file.display())));
    }
    // It is brought to this version's form in a copy: the backup itself stays as it is.
    let copy_of = tempfile_beside(to, file);
    let coming = Coming::at(&copy_of)?;
    Connection::open_sqlite_reader(file)?.back_up_to(&coming.part)?;
    let source = Connection::open_sqlite(&coming.part)?;
    let tables = tables::tables(&source)?;
    let before = verify_in(&source, &tables)?;
    match to {
        Location::Sqlite(_) => {
            at_once(&source, || Ok(false), || mark(&source))?;
            coming.arrive(source)?;
        }
        Location::Postgresql(_) => {
            let target = to.open()?;
            // It was empty: what stands there after an answer that was lost is this copy.
            let is_there = || target.one("SELECT EXISTS (SELECT 1 FROM cursors)", params![], |r| r.get::<bool>(0));
            // One that was not read over, or not marked, would be served as if nothing had happened.
            at_once(&target, is_there, || {
                target.takes_any_time()?;
                is_empty(&target, &tables, to)?;
                copy(&source, &target, &tables)?;
                if verify_in(&target, &tables)? != before {
                    return Err(StoreError::Refused(format!("{to} differs from {} after the copy", file.display())));
                }
                mark(&target)
            })?;
        }
    }
    Ok(before)
}

fn is_empty(target: &Connection, tables: &[Table], place: &Location) -> Result<(), StoreError> {
    // The turn is there from the beginning.
    for table in tables.iter().filter(|table| table.name != "turn") {
        if !table.is_empty(target)? {
            return Err(StoreError::Refused(format!("{place} holds a store; give an empty database")));
        }
    }
    Ok(())
}

/// Where the copy that is worked on lies: in the end it is the store itself, or it is removed.
fn tempfile_beside(to: &Location, file: &Path) -> PathBuf {
    match to {
        Location::Sqlite(path) => path.clone(),
        Location::Postgresql(_) => {
            let mut name = file.as_os_str().to_owned();
            name.push(format!(".{:08x}", rand::random::<u32>()));
            PathBuf::from(name)
        }
    }
}

/// Copies every table.
fn copy(from: &Connection, to: &Connection, tables: &[Table]) -> Result<(), StoreError> {
    to.execute("DELETE FROM turn", params![])?;
    tables.iter().try_for_each(|table| table.copy(from, to))
}

/// Does `work` in one transaction of `target`: all of it stays, or nothing. Where only the answer to the commit was lost,
/// `is_there` says which.
pub(super) fn at_once<T>(
    target: &Connection,
    is_there: impl Fn() -> Result<bool, sql::Error>,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    target.begin_writing()?;
    let done = work();
    match &done {
        Ok(_) => target.commit(is_there).map_err(|e| StoreError::NotWritten(e.why))?,
        Err(_) => target.give_up(),
    }
    done
}

/// Does `work` over one state of `source`, however long it takes.
fn reading<T>(source: &Connection, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    source.begin_reading()?;
    let done = source.takes_any_time().map_err(StoreError::from).and_then(|()| work());
    let ended = source.end_reading();
    let done = done?;
    // Over a line that was lost in between, what was read may be of two states.
    ended?;
    Ok(done)
}

/// Reads the whole store at `location`, which may be in use, against its checksums.
/// # Errors
/// [`StoreError::Damaged`] names the first row that is, and is not put aside.
pub fn verify(location: &Location) -> Result<Verified, StoreError> {
    let sql = location.open_reader()?;
    // Only SQLite says which tables there are; an empty store has the same.
    let folder = std::env::temp_dir().join(format!("gatehouse-form-{:016x}", rand::random::<u64>()));
    let form = Coming::at(&folder)?;
    let tables = tables::tables(&Connection::open_sqlite(&form.part)?)?;
    reading(&sql, || verify_in(&sql, &tables))
}

fn verify_in(sql: &Connection, tables: &[Table]) -> Result<Verified, StoreError> {
    sql.check_file()?;
    let reader = Reader { sql };
    let rows_put_aside = reader.verify_ledger()? + reader.verify_decisions()?;
    reader.verify_audit()?;
    reader.verify_turn()?;
    Ok(Verified {
        tables: tables::digests(sql, tables)?,
        state: reader.state_hash()?,
        ledger_epoch: reader.ledger_epoch()?,
        snapshots_damaged: reader.snapshots_damaged()?,
        rows_put_aside,
    })
}

/// Rows of a table of which something is hashed.
struct Said {
    /// What of each row.
    texts: [&'static str; 3],
    table: &'static str,
    /// Which of its rows.
    which: &'static str,
    /// How many of the texts, from the first, say in which order; no two rows have the same.
    key: usize,
}

/// What is hashed of a store's state: what was said, to whom it goes, how far each device was taken.
const STATE: [Said; 7] = [
    Said { texts: ["document", "hash", "actor || '/' || seq"], table: "ledger", which: "kind = 'chunk'", key: 2 },
    // Whose documents they are. Rows of the feed go once they are read; a recall's stay.
    Said { texts: ["scope", "document", "''"], table: "document_scopes", which: "1 = 1", key: 2 },
    Said { texts: ["scope", "document", "hash"], table: "feed", which: "document <> '' AND lane = 0", key: 3 },
    Said { texts: ["id", "hash", "device"], table: "decisions", which: "1 = 1", key: 1 },
    Said { texts: ["device", "outbox_epoch", "'' || taken_through"], table: "outboxes", which: "1 = 1", key: 2 },
    Said { texts: ["device", "outbox_epoch || '/' || number", "reason"], table: "rejections", which: "1 = 1", key: 2 },
    Said { texts: ["order_id", "'' || version", "status"], table: "orders", which: "1 = 1", key: 1 },
];

/// Which documents there are.
const DOCUMENTS: Said = Said { texts: ["document", "''", "''"], table: "documents", which: "1 = 1", key: 1 };

impl Said {
    /// Reads all of it, `page` rows at a time, since what a statement returns may stand in memory as a whole. The order is
    /// that of bytes on either engine.
    fn each(
        &self,
        sql: &Connection,
        page: usize,
        mut read: impl FnMut(&[String; 3]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Self { texts, table, which, key } = self;
        let (all, order) = (texts.join(", "), texts[..*key].join(", "));
        let marks: Vec<String> = (1..=*key).map(|n| format!("?{n}")).collect();
        let first = format!("SELECT {all} FROM {table} WHERE {which} ORDER BY {order} LIMIT {page}");
        let behind = format!("({order}) > ({})", marks.join(", "));
        let next = format!("SELECT {all} FROM {table} WHERE {which} AND {behind} ORDER BY {order} LIMIT {page}");
        let mut last: Vec<Value> = Vec::new();
        loop {
            let rows = sql.query(if last.is_empty() { &first } else { &next }, &last, |r| {
                Ok::<[String; 3], StoreError>([r.get(0)?, r.get(1)?, r.get(2)?])
            })?;
            let Some(end) = rows.last() else { return Ok(()) };
            last = end[..*key].iter().map(|text| Value::Text(text.clone())).collect();
            rows.iter().try_for_each(&mut read)?;
        }
    }
}

impl Reader<'_> {
    /// One hash over what devices and the ERP have said and over the documents as they stand. It is the same for the
    /// same history on any engine, in whatever order it was taken and by however many replicas. Of a document that cannot
    /// be read since a change of it is damaged and put aside, or that breaks off its fold, only its name is in it.
    /// # Errors
    /// [`StoreError::Damaged`] if a document is, and nothing is put aside.
    pub fn state_hash(&self) -> Result<Hash32, StoreError> {
        self.state_hash_by(PAGE)
    }

    /// The same, `page` rows at a time.
    pub(super) fn state_hash_by(&self, page: usize) -> Result<Hash32, StoreError> {
        let mut hasher = Sha256::new();
        let mut add = |parts: &[String]| {
            for part in parts {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        };
        for said in &STATE {
            said.each(self.sql, page, |texts| {
                add(texts);
                Ok(())
            })?;
        }
        DOCUMENTS.each(self.sql, page, |[id, ..]| {
            let document: DocumentId = row::parse("documents", id)?;
            let as_it_stands = |(kind, held): (DocumentKind, Document)| {
                let heads = heads_json(&held)?;
                let (_, view) = folded_as_stored(&document, held, |held| project(kind, held).json())?;
                Ok::<_, StoreError>([id.clone(), heads, view?])
            };
            match self.document(&document).and_then(|held| held.map(as_it_stands).transpose()) {
                Ok(Some(parts)) => add(&parts),
                Ok(None) => {}
                // What is put aside is missing to it, or it breaks off its fold.
                Err(StoreError::Damaged { table: "ledger" | "documents", .. } | StoreError::Document(_))
                    if self.has_damage()? =>
                {
                    add(std::slice::from_ref(id));
                }
                Err(e) => return Err(e),
            }
            Ok(())
        })?;
        Ok(Hash32(hasher.finalize().into()))
    }

    /// That no number was given out beyond what the turn knows.
    fn verify_turn(&self) -> Result<(), StoreError> {
        for (table, key) in super::turn::NUMBERED {
            let sql = format!("SELECT (SELECT coalesce(max({key}), 0) FROM {table}) > {table} AS ahead FROM turn");
            if self.sql.one(&sql, params![], |r| r.get::<bool>("ahead"))? {
                return Err(row::damaged("turn", table, "rows have numbers that were never given out"));
            }
        }
        Ok(())
    }
}
