//! The few durable file operations that everything in the store is made of.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, RenameFlags, Stat};
use rustix::io::{Errno, Result};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Inodes that must stay free.
const FREE_INODES: u64 = 64;

/// A directory's entry: its name as it stands on the disk, and what it is.
#[derive(Debug)]
pub(super) struct Entry {
    /// Any octets but `/` and NUL.
    pub name: Vec<u8>,
    /// What `lstat` says it is.
    pub kind: FileType,
}

/// Opens a directory below `parent`, never through a link. The handle serves for look-ups only.
pub(super) fn open_directory(parent: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory below `parent`, never through a link, such that it can be read and fsynced.
pub(super) fn open_readable(parent: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Reads a directory, without `.` and `..`.
pub(super) fn entries(directory: impl AsFd) -> Result<Vec<Entry>> {
    let handle = open_readable(&directory, ".")?;
    let mut found = Vec::new();
    for entry in Dir::new(handle)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        // Some file systems do not tell the type here.
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        found.push(Entry { name: name.to_owned(), kind });
    }
    Ok(found)
}

/// What `name` is, links not followed; `None` if there is nothing.
pub(super) fn lstat(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `NOSPC` where the file system of a directory has fewer than `free_space` octets left, or hardly an inode.
pub(super) fn check_space(directory: impl AsFd, free_space: u64) -> Result<()> {
    let system = rustix::fs::fstatvfs(directory)?;
    // A file system without a table of inodes says 0 of 0.
    let short_of_inodes = system.f_files > 0 && system.f_favail < FREE_INODES;
    if short_of_inodes || system.f_bavail.saturating_mul(system.f_frsize) < free_space {
        return Err(Errno::NOSPC);
    }
    Ok(())
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(directory: impl AsFd) -> Result<()> {
    rustix::fs::fsync(open_readable(directory, ".")?)
}

/// The mode that a directory below one of mode `parent` takes: the group's part only where the parent is setgid, so
/// that its group is meant, and nothing for others in any case.
pub(super) fn directory_mode(parent: RawMode) -> Mode {
    let setgid = Mode::SGID.as_raw_mode();
    let shared = if parent & setgid != 0 { parent & (setgid | 0o070) } else { 0 };
    Mode::from_raw_mode(0o700 | shared)
}

/// Makes the directory `name` below `parent` with exactly `mode` (no umask), if it is not there, and makes its entry
/// durable. Returns whether it was made.
pub(super) fn make_directory(parent: impl AsFd, name: &str, mode: Mode) -> Result<bool> {
    match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    let made = open_readable(&parent, name)?;
    own_like(&parent, &made)?;
    rustix::fs::fchmod(&made, mode)?;
    sync_directory(parent)?;
    Ok(true)
}

/// What root makes on somebody's behalf belongs to the owner of the directory it is made in; anybody else can only
/// make what is theirs.
fn own_like(parent: impl AsFd, made: &OwnedFd) -> Result<()> {
    let owner = rustix::fs::fstat(parent)?.st_uid;
    if rustix::process::geteuid().is_root() && owner != 0 {
        rustix::fs::fchown(made, Some(rustix::fs::Uid::from_raw(owner)), None)?;
    }
    Ok(())
}

/// Writes a small file of our own: whole or not at all, durable when this returns. With `replace` an older one gives
/// way, without it an existing one stays and the error is `EXIST`.
pub(super) fn write_file(
    directory: impl AsFd,
    name: &str,
    content: &[u8],
    mode: Mode,
    replace: bool,
) -> io::Result<()> {
    let draft = format!(".{}.{}", name.trim_start_matches('.'), random_hex()?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(&directory, &draft, flags, Mode::RUSR | Mode::WUSR)?;
    let written = fill(handle, content, mode, &directory).and_then(|()| {
        let how = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(rename(&directory, &draft, &directory, name, how)?)
    });
    if written.is_err() {
        // The first error is the one that matters.
        let _ = rustix::fs::unlinkat(&directory, &draft, AtFlags::empty());
        return written;
    }
    Ok(sync_directory(directory)?)
}

fn fill(handle: OwnedFd, content: &[u8], mode: Mode, directory: impl AsFd) -> io::Result<()> {
    own_like(directory, &handle)?;
    rustix::fs::fchmod(&handle, mode)?;
    let mut file = std::fs::File::from(handle);
    file.write_all(content)?;
    file.sync_all()
}

/// `renameat2`, with a check and a plain rename where the file system does not know `RENAME_NOREPLACE` (NFS and some
/// FUSE ones): our names are unique, so nobody else makes the target in between.
pub(super) fn rename(
    from: impl AsFd,
    old: &str,
    to: impl AsFd,
    new: &str,
    how: RenameFlags,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(&from, old, &to, new, how) {
        Err(Errno::INVAL | Errno::NOSYS) if how == RenameFlags::NOREPLACE => match lstat(&to, new)? {
            Some(_) => Err(Errno::EXIST),
            None => rustix::fs::renameat(from, old, to, new),
        },
        other => other,
    }
}

/// 128 random bits in hex.
pub(super) fn random_hex() -> io::Result<String> {
    let mut bits = [0u8; 16];
    let got = rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())?;
    if got != bits.len() {
        return Err(io::Error::other("the system gave too little randomness"));
    }
    Ok(format!("{:032x}", u128::from_ne_bytes(bits)))
}
