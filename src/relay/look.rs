//! A look at an entry when its time has come: copies for directories here, and what its age asks for. Nothing is sent.

use super::conclude::warn_if_late;
use super::desk::Looked;
use super::hand::{Hand, reason};
use super::outlook::Outlook;
use super::send::after_fault;
use super::{Parts, bounce, is_ours, local, unix_time};
use crate::mail::address::Host;
use crate::mail::dsn::Diagnosis;
use crate::policy::retry;
use crate::queue::Entry;
use crate::smtp::Door;
use crate::store::StoreError;
use crate::system::threads::blocking;
use std::sync::Arc;

/// Destinations that cannot be reached, and why.
pub(super) type Dead = Vec<(Arc<Host>, String)>;

/// Looks at an entry, and records what changed. `dead` are those of its destinations that cannot be reached now: who waits
/// for one of them untried is warned about, and given up, all the same.
pub(super) async fn look(parts: Parts, hand: Arc<Hand>, dead: Dead, looked: Looked) {
    let (looking, here) = (parts.clone(), Arc::clone(&hand));
    let changed = blocking(move || {
        let mut slot = here.open(&looking)?;
        let busy = slot.busy.clone();
        let Some(entry) = &mut slot.entry else { return Ok(false) };
        let now = unix_time();
        let delivered = local::deliver(&looking, entry, &busy, now);
        let aged = age(&looking, entry, &busy, &dead, now);
        Ok::<bool, StoreError>(delivered || aged || entry.is_finished())
    });
    match changed.await {
        Ok(changed) => hand.settle(&parts, changed, move |outlook| looked.over(outlook)).await,
        Err(error) => {
            tracing::error!(id = %hand.id, %error, "a queued letter cannot be read; tried again");
            looked.over(Outlook::look_at(after_fault()));
        }
    }
}

/// Judges those who wait, by the age of the letter. Says whether any state changed.
fn age(parts: &Parts, entry: &mut Entry, busy: &[usize], dead: &Dead, now: i64) -> bool {
    let late = now >= retry::late(entry.arrived, parts.config.warn_after);
    let over = now >= retry::deadline(entry.arrived, parts.config.retry_for);
    // Strangers are told nothing, and what could not be stored here is never given up.
    if entry.door == Door::Mx || !(late || over) {
        return false;
    }
    let mut changed = false;
    let mut recipients = std::mem::take(&mut entry.recipients);
    for (place, recipient) in recipients.iter_mut().enumerate() {
        if !recipient.is_pending() || recipient.held || busy.contains(&place) {
            continue;
        }
        let host = recipient.recipient.address.host();
        let unreachable = dead.iter().find(|(dead, _)| **dead == *host).map(|(_, why)| why.clone());
        let to_give_up = over && unreachable.is_some();
        let Some(words) = unreachable.or_else(|| reason(&recipient.state).map(str::to_owned)) else {
            continue;
        };
        let told = recipient.warned && !to_give_up;
        if told || is_ours(parts, host).unwrap_or(true) {
            continue;
        }
        let diagnosis = Diagnosis { status: (5, 4, 7), words, host: None };
        let before = recipient.clone();
        if !to_give_up {
            warn_if_late(parts, entry, recipient, &diagnosis, now);
        } else if let Err(error) = bounce::give_up(parts, entry, recipient, &diagnosis) {
            let to = &recipient.recipient.address;
            tracing::error!(id = %entry.id, %to, %error, "no report could be written; it is written later");
        }
        changed |= *recipient != before;
    }
    entry.recipients = recipients;
    changed
}
