//! Delivery into a Maildir: stage, commit; `Drop` aborts.

use super::{StoreError, letter::Spill, tree::Mailbox};

/// A letter that lies durable in `tmp/`, not yet visible. Dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    _private: (),
}

impl Mailbox {
    /// Whether a letter could be stored here now: permission, a read-only disk, space (`free_space` octets). Part of
    /// the answer to RCPT. Makes `tmp`, `new` and `cur` where they are missing.
    pub fn check_writable(&self, free_space: u64) -> Result<(), StoreError> {
        let _ = free_space;
        Ok(())
    }

    /// Writes `head` and `body` into `tmp/` and fsyncs the file. With `name` (made from queue entry and recipient) a
    /// repeat after a crash is the same file; without it the name is unique.
    pub fn stage(&self, name: Option<&str>, head: &[u8], body: &Spill) -> Result<Staged, StoreError> {
        let _ = (name, head, body);
        Err(StoreError::Unsafe("not yet".into()))
    }
}

impl Staged {
    /// Renames into `new/` and fsyncs the directory; from here the letter is durable. Returns its base name.
    pub fn commit(self) -> Result<String, StoreError> {
        Err(StoreError::Unsafe("not yet".into()))
    }
}
