//! Recon items: columns to search by, and the item as JSON.

use gatehouse_common::id::{DecisionId, OrderId};

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

impl Reader<'_> {
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
        self.sql.query(
            "SELECT decision, body FROM recon_items
              WHERE (?1 = 0 OR outcome IS NULL) AND (?2 IS NULL OR order_id = ?2) AND (?3 IS NULL OR outcome = ?3)
              ORDER BY opened_ms, decision LIMIT ?4",
            params![filter.open, filter.order.as_ref().map(OrderId::as_str), filter.outcome, row::limit(filter.limit),],
            |r| {
                let (decision, body): (String, String) = (r.get("decision")?, r.get("body")?);
                row::json("recon_items", &decision, &body)
            },
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
               (decision, dispatch, order_id, row, family, outcome, approver, body, opened_ms, closed_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (decision) DO UPDATE SET dispatch = ?2, order_id = ?3, row = ?4, family = ?5,
               outcome = ?6, approver = ?7, body = ?8, opened_ms = ?9, closed_ms = ?10, weighs = 1",
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
            ],
        )?;
        self.changed(StoreChange::Recon(item.decision.clone()));
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
