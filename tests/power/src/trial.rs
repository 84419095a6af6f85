//! Cuts the power of a machine again and again, and compares what its store holds with what it must hold.
//!
//! In: a seed, a number of cuts, and perhaps what is wrong on purpose. Out: what was acknowledged and what was lost.
//! A twin on a disk without faults takes the same steps: after a cut the store must hold what the twin holds after
//! every acknowledged step, or that and the one step that was under way. Beside the twin, which shares the product's
//! code, every acknowledged reading is asked for by itself.

use gatehouse_agent::store::{Before, StoreError};
use gatehouse_common::id::{Hash32, ReadingId};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    depot::{Life, Step, readings_of},
    disk::{Disk, Fault, Keeps},
    machine::Machine,
    vfs::Mounted,
};

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Nothing.
    Nothing,
    /// Commits do not wait for the disk: `synchronous=NORMAL`.
    NormalSync,
    /// The disk says that it has synced and has not.
    LyingSync,
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Cuts of the power.
    pub cuts: u64,
    /// Steps that were acknowledged.
    pub steps: u64,
    /// Readings that were acknowledged.
    pub readings: u64,
    /// Cuts after which the step under way was found committed.
    pub under_way_kept: u64,
    /// Documents that were forgotten.
    pub forgotten: u64,
    /// What was lost or altered, with the seed that does it again.
    pub lost: Vec<String>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.steps += other.steps;
        self.readings += other.readings;
        self.under_way_kept += other.under_way_kept;
        self.forgotten += other.forgotten;
        self.lost.extend(other.lost);
    }
}

/// Lives the life of `seed` until the power was cut `cuts` times or something was lost.
#[must_use]
pub fn cut_again_and_again(seed: u64, cuts: u64, planted: Planted) -> Report {
    let mut report = Report::default();
    let mut trial = match Trial::begin(seed, planted, &mut report) {
        Ok(trial) => trial,
        Err(what) => {
            report.lost.push(format!("seed {seed}: {what}"));
            return report;
        }
    };
    while report.cuts < cuts {
        if let Err(what) = trial.live_and_cut(&mut report) {
            report.lost.push(format!("seed {seed}, cut {}: {what}", report.cuts));
            break;
        }
    }
    let past = trial.real.everything().unwrap_or_default();
    report.forgotten = past.iter().filter(|row| row.starts_with("rules past/")).count() as u64;
    report
}

struct Trial {
    dice: StdRng,
    life: Life,
    real: Machine,
    twin: Machine,
    readings: Vec<(String, ReadingId, Hash32)>,
}

impl Trial {
    /// Makes the store, cuts the power meanwhile, and makes it again.
    fn begin(seed: u64, planted: Planted, report: &mut Report) -> Result<Self, String> {
        let mut dice = StdRng::seed_from_u64(seed ^ 0x0c07);
        let mut disk = Disk::default();
        disk.sync_lies = planted == Planted::LyingSync;
        let mut real = Machine::with(Mounted::new(disk));
        real.full_sync = planted != Planted::NormalSync;
        real.checkpoint_pages = dice.random_range(4..120);
        real.disk.disk().plan(dice.random_range(1..120), Fault::Cut);
        let made = real.start();
        let mut trial = Self {
            dice,
            life: Life::of(seed),
            real,
            twin: Machine::with(Mounted::new(Disk::default())),
            readings: Vec::new(),
        };
        if made.is_err() {
            trial.cut(report);
        }
        trial.restart(report)?;
        trial.twin.start().map_err(said)?;
        let start = trial.life.start();
        let morning = trial.life.morning();
        for step in std::iter::once(start).chain(morning) {
            trial.real.take(&step).map_err(said)?;
            trial.twin.take(&step).map_err(said)?;
            trial.acknowledged(&step, report);
        }
        Ok(trial)
    }

    fn acknowledged(&mut self, step: &Step, report: &mut Report) {
        let readings = readings_of(step);
        report.steps += 1;
        report.readings += readings.len() as u64;
        for (source, id, hash) in readings {
            // The first payload under an id counts; another is a conflict.
            if !self.readings.iter().any(|(s, i, _)| *s == source && *i == id) {
                self.readings.push((source, id, hash));
            }
        }
    }

