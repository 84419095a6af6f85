//! How much room the store may take, and what is let go of for it.
//!
//! In: budgets, and the time. Out: rows deleted a few at a time, each stretch with a record of what and how much, in
//! the same transaction; the oldest first, in this order:
//!
//! 1. Readings and other inputs that have been kept for as long as the limits say; quarantine beyond its budget; chunks
//!    of documents that the core has forgotten.
//! 2. From four fifths of the budget on: positions that others tell as well, see [`thin`].
//! 3. From nine tenths on: old telemetry readings, which are measured over and over.
//!
//! Never readings of what happened, before their time; never cases and dispatches that go on, decisions, leases or the
//! outbox. When the budget is used up all the same, SQLite refuses to grow the file, and nothing more is acknowledged
//! until room returns.

use std::collections::BTreeMap;

use gatehouse_common::time::UtcMs;
use rusqlite::{Connection, Result, params};
use serde::Serialize;

use super::{
    checkpoints, checksum, cursors, forgotten, ledger,
    readings::{
        self,
        thin::{Class, thin},
    },
};

/// Blocks of readings that go in one step.
const BLOCKS_A_STEP: usize = 8;
/// Blocks of readings that are thinned in one step: the record of it must not take what it gains.
const THINNED_A_STEP: usize = 32;
/// Free pages that are left in the file when pages are given back: the next commits take them anew.
const PAGES_KEPT_FREE: u64 = 256;
/// What SQLite calls a file whose free pages can be given back a few at a time.
pub const INCREMENTAL: u64 = 2;
/// Pages that are given back in one step.
const PAGES_A_STEP: u64 = 64;
/// Thousandths of the budget in use from which on each class of old readings is thinned.
const THINNED_FROM: [(Class, u64); 2] = [(Class::Positions, 800), (Class::Telemetry, 900)];
/// Rows of quarantine that go in one step.
const QUARANTINE_A_STEP: u32 = 64;
/// Name under which the budget is kept, for whoever looks at the store without the configuration.
const BUDGET: &str = "budget_bytes";

/// What the store may take and keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file; its log takes up to 32 MiB more.
    pub budget_bytes: u64,
    /// Milliseconds for which readings are kept at least; older ones may go.
    pub keep_readings_ms: i64,
    /// Bytes of quarantine; beyond them the oldest go.
    pub quarantine_bytes: u64,
    /// Bytes of what came in beside readings, kept for replays; beyond them the oldest go.
    pub inputs_bytes: u64,
    /// Milliseconds after which what is over is forgotten: orders done, dispatches that left, cases at rest.
    pub forget_after_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget_bytes: 1 << 30,
            keep_readings_ms: 30 * 86_400_000,
            quarantine_bytes: 16 << 20,
            inputs_bytes: 64 << 20,
            forget_after_ms: 30 * 86_400_000,
        }
    }
}

/// How much room the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes it may use; `None` while no agent has said.
    pub budget_bytes: Option<u64>,
    /// Whether so little is left that the next messages may find none: nothing is acknowledged then.
    pub is_full: bool,
}

/// Has SQLite keep the file within its budget.
pub fn limit(conn: &Connection, limits: &Limits) -> Result<()> {
    let page_bytes: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = ledger::int(limits.budget_bytes) / page_bytes.max(1);
    // SQLite sets no less than what the file has already.
    conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    if cursors::get(conn, BUDGET)?.as_deref() != Some(&limits.budget_bytes.to_string()) {
        cursors::set(conn, BUDGET, &limits.budget_bytes.to_string())?;
    }
    Ok(())
}

/// How much room there is.
pub fn look(conn: &Connection) -> Result<Room> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| ledger::uint(row, 0));
    let (page_bytes, pages, free) = (pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?);
    let used_bytes = pages.saturating_sub(free) * page_bytes;
    let budget_bytes: Option<u64> = cursors::get(conn, BUDGET)?.and_then(|text| text.parse().ok());
    // One commit may need some dozens of pages.
    let is_full = budget_bytes.is_some_and(|budget| used_bytes + 64 * page_bytes > budget);
    Ok(Room { used_bytes, budget_bytes, is_full })
}

