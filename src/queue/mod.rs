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
mod look;
mod seen;
pub mod select;
#[cfg(test)]
mod tests;

use disk::{Disk, Found};
pub use entry::{Entry, EntryId, RecipientState, State};
pub use look::{Look, Looked};
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
    /// What was handed over since somebody asked.
    fresh: Mutex<Vec<EntryId>>,
}

impl Queue {
    /// Opens, recovers (docs/states.md), rebuilds the seen log from the entries. Only one process at a time can have
    /// it open.
    pub fn open(state_dir: &Path) -> Result<Queue, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Queue::open_at(state_dir, i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// The queue below `state_dir`, to look at and nothing more: whether a server has it open or not.
    pub fn look(state_dir: &Path) -> Look {
        Look::below(state_dir)
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
        let (marks, log) = (Arc::new(Mutex::new(marks)), Mutex::new(log));
        Ok(Queue { inner: Arc::new(Inner { disk, marks, log, fresh: Mutex::default() }) })
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

    /// Leaves a committed entry to the relay.
    pub fn hand_over(&self, id: EntryId) {
        lock(&self.inner.fresh).push(id);
    }

    /// The entries that were handed over since the last call.
    pub fn take_fresh(&self) -> Vec<EntryId> {
        std::mem::take(&mut lock(&self.inner.fresh))
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
