//! Who is served when: letters wait by destination, destinations share lanes, lanes share connections.
//!
//! Pure: time is an argument, ways (`W`) and couriers (`C`) are only handed on. A letter that waits costs its name here.

mod domain;
mod lane;
mod line;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use crate::mail::address::Host;
use crate::policy::retry;
use crate::queue::EntryId;
use domain::{Domain, Known};
pub(super) use lane::Trouble;
use lane::{Idle, Lane, Plea, Turn};
use line::Line;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use turns::Turns;

/// Look-ups at once; those for letters that have just come may be more, so that no heap of old ones is in their way.
const QUESTIONS: usize = 40;
const FRESH_QUESTIONS: usize = 200;
/// Couriers without work at most, over all lanes.
const IDLE: usize = 100;

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Unix time, seconds: for what outlasts us.
    pub(super) unix: i64,
    /// For what does not.
    pub(super) instant: Instant,
}

/// What a look-up found.
#[derive(Debug)]
pub(super) enum Answer<W> {
    /// A way, and the lane that it leads to.
    Way(Arc<str>, W),
    /// Nothing that can be relied on, and until when it is not asked again.
    Later {
        /// Why.
        reason: String,
        /// Unix seconds.
        until: i64,
    },
}

/// One letter that is to set out.
#[derive(Debug)]
pub(super) struct Start<W, C> {
    pub(super) number: u64,
    pub(super) lane: Arc<str>,
    pub(super) id: EntryId,
    pub(super) host: Arc<Host>,
    pub(super) way: W,
    pub(super) courier: Option<C>,
    /// How often the lane failed in a row.
    pub(super) failures: u32,
}

/// What a letter on its way found out about its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// Nothing: nobody was spoken to.
    None,
    /// Somebody was there, whatever he said.
    Reached,
    /// Nobody was.
    Unreachable {
        /// Why.
        reason: String,
        /// Unix seconds until which the others of the lane wait.
        until: i64,
    },
}

/// What may be done again then.
enum Opening {
    Lane(Arc<str>),
    Domain(Arc<Host>),
}

pub(super) struct Board<W, C> {
    domains: HashMap<Arc<Host>, Domain<W>>,
    lanes: HashMap<Arc<str>, Lane<C>>,
    questions: Line<Arc<Host>>,
    asking: usize,
    turns: Turns,
    openings: BTreeMap<i64, Vec<Opening>>,
    /// When which lane may have a courier that waited for too long, in order.
    idle: VecDeque<(Instant, Arc<str>)>,
    idlers: usize,
}

impl<W: Clone, C> Board<W, C> {
    pub(super) fn new() -> Board<W, C> {
        Board {
            domains: HashMap::new(),
            lanes: HashMap::new(),
            questions: Line::default(),
            asking: 0,
            turns: Turns::default(),
            openings: BTreeMap::new(),
            idle: VecDeque::new(),
            idlers: 0,
        }
    }

    /// The one copy of a destination's name.
    pub(super) fn name(&mut self, host: &Host) -> Arc<Host> {
        match self.domains.get_key_value(host) {
            Some((name, _)) => Arc::clone(name),
            None => {
                let name = Arc::new(host.clone());
                self.domains.insert(Arc::clone(&name), Domain::default());
                name
            }
        }
    }

    /// A letter waits for a destination.
    pub(super) fn add(&mut self, id: EntryId, host: &Arc<Host>, fresh: bool, now: Now) {
        let domain = self.domains.entry(Arc::clone(host)).or_default();
        domain.push(id, fresh);
        if fresh {
            // Which lane that will be shows when the way is known.
            domain.plea = domain.plea.max(Plea::Knock);
            domain.trouble.iter_mut().for_each(|trouble| trouble.knock(now.unix));
        }
        self.go_on(host, now);
    }

    /// The next destination to be looked up, if there is room for another look-up.
    pub(super) fn next_question(&mut self, now: Now) -> Option<Arc<Host>> {
        loop {
            let room = if self.questions.has_fresh() { FRESH_QUESTIONS } else { QUESTIONS };
            let (host, fresh) = if self.asking < room { self.questions.pop() } else { None }?;
            let Some(domain) = self.domains.get_mut(&host) else { continue };
            domain.asks.leave(fresh);
            if domain.has_question(now) {
                domain.asked = true;
                self.asking += 1;
                return Some(host);
            }
        }
    }

