//! Devices that are revoked in the middle of a storm: a gateway, and most often a vehicle's unit.
//!
//! Each is connected then, or cut off, or in the middle of a push, and its clock may be set back. It goes on as before,
//! asks again and again, and whoever has it says by its key what it may not, and lengthens its lease. Its requests
//! go through the hub's [endpoint](super::hub::endpoint) from the beginning: the same code hears and refuses it.

mod check;

use std::{collections::BTreeMap, path::Path};

use gatehouse_agent::core::input::{Input, Line as LineInput};
use gatehouse_common::{
    document::{Actor, Document},
    id::{DeviceId, DocumentId, DocumentKind, Hash32},
    lease::Lease,
    seal::Sealed,
    sync::{Downward, FeedItem, Lane, Pull, PullReply, Push, Upward, decode, encode, encode_as, protocol_of},
    time::UtcMs,
};
use gatehouse_hub::{store::StoreError, sync::pull};

pub use self::check::OUT;
pub(super) use self::check::holds;
use super::{
    Call, Event, World,
    book::{Nature, Published},
    bugs::Bug,
    clock::{DAY, HOUR, MINUTE, SECOND},
    clocks::{self, Whose},
    depot::{Agent, open_outside},
    dice::Dice,
    hostile::forge,
    hub::{HubError, WaitingPull, endpoint::Answered},
    random::{Played, STORM, drawn, ended},
    replicas::play_replicas_with,
};
use crate::erp_trial::server::Server;

/// The status of an answer that gives what was asked for.
pub(super) const OK: u16 = 200;
/// Those of answers that let nobody in.
const REFUSED: [u16; 2] = [401, 403];
/// How long after a revocation connections may still stand, in milliseconds: the hub looks for it every other second.
const CUT_AFTER: i64 = 2 * SECOND;
/// How often whoever has the device does each thing that is not its to do.
const HARMS: usize = 3;
/// By how much it lengthens its lease, in milliseconds.
const LONGER_MS: i64 = 365 * DAY;
/// How long the revocation waits for a push to be under way, at most so many looks.
const LOOKS_MAX: u32 = 1_200;
/// Between two of them, in milliseconds.
const LOOKS_EVERY: i64 = 250;
/// The life of its outbox in which it says what it may not.
const ITS_LIFE: u64 = 77;

/// Devices that are revoked or are about to be, by the places of their agents.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeMap<usize, Fate>);

/// What became of one.
#[derive(Debug, Default)]
struct Fate {
    /// When the hub committed that it is revoked, by true time.
    at: Option<UtcMs>,
    /// When it was answered with success after that, by true time.
    heard: Vec<UtcMs>,
    /// Changes that it forged after that.
    forged: Vec<(DocumentId, Hash32)>,
}

impl Revoked {
    /// Whether this agent's device is revoked in this world, now or later.
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.contains_key(&place)
    }

    /// Whether it is revoked by now.
    pub(super) fn is_out(&self, place: usize) -> bool {
        self.0.get(&place).is_some_and(|fate| fate.at.is_some())
    }
}

/// What happens to such a device, and what whoever has it does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// It is revoked; as soon as a push is under way, if so many looks find one.
    Revoked { looks: u32 },
    /// Its connections end.
    Cut,
    /// It says by its key what is not its to say.
    Harms,
    /// It gives itself more time.
    Lengthens,
}

/// Plays the world of `seed` in which a gateway is revoked, and most often a vehicle's unit, to its quiet end, and
/// checks it.
#[must_use]
pub fn play_revoked(seed: u64, bug: Bug, prints: bool) -> Played {
    let mut world = drawn(seed, bug, prints);
    let mut dice = Dice::of(seed ^ 0x7265_766f_6b65);
    if world.agents.iter().all(Agent::is_gateway) && dice.chance(700) {
        let unit = world.add("D1", Some("V11"));
        world.agents[unit].line.manners = world.weather.manners;
    }
    world.devices_are_to_be_revoked(&mut dice);
    ended(world, STORM - MINUTE)
}

/// Plays a world of `depots` depots whose hub is three replicas over a database of `server`, of which one revokes a
/// gateway, to its quiet end, and checks it.
/// # Panics
/// If the server does not do what it is there for.
#[must_use]
pub fn play_revoked_over_replicas(server: &Server, seed: u64, depots: usize, prints: bool) -> Played {
    let mut dice = Dice::of(seed ^ 0x7265_766f_6b65);
    let revokes = |world: &mut World| world.devices_are_to_be_revoked(&mut dice);
    play_replicas_with(server, seed, depots, Bug::None, prints, revokes)
}

