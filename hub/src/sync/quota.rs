//! How much one device may ask in a minute.
//!
//! A budget of requests and one of bytes, both ways, that fill again with time. Who has used up one is told when to
//! come back; others do not notice.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use gatehouse_common::id::DeviceId;

/// What each device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests in a minute, at least 1.
    pub requests_per_minute: u32,
    /// Bytes of frames in a minute, both ways, at least one frame's.
    pub bytes_per_minute: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { requests_per_minute: 600, bytes_per_minute: 64 * 1024 * 1024 }
    }
}

/// What is left to a device; below 0 what it is behind.
#[derive(Debug, Clone, Copy)]
struct Left {
    requests: f64,
    bytes: f64,
    at_ms: u64,
}

/// The budgets of all devices.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    quota: Quota,
    left: Mutex<HashMap<DeviceId, Left>>,
}

impl Quotas {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, left: Mutex::default() }
    }

    /// Takes one request from the budget of `device`; `now_ms` is the clock's boot time.
    /// # Errors
    /// Seconds after which there is something left again.
    pub(super) fn take(&self, device: &DeviceId, now_ms: u64) -> Result<(), u64> {
        self.with(device, now_ms, |left, quota| {
            let per_second = (f64::from(quota.requests_per_minute) / 60.0, quota.bytes_per_minute as f64 / 60.0);
            let wait = ((1.0 - left.requests) / per_second.0).max(-left.bytes / per_second.1);
            if wait > 0.0 {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, and bounded")]
                return Err((wait.ceil() as u64).clamp(1, 3_600));
            }
            left.requests -= 1.0;
            Ok(())
        })
    }

    /// Takes `bytes` from the budget of `device`: what was sent is paid for afterwards.
    pub(super) fn pay(&self, device: &DeviceId, bytes: usize, now_ms: u64) {
        self.with(device, now_ms, |left, _| left.bytes -= bytes as f64);
    }

    fn with<T>(&self, device: &DeviceId, now_ms: u64, take: impl FnOnce(&mut Left, &Quota) -> T) -> T {
        let full = (f64::from(self.quota.requests_per_minute), self.quota.bytes_per_minute as f64);
        let mut held = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.entry(device.clone()).or_insert(Left { requests: full.0, bytes: full.1, at_ms: now_ms });
        let minutes = now_ms.saturating_sub(left.at_ms) as f64 / 60_000.0;
        left.requests = (left.requests + full.0 * minutes).min(full.0);
        left.bytes = (left.bytes + full.1 * minutes).min(full.1);
        left.at_ms = now_ms;
        take(left, &self.quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_has_used_up_its_minute_is_told_when_to_come_back_and_others_do_not_notice() {
        let quotas = Quotas::new(Quota { requests_per_minute: 60, bytes_per_minute: 6_000 });
        let (one, two) = ("gw-1".parse().unwrap(), "gw-2".parse().unwrap());
        for _ in 0..60 {
            assert_eq!(quotas.take(&one, 0), Ok(()));
        }
        assert_eq!(quotas.take(&one, 0), Err(1));
        assert_eq!(quotas.take(&two, 0), Ok(()));
        assert_eq!(quotas.take(&one, 1_000), Ok(()), "a second later there is one more");
        quotas.pay(&two, 9_000, 0);
        assert_eq!(quotas.take(&two, 0), Err(30), "3,000 bytes behind, 100 come back in a second");
        assert_eq!(quotas.take(&two, 30_000), Ok(()));
    }
}
