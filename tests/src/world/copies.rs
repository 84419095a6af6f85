//! Agents whose disk is put back to an older copy of itself.
//!
//! What the agent decided and wrote meanwhile is at the hub alone, under numbers that the older store would give out
//! again. It asks the hub how it stands before it tells anything, and begins anew. What sensors told since is lost with
//! the disk; whoever sent it sends it once more, byte for byte, once the hub has given back what it has.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use gatehouse_agent::{core::input::Input, sync::is_older};
use gatehouse_common::{
    id::DeviceId,
    sync::{DeviceSession, Lane, Stand, Standing, decode, encode},
    time::UtcMs,
};
use gatehouse_hub::sync::standing;

use super::{
    Call, Event, World,
    broker::Message,
    bugs::Bug,
    clock::{MINUTE, SECOND},
    dice::Dice,
    exchange::ANSWER_MAX,
    hub::{Hub, HubError},
    network::Manners,
    random::{Played, STORM, drawn, ended},
};

/// How a disk is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Once the hub has all that the agent decided, over a line that holds, and by somebody who lets no device speak
    /// before the hub has given back what it has.
    Orderly,
    /// At any moment. Devices speak at once; what the agent had not told the hub is lost for good.
    AtAnyMoment,
}

/// What happens to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A copy of it is made.
    Copied,
    /// It is put back to the copy.
    PutBack,
}

/// What became of an agent's disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    copy: Option<PathBuf>,
    /// What was acknowledged since the copy was made.
    since: Vec<Message>,
    /// While it is another disk and the hub has not given back yet what it has: what comes again then.
    lost: Option<Vec<Message>>,
    waits: bool,
}

impl Disk {
    /// The broker has forgotten this message.
    pub(super) fn remembers(&mut self, message: Message) {
        if self.copy.is_some() {
            self.since.push(message);
        }
    }

    /// Whether it was put back, and the hub has not given back yet what it has.
    pub(super) fn is_another(&self) -> bool {
        self.lost.is_some()
    }

    /// Whether no device speaks with the agent until then.
    pub(super) fn waits(&self) -> bool {
        self.waits && self.is_another()
    }
}

/// Plays the world of `seed` in which agents go on from an older copy of their own disk, put back in this way; to its
/// quiet end, and checks it.
#[must_use]
pub fn play_put_back(seed: u64, way: Way, bug: Bug, prints: bool) -> Played {
    let mut world = drawn(seed, bug, prints);
    let mut dice = Dice::of(seed ^ 0x636f_7069_6573);
    world.reads_again(false);
    for agent in 0..world.agents.len() {
        if agent > 0 && dice.chance(400) {
            continue;
        }
        let mut at = dice.between(5 * MINUTE, STORM / 2);
        for _ in 0..1 + dice.place(2) {
            world.after(at, Event::Disk { agent, turn: Turn::Copied, way });
            at += dice.between(MINUTE, STORM / 3);
            world.after(at, Event::Disk { agent, turn: Turn::PutBack, way });
            at += dice.between(5 * MINUTE, STORM / 4);
        }
    }
    ended(world, STORM)
}

impl World {
    pub(super) fn disk_turns(&mut self, agent: usize, turn: Turn, way: Way) {
        let is_possible = match turn {
            Turn::Copied => !self.agents[agent].disk.is_another(),
            Turn::PutBack => self.agents[agent].disk.copy.is_some() && (way == Way::AtAnyMoment || self.is_told(agent)),
        };
        match turn {
            _ if !is_possible => self.after(MINUTE, Event::Disk { agent, turn, way }),
            Turn::Copied => self.copies_disk(agent),
            Turn::PutBack => self.puts_disk_back(agent, way),
        }
    }

    /// Whether the hub has all that an agent decided, and can be asked how it stands.
    fn is_told(&self, agent: usize) -> bool {
        let agent = &self.agents[agent];
        let Some(running) = &agent.running else { return false };
        let waits = running.store.look().outbox(1).map_or(1, |waiting| waiting.len());
        self.hub.running.is_some() && !agent.line.is_cut && running.stands && waits == 0
    }

    fn copies_disk(&mut self, place: usize) {
        let agent = &mut self.agents[place];
        let to = beside(&agent.path, ".copy");
        copies(&agent.path, &to);
        agent.disk = Disk { copy: Some(to), ..Disk::default() };
        let device = agent.device.clone();
        self.say(&format!("the disk of {device} is copied"));
    }

