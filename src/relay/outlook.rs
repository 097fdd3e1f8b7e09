//! What is to be done for an entry, and when.

use crate::config;
use crate::mail::address::Host;
use crate::policy::retry;
use crate::queue::Entry;
use crate::smtp::Door;

/// How long an entry that is past one of its marks, and whose turn has not come, is left before it is looked at again.
const AGAIN: i64 = 300;

/// What follows for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Destinations with somebody who is due.
    pub(super) due: Vec<Host>,
    /// When it is to be looked at, Unix seconds; `NEVER` if nothing happens by itself.
    pub(super) mark: i64,
    /// Nobody is pending: it can be forgotten.
    pub(super) finished: bool,
}

/// No time at all.
pub(super) const NEVER: i64 = i64::MAX;

impl Outlook {
    /// Of an entry that is gone, or about which there is nothing left to do.
    pub(super) fn finished() -> Outlook {
        Outlook { due: Vec::new(), mark: NEVER, finished: true }
    }

    /// Of one that is to be looked at then.
    pub(super) fn look_at(mark: i64) -> Outlook {
        Outlook { due: Vec::new(), mark, finished: false }
    }

    /// Of an entry as it is.
    pub(super) fn of(entry: &Entry, config: &config::Relay, now: i64) -> Outlook {
        let pending = || entry.recipients.iter().filter(|r| r.is_pending());
        let ages = Ages { arrived: entry.arrived, warned: pending().all(|r| r.warned || r.held) };
        let parts = pending().map(|r| (r.recipient.address.host(), r.next_attempt, r.held));
        let mut outlook = Outlook::plan(ages, parts, config, now);
        if entry.door == Door::Mx && !outlook.finished {
            // Nothing of a stranger's goes anywhere but into directories here, and he is told nothing.
            let next = pending().filter(|r| !r.held).map(|r| r.next_attempt).min();
            let due = next.filter(|&at| retry::has_come(at, now)).map(|_| now);
            outlook = Outlook::look_at(due.or(next).unwrap_or(NEVER));
        }
        outlook
    }

    /// Of pending recipients: host, next attempt, held.
    pub(super) fn plan<'a>(
        ages: Ages,
        parts: impl Iterator<Item = (&'a Host, i64, bool)>,
        config: &config::Relay,
        now: i64,
    ) -> Outlook {
        let mut outlook = Outlook::finished();
        for (host, next_attempt, held) in parts {
            outlook.finished = false;
            if held {
                continue;
            }
            outlook.mark = outlook.mark.min(ages.mark(config, now));
            if !retry::has_come(next_attempt, now) {
                outlook.mark = outlook.mark.min(next_attempt);
            } else if !outlook.due.contains(host) {
                outlook.due.push(host.clone());
            }
        }
        outlook
    }
}

/// How old an entry is, and whether everybody who waits was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// Unix seconds.
    pub(super) arrived: i64,
    pub(super) warned: bool,
}

impl Ages {
    /// When its age asks for something next.
    fn mark(self, config: &config::Relay, now: i64) -> i64 {
        let deadline = retry::deadline(self.arrived, config.retry_for);
        let late = retry::late(self.arrived, config.warn_after);
        let mark = if self.warned { deadline } else { late.min(deadline) };
        if mark > now { mark } else { now.saturating_add(AGAIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_due_at_its_destinations_and_has_one_mark() {
        let config = config::Relay::default();
        let host = |name| Host::parse(name).unwrap();
        let (a, b, c) = (host("a.test"), host("b.test"), host("c.test"));
        let plan = |warned, parts: &[(&Host, i64, bool)], now| {
            Outlook::plan(Ages { arrived: 1000, warned }, parts.iter().copied(), &config, now)
        };
        let (late, deadline) = (1000 + 4 * 3600, 1000 + 5 * 86400);

        let both = plan(false, &[(&a, 0, false), (&b, 2000, false), (&a, 0, false), (&c, 0, true)], 1500);
        assert_eq!(both, Outlook { due: vec![a.clone()], mark: 2000, finished: false });
        assert_eq!(plan(false, &[(&a, 0, false)], 1500).mark, late, "the warning comes by itself");
        assert_eq!(plan(true, &[(&a, 0, false)], 1500).mark, deadline, "and so does the end");
        assert_eq!(plan(true, &[(&a, 0, false)], deadline).mark, deadline + AGAIN);
        assert_eq!(plan(false, &[(&c, 0, true)], 1500), Outlook::look_at(NEVER), "the held do not age");
        assert_eq!(plan(false, &[], 1500), Outlook::finished());
    }
}
