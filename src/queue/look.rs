//! Looking at a queue that may belong to a running server.

use super::disk::{Found, ids_in, load_from};
use super::{Entry, EntryId};
use crate::store::StoreError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The queue below `state_dir`, read only and without its lock: what is seen may have changed already.
#[derive(Clone, Debug)]
pub struct Look {
    queue: PathBuf,
}

/// What is seen under an entry's name.
#[derive(Debug)]
pub enum Looked {
    /// It.
    Entry(Box<Entry>),
    /// Something that is no entry, for this reason.
    Damaged(String),
}

impl Look {
    pub(super) fn below(state_dir: &Path) -> Look {
        Look { queue: state_dir.join("queue") }
    }

    /// The entries there are, oldest first.
    pub fn entries(&self) -> Result<Vec<EntryId>, StoreError> {
        match self.queue.exists() {
            true => ids_in(&self.queue),
            false => Ok(Vec::new()),
        }
    }

    /// One entry.
    pub fn load(&self, id: EntryId) -> Result<Option<Looked>, StoreError> {
        Ok(match load_from(&self.queue.join(&id.0), &id)? {
            Found::Entry(entry) => Some(Looked::Entry(entry)),
            Found::Nothing => None,
            Found::Damaged { why, .. } => Some(Looked::Damaged(why)),
        })
    }

    /// The message of an entry.
    pub fn open_message(&self, id: EntryId) -> Result<File, StoreError> {
        let path = self.queue.join(&id.0).join("message");
        File::open(&path).map_err(|error| super::disk::fault(&path, "opening a queued message", error))
    }
}
