//! The queue: entries with one commit point, their schedule, and the log of what was seen.
//!
//! Every state on disk, and how it is recovered, is in `docs/states.md`.

use crate::mail::envelope::{Envelope, Recipient};
use crate::smtp::Door;
use crate::store::{StoreError, letter::Spill};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

mod disk;
mod format;
mod seen;
#[cfg(test)]
mod tests;

use disk::{Disk, Found};
use seen::{Log, Marks, Rewrite};

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
    /// The `Received` field, already written by the connection (complete, with CRLF); it is put in front of the head.
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    marks: Arc<Mutex<Marks>>,
    log: Mutex<Log>,
}

impl Queue {
    /// Opens, recovers (docs/states.md), rebuilds the seen log from the entries. Only one process at a time can have
    /// it open.
    pub fn open(state_dir: &Path) -> Result<Queue, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Queue::open_at(state_dir, i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// `now` decides which marks are too old to keep.
    fn open_at(state_dir: &Path, now: i64) -> Result<Queue, StoreError> {
        let disk = Disk::open(state_dir)?;
        let mut seen = Rewrite::begin(state_dir, now)?;
        for done in disk.half_removed()? {
            seen.add(&done.id, done.arrived, done.once.as_ref())?;
        }
        for id in disk.entries()? {
            recover(&disk, &mut seen, &id)?;
        }
        let (log, marks) = seen.finish()?;
        disk.clear_removed()?;
        Ok(Queue {
            inner: Arc::new(Inner { disk, marks: Arc::new(Mutex::new(marks)), log: Mutex::new(log) }),
        })
    }

    /// Looks the marks up and claims them for this connection. `now` is Unix time in seconds.
    pub fn claim(&self, once: &Once, now: i64) -> Result<(Seen, Option<Claim>), StoreError> {
        let mut marks = lock(&self.inner.marks);
        marks.forget_old(now);
        Ok(match marks.look_up(once, now) {
            Seen::New => {
                marks.hold(once);
                (Seen::New, Some(Claim { once: Some(once.clone()), marks: self.inner.marks.clone() }))
            }
            known => (known, None),
        })
    }

    /// Commits an entry: message (`received`, `head` and `body`), envelope, fsync, `RENAME_NOREPLACE`, both parents
    /// fsynced. This is the one commit point.
    pub fn commit(
        &self,
        entry: NewEntry,
        head: &[u8],
        body: &Spill,
        claim: Option<Claim>,
    ) -> Result<EntryId, StoreError> {
        match self.inner.disk.commit(&entry, head, body) {
            Ok(id) => {
                lock(&self.inner.marks).commit(&id, entry.arrived, entry.once.as_ref());
                Ok(id)
            }
            Err(fault) => {
                if let (true, Some(claim)) = (fault.maybe_committed, claim) {
                    // It may come back at the next start: until then a repeat must not be queued beside it.
                    claim.keep();
                }
                Err(fault.error)
            }
        }
    }

    /// The entries there are, oldest first.
    pub fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        self.inner.disk.entries()
    }

    /// One entry, or none if it is no longer there. A damaged one is set aside with a log line, and is none.
    pub fn load(&self, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        match self.inner.disk.load(id)? {
            Found::Entry(entry) => Ok(Some(*entry)),
            Found::Nothing => Ok(None),
            Found::Damaged { why, .. } => {
                self.inner.disk.set_aside(id, &why)?;
                Ok(None)
            }
        }
    }

    /// The message of an entry.
    pub fn open_message(&self, id: &EntryId) -> Result<File, StoreError> {
        self.inner.disk.open_message(id)
    }

    /// Makes the recipients' states durable. An entry in which nobody is pending is removed.
    pub fn record(&self, entry: &Entry) -> Result<(), StoreError> {
        if entry.is_finished() { self.remove(entry) } else { self.inner.disk.record(entry) }
    }

    /// Removes an entry, whatever its recipients' states: from the rename on it is gone; its marks are in the log
    /// before its files are.
    pub fn remove(&self, entry: &Entry) -> Result<(), StoreError> {
        self.inner.disk.retire(&entry.id)?;
        lock(&self.inner.marks).finish(&entry.id);
        if let Some(once) = &entry.once
            && let Err(error) = lock(&self.inner.log).append(&entry.id, entry.arrived, once)
        {
            // The entry is out of the queue; its files stay, so that the next start finds the marks in them.
            tracing::error!(id = %entry.id, %error, "the marks of a finished entry go to the log at the next start");
            return Ok(());
        }
        self.inner.disk.discard(&entry.id);
        Ok(())
    }
}

fn recover(disk: &Disk, seen: &mut Rewrite, id: &EntryId) -> Result<(), StoreError> {
    match disk.load(id) {
        Ok(Found::Entry(entry)) => {
            seen.add(id, entry.arrived, entry.once.as_ref())?;
            seen.marks.commit(id, entry.arrived, None);
        }
        Ok(Found::Nothing) => {}
        Ok(Found::Damaged { why, once }) => {
            // What it spent stays spent, although it cannot be delivered.
            seen.add(id, id.arrived(), once.as_deref())?;
            disk.set_aside(id, &why)?;
        }
        Err(error) => {
            tracing::error!(%id, %error, "a queue entry cannot be read; it stays for the next start")
        }
    }
    Ok(())
}

/// A panic elsewhere left the data whole: every change to it is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks held by one connection; dropping it without a commit gives them back.
#[derive(Debug)]
pub struct Claim {
    once: Option<Once>,
    marks: Arc<Mutex<Marks>>,
}

impl Claim {
    /// Holds the marks until the process ends.
    fn keep(mut self) {
        self.once = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(once) = &self.once {
            lock(&self.marks).give_back(once);
        }
    }
}

/// An entry's name: time of arrival and randomness, 20 hex digits, safe as a file name. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId(pub String);

impl EntryId {
    /// A new name for what arrived at this Unix time.
    fn new(arrived: i64) -> std::io::Result<EntryId> {
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
}

impl RecipientState {
    /// The state of one that was never tried.
    pub fn new(recipient: Recipient) -> RecipientState {
        let state = State::Pending { reason: None };
        RecipientState { recipient, state, attempts: 0, next_attempt: 0, warned: false }
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
    },
    /// Given up; the bounce is made before this is recorded.
    Failed {
        /// Why.
        reason: String,
    },
}
