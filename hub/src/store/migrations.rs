//! Brings a store to the form this version knows, and checks that it keeps what it confirms.
//!
//! Migrations are one text for both engines, under one number. For PostgreSQL their words for the kinds of columns
//! are put into its own: all whole numbers have 64 bits, text is in the order of its bytes, and numbers of rows are
//! given out by the turn ([`super::turn`]), so that `AUTOINCREMENT` falls away.

use std::path::Path;

use rusqlite::Connection;

use super::{
    StoreError,
    sql::{self, params},
};

/// "GTHB": marks our files, so that another program's file is never migrated.
const APPLICATION_ID: i64 = 0x4754_4842;

/// Each brings the store one version on. They only grow.
pub(super) const MIGRATIONS: [&str; 22] = [
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
    include_str!("migrations/0011_replicas.sql"),
    include_str!("migrations/0012_lives.sql"),
    include_str!("migrations/0013_recon_figures.sql"),
    include_str!("migrations/0014_lifts.sql"),
    include_str!("migrations/0015_pruned.sql"),
    include_str!("migrations/0016_unreported.sql"),
    include_str!("migrations/0017_damaged.sql"),
    include_str!("migrations/0018_by_order.sql"),
    include_str!("migrations/0019_leases_that_weigh.sql"),
    include_str!("migrations/0020_devices_by_key.sql"),
    include_str!("migrations/0021_past.sql"),
    include_str!("migrations/0022_cases_at_rest.sql"),
];

pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign { place: path.display().to_string(), why };
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
        return Err(foreign(newer(version)));
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

fn newer(version: usize) -> String {
    format!("a newer version of this program wrote it (form {version}); upgrade this one")
}

/// Settings of the server without which it may lose what it confirmed; an engine that has none of them is taken.
const UNSAFE: &str = "SELECT name FROM pg_settings WHERE setting = 'off'
   AND name IN ('synchronous_commit', 'fsync', 'full_page_writes') ORDER BY name";

/// As [`prepare`], for PostgreSQL. Replicas that start together wait for each other.
pub(super) fn prepare_postgres(sql: &sql::Connection, place: &str) -> Result<(), StoreError> {
    let foreign = |why: String| StoreError::Foreign { place: place.to_owned(), why };
    let Some(postgres) = sql.postgres() else { return Ok(()) };
    let switched_off: Vec<String> = sql.query(UNSAFE, params![], |r| r.get(0))?;
    if !switched_off.is_empty() {
        let why = format!("{} is off: the server may lose what it confirmed; switch it on", switched_off.join(", "));
        return Err(foreign(why));
    }
    // Whoever makes the table first has it; the others find it there, perhaps by an error at the same moment.
    let made = made(sql)?;
    if !made {
        let tables: i64 = sql.one(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()",
            params![],
            |r| r.get(0),
        )?;
        if tables > 0 && !self::made(sql)? {
            return Err(foreign("another program's tables are in it; give a database of its own".to_owned()));
        }
        let create = "CREATE TABLE IF NOT EXISTS gatehouse_form (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)";
        if let Err(e) = postgres.batch(create)
            && !self::made(sql)?
        {
            return Err(e.into());
        }
    }
    sql.execute("INSERT INTO gatehouse_form (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING", params![])?;
    postgres.batch("BEGIN")?;
    let migrated = migrate(sql, postgres, &foreign);
    postgres.batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    migrated
}

fn made(sql: &sql::Connection) -> Result<bool, StoreError> {
    Ok(sql.one(
        "SELECT count(*) FROM information_schema.tables
          WHERE table_schema = current_schema() AND table_name = 'gatehouse_form'",
        params![],
        |r| r.get(0),
    )?)
}

fn migrate(
    sql: &sql::Connection,
    postgres: &sql::Postgres,
    foreign: &dyn Fn(String) -> StoreError,
) -> Result<(), StoreError> {
    let version: u32 =
        sql.one("SELECT version FROM gatehouse_form WHERE id = 1 FOR UPDATE", params![], |r| r.get(0))?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        return Err(foreign(newer(version)));
    }
    for migration in &MIGRATIONS[version..] {
        postgres.batch(&for_postgres(migration))?;
    }
    sql.execute("UPDATE gatehouse_form SET version = ?1 WHERE id = 1", params![MIGRATIONS.len() as i64])?;
    Ok(())
}

/// A migration in PostgreSQL's words.
fn for_postgres(migration: &str) -> String {
    const WORDS: [(&str, &str); 5] = [
        (" AUTOINCREMENT", ""),
        (" WITHOUT ROWID", ""),
        (" INTEGER", " BIGINT"),
        (" TEXT", " TEXT COLLATE \"C\""),
        (" BLOB", " BYTEA"),
    ];
    let mut text = String::new();
    for line in migration.lines() {
        // A comment may have these words too.
        let mut line = line.split("--").next().unwrap_or_default().to_owned();
        for (ours, theirs) in WORDS {
            line = line.replace(ours, theirs);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_put_into_the_words_of_postgresql() {
        let ours = "CREATE TABLE a (\n  n INTEGER PRIMARY KEY AUTOINCREMENT, -- an INTEGER\n  b TEXT NOT NULL, c BLOB\n) WITHOUT ROWID;\n";
        let theirs = "CREATE TABLE a (\n  n BIGINT PRIMARY KEY, \n  b TEXT COLLATE \"C\" NOT NULL, c BYTEA\n);\n";
        assert_eq!(for_postgres(ours), theirs);
    }
}