impl World {
    fn devices_are_to_be_revoked(&mut self, dice: &mut Dice) {
        let gateways = self.agents.iter().filter(|agent| agent.is_gateway()).count();
        self.is_to_be_revoked(dice.place(gateways), dice);
        for unit in gateways..self.agents.len() {
            if dice.chance(800) {
                self.is_to_be_revoked(unit, dice);
            }
        }
        self.hub_has_changed();
    }

    fn is_to_be_revoked(&mut self, agent: usize, dice: &mut Dice) {
        let certified = self.hub.certifies(&self.agents[agent]);
        certified.expect("a device that is listed gets a certificate");
        self.revoked.0.insert(agent, Fate::default());
        let at = dice.between(12 * MINUTE, STORM - 25 * MINUTE);
        let way = dice.below(3);
        if way == 0 {
            self.line_after(at - dice.between(SECOND, 9 * MINUTE), agent, true);
            self.line_after(at + dice.between(SECOND, 15 * MINUTE), agent, false);
        }
        if dice.chance(600) {
            let (whose, from) = (Whose::Agent(agent), at + dice.between(-5 * MINUTE, 9 * MINUTE));
            let (by_ms, boots) = (-dice.between(2 * MINUTE, HOUR), dice.chance(300));
            self.after(from, Event::Clock(clocks::Turn::Wrong { whose, by_ms, boots }));
            let until = from + dice.between(10 * MINUTE, 90 * MINUTE);
            self.after(until, Event::Clock(clocks::Turn::Right { whose }));
        }
        let looks = if way == 1 { LOOKS_MAX } else { 0 };
        self.after(at, Event::Revoked { agent, turn: Turn::Revoked { looks } });
    }

    pub(super) fn revocation_turns(&mut self, agent: usize, turn: Turn) {
        match turn {
            Turn::Revoked { looks } => self.is_revoked(agent, looks),
            Turn::Cut => self.is_cut(agent),
            Turn::Harms => self.says_what_it_may_not(agent),
            Turn::Lengthens => self.lengthens_its_lease(agent),
        }
    }

    fn is_revoked(&mut self, agent: usize, looks: u32) {
        self.at_some_replica();
        if self.hub.running.is_none() {
            return self.after(SECOND, Event::Revoked { agent, turn: Turn::Revoked { looks } });
        }
        let pushes = self.agents[agent].running.as_ref().is_some_and(|running| running.push.is_some());
        if looks > 0 && !pushes {
            let turn = Turn::Revoked { looks: looks - 1 };
            return self.after(LOOKS_EVERY, Event::Revoked { agent, turn });
        }
        let device = self.agents[agent].device.clone();
        let revoked = self.hub.revokes(&device);
        if self.must("revoking a device", revoked) != Some(true) {
            return;
        }
        let now = self.now;
        if let Some(fate) = self.revoked.0.get_mut(&agent) {
            fate.at = Some(now);
        }
        let is_cut = self.agents[agent].line.is_cut;
        self.book.note("devices revoked");
        self.book.note(match (is_cut, pushes) {
            (true, _) => "devices revoked while they were cut off",
            (false, true) => "devices revoked in the middle of a push",
            (false, false) => "devices revoked while they were connected",
        });
        self.say(&format!("{device} is revoked"));
        if self.bug == Bug::RevocationForgotten {
            forgets(&self.hub.path, &device);
        }
        self.changes();
        self.hub_has_changed();
        self.after(CUT_AFTER, Event::Revoked { agent, turn: Turn::Cut });
        for _ in 0..HARMS {
            for turn in [Turn::Harms, Turn::Lengthens] {
                let pause = self.dice.between(SECOND, 40 * MINUTE);
                self.after(pause, Event::Revoked { agent, turn });
            }
        }
    }

    /// Pulls that wait for news at any replica end without an answer.
    fn is_cut(&mut self, agent: usize) {
        if self.bug == Bug::RevocationForgotten {
            return;
        }
        self.each_replica(|world| {
            let Some(running) = &mut world.hub.running else { return };
            let waiting = std::mem::take(&mut running.waiting);
            let (cut, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|pull| pull.agent == agent);
            running.waiting = waiting;
            for pull in cut {
                world.book.note("pulls that were cut");
                world.hears_no(agent, pull.request);
            }
        });
    }

