//! The forms the store has had. They only grow.

use std::path::Path;

use rusqlite::Connection;

use super::{StoreError, ledger::explain};

const MIGRATIONS: &[(&str, &str)] = &[("0001_ground", include_str!("migrations/0001_ground.sql"))];

/// Brings the store to the newest form, each step in a transaction of its own.
pub fn run(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let done: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| explain(path, &e))?;
    let done = done as usize;
    if done > MIGRATIONS.len() {
        return Err(StoreError::Unusable {
            path: path.to_owned(),
            what: format!("it has form {done}, this program knows {}; use the newer program", MIGRATIONS.len()),
        });
    }
    for (number, (name, sql)) in MIGRATIONS.iter().enumerate().skip(done) {
        let tx = conn.transaction().map_err(|e| explain(path, &e))?;
        tx.execute_batch(sql).map_err(|e| explain(path, &e))?;
        tx.pragma_update(None, "user_version", i64::try_from(number + 1).unwrap_or(i64::MAX))
            .map_err(|e| explain(path, &e))?;
        tx.commit().map_err(|e| explain(path, &e))?;
        tracing::info!(migration = name, "store at {} brought to form {name}", path.display());
    }
    Ok(())
}
