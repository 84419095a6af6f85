//! Where a store is.

use std::{fmt, path::PathBuf};

use super::{
    StoreError, migrations,
    sql::{Connection, PostgresOptions},
};

/// Where a store is: one file under one process, or a database that several share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of PostgreSQL.
    Postgresql(PostgresOptions),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgresql(options) => options.fmt(f),
        }
    }
}

impl Location {
    /// Whether other replicas may write to it at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgresql(_))
    }

    /// Opens it for writing; makes it if it is not there, and brings it to the form of this version.
    pub(super) fn open(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(path) => Connection::open_sqlite(path),
            Self::Postgresql(options) => {
                let connection = Connection::open_postgres(options)?;
                migrations::prepare_postgres(&connection, &self.to_string())?;
                Ok(connection)
            }
        }
    }

    pub(super) fn open_reader(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Connection::open_sqlite_reader(path)?,
            Self::Postgresql(options) => Connection::open_postgres(options)?,
        })
    }
}
