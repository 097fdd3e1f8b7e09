//! Those who wait, what has just come before what is old.

use std::collections::VecDeque;

/// What stays reserved for those who come next: not a hundred thousand places.
const KEPT: usize = 64;

#[derive(Debug)]
pub(super) struct Line<T> {
    fresh: VecDeque<T>,
    old: VecDeque<T>,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { fresh: VecDeque::new(), old: VecDeque::new() }
    }
}

impl<T> Line<T> {
    pub(super) fn push(&mut self, item: T, fresh: bool) {
        let waiting = if fresh { &mut self.fresh } else { &mut self.old };
        waiting.push_back(item);
    }

    /// The next one, and whether it stood among the fresh.
    pub(super) fn pop(&mut self) -> Option<(T, bool)> {
        for (waiting, fresh) in [(&mut self.fresh, true), (&mut self.old, false)] {
            if let Some(item) = waiting.pop_front() {
                return Some((item, fresh));
            }
            waiting.shrink_to(KEPT);
        }
        None
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.fresh.retain(&keep);
        self.old.retain(&keep);
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.old.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }
}

/// Where somebody stands in a line: once at most among the fresh, and once among the old.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    fresh: bool,
    old: bool,
}

impl Stand {
    /// Whether a place is to be taken, which is noted: who stands among the old goes to the fresh as well.
    pub(super) fn enter(&mut self, fresh: bool) -> bool {
        match fresh {
            true => !std::mem::replace(&mut self.fresh, true),
            false => !self.fresh && !std::mem::replace(&mut self.old, true),
        }
    }

    /// One of the places was given up.
    pub(super) fn leave(&mut self, fresh: bool) {
        match fresh {
            true => self.fresh = false,
            false => self.old = false,
        }
    }

    pub(super) fn is_anywhere(&self) -> bool {
        self.fresh || self.old
    }
}
