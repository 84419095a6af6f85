//! What a disk keeps: files of 512-byte sectors, some of them written and not yet synced.
//!
//! In: writes, syncs, truncations and deletions; a cut of the power with what it leaves behind; a fault at the Nth call.
//! Out: the bytes that a program reads afterwards. Never forgives: what was not synced may be gone, there, half there
//! or garbage, each sector by itself. A failed sync is as on Linux: what it should have written counts as clean and
//! may never reach the disk, though programs still read it. One thing it grants, which SQLite takes for granted on Unix
//! too: a write does no harm to bytes of its sector that it does not write (SQLite calls it power-safe overwrite).

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng};

/// Bytes of one sector.
pub const SECTOR_BYTES: usize = 512;

/// What a cut leaves of sectors that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Some sectors, the others as they were before.
    Some,
    /// Some sectors, some as before, some as garbage or torn in the middle.
    Garbled,
}

impl Keeps {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::All, Self::Some, Self::Garbled];
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails: input/output error.
    Io,
    /// No room is left on the device, for this call and a few after it.
    Full,
    /// The program is killed in the call; the machine goes on.
    Kill,
    /// The power is cut in the call.
    Cut,
}

/// Calls during which a full device stays full.
const FULL_FOR_CALLS: u64 = 5;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Input/output error, or the program is dead.
    Io,
    /// No room.
    Full,
}

#[derive(Debug, Default, Clone)]
struct File {
    /// What programs read.
    now: Vec<u8>,
    /// What is on the medium.
    durable: Vec<u8>,
    /// Sectors written since the last sync, each with the first and last byte written.
    dirty: BTreeMap<usize, (usize, usize)>,
    /// Whether its name is on the medium.
    named: bool,
    /// What stood under the name on the medium before.
    before: Option<Vec<u8>>,
}

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Deleted, though perhaps not on the medium.
    removed: BTreeMap<String, Vec<u8>>,
    /// Calls that change something, so far.
    calls: u64,
    fault: Option<(u64, Fault)>,
    fired: bool,
    dead: bool,
    /// A sync says yes and does nothing.
    pub sync_lies: bool,
}

impl Disk {
    /// Lets `fault` happen at the `nth` call from now that changes something.
    pub fn plan(&mut self, nth: u64, fault: Fault) {
        self.fault = Some((self.calls + nth, fault));
        self.fired = false;
    }

