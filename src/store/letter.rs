//! A letter in hand: its header in memory, its body in a spill (memory first, then an unlinked file).

use super::StoreError;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where spills go: a directory of `state_dir` for `O_TMPFILE`, and one budget of memory over all connections.
#[derive(Debug)]
pub struct SpillRoom {
    _private: (),
}

impl SpillRoom {
    /// `each`: octets that one spill may hold in memory (256 KiB); `all`: octets that all together may.
    pub fn open(directory: &Path, each: usize, all: usize) -> Result<Arc<SpillRoom>, StoreError> {
        let _ = (directory, each, all);
        Ok(Arc::new(SpillRoom { _private: () }))
    }
}

/// A body on its way: written once, then read as often as there are copies.
#[derive(Debug)]
pub struct Spill {
    _room: Arc<SpillRoom>,
}

impl Spill {
    /// An empty spill.
    pub fn new(room: Arc<SpillRoom>) -> Spill {
        Spill { _room: room }
    }

    /// Appends; blocks only when the file is needed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let _ = bytes;
        Ok(())
    }

    /// Octets so far.
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies all of it; may be called again, and from several threads.
    pub fn copy_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}
