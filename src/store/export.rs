//! The server's side of a pull: which letters there are, their content, and their removal once they are safe at home.
//!
//! A letter is known by its base name *and* its inode. A reader may move it from `new/` to `cur/` and change its flags
//! at any moment, which keeps both; a name alone could be another content by now, an inode alone another letter, since
//! file systems use freed inodes again.

use super::tree::{Mailbox, Store};
use super::{StoreError, durable, maildir::base_name};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

/// How often a letter that moves is looked for.
const LOOKS: usize = 8;

/// A letter that lies in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The name before `:`; what is not UTF-8 in it is replaced.
    pub base: String,
    /// What follows the `:`, as it stands there (`2,S`).
    pub flags: Option<String>,
    /// Whether it lies in `cur/`, else in `new/`.
    pub in_cur: bool,
    /// Octets.
    pub size: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl Store {
    /// The letters of a mailbox, sorted by name: regular files in `new/` and `cur/` that are not hidden.
    pub fn export_list(&self, mailbox: &Mailbox) -> Result<Vec<Exported>, StoreError> {
        let folders = Shelves::open(mailbox)?;
        let mut letters: HashMap<(String, u64), Exported> = HashMap::new();
        // new/ first: what moves to cur/ meanwhile is seen twice, not missed, and the later sight counts.
        for (in_cur, folder) in folders.both() {
            let listing =
                durable::entries(folder).map_err(|errno| mailbox.fault("listing letters", errno))?;
            for entry in listing {
                if entry.name.starts_with(b".") || base_name(&entry.name).is_empty() {
                    continue;
                }
                let stat = durable::lstat(folder, entry.name.as_slice())
                    .map_err(|errno| mailbox.fault("looking at a letter", errno))?;
                if let Some(stat) = stat.filter(is_file) {
                    let letter = exported(&entry.name, in_cur, &stat);
                    letters.insert((letter.base.clone(), letter.inode), letter);
                }
            }
        }
        let mut letters: Vec<Exported> = letters.into_values().collect();
        letters.sort_by(|one, other| (&one.base, one.inode).cmp(&(&other.base, other.inode)));
        Ok(letters)
    }

    /// Opens a letter of the list, wherever in the mailbox it lies by now; `None` if it is gone.
    pub fn open_exported(&self, mailbox: &Mailbox, letter: &Exported) -> Result<Option<File>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut opened = None;
        let open = |spot: &Spot| {
            let handle = match rustix::fs::openat(spot.folder, spot.name.as_slice(), flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(false),
                other => other?,
            };
            if rustix::fs::fstat(&handle)?.st_ino != letter.inode {
                return Ok(false);
            }
            opened = Some(File::from(handle));
            Ok(true)
        };
        Shelves::open(mailbox)?
            .hunt(std::slice::from_ref(letter), open)
            .map_err(|errno| mailbox.fault("opening a letter", errno))?;
        Ok(opened)
    }

    /// Removes exactly these letters, wherever in the mailbox they lie by now, and makes that durable. One that is gone
    /// already is as good as removed.
    pub fn remove_exported(&self, mailbox: &Mailbox, letters: &[Exported]) -> Result<(), StoreError> {
        let folders = Shelves::open(mailbox)?;
        let fault = |errno| mailbox.fault("removing a letter that is safe at home", errno);
        let remove =
            |spot: &Spot| match rustix::fs::unlinkat(spot.folder, spot.name.as_slice(), AtFlags::empty()) {
                Err(Errno::NOENT) => Ok(false),
                other => other.map(|()| true),
            };
        folders.hunt(letters, remove).map_err(fault)?;
        for (_, folder) in folders.both() {
            durable::sync_directory(folder).map_err(fault)?;
        }
        Ok(())
    }
}

impl Mailbox {
    /// How many letters lie here, read or not.
    pub fn waiting(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for (_, folder) in Shelves::open(self)?.both() {
            let entries = durable::entries(folder).map_err(|errno| self.fault("counting letters", errno))?;
            count += entries
                .iter()
                .filter(|entry| entry.kind == FileType::RegularFile && !entry.name.starts_with(b"."))
                .count();
        }
        Ok(count)
    }
}

/// Where the letters of one mailbox lie. A Maildir that never had a letter may lack both.
struct Shelves {
    new: Option<OwnedFd>,
    cur: Option<OwnedFd>,
}

/// Where one letter lies now.
struct Spot<'a> {
    folder: &'a OwnedFd,
    name: Vec<u8>,
}

