//! What was committed and not looked at yet, on its way from the doors to the relay.

use crate::queue::{Entry, EntryId};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Entries that go along with their names, at most: the others are read again.
const ENTRIES: usize = 1000;
/// Recipients of such an entry at most.
const RECIPIENTS: usize = 20;

/// Committed entries that the relay has not taken.
#[derive(Debug, Default)]
pub struct Fresh {
    waiting: Mutex<Vec<(EntryId, Option<Box<Entry>>)>>,
    wake: Notify,
}

impl Fresh {
    /// Leaves a committed entry to the relay, as it stands in the queue if that is known.
    pub(super) fn hand_over(&self, id: EntryId, entry: Option<Entry>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let small = |entry: &Entry| entry.recipients.len() <= RECIPIENTS;
        let entry = entry.filter(|entry| waiting.len() < ENTRIES && small(entry)).map(Box::new);
        waiting.push((id, entry));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until something may be there.
    pub(super) async fn come(&self) {
        self.wake.notified().await;
    }

    /// What was handed over since the last call, in its order.
    pub(super) fn take(&self) -> Vec<(EntryId, Option<Box<Entry>>)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
