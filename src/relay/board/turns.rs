//! How many letters may be on their way at once, and whose turn is next.

use super::Turn;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Letters on their way at once that get on.
const QUICK: usize = 100;
/// Those of them that begin with an old letter: there is always room for one that has just come.
const OLD: usize = 80;
/// After this time a letter does not get on: it waits for a connection, most likely, and holds up nobody but itself.
const SLOW_AFTER: Duration = Duration::from_secs(3);
/// Those that do not get on, before no more old letters set out.
const SLOW: usize = 100;
/// Probes of lanes that failed before, at once.
const PROBES: usize = 20;
/// All of them at most.
const ALL: usize = 400;
/// And those that do not begin with a letter that has just come: however slow all others are, there is room for such a
/// one.
const ALL_OLD: usize = 300;

/// A letter on its way.
pub(super) struct Journey {
    pub(super) lane: Arc<str>,
    pub(super) started: Instant,
    /// What its courier did before.
    pub(super) letters: u32,
    pub(super) born: Instant,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Quick,
    Slow,
    Probe,
}

#[derive(Default)]
pub(super) struct Turns {
    fresh: VecDeque<Arc<str>>,
    first: VecDeque<Arc<str>>,
    more: VecDeque<Arc<str>>,
    probe: VecDeque<Arc<str>>,
    journeys: HashMap<u64, Journey>,
    numbers: u64,
    quick: usize,
    slow: usize,
    probes: usize,
    /// When which journey is no longer quick, in order.
    setting_out: VecDeque<(Instant, u64)>,
}

impl Turns {
    pub(super) fn push(&mut self, turn: Turn, lane: Arc<str>) {
        match turn {
            Turn::Fresh => self.fresh.push_back(lane),
            Turn::First => self.first.push_back(lane),
            Turn::More => self.more.push_back(lane),
            Turn::Probe => self.probe.push_back(lane),
        }
    }

    /// The next lane in turn, if there is room for its letter.
    pub(super) fn next(&mut self) -> Option<(Turn, Arc<str>)> {
        if self.journeys.len() >= ALL {
            return None;
        }
        let (quick, old) = (self.quick < QUICK, self.quick < OLD && self.journeys.len() < ALL_OLD);
        let queues = [
            (Turn::Fresh, &mut self.fresh, quick),
            (Turn::First, &mut self.first, old && self.slow < SLOW),
            (Turn::More, &mut self.more, old),
            (Turn::Probe, &mut self.probe, self.probes < PROBES),
        ];
        let mut open = queues.into_iter().filter(|(_, _, room)| *room);
        open.find_map(|(turn, lanes, _)| Some((turn, lanes.pop_front()?)))
    }

    pub(super) fn begin(
        &mut self,
        lane: &Arc<str>,
        letters: u32,
        born: Instant,
        probe: bool,
        now: Instant,
    ) -> u64 {
        self.numbers += 1;
        let pace = if probe { Pace::Probe } else { Pace::Quick };
        *self.count(pace) += 1;
        if pace == Pace::Quick {
            self.setting_out.push_back((now + SLOW_AFTER, self.numbers));
        }
        let journey = Journey { lane: Arc::clone(lane), started: now, letters, born, pace };
        self.journeys.insert(self.numbers, journey);
        self.numbers
    }

    pub(super) fn end(&mut self, number: u64) -> Option<Journey> {
        let journey = self.journeys.remove(&number)?;
        let count = self.count(journey.pace);
        *count = count.saturating_sub(1);
        // What is over long before it would be slow is not kept in mind until then.
        while self.setting_out.front().is_some_and(|(_, number)| !self.journeys.contains_key(number)) {
            self.setting_out.pop_front();
        }
        Some(journey)
    }

    /// Notes which journeys do not get on.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((at, number)) = self.setting_out.front().copied()
            && at <= now
        {
            self.setting_out.pop_front();
            if let Some(journey) = self.journeys.get_mut(&number) {
                journey.pace = Pace::Slow;
                self.quick = self.quick.saturating_sub(1);
                self.slow += 1;
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.setting_out.front().map(|(at, _)| *at)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.journeys.is_empty()
    }

    fn count(&mut self, pace: Pace) -> &mut usize {
        match pace {
            Pace::Quick => &mut self.quick,
            Pace::Slow => &mut self.slow,
            Pace::Probe => &mut self.probes,
        }
    }
}
