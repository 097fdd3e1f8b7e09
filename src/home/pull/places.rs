//! Where a pull works: its own directory (`MAIL/.pillarbox`, mode 0700, with the lock, the journal and the staging
//! directory) and the Maildirs.
//!
//! A letter can only be renamed within one mount of one filesystem. Maildirs on that of `mail` share the staging
//! directory there; any other (an `into` elsewhere, a linked domain) has one of its own inside itself, `.pillarbox`,
//! which no address can be called.

use super::fault;
use super::maildir::{Maildir, make_all, open_directory};
use crate::config;
use crate::error::{Exit, Failure};
use crate::mail::address::Address;
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, StatxFlags, flock, fsync, mkdirat, openat, statx, unlinkat,
};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const OWN: &str = ".pillarbox";
const STAGING: &str = "staging";

/// A staging directory, locked as long as it is held.
#[derive(Debug)]
pub(super) struct Staging {
    pub path: PathBuf,
    pub handle: OwnedFd,
    pub inode: u64,
    mount: Mount,
}

/// What a rename must not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount {
    device: (u32, u32),
    mount: u64,
}

#[derive(Debug)]
pub(super) struct Places {
    mail: PathBuf,
    into: Vec<(Address, PathBuf)>,
    own: OwnedFd,
    /// The first is that of `mail`.
    stagings: Vec<Arc<Staging>>,
    maildirs: BTreeMap<PathBuf, Arc<Maildir>>,
    recovered: bool,
}

impl Places {
    /// Makes what is missing of `mail` and its private directory, and takes the lock of this home.
    pub fn open(config: &config::Home) -> Result<Places, Failure> {
        let mail = &config.mail;
        if !mail.is_absolute() || mail.to_str().is_none() {
            let text =
                format!("mail = {mail:?}: want an absolute path in UTF-8 (or one that begins with ~/)");
            return Err(Failure::new(Exit::Config, text));
        }
        make_all(mail)?;
        let own_path = mail.join(OWN);
        let own = make_private(&open_directory(mail)?, OWN, &own_path)?;
        lock(&own, &own_path)?;
        let staging_path = own_path.join(STAGING);
        let staging = Staging::hold(make_private(&own, STAGING, &staging_path)?, staging_path)?;
        let mut into = Vec::new();
        for (address, settings) in &config.addresses {
            let Some(path) = &settings.into else { continue };
            let wrong = |why: String| Failure::new(Exit::Config, format!("[addresses.{address:?}]: {why}"));
            if !path.is_absolute() || path.to_str().is_none() {
                return Err(wrong(format!("into = {path:?}: want an absolute path in UTF-8")));
            }
            into.push((Address::parse(address).map_err(|error| wrong(error.to_string()))?, path.clone()));
        }
        Ok(Places {
            mail: mail.clone(),
            into,
            own,
            stagings: vec![Arc::new(staging)],
            maildirs: BTreeMap::new(),
            recovered: false,
        })
    }

    /// The pull's own directory, by handle and name.
    pub fn own(&self) -> (&OwnedFd, PathBuf) {
        (&self.own, self.mail.join(OWN))
    }

    /// The Maildir that letters of `label` go to; made if it is missing.
    pub fn maildir_of(&mut self, label: &Label) -> Result<Arc<Maildir>, Failure> {
        let path = self.path_of(label);
        self.maildir(&path)
    }

    /// The Maildir at `path`; made if it is missing.
    pub fn maildir(&mut self, path: &Path) -> Result<Arc<Maildir>, Failure> {
        if let Some(maildir) = self.maildirs.get(path) {
            return Ok(maildir.clone());
        }
        let maildir = Arc::new(Maildir::open(path)?);
        self.maildirs.insert(path.to_owned(), maildir.clone());
        Ok(maildir)
    }

    /// A staging directory from which letters can be renamed into the Maildir.
    pub fn staging_for(&mut self, maildir: &Maildir) -> Result<Arc<Staging>, Failure> {
        let mount = mount_of(&maildir.handle).map_err(|error| fault(maildir.path.display(), error))?;
        if let Some(staging) = self.stagings.iter().find(|staging| staging.mount == mount) {
            return Ok(staging.clone());
        }
        let path = maildir.path.join(OWN);
        let handle = make_private(&maildir.handle, OWN, &path)?;
        lock(&handle, &path)?;
        let staging = Arc::new(Staging::hold(handle, path)?);
        if self.recovered {
            staging.sweep()?;
        }
        self.stagings.push(staging.clone());
        Ok(staging)
    }

