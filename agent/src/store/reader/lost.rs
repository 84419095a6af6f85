//! What was said in a document and lost, or counts for nothing: a page shows who said what.

use std::collections::BTreeMap;

use gatehouse_common::{document::named_as_lost, id::DocumentId};
use rusqlite::Connection;
use serde_json::Value;

use crate::store::documents;

/// The entries that a view names as superseded or void, as they were written. Most documents have none.
pub(super) fn lost(conn: &Connection, document: DocumentId, view: &Value) -> BTreeMap<String, Value> {
    let keys = named_as_lost(view);
    if keys.is_empty() {
        return BTreeMap::new();
    }
    // One that rotted is told of elsewhere, and must not take away the board.
    let stored = documents::one(conn, document).ok().flatten();
    let Some(document) = stored.and_then(|stored| stored.open().ok()) else { return BTreeMap::new() };
    let entries = document.entries::<Value>().0.into_iter().map(|(key, entry)| (key.to_string(), entry));
    entries
        .filter(|(key, _)| keys.contains(key.as_str()))
        .filter_map(|(key, entry)| Some((key, serde_json::to_value(entry).ok()?)))
        .collect()
}
