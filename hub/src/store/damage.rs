//! Ground rows that no longer say what was written: found, and never given out.
//!
//! What is read over is shared by [`super::moving::verify`] and the scrub. A row that is damaged stays in its place, where
//! each reader finds its checksum wrong and leaves it out; how it was found is kept aside ([`super::mending`]).

use gatehouse_common::{id::DocumentId, order::Order, sync::Downward};
use tracing::error;

use super::{Reader, StoreError, row, sql::params};

/// A row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Of which table.
    pub table: &'static str,
    /// Its name there.
    pub row: String,
    /// What is wrong with it.
    pub why: String,
}

impl DamagedRow {
    /// Tells in the log what became of the row when it was put aside, and gives it on: whether it is whole again; none if it
    /// was put aside before, or could not be.
    /// # Errors
    /// [`StoreError::NotWritten`], which is no fault of this row.
    pub(crate) fn tell(&self, put_aside: Result<Option<bool>, StoreError>) -> Result<Option<bool>, StoreError> {
        let (row, why) = (format!("row {} of {}", self.row, self.table), &self.why);
        match &put_aside {
            Ok(None) | Err(StoreError::NotWritten(_)) => return put_aside,
            Ok(Some(true)) => {
                error!(row, "the store was damaged: {row}: {why}; it is whole again; look after the disk");
            }
            Ok(Some(false)) => error!(
                row,
                "the store is damaged: {row}: {why}; it is given to nobody, and asked for again; look after the disk"
            ),
            Err(e) => error!(
                row,
                error = %e,
                "the store is damaged: {row}: {why}; it is given to nobody, and could not be put aside: {e}; look after \
                 the disk"
            ),
        }
        Ok(put_aside.unwrap_or_default())
    }
}

/// What reading over some rows of a table has shown.
pub(super) struct Checked {
    pub(super) rows: u64,
    /// The place of the last of them; none at the end of the table.
    pub(super) last: Option<String>,
    pub(super) damaged: Vec<StoreError>,
}

impl Checked {
    /// From the rows, each with its place and what is wrong with it.
    pub(super) fn of(rows: Vec<(String, Option<StoreError>)>) -> Self {
        let (count, last) = (rows.len() as u64, rows.last().map(|(place, _)| place.clone()));
        Self { rows: count, last, damaged: rows.into_iter().filter_map(|(_, wrong)| wrong).collect() }
    }
}

/// Which rows are read over next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubPlace {
    table: usize,
    after: String,
}

/// What a stretch of the scrub has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many rows were read.
    pub rows: u64,
    /// Those that are damaged.
    pub damaged: Vec<DamagedRow>,
    /// Where to go on; none at the end of the round.
    pub next: Option<ScrubPlace>,
}

/// The tables, in the order in which they are read over.
const TABLES: [&str; 5] = ["ledger", "decisions", "forks", "orders", "documents"];

/// A place that is a number; 0 before the first.
pub(super) fn number(after: &str) -> i64 {
    after.parse().unwrap_or(0)
}

