//! What an entry is, and how far it is.

use super::{EntryId, Once};
use crate::mail::envelope::{Envelope, Recipient};
use crate::policy::retry;
use crate::smtp::Door;
use serde::{Deserialize, Serialize};

/// A committed entry: what it is, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// Which door it came through.
    pub door: Door,
    /// Unix time of arrival, seconds.
    pub arrived: i64,
    /// The envelope.
    pub envelope: Envelope,
    /// The marks of a submission.
    pub once: Option<Once>,
    /// Whether its copies here go to the directories for junk.
    pub junk: bool,
    /// Octets of the message.
    pub size: u64,
    /// Whether the message has octets above 127.
    pub eight_bit: bool,
    /// One state per recipient, in the envelope's order.
    pub recipients: Vec<RecipientState>,
}

impl Entry {
    /// Whether nobody is pending any more; who is held is.
    pub fn is_finished(&self) -> bool {
        !self.recipients.iter().any(RecipientState::is_pending)
    }

    /// When the next recipient is due; none if nobody is pending but those who are held.
    pub fn next_attempt(&self) -> Option<i64> {
        self.recipients.iter().filter(|r| r.is_pending() && !r.held).map(|r| r.next_attempt).min()
    }
}

/// How far a recipient is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// Who.
    pub recipient: Recipient,
    /// How far.
    pub state: State,
    /// How often it was tried.
    pub attempts: u32,
    /// Unix time, seconds, before which it is not tried again; 0 at first.
    pub next_attempt: i64,
    /// Whether the sender was told of a delay.
    pub warned: bool,
    /// Whether it is held: not tried, and not given up, until it is released.
    #[serde(default)]
    pub held: bool,
}

impl RecipientState {
    /// The state of one that was never tried.
    pub fn new(recipient: Recipient) -> RecipientState {
        let state = State::Pending { reason: None };
        RecipientState { recipient, state, attempts: 0, next_attempt: 0, warned: false, held: false }
    }

    /// Whether it is still to be delivered.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    /// Whether it is to be tried now, which is Unix time in seconds.
    pub fn is_due(&self, now: i64) -> bool {
        self.is_pending() && !self.held && retry::has_come(self.next_attempt, now)
    }
}

/// A recipient's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum State {
    /// Still to be delivered; the last reason, if it was tried.
    Pending {
        /// Why the last attempt failed.
        reason: Option<String>,
    },
    /// Delivered, into a directory here or to the host that said so.
    Delivered {
        /// Where to, and the reply.
        to: String,
        /// What protected the connection, and who the other side was found to be; none for a directory here.
        #[serde(default)]
        tls: Option<String>,
    },
    /// Given up; the bounce is made before this is recorded.
    Failed {
        /// Why.
        reason: String,
    },
}
