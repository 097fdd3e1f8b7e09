//! What a letter leaves behind: its `Received` field, and one line in the log.

use super::house::unix_time;
use super::recipients::Finished;
use crate::mail::address::Domain;
use crate::mail::trace::{Client, Protocol, Received};
use crate::net::tls::server::Agreed;
use crate::smtp::Door;
use crate::smtp::reply::Reply;

/// The `Received` field of a letter, CRLF included. For the owner's own it names nothing of his machine; `rdns` is the confirmed
/// name of a stranger's.
pub fn received(id: &str, done: &Finished, rdns: Option<&Domain>) -> String {
    let helo = done.greeting.as_ref().map_or("unknown", |(name, _)| name.as_str());
    let client = done.peer.ip.map(|ip| Client { helo, ip, rdns });
    let only = match done.recipients.as_slice() {
        [one] => Some(&one.recipient.address),
        _ => None,
    };
    let received = Received {
        from: client.filter(|_| done.peer.door == Door::Mx),
        by: &done.premises.name,
        with: Protocol {
            extended: done.greeting.as_ref().is_some_and(|(_, esmtp)| *esmtp),
            utf8: done.sender.sender.smtputf8,
            tls: done.tls.is_some(),
            authenticated: done.peer.door == Door::Submission,
        },
        id,
        // Bcc: a copy that leaves must not say for whom it was.
        recipient: only.filter(|_| done.peer.door == Door::Mx),
        cipher: done.tls.as_ref().map(|agreed| agreed.cipher.as_str()),
        time: unix_time().as_secs() as i64,
    };
    received.to_string()
}

/// What the line says beside the reply.
#[derive(Default)]
pub struct Why<'a> {
    /// The word of the verdict on a stranger's letter (`accept`, `junk`, …).
    pub verdict: Option<&'a str>,
    /// Where the letter lies, if it went there directly (`here.example/me/junk`).
    pub place: Option<&'a str>,
    /// What was found out, a sentence.
    pub note: Option<&'a str>,
}

/// The one line: what was decided, of which letter, and why, in words.
pub fn log_decision(id: &str, done: &Finished, reply: &Reply, why: &Why<'_>) {
    let to: Vec<String> = done.recipients.iter().map(|known| known.recipient.address.to_string()).collect();
    tracing::info!(
        id,
        door = ?done.peer.door,
        peer = done.peer.ip.map(|ip| ip.to_string()),
        tls = done.tls.as_ref().map(Agreed::to_string),
        helo = done.greeting.as_ref().map(|(name, _)| name.as_str()),
        // As a text, which is logged in quotes: a quoted local part may look like a field of the log.
        from = done.sender.sender.path.to_string(),
        to = to.join(" "),
        size = done.facts.size,
        code = reply.code,
        reason = reply.text,
        verdict = why.verdict,
        place = why.place,
        note = why.note,
        "{}",
        match reply.code {
            200..=399 => "accepted",
            400..=499 => "deferred",
            _ => "refused",
        }
    );
}
