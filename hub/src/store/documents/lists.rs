//! Lists of documents, as they were last folded.

use gatehouse_common::{
    case::CaseType,
    dispatch::DispatchState,
    id::{DocumentId, OrderId, SiteId, VehicleId},
    time::UtcMs,
};
use serde::Serialize;

use crate::store::{
    Reader, StoreError, row,
    sql::{Value, params},
};

/// Which dispatches are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct DispatchFilter {
    /// Only of this depot.
    pub site: Option<SiteId>,
    /// Only of this order.
    pub order: Option<OrderId>,
    /// Only with this vehicle.
    pub vehicle: Option<VehicleId>,
    /// Only in this state.
    pub state: Option<DispatchState>,
    /// Only those that are over at the depot, or only those that are not.
    pub over: Option<bool>,
    /// At most so many; all if none.
    pub limit: Option<usize>,
}

/// Which cases are wanted; the default is all.
#[derive(Debug, Clone, Default)]
pub struct CaseFilter {
    /// Only of this depot.
    pub site: Option<SiteId>,
    /// Only about this order.
    pub order: Option<OrderId>,
    /// Only of this type.
    pub case_type: Option<CaseType>,
    /// Only those that nobody needs to work on any more, or only those that someone does.
    pub over: Option<bool>,
    /// At most so many; all if none.
    pub limit: Option<usize>,
}

/// A document as it was last folded, for lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentRow {
    /// Which.
    pub document: DocumentId,
    /// Its view: a [`DispatchView`] or a [`CaseView`] as JSON.
    pub view: serde_json::Value,
    /// Since when changes of it wait for a past that has not come in; none if none does.
    pub waits_since: Option<UtcMs>,
}

impl Reader<'_> {
    /// Every case that someone needs to work on, folded or not.
    /// # Errors
    /// [`StoreError::Damaged`] if an id cannot be read.
    pub fn open_cases(&self) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT document FROM documents WHERE kind = 'case' AND over = 0 ORDER BY document";
        self.sql.query(sql, params![], |r| row::parse("documents", &r.get::<String>("document")?))
    }

    /// The cases of a type about an order, open or over, folded or not.
    /// # Errors
    /// [`StoreError::Damaged`] if an id cannot be read.
    pub fn cases_about(&self, order: &OrderId, case_type: CaseType) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT document FROM documents
                    WHERE kind = 'case' AND order_id = ?1 AND case_type = ?2 ORDER BY document";
        self.sql.query(sql, params![order.as_str(), case_type.code()], |r| {
            row::parse("documents", &r.get::<String>("document")?)
        })
    }

    /// The order that a case of one of two types is about, while someone needs to work on it.
    /// # Errors
    /// [`StoreError::Damaged`] if its name cannot be read.
    pub fn order_of_open_case(&self, id: &DocumentId, types: [CaseType; 2]) -> Result<Option<OrderId>, StoreError> {
        let sql = "SELECT order_id FROM documents WHERE document = ?1 AND over = 0 AND order_id IS NOT NULL
                     AND case_type IN (?2, ?3)";
        let found = self.sql.query(sql, params![id.to_string(), types[0].code(), types[1].code()], |r| {
            row::parse("documents", &r.get::<String>("order_id")?)
        })?;
        Ok(found.into_iter().next())
    }

    /// Dispatches by filter, by planned departure, as they were last folded.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn dispatches(&self, filter: &DispatchFilter) -> Result<Vec<DocumentRow>, StoreError> {
        let of_order = row::of_order(filter.order.as_ref());
        let sql = format!(
            "SELECT document, view, waiting_since_ms FROM documents
              WHERE kind = 'dispatch' AND state IS NOT NULL AND (?1 IS NULL OR site = ?1)
                AND {of_order} AND (?3 IS NULL OR vehicle = ?3) AND (?4 IS NULL OR state = ?4)
                AND (?5 IS NULL OR over = ?5)
              ORDER BY due_ms, document LIMIT ?6"
        );
        self.rows(
            &sql,
            params![
                filter.site.as_ref().map(SiteId::as_str),
                filter.order.as_ref().map(OrderId::as_str),
                filter.vehicle.as_ref().map(VehicleId::as_str),
                filter.state.map(DispatchState::as_str),
                filter.over,
                row::limit(filter.limit),
            ],
        )
    }

    /// Cases by filter, the worst first, then by when they should be resolved, as they were last folded.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn cases(&self, filter: &CaseFilter) -> Result<Vec<DocumentRow>, StoreError> {
        let of_order = row::of_order(filter.order.as_ref());
        // Else SQLite reads all cases in the order of the index of lists, to sort the few of one order a little less.
        let over = if filter.order.is_some() { "+over" } else { "over" };
        let sql = format!(
            "SELECT document, view, waiting_since_ms FROM documents
              WHERE kind = 'case' AND state IS NOT NULL AND (?1 IS NULL OR site = ?1)
                AND {of_order} AND (?3 IS NULL OR case_type = ?3) AND (?4 IS NULL OR over = ?4)
              ORDER BY {over}, severity, due_ms, document LIMIT ?5"
        );
        self.rows(
            &sql,
            params![
                filter.site.as_ref().map(SiteId::as_str),
                filter.order.as_ref().map(OrderId::as_str),
                filter.case_type.map(CaseType::code),
                filter.over,
                row::limit(filter.limit),
            ],
        )
    }

    /// How many documents that somebody works on have entries that were superseded, by kind, as they were last folded.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn conflicted_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        // A view names them, and says so of itself alone: within a text of somebody's the quotes would be escaped.
        let sql = "SELECT count(*) FROM documents WHERE kind = ?1 AND over = 0 AND view LIKE '%\"superseded\":[[%'";
        let count = |kind: &str| -> Result<(String, u64), StoreError> {
            Ok((kind.to_owned(), row::from_sql(self.sql.one(sql, params![kind], |r| r.get(0))?)))
        };
        Ok(vec![count("case")?, count("dispatch")?])
    }

    fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<DocumentRow>, StoreError> {
        let mut found = self.sql.query(sql, values, |r| {
            let (document, view): (String, String) = (r.get("document")?, r.get("view")?);
            let waits_since: Option<i64> = r.get("waiting_since_ms")?;
            Ok::<_, StoreError>(DocumentRow {
                view: row::json("documents", &document, &view)?,
                document: row::parse("documents", &document)?,
                waits_since: waits_since.map(UtcMs),
            })
        })?;
        // One that was never folded has no view yet; it comes within a second.
        found.retain(|found| !found.view.is_null());
        Ok(found)
    }
}
