//! The outbox on the disk: one directory per letter that is being submitted or could not be.
//!
//! `outbox/ID/` holds `letter` (the signed bytes, never changed), `record.json` (the envelope, the nonce, what happened
//! so far; replaced by rename) and `lock` (held with flock by whoever is submitting the letter). The states and what
//! finds them after a crash:
//!
//! | state | meaning | after a crash |
//! |---|---|---|
//! | `.new-ID` | being written; its writer has told nobody | swept when it is an hour old and not locked |
//! | `ID` | the letter is ours; it is here until a server took it | the next flush submits it with the same nonce |
//! | `ID/record.json.new` | a newer record, perhaps half written | ignored and overwritten |
//! | `.gone-ID` | taken by a server, or given back to the caller | swept when not locked |
//! | `ID.damaged` | set aside: it could not be read | left to the owner |
//!
//! `ID` is made by renaming after the files and the directory were fsynced, and the outbox is fsynced after that.

use crate::error::{Exit, Failure};
use crate::home::submit::{Letter, Submitter, Verdict};
use crate::mail::address::Domain;
use crate::mail::envelope::Envelope;
use crate::trust::keys::PrivateKey;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The version of `record.json` that is written here.
const VERSION: u32 = 1;
/// How old an unfinished entry must be before it is swept: no writer takes that long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What is known of a letter besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this format.
    pub version: u32,
    /// From whom, for whom.
    pub envelope: Envelope,
    /// The seal's nonce, for the letter's life.
    pub nonce: String,
    /// The selector of the key that seals.
    pub selector: String,
    /// The domain of the key that seals.
    pub domain: Domain,
    /// Octets of `letter`.
    pub size: u64,
    /// When the letter came in, Unix time in seconds.
    pub created: i64,
    /// How often it was tried.
    pub tries: u32,
    /// What the last try ended with, one line.
    pub said: Option<String>,
    /// The server that was sent the final dot and may have the letter: only it is asked again.
    pub bound: Option<String>,
    /// A server refused the letter for good; it is only tried again by its name.
    pub refused: bool,
}

impl Record {
    /// A letter that was not tried yet.
    pub fn new(envelope: Envelope, nonce: String, key: (&str, &Domain), size: u64, created: i64) -> Record {
        let (selector, domain) = (key.0.to_owned(), key.1.clone());
        let (tries, said, bound, refused) = (0, None, None, false);
        Record {
            version: VERSION,
            envelope,
            nonce,
            selector,
            domain,
            size,
            created,
            tries,
            said,
            bound,
            refused,
        }
    }
}

/// The directory of entries.
pub struct Outbox {
    root: PathBuf,
}

/// A letter in the outbox that this process holds: nobody else submits it meanwhile.
#[derive(Debug)]
pub struct Entry {
    root: PathBuf,
    /// The entry's name.
    pub id: String,
    /// What is known of it.
    pub record: Record,
    /// The signed bytes.
    pub letter: Vec<u8>,
    _lock: File,
}

/// What came of taking hold of an entry.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Entry(Box<Entry>),
    /// Another process is at it, or it is gone.
    Busy,
    /// It could not be understood and was set aside under this name, for this reason.
    Damaged(PathBuf, String),
}

impl Outbox {
    /// The outbox at `root`, which is made on first use.
    pub fn at(root: &Path) -> Outbox {
        Outbox { root: root.to_owned() }
    }

    /// Puts a letter in, durably, and holds it.
    pub fn store(&self, record: Record, letter: Vec<u8>) -> Result<Entry, Failure> {
        make_root(&self.root).map_err(|error| {
            let text = format!("cannot make the outbox {}: {error}", self.root.display());
            Failure::new(Exit::CantCreat, text)
        })?;
        let id = format!("{}-{}", record.created, record.nonce.get(..12).unwrap_or(&record.nonce));
        let staged = self.root.join(format!(".new-{id}"));
        let stored = self.commit(&staged, &id, record, letter);
        stored.map_err(|error| {
            // Also one that has its name already: the caller is told that it is not kept, and may send it again.
            let kept = match withdraw(&self.root, &id) {
                Ok(()) => "nothing was sent",
                Err(_) => "it may be there all the same: see pillarbox outbox list",
            };
            let _ = std::fs::remove_dir_all(&staged);
            let text = format!("cannot write to the outbox {}: {error}; {kept}", self.root.display());
            Failure::new(Exit::IoErr, text)
        })
    }

    fn commit(&self, staged: &Path, id: &str, record: Record, letter: Vec<u8>) -> io::Result<Entry> {
        DirBuilder::new().mode(0o700).create(staged)?;
        let lock = private().create_new(true).open(staged.join("lock"))?;
        lock.try_lock()?;
        write_file(&staged.join("letter"), &letter)?;
        write_file(&staged.join("record.json"), &serde_json::to_vec_pretty(&record)?)?;
        sync_dir(staged)?;
        renameat_with(CWD, staged, CWD, self.root.join(id), RenameFlags::NOREPLACE)?;
        sync_dir(&self.root)?;
        Ok(Entry { root: self.root.clone(), id: id.to_owned(), record, letter, _lock: lock })
    }

