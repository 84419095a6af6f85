//! Lets many changes in a few at a time: when everybody comes back at once, who works on is not to wait behind all.
//!
//! One thread writes for everyone, in the order in which work was given to it. A push of many records takes it long, so
//! only a few of these may stand there at one time. The others wait here, not for long: then they are told to come back.
//! And of one device one push is in hand at a time, so that none takes more of this than it has records.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use gatehouse_common::id::DeviceId;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// A push of more records is a large one.
const SMALL: usize = 16;
/// A push of more bytes is one for certain: as these travel, packed.
const SMALL_BYTES: usize = 8 * 1024;
/// Large pushes that may stand before the writer at one time: enough to share a commit, few enough to wait for.
const AT_ONCE: usize = 3;
/// Longest wait for a place, in real time; a device gives up after 20 s.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Seconds after which one that found no place is to come back, at least and at most.
const AWAY_S: std::ops::RangeInclusive<u64> = 5..=25;
/// Seconds after which a device comes back whose push before this one is still in hand.
const AGAIN_S: u64 = 3;

/// Who waits to be written.
pub(super) struct Crowd {
    places: Semaphore,
    wait_max: Duration,
    in_hand: Mutex<BTreeSet<DeviceId>>,
}

/// The one push of a device that is in hand, for as long as it lives.
pub(super) struct Alone<'a> {
    crowd: &'a Crowd,
    device: DeviceId,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.crowd.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.device);
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE), wait_max: WAIT_MAX, in_hand: Mutex::default() }
    }
}

impl Crowd {
    /// Takes a push of a device in hand.
    /// # Errors
    /// Seconds after which to come back: another of this device is in hand.
    pub(super) fn alone(&self, device: &DeviceId) -> Result<Alone<'_>, u64> {
        let is_alone = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone());
        if is_alone { Ok(Alone { crowd: self, device: device.clone() }) } else { Err(AGAIN_S) }
    }

    /// Waits for a place for a push of so many bytes, before it is unpacked; one of a few bytes needs none as yet.
    /// # Errors
    /// Seconds after which to come back.
    pub(super) async fn place_for_bytes(&self, packed: usize) -> Result<Option<SemaphorePermit<'_>>, u64> {
        if packed <= SMALL_BYTES { Ok(None) } else { self.large().await.map(Some) }
    }

    /// Waits for a place for a push of so many records; a small one needs none.
    /// # Errors
    /// Seconds after which to come back.
    pub(super) async fn place(&self, records: usize) -> Result<Option<SemaphorePermit<'_>>, u64> {
        if records <= SMALL { Ok(None) } else { self.large().await.map(Some) }
    }

    async fn large(&self) -> Result<SemaphorePermit<'_>, u64> {
        match timeout(self.wait_max, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
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
        assert!(matches!(crowd.place_for_bytes(SMALL_BYTES).await, Ok(None)));
        let place = crowd.place_for_bytes(SMALL_BYTES + 1).await;
        assert!(matches!(place, Ok(Some(_))));
        assert!(crowd.place_for_bytes(SMALL_BYTES + 1).await.is_err(), "they are the same places");
    }

    #[test]
    fn a_second_push_of_a_device_comes_back_later_and_another_devices_does_not() {
        let (crowd, one, two) = (Crowd::default(), "gw-1".parse().unwrap(), "gw-2".parse().unwrap());
        let first = crowd.alone(&one).unwrap();
        assert_eq!(crowd.alone(&one).err(), Some(AGAIN_S));
        assert!(crowd.alone(&two).is_ok());
        drop(first);
        assert!(crowd.alone(&one).is_ok());
    }
}
