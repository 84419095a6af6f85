//! The pretend world: depots, a vehicle and one hub in one process, under a virtual clock and network.
//!
//! The product inside is the real one: core, driver step, stores on files, sessions and frames, exchange,
//! reconciliation, leases and postings. Around it are stand-ins for everything that has a will of its own:
//! devices and their broker, the line, the ERP, partners, crews and drivers, people at the console, and the
//! [`weather`]. Everything happens in one queue of events whose order comes from a seed, so the same seed
//! plays the same day. The [`book`] keeps what truly happened; the [`checks`] compare the stores with it.

#![expect(clippy::expect_used, clippy::panic, reason = "a pretend world that cannot be set up is a failed test")]

pub mod book;
pub mod broker;
pub mod bugs;
mod business;
pub mod checks;
pub mod clock;
pub mod clocks;
mod console;
pub mod copies;
mod crew;
pub mod depot;
pub mod dice;
pub mod erp;
mod exchange;
pub mod fleet;
pub mod hostile;
pub mod hub;
pub mod lens;
pub mod network;
mod quiet;
pub mod random;
pub mod readers;
pub mod replicas;
mod restore;
pub mod revoked;
pub mod seeds;
pub mod trace;
pub mod weather;
pub mod yard;

use std::{collections::BTreeMap, path::Path};

use gatehouse_agent::core::{
    decision::{Change, Effect, TapDone, TapRefused},
    input::{Input, Line as LineInput, Tap},
};
use gatehouse_common::{id::Hash32, time::UtcMs};
use gatehouse_hub::core::reconcile::Choice;
use tempfile::TempDir;

pub use self::business::Word;
use self::{
    book::{Book, Nature, Published},
    broker::Message,
    bugs::Bug,
    clock::{MINUTE, Machine, SECOND},
    clocks::Unfollowed,
    depot::{Agent, Setup},
    dice::Dice,
    erp::PretendErp,
    hostile::Hostile,
    hub::Hub,
    readers::Readers,
    replicas::Replicas,
    revoked::Revoked,
    trace::Trace,
    weather::{Death, Weather},
    yard::Yard,
};

/// When every pretend day begins: 2026-03-02T06:00:00Z.
pub const DAWN: UtcMs = UtcMs(1_772_431_200_000);
/// Between two reads of the ERP, unless a world is told otherwise.
const POLL_EVERY: i64 = 2 * MINUTE;
/// Between two looks at the leases, likewise.
const LEND_EVERY: i64 = 3 * MINUTE;
/// Most messages that an agent takes in at once.
const INTAKE_MAX: usize = 16;

/// Which of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Push,
    Pull,
    Repair,
    Stand,
}

/// Something that happens at its time.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Timer { agent: usize, timer: u64 },
    Intake { agent: usize },
    PushIsDue { agent: usize, start: u64 },
    PullIsDue { agent: usize, start: u64 },
    AtHub { agent: usize, request: u64, call: Call, frame: Vec<u8> },
    AtAgent { agent: usize, request: u64, call: Call, frame: Vec<u8> },
    GivenUp { agent: usize, request: u64 },
    WaitedLongEnough { request: u64 },
    HubWorks,
    Poll,
    Lend,
    CrewLooks { agent: usize },
    OnTheRoad { agent: usize, order: gatehouse_common::id::OrderId, leg: u32 },
    Delivered { agent: usize, message: Message },
    AgentStarts { agent: usize },
    HubStarts { replica: usize },
    ReplicaDies { replica: usize },
    ReplicasBeat,
    Wall { replica: usize, agent: usize, stands: bool },
    Harm,
    BackUp,
    Restore { how: hub::PutBack },
    Prune { away_ms: i64 },
    Clock(clocks::Turn),
    Disk { agent: usize, turn: copies::Turn, way: copies::Way },
    Revoked { agent: usize, turn: revoked::Turn },
    Business(business::News),
}