    /// The staging directory that a journal names, if it is the very same one.
    pub fn staging_at(
        &mut self,
        path: &Path,
        inode: u64,
        maildir: &Path,
    ) -> Result<Option<Arc<Staging>>, Failure> {
        let known = |places: &Places| {
            places.stagings.iter().find(|staging| staging.path == path && staging.inode == inode).cloned()
        };
        if let Some(staging) = known(self) {
            return Ok(Some(staging));
        }
        // Nothing is made here: a Maildir that is missing is a disk that is not mounted.
        if path != maildir.join(OWN) || !path.is_dir() {
            return Ok(None);
        }
        let maildir = self.maildir(maildir)?;
        self.staging_for(&maildir)?;
        Ok(known(self))
    }

    /// Every letter in the journal is where it belongs: what else lies in a staging directory was never promised.
    pub fn recovered(&mut self) -> Result<(), Failure> {
        self.recovered = true;
        self.stagings.iter().try_for_each(|staging| staging.sweep())
    }

    /// `MAIL/domain/local[/topic]`, or where `into` says: for the topic's own address, else within the address's.
    fn path_of(&self, label: &Label) -> PathBuf {
        let Label { domain, local, topic } = label;
        let into = |local: &str| {
            let of = |address: &Address| {
                address.domain().is_some_and(|of| of.as_str() == domain) && address.folded_local() == *local
            };
            self.into.iter().find(|(address, _)| of(address)).map(|(_, path)| path.clone())
        };
        let Some(topic) = topic else {
            return into(local).unwrap_or_else(|| self.mail.join(domain).join(local));
        };
        let own = ["/", "+"].iter().find_map(|separator| into(&format!("{local}{separator}{topic}")));
        own.unwrap_or_else(|| into(local).unwrap_or_else(|| self.mail.join(domain).join(local)).join(topic))
    }
}

impl Staging {
    fn hold(handle: OwnedFd, path: PathBuf) -> Result<Staging, Failure> {
        let failed = |error: rustix::io::Errno| fault(path.display(), error);
        let mount = mount_of(&handle).map_err(failed)?;
        let inode = rustix::fs::fstat(&handle).map_err(failed)?.st_ino;
        Ok(Staging { path, handle, inode, mount })
    }

    /// Empties the directory.
    fn sweep(&self) -> Result<(), Failure> {
        let failed = |error: rustix::io::Errno| fault(self.path.display(), error);
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                unlinkat(&self.handle, entry.file_name(), AtFlags::empty()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// `domain/local[/topic]` as the server says it, checked: it names a place beneath `mail` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    domain: String,
    local: String,
    topic: Option<String>,
}

impl Label {
    pub fn parse(text: &str) -> Option<Label> {
        let mut parts = text.split('/').map(|part| is_component(part).then(|| part.to_owned()));
        let label = Label { domain: parts.next()??, local: parts.next()??, topic: None };
        match (parts.next(), parts.next()) {
            (None, _) => Some(label),
            (Some(topic), None) => Some(Label { topic: Some(topic?), ..label }),
            _ => None,
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.topic {
            Some(topic) => write!(f, "{}/{topic}@{}", self.local, self.domain),
            None => write!(f, "{}@{}", self.local, self.domain),
        }
    }
}

/// As the store has it: a name, not hidden, not one of a Maildir's own.
fn is_component(part: &str) -> bool {
    let bad = |c: char| c.is_control() || c == '/' || c == '\u{2028}' || c == '\u{2029}';
    (1..=255).contains(&part.len())
        && !part.starts_with('.')
        && !part.contains(bad)
        && !matches!(part, "cur" | "new" | "tmp")
}

fn mount_of(handle: &OwnedFd) -> Result<Mount, rustix::io::Errno> {
    // The mount's number (Linux 5.8) tells two mounts of one filesystem apart; an older kernel has the device only.
    let found = statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    Ok(Mount { device: (found.stx_dev_major, found.stx_dev_minor), mount: found.stx_mnt_id })
}

/// Opens `name`, which is `path`, in `parent`, and makes it (0700, durable) if it is missing.
fn make_private(parent: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, Failure> {
    let failed = |error: rustix::io::Errno| fault(path.display(), error);
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => fsync(parent).map_err(failed)?,
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(failed)
}

fn lock(handle: &OwnedFd, path: &Path) -> Result<(), Failure> {
    match flock(handle.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
            Exit::TempFail,
            format!("another pull is running (it holds the lock on {})", path.display()),
        )),
        Err(error) => Err(fault(path.display(), error)),
    }
}

#[cfg(test)]
mod tests;
