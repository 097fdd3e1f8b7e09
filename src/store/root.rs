//! The identity of MAIL_ROOT: an unmounted disk must never become "no such user".
//!
//! What `state_dir/mail_root` remembers, and why. Device numbers change from boot to boot, inodes and file system ids
//! are the same on a copy or on a fresh disk made alike, so the first choice is a random mark of our own: the file
//! `.pillarbox-root` in MAIL_ROOT, made when a domain is first seen there. It survives reboots, a restored backup and a
//! move to a larger disk, and the empty directory below a missing mount does not have it. Where the server may not
//! write to MAIL_ROOT, inode and file system id have to do; the same two forgive a mark that somebody removed from the
//! right directory.

use super::tree::DirId;
use super::{StoreError, durable, names};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The mark in MAIL_ROOT.
const MARK: &str = ".pillarbox-root";
/// The memory of it in `state_dir`.
const RECORD: &str = "mail_root";
/// The record's first line.
const VERSION: &str = "pillarbox mail_root 1";

/// MAIL_ROOT as it was found and approved.
#[derive(Debug)]
pub(super) struct Root {
    /// For look-ups only.
    pub handle: OwnedFd,
    /// Device and inode while it is mounted.
    pub id: DirId,
}

/// Watches whether the path MAIL_ROOT still leads to the approved directory.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    state_path: PathBuf,
    /// None: `state_dir` is not there, and this is a look.
    state: Option<OwnedFd>,
    /// Whether nothing may be written.
    look: bool,
    approved: Mutex<Option<Arc<Root>>>,
}

impl Watch {
    /// Nothing is approved yet; `state` is the handle of `state_path`.
    pub(super) fn new(path: &Path, state_path: &Path, state: OwnedFd) -> Watch {
        Watch { look: false, ..Watch::look(path, state_path, Some(state)) }
    }

    /// The same for a look: nothing is remembered that was not before.
    pub(super) fn look(path: &Path, state_path: &Path, state: Option<OwnedFd>) -> Watch {
        let (path, state_path) = (path.to_owned(), state_path.to_owned());
        Watch { path, state_path, state, look: true, approved: Mutex::new(None) }
    }

    /// The handle of `state_dir`; an error where a look found none.
    pub(super) fn state(&self) -> Result<&OwnedFd, StoreError> {
        self.state.as_ref().ok_or_else(|| {
            let context = format!("state_dir {}: opening it", self.state_path.display());
            StoreError::io(context, io::ErrorKind::NotFound.into())
        })
    }

    /// Whether nothing may be written.
    pub(super) fn is_look(&self) -> bool {
        self.look
    }

    /// The approved root. One `stat` of the path notices that something was mounted or unmounted there; then the
    /// identity is judged anew.
    pub(super) fn root(&self) -> Result<Arc<Root>, StoreError> {
        let mut approved = self.approved.lock().unwrap_or_else(PoisonError::into_inner);
        let now = rustix::fs::stat(&self.path).map_err(|errno| self.missing(errno))?;
        if let Some(root) = approved.as_ref().filter(|root| root.id == DirId::of(&now)) {
            return Ok(root.clone());
        }
        let root = Arc::new(self.open()?);
        self.approve(&root)?;
        *approved = Some(root.clone());
        Ok(root)
    }

    /// The root for a change by the administrator: it may be without any domain, but it may not be another one than
    /// the remembered one.
    pub(super) fn root_for_change(&self) -> Result<Root, StoreError> {
        let root = self.open()?;
        if let Some(record) = self.remembered()? {
            self.recognize(&root, &record)?;
        }
        Ok(root)
    }

    /// What to say where MAIL_ROOT holds no domain.
    pub(super) fn no_domain(&self) -> StoreError {
        StoreError::WrongRoot(format!(
            "{} holds no domain: is its disk mounted? If this is a new server, make the first address: \
             `pillarbox address add me@example.org`",
            self.path.display()
        ))
    }

