//! What the hub derives from a document: its fold, as columns to search by and JSON to show.
//!
//! In: a document. Out: a [`Projection`]. It can be thrown away and made again from the document.

use gatehouse_common::{
    case::{self, CaseView},
    dispatch::{self, DispatchView},
    document::Document,
    id::{DocumentId, DocumentKind, OrderId, SiteId, VehicleId},
    time::UtcMs,
};

/// A document folded by its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// A case, once someone has opened it.
    Case(Option<Box<CaseView>>),
    /// A dispatch, once someone has planned it.
    Dispatch(Option<Box<DispatchView>>),
}

/// What is searched by, of either kind of document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// Its depot.
    pub site: Option<SiteId>,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// The vehicle of a dispatch.
    pub vehicle: Option<VehicleId>,
    /// Where it stands, in a word.
    pub state: Option<&'static str>,
    /// Whether nobody needs to work on it.
    pub over: bool,
    /// The type of a case, as its code.
    pub case_type: Option<&'static str>,
    /// The team that owns a case.
    pub owner: Option<&'static str>,
    /// The severity of a case, `S1` to `S5`.
    pub severity: Option<String>,
    /// Which document of its dedup key.
    pub occurrence: Option<u32>,
    /// Planned departure of a dispatch, resolve-by of a case.
    pub due: Option<UtcMs>,
}

/// What is derived from a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// What follows from it.
    pub view: View,
    /// What is searched by.
    pub columns: Columns,
}

/// Whose a document is: by this it is said which devices may write into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Its depot.
    pub site: SiteId,
    /// The orders that a case is about, by what it says and by its subject.
    pub orders: Vec<OrderId>,
    /// The vehicle of a dispatch.
    pub vehicle: Option<VehicleId>,
}

/// What the gate compares before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Whose the document is.
    pub whose: Whose,
    /// The version of the fold that it asks for.
    pub fold: u32,
}

/// Folds a document.
#[must_use]
pub fn project(kind: DocumentKind, document: &Document) -> Projection {
    match kind {
        DocumentKind::Case => {
            let view = case::fold(document).map(Box::new);
            let columns = view.as_deref().map(case_columns).unwrap_or_default();
            Projection { view: View::Case(view), columns }
        }
        DocumentKind::Dispatch => {
            let view = dispatch::fold(document).map(Box::new);
            let columns = view.as_deref().map(dispatch_columns).unwrap_or_default();
            Projection { view: View::Dispatch(view), columns }
        }
    }
}

impl Projection {
    /// The view as JSON; `null` while its first chunks are still on the way.
    /// # Errors
    /// If a value in it cannot be written as JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        match &self.view {
            View::Case(view) => serde_json::to_string(view),
            View::Dispatch(view) => serde_json::to_string(view),
        }
    }

    /// What the gate has to know of it; none while it says nothing.
    #[must_use]
    pub fn brief(&self) -> Option<Brief> {
        match &self.view {
            View::Case(view) => view.as_deref().map(|v| {
                let named = OrderId::new(v.subject.as_str()).ok().filter(|named| v.order.as_ref() != Some(named));
                let orders = v.order.iter().cloned().chain(named).collect();
                Brief { whose: Whose { site: v.site.clone(), orders, vehicle: None }, fold: v.fold }
            }),
            View::Dispatch(view) => view.as_deref().map(|v| {
                let vehicle = Some(v.vehicle.clone());
                Brief { whose: Whose { site: v.site.clone(), orders: Vec::new(), vehicle }, fold: v.fold }
            }),
        }
    }

    /// Which document this must be by what it says of itself; none while it says nothing.
    ///
    /// A writer that plans a dispatch or opens a case under another document's id is caught by this.
    #[must_use]
    pub fn document_id(&self) -> Option<DocumentId> {
        match &self.view {
            View::Case(view) => view
                .as_deref()
                .map(|v| case::document_id(&case::dedup_key(v.case_type, &v.subject, &v.leg), v.occurrence)),
            View::Dispatch(view) => view.as_deref().map(|v| dispatch::document_id(&v.order, &v.site, v.occurrence)),
        }
    }
}

fn case_columns(view: &CaseView) -> Columns {
    Columns {
        site: Some(view.site.clone()),
        order: view.order.clone(),
        vehicle: None,
        state: Some(view.state.as_str()),
        over: view.state.is_over(),
        case_type: Some(view.case_type.code()),
        owner: Some(view.owner.as_str()),
        severity: Some(format!("{:?}", view.severity)),
        occurrence: Some(view.occurrence),
        due: view.resolve_by,
    }
}

fn dispatch_columns(view: &DispatchView) -> Columns {
    Columns {
        site: Some(view.site.clone()),
        order: Some(view.order.clone()),
        vehicle: Some(view.vehicle.clone()),
        state: Some(view.state.as_str()),
        over: view.state.is_over_at_depot(),
        case_type: None,
        owner: None,
        severity: None,
        occurrence: Some(view.occurrence),
        due: Some(view.planned_departure),
    }
}
