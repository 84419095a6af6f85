//! Who changed what, as a chain of hashes: a row that was altered, moved or taken out shows.

use gatehouse_common::{id::Hash32, time::UtcMs};
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use super::{Reader, StoreError, Tx, row};

/// One change of state by a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When, by the hub's clock.
    pub at: UtcMs,
    /// Who: a login, a token's name, a device, a rule.
    pub actor: String,
    /// What was done, such as `choice`, `device added`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How and why, for people.
    pub detail: String,
}

impl AuditEntry {
    fn hash(&self, previous: &str) -> Result<Hash32, StoreError> {
        let line = (previous, self.at, &self.actor, &self.action, &self.subject, &self.detail);
        Ok(Hash32::of(serde_json::to_string(&line)?.as_bytes()))
    }
}

fn read_entry(r: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        at: UtcMs(r.get("at_ms")?),
        actor: r.get("actor")?,
        action: r.get("action")?,
        subject: r.get("subject")?,
        detail: r.get("detail")?,
    })
}

impl Reader<'_> {
    /// The latest entries, newest first.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn audit_entries(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT at_ms, actor, action, subject, detail FROM audit ORDER BY n DESC LIMIT ?1")?;
        let rows = statement.query_map([limit as i64], read_entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest entries about `subject`, newest first.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn audit_of(&self, subject: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT at_ms, actor, action, subject, detail FROM audit WHERE subject = ?1 ORDER BY n DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![subject, limit as i64], read_entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Checks the whole chain. Returns how many entries it has.
    /// # Errors
    /// [`StoreError::Damaged`] names the first row that does not follow.
    pub fn verify_audit(&self) -> Result<u64, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT n, at_ms, actor, action, subject, detail, previous, hash FROM audit ORDER BY n")?;
        let mut rows = statement.query([])?;
        let (mut last, mut count) = (Hash32::ZERO.to_string(), 0);
        while let Some(r) = rows.next()? {
            let n: i64 = r.get("n")?;
            let entry = read_entry(r)?;
            let (previous, hash): (String, String) = (r.get("previous")?, r.get("hash")?);
            if previous != last || entry.hash(&previous)?.to_string() != hash {
                return Err(row::damaged("audit", n, "it does not follow the row before it"));
            }
            (last, count) = (hash, count + 1);
        }
        Ok(count)
    }
}

impl Tx<'_> {
    /// Adds an entry at the end of the chain.
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT hash FROM audit ORDER BY n DESC LIMIT 1")?;
        let last: Option<String> = statement.query_row([], |r| r.get(0)).optional()?;
        let previous = last.unwrap_or_else(|| Hash32::ZERO.to_string());
        self.connection
            .prepare_cached(
                "INSERT INTO audit (at_ms, actor, action, subject, detail, previous, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                entry.at.0,
                entry.actor,
                entry.action,
                entry.subject,
                entry.detail,
                previous,
                entry.hash(&previous)?.to_string(),
            ])?;
        Ok(())
    }
}
