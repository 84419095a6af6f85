//! Reads ground rows over and compares each with its checksum: SQLite says nothing of a flipped bit.
//!
//! In: a place to go on from. Out: what does not match, and the place after it; [`None`] at the end. A few rows at a
//! time, so that nobody waits for it. Repairs nothing: a person must know before anything is set aside.

use rusqlite::{Connection, Result, params, types::ValueRef};

use super::{checksum, readings};

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
    /// Rows that do not match, each by table and row.
    pub damaged: Vec<String>,
    /// Where to go on.
    pub next: Option<ScrubPlace>,
}

/// A table of ground: its columns, the last of them the checksum, and the order in which the others are summed.
struct Ground {
    table: &'static str,
    sql: &'static str,
    matches: fn(&[Cell]) -> bool,
}

/// One value, as the checksums take it.
type Cell = Option<Vec<u8>>;

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
        table: "chunks",
        sql: "SELECT rowid, document, bytes, checksum FROM chunks",
        matches: |row| summed(row, 2),
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
    Ground {
        table: "orders",
        sql: "SELECT rowid, order_id, body, checksum FROM orders",
        matches: |row| summed(row, 2),
    },
    Ground { table: "facts", sql: "SELECT rowid, key, body, checksum FROM facts", matches: |row| summed(row, 2) },
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
        let cells = (1..columns).map(|n| row.get_ref(n).map(cell)).collect::<Result<Vec<Cell>>>()?;
        if !(ground.matches)(&cells) {
            scrubbed.damaged.push(format!("row {last} of {}", ground.table));
        }
    }
    let more = scrubbed.rows == u64::from(rows_max);
    scrubbed.next =
        Some(if more { ScrubPlace { table, rowid: last } } else { ScrubPlace { table: table + 1, rowid: i64::MIN } });
    Ok(scrubbed)
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
