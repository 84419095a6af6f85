//! Recon items: columns to search by, and the item as JSON.

use std::collections::BTreeMap;

use gatehouse_common::{
    id::{DecisionId, LeaseId, OrderId},
    time::UtcMs,
};
use serde::Serialize;

use super::{Reader, StoreChange, StoreError, Tx, row, sql::params};
use crate::core::reconcile::ReconItem;

/// Which recon items are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct ReconFilter {
    /// Only those without an outcome.
    pub open: bool,
    /// Only those of this order.
    pub order: Option<OrderId>,
    /// Only those with this outcome, such as `matched`.
    pub outcome: Option<String>,
    /// At most so many; all if none.
    pub limit: Option<usize>,
}

/// Settled items whose times are read, at most.
const TIMED_MAX: i64 = 10_000;

/// How much of a family is open and how long it takes to settle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FamilyFigures {
    /// The family's word.
    pub family: String,
    /// Items without an outcome.
    pub open: u64,
    /// Those of them for which a person must choose.
    pub waiting: u64,
    /// What is at stake in them, in minor units by currency.
    pub open_value_minor: BTreeMap<String, i64>,
    /// Items that were settled since the time asked for.
    pub settled: u64,
    /// Half of these were settled within so many milliseconds of their decision; none if none was.
    pub p50_ms: Option<i64>,
    /// Nine of ten of these.
    pub p90_ms: Option<i64>,
}

impl Reader<'_> {
    /// What is open and how long settling took, by family, of items settled since `since`. What is opened again counts
    /// from then on, since the time before was another matter's.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn recon_figures(&self, since: UtcMs) -> Result<Vec<FamilyFigures>, StoreError> {
        let mut families: BTreeMap<String, FamilyFigures> = BTreeMap::new();
        let named = |families: &mut BTreeMap<String, FamilyFigures>, family: &str| {
            families
                .entry(family.to_owned())
                .or_insert_with_key(|name| FamilyFigures { family: name.clone(), ..FamilyFigures::default() });
        };
        let open: Vec<(String, String, i64, i64, i64)> = self.sql.query(
            "SELECT family, currency, count(*) AS n, CAST(sum(value_minor) AS BIGINT) AS value,
                    CAST(sum(waits) AS BIGINT) AS waits FROM recon_items
              WHERE outcome IS NULL GROUP BY family, currency ORDER BY family, currency",
            params![],
            |r| {
                Ok::<_, StoreError>((
                    r.get("family")?,
                    r.get("currency")?,
                    r.get("n")?,
                    r.get("value")?,
                    r.get("waits")?,
                ))
            },
        )?;
        for (family, currency, n, value, waits) in open {
            named(&mut families, &family);
            let Some(figures) = families.get_mut(&family) else { continue };
            figures.open = figures.open.saturating_add(row::from_sql(n));
            figures.waiting = figures.waiting.saturating_add(row::from_sql(waits));
            if !currency.is_empty() {
                figures.open_value_minor.insert(currency, value);
            }
        }
        let times: Vec<(String, i64)> = self.sql.query(
            "SELECT family, closed_ms - since_ms AS took FROM recon_items
              WHERE closed_ms >= ?1 AND since_ms IS NOT NULL ORDER BY closed_ms DESC LIMIT ?2",
            params![since.0, TIMED_MAX],
            |r| Ok::<_, StoreError>((r.get("family")?, r.get("took")?)),
        )?;
        let mut took: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (family, ms) in times {
            // A depot's clock may be ahead of ours.
            took.entry(family).or_default().push(ms.max(0));
        }
        for (family, mut took) in took {
            named(&mut families, &family);
            took.sort_unstable();
            let Some(figures) = families.get_mut(&family) else { continue };
            figures.settled = took.len() as u64;
            // The nearest rank: the least of which that share is no longer.
            let at = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied();
            (figures.p50_ms, figures.p90_ms) = (at(50), at(90));
        }
        Ok(families.into_values().collect())
    }

    /// The item of a decision.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn recon_item(&self, decision: &DecisionId) -> Result<Option<ReconItem>, StoreError> {
        let body: Option<String> =
            self.sql.optional("SELECT body FROM recon_items WHERE decision = ?1", params![decision.as_str()], |r| {
                r.get(0)
            })?;
        body.map(|text| row::json("recon_items", decision.as_str(), &text)).transpose()
    }

    /// Items by filter, the oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn recon_items(&self, filter: &ReconFilter) -> Result<Vec<ReconItem>, StoreError> {
        let open = if filter.open { "?1 = 1 AND outcome IS NULL" } else { "?1 = 0" };
        let order = row::of_order(filter.order.as_ref());
        let sql = format!(
            "SELECT decision, body FROM recon_items WHERE {open} AND {order} AND (?3 IS NULL OR outcome = ?3)
              ORDER BY opened_ms, decision LIMIT ?4"
        );
        self.sql.query(
            &sql,
            params![filter.open, filter.order.as_ref().map(OrderId::as_str), filter.outcome, row::limit(filter.limit),],
            |r| {
                let (decision, body): (String, String) = (r.get("decision")?, r.get("body")?);
                row::json("recon_items", &decision, &body)
            },
        )
    }

    /// Decisions about an order whose items are open, the oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if a name cannot be read.
    pub fn open_items_of(&self, order: &OrderId) -> Result<Vec<DecisionId>, StoreError> {
        self.sql.query(
            "SELECT decision FROM recon_items WHERE order_id = ?1 AND outcome IS NULL ORDER BY opened_ms, decision",
            params![order.as_str()],
            |r| row::parse("recon_items", &r.get::<String>("decision")?),
        )
    }

    /// Items of releases that may still weigh on a figure, the oldest first.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn recon_items_that_weigh(&self) -> Result<Vec<ReconItem>, StoreError> {
        self.sql.query(
            "SELECT decision, body FROM recon_items WHERE weighs = 1 ORDER BY opened_ms, decision",
            params![],
            |r| {
                let (decision, body): (String, String) = (r.get("decision")?, r.get("body")?);
                row::json("recon_items", &decision, &body)
            },
        )
    }

    /// How many items there are with each outcome; open ones under an empty text.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn recon_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.sql.query("SELECT coalesce(outcome, '') AS o, count(*) AS n FROM recon_items GROUP BY o", params![], |r| {
            Ok((r.get("o")?, row::from_sql(r.get("n")?)))
        })
    }
}

