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

use gatehouse_common::{id::Hash32, sync::LedgerEpoch, time::UtcMs};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Location, Reader, Store, StoreError, cursors,
    documents::heads_json,
    row,
    sql::{Connection, params},
    tables::{self, Table, TableDigest},
};
use crate::core::projections::project;

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
/// [`StoreError::Refused`] if the file is there already; [`StoreError::Damaged`] if the store is; nothing is left then.
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
            source.begin_reading()?;
            let copied = copy(&source, &target, &tables::tables(&target)?);
            source.end_reading()?;
            copied?;
            target
        }
    };
    let verified = verify_in(&target, &tables::tables(&target)?)?;
    coming.arrive(target)?;
    Ok(verified)
}

impl Store {
    /// As [`back_up`], of this store, which goes on meanwhile. Devices may then forget what the backup holds. It blocks.
    /// # Errors
    /// As [`back_up`]; devices keep everything then.
    pub fn back_up(&self, file: &Path, now: UtcMs) -> Result<Verified, StoreError> {
        // What is committed by now is in it.
        let began = self.write_now(move |tx| tx.backup_begins(now))?;
        let verified = back_up(self.location(), file)?;
        self.write_now(move |tx| tx.backup_holds(began))?;
        Ok(verified)
    }
}

/// Brings a backup back, to where no store is. A new life of the ledger begins with it: what devices have been told
/// since the backup they tell again.
/// # Errors
/// [`StoreError::Refused`] if a store is there; [`StoreError::Damaged`] if the backup is; nothing is left then.
pub fn restore(file: &Path, to: &Location) -> Result<Verified, StoreError> {
    bring(file, to, |target| cursors::mark_restored(target))
}

/// Moves a store of SQLite to PostgreSQL. It goes on where it was; the file stays and is not opened again.
/// # Errors
/// [`StoreError::Refused`] if a store is there, or the two differ after the copy; nothing is left then.
pub fn move_to(file: &Path, to: &Location) -> Result<Verified, StoreError> {
    let verified = bring(file, to, |_| Ok(()))?;
    let source = Connection::open_sqlite(file)?;
    cursors::mark_moved(&source, &to.to_string())?;
    Ok(verified)
}

fn bring(
    file: &Path,
    to: &Location,
    mark: impl Fn(&Connection) -> Result<(), StoreError>,
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
            mark(&source)?;
            coming.arrive(source)?;
        }
        Location::Postgresql(_) => {
            let target = to.open()?;
            for table in tables.iter().filter(|table| table.name != "turn") {
                if !table.is_empty(&target)? {
                    return Err(StoreError::Refused(format!("{to} holds a store; give an empty database")));
                }
            }
            copy(&source, &target, &tables)?;
            let after = verify_in(&target, &tables)?;
            if after != before {
                return Err(StoreError::Refused(format!("{to} differs from {} after the copy", file.display())));
            }
            mark(&target)?;
        }
    }
    Ok(before)
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

/// Copies every table in one transaction of the target.
fn copy(from: &Connection, to: &Connection, tables: &[Table]) -> Result<(), StoreError> {
    to.begin_writing()?;
    let copied = to.execute("DELETE FROM turn", params![]).map_err(StoreError::from);
    let copied = copied.and_then(|_| tables.iter().try_for_each(|table| table.copy(from, to)));
    match copied {
        Ok(()) => to.commit(|| Ok(false)).map_err(|e| StoreError::NotWritten(e.why)),
        Err(e) => {
            to.give_up();
            Err(e)
        }
    }
}

/// Reads the whole store at `location`, which may be in use, against its checksums.
/// # Errors
/// [`StoreError::Damaged`] names the first row that is.
pub fn verify(location: &Location) -> Result<Verified, StoreError> {
    let sql = location.open_reader()?;
    // Only SQLite says which tables there are; an empty store has the same.
    let folder = std::env::temp_dir().join(format!("gatehouse-form-{:016x}", rand::random::<u64>()));
    let form = Coming::at(&folder)?;
    let tables = tables::tables(&Connection::open_sqlite(&form.part)?)?;
    sql.begin_reading()?;
    let verified = verify_in(&sql, &tables);
    sql.end_reading()?;
    verified
}

fn verify_in(sql: &Connection, tables: &[Table]) -> Result<Verified, StoreError> {
    sql.check_file()?;
    let reader = Reader { sql };
    reader.verify_ledger()?;
    reader.verify_decisions()?;
    reader.verify_audit()?;
    reader.verify_turn()?;
    Ok(Verified {
        tables: tables::digests(sql, tables)?,
        state: reader.state_hash()?,
        ledger_epoch: reader.ledger_epoch()?,
        snapshots_damaged: reader.snapshots_damaged()?,
    })
}

/// What is hashed of a store's state: what was said, to whom it goes, how far each device was taken.
const STATE: [&str; 7] = [
    "SELECT document, hash, actor || '/' || seq AS text FROM ledger WHERE kind = 'chunk' ORDER BY document, hash",
    // Whose documents they are. Rows of the feed go once they are read; a recall's stay.
    "SELECT scope, document, '' AS none FROM document_scopes ORDER BY scope, document",
    "SELECT scope, document, hash FROM feed WHERE document <> '' AND lane = 0 ORDER BY scope, document, hash",
    "SELECT id, hash, device FROM decisions ORDER BY id",
    "SELECT device, outbox_epoch, '' || taken_through AS taken FROM outboxes ORDER BY device, outbox_epoch",
    "SELECT device, outbox_epoch || '/' || number AS number, reason FROM rejections ORDER BY device, outbox_epoch, number",
    "SELECT order_id, '' || version AS version, status FROM orders ORDER BY order_id",
];

impl Reader<'_> {
    /// One hash over what devices and the ERP have said and over the documents as they stand. It is the same for the
    /// same history on any engine, in whatever order it was taken and by however many replicas.
    /// # Errors
    /// [`StoreError::Damaged`] if a document is.
    pub fn state_hash(&self) -> Result<Hash32, StoreError> {
        let mut hasher = Sha256::new();
        let mut add = |parts: &[String]| {
            for part in parts {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        };
        for sql in STATE {
            self.sql.query(sql, params![], |r| {
                add(&[r.get(0)?, r.get(1)?, r.get(2)?]);
                Ok::<_, StoreError>(())
            })?;
        }
        let documents: Vec<String> =
            self.sql.query("SELECT document FROM documents ORDER BY document", params![], |r| r.get(0))?;
        for id in documents {
            if let Some((kind, document)) = self.document(&row::parse("documents", &id)?)? {
                add(&[id, heads_json(&document)?, project(kind, &document).json()?]);
            }
        }
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
