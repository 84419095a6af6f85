//! Clocks that are set wrong, and right again: those of depots and vehicles, and the hub's.
//!
//! A clock jumps forth or back, by less than a minute or by days. Either its machine goes on and trusts it as before,
//! or it was started again and nothing has confirmed it. While a depot's clock is behind, its agent takes what happens
//! for yet to come, and keeps it as a reading; the page shows the wrong time, and the crew waits. Once the clock is right,
//! the agent follows what happened once, as far as it came in the same boot. The rest devices tell again, such as their
//! measures: nobody else knows of it.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_agent::core::input::{Input, Receipt};
use gatehouse_common::{
    fact::Report,
    id::Hash32,
    lease::Lease,
    reading::Reading,
    sync::{Downward, exchange::SKEW_MAX_MS},
    time::{Moment, UtcMs},
};
use serde_json::Value;

use super::{
    DAWN, Event, Word, World,
    book::Nature,
    bugs::Bug,
    clock::{DAY, HOUR, MINUTE, Machine, SECOND},
    dice::Dice,
    random::{Played, STORM, drawn, ended, order_leaving},
};
use crate::standin::books;

/// How long clocks may be wrong in such a world: its last orders leave after the storm.
const LASTS: i64 = STORM + 30 * MINUTE;
/// What an agent takes for yet to come is further ahead of its clock than this, in milliseconds.
const AHEAD_MAX_MS: i64 = MINUTE;
/// Between two things that devices tell again.
const TOLD_EVERY: i64 = 2 * SECOND;
/// Most decisions that one commit holds.
const DECISIONS_MAX: u32 = 64;
/// How long the crew still waits once all is told and an agent has looked at what it kept itself.
const LOOKS_AFTER: i64 = 3 * MINUTE;

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of a depot or a vehicle.
    Agent(usize),
    /// That of the hub.
    Hub,
}

/// What happens to clocks and by them.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// It is so far off from now on. With `boots` its machine was started again, and nothing has confirmed it.
    Wrong { whose: Whose, by_ms: i64, boots: bool },
    /// It is set right by what can be trusted.
    Right { whose: Whose },
    /// A device tells again what its agent took for yet to come.
    ToldAgain { agent: usize, topic: String, says: Value },
}

/// What agents have taken in, and what of it they did not follow.
#[derive(Debug, Default)]
pub(super) struct Unfollowed {
    /// Which readings each agent has committed: who sent them, and their hash.
    known: BTreeSet<(usize, String, Hash32)>,
    /// What each agent took for yet to come, in the order in which it came.
    waits: BTreeMap<usize, Vec<Waits>>,
}

/// What an agent took for yet to come.
#[derive(Debug)]
struct Waits {
    topic: String,
    says: Value,
    /// When it was so, by its device.
    at: UtcMs,
    /// When it came, by the agent.
    received: Moment,
    /// Whether it happened once: what is measured over and over the agent keeps no hold of.
    once: bool,
}

impl Waits {
    /// Whether the agent follows it by itself at `now`, should its clock be trusted.
    fn is_kept(&self, now: &Moment) -> bool {
        let passed = now.since(&self.received).filter(|_| self.received.boot == now.boot);
        let came = passed.and_then(|ms| i64::try_from(ms).ok()).map(|ms| now.wall.plus(-ms));
        self.once && came.is_some_and(|came| self.at.since(came) <= AHEAD_MAX_MS)
    }
}

/// Plays the world of `seed` in which the clocks of depots and vehicles are set wrong and right again, and with `hub`
/// the hub's as well; to its quiet end, and checks it.
#[must_use]
pub fn play_with_clocks(seed: u64, hub: bool, bug: Bug, prints: bool) -> Played {
    let mut world = drawn(seed, bug, prints);
    let mut dice = Dice::of(seed ^ 0x0063_6c6f_636b);
    world.reads_again(true);
    if bug == Bug::CountsSlowly {
        world.agents.iter_mut().for_each(|agent| agent.machine.counts_slowly());
    }
    let gateways = world.agents.iter().filter(|agent| agent.is_gateway());
    let sites: Vec<String> = gateways.map(|agent| agent.site.to_string()).collect();
    for site in &sites {
        leaves_late(&mut world, site, &mut dice);
    }
    for place in 0..world.agents.len() {
        for _ in 0..2 {
            world.goes_wrong(Whose::Agent(place), &mut dice);
        }
    }
    if hub {
        world.goes_wrong(Whose::Hub, &mut dice);
    }
    ended(world, LASTS)
}

