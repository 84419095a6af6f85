//! All tables as they are: copied from one store to another, and hashed.
//!
//! Which tables and columns there are is asked of SQLite, whose form both engines share. Rows are read by their
//! primary key, a page at a time, so that no table has to fit into memory.

use std::collections::BTreeMap;

use gatehouse_common::id::Hash32;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    sql::{Connection, Kind, Value, params},
};

/// Rows that are read and written at a time.
const PAGE: i64 = 500;
/// Most parameters of one statement.
const PARAMETERS_MAX: usize = 4_000;

/// A table and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<(String, Kind)>,
    /// Places of the columns of its primary key.
    key: Vec<usize>,
}

/// How many rows a table has, and what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDigest {
    /// Rows.
    pub rows: u64,
    /// SHA-256 over all of them, in the order of their keys.
    pub sha256: Hash32,
}

/// The tables of `sqlite`, those first that others refer to.
pub(super) fn tables(sqlite: &Connection) -> Result<Vec<Table>, StoreError> {
    let names: Vec<String> = sqlite.query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid",
        params![],
        |r| r.get(0),
    )?;
    names.into_iter().map(|name| table(sqlite, name)).collect()
}

fn table(sqlite: &Connection, name: String) -> Result<Table, StoreError> {
    let columns =
        sqlite.query("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid", params![name], |r| {
            Ok::<_, StoreError>((r.get::<String>("name")?, r.get::<String>("type")?, r.get::<i64>("pk")?))
        })?;
    let mut key: Vec<(i64, usize)> =
        columns.iter().enumerate().filter(|(_, (.., pk))| *pk > 0).map(|(at, (.., pk))| (*pk, at)).collect();
    key.sort_unstable();
    let kind = |text: &str| match text {
        "INTEGER" => Kind::Integer,
        "BLOB" => Kind::Blob,
        _ => Kind::Text,
    };
    Ok(Table {
        name,
        key: key.into_iter().map(|(_, at)| at).collect(),
        columns: columns.into_iter().map(|(name, text, _)| (name, kind(&text))).collect(),
    })
}

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether it has no row.
    pub(super) fn is_empty(&self, sql: &Connection) -> Result<bool, StoreError> {
        let any: bool = sql.one(&format!("SELECT EXISTS (SELECT 1 FROM {})", self.name), params![], |r| r.get(0))?;
        Ok(!any)
    }

    /// Every row, in the order of the key, a page at a time.
    fn pages(
        &self,
        sql: &Connection,
        mut page: impl FnMut(&[Vec<Value>]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let key: Vec<&str> = self.key.iter().map(|at| self.columns[*at].0.as_str()).collect();
        let key = key.join(", ");
        let marks: Vec<String> = (2..self.key.len() + 2).map(|n| format!("?{n}")).collect();
        let from = format!("SELECT {} FROM {}", self.names(), self.name);
        let first = format!("{from} ORDER BY {key} LIMIT ?1");
        let next = format!("{from} WHERE ({key}) > ({}) ORDER BY {key} LIMIT ?1", marks.join(", "));
        let mut last: Option<Vec<Value>> = None;
        loop {
            let mut values = vec![Value::Integer(PAGE)];
            values.extend(last.iter().flatten().cloned());
            let rows = sql.query(if last.is_some() { &next } else { &first }, &values, |r| {
                self.columns.iter().enumerate().map(|(at, (_, kind))| Ok(r.value(at, *kind)?)).collect()
            });
            let rows: Vec<Vec<Value>> = rows.map_err(|e: StoreError| e)?;
            let Some(end) = rows.last() else { return Ok(()) };
            last = Some(self.key.iter().map(|at| end[*at].clone()).collect());
            page(&rows)?;
        }
    }

    /// How many rows it has and what they say.
    pub(super) fn digest(&self, sql: &Connection) -> Result<TableDigest, StoreError> {
        let (mut rows, mut hasher) = (0, Sha256::new());
        self.pages(sql, |page| {
            rows += page.len() as u64;
            for value in page.iter().flatten() {
                let (kind, bytes) = match value {
                    Value::Null(_) => (0_u8, Vec::new()),
                    Value::Integer(n) => (1, n.to_le_bytes().to_vec()),
                    Value::Text(text) => (2, text.clone().into_bytes()),
                    Value::Blob(bytes) => (3, bytes.clone()),
                };
                hasher.update([kind]);
                hasher.update((bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
            Ok(())
        })?;
        Ok(TableDigest { rows, sha256: Hash32(hasher.finalize().into()) })
    }

    /// Copies every row. The table must be empty at the other end.
    pub(super) fn copy(&self, from: &Connection, to: &Connection) -> Result<(), StoreError> {
        let at_once = (PARAMETERS_MAX / self.columns.len()).max(1);
        self.pages(from, |page| {
            for rows in page.chunks(at_once) {
                to.execute(&self.insert(rows.len()), &rows.concat())?;
            }
            Ok(())
        })
    }

    fn insert(&self, rows: usize) -> String {
        let wide = self.columns.len();
        let row = |row: usize| {
            let marks: Vec<String> = (1..=wide).map(|column| format!("?{}", row * wide + column)).collect();
            format!("({})", marks.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        format!("INSERT INTO {} ({}) VALUES {}", self.name, self.names(), rows.join(", "))
    }
}

/// Every table's digest, by name.
pub(super) fn digests(sql: &Connection, tables: &[Table]) -> Result<BTreeMap<String, TableDigest>, StoreError> {
    tables.iter().map(|table| Ok((table.name.clone(), table.digest(sql)?))).collect()
}
