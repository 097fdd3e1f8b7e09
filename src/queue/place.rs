//! Where the queue's files lie, and what needs no order of steps: reading them, for the one process that has the queue open
//! and for those who only look, and removing what is finished.

use super::format::{self, FormatError, Header};
use super::{Entry, EntryId, Once};
use crate::store::StoreError;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::path::{Path, PathBuf};

/// What is longer is no state.
const MAX_STATE: u64 = 64 << 20;
/// Octets that the first two lines of most entries fit into.
const FIRST_READ: usize = 4 << 10;
/// What the name of a file ends with while it is written.
pub(super) const DRAFT: &str = ".new";

/// The directories below `state_dir`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) queue: PathBuf,
    pub(super) state: PathBuf,
    pub(super) corrupt: PathBuf,
}

/// What is found under an entry's name.
#[derive(Debug)]
pub(super) enum Found {
    Entry(Box<Entry>),
    Nothing,
    Damaged {
        why: String,
        /// The marks, where at least they can be read.
        once: Option<Box<Once>>,
    },
}

/// What lies in a directory, in the order of the inodes, which is that of the disk.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) ids: Vec<EntryId>,
    /// Files that were still being written.
    pub(super) drafts: Vec<EntryId>,
}

impl Place {
    pub(super) fn below(state_dir: &Path) -> Place {
        let [queue, state, corrupt] = ["queue", "state", "corrupt"].map(|name| state_dir.join(name));
        Place { queue, state, corrupt }
    }

    /// The file of an entry.
    pub(super) fn entry(&self, id: EntryId) -> PathBuf {
        self.queue.join(id.to_string())
    }

    /// The file of its state.
    pub(super) fn state(&self, id: EntryId) -> PathBuf {
        self.state.join(id.to_string())
    }

    /// The entries' names, oldest first.
    pub(super) fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        let mut ids = list(&self.queue)?.ids;
        ids.sort_unstable();
        Ok(ids)
    }

    /// An entry and its state.
    pub(super) fn load(&self, id: EntryId) -> Result<Found, StoreError> {
        let path = self.entry(id);
        let reading = |error| fault(&path, "reading a queue entry", error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(reading(error)),
        };
        let text = read_lines(&file).map_err(reading)?;
        let length = file.metadata().map_err(reading)?.len();
        let mut entry = match format::read_entry(id, &text, length) {
            Ok(entry) => entry,
            Err(error) => return unusable(&path, error, format::salvage(&text)),
        };
        let path = self.state(id);
        match read_state(&path)?.map(|text| format::read_state(&mut entry, &text)) {
            None | Some(Ok(())) => Ok(Found::Entry(Box::new(entry))),
            Some(Err(error)) => unusable(&path, error, entry.once),
        }
    }

    /// Removes the files of an entry that the log says is finished: the letter first, since a letter without a state
    /// is one that nobody was tried for. Nothing is made durable: what comes back is removed at the next start.
    pub(super) fn remove(&self, id: EntryId) -> Result<(), StoreError> {
        for path in [self.entry(id), self.state(id)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(fault(&path, "removing a finished queue entry", error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The message of an entry: the rest of the file that comes back.
    pub(super) fn open_message(&self, id: EntryId) -> Result<File, StoreError> {
        let path = self.entry(id);
        let opening = |error| fault(&path, "opening a queued message", error);
        let mut file = File::open(&path).map_err(opening)?;
        let mut first = Vec::with_capacity(format::HEADER);
        (&file).take(format::HEADER as u64).read_to_end(&mut first).map_err(opening)?;
        let at = match Header::read(&first) {
            Ok(header) => header.message_at() as u64,
            Err(FormatError::Damaged(why)) => {
                return Err(opening(io::Error::new(ErrorKind::InvalidData, why)));
            }
            Err(FormatError::Newer(version)) => return Err(newer(&path, version)),
        };
        file.seek(SeekFrom::Start(at)).map_err(opening)?;
        Ok(file)
    }
}

/// The entries' names in a directory.
pub(super) fn list(path: &Path) -> Result<Listing, StoreError> {
    let reading = |error| fault(path, "listing entries", error);
    let (mut ids, mut drafts) = (Vec::new(), Vec::new());
    for item in std::fs::read_dir(path).map_err(reading)? {
        let item = item.map_err(reading)?;
        let name = item.file_name();
        let text = name.to_str().unwrap_or_default();
        if let Some(id) = EntryId::parse(text) {
            ids.push((item.ino(), id));
        } else if let Some(id) = text.strip_suffix(DRAFT).and_then(EntryId::parse) {
            drafts.push(id);
        } else {
            tracing::warn!(?name, directory = %path.display(), "no queue entry; it is left alone");
        }
    }
    ids.sort_unstable();
    Ok(Listing { ids: ids.into_iter().map(|(_, id)| id).collect(), drafts })
}

/// The first two lines of an entry at least, if they are there.
fn read_lines(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    read_up_to(file, &mut text, FIRST_READ)?;
    match Header::read(&text) {
        Ok(header) if header.message_at() > text.len() => {
            read_up_to(file, &mut text, header.message_at())?;
        }
        _ => {}
    }
    Ok(text)
}

/// Reads on until there are so many octets, or the file is over.
fn read_up_to(file: &File, text: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
    let mut at = text.len();
    text.resize(wanted, 0);
    while let Some(rest) = text.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at as u64) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(at);
    Ok(())
}

/// None where nobody was tried yet.
fn read_state(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let reading = |error| fault(path, "reading the state of a queue entry", error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_STATE).read_to_end(&mut text).map_err(reading)?;
    Ok(Some(text))
}

fn unusable(path: &Path, error: FormatError, once: Option<Once>) -> Result<Found, StoreError> {
    match error {
        FormatError::Damaged(why) => Ok(Found::Damaged { why, once: once.map(Box::new) }),
        FormatError::Newer(version) => Err(newer(path, version)),
    }
}

fn newer(path: &Path, version: u32) -> StoreError {
    StoreError::Unsafe(format!(
        "{} has version {version} of the format: it was written by a later pillarbox; run that one",
        path.display()
    ))
}

pub(super) fn fault(path: &Path, what: &str, error: io::Error) -> StoreError {
    StoreError::io(format!("{}: {what}", path.display()), error)
}