/// An order that is ready to go when its facts have just grown too old, and of which they are told again only when it
/// should have left.
fn leaves_late(world: &mut World, site: &str, dice: &mut Dice) {
    let departure = DAWN.plus(dice.between(STORM, LASTS));
    let order = order_leaving(world, site, 4, departure, dice);
    let from = dice.between(5 * MINUTE, 20 * MINUTE);
    for at in [from, LASTS + 5 * MINUTE, LASTS + 45 * MINUTE] {
        facts_at(world, &order, at);
    }
}

fn facts_at(world: &mut World, order: &books::Order, at: i64) {
    let id = order.id.parse().expect("a name");
    for line in &order.lines {
        world.told_after(at, &id, &Word::Inventory(line.line, line.quantity));
    }
    world.told_after(at, &id, &Word::Carrier(true));
    world.told_after(at, &id, &Word::Capacity(true));
}

impl World {
    /// A clock is wrong for a while.
    fn goes_wrong(&mut self, whose: Whose, dice: &mut Dice) {
        let by_ms = match dice.below(4) {
            0 => dice.between(-50 * SECOND, 50 * SECOND),
            1 => dice.between(MINUTE, 2 * HOUR),
            2 => 10 * DAY,
            _ => -dice.between(2 * MINUTE, HOUR),
        };
        let boots = matches!(whose, Whose::Agent(_)) && dice.chance(300);
        let from = dice.between(10 * MINUTE, LASTS - 5 * MINUTE);
        self.after(from, Event::Clock(Turn::Wrong { whose, by_ms, boots }));
        let until = from + dice.between(2 * MINUTE, 40 * MINUTE);
        self.after(until, Event::Clock(Turn::Right { whose }));
    }

    pub(super) fn clock_turns(&mut self, turn: Turn) {
        match turn {
            Turn::Wrong { whose, by_ms, boots } => self.is_set_wrong(whose, by_ms, boots),
            Turn::Right { whose } => self.is_set_right(whose),
            Turn::ToldAgain { agent, topic, says } => {
                let says = if says.get("tst").is_some() { self.fix_of_now(says) } else { self.reading(says) };
                self.publishes(agent, &topic, &says);
            }
        }
    }

    fn is_set_wrong(&mut self, whose: Whose, by_ms: i64, boots: bool) {
        let now = self.now;
        let (called, how) = (self.called(whose), if boots { " after a power cut" } else { "" });
        self.say(&format!("the clock of {called} is off by {} s{how}", by_ms / SECOND));
        self.book.note(if by_ms < 0 { "clocks set back" } else { "clocks set forth" });
        let machine = match whose {
            Whose::Hub => &mut self.hub.machine,
            Whose::Agent(place) => &mut self.agents[place].machine,
        };
        machine.is_set(now, machine.usual_ms() + by_ms);
        if boots {
            machine.boots_again(now);
            if let Whose::Agent(place) = whose
                && self.agents[place].running.is_some()
            {
                self.agents[place].dies();
                let pause = self.dice.between(SECOND, 2 * MINUTE);
                self.after(pause, Event::AgentStarts { agent: place });
            }
        }
        self.hub_tells_time();
    }

    fn is_set_right(&mut self, whose: Whose) {
        let now = self.now;
        let machine = match whose {
            Whose::Hub => &mut self.hub.machine,
            Whose::Agent(place) => &mut self.agents[place].machine,
        };
        machine.confirmed();
        if machine.ahead_ms() != machine.usual_ms() {
            machine.is_set(now, machine.usual_ms());
            let called = self.called(whose);
            self.say(&format!("the clock of {called} is right again"));
        }
        self.hub_tells_time();
        if let Whose::Agent(place) = whose {
            self.is_told_again(place);
        }
    }

    /// Every clock is right, and stays so.
    pub(super) fn clocks_are_right(&mut self) {
        let wrong = |machine: &Machine| machine.ahead_ms() != machine.usual_ms();
        let agents = 0..self.agents.len();
        let of_agents: Vec<usize> = agents.filter(|place| wrong(&self.agents[*place].machine)).collect();
        if wrong(&self.hub.machine) {
            self.is_set_right(Whose::Hub);
        }
        of_agents.into_iter().for_each(|place| self.is_set_right(Whose::Agent(place)));
    }

    fn called(&self, whose: Whose) -> String {
        match whose {
            Whose::Hub => "the hub".to_owned(),
            Whose::Agent(place) => self.agents[place].device.to_string(),
        }
    }

    /// Devices tell again, as of now and in the same order, what their agent took for yet to come and will not follow by
    /// itself at its next look.
    fn is_told_again(&mut self, agent: usize) {
        let (waits, now) =
            (self.unfollowed.waits.remove(&agent).unwrap_or_default(), self.agents[agent].machine.at(self.now));
        if waits.is_empty() {
            return;
        }
        let (kept, told): (Vec<Waits>, Vec<Waits>) = waits.into_iter().partition(|waits| waits.is_kept(&now));
        self.unfollowed.waits.insert(agent, kept);
        let mut wait = 0;
        for Waits { topic, says, .. } in told {
            wait += TOLD_EVERY;
            self.after(wait, Event::Clock(Turn::ToldAgain { agent, topic, says }));
        }
        let until = self.now.plus(wait + LOOKS_AFTER);
        let yard = &mut self.yards[agent];
        yard.sees_from = yard.sees_from.max(until);
    }

