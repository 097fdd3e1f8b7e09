//! Delivery into a Maildir: stage, commit; `Drop` aborts.

use super::names::MAILDIR;
use super::{StoreError, durable, letter::Spill, tree::Mailbox};
use rustix::fs::{Access, AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest base name we make or take: room is left for flags.
const LONGEST: usize = 200;

/// The folders that a delivery goes through.
#[derive(Debug)]
pub(super) struct Folders {
    tmp: OwnedFd,
    /// Can be fsynced.
    new: OwnedFd,
    /// What a letter's file takes from `new`: its mode, and its group where that is meant.
    mode: Mode,
    group: Option<u32>,
}

/// A letter that lies durable in `tmp/`, not yet visible. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    mailbox: Mailbox,
    /// Its name in `tmp/`: always unique, so that two deliveries of one letter never touch each other's file.
    draft: String,
    /// Its name in `new/`.
    name: String,
    /// It was delivered before: there is nothing in `tmp/`, or nothing any more.
    done: bool,
}

impl Mailbox {
    /// Whether a letter could be stored here now: permission, a read-only disk, space (`free_space` octets). Part of
    /// the answer to RCPT. Makes `tmp`, `new` and `cur` where they are missing.
    pub fn check_writable(&self, free_space: u64) -> Result<(), StoreError> {
        self.folders()?;
        for name in ["tmp", "new"] {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::accessat(&self.handle, name, access, AtFlags::EACCESS)
                .map_err(|errno| self.fault(&format!("no letter can be written to its {name}"), errno))?;
        }
        self.check_space(free_space)
    }

    /// Whether its disk has `free_space` octets left, and inodes. Part of the answer to the final dot.
    pub fn check_space(&self, free_space: u64) -> Result<(), StoreError> {
        durable::check_space(&self.handle, free_space)
            .map_err(|errno| self.fault("keeping some space free", errno))
    }

    /// The same without making anything: what is missing would be made.
    pub(super) fn seems_writable(&self, free_space: u64) -> Result<(), StoreError> {
        for name in [".", "tmp", "new"] {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            match rustix::fs::accessat(&self.handle, name, access, AtFlags::EACCESS) {
                Ok(()) => {}
                Err(Errno::NOENT) if name != "." => {}
                Err(errno) => {
                    return Err(self.fault(&format!("no letter can be written to its {name}"), errno));
                }
            }
        }
        durable::check_space(&self.handle, free_space)
            .map_err(|errno| self.fault("keeping some space free", errno))
    }

    /// Writes `head` and `body` into `tmp/` and fsyncs the file. With `name` (made from queue entry and recipient) a
    /// repeat after a crash is the same file; without it the name is unique.
    pub fn stage(&self, name: Option<&str>, head: &[u8], body: &Spill) -> Result<Staged, StoreError> {
        let folders = self.folders()?;
        let draft = unique_name().map_err(|error| self.io("naming a letter", error))?;
        let name = name.unwrap_or(&draft).to_owned();
        let mut staged = Staged { mailbox: self.clone(), draft, done: true, name };
        if staged.name != staged.draft && self.delivered_before(&staged.name)? {
            return Ok(staged);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&folders.tmp, &staged.draft, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fault("making a letter's file in tmp", errno))?;
        // From here on a failure removes the file.
        staged.done = false;
        self.fill(folders, handle, head, body).map_err(|error| self.io("writing a letter", error))?;
        Ok(staged)
    }

    fn fill(&self, folders: &Folders, handle: OwnedFd, head: &[u8], body: &Spill) -> io::Result<()> {
        // The group first: nobody of the wrong group may see it for a moment.
        if let Some(group) = folders.group
            && rustix::fs::fstat(&handle)?.st_gid != group
        {
            rustix::fs::fchown(&handle, None, Some(rustix::fs::Gid::from_raw(group)))?;
        }
        if folders.mode != Mode::RUSR | Mode::WUSR {
            rustix::fs::fchmod(&handle, folders.mode)?;
        }
        let mut file = File::from(handle);
        file.write_all(head)?;
        body.copy_to(&mut file)?;
        file.sync_all()
    }

    /// Whether a letter of this base name lies in `new/` or, with whatever flags, in `cur/`.
    fn delivered_before(&self, name: &str) -> Result<bool, StoreError> {
        let fit = !name.is_empty()
            && name.len() <= LONGEST
            && !name.starts_with('.')
            && !name.contains(|it: char| it == '/' || it == ':' || it.is_control());
        if !fit {
            return Err(self.fault(&format!("{name:?} cannot name a letter"), Errno::INVAL));
        }
        let looking = |errno| self.fault("looking whether a letter is already there", errno);
        let new = durable::open_directory(&self.handle, "new").map_err(looking)?;
        if durable::lstat(&new, name).map_err(looking)?.is_some() {
            return Ok(true);
        }
        let cur = durable::open_directory(&self.handle, "cur").map_err(looking)?;
        let found = durable::entries(&cur).map_err(looking)?;
        if !found.iter().any(|entry| base_name(&entry.name) == name.as_bytes()) {
            return Ok(false);
        }
        // A reader moved it: whether that is durable is not known, and new/ will forget it for good.
        durable::sync_directory(cur).map_err(looking)?;
        Ok(true)
    }

