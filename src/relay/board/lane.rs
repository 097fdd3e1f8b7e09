//! One lane: the connections to one set of servers, and when these are left alone.

use super::Now;
use super::line::Line;
use crate::mail::address::Host;
use crate::policy::retry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections to one lane at first.
const FIRST: usize = 2;
/// Connections to one lane at most: what a stranger's server allows one client without a question.
const MOST: usize = 10;
/// Letters of one lane that were carried and whose fate is not recorded yet, at most: these are sent again after a crash.
const UNRECORDED: usize = 20;
/// How long a connection waits for more work.
const IDLE: Duration = Duration::from_secs(2);
/// Letters over one connection, and its age, at most: servers end what goes on for ever, and not always in good manners.
const LETTERS: u32 = 100;
const AGE: Duration = Duration::from_secs(300);

/// Why a destination is left alone, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Trouble {
    /// Failures in a row.
    pub(in crate::relay) failures: u32,
    /// Unix seconds of the last one.
    pub(super) since: i64,
    /// Unix seconds; from then on one letter is tried.
    pub(super) until: i64,
    /// What was said last.
    pub(in crate::relay) reason: String,
}

impl Trouble {
    /// The next one in a row.
    pub(super) fn after(last: Option<&Trouble>, since: i64, until: i64, reason: String) -> Trouble {
        let failures = last.map_or(0, |trouble| trouble.failures).saturating_add(1);
        Trouble { failures, since, until, reason }
    }

    pub(super) fn is_over(&self, now: i64) -> bool {
        retry::has_come(self.until, now)
    }

    /// Whether it says nothing about today any more.
    pub(super) fn is_past(&self, now: i64) -> bool {
        self.until <= now.saturating_sub(retry::LONGEST)
    }

    /// A letter has just come: its sender waits, and the servers may be back. That counts where they have been left
    /// alone for a while.
    pub(super) fn knock(&mut self, now: i64) {
        if now >= self.since.saturating_add(retry::FIRST) {
            self.until = self.until.min(now);
        }
    }
}

/// What is asked of a lane that is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Plea {
    #[default]
    None,
    /// By a letter that has just come.
    Knock,
    /// By the owner.
    Pardon,
}

/// A connection with what it has done.
#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) courier: C,
    pub(super) letters: u32,
    pub(super) born: Instant,
    until: Instant,
}

impl<C> Idle<C> {
    /// After one more letter; none if it has done enough.
    pub(super) fn new(courier: C, letters: u32, born: Instant, now: Instant) -> Result<Idle<C>, C> {
        match letters < LETTERS && now.duration_since(born) < AGE {
            true => Ok(Idle { courier, letters, born, until: now + IDLE }),
            false => Err(courier),
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

/// Which turn a lane waits for, the first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// For its first connection, with a letter that has just come.
    Fresh,
    /// For its first connection.
    First,
    /// For one more.
    More,
    /// For a probe: it failed before.
    Probe,
}

pub(super) struct Lane<C> {
    /// Domains with letters that wait.
    pub(super) domains: Line<Arc<Host>>,
    pub(super) active: usize,
    pub(super) unrecorded: usize,
    pub(super) idle: Vec<Idle<C>>,
    limit: usize,
    most: usize,
    pub(super) trouble: Option<Trouble>,
    /// When somebody was there last.
    reached: Option<Instant>,
    /// The turn it waits for.
    pub(super) listed: Option<Turn>,
}

impl<C> Default for Lane<C> {
    fn default() -> Lane<C> {
        Lane {
            domains: Line::default(),
            active: 0,
            unrecorded: 0,
            idle: Vec::new(),
            limit: FIRST,
            most: MOST,
            trouble: None,
            reached: None,
            listed: None,
        }
    }
}

impl<C> Lane<C> {
    /// Whether another letter may be started.
    pub(super) fn has_turn(&self, now: i64) -> bool {
        let open = self.trouble.as_ref().is_none_or(|trouble| trouble.is_over(now));
        let limit = if self.trouble.is_some() { 1 } else { self.limit };
        open && !self.domains.is_empty() && self.active < limit && self.unrecorded < UNRECORDED
    }

    /// Which turn that would be.
    pub(super) fn turn(&self) -> Turn {
        match (&self.trouble, self.active) {
            (Some(_), _) => Turn::Probe,
            (None, 0) if self.domains.has_fresh() => Turn::Fresh,
            (None, 0) => Turn::First,
            (None, _) => Turn::More,
        }
    }

    /// Somebody was there, whatever he said.
    pub(super) fn reached(&mut self, now: Instant) {
        if self.trouble.take().is_some() {
            self.limit = 1;
        }
        self.reached = Some(now);
        if !self.domains.is_empty() {
            self.limit = (self.limit + 1).min(self.most);
        }
    }

    /// Nobody was there, for a letter that set out at `started`. Says whether the lane is closed by this.
    pub(super) fn failed(&mut self, started: Instant, until: i64, reason: String, now: Now) -> bool {
        if self.reached.is_some_and(|reached| reached > started) {
            // Others get through: it is one connection too many.
            self.most = self.active.max(1);
            self.limit = self.limit.min(self.most);
            return false;
        }
        if self.trouble.as_ref().is_some_and(|trouble| !trouble.is_over(now.unix)) {
            return false;
        }
        self.limit = 1;
        self.trouble = Some(Trouble::after(self.trouble.as_ref(), now.unix, until, reason));
        true
    }

    /// Hears what is asked of it. A lane that is pardoned still begins with one connection.
    pub(super) fn hear(&mut self, plea: Plea, now: i64) {
        match (plea, &mut self.trouble) {
            (Plea::Pardon, Some(_)) => {
                self.trouble = None;
                self.limit = 1;
            }
            (Plea::Knock, Some(trouble)) => trouble.knock(now),
            _ => {}
        }
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_forgettable(&self, now: i64) -> bool {
        self.active == 0
            && self.unrecorded == 0
            && self.idle.is_empty()
            && self.domains.is_empty()
            && self.trouble.as_ref().is_none_or(|trouble| trouble.is_past(now))
    }
}
