//! Copies for the directories here, made from the queue entry.

mod forged;

use super::{Parts, bounce};
use crate::mail::address::Address;
use crate::mail::dsn::{Diagnosis, Kind};
use crate::mail::trace;
use crate::queue::{Entry, EntryId, RecipientState, State};
use crate::smtp::Door;
use crate::store::StoreError;
use crate::store::tree::{DirId, Lookup, Mailbox};

/// Delivers to every due recipient whose domain is ours: one copy per directory, however many recipients lead to it.
/// What fails stays pending. Those who are `busy` are being delivered to elsewhere. Blocks. Says whether any state changed.
pub(super) fn deliver(parts: &Parts, entry: &mut Entry, busy: &[usize], now: i64) -> bool {
    let mut recipients = std::mem::take(&mut entry.recipients);
    let mut copies: Vec<Copy> = Vec::new();
    let mut changed = false;
    for (index, recipient) in recipients.iter_mut().enumerate() {
        if !recipient.is_due(now) || busy.contains(&index) {
            continue;
        }
        let outcome = match find(parts, entry, &recipient.recipient.address) {
            Ok(Place::Elsewhere) => continue,
            Ok(Place::Here(mailbox)) => {
                add(&mut copies, mailbox, index);
                continue;
            }
            Ok(Place::Gone) => bounce::give_up(parts, entry, recipient, &vanished()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            put_off(parts, entry, recipient, &error, now);
        }
        changed = true;
    }
    for copy in copies {
        changed = true;
        let outcome = copy.store(parts, entry, &recipients);
        for &index in &copy.recipients {
            let Some(recipient) = recipients.get_mut(index) else { continue };
            match &outcome {
                Ok(()) => delivered(parts, entry, recipient, &copy.mailbox.label, now),
                Err(error) => put_off(parts, entry, recipient, error, now),
            }
        }
    }
    entry.recipients = recipients;
    changed
}

/// Where the sender wanted to hear of it, he does before the state can say so; else the copy is found again.
fn delivered(parts: &Parts, entry: &Entry, recipient: &mut RecipientState, label: &str, now: i64) {
    let words = format!("it is in {label}");
    match bounce::confirm(parts, entry, recipient, Kind::Delivered, words) {
        Ok(()) => recipient.state = State::Delivered { to: label.to_owned(), tls: None },
        Err(error) => put_off(parts, entry, recipient, &error, now),
    }
}

enum Place {
    Here(Mailbox),
    /// The domain is not ours.
    Elsewhere,
    /// The domain is ours, but the address went after the letter was taken.
    Gone,
}

/// One copy to be made.
struct Copy {
    mailbox: Mailbox,
    recipients: Vec<usize>,
}

fn add(copies: &mut Vec<Copy>, mailbox: Mailbox, recipient: usize) {
    match copies.iter_mut().find(|copy| copy.mailbox.id == mailbox.id) {
        Some(copy) => copy.recipients.push(recipient),
        None => copies.push(Copy { mailbox, recipients: vec![recipient] }),
    }
}

fn find(parts: &Parts, entry: &Entry, address: &Address) -> Result<Place, StoreError> {
    let store = &parts.store;
    let mailbox = match store.find(address)? {
        Lookup::NotOurs if entry.door == Door::Submission => return Ok(Place::Elsewhere),
        // The domain went after a stranger's letter was taken: it is relayed to nobody.
        Lookup::NotOurs => return Ok(Place::Here(store.dead_letter()?)),
        // Postmaster always exists (RFC 5321 section 4.5.1); and a stranger's letter that was taken is neither sent back,
        // since nothing of ours leaves as a report, nor lost.
        Lookup::NoSuchAddress if address.folded_local() == "postmaster" || entry.door == Door::Mx => {
            return Ok(Place::Here(store.dead_letter()?));
        }
        Lookup::NoSuchAddress => return Ok(Place::Gone),
        Lookup::Found(mailbox) => mailbox,
    };
    let junk = if entry.junk { store.junk(&mailbox)? } else { None };
    Ok(Place::Here(junk.unwrap_or(mailbox)))
}

impl Copy {
    /// The name is made from entry and directory, so that a repeat after a crash is the same file.
    fn store(&self, parts: &Parts, entry: &Entry, recipients: &[RecipientState]) -> Result<(), StoreError> {
        let first = self.recipients.first().and_then(|&index| recipients.get(index));
        let mut head = trace::return_path(&entry.envelope.sender.path);
        if let Some(first) = first {
            head.push_str(&trace::delivered_to(&first.recipient.address));
        }
        let name = name_of(&entry.id, self.mailbox.id);
        let body = match entry.door {
            // Stripped before it was queued.
            Door::Mx => parts.message(entry)?,
            Door::Submission => forged::without(parts, parts.message(entry)?)?,
        };
        self.mailbox.stage(Some(&name), head.as_bytes(), &body)?.commit()?;
        let people = self.recipients.len();
        tracing::info!(id = %entry.id, to = self.mailbox.label, recipients = people, "delivered");
        Ok(())
    }
}

/// Without the device: its number may be another one after a reboot, and the repeat would be a second letter.
fn name_of(entry: &EntryId, directory: DirId) -> String {
    entry.file_name('R', &directory.inode.to_string())
}

fn put_off(parts: &Parts, entry: &Entry, recipient: &mut RecipientState, error: &StoreError, now: i64) {
    tracing::error!(id = %entry.id, to = %recipient.recipient.address, %error, "not delivered here; tried again");
    parts.put_off_for_fault(recipient, error.to_string(), now);
}

fn vanished() -> Diagnosis {
    let words = "the address was here when the letter was taken, and is gone".to_owned();
    Diagnosis { status: (5, 1, 1), words, host: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_name_after_a_reboot_that_numbers_the_disks_anew() {
        let entry = EntryId::parse("6553f100aaaaaaaaaaaa").unwrap();
        let name = |device, inode| name_of(&entry, DirId { device, inode });
        assert_eq!(name(66_305, 42), name(66_321, 42));
        assert_ne!(name(66_305, 42), name(66_305, 43));
    }
}
