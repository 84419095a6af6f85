//! How long to wait before the next try.

/// Waits that double from a quarter of a second to 30 seconds, each shortened by up to half at
/// random, so that many agents cut off together do not all come back in one moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    tries: u32,
}

/// The first wait, in milliseconds.
const FIRST_MS: u64 = 250;
/// The longest wait, in milliseconds.
const LONGEST_MS: u64 = 30_000;

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// No try has failed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { tries: 0 }
    }

    /// The next wait, in milliseconds.
    pub fn next_ms(&mut self) -> u64 {
        let full = FIRST_MS.saturating_mul(1 << self.tries.min(10)).min(LONGEST_MS);
        self.tries = self.tries.saturating_add(1);
        rand::random_range(full / 2..=full)
    }

    /// A try worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_no_further() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..12).map(|_| backoff.next_ms()).collect();
        assert!((125..=250).contains(&waits[0]), "{waits:?}");
        assert!(waits[4] > waits[0] && waits.iter().all(|ms| *ms <= 30_000), "{waits:?}");
        assert!(waits[11] >= 15_000, "{waits:?}");
        backoff.reset();
        assert!(backoff.next_ms() <= 250);
    }
}
