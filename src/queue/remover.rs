//! Removes the files of finished entries while nobody waits for it.
//!
//! On a disk that is told of every freed block (`discard`) an unlink costs more than an fsync, and nothing rests on it:
//! the log says that the entry is finished. So it is done on a thread of its own.

use super::EntryId;
use super::place::Place;
use crate::store::StoreError;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The thread; dropping this waits until it has removed what it was given.
#[derive(Debug)]
pub(super) struct Remover {
    ids: Option<Sender<EntryId>>,
    thread: Option<JoinHandle<()>>,
}

impl Remover {
    pub(super) fn start(place: Place) -> Result<Remover, StoreError> {
        let (ids, received) = channel();
        let thread = std::thread::Builder::new()
            .name("queue-remover".into())
            .spawn(move || remove_all(&place, &received))
            .map_err(|error| StoreError::io("starting a thread for the queue", error))?;
        Ok(Remover { ids: Some(ids), thread: Some(thread) })
    }

    /// Leaves the files of an entry that the log says is finished to the thread.
    pub(super) fn remove(&self, id: EntryId) {
        // Where the thread is gone, the next start removes them.
        let _ = self.ids.as_ref().map(|ids| ids.send(id));
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        self.ids = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn remove_all(place: &Place, received: &Receiver<EntryId>) {
    for id in received {
        if let Err(error) = place.remove(id) {
            tracing::warn!(%id, %error, "a finished queue entry stays until the next start");
        }
    }
}
