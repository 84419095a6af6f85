//! Whether what a device forged stands nowhere, and the hub names it.

use std::collections::BTreeSet;

use gatehouse_common::document::{Document, gate::inspect};
use rusqlite::{Connection, types::FromSql};

use crate::world::{World, checks::Broken, depot::open_outside};

/// See [`super`].
pub const FORGED: &str = "nothing forged stands in any store, and quarantine names its sender";
/// A device that is refused nothing shows nothing.
pub const REFUSED: &str = "a device that means harm is refused";

/// What does not hold of a device that means harm, looked at from outside.
#[must_use]
pub(in crate::world) fn holds(world: &World) -> Vec<Broken> {
    let Some(hostile) = &world.hostile else { return Vec::new() };
    let mut broken = Vec::new();
    if !world.book.befell.contains_key("forged changes that were refused") {
        let what = format!("none of {} things that {} forged", hostile.forged.len(), hostile.device);
        broken.push(Broken::new(REFUSED, what));
    }
    let mut fail = |what: String| broken.push(Broken::new(FORGED, what));
    let own = hostile.own.as_ref().map(|(id, _)| id.to_string());
    let forged: BTreeSet<(String, String)> = hostile
        .forged
        .iter()
        .filter_map(|forged| Some((forged.document?.to_string(), forged.change?.to_string())))
        .collect();
    let mut is_harm = |place: &str, document: String, bytes: &[u8]| {
        let Ok(change) = inspect(bytes) else { return fail(format!("{place} holds what is no change of {document}")) };
        let is_its = change.actor().is_some_and(|actor| actor.device == hostile.device);
        if is_its && own.as_ref() != Some(&document) {
            fail(format!("{place} holds what {} wrote into {document}", hostile.device));
        }
        let found = (document, change.hash.to_string());
        if forged.contains(&found) {
            fail(format!("{place} holds change {} of {}, which is forged", found.1, found.0));
        }
    };
    let hub = open_outside(&world.hub.path);
    let ledger = "SELECT document, body FROM ledger WHERE kind = 'chunk' ORDER BY position";
    for (document, bytes) in pairs::<Vec<u8>>(&hub, ledger) {
        is_harm("the ledger", document, &bytes);
    }
    for agent in &world.agents {
        let changes = "SELECT document, bytes FROM chunks WHERE aside = 0 ORDER BY position";
        for (document, bytes) in pairs::<Vec<u8>>(&open_outside(&agent.path), changes) {
            is_harm(agent.device.as_str(), document, &bytes);
        }
    }
    for path in world.agents.iter().map(|agent| &agent.path).chain([&world.hub.path]) {
        let place = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // One that was never written whole stands in its changes alone.
        let whole = "SELECT document, snapshot FROM documents WHERE length(snapshot) > 0";
        for (document, snapshot) in pairs::<Vec<u8>>(&open_outside(path), whole) {
            let stands = Document::load(&snapshot).expect("a stored document can be read");
            stands.chunks().iter().for_each(|chunk| is_harm(&place, document.clone(), &chunk.bytes));
        }
    }
    let decisions = format!("SELECT id, kind FROM decisions WHERE device = '{}'", hostile.device);
    for (id, _) in pairs::<String>(&hub, &decisions) {
        fail(format!("the hub holds decision {id}"));
    }
    let aside = format!("SELECT what || ' ' || document, hash FROM quarantine WHERE origin = '{}'", hostile.device);
    let aside: BTreeSet<(String, String)> = pairs(&hub, &aside).into_iter().collect();
    for forged in &hostile.forged {
        let Some(hash) = &forged.quarantined else { continue };
        let document = forged.document.map(|id| id.to_string()).unwrap_or_default();
        let found = (format!("{} {document}", forged.what), hash.to_string());
        if !aside.contains(&found) {
            fail(format!("{} {} of {} is not in quarantine", found.0, found.1, hostile.device));
        }
    }
    broken
}

/// Rows of two columns.
fn pairs<T: FromSql>(store: &Connection, sql: &str) -> Vec<(String, T)> {
    let mut statement = store.prepare(sql).expect("the store has the tables it promises");
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, T>(1)?)));
    rows.expect("a table can be read").map(|row| row.expect("a row can be read")).collect()
}