/// The world.
pub struct World {
    /// True time.
    pub now: UtcMs,
    /// Gateways first, then units.
    pub agents: Vec<Agent>,
    /// The depots, one per gateway.
    pub yards: Vec<Yard>,
    /// The hub; where there are replicas, the one that acts.
    pub hub: Hub,
    /// The ERP.
    pub erp: PretendErp,
    /// What truly happened.
    pub book: Book,
    /// What befalls it.
    pub weather: Weather,
    /// Its chance.
    pub dice: Dice,
    /// What happened, line by line.
    pub trace: Trace,
    /// Programs that failed where they must not.
    pub failures: Vec<String>,
    /// What is planted in it.
    pub bug: Bug,
    /// What stands behind the names of devices that are added. Worlds that share an ERP must not share names of decisions.
    pub lot: String,
    /// Between two reads of the ERP, in milliseconds.
    pub polls_every: i64,
    /// Between two looks at the leases, in milliseconds.
    pub lends_every: i64,
    queue: BTreeMap<(UtcMs, u64), Event>,
    counter: u64,
    requests: u64,
    changed_at: UtcMs,
    /// A case was changed, or only told again, since anyone looked.
    cases_spoke: bool,
    works_at: Option<UtcMs>,
    unfollowed: Unfollowed,
    readers: Option<Readers>,
    replicas: Replicas,
    hostile: Option<Hostile>,
    revoked: Revoked,
    directory: TempDir,
}

/// A directory in memory where there is one: a disk would only slow the pretend world down.
fn directory() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("gatehouse-world-");
        builder
    };
    builder().tempdir_in(in_memory).or_else(|_| builder().tempdir()).expect("a directory can be made")
}

impl World {
    /// A world with a hub that runs and nothing else. Leases last `lasts_ms`.
    #[must_use]
    pub fn new(seed: u64, bug: Bug, lasts_ms: u64, prints: bool) -> Self {
        let mut dice = Dice::of(seed);
        let directory = directory();
        let erp = PretendErp::new(dice.split());
        let machine = Machine::new("hub", DAWN, 0);
        let mut hub = Hub::new(directory.path(), machine, erp.clone(), lasts_ms, DAWN);
        drop(hub.set_time(DAWN));
        hub.start().expect("a hub starts on an empty store");
        let mut world = Self {
            now: DAWN,
            agents: Vec::new(),
            yards: Vec::new(),
            hub,
            erp,
            book: Book::default(),
            weather: Weather::default(),
            dice,
            trace: Trace::new(prints),
            failures: Vec::new(),
            bug,
            lot: String::new(),
            polls_every: POLL_EVERY,
            lends_every: LEND_EVERY,
            queue: BTreeMap::new(),
            counter: 0,
            requests: 0,
            changed_at: DAWN,
            cases_spoke: false,
            works_at: None,
            unfollowed: Unfollowed::default(),
            readers: None,
            replicas: Replicas::default(),
            hostile: None,
            revoked: Revoked::default(),
            directory,
        };
        world.after(SECOND, Event::Poll);
        world.after(2 * SECOND, Event::Lend);
        world
    }

    /// Adds a depot with its gateway, or a vehicle's unit, and starts it. Returns its place in [`Self::agents`].
    pub fn add(&mut self, site: &str, vehicle: Option<&str>) -> usize {
        let place = self.agents.len();
        let mut seed = [100; 32];
        seed[..8].copy_from_slice(&(place as u64).to_le_bytes());
        let ahead_ms = self.dice.between(-2_000, 2_000);
        let setup = Setup {
            directory: self.directory.path(),
            site,
            vehicle,
            hub: self.hub.key.public(),
            seed,
            machine: Machine::new(&format!("{site}{}", vehicle.unwrap_or_default()), self.now, ahead_ms),
            bug: self.bug,
            lot: &self.lot,
        };
        let agent = Agent::new(setup);
        self.hub.list(&agent).expect("a device can be listed");
        self.agents.push(agent);
        self.yards.push(Yard::default());
        self.agent_starts(place);
        place
    }

    /// The gateway of a depot.
    #[must_use]
    pub fn gateway(&self, site: &str) -> usize {
        let found = self.agents.iter().position(|a| a.is_gateway() && a.site.as_str() == site);
        found.unwrap_or_else(|| panic!("there is no depot {site}"))
    }

    /// Plays until `until`.
    pub fn run_until(&mut self, until: UtcMs) {
        while let Some(entry) = self.queue.first_entry() {
            let at = entry.key().0;
            if at > until || !self.failures.is_empty() {
                break;
            }
            let event = entry.remove();
            self.now = at;
            self.happens(event);
        }
        self.now = self.now.max(until);
        self.hub_tells_time();
    }

