//! Whose turn it is to write, and the numbers that are given out in that turn.
//!
//! One row is locked by whoever writes, from the beginning of his transaction to its commit. So numbers are
//! seen in the order in which they were given out: who has read up to one has missed none below it. They are
//! written back once a commit; a transaction that is undone gives none out.

use super::{
    StoreError,
    sql::{Connection, params},
};

/// Tables whose rows are numbered in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbered {
    Ledger,
    Feed,
    Decisions,
    Postings,
    Quarantine,
    Audit,
    Forks,
    Cuts,
}

const TABLES: usize = 8;

/// The tables, each with the column of its numbers.
pub(super) const NUMBERED: [(&str, &str); TABLES] = [
    ("ledger", "position"),
    ("feed", "position"),
    ("decisions", "n"),
    ("postings", "n"),
    ("quarantine", "position"),
    ("audit", "n"),
    ("forks", "n"),
    ("cuts", "n"),
];

/// A turn to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// How many turns there were before this one, of all who write.
    pub(super) before: i64,
    heads: [i64; TABLES],
}

impl Turn {
    /// Reads where the turns before this one ended. The row is locked already.
    pub(super) fn take(sql: &Connection) -> Result<Self, StoreError> {
        let columns = "turns, ledger, feed, decisions, postings, quarantine, audit, forks, cuts";
        sql.one(&format!("SELECT {columns} FROM turn WHERE id = 1"), params![], |r| {
            let mut heads = [0; TABLES];
            for (n, head) in heads.iter_mut().enumerate() {
                *head = r.get(n + 1)?;
            }
            Ok(Self { before: r.get(0)?, heads })
        })
    }

    /// The next number of a table.
    pub(super) fn next(&mut self, of: Numbered) -> i64 {
        self.skip(of, 1)
    }

    /// The first of the next `count` numbers of a table, all of which are given out.
    pub(super) fn skip(&mut self, of: Numbered, count: i64) -> i64 {
        let head = &mut self.heads[of as usize];
        let first = *head + 1;
        *head += count;
        first
    }

    /// The last number that was given out.
    pub(super) fn head(&self, of: Numbered) -> i64 {
        self.heads[of as usize]
    }

    /// Writes down where this turn ended.
    pub(super) fn end(&self, sql: &Connection) -> Result<(), StoreError> {
        let [ledger, feed, decisions, postings, quarantine, audit, forks, cuts] = self.heads;
        sql.execute(
            "UPDATE turn SET turns = ?1, ledger = ?2, feed = ?3, decisions = ?4, postings = ?5, quarantine = ?6,
                    audit = ?7, forks = ?8, cuts = ?9
              WHERE id = 1",
            params![self.before + 1, ledger, feed, decisions, postings, quarantine, audit, forks, cuts],
        )?;
        Ok(())
    }
}