    /// The names of all entries, oldest first; those that were set aside included.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            ids.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        ids.sort();
        Ok(ids)
    }

    /// What is known of an entry, without holding it; `None` when it is gone.
    pub fn look(&self, id: &str) -> io::Result<Option<Record>> {
        let dir = self.root.join(id);
        match std::fs::read(dir.join("record.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => match dir.try_exists()? {
                true => Err(damaged("record.json is not there")),
                false => Ok(None),
            },
            read => Ok(Some(understand(&read?)?)),
        }
    }

    /// Takes hold of an entry.
    pub fn take(&self, id: &str) -> io::Result<Taken> {
        let dir = self.root.join(id);
        if !dir.try_exists()? {
            return Ok(Taken::Busy);
        }
        // An entry that lost its lock file is still a letter.
        let opened = private().create(true).truncate(false).open(dir.join("lock"));
        let lock = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Taken::Busy),
            opened => opened?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(Taken::Busy),
            locked => locked?,
        }
        // Who held the lock before may have removed the entry while we waited for it.
        if !dir.try_exists()? {
            return Ok(Taken::Busy);
        }
        let read = self.look(id).and_then(|record| {
            let record = record.ok_or(ErrorKind::NotFound)?;
            let letter = std::fs::read(dir.join("letter")).map_err(|error| match error.kind() {
                ErrorKind::NotFound => damaged("letter is not there"),
                _ => error,
            })?;
            if letter.len() as u64 != record.size {
                return Err(damaged(&format!("letter has {} octets, not {}", letter.len(), record.size)));
            }
            Ok((record, letter))
        });
        match read {
            Ok((record, letter)) => {
                let entry = Entry { root: self.root.clone(), id: id.to_owned(), record, letter, _lock: lock };
                Ok(Taken::Entry(Box::new(entry)))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let aside = self.root.join(format!("{id}.damaged"));
                renameat_with(CWD, &dir, CWD, &aside, RenameFlags::NOREPLACE)?;
                sync_dir(&self.root)?;
                Ok(Taken::Damaged(aside, error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what crashes left behind.
    pub fn sweep(&self, now: SystemTime) {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
            let is_old = age.is_some_and(|age| age > ABANDONED);
            if name.starts_with(".gone-") || (name.starts_with(".new-") && is_old) {
                let dir = entry.path();
                let lock = File::open(dir.join("lock"));
                if lock.is_err() || lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                    let _ = std::fs::remove_dir_all(dir);
                }
            }
        }
    }
}

impl Entry {
    /// Writes the record down, durably.
    pub fn save(&self) -> Result<(), Failure> {
        self.write(&self.record).map_err(|error| self.failed(&error))
    }

    /// One try. The record in hand stays what it is: what comes of the try is the caller's to write down.
    pub fn submit(&self, submitter: &mut Submitter, key: &PrivateKey, told: &mut dyn Write) -> Verdict {
        let bind =
            |server: &str| self.write(&Record { bound: Some(server.to_owned()), ..self.record.clone() });
        let letter = Letter { record: &self.record, bytes: &self.letter, key, bind: &bind };
        submitter.submit(&letter, told)
    }

    /// Takes the letter out of the outbox, durably.
    pub fn remove(self) -> Result<(), Failure> {
        withdraw(&self.root, &self.id).map_err(|error| self.failed(&error))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let dir = self.root.join(&self.id);
        let new = dir.join("record.json.new");
        write_file(&new, &serde_json::to_vec_pretty(record)?)?;
        std::fs::rename(&new, dir.join("record.json"))?;
        sync_dir(&dir)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let dir = self.root.join(&self.id);
        Failure::new(Exit::IoErr, format!("cannot write to {}: {error}", dir.display()))
    }
}

/// Takes an entry out in one step. Where there is none, it is out.
fn withdraw(root: &Path, id: &str) -> io::Result<()> {
    let gone = root.join(format!(".gone-{id}"));
    match std::fs::rename(root.join(id), &gone) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    sync_dir(root)?;
    // Whatever fails from here on is swept later.
    let _ = std::fs::remove_dir_all(&gone);
    Ok(())
}

fn understand(json: &[u8]) -> io::Result<Record> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |error: serde_json::Error| damaged(&format!("record.json: {error}"));
    let found = serde_json::from_slice::<Version>(json).map_err(wrong)?.version;
    if found != VERSION {
        let text = format!("record.json has version {found}: another pillarbox wrote it, which must send it");
        return Err(io::Error::new(ErrorKind::Unsupported, text));
    }
    serde_json::from_slice(json).map_err(wrong)
}

/// `InvalidData` is what sets an entry aside; every other fault may pass.
fn damaged(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text.to_owned())
}

fn make_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    root.parent().map_or(Ok(()), sync_dir)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
