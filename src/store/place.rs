//! One step of a look-up: from a directory that was found to one below it, and what must hold of it.

use super::names::MAILDIR;
use super::root::Root;
use super::tree::{DirId, Mailbox};
use super::{StoreError, durable};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// An address lies this deep below MAIL_ROOT.
const ADDRESS_DEPTH: usize = 2;
/// Deeper trees are not ours.
const DEEPEST: usize = 64;
/// `openat2` answers `EAGAIN` when something was renamed during a `..`.
const ATTEMPTS: usize = 32;

/// A directory below MAIL_ROOT that was found.
#[derive(Debug)]
pub(super) struct Place {
    pub handle: OwnedFd,
    pub stat: Stat,
    /// Its name from MAIL_ROOT on, as it was asked for; empty for MAIL_ROOT.
    pub path: String,
    /// The directory that it really lies in, links followed.
    pub parent: DirId,
    /// How deep it really lies, links followed.
    depth: usize,
    /// Whether it really is, or lies in, the `tmp`, `new` or `cur` of something.
    in_maildir: bool,
}

impl Place {
    /// MAIL_ROOT itself.
    pub(super) fn of_root(root: &Root) -> Result<Place, StoreError> {
        let fault = |errno: Errno| StoreError::io("MAIL_ROOT: looking at it", errno.into());
        let handle =
            root.handle.try_clone().map_err(|error| StoreError::io("MAIL_ROOT: holding it", error))?;
        let stat = rustix::fs::fstat(&handle).map_err(fault)?;
        Ok(Place { handle, parent: DirId::of(&stat), stat, path: String::new(), depth: 0, in_maildir: false })
    }

    pub(super) fn id(&self) -> DirId {
        DirId::of(&self.stat)
    }

    /// Whether letters may go here: deep enough, ours, and with no link where a Maildir has its folders.
    pub(super) fn check_is_mailbox(&self, us: u32) -> Result<(), StoreError> {
        let complaint = if self.depth < ADDRESS_DEPTH || self.in_maildir {
            "leads to a place that is no address: let the link point at an address's directory".to_owned()
        } else if !is_trusted(self.stat.st_uid, us) {
            format!("belongs to user {}, not to the server's user {us}: chown it", self.stat.st_uid)
        } else if let Some(name) = self.wrong_folder()? {
            format!(
                "its {name:?} is a link or no directory: remove it, an empty directory is made when needed"
            )
        } else {
            return Ok(());
        };
        Err(StoreError::Unsafe(format!("MAIL_ROOT/{}: {complaint}", self.path)))
    }

    /// Makes a mailbox of it, its own owner; `check_is_mailbox` comes first.
    pub(super) fn into_mailbox(self) -> Mailbox {
        let id = self.id();
        Mailbox { handle: Arc::new(self.handle), folders: Arc::default(), id, owner: id, label: self.path }
    }

    fn wrong_folder(&self) -> Result<Option<&'static str>, StoreError> {
        for name in MAILDIR {
            let stat = durable::lstat(&self.handle, name).map_err(|errno| {
                StoreError::io(format!("MAIL_ROOT/{}/{name}: looking at it", self.path), errno.into())
            })?;
            if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Whether a directory of user `owner` is safe for a server that runs as `us`.
pub(super) fn is_trusted(owner: u32, us: u32) -> bool {
    owner == 0 || owner == us
}

/// Opens `name` below `from`; `None` if there is no such directory. `name` is one checked component. The way is always
/// resolved from MAIL_ROOT, so that a link may lead from one domain to another but never out of it.
pub(super) fn open_below(root: &Root, from: &Place, name: &str) -> Result<Option<Place>, StoreError> {
    let path = if from.path.is_empty() { name.to_owned() } else { format!("{}/{name}", from.path) };
    let found = match open(root, &path, ResolveFlags::NO_SYMLINKS) {
        // No link on the way: it lies where its name says.
        Ok(handle) => Ok((handle, false)),
        Err(Errno::LOOP) => open(root, &path, ResolveFlags::empty()).map(|handle| (handle, true)),
        Err(errno) => Err(errno),
    };
    let (handle, by_link) = match found {
        Ok(found) => found,
        Err(errno) => return absent(from, &path, name, errno),
    };
    let fault = |errno: Errno| StoreError::io(format!("MAIL_ROOT/{path}: looking at it"), errno.into());
    let stat = rustix::fs::fstat(&handle).map_err(fault)?;
    let lies = if by_link {
        real_place(root, &handle).map_err(fault)?
    } else {
        Lies { parent: from.id(), depth: path.split('/').count(), in_maildir: false }
    };
    Ok(Some(Place {
        handle,
        stat,
        path,
        parent: lies.parent,
        depth: lies.depth,
        in_maildir: lies.in_maildir,
    }))
}

fn open(root: &Root, path: &str, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        answer = rustix::fs::openat2(&root.handle, path, flags, Mode::empty(), resolve);
        if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    answer
}

/// Why a directory could not be opened: it does not exist (`None`), or something is there that cannot be trusted.
fn absent(from: &Place, path: &str, name: &str, errno: Errno) -> Result<Option<Place>, StoreError> {
    let unsafe_link = |what: &str| {
        StoreError::Unsafe(format!(
            "MAIL_ROOT/{path}: {what}: make it a relative link to a directory inside the tree, or remove it"
        ))
    };
    match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let there = durable::lstat(&from.handle, name)
                .map_err(|errno| StoreError::io(format!("MAIL_ROOT/{path}: looking at it"), errno.into()))?;
            match there.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Some(FileType::Symlink) => Err(unsafe_link("a link that leads to no directory")),
                _ => Ok(None),
            }
        }
        // What the file system cannot hold is not there.
        Errno::NAMETOOLONG => Ok(None),
        Errno::XDEV => Err(unsafe_link("a link that leads out of MAIL_ROOT, or an absolute one")),
        Errno::LOOP => Err(unsafe_link("links that lead in a circle")),
        errno => Err(StoreError::io(format!("MAIL_ROOT/{path}: opening it"), errno.into())),
    }
}

/// Where a directory really lies.
struct Lies {
    parent: DirId,
    depth: usize,
    in_maildir: bool,
}

/// Finds out where a directory lies by walking up, which needs no `/proc` and no names.
fn real_place(root: &Root, handle: &OwnedFd) -> rustix::io::Result<Lies> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::io::fcntl_dupfd_cloexec(handle, 0)?;
    let mut id = DirId::of(&rustix::fs::fstat(&here)?);
    let mut lies = Lies { parent: id, depth: 0, in_maildir: false };
    while id != root.id {
        let parent = rustix::fs::openat(&here, "..", flags, Mode::empty())?;
        lies.in_maildir |= is_folder_of(&parent, id)?;
        id = DirId::of(&rustix::fs::fstat(&parent)?);
        if lies.depth == 0 {
            lies.parent = id;
        }
        lies.depth += 1;
        if lies.depth > DEEPEST {
            return Err(Errno::XDEV);
        }
        here = parent;
    }
    Ok(lies)
}

fn is_folder_of(parent: impl AsFd, id: DirId) -> rustix::io::Result<bool> {
    for name in MAILDIR {
        if durable::lstat(&parent, name)?.is_some_and(|stat| DirId::of(&stat) == id) {
            return Ok(true);
        }
    }
    Ok(false)
}