    /// Whether the page of a depot does not show what is so, and everybody can see that.
    pub(super) fn page_is_behind(&self, place: usize) -> bool {
        self.now < self.yards[place].sees_from || self.agents[place].machine.ahead_ms() < -AHEAD_MAX_MS
    }

    /// Writes down what an agent has just committed, as far as anything is compared with it later.
    pub(super) fn has_committed(&mut self, place: usize, inputs: &[Input]) {
        let now = self.now;
        for input in inputs {
            match input {
                Input::Reading { reading, receipt } => self.has_read(place, reading, *receipt),
                Input::Tick => self.has_looked(place),
                Input::Feed { items, .. } => {
                    for item in items {
                        match &item.says {
                            Downward::Fact(json) => {
                                if let Ok(report) = serde_json::from_str::<Report>(json) {
                                    self.book.fact_came(place, Some(&report.key), report.at, now);
                                }
                            }
                            Downward::Lease(sealed) => {
                                if let Ok(lease) = sealed.peek::<Lease>() {
                                    let lasts = i64::try_from(lease.lasts_ms).unwrap_or(i64::MAX);
                                    self.book.leases_came.entry((place, lease.id)).or_default().push((now, lasts));
                                }
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Writes down when an agent made its newest decisions.
    pub(super) fn has_decided(&mut self, place: usize) {
        let now = self.now;
        // Most commits hold one at most.
        for limit in [1, DECISIONS_MAX] {
            let Some(running) = &self.agents[place].running else { return };
            let newest = running.store.look().decisions(limit);
            let Some(newest) = self.must("reading decisions", newest) else { return };
            let hashes: Vec<String> = newest.iter().map(|row| row.sealed.hash().to_string()).collect();
            let is_all = hashes.last().is_none_or(|oldest| self.book.decided.contains_key(oldest));
            for hash in hashes {
                self.book.decided.entry(hash).or_insert(now);
            }
            if is_all {
                return;
            }
        }
    }

    /// An agent looked at what it took for yet to come.
    fn has_looked(&mut self, place: usize) {
        let now = self.agents[place].machine.at(self.now);
        let Some(waits) = self.unfollowed.waits.get_mut(&place).filter(|_| now.trusted) else { return };
        let before = waits.len();
        waits.retain(|waits| !waits.is_kept(&now));
        for _ in waits.len()..before {
            self.book.note("readings followed once the clock was right");
        }
    }

    fn has_read(&mut self, place: usize, reading: &Reading, receipt: Option<Receipt>) {
        self.book.fact_came(place, None, reading.at, self.now);
        let is_new = self.unfollowed.known.insert((place, reading.source.clone(), reading.payload_hash));
        let received = self.agents[place].machine.at(self.now);
        if !is_new || reading.at.since(received.wall) <= AHEAD_MAX_MS {
            return;
        }
        let message = receipt.and_then(|receipt| self.agents[place].broker.delivered(receipt.0));
        let Some(message) = message else { return };
        // Another content under a known id is no reading, and is told by nobody again.
        if !matches!(self.book.published[message.number].nature, Nature::Reading | Nature::Repeat) {
            return;
        }
        let says = serde_json::from_slice(&message.payload).expect("devices speak JSON");
        let once = !reading.value.goes_on();
        let waits = Waits { topic: message.topic.clone(), says, at: reading.at, received, once };
        self.unfollowed.waits.entry(place).or_default().push(waits);
        self.book.note("readings taken for yet to come");
    }

    /// Whether the hub refuses a request for its time. Then the line of the device asks for the hub's, and uses that.
    pub(super) fn is_of_another_time(&mut self, place: usize, request: u64) -> bool {
        if self.hub.running.is_none() {
            return false;
        }
        let off = self.hub.machine.at(self.now).wall.since(self.agents[place].machine.at(self.now).wall);
        let agent = &mut self.agents[place];
        if off.saturating_sub(agent.skew_ms).abs() <= SKEW_MAX_MS {
            return false;
        }
        agent.skew_ms = if off.abs() > SKEW_MAX_MS / 2 { off } else { 0 };
        self.book.note("requests refused for their time");
        self.after(100, Event::GivenUp { agent: place, request });
        true
    }

    fn fix_of_now(&self, mut says: Value) -> Value {
        says["tst"] = (self.now.0 / SECOND).into();
        says
    }
}
