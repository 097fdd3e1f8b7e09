//! The directories below `state_dir`, and the order of steps that makes each change one change.

use super::format::{self, FormatError};
use super::{Entry, EntryId, NewEntry, Once};
use crate::store::{StoreError, letter::Spill};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An entry of one letter is far below this; what is longer is no envelope and no state.
const MAX_FILE: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    incoming: Folder,
    queue: Folder,
    done: Folder,
    corrupt: Folder,
    /// Held, by `flock`, as long as the queue is open.
    _lock: File,
}

/// What is found under an entry's name.
#[derive(Debug)]
pub(super) enum Found {
    Entry(Box<Entry>),
    Nothing,
    Damaged {
        why: String,
        /// The marks, where at least the envelope can be read.
        once: Option<Box<Once>>,
    },
}

/// A commit that failed; it may show all the same after a restart, if the fault came behind the rename.
#[derive(Debug)]
pub(super) struct CommitFault {
    pub(super) error: StoreError,
    pub(super) maybe_committed: bool,
}

impl Disk {
    pub(super) fn open(state_dir: &Path) -> Result<Disk, StoreError> {
        make_dir(state_dir)?;
        let lock = take_lock(&state_dir.join("lock"))?;
        let disk = Disk {
            incoming: Folder::open(state_dir.join("incoming"))?,
            queue: Folder::open(state_dir.join("queue"))?,
            done: Folder::open(state_dir.join("done"))?,
            corrupt: Folder::open(state_dir.join("corrupt"))?,
            _lock: lock,
        };
        // The directories themselves must be durable before anything in them is said to be. The parent may belong to
        // somebody else, who made state_dir for us.
        sync_path(state_dir)?;
        if let Some(parent) = state_dir.parent() {
            let _ = sync_path(parent);
        }
        // Nobody was told that these letters are ours.
        disk.incoming.clear()?;
        Ok(disk)
    }

