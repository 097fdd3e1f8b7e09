//! The committer: makes batches of staged letters appear in their Maildirs, in the order that survives every crash,
//! and acknowledges them.

use super::fault;
use super::journal::{Intent, IntentLetter, Journal, Key, MailboxId};
use super::maildir::{Maildir, appear, file_name};
use super::places::Staging;
use super::sync::Flushes;
use crate::error::Failure;
use crate::net::export::FromHome;
use rustix::fs::fsync;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, mpsc};

/// Letters that are committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Those that wait in staging directories.
    pub letters: Vec<Staged>,
    /// Numbers of those that are at home already, by this batch at the latest.
    pub again: Vec<u64>,
    /// Octets of the letters.
    pub octets: u64,
    /// Their fsyncs.
    pub flushes: Arc<Flushes>,
}

/// A whole letter in a staging directory.
#[derive(Debug)]
pub(super) struct Staged {
    pub number: u64,
    pub size: u64,
    pub key: Key,
    pub mailbox: MailboxId,
    /// The mailbox's index in this session.
    pub index: usize,
    pub name: String,
    pub staging: Arc<Staging>,
    pub maildir: Arc<Maildir>,
    pub in_cur: bool,
    pub base: String,
    pub flags: String,
}

/// What was committed, by the mailbox's index: letters and octets.
pub(super) type Committed = BTreeMap<usize, (u64, u64)>;

/// Commits batches until there are no more, then tells the gate that nothing more will come.
pub(super) fn run(
    batches: mpsc::Receiver<Batch>,
    journal: &mut Journal,
    mut gate: impl Write,
    committed: &mut Committed,
) -> Result<(), Failure> {
    for batch in batches {
        let numbers = commit(batch, journal, committed)?;
        // A gate that is gone hears it next time, from the journal; what was received whole is kept all the same.
        let _ = FromHome::Kept(numbers).write_to(&mut gate).and_then(|()| gate.flush());
    }
    let _ = FromHome::Done.write_to(&mut gate).and_then(|()| gate.flush());
    Ok(())
}

/// The steps of `docs/states.md`. Returns the numbers that may be acknowledged.
fn commit(batch: Batch, journal: &mut Journal, committed: &mut Committed) -> Result<Vec<u64>, Failure> {
    batch.flushes.wait().map_err(|error| fault("writing a letter", error))?;
    let letters = batch.letters;
    let mut numbers = batch.again;
    if letters.is_empty() {
        return Ok(numbers);
    }
    fsync_each(letters.iter().map(|letter| &letter.staging.handle))?;

    let names = letters.iter().map(Staged::target).collect::<Result<Vec<String>, Failure>>()?;
    journal.intend(intents(letters.iter().zip(&names)))?;
    for (letter, target) in letters.iter().zip(&names) {
        let mut target = target.clone();
        while !appear(&letter.staging.handle, &letter.name, &letter.maildir, &target)? {
            // Somebody took the name a moment ago.
            target = letter.target()?;
            journal.intend(intents([(letter, &target)]))?;
        }
    }
    fsync_each(letters.iter().map(|letter| letter.maildir.place(letter.in_cur)))?;
    fsync_each(letters.iter().map(|letter| &letter.staging.handle))?;

    let mut keys: BTreeMap<MailboxId, Vec<Key>> = BTreeMap::new();
    for letter in &letters {
        keys.entry(letter.mailbox).or_default().push(letter.key);
    }
    journal.done(keys)?;
    for letter in &letters {
        let (count, octets) = committed.entry(letter.index).or_default();
        *count += 1;
        *octets += letter.size;
        numbers.push(letter.number);
    }
    Ok(numbers)
}

impl Staged {
    /// `new/NAME` or `cur/NAME`, with a base name that is free.
    fn target(&self) -> Result<String, Failure> {
        let base = self.maildir.free_base(&self.base)?;
        let place = if self.in_cur { "cur" } else { "new" };
        Ok(format!("{place}/{}", file_name(&base, &self.flags, self.in_cur)))
    }
}

/// One intent for each way from a staging directory into a Maildir.
fn intents<'a>(letters: impl IntoIterator<Item = (&'a Staged, &'a String)>) -> Vec<Intent> {
    let mut intents: BTreeMap<usize, Intent> = BTreeMap::new();
    for (letter, target) in letters {
        let intent = intents.entry(letter.index).or_insert_with(|| Intent {
            mailbox: letter.mailbox,
            staging: letter.staging.path.clone(),
            inode: letter.staging.inode,
            maildir: letter.maildir.path.clone(),
            letters: Vec::new(),
        });
        let staged = letter.name.clone();
        intent.letters.push(IntentLetter { key: letter.key, staged, target: target.clone() });
    }
    intents.into_values().collect()
}

/// Fsyncs each directory once.
pub(super) fn fsync_each<'a>(directories: impl Iterator<Item = &'a OwnedFd>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for directory in directories {
        if seen.insert(directory.as_raw_fd()) {
            fsync(directory).map_err(|error| fault("fsync of a directory", error))?;
        }
    }
    Ok(())
}