impl Reader<'_> {
    /// Reads a table over from its start, by `check` from one place on to the next, up to the first row that is damaged and
    /// not put aside. Returns how many are put aside: those are known, and one that nobody has any more would else end
    /// every backup for good.
    pub(super) fn verified(&self, check: impl Fn(&str) -> Result<Checked, StoreError>) -> Result<u64, StoreError> {
        let (mut last, mut put_aside) = (String::new(), 0);
        loop {
            let checked = check(&last)?;
            for wrong in checked.damaged {
                let is_known = match &wrong {
                    StoreError::Damaged { table, row, .. } => self.is_put_aside(table, row)?,
                    _ => false,
                };
                if !is_known {
                    return Err(wrong);
                }
                put_aside += 1;
            }
            match checked.last {
                Some(place) => last = place,
                None => return Ok(put_aside),
            }
        }
    }

    /// Reads up to `limit` rows over against their checksums, from `place` on.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn scrub(&self, place: ScrubPlace, limit: usize) -> Result<Scrubbed, StoreError> {
        let checked = match TABLES.get(place.table).copied() {
            Some("ledger") => self.check_ledger(number(&place.after), limit)?,
            Some("decisions") => self.check_decisions(number(&place.after), limit)?,
            Some("forks") => self.check_forks(number(&place.after), limit)?,
            Some("orders") => self.check_orders(&place.after, limit)?,
            Some("documents") => self.check_snapshots(&place.after, limit)?,
            _ => return Ok(Scrubbed { rows: 0, damaged: Vec::new(), next: None }),
        };
        let next = match checked.last {
            Some(after) if checked.rows >= limit as u64 => Some(ScrubPlace { after, ..place }),
            _ if place.table + 1 < TABLES.len() => Some(ScrubPlace { table: place.table + 1, after: String::new() }),
            _ => None,
        };
        let damaged = checked.damaged.into_iter().filter_map(|e| match e {
            StoreError::Damaged { table, row, why } => Some(DamagedRow { table, row, why }),
            _ => None,
        });
        Ok(Scrubbed { rows: checked.rows, damaged: damaged.collect(), next })
    }

    /// Orders as they are served against the ledger, from which they come.
    fn check_orders(&self, after: &str, limit: usize) -> Result<Checked, StoreError> {
        let rows = self.sql.query(
            "SELECT order_id, version, site, vehicle, customer, body FROM orders WHERE order_id > ?1
              ORDER BY order_id LIMIT ?2",
            params![after, limit as i64],
            |r| {
                let (id, body): (String, String) = (r.get("order_id")?, r.get("body")?);
                let columns: (i64, String, String, String) =
                    (r.get("version")?, r.get("site")?, r.get("vehicle")?, r.get("customer")?);
                Ok::<_, StoreError>((id, body, columns))
            },
        )?;
        let mut found = Vec::new();
        for (id, body, (version, site, vehicle, customer)) in rows {
            let hash = Downward::Order(body.clone()).hash();
            let fits = serde_json::from_str::<Order>(&body).is_ok_and(|order| {
                order.id.as_str() == id
                    && row::to_sql(order.version) == version
                    && order.site.as_str() == site
                    && order.vehicle.as_str() == vehicle
                    && order.customer.id.as_str() == customer
            });
            let is_sound = fits && self.ledger_place("", &hash)?.is_some();
            let wrong = (!is_sound).then(|| row::damaged("orders", &id, "it is not what the ledger has of it"));
            found.push((id, wrong));
        }
        Ok(Checked::of(found))
    }

    /// Documents of which a change is damaged and not whole again.
    pub(crate) fn damaged_documents(&self) -> Result<Vec<DocumentId>, StoreError> {
        let sql =
            "SELECT DISTINCT document FROM damaged WHERE of_table = 'ledger' AND mended_ms IS NULL AND document <> ''";
        self.sql.query(sql, params![], |r| row::parse("damaged", &r.get::<String>("document")?))
    }

    /// How many rows are damaged and not whole again, by table.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn damaged_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql =
            "SELECT of_table, count(*) AS n FROM damaged WHERE mended_ms IS NULL GROUP BY of_table ORDER BY of_table";
        self.sql.query(sql, params![], |r| Ok((r.get("of_table")?, row::from_sql(r.get("n")?))))
    }

    /// Whether any row is damaged and not whole again. Most often none is.
    pub(crate) fn has_damage(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM damaged WHERE mended_ms IS NULL)";
        Ok(self.sql.one(sql, params![], |r| r.get(0))?)
    }

    pub(super) fn is_put_aside(&self, table: &str, name: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM damaged WHERE of_table = ?1 AND name = ?2 AND mended_ms IS NULL)";
        Ok(self.sql.one(sql, params![table, name], |r| r.get(0))?)
    }
}
