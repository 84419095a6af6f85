//! Cases that follow from what a partner said.

use gatehouse_common::{
    bundle::Rules,
    case::{self, CaseState, CaseType},
    id::Hash32,
    order::Order,
    sync::Lane,
    time::UtcMs,
};

use crate::{
    core::opening::{Opening, axes_of},
    store::{DocumentSays, StoreError, Tx},
};

/// Opens the case of an order unless it is open; one whose order is not known is opened by nobody.
/// # Errors
/// [`StoreError`] if it cannot be read or written.
pub fn open(
    tx: &mut Tx<'_>,
    subject: &str,
    case_type: CaseType,
    told: &str,
    by: &str,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some(order) = order(tx, subject)? else { return Ok(()) };
    let key = case::dedup_key(case_type, subject, "");
    let occurrence = match tx.newest_case(&key)? {
        Some((_, _, view)) if !view.state.is_over() => return Ok(()),
        Some((before, ..)) => before.saturating_add(1),
        None => 1,
    };
    let rules = Rules::default();
    let axes = axes_of(&order, order.value_minor(&order.quantities()), &rules.money_axis_minor, now);
    let opening = Opening {
        case_type,
        subject: subject.to_owned(),
        leg: String::new(),
        occurrence,
        site: order.site.clone(),
        summary: told.to_owned(),
        order: Some(order.id.clone()),
        blocks: None,
        owner: None,
    };
    let says = opening.says(axes, None, Hash32::of(b""), now);
    let id = case::document_id(&key, occurrence);
    tx.write_entries(&id, DocumentSays::Case(says), &writer(by), Lane::Documents, now).map(|_| ())
}

/// Resolves the case of an order, if there is one open.
/// # Errors
/// [`StoreError`] if it cannot be read or written.
pub fn clear(
    tx: &mut Tx<'_>,
    subject: &str,
    case_type: CaseType,
    told: &str,
    by: &str,
    now: UtcMs,
) -> Result<(), StoreError> {
    let Some((_, id, view)) = tx.newest_case(&case::dedup_key(case_type, subject, ""))? else { return Ok(()) };
    if view.state.is_over() {
        return Ok(());
    }
    let reason = told.to_owned();
    let says = case::Says::Moved { to: CaseState::Resolved, since: now, reason, auto_cleared: true, how: None };
    tx.write_entries(&id, DocumentSays::Case(vec![says]), &writer(by), Lane::Documents, now).map(|_| ())
}

fn writer(partner: &str) -> String {
    format!("partner: {partner}")
}

fn order(tx: &Tx<'_>, subject: &str) -> Result<Option<Order>, StoreError> {
    match subject.parse() {
        Ok(order) => tx.order(&order),
        Err(_) => Ok(None),
    }
}
