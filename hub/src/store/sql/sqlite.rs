//! SQLite: one file, write-ahead log, each commit on the disk before it is answered.

use std::{path::Path, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, ToSql, backup,
    config::DbConfig,
    params_from_iter,
    types::{self, ToSqlOutput},
};
use tracing::error;

use super::{Error, NotCommitted, Place, Row, Value, ValueRef, log};
use crate::store::{StoreError, migrations};

/// How long a connection waits for another program's lock, in real time.
const BUSY: Duration = Duration::from_secs(5);
/// How often a transaction is begun before its work is given up; each try waits as long as the connection may.
const BEGIN_TRIES: u32 = 12;
/// Pages that the writer keeps in memory, in KiB: the ends of the ledger and the feeds, and what is above them in the
/// indexes.
const KEPT_KIB: i64 = 16 * 1024;

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path).map_err(Error::from)?;
    let prepared = connection.busy_timeout(BUSY).map_err(StoreError::from);
    prepared.and_then(|()| migrations::prepare(&mut connection, path))?;
    plan_once(&connection)?;
    writes_in_turn(&connection)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

/// Suits who writes much in small transactions, each in parts that can be undone by themselves: what a page was before
/// such a part is kept in memory. In a file, as SQLite would have it, it took an eighth of the hub's time.
fn writes_in_turn(connection: &Connection) -> Result<(), Error> {
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -KEPT_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", log::MOST)?;
    Ok(())
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    plan_once(&connection)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Keeps each plan whatever is bound to it. Otherwise SQLite plans a statement anew at each use as soon as its table has
/// an index with a condition, in case what is bound meets the condition: a sixth of the hub's time.
fn plan_once(connection: &Connection) -> Result<(), Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null(_) => types::ValueRef::Null,
            Self::Integer(n) => types::ValueRef::Integer(*n),
            Self::Text(text) => types::ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => types::ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn execute(connection: &Connection, sql: &str, values: &[Value]) -> Result<usize, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.execute(params_from_iter(values))?)
}

pub(super) fn query<T, E: From<Error>>(
    connection: &Connection,
    sql: &str,
    values: &[Value],
    mut read: impl FnMut(&Row<'_>) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut statement = connection.prepare_cached(sql).map_err(Error::from)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(Error::from)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(Error::from)? {
        found.push(read(&Row { at: Place::Sqlite(row) })?);
    }
    Ok(found)
}

/// The value at a place that the row has.
pub(super) fn value<'r>(row: &'r rusqlite::Row<'_>, place: usize) -> Result<ValueRef<'r>, String> {
    Ok(match row.get_ref(place).map_err(|e| e.to_string())? {
        types::ValueRef::Null => ValueRef::Null,
        types::ValueRef::Integer(n) => ValueRef::Integer(n),
        // What rotted into no text at all is not what was written. Its row's checksum says so, and the others are read.
        types::ValueRef::Text(text) => ValueRef::Text(std::str::from_utf8(text).unwrap_or("\u{fffd}")),
        types::ValueRef::Blob(bytes) => ValueRef::Blob(bytes),
        types::ValueRef::Real(_) => return Err("it is a fraction, which this store does not keep".to_owned()),
    })
}

/// Begins a transaction; waits while another program holds the file.
pub(super) fn begin_writing(connection: &Connection) -> Result<(), Error> {
    for tried in 1.. {
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Err(e) if tried < BEGIN_TRIES && e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                error!(error = %e, "another program holds the store; everyone who writes waits: {e}");
            }
            ended => return Ok(ended?),
        }
    }
    Ok(())
}

pub(super) fn commit(connection: &Connection) -> Result<(), NotCommitted> {
    let Err(e) = connection.execute_batch("COMMIT") else { return Ok(()) };
    let _ = connection.execute_batch("ROLLBACK");
    // After a failed sync nobody knows what is on disk; only opening the file anew tells.
    let is_lost = !matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull));
    Err(NotCommitted { is_lost, why: e.to_string() })
}

/// One step, so that whoever writes meanwhile does not make it begin again.
pub(super) fn back_up(connection: &Connection, path: &Path) -> Result<(), Error> {
    let mut target = Connection::open(path)?;
    let backup = backup::Backup::new(connection, &mut target)?;
    for _ in 0..BEGIN_TRIES {
        match backup.step(-1)? {
            backup::StepResult::Done => return Ok(()),
            _ => std::thread::sleep(Duration::from_millis(250)),
        }
    }
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None).into())
}

/// What SQLite itself finds wrong with the file.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
    let why = || StoreError::Damaged { table: "(file)", row: String::new(), why: found.clone() };
    if found == "ok" { Ok(()) } else { Err(why()) }
}

pub(super) fn end(connection: &Connection) -> Result<(), Error> {
    Ok(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")?)
}
