//! An entry that something is done with: loaded once, shared by all who work on it, and recorded before anybody goes on.

use super::outlook::Outlook;
use super::{Parts, unix_time};
use crate::queue::{Entry, EntryId, State};
use crate::store::StoreError;
use crate::system::threads::blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The longest pause between two tries to record what became of a letter.
const RECORD_PAUSE: Duration = Duration::from_secs(60);

/// One entry in hand. Several destinations, an order and the clock may work on it at once: each change is whole before
/// the lock is given back, and who is being delivered to belongs to that delivery alone.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) id: EntryId,
    slot: Mutex<Slot>,
    /// Notified when a delivery lets its recipients go.
    pub(super) freed: Notify,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// None: not loaded yet, or not there any more.
    pub(super) entry: Option<Entry>,
    /// Recipients who are being delivered to, as places in the entry.
    pub(super) busy: Vec<usize>,
}

impl Hand {
    /// Of an entry that is read when it is needed, if it is not known already.
    pub(super) fn new(id: EntryId, entry: Option<Entry>) -> Arc<Hand> {
        Arc::new(Hand { id, slot: Mutex::new(Slot { entry, busy: Vec::new() }), freed: Notify::new() })
    }

    /// A panic elsewhere left the entry whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the entry loaded, if it is there. Blocks.
    pub(super) fn open(&self, parts: &Parts) -> Result<MutexGuard<'_, Slot>, StoreError> {
        let mut slot = self.lock();
        if slot.entry.is_none() {
            slot.entry = parts.queue.load(&self.id)?;
        }
        Ok(slot)
    }

    /// Records the entry's state, if it changed, however long that takes: what is not recorded is done again. Then tells
    /// what follows, under the lock: of two who work on the entry, the one who told last knows more.
    pub(super) async fn settle(
        self: &Arc<Hand>,
        parts: &Parts,
        changed: bool,
        tell: impl FnOnce(Outlook) + Send + 'static,
    ) {
        let (mut tell, mut pause) = (tell, Duration::from_secs(1));
        loop {
            let (settling, hand) = (parts.clone(), Arc::clone(self));
            let outcome = blocking(move || {
                let slot = hand.lock();
                match hand.try_to_settle(&settling, &slot, changed) {
                    Ok(outlook) => {
                        tell(outlook);
                        Ok(())
                    }
                    Err(error) => Err((error, tell)),
                }
            });
            match outcome.await {
                Ok(()) => return,
                Err((error, again)) => {
                    let id = &self.id;
                    tracing::error!(%id, %error, "what became of a letter cannot be recorded; trying until it can");
                    tell = again;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECORD_PAUSE);
        }
    }

    fn try_to_settle(&self, parts: &Parts, slot: &Slot, changed: bool) -> Result<Outlook, StoreError> {
        let Some(entry) = &slot.entry else { return Ok(Outlook::finished()) };
        if changed {
            parts.queue.record(entry)?;
        }
        Ok(Outlook::of(entry, &parts.config, unix_time()))
    }
}

/// Recipients of an entry who are being delivered to; let go when it is dropped, whatever happened.
#[derive(Debug)]
pub(super) struct Busy {
    hand: Arc<Hand>,
    /// Places in the entry.
    pub(super) recipients: Vec<usize>,
}

impl Busy {
    /// Takes them; `slot` is the hand's.
    pub(super) fn take(hand: &Arc<Hand>, slot: &mut Slot, recipients: Vec<usize>) -> Busy {
        slot.busy.extend(&recipients);
        Busy { hand: Arc::clone(hand), recipients }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.hand.lock().busy.retain(|index| !self.recipients.contains(index));
        self.hand.freed.notify_waiters();
    }
}

/// The reason that stands in a recipient's state.
pub(super) fn reason(state: &State) -> Option<&str> {
    match state {
        State::Pending { reason } => reason.as_deref(),
        _ => None,
    }
}
