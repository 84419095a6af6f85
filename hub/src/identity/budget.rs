//! How many questions about certificates somebody may ask in a minute.
//!
//! In: who asks, before anything of the question is read. Out: that it may, or when to come back. Anybody can ask,
//! under any name, so strangers are counted by their address; and no more are remembered than there is room for,
//! unlike the devices of [`crate::sync::Quota`], which are as many as are listed.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
};

use gatehouse_common::id::DeviceId;

use crate::listen::{Caller, network};

/// Most questions at once. Behind one address there may be a balancer, and a whole fleet behind that.
const AT_ONCE: u64 = 600;
/// One more comes back after this long, in milliseconds of the hub's clock: 600 in a minute.
const EACH_MS: u64 = 100;
/// Most of a kind that are remembered; beyond that newcomers share one budget.
const REMEMBERED_MAX: usize = 10_000;

/// The budgets of all who ask.
#[derive(Default)]
pub(super) struct Budgets {
    strangers: Budget<IpAddr>,
    devices: Budget<DeviceId>,
}

impl Budgets {
    /// Takes one question from the budget of `caller`; `now_ms` is the clock's boot time.
    /// # Errors
    /// Seconds after which there is one again.
    pub(super) fn take(&self, caller: Option<&Caller>, now_ms: u64) -> Result<(), u64> {
        // Many devices may come from one address, and strangers as well: those must not keep a device from renewing.
        if let Some(peer) = caller.and_then(|caller| caller.peer.as_deref()) {
            return self.devices.take(peer.device.device.clone(), now_ms);
        }
        let address = caller.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |caller| network(caller.address.ip()));
        self.strangers.take(address, now_ms)
    }
}

/// When each has its whole budget again, by boot time. `None` stands for those for whom there is no room.
struct Budget<K> {
    whole_at: Mutex<HashMap<Option<K>, u64>>,
}

impl<K> Default for Budget<K> {
    fn default() -> Self {
        Self { whole_at: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash> Budget<K> {
    fn take(&self, who: K, now_ms: u64) -> Result<(), u64> {
        let mut held = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let mut who = Some(who);
        if held.len() >= REMEMBERED_MAX && !held.contains_key(&who) {
            held.retain(|_, whole_at| *whole_at > now_ms);
            if held.len() >= REMEMBERED_MAX {
                who = None;
            }
        }
        let whole_at = held.get(&who).map_or(now_ms, |whole_at| now_ms.max(*whole_at)) + EACH_MS;
        let wait_ms = whole_at.saturating_sub(now_ms + AT_ONCE * EACH_MS);
        if wait_ms > 0 {
            return Err(wait_ms.div_ceil(1_000));
        }
        held.insert(who, whole_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Caller {
        Caller { address: address.parse().unwrap(), peer: None, enrols: true }
    }

    #[test]
    fn who_has_used_up_its_minute_is_told_when_to_come_back_and_others_do_not_notice() {
        let budgets = Budgets::default();
        let (loud, quiet) = (from("192.0.2.7:4000"), from("192.0.2.8:4000"));
        for _ in 0..AT_ONCE {
            assert_eq!(budgets.take(Some(&loud), 5_000), Ok(()));
        }
        assert_eq!(budgets.take(Some(&from("192.0.2.7:4001")), 5_000), Err(1), "another port is the same host");
        assert_eq!(budgets.take(Some(&loud), 5_000 + EACH_MS - 1), Err(1));
        assert_eq!(budgets.take(Some(&quiet), 5_000 + EACH_MS - 1), Ok(()));
        assert_eq!(budgets.take(Some(&loud), 5_000 + EACH_MS), Ok(()), "a moment later there is one more");
        assert_eq!(budgets.take(Some(&loud), 5_000 + EACH_MS), Err(1));
    }

    #[test]
    fn a_host_with_a_whole_network_of_addresses_has_one_budget() {
        let budgets = Budgets::default();
        for n in 0..AT_ONCE {
            assert_eq!(budgets.take(Some(&from(&format!("[2001:db8::{n:x}]:4000"))), 0), Ok(()));
        }
        assert_eq!(budgets.take(Some(&from("[2001:db8::ffff]:4000")), 0), Err(1));
        assert_eq!(budgets.take(Some(&from("[2001:db8:0:1::1]:4000")), 0), Ok(()));
    }

    #[test]
    fn however_many_ask_no_more_are_remembered_than_there_is_room_for() {
        let budget = Budget::<usize>::default();
        let remembered = || budget.whole_at.lock().unwrap().len();
        for n in 0..REMEMBERED_MAX {
            assert_eq!(budget.take(n, 0), Ok(()));
        }
        let late: Vec<_> = (0..=AT_ONCE as usize).map(|n| budget.take(REMEMBERED_MAX + n, 0)).collect();
        assert_eq!(late.iter().filter(|taken| taken.is_ok()).count() as u64, AT_ONCE, "newcomers share one");
        assert_eq!(remembered(), REMEMBERED_MAX + 1);
        assert_eq!(budget.take(7, 0), Ok(()), "who is remembered has its own");
        assert_eq!(budget.take(REMEMBERED_MAX, AT_ONCE * EACH_MS), Ok(()));
        assert_eq!(remembered(), 1, "who has all of it again need not be remembered");
    }
}
