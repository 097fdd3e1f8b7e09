//! One destination: the letters that wait for it, and the way to it.

use super::Now;
use super::lane::Trouble;
use crate::queue::EntryId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the way is taken for known.
const GOOD: Duration = Duration::from_secs(300);

/// The way to a destination, and the lane that it leads to.
#[derive(Clone, Debug)]
pub(super) struct Known<W> {
    pub(super) lane: Arc<str>,
    pub(super) way: W,
    until: Instant,
}

impl<W> Known<W> {
    pub(super) fn new(lane: Arc<str>, way: W, now: Instant) -> Known<W> {
        Known { lane, way, until: now + GOOD }
    }
}

pub(super) struct Domain<W> {
    /// What has just come goes before what is old.
    fresh: VecDeque<EntryId>,
    old: VecDeque<EntryId>,
    known: Option<Known<W>>,
    /// Why the way cannot be found.
    pub(super) trouble: Option<Trouble>,
    /// Whether it stands among the questions, or is being asked about.
    pub(super) asked: bool,
    /// Whether it stands in a lane.
    pub(super) listed: bool,
}

impl<W> Default for Domain<W> {
    fn default() -> Domain<W> {
        Domain {
            fresh: VecDeque::new(),
            old: VecDeque::new(),
            known: None,
            trouble: None,
            asked: false,
            listed: false,
        }
    }
}

impl<W> Domain<W> {
    pub(super) fn push(&mut self, id: EntryId, fresh: bool) {
        let waiting = if fresh { &mut self.fresh } else { &mut self.old };
        waiting.push_back(id);
    }

    /// The next letter that still waits here.
    pub(super) fn pop(&mut self, waits: impl Fn(EntryId) -> bool) -> Option<EntryId> {
        for waiting in [&mut self.fresh, &mut self.old] {
            while let Some(id) = waiting.pop_front() {
                if waits(id) {
                    return Some(id);
                }
            }
            // A hundred thousand places are not kept for the next letter.
            waiting.shrink_to(64);
        }
        None
    }

    /// Forgets letters that do not wait any more.
    pub(super) fn retain(&mut self, waits: impl Fn(EntryId) -> bool) {
        self.fresh.retain(|id| waits(*id));
        self.old.retain(|id| waits(*id));
    }

    pub(super) fn waiting(&self) -> usize {
        self.fresh.len() + self.old.len()
    }

    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The way, whether or not it is still good.
    pub(super) fn known(&self) -> Option<&Known<W>> {
        self.known.as_ref()
    }

    /// The way, if it can be gone.
    pub(super) fn way(&self, now: Now) -> Option<&Known<W>> {
        let open = self.trouble.as_ref().is_none_or(|trouble| trouble.is_over(now.unix));
        self.known.as_ref().filter(|known| open && known.until > now.instant)
    }

    pub(super) fn found(&mut self, known: Known<W>) {
        self.trouble = None;
        self.known = Some(known);
    }

    /// What was known is not to be relied on any more.
    pub(super) fn pardon(&mut self) {
        self.trouble = None;
        self.known = None;
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_forgettable(&self, now: Now) -> bool {
        let old = |trouble: &Trouble| trouble.is_over(now.unix.saturating_sub(crate::policy::retry::LONGEST));
        let way_is_old = self.known.as_ref().is_none_or(|known| known.until <= now.instant);
        let unused = self.waiting() == 0 && !self.asked && !self.listed;
        unused && way_is_old && self.trouble.as_ref().is_none_or(old)
    }
}
