//! Reads ground rows over and compares each with its checksum: SQLite says nothing of a flipped bit.
//!
//! In: a place to go on from. Out: what does not match, and the place after it; [`None`] at the end. A few rows at a
//! time, so that nobody waits for it. Writes nothing: [`super::damage`] does.

use rusqlite::{Connection, Result, params, types::ValueRef};

use super::{checksum, documents, readings};
use crate::core::damage::{DamagedRow, Of};

/// How far a scrub has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubPlace {
    table: usize,
    rowid: i64,
}

/// What one stretch of a scrub found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Rows read.
    pub rows: u64,
    /// Rows that do not match.
    pub damaged: Vec<Damaged>,
    /// Where to go on.
    pub next: Option<ScrubPlace>,
}

/// A row that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Table and row, as people name it.
    pub name: String,
    /// Where it can be put aside: what it said may be known elsewhere. None of a row that nobody else has.
    pub row: Option<DamagedRow>,
}

/// A table of ground: its columns, the last of them the checksum, and the order in which the others are summed.
struct Ground {
    table: &'static str,
    sql: &'static str,
    matches: fn(&[Cell]) -> bool,
}

/// One value, as the checksums take it.
type Cell = Option<Vec<u8>>;

/// The tables of which a row can be put aside.
const CHUNKS: &str = "chunks";
/// See [`CHUNKS`].
const ORDERS: &str = "orders";
/// See [`CHUNKS`].
const FACTS: &str = "facts";

const GROUND: [Ground; 18] = [
    Ground {
        table: "blocks",
        sql: "SELECT rowid, body, first, count, checksum FROM blocks",
        matches: |row| match row {
            [Some(body), Some(first), Some(count), Some(sum)] => {
                readings::block_matches(number(first), number(count), body, sum)
            }
            _ => false,
        },
    },
    Ground {
        table: "sources",
        sql: "SELECT rowid, number, source, checksum FROM sources",
        matches: |row| match row {
            [Some(n), Some(source), Some(sum)] => readings::name_matches(number(n), source, sum),
            _ => false,
        },
    },
    Ground {
        table: "seen",
        sql: "SELECT rowid, entries, checksum FROM seen",
        matches: |row| match row {
            [Some(entries), Some(sum)] => checksum::quick(entries).to_string().as_bytes() == sum,
            _ => false,
        },
    },
    Ground {
        table: "quarantine",
        sql: "SELECT rowid, topic, reason, payload_hash, head, size, at_ms, checksum FROM quarantine",
        // Rows from before 0003_room are summed without size and time.
        matches: |row| summed(row, row.len() - 1) || summed(row, 4),
    },
    Ground {
        table: "decisions",
        sql: "SELECT rowid, hash, body, signature, checksum FROM decisions",
        matches: |row| summed(row, 3),
    },
    Ground {
        table: "anchors",
        sql: "SELECT rowid, hash, body, signature, checksum FROM anchors",
        matches: |row| summed(row, 3),
    },
    Ground {
        table: CHUNKS,
        sql: "SELECT rowid, document, hash, kind, bytes, checksum FROM chunks",
        matches: |row| match row {
            [Some(document), Some(hash), Some(kind), Some(bytes), Some(sum)] => {
                checksum::of(&[document, bytes]) == *sum && documents::is_filed(bytes, hash, kind)
            }
            _ => false,
        },
    },
    Ground {
        table: "leases",
        sql: "SELECT rowid, body, signature, received, checksum FROM leases",
        matches: |row| summed(row, 3),
    },
    Ground {
        table: "leases as used",
        sql: "SELECT rowid, id, used, state, used_checksum FROM leases",
        matches: |row| row[3].is_none() || summed(row, 3),
    },
    Ground { table: ORDERS, sql: "SELECT rowid, order_id, body, checksum FROM orders", matches: |row| summed(row, 2) },
    Ground { table: FACTS, sql: "SELECT rowid, key, body, checksum FROM facts", matches: |row| summed(row, 2) },
    Ground { table: "rules", sql: "SELECT rowid, key, body, checksum FROM rules", matches: |row| summed(row, 2) },
    Ground { table: "journal", sql: "SELECT rowid, body, checksum FROM journal", matches: |row| summed(row, 1) },
    Ground {
        table: "outbox",
        sql: "SELECT rowid, kind, body, checksum FROM outbox",
        matches: |row| row[2].is_none() || summed(row, 2),
    },
    Ground {
        table: "let_go",
        sql: "SELECT rowid, what, at_ms, from_ms, to_ms, count, sources, checksum FROM let_go",
        matches: |row| summed(row, 6),
    },
    Ground {
        table: "drills",
        sql: "SELECT rowid, source, turn, at_ms, by, reason, checksum FROM drills",
        matches: |row| summed(row, 5),
    },
    Ground {
        table: "inputs",
        sql: "SELECT rowid, readings, at, body, checksum FROM inputs",
        matches: |row| summed(row, 3),
    },
    Ground {
        table: "checkpoints",
        sql: "SELECT rowid, input, readings, chunk, at_ms, body, checksum FROM checkpoints",
        matches: |row| summed(row, 5),
    },
];

