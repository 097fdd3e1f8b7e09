//! How a client behaves, and when that is enough.

use crate::smtp::reply::{Reply, say};

/// After so many errors of syntax or sequence the session ends: whoever makes them is no mail server.
const ERRORS: u32 = 10;

/// After so many commands that bring no letter forward, or the number of recipients allowed if that is larger, the
/// session ends.
const FRUITLESS: usize = 100;

/// What a reply says of the client.
pub(super) enum Kind {
    Fine,
    Fruitless,
    Error,
}

/// What a client has said since it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands, whatever came of them.
    pub commands: u32,
    /// Errors of syntax and sequence.
    pub errors: u32,
}

#[derive(Debug)]
pub(super) struct Conduct {
    counts: Counts,
    fruitless: usize,
    limit: usize,
}

impl Conduct {
    pub(super) fn new(recipients: usize) -> Conduct {
        Conduct { counts: Counts::default(), fruitless: 0, limit: FRUITLESS.max(recipients) }
    }

    /// A command came.
    pub(super) fn command(&mut self) {
        self.counts.commands = self.counts.commands.saturating_add(1);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// A letter was taken: the client is here for something.
    pub(super) fn letter(&mut self) {
        self.fruitless = 0;
    }

    /// The reply to give: `reply`, or the 421 that ends the session.
    pub(super) fn judge(&mut self, reply: Reply, kind: Kind) -> Reply {
        match kind {
            Kind::Fine => {}
            Kind::Fruitless => self.fruitless += 1,
            Kind::Error => self.counts.errors = self.counts.errors.saturating_add(1),
        }
        if self.counts.errors >= ERRORS {
            say::too_many_errors(&reply)
        } else if self.fruitless > self.limit {
            say::too_many_commands()
        } else {
            reply
        }
    }
}
