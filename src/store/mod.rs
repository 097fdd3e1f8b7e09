//! The Maildir tree: names, look-up, delivery, durable file operations. No `PathBuf` leaves this floor.

pub mod admin;
mod durable;
pub mod export;
pub mod letter;
pub mod list;
mod listing;
pub mod maildir;
mod names;
mod place;
mod root;
pub mod tree;

use std::io;

/// Why the store could not answer. Always temporary: a fault is never "no such user".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// MAIL_ROOT is not the one that `state_dir` remembers, or holds no domain (an unmounted disk).
    #[error("{0}")]
    WrongRoot(String),
    /// The directory of an address is there but unsafe or ambiguous (escaping or absolute link, foreign owner,
    /// colliding or capital names, linked `new`); the text names it and says what to do.
    #[error("{0}")]
    Unsafe(String),
    /// No space or no inodes left: 452 4.3.1.
    #[error("{context}: {source}")]
    Full {
        /// What was being done.
        context: String,
        /// The system's error.
        source: io::Error,
    },
    /// Anything else the system said: 451 4.3.0.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// The system's error.
        source: io::Error,
    },
}

impl StoreError {
    /// Sorts a system error: ENOSPC, EDQUOT and EROFS… become `Full` where that is what they are.
    pub fn io(context: impl Into<String>, source: io::Error) -> StoreError {
        let context = context.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { context, source },
            _ => StoreError::Io { context, source },
        }
    }
}
