//! How many sign-ins may fail from one network.
//!
//! In: from where somebody comes, before their PIN is checked, and afterwards that it was wrong. Out: that it may be
//! checked, or when to come back. To check a PIN is made to be slow, and names can be invented without end: whoever sends
//! them would have all checks to themselves. Only what fails counts, since a depot's people come from one address; who
//! knows their PIN uses up nothing. One name's tries are counted apart from this, wherever they come from.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::listen::network;

/// Most sign-ins of one network that may fail at once: a whole shift that mistypes its PINs.
const FAILED_MAX: u32 = 60;
/// One more comes back after this long.
const EACH: Duration = Duration::from_secs(1);
/// Most networks that are remembered. Each is whole again after a minute, and few checks fit into one.
const NETWORKS_MAX: usize = 1_000;

/// What is left to each network, as the moment at which it has all of it again.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<IpAddr, Instant>>);

impl Tries {
    /// Whether one more sign-in from there may fail. `None` is somebody of whom the listener knows no address: all of
    /// those would share one budget, and one of them could keep out the others.
    /// # Errors
    /// Seconds after which one may.
    pub(super) fn may_fail(&self, from: Option<IpAddr>, now: Instant) -> Result<(), u64> {
        let whole_at = from.and_then(|from| self.networks().get(&network(from)).copied());
        let Some(whole_at) = whole_at else { return Ok(()) };
        let after = whole_at.saturating_duration_since(now) + EACH;
        let wait = after.saturating_sub(EACH * FAILED_MAX);
        if wait.is_zero() { Ok(()) } else { Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)) }
    }

    /// One has failed.
    pub(super) fn failed(&self, from: Option<IpAddr>, now: Instant) {
        let Some(from) = from.map(network) else { return };
        let mut networks = self.networks();
        if networks.len() >= NETWORKS_MAX && !networks.contains_key(&from) {
            make_room(&mut networks, now);
        }
        let whole_at = networks.entry(from).or_insert(now);
        *whole_at = now.max(*whole_at) + EACH;
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets those that have all of it again, or else the one that would have it first: that is given the least.
fn make_room(networks: &mut HashMap<IpAddr, Instant>, now: Instant) {
    networks.retain(|_, whole_at| *whole_at > now);
    if networks.len() < NETWORKS_MAX {
        return;
    }
    let first = networks.iter().min_by_key(|(_, whole_at)| **whole_at).map(|(network, _)| *network);
    if let Some(first) = first {
        networks.remove(&first);
    }
}

#[cfg(test)]
impl Tries {
    /// Uses up all of a network, and enough of what comes back for a test to take its time.
    pub(super) fn use_up(&self, from: IpAddr) {
        let now = Instant::now();
        for _ in 0..2 * FAILED_MAX {
            self.failed(Some(from), now);
        }
    }

    /// When a network has all of it again; none if nothing is remembered of it.
    pub(super) fn whole_at(&self, from: IpAddr) -> Option<Instant> {
        self.networks().get(&network(from)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn a_network_whose_sign_ins_failed_is_told_when_to_come_back_and_others_do_not_notice() {
        let (tries, now) = (Tries::default(), Instant::now());
        for n in 0..FAILED_MAX {
            let host = at(&format!("2001:db8::{n:x}"));
            assert_eq!(tries.may_fail(host, now), Ok(()));
            tries.failed(host, now);
        }
        let (host, neighbour) = (at("2001:db8::ffff"), at("2001:db8:0:1::1"));
        assert_eq!(tries.may_fail(host, now), Err(1), "a host has a whole network of addresses");
        assert_eq!(tries.may_fail(neighbour, now), Ok(()));
        assert_eq!(tries.may_fail(None, now), Ok(()));
        let later = now + EACH;
        assert_eq!(tries.may_fail(host, later - Duration::from_millis(1)), Err(1));
        assert_eq!(tries.may_fail(host, later), Ok(()), "a moment later there is one more");
        tries.failed(host, later);
        assert_eq!(tries.may_fail(host, later), Err(1));
        assert_eq!(tries.may_fail(host, later + EACH * FAILED_MAX), Ok(()));
    }

    #[test]
    fn however_many_networks_fail_no_more_are_remembered_than_there_is_room_for() {
        let (tries, now) = (Tries::default(), Instant::now());
        tries.use_up(at("192.0.2.7").unwrap());
        let of = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        for n in 0..u32::try_from(2 * NETWORKS_MAX).unwrap() {
            tries.failed(of(n), now);
        }
        assert_eq!(tries.networks().len(), NETWORKS_MAX);
        assert!(tries.may_fail(at("192.0.2.7"), now).is_err(), "who failed most is not forgotten for who failed once");
        tries.failed(at("192.0.2.8"), now + EACH * 3 * FAILED_MAX);
        assert_eq!(tries.networks().len(), 1, "who has all of it again need not be remembered");
    }
}