    /// A device asks that is revoked, or will be: over a line with its certificate, at the endpoint itself.
    pub(super) fn asks_at_endpoint(&mut self, place: usize, request: u64, call: Call, frame: &[u8]) {
        let waits = if call == Call::Pull { decode::<Pull>(frame).ok() } else { None };
        // The endpoint waits in real time. Here it is asked for what is there; for news this world waits itself.
        let at_once = match &waits {
            Some(pull) => encode_as(protocol_of(frame), &Pull { wait_ms: 0, ..pull.clone() }),
            None => Ok(frame.to_vec()),
        };
        let Some(at_once) = self.must("writing a request", at_once) else { return };
        let Some(Answered { status, body }) = self.hub_is_asked(place, call, &at_once) else { return };
        if status != OK {
            self.hears_no(place, request);
        } else if call == Call::Push && self.dice.chance(self.weather.hub_dies) {
            self.book.note("hub deaths between commit and answer");
            return self.hub_dies();
        } else if let Some(pull) = waits.filter(|pull| is_to_wait(pull, &body)) {
            let wait = i64::from(pull.wait_ms);
            if let Some(hub) = &mut self.hub.running {
                hub.waiting.push(WaitingPull { agent: place, request, pull });
            }
            self.after(wait, Event::WaitedLongEnough { request });
        } else {
            self.replies(place, request, call, &body);
        }
        self.hub_has_changed();
    }

    /// Asks the endpoint with the key and the certificate of this agent's device. None: the hub is down.
    fn hub_is_asked(&mut self, place: usize, call: Call, frame: &[u8]) -> Option<Answered> {
        self.counter += 1;
        let nonce = format!("nonce-{:08}", self.counter);
        let agent = &self.agents[place];
        let time = agent.machine.at(self.now).wall.plus(agent.skew_ms);
        let answered = match self.hub.is_asked(agent, call, (&nonce, time), frame) {
            Err(HubError::Down) => return None,
            answered => answered,
        };
        let answered = self.must("asking the endpoint", answered)?;
        self.was_answered(place, answered.status);
        Some(answered)
    }

    /// Writes down what a device is answered that is revoked, or will be.
    pub(super) fn was_answered(&mut self, place: usize, status: u16) {
        let now = self.now;
        let Some(fate) = self.revoked.0.get_mut(&place) else { return };
        match (fate.at, status) {
            (None, OK) => self.book.note("answers to devices before they were revoked"),
            (Some(_), OK) => fate.heard.push(now),
            (Some(_), status) if REFUSED.contains(&status) => {
                self.book.note("requests of revoked devices that were refused");
            }
            (_, status) => {
                self.failures.push(format!("the endpoint answers {} with {status}", self.agents[place].device));
            }
        }
    }

    /// Whether a pull that waited is refused now, because its device was revoked meanwhile.
    pub(super) fn is_refused(&mut self, waiting: &WaitingPull, answer: &Result<PullReply, HubError>) -> bool {
        let refuses = matches!(answer, Err(HubError::Store(StoreError::Refused(_))));
        let is_refused = refuses && self.revoked.is_out(waiting.agent);
        if is_refused {
            self.book.note("pulls that were refused once there was something");
            self.hears_no(waiting.agent, waiting.request);
        }
        is_refused
    }

    /// The line of an agent says at once that there will be no answer.
    fn hears_no(&mut self, agent: usize, request: u64) {
        self.after(100, Event::GivenUp { agent, request });
    }

    /// Whoever has it says by its key something in a document of another depot, and a decision out of its chain.
    fn says_what_it_may_not(&mut self, place: usize) {
        let agent = &self.agents[place];
        let (device, site, key) = (agent.device.clone(), agent.site.clone(), agent.key().clone());
        let (at, kind) = (agent.machine.at(self.now), if agent.is_gateway() { "site" } else { "vehicle" });
        let Some(other) = self.agents.iter().find(|other| other.is_gateway() && other.site != site) else { return };
        let mut documents = documents_of(&other.path);
        if documents.is_empty() {
            return;
        }
        let (id, of_kind, mut document) = documents.swap_remove(self.dice.place(documents.len()));
        let actor: Actor = format!("{kind}/{site}/{device}/9").parse().expect("an actor");
        let change = forge::says_in(of_kind, &mut document, &actor, self.now, &mut self.dice);
        let decision = forge::decision((&device, &site), (1_000, Hash32::of(b"nothing")), at, &key);
        let chunk = Upward::Chunk { document: id, kind: of_kind, bytes: change.bytes };
        let push = Push { outbox_epoch: ITS_LIFE, records: vec![(1, chunk), (2, Upward::Decision(decision))] };
        let Some(frame) = self.must("writing harm", encode(&push)) else { return };
        if let Some(fate) = self.revoked.0.get_mut(&place) {
            fate.forged.push((id, change.hash));
        }
        self.at_some_replica();
        if self.hub_is_asked(place, Call::Push, &frame).is_some() {
            self.book.note("pushes of what revoked devices may not say");
        }
        self.hub_has_changed();
    }

