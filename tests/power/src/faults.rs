//! One scripted session with a fault at its Nth call to the disk.
//!
//! In: N, what goes wrong, and how the program answers. Out: whether the fault came, and whether everything that was
//! acknowledged is on the medium in the end. The power is cut at the end, so that what only the cache held is gone.

use gatehouse_agent::store::StoreError;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    depot::{Life, Step},
    disk::{Disk, Fault, Keeps},
    machine::Machine,
    trial::{difference, said},
    vfs::Mounted,
};

/// How often a full disk is tried before the script gives up.
const TRIES_MAX: u32 = 50;

/// How a program answers a store that failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As the agent: it ends; started again, it first writes the log anew, since what the cache still shows of it may
    /// never have reached the medium.
    EndAndWriteLogAnew,
    /// The control: it ends, and started again it believes what the cache shows.
    EndAndBelieveCache,
}

/// A session and what a store without faults holds after each of its steps.
#[derive(Debug)]
pub struct Script {
    steps: Vec<Step>,
    holds: Vec<Vec<String>>,
}

/// What came of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Whether the fault came; with a larger N it does not.
    pub fired: bool,
    /// How often the program was started again.
    pub restarts: u32,
    /// How often a step was tried again because the disk was full.
    pub tried_again: u32,
}

impl Script {
    /// The first `steps` steps of a life.
    /// # Errors
    /// What the store without faults says.
    pub fn of(seed: u64, steps: usize) -> Result<Self, String> {
        let mut life = Life::of(seed);
        let mut all = vec![life.start()];
        all.extend(life.morning());
        while all.len() < steps {
            all.push(life.next_step());
        }
        let mut twin = Machine::with(Mounted::new(Disk::default()));
        twin.start().map_err(said)?;
        let mut holds = vec![twin.everything().map_err(|e| e.to_string())?];
        for step in &all {
            twin.take(step).map_err(said)?;
            holds.push(twin.everything().map_err(|e| e.to_string())?);
        }
        Ok(Self { steps: all, holds })
    }

    /// Plays it with `fault` at the `nth` call that changes something on the disk, the making of the store included.
    /// # Errors
    /// What was lost, altered, or never went on.
    pub fn play(&self, nth: u64, fault: Fault, answer: Answer) -> Result<Played, String> {
        let mut machine = Machine::with(Mounted::new(Disk::default()));
        machine.checkpoint_pages = 20;
        machine.disk.disk().plan(nth, fault);
        let mut played = Played { fired: false, restarts: 0, tried_again: 0 };
        if machine.start().is_err() {
            start_again(&mut machine, answer, &mut played)?;
        }
        let mut place = 0;
        while let Some(step) = self.steps.get(place) {
            let result = machine.take(step);
            let alive = !machine.disk.disk().is_dead();
            match result {
                Ok(_) if alive => place += 1,
                Err(refused) if alive && refused.is_passing() => {
                    played.tried_again += 1;
                    if played.tried_again > TRIES_MAX {
                        return Err(format!("step {place} is never taken: {refused}"));
                    }
                }
                _ => {
                    start_again(&mut machine, answer, &mut played)?;
                    let found = machine.everything().map_err(|e| e.to_string())?;
                    if found == self.holds[place + 1] {
                        place += 1;
                    } else if let Some(what) = difference(&found, &self.holds[place]) {
                        return Err(format!("after a restart at step {place}: {what}"));
                    }
                }
            }
        }
        played.fired = machine.disk.disk().fired();
        machine.disk.disk().die();
        machine.stop();
        machine.disk.disk().cut(Keeps::None, &mut StdRng::seed_from_u64(nth));
        machine.start().map_err(said)?;
        let found = machine.everything().map_err(|e| format!("the store cannot be read: {e}"))?;
        match difference(&found, &self.holds[self.steps.len()]) {
            None => Ok(played),
            Some(what) => Err(format!("after the power was cut at the end: {what}")),
        }
    }
}

/// The program ends and is started again until it comes up.
fn start_again(machine: &mut Machine, answer: Answer, played: &mut Played) -> Result<(), String> {
    let mut last: Option<StoreError> = None;
    for _ in 0..TRIES_MAX {
        // A program that ends because of its disk does not tidy up first.
        machine.disk.disk().die();
        machine.stop();
        let mut disk = machine.disk.disk();
        disk.wake();
        played.restarts += 1;
        let ready = match answer {
            Answer::EndAndWriteLogAnew => disk.write_anew("agent.db-wal").is_ok(),
            Answer::EndAndBelieveCache => true,
        };
        drop(disk);
        if ready {
            match machine.start() {
                Ok(()) => return Ok(()),
                Err(e) => last = Some(e),
            }
        }
    }
    Err(format!("it does not start again: {last:?}"))
}
