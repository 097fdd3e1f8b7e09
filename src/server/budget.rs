//! How many connections a door takes, in all, from one address and from one network; and who has to go when it is full
//! and somebody new comes. Idle strangers never lock out those who have something to bring, and never the owner, since
//! each door has its own.
//!
//! Those who wait stand in ordered sets, one for the door, one for each address and each network: whoever begins or
//! ends to wait, comes, goes or is called off costs a few steps that grow with the logarithm of their number.

mod taken;

use crate::config::Network;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use taken::{Mark, Taken};
use tokio::sync::Notify;

/// What a network may have, as a multiple of what an address may.
const NETWORK: usize = 4;

/// Whoever is in the midst of a transaction may be behind for so long before it counts as silent.
const BEHIND: Duration = Duration::from_secs(30);

/// So long may what has to be found out for a client take before it counts as silent.
const FINDING_OUT: Duration = Duration::from_secs(10);

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The door has as many connections as it takes, and all are at work.
    Door,
    /// This address has as many as it may.
    Address,
    /// This network, an IPv4 /24 or an IPv6 /64, has as many as it may.
    Network,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For a command outside of a transaction, or it is kept waiting itself.
    Idle,
    /// For more of an envelope or message.
    Within,
    /// For DNS, or for the client to take what it is told.
    Outcome,
}

/// A door's budget of connections.
#[derive(Debug)]
pub struct Budget {
    all: usize,
    each: usize,
    /// Whether those who are in the midst of something are spared for a while.
    patient: bool,
    begun: Instant,
    taken: Mutex<Taken>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    shares: Vec<Network>,
    seat: Arc<Seat>,
    mark: Option<Mark>,
}

/// What a connection shares with whoever takes its place.
#[derive(Debug, Default)]
struct Seat {
    /// Somebody else has the place; changed under the budget's lock only.
    lost: AtomicBool,
    called: Notify,
}

impl Budget {
    /// `all` connections at once, `each` from one address, and four times as many from one network.
    pub fn new(all: usize, each: usize) -> Arc<Budget> {
        Arc::new(Budget { all, each, patient: true, begun: Instant::now(), taken: Mutex::default() })
    }

    /// The same for a door where anybody may begin a transaction, and few do so with a right: nobody is spared for that, or a few
    /// dozen who say a word now and then would have all places, and the owner none.
    pub fn impatient(all: usize, each: usize) -> Arc<Budget> {
        Arc::new(Budget { all, each, patient: false, begun: Instant::now(), taken: Mutex::default() })
    }

    /// Takes a place; where there is none, that of a connection that waits. A peer without an address (a Unix socket)
    /// counts in the whole only.
    pub fn enter(self: &Arc<Budget>, peer: Option<IpAddr>) -> Result<Place, Full> {
        let shares = peer.map(shares_of).unwrap_or_default();
        let mut taken = self.lock();
        let bounds = [(self.each, Full::Address), (self.each.saturating_mul(NETWORK), Full::Network)];
        let now = self.time(Instant::now());
        for (share, (bound, full)) in shares.iter().zip(bounds) {
            if taken.of(share) >= bound && !taken.call_off(Some(share), now) {
                return Err(full);
            }
        }
        // Who comes in crowds takes the places of his own crowd first.
        let crowd = shares.last().filter(|network| taken.of(network) >= self.each);
        if taken.all() >= self.all
            && !crowd.is_some_and(|network| taken.call_off(Some(network), now))
            && !taken.call_off(None, now)
        {
            return Err(Full::Door);
        }
        taken.enter(&shares);
        Ok(Place { budget: Arc::clone(self), shares, seat: Arc::default(), mark: None })
    }

    /// Calls off a connection that waits, if there is one: the process has no file left for the next.
    pub fn make_room(&self) -> bool {
        self.lock().call_off(None, self.time(Instant::now()))
    }

    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.begun)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// From now on it waits, and has made no progress since `since`. `known`: it has brought a letter, and is called off
    /// after those who have not.
    pub fn waits(&mut self, what: Waiting, known: bool, since: Instant) {
        let silent = self.budget.time(match what {
            Waiting::Within if self.budget.patient => since + BEHIND,
            Waiting::Outcome if self.budget.patient => since + FINDING_OUT,
            _ => since,
        });
        let mut taken = self.budget.lock();
        if let Some(mark) = self.mark.take() {
            taken.works(&self.shares, mark);
        }
        if !self.seat.lost.load(Ordering::Relaxed) {
            self.mark = Some(taken.waits(&self.shares, (known, silent), Arc::clone(&self.seat)));
        }
    }

    /// It has something to do; false: its place is lost.
    pub fn works(&mut self) -> bool {
        let mut taken = self.budget.lock();
        if let Some(mark) = self.mark.take() {
            taken.works(&self.shares, mark);
        }
        !self.seat.lost.load(Ordering::Relaxed)
    }

    /// Waits until the place is lost.
    pub async fn called_off(&self) {
        self.seat.called.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.works() {
            self.budget.lock().leave(&self.shares);
        }
    }
}

/// The address and its network. A customer has an IPv6 /64 at least, but so has a provider's whole row of outgoing servers:
/// each of its addresses has a share, as with IPv4, and the /64 has the network's.
fn shares_of(ip: IpAddr) -> Vec<Network> {
    let network = if ip.to_canonical().is_ipv4() { 24 } else { 64 };
    vec![Network::of(ip, 128), Network::of(ip, network)]
}

#[cfg(test)]
mod tests;
