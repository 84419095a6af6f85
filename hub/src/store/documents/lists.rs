//! Lists of documents, as they were last folded.

use gatehouse_common::{
    case::CaseType,
    dispatch::DispatchState,
    id::{DocumentId, OrderId, SiteId, VehicleId},
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
}

impl Reader<'_> {
    /// Every case that someone needs to work on, folded or not.
    /// # Errors
    /// [`StoreError::Damaged`] if an id cannot be read.
    pub fn open_cases(&self) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT document FROM documents WHERE kind = 'case' AND over = 0 ORDER BY document";
        self.sql.query(sql, params![], |r| row::parse("documents", &r.get::<String>("document")?))
    }

    /// Dispatches by filter, by planned departure, as they were last folded.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn dispatches(&self, filter: &DispatchFilter) -> Result<Vec<DocumentRow>, StoreError> {
        let of_order = row::of_order(filter.order.as_ref());
        let sql = format!(
            "SELECT document, view FROM documents
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
            "SELECT document, view FROM documents
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

    fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<DocumentRow>, StoreError> {
        let mut found = self.sql.query(sql, values, |r| {
            let (document, view): (String, String) = (r.get("document")?, r.get("view")?);
            Ok::<_, StoreError>(DocumentRow {
                view: row::json("documents", &document, &view)?,
                document: row::parse("documents", &document)?,
            })
        })?;
        // One that was never folded has no view yet; it comes within a second.
        found.retain(|found| !found.view.is_null());
        Ok(found)
    }
}
