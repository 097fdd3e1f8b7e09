//! The queue: entries with one commit point, their schedule, and the log of what was seen.
//!
//! Every state on disk, and how it is recovered, is in `docs/states.md`.

use crate::mail::envelope::Envelope;
use crate::smtp::Door;
use crate::store::{StoreError, letter::Spill};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

mod disk;
mod entry;
mod format;
mod group;
mod id;
mod log;
mod look;
mod place;
mod recover;
mod remover;
mod seen;
pub mod select;
#[cfg(test)]
mod tests;
mod waiting;

use disk::Disk;
pub use entry::{Entry, RecipientState, State};
pub use id::EntryId;
use log::{Left, Log};
pub use look::{Look, Looked};
use place::Found;
use recover::{Recovered, recover};
use remover::Remover;
use seen::{Marks, Spent};
pub use waiting::{Part, Waiting};

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
    /// Whether its copies here go to the directories for junk.
    pub junk: bool,
    /// The `Received` field, already written by the connection (complete, with CRLF); it is put in front of the head.
    pub received: Vec<u8>,
}

/// The marks that a submission leaves for ever (docs/submission.md rules 4 and 5).
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
    Same(EntryId),
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
    /// Ends before the lock is given up with the disk.
    remover: Remover,
    disk: Disk,
    marks: Arc<Mutex<Marks>>,
    log: Log,
    /// What earlier runs left, until somebody asks.
    backlog: Mutex<Vec<Waiting>>,
}

impl Queue {
    /// Opens, recovers (docs/states.md), reads every entry once. Only one process at a time can have it open.
    pub fn open(state_dir: &Path) -> Result<Queue, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Queue::open_at(state_dir, i64::try_from(now).unwrap_or(i64::MAX))
    }

    fn open_at(state_dir: &Path, now: i64) -> Result<Queue, StoreError> {
        let disk = Disk::open(state_dir)?;
        let Recovered { log, marks, backlog } = recover(state_dir, &disk, now)?;
        let (marks, backlog) = (Arc::new(Mutex::new(marks)), Mutex::new(backlog));
        let remover = Remover::start(disk.place())?;
        Ok(Queue { inner: Arc::new(Inner { remover, disk, marks, log, backlog }) })
    }

    /// The queue for those who only look: it may be open elsewhere.
    pub fn look(state_dir: &Path) -> Look {
        Look::below(state_dir)
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

    /// Commits an entry: one file with the envelope and the message (`received`, `head` and `body`), fsync,
    /// `RENAME_NOREPLACE`, fsync of the directory. This is the one commit point.
    pub fn commit(
        &self,
        entry: NewEntry,
        head: &[u8],
        body: &Spill,
        claim: Option<Claim>,
    ) -> Result<EntryId, StoreError> {
        match self.inner.disk.commit(&entry, head, body) {
            Ok(id) => {
                lock(&self.inner.marks).commit(id, entry.once.as_ref().map(Spent::of));
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

    /// What earlier runs left, oldest first; once.
    pub fn take_backlog(&self) -> Vec<Waiting> {
        std::mem::take(&mut lock(&self.inner.backlog))
    }

    /// The entries there are, oldest first.
    pub fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        let mut ids = self.inner.disk.entries()?;
        let marks = lock(&self.inner.marks);
        ids.retain(|id| marks.is_living(*id));
        Ok(ids)
    }

    /// One entry, or none if it is no longer there. A damaged one is set aside with a log line, and is none.
    pub fn load(&self, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        // The file of a finished entry may be there still, where it could not be removed.
        if !lock(&self.inner.marks).is_living(*id) {
            return Ok(None);
        }
        match self.inner.disk.load(*id)? {
            Found::Entry(entry) => {
                lock(&self.inner.marks).recall(*id, entry.once.as_ref());
                Ok(Some(*entry))
            }
            Found::Nothing => Ok(None),
            Found::Damaged { why, once } => {
                if once.is_some() {
                    self.inner.log.append(Left::Damaged, *id, once.as_deref())?;
                }
                self.inner.disk.set_aside(*id, &why)?;
                lock(&self.inner.marks).finish(*id);
                Ok(None)
            }
        }
    }

    /// The message of an entry: what is left of the file that comes back, from where it stands.
    pub fn open_message(&self, id: &EntryId) -> Result<File, StoreError> {
        self.inner.disk.open_message(*id)
    }

    /// Makes the recipients' states durable. An entry in which nobody is pending is removed.
    pub fn record(&self, entry: &Entry) -> Result<(), StoreError> {
        if entry.is_finished() { self.remove(entry) } else { self.inner.disk.record(entry) }
    }

    /// Removes an entry, whatever its recipients' states: with its line in the log it is finished, and its marks stay.
    pub fn remove(&self, entry: &Entry) -> Result<(), StoreError> {
        self.inner.log.append(Left::Finished, entry.id, entry.once.as_ref())?;
        lock(&self.inner.marks).finish(entry.id);
        self.inner.remover.remove(entry.id);
        Ok(())
    }
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
