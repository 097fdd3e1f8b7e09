//! The order of steps that makes each change below `state_dir` one change.

use super::format;
use super::group::Group;
use super::place::{DRAFT, Listing, Place, fault, list};
use super::{Entry, EntryId, NewEntry};
use crate::store::{StoreError, letter::Spill};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directories, and the right to change what is in them.
#[derive(Debug)]
pub(super) struct Disk {
    place: Place,
    queue: Folder,
    state: Folder,
    corrupt: Folder,
    /// Held, by `flock`, as long as the queue is open.
    _lock: File,
}

/// A commit that failed; it may show all the same after a restart, if the fault came behind the rename.
#[derive(Debug)]
pub(super) struct CommitFault {
    pub(super) error: StoreError,
    pub(super) maybe_committed: bool,
}

impl Deref for Disk {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Disk {
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn open(state_dir: &Path) -> Result<Disk, StoreError> {
        make_dir(state_dir)?;
        let lock = take_lock(&state_dir.join("lock"))?;
        let place = Place::below(state_dir);
        let disk = Disk {
            queue: Folder::open(&place.queue)?,
            state: Folder::open(&place.state)?,
            corrupt: Folder::open(&place.corrupt)?,
            place,
            _lock: lock,
        };
        // The directories themselves must be durable before anything in them is said to be. The parent may belong to
        // somebody else, who made state_dir for us.
        sync_path(state_dir)?;
        if let Some(parent) = state_dir.parent() {
            let _ = sync_path(parent);
        }
        Ok(disk)
    }

    /// The one commit point is the rename, made durable by the fsync of the directory.
    pub(super) fn commit(&self, new: &NewEntry, head: &[u8], body: &Spill) -> Result<EntryId, CommitFault> {
        let before = |error| CommitFault { error, maybe_committed: false };
        let id =
            EntryId::new(new.arrived).map_err(|e| before(StoreError::io("a name for a queue entry", e)))?;
        let (from, to) = (draft(&self.place.queue, id), self.entry(id));
        let staged = write_entry(&from, id, new, head, body)
            .and_then(|()| {
                rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).map_err(Into::into)
            })
            .map_err(|error| fault(&to, "committing a queue entry", error));
        if let Err(error) = staged {
            let _ = std::fs::remove_file(&from);
            return Err(before(error));
        }
        self.queue.sync().map_err(|error| {
            // Nobody is told 250, so it should not stay; but a disk that cannot fsync may not let it go either.
            let withdrawn = std::fs::remove_file(&to).is_ok() && self.queue.sync().is_ok();
            CommitFault { error, maybe_committed: !withdrawn }
        })?;
        Ok(id)
    }

    /// Replaces the state as a whole: a crash leaves the old one or the new one.
    pub(super) fn record(&self, entry: &Entry) -> Result<(), StoreError> {
        let (from, to) = (draft(&self.place.state, entry.id), self.place.state(entry.id));
        let written = create(&from, true)
            .and_then(|mut file| file.write_all(&format::state_file(entry)).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&from, &to));
        written.map_err(|error| fault(&to, "recording the state of a queue entry", error))?;
        self.state.sync()
    }

    /// Makes durable what was removed.
    pub(super) fn sync_queue(&self) -> Result<(), StoreError> {
        self.queue.sync()
    }

    /// The entries in the order of the disk. Drafts are removed: nobody was told that these letters are ours.
    pub(super) fn sweep_queue(&self) -> Result<Vec<EntryId>, StoreError> {
        sweep(&self.place.queue).map(|listing| listing.ids)
    }

    /// Removes states that were not finished, and those whose entry is not `there`. That of an entry which was set aside
    /// goes where it is.
    pub(super) fn sweep_states(&self, there: impl Fn(EntryId) -> bool) -> Result<(), StoreError> {
        for id in sweep(&self.place.state)?.ids.into_iter().filter(|id| !there(*id)) {
            let path = self.place.state(id);
            let aside = self.place.corrupt.join(id.to_string());
            match aside.exists() {
                true => self.move_state(id, &aside)?,
                false => std::fs::remove_file(&path)
                    .map_err(|error| fault(&path, "removing the state of nothing", error))?,
            }
        }
        Ok(())
    }

    /// Puts a damaged entry where nothing looks at it but the operator. Its state goes behind it: a crash between the
    /// two must not leave it in the queue as one that nobody was tried for.
    pub(super) fn set_aside(&self, id: EntryId, why: &str) -> Result<(), StoreError> {
        let from = self.entry(id);
        let setting = |error| fault(&from, "setting a damaged queue entry aside", error);
        let mut to = self.place.corrupt.join(id.to_string());
        if to.exists() {
            to = self.place.corrupt.join(format!("{id}.{}", EntryId::new(id.arrived()).map_err(setting)?));
        }
        rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE)
            .map_err(|errno| setting(errno.into()))?;
        self.corrupt.sync()?;
        self.queue.sync()?;
        self.move_state(id, &to)?;
        tracing::error!(%id, why, kept = %to.display(), "a damaged queue entry was set aside: look at it, \
            send its message again by hand if it is whole, then remove it");
        Ok(())
    }

    fn move_state(&self, id: EntryId, aside: &Path) -> Result<(), StoreError> {
        let from = self.place.state(id);
        let mut to = aside.as_os_str().to_owned();
        to.push(".state");
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(fault(&from, "setting the state of a damaged queue entry aside", error))
            }
            _ => Ok(()),
        }
    }
}

/// A directory whose handle is held for its fsync, which many may wait for at once.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    handle: File,
    waiting: Group<()>,
}

impl Folder {
    fn open(path: &Path) -> Result<Folder, StoreError> {
        make_dir(path)?;
        let handle = File::open(path).map_err(|error| fault(path, "opening a directory", error))?;
        Ok(Folder { path: path.to_owned(), handle, waiting: Group::default() })
    }

    /// What was changed before this call is durable when it returns.
    fn sync(&self) -> Result<(), StoreError> {
        self.waiting
            .join(|()| (), |()| self.handle.sync_all())
            .map_err(|error| fault(&self.path, "making a directory durable", error))
    }
}

fn draft(directory: &Path, id: EntryId) -> PathBuf {
    directory.join(format!("{id}{DRAFT}"))
}

fn sweep(directory: &Path) -> Result<Listing, StoreError> {
    let listing = list(directory)?;
    for id in &listing.drafts {
        let path = draft(directory, *id);
        std::fs::remove_file(&path).map_err(|error| fault(&path, "removing leftovers", error))?;
    }
    Ok(listing)
}

/// The first line is written last: what was not written to its end is no entry.
fn write_entry(path: &Path, id: EntryId, new: &NewEntry, head: &[u8], body: &Spill) -> io::Result<()> {
    let envelope = format::envelope_line(id, new);
    if envelope.len() > format::MAX_ENVELOPE {
        return Err(io::Error::new(ErrorKind::InvalidInput, "its envelope is too long"));
    }
    let mut file = BufWriter::with_capacity(64 << 10, create(path, false)?);
    file.write_all(&[0; format::HEADER])?;
    file.write_all(&envelope)?;
    let mut message = Counted { out: file, size: 0, eight_bit: false };
    message.write_all(&new.received)?;
    message.write_all(head)?;
    body.copy_to(&mut message)?;
    message.flush()?;
    let file = message.out.get_ref();
    file.write_all_at(&format::header_line(&envelope, message.size, message.eight_bit), 0)?;
    file.sync_all()
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
