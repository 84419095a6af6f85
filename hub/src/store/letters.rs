//! Events of partners that could not be taken, whole, so that they can be tried again once what was wrong is put right.

use gatehouse_common::{
    id::{ActorName, Hash32},
    time::UtcMs,
};
use serde::Serialize;

use super::{Reader, StoreChange, StoreError, Tx, row, sql::params};

/// Most letters that are kept; the oldest go first, and stay in quarantine by their hash.
const LETTERS_MAX: i64 = 10_000;

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its number.
    pub n: u64,
    /// Whose token it came with.
    pub origin: String,
    /// Hash of its bytes.
    pub hash: String,
    /// Why it was not taken.
    pub reason: String,
    /// Its text.
    pub body: String,
    /// When it came.
    pub at: UtcMs,
}

impl Reader<'_> {
    /// Events that wait for a person, the latest first, at most 500.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn event_letters(&self) -> Result<Vec<Letter>, StoreError> {
        self.sql.query(
            "SELECT n, origin, hash, reason, body, at_ms FROM event_letters WHERE state = 'dead' ORDER BY n DESC LIMIT 500",
            params![],
            |r| {
                let body: Vec<u8> = r.get("body")?;
                Ok(Letter {
                    n: row::from_sql(r.get("n")?),
                    origin: r.get("origin")?,
                    hash: r.get("hash")?,
                    reason: r.get("reason")?,
                    body: String::from_utf8_lossy(&body).into_owned(),
                    at: UtcMs(r.get("at_ms")?),
                })
            },
        )
    }

    /// Whose an event is that waits, and its bytes.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn event_letter(&self, n: u64) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        self.sql.optional(
            "SELECT origin, body FROM event_letters WHERE n = ?1 AND state = 'dead'",
            params![row::to_sql(n)],
            |r| Ok((r.get("origin")?, r.get("body")?)),
        )
    }
}

impl Tx<'_> {
    /// Keeps an event that was not taken. The same of the same sender again changes nothing.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_event_letter(
        &mut self,
        origin: &ActorName,
        reason: &str,
        body: &[u8],
        now: UtcMs,
    ) -> Result<(), StoreError> {
        let n: i64 = self.sql.one("SELECT coalesce(max(n), 0) + 1 FROM event_letters", params![], |r| r.get(0))?;
        self.sql.execute(
            "INSERT INTO event_letters (n, origin, hash, reason, body, state, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, 'dead', ?6) ON CONFLICT (origin, hash) DO NOTHING",
            params![n, origin.as_str(), Hash32::of(body).to_string(), reason, body, now.0],
        )?;
        self.sql.execute("DELETE FROM event_letters WHERE n <= ?1", params![n - LETTERS_MAX])?;
        self.changed(StoreChange::Quarantine);
        Ok(())
    }

    /// An event that waited was taken.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn close_event_letter(&mut self, n: u64) -> Result<(), StoreError> {
        self.sql.execute("UPDATE event_letters SET state = 'replayed' WHERE n = ?1", params![row::to_sql(n)])?;
        Ok(())
    }
}
