//! The forms the store has had. They only grow.

use std::{cmp::Ordering, path::Path};

use rusqlite::Connection;

use super::{StoreError, checkpoints, ledger::explain, readings::old_rows};

/// One step: its name, its SQL, and what SQL alone cannot do, in the same transaction.
struct Migration {
    name: &'static str,
    sql: &'static str,
    then: Option<fn(&Connection) -> rusqlite::Result<()>>,
}

const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_ground", sql: include_str!("migrations/0001_ground.sql"), then: None },
    Migration {
        name: "0002_blocks",
        sql: include_str!("migrations/0002_blocks.sql"),
        then: Some(old_rows::move_into_blocks),
    },
    Migration { name: "0003_room", sql: include_str!("migrations/0003_room.sql"), then: None },
    Migration { name: "0004_anchors", sql: include_str!("migrations/0004_anchors.sql"), then: None },
    Migration { name: "0005_rules", sql: include_str!("migrations/0005_rules.sql"), then: None },
    Migration { name: "0006_journal", sql: include_str!("migrations/0006_journal.sql"), then: None },
    Migration {
        name: "0007_inputs_and_drills",
        sql: include_str!("migrations/0007_inputs_and_drills.sql"),
        then: Some(checkpoints::begin),
    },
    Migration { name: "0008_forgotten", sql: include_str!("migrations/0008_forgotten.sql"), then: None },
    Migration { name: "0009_pages", sql: include_str!("migrations/0009_pages.sql"), then: None },
    Migration { name: "0010_tails", sql: include_str!("migrations/0010_tails.sql"), then: None },
    Migration { name: "0011_damaged", sql: include_str!("migrations/0011_damaged.sql"), then: None },
];

/// Brings the store to the newest form, each step in a transaction of its own.
pub fn run(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let done = form(conn, path)?;
    if done > MIGRATIONS.len() {
        return Err(StoreError::Unusable { path: path.to_owned(), what: newer(done) });
    }
    for (number, Migration { name, sql, then }) in MIGRATIONS.iter().enumerate().skip(done) {
        let tx = conn.transaction().map_err(|e| explain(path, &e))?;
        tx.execute_batch(sql).map_err(|e| explain(path, &e))?;
        if let Some(then) = then {
            then(&tx).map_err(|e| explain(path, &e))?;
        }
        tx.pragma_update(None, "user_version", i64::try_from(number + 1).unwrap_or(i64::MAX))
            .map_err(|e| explain(path, &e))?;
        tx.commit().map_err(|e| explain(path, &e))?;
        tracing::info!(migration = name, "store at {} brought to form {name}", path.display());
    }
    Ok(())
}

/// Looks whether the store is of the newest form, for who reads it and cannot bring it there.
/// # Errors
/// [`StoreError::Unusable`] says of which form it is, and what is to be done.
pub fn look(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let (form, newest) = (form(conn, path)?, MIGRATIONS.len());
    let what = match form.cmp(&newest) {
        Ordering::Equal => return Ok(()),
        Ordering::Greater => newer(form),
        Ordering::Less if form == 0 => "nothing is in it yet; start the agent once".to_owned(),
        Ordering::Less => {
            format!("it has form {form}, this program needs form {newest}; starting the agent brings it there")
        }
    };
    Err(StoreError::Unusable { path: path.to_owned(), what })
}

fn form(conn: &Connection, path: &Path) -> Result<usize, StoreError> {
    let form: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| explain(path, &e))?;
    Ok(form as usize)
}

fn newer(form: usize) -> String {
    format!("it has form {form}, this program knows {}; use the newer program", MIGRATIONS.len())
}