    fn open(&self) -> Result<Root, StoreError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle =
            rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|errno| self.missing(errno))?;
        let stat = rustix::fs::fstat(&handle).map_err(|errno| self.fault("looking at it", errno.into()))?;
        Ok(Root { handle, id: DirId::of(&stat) })
    }

    fn approve(&self, root: &Root) -> Result<(), StoreError> {
        if !holds_domain(&root.handle).map_err(|errno| self.fault("reading it", errno.into()))? {
            return Err(self.no_domain());
        }
        let Some(record) = self.remembered()? else {
            return if self.look { Ok(()) } else { self.remember(root) };
        };
        if self.look {
            return self.recognize(root, &record).map(|_| ());
        }
        // A root that could not be marked, or lost its mark, is marked as soon as that is possible.
        if self.recognize(root, &record)? || self.mark(root)?.is_none() {
            return Ok(());
        }
        self.remember(root)
    }

    /// Whether the root is the remembered one, by its mark (true) or, without one, by inode and file system (false).
    fn recognize(&self, root: &Root, record: &Record) -> Result<bool, StoreError> {
        let there = Record { mark: self.read_mark(root)?, ..self.describe(root)? };
        match (&there.mark, &record.mark) {
            (Some(there), Some(remembered)) if there == remembered => Ok(true),
            (None, _) | (Some(_), None) if there.place() == record.place() => Ok(false),
            _ => Err(StoreError::WrongRoot(format!(
                "{path} is not the directory that {record} remembers: is its disk mounted? If the mail was really \
                 moved, remove {record}, and the next look-up remembers the new place",
                path = self.path.display(),
                record = self.state_path.join(RECORD).display(),
            ))),
        }
    }

    fn describe(&self, root: &Root) -> Result<Record, StoreError> {
        let system = rustix::fs::fstatvfs(&root.handle)
            .map_err(|errno| self.fault("asking for its file system", errno.into()))?;
        Ok(Record { mark: None, inode: root.id.inode, file_system: system.f_fsid })
    }

    fn remember(&self, root: &Root) -> Result<(), StoreError> {
        let record = Record { mark: self.mark(root)?, ..self.describe(root)? };
        let mode = Mode::from_raw_mode(0o644);
        durable::write_file(self.state()?, RECORD, record.to_text().as_bytes(), mode, true).map_err(|error| {
            StoreError::io(
                format!("{}: remembering MAIL_ROOT", self.state_path.join(RECORD).display()),
                error,
            )
        })
    }

    /// The mark of this root, made if it is missing; `None` where we may not write.
    fn mark(&self, root: &Root) -> Result<Option<String>, StoreError> {
        if let Some(mark) = self.read_mark(root)? {
            return Ok(Some(mark));
        }
        let fault = |error| self.fault("marking it", error);
        let mark = durable::random_hex().map_err(fault)?;
        let mode = Mode::from_raw_mode(0o444);
        match durable::write_file(&root.handle, MARK, format!("{mark}\n").as_bytes(), mode, false) {
            Ok(()) => Ok(Some(mark)),
            // Another process was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.read_mark(root),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(fault(error)),
        }
    }

    fn read_mark(&self, root: &Root) -> Result<Option<String>, StoreError> {
        let text = read_small(&root.handle, MARK)
            .map_err(|error| self.fault("reading its mark .pillarbox-root", error))?;
        Ok(text.map(|text| text.trim().to_owned()).filter(|mark| !mark.is_empty()))
    }

    fn remembered(&self) -> Result<Option<Record>, StoreError> {
        let context = || format!("{}: reading it", self.state_path.join(RECORD).display());
        let Some(state) = &self.state else { return Ok(None) };
        let text = read_small(state, RECORD).map_err(|error| StoreError::io(context(), error))?;
        text.map(|text| Record::parse(&text).ok_or(text)).transpose().map_err(|_| {
            let cause = "it is not what pillarbox wrote; if MAIL_ROOT is mounted and right, remove this file";
            StoreError::io(context(), io::Error::new(io::ErrorKind::InvalidData, cause))
        })
    }

    fn missing(&self, errno: Errno) -> StoreError {
        match errno {
            Errno::NOENT | Errno::NOTDIR => StoreError::WrongRoot(format!(
                "{} is not there: mount its disk, or set mail_root",
                self.path.display()
            )),
            errno => self.fault("opening it", errno.into()),
        }
    }

    fn fault(&self, doing: &str, error: io::Error) -> StoreError {
        StoreError::io(format!("MAIL_ROOT {}: {doing}", self.path.display()), error)
    }
}

/// Whether there is a directory, or a link, that has a domain's name.
fn holds_domain(root: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(durable::entries(root)?.iter().any(|entry| {
        matches!(entry.kind, FileType::Directory | FileType::Symlink)
            && std::str::from_utf8(&entry.name).is_ok_and(names::is_domain)
    }))
}

/// What is remembered of a root.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    mark: Option<String>,
    inode: u64,
    file_system: u64,
}

impl Record {
    fn place(&self) -> (u64, u64) {
        (self.inode, self.file_system)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{VERSION}\n");
        if let Some(mark) = &self.mark {
            let _ = writeln!(text, "mark {mark}");
        }
        let _ = writeln!(text, "inode {}\nfile-system {:016x}", self.inode, self.file_system);
        text
    }

    fn parse(text: &str) -> Option<Record> {
        let mut lines = text.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let field = |name| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Some(Record {
            mark: field("mark").map(str::to_owned),
            inode: field("inode")?.parse().ok()?,
            file_system: u64::from_str_radix(field("file-system")?, 16).ok()?,
        })
    }
}

/// A small text file; `None` if there is none.
fn read_small(directory: &OwnedFd, name: &str) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut text = String::new();
    std::fs::File::from(handle).take(4096).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests;
