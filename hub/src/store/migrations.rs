//! Brings the file to the form this version knows, and checks that it keeps what it confirms.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// "GTHB": marks our files, so that another program's file is never migrated.
const APPLICATION_ID: i64 = 0x4754_4842;

/// Each brings the file one version on. They only grow.
const MIGRATIONS: [&str; 10] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_begins_again.sql"),
    include_str!("migrations/0003_tracks.sql"),
    include_str!("migrations/0004_forks.sql"),
    include_str!("migrations/0005_waiting.sql"),
    include_str!("migrations/0006_identities.sql"),
    include_str!("migrations/0007_turn.sql"),
    include_str!("migrations/0008_partners.sql"),
    include_str!("migrations/0009_webhooks.sql"),
    include_str!("migrations/0010_letters.sql"),
];

pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |r| r.get(0))?;
    // With less than this a power cut loses what was already confirmed to a depot.
    if journal != "wal" || synchronous != 2 {
        return Err(foreign(format!("journal_mode is {journal}, synchronous {synchronous}; wal and 2 are needed")));
    }
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(foreign("another program made this file; give a path of its own".to_owned()));
    }
    if version > MIGRATIONS.len() {
        return Err(foreign(format!("a newer version of this program wrote it (form {version}); upgrade this one")));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let tx = connection.transaction()?;
        tx.execute_batch(migration)?;
        tx.pragma_update(None, "user_version", (index + 1) as i64)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.commit()?;
    }
    Ok(())
}