    /// The one commit point is the rename, made durable by the fsync of both parents.
    pub(super) fn commit(&self, new: &NewEntry, head: &[u8], body: &Spill) -> Result<EntryId, CommitFault> {
        let before = |error| CommitFault { error, maybe_committed: false };
        let id =
            EntryId::new(new.arrived).map_err(|e| before(StoreError::io("a name for a queue entry", e)))?;
        let (from, to) = (self.incoming.path.join(&id.0), self.queue.path.join(&id.0));
        let staged = write_entry(&from, &id, new, head, body).and_then(|()| {
            rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE)
                .map_err(|errno| fault(&to, "committing a queue entry", errno.into()))
        });
        if let Err(error) = staged {
            let _ = std::fs::remove_dir_all(&from);
            return Err(before(error));
        }
        if let Err(error) = self.queue.sync().and_then(|()| self.incoming.sync()) {
            // Nobody is told 250, so it should not stay; but a disk that cannot fsync may not let it go either.
            let withdrawn = self.retire(&id).is_ok();
            self.discard(&id);
            return Err(CommitFault { error, maybe_committed: !withdrawn });
        }
        Ok(id)
    }

    pub(super) fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        ids_in(&self.queue.path)
    }

    pub(super) fn load(&self, id: &EntryId) -> Result<Found, StoreError> {
        load_from(&self.place(id)?, id)
    }

    pub(super) fn open_message(&self, id: &EntryId) -> Result<File, StoreError> {
        let path = self.place(id)?.join("message");
        File::open(&path).map_err(|error| fault(&path, "opening a queued message", error))
    }

    /// Replaces the state as a whole: a crash leaves the old one or the new one.
    pub(super) fn record(&self, entry: &Entry) -> Result<(), StoreError> {
        let place = self.place(&entry.id)?;
        let recording = |error| fault(&place, "recording the state of a queue entry", error);
        let fresh = place.join("state.new");
        let mut file = create(&fresh, true).map_err(recording)?;
        file.write_all(&format::state_file(entry)).and_then(|()| file.sync_all()).map_err(recording)?;
        std::fs::rename(&fresh, place.join("state")).map_err(recording)?;
        sync_path(&place)
    }

    /// Takes an entry out of the queue in one step. Its new place is made durable before its old one is given up: a power
    /// cut between the two must not take the marks in it along.
    pub(super) fn retire(&self, id: &EntryId) -> Result<(), StoreError> {
        let from = self.place(id)?;
        match std::fs::rename(&from, self.done.path.join(&id.0)) {
            Ok(()) => {}
            // It went before; whether that is durable is not known.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(fault(&from, "removing a queue entry", error)),
        }
        self.done.sync()?;
        self.queue.sync()
    }

    /// Removes the files of a retired entry. What stays behind is removed at the next start.
    pub(super) fn discard(&self, id: &EntryId) {
        let place = self.done.path.join(&id.0);
        match std::fs::remove_dir_all(&place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %place.display(), %error, "a finished queue entry stays until the next start");
            }
        }
    }

    /// Retired entries of which a crash left at least the envelope: their marks may not be in the log yet.
    pub(super) fn half_removed(&self) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for id in ids_in(&self.done.path)? {
            if let Some(text) = read_file(&self.done.path.join(&id.0).join("envelope"))? {
                found.extend(format::read_envelope(&id, &text).ok());
            }
        }
        Ok(found)
    }

    pub(super) fn clear_removed(&self) -> Result<(), StoreError> {
        self.done.clear()
    }

    /// Puts a damaged entry where nothing looks at it but the operator.
    pub(super) fn set_aside(&self, id: &EntryId, why: &str) -> Result<(), StoreError> {
        let from = self.place(id)?;
        let setting = |error| fault(&from, "setting a damaged queue entry aside", error);
        let mut to = self.corrupt.path.join(&id.0);
        if to.exists() {
            let again = EntryId::new(id.arrived()).map_err(setting)?;
            to = self.corrupt.path.join(format!("{id}.{again}"));
        }
        rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE)
            .map_err(|errno| setting(errno.into()))?;
        self.corrupt.sync()?;
        self.queue.sync()?;
        tracing::error!(%id, why, kept = %to.display(), "a damaged queue entry was set aside: look at it, \
            send its message again by hand if it is whole, then remove it");
        Ok(())
    }

    fn place(&self, id: &EntryId) -> Result<PathBuf, StoreError> {
        match EntryId::parse(&id.0) {
            Some(_) => Ok(self.queue.path.join(&id.0)),
            None => Err(StoreError::Unsafe(format!("{:?} is no name of a queue entry", id.0))),
        }
    }
}

/// A directory whose handle is held for its fsync.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    fn open(path: PathBuf) -> Result<Folder, StoreError> {
        make_dir(&path)?;
        let handle = File::open(&path).map_err(|error| fault(&path, "opening a directory", error))?;
        Ok(Folder { path, handle })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.handle.sync_all().map_err(|error| fault(&self.path, "making a directory durable", error))
    }

    fn clear(&self) -> Result<(), StoreError> {
        let clearing = |error| fault(&self.path, "removing leftovers", error);
        for item in std::fs::read_dir(&self.path).map_err(clearing)? {
            let item = item.map_err(clearing)?;
            match item.file_type().map_err(clearing)?.is_dir() {
                true => std::fs::remove_dir_all(item.path()).map_err(clearing)?,
                false => std::fs::remove_file(item.path()).map_err(clearing)?,
            }
        }
        Ok(())
    }
}

