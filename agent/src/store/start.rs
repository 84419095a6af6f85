//! How a store is opened: settings that are read back, its newest form, whose it is, and the rules to start with.

use std::path::Path;

use gatehouse_common::{bundle::Bundle, time::UtcMs};
use rusqlite::Connection;

use super::{
    Identity, Reader, Store, StoreError, alone, cursors, journal, ledger, migrations, outbox, reader, readings, room,
    rules,
};
use crate::core::decision::Record;

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
        reader::plan_once(&conn).map_err(fail)?;
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
        outbox::starts(self.conn()).map_err(|e| self.explain(&e))
    }
}

/// Runs a pragma until it has no more to say. SQLite answers before it commits: a caller that reads only the answer
/// misses that the disk then failed, and the answer stands when it is asked for again.
pub(super) fn run_to_its_end(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
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
