//! How many connections a door takes, in all and from one place; idle strangers never lock the owner out, since each
//! door has its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The door has as many connections as it takes.
    Door,
    /// This address, or its IPv6 /64, has as many as it may.
    Address,
}

/// A door's budget of connections.
#[derive(Debug)]
pub struct Budget {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_place: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    place: Option<IpAddr>,
}

impl Budget {
    /// `all` connections at once, `each` from one address (IPv6: from one /64).
    pub fn new(all: usize, each: usize) -> Arc<Budget> {
        Arc::new(Budget { all, each, taken: Mutex::default() })
    }

    /// Takes a place, if there is room; a peer without an address (a Unix socket) counts in the whole only.
    pub fn enter(self: &Arc<Budget>, peer: Option<IpAddr>) -> Result<Place, Full> {
        let place = peer.map(place_of);
        let mut taken = self.lock();
        if taken.all >= self.all {
            return Err(Full::Door);
        }
        if let Some(place) = place {
            let here = taken.by_place.entry(place).or_default();
            if *here >= self.each {
                return Err(Full::Address);
            }
            *here += 1;
        }
        taken.all += 1;
        Ok(Place { budget: Arc::clone(self), place })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.budget.lock();
        taken.all -= 1;
        if let Some(place) = self.place
            && let Some(here) = taken.by_place.get_mut(&place)
        {
            *here -= 1;
            if *here == 0 {
                taken.by_place.remove(&place);
            }
        }
    }
}

/// An IPv6 customer has a /64 at least, so that is what counts as one.
fn place_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_neighbours_in_a_64_share() {
        let budget = Budget::new(3, 2);
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = budget.enter(ip("2001:db8::1")).unwrap();
        let _second = budget.enter(ip("2001:db8::2")).unwrap();
        assert_eq!(budget.enter(ip("2001:db8::3")).unwrap_err(), Full::Address);
        let _third = budget.enter(ip("192.0.2.1")).unwrap();
        assert_eq!(budget.enter(ip("192.0.2.2")).unwrap_err(), Full::Door);
        drop(first);
        let _fourth = budget.enter(ip("2001:db8::3")).unwrap();
        assert_eq!(budget.lock().all, 3);
    }
}