    /// Whether the planned fault has happened.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.fired
    }

    /// Whether every call fails because the program or the power is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// No planned fault happens any more.
    pub fn plan_nothing(&mut self) {
        self.fault = None;
    }

    /// Every call fails from now on.
    pub fn die(&mut self) {
        self.dead = true;
    }

    /// Calls so far that changed something.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// A dead program is started again: calls succeed again, and it reads what any other program reads.
    pub fn wake(&mut self) {
        self.dead = false;
    }

    fn call(&mut self) -> Result<(), Failed> {
        self.calls += 1;
        if self.dead {
            return Err(Failed::Io);
        }
        match self.fault {
            Some((at, Fault::Full)) if (at..at + FULL_FOR_CALLS).contains(&self.calls) => {
                self.fired = true;
                Err(Failed::Full)
            }
            Some((at, Fault::Io)) if at == self.calls => {
                self.fired = true;
                Err(Failed::Io)
            }
            Some((at, Fault::Kill | Fault::Cut)) if at == self.calls => {
                self.fired = true;
                self.dead = true;
                Err(Failed::Io)
            }
            _ => Ok(()),
        }
    }

    /// Whether a file of this name has any bytes.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|file| !file.now.is_empty())
    }

    /// Makes the file if it is not there.
    pub fn make(&mut self, name: &str) {
        if !self.files.contains_key(name) {
            let before = self.removed.remove(name);
            self.files.insert(name.to_owned(), File { before, ..File::default() });
        }
    }

    /// Bytes of a file.
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        self.files.get(name).map_or(0, |file| file.now.len())
    }

    /// Reads into `into` from `offset`; says how many bytes there were.
    /// # Errors
    /// [`Failed`] when the program is dead.
    pub fn read(&self, name: &str, offset: usize, into: &mut [u8]) -> Result<usize, Failed> {
        if self.dead {
            return Err(Failed::Io);
        }
        let Some(file) = self.files.get(name) else { return Ok(0) };
        let from = offset.min(file.now.len());
        let to = (offset + into.len()).min(file.now.len());
        into[..to - from].copy_from_slice(&file.now[from..to]);
        Ok(to - from)
    }

    /// Writes `bytes` at `offset`.
    /// # Errors
    /// [`Failed`]; with a cut in the call the bytes may or may not have come to the medium.
    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), Failed> {
        let result = if self.dead { Err(Failed::Io) } else { self.call() };
        let in_flight = self.dead && self.fault.is_some_and(|(at, fault)| fault == Fault::Cut && at == self.calls);
        if result.is_ok() || in_flight {
            self.put(name, offset, bytes);
        }
        result
    }

    fn put(&mut self, name: &str, offset: usize, bytes: &[u8]) {
        let Some(file) = self.files.get_mut(name) else { return };
        let end = offset + bytes.len();
        if file.now.len() < end {
            file.now.resize(end, 0);
        }
        file.now[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..=(end.max(1) - 1) / SECTOR_BYTES {
            let start = sector * SECTOR_BYTES;
            let (first, last) = (offset.max(start), end.min(start + SECTOR_BYTES));
            let hull = file.dirty.entry(sector).or_insert((first, last));
            *hull = (hull.0.min(first), hull.1.max(last));
        }
    }

    /// Cuts the file off at `size`.
    /// # Errors
    /// [`Failed`].
    pub fn truncate(&mut self, name: &str, size: usize) -> Result<(), Failed> {
        self.call()?;
        if let Some(file) = self.files.get_mut(name) {
            file.now.resize(size, 0);
            file.dirty.retain(|sector, _| sector * SECTOR_BYTES < size);
        }
        Ok(())
    }

    /// Brings the file to the medium.
    /// # Errors
    /// [`Failed`]; what was to be written may never reach the medium, though it is still read.
    pub fn sync(&mut self, name: &str) -> Result<(), Failed> {
        let result = self.call();
        let lies = self.sync_lies;
        let Some(file) = self.files.get_mut(name) else { return result };
        match result {
            Ok(()) if lies => {}
            Ok(()) => {
                file.durable.resize(file.now.len(), 0);
                for sector in std::mem::take(&mut file.dirty).into_keys() {
                    let range = sector_range(sector, file.now.len());
                    file.durable[range.clone()].copy_from_slice(&file.now[range]);
                }
            }
            Err(_) if self.dead => {}
            Err(_) => file.dirty.clear(),
        }
        result
    }

    /// Brings the directory to the medium: every name made and every deletion. A disk that lies does not.
    pub fn sync_names(&mut self) {
        if self.sync_lies {
            return;
        }
        for file in self.files.values_mut() {
            file.named = true;
            file.before = None;
        }
        self.removed.clear();
    }

    /// Deletes a file; `for_good` brings that to the medium.
    /// # Errors
    /// [`Failed`].
    pub fn delete(&mut self, name: &str, for_good: bool) -> Result<bool, Failed> {
        self.call()?;
        let Some(file) = self.files.remove(name) else { return Ok(false) };
        let stands = if file.named { Some(file.durable) } else { file.before };
        if let (false, Some(stands)) = (for_good, stands) {
            self.removed.insert(name.to_owned(), stands);
        }
        Ok(true)
    }

    /// A file of the old bytes under a new name, written, synced and put in the old one's place, as `rename` does it.
    /// # Errors
    /// [`Failed`]; the old file stands.
    pub fn write_anew(&mut self, name: &str) -> Result<(), Failed> {
        let Some(old) = self.files.get(name) else { return Ok(()) };
        let copy = format!("{name}.copy");
        let bytes = old.now.clone();
        self.files.insert(copy.clone(), File::default());
        self.write(&copy, 0, &bytes)?;
        self.sync(&copy)?;
        self.call()?;
        if let Some(new) = self.files.remove(&copy) {
            self.files.insert(name.to_owned(), new);
        }
        self.sync_names();
        Ok(())
    }

    /// The power is cut and comes back.
    pub fn cut(&mut self, keeps: Keeps, dice: &mut StdRng) {
        let files = std::mem::take(&mut self.files);
        for (name, file) in files {
            let name_stays = file.named || decide(keeps, dice);
            let left = match (name_stays, &file.before) {
                (true, _) => file.after_cut(keeps, dice),
                (false, Some(before)) => before.clone(),
                (false, None) => continue,
            };
            self.files.insert(name, File { now: left.clone(), durable: left, named: true, ..File::default() });
        }
        for (name, left) in std::mem::take(&mut self.removed) {
            if !decide(keeps, dice) {
                self.files.entry(name).or_insert(File {
                    now: left.clone(),
                    durable: left,
                    named: true,
                    ..File::default()
                });
            }
        }
        self.fault = None;
        self.wake();
    }
}

fn sector_range(sector: usize, length: usize) -> std::ops::Range<usize> {
    sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(length)
}

/// Whether one change that was not synced is kept.
fn decide(keeps: Keeps, dice: &mut StdRng) -> bool {
    match keeps {
        Keeps::None => false,
        Keeps::All => true,
        Keeps::Some | Keeps::Garbled => dice.random(),
    }
}

impl File {
    fn after_cut(&self, keeps: Keeps, dice: &mut StdRng) -> Vec<u8> {
        let mut left = self.durable.clone();
        if decide(keeps, dice) {
            left.resize(self.now.len(), 0);
        }
        for (sector, (first, last)) in &self.dirty {
            let whole = sector_range(*sector, left.len());
            if whole.is_empty() {
                continue;
            }
            let written = (*first).min(left.len())..(*last).min(left.len());
            match keeps {
                Keeps::None => {}
                Keeps::All => left[whole.clone()].copy_from_slice(&self.now[whole]),
                Keeps::Some | Keeps::Garbled => match dice.random_range(0..4_u8) {
                    0 => {}
                    1 if keeps == Keeps::Garbled => dice.fill(&mut left[written]),
                    2 if keeps == Keeps::Garbled && !written.is_empty() => {
                        let torn = written.start..dice.random_range(written.clone());
                        left[torn.clone()].copy_from_slice(&self.now[torn]);
                    }
                    _ => left[whole.clone()].copy_from_slice(&self.now[whole]),
                },
            }
        }
        left
    }
}
