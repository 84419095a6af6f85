//! What must hold at the end of every world, looked at from outside: files against the book.
//!
//! Nothing here asks a running program. The stores' files are opened as a stranger would, the ERP's own
//! list of effects is read, and both are compared with what the pretend world itself wrote down.

mod decided;
mod untold;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use gatehouse_common::{
    decision::{ChainHead, DecidedBy, DecisionKind, DecisionRecord},
    id::{Hash32, LeaseId},
    lease::{Lease, LeaseRefusal, LeaseUse, within},
    seal::Sealed,
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

pub use self::decided::{FRESH, HELD_BACK};
use super::{
    World,
    book::Nature,
    depot::{Agent, open_outside},
    lens,
};
use crate::{
    blocks,
    standin::books::{Effect, EffectKind},
};

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which rule.
    pub rule: &'static str,
    /// Where and how.
    pub what: String,
}

impl Broken {
    /// `rule` does not hold, because of `what`.
    #[must_use]
    pub fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not so: {}: {}", self.rule, self.what)
    }
}

/// No program may fail, whatever befalls it.
pub const NO_FAILURE: &str = "no program fails";
/// See [`checks`](self).
pub const KEPT: &str = "every acknowledged reading is stored, where it was sent";
/// See [`checks`](self).
pub const ONCE: &str = "no reading is stored twice";
/// See [`checks`](self).
pub const QUARANTINED: &str = "what cannot be used is in quarantine, and nothing else";
/// See [`checks`](self).
pub const CHAIN: &str = "every decision is at the hub once and the chain is whole";
/// See [`checks`](self).
pub const CONVERGED: &str = "documents are the same wherever they are held";
/// See [`checks`](self).
pub const WITHIN_LEASE: &str = "no release goes beyond its lease";
/// See [`checks`](self).
pub const POSTED: &str = "what left is posted, each unit once";
/// See [`checks`](self).
pub const SETTLED: &str = "every decision is settled with the ERP";
/// See [`checks`](self).
pub const FACTS_WIN: &str = "what physically left has left, and nothing else has";

/// See [`checks`](self).
pub const RESTS: &str = "a healed world comes to rest";

/// Everything that does not hold in `world` now.
#[must_use]
pub fn all(world: &World) -> Vec<Broken> {
    let mut broken: Vec<Broken> = world.failures.iter().map(|what| Broken::new(NO_FAILURE, what.clone())).collect();
    if !broken.is_empty() {
        return broken;
    }
    let hub = open_outside(&world.hub.path);
    for (place, agent) in world.agents.iter().enumerate() {
        let store = open_outside(&agent.path);
        readings(world, place, agent, &store, &mut broken);
        decisions(world, place, &store, &hub, &mut broken);
        documents(world, place, &store, &hub, &mut broken);
        leases(agent, &store, &mut broken);
        decided::in_time(world, place, &store, &mut broken);
    }
    decided::held_back(&hub, &mut broken);
    postings(world, &hub, &mut broken);
    settled(world, &hub, &mut broken);
    facts_win(world, &mut broken);
    broken
}

fn rows<T>(store: &Connection, sql: &str, read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let mut statement = store.prepare(sql).expect("the store has the tables it promises");
    let rows = statement.query_map([], |row| read(row)).expect("a table can be read");
    rows.map(|row| row.expect("a row can be read")).collect()
}

