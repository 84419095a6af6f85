//! What stands and lies in one depot, and the crew that works there.
//!
//! In: what the depot's page shows. Out: what the crew does next. The crew knows nothing that the page
//! does not show; what it does is physical and cannot be taken back by anything the page says later.

use std::collections::BTreeMap;

use gatehouse_common::{
    dispatch::{DispatchState, HoldReason},
    id::{DocumentId, DoorId, OrderId, VehicleId},
    time::UtcMs,
};

use super::{
    clock::{HOUR, MINUTE},
    dice::Dice,
    lens::Seen,
};

/// Where a vehicle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// On the road.
    #[default]
    Away,
    /// In the yard, at no door.
    InYard,
    /// At its door since then.
    AtDoor(UtcMs),
    /// Gone with a load, or empty.
    Leaving,
}

/// The physical side of one order.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Units on the staging lane or beyond, per line.
    pub staged: BTreeMap<u16, u32>,
    /// Units in the vehicle, per line.
    pub loaded: BTreeMap<u16, u32>,
    /// Where its vehicle is.
    pub place: Place,
    /// Whether its papers are complete.
    pub has_papers: bool,
    /// Whether the vehicle is closed and sealed since the last piece was moved.
    pub is_closed: bool,
    /// Goods that come into the depot only later, per line, and when.
    pub comes_later: BTreeMap<u16, (u32, UtcMs)>,
    /// When the crew first saw it held.
    pub held_since: Option<UtcMs>,
    /// How often the supervisor wanted to let it go all the same.
    pub overrides: u32,
}

/// How often a supervisor tries to let an order go before it is left to others.
const OVERRIDES_MAX: u32 = 3;

/// One thing that the crew does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Brings goods to the lane.
    Stage(u16, u32),
    /// Completes the papers.
    Papers,
    /// The vehicle comes into the yard.
    Arrive,
    /// It goes to its door.
    Dock,
    /// It makes room at the door, empty.
    MakeRoom,
    /// Puts goods into it.
    Load(u16, u32),
    /// Takes goods out of it.
    Unload(u16, u32),
    /// Closes door and vehicle and sets the seal.
    Close,
    /// It drives off with what is in it.
    DriveOff,
    /// It drives off with nothing in it.
    DriveOffEmpty,
    /// Someone says that the recall was seen.
    SeenRecall(DocumentId),
    /// The supervisor lets it go.
    Override(DocumentId),
}

/// One depot.
#[derive(Debug, Clone, Default)]
pub struct Yard {
    /// By order.
    pub jobs: BTreeMap<OrderId, Job>,
    /// Who stands at which door.
    pub doors: BTreeMap<DoorId, Option<VehicleId>>,
    /// In thousandths: how often a driver leaves although the page says stop.
    pub rogues: u64,
    /// In thousandths: how often the supervisor overrides a hold.
    pub overrides: u64,
    /// From when on the page shows what is so, where it was put out of joint.
    pub sees_from: UtcMs,
    /// When the crew looks at the page next.
    pub looks_at: Option<UtcMs>,
    /// Vehicles that drove off, by order.
    pub vehicles: BTreeMap<OrderId, VehicleId>,
}

impl Job {
    /// Whether anything is in the vehicle.
    #[must_use]
    pub fn is_laden(&self) -> bool {
        self.loaded.values().any(|units| *units > 0)
    }

    fn missing(&self, seen: &Seen, now: UtcMs) -> Option<(u16, u32)> {
        seen.load.iter().find_map(|wanted| {
            let later =
                self.comes_later.get(&wanted.line).filter(|(_, from)| *from > now).map_or(0, |(units, _)| *units);
            let here = wanted.quantity.saturating_sub(later);
            let missing = here.saturating_sub(units(&self.staged, wanted.line));
            (missing > 0).then_some((wanted.line, missing))
        })
    }

    fn surplus(&self, seen: &Seen) -> Option<(u16, u32)> {
        self.loaded.iter().find_map(|(line, loaded)| {
            let wanted = seen.load.iter().find(|l| l.line == *line).map_or(0, |l| l.quantity);
            (*loaded > wanted).then(|| (*line, loaded - wanted))
        })
    }

    fn to_load(&self, seen: &Seen) -> Option<(u16, u32)> {
        seen.load.iter().find_map(|wanted| {
            let loaded = units(&self.loaded, wanted.line);
            let ready = wanted.quantity.min(units(&self.staged, wanted.line)).saturating_sub(loaded);
            (ready > 0).then_some((wanted.line, ready))
        })
    }
}

fn units(of: &BTreeMap<u16, u32>, line: u16) -> u32 {
    of.get(&line).copied().unwrap_or(0)
}

impl Yard {
    /// What the crew does next about one order, given all its dispatches on the page.
    #[must_use]
    pub fn next(&self, rows: &[&(DocumentId, Seen)], now: UtcMs, dice: &mut Dice) -> Option<Act> {
        let unseen = rows.iter().find(|(_, s)| s.cancelled.is_some() && !s.recall_seen && !s.state.has_left());
        if let Some((id, _)) = unseen {
            return Some(Act::SeenRecall(*id));
        }
        let (id, seen) = *rows.iter().max_by_key(|(_, s)| s.occurrence)?;
        let nothing = Job::default();
        let job = self.jobs.get(&seen.order).unwrap_or(&nothing);
        match job.place {
            Place::Leaving => None,
            _ if seen.state.is_over_at_depot() || seen.cancelled.is_some() => self.clear_up(job),
            _ => self.go_on(*id, seen, job, now, dice),
        }
    }

