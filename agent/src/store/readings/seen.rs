//! Which readings came already: every (source, id) ever taken, also of readings that are no longer kept.
//!
//! An entry is 16 bytes: the first 8 of SHA-256 over source and id, the position as a difference, the first 4 of
//! the payload's hash. The newest entries are in memory only; the ground rows they come from are read
//! again at a start. From there they go, sorted, into *runs*, a run in *parts* by its leading bits, so that one row
//! tells whether an entry is in a run. Runs of one level are merged into one of the next, a few parts
//! per commit, so that no commit waits for it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Result, params};
use sha2::{Digest, Sha256};

use super::super::checksum;

/// Runs of one level before they are merged.
const FAN: usize = 8;
/// Levels that are merged; runs above stay as they are.
const LEVELS: u32 = 2;
/// Entries that a part has at least on average. Of [`Limits::FULL`] it has about 51: five parts fill a page.
const PART_ENTRIES: u64 = 40;
const ENTRY_BYTES: usize = 16;
/// A row of `seen` is numbered by its run and then its part.
const PART_BITS: u32 = 24;

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in memory before they become a run: a start reads so many readings again.
    pub recent_max: usize,
    /// Parts of a merge that are written with one commit.
    pub parts_per_commit: u64,
}

impl Limits {
    /// About a megabyte of memory, a start of some hundredths of a second, some milliseconds of a commit.
    pub const FULL: Self = Self { recent_max: 26_000, parts_per_commit: 256 };
}

/// What an entry is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// Of a reading.
    pub fn of(source: &str, id: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(source.as_bytes());
        hasher.update([0]);
        hasher.update(id.as_bytes());
        let hash = hasher.finalize();
        Self(u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]))
    }
}

/// Where a reading is, and the first bytes of its payload's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its position.
    pub position: u64,
    /// First bytes of its payload's hash.
    pub payload: [u8; 4],
}

/// A sorted run in the table `seen`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    number: u64,
    level: u32,
    /// Positions are differences to this one.
    first: u64,
    last: u64,
    /// A part has the entries with the same so many leading bits.
    bits: u32,
}

/// A merge on its way.
#[derive(Debug, Clone)]
struct Merge {
    from: Vec<Run>,
    into: Run,
    next_part: u64,
}

/// Every key that came.
#[derive(Debug)]
pub struct SeenKeys {
    recent: BTreeSet<(Key, Seen)>,
    runs: Vec<Run>,
    merge: Option<Merge>,
    limits: Limits,
}

/// What a commit does to the keys; taken once it is on disk.
#[derive(Debug, Default)]
pub struct Step {
    added: Vec<(Key, Seen)>,
    sealed: Option<Run>,
    merge: Option<Merge>,
    merged: bool,
}

impl Step {
    /// Whether everything that was in memory alone is in a run now.
    pub fn has_sealed(&self) -> bool {
        self.sealed.is_some()
    }
}

