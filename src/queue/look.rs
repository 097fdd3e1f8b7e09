//! The queue as somebody sees it who changes nothing: beside a running server, or on a stopped one's files.

use super::place::{Found, Place};
use super::{Entry, EntryId, log};
use crate::store::StoreError;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Takes no lock, changes nothing, sets nothing aside. Calls block.
#[derive(Debug)]
pub struct Look {
    state_dir: PathBuf,
    place: Place,
    /// What the log said when somebody first asked: the files of finished entries may be there a while longer. What is
    /// finished behind that may still show, or be gone.
    finished: OnceLock<HashSet<EntryId>>,
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
        Look { state_dir: state_dir.to_owned(), place: Place::below(state_dir), finished: OnceLock::new() }
    }

    /// The entries there are, oldest first.
    pub fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        let queue = &self.place.queue;
        // Who may not look must not hear that there is nothing.
        match queue.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(Vec::new()),
            Err(error) => {
                return Err(StoreError::io(format!("{}: looking at the queue", queue.display()), error));
            }
        }
        let mut ids = self.place.entries()?;
        let finished = self.finished()?;
        ids.retain(|id| !finished.contains(id));
        Ok(ids)
    }

    /// One entry; none if it is no longer there. An error says that it cannot be read, or that a later version wrote it.
    pub fn load(&self, id: EntryId) -> Result<Option<Looked>, StoreError> {
        if self.finished()?.contains(&id) {
            return Ok(None);
        }
        let looked = match self.place.load(id)? {
            Found::Nothing => return Ok(None),
            Found::Entry(entry) => Looked::Entry(entry),
            Found::Damaged { why, .. } => Looked::Damaged(why),
        };
        // Its state goes behind it: what was read in between is no entry that nobody was tried for.
        Ok(self.place.entry(id).exists().then_some(looked))
    }

    fn finished(&self) -> Result<&HashSet<EntryId>, StoreError> {
        match self.finished.get() {
            Some(known) => Ok(known),
            None => {
                let read = log::finished(&self.state_dir)?;
                Ok(self.finished.get_or_init(|| read))
            }
        }
    }

    /// The message of an entry: what is left of the file that comes back.
    pub fn open_message(&self, id: EntryId) -> Result<File, StoreError> {
        self.place.open_message(id)
    }
}
