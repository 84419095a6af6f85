//! What pages, sync, audit and status look up. Reads only.

mod lost;
mod page;
mod record;
mod told;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gatehouse_common::{
    gate::GateResult,
    id::{DocumentId, OrderId},
    order::Order,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

pub use self::page::{BoardRow, CaseRow, DispatchRow, DrillOn, LeaseRow, SourceAge, Status, Stored, WaitingRow};
use super::{
    StoreError,
    ledger::{explain, from_json},
    migrations,
};

/// Looks things up in a store. Any number of readers may be open beside the one writer.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
}

/// Keeps each plan whatever is bound to it. Otherwise SQLite plans a statement anew at each use as soon as its table has
/// an index with a condition, in case what is bound meets the condition.
pub(super) fn plan_once(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

impl Reader {
    /// Opens the store at `path` for reading.
    /// # Errors
    /// [`StoreError::Unusable`] while no agent has made the store yet.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)
            .map_err(|e| StoreError::Unusable { path: path.to_owned(), what: e.to_string() })?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(|e| explain(path, &e))?;
        plan_once(&conn).map_err(|e| explain(path, &e))?;
        Ok(Self::over(conn, path))
    }

    /// Looks whether the store is of the form that this program reads.
    /// # Errors
    /// [`StoreError::Unusable`] says of which form it is, and what is to be done.
    pub fn check_form(&self) -> Result<(), StoreError> {
        migrations::look(&self.conn, &self.path)
    }

    pub(super) fn over(conn: Connection, path: &Path) -> Self {
        Self { conn, path: path.to_owned() }
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn conn_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    fn ask<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.conn).map_err(|e| explain(&self.path, &e))
    }

    /// The newest version of an order.
    /// # Errors
    /// [`StoreError`].
    pub fn order(&self, order: &OrderId) -> Result<Option<Order>, StoreError> {
        self.ask(|conn| order_of(conn, order.as_str()))
    }

    /// Named values: whose store it is.
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.ask(|conn| {
            conn.prepare_cached("SELECT name, value FROM identity")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    pub(super) fn all_gates(&self) -> Result<Vec<(DocumentId, Vec<GateResult>)>, StoreError> {
        let rows: Vec<(String, String)> = self.ask(|conn| {
            conn.prepare_cached("SELECT document, body FROM gates")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        // Derived and weighed again at once, so one that cannot be read is left out.
        Ok(rows
            .into_iter()
            .filter_map(|(id, body)| Some((id.parse().ok()?, serde_json::from_str(&body).ok()?)))
            .collect())
    }

    fn rule<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.ask(|conn| rule(conn, key))
    }
}

fn rule<T: serde::de::DeserializeOwned>(conn: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let body: Option<String> =
        conn.prepare_cached("SELECT body FROM rules WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?;
    body.map(|b| from_json(&b)).transpose()
}

fn order_of(conn: &Connection, order: &str) -> rusqlite::Result<Option<Order>> {
    let body: Option<String> = conn
        .prepare_cached("SELECT body FROM orders WHERE order_id = ?1")?
        .query_row([order], |row| row.get(0))
        .optional()?;
    body.map(|b| from_json(&b)).transpose()
}