    /// Nothing shall leave: goods come out, the vehicle goes.
    fn clear_up(&self, job: &Job) -> Option<Act> {
        if let Some((line, loaded)) = job.loaded.iter().find(|(_, loaded)| **loaded > 0) {
            return Some(Act::Unload(*line, *loaded));
        }
        matches!(job.place, Place::AtDoor(_) | Place::InYard).then_some(Act::DriveOffEmpty)
    }

    fn go_on(&self, id: DocumentId, seen: &Seen, job: &Job, now: UtcMs, dice: &mut Dice) -> Option<Act> {
        if let Some((line, surplus)) = job.surplus(seen) {
            return Some(Act::Unload(line, surplus));
        }
        if now < seen.planned_departure.plus(-HOUR) {
            return None;
        }
        if let Some((line, missing)) = job.missing(seen, now) {
            return Some(Act::Stage(line, missing));
        }
        if !job.has_papers {
            return Some(Act::Papers);
        }
        let near = now >= seen.planned_departure.plus(-40 * MINUTE);
        if job.place == Place::Away {
            return near.then_some(Act::Arrive);
        }
        let may_load = matches!(seen.state, DispatchState::Released | DispatchState::Loading | DispatchState::Loaded);
        if !may_load || seen.stop_departure {
            return self.wait(id, seen, job, now, dice);
        }
        let Place::AtDoor(since) = job.place else {
            let free = self.doors.get(&seen.door).is_none_or(Option::is_none);
            return free.then_some(Act::Dock);
        };
        if let Some((line, ready)) = job.to_load(seen) {
            return Some(Act::Load(line, ready));
        }
        let is_whole = seen.load.iter().all(|l| units(&job.loaded, l.line) == l.quantity);
        let impatient = job.is_laden() && now.since(since) > 40 * MINUTE;
        match (is_whole || impatient, job.is_closed) {
            (false, _) => None,
            (true, false) => Some(Act::Close),
            (true, true) => (seen.state == DispatchState::Loaded || impatient).then_some(Act::DriveOff),
        }
    }

    /// It may not be loaded, or not leave.
    fn wait(&self, id: DocumentId, seen: &Seen, job: &Job, now: UtcMs, dice: &mut Dice) -> Option<Act> {
        let at_door = matches!(job.place, Place::AtDoor(_));
        if at_door && job.is_closed && job.is_laden() && dice.chance(self.rogues) {
            return Some(Act::DriveOff);
        }
        let held_long = job.held_since.is_some_and(|since| now.since(since) > 20 * MINUTE);
        let only_gates = !seen.holds.is_empty() && seen.holds.iter().all(|h| h.reason == HoldReason::Gate);
        if held_long && only_gates && job.overrides < OVERRIDES_MAX && dice.chance(self.overrides) {
            return Some(Act::Override(id));
        }
        // A door is worth more than a place in the queue.
        (at_door && !job.is_laden() && held_long).then_some(Act::MakeRoom)
    }

    /// What the crew did is so from now on.
    pub fn did(&mut self, order: &OrderId, seen: &Seen, act: &Act, now: UtcMs) {
        let job = self.jobs.entry(order.clone()).or_default();
        match act {
            Act::Stage(line, n) => *job.staged.entry(*line).or_default() += n,
            Act::Papers => job.has_papers = true,
            Act::Arrive => job.place = Place::InYard,
            Act::Dock => {
                job.place = Place::AtDoor(now);
                self.doors.insert(seen.door.clone(), Some(seen.vehicle.clone()));
            }
            Act::MakeRoom => {
                job.place = Place::InYard;
                self.doors.insert(seen.door.clone(), None);
            }
            Act::Load(line, n) => {
                *job.loaded.entry(*line).or_default() += n;
                job.is_closed = false;
            }
            Act::Unload(line, n) => {
                for pile in [&mut job.loaded, &mut job.staged] {
                    let units = pile.entry(*line).or_default();
                    *units = units.saturating_sub(*n);
                }
                job.is_closed = false;
            }
            Act::Close => job.is_closed = true,
            Act::DriveOff | Act::DriveOffEmpty => {
                if matches!(job.place, Place::AtDoor(_)) {
                    self.doors.insert(seen.door.clone(), None);
                }
                for (line, left) in std::mem::take(&mut job.loaded) {
                    let staged = job.staged.entry(line).or_default();
                    *staged = staged.saturating_sub(left);
                }
                job.place = Place::Leaving;
                job.is_closed = false;
            }
            Act::Override(_) => job.overrides += 1,
            Act::SeenRecall(_) => {}
        }
    }

    /// Notes since when an order is held, as far as the crew can see; and takes surplus goods off the lane.
    pub fn watch(&mut self, seen: &Seen, now: UtcMs) {
        let job = self.jobs.entry(seen.order.clone()).or_default();
        if seen.state == DispatchState::Held {
            job.held_since.get_or_insert(now);
        } else {
            job.held_since = None;
        }
        for (line, staged) in &mut job.staged {
            let wanted = seen.load.iter().find(|l| l.line == *line).map_or(0, |l| l.quantity);
            *staged = (*staged).min(wanted.max(units(&job.loaded, *line)));
        }
    }
}
