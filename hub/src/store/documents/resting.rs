//! Cases at rest: resolved ones that may close by now, and closed ones in which a device said something. Both are asked
//! for every minute, so each comes out of an index of its own.

use gatehouse_common::{id::DocumentId, time::UtcMs};

use crate::{
    core::APART_MS,
    store::{
        Reader, StoreError, Tx, row,
        sql::{Row, params},
    },
};

/// A resolved case is found by its state alone, see migration 22.
const AT_REST: &str = "SELECT document, changed_ms FROM documents
  WHERE state = 'resolved' AND changed_ms <= ?1 AND (changed_ms, document) > (?2, ?3) AND waiting_since_ms IS NULL
    AND NOT EXISTS (SELECT 1 FROM recon_items
                     WHERE recon_items.order_id = documents.order_id AND recon_items.outcome IS NULL)
  ORDER BY changed_ms, document LIMIT ?4";

/// Whose last change is not the hub's own.
const TOLD_OF_CLOSED: &str = "SELECT document FROM documents
  WHERE state = 'closed' AND changed_ms >= ?1
    AND EXISTS (SELECT 1 FROM ledger WHERE ledger.position = documents.last_chunk AND ledger.origin <> '')
  ORDER BY changed_ms, document";

/// A resolved case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtRest {
    /// Which.
    pub document: DocumentId,
    /// When the hub last took something in of it, or said something in it, by the hub's clock: no device's can move it.
    pub since: UtcMs,
}

impl AtRest {
    fn read(r: &Row<'_>) -> Result<Self, StoreError> {
        let since = UtcMs(r.get("changed_ms")?);
        Ok(Self { document: row::parse("documents", &r.get::<String>("document")?)?, since })
    }
}

impl Reader<'_> {
    /// Resolved cases of which nothing was said after `until`, behind `behind`, at most `limit`, the longest at rest
    /// first. Left out are those whose order has an open recon item, and those with changes that wait for their past.
    /// # Errors
    /// [`StoreError::Damaged`] if an id cannot be read.
    pub fn cases_at_rest(
        &self,
        until: UtcMs,
        behind: Option<&AtRest>,
        limit: usize,
    ) -> Result<Vec<AtRest>, StoreError> {
        let (since, document) =
            behind.map_or((i64::MIN, String::new()), |behind| (behind.since.0, behind.document.to_string()));
        self.sql.query(AT_REST, params![until.0, since, document, limit as i64], AtRest::read)
    }

    /// Since when nothing was said of a case; none if changes of it wait for their past.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn rests_since(&self, id: &DocumentId) -> Result<Option<UtcMs>, StoreError> {
        let sql = "SELECT changed_ms FROM documents WHERE document = ?1 AND waiting_since_ms IS NULL";
        Ok(self.sql.optional(sql, params![id.to_string()], |r| r.get("changed_ms"))?.map(UtcMs))
    }

    /// Closed cases in which a device was the last to say something, taken in at `since` or later.
    /// # Errors
    /// [`StoreError::Damaged`] if an id cannot be read.
    pub fn told_of_closed(&self, since: UtcMs) -> Result<Vec<DocumentId>, StoreError> {
        self.sql.query(TOLD_OF_CLOSED, params![since.0], |r| row::parse("documents", &r.get::<String>("document")?))
    }
}

impl Tx<'_> {
    /// Resolved cases that count as changed later than `now` count as changed now: the clock was ahead, and they would rest
    /// for as long as it had been.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn right_cases_at_rest(&mut self, now: UtcMs) -> Result<(), StoreError> {
        let sql = "UPDATE documents SET changed_ms = ?1 WHERE state = 'resolved' AND changed_ms > ?2";
        self.sql.execute(sql, params![now.0, now.plus(APART_MS).0])?;
        Ok(())
    }

    /// A closed case counts as unchanged since `since`, though the hub closed it later.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_changed(&mut self, id: &DocumentId, since: UtcMs) -> Result<(), StoreError> {
        let sql = "UPDATE documents SET changed_ms = ?2 WHERE document = ?1 AND state = 'closed'";
        self.sql.execute(sql, params![id.to_string(), since.0])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Store, StoreError, sql::params};

    #[test]
    fn what_is_asked_every_minute_reads_only_cases_that_rest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let plan = |sql: &str, count: usize| -> String {
            let asked = format!("EXPLAIN QUERY PLAN {sql}");
            let values = params![1, 1, "a", 1][..count].to_vec();
            let steps = store.read_now(|r| {
                r.sql.query(&asked, &values, |row| row.get::<String>("detail").map_err(StoreError::from))
            });
            steps.unwrap().join("; ")
        };
        let (resting, closed) = (plan(super::AT_REST, 4), plan(super::TOLD_OF_CLOSED, 1));
        assert!(resting.contains("documents_resolved") && resting.contains("recon_items_order"), "{resting}");
        assert!(!resting.contains("TEMP B-TREE"), "{resting}");
        assert!(closed.contains("documents_closed") && !closed.contains("ledger_origin"), "{closed}");
        // The control: asked for by kind as well, all cases are read.
        let by_kind = plan(&super::AT_REST.replace("WHERE state", "WHERE kind = 'case' AND state"), 4);
        assert!(!by_kind.contains("documents_resolved"), "{by_kind}");
    }
}
