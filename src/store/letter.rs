//! A letter in hand: its header in memory, its body in a spill (memory first, then an unlinked file).

use super::{StoreError, durable};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets that are read from a spill's file at once.
const SLICE: usize = 64 << 10;

/// How often a spill in a file asks whether its disk has space enough, in octets.
const CHECK: u64 = 1 << 20;

/// Where spills go: a directory of `state_dir` for `O_TMPFILE`, and one budget of memory over all connections.
#[derive(Debug)]
pub struct SpillRoom {
    directory: OwnedFd,
    each: usize,
    all: usize,
    used: AtomicUsize,
    /// Octets of its disk that spills leave free.
    free_space: u64,
}

impl SpillRoom {
    /// `each`: octets that one spill may hold in memory (256 KiB); `all`: octets that all together may. The directory
    /// is made if it is missing.
    pub fn open(directory: &Path, each: usize, all: usize) -> Result<Arc<SpillRoom>, StoreError> {
        SpillRoom::open_keeping(directory, each, all, 0)
    }

    /// The same, whose spills leave `free_space` octets of the disk free: letters that are on their way must not take what is
    /// kept for those that are accepted.
    pub fn open_keeping(
        directory: &Path,
        each: usize,
        all: usize,
        free_space: u64,
    ) -> Result<Arc<SpillRoom>, StoreError> {
        let context = || format!("{}: making room for letters on their way", directory.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| StoreError::io(context(), error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|errno| StoreError::io(context(), errno.into()))?;
        Ok(Arc::new(SpillRoom { directory: handle, each, all, used: AtomicUsize::new(0), free_space }))
    }

    /// Octets of memory that spills hold now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, octets: usize) -> bool {
        let fits = |used: usize| used.checked_add(octets).filter(|&sum| sum <= self.all);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, octets: usize) {
        self.used.fetch_sub(octets, Ordering::Relaxed);
    }

    /// A file without a name: it is gone when its handle is, also after a crash.
    fn nameless_file(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(handle) => Ok(File::from(handle)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => self.unlinked_file(),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same on a file system that has no `O_TMPFILE` (NFS, FUSE).
    fn unlinked_file(&self) -> io::Result<File> {
        let name = format!("spill-{}", durable::random_hex()?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::unlinkat(&self.directory, &name, AtFlags::empty())?;
        Ok(File::from(handle))
    }
}

/// A body on its way: written once, then read as often as there are copies.
#[derive(Debug)]
pub struct Spill {
    room: Arc<SpillRoom>,
    body: Body,
    length: u64,
}

#[derive(Debug)]
enum Body {
    /// The capacity is what the room was charged for.
    Memory(Vec<u8>),
    /// It begins at `from`.
    File { file: File, from: u64 },
}

impl Spill {
    /// An empty spill.
    pub fn new(room: Arc<SpillRoom>) -> Spill {
        Spill { room, body: Body::Memory(Vec::new()), length: 0 }
    }

    /// What lies in a file already, `length` octets from where it stands; for reading only.
    pub fn of_file(room: Arc<SpillRoom>, mut file: File, length: u64) -> io::Result<Spill> {
        let from = file.stream_position()?;
        Ok(Spill { room, body: Body::File { file, from }, length })
    }

    /// Appends; blocks only when the file is needed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.fits(bytes.len()) {
            self.move_to_file().map_err(spilling)?;
        }
        match &mut self.body {
            Body::Memory(held) => held.extend_from_slice(bytes),
            // At the counted place: what an append that failed left behind is overwritten.
            Body::File { file, from } => {
                if self.length / CHECK != (self.length + bytes.len() as u64) / CHECK {
                    durable::check_space(&self.room.directory, self.room.free_space)
                        .map_err(|errno| spilling(errno.into()))?;
                }
                file.write_all_at(bytes, *from + self.length).map_err(spilling)?;
            }
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Octets so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies all of it; may be called again, and from several threads.
    pub fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let (file, from) = match &self.body {
            Body::Memory(held) => return out.write_all(held),
            Body::File { file, from } => (file, *from),
        };
        let mut slice = vec![0; SLICE];
        let mut at = 0;
        while at < self.length {
            slice.truncate(usize::try_from(self.length - at).unwrap_or(usize::MAX));
            // A file that became shorter than what was written is a fault, never a shorter letter.
            file.read_exact_at(&mut slice, from + at)?;
            out.write_all(&slice)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    /// Reads it from its beginning; every reader has its own place.
    pub fn reader(&self) -> SpillReader<'_> {
        SpillReader { spill: self, at: 0 }
    }

    /// Whether `more` octets can go to memory. Charges the room for what the memory grows by: doubling, so that the
    /// copies stay few, but never past what one spill may hold.
    fn fits(&mut self, more: usize) -> bool {
        let Body::Memory(held) = &mut self.body else { return true };
        let wanted = held.len().saturating_add(more);
        if wanted <= held.capacity() {
            return true;
        }
        if wanted > self.room.each {
            return false;
        }
        let capacity = wanted.max(held.capacity() * 2).min(self.room.each);
        let growth = capacity - held.capacity();
        if !self.room.take(growth) {
            return false;
        }
        let before = held.capacity();
        held.reserve_exact(capacity - held.len());
        // The allocator may round up; charge what is really held, so that exactly that is given back.
        let rounded = held.capacity() - before - growth;
        self.room.used.fetch_add(rounded, Ordering::Relaxed);
        true
    }

    fn move_to_file(&mut self) -> io::Result<()> {
        if let Body::Memory(held) = &self.body {
            let file = self.room.nameless_file()?;
            file.write_all_at(held, 0)?;
            self.room.give_back(held.capacity());
            self.body = Body::File { file, from: 0 };
        }
        Ok(())
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Body::Memory(held) = &self.body {
            self.room.give_back(held.capacity());
        }
    }
}

/// A place in a spill.
#[derive(Debug)]
pub struct SpillReader<'a> {
    spill: &'a Spill,
    at: u64,
}

impl Read for SpillReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = match &self.spill.body {
            Body::Memory(held) => {
                let mut rest = held.get(self.at as usize..).unwrap_or_default();
                rest.read(into)?
            }
            Body::File { file, from } => {
                let left = usize::try_from(self.spill.length - self.at).unwrap_or(usize::MAX);
                let wanted = left.min(into.len());
                let got = file.read_at(into.get_mut(..wanted).unwrap_or_default(), from + self.at)?;
                if got == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                got
            }
        };
        self.at += got as u64;
        Ok(got)
    }
}

fn spilling(error: io::Error) -> StoreError {
    StoreError::io("keeping a letter on its way", error)
}

#[cfg(test)]
mod tests;