impl SeenKeys {
    /// What the store holds. The newest entries are still to be added, see [`SeenKeys::sealed_through`].
    pub fn open(conn: &Connection, limits: Limits) -> Result<Self> {
        // A merge that a crash broke off is begun anew.
        let broken: Vec<i64> = conn
            .prepare("SELECT run FROM seen_runs WHERE whole = 0")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_>>()?;
        for run in broken {
            forget(conn, run.cast_unsigned())?;
        }
        let runs = conn
            .prepare("SELECT run, level, first, last, bits FROM seen_runs ORDER BY run")?
            .query_map([], |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                Ok(Run {
                    number: number(0)?,
                    level: row.get(1)?,
                    first: number(2)?,
                    last: number(3)?,
                    bits: row.get(4)?,
                })
            })?
            .collect::<Result<_>>()?;
        Ok(Self { recent: BTreeSet::new(), runs, merge: None, limits })
    }

    /// The last position whose key is in a run.
    pub fn sealed_through(&self) -> u64 {
        self.runs.iter().map(|run| run.last).max().unwrap_or(0)
    }

    /// Adds the key of a reading that is on disk.
    pub fn add(&mut self, key: Key, seen: Seen) {
        self.recent.insert((key, seen));
    }

    /// Everything that came under `key`. Two readings may share one, if hardly ever: the caller looks.
    pub fn find(&self, conn: &Connection, key: Key) -> Result<Vec<Seen>> {
        let (first, last) = (Seen { position: 0, payload: [0; 4] }, Seen { position: u64::MAX, payload: [255; 4] });
        let mut found: Vec<Seen> = self.recent.range((key, first)..=(key, last)).map(|(_, seen)| *seen).collect();
        for run in &self.runs {
            run.find(conn, key, &mut found)?;
        }
        Ok(found)
    }

    /// Writes what is due after `added` came: a new run, or some parts of a merge. Inside the caller's transaction.
    pub fn write(&self, conn: &Connection, added: Vec<(Key, Seen)>) -> Result<Step> {
        let mut step = Step { added, ..Step::default() };
        if self.recent.len() + step.added.len() >= self.limits.recent_max {
            step.sealed = self.seal(conn, &step.added)?;
        } else if let Some(mut merge) = self.merge.clone().or_else(|| self.due()) {
            step.merged = merge.go_on(conn, self.limits.parts_per_commit)?;
            step.merge = Some(merge);
        }
        Ok(step)
    }

    /// The transaction of `step` is on disk.
    pub fn taken(&mut self, step: Step) {
        if let Some(run) = step.sealed {
            self.recent = BTreeSet::new();
            self.runs.push(run);
        } else {
            for (key, seen) in step.added {
                self.add(key, seen);
            }
        }
        self.merge = step.merge.or(self.merge.take());
        if step.merged
            && let Some(merge) = self.merge.take()
        {
            self.runs.retain(|run| !merge.from.contains(run));
            self.runs.push(merge.into);
        }
    }

    fn seal(&self, conn: &Connection, added: &[(Key, Seen)]) -> Result<Option<Run>> {
        let mut entries: Vec<(Key, Seen)> = self.recent.iter().chain(added).copied().collect();
        entries.sort_unstable();
        let positions = || entries.iter().map(|(_, seen)| seen.position);
        let (Some(first), Some(last)) = (positions().min(), positions().max()) else { return Ok(None) };
        let run = Run { number: self.next_number(), level: 0, first, last, bits: bits_for(entries.len() as u64) };
        run.begin(conn, true)?;
        let mut rest = entries.as_slice();
        while let Some((key, _)) = rest.first() {
            let part = run.part_of(*key);
            let (mine, others) = rest.split_at(rest.partition_point(|(key, _)| run.part_of(*key) == part));
            run.put(conn, part, mine)?;
            rest = others;
        }
        Ok(Some(run))
    }

    fn next_number(&self) -> u64 {
        let merging = self.merge.as_ref().map(|merge| merge.into.number);
        self.runs.iter().map(|run| run.number).chain(merging).max().unwrap_or(0) + 1
    }

    /// The merge that is due, if one is.
    fn due(&self) -> Option<Merge> {
        let level = (0..LEVELS).find(|level| self.runs.iter().filter(|run| run.level == *level).count() >= FAN)?;
        let from: Vec<Run> = self.runs.iter().filter(|run| run.level == level).take(FAN).cloned().collect();
        let first = from.iter().map(|run| run.first).min()?;
        let last = from.iter().map(|run| run.last).max()?;
        let into = Run { number: self.next_number(), level: level + 1, first, last, bits: bits_for(last - first + 1) };
        Some(Merge { from, into, next_part: 0 })
    }
}

impl Merge {
    /// Writes some more parts; says whether that was all, and then what was merged is gone.
    fn go_on(&mut self, conn: &Connection, parts_max: u64) -> Result<bool> {
        if self.next_part == 0 {
            self.into.begin(conn, false)?;
        }
        let parts = 1 << self.into.bits;
        let until = (self.next_part + parts_max).min(parts);
        for part in self.next_part..until {
            let mut entries = Vec::new();
            for run in &self.from {
                run.take_part_of(conn, &self.into, part, &mut entries)?;
            }
            entries.sort_unstable();
            self.into.put(conn, part, &entries)?;
        }
        self.next_part = until;
        if until < parts {
            return Ok(false);
        }
        for run in &self.from {
            forget(conn, run.number)?;
        }
        conn.prepare_cached("UPDATE seen_runs SET whole = 1 WHERE run = ?1")?
            .execute([self.into.number.cast_signed()])?;
        Ok(true)
    }
}

