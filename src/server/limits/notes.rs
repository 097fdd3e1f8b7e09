//! What is said of clients that were ended or delayed: one line of a place and kind in a minute, and a count. A flood must not fill
//! the disk with its own story.

use crate::config::Network;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the same of the same place is only counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The most lines of their own within that time, over all places; of what is beyond only the number is told.
const MOST: usize = 100;

/// What one minute had.
#[derive(Debug)]
struct Minute {
    since: Instant,
    told: HashMap<(Option<Network>, String), u64>,
    untold: u64,
}

/// The minute in which we are.
#[derive(Debug)]
pub struct Notes(Mutex<Minute>);

impl Notes {
    /// Nothing said yet.
    pub fn new() -> Notes {
        Notes(Mutex::new(Minute::new(Instant::now())))
    }

    /// Whether a line of this kind and place may be written now. The sums of a minute that is over are written as well.
    pub fn may_tell(&self, place: Option<Network>, what: &str) -> bool {
        let now = Instant::now();
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = match now.duration_since(minute.since) > WINDOW {
            true => Some(std::mem::replace(&mut *minute, Minute::new(now))),
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
    fn new(since: Instant) -> Minute {
        Minute { since, told: HashMap::new(), untold: 0 }
    }

    fn note(&mut self, place: Option<Network>, what: &str) -> bool {
        let full = self.told.len() >= MOST;
        let kind = (place, what.to_owned());
        match self.told.get_mut(&kind) {
            Some(more) => *more += 1,
            None if full => self.untold += 1,
            None => {
                self.told.insert(kind, 0);
                return true;
            }
        }
        false
    }

    fn sum_up(self) {
        for ((place, what), more) in self.told {
            if more > 0 {
                tracing::info!(place = place.map(|place| place.to_string()), what, more, "the same again");
            }
        }
        if self.untold > 0 {
            tracing::info!(more = self.untold, "clients of further places were ended or delayed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_line_of_each_kind_and_all_together_a_hundred() {
        let mut minute = Minute::new(Instant::now());
        let place = |n: u8| Some(Network::of([10, 0, n, 1].into(), 24));
        assert!(minute.note(place(0), "slow") && minute.note(place(0), "early"));
        assert!(!minute.note(place(0), "slow"));
        let told = (0..=255).filter(|n| minute.note(place(*n), "slow")).count();
        assert_eq!(told, MOST - 2);
        assert_eq!(minute.untold, 256 - MOST as u64 + 1);
    }
}