    /// Everything that was broken works again, and stays so.
    pub fn heal(&mut self) {
        self.say("the weather calms down");
        self.weather = Weather::default();
        self.erp.set_mood(self.weather.mood);
        self.clocks_are_right();
        for place in 0..self.agents.len() {
            let line = &mut self.agents[place].line;
            line.is_cut = false;
            line.manners = self.weather.manners;
            if self.agents[place].running.is_none() {
                self.agent_starts(place);
            }
        }
        self.replicas.calm_down();
        self.each_replica(Self::hub_starts);
        self.business_calms_down();
    }

    fn happens(&mut self, event: Event) {
        self.hub_tells_time();
        match event {
            Event::Timer { agent, timer } => {
                if self.agents[agent].running.as_ref().is_some_and(|r| r.timer == timer) {
                    self.give(agent, Vec::new());
                }
            }
            Event::Intake { agent } => self.takes_in(agent),
            Event::PushIsDue { agent, start } => self.pushes(agent, start),
            Event::PullIsDue { agent, start } => self.pulls(agent, start),
            Event::AtHub { agent, request, call, frame } => self.at_hub(agent, request, call, &frame),
            Event::AtAgent { agent, request, call, frame } => self.at_agent(agent, request, call, &frame),
            Event::GivenUp { agent, request } => self.gives_up(agent, request),
            Event::WaitedLongEnough { request } => self.waited_long_enough(request),
            Event::HubWorks => self.hub_works(),
            Event::Poll => {
                self.each_replica(Self::hub_polls);
                self.releases_after_all();
                self.is_read_again();
                self.after(self.polls_every, Event::Poll);
            }
            Event::Lend => {
                self.each_replica(Self::hub_lends);
                self.after(self.lends_every, Event::Lend);
            }
            Event::CrewLooks { agent } => {
                if self.yards[agent].looks_at == Some(self.now) {
                    self.crew_looks(agent);
                }
            }
            Event::OnTheRoad { agent, order, leg } => self.on_the_road(agent, &order, leg),
            Event::Delivered { agent, message } => {
                self.agents[agent].broker.publish(message);
                self.after(1, Event::Intake { agent });
            }
            Event::AgentStarts { agent } => self.agent_starts(agent),
            Event::HubStarts { replica } => {
                self.turn_to(replica);
                self.hub_starts();
            }
            Event::ReplicaDies { replica } => self.replica_dies(replica),
            Event::ReplicasBeat => self.replicas_beat(),
            Event::Wall { replica, agent, stands } => self.replicas.wall(replica, agent, stands),
            Event::Harm => self.harm(),
            Event::BackUp => self.backs_up(),
            Event::Restore { how } => self.restores(how),
            Event::Prune { away_ms } => self.prunes(away_ms),
            Event::Clock(turn) => self.clock_turns(turn),
            Event::Disk { agent, turn, way } => self.disk_turns(agent, turn, way),
            Event::Revoked { agent, turn } => self.revocation_turns(agent, turn),
            Event::Business(news) => self.business(news),
        }
    }

    pub(crate) fn after(&mut self, ms: i64, event: Event) {
        self.counter += 1;
        self.queue.insert((self.now.plus(ms), self.counter), event);
    }

    pub(crate) fn say(&mut self, what: &str) {
        self.trace.line(self.now, what);
    }

    pub(crate) fn changes(&mut self) {
        self.changed_at = self.now;
    }

