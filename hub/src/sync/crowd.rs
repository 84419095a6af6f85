//! Lets many changes in a few at a time: when everybody comes back at once, who works on is not to wait behind all.
//!
//! One thread writes for everyone, in the order in which work was given to it. A push of many records takes it long, so
//! only a few of these may stand there at one time. The others wait here, not for long: then they are told to come back.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// A push of more records is a large one.
const SMALL: usize = 16;
/// Large pushes that may stand before the writer at one time: enough to share a commit, few enough to wait for.
const AT_ONCE: usize = 3;
/// Longest wait for a place, in real time; a device gives up after 20 s.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Seconds after which one that found no place is to come back, at least and at most.
const AWAY_S: std::ops::RangeInclusive<u64> = 5..=25;

/// Who waits to be written.
pub(super) struct Crowd {
    places: Semaphore,
    wait_max: Duration,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE), wait_max: WAIT_MAX }
    }
}

impl Crowd {
    /// Waits for a place for a push of so many records; a small one needs none.
    /// # Errors
    /// Seconds after which to come back.
    pub(super) async fn place(&self, records: usize) -> Result<Option<SemaphorePermit<'_>>, u64> {
        if records <= SMALL {
            return Ok(None);
        }
        match timeout(self.wait_max, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            // Drawn, so that they do not all come back in one moment.
            _ => Err(rand::random_range(AWAY_S)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_push_needs_no_place_and_a_large_one_that_finds_none_is_told_when_to_come_back() {
        let crowd = Crowd { wait_max: Duration::from_millis(20), ..Crowd::default() };
        let (one, two, three) = (crowd.place(17).await, crowd.place(500).await, crowd.place(99).await);
        assert!(matches!((&one, &two, &three), (Ok(Some(_)), Ok(Some(_)), Ok(Some(_)))));
        assert!(matches!(crowd.place(SMALL).await, Ok(None)));
        let Err(seconds) = crowd.place(17).await else { panic!("there was no place") };
        assert!(AWAY_S.contains(&seconds));
        drop(one);
        assert!(matches!(crowd.place(17).await, Ok(Some(_))));
    }
}
