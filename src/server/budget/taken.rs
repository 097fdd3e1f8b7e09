//! The places that are taken, and those among them who wait, in the order in which they would have to go.

use super::Seat;
use crate::config::Network;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The order in which those who wait have to go: those who never brought a letter before those who did, and the longest
/// silent first. The time is that from which on a connection counts as silent, and may lie ahead; the number tells
/// connections of the same time apart.
pub(super) type Mark = (bool, Duration, u64);

#[derive(Debug, Default)]
pub(super) struct Taken {
    all: usize,
    shares: HashMap<Network, Share>,
    waiting: BTreeSet<Mark>,
    waiters: HashMap<u64, Waiter>,
    marks: u64,
}

#[derive(Debug, Default)]
struct Share {
    count: usize,
    waiting: BTreeSet<Mark>,
}

#[derive(Debug)]
struct Waiter {
    shares: Vec<Network>,
    seat: Arc<Seat>,
}

impl Taken {
    /// Places taken in all.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// Places that this address or network has.
    pub(super) fn of(&self, share: &Network) -> usize {
        self.shares.get(share).map_or(0, |share| share.count)
    }

    /// One more.
    pub(super) fn enter(&mut self, shares: &[Network]) {
        self.all += 1;
        for share in shares {
            self.shares.entry(*share).or_default().count += 1;
        }
    }

    /// One less.
    pub(super) fn leave(&mut self, shares: &[Network]) {
        self.all = self.all.saturating_sub(1);
        for share in shares {
            if let Some(here) = self.shares.get_mut(share) {
                here.count = here.count.saturating_sub(1);
                if here.count == 0 {
                    self.shares.remove(share);
                }
            }
        }
    }

    /// One of them waits.
    pub(super) fn waits(
        &mut self,
        shares: &[Network],
        (known, silent): (bool, Duration),
        seat: Arc<Seat>,
    ) -> Mark {
        self.marks += 1;
        let mark = (known, silent, self.marks);
        for share in shares {
            if let Some(here) = self.shares.get_mut(share) {
                here.waiting.insert(mark);
            }
        }
        self.waiting.insert(mark);
        self.waiters.insert(mark.2, Waiter { shares: shares.to_vec(), seat });
        mark
    }

    /// It waits no more.
    pub(super) fn works(&mut self, shares: &[Network], mark: Mark) {
        self.waiting.remove(&mark);
        self.waiters.remove(&mark.2);
        for share in shares {
            if let Some(here) = self.shares.get_mut(share) {
                here.waiting.remove(&mark);
            }
        }
    }

    /// Takes the place of the first who waits, of a share or of all; whether there was one that could go.
    pub(super) fn call_off(&mut self, share: Option<&Network>, now: Duration) -> bool {
        let waiting = match share {
            Some(share) => self.shares.get(share).map(|here| &here.waiting),
            None => Some(&self.waiting),
        };
        let Some(mark) = waiting.and_then(|waiting| first_to_go(waiting, now)) else { return false };
        let Some(Waiter { shares, seat }) = self.waiters.remove(&mark.2) else { return false };
        self.works(&shares, mark);
        self.leave(&shares);
        seat.lost.store(true, Ordering::Relaxed);
        seat.called.notify_one();
        true
    }
}

fn first_to_go(waiting: &BTreeSet<Mark>, now: Duration) -> Option<Mark> {
    // One who brought a letter may be silent where no other one is yet.
    let known = waiting.range((true, Duration::ZERO, 0)..).next();
    let heads = [waiting.first(), known];
    heads.into_iter().flatten().copied().find(|(_, silent, _)| *silent <= now)
}