impl Run {
    fn begin(&self, conn: &Connection, whole: bool) -> Result<()> {
        conn.prepare_cached(
            "INSERT INTO seen_runs (run, level, first, last, bits, whole) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            self.number.cast_signed(),
            self.level,
            self.first.cast_signed(),
            self.last.cast_signed(),
            self.bits,
            whole
        ])
        .map(|_| ())
    }

    fn part_of(&self, key: Key) -> u64 {
        if self.bits == 0 { 0 } else { key.0 >> (64 - self.bits) }
    }

    fn place_of(&self, part: u64) -> i64 {
        ((self.number << PART_BITS) + part).cast_signed()
    }

    fn put(&self, conn: &Connection, part: u64, entries: &[(Key, Seen)]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        for (key, seen) in entries {
            bytes.extend(key.0.to_be_bytes());
            // A run spans far fewer positions than this holds.
            bytes.extend(((seen.position - self.first) as u32).to_be_bytes());
            bytes.extend(seen.payload);
        }
        conn.prepare_cached("INSERT INTO seen (place, entries, checksum) VALUES (?1, ?2, ?3)")?
            .execute(params![self.place_of(part), bytes, checksum::quick(&bytes)])
            .map(|_| ())
    }

    /// The entries of a part as bytes, checked.
    fn part(&self, conn: &Connection, part: u64) -> Result<Vec<u8>> {
        let row: Option<(Vec<u8>, i64)> = conn
            .prepare_cached("SELECT entries, checksum FROM seen WHERE place = ?1")?
            .query_row([self.place_of(part)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((bytes, sum)) = row else { return Ok(Vec::new()) };
        if sum == checksum::quick(&bytes) && bytes.len().is_multiple_of(ENTRY_BYTES) {
            Ok(bytes)
        } else {
            Err(checksum::damaged(format!(
                "part {part} of run {} of seen ids does not match its checksum",
                self.number
            )))
        }
    }

    fn entry(&self, bytes: &[u8]) -> Option<(Key, Seen)> {
        let mut bytes = super::bytes::Bytes(bytes);
        let key = Key(u64::from_be_bytes(bytes.array()?));
        let position = self.first + u64::from(u32::from_be_bytes(bytes.array()?));
        Some((key, Seen { position, payload: bytes.array()? }))
    }

    fn find(&self, conn: &Connection, key: Key, found: &mut Vec<Seen>) -> Result<()> {
        let bytes = self.part(conn, self.part_of(key))?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let from = entries.partition_point(|entry| entry[..8] < key.0.to_be_bytes()[..]);
        let same = entries[from..].iter().filter_map(|entry| self.entry(entry)).take_while(|(other, _)| *other == key);
        found.extend(same.map(|(_, seen)| seen));
        Ok(())
    }

    /// Takes the entries that belong into `part` of another run.
    fn take_part_of(&self, conn: &Connection, other: &Self, part: u64, into: &mut Vec<(Key, Seen)>) -> Result<()> {
        let shift = other.bits.saturating_sub(self.bits);
        let finer = self.bits.saturating_sub(other.bits);
        // One part of a coarser run holds several of a finer one, and the other way round.
        let mine =
            if finer == 0 { (part >> shift)..(part >> shift) + 1 } else { (part << finer)..((part + 1) << finer) };
        for own in mine {
            let bytes = self.part(conn, own)?;
            let entries = bytes.chunks_exact(ENTRY_BYTES).filter_map(|entry| self.entry(entry));
            into.extend(entries.filter(|(key, _)| other.part_of(*key) == part));
        }
        Ok(())
    }
}

/// Leading bits for so many entries.
fn bits_for(entries: u64) -> u32 {
    (entries / PART_ENTRIES).max(1).ilog2().min(PART_BITS)
}

fn forget(conn: &Connection, run: u64) -> Result<()> {
    let (from, to) = ((run << PART_BITS).cast_signed(), ((run + 1) << PART_BITS).cast_signed());
    conn.prepare_cached("DELETE FROM seen WHERE place >= ?1 AND place < ?2")?.execute([from, to])?;
    conn.prepare_cached("DELETE FROM seen_runs WHERE run = ?1")?.execute([run.cast_signed()]).map(|_| ())
}
