//! What a letter lacks when a program hands it to `sendmail`: line ends, a date, an id, a sender, domains.

mod line_ends;

pub use line_ends::{LineEnds, normalize_line_ends};

use super::address::Domain;
use super::date;
use super::header::{Field, Header, split_lenient};
use super::mailboxes::{self, Mailbox, Named, grammar};

/// What the letter's completion takes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// Who writes, where the letter does not say so.
    pub identity: Option<&'a Mailbox>,
    /// What unqualified addresses are completed with.
    pub domain: Option<&'a Domain>,
    /// Domains that are only this host's own: a From or Sender there (or unqualified) is replaced by the identity.
    pub host_domains: &'a [Domain],
    /// Now, in Unix seconds.
    pub time: i64,
    /// The local clock's offset from UTC, in seconds, east positive.
    pub utc_offset: i32,
    /// Random bits for the Message-ID, fresh for each letter.
    pub random: u128,
}

/// Why a letter cannot be completed; one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompleteError(pub String);

/// Fields that never leave the house: blind copies, and what servers and our own client write.
const DROPPED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", "Envelope-Seal"];

/// Fields whose unqualified addresses are completed.
const COMPLETED: [&str; 5] = ["From", "Sender", "Reply-To", "To", "Cc"];

/// Completes a letter that has CRLF line ends (`normalize_line_ends`). Adds From, Date, Message-ID and MIME-Version
/// where they lack, and the empty line that ends the header; completes unqualified addresses; drops every Bcc,
/// Resent-Bcc, Return-Path and Envelope-Seal and an mbox `From ` line. Everything else stays byte for byte.
pub fn complete(message: &[u8], with: &Completion<'_>) -> Result<Vec<u8>, CompleteError> {
    let (header, body) = split(message);
    let mut out = Vec::with_capacity(message.len() + 512);
    let mut from_domain = None;
    let mut has_from = false;
    for field in header.fields.iter().filter(|field| !DROPPED.iter().any(|name| field.is(name))) {
        if field.is("From") {
            if field.text().is_empty() {
                continue;
            }
            has_from = true;
        }
        let completed = complete_field(field, with);
        if field.is("From") && from_domain.is_none() {
            from_domain = first_domain(&completed);
        }
        out.extend_from_slice(field.raw.strip_suffix(field.value).unwrap_or_default());
        out.extend_from_slice(&completed);
        if !completed.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    if !has_from {
        let identity = with.identity.ok_or_else(|| {
            CompleteError("the letter has no From field; add one, or set `from` in home.toml".into())
        })?;
        from_domain = identity.address.domain().cloned();
        out.extend_from_slice(format!("From: {}\r\n", written(identity)).as_bytes());
    }
    if header.first("Date").is_none() {
        out.extend_from_slice(format!("Date: {}\r\n", date::rfc5322(with.time, with.utc_offset)).as_bytes());
    }
    if header.first("Message-ID").is_none() {
        let domain = id_domain(from_domain, with)?;
        out.extend_from_slice(format!("Message-ID: <{:032x}@{domain}>\r\n", with.random).as_bytes());
    }
    let is_mime =
        ["Content-Type", "Content-Transfer-Encoding"].iter().any(|name| header.first(name).is_some());
    if is_mime && header.first("MIME-Version").is_none() {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok(out)
}

/// Whom the header names as recipients, for `sendmail -t`: To, Cc and Bcc, or their Resent- forms where a letter is
/// resent. To be asked before `complete` drops Bcc. The second part is what could not be read.
pub fn recipients(message: &[u8]) -> (Vec<Named>, Vec<String>) {
    let (header, _) = split(message);
    let resent = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
    let names = match resent.iter().any(|name| header.first(name).is_some()) {
        true => resent,
        false => ["To", "Cc", "Bcc"],
    };
    let mut all = (Vec::new(), Vec::new());
    for field in header.fields.iter().filter(|field| names.iter().any(|name| field.is(name))) {
        let (named, unread) = mailboxes::parse_lenient(field.value);
        all.0.extend(named);
        all.1.extend(unread);
    }
    all
}

/// The header, less an mbox `From ` line, and the body without the empty line between them. The body begins at the
/// latest with the first line that can be no field (`echo hello | sendmail me`).
fn split(message: &[u8]) -> (Header<'_>, &[u8]) {
    let line = message.split_inclusive(|b| *b == b'\n').next().unwrap_or_default();
    let is_mbox = line.starts_with(b"From ") && !line[5..].trim_ascii_start().starts_with(b":");
    let message = if is_mbox { &message[line.len()..] } else { message };
    let mut header = split_lenient(message);
    let fields = header.fields.iter().take_while(|field| !field.name.is_empty());
    let (count, length) = fields.fold((0, 0), |(count, length), field| (count + 1, length + field.raw.len()));
    let body = if count < header.fields.len() { length } else { header.body_offset };
    header.fields.truncate(count);
    header.body_offset = body;
    (header, &message[body..])
}

/// The field's value with what it lacked.
fn complete_field(field: &Field<'_>, with: &Completion<'_>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(field.value) else { return field.value.to_vec() };
    if !COMPLETED.iter().any(|name| field.is(name)) {
        return field.value.to_vec();
    }
    let is_author = field.is("From") || field.is("Sender");
    let mut patches = Vec::new();
    for spot in grammar::read_tolerantly(text).spots {
        let of_host = match &spot.host_span {
            None => true,
            Some(host) => {
                Domain::parse(&text[host.clone()]).is_ok_and(|host| with.host_domains.contains(&host))
            }
        };
        match (with.identity, with.domain) {
            (Some(identity), _) if is_author && of_host => {
                patches.push((spot.span(), identity.address.to_string()));
            }
            (_, Some(domain)) if spot.host_span.is_none() => {
                patches.push((spot.local_span.end..spot.local_span.end, format!("@{domain}")));
            }
            _ => {}
        }
    }
    grammar::patched(text, &patches).into_bytes()
}

fn first_domain(from: &[u8]) -> Option<Domain> {
    let (named, _) = mailboxes::parse_lenient(from);
    named.iter().find_map(|named| match &named.target {
        mailboxes::Target::Full(address) => address.domain().cloned(),
        mailboxes::Target::Unqualified(_) => None,
    })
}

/// The domain of a new Message-ID: the author's, never this host's.
fn id_domain(from: Option<Domain>, with: &Completion<'_>) -> Result<Domain, CompleteError> {
    from.or_else(|| with.identity.and_then(|identity| identity.address.domain().cloned()))
        .or_else(|| with.domain.cloned())
        .ok_or_else(|| {
            CompleteError(
                "the letter's From has no domain to make a Message-ID of; write a whole address there".into(),
            )
        })
}

fn written(mailbox: &Mailbox) -> String {
    match &mailbox.display {
        Some(display) if !display.trim().is_empty() => {
            format!("{} <{}>", mailboxes::phrase(display), mailbox.address)
        }
        _ => mailbox.address.to_string(),
    }
}

#[cfg(test)]
mod tests;
