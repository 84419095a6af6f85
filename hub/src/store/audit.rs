//! Who changed what, as a chain of hashes: a row that was altered, moved or taken out shows.

use gatehouse_common::{id::Hash32, time::UtcMs};
use serde::Serialize;

use super::{
    Reader, StoreError, Tx, row,
    sql::{Row, params},
    turn::Numbered,
};

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

fn read_entry(r: &Row<'_>) -> Result<AuditEntry, StoreError> {
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
    /// [`StoreError::Sql`].
    pub fn audit_entries(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.sql.query(
            "SELECT at_ms, actor, action, subject, detail FROM audit ORDER BY n DESC LIMIT ?1",
            params![limit as i64],
            read_entry,
        )
    }

    /// The latest entries about `subject`, newest first.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn audit_of(&self, subject: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.sql.query(
            "SELECT at_ms, actor, action, subject, detail FROM audit WHERE subject = ?1 ORDER BY n DESC LIMIT ?2",
            params![subject, limit as i64],
            read_entry,
        )
    }

    /// Checks the whole chain. Returns how many entries it has.
    /// # Errors
    /// [`StoreError::Damaged`] names the first row that does not follow.
    pub fn verify_audit(&self) -> Result<u64, StoreError> {
        let (mut last, mut last_n, mut count) = (Hash32::ZERO.to_string(), i64::MIN, 0);
        loop {
            let page = self.sql.query(
                "SELECT n, at_ms, actor, action, subject, detail, previous, hash FROM audit
                  WHERE n > ?1 ORDER BY n LIMIT 1000",
                params![last_n],
                |r| Ok::<_, StoreError>((r.get::<i64>("n")?, read_entry(r)?, r.get("previous")?, r.get("hash")?)),
            )?;
            if page.is_empty() {
                return Ok(count);
            }
            for (n, entry, previous, hash) in page {
                let (previous, hash): (String, String) = (previous, hash);
                if previous != last || entry.hash(&previous)?.to_string() != hash {
                    return Err(row::damaged("audit", n, "it does not follow the row before it"));
                }
                (last, last_n, count) = (hash, n, count + 1);
            }
        }
    }
}

impl Tx<'_> {
    /// Adds an entry at the end of the chain.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let last: Option<String> =
            self.sql.optional("SELECT hash FROM audit ORDER BY n DESC LIMIT 1", params![], |r| r.get(0))?;
        let previous = last.unwrap_or_else(|| Hash32::ZERO.to_string());
        let n = self.turn.next(Numbered::Audit);
        self.sql.execute(
            "INSERT INTO audit (n, at_ms, actor, action, subject, detail, previous, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                n,
                entry.at.0,
                entry.actor,
                entry.action,
                entry.subject,
                entry.detail,
                previous,
                entry.hash(&previous)?.to_string(),
            ],
        )?;
        Ok(())
    }
}
