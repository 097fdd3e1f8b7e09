//! Reports go into the sender's own Maildir, never over the network: nobody else's mail is ever queued.

use super::{Parts, unix_time};
use crate::mail::address::Address;
use crate::mail::dsn::{self, Diagnosis, Kind, Original, Report};
use crate::mail::envelope::{Ret, ReversePath};
use crate::mail::{header, trace};
use crate::queue::{Entry, RecipientState, State};
use crate::store::StoreError;
use crate::store::letter::Spill;
use crate::store::tree::{Lookup, Mailbox};
use std::io::{self, Read};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The longest letter that comes back whole (`RET=FULL`); of a longer one the header does (RFC 3461 section 6.2).
const WHOLE: u64 = 1 << 20;
/// The longest header that comes back.
const HEADER: u64 = 256 << 10;

/// Gives a recipient up. The report is durable before the state can be recorded, under a name made from entry and
/// recipient: a crash between the two makes the same file again.
pub(super) fn give_up(
    parts: &Parts,
    entry: &Entry,
    recipient: &mut RecipientState,
    diagnosis: &Diagnosis,
) -> Result<(), StoreError> {
    let told = report(parts, entry, recipient, Kind::Failed, diagnosis)?;
    let (id, to, reason) = (&entry.id, &recipient.recipient.address, diagnosis.line());
    let delay = unix_time().saturating_sub(entry.arrived);
    let told = if told { "the sender finds a report in his mailbox" } else { "nobody wants a report" };
    tracing::warn!(%id, %to, reason, delay, "given up; {told}");
    recipient.attempts = recipient.attempts.saturating_add(1);
    recipient.state = State::Failed { reason };
    Ok(())
}

/// Tells the sender of a delay, once.
pub(super) fn warn(
    parts: &Parts,
    entry: &Entry,
    recipient: &mut RecipientState,
    diagnosis: &Diagnosis,
) -> Result<(), StoreError> {
    let until = entry.arrived.saturating_add_unsigned(parts.config.retry_for);
    if report(parts, entry, recipient, Kind::Delayed { until }, diagnosis)? {
        let (id, to) = (&entry.id, &recipient.recipient.address);
        tracing::info!(%id, %to, "the sender was told of the delay");
    }
    recipient.warned = true;
    Ok(())
}

/// Tells a sender who asked for it (`NOTIFY=SUCCESS`) that a recipient got the letter: in a directory here
/// (`Kind::Delivered`), or as far as we can tell (`Kind::Relayed`). Durable before the state can be recorded, as above.
pub(super) fn confirm(
    parts: &Parts,
    entry: &Entry,
    recipient: &RecipientState,
    kind: Kind,
    words: String,
) -> Result<(), StoreError> {
    let status = if kind == Kind::Delivered { (2, 1, 5) } else { (2, 0, 0) };
    if report(parts, entry, recipient, kind, &Diagnosis { status, words, host: None })? {
        let (id, to) = (&entry.id, &recipient.recipient.address);
        tracing::info!(%id, %to, "the sender was told of the success");
    }
    Ok(())
}

/// Whether it was written: not where nobody wants it.
fn report(
    parts: &Parts,
    entry: &Entry,
    recipient: &RecipientState,
    kind: Kind,
    diagnosis: &Diagnosis,
) -> Result<bool, StoreError> {
    let sender = match &entry.envelope.sender.path {
        ReversePath::Address(sender) if dsn::is_wanted(kind, recipient.recipient.notify) => sender,
        // Reports about reports go round in circles (RFC 5321 section 6.1).
        _ => return Ok(false),
    };
    let mailbox = mailbox_of(parts, sender)?;
    let letter = match kind {
        Kind::Failed => 'B',
        Kind::Delayed { .. } => 'W',
        Kind::Delivered | Kind::Relayed => 'S',
    };
    let whole = entry.envelope.sender.ret == Some(Ret::Full) && kind == Kind::Failed && entry.size <= WHOLE;
    let text = original(parts, entry, whole)?;
    let report = Report {
        kind,
        hostname: &parts.hostname,
        id: &entry.id.to_string(),
        sender,
        recipient: &recipient.recipient,
        envid: entry.envelope.sender.envid.as_deref(),
        arrived: entry.arrived,
        now: unix_time(),
        diagnosis,
        original: if whole { Original::Whole(&text) } else { Original::Header(&text) },
    };
    let mut head = trace::return_path(&ReversePath::Null).into_bytes();
    head.extend_from_slice(trace::delivered_to(sender).as_bytes());
    // It is made of strangers' words: a panic over them must not end the server, as one of the store does.
    let text = std::panic::catch_unwind(AssertUnwindSafe(|| report.render())).map_err(|_| {
        StoreError::io(format!("{}: writing a report", entry.id), io::Error::other("a fault of this program"))
    })?;
    head.extend_from_slice(&text);
    let name = entry.id.file_name(letter, &recipient.recipient.address.to_string());
    mailbox.stage(Some(&name), &head, &Spill::new(Arc::clone(&parts.room)))?.commit()?;
    Ok(true)
}

/// The sender's own directory, or the dead-letter Maildir if it is gone.
fn mailbox_of(parts: &Parts, sender: &Address) -> Result<Mailbox, StoreError> {
    match parts.store.find(sender)? {
        Lookup::Found(mailbox) => Ok(mailbox),
        Lookup::NoSuchAddress | Lookup::NotOurs => parts.store.dead_letter(),
    }
}

fn original(parts: &Parts, entry: &Entry, whole: bool) -> Result<Vec<u8>, StoreError> {
    let most = if whole { WHOLE } else { HEADER };
    let mut text = Vec::new();
    parts
        .queue
        .open_message(&entry.id)?
        .take(most)
        .read_to_end(&mut text)
        .map_err(|error| StoreError::io(format!("{}: reading the message for a report", entry.id), error))?;
    if !whole {
        text.truncate(header::split_lenient(&text).body_offset);
        // Without the empty line that ends it.
        if text.ends_with(b"\r\n\r\n") {
            text.truncate(text.len() - 2);
        }
    }
    Ok(text)
}