/// Reads the entry in this directory.
pub(super) fn load_from(place: &Path, id: &EntryId) -> Result<Found, StoreError> {
    let mut entry = match read_file(&place.join("envelope"))? {
        Some(text) => match format::read_envelope(id, &text) {
            Ok(entry) => entry,
            Err(error) => return unusable(place, "envelope", error, None),
        },
        None if !place.exists() => return Ok(Found::Nothing),
        None => return Ok(Found::Damaged { why: "it has no envelope".into(), once: None }),
    };
    let once = || entry.once.clone().map(Box::new);
    match std::fs::metadata(place.join("message")) {
        Ok(message) if message.len() == entry.size => {}
        Ok(message) => {
            let why = format!("its message has {} octets, not {}", message.len(), entry.size);
            return Ok(Found::Damaged { why, once: once() });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Found::Damaged { why: "it has no message".into(), once: once() });
        }
        Err(error) => return Err(fault(place, "looking at a queued message", error)),
    }
    if let Some(text) = read_file(&place.join("state"))?
        && let Err(error) = format::read_state(&mut entry, &text)
    {
        return unusable(place, "state", error, entry.once.map(Box::new));
    }
    Ok(Found::Entry(Box::new(entry)))
}

/// The entries' names in a directory, oldest first.
pub(super) fn ids_in(path: &Path) -> Result<Vec<EntryId>, StoreError> {
    let reading = |error| fault(path, "listing entries", error);
    let mut ids = Vec::new();
    for item in std::fs::read_dir(path).map_err(reading)? {
        let name = item.map_err(reading)?.file_name();
        match name.to_str().and_then(EntryId::parse) {
            Some(id) => ids.push(id),
            None => tracing::warn!(?name, directory = %path.display(), "no queue entry; it is left alone"),
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn write_entry(
    place: &Path,
    id: &EntryId,
    new: &NewEntry,
    head: &[u8],
    body: &Spill,
) -> Result<(), StoreError> {
    let writing = |error| fault(place, "writing a queue entry", error);
    DirBuilder::new().mode(0o700).create(place).map_err(writing)?;
    let file = create(&place.join("message"), false).map_err(writing)?;
    let mut out = Counted { out: BufWriter::with_capacity(64 << 10, file), size: 0, eight_bit: false };
    out.write_all(&new.received)
        .and_then(|()| out.write_all(head))
        .and_then(|()| body.copy_to(&mut out))
        .and_then(|()| out.flush())
        .and_then(|()| out.out.get_ref().sync_all())
        .map_err(writing)?;
    let mut envelope = create(&place.join("envelope"), false).map_err(writing)?;
    envelope
        .write_all(&format::envelope_file(id, new, out.size, out.eight_bit))
        .and_then(|()| envelope.sync_all())
        .and_then(|()| File::open(place)?.sync_all())
        .map_err(writing)
}

/// Learns on the way what the relay must tell the next host.
struct Counted<W> {
    out: W,
    size: u64,
    eight_bit: bool,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        let written = bytes.get(..count).unwrap_or(bytes);
        self.size += written.len() as u64;
        self.eight_bit |= !written.is_ascii();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn unusable(
    place: &Path,
    file: &str,
    error: FormatError,
    once: Option<Box<Once>>,
) -> Result<Found, StoreError> {
    match error {
        FormatError::Damaged(why) => Ok(Found::Damaged { why: format!("{file}: {why}"), once }),
        FormatError::Newer(version) => Err(StoreError::Unsafe(format!(
            "{}/{file} has version {version} of the format: it was written by a later pillarbox; run that one",
            place.display()
        ))),
    }
}

/// None where there is no such file.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    use io::Read;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, "reading", error)),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).map_err(|error| fault(path, "reading", error))?;
    Ok(Some(text))
}

/// One server per `state_dir`: two would deliver every letter twice.
fn take_lock(path: &Path) -> Result<File, StoreError> {
    let file = create(path, true).map_err(|error| fault(path, "opening the lock", error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Unsafe(format!(
            "{}: another pillarbox has this state directory open; stop it, or give this one its own state_dir",
            path.display()
        ))),
        Err(errno) => Err(fault(path, "locking", errno.into())),
    }
}

pub(super) fn create(path: &Path, may_exist: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match may_exist {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options.open(path)
}

fn sync_path(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| fault(path, "making a directory durable", error))
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| fault(path, "making a directory", error))
}

pub(super) fn fault(path: &Path, what: &str, error: io::Error) -> StoreError {
    StoreError::io(format!("{}: {what}", path.display()), error)
}
