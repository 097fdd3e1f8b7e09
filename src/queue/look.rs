//! The queue as somebody sees it who changes nothing: beside a running server, or on a stopped one's files.

use super::place::{Found, Place};
use super::{Entry, EntryId};
use crate::store::StoreError;
use std::fs::File;
use std::path::Path;

/// Takes no lock, changes nothing, sets nothing aside. What is being finished meanwhile may still show, or be gone.
/// Calls block.
#[derive(Debug)]
pub struct Look {
    place: Place,
}

/// What stands under a name.
#[derive(Debug)]
pub enum Looked {
    /// An entry, with its state.
    Entry(Box<Entry>),
    /// It is damaged, and how: the server will set it aside.
    Damaged(String),
}

impl Look {
    pub(super) fn below(state_dir: &Path) -> Look {
        Look { place: Place::below(state_dir) }
    }

    /// The entries there are, oldest first.
    pub fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        let queue = &self.place.queue;
        // Who may not look must not hear that there is nothing.
        match queue.try_exists() {
            Ok(true) => self.place.entries(),
            Ok(false) => Ok(Vec::new()),
            Err(error) => Err(StoreError::io(format!("{}: looking at the queue", queue.display()), error)),
        }
    }

    /// One entry; none if it is no longer there. An error says that it cannot be read, or that a later version wrote it.
    pub fn load(&self, id: EntryId) -> Result<Option<Looked>, StoreError> {
        let looked = match self.place.load(id)? {
            Found::Nothing => return Ok(None),
            Found::Entry(entry) => Looked::Entry(entry),
            Found::Damaged { why, .. } => Looked::Damaged(why),
        };
        // Its state goes behind it: what was read in between is no entry that nobody was tried for.
        Ok(self.place.entry(id).exists().then_some(looked))
    }

    /// The message of an entry: what is left of the file that comes back.
    pub fn open_message(&self, id: EntryId) -> Result<File, StoreError> {
        self.place.open_message(id)
    }
}
