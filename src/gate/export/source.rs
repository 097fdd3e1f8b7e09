//! Where exported letters come from: the store, seen through what the session is confined to.

use std::fs::File;

/// Letters that can be listed, read and removed. The texts of errors are for the owner at home.
pub(crate) trait Source: Sync {
    /// A directory of letters.
    type Mailbox: Sync;

    /// The wanted mailboxes (none wanted: all) by label, each directory once, as far as the session may see them; and
    /// what was wanted and is not to be had.
    fn select(&self, wanted: &[String]) -> Result<Selected<Self::Mailbox>, String>;

    /// The letters of `new/` and `cur/`.
    fn list(&self, mailbox: &Self::Mailbox) -> Result<Vec<Exported>, String>;

    /// Opens a letter; `None` if it is gone.
    fn open(&self, mailbox: &Self::Mailbox, letter: &Exported) -> Result<Option<File>, String>;

    /// Removes letters for good: unlinked and the directories fsynced.
    fn remove(&self, mailbox: &Self::Mailbox, letters: &[Exported]) -> Result<(), String>;
}

/// Mailboxes by label, and troubles.
pub(crate) type Selected<M> = (Vec<(String, M)>, Vec<String>);