    /// Whoever has it gives its agent the lease that it holds, with more time, signed by the device itself.
    fn lengthens_its_lease(&mut self, place: usize) {
        let agent = &self.agents[place];
        let Some(cursor) = agent.running.as_ref().map(|running| running.session.cursor()) else { return };
        let Some(lease) = newest_lease(&agent.path) else { return };
        let lasts_ms = lease.lasts_ms.saturating_add(LONGER_MS.unsigned_abs());
        let longer = Lease { lasts_ms, expires_at: lease.expires_at.plus(LONGER_MS), ..lease };
        let sealed = Sealed::new(&longer, agent.key());
        let Some(sealed) = self.must("sealing a lease", sealed) else { return };
        let (number, hash, topic) = (self.book.published.len(), sealed.hash(), "hub/lease".to_owned());
        let nature = Nature::Garbage;
        self.book.published.push(Published { agent: place, topic, hash, nature, is_acknowledged: false });
        let lent = (place, longer.id);
        let known = self.book.leases_came.get(&lent).map_or(0, Vec::len);
        let item = FeedItem { lane: Lane::Orders, position: 1, says: Downward::Lease(sealed) };
        let inputs = vec![Input::Feed { items: vec![item], cursor, more: false }, Input::Line(LineInput::Lost)];
        let taken = self.give(place, inputs).is_some();
        // It came from nobody who lends.
        if known == 0 {
            self.book.leases_came.remove(&lent);
        } else if let Some(came) = self.book.leases_came.get_mut(&lent) {
            came.truncate(known);
        }
        if taken {
            self.book.published[number].is_acknowledged = true;
            self.book.note("leases that revoked devices lengthened themselves");
        }
    }
}

/// Whether a pull that got this answer goes on waiting for something new.
fn is_to_wait(asked: &Pull, frame: &[u8]) -> bool {
    let is_empty = || decode::<PullReply>(frame).is_ok_and(|reply| !pull::has_news(&reply));
    asked.wait_ms > 0 && !asked.recalls_only && is_empty()
}

/// What a wrong hub would have written.
fn forgets(hub: &Path, device: &DeviceId) {
    let store = rusqlite::Connection::open(hub).expect("a store can be opened");
    let sql = "UPDATE devices SET revoked_ms = NULL WHERE device = ?1";
    store.execute(sql, [device.as_str()]).expect("a store can be changed");
}

/// Every document that an agent holds whole.
fn documents_of(path: &Path) -> Vec<(DocumentId, DocumentKind, Document)> {
    let store = open_outside(path);
    let sql = "SELECT document, kind, snapshot FROM documents WHERE length(snapshot) > 0 ORDER BY document";
    let mut statement = store.prepare(sql).expect("the table of documents has these columns");
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?)));
    let rows = rows.expect("documents can be read").map(|row| row.expect("a row of documents can be read"));
    rows.map(|(id, kind, snapshot)| {
        let kind = if kind == "case" { DocumentKind::Case } else { DocumentKind::Dispatch };
        let document = Document::load(&snapshot).expect("a stored document can be read");
        (id.parse().expect("a document has an id"), kind, document)
    })
    .collect()
}

/// The lease that an agent got last.
fn newest_lease(path: &Path) -> Option<Lease> {
    let store = open_outside(path);
    let mut statement = store.prepare("SELECT body FROM leases").expect("the table of leases has this column");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("leases can be read");
    let leases = rows.map(|row| row.expect("a row of leases can be read"));
    leases.filter_map(|body| serde_json::from_str::<Lease>(&body).ok()).max_by_key(|lease| lease.granted_at)
}
