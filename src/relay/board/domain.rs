//! One destination: the letters that wait for it, and the way to it.

use super::Now;
use super::lane::{Plea, Trouble};
use super::line::{Line, Stand};
use crate::queue::EntryId;
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
    letters: Line<EntryId>,
    known: Option<Known<W>>,
    /// Why the way cannot be found.
    pub(super) trouble: Option<Trouble>,
    /// What it asks of the lane that its way will turn out to lead to.
    pub(super) plea: Plea,
    /// Where it stands among the questions.
    pub(super) asks: Stand,
    /// Whether it is being asked about.
    pub(super) asked: bool,
    /// The lane that it stands in, and where.
    lane: Option<Arc<str>>,
    listed: Stand,
}

impl<W> Default for Domain<W> {
    fn default() -> Domain<W> {
        Domain {
            letters: Line::default(),
            known: None,
            trouble: None,
            plea: Plea::None,
            asks: Stand::default(),
            asked: false,
            lane: None,
            listed: Stand::default(),
        }
    }
}

impl<W> Domain<W> {
    pub(super) fn push(&mut self, id: EntryId, fresh: bool) {
        self.letters.push(id, fresh);
    }

    /// The next letter that still waits here.
    pub(super) fn pop(&mut self, waits: impl Fn(EntryId) -> bool) -> Option<EntryId> {
        std::iter::from_fn(|| self.letters.pop()).map(|(id, _)| id).find(|id| waits(*id))
    }

    /// Forgets letters that do not wait any more.
    pub(super) fn retain(&mut self, waits: impl Fn(EntryId) -> bool) {
        self.letters.retain(|id| waits(*id));
    }

    pub(super) fn waiting(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn has_fresh(&self) -> bool {
        self.letters.has_fresh()
    }

    /// Whether the way is to be asked for.
    pub(super) fn has_question(&self, now: Now) -> bool {
        self.waiting() > 0 && !self.asked && self.is_open(now) && self.way(now).is_none()
    }

    /// Whether nothing keeps its letters from being looked after.
    pub(super) fn is_open(&self, now: Now) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| trouble.is_over(now.unix))
    }

    /// Takes a place in a lane, if it has none there yet. Those in another one are void.
    pub(super) fn enter(&mut self, lane: &Arc<str>, fresh: bool) -> bool {
        if self.lane.as_ref() != Some(lane) {
            (self.lane, self.listed) = (Some(Arc::clone(lane)), Stand::default());
        }
        self.listed.enter(fresh)
    }

    /// Gives a place in a lane up, unless it is void.
    pub(super) fn leave(&mut self, lane: &Arc<str>, fresh: bool) -> bool {
        let its = self.lane.as_ref() == Some(lane);
        if its {
            self.listed.leave(fresh);
        }
        its
    }

    /// The way, whether or not it is still good.
    pub(super) fn known(&self) -> Option<&Known<W>> {
        self.known.as_ref()
    }

    /// The way, if it can be gone.
    pub(super) fn way(&self, now: Now) -> Option<&Known<W>> {
        self.known.as_ref().filter(|known| self.is_open(now) && known.until > now.instant)
    }

    pub(super) fn found(&mut self, known: Known<W>) {
        self.trouble = None;
        self.known = Some(known);
    }

    /// What was known is not to be relied on any more, neither here nor in the lane.
    pub(super) fn pardon(&mut self) {
        self.plea = Plea::Pardon;
        self.trouble = None;
        self.known = None;
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_forgettable(&self, now: Now) -> bool {
        let way_is_old = self.known.as_ref().is_none_or(|known| known.until <= now.instant);
        let stands = self.asks.is_anywhere() || self.listed.is_anywhere();
        let unused = self.waiting() == 0 && !self.asked && !stands;
        unused && way_is_old && self.trouble.as_ref().is_none_or(|trouble| trouble.is_past(now.unix))
    }
}
