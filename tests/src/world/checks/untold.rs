//! What of a device that was revoked need not be at the hub, and what of the hub need not be at the device: what either
//! could not tell the other any more, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    decision::{DecisionKind, DecisionRecord},
    dispatch::DispatchState,
    document::{Document, gate::inspect},
    id::{DeviceId, Hash32},
    seal::Sealed,
};
use rusqlite::Connection;
use serde_json::Value;

use super::{Broken, CHAIN, FACTS_WIN, Stored, rows, sealed_decisions};
use crate::world::{
    World,
    depot::Agent,
    lens::{self, Seen},
};

/// A dispatch as the hub knows it.
struct Known {
    seen: Seen,
    /// Whether loading had begun.
    was_touched: bool,
}

impl Known {
    /// Whether the hub knows how it ended: it left, or the depot said that it has obeyed.
    fn has_ended(&self) -> bool {
        let Seen { state, recall_seen, .. } = self.seen;
        let obeyed = state == DispatchState::Cancelled && recall_seen && !self.was_touched;
        state.has_left() || state == DispatchState::Aborted || obeyed
    }
}

/// The hub has the decisions that were made first, and no others.
pub(super) fn chain(device: &DeviceId, own: &[(u64, Sealed)], theirs: &[(u64, Sealed)]) -> Option<Broken> {
    let (made, known) = (own.len(), theirs.len());
    let what = || format!("{device}, which was revoked, made {made} decisions, the hub has {known} or others");
    (!own.starts_with(theirs)).then(|| Broken::new(CHAIN, what()))
}

/// How the documents of a device differ from the hub's otherwise than they may: changes that the device alone has are
/// its own, and of those that the hub alone has none is.
pub(super) fn apart(device: &DeviceId, store: &Connection, theirs: &BTreeMap<String, Stored>) -> Vec<String> {
    let mut wrong = Vec::new();
    let own = ground(store);
    for id in own.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (mine, others) = (own.get(id).cloned().unwrap_or_default(), changes(theirs.get(id)));
        for (hash, writer) in mine.iter().filter(|(hash, _)| !others.contains_key(*hash)) {
            if writer.as_ref() != Some(device) {
                wrong.push(format!("change {hash} of {id} at {device} is another's, and not at the hub"));
            }
        }
        for (hash, writer) in others.iter().filter(|(hash, _)| !mine.contains_key(*hash)) {
            if writer.as_ref() == Some(device) {
                wrong.push(format!("change {hash} of {id} at the hub is {device}'s, and not there"));
            }
        }
    }
    wrong
}

/// The changes of a document, and who wrote each.
type Changes = BTreeMap<Hash32, Option<DeviceId>>;

fn writer(bytes: &[u8]) -> Option<DeviceId> {
    inspect(bytes).ok().and_then(|change| change.actor()).map(|actor| actor.device)
}

fn changes(stored: Option<&Stored>) -> Changes {
    let Some(stored) = stored.filter(|stored| !stored.snapshot.is_empty()) else { return BTreeMap::new() };
    let document = Document::load(&stored.snapshot).expect("a stored document can be read");
    document.chunks().iter().map(|chunk| (chunk.hash, writer(&chunk.bytes))).collect()
}

/// The changes that an agent has of each document: what it folds is written anew only now and then.
fn ground(store: &Connection) -> BTreeMap<String, Changes> {
    let mut ground: BTreeMap<String, Changes> = BTreeMap::new();
    let chunks =
        rows(store, "SELECT document, bytes FROM chunks", |r| Ok((r.get::<_, String>(0)?, r.get::<_, Vec<u8>>(1)?)));
    for (document, bytes) in chunks {
        let hash = inspect(&bytes).expect("a stored change can be read").hash;
        ground.entry(document).or_default().insert(hash, writer(&bytes));
    }
    ground
}

/// Units that left per order line, as far as the hub can know: of a depot whose gateway was revoked, what that told.
pub(super) fn left(world: &World, hub: &Connection, broken: &mut Vec<Broken>) -> BTreeMap<(String, u16), u32> {
    let departed = world.book.departed.iter();
    let mut left: BTreeMap<(String, u16), u32> =
        departed.map(|((order, line), units)| ((order.to_string(), *line), *units)).collect();
    for agent in gateways(world) {
        let sql = format!("SELECT order_id FROM orders WHERE site = '{}'", agent.site);
        let orders: BTreeSet<String> = rows(hub, &sql, |r| r.get(0)).into_iter().collect();
        let mut told: BTreeMap<(String, u16), u32> = BTreeMap::new();
        for Known { seen, .. } in dispatches(world, hub, agent).into_values() {
            for line in seen.departed.iter().flat_map(|departed| &departed.load) {
                *told.entry((seen.order.to_string(), line.line)).or_default() += line.quantity;
            }
        }
        for (key, units) in &told {
            let truly = left.get(key).copied().unwrap_or(0);
            if *units > truly {
                let what = format!("the hub says that {units} of {} line {} left, {truly} did", key.0, key.1);
                broken.push(Broken::new(FACTS_WIN, what));
            }
        }
        left.retain(|(order, _), _| !orders.contains(order));
        left.extend(told);
    }
    left
}

/// Releases of gateways that were revoked of whose end the hub was told nothing: their items stay open.
pub(super) fn releases(world: &World, hub: &Connection) -> BTreeSet<String> {
    let mut untold = BTreeSet::new();
    for agent in gateways(world) {
        let known = dispatches(world, hub, agent);
        let sealed = sealed_decisions(hub, Some(agent.device.as_str()));
        let records: Vec<DecisionRecord> = sealed.iter().filter_map(|(_, sealed)| sealed.peek().ok()).collect();
        let is_release =
            |record: &DecisionRecord| matches!(record.kind, DecisionKind::Release | DecisionKind::Override);
        for (place, record) in records.iter().enumerate() {
            let Some(dispatch) = record.dispatch else { continue };
            let is_taken_back = records.iter().skip(place + 1).any(|later| {
                later.dispatch == Some(dispatch) && (later.kind == DecisionKind::Recall || is_release(later))
            });
            let has_ended = known.get(&dispatch.to_string()).is_some_and(Known::has_ended);
            if is_release(record) && !is_taken_back && !has_ended {
                untold.insert(record.id.to_string());
            }
        }
    }
    untold
}

fn gateways(world: &World) -> impl Iterator<Item = &Agent> {
    let agents = world.agents.iter().enumerate();
    agents.filter(move |(place, agent)| agent.is_gateway() && world.revoked.is_out(*place)).map(|(_, agent)| agent)
}

/// The dispatches of an agent's depot at the hub, by document.
fn dispatches(world: &World, hub: &Connection, agent: &Agent) -> BTreeMap<String, Known> {
    let of_site = format!("kind = 'dispatch' AND site = '{}'", agent.site);
    let sql = format!("SELECT document, view, snapshot FROM documents WHERE {of_site}");
    let stored = rows(hub, &sql, |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, Vec<u8>>(2)?)));
    let known = stored.into_iter().filter_map(|(document, view, snapshot)| {
        let seen = lens::look(&view, &snapshot, world.bug).ok().flatten()?;
        let view: Value = serde_json::from_str(&view).ok()?;
        let was_touched = ["loading_at", "loaded_at"].iter().any(|happened| !view[*happened].is_null());
        Some((document, Known { seen, was_touched }))
    });
    known.collect()
}