/// Reads `rows_max` rows from `place` on.
pub fn scrub(conn: &Connection, place: ScrubPlace, rows_max: u32) -> Result<Scrubbed> {
    let ScrubPlace { table, rowid } = place;
    let Some(ground) = GROUND.get(table) else {
        return Ok(Scrubbed { rows: 0, damaged: Vec::new(), next: None });
    };
    let mut query = conn.prepare_cached(&format!("{} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2", ground.sql))?;
    let columns = query.column_count();
    let mut rows = query.query(params![rowid, rows_max])?;
    let mut scrubbed = Scrubbed { rows: 0, damaged: Vec::new(), next: None };
    let mut last = rowid;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        scrubbed.rows += 1;
        let cells = cells(row, columns)?;
        if !(ground.matches)(&cells) {
            let row = of(ground.table, &cells).map(|of| DamagedRow { place: last, of });
            scrubbed.damaged.push(Damaged { name: name(ground.table, last), row });
        }
    }
    let more = scrubbed.rows == u64::from(rows_max);
    scrubbed.next = Some(if more { ScrubPlace { table, rowid: last } } else { first_of(table + 1) });
    Ok(scrubbed)
}

/// How people name a row.
pub fn name(table: &str, place: i64) -> String {
    format!("row {place} of {table}")
}

/// Every change of a document that is not what was written.
pub fn damaged_changes(conn: &Connection) -> Result<Vec<DamagedRow>> {
    let mut place = GROUND.iter().position(|ground| ground.table == CHUNKS).map(first_of);
    let mut damaged = Vec::new();
    while let Some(at) = place {
        let scrubbed = scrub(conn, at, u32::MAX)?;
        damaged.extend(scrubbed.damaged.into_iter().filter_map(|found| found.row));
        place = scrubbed.next.filter(|next| next.table == at.table);
    }
    Ok(damaged)
}

/// Whether a row is what was written; none where it is gone.
pub fn is_sound(conn: &Connection, row: &DamagedRow) -> Result<Option<bool>> {
    let table = match row.of {
        Of::Change { .. } => CHUNKS,
        Of::Order => ORDERS,
        Of::Fact => FACTS,
    };
    let Some(ground) = GROUND.iter().find(|ground| ground.table == table) else { return Ok(None) };
    let mut query = conn.prepare_cached(&format!("{} WHERE rowid = ?1", ground.sql))?;
    let columns = query.column_count();
    let mut rows = query.query([row.place])?;
    let Some(read) = rows.next()? else { return Ok(None) };
    Ok(Some((ground.matches)(&cells(read, columns)?)))
}

/// What a damaged row is, where it can be put aside.
fn of(table: &str, row: &[Cell]) -> Option<Of> {
    let text = |n: usize| -> Option<&str> { std::str::from_utf8(row.get(n)?.as_deref()?).ok() };
    match table {
        CHUNKS => Some(Of::Change {
            document: text(0).and_then(|id| id.parse().ok()),
            hash: text(1).and_then(|hash| hash.parse().ok()),
        }),
        ORDERS => Some(Of::Order),
        FACTS => Some(Of::Fact),
        _ => None,
    }
}

fn first_of(table: usize) -> ScrubPlace {
    ScrubPlace { table, rowid: i64::MIN }
}

/// What stands in the columns behind the row's number.
fn cells(row: &rusqlite::Row<'_>, columns: usize) -> Result<Vec<Cell>> {
    (1..columns).map(|n| row.get_ref(n).map(cell)).collect()
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string().into_bytes()),
        ValueRef::Real(x) => Some(x.to_string().into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}

fn number(cell: &[u8]) -> i64 {
    std::str::from_utf8(cell).ok().and_then(|text| text.parse().ok()).unwrap_or(i64::MIN)
}

/// Whether the last cell is the checksum over the first `parts`.
fn summed(row: &[Cell], parts: usize) -> bool {
    let all: Option<Vec<&[u8]>> = row[..parts].iter().map(Option::as_deref).collect();
    match (all, row.last()) {
        (Some(all), Some(Some(sum))) => checksum::of(&all) == *sum,
        _ => false,
    }
}