impl Tx<'_> {
    /// Writes an item as it stands; one per decision.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_recon_item(&mut self, item: &ReconItem) -> Result<(), StoreError> {
        let outcome = item.outcome.as_ref();
        self.sql.execute(
            "INSERT INTO recon_items
               (decision, dispatch, order_id, row, family, outcome, approver, body, opened_ms, closed_ms,
                since_ms, value_minor, currency, waits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (decision) DO UPDATE SET dispatch = ?2, order_id = ?3, row = ?4, family = ?5,
               outcome = ?6, approver = ?7, body = ?8, opened_ms = ?9, closed_ms = ?10,
               since_ms = ?11, value_minor = ?12, currency = ?13, waits = ?14, weighs = 1",
            params![
                item.decision.as_str(),
                item.dispatch.map(|d| d.to_string()),
                item.order.as_ref().map(OrderId::as_str),
                item.row,
                item.family.as_str(),
                outcome.map(|o| o.as_str()),
                outcome.and_then(|o| o.approver()),
                serde_json::to_string(item)?,
                item.opened.0,
                item.closed.map(|c| c.0),
                item.reopened.or(item.decided).map(|at| at.0),
                item.value_minor,
                item.currency,
                !item.choices.is_empty() || item.proposed.is_some(),
            ],
        )?;
        self.changed(StoreChange::Recon(item.decision.clone()));
        Ok(())
    }

    /// Releases that were charged to a lease weigh again: more of it was used than was known when they left the book.
    pub(crate) fn weighs_again(&mut self, lease: &LeaseId) -> Result<(), StoreError> {
        // Seldom: a depot that was written off comes back and states more than it had told.
        let named = format!("%\"lease\":\"{lease}\"%");
        self.sql.execute("UPDATE recon_items SET weighs = 1 WHERE weighs = 0 AND body LIKE ?1", params![named])?;
        Ok(())
    }

    /// The release of a decision weighs on no figure any more, until its item changes again.
    /// # Errors
    /// [`StoreError::Sql`].
    pub(crate) fn weighs_no_more(&mut self, decision: &DecisionId) -> Result<(), StoreError> {
        self.sql.execute("UPDATE recon_items SET weighs = 0 WHERE decision = ?1", params![decision.as_str()])?;
        Ok(())
    }
}
