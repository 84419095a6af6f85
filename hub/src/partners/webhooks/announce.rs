//! What changed, as events: decided and committed with the mark that it was told.

use gatehouse_common::{
    case::{CaseState, CaseView},
    dispatch::DispatchView,
    id::{DocumentId, Hash32, SiteId},
    time::UtcMs,
};
use serde_json::{Value, json};

use crate::{
    config::Interest,
    store::{Reader, StoreError, Tx, if_readable, webhooks::HookEvent},
};

/// The mark that this hub has begun to tell; what was so before is no news.
const BEGUN: &str = "begun";

/// A change that can be told: its subject, its state now, its depot and its data.
struct News {
    subject: String,
    state: String,
    site: SiteId,
    data: Value,
}

fn of_dispatch(id: &DocumentId, view: &DispatchView) -> News {
    News {
        subject: format!("dispatch/{id}"),
        state: format!("dispatch.{}", view.state.as_str()),
        site: view.site.clone(),
        data: json!({
            "dispatch": id.to_string(), "order": view.order, "order_version": view.order_version, "site": view.site,
            "vehicle": view.vehicle, "carrier": view.carrier, "state": view.state.as_str(),
            "planned_departure_ms": view.planned_departure.0,
            "departed_at_ms": view.departed.as_ref().map(|p| p.at.0),
            "delivered_at_ms": view.delivered.as_ref().map(|p| p.at.0),
        }),
    }
}

fn told_of_case(state: CaseState) -> String {
    format!("case.{}", state.as_str())
}

fn of_case(id: &DocumentId, view: &CaseView) -> News {
    News {
        subject: format!("case/{id}"),
        state: told_of_case(view.state),
        site: view.site.clone(),
        data: json!({
            "case": id.to_string(), "type": view.case_type.code(), "subject": view.subject, "order": view.order,
            "site": view.site, "state": view.state.as_str(), "severity": view.severity, "owner": view.owner,
            "summary": view.summary, "opened_at_ms": view.opened_at.0,
        }),
    }
}

/// How a document stands, as far as it is one of which there is news. One that cannot be read has none, and must not
/// keep the others' back.
fn look(r: &Reader<'_>, id: &DocumentId) -> Result<Option<News>, StoreError> {
    use gatehouse_common::id::DocumentKind;
    let read = || match r.document(id)? {
        Some((DocumentKind::Dispatch, _)) => Ok(r.dispatch_view(id)?.map(|view| of_dispatch(id, &view))),
        Some((DocumentKind::Case, _)) => Ok(r.case_view(id)?.map(|view| of_case(id, &view))),
        None => Ok(None),
    };
    Ok(if_readable(read())?.flatten())
}

/// A case comes to a state of which nobody is to be told.
/// # Errors
/// [`StoreError`] if the store cannot be read or written.
pub fn is_no_news(tx: &mut Tx<'_>, id: &DocumentId, state: CaseState) -> Result<(), StoreError> {
    let Some(news) = look(tx, id)? else { return Ok(()) };
    let n = tx.hook_told(&news.subject)?.map_or(0, |(_, n)| n);
    tx.tell_hook(&news.subject, &told_of_case(state), n)
}

/// Whether this hub has told anything yet.
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn has_begun(r: &Reader<'_>) -> Result<bool, StoreError> {
    Ok(r.hook_told(BEGUN)?.is_some())
}

/// Notes how these documents stand, so that only what changes from now on is told.
/// # Errors
/// [`StoreError`] if the store cannot be read or written.
pub fn begin(tx: &mut Tx<'_>, documents: &[DocumentId]) -> Result<(), StoreError> {
    for id in documents {
        if let Some(news) = look(tx, id)? {
            tx.tell_hook(&news.subject, &news.state, 0)?;
        }
    }
    tx.tell_hook(BEGUN, "", 0)
}

/// Tells of those of these documents whose state is another than the last that was told. Returns how many events.
/// # Errors
/// [`StoreError`] if the store cannot be read or written.
pub fn announce(
    tx: &mut Tx<'_>,
    subscribers: &[Interest],
    documents: &[DocumentId],
    now: UtcMs,
) -> Result<usize, StoreError> {
    let mut told = 0;
    for id in documents {
        let Some(news) = look(tx, id)? else { continue };
        let last = tx.hook_told(&news.subject)?;
        if last.as_ref().is_some_and(|(state, _)| *state == news.state) {
            continue;
        }
        let n = last.map_or(1, |(_, n)| n.saturating_add(1));
        tx.tell_hook(&news.subject, &news.state, n)?;
        let wanted: Vec<&Interest> = subscribers.iter().filter(|hook| hook.wants(&news.state, &news.site)).collect();
        if wanted.is_empty() {
            continue;
        }
        // Made from what caused it, so that it is the same whoever makes it again.
        let name = Hash32::of(format!("{}\n{n}\n{}", news.subject, news.state).as_bytes()).to_string();
        let id = format!("evt_{}", name.chars().take(32).collect::<String>());
        let body = json!({ "type": news.state, "timestamp": now.to_string(), "data": news.data });
        let minutes = wanted.iter().map(|hook| hook.expires_minutes).max().unwrap_or_default();
        let event = HookEvent {
            id,
            kind: news.state,
            site: news.site,
            body: body.to_string(),
            at: now,
            expires: now.plus(i64::from(minutes).saturating_mul(60_000)),
        };
        let names: Vec<String> = wanted.iter().map(|hook| hook.name.clone()).collect();
        tx.keep_hook_event(&event, &names)?;
        told += 1;
    }
    Ok(told)
}