fn readings(world: &World, place: usize, agent: &Agent, store: &Connection, broken: &mut Vec<Broken>) {
    let device = &agent.device;
    let mut stored: BTreeMap<(String, String), u32> = BTreeMap::new();
    match blocks::readings(store) {
        Ok(readings) => {
            for reading in readings {
                *stored.entry((reading.source, reading.payload)).or_default() += 1;
            }
        }
        Err(why) => broken.push(Broken::new(KEPT, format!("{device}: {why}"))),
    }
    let quarantined: BTreeSet<String> =
        rows(store, "SELECT payload_hash FROM quarantine", |r| r.get(0)).into_iter().collect();
    let mut sent_readings = BTreeSet::new();
    let mut sent_others = BTreeSet::new();
    let mut sent_at_all = BTreeSet::new();
    for sent in world.book.published.iter().filter(|p| p.agent == place) {
        let hash = sent.hash.to_string();
        sent_at_all.insert(hash.clone());
        // A reading keeps the first 8 bytes of its payload's hash.
        let key = (sent.topic.clone(), hash[..16].to_owned());
        match sent.nature {
            Nature::Reading | Nature::Repeat => {
                if sent.is_acknowledged && !stored.contains_key(&key) {
                    broken.push(Broken::new(KEPT, format!("{device} lacks {} on {}", sent.hash, sent.topic)));
                }
                sent_readings.insert(key);
            }
            Nature::Conflict | Nature::Garbage => {
                if sent.is_acknowledged && !quarantined.contains(&hash) {
                    broken.push(Broken::new(QUARANTINED, format!("{device} lacks {} on {}", sent.hash, sent.topic)));
                }
                sent_others.insert(hash);
            }
        }
    }
    for (key, count) in &stored {
        if *count > 1 {
            broken.push(Broken::new(ONCE, format!("{device} has {} on {} {count} times", key.1, key.0)));
        }
        if !sent_readings.contains(key) {
            broken.push(Broken::new(KEPT, format!("{device} has {} on {}, which nobody sent there", key.1, key.0)));
        }
    }
    for hash in quarantined.difference(&sent_others) {
        if world.book.put_back.contains(&place) && !sent_at_all.contains(hash) {
            // What the hub gives back of a past that the older copy has forgotten, and of which it wrote another since.
            continue;
        }
        let why: Vec<String> = rows(store, "SELECT payload_hash, topic || ': ' || reason FROM quarantine", |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))
        })
        .into_iter()
        .filter(|(h, _)| h == hash)
        .map(|(_, why)| why)
        .collect();
        broken.push(Broken::new(QUARANTINED, format!("{device} put away a good message: {}", why.join(", "))));
    }
}

fn sealed_decisions(store: &Connection, of: Option<&str>) -> Vec<(u64, Sealed)> {
    let mine = of.map_or_else(String::new, |device| format!("WHERE device = '{device}'"));
    let sql = format!("SELECT position, body, signature FROM decisions {mine} ORDER BY epoch, position");
    rows(store, &sql, |r| {
        let position: i64 = r.get(0)?;
        Ok((position.unsigned_abs(), Sealed { body: r.get(1)?, signature: r.get(2)? }))
    })
}

fn decisions(world: &World, place: usize, store: &Connection, hub: &Connection, broken: &mut Vec<Broken>) {
    let agent = &world.agents[place];
    let (device, is_put_back) = (&agent.device, world.book.put_back.contains(&place));
    let own = sealed_decisions(store, None);
    let theirs = sealed_decisions(hub, Some(device.as_str()));
    if is_put_back {
        let what = apart(device.as_str(), &own, &theirs, hub);
        broken.extend(what.into_iter().map(|what| Broken::new(CHAIN, what)));
    } else if world.revoked.is_out(place) {
        broken.extend(untold::chain(device, &own, &theirs));
    } else if own != theirs {
        let what = format!("{device} made {} decisions, the hub has {} or others", own.len(), theirs.len());
        broken.push(Broken::new(CHAIN, what));
    }
    let mut head = ChainHead::start(device.clone(), 1);
    for (_, sealed) in &theirs {
        let epoch = epoch_of(sealed);
        if is_put_back && epoch > head.epoch {
            head = ChainHead::start(device.clone(), epoch);
        }
        if let Err(error) = head.follow(sealed, &agent.public_key) {
            broken.push(Broken::new(CHAIN, format!("{device}: {error}")));
            return;
        }
    }
}

/// How a chain whose device was put back to an older copy differs from the hub's otherwise than it may: what went with
/// the disk is at the hub alone, and what was decided under old numbers before the hub was asked is kept and not taken.
fn apart(device: &str, own: &[(u64, Sealed)], theirs: &[(u64, Sealed)], hub: &Connection) -> Vec<String> {
    let sql = format!("SELECT hash FROM quarantine WHERE what = 'decision' AND origin = '{device}'");
    let refused: BTreeSet<String> = rows(hub, &sql, |r| r.get(0)).into_iter().collect();
    let is_refused = |sealed: &Sealed| refused.contains(&Hash32::of(sealed.body.as_bytes()).to_string());
    let newest = theirs.last().map_or(1, |(_, sealed)| epoch_of(sealed));
    let unknown = own.iter().filter(|made| !theirs.contains(made) && !is_refused(&made.1));
    let lost = theirs.iter().filter(|known| epoch_of(&known.1) == newest && !own.contains(known));
    let unknown = unknown.map(|(position, _)| format!("the hub lacks decision {position} that {device} holds"));
    let lost = lost.map(|(position, _)| format!("{device} lacks decision {position} of epoch {newest}"));
    unknown.chain(lost).collect()
}

fn epoch_of(sealed: &Sealed) -> u32 {
    sealed.peek::<DecisionRecord>().map_or(0, |record| record.epoch)
}

struct Stored {
    kind: String,
    heads: String,
    view: String,
    snapshot: Vec<u8>,
}

