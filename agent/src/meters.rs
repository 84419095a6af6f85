//! What the agent counts of itself while it runs: for the metrics, and for the watchdog.
//!
//! In: each commit and each refusal of the store, by the driver; each message that cannot be read, by the intake.
//! Out: numbers that any thread may read at any time. Counts from 0 at each start; never waits for anyone.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::info;

/// Upper bounds of the buckets of commit times, in microseconds.
const COMMIT_MICROS: &[u64] =
    &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
/// Upper bounds of the buckets of batch sizes, in inputs.
const BATCH_INPUTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Why the driver has not committed what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holdup {
    /// Nothing holds it up.
    None,
    /// The disk is full. It goes on by itself when there is room.
    Full,
    /// The store does not take anything: something else holds it.
    Busy,
}

/// What the page refuses when too much is asked of it at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// One more page that wants to be told of changes.
    Live,
    /// A request that only reads.
    Read,
    /// A request that writes.
    Write,
}

impl TurnedAway {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Live, "live"), (Self::Read, "read"), (Self::Write, "write")];
}

/// How often a value fell under each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what is above all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    fn saw(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Each bound with how many values were at most that.
    pub fn cumulated(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count.load(Ordering::Relaxed);
            Some((*bound, *sum))
        })
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The sum of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Numbers of one run of the agent.
#[derive(Debug)]
pub struct Meters {
    /// How long decision and commit of a batch took, in microseconds.
    pub commit_micros: Histogram,
    /// How many inputs a batch held.
    pub batch_inputs: Histogram,
    refused_full: AtomicU64,
    refused_busy: AtomicU64,
    holdup: AtomicU8,
    turned_away: [AtomicU64; 3],
    readings: Mutex<BTreeMap<&'static str, u64>>,
    unreadable: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            commit_micros: Histogram::new(COMMIT_MICROS),
            batch_inputs: Histogram::new(BATCH_INPUTS),
            refused_full: AtomicU64::new(0),
            refused_busy: AtomicU64::new(0),
            holdup: AtomicU8::new(0),
            turned_away: Default::default(),
            readings: Mutex::default(),
            unreadable: Mutex::default(),
        }
    }
}

impl Meters {
    /// A batch is on disk.
    pub fn committed(&self, took: Duration, inputs: usize) {
        self.commit_micros.saw(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.batch_inputs.saw(inputs as u64);
        self.proved();
    }

    /// The store takes commits.
    pub fn proved(&self) {
        if self.holdup.swap(0, Ordering::Relaxed) != 0 {
            info!("the store takes commits again");
        }
    }

    /// The store refused a batch, which is tried again.
    pub fn refused(&self, is_full: bool) {
        let (count, why) = if is_full { (&self.refused_full, 1) } else { (&self.refused_busy, 2) };
        count.fetch_add(1, Ordering::Relaxed);
        self.holdup.store(why, Ordering::Relaxed);
    }

    /// What holds the driver up now.
    #[must_use]
    pub fn holdup(&self) -> Holdup {
        match self.holdup.load(Ordering::Relaxed) {
            0 => Holdup::None,
            1 => Holdup::Full,
            _ => Holdup::Busy,
        }
    }

    /// How often the store refused for want of room, and because something else held it.
    #[must_use]
    pub fn refusals(&self) -> (u64, u64) {
        (self.refused_full.load(Ordering::Relaxed), self.refused_busy.load(Ordering::Relaxed))
    }

    /// Readings of these kinds are on disk, repeats included.
    pub fn took_readings(&self, kinds: impl Iterator<Item = &'static str>) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in kinds {
            *readings.entry(kind).or_default() += 1;
        }
    }

    /// A message came that cannot be read, for a reason of this class.
    pub fn could_not_read(&self, class: &'static str) {
        *self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_default() += 1;
    }

    /// The page refused something because too much was asked at one time.
    pub fn turned_away(&self, what: TurnedAway) {
        self.turned_away[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it did.
    #[must_use]
    pub fn times_turned_away(&self, what: TurnedAway) -> u64 {
        self.turned_away[what as usize].load(Ordering::Relaxed)
    }

    /// Readings by kind.
    #[must_use]
    pub fn readings(&self) -> BTreeMap<&'static str, u64> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages that could not be read, by class of reason.
    #[must_use]
    pub fn unreadable(&self) -> BTreeMap<&'static str, u64> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_under_its_own_bound_and_all_larger_ones() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for value in [1, 2, 10, 11, 1000] {
            histogram.saw(value);
        }
        assert_eq!(histogram.cumulated().collect::<Vec<_>>(), [(1, 1), (10, 3), (100, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 1024));
    }

    #[test]
    fn what_held_the_driver_up_is_over_with_the_next_commit() {
        let meters = Meters::default();
        meters.refused(true);
        assert_eq!((meters.holdup(), meters.refusals()), (Holdup::Full, (1, 0)));
        meters.refused(false);
        assert_eq!((meters.holdup(), meters.refusals()), (Holdup::Busy, (1, 1)));
        meters.committed(Duration::from_millis(2), 3);
        assert_eq!(meters.holdup(), Holdup::None);
    }
}
