//! What an entry is, and how far it is.

use super::Once;
use crate::mail::envelope::{Envelope, Recipient};
use crate::smtp::Door;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An entry's name: time of arrival and randomness, 20 hex digits, safe as a file name. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId(pub String);

impl EntryId {
    /// A new name for what arrived at this Unix time.
    pub(super) fn new(arrived: i64) -> std::io::Result<EntryId> {
        let mut random = [0; 6];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let random = random.iter().fold(0u64, |sum, &octet| sum << 8 | u64::from(octet));
        Ok(EntryId(format!("{:08x}{random:012x}", arrived.clamp(0, i64::from(u32::MAX)))))
    }

    /// A name that somebody typed or that stands in a directory.
    pub fn parse(text: &str) -> Option<EntryId> {
        let plain = text.len() == 20 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| EntryId(text.to_owned()))
    }

    /// Unix time of arrival, seconds.
    pub fn arrived(&self) -> i64 {
        self.0.get(..8).and_then(|hex| i64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }

    /// The Maildir name of what is made from this entry, the same whenever it is made again: `R` is a copy for a
    /// directory, `B` a bounce, `W` a warning and `S` a report of success about a recipient.
    pub fn file_name(&self, kind: char, what: &str) -> String {
        let hash = digest(&SHA256, what.as_bytes());
        let hash: String = hash.as_ref().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
        format!("{}.Q{self}{kind}{hash}.pillarbox", self.arrived())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// Whether nobody is pending any more.
    pub fn is_finished(&self) -> bool {
        !self.recipients.iter().any(RecipientState::is_pending)
    }

    /// When the next recipient is due; none if nobody is pending.
    pub fn next_attempt(&self) -> Option<i64> {
        self.recipients.iter().filter(|r| r.is_pending()).map(|r| r.next_attempt).min()
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