fn stored_documents(store: &Connection) -> BTreeMap<String, Stored> {
    rows(store, "SELECT document, kind, heads, view, snapshot FROM documents", |r| {
        Ok((r.get(0)?, Stored { kind: r.get(1)?, heads: r.get(2)?, view: r.get(3)?, snapshot: r.get(4)? }))
    })
    .into_iter()
    .collect()
}

fn documents(world: &World, place: usize, store: &Connection, hub: &Connection, broken: &mut Vec<Broken>) {
    let agent = &world.agents[place];
    let device = &agent.device;
    let (own, theirs) = (stored_documents(store), stored_documents(hub));
    let mut fail = |what: String| broken.push(Broken::new(CONVERGED, what));
    for (id, mine) in &own {
        if mine.kind == "dispatch" && lens::folded(&mine.snapshot).ok().as_deref() != Some(&mine.view) {
            fail(format!("the view of {id} that {device} shows is not what its document folds to"));
        }
    }
    if world.revoked.is_out(place) {
        untold::apart(device, store, &theirs).into_iter().for_each(fail);
        return;
    }
    for (id, mine) in &own {
        let Some(other) = theirs.get(id) else {
            fail(format!("{} {id} of {device} is not at the hub", mine.kind));
            continue;
        };
        if mine.heads != other.heads {
            fail(format!("{} {id} has other heads at {device} than at the hub", mine.kind));
        }
        if mine.view != other.view {
            fail(format!("{} {id} is {} at {device} and {} at the hub", mine.kind, mine.view, other.view));
        }
    }
    if agent.is_gateway() {
        let site = format!("\"site\":\"{}\"", agent.site);
        for (id, other) in theirs.iter().filter(|(_, d)| d.view.contains(&site)) {
            if !own.contains_key(id) {
                fail(format!("{} {id} of the hub is not at {device}", other.kind));
            }
        }
    }
}

fn leases(agent: &Agent, store: &Connection, broken: &mut Vec<Broken>) {
    let granted: BTreeMap<LeaseId, Lease> = rows(store, "SELECT body FROM leases", |r| r.get::<_, String>(0))
        .iter()
        .filter_map(|body| serde_json::from_str::<Lease>(body).ok())
        .map(|lease| (lease.id.clone(), lease))
        .collect();
    let mut used: BTreeMap<LeaseId, LeaseUse> = BTreeMap::new();
    let mut fail = |what: String| broken.push(Broken::new(WITHIN_LEASE, format!("{}: {what}", agent.device)));
    for (_, sealed) in sealed_decisions(store, None) {
        let Ok(record) = sealed.peek::<DecisionRecord>() else { continue };
        match (&record.kind, &record.lease) {
            (DecisionKind::Release, None) => fail(format!("{} rests on no lease", record.id)),
            (DecisionKind::Release | DecisionKind::Override, Some(charge)) => {
                let before = used.entry(charge.lease.clone()).or_default();
                if let Some(lease) = granted.get(&charge.lease)
                    && let Err(refusal) = allowed(lease, before, &charge.used, &record)
                {
                    fail(format!("{}: {refusal}", record.id));
                }
                before.add(&charge.used);
                match granted.get(&charge.lease) {
                    None => fail(format!("{} names lease {}, which nobody granted", record.id, charge.lease)),
                    Some(lease) if record.at.wall >= lease.expires_at => {
                        fail(format!("{} came after lease {} had expired", record.id, lease.id));
                    }
                    Some(_) => {}
                }
            }
            (DecisionKind::LeaseClosed, Some(charge))
                if used.get(&charge.lease).cloned().unwrap_or_default() != charge.used =>
            {
                fail(format!("{} states another use of lease {} than its releases", record.id, charge.lease));
            }
            _ => {}
        }
    }
}

/// A person may go beyond a lease in value and stock, two in credit as well; a rule in nothing.
fn allowed(lease: &Lease, before: &LeaseUse, wanted: &LeaseUse, record: &DecisionRecord) -> Result<(), LeaseRefusal> {
    if record.kind == DecisionKind::Release {
        return within(lease, before, wanted);
    }
    if matches!(record.by, DecidedBy::Person { second: Some(_), .. }) {
        return Ok(());
    }
    let credit = LeaseUse { credit_minor: wanted.credit_minor.clone(), ..LeaseUse::default() };
    within(&Lease { value_ceiling_minor: i64::MAX, ..lease.clone() }, before, &credit)
}