    /// Takes the answer. If there is no way now, a letter is to be told so, which comes back.
    pub(super) fn answered(
        &mut self,
        host: &Arc<Host>,
        answer: Answer<W>,
        waits: impl Fn(EntryId, &Arc<Host>) -> bool,
        now: Now,
    ) -> Option<EntryId> {
        self.asking = self.asking.saturating_sub(1);
        let domain = self.domains.get_mut(host)?;
        domain.asked = false;
        match answer {
            Answer::Way(lane, way) => {
                domain.found(Known::new(lane, way, now.instant));
                self.go_on(host, now);
                None
            }
            Answer::Later { reason, until } => {
                domain.trouble = Some(Trouble::after(domain.trouble.as_ref(), now.unix, until, reason));
                self.openings.entry(until).or_default().push(Opening::Domain(Arc::clone(host)));
                domain.pop(|id| waits(id, host))
            }
        }
    }

    /// The next letter that may set out. What does not wait any more is passed over.
    pub(super) fn next_start(
        &mut self,
        waits: impl Fn(EntryId, &Arc<Host>) -> bool,
        now: Now,
    ) -> Option<Start<W, C>> {
        loop {
            let (turn, key) = self.turns.next()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if lane.listed != Some(turn) {
                continue;
            }
            lane.listed = None;
            if !lane.has_turn(now.unix) {
                continue;
            }
            let Some((host, fresh)) = lane.domains.pop() else { continue };
            let Some(domain) =
                self.domains.get_mut(&host).and_then(|domain| domain.leave(&key, fresh).then_some(domain))
            else {
                // It goes another way by now.
                self.list(&key, now.unix);
                continue;
            };
            let way = domain.way(now).filter(|known| known.lane == key).map(|known| known.way.clone());
            let next = way.and_then(|way| Some((domain.pop(|id| waits(id, &host))?, way)));
            let started = next.map(|(id, way)| self.start(&key, id, &host, way, now));
            self.go_on(&host, now);
            self.list(&key, now.unix);
            if started.is_some() {
                return started.flatten();
            }
        }
    }

    fn start(
        &mut self,
        key: &Arc<str>,
        id: EntryId,
        host: &Arc<Host>,
        way: W,
        now: Now,
    ) -> Option<Start<W, C>> {
        let lane = self.lanes.get_mut(key)?;
        lane.active += 1;
        let failures = lane.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        let idle = lane.idle.pop();
        self.idlers -= usize::from(idle.is_some());
        let (letters, born) = idle.as_ref().map_or((0, now.instant), |idle| (idle.letters, idle.born));
        let number = self.turns.begin(key, letters, born, failures > 0, now.instant);
        let courier = idle.map(|idle| idle.courier);
        let (lane, host) = (Arc::clone(key), Arc::clone(host));
        Some(Start { number, lane, id, host, way, courier, failures })
    }

    /// A letter's journey is over; what became of it is still to be recorded. Gives the courier back if it is to be
    /// dismissed.
    pub(super) fn carried(
        &mut self,
        number: u64,
        courier: Option<C>,
        contact: Contact,
        now: Now,
    ) -> Option<C> {
        let Some(journey) = self.turns.end(number) else { return courier };
        let key = journey.lane;
        let lane = self.lanes.entry(Arc::clone(&key)).or_default();
        lane.active = lane.active.saturating_sub(1);
        lane.unrecorded += 1;
        match contact {
            Contact::None => {}
            Contact::Reached => lane.reached(now.instant),
            Contact::Unreachable { reason, until } => {
                if lane.failed(journey.started, until, reason, now) {
                    self.openings.entry(until).or_default().push(Opening::Lane(Arc::clone(&key)));
                }
            }
        }
        let idle = courier.map(|courier| Idle::new(courier, journey.letters + 1, journey.born, now.instant));
        let dismissed = match idle {
            Some(Ok(idle)) if self.idlers < IDLE => {
                self.idlers += 1;
                self.idle.push_back((idle.until(), Arc::clone(&key)));
                lane.idle.push(idle);
                None
            }
            Some(Ok(idle)) => Some(idle.courier),
            Some(Err(courier)) => Some(courier),
            None => None,
        };
        self.list(&key, now.unix);
        dismissed
    }

