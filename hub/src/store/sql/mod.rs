//! One connection to the store, and the same SQL over it whatever the engine.
//!
//! In: statements with `?1`, `?2` for parameters, in the SQL that `docs/decisions/0009-one-sql-two-engines.md`
//! allows. Out: rows, read column by column. Statements are prepared once for each connection. What is
//! special to an engine (how it is opened, begins, commits) is in its own file and nowhere else.

mod log;
mod postgres;
mod sqlite;
mod value;

use std::{path::Path, time::Duration};

pub(super) use self::postgres::Postgres;
pub use self::postgres::{Password, PostgresOptions};
pub(crate) use value::params;
pub use value::{Column, FromValue, Kind, ToValue, Value, ValueRef};

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused. The transaction goes on unless SQLite undid it.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused, or the connection to it was lost. Nothing of the transaction is kept.
    #[error("{}", postgres::told(.0))]
    Postgres(#[from] ::postgres::Error),
    /// No line that may be trusted can be made to PostgreSQL.
    #[error("TLS to the database: {0}")]
    Tls(String),
    /// A column is not there, or not what it is read as.
    #[error("column {column}: {why}")]
    Column {
        /// Which.
        column: String,
        /// What is wrong with it.
        why: String,
    },
    /// A row had to be there.
    #[error("there is no row where one must be")]
    NoRow,
}

impl Error {
    /// Whether it may pass by itself: the database is away, busy, or ended the connection.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Postgres(error) => postgres::may_pass(error),
            _ => false,
        }
    }
}

/// A commit that did not happen.
#[derive(Debug)]
pub(super) struct NotCommitted {
    /// Nobody knows what is on disk: the store must be opened anew.
    pub(super) is_lost: bool,
    pub(super) why: String,
}

/// A connection to the store.
pub struct Connection {
    engine: Engine,
}

enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Postgres),
}

/// A row that a statement returned.
pub struct Row<'r> {
    at: Place<'r>,
}

enum Place<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r ::postgres::Row),
}

impl Connection {
    /// Opens the file at `path` for writing, or makes it.
    pub(super) fn open_sqlite(path: &Path) -> Result<Self, super::StoreError> {
        Ok(Self { engine: Engine::Sqlite(sqlite::open(path)?) })
    }

    /// From now on what is committed is brought from the log of a file into the file beside the commits.
    pub(super) fn brings_its_log_in_beside(&mut self) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Sqlite(connection) => log::brought_in_beside(connection),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Opens the file at `path` for reading.
    pub(super) fn open_sqlite_reader(path: &Path) -> Result<Self, Error> {
        Ok(Self { engine: Engine::Sqlite(sqlite::open_reader(path)?) })
    }

    /// Opens a connection to PostgreSQL. What is in the database is not looked at.
    pub(super) fn open_postgres(options: &PostgresOptions) -> Result<Self, Error> {
        Ok(Self { engine: Engine::Postgres(Postgres::open(options)?) })
    }

