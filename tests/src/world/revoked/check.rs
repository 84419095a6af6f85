//! Whether who was revoked is out, and what it gave itself has no effect.

use gatehouse_common::{
    document::{Document, gate::inspect},
    lease::Lease,
    seal::Sealed,
    time::UtcMs,
};
use rusqlite::{Connection, params};

use super::{Fate, LONGER_MS};
use crate::world::{
    World,
    checks::Broken,
    clock::{MINUTE, SECOND},
    depot::{Agent, open_outside},
};

/// See [`super`].
pub const OUT: &str = "a minute after a device was revoked nothing is answered to it, taken from it or lent to it";

/// How long after the commit of a revocation a device may still be heard, in milliseconds.
const WITHIN: i64 = MINUTE;
/// What the hub takes in of a device, and by its clock when.
const TAKEN: [(&str, &str); 4] = [
    ("ledger", "SELECT count(*) FROM ledger WHERE origin = ?1 AND at_ms > ?2"),
    ("decisions", "SELECT count(*) FROM decisions WHERE device = ?1 AND received_ms > ?2"),
    ("quarantine", "SELECT count(*) FROM quarantine WHERE origin = ?1 AND at_ms > ?2"),
    ("list of devices", "SELECT count(*) FROM devices WHERE device = ?1 AND seen_ms > ?2"),
];

/// What does not hold of devices that were revoked, looked at from outside.
#[must_use]
pub(in crate::world) fn holds(world: &World) -> Vec<Broken> {
    if world.revoked.0.is_empty() {
        return Vec::new();
    }
    let hub = open_outside(&world.hub.path);
    let of_each = world.revoked.0.iter().flat_map(|(place, fate)| {
        let agent = &world.agents[*place];
        let Some(at) = fate.at else { return vec![format!("{} was never revoked", agent.device)] };
        let until = at.plus(WITHIN);
        let mut wrong = heard(agent, fate, at, until);
        wrong.extend(taken(agent, fate, &hub, until));
        wrong.extend(lent(agent, &hub, until));
        wrong.extend(written_elsewhere(agent, &hub));
        wrong
    });
    of_each.map(|what| Broken::new(OUT, what)).collect()
}

fn heard(agent: &Agent, fate: &Fate, at: UtcMs, until: UtcMs) -> Vec<String> {
    let late: Vec<&UtcMs> = fate.heard.iter().filter(|heard| **heard > until).collect();
    let Some(last) = late.last() else { return Vec::new() };
    let (device, times, after) = (&agent.device, late.len(), last.since(at) / SECOND);
    vec![format!("{device} was answered {times} times, the last time {after} s after it was revoked")]
}

fn taken(agent: &Agent, fate: &Fate, hub: &Connection, until: UtcMs) -> Vec<String> {
    let device = agent.device.as_str();
    let mut wrong = Vec::new();
    for (place, sql) in TAKEN {
        let rows: i64 = hub.query_row(sql, params![device, until.0], |r| r.get(0)).expect("a table can be counted");
        if rows > 0 {
            wrong.push(format!("the hub's {place} took {rows} things from {device} after {until}"));
        }
    }
    for (document, change) in &fate.forged {
        let sql = "SELECT count(*) FROM ledger WHERE document = ?1 AND hash = ?2";
        let (id, hash) = (document.to_string(), change.to_string());
        let rows: i64 = hub.query_row(sql, params![id, hash], |r| r.get(0)).expect("the ledger can be counted");
        if rows > 0 {
            wrong.push(format!("the ledger holds change {change} of {document}, which {device} forged"));
        }
    }
    wrong
}

/// Leases, and more time for them, that the hub gave it, and what it gave itself.
fn lent(agent: &Agent, hub: &Connection, until: UtcMs) -> Vec<String> {
    let device = &agent.device;
    let sql = format!("SELECT CAST(body AS BLOB) FROM ledger WHERE kind = 'lease' AND at_ms > {}", until.0);
    let bodies = column::<Vec<u8>>(hub, &sql).into_iter();
    let sealed = bodies.filter_map(|body| serde_json::from_slice::<Sealed>(&body).ok());
    let leases = sealed.filter_map(|sealed| sealed.peek::<Lease>().ok());
    let by_hub = leases.filter(|lease| lease.device.as_ref() == Some(device)).count();
    let store = open_outside(&agent.path);
    let held = column::<String>(&store, "SELECT body FROM leases").into_iter();
    let leases = held.filter_map(|body| serde_json::from_str::<Lease>(&body).ok());
    let by_itself = leases.filter(|lease| lease.lasts_ms >= LONGER_MS.unsigned_abs()).count();
    let mut wrong = Vec::new();
    if by_hub > 0 {
        wrong.push(format!("{device} was lent {by_hub} times after {until}"));
    }
    if by_itself > 0 {
        wrong.push(format!("{device} holds {by_itself} leases that it lengthened itself"));
    }
    wrong
}

/// Documents of other depots at the hub in which it wrote anything.
fn written_elsewhere(agent: &Agent, hub: &Connection) -> Vec<String> {
    let (device, site) = (&agent.device, &agent.site);
    let sql = format!("SELECT snapshot FROM documents WHERE site <> '{site}' AND length(snapshot) > 0");
    let is_its = |bytes: &[u8]| {
        let actor = inspect(bytes).ok().and_then(|change| change.actor());
        actor.is_some_and(|actor| actor.device == *device)
    };
    let written = column::<Vec<u8>>(hub, &sql).into_iter().filter(|snapshot| {
        let document = Document::load(snapshot).expect("a stored document can be read");
        document.chunks().iter().any(|chunk| is_its(&chunk.bytes))
    });
    match written.count() {
        0 => Vec::new(),
        documents => vec![format!("{device} wrote into {documents} documents of other depots than {site}")],
    }
}

/// Rows of one column.
fn column<T: rusqlite::types::FromSql>(store: &Connection, sql: &str) -> Vec<T> {
    let mut statement = store.prepare(sql).expect("the store has the tables it promises");
    let rows = statement.query_map([], |row| row.get::<_, T>(0)).expect("a table can be read");
    rows.map(|row| row.expect("a row can be read")).collect()
}
