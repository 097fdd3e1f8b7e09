//! The queue: entries with one commit point, their schedule, and the log of what was seen.

use crate::mail::envelope::{Envelope, Recipient};
use crate::smtp::Door;
use crate::store::{StoreError, letter::Spill};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A new entry, to be committed.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Which door it came through: submission, or mx with several directories.
    pub door: Door,
    /// Unix time of arrival, seconds.
    pub arrived: i64,
    /// The envelope.
    pub envelope: Envelope,
    /// What makes a repeat recognizable, for submissions.
    pub once: Option<Once>,
    /// The text for the `Received` field's `from … by …`, already written by the connection (complete field, CRLF).
    pub received: Vec<u8>,
}

/// The marks that a submission leaves for ever (DESIGN "Once", "Spent").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The seal's nonce, hex; none for a plain submission.
    pub nonce: Option<String>,
    /// SHA-256 of stripped content and envelope, hex.
    pub digest: String,
    /// Keys of the bound signatures (d, s and the hash of the canonical signed input), hex.
    pub signatures: Vec<String>,
}

/// What the queue knows of a submission's marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: go on. The marks are held for this connection until commit or drop of the `Claim`.
    New,
    /// Committed before with the same content and envelope: answer 250 again (entry id).
    Same(String),
    /// In flight on another connection: 451.
    InFlight,
    /// The nonce or a signature was used for something else: 550.
    Different(String),
}

/// The queue below `state_dir`. Cheap to clone; calls block.
#[derive(Clone, Debug)]
pub struct Queue {
    _inner: Arc<()>,
}

impl Queue {
    /// Opens, recovers (docs/states.md), rebuilds the seen log from the entries.
    pub fn open(state_dir: &Path) -> Result<Queue, StoreError> {
        let _ = state_dir;
        Ok(Queue { _inner: Arc::new(()) })
    }

    /// Looks the marks up and claims them for this connection. `now` is Unix time in seconds.
    pub fn claim(&self, once: &Once, now: i64) -> Result<(Seen, Option<Claim>), StoreError> {
        let _ = (once, now);
        Ok((Seen::New, None))
    }

    /// Commits an entry: message (`head` and `body`), envelope, fsync, `RENAME_NOREPLACE`, both parents fsynced. This is
    /// the one commit point.
    pub fn commit(
        &self,
        entry: NewEntry,
        head: &[u8],
        body: &Spill,
        claim: Option<Claim>,
    ) -> Result<EntryId, StoreError> {
        let _ = (entry, head, body, claim);
        Err(StoreError::Unsafe("not yet".into()))
    }
}

/// Marks held by one connection; dropping it without a commit gives them back.
#[derive(Debug)]
pub struct Claim {
    _private: (),
}

/// An entry's name: time and randomness, safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId(pub String);

/// How far a recipient is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// Who.
    pub recipient: Recipient,
    /// How far.
    pub state: State,
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
    },
    /// Given up; the bounce is made before this is recorded.
    Failed {
        /// Why.
        reason: String,
    },
}