/// All names by their base.
struct Index(HashMap<Vec<u8>, Vec<(bool, Vec<u8>)>>);

impl Shelves {
    fn open(mailbox: &Mailbox) -> Result<Shelves, StoreError> {
        let open = |name: &str| match durable::open_directory(&mailbox.handle, name) {
            Ok(handle) => Ok(Some(handle)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(mailbox.fault(&format!("opening its {name}"), errno)),
        };
        Ok(Shelves { new: open("new")?, cur: open("cur")? })
    }

    fn both(&self) -> impl Iterator<Item = (bool, &OwnedFd)> {
        let new = self.new.iter().map(|folder| (false, folder));
        new.chain(self.cur.iter().map(|folder| (true, folder)))
    }

    fn folder(&self, cur: bool) -> Option<&OwnedFd> {
        if cur { self.cur.as_ref() } else { self.new.as_ref() }
    }

    /// Does `act` to every letter, wherever it lies by now, until it says that it is done. A letter is gone when two
    /// looks in a row do not find it: one look may miss what is renamed during it.
    fn hunt(
        &self,
        letters: &[Exported],
        mut act: impl FnMut(&Spot) -> rustix::io::Result<bool>,
    ) -> rustix::io::Result<()> {
        let mut missing = Vec::new();
        for letter in letters {
            match self.expected(letter)? {
                Some(spot) if act(&spot)? => {}
                _ => missing.push((letter, false)),
            }
        }
        for _ in 0..LOOKS {
            if missing.is_empty() {
                return Ok(());
            }
            let index = self.index()?;
            let mut still_missing = Vec::new();
            for (letter, missed) in missing {
                match index.find(self, letter)? {
                    Some(spot) if act(&spot)? => {}
                    Some(_) => still_missing.push((letter, false)),
                    None if !missed => still_missing.push((letter, true)),
                    None => {}
                }
            }
            missing = still_missing;
        }
        if missing.is_empty() { Ok(()) } else { Err(Errno::AGAIN) }
    }

    /// The letter where it was when it was listed.
    fn expected(&self, letter: &Exported) -> rustix::io::Result<Option<Spot<'_>>> {
        let Some(folder) = self.folder(letter.in_cur) else { return Ok(None) };
        let name = match &letter.flags {
            Some(flags) => format!("{}:{flags}", letter.base),
            None => letter.base.clone(),
        };
        self.spot(folder, name.into_bytes(), letter.inode)
    }

    fn spot<'a>(
        &self,
        folder: &'a OwnedFd,
        name: Vec<u8>,
        inode: u64,
    ) -> rustix::io::Result<Option<Spot<'a>>> {
        // A name out of a home's or a gate's hands leads nowhere else.
        if name.contains(&b'/') || name.contains(&0) || name.starts_with(b".") {
            return Ok(None);
        }
        let found = durable::lstat(folder, name.as_slice())?;
        Ok(found.filter(|stat| is_file(stat) && stat.st_ino == inode).map(|_| Spot { folder, name }))
    }

    /// Everything as it is now; new/ first, as a letter only moves from there to cur/.
    fn index(&self) -> rustix::io::Result<Index> {
        let mut index: HashMap<Vec<u8>, Vec<(bool, Vec<u8>)>> = HashMap::new();
        for (in_cur, folder) in self.both() {
            for entry in durable::entries(folder)? {
                let base = String::from_utf8_lossy(base_name(&entry.name)).into_owned();
                index.entry(base.into_bytes()).or_default().push((in_cur, entry.name));
            }
        }
        Ok(Index(index))
    }
}

impl Index {
    fn find<'a>(&self, shelves: &'a Shelves, letter: &Exported) -> rustix::io::Result<Option<Spot<'a>>> {
        for (in_cur, name) in self.0.get(letter.base.as_bytes()).into_iter().flatten() {
            let Some(folder) = shelves.folder(*in_cur) else { continue };
            if let Some(spot) = shelves.spot(folder, name.clone(), letter.inode)? {
                return Ok(Some(spot));
            }
        }
        Ok(None)
    }
}

fn exported(name: &[u8], in_cur: bool, stat: &Stat) -> Exported {
    let base = base_name(name);
    let flags = name.get(base.len() + 1..).map(|flags| String::from_utf8_lossy(flags).into_owned());
    Exported {
        base: String::from_utf8_lossy(base).into_owned(),
        flags,
        in_cur,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
    }
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

#[cfg(test)]
mod tests;