fn postings(world: &World, hub: &Connection, broken: &mut Vec<Broken>) {
    let effects = world.erp.effects();
    let left = untold::left(world, hub, broken);
    let mut fail = |what: String| broken.push(Broken::new(POSTED, what));
    let mut references = BTreeSet::new();
    for effect in &effects {
        if !references.insert(&effect.reference) {
            fail(format!("{} was applied twice", effect.reference));
        }
    }
    let sum = |kind: EffectKind| {
        let mut units: BTreeMap<(String, u16), u32> = BTreeMap::new();
        for Effect { order, line, quantity, .. } in effects.iter().filter(|e| e.kind == kind) {
            *units.entry((order.clone(), line.unwrap_or(0))).or_default() += quantity.unwrap_or(0);
        }
        units
    };
    let (issued, invoiced, returned) = (sum(EffectKind::GoodsIssue), sum(EffectKind::Invoice), sum(EffectKind::Return));
    let lines: BTreeSet<&(String, u16)> = left.keys().chain(issued.keys()).chain(invoiced.keys()).collect();
    for key in lines {
        let of = |sums: &BTreeMap<(String, u16), u32>| sums.get(key).copied().unwrap_or(0);
        let (left, issued, invoiced, returned) = (of(&left), of(&issued), of(&invoiced), of(&returned));
        let name = format!("{} line {}", key.0, key.1);
        if issued != left {
            fail(format!("{name}: {left} left, {issued} were issued"));
        }
        if invoiced + returned != left {
            fail(format!("{name}: {left} left, {invoiced} were invoiced and {returned} came back"));
        }
    }
}

fn settled(world: &World, hub: &Connection, broken: &mut Vec<Broken>) {
    let untold = untold::releases(world, hub);
    let open = rows(hub, "SELECT decision, body FROM recon_items WHERE outcome IS NULL", |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))
    });
    for (decision, body) in open.into_iter().filter(|(decision, _)| !untold.contains(decision)) {
        broken.push(Broken::new(SETTLED, format!("{decision} is open: {body}")));
    }
    for key in
        rows(hub, "SELECT key FROM postings WHERE state NOT IN ('applied', 'withdrawn')", |r| r.get::<_, String>(0))
    {
        broken.push(Broken::new(SETTLED, format!("{key} was not posted")));
    }
}

/// What each order's dispatches say has left, at every gateway, is what the book says.
fn facts_win(world: &World, broken: &mut Vec<Broken>) {
    for agent in world.agents.iter().filter(|a| a.is_gateway()) {
        let store = open_outside(&agent.path);
        let mut said: BTreeMap<(String, u16), u32> = BTreeMap::new();
        for (id, document) in stored_documents(&store).iter().filter(|(_, d)| d.kind == "dispatch") {
            let seen = match lens::look(&document.view, &document.snapshot, world.bug) {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(error) => {
                    broken.push(Broken::new(CONVERGED, format!("dispatch {id} of {}: {error}", agent.device)));
                    continue;
                }
            };
            if seen.state.has_left() != seen.departed.is_some() {
                let what = format!("{}/{} is {}", seen.order, seen.occurrence, seen.state.as_str());
                broken.push(Broken::new(FACTS_WIN, what));
            }
            for line in seen.departed.iter().flat_map(|d| &d.load) {
                *said.entry((seen.order.to_string(), line.line)).or_default() += line.quantity;
            }
        }
        let orders = &world.yards;
        let mine = |order: &str| {
            orders
                .iter()
                .zip(&world.agents)
                .any(|(yard, a)| a.device == agent.device && yard.jobs.keys().any(|o| o.as_str() == order))
        };
        let truth: BTreeMap<(String, u16), u32> = world
            .book
            .departed
            .iter()
            .filter(|((order, _), units)| mine(order.as_str()) && **units > 0)
            .map(|((order, line), units)| ((order.to_string(), *line), *units))
            .collect();
        if said != truth {
            let what = format!("{} says {said:?} left, {truth:?} did", agent.device);
            broken.push(Broken::new(FACTS_WIN, what));
        }
    }
}

/// One hash over all that happened and all that is stored.
#[must_use]
pub fn digest(world: &World) -> String {
    let mut hash = Sha256::new();
    hash.update(world.trace.digest().0);
    for store in world.agents.iter().map(|a| &a.path).chain([&world.hub.path]) {
        let store = open_outside(store);
        for (id, document) in stored_documents(&store) {
            hash.update(format!("{id}{}{}", document.heads, document.view));
        }
        for (position, sealed) in sealed_decisions(&store, None) {
            hash.update(format!("{position}{}", sealed.body));
        }
    }
    for effect in world.erp.effects() {
        hash.update(format!("{effect:?}"));
    }
    Hash32(hash.finalize().into()).to_string()
}
