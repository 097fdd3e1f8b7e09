//! A permanent Maildir at home.

use super::fault;
use crate::error::Failure;
use rustix::fs::{Dir, FileType, Mode, OFlags, RenameFlags, fsync, mkdirat, openat, renameat_with};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Its handles, and the base names that are taken.
#[derive(Debug)]
pub(super) struct Maildir {
    pub path: PathBuf,
    pub handle: OwnedFd,
    pub new: OwnedFd,
    pub cur: OwnedFd,
    /// Base names, read when the first letter comes: a letter must not be given the base name of one that has moved
    /// on to `cur/` or has got flags since, or a reader that moves it would put it over the other.
    names: Mutex<Option<HashSet<Vec<u8>>>>,
    /// Those of letters that were there before, read when somebody asks.
    held: Mutex<Option<HashSet<Vec<u8>>>>,
}

impl Maildir {
    /// Opens it, and makes what is missing, durable.
    pub fn open(path: &Path) -> Result<Maildir, Failure> {
        make_all(path)?;
        let handle = open_directory(path)?;
        let part = |name: &str| -> Result<OwnedFd, Failure> {
            let failed = |error: rustix::io::Errno| fault(path.join(name).display(), error);
            match mkdirat(&handle, name, Mode::RWXU) {
                Ok(()) => fsync(&handle).map_err(failed)?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(&handle, name, flags, Mode::empty()).map_err(failed)
        };
        part("tmp")?;
        let (new, cur) = (part("new")?, part("cur")?);
        Ok(Maildir {
            path: path.to_owned(),
            handle,
            new,
            cur,
            names: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// `new/` or `cur/`.
    pub fn place(&self, in_cur: bool) -> &OwnedFd {
        if in_cur { &self.cur } else { &self.new }
    }

    /// `base` if it is free, else a base name like it that is; taken from now on.
    pub fn free_base(&self, base: &str) -> Result<String, Failure> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_none() {
            *names = Some(self.read_names()?);
        }
        let names = names.get_or_insert_default();
        let mut chosen = base.to_owned();
        while !names.insert(chosen.as_bytes().to_vec()) {
            chosen = another(base);
        }
        Ok(chosen)
    }

    /// Whether a letter of this base name was here when that was first asked for.
    pub fn held(&self, base: &str) -> Result<bool, Failure> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(self.read_names()?);
        }
        Ok(held.get_or_insert_default().contains(base.as_bytes()))
    }

    /// Whether the letter with this inode lies in `new/` or `cur/`, under whatever name.
    pub fn holds(&self, inode: u64) -> Result<bool, Failure> {
        for place in [&self.new, &self.cur] {
            for entry in self.entries(place)? {
                if entry.map_err(|error| fault(self.path.display(), error))?.ino() == inode {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn read_names(&self) -> Result<HashSet<Vec<u8>>, Failure> {
        let mut names = HashSet::new();
        for place in [&self.new, &self.cur] {
            for entry in self.entries(place)? {
                let entry = entry.map_err(|error| fault(self.path.display(), error))?;
                if entry.file_type() != FileType::Directory {
                    let name = entry.file_name().to_bytes();
                    names.insert(name.split(|octet| *octet == b':').next().unwrap_or(name).to_vec());
                }
            }
        }
        Ok(names)
    }

    fn entries(&self, place: &OwnedFd) -> Result<Dir, Failure> {
        Dir::read_from(place).map_err(|error| fault(self.path.display(), error))
    }
}

/// A file name's info part: in `cur/` there is always one.
pub(super) fn file_name(base: &str, flags: &str, in_cur: bool) -> String {
    match in_cur || !flags.is_empty() {
        true => format!("{base}:2,{flags}"),
        false => base.to_owned(),
    }
}

/// Whether a server's base name and flags can be a file's name here.
pub(super) fn is_name(base: &str, flags: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '/' | ':');
    !base.is_empty()
        && !base.starts_with('.')
        && !base.contains(bad)
        && flags.bytes().all(|octet| octet.is_ascii_alphabetic())
        && base.len() + ":2,".len() + flags.len() <= 255
}

/// Renames a staged letter to `target` (`new/NAME` or `cur/NAME`); false if that name is taken.
pub(super) fn appear(
    staging: &OwnedFd,
    staged: &str,
    maildir: &Maildir,
    target: &str,
) -> Result<bool, Failure> {
    match renameat_with(staging, staged, &maildir.handle, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(fault(maildir.path.join(target).display(), error)),
    }
}

/// `base` with something random in it, before the `,S=` and `,W=` fields that some servers append; cut where it would
/// be too long.
fn another(base: &str) -> String {
    let (front, fields) = base.split_at(base.find(',').unwrap_or(base.len()));
    let fields = if fields.len() <= 64 { fields } else { "" };
    let random = format!("_{:016x}", random());
    let front = &front[..front.floor_char_boundary(180)];
    format!("{front}{random}{fields}")
}

/// Eight random octets.
pub(super) fn random() -> u64 {
    let mut octets = [0; 8];
    // The kernel's generator does not fail once it is seeded, which is long before a user's programs run.
    let _ = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(octets)
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| fault(path.display(), error))
}

/// Makes a directory and the missing ones above it, each 0700 and durable.
pub(super) fn make_all(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    make_all(parent)?;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(fault(path.display(), error)),
        _ => fsync(open_directory(parent)?).map_err(|error| fault(parent.display(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_server_are_names_and_nothing_else() {
        for good in ["1700000000.M1P2.mx", "1,S=5,W=6", "a b", "é"] {
            assert!(is_name(good, "RS"), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a\0b", "a\nb", "a:b", "a\u{85}b"] {
            assert!(!is_name(bad, ""), "{bad:?}");
        }
        assert!(!is_name("a", "S/"));
        assert!(!is_name("a", "é"));
        assert!(is_name(&"a".repeat(252), ""));
        assert!(!is_name(&"a".repeat(253), ""));
    }

    #[test]
    fn a_taken_base_name_is_taken_in_new_and_cur_and_with_any_flags() {
        let directory = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(&directory.path().join("a/b")).unwrap();
        std::fs::write(directory.path().join("a/b/cur/1.x,S=3:2,FS"), "old").unwrap();
        let chosen = maildir.free_base("1.x,S=3").unwrap();
        assert!(chosen.starts_with("1.x_") && chosen.ends_with(",S=3"), "{chosen}");
        assert_eq!(maildir.free_base("2.x").unwrap(), "2.x");
        assert_ne!(maildir.free_base("2.x").unwrap(), "2.x");
        assert!(is_name(&another(&"é".repeat(126)), ""));
    }
}