    /// The connection to PostgreSQL, for what only that has.
    pub(super) fn postgres(&self) -> Option<&Postgres> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(connection) => Some(connection),
        }
    }

    /// Carries out a statement that returns no rows. Returns how many rows it changed.
    /// # Errors
    /// The engine's.
    pub fn execute(&self, sql: &str, values: &[Value]) -> Result<usize, Error> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, values),
            Engine::Postgres(connection) => connection.execute(sql, values),
        }
    }

    /// Every row of a statement, read by `read`, in the order in which they come.
    /// # Errors
    /// The engine's, and what `read` says.
    pub fn query<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::query(connection, sql, values, read),
            Engine::Postgres(connection) => connection.query(sql, values, read),
        }
    }

    /// The first row of a statement, if there is one.
    /// # Errors
    /// As [`Self::query`].
    pub fn optional<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        Ok(self.query(sql, values, read)?.into_iter().next())
    }

    /// The first row of a statement that always has one.
    /// # Errors
    /// As [`Self::query`]; [`Error::NoRow`] if there is none.
    pub fn one<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.optional(sql, values, read)?.ok_or_else(|| E::from(Error::NoRow))
    }

    /// Whether no more than one program writes at a time, so that one run has ended when the next begins.
    pub(super) fn is_written_by_one(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(_) => true,
            Engine::Postgres(_) => false,
        }
    }

    /// Begins to read: everything until [`Self::end_reading`] sees one state of the store.
    pub(super) fn begin_reading(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch("BEGIN DEFERRED")?),
            Engine::Postgres(connection) => connection.begin_reading(),
        }
    }

    /// What is read now may take long, with pauses between two queries.
    pub(super) fn takes_its_time(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            // Else the server ends whoever is silent or asks for much, as it must end one that hangs with the turn.
            Engine::Postgres(connection) => connection
                .batch("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = '30min'"),
        }
    }

    /// What is done until this transaction ends may take as long as it must, as an errand does that is about the whole
    /// store: on a large one each limit would end it, and none would ever come to its end.
    pub(super) fn takes_any_time(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(connection) => {
                connection.batch("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0")
            }
        }
    }

    /// Ends what [`Self::begin_reading`] began.
    pub(super) fn end_reading(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch("ROLLBACK")?),
            Engine::Postgres(connection) => connection.batch("ROLLBACK"),
        }
    }

    /// Begins to write. It waits while another program writes.
    pub(super) fn begin_writing(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::begin_writing(connection),
            Engine::Postgres(connection) => connection.begin_writing(),
        }
    }

    /// What is done from now on can be undone by itself.
    pub(super) fn savepoint(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch("SAVEPOINT one")?),
            Engine::Postgres(connection) => connection.batch("SAVEPOINT one"),
        }
    }

    /// Keeps, or undoes, what was done since [`Self::savepoint`].
    pub(super) fn end_savepoint(&self, keep: bool) -> Result<(), Error> {
        let sql = if keep { "RELEASE SAVEPOINT one" } else { "ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one" };
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(connection) => connection.end_savepoint(keep, sql),
        }
    }

    /// Whether the engine has ended the transaction by itself: nothing of it will be kept.
    pub(super) fn is_undone(&self) -> bool {
        match &self.engine {
            // A full disk makes SQLite undo the whole transaction.
            Engine::Sqlite(connection) => connection.is_autocommit(),
            Engine::Postgres(connection) => connection.is_undone(),
        }
    }

    /// Undoes the transaction, whatever state it is in.
    pub(super) fn give_up(&self) {
        match &self.engine {
            // It fails only where nothing is left to undo.
            Engine::Sqlite(connection) => drop(connection.execute_batch("ROLLBACK")),
            Engine::Postgres(connection) => connection.give_up(),
        }
    }

    /// Commits; when that fails nothing of the transaction stays, as far as anybody knows. When only the answer
    /// was lost, `settled` says whether it was kept, in a transaction after it.
    pub(super) fn commit(&self, settled: impl Fn() -> Result<bool, Error>) -> Result<(), NotCommitted> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::commit(connection),
            Engine::Postgres(connection) => connection.commit(settled),
        }
    }

    /// Copies one state of a file of SQLite, which may be in use, into a new one.
    pub(super) fn back_up_to(&self, path: &Path) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::back_up(connection, path),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Reads the file over, where there is one.
    pub(super) fn check_file(&self) -> Result<(), super::StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::check(connection),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Brings everything into the one file, so that it can be given another name.
    pub(super) fn end_file(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(connection) => sqlite::end(connection),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Waits for a word from others who write, at most `wait`.
    pub(super) fn listen(&self, wait: Duration) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(_) => std::thread::sleep(wait),
            Engine::Postgres(connection) => connection.listen(wait)?,
        }
        Ok(())
    }
}

impl Row<'_> {
    /// The value at a place, as a parameter of this kind.
    pub(super) fn value(&self, place: usize, kind: Kind) -> Result<Value, Error> {
        let value = match &self.at {
            Place::Sqlite(row) => sqlite::value(row, place),
            Place::Postgres(row) => postgres::value(row, place),
        };
        let value = value.map_err(|why| Error::Column { column: place.to_string(), why })?;
        Ok(match value {
            ValueRef::Null => Value::Null(kind),
            ValueRef::Integer(n) => Value::Integer(n),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        })
    }

    /// The value of a column, by name or by place from 0.
    /// # Errors
    /// [`Error::Column`] if there is no such column or it is something else.
    pub fn get<T: FromValue>(&self, column: impl Column) -> Result<T, Error> {
        let (place, value) = match &self.at {
            Place::Sqlite(row) => {
                let place = column.place(row.as_ref().column_names().into_iter())?;
                (place, sqlite::value(row, place))
            }
            Place::Postgres(row) => {
                let place = column.place(row.columns().iter().map(|column| column.name()))?;
                (place, postgres::value(row, place))
            }
        };
        value.and_then(T::from_value).map_err(|why| Error::Column { column: place.to_string(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let sql = Connection::open_sqlite(&folder.path().join("hub.db")).unwrap();
        (folder, sql)
    }

    #[test]
    fn what_goes_in_as_a_parameter_comes_out_of_a_column() {
        let (_folder, sql) = opened();
        let sent = params![-7_i64, true, "a\0b", None::<u32>, vec![0_u8, 255]];
        sql.one("SELECT ?1 AS n, ?2 AS truth, ?3 AS text, ?4 AS none, ?5 AS bytes", sent, |r| {
            assert_eq!(r.get::<i64>("n")?, -7);
            assert!(r.get::<bool>("truth")?);
            assert_eq!(r.get::<String>("text")?, "a\u{fffd}b");
            assert_eq!(r.get::<Option<u32>>("none")?, None);
            assert_eq!(r.get::<Vec<u8>>("bytes")?, [0, 255]);
            Ok::<_, Error>(())
        })
        .unwrap();
    }

    #[test]
    fn a_column_that_is_missing_or_is_something_else_is_named() {
        let (_folder, sql) = opened();
        let read = |column: &'static str| {
            let read = sql.one("SELECT 'text' AS a, ?1 AS b", params![70_000_i64], |r| r.get::<u16>(column));
            read.unwrap_err().to_string()
        };
        assert_eq!(read("a"), "column 0: it is text, not a number");
        assert_eq!(read("b"), "column 1: 70000 is out of range");
        assert_eq!(read("c"), "column c: there is none");
    }
}