    fn cut(&mut self, report: &mut Report) {
        self.real.stop();
        let keeps = Keeps::ALL[self.dice.random_range(0..4)];
        self.real.disk.disk().cut(keeps, &mut self.dice);
        report.cuts += 1;
    }

    /// Starts the program; now and then the power goes again while it does.
    fn restart(&mut self, report: &mut Report) -> Result<(), String> {
        while self.dice.random_range(0..4_u8) == 0 {
            self.real.disk.disk().plan(self.dice.random_range(1..20), Fault::Cut);
            // Whether it came up before the cut makes no difference.
            let _ = self.real.start();
            self.cut(report);
        }
        self.real.disk.disk().plan_nothing();
        self.real.start().map_err(|e| format!("the store does not open: {e}"))
    }

    fn live_and_cut(&mut self, report: &mut Report) -> Result<(), String> {
        // Sometimes in the middle of a stop, when SQLite empties its log.
        if self.dice.random_range(0..8_u8) == 0 {
            self.real.disk.disk().plan(self.dice.random_range(1..12), Fault::Cut);
            self.real.stop();
            self.cut(report);
            self.restart(report)?;
            let start = self.life.start();
            return self.both(&start, report).and_then(|()| self.compare());
        }
        self.real.disk.disk().plan(self.dice.random_range(1..60), Fault::Cut);
        let under_way = loop {
            let step = self.life.next_step();
            let result = self.real.take(&step);
            // What was said after the cut began was heard by nobody.
            if self.real.disk.disk().is_dead() {
                break step;
            }
            result.map_err(said)?;
            self.twin.take(&step).map_err(said)?;
            self.acknowledged(&step, report);
        };
        self.cut(report);
        self.restart(report)?;
        let before = self.twin.everything().map_err(|e| e.to_string())?;
        self.twin.take(&under_way).map_err(said)?;
        let found = self.real.everything().map_err(|e| format!("the store cannot be read: {e}"))?;
        if found == before {
            self.real.take(&under_way).map_err(said)?;
        } else {
            report.under_way_kept += 1;
        }
        self.compare()?;
        self.acknowledged(&under_way, report);
        let start = self.life.start();
        self.both(&start, report)
    }

    fn both(&mut self, step: &Step, report: &mut Report) -> Result<(), String> {
        self.real.take(step).map_err(said)?;
        self.twin.take(step).map_err(said)?;
        self.acknowledged(step, report);
        Ok(())
    }

    /// The store holds what the twin holds, and every reading that was ever acknowledged.
    fn compare(&self) -> Result<(), String> {
        let (found, expected) = match (self.real.everything(), self.twin.everything()) {
            (Ok(found), Ok(expected)) => (found, expected),
            (Err(e), _) | (_, Err(e)) => return Err(format!("the store cannot be read: {e}")),
        };
        if let Some(what) = difference(&found, &expected) {
            return Err(what);
        }
        let Some(store) = self.real.store() else { return Err("it does not run".to_owned()) };
        for (source, id, hash) in &self.readings {
            if store.before(source, id, hash).map_err(said)? != Some(Before::Repeat) {
                return Err(format!("reading {id} of {source} was acknowledged and is not there"));
            }
        }
        Ok(())
    }
}

/// Rows that are not as expected: how many, and the first of each kind.
#[must_use]
pub fn difference(found: &[String], expected: &[String]) -> Option<String> {
    let missing: Vec<&String> = expected.iter().filter(|row| !found.contains(row)).collect();
    let extra: Vec<&String> = found.iter().filter(|row| !expected.contains(row)).collect();
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let (gone, new) = (missing.len(), extra.len());
    Some(format!(
        "{gone} rows are not there, such as {:?}; {new} should not be, such as {:?}",
        missing.first(),
        extra.first()
    ))
}

/// An error as text.
#[must_use]
#[allow(clippy::needless_pass_by_value)]
pub fn said(error: StoreError) -> String {
    error.to_string()
}