    pub(crate) fn must<T, E: std::fmt::Display>(&mut self, what: &str, done: Result<T, E>) -> Option<T> {
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                self.failures.push(format!("{what} failed: {error}"));
                None
            }
        }
    }

    // ---- agents

    fn agent_starts(&mut self, place: usize) {
        if self.agents[place].running.is_some() {
            return;
        }
        let now = self.now;
        let started = self.agents[place].start(now);
        if self.must("starting an agent", started).is_none() {
            return;
        }
        let (device, start) = (self.agents[place].device.clone(), self.agents[place].starts);
        self.say(&format!("{device} starts for the {start}th time"));
        let mut first = vec![Input::Line(LineInput::Starting)];
        // Where nobody put its disk back it need not ask: the answer would be that nothing is amiss.
        first.extend(self.agents[place].running.as_ref().filter(|running| running.stands).map(|_| Input::Stands));
        self.give(place, first);
        self.after(1, Event::Intake { agent: place });
        self.after(5, Event::PullIsDue { agent: place, start });
        self.crew_looks_after(place, 2 * MINUTE);
    }

    /// An agent's program dies and comes back after a while.
    pub fn agent_dies(&mut self, place: usize) {
        if self.agents[place].running.is_none() {
            return;
        }
        self.agents[place].dies();
        let power = self.dice.chance(self.weather.power_goes);
        if power {
            let now = self.now;
            self.agents[place].machine.boots_again(now);
        }
        self.book.note(if power { "power cuts" } else { "agent crashes" });
        let device = self.agents[place].device.clone();
        self.say(&format!("{device} dies{}", if power { " with its power" } else { "" }));
        let pause = if self.dice.chance(700) {
            self.dice.between(1, 20 * SECOND)
        } else {
            self.dice.between(SECOND, 10 * MINUTE)
        };
        self.after(pause, Event::AgentStarts { agent: place });
    }

    /// Gives inputs to an agent, as its driver does: one commit, then the effects. Says whether it lives on;
    /// the answers to taps come with it.
    pub(crate) fn give(&mut self, place: usize, mut inputs: Vec<Input>) -> Option<Vec<Result<TapDone, TapRefused>>> {
        self.agents[place].running.as_ref()?;
        let death = self.weather.agent_dies(&mut self.dice);
        if death == Some(Death::Before) {
            self.agent_dies(place);
            return None;
        }
        inputs.push(Input::Tick);
        let now = self.now;
        let stepped = self.agents[place].step(now, &inputs);
        let outcome = self.must("an agent's commit", stepped)??;
        self.has_committed(place, &inputs);
        if outcome.effects.contains(&Effect::PushNow) {
            self.has_decided(place);
        }
        if death == Some(Death::After) {
            self.book.note("deaths between commit and effect");
            self.agent_dies(place);
            return None;
        }
        let (mut push, mut dispatches, mut cases) = (false, false, false);
        for effect in outcome.effects {
            match effect {
                Effect::Acknowledge(receipts) => receipts.iter().for_each(|r| self.acknowledged(place, r.0)),
                Effect::Changed(Change::Dispatch { .. }) => {
                    dispatches = true;
                    let pause = self.dice.between(5 * SECOND, 40 * SECOND);
                    self.crew_looks_after(place, pause);
                }
                Effect::Changed(Change::Case { .. }) => cases = true,
                Effect::Changed(_) => {}
                Effect::PushNow => push = true,
                Effect::ClockConfirmed => self.agents[place].machine.confirmed(),
            }
        }
        if push {
            self.push_soon(place);
        }
        // A page also changes when facts are told again; only what goes to the hub counts as news.
        if push && dispatches {
            self.changes();
        }
        self.cases_spoke |= push && cases;
        self.sets_timer(place);
        Some(outcome.answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// A person does something at a depot's page.
    pub fn tap(&mut self, place: usize, tap: Tap) -> Option<Result<TapDone, TapRefused>> {
        self.give(place, vec![Input::Tap(tap)])?.pop()
    }

    fn sets_timer(&mut self, place: usize) {
        let now = self.now;
        let agent = &mut self.agents[place];
        let Some(running) = &mut agent.running else { return };
        let wake = running.core.next_wake(&agent.machine.at(now)).unwrap_or(30_000);
        self.counter += 1;
        running.timer = self.counter;
        let timer = self.counter;
        self.after(i64::try_from(wake).unwrap_or(MINUTE).max(SECOND), Event::Timer { agent: place, timer });
    }

    // ---- devices

    /// A device publishes a message on an agent's broker.
    pub fn publishes(&mut self, place: usize, topic: &str, payload: &serde_json::Value) {
        let bytes = payload.to_string().into_bytes();
        self.sends(place, topic, bytes.clone(), Nature::Reading, 0);
        if self.dice.chance(self.weather.device_repeats) {
            let late = self.dice.between(1, 30 * SECOND);
            self.sends(place, topic, bytes, Nature::Repeat, late);
        }
        if self.dice.chance(self.weather.device_errs) {
            let late = self.dice.between(1, 10 * SECOND);
            match payload.get("id") {
                Some(id) if self.dice.chance(500) => {
                    let time = payload["time"].as_i64().unwrap_or_default() + 1;
                    let mut other = payload.clone();
                    other["time"] = time.into();
                    other["id"] = id.clone();
                    self.sends(place, topic, other.to_string().into_bytes(), Nature::Conflict, late);
                }
                _ => {
                    let garbage = format!("{{\"noise\": {}", self.dice.roll());
                    self.sends(place, topic, garbage.into_bytes(), Nature::Garbage, late);
                }
            }
        }
    }

    fn sends(&mut self, place: usize, topic: &str, payload: Vec<u8>, nature: Nature, late: i64) {
        let number = self.book.published.len();
        self.book.published.push(Published {
            agent: place,
            topic: topic.to_owned(),
            hash: Hash32::of(&payload),
            nature,
            is_acknowledged: false,
        });
        self.changes();
        let message = Message { number, topic: topic.to_owned(), payload };
        if late == 0 {
            self.agents[place].broker.publish(message);
            self.after(1, Event::Intake { agent: place });
        } else {
            self.after(late, Event::Delivered { agent: place, message });
        }
    }

    fn takes_in(&mut self, place: usize) {
        if self.agents[place].running.is_none() || self.agents[place].disk.waits() {
            return;
        }
        let limit = 1 + self.dice.place(INTAKE_MAX);
        let delivered = self.agents[place].broker.deliver(limit);
        if delivered.is_empty() {
            return;
        }
        let now = self.now;
        let mut inputs = Vec::new();
        for (receipt, message) in &delivered {
            match self.agents[place].read(now, *receipt, message) {
                Some(input) => inputs.push(input),
                None => self.acknowledged(place, *receipt),
            }
        }
        if self.agents[place].acknowledges_too_early() {
            delivered.iter().for_each(|(receipt, _)| self.acknowledged(place, *receipt));
        }
        self.give(place, inputs);
        if self.agents[place].broker.has_news() {
            self.after(10, Event::Intake { agent: place });
        }
    }

    fn acknowledged(&mut self, place: usize, receipt: u64) {
        if let Some(message) = self.agents[place].broker.acknowledge(receipt) {
            self.book.published[message.number].is_acknowledged = true;
            self.agents[place].disk.remembers(message);
        }
    }

    // ---- the hub

    fn hub_starts(&mut self) {
        if self.hub.running.is_some() {
            return;
        }
        let started = self.hub.start();
        self.must("starting the hub", started);
        self.say(&format!("{} starts", self.hub.called()));
        self.hub_works_at(self.now.plus(100));
    }

    /// The hub's program dies and comes back after a while.
    pub fn hub_dies(&mut self) {
        let told = self.hub.news().told;
        self.hub.dies();
        self.book.note("hub crashes");
        self.say(&format!("{} dies", self.hub.called()));
        let pause = self.dice.between(SECOND, 3 * MINUTE);
        self.after(pause, Event::HubStarts { replica: self.hub.number });
        // What it committed others may still hear of.
        self.others_hear(told);
    }

    pub(crate) fn hub_works_at(&mut self, at: UtcMs) {
        if self.works_at.is_none_or(|due| due > at || due <= self.now) {
            self.works_at = Some(at);
            self.after(at.since(self.now).max(1), Event::HubWorks);
        }
    }

    fn hub_works(&mut self) {
        if self.works_at.is_some_and(|due| due > self.now) {
            return;
        }
        self.works_at = None;
        self.each_replica(Self::hub_works_now);
    }

    fn hub_works_now(&mut self) {
        let worked = self.hub.works();
        let Some(lives) = self.must("the hub's work", worked) else { return };
        if !lives {
            self.book.note("hub deaths while posting");
            self.hub_dies();
            return;
        }
        if let Ok(Some(due)) = self.hub.next_posting() {
            self.hub_works_at(due.max(self.now.plus(SECOND)));
        }
        self.hub_has_changed();
    }

    fn hub_polls(&mut self) {
        self.hub.polls();
        if self.hub.leases_wait() {
            let lent = self.hub.lends();
            self.must("granting leases", lent);
        }
        // What waits for a read that began after its news has it now.
        self.hub_works_at(self.now.plus(100));
        self.hub_has_changed();
    }

    fn hub_lends(&mut self) {
        let lent = self.hub.lends();
        self.must("granting leases", lent);
        self.hub_has_changed();
    }

    fn people_choose(&mut self) {
        self.at_some_replica();
        let dice = &mut self.dice;
        let chosen = self.hub.people_choose(|choices| {
            let wished = if dice.chance(500) { Choice::Accept } else { Choice::Return };
            Some(if choices.contains(&wished) { wished } else { choices[0] })
        });
        if self.must("choosing", chosen).is_some_and(|n| n > 0) {
            self.hub_has_work();
        }
    }
}