    /// The folders, made where they are missing.
    pub(super) fn folders(&self) -> Result<&Folders, StoreError> {
        if let Some(folders) = self.folders.get() {
            return Ok(folders);
        }
        let opened = self.open_folders()?;
        Ok(self.folders.get_or_init(|| opened))
    }

    fn open_folders(&self) -> Result<Folders, StoreError> {
        let stat = rustix::fs::fstat(&self.handle).map_err(|errno| self.fault("looking at it", errno))?;
        for name in MAILDIR {
            let there = durable::lstat(&self.handle, name)
                .map_err(|errno| self.fault(&format!("looking at its {name}"), errno))?;
            if there.is_none() {
                durable::make_directory(&self.handle, name, durable::directory_mode(stat.st_mode))
                    .map_err(|errno| self.fault(&format!("making its {name}"), errno))?;
            }
        }
        let tmp = durable::open_directory(&self.handle, "tmp")
            .map_err(|errno| self.fault("opening its tmp", errno))?;
        let new = durable::open_readable(&self.handle, "new")
            .map_err(|errno| self.fault("opening its new", errno))?;
        let landing = rustix::fs::fstat(&new).map_err(|errno| self.fault("looking at its new", errno))?;
        Ok(Folders { tmp, new, mode: file_mode(&landing), group: shared_group(&landing) })
    }

    pub(super) fn fault(&self, doing: &str, errno: Errno) -> StoreError {
        self.io(doing, errno.into())
    }

    pub(super) fn io(&self, doing: &str, error: io::Error) -> StoreError {
        StoreError::io(format!("{}: {doing}", self.label), error)
    }
}

impl Staged {
    /// Renames into `new/` and fsyncs the directory; from here the letter is durable. Returns its base name.
    pub fn commit(mut self) -> Result<String, StoreError> {
        let mailbox = self.mailbox.clone();
        let folders = mailbox.folders()?;
        if !self.done {
            match durable::rename(&folders.tmp, &self.draft, &folders.new, &self.name, RenameFlags::NOREPLACE)
            {
                Ok(()) => self.done = true,
                // The same delivery was committed meanwhile; ours goes with `Drop`.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(mailbox.fault("moving a letter from tmp to new", errno)),
            }
        }
        // Also for one that was there before: whether it is durable is not known. If this fails the letter stays: a
        // reader may have it already, and a double is better than a loss.
        rustix::fs::fsync(&folders.new).map_err(|errno| mailbox.fault("making its new durable", errno))?;
        Ok(self.name.clone())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done
            && let Ok(folders) = self.mailbox.folders()
        {
            // What cannot be removed now is swept later.
            let _ = rustix::fs::unlinkat(&folders.tmp, &self.draft, AtFlags::empty());
        }
    }
}

/// What stands before the flags.
pub(super) fn base_name(name: &[u8]) -> &[u8] {
    name.split(|&octet| octet == b':').next().unwrap_or_default()
}

/// The group reads what lands in a setgid directory as far as it may read the directory; others never do.
fn file_mode(landing: &Stat) -> Mode {
    let group = if shared_group(landing).is_some() { landing.st_mode & 0o060 } else { 0 };
    Mode::from_raw_mode(0o600 | group)
}

fn shared_group(landing: &Stat) -> Option<u32> {
    (landing.st_mode & Mode::SGID.as_raw_mode() != 0).then_some(landing.st_gid)
}

/// `time.M<microseconds>P<process>Q<count>R<random>.host`, by the Maildir convention.
fn unique_name() -> io::Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = durable::random_hex()?;
    Ok(format!(
        "{}.M{:06}P{}Q{}R{}.{}",
        now.as_secs(),
        now.subsec_micros(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        random.get(..16).unwrap_or(&random),
        host(),
    ))
}

/// The host's name as it may stand in a letter's name.
fn host() -> Arc<str> {
    static HOST: std::sync::OnceLock<Arc<str>> = std::sync::OnceLock::new();
    HOST.get_or_init(|| {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let fit = |it: char| if it.is_ascii_alphanumeric() || "-._".contains(it) { it } else { '_' };
        name.chars().map(fit).take(64).collect::<String>().into()
    })
    .clone()
}

#[cfg(test)]
mod tests;