    /// What became of a carried letter is recorded.
    pub(super) fn recorded(&mut self, key: &Arc<str>, now: Now) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.unrecorded = lane.unrecorded.saturating_sub(1);
        }
        self.list(key, now.unix);
    }

    /// Opens what may be tried again; gives couriers back that waited for long enough.
    pub(super) fn wake(&mut self, now: Now) -> Vec<C> {
        self.turns.wake(now.instant);
        while let Some(at) = self.next_opening(now.unix) {
            for opening in self.openings.remove(&at).unwrap_or_default() {
                match opening {
                    Opening::Lane(key) => self.list(&key, now.unix),
                    Opening::Domain(host) => self.go_on(&host, now),
                }
            }
        }
        let mut dismissed = Vec::new();
        while let Some((until, _)) = self.idle.front()
            && *until <= now.instant
            && let Some((_, key)) = self.idle.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            while lane.idle.first().is_some_and(|idle| idle.until() <= now.instant) {
                self.idlers -= 1;
                dismissed.push(lane.idle.remove(0).courier);
            }
        }
        dismissed
    }

    /// The last one is the first to come where the clock was set back.
    fn next_opening(&self, now: i64) -> Option<i64> {
        let mut times = self.openings.keys();
        [times.next(), times.next_back()].into_iter().flatten().copied().find(|at| retry::has_come(*at, now))
    }

    /// How long nothing happens here by itself.
    pub(super) fn pause(&self, now: Now) -> Option<Duration> {
        let opening = self
            .openings
            .keys()
            .next()
            .map(|at| Duration::from_secs(at.saturating_sub(now.unix).max(0).unsigned_abs()));
        let idle = self.idle.front().map(|(until, _)| *until);
        let instants = [idle, self.turns.next_wake()].into_iter().flatten();
        let instant = instants.min().map(|at| at.saturating_duration_since(now.instant));
        [opening, instant].into_iter().flatten().min()
    }

    /// Forgets letters that do not wait any more.
    pub(super) fn purge(&mut self, waits: impl Fn(EntryId, &Arc<Host>) -> bool) {
        for (host, domain) in &mut self.domains {
            domain.retain(|id| waits(id, host));
        }
    }

    /// Forgets destinations and lanes about which nothing is worth knowing.
    pub(super) fn sweep(&mut self, now: Now) {
        self.domains.retain(|_, domain| !domain.is_forgettable(now));
        self.lanes.retain(|_, lane| !lane.is_forgettable(now.unix));
    }

    /// All couriers without work.
    pub(super) fn dismiss(&mut self) -> Vec<C> {
        self.idle.clear();
        self.idlers = 0;
        let idle = self.lanes.values_mut().flat_map(|lane| lane.idle.drain(..));
        idle.map(|idle| idle.courier).collect()
    }

    /// Whether nobody is on his way, and nothing is being looked up.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.turns.is_empty() && self.asking == 0
    }

    /// Sees to it that a destination's letters come on: into its lane, or to a look-up.
    fn go_on(&mut self, host: &Arc<Host>, now: Now) {
        let Some(domain) = self.domains.get_mut(host) else { return };
        let fresh = domain.has_fresh();
        if domain.has_question(now) && domain.asks.enter(fresh) {
            self.questions.push(Arc::clone(host), fresh);
        }
        if domain.waiting() == 0 || domain.asked {
            return;
        }
        let Some(key) = domain.way(now).map(|known| Arc::clone(&known.lane)) else { return };
        let lane = self.lanes.entry(Arc::clone(&key)).or_default();
        lane.hear(std::mem::take(&mut domain.plea), now.unix);
        if domain.enter(&key, fresh) {
            lane.domains.push(Arc::clone(host), fresh);
        }
        self.list(&key, now.unix);
    }

    /// Lets a lane wait for its turn, if it has one.
    fn list(&mut self, key: &Arc<str>, now: i64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !lane.has_turn(now) {
            return;
        }
        let turn = lane.turn();
        // Never two places, but a better one.
        if lane.listed.is_none_or(|listed| turn < listed) {
            lane.listed = Some(turn);
            self.turns.push(turn, Arc::clone(key));
        }
    }
}
