//! So many places at once for each key: a network, or a device.
//!
//! In: who comes. Out: a place, and whether it is lost. Who comes beyond the last place gets that of who came first: of
//! several behind one address, those that say nothing make room for those that do, and nobody is kept out by who is
//! there already. A key is remembered for as long as it has a place.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// What one host can call its own: of IPv6 that is a whole network, a /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// The places of all keys.
pub(super) struct Places<K> {
    each: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    /// How many were ever taken: the number of the newest.
    count: u64,
    /// Of each key, in the order in which they were taken.
    seats: HashMap<K, Vec<Seat>>,
}

struct Seat {
    number: u64,
    /// Tells its holder that it is lost; none once it is kept.
    tells: Option<oneshot::Sender<()>>,
}

impl<K> Places<K> {
    /// `each`: most places of one key at one time, at least one.
    pub(super) fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, taken: Mutex::new(Taken { count: 0, seats: HashMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// A place for `key`, if need be that of whoever came first among those that may lose theirs; none if all keep theirs.
    pub(super) fn take(self: &Arc<Self>, key: K) -> Option<(Place<K>, Lost)> {
        let mut taken = self.lock();
        let Taken { count, seats } = &mut *taken;
        // Most keys have one place, and there are many keys.
        let seats = seats.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
        if seats.len() >= self.each {
            let oldest = seats.iter().position(|seat| seat.tells.is_some())?;
            if let Some(tells) = seats.remove(oldest).tells {
                // Who does not listen any more has gone, and its place is free all the same.
                let _ = tells.send(());
            }
        }
        *count += 1;
        let (tells, told) = oneshot::channel();
        seats.push(Seat { number: *count, tells: Some(tells) });
        Some((Place { places: self.clone(), key, number: *count }, Lost(Some(told))))
    }
}

/// A place that somebody has. It is free again once this is dropped.
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash> Place<K> {
    /// From now on it is not lost to another.
    pub(super) fn keep(&self) {
        let mut taken = self.places.lock();
        let seats = taken.seats.get_mut(&self.key);
        if let Some(seat) = seats.and_then(|seats| seats.iter_mut().find(|seat| seat.number == self.number)) {
            seat.tells = None;
        }
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let Some(seats) = taken.seats.get_mut(&self.key) else { return };
        // A place that was lost is another's by now, under another number.
        seats.retain(|seat| seat.number != self.number);
        if seats.is_empty() {
            taken.seats.remove(&self.key);
        }
    }
}

/// Ends when the place is lost, and never otherwise.
pub(super) struct Lost(Option<oneshot::Receiver<()>>);

impl Future for Lost {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(told) = &mut self.0 else { return Poll::Pending };
        let heard = Pin::new(told).poll(context);
        match heard {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // It is kept, or given back: nothing is told any more.
            Poll::Ready(Err(_)) => {
                self.0 = None;
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    type Held = (Place<&'static str>, Lost);

    fn is_lost((_, lost): &mut Held) -> bool {
        lost.now_or_never().is_some()
    }

    #[test]
    fn who_comes_beyond_the_last_place_gets_that_of_who_came_first() {
        let places = Places::new(2);
        let (mut first, mut second) = (places.take("a").unwrap(), places.take("a").unwrap());
        assert!(!is_lost(&mut first) && !is_lost(&mut second));
        let mut third = places.take("a").unwrap();
        assert!(is_lost(&mut first));
        // That it goes in the end takes nothing from who has its place now.
        drop(first);
        assert!(!is_lost(&mut second) && !is_lost(&mut third));
        let _fourth = places.take("a").unwrap();
        assert!(is_lost(&mut second) && !is_lost(&mut third));
    }

    #[test]
    fn who_keeps_its_place_does_not_lose_it_and_where_all_do_nobody_gets_one() {
        let places = Places::new(2);
        let (mut first, mut second) = (places.take("a").unwrap(), places.take("a").unwrap());
        first.0.keep();
        let mut third = places.take("a").unwrap();
        assert!(!is_lost(&mut first) && is_lost(&mut second));
        // Too late: it is another's.
        second.0.keep();
        third.0.keep();
        assert!(places.take("a").is_none());
        assert!(
            !is_lost(&mut first) && !is_lost(&mut first) && !is_lost(&mut third),
            "nor is it told so when asked again"
        );
        drop(third);
        assert!(places.take("a").is_some());
    }

    #[test]
    fn places_that_are_given_back_are_free_and_nothing_is_remembered_of_their_key() {
        let places = Places::new(2);
        for _ in 0..5 {
            let (mut one, mut other) = (places.take("a").unwrap(), places.take("a").unwrap());
            assert!(!is_lost(&mut one) && !is_lost(&mut other));
        }
        let (place, lost) = places.take("a").unwrap();
        drop(place);
        assert!(lost.now_or_never().is_none(), "it was given back, not lost");
        assert!(places.lock().seats.is_empty());
    }

    #[test]
    fn one_key_takes_nothing_from_another() {
        let places = Places::new(1);
        let (mut one, mut other) = (places.take("a").unwrap(), places.take("b").unwrap());
        other.0.keep();
        let _next = places.take("a").unwrap();
        assert!(is_lost(&mut one) && !is_lost(&mut other));
        assert!(places.take("b").is_none());
    }

    #[test]
    fn the_network_of_an_address_is_a_64_of_ipv6_and_one_address_of_ipv4_however_it_is_written() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
