//! What is said of clients that were ended, delayed or refused: a few lines of a place and kind in a minute, and a count. A flood must not fill
//! the disk with its own story.

use crate::config::Network;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the same of the same place is only counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The most kinds of places that are told apart within that time; of what is beyond only the number is told.
const MOST: usize = 100;
/// So many recipients that are refused have a line each: whoever writes to old addresses is told of them all.
const REFUSALS: u64 = 10;

/// What one minute had.
#[derive(Debug)]
struct Minute {
    since: Instant,
    /// How often each came.
    told: HashMap<(Option<Network>, String), u64>,
    /// How many of each have a line of their own.
    each: u64,
    untold: u64,
}

/// The minute in which we are.
#[derive(Debug)]
pub struct Notes(Mutex<Minute>);

impl Notes {
    /// Nothing said yet; of what ends or delays a client.
    pub fn new() -> Notes {
        Notes(Mutex::new(Minute::new(Instant::now(), 1)))
    }

    /// The same for refused recipients and messages.
    pub fn of_refusals() -> Notes {
        Notes(Mutex::new(Minute::new(Instant::now(), REFUSALS)))
    }

    /// Whether a line of this kind and place may be written now. The sums of a minute that is over are written as well.
    pub fn may_tell(&self, place: Option<Network>, what: &str) -> bool {
        let now = Instant::now();
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = match now.duration_since(minute.since) > WINDOW {
            true => {
                let next = Minute::new(now, minute.each);
                Some(std::mem::replace(&mut *minute, next))
            }
            false => None,
        };
        let may = minute.note(place, what);
        drop(minute);
        if let Some(over) = over {
            over.sum_up();
        }
        may
    }
}

impl Minute {
    fn new(since: Instant, each: u64) -> Minute {
        Minute { since, told: HashMap::new(), each, untold: 0 }
    }

    fn note(&mut self, place: Option<Network>, what: &str) -> bool {
        let full = self.told.len() >= MOST;
        let kind = (place, what.to_owned());
        match self.told.get_mut(&kind) {
            Some(count) => {
                *count += 1;
                return *count <= self.each;
            }
            None if full => self.untold += 1,
            None => {
                self.told.insert(kind, 1);
                return true;
            }
        }
        false
    }

    fn sum_up(self) {
        for ((place, what), count) in self.told {
            let more = count.saturating_sub(self.each);
            if more > 0 {
                tracing::info!(place = place.map(|place| place.to_string()), what, more, "the same again");
            }
        }
        if self.untold > 0 {
            tracing::info!(more = self.untold, "clients of further places were ended, delayed or refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_line_of_each_kind_and_all_together_a_hundred() {
        let mut minute = Minute::new(Instant::now(), 1);
        let place = |n: u8| Some(Network::of([10, 0, n, 1].into(), 24));
        assert!(minute.note(place(0), "slow") && minute.note(place(0), "early"));
        assert!(!minute.note(place(0), "slow"));
        let told = (0..=255).filter(|n| minute.note(place(*n), "slow")).count();
        assert_eq!(told, MOST - 2);
        assert_eq!(minute.untold, 256 - MOST as u64 + 1);
    }

    #[test]
    fn a_few_refusals_have_a_line_each() {
        let mut minute = Minute::new(Instant::now(), REFUSALS);
        assert_eq!((0..50).filter(|_| minute.note(None, "refused")).count() as u64, REFUSALS);
    }
}