/// Lets a little of what is beyond the limits go; says whether there may be more.
pub fn tidy(conn: &Connection, limits: &Limits, now: UtcMs) -> Result<bool> {
    let before = now.plus(-limits.keep_readings_ms);
    let gone = readings::let_go(conn, before, BLOCKS_A_STEP)?;
    if gone.count > 0 {
        record(conn, "readings", now, &gone)?;
    }
    let (more, went) = checkpoints::tidy(conn, now, limits.keep_readings_ms, limits.inputs_bytes)?;
    if went.count > 0 {
        record(conn, "inputs", now, &went)?;
    }
    let (more_forgotten, forgotten) = forgotten::let_go(conn)?;
    if forgotten.count > 0 {
        record(conn, "documents", now, &forgotten)?;
    }
    let more = more || gone.count > 0 || more_forgotten || relieve(conn, limits, now)?;
    let held: i64 = conn
        .prepare_cached("SELECT coalesce(sum(length(topic) + length(reason) + length(head) + 120), 0) FROM quarantine")?
        .query_row([], |row| row.get(0))?;
    if held <= ledger::int(limits.quarantine_bytes) {
        return Ok(more);
    }
    let gone = oldest_of_quarantine(conn)?;
    record(conn, "quarantine", now, &gone)?;
    Ok(true)
}

/// Gives a few free pages back to the file system, where the store was made so that it can; says whether there may be
/// more. Of a store made before that, the file stays as long as it was, and its free pages are used again.
pub fn give_back(conn: &Connection) -> Result<bool> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| ledger::uint(row, 0));
    let spare = pragma("freelist_count")?.saturating_sub(PAGES_KEPT_FREE);
    if spare < PAGES_A_STEP || pragma("auto_vacuum")? != INCREMENTAL {
        return Ok(false);
    }
    super::start::run_to_its_end(conn, &format!("PRAGMA incremental_vacuum({PAGES_A_STEP})"))?;
    Ok(spare >= 2 * PAGES_A_STEP)
}

/// Thins a little of old readings if the budget is nearly used up; says whether there may be more.
fn relieve(conn: &Connection, limits: &Limits, now: UtcMs) -> Result<bool> {
    let used = look(conn)?.used_bytes;
    for (class, permille) in THINNED_FROM {
        if used.saturating_mul(1_000) < limits.budget_bytes.saturating_mul(permille) {
            return Ok(false);
        }
        let what = match class {
            Class::Positions => "positions",
            Class::Telemetry => "telemetry",
        };
        let place = format!("{what}_thinned_through");
        let behind = cursors::get(conn, &place)?.and_then(|text| text.parse().ok()).unwrap_or(0);
        if let Some((through, gone)) = thin(conn, class, behind, THINNED_A_STEP)? {
            cursors::set(conn, &place, &through.to_string())?;
            if gone.count > 0 {
                record(conn, what, now, &gone)?;
            }
            return Ok(true);
        }
    }
    Ok(false)
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone {
    /// How many.
    pub count: u64,
    /// When the first came in.
    pub from: UtcMs,
    /// When the last came in.
    pub to: UtcMs,
    /// How many of each source or topic.
    pub sources: BTreeMap<String, u64>,
}

impl Gone {
    /// Counts one.
    pub fn add(&mut self, source: &str, at: UtcMs) {
        (self.from, self.to) = if self.count == 0 { (at, at) } else { (self.from.min(at), self.to.max(at)) };
        self.count += 1;
        *self.sources.entry(source.to_owned()).or_default() += 1;
    }
}

fn oldest_of_quarantine(conn: &Connection) -> Result<Gone> {
    let mut gone = Gone::default();
    let mut last = 0;
    let mut oldest = conn.prepare_cached("SELECT position, topic, at_ms FROM quarantine ORDER BY position LIMIT ?1")?;
    let mut rows = oldest.query([QUARANTINE_A_STEP])?;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        gone.add(&row.get::<_, String>(1)?, UtcMs(row.get(2)?));
    }
    conn.prepare_cached("DELETE FROM quarantine WHERE position <= ?1")?.execute([last as i64])?;
    Ok(gone)
}

fn record(conn: &Connection, what: &str, now: UtcMs, gone: &Gone) -> Result<()> {
    let sources = ledger::json(&gone.sources)?;
    let count = ledger::int(gone.count);
    let numbers = [now.0, gone.from.0, gone.to.0, count].map(|n| n.to_string());
    let [at, from, to, many] = numbers.each_ref().map(String::as_bytes);
    let sum = checksum::of(&[what.as_bytes(), at, from, to, many, sources.as_bytes()]);
    conn.prepare_cached(
        "INSERT INTO let_go (what, at_ms, from_ms, to_ms, count, sources, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![what, now.0, gone.from.0, gone.to.0, count, sources, sum])?;
    ledger::count(conn, &format!("{what}_let_go"), count)
}

#[cfg(test)]
mod tests;