    fn puts_disk_back(&mut self, place: usize, way: Way) {
        let now = self.now;
        let agent = &mut self.agents[place];
        let Some(copy) = agent.disk.copy.clone() else { return };
        agent.lets_go();
        copies(&copy, &agent.path);
        agent.machine.boots_again(now);
        let lost = std::mem::take(&mut agent.disk.since);
        agent.disk.waits = way == Way::Orderly;
        if agent.disk.waits {
            agent.line.manners = Manners::default();
        }
        let device = agent.device.clone();
        for message in &lost {
            self.book.published[message.number].is_acknowledged = false;
            self.book.note("messages lost with a disk");
        }
        // Behind them stands what had not come again yet since the last time.
        let agent = &mut self.agents[place];
        let lost: Vec<Message> = lost.into_iter().chain(agent.disk.lost.take().unwrap_or_default()).collect();
        if way == Way::Orderly {
            agent.disk.lost = Some(lost);
        } else {
            agent.broker.comes_again(lost);
            agent.disk.lost = Some(Vec::new());
        }
        self.book.put_back.insert(place);
        self.book.note("disks put back");
        self.say(&format!("the disk of {device} is put back to its copy"));
        self.yards[place].sees_from = UtcMs(i64::MAX);
        self.changes();
        self.after(20 * SECOND, Event::AgentStarts { agent: place });
    }

    /// Asks how the device stands with the hub, if it does not know that. Says whether it asked.
    pub(super) fn asks_how_it_stands(&mut self, place: usize) -> bool {
        let Some(running) = &self.agents[place].running else { return false };
        if running.stands {
            return false;
        }
        let life = running.store.look().outbox_epoch();
        let Some(outbox_epoch) = self.must("reading the life of the outbox", life) else { return true };
        let frame = encode(&Stand { outbox_epoch });
        let Some(frame) = self.must("writing a question", frame) else { return true };
        let request = self.asks(place, Call::Stand, frame, ANSWER_MAX);
        if let Some(running) = &mut self.agents[place].running {
            running.pull = Some(request);
        }
        true
    }

    pub(super) fn was_told_how_it_stands(&mut self, place: usize, frame: &[u8]) {
        let start = self.agents[place].starts;
        let read = decode::<Standing>(frame);
        let Some(standing) = self.must("reading how a device stands", read) else { return };
        let (device, hub) = (self.agents[place].device.clone(), self.hub.key.public());
        let Some(running) = &self.agents[place].running else { return };
        let is_older = is_older(running.store.look(), &device, &hub, &standing);
        let Some(is_older) = self.must("comparing how a device stands", is_older) else { return };
        if is_older && self.bug != Bug::EpochKept {
            self.book.note("stores found to be older copies");
            self.say(&format!("{device} finds that its store is an older copy"));
            if self.give(place, vec![Input::Outlived(standing)]).is_none() {
                return;
            }
            let Some(running) = &self.agents[place].running else { return };
            let (cursor, life) = (running.store.look().cursor(), running.store.look().outbox_epoch());
            let (cursor, life) = (self.must("reading the cursor", cursor), self.must("reading the life", life));
            let (Some(cursor), Some(life)) = (cursor, life) else { return };
            if let Some(running) = &mut self.agents[place].running {
                running.session = DeviceSession::resume(cursor, life);
            }
        }
        if self.give(place, vec![Input::Stands]).is_none() {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        running.stands = true;
        // Else everything is compared first.
        if running.session.cursor().positions[Lane::Documents.index()] > 0 {
            self.hub_has_given_back(place);
        }
        if self.answered(place).is_some() {
            self.push_soon(place);
            self.after(1, Event::PullIsDue { agent: place, start });
        }
    }

    /// What was lost with the disk comes again, and the page shows soon what is so.
    pub(super) fn hub_has_given_back(&mut self, place: usize) {
        let Some(lost) = self.agents[place].disk.lost.take() else { return };
        self.agents[place].line.manners = self.weather.manners;
        *self.book.befell.entry("messages that came again for a disk").or_default() += lost.len() as u64;
        self.agents[place].broker.comes_again(lost);
        self.after(1, Event::Intake { agent: place });
        self.yards[place].sees_from = self.now.plus(2 * MINUTE);
    }
}

impl Hub {
    /// Tells a device that has just started how it stands.
    /// # Errors
    /// [`HubError`]: the agent gets no answer.
    pub fn stands(&self, device: &DeviceId, frame: &[u8]) -> Result<Vec<u8>, HubError> {
        let running = self.running.as_ref().ok_or(HubError::Down)?;
        let (asked, now): (Stand, UtcMs) = (decode(frame)?, self.clock.wall());
        let standing = running.store.read_now(|r| standing::standing(r, &self.key, device, &asked, now))?;
        Ok(encode(&standing)?)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Copies a store as an image of its disk does: its file, and its log where there is one.
fn copies(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(to, suffix));
    }
    fs::copy(from, to).expect("a store can be copied");
    let log = beside(from, "-wal");
    if log.exists() {
        fs::copy(log, beside(to, "-wal")).expect("a store's log can be copied");
    }
}
